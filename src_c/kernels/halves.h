/* The input gradient of depthwise convolutions of stride 2: four filters whose results interleave.
 * Part of the kernel table; filled by conv/input_grad_depthwise.c. */
#ifndef FC_KERNELS_HALVES_H
#define FC_KERNELS_HALVES_H
#include <stdint.h>

/* With reach = kernel / 2, p and s of 0 and 1, for 0 <= 2 * q + p + row < dst_rows and 2 * x + (s + odd) % 2 < cols,
 *     dst(2 * q + p + row, 2 * x + (s + odd) % 2) = sum over a, b, with 2 * a + p < kernel and 2 * b + s < kernel, of
 *         weight[2 * a + p][2 * b + s] * src(q + reach - a, x + (s == 0 && odd) + reach - b)
 * in every plane, q < rows.  Whole vectors of src are read; where its rows are half a vector apart and cols is
 * at most one, two rows at a time, so up to one row more. */
typedef struct fc_filter_halves {
    int64_t planes, kernel;                   /* 3 or 5, square */
    int odd;
    int64_t rows, row, dst_rows, cols;
    const void *src, *weight;                 /* weights of a plane follow those of the one before */
    int64_t src_plane, src_row;
    void *dst;
    int64_t dst_plane, dst_row;
} fc_filter_halves;
#endif
