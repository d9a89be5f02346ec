/* im2col as an implicit GEMM: y[oc][pixel] = sum over k of weight[oc][k] * image[k][pixel].
 *
 * Lanes are output pixels, counted through the whole batch; weights are read where they lie.  The
 * image matrix never exists: a block of it, k_block deep and a few panels wide, is packed into
 * scratch of less than half the L2 cache and multiplied at once; where the image is that matrix,
 * pointwise.c reads it in place.  Supports every problem.  Listed in list.c. */
#include "../base/parallel.h"
#include "algorithm.h"
#include "cost.h"
#include "geometry.h"
#include "panel.h"
#include "pointwise.h"
#include "pointwise_tail.h"
#include <stdio.h>

enum {
    ROW_BLOCK = 128,          /* output channels at a time, at most */
    LEAST_ROWS = 64,          /* fewer per task would pack more than they multiply */
};

typedef struct im2col_split {
    int64_t lanes, panel;                     /* of a vector; of a panel */
    int64_t depth, k_block, k_blocks;
    int64_t pixels, block, blocks;            /* in all; per block, whole panels; count */
    int64_t rows, row_blocks;                 /* output channels of one task, and tasks per group */
    int64_t row_step;                         /* of these at a time */
    int64_t tasks;
    size_t tile_at, pieces_at, bytes;         /* scratch layout, bytes; packed panels come first */
} im2col_split;

static im2col_split split_of(const fc_conv *conv, const fc_table *table)
{
    im2col_split s = { .lanes = table->lanes };
    s.panel = s.lanes * table->panel_vectors;
    s.depth = conv->depth;
    s.k_blocks = fc_div_up(s.depth, fc_panel_depth(conv, s.panel));
    s.k_block = fc_div_up(s.depth, s.k_blocks);
    s.pixels = conv->batch * conv->out_pixels;
    const int64_t size = (int64_t)fc_size_of(conv->dtype), l2 = fc_machine_for(conv->dtype)->l2;
    const int64_t vectors = fc_div_up(fc_max(s.pixels, 1), s.lanes);
    const int64_t most = fc_max(table->panel_vectors, l2 * 3 / 8 / (s.k_block * s.lanes * size));
    /* As many tasks as wished, from pixels first: those share nothing that has to be packed. */
    const int64_t wished = fc_div_up(fc_worth_tasks(conv), conv->groups);
    const int64_t per_block = fc_min(most, fc_max(fc_div_up(vectors, wished), 3 * table->panel_vectors));
    s.block = fc_div_up(vectors, fc_div_up(vectors, per_block)) * s.lanes;
    s.blocks = fc_div_up(fc_max(s.pixels, 1), s.block);
    s.row_blocks = fc_max(1, fc_min(conv->out_per_group / LEAST_ROWS, wished / s.blocks));
    s.rows = fc_div_up(conv->out_per_group, s.row_blocks);
    s.row_blocks = fc_div_up(conv->out_per_group, s.rows);
    s.tasks = s.blocks * s.row_blocks * conv->groups;
    s.row_step = fc_div_up(s.rows, fc_div_up(s.rows, ROW_BLOCK));
    s.tile_at = (size_t)fc_round_up(s.block * s.k_block * size, 64);
    s.pieces_at = s.tile_at + (size_t)(s.row_step * s.lanes * table->widest_panel * size);
    s.bytes = s.pieces_at + fc_panel_scratch(table, table->widest_panel);
    return s;
}

static const char *supports(const fc_conv *conv)
{
    (void)conv;
    return NULL;
}

static size_t scratch(const fc_conv *conv, const fc_table *table)
{
    if (fc_pointwise_supports(conv))
        return fc_pointwise_scratch(conv);
    return split_of(conv, table).bytes;
}

/* Between y and a tile of `rows` channels by one panel: pixels of several images, or strided ones. */
static void move_tile(const fc_conv_run *run, int64_t channel, int64_t rows, int64_t first, int64_t lanes, void *tile,
                      int64_t tile_row, bool to_y)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const bool by_row = !fc_pixels_uniform(conv->y_stride, conv->out_size);
    fc_pixel_run pixels = { 0 };
    while (fc_next_run(conv, first, lanes, by_row, &pixels)) {
        const int64_t at = fc_pixel_offset(conv->y_stride, conv->out_size, pixels.image, pixels.pixel);
        void *y = fc_at_mut(run->y, at + channel * conv->y_stride[FC_C], size);
        void *t = fc_at_mut(tile, pixels.lane, size);
        fc_move move = { .rows = rows, .cols = pixels.count };
        move.src = to_y ? t : y;
        move.dst = to_y ? y : t;
        move.src_row = to_y ? tile_row : conv->y_stride[FC_C];
        move.src_col = to_y ? 1 : conv->y_stride[FC_W];
        move.dst_row = to_y ? conv->y_stride[FC_C] : tile_row;
        move.dst_col = to_y ? conv->y_stride[FC_W] : 1;
        run->table->move(&move);
    }
}

/* Whether a panel of y can be written in place: pixels of one image, adjacent. */
static bool lies_in_place(const fc_conv *conv, int64_t first, int64_t lanes)
{
    return conv->y_stride[FC_W] == 1 && fc_pixels_uniform(conv->y_stride, conv->out_size) &&
           first % conv->out_pixels + lanes <= conv->out_pixels;
}

typedef struct im2col_job {
    const fc_conv_run *run;
    im2col_split split;
} im2col_job;

/* Panels of a block are cut as gemm cuts them: the vectors of the one that begins at `first`. */
static int panel_vectors(const im2col_job *job, int64_t first, int64_t end)
{
    return (int)fc_gemm_cut(fc_div_up(end - first, job->split.lanes), job->run->table->widest_panel);
}

/* All packed pixels times up to ROW_BLOCK output channels, for one block of k. */
static void multiply(const im2col_job *job, int64_t group, int64_t channel, int64_t rows, int64_t first, int64_t end,
                     int64_t k0, int64_t k1, const void *packed, void *tile)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t oc = group * conv->out_per_group + channel;
    const void *weights[ROW_BLOCK];
    for (int64_t i = 0; i < rows; i++)
        weights[i] = fc_at(run->weight, (oc + i) * conv->depth + k0, size);
    fc_gemm g = {
        .m = rows, .k = k1 - k0, .a = weights, .a_rows = fc_far(conv, conv->depth * conv->out_channels) ? rows : 0,
        .accumulate = k0 > 0, .finish = k1 == conv->depth,
        .bias = run->bias ? fc_at(run->bias, oc, size) : NULL, .activation = conv->activation,
    };
    const bool whole = lies_in_place(conv, first, end - first);
    for (int64_t p = first; p < end; p += g.n) {
        g.b = fc_at(packed, (p - first) * (k1 - k0), size);
        g.panel_vectors = panel_vectors(job, p, end);
        g.b_step = g.panel_vectors * job->split.lanes;
        g.n = fc_min(g.b_step, end - p);
        if (whole) {
            g.n = end - first;
            g.b_lane = k1 - k0;
            g.b_step = 0;
        }
        if (whole || lies_in_place(conv, p, g.n)) {
            const int64_t at = fc_pixel_offset(conv->y_stride, conv->out_size, p / conv->out_pixels,
                                               p % conv->out_pixels);
            g.c = fc_at_mut(run->y, at + oc * conv->y_stride[FC_C], size);
            g.c_row = conv->y_stride[FC_C];
            g.c_reach = fc_reach_of_y(conv);
            run->table->gemm(&g);
            g.a_rows = 0;
            continue;
        }
        g.c = tile;
        g.c_row = g.b_step;
        g.c_reach = FC_C_NEAR;
        if (g.accumulate)
            move_tile(run, oc, rows, p, g.n, tile, g.b_step, false);
        run->table->gemm(&g);
        g.a_rows = 0;
        move_tile(run, oc, rows, p, g.n, tile, g.b_step, true);
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const im2col_job *job = context;
    const im2col_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t block = task % s->blocks, rest = task / s->blocks;
    const int64_t row0 = rest % s->row_blocks * s->rows, group = rest / s->row_blocks;
    const int64_t row1 = fc_min(row0 + s->rows, conv->out_per_group);
    const int64_t first = block * s->block, end = fc_min(first + s->block, s->pixels);
    int64_t lanes;
    void *tile = (char *)memory + s->tile_at, *pieces = (char *)memory + s->pieces_at;
    for (int64_t k0 = 0; k0 < s->depth; k0 += s->k_block) {
        const int64_t k1 = fc_min(k0 + s->k_block, s->depth);
        for (int64_t p = first; p < end; p += lanes) {
            const int vectors = panel_vectors(job, p, end);
            lanes = fc_min(vectors * s->lanes, end - p);
            fc_panel_pack(job->run, &(fc_panel){ group, p, lanes, k0, k1, vectors }, pieces,
                          fc_at_mut(memory, (p - first) * (k1 - k0), size));
        }
        for (int64_t row = row0; row < row1; row += s->row_step)
            multiply(job, group, row, fc_min(s->row_step, row1 - row), first, end, k0, k1, memory, tile);
    }
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    (void)prepared;
    if (fc_pointwise_fits(conv))
        return fc_pointwise_cost(conv);
    const im2col_split s = split_of(conv, fc_table_for(conv->dtype));
    const double groups = (double)conv->groups, rows = (double)conv->out_per_group, depth = (double)conv->depth;
    const double vectors = (double)fc_div_up(s.pixels, s.lanes), panels = (double)fc_div_up(s.pixels, s.panel);
    const double image_rows = (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT]);
    const double runs = panels + image_rows, taps = (double)(conv->taps * s.k_blocks);
    const double packs = groups * (double)s.row_blocks, nhwc = conv->channels_last, nchw = !nhwc;
    const double gathers = conv->stride[FC_WIDTH] > 4, picks = conv->stride[FC_WIDTH] > 1 && !gathers;
    const double size = (double)fc_size_of(conv->dtype), x_far = fc_far(conv, fc_x_count(conv));
    const double y_far = fc_far(conv, s.pixels * conv->out_channels);
    const bool one = fc_starts_one(machine);
    const fc_count counts[] = {
        { groups * depth * rows * vectors, fc_multiply(machine, 0.975) },
        { packs * depth * vectors, nchw > 0 && one && conv->taps > 1 ? 11 : 6.13 }, /* pack */
        { nchw * gathers * packs * depth * vectors, 27.4 },              /* of a stride above 4 */
        { nchw * picks * packs * depth * vectors, conv->stride[FC_WIDTH] == 2 ? 10.7 : one ? 30 : 45 }, /* of 2 to 4 */
        { nchw * packs * runs * taps, 83.1 },                            /* pieces */
        { nchw * packs * image_rows * depth, 1.23 },                     /* of rows, each to its place in a vector */
        { nhwc * packs * depth * vectors, one ? 14 : 22.1 },             /* transposes in */
        { nhwc * packs * runs * taps, 172 },                             /* calls of move */
        { groups * rows / 9 * (double)s.k_blocks * panels, 162 },        /* tiles */
        { nhwc * groups * rows * vectors * (double)s.k_blocks, 43.8 },   /* transposes out */
        { x_far * packs * (double)fc_x_count(conv) * size / 64, 0.437 }, /* lines not in cache */
        { y_far * groups * (double)s.pixels * rows * size / 64, 1.07 },
        { fc_lines_seen_in_pieces(conv, s.row_blocks), 30 },
        { groups * rows * depth / (double)machine->lanes, 5.3 },         /* weights read */
        { (double)s.tasks, 1950 },
        { 1, 5210 },
    };
    return FC_COST(counts, machine);
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    if (fc_pointwise_supports(run->conv))
        return fc_pointwise_forward(run, error);
    im2col_job job = { run, split_of(run->conv, run->table) };
    const double seconds = cost(run->conv, fc_machine_for(run->conv->dtype), false);
    const fc_status status = fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
    return status == FC_OK && fc_pointwise_tail(run->conv) > 0 ? fc_tail_forward(run, job.split.k_block, error)
                                                               : status;
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    if (fc_pointwise_supports(conv)) {
        fc_pointwise_describe(conv, text, size);
        return;
    }
    const im2col_split s = split_of(conv, table);
    snprintf(text, size, "panels of %lld pixels, %lld deep; %lld pixel blocks x %lld channel blocks x %lld groups",
             (long long)s.panel, (long long)s.k_block, (long long)s.blocks, (long long)s.row_blocks,
             (long long)conv->groups);
}

const fc_algorithm fc_algorithm_im2col = {
    .name = "im2col",
    .summary = "implicit GEMM: image panels packed per cache block, weights in place",
    .supports = supports,
    .cost = cost,
    .least = FC_POINTWISE_LEAST,              /* the smaller of its two */
    .scratch = scratch,
    .forward = forward,
    .describe = describe,
};
