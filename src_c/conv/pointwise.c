/* See pointwise.h.  y[oc][pixel] = sum over k of weight[oc][k] * x[k][pixel], one image at a time.
 *
 * Lanes are pixels and weights are read where they lie.  The first tile of output channels copies
 * the panel of x that it reads, for the others, or x is packed before where it comes from memory;
 * nothing is read outside x.  Last pixels that fill too little of a vector: pointwise_tail.c. */
#include "pointwise.h"
#include "../base/parallel.h"
#include "cost.h"
#include "geometry.h"
#include "pointwise_tail.h"
#include <stdio.h>

enum {
    LEAST_COPIED_K = 40,      /* a shorter panel of whole vectors is in L1 wherever it lies */
    LEAST_ROWS = 64,          /* output channels per task */
    FEW_ROWS = 36,            /* output channels of a task that multiplies in about the time that x takes to come */
    MANY_L2 = 4,              /* an image that much larger than what may be expected in L2 comes from memory */
    TAIL_ROWS = 144,          /* output channels at a time where there is a tail */
    STREAM_ROWS = 8,          /* so few output channels multiply x as it streams by, without a copy: */
    STREAM_K = 8,             /* so many channels at a time, of */
    STREAM_BYTES = 4096,      /* so much of an image, whose sums stay in L1 */
};

typedef struct pointwise_split {
    int64_t lanes, panel;                     /* of a vector, of a panel */
    int64_t k_block, k_blocks;
    int64_t block, blocks;                    /* pixels of a task, whole vectors; per image */
    int64_t rows, row_blocks;                 /* output channels of a task; per group */
    int64_t tail, tasks;                      /* tail: pixels of an image after the last block */
    size_t tail_at, weights_at, bytes;        /* scratch layout, bytes; the copied pixels are first */
} pointwise_split;

/* Small planes of many images are better packed together than each padded to whole vectors. */
static bool planes_fill(const fc_conv *conv)
{
    const int64_t lanes = fc_machine_for(conv->dtype)->lanes;
    return conv->batch == 1 || fc_round_up(conv->out_pixels, lanes) * 8 <= conv->out_pixels * 9;
}

static bool is_matrix(const fc_conv *conv)
{
    const int64_t *const stride = conv->stride, *const size = conv->in_size;
    return conv->taps == 1 && stride[0] == 1 && stride[1] == 1 && stride[2] == 1 && fc_unpadded(conv) &&
           conv->out_pixels == size[0] * size[1] * size[2] && planes_fill(conv);
}

bool fc_pointwise_fits(const fc_conv *conv)
{
    return (!conv->channels_last || (conv->in_channels == 1 && conv->out_channels == 1)) && is_matrix(conv);
}

bool fc_pointwise_supports(const fc_conv *conv)
{
    return is_matrix(conv) && conv->x_stride[FC_W] == 1 && conv->y_stride[FC_W] == 1 &&
           fc_pixels_uniform(conv->x_stride, conv->in_size) && fc_pixels_uniform(conv->y_stride, conv->out_size);
}

static pointwise_split split_of(const fc_conv *conv, const fc_table *table)
{
    pointwise_split s = { .lanes = table->lanes, .panel = (int64_t)table->lanes * table->panel_vectors };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), rows = conv->out_per_group;
    s.k_blocks = fc_div_up(conv->depth, fc_panel_depth(conv, s.panel));
    s.k_block = fc_div_up(conv->depth, s.k_blocks);
    s.tail = fc_pointwise_tail(conv);
    const int64_t pixels = conv->out_pixels - s.tail, vectors = fc_div_up(pixels, s.lanes);
    const int64_t most = fc_max(table->panel_vectors,
                                fc_machine_for(conv->dtype)->l2 * 3 / 8 / (s.k_block * s.lanes * size));
    const int64_t wished = fc_div_up(fc_worth_tasks(conv), conv->groups * fc_max(conv->batch, 1));
    /* The larger side is split first: of the other one every task reads all. */
    s.row_blocks = rows > conv->out_pixels ? fc_max(1, fc_min(rows / LEAST_ROWS, wished)) : 1;
    const int64_t worth = fc_min(fc_div_up(vectors, 2 * table->panel_vectors), fc_div_up(wished, s.row_blocks));
    const int64_t blocks = fc_max(fc_div_up(vectors, most), worth);
    s.block = fc_div_up(vectors, blocks) * s.lanes;
    s.blocks = fc_div_up(pixels, s.block);
    s.row_blocks = fc_max(s.row_blocks, fc_min(rows / LEAST_ROWS, wished / s.blocks));
    s.rows = fc_div_up(rows, s.row_blocks);
    s.row_blocks = fc_div_up(rows, s.rows);
    s.tasks = conv->batch * conv->groups * s.row_blocks * s.blocks;
    s.tail_at = (size_t)fc_round_up((s.k_block * s.block + s.lanes) * size, 64);
    s.weights_at = s.tail_at + (size_t)fc_round_up(s.k_block * FC_MOST_TAIL * size, 64);
    s.bytes = s.weights_at + (size_t)s.rows * sizeof(void *);
    return s;
}

size_t fc_pointwise_scratch(const fc_conv *conv, const fc_table *table) { return split_of(conv, table).bytes; }

typedef struct pointwise_job {
    const fc_conv_run *run;
    pointwise_split split;
} pointwise_job;

/* `whole` for all rows.  With a tail, a few rows at a time, whose weights then are in the cache for the rest. */
static void multiply(const fc_conv_run *run, const fc_gemm *whole, const fc_tail *tail, const void *tail_packed)
{
    const size_t size = fc_size_of(run->conv->dtype);
    fc_gemm g = *whole;
    for (int64_t row = 0; row < whole->m; row += g.m) {
        g.m = fc_min(whole->m - row, tail ? TAIL_ROWS : whole->m);
        g.a = whole->a + row;
        g.a_rows = fc_max(whole->a_rows - row, 0);
        g.c = fc_at_mut(whole->c, row * g.c_row, size);
        g.bias = whole->bias ? fc_at(whole->bias, row, size) : NULL;
        if (tail) {
            const fc_tail part = { tail->image, tail->group, tail->k0, tail->k, tail->row + row, g.m };
            fc_tail_multiply(run, &part, tail_packed);
        }
        run->table->gemm(&g);
        if (g.b_copy) {
            g.b = g.b_copy;
            g.b_copy = NULL;
            g.b_lane = g.k;
            g.b_step = 0;
        }
        g.b_far = 0;
    }
}

/* Whether x is read before it is multiplied, a few rows at a time: where it comes from memory, which the
 * pieces of a panel, read as they are multiplied, do not reach early enough. */
static bool packs(const fc_conv *conv, int64_t rows)
{
    return fc_far(conv, rows <= FEW_ROWS ? fc_x_count(conv) : fc_x_count(conv) / MANY_L2);
}

/* The block as panels cut as gemm cuts them, those of one width together. */
static void pack_panels(const fc_table *table, size_t size, fc_gemm *g, void *packed)
{
    for (int64_t j = 0, pixels; j < g->n; j += pixels) {
        const int64_t vectors = fc_gemm_cut(fc_div_up(g->n - j, table->lanes), table->widest_panel);
        const int64_t width = vectors * table->lanes;
        for (pixels = width; g->n - j > pixels; pixels += width)
            if (fc_gemm_cut(fc_div_up(g->n - j - pixels, table->lanes), table->widest_panel) != vectors)
                break;
        const fc_outer_pack pack = {
            .pixels = g->k, .channels = fc_min(pixels, g->n - j), .width = width, .src = fc_at(g->b, j, size),
            .src_step = g->b_step, .dst = fc_at_mut(packed, j * g->k, size), .dst_block = width * g->k,
        };
        table->outer_pack(&pack);
    }
    g->b = packed;
    g->b_lane = g->k;
    g->b_step = 0;
    g->b_far = 0;
}

static bool streams(const fc_conv *conv, int64_t rows)
{
    return rows <= STREAM_ROWS && conv->out_pixels * (int64_t)fc_size_of(conv->dtype) >= 2 * STREAM_BYTES &&
           packs(conv, rows);
}

/* x is read along its rows, a few of them at a time, which the processor foresees; a panel's reads jump from channel
 * to channel.  What is left, less than a vector, stays in g. */
static void stream(const fc_conv_run *run, fc_gemm *g)
{
    const size_t size = fc_size_of(run->conv->dtype);
    const int64_t whole = g->n / run->table->lanes * run->table->lanes, pixels = STREAM_BYTES / (int64_t)size;
    const void *weights[STREAM_ROWS];
    for (int64_t j = 0; j < whole; j += pixels)
        for (int64_t k = 0; k < g->k; k += STREAM_K) {
            fc_gemm part = *g;
            for (int64_t i = 0; i < g->m; i++)
                weights[i] = fc_at(g->a[i], k, size);
            part.a = weights;
            part.n = fc_min(pixels, whole - j);
            part.k = fc_min(STREAM_K, g->k - k);
            part.b = fc_at(g->b, k * g->b_step + j, size);
            part.b_far = 0;
            part.c = fc_at_mut(g->c, j, size);
            part.accumulate = g->accumulate || k > 0;
            part.finish = g->finish && k + part.k == g->k;
            run->table->gemm(&part);
        }
    g->n -= whole;
    g->b = fc_at(g->b, whole, size);
    g->c = fc_at_mut(g->c, whole, size);
}

static void run_task(void *context, int64_t task, void *memory)
{
    const pointwise_job *job = context;
    const pointwise_split *s = &job->split;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t block = task % s->blocks, first = block * s->block;
    const int64_t pixels = fc_min(s->block, conv->out_pixels - s->tail - first);
    task /= s->blocks;
    const int64_t row = task % s->row_blocks * s->rows, rows = fc_min(s->rows, conv->out_per_group - row);
    task /= s->row_blocks;
    const int64_t group = task % conv->groups, image = task / conv->groups, oc = group * conv->out_per_group + row;
    const bool x_far = fc_far(conv, fc_x_count(conv)), has_tail = s->tail > 0 && block == s->blocks - 1;
    void *const tail_packed = (char *)memory + s->tail_at;
    const void **weights = (const void **)(void *)((char *)memory + s->weights_at);
    fc_gemm g = {
        .m = rows, .n = pixels, .a = weights, .a_rows = fc_far(conv, conv->depth * conv->out_channels) ? rows : 0,
        .panel_vectors = run->table->panel_vectors, .activation = conv->activation,
        .c = fc_at_mut(run->y, image * conv->y_stride[FC_N] + oc * conv->y_stride[FC_C] + first, size),
        .c_row = conv->y_stride[FC_C], .bias = run->bias ? fc_at(run->bias, oc, size) : NULL,
    };
    for (int64_t k0 = 0; k0 < conv->depth; k0 += s->k_block) {
        const int64_t channel = group * conv->in_per_group + k0;
        g.k = fc_min(s->k_block, conv->depth - k0);
        g.b = fc_at(run->x, image * conv->x_stride[FC_N] + channel * conv->x_stride[FC_C] + first, size);
        g.b_lane = 1;
        g.b_step = conv->x_stride[FC_C];
        g.b_far = x_far;
        g.b_copy = NULL;
        g.accumulate = k0 > 0;
        g.finish = k0 + g.k == conv->depth;
        for (int64_t i = 0; i < rows; i++)
            weights[i] = fc_at(run->weight, (oc + i) * conv->depth + k0, size);
        const fc_tail tail = { image, group, k0, g.k, row, rows };
        if (has_tail)
            fc_tail_pack(run, &tail, tail_packed);
        const fc_gemm all = g;
        if (streams(conv, rows))
            stream(run, &g);
        if (packs(conv, rows))
            pack_panels(run->table, size, &g, memory);
        else if (g.k >= LEAST_COPIED_K || g.n % s->lanes > 0)
            g.b_copy = memory;
        multiply(run, &g, has_tail ? &tail : NULL, tail_packed);
        g = all;
    }
}

double fc_pointwise_cost(const fc_conv *conv, const fc_machine *machine)
{
    const fc_table *table = fc_table_for(conv->dtype);
    const pointwise_split s = split_of(conv, table);
    const double images = (double)(conv->batch * conv->groups), rows = (double)conv->out_per_group;
    const double depth = (double)conv->depth, size = (double)fc_size_of(conv->dtype);
    const double vectors = (double)fc_div_up(conv->out_pixels - s.tail, s.lanes);
    const double panels = (double)fc_div_up(conv->out_pixels, s.panel);
    const double k_blocks = (double)s.k_blocks, tile = table->widest_panel > 3 ? 9 : 4; /* rows */
    const double x_far = fc_far(conv, fc_x_count(conv));
    const double y_far = fc_far(conv, conv->batch * conv->out_pixels * conv->out_channels);
    const fc_count counts[] = {
        { images * depth * rows * vectors, 0.706 },                                    /* multiply */
        { images * (double)s.row_blocks * depth * vectors, 7.21 },                     /* copy */
        { images * rows / tile * k_blocks * panels, 17.4 },                            /* tiles */
        { images * rows * vectors * k_blocks, 7.38 },                                  /* stores */
        { images * rows * depth * (double)s.tail / (double)s.lanes, 4.64 },            /* tails */
        { x_far * (double)s.row_blocks * (double)fc_x_count(conv) * size / 64, 8.43 }, /* lines not in cache */
        { y_far * images * (double)conv->out_pixels * rows * size / 64, 1.46 },
        { (double)s.tasks, 1090 },
        { 1, FC_POINTWISE_LEAST },
    };
    return FC_COST(counts, machine);
}

fc_status fc_pointwise_forward(const fc_conv_run *run, fc_error *error)
{
    pointwise_job job = { run, split_of(run->conv, run->table) };
    const double seconds = fc_pointwise_cost(run->conv, fc_machine_for(run->conv->dtype));
    return fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
}

void fc_pointwise_describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    const pointwise_split s = split_of(conv, table);
    snprintf(text, size, "image in place, panels of %lld pixels, %lld deep; %lld pixel blocks x %lld channel blocks",
             (long long)s.panel, (long long)s.k_block, (long long)s.blocks, (long long)s.row_blocks);
}
