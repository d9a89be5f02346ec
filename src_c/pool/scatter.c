/* What max, stochastic and un-pooling do with indices.  Called by _core; the arrays are contiguous. */
#include "../base/dispatch.h"
#include "../base/parallel.h"
#include "../base/size.h"
#include "../conv/geometry.h"
#include "pool.h"
#include <stdatomic.h>

/* Two tasks never write to one plane, so that what falls on one pixel is added in order. */
typedef struct scatter_job {
    const fc_pool *pool;
    const fc_table *table;
    size_t size;                              /* of a number */
    fc_pool_by_index of_task;                  /* but for where its arrays begin */
    char *big, *small;                        /* in_pixels and out_pixels a plane */
    int64_t planes, per_task, blocks;         /* planes, or channels, of a task; blocks of channels */
    atomic_bool outside;                      /* an index was */
} scatter_job;

enum { FEW_SAMPLES = 64, MANY_SAMPLES = 256 };

/* Where a window begins, about: windows are spread evenly. */
static int64_t begin_of(const fc_pool_by_index *s, int64_t o)
{
    const int64_t w = o % s->out_size[2], h = o / s->out_size[2] % s->out_size[1];
    const int64_t d = o / s->out_size[2] / s->out_size[1];
    return (d * s->apart[0] * s->in_size[1] + h * s->apart[1]) * s->in_size[2] + w * s->apart[2];
}

static void add_near(fc_pool_by_index *s, int64_t at)
{
    int k = s->nears;
    while (k > 0 && s->near_at[k - 1] > at)
        k--;
    if (k > 0 && s->near_at[k - 1] == at)
        return;
    if (s->nears < FC_POOL_NEAR)
        for (int i = s->nears; i > k; i--)
            s->near_at[i] = s->near_at[i - 1];
    if (s->nears < FC_POOL_NEAR)
        s->near_at[k] = at;
    s->nears++;
}

/* Whether a window's channels are faster looked at in vectors, each for every position, than moved one by one. */
static bool lanes_pay(const fc_pool_by_index *s, int64_t lanes)
{
    const int64_t fours = s->channels / (4 * lanes), ones = fc_div_up(s->channels % (4 * lanes), lanes);
    const double vectors_ns = (double)s->nears * (4.6 * (double)fours + 2.3 * (double)ones);
    return vectors_ns < 0.85 * (double)s->channels;
}

/* Looks at some indices.  None is near where they differ too much. */
static void find_near(fc_pool_by_index *s, const int64_t *indices, bool last, int64_t lanes)
{
    const int64_t numbers = s->out * s->planes, few = fc_max(FEW_SAMPLES, fc_min(MANY_SAMPLES, numbers / 32));
    const int64_t samples = fc_min(numbers, few);
    s->nears = 0;
    for (int64_t i = 0; i < samples && s->nears <= FC_POOL_NEAR; i++) {
        const int64_t o = i * s->out / samples, plane = i * 7 % s->planes; /* of the first image */
        const int64_t index = indices[last ? o * s->channels + plane : plane * s->out + o];
        if (index >= 0 && index < s->in)
            add_near(s, index - begin_of(s, o));
    }
    if (s->nears > FC_POOL_NEAR || (last && !lanes_pay(s, lanes)))
        s->nears = 0;
    s->tiles = s->nears > 0 && s->move != FC_POOL_FETCH;
    for (int k = 0; k < s->nears; k++) {
        const int64_t at = s->near_at[k], row = at / s->in_size[2];
        if (at < 0 || at % s->in_size[2] >= s->apart[2] || row % s->in_size[1] >= s->apart[1] ||
            row / s->in_size[1] >= s->apart[0])
            s->tiles = false;
    }
    if (s->nears > 0)
        s->ahead = fc_max(s->near_at[s->nears - 1], 0) + 1;
}

static void describe(scatter_job *j, const int64_t *indices)
{
    const fc_pool *pool = j->pool;
    fc_pool_by_index *s = &j->of_task;
    bool tiles = true;
    s->in = pool->in_pixels;
    s->out = pool->out_pixels;
    s->channels = pool->channels_last ? pool->channels : 1;
    s->planes = pool->channels;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const int64_t in = pool->in_size[axis], out = pool->out_size[axis];
        s->in_size[axis] = in;
        s->out_size[axis] = out;
        s->apart[axis] = fc_max(1, (in + out / 2) / out);
        tiles = tiles && s->apart[axis] * out <= in;
    }
    s->ahead = fc_min(s->in, (pool->in_size[0] > 1 ? 2 * pool->in_size[1] : 4) * pool->in_size[2]);
    if (pool->batch == 0 || s->move == FC_POOL_FETCH)
        return;
    find_near(s, indices, pool->channels_last, j->table->lanes);
    s->tiles = s->tiles && tiles && (pool->channels_last || (s->apart[2] == 2 && s->out_size[2] >= j->table->lanes));
    const int64_t lanes = j->table->lanes;
    s->stream = s->tiles && pool->channels_last && pool->channels % lanes == 0 &&
                (uintptr_t)j->big % ((size_t)lanes * j->size) == 0 &&
                fc_past_caches(pool->batch * pool->channels * pool->in_pixels * (int64_t)j->size);
}

static void scatter_task(void *context, int64_t task, void *scratch)
{
    scatter_job *j = context;
    fc_pool_by_index s = j->of_task;
    const int64_t all = j->pool->channels;
    int64_t plane = task * j->per_task, first = 0;
    (void)scratch;
    if (atomic_load_explicit(&j->outside, memory_order_relaxed))
        return;
    s.planes = fc_min(j->per_task, j->planes - plane);
    if (j->pool->channels_last) {
        plane = task / j->blocks * all;
        first = task % j->blocks * j->per_task;
        s.planes = fc_min(j->per_task, all - first);
    }
    s.index += plane * s.out + first;
    s.big = j->big + (plane * s.in + first) * (int64_t)j->size;
    s.small = j->small + (plane * s.out + first) * (int64_t)j->size;
    if (j->pool->channels_last)
        j->table->pool_scatter_pixels(&s);
    else
        j->table->pool_scatter_planes(&s);
    if (s.outside)
        atomic_store_explicit(&j->outside, true, memory_order_relaxed);
}

static fc_status run(const fc_pool *asked, fc_pool_moved move, const int64_t *indices, void *big, void *small,
                     fc_error *error)
{
    fc_pool alike = *asked;
    const fc_pool *pool = &alike;
    alike.channels_last = asked->channels_last && asked->channels > 1; /* one channel lies as a plane does */
    scatter_job j = { .pool = pool, .table = fc_table_for(pool->dtype), .size = fc_size_of(pool->dtype), .big = big,
                      .small = small, .planes = pool->batch * pool->channels,
                      .of_task = { .move = move, .index = indices } };
    const double plane = (double)pool->in_pixels * 0.25 + (double)pool->out_pixels * 1.5 + 10;
    int64_t tasks;
    if (pool->dtype == FC_F32 && pool->in_pixels > INT32_MAX / 2)
        return fc_fail(error, FC_BAD_VALUE,
                       "indices: a plane of %lld pixels; float32 takes up to 2**30, cast to float64",
                       (long long)pool->in_pixels);
    describe(&j, indices);
    if (pool->channels_last) {
        /* Whole pixels, which are read ahead; long pieces of them where there are few images with much to do. */
        const bool whole = pool->batch >= 8 || plane * (double)pool->channels < 1e5;
        j.per_task = whole ? pool->channels : fc_max(128, fc_round_up(fc_div_up(pool->channels, 4), 16));
        j.blocks = fc_div_up(pool->channels, j.per_task);
        tasks = pool->batch * j.blocks;
    } else {
        j.per_task = plane >= 65536 ? 1 : (int64_t)(65536 / plane) + 1;
        j.per_task = fc_round_up(j.per_task, 4);
        tasks = fc_div_up(j.planes, j.per_task);
    }
    const fc_status status = fc_parallel(tasks, plane * (double)j.planes * 0.5e-9, 0, scatter_task, &j, error);
    int64_t bad = 0;
    if (status != FC_OK || !atomic_load(&j.outside))
        return status;
    fc_pool_bad_index(pool, indices, move == FC_POOL_ADD, &bad);
    return fc_fail(error, FC_BAD_VALUE, "indices: %lld is outside a plane of %lld pixels", (long long)bad,
                   (long long)pool->in_pixels);
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

fc_status fc_pool_scatter(const fc_pool *pool, const void *grad_y, const int64_t *indices, void *grad_x,
                          fc_error *error)
{
    return run(pool, FC_POOL_ADD, indices, grad_x, (void *)(uintptr_t)grad_y, error);
}

fc_status fc_pool_unpool(const fc_pool *pool, const void *from, const int64_t *indices, void *to, fc_error *error)
{
    return run(pool, FC_POOL_PUT, indices, to, (void *)(uintptr_t)from, error);
}

fc_status fc_pool_gather(const fc_pool *pool, const void *from, const int64_t *indices, void *to, fc_error *error)
{
    return run(pool, FC_POOL_FETCH, indices, (void *)(uintptr_t)from, to, error);
}
