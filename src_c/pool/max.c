/* Max pooling, with the indices of what won or without.  Called by _core. */
#include "../base/parallel.h"
#include "reduce.h"
#include "window.h"
#include <string.h>

fc_status fc_max_pool(const fc_pool *pool, const void *x, void *y, fc_error *error)
{
    const fc_reduction r = { .pool = pool, .op = FC_POOL_MAX, .end = FC_POOL_KEEP, .from = x, .to = y };
    return fc_pool_reduce(&r, error);
}

/* Tasks are groups of rows: of all planes, or of all images with all their channels. */
typedef struct index_job {
    const fc_pool *pool;
    const fc_table *table;
    const void *x;
    void *y;
    int64_t *indices;
    int64_t rows, per_task, all_rows;         /* rows of a plane or image, of a task, in all */
    int64_t vectors, buffer;                  /* reals of a row of outputs, and of inputs with padding */
    size_t size, best_at, where_at, buffer_at, bytes;
} index_job;

/* The row of outputs at hand: everything of it that a kernel needs. */
typedef struct index_row {
    const index_job *j;
    const fc_pool_span *span;
    char *best, *where, *buffer;
    const char *x;                            /* its plane or image */
    char *y;
    int64_t *index;
    int64_t depth, height;
} index_row;

static void row_of_pixels(const index_row *r)
{
    const index_job *j = r->j;
    const fc_pool *pool = j->pool;
    const int64_t size = (int64_t)j->size, before = pool->adaptive ? 0 : pool->pad_before[FC_WIDTH];
    const int64_t width = pool->in_size[FC_WIDTH], out = pool->out_size[FC_WIDTH];
    fc_pool_walk walk = fc_pool_walk_of(fc_pool_window(pool, FC_DEPTH, r->depth), fc_pool_window(pool, FC_HEIGHT, r->height));
    const fc_pool_rows none = { .op = FC_POOL_MAX, .cols = j->vectors, .to = r->best };
    int64_t first = -1;
    j->table->pool_rows(&none);
    memset(r->where, 0xff, (size_t)j->vectors * j->size);
    while (!walk.done) {
        int64_t at[FC_POOL_ROWS][2];
        const int64_t count = fc_pool_walk_next(&walk, pool->dilation, at);
        for (int64_t i = 0; i < count; i++) {
            const void *x = r->x + (at[i][0] * pool->x_stride[FC_D] + at[i][1] * pool->x_stride[FC_H]) * size;
            const int64_t position = (at[i][0] * pool->in_size[FC_HEIGHT] + at[i][1]) * width;
            memcpy(r->buffer + before * size, x, (size_t)(width * size));
            if (first < 0)
                first = position;
            fc_pool_index_cols cols = {
                .from = r->buffer, .taps = pool->kernel[FC_WIDTH], .step = pool->dilation[FC_WIDTH],
                .stride = pool->stride[FC_WIDTH], .cols = out, .position = position, .best = r->best, .where = r->where,
            };
            j->table->pool_index_cols(&cols);
        }
    }
    const fc_pool_index_end end = {
        .best = r->best, .where = r->where, .span = r->span, .cols = out, .stride = pool->stride[FC_WIDTH],
        .start = -before, .row = first, .y = r->y, .index = r->index,
    };
    j->table->pool_index_end(&end);
}

static void row_of_channels(const index_row *r)
{
    const index_job *j = r->j;
    const fc_pool *pool = j->pool;
    fc_pool_walk walk = fc_pool_walk_of(fc_pool_window(pool, FC_DEPTH, r->depth), fc_pool_window(pool, FC_HEIGHT, r->height));
    int accumulate = 0;
    do {
        int64_t at[FC_POOL_ROWS][2], position[FC_POOL_ROWS];
        const void *x[FC_POOL_ROWS];
        const int64_t count = fc_pool_walk_next(&walk, pool->dilation, at);
        for (int64_t i = 0; i < count; i++) {
            x[i] = r->x + (at[i][0] * pool->x_stride[FC_D] + at[i][1] * pool->x_stride[FC_H]) * (int64_t)j->size;
            position[i] = (at[i][0] * pool->in_size[FC_HEIGHT] + at[i][1]) * pool->in_size[FC_WIDTH];
        }
        /* Without lanes along channels, a channel is one lane. */
        const fc_pool_index_pixels pixels = {
            .rows = count, .x = x, .position = position, .span = r->span, .step = pool->dilation[FC_WIDTH],
            .x_pixel = pool->x_stride[FC_W], .pixels = pool->out_size[FC_WIDTH],
            .channels = pool->channels_last ? pool->channels : 1, .y_pixel = pool->y_stride[FC_W],
            .index_pixel = pool->channels_last ? pool->channels : 1, .accumulate = accumulate, .y = r->y, .index = r->index,
        };
        j->table->pool_index_pixels(&pixels);
        accumulate = 1;
    } while (!walk.done);
}

static void run_task(void *context, int64_t task, void *scratch)
{
    const index_job *j = context;
    const fc_pool *pool = j->pool;
    char *memory = scratch;
    fc_pool_span *span = scratch;
    index_row r = { .j = j, .span = span, .best = memory + j->best_at, .where = memory + j->where_at, .buffer = memory + j->buffer_at };
    const bool lanes = !pool->channels_last && !pool->adaptive;
    const int64_t width = pool->out_size[FC_WIDTH], units = pool->channels_last ? 1 : pool->channels;
    for (int64_t o = 0; o < width; o++)
        span[o] = fc_pool_window(pool, FC_WIDTH, o);
    if (lanes) {
        const fc_pool_rows none = { .op = FC_POOL_MAX, .cols = j->buffer, .to = r.buffer };
        j->table->pool_rows(&none);
    }
    const int64_t end = fc_min((task + 1) * j->per_task, j->all_rows);
    for (int64_t row = task * j->per_task; row < end; row++) {
        const int64_t unit = row / j->rows, image = unit / units, channel = unit % units, at = row % j->rows;
        r.depth = at / pool->out_size[FC_HEIGHT];
        r.height = at % pool->out_size[FC_HEIGHT];
        r.x = (const char *)j->x + (image * pool->x_stride[FC_N] + channel * pool->x_stride[FC_C]) * (int64_t)j->size;
        r.y = (char *)j->y + (image * pool->y_stride[FC_N] + channel * pool->y_stride[FC_C] + r.depth * pool->y_stride[FC_D] +
                              r.height * pool->y_stride[FC_H]) * (int64_t)j->size;
        r.index = j->indices + row * width * (pool->channels_last ? pool->channels : 1);
        if (lanes)
            row_of_pixels(&r);
        else
            row_of_channels(&r);
    }
}

static size_t placed(size_t *bytes, int64_t count, size_t size)
{
    const size_t at = *bytes;
    *bytes += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

fc_status fc_max_pool_indices(const fc_pool *pool, const void *x, void *y, int64_t *indices, fc_error *error)
{
    index_job j = { .pool = pool, .table = fc_table_for(pool->dtype), .x = x, .y = y, .indices = indices,
                    .size = fc_size_of(pool->dtype) };
    const int64_t width = pool->out_size[FC_WIDTH], lanes = j.table->lanes;
    if (pool->dtype == FC_F32 && pool->in_pixels > INT32_MAX / 2)
        return fc_fail(error, FC_BAD_VALUE, "return_indices: a plane of %lld pixels; float32 takes up to 2**30, cast x to float64",
                       (long long)pool->in_pixels);
    j.rows = pool->out_size[FC_DEPTH] * pool->out_size[FC_HEIGHT];
    j.all_rows = pool->batch * j.rows * (pool->channels_last ? 1 : pool->channels);
    double row = 20 + (double)width * (pool->channels_last ? (double)pool->channels : 1);
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        row *= pool->adaptive ? (double)pool->in_size[axis] / (double)pool->out_size[axis] : (double)pool->kernel[axis];
    j.per_task = row >= 65536 ? 1 : (int64_t)(65536 / row) + 1;
    j.vectors = fc_round_up(width, lanes);
    j.buffer = fc_max((j.vectors - 1) * pool->stride[FC_WIDTH] + (pool->kernel[FC_WIDTH] - 1) * pool->dilation[FC_WIDTH] + 2 * lanes + 2,
                      pool->pad_before[FC_WIDTH] + pool->in_size[FC_WIDTH]);
    placed(&j.bytes, width, sizeof(fc_pool_span));
    if (!pool->channels_last && !pool->adaptive) {
        j.best_at = placed(&j.bytes, j.vectors, j.size);
        j.where_at = placed(&j.bytes, j.vectors, j.size);
        j.buffer_at = placed(&j.bytes, j.buffer, j.size);
    }
    return fc_parallel(fc_div_up(j.all_rows, j.per_task), row * (double)j.all_rows * 0.5e-9, j.bytes, run_task, &j, error);
}
