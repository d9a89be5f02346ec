/* 1x1 kernels without stride and padding, whose input gradient is a matrix product.  Header-only; used by
 * input_grad_pixels.c and input_grad_exchanged.c. */
#ifndef FC_CONV_INPUT_GRAD_PIXELS_H
#define FC_CONV_INPUT_GRAD_PIXELS_H
#include "geometry.h"

static inline bool fc_grad_is_product(const fc_conv *conv)
{
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (conv->pad_before[axis] != 0 || conv->in_size[axis] != conv->out_size[axis] ||
            (conv->stride[axis] != 1 && conv->in_size[axis] > 1))
            return false;
    return conv->taps == 1 && conv->groups == 1;
}

/* Elements between the pixels of all images, 0 where they are not evenly apart. */
static inline int64_t fc_grad_pixel_step(const int64_t stride[FC_AXES], const int64_t size[FC_SPATIAL], int64_t batch)
{
    const int64_t pixels = size[FC_DEPTH] * size[FC_HEIGHT] * size[FC_WIDTH];
    if (pixels == 1)
        return stride[FC_N];
    const bool even = fc_pixels_uniform(stride, size) && (size[FC_WIDTH] > 1 || size[FC_HEIGHT] == 1);
    return even && (batch == 1 || stride[FC_N] == pixels * stride[FC_W]) ? stride[FC_W] : 0;
}

/* Pixels for which input_grad_pixels.c is the fastest. */
static inline int64_t fc_most_pixels(const fc_conv *conv)
{
    return fc_far(conv, conv->in_channels * conv->out_channels) ? 18 : 4;
}
#endif
