/* Sums of products along adjacent pixels, of all pairs of two sets of rows.  Part of the kernel table; filled by
 * conv/weight_grad_dot.c. */
#ifndef FC_KERNELS_LANE_DOTS_H
#define FC_KERNELS_LANE_DOTS_H
#include "ahead.h"
#include <stdint.h>

/* Vector sums[i * sums_a + j * sums_b] (+)= sum over images and vectors of pixels of
 *     a[image * a_image + i * a_row + p] * b[image * b_image + j * b_row + p], p < pixels.
 *
 * A lane adds up every VLEN-th pixel of an image; no more is read than there is.  Without `accumulate` sums begin at
 * zero.  The tiles of a few rows of b pass over all of a before the next ones. */
typedef struct fc_lane_dots {
    int64_t m, n;                             /* rows of a and of b */
    int64_t images, pixels;
    const void *a;
    int64_t a_image, a_row;
    const void *b;
    int64_t b_image, b_row;
    int accumulate;
    void *sums;
    int64_t sums_a, sums_b;                   /* vectors */
    fc_ahead ahead[2];                        /* asked for meanwhile, evenly */
} fc_lane_dots;
#endif
