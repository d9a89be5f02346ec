/* Which inputs an output sees along one axis.  Shared by the operators here.
 * Header-only; everything is in pixels or elements that fc_pool_check bounded. */
#ifndef FC_POOL_WINDOW_H
#define FC_POOL_WINDOW_H
#include "../base/size.h"
#include "../conv/geometry.h"
#include "pool.h"

/* Inputs along one axis that output o sees: first, first + dilation .. */
static inline fc_pool_span fc_pool_window(const fc_pool *pool, int axis, int64_t o)
{
    const int64_t size = pool->in_size[axis], d = pool->dilation[axis];
    if (pool->adaptive) {
        const int64_t first = o * size / pool->out_size[axis];
        return (fc_pool_span){ first, fc_div_up((o + 1) * size, pool->out_size[axis]) - first };
    }
    const int64_t start = o * pool->stride[axis] - pool->pad_before[axis];
    const int64_t skip = start >= 0 ? 0 : d == 1 ? -start : fc_div_up(-start, d);
    int64_t end = pool->kernel[axis];
    if (start + (end - 1) * d >= size)
        end = start >= size ? 0 : d == 1 ? size - start : (size - 1 - start) / d + 1;
    return (fc_pool_span){ start + skip * d, fc_max(end - skip, 0) };
}

/* The other way round: outputs that see input i, and how far apart they are. */
static inline fc_pool_span fc_pool_seen_by(const fc_pool *pool, int axis, int64_t i)
{
    const int64_t out = pool->out_size[axis], s = pool->stride[axis], d = pool->dilation[axis], k = pool->kernel[axis];
    fc_pool_span span = { 0, 0 };
    if (pool->adaptive) {
        span.first = i * out / pool->in_size[axis];
        span.count = fc_div_up((i + 1) * out, pool->in_size[axis]) - span.first;
        return span;
    }
    const int64_t at = i + pool->pad_before[axis];
    if (d == 1) {
        const int64_t last = fc_min(at / s, out - 1);
        span.first = at < k ? 0 : fc_div_up(at - k + 1, s);
        span.count = fc_max(last - span.first + 1, 0);
        return span;
    }
    for (int64_t tap = fc_min(k - 1, at / d); tap >= 0; tap--) {
        const int64_t start = at - tap * d;
        if (start % s != 0 || start / s >= out)
            continue;
        if (span.count++ == 0)
            span.first = start / s;
    }
    return span;
}

static inline int64_t fc_pool_seen_step(const fc_pool *pool, int axis)
{
    int64_t a = pool->stride[axis], b = pool->dilation[axis];
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return pool->dilation[axis] / a;
}

/* Inputs along one axis that an average counts: with count_include_pad those in padding too, but
 * never those that ceil_mode adds after it.  At least 1. */
static inline int64_t fc_pool_counted(const fc_pool *pool, int axis, int64_t o)
{
    if (pool->adaptive || !pool->count_include_pad)
        return fc_max(fc_pool_window(pool, axis, o).count, 1);
    const int64_t start = o * pool->stride[axis] - pool->pad_before[axis];
    const int64_t end = pool->in_size[axis] + pool->pad_after[axis];
    const int64_t reach = pool->dilation[axis] == 1 ? end - 1 - start : (end - 1 - start) / pool->dilation[axis];
    return fc_max(fc_min(pool->kernel[axis], reach + 1), 1);
}
#endif
