/* Kernels without the taps that meet nothing but padding: see trim.h. */
#include "trim.h"
#include "../base/parallel.h"
#include "../base/size.h"
#include "geometry.h"
#include "nonfinite.h"
#include <stdatomic.h>
#include <string.h>

enum { COPY_WEIGHTS = 1 << 15 };              /* of a task, about: they are read twice, from L2 then */
/* Of a weight that is looked at, of a row of taps that is copied, and where it is one tap. */
static const double LOOK_SECONDS = 6e-11, ROW_SECONDS = 1.1e-9, TAP_SECONDS = 5e-10;

/* Whether tap `k` of an axis meets a pixel in some output. */
static bool meets(const fc_conv *conv, int axis, int64_t k)
{
    return fc_span_of(0, conv->out_size[axis], conv->stride[axis],
                      k * conv->dilation[axis] - conv->pad_before[axis], conv->in_size[axis]).inside > 0;
}

bool fc_trim_make(const fc_conv *conv, fc_trim *trim)
{
    int64_t first[FC_SPATIAL], last[FC_SPATIAL];
    bool any = false;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const int64_t d = conv->dilation[axis], before = conv->pad_before[axis], after = conv->pad_after[axis];
        first[axis] = 0;
        last[axis] = conv->kernel[axis] - 1;
        if (before == 0 && after == 0)
            continue;
        while (first[axis] < last[axis] && (first[axis] + 1) * d <= before && !meets(conv, axis, first[axis]))
            first[axis]++;
        while (first[axis] < last[axis] && (conv->kernel[axis] - last[axis]) * d <= after &&
               !meets(conv, axis, last[axis]))
            last[axis]--;
        any = any || last[axis] - first[axis] + 1 < conv->kernel[axis];
    }
    if (!any)
        return false;
    trim->conv = *conv;
    trim->taps = conv->taps;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const int64_t d = conv->dilation[axis];
        trim->kernel[axis] = conv->kernel[axis];
        trim->first[axis] = first[axis];
        trim->conv.kernel[axis] = last[axis] - first[axis] + 1;
        trim->conv.pad_before[axis] -= first[axis] * d;
        trim->conv.pad_after[axis] -= (conv->kernel[axis] - 1 - last[axis]) * d;
    }
    fc_error none;                            /* a smaller kernel cannot be refused */
    return fc_conv_check(&trim->conv, &none) == FC_OK;
}

typedef struct trim_job {
    const fc_trim *trim;
    const void *src;
    void *dst;
    int64_t channels;                         /* output channels of a task */
    bool expand;                              /* src holds the taps left, dst all; else the other way, and: */
    _Atomic bool spoilt;                      /* a weight is not finite */
} trim_job;

/* The filters of some output channels, tap row by tap row. */
static void copy_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    trim_job *job = context;
    const fc_trim *trim = job->trim;
    const fc_conv *conv = &trim->conv;
    const int64_t *k = conv->kernel, *all = trim->kernel, *first = trim->first, channel = task * job->channels;
    const int64_t filters = fc_min(job->channels, conv->out_channels - channel) * conv->in_per_group;
    const int64_t from = channel * conv->in_per_group, cols = k[FC_WIDTH];
    const int64_t src_step = job->expand ? conv->taps : trim->taps, dst_step = job->expand ? trim->taps : conv->taps;
    const size_t size = fc_size_of(conv->dtype);
    if (!job->expand && !fc_surely_finite(conv->dtype, fc_at(job->src, from * src_step, size), filters * src_step))
        job->spoilt = true;
    for (int64_t row = 0; row < k[FC_DEPTH] * k[FC_HEIGHT]; row++) {
        const int64_t depth = first[FC_DEPTH] + row / k[FC_HEIGHT], height = first[FC_HEIGHT] + row % k[FC_HEIGHT];
        const int64_t tap = (depth * all[FC_HEIGHT] + height) * all[FC_WIDTH] + first[FC_WIDTH], kept = row * cols;
        const bool apart = cols == 1;         /* then filters are the columns of one row */
        const fc_move move = {
            .rows = apart ? 1 : filters, .cols = apart ? filters : cols,
            .src = fc_at(job->src, from * src_step + (job->expand ? kept : tap), size),
            .src_row = src_step, .src_col = apart ? src_step : 1,
            .dst = fc_at_mut(job->dst, from * dst_step + (job->expand ? tap : kept), size),
            .dst_row = dst_step, .dst_col = apart ? dst_step : 1,
        };
        fc_table_for(conv->dtype)->move(&move);
    }
}

double fc_trim_seconds(const fc_trim *trim)
{
    const fc_conv *conv = &trim->conv;
    const int64_t *k = conv->kernel;
    const double filters = (double)conv->out_channels * (double)conv->in_per_group;
    const double row = k[FC_WIDTH] > 1 ? ROW_SECONDS : TAP_SECONDS;
    return filters * ((double)trim->taps * LOOK_SECONDS + (double)(k[FC_DEPTH] * k[FC_HEIGHT]) * row);
}

/* Whether all that was read is finite, unless `expand`. */
static bool copy(const fc_trim *trim, const void *src, void *dst, bool expand)
{
    const fc_conv *conv = &trim->conv;
    const int64_t filter = conv->in_per_group * trim->taps, channels = fc_max(1, COPY_WEIGHTS / filter);
    trim_job job = { .trim = trim, .src = src, .dst = dst, .channels = channels, .expand = expand };
    fc_error none;
    /* Tasks without scratch cannot fail. */
    (void)fc_parallel(fc_div_up(conv->out_channels, channels), fc_trim_seconds(trim), 0, copy_task, &job, &none);
    return !job.spoilt;
}

size_t fc_trim_bytes(const fc_trim *trim)
{
    return (size_t)(trim->conv.out_channels * trim->conv.depth) * fc_size_of(trim->conv.dtype);
}

bool fc_trim_weight(const fc_trim *trim, const void *weight, void *kept) { return copy(trim, weight, kept, false); }

void fc_trim_expand(const fc_trim *trim, const void *kept, void *grad)
{
    const fc_conv *conv = &trim->conv;
    memset(grad, 0, (size_t)(conv->out_channels * conv->in_per_group * trim->taps) * fc_size_of(conv->dtype));
    copy(trim, kept, grad, true);
}
