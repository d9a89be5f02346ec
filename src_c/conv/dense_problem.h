/* The weight gradient as weight_grad_dense.c computes it: with roles exchanged, groups merged to units.  Called by that
 * alone. */
#ifndef FC_CONV_DENSE_PROBLEM_H
#define FC_CONV_DENSE_PROBLEM_H
#include "geometry.h"
#include "met.h"

enum {
    FC_DENSE_ROWS = 1152,     /* (channel, tap) pairs of a part: parts each copy what they see, so rather few */
    FC_DENSE_CHANNELS = 256,  /* output channels of a part */
};

/* x and grad_output in each other's place. */
static inline fc_conv fc_exchanged(const fc_conv *conv)
{
    fc_conv e = *conv;
    e.in_channels = conv->out_channels;
    e.out_channels = conv->in_channels;
    e.in_per_group = conv->out_per_group;
    e.out_per_group = conv->in_per_group;
    e.out_pixels = 1;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        e.in_size[axis] = conv->out_size[axis];
        e.out_size[axis] = conv->in_size[axis];
        e.out_pixels *= e.out_size[axis];
        e.pad_before[axis] = (conv->kernel[axis] - 1) * conv->dilation[axis] - conv->pad_before[axis];
    }
    for (int axis = 0; axis < FC_AXES; axis++) {
        e.x_stride[axis] = conv->y_stride[axis];
        e.y_stride[axis] = conv->x_stride[axis];
    }
    e.depth = e.in_per_group * e.taps;
    return e;
}

/* Multiply-adds of vectors. */
static inline double fc_dense_products(const fc_conv *conv, int64_t lanes)
{
    const double vectors = (double)fc_div_up(conv->out_per_group, lanes);
    return (double)(conv->groups * conv->depth) * (double)(conv->batch * conv->out_pixels) * vectors *
           (vectors == 1 ? 1.3 : 1.1);
}

/* Vectors of both that are copied, or transposed, for each part that sees them. */
static inline double fc_dense_copied(const fc_conv *conv, int64_t lanes)
{
    const double x = (double)fc_x_count(conv) / (double)lanes;
    const double g = (double)(conv->groups * fc_div_up(conv->out_per_group, lanes)) *
                     (double)(conv->batch * conv->out_pixels);
    const bool pieces = conv->x_stride[FC_C] != 1 && conv->stride[FC_WIDTH] > 1;
    return x * (pieces ? 10 : 5) * (double)fc_div_up(conv->out_per_group, FC_DENSE_CHANNELS) +
           g * (conv->y_stride[FC_C] == 1 ? 4 : 18) * (double)fc_div_up(conv->depth, FC_DENSE_ROWS);
}

/* Where strides allow it; and every output must meet a pixel, for what it is if not finite must be seen. */
static inline bool fc_dense_exchanges(const fc_conv *conv, int64_t lanes)
{
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (conv->stride[axis] > 1 || conv->pad_before[axis] > (conv->kernel[axis] - 1) * conv->dilation[axis] ||
            !fc_all_meet(conv, axis))
            return false;
    const fc_conv e = fc_exchanged(conv);
    const double as_it_is = fc_dense_products(conv, lanes) + fc_dense_copied(conv, lanes);
    return fc_dense_products(&e, lanes) + fc_dense_copied(&e, lanes) < 0.9 * as_it_is;
}

/* The problem as it is computed: units are its groups. */
static inline fc_conv fc_dense_computed(const fc_conv *conv, int64_t lanes, bool exchange, int64_t *merged)
{
    fc_conv c = exchange ? fc_exchanged(conv) : *conv;
    *merged = fc_max(1, fc_min(lanes / c.out_per_group, c.groups));
    c.groups = fc_div_up(c.groups, *merged);
    c.in_per_group *= *merged;
    c.out_per_group *= *merged;
    c.depth *= *merged;
    return c;
}
#endif
