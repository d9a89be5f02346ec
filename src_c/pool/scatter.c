/* What max, stochastic and un-pooling do with indices.  Called by _core; the arrays are contiguous. */
#include "../base/parallel.h"
#include "../base/size.h"
#include "pool.h"
#include <stdatomic.h>
#include <string.h>

typedef enum { SCATTER, UNPOOL, GATHER } scatter_kind;

/* Two tasks never write to one plane, so that what falls on one pixel is added in order. */
typedef struct scatter_job {
    const fc_pool *pool;
    scatter_kind kind;
    const int64_t *indices;
    void *big, *small;                        /* in_pixels and out_pixels a plane */
    int64_t planes, per_task, blocks;         /* planes, or channels, of a task; blocks of channels */
    atomic_bool outside;                      /* an index was */
} scatter_job;

enum { CHUNK = 256, AHEAD = 1024, TOGETHER = 4, OUTSIDE = -2 };

/* The largest of some indices, at least -1; OUTSIDE, and all further tasks end, where one is no index. */
static int64_t largest_index(scatter_job *j, const int64_t *index, int64_t count)
{
    const int64_t none = j->kind == SCATTER;
    int64_t most[4] = { -1, -1, -1, -1 }, sign = 0, i = 0;
    for (; i + 4 <= count; i += 4)            /* four chains: each step waits for the one before */
        for (int k = 0; k < 4; k++) {
            most[k] = fc_max(most[k], index[i + k]);
            sign |= index[i + k] + (index[i + k] < 0 ? none : 0);
        }
    for (; i < count; i++) {
        most[0] = fc_max(most[0], index[i]);
        sign |= index[i] + (index[i] < 0 ? none : 0);
    }
    most[0] = fc_max(fc_max(most[0], most[1]), fc_max(most[2], most[3]));
    if (sign >= 0 && most[0] < j->pool->in_pixels)
        return most[0];
    atomic_store_explicit(&j->outside, true, memory_order_relaxed);
    return OUTSIDE;
}

#define real float
#define NAME(name) name##_f32
#include "scatter.inc"
#undef real
#undef NAME
#define real double
#define NAME(name) name##_f64
#include "scatter.inc"

static fc_status run(const fc_pool *pool, scatter_kind kind, const int64_t *indices, void *big, void *small, fc_error *error)
{
    scatter_job j = { .pool = pool, .kind = kind, .indices = indices, .big = big, .small = small };
    const double plane = (double)pool->in_pixels * 0.25 + (double)pool->out_pixels * 1.5 + 10;
    int64_t tasks;
    j.planes = pool->batch * pool->channels;
    if (pool->channels_last) {
        /* Long pieces of every pixel, which are read ahead; all channels at once where there is little to do. */
        const bool little = plane * (double)pool->channels < 1e5;
        j.per_task = little ? pool->channels : fc_max(128, fc_round_up(fc_div_up(pool->channels, 4), 16));
        j.blocks = fc_div_up(pool->channels, j.per_task);
        tasks = pool->batch * j.blocks;
    } else {
        j.per_task = plane >= 65536 ? 1 : (int64_t)(65536 / plane) + 1;
        j.per_task = fc_round_up(j.per_task, TOGETHER);
        tasks = fc_div_up(j.planes, j.per_task);
    }
    const double seconds = plane * (double)j.planes * 0.5e-9;
    const fc_status status = fc_parallel(tasks, seconds, 0, pool->dtype == FC_F32 ? scatter_task_f32 : scatter_task_f64, &j, error);
    int64_t bad = 0;
    if (status != FC_OK || !atomic_load(&j.outside))
        return status;
    fc_pool_bad_index(pool, indices, kind == SCATTER, &bad);
    return fc_fail(error, FC_BAD_VALUE, "indices: %lld is outside a plane of %lld pixels", (long long)bad, (long long)pool->in_pixels);
}

int64_t fc_pool_bad_index(const fc_pool *pool, const int64_t *indices, bool none, int64_t *bad)
{
    const int64_t count = pool->batch * pool->channels * pool->out_pixels, least = none ? -1 : 0;
    const uint64_t range = (uint64_t)(pool->in_pixels - least);
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        bool outside = false;
        for (int k = 0; k < 8; k++)
            outside |= (uint64_t)indices[i + k] - (uint64_t)least >= range;
        if (outside)
            break;
    }
    for (; i < count; i++)
        if ((uint64_t)indices[i] - (uint64_t)least >= range) {
            *bad = indices[i];
            return i;
        }
    return -1;
}

fc_status fc_pool_scatter(const fc_pool *pool, const void *grad_y, const int64_t *indices, void *grad_x, fc_error *error)
{
    return run(pool, SCATTER, indices, grad_x, (void *)(uintptr_t)grad_y, error);
}

fc_status fc_pool_unpool(const fc_pool *pool, const void *from, const int64_t *indices, void *to, fc_error *error)
{
    return run(pool, UNPOOL, indices, to, (void *)(uintptr_t)from, error);
}

fc_status fc_pool_gather(const fc_pool *pool, const void *from, const int64_t *indices, void *to, fc_error *error)
{
    return run(pool, GATHER, indices, (void *)(uintptr_t)from, to, error);
}
