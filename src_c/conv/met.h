/* Which outputs meet pixels of x through which taps, and not padding.  Called by taps.c, dot_taps.c and gradients. */
#ifndef FC_CONV_MET_H
#define FC_CONV_MET_H
#include "geometry.h"

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
