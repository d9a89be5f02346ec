/* Operators that look at each window by itself, pixel after pixel: sampling, and the largest of integers.
 * Header-only; called by stochastic.c and integer.c. */
#ifndef FC_POOL_WINDOW_TASK_H
#define FC_POOL_WINDOW_TASK_H
#include "../base/parallel.h"
#include "window.h"

/* One row of outputs: of a plane, or of all channels of an image. */
typedef struct fc_window_row {
    const fc_pool *pool;
    int64_t x, y;                             /* elements to the first of its plane, and of its outputs */
    int64_t result;                           /* the same, in arrays that are contiguous in y's order */
    fc_pool_span depth, height;
    const fc_pool_span *width;                /* for each output */
    int64_t channels;
} fc_window_row;

typedef struct fc_window_job {
    const fc_pool *pool;
    int64_t rows, all_rows, per_task;
    void (*row)(const fc_window_row *row, const void *arrays, void *scratch);
    const void *arrays;
    size_t spans;                             /* bytes before the rows' own scratch */
} fc_window_job;

static inline void fc_window_task(void *context, int64_t task, void *scratch)
{
    const fc_window_job *j = context;
    const fc_pool *pool = j->pool;
    fc_pool_span *span = scratch;
    const int64_t width = pool->out_size[FC_WIDTH], units = pool->channels_last ? 1 : pool->channels;
    for (int64_t o = 0; o < width; o++)
        span[o] = fc_pool_window(pool, FC_WIDTH, o);
    const int64_t end = fc_min((task + 1) * j->per_task, j->all_rows);
    for (int64_t row = task * j->per_task; row < end; row++) {
        const int64_t unit = row / j->rows, image = unit / units, channel = unit % units, at = row % j->rows;
        const int64_t d = at / pool->out_size[FC_HEIGHT], h = at % pool->out_size[FC_HEIGHT];
        const fc_window_row r = {
            .pool = pool, .channels = pool->channels_last ? pool->channels : 1, .width = span,
            .depth = fc_pool_window(pool, FC_DEPTH, d), .height = fc_pool_window(pool, FC_HEIGHT, h),
            .x = image * pool->x_stride[FC_N] + channel * pool->x_stride[FC_C],
            .y = image * pool->y_stride[FC_N] + channel * pool->y_stride[FC_C] + d * pool->y_stride[FC_D] +
                 h * pool->y_stride[FC_H],
            .result = row * width * (pool->channels_last ? pool->channels : 1),
        };
        j->row(&r, j->arrays, (char *)scratch + j->spans);
    }
}

/* scratch: bytes that each row wants for itself. */
static inline fc_status fc_window_run(const fc_pool *pool, void (*row)(const fc_window_row *, const void *, void *),
                                      const void *arrays, size_t scratch, double seconds_per_input, fc_error *error)
{
    fc_window_job j = { .pool = pool, .row = row, .arrays = arrays };
    double inputs = (double)pool->out_size[FC_WIDTH] * (double)(pool->channels_last ? pool->channels : 1) + 20;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        inputs *= pool->adaptive ? (double)fc_div_up(pool->in_size[axis], pool->out_size[axis])
                                 : (double)pool->kernel[axis];
    j.rows = pool->out_size[FC_DEPTH] * pool->out_size[FC_HEIGHT];
    j.all_rows = pool->batch * j.rows * (pool->channels_last ? 1 : pool->channels);
    j.per_task = inputs >= 32768 ? 1 : (int64_t)(32768 / inputs) + 1;
    j.spans = ((size_t)pool->out_size[FC_WIDTH] * sizeof(fc_pool_span) + 63) / 64 * 64;
    return fc_parallel(fc_div_up(j.all_rows, j.per_task), inputs * (double)j.all_rows * seconds_per_input,
                       j.spans + scratch, fc_window_task, &j, error);
}
#endif
