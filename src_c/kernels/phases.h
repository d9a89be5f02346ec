/* The input gradient of strided depthwise convolutions whose pixels are adjacent, filled by conv/input_grad_planes.c,
 * or whose channels are, by conv/input_grad_depthwise.c.  Part of the kernel table. */
#ifndef FC_KERNELS_PHASES_H
#define FC_KERNELS_PHASES_H
#include <stdint.h>

enum { FC_PHASES_STRIDE = 4, FC_PHASES_DOWN = 8, FC_PHASES_TAPS = 8 };

/* One axis of the convolution: pixels of the gradient, outputs that grad_output has. */
typedef struct fc_phases_axis {
    int64_t kernel, stride, pad, pixels, outputs;
} fc_phases_axis;

/* Outputs that see pixels stride * i .. stride * (i + 1) - 1: i + last, i + last - 1 and so on, `taps` of them. */
static inline int64_t fc_phases_last(const fc_phases_axis *a) { return (a->stride - 1 + a->pad) / a->stride; }
static inline int64_t fc_phases_taps(const fc_phases_axis *a)
{
    return (a->kernel - 1 - (a->pad - a->stride * fc_phases_last(a))) / a->stride + 1;
}

/* dst(y, x) = sum over kernel elements (kh, kw) and outputs (i, j) with i * row.stride + kh == y + row.pad, and columns
 * likewise, of weight[kh][kw] * src(i, j): for all x and first <= y < end, in every plane.  A pixel's sum takes them in
 * a fixed order, however rows are cut.  No more of src is read than there is. */
typedef struct fc_filter_phases {
    int64_t planes, first, end;               /* first: a multiple of row.stride */
    fc_phases_axis row, col;                  /* row.stride: 1 .. FC_PHASES_DOWN; col.stride: 2 .. FC_PHASES_STRIDE,
                                               * and no more than FC_PHASES_TAPS taps */
    const void *src, *weight;                 /* weights of a plane follow those of the one before */
    int64_t src_plane, src_row;
    void *dst;
    int64_t dst_plane, dst_row;
} fc_filter_phases;

/* A row of the gradient with a stride of 2 along it, of kernels of 3, 5 or 7 columns: pixel x is the sum over rows of
 * src, each with its row of the weights, and over columns k and outputs o with 2 * o + k == x + pad, of
 * weight(row, k)[lane] * src(row, o)[lane].  Columns of a pixel are added in order. */
typedef struct fc_filter_pixel_pairs {
    int64_t lanes, pixels, outputs, kernel, pad;
    int64_t rows, src_row, w_row;             /* may be 0, negative, and any */
    const void *src, *weight;                 /* weights: whole vectors may be read */
    int64_t src_step, w_step;                 /* from output to output, from column to column */
    void *dst;
    int64_t dst_step;
    int stream;                               /* dst's vectors are aligned, and written past the caches */
} fc_filter_pixel_pairs;
#endif
