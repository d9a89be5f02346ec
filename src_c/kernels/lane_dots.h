/* Sums of products along adjacent pixels, of all pairs of two sets of rows.  Part of the kernel table; filled by
 * conv/weight_grad_dot.c and conv/weight_grad_rows.c. */
#ifndef FC_KERNELS_LANE_DOTS_H
#define FC_KERNELS_LANE_DOTS_H
#include "ahead.h"
#include <stdint.h>

/* Vector sums[i * sums_a + j * sums_b] (+)= sum over images, lines and vectors of pixels of
 *     a[image * a_image + line * a_line + a_at[i] + p] * b[image * b_image + line * b_line + j * b_row + p],
 * p < pixels, where a_at[i] is i * a_row if `a_at` is NULL.
 *
 * A lane adds up every VLEN-th pixel of a line; no more is read than there is.  Without `accumulate` sums begin at
 * zero.  The tiles of a few rows of b pass over all of a before the next ones. */
typedef struct fc_lane_dots {
    int64_t m, n;                             /* rows of a and of b */
    int64_t images, lines, pixels;
    const void *a;
    int64_t a_image, a_line, a_row;
    const int64_t *a_at;
    const void *b;
    int64_t b_image, b_line, b_row;
    int accumulate;
    void *sums;
    int64_t sums_a, sums_b;                   /* vectors */
    fc_ahead ahead[2];                        /* asked for meanwhile, evenly */
} fc_lane_dots;
#endif
