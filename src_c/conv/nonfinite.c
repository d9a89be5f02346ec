/* Outputs that see padding through a weight that is not finite: see nonfinite.h. */
#include "nonfinite.h"
#include "../base/size.h"
#include "geometry.h"
#include <math.h>

static bool finite_at(const fc_conv *conv, const void *weight, int64_t at)
{
    return isfinite(conv->dtype == FC_F32 ? (double)((const float *)weight)[at] : ((const double *)weight)[at]);
}

/* A sum of numbers of which one is not finite is not finite. */
bool fc_surely_finite(fc_dtype dtype, const void *values, int64_t count)
{
    double total64 = 0;
    float total32 = 0;
    const bool single = dtype == FC_F32;
    const fc_sum_rows sum = { .rows = 1, .cols = count, .along = 1, .src = values,
                              .dst = single ? (void *)&total32 : (void *)&total64 };
    fc_table_for(dtype)->sum_rows(&sum);
    return isfinite(single ? (double)total32 : total64);
}

/* Rows of one tap of one channel: outputs that see padding through it. */
static void spoil(const fc_conv_run *run, int64_t channel, const int64_t tap[FC_SPATIAL])
{
    const fc_conv *conv = run->conv;
    const int64_t *out = conv->out_size, *y = conv->y_stride;
    fc_span span[FC_SPATIAL];
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        span[axis] = fc_span_of(0, out[axis], conv->stride[axis],
                                tap[axis] * conv->dilation[axis] - conv->pad_before[axis], conv->in_size[axis]);
    for (int64_t row = 0; row < conv->batch * out[0] * out[1]; row++) {
        const int64_t at[FC_SPATIAL] = { row / out[1] % out[0], row % out[1], 0 };
        bool inside = true;
        for (int axis = FC_DEPTH; axis <= FC_HEIGHT; axis++)
            inside = inside && at[axis] >= span[axis].before && at[axis] < span[axis].before + span[axis].inside;
        const int64_t first = row / out[1] / out[0] * y[FC_N] + channel * y[FC_C] + at[0] * y[FC_D] + at[1] * y[FC_H];
        for (int64_t col = 0; col < out[2]; col++) {
            if (inside && col == span[2].before)
                col += span[2].inside;
            if (col >= out[2])
                break;
            if (conv->dtype == FC_F32)
                ((float *)run->y)[first + col * y[FC_W]] = NAN;
            else
                ((double *)run->y)[first + col * y[FC_W]] = NAN;
        }
    }
}

void fc_nonfinite_padding(const fc_conv_run *run, const void *weight, int64_t channel_step, int64_t index_step)
{
    const fc_conv *conv = run->conv;
    const int64_t *k = conv->kernel, count = (conv->out_channels - 1) * channel_step +
                                             (conv->depth - 1) * index_step + 1;
    if (fc_unpadded(conv) || fc_surely_finite(conv->dtype, weight, count))
        return;
    for (int64_t channel = 0; channel < conv->out_channels; channel++)
        for (int64_t i = 0; i < conv->depth; i++) {
            const int64_t tap[FC_SPATIAL] = { i % conv->taps / (k[1] * k[2]), i % conv->taps / k[2] % k[1], i % k[2] };
            if (!finite_at(conv, weight, channel * channel_step + i * index_step))
                spoil(run, channel, tap);
        }
}
