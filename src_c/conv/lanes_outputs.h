/* Outputs of a task whose lanes are channels.  Used by depthwise_lanes.c, grouped_blocks.c
 * and input_grad_blocks.c. */
#ifndef FC_CONV_LANES_OUTPUTS_H
#define FC_CONV_LANES_OUTPUTS_H
#include "../kernels/depthwise_lanes.h"
#include "algorithm.h"

typedef struct fc_lanes_outputs {
    int64_t image, images, depth, row, rows, col, cols;
} fc_lanes_outputs;

/* Of one of the tasks that each have at most so many images, rows and columns, columns first. */
fc_lanes_outputs fc_lanes_outputs_of(const fc_conv *conv, int64_t images, int64_t rows, int64_t cols, int64_t task);
/* The first of them, in y. */
void *fc_lanes_first_output(const fc_conv_run *run, const fc_lanes_outputs *outputs, int64_t channel);
/* Taps of an axis that a tile of so many outputs sees, on average: the kernel leaves out the others. */
double fc_lanes_taps_seen(const fc_lanes_axis *axis, int64_t tile);
/* Tiles of a block of outputs whose lanes are of several groups; one of a single place is a part of one. */
double fc_lanes_tiles(const fc_lanes_tile *tile, int64_t images, int64_t rows, int64_t cols);
/* From [image][row][column][lane] in memory, a vector of `channels` channels, to where they belong. */
void fc_lanes_move_outputs(const fc_conv_run *run, const fc_lanes_outputs *outputs, int64_t channel, int64_t channels,
                           const void *memory);
#endif
