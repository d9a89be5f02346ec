/* Which outputs meet pixels of x through which taps, and not padding.  Called by direct.c and weight_grad_dense.c. */
#ifndef FC_CONV_MET_H
#define FC_CONV_MET_H
#include "geometry.h"

/* Taps first .. end of an axis through which an output meets pixels; through the others it meets padding. */
typedef struct fc_taps {
    int64_t first, end;
} fc_taps;

static inline fc_taps fc_taps_met(const fc_conv *conv, int axis, int64_t out)
{
    const int64_t before = conv->pad_before[axis] - out * conv->stride[axis];
    const int64_t after = conv->in_size[axis] - 1 + before, d = conv->dilation[axis], all = conv->kernel[axis];
    const int64_t first = before > 0 ? fc_min(fc_div_up(before, d), all) : 0;
    return (fc_taps){ first, after < 0 ? first : fc_max(first, fc_min(after / d + 1, all)) };
}

/* Outputs of an axis that meet a pixel through this tap; those before and after meet padding. */
static inline fc_span fc_met_by_tap(const fc_conv *conv, int axis, int64_t tap)
{
    return fc_span_of(0, conv->out_size[axis], conv->stride[axis], tap * conv->dilation[axis] - conv->pad_before[axis],
                      conv->in_size[axis]);
}

/* Every output of an axis meets a pixel through some tap. */
static inline bool fc_all_meet(const fc_conv *conv, int axis)
{
    const int64_t pad = conv->pad_before[axis], dilation = conv->dilation[axis], s = conv->stride[axis];
    const int64_t out = conv->out_size[axis];
    for (int64_t o = 0; o < fc_min(fc_div_up(pad, s), out); o++) {
        const int64_t tap = fc_div_up(pad - o * s, dilation);
        if (tap >= conv->kernel[axis] || o * s - pad + tap * dilation >= conv->in_size[axis])
            return false;
    }
    return (out - 1) * s - pad < conv->in_size[axis];
}

/* Share of the pairs of output and tap of an axis that meet a pixel. */
static inline double fc_met_share(const fc_conv *conv, int axis)
{
    double met = 0;
    for (int64_t tap = 0; tap < conv->kernel[axis]; tap++)
        met += (double)fc_met_by_tap(conv, axis, tap).inside;
    return met / ((double)conv->kernel[axis] * (double)conv->out_size[axis]);
}
#endif
