/* Pixels as vectors of channels: the band of a weight gradient whose lanes are output channels.
 * Part of the kernel table; filled by conv/weight_grad_channels.c, group_lanes.c and runs_copy.c. */
#ifndef FC_KERNELS_LANES_H
#define FC_KERNELS_LANES_H
#include <stdint.h>

/* Where one vector of a pixel's channels in another order comes from: `count` vectors beginning at `from`, merged one
 * after the other: pick is a list for each, as vpick takes it, of the lanes so far and those of the next.  The first
 * is picked from by itself where it is alone; its list is not read where it is not. */
typedef struct fc_lane_sources {
    int64_t count;
    const int64_t *from;
    const void *pick;
} fc_lane_sources;

/* dst(pixel)[0 .. vectors * VLEN) = lanes of src(pixel), picked as `sources` says of each vector.  Of every source
 * `readable` lanes are read, VLEN at most.  With every pixel a line is asked for in each of `vectors`' places of
 * the source `ahead` elements further on, where that is not 0. */
typedef struct fc_pick_lanes {
    int64_t pixels, vectors, readable, ahead;
    const void *src;
    int64_t src_pixel;
    void *dst;
    int64_t dst_pixel;
    const fc_lane_sources *sources;
} fc_pick_lanes;

/* dst(row, col)[c] = src[plane[c] + row * cols + col] for c < channels, VLEN at most; a vector is written, other lanes
 * are zeros, column by column in order. */
typedef struct fc_turn_planes {
    int64_t rows, cols, channels;
    const void *src;
    const int64_t *plane;
    void *dst;
    int64_t dst_row, dst_col;
} fc_turn_planes;

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
