/* Weight gradients of depthwise filters whose pixels are adjacent.  Part of the kernel table; filled by
 * conv/weight_grad_planes.c. */
#ifndef FC_KERNELS_PLANE_SUMS_H
#define FC_KERNELS_PLANE_SUMS_H
#include "depthwise_strided.h"

/* sums[plane][h][w][lane] += sum over images and outputs (i, j) whose column j is on that lane of
 *     g[plane](i, j) * x[(skip + plane) / same](i * stride - pad + h * dilation, j * stride - pad + w * dilation),
 * x being zero outside its rows and columns.  No more of x and of g is read than there is.  Outputs of `row` are first
 * .. end - 1; those of `col`, all.  Strides of columns are 1 to 4; their dilation is 1 unless the stride is.
 *
 * All rows of the kernel pass over `block` rows of outputs before the next ones.  What is `ahead` rows on is
 * prefetched. */
typedef struct fc_plane_sums {
    int64_t images, planes, same, skip;       /* planes of g; how many share one of x; those of the first one before */
    fc_strided_axis row, col;
    const void *x, *g;
    int64_t x_image, x_plane, x_row, g_image, g_plane, g_row;
    int64_t block, ahead;
    int far;                                  /* x and g are not in cache: narrow planes ask for later ones */
    void *sums;
} fc_plane_sums;

/* Planes whose rows two vectors hold with a lane to spare, one their outputs, and kernels of 3, 5 or 7 columns: a
 * vector has a row of outputs, or two short ones. */
static inline int fc_plane_sums_narrow(const fc_strided_axis *row, const fc_strided_axis *col, int64_t lanes)
{
    return fc_strided_narrow(col->in, lanes) && col->end <= lanes && row->kernel <= FC_STRIDED_HIGH &&
           (col->kernel == 3 || col->kernel == 5 || col->kernel == 7);
}
#endif
