/* Phases of an input gradient as the kernel of depthwise_lanes.h takes them.  Defined in input_grad_lanes.c, used by
 * input_grad_blocks.c too. */
#ifndef FC_CONV_INPUT_GRAD_LANES_H
#define FC_CONV_INPUT_GRAD_LANES_H
#include "algorithm.h"

/* Pixels of one rest, modulo the stride, as outputs of a convolution of grad_output. */
typedef struct fc_lanes_phase {
    fc_lanes_axis axis;                       /* but for the steps of memory */
    int64_t first;                            /* pixel */
    int64_t tap, tap_step;                    /* of the kernel: its first as the axis counts, and to the next one */
} fc_lanes_phase;

/* Of `pixel` and every stride-th after it, up to `end`. */
fc_lanes_phase fc_lanes_phase_of(const fc_conv *conv, int axis, int64_t pixel, int64_t end);
#endif
