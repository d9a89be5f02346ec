/* The dense product's arguments.  Part of the kernel table; filled by conv/im2col.c, direct.c, taps.c and others. */
#ifndef FC_KERNELS_GEMM_H
#define FC_KERNELS_GEMM_H
#include "ahead.h"
#include "epilogue.h"
#include <stddef.h>
#include <stdint.h>

/* Where the lines of C are: in L2; farther, so that they are asked for before they are written; or in an array that
 * no cache will hold, which is written past them where it is aligned. */
typedef enum fc_reach { FC_C_NEAR, FC_C_FAR, FC_C_PAST } fc_reach;

/* C[m][n] (+)= sum over k of A[m][k] * B[k][n], then the epilogue: the one dense product.
 *
 * The rows m are broadcast, the lanes n are vectors.  Either side may be the output channels:
 * pixels as lanes write NCHW, channels as lanes write NHWC.  Every C value is one chain of
 * fused multiply-adds in the order of k, whatever the tile, so tiling never changes a bit.
 *   A(i, k) = a[i][k], or a[i][a_offset[k]] where a_offset is given, or
 *             a[i / a_run][i % a_run * a_even + a_offset[k]] where a_run is too, for rows a fixed step apart, or
 *             a[k / a_segment * a_step + i][k % a_segment] where a_segment is, which divides k
 *   B(k, j) = b[(j / panel) * b_panel + k * b_step + j % panel], or
 *             b[j + b_offset[k]] where b_offset is given (b_panel and b_step are not read), or with
 *             a_offset b_offset[k] takes the place of k * b_step, or
 *             b[j0 * b_lane + k * b_step + j - j0] where b_lane is given, for panels that begin at j0 and have
 *             the widths of fc_gemm_cut; a b_step of 0 stands for the panel's own width
 * The last panel is read up to a whole vector past n, so b must have that much room, but for b_copy.
 * Where b_copy is given (then with b_lane), B is read once and written there as packed panels,
 * those of a panel side by side from element j0 * k on, which every row after the first tile reads.
 * B should fit in L2: all of it is read for every few rows. */
typedef struct fc_gemm {
    int64_t m, n, k;
    const void *const *a;
    const int64_t *a_offset;
    int64_t a_segment, a_step, a_run, a_even;
    const void *b;
    int64_t b_panel, b_step, b_lane;
    const int64_t *b_offset;
    void *b_copy;          /* n * k elements, n rounded up to vectors; NULL for none */
    int64_t a_rows;        /* A is not in L2 yet: ask ahead for its rows, of which `a` has so many, or 0 */
    int b_far;             /* B is not in L2 yet: ask for its next panel ahead */
    fc_reach c_reach;
    fc_ahead *soon;        /* what to ask for meanwhile, evenly; NULL for nothing */
    int panel_vectors;     /* a panel is that many vectors wide: 1 to 4 */
    int accumulate;        /* start from C instead of from the bias (or zero) */
    int finish;            /* last part of k: apply the activation */
    void *c;
    int64_t c_row;         /* between rows of C; lanes of C are adjacent */
    const int64_t *c_offset; /* of each row of C, in place of its number times c_row; NULL for none */
    const void *bias;      /* NULL for none */
    int bias_on_lanes;     /* bias[j] for lane j, else bias[i] for row i */
    fc_activation activation;
} fc_gemm;

/* Vectors of the first of the panels that `vectors` are cut into: as many threes as can be, and fours or
 * twos for the rest; both keep the registers as full. */
static inline int64_t fc_gemm_cut(int64_t vectors, int widest)
{
    if (vectors <= widest)
        return vectors;
    if (widest > 3)
        return vectors % 3 == 0 || vectors == 5 ? 3 : 4;
    return vectors == 4 ? 2 : 3;
}
#endif
