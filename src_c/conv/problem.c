/* fc_conv_check and default strides: the one door where sizes are checked.  Called by _core and the
 * C API before anything is allocated.  The sentences name Python's arguments. */
#include "problem.h"
#include "../base/size.h"
#include <stdio.h>

static const char *const axis_names[FC_SPATIAL] = { "depth", "height", "width" };

/* First axis that the user wrote: 2-D problems have a depth of one in front. */
static int first_axis(const fc_conv *conv) { return FC_SPATIAL - conv->spatial; }

static const char *x_of(const fc_conv *conv) { return conv->x_name ? conv->x_name : "x"; }
static const char *weight_of(const fc_conv *conv) { return conv->weight_name ? conv->weight_name : "weight"; }

static fc_status check_counts(fc_conv *conv, fc_error *error)
{
    if (conv->batch < 0)
        return fc_fail(error, FC_BAD_VALUE, "%s: batch size %lld is negative", x_of(conv), (long long)conv->batch);
    if (conv->in_channels < 1)
        return fc_fail(error, FC_BAD_VALUE, "%s has %lld channels; at least 1 is needed", x_of(conv),
                       (long long)conv->in_channels);
    if (conv->out_channels < 1)
        return fc_fail(error, FC_BAD_VALUE, "%s has %lld output channels (its first axis); at least 1 is needed",
                       weight_of(conv), (long long)conv->out_channels);
    if (conv->groups < 1)
        return fc_fail(error, FC_BAD_VALUE, "groups must be at least 1, got %lld", (long long)conv->groups);
    if (conv->in_channels % conv->groups != 0)
        return fc_fail(error, FC_BAD_VALUE, "groups=%lld does not divide the %lld channels of %s",
                       (long long)conv->groups, (long long)conv->in_channels, x_of(conv));
    if (conv->out_channels % conv->groups != 0)
        return fc_fail(error, FC_BAD_VALUE, "groups=%lld does not divide the %lld output channels of %s",
                       (long long)conv->groups, (long long)conv->out_channels, weight_of(conv));
    if (conv->in_per_group != conv->in_channels / conv->groups)
        return fc_fail(error, FC_BAD_VALUE,
                       "%s has %lld input channels per group (its second axis); %s has %lld channels in %lld "
                       "group%s, so %lld were wanted",
                       weight_of(conv), (long long)conv->in_per_group, x_of(conv), (long long)conv->in_channels,
                       (long long)conv->groups,
                       conv->groups == 1 ? "" : "s", (long long)(conv->in_channels / conv->groups));
    conv->out_per_group = conv->out_channels / conv->groups;
    return FC_OK;
}

/* How far a mode can reach from an image of so many pixels. */
static fc_status check_pad_mode(const fc_conv *conv, int axis, fc_error *error)
{
    static const char *const names[] = { "zeros", "constant", "replicate", "reflect", "symmetric", "circular" };
    const int64_t size = conv->in_size[axis], before = conv->pad_before[axis], after = conv->pad_after[axis];
    const int64_t most = conv->pad_mode == FC_PAD_REFLECT ? size - 1
                         : conv->pad_mode >= FC_PAD_SYMMETRIC ? size : INT64_MAX;
    if (fc_max(before, after) > most)
        return fc_fail(error, FC_BAD_VALUE,
                       "padding: padding_mode=\"%s\" reaches over %lld pixels at most for %s %lld, got (%lld, %lld)",
                       names[conv->pad_mode], (long long)most, axis_names[axis], (long long)size, (long long)before,
                       (long long)after);
    return FC_OK;
}

/* padded = before + size + after, reach = (kernel - 1) * dilation + 1, out = (padded - reach) / stride + 1. */
static fc_status check_axis(fc_conv *conv, int axis, fc_error *error)
{
    const char *name = axis_names[axis];
    const int64_t size = conv->in_size[axis], kernel = conv->kernel[axis];
    int64_t padded, reach;
    if (size < 1)
        return fc_fail(error, FC_BAD_VALUE, "%s has %s %lld; at least 1 is needed", x_of(conv), name, (long long)size);
    if (kernel < 1)
        return fc_fail(error, FC_BAD_VALUE, "%s has kernel %s %lld; at least 1 is needed", weight_of(conv), name,
                       (long long)kernel);
    if (conv->stride[axis] < 1)
        return fc_fail(error, FC_BAD_VALUE, "stride must be at least 1, got %lld for %s",
                       (long long)conv->stride[axis], name);
    if (conv->dilation[axis] < 1)
        return fc_fail(error, FC_BAD_VALUE, "dilation must be at least 1, got %lld for %s",
                       (long long)conv->dilation[axis], name);
    if (conv->pad_before[axis] < 0 || conv->pad_after[axis] < 0)
        return fc_fail(error, FC_BAD_VALUE, "padding must not be negative, got (%lld, %lld) for %s",
                       (long long)conv->pad_before[axis], (long long)conv->pad_after[axis], name);
    if (!fc_add(size, conv->pad_before[axis], &padded) || !fc_add(padded, conv->pad_after[axis], &padded) ||
        padded > INT64_MAX / 16)
        return fc_fail(error, FC_BAD_VALUE, "padding (%lld, %lld) around %s %lld is too large for a 64-bit size",
                       (long long)conv->pad_before[axis], (long long)conv->pad_after[axis], name, (long long)size);
    if (!fc_mul(kernel - 1, conv->dilation[axis], &reach) || reach > INT64_MAX / 16)
        return fc_fail(error, FC_BAD_VALUE, "dilation %lld of a kernel of %s %lld is too large for a 64-bit size",
                       (long long)conv->dilation[axis], name, (long long)kernel);
    reach += 1;
    if (reach > padded)
        return fc_fail(error, FC_BAD_VALUE,
                       "%s: kernel %s %lld with dilation %lld reaches over %lld pixels, but %s has %lld with padding "
                       "(%lld, %lld), %lld in all",
                       weight_of(conv), name, (long long)kernel, (long long)conv->dilation[axis], (long long)reach,
                       x_of(conv), (long long)size,
                       (long long)conv->pad_before[axis], (long long)conv->pad_after[axis], (long long)padded);
    conv->out_size[axis] = (padded - reach) / conv->stride[axis] + 1;
    if (conv->out_size[axis] == 1)            /* no step is made: a shorter one overflows nothing */
        conv->stride[axis] = fc_min(conv->stride[axis], fc_max(padded, INT32_MAX));
    if (kernel == 1)                          /* nor is this one */
        conv->dilation[axis] = fc_min(conv->dilation[axis], INT32_MAX);
    return check_pad_mode(conv, axis, error);
}

/* Elements of the largest things formed: 64 bytes each keeps every byte count below 2**63. */
static bool product_fits(const int64_t *factors, int count, int64_t *product)
{
    int64_t p = 1;
    for (int i = 0; i < count; i++)
        if (!fc_mul(p, factors[i] > 0 ? factors[i] : 1, &p))
            return false;
    *product = p;
    return p <= INT64_MAX / 64;
}

/* Elements of a padded image: some more are bytes of scratch, in vectors of channels with a border of strides. */
static const int64_t MOST_PADDED = INT64_MAX >> 16;
static int64_t padded_size(const fc_conv *conv, int axis)
{
    return conv->in_size[axis] + conv->pad_before[axis] + conv->pad_after[axis];
}

static fc_status check_products(fc_conv *conv, fc_error *error)
{
    const int64_t *in = conv->in_size, *k = conv->kernel, *out = conv->out_size;
    int64_t elements;
    const int64_t x[] = { conv->batch, conv->in_channels, in[0], in[1], in[2] };
    if (!product_fits(x, 5, &elements))
        return fc_fail(error, FC_BAD_VALUE, "%s: the number of elements of its shape does not fit 64 bits", x_of(conv));
    const int64_t w[] = { conv->out_channels, conv->in_per_group, k[0], k[1], k[2] };
    if (!product_fits(w, 5, &elements))
        return fc_fail(error, FC_BAD_VALUE, "%s: the number of elements of its shape does not fit 64 bits",
                       weight_of(conv));
    const int64_t y[] = { conv->batch, conv->out_channels, out[0], out[1], out[2] };
    if (!product_fits(y, 5, &elements))
        return fc_fail(error, FC_BAD_VALUE,
                       "padding or stride: the output of shape (%lld, %lld, %lld, %lld, %lld) has more elements than "
                       "fit 64 bits",
                       (long long)y[0], (long long)y[1], (long long)y[2], (long long)y[3], (long long)y[4]);
    const int64_t padded[] = { conv->in_channels, padded_size(conv, 0), padded_size(conv, 1), padded_size(conv, 2) };
    if (!product_fits(padded, 4, &elements) || elements > MOST_PADDED)
        return fc_fail(error, FC_BAD_VALUE, "padding: %s with its padding, (%lld, %lld, %lld) pixels of %lld channels, "
                       "is too large", x_of(conv), (long long)padded[1], (long long)padded[2], (long long)padded[3],
                       (long long)padded[0]);
    conv->taps = k[0] * k[1] * k[2];
    conv->depth = conv->taps * conv->in_per_group;
    conv->out_pixels = out[0] * out[1] * out[2];
    conv->flops = 2.0 * (double)conv->depth * (double)conv->out_channels * (double)conv->out_pixels *
                  (double)conv->batch;
    return FC_OK;
}

fc_status fc_conv_check(fc_conv *conv, fc_error *error)
{
    fc_status status = check_counts(conv, error);
    for (int axis = 0; axis < first_axis(conv); axis++) {
        conv->in_size[axis] = conv->kernel[axis] = conv->stride[axis] = conv->dilation[axis] = 1;
        conv->pad_before[axis] = conv->pad_after[axis] = 0;
        conv->out_size[axis] = 1;
    }
    for (int axis = first_axis(conv); axis < FC_SPATIAL && status == FC_OK; axis++)
        status = check_axis(conv, axis, error);
    return status == FC_OK ? check_products(conv, error) : status;
}

static void contiguous(int64_t stride[FC_AXES], int64_t channels, const int64_t size[FC_SPATIAL], bool channels_last)
{
    int64_t step = channels_last ? channels : 1;
    for (int axis = FC_SPATIAL - 1; axis >= 0; axis--) {
        stride[FC_D + axis] = step;
        step *= size[axis];
    }
    stride[FC_C] = channels_last ? 1 : step;
    stride[FC_N] = channels_last ? step : step * channels;
}

void fc_conv_default_strides(fc_conv *conv, bool channels_last)
{
    conv->channels_last = channels_last;
    contiguous(conv->x_stride, conv->in_channels, conv->in_size, channels_last);
    contiguous(conv->y_stride, conv->out_channels, conv->out_size, channels_last);
}
