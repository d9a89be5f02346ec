/* How an axis of the input is met by outputs, for input gradients that compute all phases at once.
 * Used by input_grad_direct.c and input_grad_depthwise.c.
 *
 * With stride s, dilation d and padding before p, tap t of output o meets pixel o * s + t * d - p.
 * Padded pixels are counted as q * s + r: those of one rest r form a phase, which sees the taps with
 * t * d % s == r, of outputs q - t * d / s. */
#ifndef FC_CONV_INPUT_GRAD_AXIS_H
#define FC_CONV_INPUT_GRAD_AXIS_H
#include "geometry.h"

typedef struct fc_grad_axis {
    int64_t stride, dilation;
    int64_t first, count, reach;              /* q: first .. first + count; outputs q - reach .. q are seen */
} fc_grad_axis;

/* All axes, and grad_output as the x of a convolution with stride 1 over q, as bands take it. */
static inline fc_conv fc_grad_axes(const fc_conv *conv, fc_grad_axis axes[FC_SPATIAL])
{
    fc_conv seen = *conv;
    for (int i = 0; i < FC_SPATIAL; i++) {
        fc_grad_axis *a = &axes[i];
        /* Of a single pixel that a single tap meets without padding there is one phase, whatever the stride. */
        a->stride = conv->in_size[i] > 1 || conv->kernel[i] > 1 || conv->pad_before[i] > 0 ? conv->stride[i] : 1;
        a->dilation = conv->kernel[i] > 1 ? conv->dilation[i] : 1;
        a->first = conv->pad_before[i] / a->stride;
        a->count = (conv->in_size[i] - 1 + conv->pad_before[i]) / a->stride + 1 - a->first;
        a->reach = (conv->kernel[i] - 1) * a->dilation / a->stride;
        seen.in_size[i] = conv->out_size[i];
        seen.kernel[i] = a->reach + 1;
        seen.stride[i] = seen.dilation[i] = 1;
        seen.pad_before[i] = a->reach - a->first;
    }
    for (int i = 0; i < FC_AXES; i++)
        seen.x_stride[i] = conv->y_stride[i];
    return seen;
}

/* The phase that a tap belongs to. */
static inline int64_t fc_grad_rest(const fc_grad_axis *a, int64_t tap) { return tap * a->dilation % a->stride; }

/* Outputs from the first that q sees, q - reach, to the one that it sees through a tap. */
static inline int64_t fc_grad_back(const fc_grad_axis *a, int64_t tap)
{
    return a->reach - tap * a->dilation / a->stride;
}

/* Pixel of rest r of the axis' q-th q, which may be outside. */
static inline int64_t fc_grad_pixel(const fc_conv *conv, const fc_grad_axis *a, int axis, int64_t q, int64_t r)
{
    return (a->first + q) * a->stride + r - conv->pad_before[axis];
}
#endif
