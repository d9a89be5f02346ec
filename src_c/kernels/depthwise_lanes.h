/* Depthwise filters over blocks of channels, one vector of them, in a border of zeros.  Part of the kernel table;
 * filled by conv/depthwise_lanes.c. */
#ifndef FC_KERNELS_DEPTHWISE_LANES_H
#define FC_KERNELS_DEPTHWISE_LANES_H
#include "epilogue.h"
#include <stdbool.h>
#include <stdint.h>

/* A tile: `cols` outputs of a row by `places`, which are rows, or images, or pieces of one row beside each other. */
enum { FC_LANES_COLS = 8, FC_LANES_PLACES = 8 };
typedef struct fc_lanes_tile {
    int cols, places;
    bool by_image, by_piece;
} fc_lanes_tile;

/* The stride in taps, 1 or 2, where tiles of so many columns add whole rows of the kernel at a time; else 0.  Both
 * steps in one unit. */
enum { FC_LANES_ROWS_COLS = 4 };
static inline int fc_lanes_in_rows(int64_t kernel, int64_t stride, int64_t tap, int cols)
{
    const bool fits = cols >= FC_LANES_ROWS_COLS && (kernel == 3 || kernel == 5 || kernel == 7);
    return !fits ? 0 : stride == tap ? 1 : stride == 2 * tap ? 2 : 0;
}

/* The tiles of so many outputs where up to `sums` are kept at a time. */
static inline fc_lanes_tile fc_lanes_tile_of(int sums, int64_t images, int64_t rows, int64_t cols)
{
    const int64_t tiles = (cols + FC_LANES_COLS - 1) / FC_LANES_COLS;
    fc_lanes_tile tile = { .cols = (int)((cols + tiles - 1) / tiles) };
    tile.places = sums / tile.cols < FC_LANES_PLACES ? sums / tile.cols : FC_LANES_PLACES;
    tile.by_image = images >= tile.places || images > rows;
    tile.by_piece = images == 1 && rows == 1 && cols >= tile.places * tile.cols;
    return tile;
}

/* Whether all nine taps of an input are added before the next one, where up to `sums` are kept: of filters of so many
 * rows and columns and `deep` planes, strides and steps from tap to tap as fc_lanes_in_rows takes them. */
enum { FC_LANES_NINE_INPUTS = 4 };
static inline bool fc_lanes_by_nine(int sums, const fc_lanes_tile *tile, int64_t deep, int64_t rows, int64_t cols,
                                    int64_t stride, int64_t tap, int64_t inputs)
{
    return sums >= 16 && deep == 1 && rows == 3 && cols == 3 && inputs >= FC_LANES_NINE_INPUTS && !tile->by_piece &&
           fc_lanes_in_rows(cols, stride, tap, tile->cols) > 0;
}

/* Of at least so many columns there are tiles of one place, too, unless lanes are the filters of a depthwise one. */
enum { FC_LANES_ALONE_COLS = 4 };

/* One of the two axes.  Output o sees through tap k the input o * stride - pad + k * dilation, which is zero outside
 * 0 .. in - 1. */
typedef struct fc_lanes_axis {
    int64_t first, count;                     /* the outputs to compute */
    int64_t kernel, stride, dilation, pad, in;
    int64_t x_out, x_tap, y_out, w_tap;       /* elements of x from output to output, from tap to tap; y; weights */
} fc_lanes_axis;

/* y(image, row, col)[lane] = activation(bias[lane] + sum over deep, taps of both axes, inputs of
 *     weight(deep, tap, tap, input)[lane] * x(image, deep, row, col, tap, tap, input)[lane % groups])
 * for lane < lanes.  x points at what tap 0 of output 0 of both axes sees, `groups` lanes of it are read, and so are
 * zeros around it: of a tap that any output of a tile sees inside x, all its outputs'.  Other taps are left out.
 * groups is a power of two, up to VLEN, which is a depthwise filter.  Weights of a tap's inputs are VLEN apart. */
typedef struct fc_depthwise_lanes {
    const void *x, *weight, *bias;            /* bias NULL for none */
    void *y;                                  /* output 0 of both axes */
    fc_lanes_axis row, col;
    int64_t images, x_image, y_image;
    int64_t deep, x_deep, w_deep;
    int64_t inputs, x_input, groups;          /* x_input: elements from one to the next */
    int far;                                  /* with fewer groups than lanes: y is not in cache, and is asked for */
    const void *pick;                         /* lane l of y is lane pick[l], as vpick takes it; NULL for l */
    int64_t lanes, bias_lanes;                /* 1 .. VLEN; biases that there are */
    fc_activation activation;
} fc_depthwise_lanes;

#endif
