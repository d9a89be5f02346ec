/* Pixels as vectors of channels: the band of a weight gradient whose lanes are output channels.
 * Part of the kernel table; filled by conv/weight_grad_channels.c. */
#ifndef FC_KERNELS_LANES_H
#define FC_KERNELS_LANES_H
#include <stdint.h>

/* band(row, col)[lane] = src(row, col)[pick[lane]] for lane < VLEN, a vector a column; of a single channel
 * src(row, col)[0], and only that is read. */
typedef struct fc_spread_lanes {
    int64_t rows, cols;
    int single;
    const void *src, *pick;                   /* pick: as vpick takes it, of one vector */
    int64_t src_row, src_col;
    void *band;
    int64_t band_row;
} fc_spread_lanes;

/* dst(row, col)[lane] = src(row, col)[lane] for lane < channels, VLEN at most, a vector a column; other lanes
 * hold anything.  With every pixel, one cache line of what is wanted soon is asked for: `left` from `ahead` on,
 * then `lines` from `ahead_step` elements after the first of those before, and so on. */
typedef struct fc_cut_lanes {
    int64_t rows, cols, channels;
    const void *src;
    int64_t src_row, src_col;
    void *dst;
    int64_t dst_row;
    const void *ahead;
    int64_t left, lines, ahead_step;
} fc_cut_lanes;
#endif
