/* Max pooling with indices where pixels are lanes (see found.h): blocks of rows that stay in the cache, and where
 * their lines are (see fc_pool_found_lines). */
#include "found.h"
#include "../base/size.h"
#include <math.h>

/* Lines and what is found of them fit L1; where too much would be done again for the next rows, part of L2. */
enum { NEAR_BYTES = 28 << 10, FAR_BYTES = 192 << 10, STRIP_BYTES = 4 << 10 };

/* Columns, and rows, from a window's first to its last. */
static int64_t reach(const fc_pool *pool, int axis) { return (pool->kernel[axis] - 1) * pool->dilation[axis]; }

/* Remainders by the stride that windows meet. */
static int64_t phases(const fc_pool *pool, int axis) { return fc_min(pool->stride[axis], reach(pool, axis) + 1); }

static int64_t pitch_of(const fc_pool *pool, int64_t pixels)
{
    return pixels + reach(pool, FC_WIDTH) / pool->stride[FC_WIDTH];
}

static int64_t lines_of(const fc_pool *pool, int64_t rows)
{
    return rows + reach(pool, FC_HEIGHT) / pool->stride[FC_HEIGHT];
}

/* Bytes of the lines of a plane and of what is found of them. */
static double bytes_of(const fc_pool_job *j, int64_t rows, int64_t pixels)
{
    const fc_pool *pool = j->r->pool;
    const double lines = (double)pool->kernel[FC_DEPTH] * (double)phases(pool, FC_HEIGHT) *
                         (double)lines_of(pool, rows);
    return lines * (double)pitch_of(pool, pixels) * (double)(phases(pool, FC_WIDTH) + 2) * (double)j->size;
}

/* The most rows that so many bytes hold; 0 if not one. */
static int64_t rows_within(const fc_pool_job *j, int64_t pixels, double bytes)
{
    const double one = bytes_of(j, 1, pixels), each = bytes_of(j, 2, pixels) - one;
    if (one > bytes)
        return 0;
    const double rows = 1 + floor((bytes - one) / each);
    return rows < (double)j->to_size[FC_HEIGHT] ? (int64_t)rows : j->to_size[FC_HEIGHT];
}

/* Windows that stay in registers. */
static bool near(const fc_pool *pool)
{
    const int64_t k = pool->kernel[FC_WIDTH], s = pool->stride[FC_WIDTH];
    return pool->kernel[FC_DEPTH] == 1 && pool->kernel[FC_HEIGHT] == k && pool->stride[FC_HEIGHT] == s &&
           (k == 2 || k == 3) && (s == 1 || s == 2) &&
           pool->dilation[FC_HEIGHT] == 1 && pool->dilation[FC_WIDTH] == 1;
}

bool fc_pool_found_fits(fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    fc_pool_found_block *b = &j->found;
    b->pixels = pool->out_size[FC_WIDTH];
    if (pool->adaptive)
        return false;
    while (bytes_of(j, 1, b->pixels) > FAR_BYTES && b->pixels > 16 * j->table->lanes)
        b->pixels = fc_round_up(b->pixels / 2, j->table->lanes);
    b->rows = rows_within(j, b->pixels, NEAR_BYTES);
    if (b->rows < pool->out_size[FC_HEIGHT] && b->rows * pool->stride[FC_HEIGHT] < 2 * reach(pool, FC_HEIGHT))
        b->rows = rows_within(j, b->pixels, FAR_BYTES);
    if (b->rows == 0)
        return false;
    b->near = near(pool);
    if (b->near) {                            /* all its strips meet each line of x while it is near */
        const double row = (double)(pool->in_size[FC_WIDTH] * pool->stride[FC_HEIGHT]) * (double)j->size;
        const bool again = pool->kernel[FC_HEIGHT] > pool->stride[FC_HEIGHT]; /* rows that the next block reads too */
        b->rows = fc_min(b->rows, fc_max(again ? 6 : 2, (int64_t)((again ? 2 : 1) * STRIP_BYTES / row)));
    }
    b->rows = fc_div_up(pool->out_size[FC_HEIGHT], fc_div_up(pool->out_size[FC_HEIGHT], b->rows));
    const double whole = bytes_of(j, pool->out_size[FC_HEIGHT], b->pixels);
    b->planes = b->rows < pool->out_size[FC_HEIGHT] || whole > NEAR_BYTES ? 1 : (int64_t)(NEAR_BYTES / whole);
    return true;
}

double fc_pool_found_ns(const fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t lanes = j->table->lanes, *k = pool->kernel, *out = pool->out_size, s = pool->stride[FC_WIDTH];
    const double rows = (double)out[FC_DEPTH] * (double)out[FC_HEIGHT];
    const double vectors = rows * (double)fc_div_up(out[FC_WIDTH], lanes);
    if (j->found.near)
        return 1.3 * vectors * (s == 1 ? 6 : k[FC_WIDTH] == 2 ? 7 : 10.5);
    const double pitch = (double)pitch_of(pool, j->found.pixels) * (double)fc_div_up(out[FC_WIDTH], j->found.pixels);
    const double lines = (double)out[FC_DEPTH] * (double)k[FC_DEPTH] * (double)phases(pool, FC_HEIGHT) *
                         (double)lines_of(pool, j->found.rows) * (double)out[FC_HEIGHT] / (double)j->found.rows;
    const double copied = (double)phases(pool, FC_WIDTH) * pitch / (double)lanes * (s > 2 ? 8 : 1);
    return 1.3 * (lines * (3 + copied + pitch / (double)lanes * (0.6 + 0.5 * (double)k[FC_WIDTH])) +
                  vectors * (1.5 + 1.1 * (double)k[FC_DEPTH] * (double)k[FC_HEIGHT]));
}

/* Where things are in scratch. */
typedef struct found_places {
    int64_t plane, row_phase, phase;          /* as of fc_pool_found_lines */
    size_t across_at, across_position, down_at, down_position, starts, lines, best, which;
} found_places;

static bool joined(const fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    return j->found.pixels == pool->out_size[FC_WIDTH] && pitch_of(pool, j->found.pixels) == j->found.pixels &&
           j->to_stride[FC_H] == j->found.pixels;
}

static found_places places_of(const fc_pool_job *j, size_t *bytes)
{
    const fc_pool *pool = j->r->pool;
    const fc_pool_found_block *b = &j->found;
    const int64_t lanes = j->table->lanes, across = pool->kernel[FC_WIDTH];
    const int64_t down = pool->kernel[FC_DEPTH] * pool->kernel[FC_HEIGHT];
    found_places p;
    p.plane = lines_of(pool, b->rows) * pitch_of(pool, b->pixels);
    p.row_phase = b->planes * p.plane;
    p.phase = pool->kernel[FC_DEPTH] * phases(pool, FC_HEIGHT) * p.row_phase + 2 * lanes; /* a row is stored beyond */
    const int64_t all = fc_round_up(p.phase, 4 * lanes) + 4 * lanes;
    p.across_at = fc_pool_placed(bytes, across, sizeof(int64_t));
    p.across_position = fc_pool_placed(bytes, across, j->size);
    p.down_at = fc_pool_placed(bytes, down, sizeof(int64_t));
    p.down_position = fc_pool_placed(bytes, down, j->size);
    p.starts = fc_pool_placed(bytes, fc_round_up(b->pixels * (joined(j) ? b->rows : 1), lanes), j->size);
    p.lines = fc_pool_placed(bytes, (phases(pool, FC_WIDTH) - 1) * p.phase + all + pitch_of(pool, b->pixels), j->size);
    p.best = fc_pool_placed(bytes, all, j->size);
    p.which = fc_pool_placed(bytes, all, j->size);
    return p;
}

void fc_pool_found_place(fc_pool_job *j)
{
    j->found.planes = fc_min(j->found.planes, j->unit);
    j->found.at = j->bytes;
    places_of(j, &j->bytes);
}

static void clear_lines(const fc_pool_job *j, char *memory)
{
    size_t at = j->found.at;
    const found_places p = places_of(j, &at);
    const fc_pool_clear clear = { .op = FC_POOL_MAX, .count = (int64_t)((p.best - p.lines) / j->size),
                                  .to = memory + p.lines };
    j->table->pool_clear(&clear);
}

/* Whether windows see columns outside x. */
static bool padded(const fc_pool *pool)
{
    return pool->pad_before[FC_WIDTH] > 0 ||
           (pool->out_size[FC_WIDTH] - 1) * pool->stride[FC_WIDTH] + reach(pool, FC_WIDTH) >= pool->in_size[FC_WIDTH];
}

static void fill_starts(const fc_pool_job *j, char *starts, int64_t at, int64_t first)
{
    const int64_t count = j->found.pixels, stride = j->r->pool->stride[FC_WIDTH];
    if (j->size == sizeof(float))
        for (int64_t o = 0; o < count; o++)
            ((int32_t *)(void *)starts)[at + o] = (int32_t)(first + o * stride);
    else
        for (int64_t o = 0; o < count; o++)
            ((int64_t *)(void *)starts)[at + o] = first + o * stride;
}

void fc_pool_found_begin(const fc_pool_job *j, char *memory)
{
    const fc_pool *pool = j->r->pool;
    const fc_pool_found_block *b = &j->found;
    size_t at = b->at;
    const found_places p = places_of(j, &at);
    const int64_t *k = pool->kernel, *d = pool->dilation, *s = pool->stride, row = pool->in_size[FC_WIDTH];
    int64_t *across_at = (int64_t *)(void *)(memory + p.across_at);
    int64_t *down_at = (int64_t *)(void *)(memory + p.down_at);
    for (int64_t w = 0; w < k[FC_WIDTH]; w++) {
        const int64_t column = w * d[FC_WIDTH];
        across_at[w] = column % s[FC_WIDTH] * p.phase + column / s[FC_WIDTH];
        fc_pool_put_bits(j, memory + p.across_position, w, column);
    }
    for (int64_t i = 0; i < k[FC_DEPTH] * k[FC_HEIGHT]; i++) {
        const int64_t depth = i / k[FC_HEIGHT], line = i % k[FC_HEIGHT] * d[FC_HEIGHT];
        down_at[i] = (depth * phases(pool, FC_HEIGHT) + line % s[FC_HEIGHT]) * p.row_phase +
                     line / s[FC_HEIGHT] * pitch_of(pool, b->pixels);
        fc_pool_put_bits(j, memory + p.down_position, i,
                         (depth * d[FC_DEPTH] * pool->in_size[FC_HEIGHT] + line) * row);
    }
    for (int64_t r = 0; r < (joined(j) ? b->rows : 1); r++)
        fill_starts(j, memory + p.starts, r * b->pixels, r * s[FC_HEIGHT] * row);
    if (padded(pool))
        clear_lines(j, memory);
}

/* What is the same for all blocks. */
static fc_pool_found_lines lines_for(const fc_pool_job *j, char *memory)
{
    const fc_pool *pool = j->r->pool;
    size_t at = j->found.at;
    const found_places p = places_of(j, &at);
    return (fc_pool_found_lines){
        .x_plane = j->from_stride[FC_C], .x_depth = j->from_stride[FC_D] * pool->dilation[FC_DEPTH],
        .x_row = j->from_stride[FC_H], .stride = { pool->stride[FC_HEIGHT], pool->stride[FC_WIDTH] },
        .phases = { phases(pool, FC_HEIGHT), phases(pool, FC_WIDTH) }, .pitch = pitch_of(pool, j->found.pixels),
        .plane = p.plane, .row_phase = p.row_phase, .phase = p.phase, .lines = memory + p.lines,
        .best = memory + p.best, .which = memory + p.which, .across = pool->kernel[FC_WIDTH],
        .across_at = (const int64_t *)(const void *)(memory + p.across_at),
        .down_at = (const int64_t *)(const void *)(memory + p.down_at),
        .across_position = memory + p.across_position, .down_position = memory + p.down_position,
        .joined = joined(j), .starts = memory + p.starts, .position_row = pool->in_size[FC_WIDTH],
        .y_plane = j->to_stride[FC_C], .y_row = j->to_stride[FC_H], .index_plane = pool->out_pixels,
        .index_row = pool->out_size[FC_WIDTH],
    };
}

/* The columns of outputs o .. o + pixels - 1, of the plane at x, and where their windows begin. */
static void set_columns(const fc_pool_job *j, fc_pool_found_lines *l, int64_t o, int64_t pixels)
{
    const fc_pool *pool = j->r->pool;
    const int64_t first = o * pool->stride[FC_WIDTH] - pool->pad_before[FC_WIDTH];
    const int64_t end = first + (pixels - 1) * pool->stride[FC_WIDTH] + reach(pool, FC_WIDTH) + 1;
    l->pixels = pixels;
    l->before = fc_max(-first, 0);
    l->cols = fc_max(fc_min(end, pool->in_size[FC_WIDTH]) - fc_max(first, 0), 0);
}

/* The same of rows. */
static void set_rows(const fc_pool_job *j, fc_pool_found_lines *l, int64_t o, int64_t rows)
{
    const fc_pool *pool = j->r->pool;
    const int64_t first = o * pool->stride[FC_HEIGHT] - pool->pad_before[FC_HEIGHT];
    l->out_rows = rows;
    l->rows = (rows - 1) * pool->stride[FC_HEIGHT] + reach(pool, FC_HEIGHT) + 1;
    l->row_first = fc_min(fc_max(-first, 0), l->rows);
    l->row_end = fc_min(fc_max(pool->in_size[FC_HEIGHT] - first, l->row_first), l->rows);
}

/* Outputs at (depth, row, column) of a plane: where they are, and what they see. */
static void set_place(const fc_pool_job *j, const fc_pool_band *a, fc_pool_found_lines *l, int64_t plane,
                      int64_t depth, int64_t row, int64_t column)
{
    const fc_pool *pool = j->r->pool;
    const fc_pool_span span = fc_pool_window(pool, FC_DEPTH, depth);
    const int64_t top = row * pool->stride[FC_HEIGHT] - pool->pad_before[FC_HEIGHT];
    const int64_t left = column * pool->stride[FC_WIDTH] - pool->pad_before[FC_WIDTH];
    const int64_t width = pool->in_size[FC_WIDTH];
    const int64_t from = plane * j->from_stride[FC_C] + span.first * j->from_stride[FC_D] +
                         fc_max(top, 0) * j->from_stride[FC_H] + fc_max(left, 0);
    const int64_t to = plane * j->to_stride[FC_C] + depth * j->to_stride[FC_D] + row * j->to_stride[FC_H] + column;
    l->depth = fc_max(span.count, 1);
    l->depth_first = span.first * pool->in_size[FC_HEIGHT] * width;
    l->depth_count = span.count;
    l->down = l->depth * pool->kernel[FC_HEIGHT];
    if (span.count == 0)
        l->row_first = l->row_end = l->rows;  /* all that it sees is outside */
    l->start = l->depth_first + top * width + left;
    l->x = a->from + from * (int64_t)j->size;
    l->ahead = l->planes > 1 || l->out_rows == pool->out_size[FC_HEIGHT]
        ? (const char *)l->x + l->planes * j->from_stride[FC_C] * (int64_t)j->size
        : (const char *)l->x + (l->row_end - l->row_first) * j->from_stride[FC_H] * (int64_t)j->size;
    l->y = a->to + to * (int64_t)j->size;
    l->index = a->index + plane * pool->out_pixels +
               (depth * pool->out_size[FC_HEIGHT] + row) * pool->out_size[FC_WIDTH] + column;
}

static bool any_empty(const fc_pool_span *windows, int64_t count)
{
    for (int64_t o = 0; o < count; o++)
        if (windows[o].count == 0)
            return true;
    return false;
}

void fc_pool_found_run(const fc_pool_job *j, const fc_pool_band *a, const fc_pool_span *height,
                       const fc_pool_span *width, char *memory)
{
    const fc_pool *pool = j->r->pool;
    const int64_t all = pool->out_size[FC_WIDTH], rows = a->height_end - a->height;
    const int64_t at_once = fc_div_up(rows, fc_div_up(rows, j->found.rows));
    fc_pool_found_lines l = lines_for(j, memory);
    for (int64_t column = 0; column < all; column += j->found.pixels) {
        if (j->found.pixels < all && padded(pool)) /* other columns are outside x */
            clear_lines(j, memory);
        set_columns(j, &l, column, fc_min(j->found.pixels, all - column));
        l.width = width + column;
        const bool empty_columns = any_empty(l.width, l.pixels);
        for (int64_t d = a->depth; d < a->depth_end; d++)
            for (int64_t plane = 0; plane < a->planes; plane += j->found.planes)
                for (int64_t row = 0; row < rows; row += at_once) {
                    l.planes = fc_min(j->found.planes, a->planes - plane);
                    l.height = height + row;
                    set_rows(j, &l, a->height + row, fc_min(at_once, rows - row));
                    set_place(j, a, &l, plane, d, a->height + row, column);
                    l.empty = l.depth_count == 0 || empty_columns || any_empty(l.height, l.out_rows);
                    l.doubt = true;
                    if (j->found.near && !l.empty)
                        j->table->pool_found_near(&l);
                    if (l.doubt)
                        j->table->pool_found_lines(&l);
                }
    }
}
