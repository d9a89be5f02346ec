/* The engine of all poolings (see reduce.h): tasks, and the band of outputs that each computes at a time.
 * How is chosen in job.c. */
#include "reduce.h"
#include "../base/parallel.h"
#include "found.h"
#include "job.h"
#include <string.h>

/* What a task keeps: the job, and arrays of its scratch memory. */
typedef struct reduce_task {
    const fc_pool_job *j;
    fc_pool_span *width, *height;
    double *height_counted, *factor[FC_SPATIAL];
    char *width_counted, *width_share, *factors; /* reals */
    char *memory, *index;
    char *sums, *tile, *made, *where;
    int64_t filled_first, filled_end;         /* rows of `height`; nothing where both are 0 */
    fc_pool_span region;                      /* inputs along height that they see; `height` counts from its first */
    int64_t even_first, even_end, even_step;  /* see fc_pool_pixels */
} reduce_task;

static void put_real(const fc_pool_job *j, char *reals, int64_t at, double value)
{
    if (j->size == sizeof(float))
        ((float *)(void *)reals)[at] = (float)value;
    else
        ((double *)(void *)reals)[at] = value;
}

/* Each output's inputs along width, in order; what is nothing is the lane after a row's last, and so are the
 * lanes after the last output. */
static void fill_index(reduce_task *t)
{
    const fc_pool_job *j = t->j;
    const int64_t outputs = j->to_size[FC_WIDTH], nothing = j->from_size[FC_WIDTH];
    for (int64_t k = 0; k < j->taps; k++) {
        const int64_t first = k * j->index_tap;
        for (int64_t o = 0; o < outputs; o++) {
            const int64_t column = t->width[o].first + k * j->step[FC_WIDTH];
            fc_pool_put_bits(j, t->index, first + o, k < t->width[o].count ? column : nothing);
        }
        for (int64_t o = outputs; o < j->index_tap; o++)
            fc_pool_put_bits(j, t->index, first + o, nothing);
    }
}

/* Pixels around the middle one whose windows are alike. */
static void find_even(reduce_task *t)
{
    const fc_pool_job *j = t->j;
    const fc_pool_span *w = t->width;
    const char *counted = j->alike || j->weighted ? NULL : t->width_counted;
    const int64_t pixels = j->to_size[FC_WIDTH], middle = pixels / 2;
    t->even_first = t->even_end = middle;
    if (middle + 1 >= pixels)
        return;
    t->even_step = w[middle + 1].first - w[middle].first;
    while (t->even_end < pixels && w[t->even_end].count == w[middle].count &&
           w[t->even_end].first == w[middle].first + (t->even_end - middle) * t->even_step &&
           (!counted ||
            memcmp(counted + (size_t)t->even_end * j->size, counted + (size_t)middle * j->size, j->size) == 0))
        t->even_end++;
    while (t->even_first > 0 && w[t->even_first - 1].count == w[middle].count &&
           w[t->even_first - 1].first == w[t->even_first].first - t->even_step &&
           (!counted ||
            memcmp(counted + (size_t)(t->even_first - 1) * j->size, counted + (size_t)middle * j->size, j->size) == 0))
        t->even_first--;
}

static reduce_task begin(const fc_pool_job *j, char *memory)
{
    reduce_task t = { .j = j, .memory = memory };
    t.width = (fc_pool_span *)(void *)(memory + j->width_at);
    t.height = (fc_pool_span *)(void *)(memory + j->height_at);
    t.width_counted = memory + j->width_counted_at;
    t.width_share = memory + j->width_share_at;
    t.factors = memory + j->factors_at;
    t.index = memory + j->index_at;
    t.height_counted = (double *)(void *)(memory + j->height_counted_at);
    t.sums = memory + j->sums_at;
    t.tile = memory + j->tile_at;
    t.made = memory + j->made_at;
    t.where = memory + j->where_at;
    for (int64_t o = 0; o < j->to_size[FC_WIDTH]; o++)
        t.width[o] = fc_pool_job_window(j, FC_WIDTH, o);
    for (int64_t o = 0; o < j->to_size[FC_WIDTH] && !j->alike && !j->weighted; o++) {
        const double counted = (double)fc_pool_counted(j->r->pool, FC_WIDTH, o);
        put_real(j, t.width_counted, o, counted);
        put_real(j, t.width_share, o, 1 / counted);
    }
    for (int axis = 0; axis < FC_SPATIAL && j->weighted; axis++) {
        t.factor[axis] = (double *)(void *)(memory + j->factor_at[axis]);
        for (int64_t o = 0; o < j->from_size[axis]; o++)
            t.factor[axis][o] = 1 / (double)fc_pool_counted(j->r->pool, axis, o);
    }
    for (int64_t o = 0; o < j->from_size[FC_WIDTH] && j->weighted; o++)
        put_real(j, t.factors, o, t.factor[FC_WIDTH][o]);
    if (j->way == FC_BY_SHORT)
        fill_index(&t);
    find_even(&t);
    if (j->way == FC_BY_FOUND)
        fc_pool_found_begin(j, memory);
    if (j->way == FC_BY_LINES) {
        const fc_pool_clear clear = { .op = j->r->op, .count = FC_POOL_LINES * j->lines.buffer, .to = t.sums };
        j->table->pool_clear(&clear);
    }
    return t;
}

/* The windows of rows first .. end - 1. */
static void fill_rows(reduce_task *t, int64_t first, int64_t end)
{
    const fc_pool_job *j = t->j;
    if (first == t->filled_first && end == t->filled_end)
        return;
    t->filled_first = first;
    t->filled_end = end;
    t->region = (fc_pool_span){ 0, j->from_size[FC_HEIGHT] };
    if (j->way == FC_BY_TILE)
        t->region = fc_pool_job_region(j, FC_HEIGHT, first, end);
    for (int64_t o = first; o < end; o++) {
        fc_pool_span span = fc_pool_job_window(j, FC_HEIGHT, o);
        span.first = span.count == 0 ? 0 : span.first - t->region.first;
        t->height[o - first] = span;
        t->height_counted[o - first] = j->alike || j->weighted ? 1 : (double)fc_pool_counted(j->r->pool, FC_HEIGHT, o);
    }
}

/* Everything of a block that is the same for all that a task computes. */
static fc_pool_block block_of(const reduce_task *t)
{
    const fc_pool_job *j = t->j;
    fc_pool_block b = {
        .op = j->r->op, .end = j->r->end, .power = j->r->pool->power,
        .x_stride = { j->from_stride[FC_D], j->from_stride[FC_H], j->from_stride[FC_W] },
        .step = { j->step[0], j->step[1], j->step[2] },
        .height = t->height, .width = t->width, .pixels = j->to_size[FC_WIDTH],
        .height_counted = t->height_counted, .width_counted = t->width_counted, .width_share = t->width_share,
        .divided_alike = j->alike,
        .y_row = j->to_stride[FC_H], .sums = j->way == FC_BY_LINES || j->rows_first ? t->sums : NULL,
    };
    return b;
}

/* The window along depth, from the region's first input on. */
static void set_depth(const reduce_task *t, fc_pool_block *b, int64_t depth, int64_t first)
{
    const fc_pool_job *j = t->j;
    b->depth = fc_pool_job_window(j, FC_DEPTH, depth);
    b->depth.first = b->depth.count == 0 ? 0 : b->depth.first - first;
    b->depth_counted = j->alike ? j->divisor : j->weighted ? 1 : (double)fc_pool_counted(j->r->pool, FC_DEPTH, depth);
    if (j->weighted) {
        b->factor[0] = t->factor[0] + first;
        b->factor[1] = t->factor[1] + t->region.first;
        b->factor[2] = t->factor[2];
    }
}

/* The inputs and outputs of a plane of a band, at a depth. */
static inline void set_plane(const reduce_task *t, const fc_pool_band *a, fc_pool_block *b, int64_t depth,
                             int64_t plane)
{
    const fc_pool_job *j = t->j;
    const int64_t at = plane * j->to_stride[FC_C] + depth * j->to_stride[FC_D] + a->height * j->to_stride[FC_H];
    b->x = a->from + plane * j->from_stride[FC_C] * (int64_t)j->size;
    b->y = a->to + at * (int64_t)j->size;
}

static void run_lines(const reduce_task *t, const fc_pool_band *a)
{
    const fc_pool_job *j = t->j;
    fc_pool_lines lines = j->lines;
    lines.block = block_of(t);
    lines.factors = j->weighted ? t->factors : NULL;
    lines.block.rows = a->height_end - a->height;
    for (int64_t d = a->depth; d < a->depth_end; d++) {
        set_depth(t, &lines.block, d, 0);
        for (int64_t plane = 0; plane < a->planes; plane++) {
            set_plane(t, a, &lines.block, d, plane);
            j->table->pool_lines(&lines);
        }
    }
}

static void run_near(const reduce_task *t, const fc_pool_band *a)
{
    const fc_pool_job *j = t->j;
    fc_pool_near p = {
        .block = block_of(t), .cols = j->from_size[FC_WIDTH], .before = j->before, .taps = j->r->pool->kernel[FC_WIDTH],
        .stride = j->r->pool->stride[FC_WIDTH], .planes = a->planes, .x_plane = j->from_stride[FC_C],
        .y_plane = j->to_stride[FC_C],
    };
    p.block.rows = a->height_end - a->height;
    for (int64_t d = a->depth; d < a->depth_end; d++) {
        set_depth(t, &p.block, d, 0);
        set_plane(t, a, &p.block, d, 0);
        j->table->pool_near(&p);
    }
}

static void run_short(const reduce_task *t, const fc_pool_band *a)
{
    const fc_pool_job *j = t->j;
    fc_pool_short p = {
        .block = block_of(t), .cols = j->from_size[FC_WIDTH], .taps = j->taps, .index_tap = j->index_tap,
        .index = t->index, .factors = t->factors,
    };
    p.block.rows = a->height_end - a->height;
    for (int64_t d = a->depth; d < a->depth_end; d++) {
        set_depth(t, &p.block, d, 0);
        for (int64_t plane = 0; plane < a->planes; plane++) {
            set_plane(t, a, &p.block, d, plane);
            j->table->pool_short(&p);
        }
    }
}

/* Rows of channels side by side, of the image or of a tile; first: the region's first input along depth. */
static void run_pixels(const reduce_task *t, const fc_pool_band *a, fc_pool_found *f, char *y, int64_t y_depth,
                       int64_t first)
{
    const fc_pool_job *j = t->j;
    const fc_pool *pool = j->r->pool;
    const int64_t plane = pool->in_size[FC_HEIGHT] * pool->in_size[FC_WIDTH];
    char *where = f->where;
    int64_t *index = f->index;
    f->pixels.block.rows = a->height_end - a->height;
    f->pixels.even_first = t->even_first;
    f->pixels.even_end = t->even_end;
    f->pixels.even_step = t->even_step;
    f->plane_stride[0] = plane;
    f->plane_stride[1] = pool->in_size[FC_WIDTH];
    f->plane_stride[2] = 1;
    f->position = first * plane + t->region.first * pool->in_size[FC_WIDTH];
    for (int64_t d = a->depth; d < a->depth_end; d++) {
        const int64_t at = (d - a->depth) * y_depth;
        set_depth(t, &f->pixels.block, d, first);
        f->pixels.block.y = y + at * (int64_t)j->size;
        if (!j->r->indices) {
            j->table->pool_pixels(&f->pixels);
            continue;
        }
        if (index)
            f->index = index + (d - a->depth) * f->index_row * pool->out_size[FC_HEIGHT];
        else
            f->where = where + at * (int64_t)j->size;
        j->table->pool_found(f);
    }
}

static void run_channels(const reduce_task *t, const fc_pool_band *a)
{
    const fc_pool_job *j = t->j;
    const int64_t all = j->r->pool->channels, width = j->to_size[FC_WIDTH];
    fc_pool_found f = { .pixels = { .block = block_of(t), .channels = a->planes, .x_pixels = j->from_size[FC_WIDTH],
                                    .y_pixel = j->to_stride[FC_W] },
                        .index_row = width * all, .index_pixel = all };
    f.pixels.block.x = a->from;
    if (a->index)
        f.index = a->index + (a->depth * j->to_size[FC_HEIGHT] + a->height) * f.index_row;
    run_pixels(t, a, &f, a->to + (a->depth * j->to_stride[FC_D] + a->height * j->to_stride[FC_H]) * (int64_t)j->size,
               j->to_stride[FC_D], 0);
}

/* The planes' inputs of a region, pixel after pixel, each with its planes side by side; those of the next planes are
 * asked for meanwhile. */
static void fill_tile(const reduce_task *t, const fc_pool_band *a, fc_pool_span depth)
{
    const fc_pool_job *j = t->j;
    const int64_t size = (int64_t)j->size, width = j->from_size[FC_WIDTH], rows = t->region.count;
    const bool even = rows == 1 || j->from_stride[FC_H] == width;
    const bool all = even && rows == j->from_size[FC_HEIGHT] &&
                     (depth.count == 1 || j->from_stride[FC_D] == rows * width);
    const int64_t moves = all ? 1 : even ? depth.count : depth.count * rows, pixels = depth.count * rows * width;
    fc_move m = { .rows = a->planes, .cols = moves == 0 ? 0 : pixels / moves, .src_row = j->from_stride[FC_C],
                  .src_col = 1, .dst_row = 1, .dst_col = j->unit,
                  .ahead = a->planes * j->from_stride[FC_C] };
    for (int64_t i = 0; i < moves; i++) {
        const int64_t d = even ? i : i / rows, h = even ? 0 : i % rows;
        m.src = a->from +
                ((depth.first + d) * j->from_stride[FC_D] + (t->region.first + h) * j->from_stride[FC_H]) * size;
        m.dst = t->tile + i * m.cols * j->unit * size;
        j->table->move(&m);
    }
}

/* What was made in a tile, back to planes. */
static void empty_tile(const reduce_task *t, const fc_pool_band *a)
{
    const fc_pool_job *j = t->j;
    const int64_t width = j->to_size[FC_WIDTH], rows = a->height_end - a->height;
    const int64_t pixels = (a->depth_end - a->depth) * rows * width; /* more depths than one have all rows */
    const int64_t first = (a->depth * j->to_size[FC_HEIGHT] + a->height) * width;
    const fc_move m = { .rows = a->planes, .cols = pixels, .src = t->made, .src_row = 1, .src_col = j->unit,
                        .dst = a->to + first * (int64_t)j->size, .dst_row = j->to_stride[FC_C], .dst_col = 1 };
    j->table->move(&m);
    if (!a->index)
        return;
    const int64_t lanes = j->table->lanes, plane = j->r->pool->out_pixels;
    for (int64_t p = 0; p < a->planes; p += lanes) {
        const fc_pool_turn turn = {
            .where = t->where + p * (int64_t)j->size, .where_pixel = j->unit, .planes = fc_min(lanes, a->planes - p),
            .pixels = pixels, .index_plane = plane, .index = a->index + p * plane + first,
        };
        j->table->pool_turn(&turn);
    }
}

static void run_tile(const reduce_task *t, const fc_pool_band *a)
{
    const fc_pool_job *j = t->j;
    const int64_t unit = j->unit, width = j->from_size[FC_WIDTH], out = j->to_size[FC_WIDTH];
    const int64_t rows = a->height_end - a->height;
    const fc_pool_span depth = fc_pool_job_region(j, FC_DEPTH, a->depth, a->depth_end);
    fc_pool_found f = { .pixels = { .block = block_of(t), .channels = unit, .x_pixels = width, .y_pixel = unit },
                        .where = t->where };
    fill_tile(t, a, depth);
    f.pixels.block.x = t->tile;
    f.pixels.block.x_stride[0] = t->region.count * width * unit;
    f.pixels.block.x_stride[1] = width * unit;
    f.pixels.block.x_stride[2] = unit;
    f.pixels.block.y_row = out * unit;
    run_pixels(t, a, &f, t->made, rows * out * unit, depth.first);
    empty_tile(t, a);
}

static void run_wholes(const reduce_task *t, const fc_pool_band *a)
{
    const fc_pool_job *j = t->j;
    const fc_pool *pool = j->r->pool;
    if (j->r->transposed) {
        const fc_pool_fill f = {
            .counted = j->divisor, .x = a->from, .planes = a->planes, .pixels = pool->in_pixels,
            .x_plane = pool->y_stride[FC_C], .y_plane = pool->x_stride[FC_C], .y = a->to,
        };
        j->table->pool_fill(&f);
        return;
    }
    if (pool->channels_last) {
        const fc_pool_whole_pixels p = {
            .op = j->r->op, .end = j->r->end, .power = pool->power, .counted = j->divisor, .x = a->from,
            .channels = a->planes,
            .pixels = pool->in_pixels, .x_pixel = pool->x_stride[FC_W], .sums = t->sums, .y = a->to,
        };
        j->table->pool_whole_pixels(&p);
        return;
    }
    const fc_pool_wholes w = {
        .op = j->r->op, .end = j->r->end, .power = pool->power, .counted = j->divisor, .x = a->from,
        .planes = a->planes, .pixels = pool->in_pixels, .x_plane = pool->x_stride[FC_C], .y = a->to,
    };
    j->table->pool_wholes(&w);
}

static void run_unit(reduce_task *t, int64_t unit, int64_t band)
{
    const fc_pool_job *j = t->j;
    const fc_pool *pool = j->r->pool;
    const int64_t run = unit / j->units_in_run, first = unit % j->units_in_run * j->unit;
    const int64_t image = run * (j->in_run / pool->channels);
    fc_pool_band a = { .planes = fc_min(j->unit, j->in_run - first) };
    a.depth = band % j->depth_bands * j->depth_rows;
    a.depth_end = fc_min(a.depth + j->depth_rows, j->to_size[FC_DEPTH]);
    a.height = band / j->depth_bands * j->height_rows;
    a.height_end = fc_min(a.height + j->height_rows, j->to_size[FC_HEIGHT]);
    a.from = (const char *)j->r->from +
             (image * j->from_stride[FC_N] + first * j->from_stride[FC_C]) * (int64_t)j->size;
    a.to = (char *)j->r->to + (image * j->to_stride[FC_N] + first * j->to_stride[FC_C]) * (int64_t)j->size;
    if (j->r->indices)
        a.index = j->r->indices + image * pool->channels * pool->out_pixels +
                  first * (pool->channels_last ? 1 : pool->out_pixels);
    fill_rows(t, a.height, a.height_end);
    if (j->way == FC_BY_CHANNELS)
        run_channels(t, &a);
    else if (j->way == FC_BY_TILE)
        run_tile(t, &a);
    else if (j->way == FC_BY_LINES)
        run_lines(t, &a);
    else if (j->way == FC_BY_NEAR)
        run_near(t, &a);
    else if (j->way == FC_BY_SHORT)
        run_short(t, &a);
    else if (j->way == FC_BY_FOUND)
        fc_pool_found_run(j, &a, t->height, t->width, t->memory);
    else
        run_wholes(t, &a);
}

static void run_task(void *context, int64_t task, void *scratch)
{
    const fc_pool_job *j = context;
    reduce_task t = begin(j, scratch);
    const int64_t first = task / j->bands * j->units_per_task, end = fc_min(first + j->units_per_task, j->units);
    for (int64_t unit = first; unit < end; unit++)
        run_unit(&t, unit, task % j->bands);
}

/* One channel, and channels of one pixel, are alike in both layouts: the lanes are then along the other axis. */
static void choose_layout(fc_pool *pool)
{
    const int64_t *xs = pool->x_stride, *ys = pool->y_stride;
    if (pool->channels_last && pool->channels == 1 && xs[FC_W] == 1 && ys[FC_W] == 1) {
        pool->channels_last = false;
        pool->x_stride[FC_C] = xs[FC_N];
        pool->y_stride[FC_C] = ys[FC_N];
    } else if (!pool->channels_last && pool->channels > 1 && pool->in_pixels == 1 && pool->out_pixels == 1 &&
               xs[FC_C] == 1 && ys[FC_C] == 1)
        pool->channels_last = true;
}

fc_status fc_pool_reduce(const fc_reduction *reduction, fc_error *error)
{
    if (reduction->pool->batch == 0)
        return FC_OK;
    fc_pool pool = *reduction->pool;
    fc_reduction chosen = *reduction;
    choose_layout(&pool);
    chosen.pool = &pool;
    fc_pool_job job = fc_pool_job_of(&chosen);
    return fc_parallel(job.tasks, job.seconds, job.bytes, run_task, &job, error);
}
