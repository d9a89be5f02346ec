/* Input gradient of 3x3 filters with a stride of 2 over blocks of channels: the four pixels of a cell at once.  Part of
 * the kernel table; filled by conv/input_grad_blocks.c. */
#ifndef FC_KERNELS_GROUP_CELLS_H
#define FC_KERNELS_GROUP_CELLS_H
#include <stdbool.h>
#include <stdint.h>

/* Of fewer cells in a row there is no tile. */
enum { FC_CELLS_LEAST = 4 };

/* Cells of a tile: as few are computed twice as can be. */
static inline int64_t fc_cells_cols(int64_t cells, int64_t groups)
{
    const int64_t most = groups == 1 ? 7 : 5;
    int64_t best = FC_CELLS_LEAST, least = INT64_MAX;
    for (int64_t cols = most; cols >= FC_CELLS_LEAST; cols--) {
        const int64_t all = (cells + cols - 1) / cols * cols;
        if (cols <= cells && all < least) {
            least = all;
            best = cols;
        }
    }
    return best;
}

/* Of each axis, in either of which cell i holds pixels 2 i and 2 i + 1: one of the two sees output first + i through
 * tap 2 and the next output through tap 0, the other sees the output `one` after first + i through tap 1, and is the
 * first pixel if one is 0, and the second if it is 1. */
typedef struct fc_cells_axis {
    int64_t pixels, outputs, first;           /* outputs 0 .. outputs - 1 are there; others are zeros in the copy */
    int one;
    int64_t x_out, y_pixel, w_tap;            /* elements */
} fc_cells_axis;

/* y(image, row, col)[lane] = sum over taps and inputs of weight(tap, tap, input)[lane] * x(..)[lane % groups] for lane
 * < lanes, as in depthwise_lanes.h.  x points at output `first` of both axes. */
typedef struct fc_group_cells {
    const void *x, *weight;
    void *y;
    fc_cells_axis row, col;
    int64_t images, x_image, y_image;
    int64_t inputs, x_input, groups;
    int far;                                  /* y is not in cache, and is asked for */
    const void *pick;                         /* as fc_depthwise_lanes.pick */
    int64_t lanes;
} fc_group_cells;
#endif
