/* The depthwise convolution's arguments.  Part of the kernel table; filled by conv/depthwise.c. */
#ifndef FC_KERNELS_DEPTHWISE_H
#define FC_KERNELS_DEPTHWISE_H
#include "epilogue.h"
#include <stdint.h>

/* A tile of outputs is up to FC_DEPTHWISE_PLACES places by one vector of lanes.  For NCHW the places
 * are rows and the lanes are pixels of a row; for NHWC the places are pixels and the lanes channels. */
#ifndef PL
#define PL 8
#define FC_LENGTH_0 4
#define FC_LENGTH_1 3
#endif
enum { FC_DEPTHWISE_PLACES = PL };

/* One of the two axes.  Output o sees the inputs o * stride - pad .. o * stride - pad + reach; those
 * outside 0 .. in - 1 are zeros and are never read. */
typedef struct fc_depthwise_axis {
    int64_t first, count;        /* the outputs to compute */
    int64_t in, stride, pad, reach;
    int64_t x, y;                /* elements from one input, and one output, to the next */
} fc_depthwise_axis;

/* Kernel elements that are neighbours along places: 4, 3 or 1 of them.  An input is loaded once
 * for the whole run.  x and w are offsets of the first element; place and lane say which input of
 * the axes that is, counted from the first that an output sees. */
typedef struct fc_depthwise_run {
    int64_t x, w;
    int64_t place, lane;
    uint32_t inside;             /* the kernel's own: places that are, as bits, and lanes from .. to */
    int32_t from, to;
} fc_depthwise_run;

enum { FC_DEPTHWISE_LENGTHS = 3 };            /* 4, 3, 1 */

/* y[block][place][lane] = activation(bias + sum over all runs), a chain of multiply-adds for each
 * output in the order of the runs, whatever the tile. */
typedef struct fc_depthwise {
    const void *x, *weight, *bias;            /* at input 0 of both axes; bias NULL for none */
    void *y;                                  /* at output 0 of both axes */
    fc_depthwise_axis place, lane;
    /* Elements of a run are `unit` inputs apart, the places of a tile `skip` outputs.  Either
     * place.stride * skip == unit, or it is 2 * unit; longer strides take runs of 1.  On pixels as
     * lanes, lane.stride is 1 in the first case and 2 in the second. */
    int64_t unit, skip;
    int lane_weights;                         /* weights and bias differ by lane: lanes are channels */
    int64_t w_step;                           /* weights from one element of a run to the next */
    const fc_depthwise_run *run;              /* all of 4, then all of 3, of 1 */
    fc_depthwise_run *work;                   /* room for as many */
    int64_t runs[FC_DEPTHWISE_LENGTHS];       /* how many of each length */
    /* Blocks: planes, or vectors of channels.  `repeat` blocks share one x; the first has `repeated`
     * others before it. */
    int64_t blocks, x_block, y_block, w_block, bias_block, repeat, repeated;
    fc_activation activation;
} fc_depthwise;

/* dst(pixel, channel) = src(pixel, (repeated + channel) / repeat): channels beside each other.  Rows of
 * dst have room for a vector more than their channels. */
typedef struct fc_depthwise_spread {
    int64_t pixels, channels, repeat, repeated;
    const void *src;
    int64_t src_pixel, src_channel;
    void *dst;
    int64_t dst_pixel;
} fc_depthwise_spread;
#endif
