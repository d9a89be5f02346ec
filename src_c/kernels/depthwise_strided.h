/* Depthwise filters of planes whose pixels are adjacent, with a stride or narrow.  Part of the kernel table; filled by
 * conv/depthwise_strided.c. */
#ifndef FC_KERNELS_DEPTHWISE_STRIDED_H
#define FC_KERNELS_DEPTHWISE_STRIDED_H
#include "epilogue.h"
#include <stdint.h>

/* Columns of a kernel; columns of a wide one, as many as the stride at a time; rows of a narrow one, which has less
 * padding above and below than rows. */
enum { FC_STRIDED_KERNEL = 16, FC_STRIDED_GROUPS = 6, FC_STRIDED_HIGH = 8 };

/* Output o sees through element k of the kernel the input o * stride - pad + k * dilation, which is zero outside
 * 0 .. in - 1. */
typedef struct fc_strided_axis {
    int64_t first, end;                       /* the outputs to compute: all of a row */
    int64_t kernel, stride, dilation, pad, in;
} fc_strided_axis;

/* Rows that two vectors hold with a lane to spare take any stride and dilation of columns, where one holds the outputs;
 * others strides of 3 or 4, and of 2 as below. */
static inline int fc_strided_narrow(int64_t width, int64_t lanes) { return width < 2 * lanes; }

/* Rows of which a vector holds two or more, and as long as those of outputs; without a stride. */
static inline int fc_strided_flat(const fc_strided_axis *row, const fc_strided_axis *col, int64_t lanes)
{
    return row->stride == 1 && col->stride == 1 && row->dilation == 1 && col->end == col->in && 2 * col->in <= lanes;
}

/* Wide planes with a stride of 2 both ways, or of columns alone that are as far apart in the kernel; of small square
 * kernels that see no more of a third vector than it has. */
enum { FC_STRIDED_TWOS = 5 };                 /* columns of these at most */
static inline int fc_strided_twos(const fc_strided_axis *row, const fc_strided_axis *col, int64_t lanes)
{
    const int apart = col->dilation == 2 && row->stride == 1, beside = col->dilation == 1 && row->stride == 2;
    return (apart || beside) && col->stride == 2 && row->dilation == 1 && row->kernel == col->kernel &&
           (col->kernel == 3 || col->kernel == FC_STRIDED_TWOS) &&
           (col->kernel - 2) * col->dilation < lanes && !fc_strided_narrow(col->in, lanes);
}

/* y = activation(bias + sum over elements of weight * x), in every plane, the sum in the order of the elements,
 * of flat planes that of the columns of a small kernel.  No more of x is read than there is.  Flat planes have their
 * rows one after the other, x and y. */
typedef struct fc_depthwise_strided {
    int64_t planes;
    fc_strided_axis row, col;
    const void *x, *weight, *bias;            /* weights and biases of planes follow each other */
    int64_t x_plane, x_row;
    void *y;
    int64_t y_plane, y_row;
    int far;                                  /* x is not in cache: wide planes with a stride of 2 ask for later rows */
    fc_activation activation;
} fc_depthwise_strided;
#endif
