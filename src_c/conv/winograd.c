/* Winograd convolution F(m x m, 3 x 3), m = 4 or 2: 4 or 2.25 times fewer multiplications.
 *
 * A block of tiles is copied to an interleaved zero-bordered band, transformed with channels as
 * lanes to V[xi][tile][channel], multiplied by the transformed weights U[xi][channel][oc] with the
 * dense product, one per xi, and transformed back with output channels as lanes.  Bias and
 * activation ride on the way out.  Listed in list.c as winograd4 and winograd2. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "algorithm.h"
#include "band.h"
#include "cost.h"
#include "geometry.h"
#include <stdio.h>

enum {
    K_BLOCK = 320,            /* input channels whose panel of U stays in L1 */
    CHANNEL_BLOCK = 128,      /* output channels per pass over V */
    BAND_CHANNELS = 64,       /* input channels per copy of the band */
    TAP_CHANNELS = 8,         /* input channels per step of the weight transform */
    MOST_PANEL_BYTES = 192,   /* of any ISA: 3 vectors of 64 bytes */
    LEAST_TILES = 16,         /* per block: fewer would read U too often */
    WISHED_TASKS = 4,
};

typedef struct winograd_split {
    int m, xis, vectors;
    int64_t tiles_y, tiles_x;                 /* of one image */
    int64_t images, rows, cols;               /* images, tile rows and tile columns per block */
    int64_t image_blocks, row_blocks, col_blocks;
    int64_t tiles;                            /* per block */
    int64_t panel, panels;                    /* lanes; per group */
    int64_t range_panels, ranges;             /* output channels per task; tasks per group */
    int64_t pass_panels;                      /* output channels per pass */
    int64_t v_tile, v_xi, p_tile, p_xi, u_xi, u_group; /* steps, elements */
    int64_t tasks;
    fc_band band;
    size_t v_at, p_at, tile_at, rows_at, bytes; /* scratch layout; the band is first */
} winograd_split;

static void split_channels(winograd_split *s, const fc_conv *conv, const fc_table *table)
{
    const int64_t vectors = fc_div_up(conv->out_per_group, table->lanes);
    s->xis = (s->m + 2) * (s->m + 2);
    s->vectors = (int)fc_min(table->panel_vectors, vectors % 3 == 0 ? 3 : 2);
    s->panel = s->vectors * (int64_t)table->lanes;
    s->panels = fc_div_up(conv->out_per_group, s->panel);
    /* 16 more than a power of two would be: xi planes must not fall on the same cache sets. */
    s->u_xi = s->panels * conv->in_per_group * s->panel + 16;
    s->u_group = s->u_xi * s->xis;
}

static void split_tiles(winograd_split *s, const fc_conv *conv, int64_t most)
{
    const int64_t of_image = s->tiles_y * s->tiles_x;
    s->images = fc_max(1, fc_min(conv->batch, most / of_image));
    s->cols = fc_min(s->tiles_x, most);
    s->col_blocks = fc_div_up(s->tiles_x, s->cols);
    s->cols = fc_div_up(s->tiles_x, s->col_blocks);
    s->rows = fc_max(1, fc_min(s->tiles_y, most / s->cols));
    s->row_blocks = fc_div_up(s->tiles_y, s->rows);
    s->rows = fc_div_up(s->tiles_y, s->row_blocks);
    s->row_blocks = fc_div_up(s->tiles_y, s->rows);
    s->col_blocks = fc_div_up(s->tiles_x, s->cols);
    s->image_blocks = fc_div_up(conv->batch, s->images);
    s->tiles = s->images * s->rows * s->cols;
}

static winograd_split split_of(const fc_conv *conv, const fc_table *table, int m)
{
    winograd_split s = { .m = m };
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    split_channels(&s, conv, table);
    s.tiles_y = fc_div_up(conv->out_size[FC_HEIGHT], m);
    s.tiles_x = fc_div_up(conv->out_size[FC_WIDTH], m);
    const int64_t padded = fc_round_up(conv->in_per_group, table->lanes);
    const int64_t per_tile = s.xis * (padded + fc_min(s.panels * s.panel, CHANNEL_BLOCK)) * size;
    const int64_t half_l3 = 1 << 20, l2 = fc_machine_for(conv->dtype)->l2;
    split_tiles(&s, conv, fc_max(LEAST_TILES, fc_max(l2, half_l3) * 3 / 4 / per_tile));
    const int64_t blocks = s.image_blocks * conv->out_size[FC_DEPTH] * s.row_blocks * s.col_blocks;
    s.pass_panels = fc_max(1, fc_div_up(s.panels, fc_div_up(s.panels * s.panel, CHANNEL_BLOCK)));
    /* Tasks that share tiles each transform the input: worth it only where there are few blocks. */
    s.ranges = fc_max(1, fc_min(s.panels * s.panel / CHANNEL_BLOCK, WISHED_TASKS / fc_max(1, blocks * conv->groups)));
    s.range_panels = fc_div_up(s.panels, s.ranges);
    s.ranges = fc_div_up(s.panels, s.range_panels);
    s.tasks = blocks * conv->groups * s.ranges;
    s.v_tile = padded;
    s.v_xi = s.tiles * s.v_tile + 16;
    s.p_tile = fc_min(s.pass_panels, s.range_panels) * s.panel;
    s.p_xi = s.tiles * s.p_tile + 16;
    s.band = fc_band_make(conv, fc_min(padded, BAND_CHANNELS), s.rows * m, s.cols * m, true, 1);
    const int64_t tile = s.images * s.rows * s.cols * m * m * s.p_tile;
    s.v_at = (size_t)fc_round_up(s.band.size * size, 64);
    s.p_at = s.v_at + (size_t)fc_round_up(s.xis * s.v_xi * size, 64);
    s.tile_at = s.p_at + (size_t)fc_round_up(s.xis * s.p_xi * size, 64);
    s.rows_at = s.tile_at + (size_t)(conv->channels_last ? 0 : fc_round_up(tile * size, 64));
    s.bytes = s.rows_at + (size_t)s.tiles * sizeof(void *);
    return s;
}

static const char *supports(const fc_conv *conv)
{
    if (conv->exact)
        return "Winograd is off while exact results are asked for";
    if (conv->kernel[FC_DEPTH] != 1 || conv->stride[FC_DEPTH] != 1 || conv->pad_before[FC_DEPTH] != 0)
        return "Winograd needs a two-dimensional kernel";
    if (conv->kernel[FC_HEIGHT] != 3 || conv->kernel[FC_WIDTH] != 3)
        return "Winograd needs a 3x3 kernel";
    if (conv->stride[FC_HEIGHT] != 1 || conv->stride[FC_WIDTH] != 1)
        return "Winograd needs stride 1";
    if (conv->dilation[FC_HEIGHT] != 1 || conv->dilation[FC_WIDTH] != 1)
        return "Winograd needs dilation 1";
    return NULL;
}

/* U of input channels c0 .. c1 for one panel of output channels. */
static void transform_weights(const fc_conv *conv, const fc_table *table, const winograd_split *s, const void *weight,
                              int64_t group, int64_t panel, int64_t c0, int64_t c1, void *u)
{
    const size_t size = fc_size_of(conv->dtype);
    _Alignas(64) unsigned char taps[TAP_CHANNELS * 9 * MOST_PANEL_BYTES];
    const int64_t channel = panel * s->panel, lanes = fc_min(s->panel, conv->out_per_group - channel);
    for (int64_t c = c0; c < c1; c += TAP_CHANNELS) {
        const int64_t count = fc_min(TAP_CHANNELS, c1 - c);
        const fc_move move = {
            .rows = count * 9, .cols = lanes,
            .src = fc_at(weight, (group * conv->out_per_group + channel) * conv->depth + c * 9, size),
            .src_row = 1, .src_col = conv->depth,
            .dst = taps, .dst_row = s->panel, .dst_col = 1, .zero_after = s->panel - lanes,
        };
        table->move(&move);
        const fc_winograd_weight w = {
            .m = s->m, .channels = count, .lanes = s->panel, .taps = taps, .xi_step = s->u_xi,
            .u = fc_at_mut(u, group * s->u_group + (panel * conv->in_per_group + c) * s->panel, size),
        };
        table->winograd_weight(&w);
    }
}

typedef struct weight_job {
    const fc_conv_run *run;
    const winograd_split *split;
    void *u;
} weight_job;

static void weight_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const weight_job *job = context;
    const fc_conv *conv = job->run->conv;
    transform_weights(conv, job->run->table, job->split, job->run->weight, task / job->split->panels,
                      task % job->split->panels, 0, conv->in_per_group, job->u);
}

static size_t prepared_size_of(const fc_conv *conv, const fc_table *table, int m)
{
    winograd_split s = { .m = m };
    split_channels(&s, conv, table);
    return (size_t)(conv->groups * s.u_group) * fc_size_of(conv->dtype);
}

static void prepare_of(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared, int m)
{
    winograd_split s = { .m = m };
    split_channels(&s, conv, table);
    for (int64_t group = 0; group < conv->groups; group++)
        for (int64_t panel = 0; panel < s.panels; panel++)
            transform_weights(conv, table, &s, weight, group, panel, 0, conv->in_per_group, prepared);
}

typedef struct winograd_job {
    const fc_conv_run *run;
    winograd_split split;
    const void *u;
} winograd_job;

typedef struct winograd_block {
    fc_block_origin at;                       /* row and col in output pixels */
    int64_t images, group, panel, panels;
    void *band, *v, *products, *tile;
    const void **rows;
} winograd_block;

static winograd_block block_of(const winograd_job *job, int64_t task, void *memory)
{
    const winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    winograd_block b = { .band = memory };
    b.panel = task % s->ranges * s->range_panels;
    b.panels = fc_min(s->range_panels, s->panels - b.panel);
    task /= s->ranges;
    b.at.col = task % s->col_blocks * s->cols * s->m;
    task /= s->col_blocks;
    b.at.row = task % s->row_blocks * s->rows * s->m;
    task /= s->row_blocks;
    b.at.depth = task % conv->out_size[FC_DEPTH];
    task /= conv->out_size[FC_DEPTH];
    b.group = task % conv->groups;
    b.at.image = task / conv->groups * s->images;
    b.images = fc_min(s->images, conv->batch - b.at.image);
    b.v = (char *)memory + s->v_at;
    b.products = (char *)memory + s->p_at;
    b.tile = (char *)memory + s->tile_at;
    b.rows = (const void **)(void *)((char *)memory + s->rows_at);
    return b;
}

/* V of the block, all input channels. */
static void transform_input(const winograd_job *job, const winograd_block *b)
{
    const winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    for (int64_t n = 0; n < b->images; n++) {
        fc_block_origin at = b->at;
        at.image += n;
        for (int64_t c = 0; c < conv->in_per_group; c += s->band.channels) {
            const int64_t count = fc_min(s->band.channels, conv->in_per_group - c);
            fc_band_copy(job->run, &s->band, &at, b->group * conv->in_per_group + c, count, b->band);
            const fc_winograd_input w = {
                .m = s->m, .tile_rows = s->rows, .tile_cols = s->cols, .channels = count, .band = b->band,
                .row_step = s->band.row_step, .col_step = s->band.col_step,
                .v = fc_at_mut(b->v, n * s->rows * s->cols * s->v_tile + c, size),
                .xi_step = s->v_xi, .tile_step = s->v_tile,
            };
            job->run->table->winograd_input(&w);
        }
    }
}

/* products[xi] = V[xi] U[xi] for the panels of one pass. */
static void multiply(const winograd_job *job, const winograd_block *b, int64_t panel, int64_t panels)
{
    const winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t channels = conv->in_per_group, tiles = b->images * s->rows * s->cols;
    const int64_t k_block = fc_div_up(channels, fc_div_up(channels, K_BLOCK));
    fc_gemm g = {
        .m = tiles, .n = panels * s->panel, .a = b->rows, .b_panel = channels * s->panel, .b_step = s->panel,
        .panel_vectors = s->vectors, .c_row = s->p_tile,
    };
    for (int64_t xi = 0; xi < s->xis; xi++) {
        g.c = fc_at_mut(b->products, xi * s->p_xi, size);
        for (int64_t c = 0; c < channels; c += k_block) {
            for (int64_t t = 0; t < tiles; t++)
                b->rows[t] = fc_at(b->v, xi * s->v_xi + t * s->v_tile + c, size);
            g.b = fc_at(job->u, b->group * s->u_group + xi * s->u_xi + (panel * channels + c) * s->panel, size);
            g.k = fc_min(k_block, channels - c);
            g.accumulate = c > 0;
            job->run->table->gemm(&g);
        }
    }
}

/* Back to pixels: in place where y's channels are adjacent, else through a tile and a transpose. */
static void transform_output(const winograd_job *job, const winograd_block *b, int64_t panel, int64_t panels)
{
    const fc_conv_run *run = job->run;
    const winograd_split *s = &job->split;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t first = b->group * conv->out_per_group + panel * s->panel;
    const int64_t channels = fc_min(panels * s->panel, conv->out_per_group - panel * s->panel);
    const int64_t rows = fc_min(s->rows * s->m, conv->out_size[FC_HEIGHT] - b->at.row);
    const int64_t cols = fc_min(s->cols * s->m, conv->out_size[FC_WIDTH] - b->at.col);
    const int64_t *y = conv->y_stride;
    for (int64_t n = 0; n < b->images; n++) {
        void *image = fc_at_mut(run->y, (b->at.image + n) * y[FC_N] + first * y[FC_C] + b->at.depth * y[FC_D] +
                                            b->at.row * y[FC_H] + b->at.col * y[FC_W], size);
        const bool in_place = y[FC_C] == 1 && conv->channels_last;
        const fc_winograd_output w = {
            .m = s->m, .tile_rows = s->rows, .tile_cols = s->cols, .channels = channels, .rows = rows, .cols = cols,
            .products = fc_at(b->products, n * s->rows * s->cols * s->p_tile, size),
            .xi_step = s->p_xi, .tile_step = s->p_tile,
            .y = in_place ? image : b->tile,
            .row_step = in_place ? y[FC_H] : cols * s->p_tile, .col_step = in_place ? y[FC_W] : s->p_tile,
            .bias = run->bias ? fc_at(run->bias, first, size) : NULL, .activation = conv->activation,
        };
        run->table->winograd_output(&w);
        if (in_place)
            continue;
        const bool even = y[FC_H] == cols * y[FC_W];
        for (int64_t r = 0; r < (even ? 1 : rows); r++) {
            const fc_move move = {
                .rows = channels, .cols = even ? rows * cols : cols,
                .src = fc_at(b->tile, r * cols * s->p_tile, size), .src_row = 1, .src_col = s->p_tile,
                .dst = fc_at_mut(image, r * y[FC_H], size), .dst_row = y[FC_C], .dst_col = y[FC_W],
            };
            run->table->move(&move);
        }
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const winograd_job *job = context;
    const winograd_block b = block_of(job, task, memory);
    const int64_t end = b.panel + b.panels;
    transform_input(job, &b);
    for (int64_t panel = b.panel; panel < end; panel += job->split.pass_panels) {
        const int64_t panels = fc_min(job->split.pass_panels, end - panel);
        multiply(job, &b, panel, panels);
        transform_output(job, &b, panel, panels);
    }
}

static double cost_of(const fc_conv *conv, const fc_machine *machine, bool prepared, int m)
{
    const winograd_split s = split_of(conv, fc_table_for(conv->dtype), m);
    const double groups = (double)conv->groups, channels = (double)conv->in_per_group;
    const double in = (double)fc_div_up(conv->in_per_group, machine->lanes);
    const double out = (double)fc_div_up(conv->out_per_group, machine->lanes);
    const double blocks = (double)s.tasks / (groups * (double)s.ranges);
    const double tiles = blocks * (double)s.tiles, nchw = !conv->channels_last;
    const double band = (double)(s.tasks * s.images * s.band.size) *
                        (double)fc_div_up(conv->in_per_group, s.band.channels) / machine->lanes;
    const fc_count counts[] = {
        { groups * s.xis * tiles * channels * out, 0.98 },                          /* multiply */
        { groups * s.xis * tiles * in * (double)s.ranges, 9 },                      /* transform in */
        { groups * s.xis * tiles * out, 2 },                                        /* transform out */
        { prepared ? 0 : groups * s.xis * channels * out, 9.5 },                    /* transform weights */
        { groups * s.xis * channels * out * blocks, 3.5 },                          /* weights read */
        { band, 26 },                                                               /* copy bands */
        { nchw * groups * tiles * (m * m) * out, 1 },                               /* transposes out */
        { groups * s.xis * blocks * (double)fc_div_up(s.tiles, 5) * out / 2, 140 }, /* tiles of the product */
        { groups * s.xis * tiles, 17 },                                             /* addresses */
        { 1, 14000 },
    };
    return FC_COST(counts, machine);
}

static fc_status forward_of(const fc_conv_run *run, fc_error *error, int m)
{
    winograd_job job = { run, split_of(run->conv, run->table, m), run->prepared };
    const double seconds = cost_of(run->conv, fc_machine_for(run->conv->dtype), run->prepared != NULL, m);
    void *u = NULL;
    if (!run->prepared) {
        const size_t bytes = prepared_size_of(run->conv, run->table, m);
        u = fc_scratch_borrow(bytes);
        if (!u)
            return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of transformed weights", bytes);
        weight_job weights = { run, &job.split, u };
        const double share = (double)run->conv->depth * (double)run->conv->out_channels * 6e-10;
        fc_parallel(job.split.panels * run->conv->groups, share, 0, weight_task, &weights, error);
        job.u = u;
    }
    const fc_status status = fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
    fc_scratch_give_back(u);
    return status;
}

static void describe_of(const fc_conv *conv, const fc_table *table, char *text, size_t size, int m)
{
    const winograd_split s = split_of(conv, table, m);
    snprintf(text, size, "F(%dx%d, 3x3); blocks of %lld tiles, panels of %lld channels; %lld tasks", m, m,
             (long long)s.tiles, (long long)s.panel, (long long)s.tasks);
}

#define FC_WINOGRAD(M, SUMMARY)                                                                                        \
    static double cost_##M(const fc_conv *c, const fc_machine *machine, bool p) { return cost_of(c, machine, p, M); }  \
    static size_t scratch_##M(const fc_conv *c, const fc_table *t) { return split_of(c, t, M).bytes; }                 \
    static size_t prepared_size_##M(const fc_conv *c, const fc_table *t) { return prepared_size_of(c, t, M); }         \
    static void prepare_##M(const fc_conv *c, const fc_table *t, const void *w, void *p) { prepare_of(c, t, w, p, M); } \
    static fc_status forward_##M(const fc_conv_run *run, fc_error *error) { return forward_of(run, error, M); }        \
    static void describe_##M(const fc_conv *c, const fc_table *t, char *s, size_t n) { describe_of(c, t, s, n, M); }   \
    const fc_algorithm fc_algorithm_winograd##M = {                                                                    \
        .name = "winograd" #M, .summary = SUMMARY, .supports = supports, .cost = cost_##M, .scratch = scratch_##M,     \
        .prepared_size = prepared_size_##M, .prepare = prepare_##M, .forward = forward_##M, .describe = describe_##M,  \
    };
FC_WINOGRAD(2, "Winograd F(2x2, 3x3): 2.25 times fewer multiplications")
FC_WINOGRAD(4, "Winograd F(4x4, 3x3): 4 times fewer multiplications")
