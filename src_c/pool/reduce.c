/* The engine of all poolings without indices: see reduce.h.  Tasks are groups of planes or of rows
 * where pixels are lanes, rows by blocks of channels where channels are. */
#include "reduce.h"
#include "../base/parallel.h"
#include "window.h"

enum { TASK_WORK = 1 << 16 };                 /* about so many inputs are combined by one task */

typedef enum { COLS, SPANS } across;          /* how neighbours in a row buffer are combined */

typedef struct reduce_job {
    const fc_reduction *r;
    const fc_table *table;
    const int64_t *from_size, *to_size, *from_stride, *to_stride;
    int64_t step[FC_SPATIAL];                 /* between the inputs of a window */
    bool weighted;                            /* gradients: windows counted differently */
    double divisor;                           /* of every output, where there is one for all */
    bool constant;
    across across;
    int64_t left, taps, tap_step, stride, spread; /* of COLS, and how far apart `from` goes into its buffer */
    int64_t rows, row_blocks, per_task;       /* rows of an image or plane; rows, or planes, of a task */
    int64_t channels, channel_blocks;         /* of a task, for channels as lanes */
    int64_t tasks;
    double work;
    size_t size, divisor_at, factor_at, row_at, buffer_at, bytes;
    int64_t buffer;                           /* reals */
} reduce_job;

static fc_pool_span window_of(const reduce_job *j, int axis, int64_t o)
{
    return j->r->transposed ? fc_pool_seen_by(j->r->pool, axis, o) : fc_pool_window(j->r->pool, axis, o);
}

/* Whether every window counts the same number of inputs along an axis: then that of its first. */
static bool counts_alike(const fc_pool *pool, int axis, int64_t *count)
{
    const int64_t out = pool->out_size[axis];
    *count = fc_pool_counted(pool, axis, 0);
    if (pool->adaptive)
        return pool->in_size[axis] % out == 0;
    if (pool->count_include_pad)
        return fc_pool_counted(pool, axis, out - 1) == *count;
    const int64_t last = (out - 1) * pool->stride[axis] - pool->pad_before[axis] + (pool->kernel[axis] - 1) * pool->dilation[axis];
    return out == 1 || (pool->pad_before[axis] == 0 && last < pool->in_size[axis]);
}

static void choose_divisor(reduce_job *j)
{
    const fc_pool *pool = j->r->pool;
    int64_t counts[FC_SPATIAL];
    if (!j->r->average)
        return;
    j->constant = true;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        j->constant = counts_alike(pool, axis, &counts[axis]) && j->constant;
    j->divisor = (double)counts[0] * (double)counts[1] * (double)counts[2];
    if (pool->divisor_override > 0) {
        j->constant = true;
        j->divisor = (double)pool->divisor_override;
    }
    j->weighted = j->r->transposed && !j->constant;
}

static void choose_across(reduce_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t k = pool->kernel[FC_WIDTH], s = pool->stride[FC_WIDTH], d = pool->dilation[FC_WIDTH];
    const int64_t lanes = j->table->lanes, width = j->to_size[FC_WIDTH], vectors = fc_div_up(width, lanes);
    j->across = SPANS;
    j->spread = 1;
    j->buffer = j->from_size[FC_WIDTH];
    if (pool->adaptive)
        return;
    const int64_t seen = j->r->transposed ? fc_div_up(k, s) : k;
    const double gathered = !j->r->transposed && s > 2 ? (double)lanes : 1;
    const double cols = (double)vectors * (double)k * gathered;
    const double spans = (double)width * (j->step[FC_WIDTH] == 1 && seen >= 2 * lanes ? (double)(seen / lanes + 8) : (double)(seen + 3));
    if (spans < cols)
        return;
    j->across = COLS;
    j->taps = k;
    j->tap_step = d;
    j->stride = j->r->transposed ? 1 : s;
    j->spread = j->r->transposed ? s : 1;
    j->left = j->r->transposed ? (k - 1) * d - pool->pad_before[FC_WIDTH] : pool->pad_before[FC_WIDTH];
    const int64_t read = (vectors * lanes - 1) * j->stride + (k - 1) * d + 2 * lanes + 2;
    j->buffer = fc_max(read, j->left + (j->from_size[FC_WIDTH] - 1) * j->spread + 1);
}

static void choose_tasks(reduce_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t *to = j->to_size;
    double seen = 1;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const double k = pool->adaptive ? (double)fc_div_up(pool->in_size[axis], pool->out_size[axis]) : (double)pool->kernel[axis];
        if (axis != FC_WIDTH || pool->channels_last)
            seen *= j->r->transposed ? (double)fc_div_up((int64_t)k, pool->stride[axis]) : k;
    }
    j->rows = to[FC_DEPTH] * to[FC_HEIGHT];
    j->channels = pool->channels;
    j->channel_blocks = 1;
    double row = seen * (double)(pool->channels_last ? to[FC_WIDTH] : j->from_size[FC_WIDTH] + to[FC_WIDTH]) + 20;
    double units = (double)pool->batch;
    if (pool->channels_last) {
        const int64_t least = 64 / (int64_t)j->size * 2;
        if (row * (double)j->channels > 2.0 * TASK_WORK && j->channels > least) {
            const double most = row * (double)j->channels / TASK_WORK;
            const int64_t blocks = most < (double)(j->channels / least) ? (int64_t)most : j->channels / least;
            j->channels = fc_round_up(fc_div_up(j->channels, fc_max(blocks, 1)), least / 2);
            j->channel_blocks = fc_div_up(pool->channels, j->channels);
        }
        row *= (double)j->channels;
        units *= (double)j->channel_blocks;
    } else
        units *= (double)pool->channels;
    const double all = row * (double)j->rows;
    j->work = all * units;
    j->row_blocks = 1;
    if (all >= TASK_WORK || pool->channels_last) {
        j->row_blocks = all < 2.0 * TASK_WORK ? 1 : all / TASK_WORK < (double)j->rows ? (int64_t)(all / TASK_WORK) : j->rows;
        j->per_task = fc_div_up(j->rows, j->row_blocks);
        j->row_blocks = fc_div_up(j->rows, j->per_task);
        j->tasks = (pool->channels_last ? pool->batch * j->channel_blocks : pool->batch * pool->channels) * j->row_blocks;
    } else {
        j->row_blocks = 0;
        j->per_task = (int64_t)((double)TASK_WORK / all) + 1;
        j->tasks = fc_div_up(pool->batch * pool->channels, j->per_task);
    }
}

static size_t placed(size_t *bytes, int64_t count, size_t size)
{
    const size_t at = *bytes;
    *bytes += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

static reduce_job job_of(const fc_reduction *r)
{
    const fc_pool *pool = r->pool;
    reduce_job j = { .r = r, .table = fc_table_for(pool->dtype), .size = fc_size_of(pool->dtype) };
    j.from_size = r->transposed ? pool->out_size : pool->in_size;
    j.to_size = r->transposed ? pool->in_size : pool->out_size;
    j.from_stride = r->transposed ? pool->y_stride : pool->x_stride;
    j.to_stride = r->transposed ? pool->x_stride : pool->y_stride;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        j.step[axis] = r->transposed ? fc_pool_seen_step(pool, axis) : pool->dilation[axis];
    choose_divisor(&j);
    if (!pool->channels_last)
        choose_across(&j);
    choose_tasks(&j);
    const int64_t width = j.to_size[FC_WIDTH];
    placed(&j.bytes, width, sizeof(fc_pool_span)); /* spans come first */
    j.divisor_at = placed(&j.bytes, width + 64, sizeof(double));
    j.factor_at = placed(&j.bytes, j.weighted ? j.from_size[FC_WIDTH] : 0, sizeof(double));
    j.row_at = placed(&j.bytes, pool->channels_last || j.spread == 1 ? 0 : j.from_size[FC_WIDTH], j.size);
    j.buffer_at = placed(&j.bytes, pool->channels_last ? 0 : j.buffer, j.size);
    return j;
}

/* What a task keeps in its scratch memory. */
typedef struct reduce_task {
    const reduce_job *j;
    fc_pool_span *span;
    double *divisor, *factor;                 /* for channels as lanes, divisors are double */
    double rows_counted;                      /* what the divisors were made for; 0: for nothing yet */
    void *row, *buffer;
} reduce_task;

static reduce_task begin(const reduce_job *j, void *scratch)
{
    char *memory = scratch;
    reduce_task t = { .j = j, .span = (fc_pool_span *)scratch };
    t.divisor = (double *)(void *)(memory + j->divisor_at);
    t.factor = (double *)(void *)(memory + j->factor_at);
    t.row = memory + j->row_at;
    t.buffer = memory + j->buffer_at;
    if (j->r->pool->channels_last || j->across == SPANS)
        for (int64_t o = 0; o < j->to_size[FC_WIDTH]; o++)
            t.span[o] = window_of(j, FC_WIDTH, o);
    if (j->weighted)
        for (int64_t o = 0; o < j->from_size[FC_WIDTH]; o++)
            t.factor[o] = 1 / (double)fc_pool_counted(j->r->pool, FC_WIDTH, o);
    if (!j->r->pool->channels_last) {
        const fc_pool_rows nothing = { .op = j->r->op, .cols = j->buffer, .to = t.buffer };
        j->table->pool_rows(&nothing);
    }
    return t;
}

/* Divisors of a row of outputs whose windows count `rows` rows. */
static void fill_divisors(reduce_task *t, double rows)
{
    const reduce_job *j = t->j;
    const fc_pool *pool = j->r->pool;
    if (rows == t->rows_counted)
        return;
    t->rows_counted = rows;
    for (int64_t o = 0; o < j->to_size[FC_WIDTH]; o++) {
        const double divisor = j->constant ? j->divisor : rows * (double)fc_pool_counted(pool, FC_WIDTH, o);
        if (pool->channels_last || pool->dtype == FC_F64)
            t->divisor[o] = divisor;
        else
            ((float *)(void *)t->divisor)[o] = (float)divisor;
    }
}

static void combine_cols(const reduce_task *t, void *to)
{
    const reduce_job *j = t->j;
    const fc_reduction *r = j->r;
    if (j->across == SPANS) {
        const fc_pool_spans spans = {
            .op = r->op, .end = j->weighted ? FC_POOL_KEEP : r->end, .power = r->pool->power, .from = t->buffer,
            .span = t->span, .step = j->step[FC_WIDTH], .cols = j->to_size[FC_WIDTH], .divisor = t->divisor, .y = to,
        };
        j->table->pool_spans(&spans);
        return;
    }
    const fc_pool_cols cols = {
        .op = r->op, .end = j->weighted ? FC_POOL_KEEP : r->end, .power = r->pool->power, .from = t->buffer,
        .taps = j->taps, .step = j->tap_step, .stride = j->stride, .cols = j->to_size[FC_WIDTH],
        .divisor = t->divisor, .y = to,
    };
    j->table->pool_cols(&cols);
}

/* One row of outputs of one plane, or of `channels` channels: from and to point at its plane. */
static void one_row(reduce_task *t, const char *from, char *to, int64_t row, int64_t channels)
{
    const reduce_job *j = t->j;
    const fc_reduction *r = j->r;
    const fc_pool *pool = r->pool;
    const int64_t d = row / j->to_size[FC_HEIGHT], h = row % j->to_size[FC_HEIGHT];
    fc_pool_walk walk = fc_pool_walk_of(window_of(j, FC_DEPTH, d), window_of(j, FC_HEIGHT, h));
    if (r->average && !j->weighted)
        fill_divisors(t, j->constant ? 1 : (double)(fc_pool_counted(pool, FC_DEPTH, d) * fc_pool_counted(pool, FC_HEIGHT, h)));
    to += (d * j->to_stride[FC_D] + h * j->to_stride[FC_H]) * (int64_t)j->size;
    const bool apart = !pool->channels_last && (j->spread > 1 || j->weighted);
    char *row_end = (char *)t->buffer + j->left * (int64_t)j->size;
    void *sums = apart && j->spread > 1 ? t->row : row_end;
    int accumulate = 0;
    do {
        int64_t at[FC_POOL_ROWS][2];
        const void *x[FC_POOL_ROWS];
        double factor[FC_POOL_ROWS];
        const int64_t count = fc_pool_walk_next(&walk, j->step, at);
        for (int64_t i = 0; i < count; i++) {
            x[i] = from + (at[i][0] * j->from_stride[FC_D] + at[i][1] * j->from_stride[FC_H]) * (int64_t)j->size;
            if (j->weighted)
                factor[i] = 1 / (double)(fc_pool_counted(pool, FC_DEPTH, at[i][0]) * fc_pool_counted(pool, FC_HEIGHT, at[i][1]));
        }
        if (pool->channels_last) {
            const fc_pool_pixels pixels = {
                .op = r->op, .end = j->weighted ? FC_POOL_KEEP : r->end, .power = pool->power, .rows = count, .x = x,
                .row_factor = j->weighted ? factor : NULL, .col_factor = j->weighted ? t->factor : NULL,
                .span = t->span, .step = j->step[FC_WIDTH], .x_pixel = j->from_stride[FC_W],
                .pixels = j->to_size[FC_WIDTH], .channels = channels, .y_pixel = j->to_stride[FC_W],
                .divisor = t->divisor, .accumulate = accumulate, .finish = walk.done, .y = to,
            };
            j->table->pool_pixels(&pixels);
        } else {
            const fc_pool_rows rows = {
                .op = r->op, .power = pool->power, .rows = count, .cols = j->from_size[FC_WIDTH], .x = x,
                .factor = j->weighted ? factor : NULL, .accumulate = accumulate, .to = sums,
            };
            j->table->pool_rows(&rows);
        }
        accumulate = 1;
    } while (!walk.done);
    if (pool->channels_last)
        return;
    if (apart) {
        const fc_pool_spread spread = {
            .from = sums, .cols = j->from_size[FC_WIDTH], .step = j->spread, .factor = j->weighted ? t->factor : NULL,
            .to = row_end,
        };
        j->table->pool_spread(&spread);
    }
    combine_cols(t, to);
}

static void run_task(void *context, int64_t task, void *scratch)
{
    const reduce_job *j = context;
    const fc_pool *pool = j->r->pool;
    reduce_task t = begin(j, scratch);
    int64_t unit = task, units = 1, row = 0, rows = j->rows;
    if (j->row_blocks > 0) {
        row = task % j->row_blocks * j->per_task;
        rows = fc_min(j->per_task, j->rows - row);
        unit = task / j->row_blocks;
    } else {
        unit = task * j->per_task;
        units = fc_min(j->per_task, pool->batch * pool->channels - unit);
    }
    const int64_t blocks = pool->channels_last ? j->channel_blocks : pool->channels;
    for (; units > 0; units--, unit++) {
        const int64_t image = unit / blocks, channel = unit % blocks * (pool->channels_last ? j->channels : 1);
        const char *from = (const char *)j->r->from + (image * j->from_stride[FC_N] + channel * j->from_stride[FC_C]) * (int64_t)j->size;
        char *to = (char *)j->r->to + (image * j->to_stride[FC_N] + channel * j->to_stride[FC_C]) * (int64_t)j->size;
        for (int64_t i = row; i < row + rows; i++)
            one_row(&t, from, to, i, fc_min(j->channels, pool->channels - channel));
    }
}

fc_status fc_pool_reduce(const fc_reduction *reduction, fc_error *error)
{
    reduce_job job = job_of(reduction);
    return fc_parallel(job.tasks, job.work * 0.3e-9, job.bytes, run_task, &job, error);
}
