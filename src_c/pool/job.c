/* Chooses how a reduction is computed (see job.h).  Called by reduce.c. */
#include "job.h"
#include "found.h"
#include "../base/size.h"

/* About so many inputs are combined by one task; a tile of so many bytes stays in the cache beside what is
 * made of it; combined rows of so many are worth reading again. */
enum { TASK_WORK = 1 << 16, TILE_BYTES = 64 << 10, SUMS_BYTES = 256 << 10, TILE_MOST = 512 << 10 };
enum { FAR_BYTES = 32 << 20 };                /* of numbers that are no longer in a cache */

/* Whether every window counts the same number of inputs along an axis: then that of its first. */
static bool counts_alike(const fc_pool *pool, int axis, int64_t *count)
{
    const int64_t out = pool->out_size[axis];
    *count = fc_pool_counted(pool, axis, 0);
    if (pool->adaptive)
        return pool->in_size[axis] % out == 0;
    if (pool->count_include_pad)
        return fc_pool_counted(pool, axis, out - 1) == *count;
    const int64_t last = (out - 1) * pool->stride[axis] - pool->pad_before[axis] +
                         (pool->kernel[axis] - 1) * pool->dilation[axis];
    return out == 1 || (pool->pad_before[axis] == 0 && last < pool->in_size[axis]);
}

static void choose_divisor(fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    int64_t counts[FC_SPATIAL];
    j->alike = true;
    j->divisor = 1;
    if (!j->r->average)
        return;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        j->alike = counts_alike(pool, axis, &counts[axis]) && j->alike;
    j->divisor = (double)counts[0] * (double)counts[1] * (double)counts[2];
    if (pool->divisor_override > 0) {
        j->alike = true;
        j->divisor = (double)pool->divisor_override;
    }
    j->weighted = j->r->transposed && !j->alike;
}

/* Inputs that an output sees along an axis, about. */
static double seen(const fc_pool_job *j, int axis)
{
    const fc_pool *pool = j->r->pool;
    const int64_t kernel = pool->adaptive ? fc_div_up(pool->in_size[axis], pool->out_size[axis]) : pool->kernel[axis];
    if (!j->r->transposed)
        return (double)kernel;
    return pool->adaptive ? 1.5 : (double)fc_div_up(kernel, pool->stride[axis]);
}

/* Even and odd outputs of a gradient by stride 2: each sees every second tap, and neighbouring inputs. */
static void choose_phases(fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t k = pool->kernel[FC_WIDTH], pad = pool->pad_before[FC_WIDTH];
    fc_pool_lines *l = &j->lines;
    l->phases = 2;
    l->spread = 1;
    l->left = fc_round_up((k + 1) / 2, j->table->lanes); /* rows are stored by whole lines */
    for (int i = 0; i < 2; i++) {
        const int64_t first = (i + pad) & 1;  /* tap */
        l->phase_taps[i] = first < k ? (k - first + 1) / 2 : 0;
        l->start[i] = l->left + (i + pad - first) / 2 - (l->phase_taps[i] - 1);
    }
}

/* Neighbours in rows: by vectors where windows are even, else span by span. */
static void choose_lines(fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t k = pool->kernel[FC_WIDTH], s = pool->stride[FC_WIDTH], d = pool->dilation[FC_WIDTH];
    const int64_t lanes = j->table->lanes, width = j->to_size[FC_WIDTH], from = j->from_size[FC_WIDTH];
    const int64_t vectors = fc_div_up(width, lanes);
    fc_pool_lines *l = &j->lines;
    *l = (fc_pool_lines){ .cols = from, .spread = 1, .buffer = from, .stride = 1 };
    const double taps = (double)(j->r->transposed ? fc_div_up(k, s) : k);
    const double each = !j->r->transposed && s > 2 ? 0.8 * (double)lanes : 1;
    const double cols = (double)vectors * (double)k * each;
    const double spans = (double)width *
                         (j->step[FC_WIDTH] == 1 && taps >= 2 * (double)lanes ? taps / (double)lanes + 8 : taps + 3);
    if (pool->adaptive || spans < cols)
        return;
    l->phases = 1;
    l->taps = k;
    l->step = d;
    l->stride = j->r->transposed ? 1 : s;
    l->spread = j->r->transposed ? s : 1;
    l->left = j->r->transposed ? (k - 1) * d - pool->pad_before[FC_WIDTH] : pool->pad_before[FC_WIDTH];
    const int64_t before = l->left;
    l->left = fc_round_up(before, lanes);
    l->first = l->left - before;
    if (j->r->transposed && s == 2 && d == 1) {
        choose_phases(j);
        l->first = 0;
    }
    const int64_t read = l->left + (vectors * lanes - 1) * l->stride + (k - 1) * d + 2 * lanes + 2;
    l->buffer = fc_round_up(fc_max(read, l->left + (from - 1) * l->spread + 1), lanes) + lanes;
}

/* Planes of a contiguous array are even steps apart across images. */
static bool one_run(const fc_pool *pool)
{
    return pool->batch == 1 || (pool->x_stride[FC_N] == pool->channels * pool->x_stride[FC_C] &&
                                pool->y_stride[FC_N] == pool->channels * pool->y_stride[FC_C]);
}

static bool whole_planes(const fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const fc_pool_span window = fc_pool_window(pool, axis, 0);
        if (pool->out_size[axis] != 1 || window.first != 0 || window.count != pool->in_size[axis] ||
            pool->dilation[axis] != 1)
            return false;
    }
    return !j->r->indices && (pool->channels_last ? !j->r->transposed : pool->x_stride[FC_W] == 1) &&
           fc_pixels_uniform(pool->x_stride, pool->in_size);
}

/* Bytes of a tile for `rows` rows of outputs at one depth, and what is made of it, with `lanes` lanes. */
static double tile_bytes(const fc_pool_job *j, int64_t depth_rows, int64_t rows, int64_t lanes)
{
    const fc_pool *pool = j->r->pool;
    const int64_t count[2] = { depth_rows, rows };
    double pixels = (double)j->from_size[FC_WIDTH];
    for (int axis = 0; axis < 2; axis++) {
        const double reach = j->r->transposed || pool->adaptive
            ? seen(j, axis) + (double)count[axis] * (double)j->from_size[axis] / (double)j->to_size[axis] + 1
            : (double)(count[axis] - 1) * (double)pool->stride[axis] +
              (double)(pool->kernel[axis] - 1) * (double)pool->dilation[axis] + 1;
        pixels *= reach < (double)j->from_size[axis] ? reach : (double)j->from_size[axis];
    }
    pixels += (double)depth_rows * (double)rows * (double)j->to_size[FC_WIDTH];
    return pixels * (double)lanes * (double)j->size;
}

/* Most inputs along width that an output sees, where two vectors hold a row: 0 if they do not.  What is
 * nothing needs a lane. */
static int64_t short_taps(const fc_pool_job *j)
{
    const int64_t cols = j->from_size[FC_WIDTH], two = 2 * j->table->lanes;
    int64_t most = 0, least = cols;
    if (cols > two)
        return 0;
    for (int64_t o = 0; o < j->to_size[FC_WIDTH]; o++) {
        const int64_t count = fc_pool_job_window(j, FC_WIDTH, o).count;
        most = fc_max(most, count);
        least = fc_min(least, count);
    }
    return cols == two && least < most ? 0 : fc_max(most, 1);
}

/* Nanoseconds a plane, measured, in proportion for other vectors: of short rows, of a tile of `planes` planes. */
static double short_ns(const fc_pool_job *j)
{
    const double lanes = (double)j->table->lanes, deep = seen(j, FC_DEPTH) * seen(j, FC_HEIGHT), taps = (double)j->taps;
    const double rows = (double)j->to_size[FC_DEPTH] * (double)j->to_size[FC_HEIGHT];
    const double vectors = (double)fc_div_up(j->from_size[FC_WIDTH], (int64_t)lanes);
    const double made = (double)fc_div_up(j->to_size[FC_WIDTH], (int64_t)lanes);
    const double wide = j->r->transposed && made > 1 ? 0.9 : 1.2;
    return wide * rows * (3.5 + 0.8 * (deep * vectors + taps * made) + 1.2 * made);
}

static double tile_ns(const fc_pool_job *j, int64_t planes)
{
    const fc_pool *pool = j->r->pool;
    const double all = seen(j, FC_DEPTH) * seen(j, FC_HEIGHT) * (j->taps > 0 ? (double)j->taps : seen(j, FC_WIDTH));
    const double from = (double)(j->r->transposed ? pool->out_pixels : pool->in_pixels);
    const double to = (double)j->to_size[FC_DEPTH] * (double)j->to_size[FC_HEIGHT] * (double)j->to_size[FC_WIDTH];
    const double wider = 16 / (double)j->table->lanes;
    double ns = 3 + (0.16 * from + 0.28 * to + 0.6 * to * all / 16) * wider;
    if (j->r->indices)
        ns += (0.4 * to + 0.4 * to * all / 16) * wider;
    /* From memory, planes are read and written side by side more slowly than one after the other. */
    const double pixels = (double)(pool->in_pixels + pool->out_pixels);
    if (pixels * (double)(pool->batch * pool->channels) * (double)j->size > FAR_BYTES)
        ns += 0.27 * pixels * wider;
    return ns * (double)fc_round_up(planes, j->table->lanes) / (double)planes;
}

/* Whether windows are narrow and rows long enough that sums are better kept in registers than in a buffer: measured.
 * By stride 1 that is where rows are few vectors, the last one cut; vectors below 32 bytes pick lanes one by one. */
static bool near_windows(fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t k = pool->kernel[FC_WIDTH], s = pool->stride[FC_WIDTH], lanes = j->table->lanes;
    const int64_t width = j->to_size[FC_WIDTH], cols = j->from_size[FC_WIDTH], last = (width - 1) / lanes * lanes;
    if (pool->adaptive || j->weighted || pool->dilation[FC_WIDTH] != 1 || k < 2 || k > 3 || s > 2)
        return false;
    if ((j->r->transposed && s > 1) || j->r->op == FC_POOL_ABS || j->r->op == FC_POOL_POWER)
        return false;
    if (cols <= 2 * lanes || (size_t)lanes * j->size < 32 || (s == 1 && (width % lanes == 0 || width > 4 * lanes)))
        return false;
    j->before = j->r->transposed ? k - 1 - pool->pad_before[FC_WIDTH] : pool->pad_before[FC_WIDTH];
    return j->before >= 0 && j->before < lanes && last * s - j->before <= cols;
}

static fc_pool_way choose_way(fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t lanes = j->table->lanes, planes = one_run(pool) ? pool->batch * pool->channels : pool->channels;
    if (whole_planes(j))
        return FC_BY_WHOLES;
    if (pool->channels_last)
        return FC_BY_CHANNELS;
    if (j->r->indices)
        return fc_pool_found_fits(j) && fc_pool_found_ns(j) < tile_ns(j, planes) ? FC_BY_FOUND : FC_BY_TILE;
    if (near_windows(j))
        return FC_BY_NEAR;
    j->taps = short_taps(j);
    if (j->taps > 0)
        return tile_ns(j, planes) < short_ns(j) ? FC_BY_TILE : FC_BY_SHORT;
    if (2 * planes < lanes || tile_bytes(j, 1, 1, lanes) > TILE_MOST)
        return FC_BY_LINES;
    const bool strided = pool->adaptive || pool->stride[FC_WIDTH] > 2 ||
                         (j->r->transposed && pool->dilation[FC_WIDTH] > 1);
    return strided ? FC_BY_TILE : FC_BY_LINES;
}

/* Bands of outputs that make about `work` inputs a task, or a tile that stays in the cache. */
static void choose_bands(fc_pool_job *j, double row)
{
    const int64_t depth = j->to_size[FC_DEPTH], height = j->to_size[FC_HEIGHT];
    double rows = fc_max(1, (int64_t)(row > TASK_WORK ? 1 : TASK_WORK / row));
    if (j->way == FC_BY_TILE && tile_bytes(j, depth, height, j->unit) > TILE_BYTES) {
        const double one = tile_bytes(j, 1, 1, j->unit), two = tile_bytes(j, 1, fc_min(2, height), j->unit);
        const double fit = height == 1 ? 1 : 1 + (TILE_BYTES - one) / (two - one > 1 ? two - one : 1);
        rows = fit < 1 ? 1 : fit;
        if (rows > (double)height)
            rows = (double)height;
    } else if (j->way == FC_BY_TILE || j->way == FC_BY_WHOLES || (j->way == FC_BY_FOUND && j->unit > 1))
        rows = (double)(depth * height);
    if (rows >= (double)(depth * height))
        rows = (double)(depth * height);
    j->height_rows = rows < (double)height ? (int64_t)rows : height;
    j->height_rows = fc_div_up(height, fc_div_up(height, j->height_rows));
    if (j->way == FC_BY_FOUND && j->height_rows > j->found.rows)
        j->height_rows = fc_min(height, j->height_rows / j->found.rows * j->found.rows);
    j->depth_rows = rows < (double)height ? 1 : fc_min(depth, (int64_t)(rows / (double)height));
    j->depth_bands = fc_div_up(depth, j->depth_rows);
    j->bands = j->depth_bands * fc_div_up(height, j->height_rows);
}

static void choose_units(fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t lanes = j->table->lanes;
    const double taps = seen(j, FC_DEPTH) * seen(j, FC_HEIGHT) * seen(j, FC_WIDTH);
    const double rows = (double)j->to_size[FC_DEPTH] * (double)j->to_size[FC_HEIGHT];
    double row = taps * (double)j->to_size[FC_WIDTH] + 20;
    if (j->way == FC_BY_LINES || j->way == FC_BY_NEAR || j->way == FC_BY_SHORT || j->way == FC_BY_FOUND ||
        j->way == FC_BY_WHOLES)
        row = (taps / seen(j, FC_WIDTH) + 1) * (double)(j->from_size[FC_WIDTH] + j->to_size[FC_WIDTH]) + 20;
    j->in_run = pool->channels_last || !one_run(pool) ? pool->channels : pool->batch * pool->channels;
    j->unit = 1;
    if (j->way == FC_BY_WHOLES && !pool->channels_last)
        j->unit = fc_round_up(fc_max(1, fc_min(j->in_run, 2 * TASK_WORK / pool->in_pixels)), lanes);
    else if (j->way == FC_BY_LINES || j->way == FC_BY_NEAR || j->way == FC_BY_SHORT || j->way == FC_BY_FOUND)
        j->unit = row * rows >= 2.0 * TASK_WORK ? 1 : fc_min(j->in_run, (int64_t)(2.0 * TASK_WORK / (row * rows)) + 1);
    else if (j->way == FC_BY_TILE) {
        j->unit = lanes;
        while (j->unit < 4 * lanes && j->unit < j->in_run &&
               tile_bytes(j, j->to_size[FC_DEPTH], j->to_size[FC_HEIGHT], 2 * j->unit) <= TILE_BYTES)
            j->unit *= 2;
    } else {
        const double all = row * (double)pool->channels * rows;
        j->unit = pool->channels;
        /* Few rows of many channels: whole cache lines of them are tasks too. */
        if (rows * (double)pool->batch < 8 && all > 4.0 * TASK_WORK && pool->channels >= 512)
            j->unit = fc_round_up(pool->channels / fc_min(8, (int64_t)(all / TASK_WORK)), 256);
    }
    row *= (double)j->unit;
    j->units_in_run = fc_div_up(j->in_run, j->unit);
    j->units = j->units_in_run * (pool->batch * pool->channels / j->in_run);
    choose_bands(j, row);
    const double band = row * (double)j->depth_rows * (double)j->height_rows;
    j->units_per_task = j->bands > 1 || band > TASK_WORK ? 1 : (int64_t)(TASK_WORK / band) + 1;
    j->tasks = fc_div_up(j->units, j->units_per_task) * j->bands;
    j->seconds = row * rows * (double)j->units * 0.1e-9 +
                 (double)(pool->in_pixels + pool->out_pixels) * (double)(pool->batch * pool->channels) * 0.1e-9;
}

/* Whether combining rows first saves work where windows overlap. */
static bool choose_rows_first(const fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    const double deep = seen(j, FC_DEPTH) * seen(j, FC_HEIGHT), wide = seen(j, FC_WIDTH);
    const double apart = (double)j->from_size[FC_WIDTH] / (double)j->to_size[FC_WIDTH];
    if (j->r->indices || j->weighted || (j->way != FC_BY_CHANNELS && j->way != FC_BY_TILE))
        return false;
    if (j->way == FC_BY_CHANNELS && (j->unit != pool->channels || j->from_stride[FC_W] != pool->channels))
        return false;
    if ((double)j->from_size[FC_WIDTH] * (double)j->unit * (double)j->size > SUMS_BYTES)
        return false;
    return deep * apart + wide + 2 < 0.9 * deep * wide;
}

static void place(fc_pool_job *j)
{
    const fc_pool *pool = j->r->pool;
    const int64_t lanes = j->table->lanes;
    j->width_at = fc_pool_placed(&j->bytes, j->to_size[FC_WIDTH], sizeof(fc_pool_span));
    const int64_t counted = j->alike ? 0 : fc_round_up(j->to_size[FC_WIDTH], lanes);
    j->width_counted_at = fc_pool_placed(&j->bytes, counted, j->size);
    j->width_share_at = fc_pool_placed(&j->bytes, counted, j->size);
    j->factors_at = fc_pool_placed(&j->bytes, j->weighted ? fc_round_up(j->from_size[FC_WIDTH], lanes) : 0, j->size);
    if (j->way == FC_BY_SHORT) {
        j->index_tap = fc_round_up(j->to_size[FC_WIDTH], lanes);
        j->index_at = fc_pool_placed(&j->bytes, j->taps * j->index_tap, j->size);
    }
    j->height_at = fc_pool_placed(&j->bytes, j->height_rows, sizeof(fc_pool_span));
    j->height_counted_at = fc_pool_placed(&j->bytes, j->height_rows, sizeof(double));
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        j->factor_at[axis] = fc_pool_placed(&j->bytes, j->weighted ? j->from_size[axis] : 0, sizeof(double));
    if (j->way == FC_BY_LINES)
        j->sums_at = fc_pool_placed(
            &j->bytes, FC_POOL_LINES * j->lines.buffer + fc_round_up(j->from_size[FC_WIDTH], lanes), j->size);
    else if (j->rows_first)
        j->sums_at = fc_pool_placed(&j->bytes, j->from_size[FC_WIDTH] * j->unit, j->size);
    else if (j->way == FC_BY_WHOLES)
        j->sums_at = fc_pool_placed(&j->bytes, pool->channels_last ? j->unit : 0, j->size);
    if (j->way == FC_BY_FOUND)
        fc_pool_found_place(j);
    if (j->way != FC_BY_TILE)
        return;
    int64_t pixels = 0;                       /* of the largest region of inputs */
    for (int64_t band = 0; band < j->bands; band++) {
        const int64_t d = band % j->depth_bands * j->depth_rows, h = band / j->depth_bands * j->height_rows;
        const fc_pool_span depth = fc_pool_job_region(j, FC_DEPTH, d, fc_min(d + j->depth_rows, j->to_size[FC_DEPTH]));
        const fc_pool_span height = fc_pool_job_region(j, FC_HEIGHT, h,
                                                       fc_min(h + j->height_rows, j->to_size[FC_HEIGHT]));
        pixels = fc_max(pixels, depth.count * height.count * j->from_size[FC_WIDTH]);
    }
    const int64_t made = j->depth_rows * j->height_rows * j->to_size[FC_WIDTH];
    j->tile_at = fc_pool_placed(&j->bytes, pixels * j->unit, j->size);
    j->made_at = fc_pool_placed(&j->bytes, made * j->unit, j->size);
    j->where_at = fc_pool_placed(&j->bytes, j->r->indices ? made * j->unit : 0, j->size);
}

fc_pool_job fc_pool_job_of(const fc_reduction *r)
{
    const fc_pool *pool = r->pool;
    fc_pool_job j = { .r = r, .table = fc_table_for(pool->dtype), .size = fc_size_of(pool->dtype) };
    j.from_size = r->transposed ? pool->out_size : pool->in_size;
    j.to_size = r->transposed ? pool->in_size : pool->out_size;
    j.from_stride = r->transposed ? pool->y_stride : pool->x_stride;
    j.to_stride = r->transposed ? pool->x_stride : pool->y_stride;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        j.step[axis] = r->transposed ? fc_pool_seen_step(pool, axis) : pool->dilation[axis];
    choose_divisor(&j);
    j.way = choose_way(&j);
    if (j.way == FC_BY_LINES)
        choose_lines(&j);
    choose_units(&j);
    j.rows_first = choose_rows_first(&j);
    place(&j);
    return j;
}
