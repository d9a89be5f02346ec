/* Tap by tap: each tap of the kernel is one product, over the outputs that meet a pixel through it and no others.
 *
 *     for task: a block of outputs by some panels of a group
 *       outputs = bias
 *       for block of channels, for tap
 *         outputs[met] += x[met by the tap][channels] * weight[channels][lanes]
 *       activation; NCHW leaves through a transposed tile
 *
 * For planes that kernels reach far beyond: 9x9 on 7x7 meets padding in half of its products.  x is read where it
 * lies, in either layout.  Supports every problem.  Listed in list.c. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "cost.h"
#include "direct.h"
#include "met.h"
#include "nonfinite.h"
#include "pixel_tile.h"
#include <stdio.h>
#include <string.h>

enum {
    /* Channels that take one tap after the other, of all so many weights.  Results depend on it, so it follows from
     * no cache: fewer pass over the outputs too often, more would not be packed in one. */
    MOST_CHANNELS = 256, LEAST_CHANNELS = 64, WEIGHTS = 4096,
    MOST_PACKED = 3 << 19,    /* bytes of weights that a task packs at a time */
    FEW_PIXELS = 512,         /* of a call whose tasks pack their weights */
    LEAST_PIXELS = 48,        /* of a task */
    MOST_PIXELS = 1024,
};

/* About `wished` pixels a task. */
static void split_pixels(fc_direct_split *s, const fc_conv *conv, int64_t wished)
{
    const int64_t *out = conv->out_size, batch = fc_max(conv->batch, 1);
    s->cols = fc_min(out[FC_WIDTH], MOST_PIXELS);
    s->rows = fc_max(1, fc_min(out[FC_HEIGHT], wished / s->cols));
    s->images = s->rows == out[FC_HEIGHT] ? fc_max(1, fc_min(batch, wished / (s->rows * s->cols))) : 1;
    s->image_blocks = fc_div_up(conv->batch, s->images);
    s->images = fc_div_up(batch, fc_div_up(batch, s->images));
    s->row_blocks = fc_div_up(out[FC_HEIGHT], s->rows);
    s->rows = fc_div_up(out[FC_HEIGHT], s->row_blocks);
    s->row_blocks = fc_div_up(out[FC_HEIGHT], s->rows);
    s->col_blocks = fc_div_up(out[FC_WIDTH], s->cols);
}

static void split_channels(fc_direct_split *s, const fc_conv *conv, const fc_table *table)
{
    s->table = table = fc_table_fitting(table, conv->dtype, conv->out_per_group);
    s->vectors = fc_panel_vectors(table, fc_div_up(conv->out_per_group, table->lanes));
    s->panel = (int64_t)s->vectors * table->lanes;
    s->panels = fc_div_up(conv->out_per_group, s->panel);
    s->skips = true;
    s->k_blocks = fc_div_up(conv->in_per_group, fc_min(fc_max(WEIGHTS / conv->taps, LEAST_CHANNELS), MOST_CHANNELS));
    s->together = fc_div_up(conv->in_per_group, s->k_blocks);
    s->k_block = s->together * conv->taps;
}

/* `prepared`: weights are packed before the tasks, by a plan or at the start of the call.  Else a task may pack those
 * of a panel at a time, which then do not leave the cache; it has all pixels. */
static fc_direct_split split_of(const fc_conv *conv, const fc_table *table, bool prepared)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype), l2 = fc_machine_for(conv->dtype)->l2 / size;
    fc_direct_split s = { 0 };
    split_channels(&s, conv, table);
    const int64_t depths = fc_max(conv->batch, 1) * conv->out_size[FC_DEPTH];
    const int64_t all = depths * conv->out_size[FC_HEIGHT] * conv->out_size[FC_WIDTH];
    const int64_t wanted = fc_worth_tasks(conv), panels = s.panels * conv->groups;
    s.packs = !prepared && conv->out_size[FC_DEPTH] == 1 && all <= FEW_PIXELS && panels >= fc_min(wanted, 2) &&
              s.k_block * s.panel * size <= MOST_PACKED;
    const int64_t held = fc_min(l2 / 4 / (s.panels * s.panel), fc_div_up(all * panels, wanted));
    split_pixels(&s, conv, s.packs ? all : fc_max(LEAST_PIXELS, fc_min(MOST_PIXELS, held)));
    const int64_t blocks = s.image_blocks * conv->out_size[FC_DEPTH] * s.row_blocks * s.col_blocks * conv->groups;
    const int64_t pixels = s.images * s.rows * s.cols;
    const int64_t most = fc_max(1, s.packs ? l2 / 2 / (pixels * s.panel) : l2 / 4 / (s.together * s.panel));
    s.block_panels = fc_max(1, fc_min(most, s.panels / fc_div_up(wanted, fc_max(blocks, 1))));
    s.channel_blocks = fc_div_up(s.panels, s.block_panels);
    s.block_panels = fc_div_up(s.panels, s.channel_blocks);
    s.tasks = blocks * s.channel_blocks;
    s.tile_at = s.packs ? (size_t)fc_round_up(s.k_block * s.panel * size, 64) : 0; /* weights are first */
    s.zeros_at = s.tile_at + (size_t)fc_round_up(pixels * s.block_panels * s.panel * size, 64);
    s.offsets_at = s.zeros_at + (size_t)s.together * sizeof(int64_t);
    s.met_at = s.offsets_at + (size_t)s.together * sizeof(int64_t);
    s.pixels_at = s.met_at + (size_t)pixels * sizeof(int64_t);
    s.bytes = s.pixels_at + (size_t)pixels * sizeof(void *);
    return s;
}

typedef struct taps_job {
    const fc_conv_run *run;
    const void *prepared;                     /* NULL where tasks pack */
    fc_direct_split split;
    bool finite;                              /* prepared weights are */
    bool x_far, weights_far;                  /* too large to be in L2 */
} taps_job;

/* One task's outputs, and its pieces of scratch. */
typedef struct taps_block {
    fc_out_block out;
    int64_t panel, group;
    bool in_place;                            /* in y, else in the tile */
    void *weights, *c;
    int64_t c_image, c_row, c_col;            /* between outputs there */
    const int64_t *zeros;                     /* one for each channel; the first serves as a pixel too */
    int64_t *offsets;                         /* of channels in x */
    int64_t *met_c;                           /* outputs that meet a tap: where in c, */
    const void **met_x;                       /* and what they meet */
} taps_block;

static taps_block block_of(const taps_job *job, int64_t task, void *memory)
{
    const fc_direct_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const int64_t *out = conv->out_size, *y = conv->y_stride;
    taps_block b = { .panel = task % s->channel_blocks * s->block_panels,
                     .in_place = y[FC_C] == 1,
                     .weights = memory, .c = (char *)memory + s->tile_at };
    fc_out_block *o = &b.out;
    task /= s->channel_blocks;
    o->at.col = task % s->col_blocks * s->cols;
    task /= s->col_blocks;
    o->at.row = task % s->row_blocks * s->rows;
    task /= s->row_blocks;
    o->at.depth = task % out[FC_DEPTH];
    task /= out[FC_DEPTH];
    b.group = task % conv->groups;
    o->at.image = task / conv->groups * s->images;
    o->images = fc_min(s->images, conv->batch - o->at.image);
    o->rows = fc_min(s->rows, out[FC_HEIGHT] - o->at.row);
    o->cols = fc_min(s->cols, out[FC_WIDTH] - o->at.col);
    const int64_t channel = b.panel * s->panel;
    o->channel = b.group * conv->out_per_group + channel;
    o->channels = fc_min(fc_min(s->block_panels, s->panels - b.panel) * s->panel, conv->out_per_group - channel);
    if (b.in_place)
        b.c = fc_at_mut(job->run->y, fc_out_block_at(conv, o), fc_size_of(conv->dtype));
    b.c_col = b.in_place ? y[FC_W] : o->channels;
    b.c_row = b.in_place ? y[FC_H] : o->cols * b.c_col;
    b.c_image = b.in_place ? y[FC_N] : o->rows * b.c_row;
    b.zeros = (const int64_t *)(const void *)((char *)memory + s->zeros_at);
    b.offsets = (int64_t *)(void *)((char *)memory + s->offsets_at);
    b.met_c = (int64_t *)(void *)((char *)memory + s->met_at);
    b.met_x = (const void **)(void *)((char *)memory + s->pixels_at);
    memset((char *)memory + s->zeros_at, 0, s->offsets_at - s->zeros_at);
    for (int64_t i = 0; i < s->together; i++)
        b.offsets[i] = i * conv->x_stride[FC_C];
    return b;
}

/* The part of outputs `first` .. + `count` of an axis that a tap meets pixels through. */
static fc_span part_met(const fc_conv *conv, int axis, int64_t tap, int64_t first, int64_t count)
{
    return fc_span_of(first, count, conv->stride[axis], tap * conv->dilation[axis] - conv->pad_before[axis],
                      conv->in_size[axis]);
}

/* Lists the outputs that meet a pixel through a tap, or those that do not; from channel `first` of the group on.
 * Returns how many there are. */
static int64_t find_met(const taps_job *job, const taps_block *b, int64_t tap, int64_t first, bool met)
{
    const fc_conv *conv = job->run->conv;
    const fc_out_block *o = &b->out;
    const int64_t *x = conv->x_stride, *kernel = conv->kernel, size = (int64_t)fc_size_of(conv->dtype);
    const fc_span z = part_met(conv, FC_DEPTH, tap / kernel[2] / kernel[1], o->at.depth, 1);
    const fc_span rows = part_met(conv, FC_HEIGHT, tap / kernel[2] % kernel[1], o->at.row, o->rows);
    const fc_span cols = part_met(conv, FC_WIDTH, tap % kernel[2], o->at.col, o->cols);
    const char *base = fc_at(job->run->x, o->at.image * x[FC_N] + z.column * x[FC_D] +
                                              (b->group * conv->in_per_group + first) * x[FC_C], size);
    const int64_t col_step = conv->stride[FC_WIDTH] * x[FC_W] * size;
    int64_t count = 0;
    for (int64_t n = 0; n < o->images; n++, base += x[FC_N] * size)
        for (int64_t r = 0; r < o->rows; r++) {
            const bool inside = z.inside && r >= rows.before && r < rows.before + rows.inside;
            const int64_t row = rows.column + (r - rows.before) * conv->stride[FC_HEIGHT];
            const int64_t c = n * b->c_image + r * b->c_row;
            if (met && inside) {
                const char *from = base + (row * x[FC_H] + cols.column * x[FC_W]) * size;
                for (int64_t i = 0; i < cols.inside; i++, from += col_step) {
                    b->met_x[count] = from;
                    b->met_c[count++] = c + (cols.before + i) * b->c_col;
                }
            }
            for (int64_t i = 0; !met && i < o->cols; i++)
                if (!inside || i < cols.before || i >= cols.before + cols.inside) {
                    b->met_x[count] = b->zeros;
                    b->met_c[count++] = c + i * b->c_col;
                }
        }
    return count;
}

/* All outputs, multiplied by nothing. */
static void pass(const taps_job *job, const taps_block *b, fc_gemm *g)
{
    const fc_out_block *o = &b->out;
    for (int64_t n = 0; n < o->images; n++)
        for (int64_t r = 0; r < o->rows; r++)
            for (int64_t c = 0; c < o->cols; c++) {
                b->met_x[g->m] = b->zeros;
                b->met_c[g->m++] = n * b->c_image + r * b->c_row + c * b->c_col;
            }
    job->split.table->gemm(g);
}

/* k channels of the group from `first` on under every tap; `finite`: so are the weights. */
static void multiply(const taps_job *job, const taps_block *b, const fc_gemm *outputs, int64_t first, int64_t k,
                     const void *weights, bool finite)
{
    const fc_conv *conv = job->run->conv;
    const fc_direct_split *s = &job->split;
    fc_gemm g = *outputs;
    g.k = k;
    g.b_panel = conv->taps * k * s->panel;
    g.b_far = job->weights_far;
    g.accumulate = 1;
    for (int64_t tap = 0; tap < conv->taps; tap++) {
        g.b = fc_at(weights, tap * k * s->panel, fc_size_of(conv->dtype));
        g.a_offset = conv->x_stride[FC_C] == 1 ? NULL : b->offsets;
        g.m = find_met(job, b, tap, first, true);
        g.a_rows = job->x_far ? g.m : 0;
        job->split.table->gemm(&g);
        if (finite)
            continue;
        g.a_offset = b->zeros;                /* padding times what is no number is none */
        g.a_rows = 0;
        g.m = find_met(job, b, tap, first, false);
        job->split.table->gemm(&g);
    }
}

/* The same, a panel at a time, whose weights are packed before. */
static void pack_and_multiply(const taps_job *job, const taps_block *b, const fc_gemm *outputs, int64_t first,
                              int64_t k)
{
    const fc_conv *conv = job->run->conv;
    const fc_direct_split *s = &job->split;
    const int64_t taps = conv->taps;
    fc_gemm g = *outputs;
    for (int64_t lane = 0; lane < b->out.channels; lane += s->panel) {
        g.n = fc_min(s->panel, b->out.channels - lane);
        g.c = fc_at_mut(b->c, lane, fc_size_of(conv->dtype));
        fc_direct_pack(conv, s, job->run->weight, b->group, b->panel + lane / s->panel, 1,
                       first * taps, (first + k) * taps, b->weights);
        multiply(job, b, &g, first, k, b->weights, fc_surely_finite(conv->dtype, b->weights, taps * k * s->panel));
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const taps_job *job = context;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const fc_direct_split *s = &job->split;
    const int64_t in = conv->in_per_group, taps = conv->taps;
    const taps_block b = block_of(job, task, memory);
    const fc_gemm outputs = {
        .n = b.out.channels, .a = b.met_x, .b = b.zeros, .b_step = s->panel, .panel_vectors = s->vectors,
        .c = b.c, .c_offset = b.met_c, .activation = conv->activation,
    };
    fc_gemm begin = outputs, finish = outputs;
    begin.bias = run->bias ? fc_at(run->bias, b.out.channel, fc_size_of(conv->dtype)) : NULL;
    begin.bias_on_lanes = 1;
    pass(job, &b, &begin);
    for (int64_t first = 0, k; first < in; first += k) {
        k = fc_min(s->together, in - first);
        if (!job->prepared)
            pack_and_multiply(job, &b, &outputs, first, k);
        else
            multiply(job, &b, &outputs, first, k, fc_direct_prepared(conv, s, job->prepared, b.group, first * taps,
                                                                     (first + k) * taps, b.panel), job->finite);
    }
    finish.accumulate = finish.finish = 1;
    if (conv->activation.kind != FC_ACT_NONE)
        pass(job, &b, &finish);
    if (!b.in_place)
        fc_out_block_scatter(run, &b.out, b.c);
}

static const char *supports(const fc_conv *conv)
{
    (void)conv;
    return NULL;
}

static size_t scratch(const fc_conv *conv, const fc_table *table) { return split_of(conv, table, false).bytes; }

static size_t prepared_size(const fc_conv *conv, const fc_table *table)
{
    const fc_direct_split s = split_of(conv, table, true);
    return fc_direct_prepared_size(conv, &s);
}

static void prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared)
{
    const fc_direct_split s = split_of(conv, table, true);
    fc_direct_prepare(conv, &s, weight, prepared, false);
}

/* Lines of planes that come from memory, in pieces of a tile's pixels, and are waited for: measured where two products
 * start in a cycle. */
static double lines_waited_for(const fc_conv *conv, const fc_machine *machine)
{
    enum { HELD = 12 << 20, LINE = 64 };
    const int64_t bytes = fc_x_count(conv) * (int64_t)fc_size_of(conv->dtype);
    return conv->channels_last || fc_starts_one(machine) || bytes <= HELD ? 0 : (double)bytes / LINE;
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    const double met = fc_met_share(conv, 0) * fc_met_share(conv, 1) * fc_met_share(conv, 2);
    if (met > 0.97)
        return INFINITY;
    machine = fc_machine_fitting(machine, conv->out_per_group);
    const fc_direct_split s = split_of(conv, machine->table, prepared);
    const double groups = (double)conv->groups, pixels = (double)(conv->batch * conv->out_pixels);
    const double vectors = (double)fc_div_up(conv->out_per_group, machine->lanes), depth = (double)conv->depth;
    const double products = groups * pixels * met * (double)(conv->taps * s.k_blocks); /* of a pixel and a block */
    const double tile_rows = (s.table->widest_panel > 3 ? 26.0 : 12.0) / s.vectors;
    const double nchw = !conv->channels_last, x_far = fc_far(conv, fc_x_count(conv));
    const double y_far = fc_far(conv, conv->batch * conv->out_pixels * conv->out_channels);
    const double lines = (double)fc_size_of(conv->dtype) / 64;
    const bool weights_far = fc_far(conv, conv->depth * conv->out_channels);
    const fc_count counts[] = {
        { groups * depth * met * vectors * pixels, fc_multiply_tile(machine, 0.962, s.vectors) },
        { products * vectors, 3.5 },                                                        /* C from L2, and back */
        { products / tile_rows * (double)s.panels, 55 },                                   /* tiles */
        { products * (double)s.channel_blocks, 4 },                                        /* lists */
        { prepared ? 0 : groups * depth * vectors, s.packs ? 24 : weights_far ? 62 : 32 }, /* pack weights */
        { groups * pixels * vectors, 8 },                                                  /* begin */
        { nchw * groups * pixels * vectors, 11.2 },                                        /* transposes out */
        { nchw * y_far * groups * pixels * vectors, 7.43 },                                /* to lines not in cache */
        { nchw * groups * depth * met * pixels * (double)s.channel_blocks, 0.25 },         /* pixels far apart */
        { x_far * (double)(s.channel_blocks * fc_x_count(conv)) * lines, 0.506 },
        { y_far * pixels * (double)conv->out_channels * lines, 1.1 },
        { nchw > 0 ? 0 : fc_lines_seen_in_pieces(conv, s.channel_blocks), 150 },
        { lines_waited_for(conv, machine), 90 },
        { (double)(s.tasks * conv->taps * s.k_blocks), 250 },                              /* products */
        { (double)s.tasks, 1150 },
        { 1, 4030 },
    };
    return FC_COST(counts, machine);
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    const fc_conv *conv = run->conv;
    taps_job job = {
        .run = run, .split = split_of(conv, run->table, run->prepared != NULL), .prepared = run->prepared,
        .x_far = fc_far(conv, fc_x_count(conv)), .weights_far = fc_far(conv, conv->depth * conv->out_channels),
    };
    const double seconds = cost(conv, fc_machine_for(conv->dtype), run->prepared != NULL);
    void *packed = NULL;
    if (!job.prepared && !job.split.packs) {
        packed = fc_direct_borrow(run, &job.split, error);
        if (!packed)
            return FC_NO_MEMORY;
        job.prepared = packed;
    }
    job.finite = job.prepared && fc_direct_finite(conv, &job.split, job.prepared);
    const fc_status status = fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
    fc_scratch_give_back(packed);
    return status;
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    const fc_direct_split s = split_of(conv, table, false);
    snprintf(text, size,
             "panels of %lld channels%s; %lld channels at a time; blocks of %lld images x %lld rows x %lld columns; "
             "%lld tasks", (long long)s.panel, s.table == table ? "" : " in half vectors", (long long)s.together,
             (long long)s.images, (long long)s.rows, (long long)s.cols, (long long)s.tasks);
}

const fc_algorithm fc_algorithm_taps = {
    .name = "taps",
    .summary = "tap by tap, over the outputs that meet a pixel through it, output channels as lanes",
    .supports = supports,
    .cost = cost,
    .least = 5600,
    .scratch = scratch,
    .prepared_size = prepared_size,
    .prepare = prepare,
    .forward = forward,
    .describe = describe,
};
