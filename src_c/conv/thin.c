/* Problems without the pixels that no output sees: see thin.h. */
#include "thin.h"
#include "../base/size.h"
#include "geometry.h"

/* Columns of planes stay where adjacent pixels of one channel are lanes, and where nothing but a copy sees the step. */
static int64_t every_of(const fc_conv *conv, int axis)
{
    if (axis == FC_WIDTH && !conv->channels_last && (conv->in_per_group == 1 || conv->kernel[axis] == 1))
        return 1;
    return fc_common_divisor(conv->stride[axis], conv->kernel[axis] > 1 ? conv->dilation[axis] : 0);
}

/* Output o sees through tap k the pixel o * stride - pad + k * dilation = first + every * j of x, and of those left
 * the j-th: j = o * (stride / every) - ceil(pad / every) + k * (dilation / every). */
static void thin_axis(fc_conv *conv, int axis, int64_t first, int64_t every)
{
    const int64_t pad = (first + conv->pad_before[axis]) / every, out = conv->out_size[axis];
    conv->stride[axis] /= every;
    conv->dilation[axis] = conv->kernel[axis] > 1 ? conv->dilation[axis] / every : 1;
    const int64_t reach = (out - 1) * conv->stride[axis] + (conv->kernel[axis] - 1) * conv->dilation[axis];
    conv->in_size[axis] = fc_min(fc_div_up(conv->in_size[axis] - first, every), reach + 1 - pad);
    conv->pad_before[axis] = pad;
    conv->pad_after[axis] = reach + 1 - pad - conv->in_size[axis];
}

bool fc_thin_make(const fc_conv *conv, fc_conv *thinned, fc_thin *thin)
{
    *thin = (fc_thin){ .every = { 1, 1, 1 } };
    bool any = false;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const int64_t every = every_of(conv, axis);
        if (every == 1)
            continue;
        const int64_t pad = conv->pad_before[axis], first = fc_div_up(pad, every) * every - pad;
        const int64_t last = (conv->out_size[axis] - 1) * conv->stride[axis] - pad +
                             (conv->kernel[axis] - 1) * conv->dilation[axis];
        if (last < 0 || first >= conv->in_size[axis]) /* padding is all that is seen */
            continue;
        if (!any)
            *thinned = *conv;
        any = true;
        thin_axis(thinned, axis, first, every);
        thin->first[axis] = first;
        thin->every[axis] = thinned->in_size[axis] > 1 ? every : 1; /* of one pixel the stride says nothing */
    }
    return any;
}

const void *fc_thin_x(const fc_thin *thin, fc_dtype dtype, const void *x, int64_t x_stride[FC_AXES])
{
    int64_t offset = 0;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        offset += thin->first[axis] * x_stride[FC_D + axis];
        x_stride[FC_D + axis] *= thin->every[axis];
    }
    return fc_at(x, offset, fc_size_of(dtype));
}
