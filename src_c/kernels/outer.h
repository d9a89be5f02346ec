/* Sums of outer products, the weight gradient's dense product: its arguments.  Part of the kernel
 * table; filled by conv/weight_grad_pointwise.c and conv/input_grad_pixels.c. */
#ifndef FC_KERNELS_OUTER_H
#define FC_KERNELS_OUTER_H
#include "ahead.h"
#include <stdint.h>

/* C[i][j] (+)= sum over p of A[i][p] * B[p][j], where p counts images x rows x cols pixels.
 *
 *   A(i, p) = a[i / tile * a_tile + i % tile * a_row + (image, row, col) . a_step], broadcast
 *   B(p, j) = b[p * b_step + j], j < n: one panel, read in whole vectors
 *
 * Each sum begins at zero; `accumulate` adds it to C at the end. */
typedef struct fc_outer {
    int64_t m, n;                             /* n: outer_tile's `vectors` vectors at most */
    int64_t images, rows, cols;
    const void *a;
    int64_t tile, a_tile, a_row, a_step[3];   /* tile: from outer_tile or less */
    const void *b;
    int64_t b_step;
    int accumulate;
    void *c;
    int64_t c_row;
    fc_ahead ahead[2];                        /* asked for meanwhile, evenly */
} fc_outer;

/* dst[i / width * dst_block + p * width + i % width] = src[p * src_step + i] for i < channels, p < pixels.
 * Up to a vector beyond the last value of each block is overwritten, and whole vectors of the last are
 * filled up with zeros. */
typedef struct fc_outer_pack {
    int64_t pixels, channels, width;
    const void *src;
    int64_t src_step;
    void *dst;
    int64_t dst_block;
} fc_outer_pack;
#endif
