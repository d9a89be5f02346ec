/* The depthwise convolution's arguments.  Part of the kernel table; filled by conv/depthwise_direct.c. */
#ifndef FC_KERNELS_DEPTHWISE_H
#define FC_KERNELS_DEPTHWISE_H
#include "epilogue.h"
#include <stddef.h>
#include <stdint.h>

/* A tile of outputs is some places by one or two vectors of lanes.  For NCHW the places are rows and
 * the lanes are pixels of a row; for NHWC the places are pixels and the lanes channels. */

/* One of the two axes.  Output o sees the inputs o * stride - pad .. o * stride - pad + reach; those
 * outside 0 .. in - 1 are zeros and are never read. */
typedef struct fc_depthwise_axis {
    int64_t first, count;        /* the outputs to compute */
    int64_t in, stride, pad, reach;
    int64_t x, y;                /* elements from one input, and one output, to the next */
} fc_depthwise_axis;

/* Which input a lane that is an output channel sees: its own; one of its group's, all of which are in the vector that
 * begins where the lanes do; or one that all lanes share. */
enum { FC_DEPTHWISE_OWN, FC_DEPTHWISE_PICKED, FC_DEPTHWISE_SHARED };

/* Kernel elements that are neighbours along places: 7, 5, 3 or 1 of them.  An input is loaded once
 * for the whole run.  x and w are offsets of the first element; place and lane say which of place_at
 * and lane_at it has. */
typedef struct fc_depthwise_run {
    int64_t x, w;
    int32_t place, lane;                      /* with `inputs`, lane says which of them */
} fc_depthwise_run;

/* Where runs begin along places, counted from the first input that an output sees, and their length. */
typedef struct fc_depthwise_start {
    int64_t at, length;
} fc_depthwise_start;

enum { FC_DEPTHWISE_LENGTHS = 4 };            /* 7, 5, 3, 1 */

/* y[block][place][lane] = activation(bias + sum over all runs), a chain of multiply-adds for each
 * output in the order of the runs, whatever the tile. */
typedef struct fc_depthwise {
    const void *x, *weight, *bias;            /* at input 0 of both axes; bias NULL for none */
    void *y;                                  /* at output 0 of both axes */
    fc_depthwise_axis place, lane;
    /* The places of a tile are `skip` apart, and `unit` inputs is the step from one element of a run to
     * the next.  Either place.stride * skip == unit; or twice that, which for NCHW means that
     * lane.stride is 2 as well (it is 1 in the first case), and that dilation is 1 or runs of 1. */
    int64_t unit, skip;
    int lane_weights;                         /* weights and bias differ by lane: lanes are channels */
    int64_t w_step;                           /* weights from one element of a run to the next */
    const fc_depthwise_run *run;              /* all of 7, then all of 5, of 3, of 1 */
    int64_t runs[FC_DEPTHWISE_LENGTHS];       /* how many of each length */
    const fc_depthwise_start *place_at;
    const int64_t *lane_at;                   /* which input lane 0 of a run sees, counted likewise */
    /* Memory that may be read, though all but the inputs inside x is ignored: where a whole vector lies
     * within, edges cost no masked loads. */
    const void *readable, *readable_end;
    int64_t place_ats, lane_ats;
    void *work;                               /* fc_depthwise_work(place_ats, lane_ats) bytes, 64-byte aligned */
    /* Blocks: planes, or vectors of channels; `group` of them are computed tile by tile together.
     * `repeat` blocks share one x; the first has `repeated` others before it. */
    int64_t blocks, group, x_block, y_block, w_block, bias_block, repeat, repeated;
    int inputs;                               /* FC_DEPTHWISE_OWN ..; not 0 for channels only, and then runs of 3
                                               * and 1 */
    const void *pick;                         /* of FC_DEPTHWISE_PICKED: for each run.lane an index for vpick */
    int64_t lead, overlap;                    /* lanes of the second block that the first has too, so that x is aligned
                                               * from there on; and of the last: of channels only, all in one group */
    /* far: x and y are not in cache.  Then memory that later tiles need is asked for while a tile is computed:
     * inputs x_ahead from those that its places and lanes begin at, where its step is 2 also ahead_row further
     * on, and outputs y_ahead from its own.  With several filters each run asks for two places of its input's. */
    int far;
    int stream;                               /* y is aligned to vectors and written past caches; of channels only */
    int64_t x_ahead, y_ahead, ahead_row;
    /* Where it is table.depthwise_filters, not 0 or 1: so many filters, and outputs, for each block. */
    int filters;
    int64_t w_filter, y_filter;               /* weights and outputs from one to the next; biases are adjacent */
    int64_t again, x_again, y_again;          /* the whole that many times, for x and y further on */
    fc_activation activation;
} fc_depthwise;

enum { FC_DEPTHWISE_COLS = 8 };               /* tiles beside each other whose masks are kept */
static inline size_t fc_depthwise_work(int64_t place_ats, int64_t lane_ats)
{
    return (size_t)(FC_DEPTHWISE_COLS * lane_ats) * 64 + (size_t)place_ats * sizeof(uint64_t);
}

/* dst(pixel, channel) = src(pixel, (repeated + channel) / repeat): channels beside each other.  Pixels are `rows` of
 * `cols` that follow each other; in dst there are `before` and `after` pixels of zeros around each row.  Pixels of dst
 * have room for a vector more than their channels. */
typedef struct fc_depthwise_spread {
    int64_t rows, cols, before, after;
    int64_t channels, repeat, repeated;
    const void *src;
    int64_t src_pixel, src_channel;
    void *dst;
    int64_t dst_pixel;
} fc_depthwise_spread;
#endif
