/* Winograd convolution F(m x m, r x r): 1.5 to 4 times fewer multiplications.
 *
 * For each chunk of input channels a block of tiles is copied to an interleaved zero-bordered band and
 * transformed with channels as lanes to V[xi][tile][channel].  Then, for each panel of output channels:
 * the products V[xi] U[xi], U[xi][channel][lane] being the transformed weights, are added to those of the
 * chunks before; after the last chunk they are transformed back with output channels as lanes, bias and
 * activation on the way out.  U is made just before it is used, unless all of it stays in the cache from one
 * block to the next: it is four times the weights, and reading it from memory takes longer than making it.
 * Tiles of a dilated kernel have steps between their pixels, and a block has tiles of all phases:
 * see winograd_axis.h.  Listed in list.c as winograd4 and winograd2. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "geometry.h"
#include "winograd_split.h"

/* Where U of one chunk of input channels is made from. */
typedef struct winograd_maker {
    const fc_conv *conv;
    const fc_table *table;
    const fc_winograd_split *split;
    const void *weight, *taps;                /* taps: kept ones of the panel, or NULL */
    bool reversed;                            /* as of fc_conv_run */
    int64_t group, panel;                     /* of output channels */
    int64_t first, count;                     /* input channels */
    void *turned, *u;                         /* turned: room for FC_WINOGRAD_TAP_CHANNELS */
} winograd_maker;

/* As turn_weights, from the filters of another convolution: `at` counts those of `conv->taps` before the first. */
static void turn_reversed(const winograd_maker *k, int64_t at, int64_t lanes, int64_t count, void *taps)
{
    const fc_conv *conv = k->conv;
    int64_t to[FC_WINOGRAD_MOST_TAPS];
    for (int64_t t = 0; t < conv->taps; t++)
        to[t] = (conv->taps - 1 - t) * k->split->panel;
    const fc_turn_panel turn = {
        .outs = count, .ins = lanes, .taps = conv->taps, .src_o = conv->out_per_group * conv->taps,
        .panel = k->split->panel, .dst_o = conv->taps * k->split->panel, .at = to,
        .src = fc_at(k->weight, at * conv->taps, fc_size_of(conv->dtype)), .dst = taps,
    };
    k->table->turn_panel(&turn);
}

/* Filters of `count` input channels of a panel with its output channels adjacent: taps[channel * taps + tap][lane]. */
static void turn_weights(const winograd_maker *k, int64_t c, int64_t count, void *taps)
{
    const fc_conv *conv = k->conv;
    const int64_t channel = k->panel * k->split->panel, lanes = fc_min(k->split->panel, conv->out_per_group - channel);
    if (k->reversed) {
        turn_reversed(k, (k->group * conv->in_per_group + c) * conv->out_per_group + channel, lanes, count, taps);
        return;
    }
    const int64_t filter = (k->group * conv->out_per_group + channel) * conv->depth;
    const fc_move move = {
        .rows = count * conv->taps, .cols = lanes,
        .src = fc_at(k->weight, filter + c * conv->taps, fc_size_of(conv->dtype)), .src_row = 1, .src_col = conv->depth,
        .dst = taps, .dst_row = k->split->panel, .dst_col = 1, .zero_after = k->split->panel - lanes,
        .ahead = FC_WEIGHTS_AHEAD,
    };
    k->table->move(&move);
}

static void make_weights(const winograd_maker *k)
{
    const fc_winograd_split *s = k->split;
    const size_t size = fc_size_of(k->conv->dtype);
    for (int64_t done = 0; done < k->count; done += FC_WINOGRAD_TAP_CHANNELS) {
        const int64_t c = k->first + done, count = fc_min(FC_WINOGRAD_TAP_CHANNELS, k->count - done);
        if (!k->taps)
            turn_weights(k, c, count, k->turned);
        const fc_winograd_weight w = {
            .row = s->y.line.form, .col = s->x.line.form, .channels = count, .lanes = s->panel,
            .taps = k->taps ? fc_at(k->taps, c * k->conv->taps * s->panel, size) : k->turned,
            .u = fc_at_mut(k->u, done * s->panel, size), .xi_step = s->u_xi,
        };
        k->table->winograd_weight(&w);
    }
}

/* What is kept of one panel. */
static void keep_panel(const fc_conv_run *run, const fc_winograd_split *s, int64_t index, void *kept)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t channels = conv->in_per_group;
    _Alignas(64) unsigned char turned[FC_WINOGRAD_TAP_CHANNELS * FC_WINOGRAD_MOST_TAPS * FC_WINOGRAD_PANEL_BYTES];
    winograd_maker k = {
        .conv = conv, .table = run->table, .split = s, .weight = run->weight, .reversed = run->reversed,
        .group = index / s->panels, .panel = index % s->panels, .turned = turned,
    };
    void *to = fc_at_mut(kept, index * s->kept_panel, size);
    if (s->keeps == FC_WINOGRAD_KEPT_TAPS)
        for (int64_t c = 0; c < channels; c += FC_WINOGRAD_TAP_CHANNELS)
            turn_weights(&k, c, fc_min(FC_WINOGRAD_TAP_CHANNELS, channels - c),
                         fc_at_mut(to, c * conv->taps * s->panel, size));
    else
        for (int64_t c = 0; c < channels; c += s->chunk) {
            k.first = c;
            k.count = fc_min(s->chunk, channels - c);
            k.u = fc_at_mut(to, c / s->chunk * s->xis * s->u_xi, size);
            make_weights(&k);
        }
}

static void prepare_of(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared, int m)
{
    const fc_winograd_split s = fc_winograd_split_of(conv, table, m, 1);
    const fc_conv_run run = { .conv = conv, .table = table, .weight = weight };
    for (int64_t index = 0; index < conv->groups * s.panels; index++)
        keep_panel(&run, &s, index, prepared);
}

typedef struct winograd_job {
    const fc_conv_run *run;
    fc_winograd_split split;
    void *kept;                               /* NULL: from the weights each time */
    void *v;                                  /* of all blocks, NULL: each task its own */
    void *products;                           /* of all tasks, where those that share V have several chunks */
    int64_t chunk;                            /* number of the one that tasks which share V are at */
} winograd_job;

static void keep_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const winograd_job *job = context;
    keep_panel(job->run, &job->split, task, job->kept);
}

/* Tiles of one class along each axis: `rows` x `cols` from (row, col) of the block on; tile numbers from
 * `first` on, image after image. */
typedef struct winograd_region {
    const fc_winograd_class *y, *x;
    int64_t row, col, rows, cols, first;
} winograd_region;

enum { CLASSES = FC_WINOGRAD_CLASSES, REGIONS = CLASSES * CLASSES };

typedef struct winograd_block {
    fc_block_origin at;                       /* row and col in output pixels */
    int64_t images, group, panel, panels, tiles;
    int64_t row, col, rows, cols;             /* tiles */
    int64_t out_rows, out_cols;               /* pixels */
    winograd_region region[REGIONS];
    int64_t *row_at, *col_at;                 /* pixels from `at` to tiles */
    void *band, *v, *products, *u, *turned, *tile;
} winograd_block;

/* Classes from whole tiles to the most cut and back, row by row of classes: in that order most tiles that
 * have a point are neighbours, whichever point it is. */
static void regions_of(const fc_winograd_split *s, winograd_block *b)
{
    for (int i = 0; i < REGIONS; i++) {
        const int down = i / CLASSES, right = down % 2 == 0 ? CLASSES - 1 - i % CLASSES : i % CLASSES;
        const fc_winograd_class *y = &s->y.classes[down], *x = &s->x.classes[right];
        const int64_t row = fc_max(y->first, b->row), rows = fc_max(0, fc_min(y->end, b->row + b->rows) - row);
        const int64_t col = fc_max(x->first, b->col), cols = fc_max(0, fc_min(x->end, b->col + b->cols) - col);
        b->region[i] = (winograd_region){
            .y = y, .x = x, .row = row - b->row, .col = col - b->col, .rows = rows, .cols = cols, .first = b->tiles,
        };
        b->tiles += b->images * rows * cols;
    }
}

static void place_tiles(const fc_winograd_split *s, winograd_block *b)
{
    b->at.row = fc_winograd_at(&s->y, b->row);
    b->at.col = fc_winograd_at(&s->x, b->col);
    for (int64_t i = 0; i < b->rows; i++)
        b->row_at[i] = fc_winograd_at(&s->y, b->row + i) - b->at.row;
    for (int64_t i = 0; i < b->cols; i++)
        b->col_at[i] = fc_winograd_at(&s->x, b->col + i) - b->at.col;
    b->out_rows = fc_min(fc_winograd_outputs_of(&s->y, b->rows), s->y.size - b->at.row);
    b->out_cols = fc_min(fc_winograd_outputs_of(&s->x, b->cols), s->x.size - b->at.col);
}

/* The first of `all` that block `index` has, of which each has as many as the others or one less. */
static int64_t first_of(int64_t all, int64_t blocks, int64_t index) { return all * index / blocks; }

/* Where some rows of blocks have far more tiles than others, few of them are taken diagonally: half the tasks then have
 * about as many tiles as the others. */
static bool is_diagonal(const fc_winograd_split *s)
{
    enum { MOST = 15 };
    return s->row_blocks * s->col_blocks <= MOST && s->high % s->row_blocks > 0 && s->high < 4 * s->row_blocks;
}

static winograd_block block_of(const winograd_job *job, int64_t task, void *memory)
{
    const fc_winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    winograd_block b = { .band = memory };
    b.products = job->products ? (char *)job->products + (size_t)(task * s->range_panels) * s->p_bytes
                               : (char *)memory + s->p_at;
    b.panel = task % s->ranges * s->range_panels;
    b.panels = fc_min(s->range_panels, s->panels - b.panel);
    task /= s->ranges;
    b.v = job->v ? (char *)job->v + (size_t)task * s->v_bytes : (char *)memory + s->v_at;
    int64_t across = task % s->col_blocks, down = task / s->col_blocks % s->row_blocks;
    if (is_diagonal(s)) {
        const int64_t within = task % (s->col_blocks * s->row_blocks);
        down = within % s->row_blocks;
        across = (within / s->row_blocks + down) % s->col_blocks;
    }
    b.col = first_of(s->wide, s->col_blocks, across) * s->x.phases;
    b.cols = fc_min(first_of(s->wide, s->col_blocks, across + 1) * s->x.phases, s->x.tiles) - b.col;
    b.row = first_of(s->high, s->row_blocks, down) * s->y.phases;
    b.rows = fc_min(first_of(s->high, s->row_blocks, down + 1) * s->y.phases, s->y.tiles) - b.row;
    task /= s->col_blocks * s->row_blocks;
    b.at.depth = task % conv->out_size[FC_DEPTH];
    task /= conv->out_size[FC_DEPTH];
    b.group = task % conv->groups;
    task /= conv->groups;
    b.at.image = first_of(conv->batch, s->image_blocks, task);
    b.images = first_of(conv->batch, s->image_blocks, task + 1) - b.at.image;
    b.u = (char *)memory + s->u_at;
    b.turned = (char *)memory + s->turned_at;
    b.tile = (char *)memory + s->tile_at;
    b.row_at = (int64_t *)(void *)((char *)memory + s->places_at);
    b.col_at = b.row_at + s->rows;
    regions_of(s, &b);
    place_tiles(s, &b);
    return b;
}

/* V of the block, input channels c0 .. c1. */
static void transform_input(const winograd_job *job, const winograd_block *b, int64_t c0, int64_t c1)
{
    const fc_winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    for (int64_t n = 0; n < b->images; n++) {
        fc_block_origin at = b->at;
        at.image += n;
        at.row += s->y.skip;
        at.col += s->x.skip;
        for (int64_t c = c0; c < c1; c += s->band.channels) {
            const int64_t count = fc_min(s->band.channels, c1 - c);
            fc_band_copy(job->run, &s->band, &at, b->group * conv->in_per_group + c, count, b->band);
            for (int i = 0; i < REGIONS; i++) {
                const winograd_region *r = &b->region[i];
                const fc_winograd_input w = {
                    .row = r->y->line, .col = r->x->line, .tile_rows = r->rows, .tile_cols = r->cols, .channels = count,
                    .band = b->band, .row_at = b->row_at + r->row, .col_at = b->col_at + r->col,
                    .row_step = s->band.row_step, .col_step = s->band.col_step,
                    .row_tap = s->y.dilation, .col_tap = s->x.dilation,
                    .v = fc_at_mut(b->v, (r->first + n * r->rows * r->cols) * s->v_tile + c % s->chunk, size),
                    .xi_step = s->v_xi, .tile_step = s->v_tile,
                };
                if (r->rows > 0 && r->cols > 0)
                    job->run->table->winograd_input(&w);
            }
        }
    }
}

/* Part of the input channels of one block. */
static void input_task(void *context, int64_t task, void *memory)
{
    const winograd_job *job = context;
    const fc_winograd_split *s = &job->split;
    const int64_t parts = fc_div_up(s->chunk, s->band.channels), c0 = job->chunk * s->chunk;
    const int64_t c = c0 + task % parts * s->band.channels;
    const int64_t end = fc_min(fc_min(c + s->band.channels, c0 + s->chunk), job->run->conv->in_per_group);
    const winograd_block b = block_of(job, task / parts * s->ranges, memory);
    if (c < end)
        transform_input(job, &b, c, end);
}

/* products[xi] (+)= V[xi] U[xi] of tiles first .. end, for one chunk of input channels, from c on. */
static void multiply_run(const winograd_job *job, const winograd_block *b, int xi, int64_t first,
                         int64_t end, int64_t c, const void *u)
{
    const fc_winograd_split *s = &job->split;
    const size_t size = fc_size_of(job->run->conv->dtype);
    const fc_winograd_multiply w = {
        .tiles = end - first, .k = fc_min(s->chunk, job->run->conv->in_per_group - c), .vectors = s->vectors,
        .v = fc_at(b->v, xi * s->v_xi + first * s->v_tile + c % s->chunk, size), .v_tile = s->v_tile,
        .u = fc_at(u, xi * s->u_xi, size), .u_step = s->panel,
        .m = fc_at_mut(b->products, xi * s->p_xi + first * s->panel, size), .m_tile = s->panel,
        .accumulate = c > 0,
    };
    job->run->table->winograd_multiply(&w);
}

/* The same of all tiles that have this point. */
static void multiply(const winograd_job *job, const winograd_block *b, int64_t c, const void *u)
{
    const fc_winograd_split *s = &job->split;
    for (int xi = 0; xi < s->xis; xi++) {
        int64_t first = 0, end = 0;
        for (int i = 0; i < REGIONS; i++) {
            const winograd_region *r = &b->region[i];
            const int64_t count = b->images * r->rows * r->cols;
            if (count == 0 || !fc_winograd_has(r->y->line, xi / s->x.points) ||
                !fc_winograd_has(r->x->line, xi % s->x.points))
                continue;
            if (r->first > end) {
                multiply_run(job, b, xi, first, end, c, u);
                first = r->first;
            }
            end = r->first + count;
        }
        multiply_run(job, b, xi, first, end, c, u);
    }
}

/* Pixels of `count` channels of image n of the block, lanes from `lane` of the panel on, to y. */
static void transform_back(const winograd_job *job, const winograd_block *b, int64_t n, int64_t channel, int64_t lane,
                           int64_t count, void *y, int64_t row_step, int64_t col_step)
{
    const fc_winograd_split *s = &job->split;
    const fc_conv_run *run = job->run;
    const size_t size = fc_size_of(run->conv->dtype);
    for (int i = 0; i < REGIONS; i++) {
        const winograd_region *r = &b->region[i];
        const int64_t first = r->first + n * r->rows * r->cols;
        const fc_winograd_output w = {
            .row = r->y->line, .col = r->x->line, .tile_rows = r->rows, .tile_cols = r->cols, .channels = count,
            .rows = r->y->written, .cols = r->x->written,
            .products = fc_at(b->products, first * s->panel + lane, size), .xi_step = s->p_xi, .tile_step = s->panel,
            .y = y, .row_at = b->row_at + r->row, .col_at = b->col_at + r->col,
            .row_step = row_step, .col_step = col_step, .row_tap = s->y.dilation, .col_tap = s->x.dilation,
            .bias = run->bias ? fc_at(run->bias, channel, size) : NULL, .activation = run->conv->activation,
        };
        if (r->rows > 0 && r->cols > 0)
            run->table->winograd_output(&w);
    }
}

/* One panel back to pixels: in place where y's channels are adjacent, else a vector of channels at a
 * time through a tile and a transpose. */
static void transform_output(const winograd_job *job, const winograd_block *b, int64_t panel)
{
    const fc_conv_run *run = job->run;
    const fc_winograd_split *s = &job->split;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t first = b->group * conv->out_per_group + panel * s->panel;
    const int64_t channels = fc_min(s->panel, conv->out_per_group - panel * s->panel);
    const int64_t rows = b->out_rows, cols = b->out_cols;
    const int64_t *y = conv->y_stride, lanes = run->table->lanes;
    const bool even = y[FC_H] == cols * y[FC_W], in_place = fc_winograd_in_place(conv);
    const int64_t step = in_place ? channels : lanes;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t c = 0; c < channels; c += step) {
            const int64_t count = fc_min(step, channels - c);
            void *image = fc_at_mut(run->y, (b->at.image + n) * y[FC_N] + (first + c) * y[FC_C] +
                                            b->at.depth * y[FC_D] + b->at.row * y[FC_H] + b->at.col * y[FC_W], size);
            if (in_place) {
                transform_back(job, b, n, first + c, c, count, image, y[FC_H], y[FC_W]);
                continue;
            }
            transform_back(job, b, n, first + c, c, count, b->tile, cols * lanes, lanes);
            for (int64_t r = 0; r < (even ? 1 : rows); r++) {
                const fc_move move = {
                    .rows = count, .cols = even ? rows * cols : cols,
                    .src = fc_at(b->tile, r * cols * lanes, size), .src_row = 1, .src_col = lanes,
                    .dst = fc_at_mut(image, r * y[FC_H], size), .dst_row = y[FC_C], .dst_col = y[FC_W],
                };
                run->table->move(&move);
            }
        }
}

/* U of the chunk from input channel c on: kept, or made now. */
static const void *chunk_of(const winograd_job *job, const winograd_block *b, int64_t panel, int64_t c)
{
    const fc_winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const void *kept = job->kept ? fc_at(job->kept, (b->group * s->panels + panel) * s->kept_panel, size) : NULL;
    if (kept && s->keeps == FC_WINOGRAD_KEPT_U)
        return fc_at(kept, c / s->chunk * s->xis * s->u_xi, size);
    const winograd_maker maker = {
        .conv = conv, .table = job->run->table, .split = s, .weight = job->run->weight,
        .reversed = job->run->reversed, .taps = kept, .group = b->group, .panel = panel, .first = c,
        .count = fc_min(s->chunk, conv->in_per_group - c), .turned = b->turned, .u = b->u,
    };
    make_weights(&maker);
    return b->u;
}

/* Products of one chunk of input channels with all panels of the task; after the last chunk, their outputs. */
static void run_chunk(const winograd_job *job, const winograd_block *b, int64_t chunk)
{
    const fc_winograd_split *s = &job->split;
    winograd_block of = *b;
    for (int64_t panel = b->panel; panel < b->panel + b->panels; panel++) {
        multiply(job, &of, chunk * s->chunk, chunk_of(job, &of, panel, chunk * s->chunk));
        if (chunk == s->chunks - 1)
            transform_output(job, &of, panel);
        of.products = (char *)of.products + (s->chunks > 1 ? s->p_bytes : 0);
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const winograd_job *job = context;
    const fc_winograd_split *s = &job->split;
    const winograd_block b = block_of(job, task, memory);
    if (job->v) {
        run_chunk(job, &b, job->chunk);
        return;
    }
    for (int64_t chunk = 0; chunk < s->chunks; chunk++) {
        const int64_t c = chunk * s->chunk;
        transform_input(job, &b, c, fc_min(c + s->chunk, job->run->conv->in_per_group));
        run_chunk(job, &b, chunk);
    }
}

/* Of a call: what each thread keeps of the weights for itself. */
static void keep_all(void *context, void *memory)
{
    const winograd_job *job = context;
    const fc_winograd_split *s = &job->split;
    for (int64_t panel = 0; panel < s->panels; panel++)
        keep_panel(job->run, s, panel, (char *)memory + s->bytes);
}

static void run_own(void *context, int64_t task, void *memory)
{
    winograd_job mine = *(const winograd_job *)context;
    mine.kept = (char *)memory + mine.split.bytes;
    run_task(&mine, task, memory);
}

/* V of the one block, which each thread makes for itself; products of several chunks follow it. */
static size_t own_v_bytes(const fc_winograd_split *s) { return (size_t)s->chunks * s->v_bytes; }

static void transform_all(void *context, void *memory)
{
    const winograd_job *job = context;
    const fc_winograd_split *s = &job->split;
    winograd_block b = block_of(job, 0, memory);
    for (int64_t c = 0; c < job->run->conv->in_per_group; c += s->chunk) {
        b.v = (char *)memory + s->bytes + (size_t)(c / s->chunk) * s->v_bytes;
        transform_input(job, &b, c, fc_min(c + s->chunk, job->run->conv->in_per_group));
    }
}

static void run_range(void *context, int64_t task, void *memory)
{
    const winograd_job *job = context;
    const fc_winograd_split *s = &job->split;
    winograd_block b = block_of(job, task, memory);
    if (s->chunks > 1)
        b.products = (char *)memory + s->bytes + own_v_bytes(s);
    for (int64_t chunk = 0; chunk < s->chunks; chunk++) {
        b.v = (char *)memory + s->bytes + (size_t)chunk * s->v_bytes;
        run_chunk(job, &b, chunk);
    }
}

static fc_status run_ranges(winograd_job *job, double seconds, fc_error *error)
{
    const fc_winograd_split *s = &job->split;
    const size_t products = s->chunks > 1 ? (size_t)s->range_panels * s->p_bytes : 0;
    return fc_parallel_each(s->tasks, seconds, s->bytes + own_v_bytes(s) + products, transform_all, run_range, job,
                            error);
}

/* Tasks that share V: all of a chunk is made before its products. */
static fc_status run_shared(winograd_job *job, double seconds, fc_error *error)
{
    const fc_winograd_split *s = &job->split;
    const int64_t parts = fc_div_up(s->chunk, s->band.channels);
    fc_status status = FC_OK;
    for (job->chunk = 0; job->chunk < s->chunks && status == FC_OK; job->chunk++) {
        status = fc_parallel(s->blocks * parts, seconds / 16 / (double)s->chunks, s->v_at, input_task, job, error);
        if (status == FC_OK)
            status = fc_parallel(s->tasks, seconds / (double)s->chunks, s->bytes, run_task, job, error);
    }
    return status;
}

/* Memory that tasks share. */
static fc_status reserve(winograd_job *job, bool keep, int m, fc_error *error)
{
    const fc_winograd_split *s = &job->split;
    const bool share = s->ranges > 1;
    const size_t bytes = fc_winograd_prepared_size(job->run->conv, job->run->table, m);
    if (share && !(job->v = fc_scratch_borrow((size_t)s->blocks * s->v_bytes)))
        return fc_fail(error, FC_NO_MEMORY, "x: no memory for %zu transformed blocks", (size_t)s->blocks);
    if (share && s->chunks > 1 &&
        !(job->products = fc_scratch_borrow((size_t)(s->tasks * s->range_panels) * s->p_bytes)))
        return fc_fail(error, FC_NO_MEMORY, "x: no memory for the products of %zu blocks", (size_t)s->blocks);
    if (keep && !(job->kept = fc_scratch_borrow(bytes)))
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of prepared weights", bytes);
    return FC_OK;
}

static fc_status forward_of(const fc_conv_run *run, fc_error *error, int m)
{
    const fc_conv *conv = run->conv;
    winograd_job job = { .run = run, .split = fc_winograd_split_of(conv, run->table, m, fc_get_num_threads()),
                         .kept = (void *)run->prepared };
    const fc_winograd_split *s = &job.split;
    const double seconds = fc_winograd_cost(conv, fc_machine_for(conv->dtype), run->prepared != NULL, m);
    const size_t bytes = fc_winograd_prepared_size(conv, run->table, m);
    const bool own = s->ranges == 1 && conv->groups == 1 && fc_makes_own(bytes);
    const bool keep = !run->prepared && s->blocks > (own ? fc_get_num_threads() : conv->groups);
    if (keep && own)
        return fc_parallel_each(s->tasks, seconds, s->bytes + bytes, keep_all, run_own, &job, error);
    if (!keep && s->ranges > 1 && s->blocks == 1 && fc_makes_own(own_v_bytes(s)))
        return run_ranges(&job, seconds, error);
    fc_status status = reserve(&job, keep, m, error);
    if (keep && status == FC_OK)
        status = fc_parallel(s->panels * conv->groups, seconds / 8, 0, keep_task, &job, error);
    if (status == FC_OK)
        status = job.v ? run_shared(&job, seconds, error)
                       : fc_parallel(s->tasks, seconds, s->bytes, run_task, &job, error);
    if (keep)
        fc_scratch_give_back(job.kept);
    fc_scratch_give_back(job.products);
    fc_scratch_give_back(job.v);
    return status;
}

static size_t bytes_of(const fc_conv *conv, const fc_table *table, int m)
{
    return fc_winograd_split_of(conv, table, m, fc_get_num_threads()).bytes;
}

#define FC_WINOGRAD(M, SUMMARY)                                                                                        \
    static const char *supports_##M(const fc_conv *c) { return fc_winograd_supports(c, M); }                           \
    static double cost_##M(const fc_conv *c, const fc_machine *m, bool p) { return fc_winograd_cost(c, m, p, M); }     \
    static size_t scratch_##M(const fc_conv *c, const fc_table *t) { return bytes_of(c, t, M); }                   \
    static size_t size_##M(const fc_conv *c, const fc_table *t) { return fc_winograd_prepared_size(c, t, M); }         \
    static void prepare_##M(const fc_conv *c, const fc_table *t, const void *w, void *p)                               \
    {                                                                                                                  \
        prepare_of(c, t, w, p, M);                                                                                     \
    }                                                                                                                  \
    static fc_status forward_##M(const fc_conv_run *run, fc_error *error) { return forward_of(run, error, M); }        \
    static void describe_##M(const fc_conv *c, const fc_table *t, char *s, size_t n)                                   \
    {                                                                                                                  \
        fc_winograd_describe(c, t, s, n, M);                                                                           \
    }                                                                                                                  \
    static double error_##M(const fc_conv *c) { return fc_winograd_error(c, M); }                                      \
    const fc_algorithm fc_algorithm_winograd##M = {                                                                    \
        .name = "winograd" #M, .summary = SUMMARY, .supports = supports_##M, .cost = cost_##M,                         \
        .least = FC_WINOGRAD_LEAST, .scratch = scratch_##M,                                                            \
        .prepared_size = size_##M, .prepare = prepare_##M, .forward = forward_##M, .describe = describe_##M,           \
        .error = error_##M, .turns = true,                                                                             \
    };
FC_WINOGRAD(2, "Winograd with two outputs per tile and axis: 2.25 times fewer multiplications for 3x3")
FC_WINOGRAD(4, "Winograd with four outputs per tile and axis: 4 times fewer multiplications for 3x3")
