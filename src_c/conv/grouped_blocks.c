/* Grouped by way of blocks of channels: see grouped_blocks.h and group_lanes.h.
 *
 * Every lane is full whatever the image's width, and neither stride, dilation nor kernel is a special case.  Only rows
 * and columns that some output sees are copied. */
#include "grouped_blocks.h"
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "cost.h"
#include "group_lanes.h"
#include "lanes_outputs.h"
#include "nonfinite.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    UNIT_BYTES = 96 << 10,    /* of a block's copy, for each of its units */
    LEAST_COLS = 16,
    MOST_DEPTH = 4096,        /* weights of an output */
    CHANNELS_BESIDE = 128,    /* of a copy, where they are adjacent in x */
    CHANNELS_APART = 16,
};

typedef struct blocks_split {
    fc_group_lanes lanes;
    int64_t images, rows, cols;               /* outputs of a task, of one depth */
    int64_t image_blocks, row_blocks, col_blocks, tasks;
    bool turned;                              /* outputs go by way of scratch: their channels are not adjacent */
    size_t order_at, bias_at, row_at, tile_at, bytes; /* scratch layout, bytes; the copy is first */
} blocks_split;

/* Places of an axis under `count` outputs from `first` on. */
static fc_lanes_places places_of(const fc_conv *conv, int axis, int64_t first, int64_t count)
{
    const int64_t seen = (conv->kernel[axis] - 1) * conv->dilation[axis] + 1, stride = conv->stride[axis];
    fc_lanes_places p = { .start = first * stride - conv->pad_before[axis], .stride = stride,
                          .size = conv->in_size[axis], .step = conv->dilation[axis] };
    const bool apart = stride > seen;
    p.seen = apart ? seen : (count - 1) * stride + seen;
    p.count = apart ? count * seen : p.seen;
    return p;
}

/* Elements of a copy for one image. */
static int64_t copied(const fc_conv *conv, int64_t pitch, int64_t rows, int64_t cols)
{
    return conv->kernel[FC_DEPTH] * places_of(conv, FC_HEIGHT, 0, rows).count *
           places_of(conv, FC_WIDTH, 0, cols).count * pitch;
}

/* The most rows of outputs under which a copy has so many elements. */
static int64_t rows_within(const fc_conv *conv, int64_t pitch, int64_t cols, int64_t elements)
{
    const fc_lanes_places one = places_of(conv, FC_HEIGHT, 0, 1), two = places_of(conv, FC_HEIGHT, 0, 2);
    const int64_t places = elements / (copied(conv, pitch, 1, cols) / one.count);
    return places < one.count ? 0 : (places - one.count) / (two.count - one.count) + 1;
}

static fc_group_lanes lanes_of(const fc_conv *conv, const fc_table *table)
{
    return fc_group_lanes_of(table, conv->dtype, conv->groups, conv->in_per_group, conv->out_per_group,
                             conv->channels_last ? CHANNELS_BESIDE : CHANNELS_APART);
}

/* Rows, columns and images of a task. */
static void split_pixels(const fc_conv *conv, blocks_split *s)
{
    const int64_t *out = conv->out_size, pitch = s->lanes.pitch, size = (int64_t)s->lanes.size;
    const int64_t more = fc_machine_for(conv->dtype)->l2 / 4 / size;
    const int64_t most = fc_min(more, UNIT_BYTES / size * s->lanes.together);
    const int64_t halo = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] / conv->stride[FC_HEIGHT];
    s->images = s->rows = 1;
    s->cols = out[FC_WIDTH];
    while (s->cols > LEAST_COLS && copied(conv, pitch, fc_min(out[FC_HEIGHT], 1 + halo), s->cols) > more)
        s->cols = fc_div_up(s->cols, 2);
    /* What blocks of rows share is copied again: of few rows that is much. */
    const int64_t least = fc_min(3 * halo, rows_within(conv, pitch, s->cols, more));
    s->rows = fc_max(1, fc_min(out[FC_HEIGHT], fc_max(least, rows_within(conv, pitch, s->cols, most))));
    s->row_blocks = fc_div_up(out[FC_HEIGHT], s->rows);
    s->rows = fc_div_up(out[FC_HEIGHT], s->row_blocks);
    s->row_blocks = fc_div_up(out[FC_HEIGHT], s->rows);
    s->col_blocks = fc_div_up(out[FC_WIDTH], s->cols);
    s->cols = fc_div_up(out[FC_WIDTH], s->col_blocks);
    s->col_blocks = fc_div_up(out[FC_WIDTH], s->cols);
    if (s->row_blocks == 1 && s->col_blocks == 1) {
        enum { WISHED_TASKS = 16 };
        const int64_t fit = most / fc_max(1, copied(conv, pitch, s->rows, s->cols));
        const int64_t tasks = conv->batch * out[FC_DEPTH] * s->lanes.blocks;
        s->images = fc_max(1, fc_min(fc_min(conv->batch, fit), fc_div_up(tasks, WISHED_TASKS)));
    }
    s->image_blocks = fc_div_up(conv->batch, s->images);
    s->images = fc_max(1, fc_div_up(conv->batch, fc_max(1, s->image_blocks)));
}

static blocks_split split_of(const fc_conv *conv, const fc_table *table)
{
    blocks_split s = { .lanes = lanes_of(conv, table) };
    const int64_t size = (int64_t)s.lanes.size;
    split_pixels(conv, &s);
    s.tasks = s.image_blocks * conv->out_size[FC_DEPTH] * s.row_blocks * s.col_blocks * s.lanes.blocks;
    s.turned = conv->y_stride[FC_C] != 1;
    const int64_t band = s.images * copied(conv, s.lanes.pitch, s.rows, s.cols) + table->lanes;
    const fc_lanes_places high = places_of(conv, FC_HEIGHT, 0, s.rows), wide = places_of(conv, FC_WIDTH, 0, s.cols);
    const fc_lanes_copy copy = fc_lanes_copy_of(&s.lanes, conv->x_stride, &high, &wide);
    s.order_at = (size_t)fc_round_up(band * size, 64);
    s.bias_at = s.order_at + (size_t)fc_round_up(table->lanes * size, 64);
    s.row_at = s.bias_at + (size_t)fc_round_up(table->lanes * size, 64);
    s.tile_at = s.row_at + (size_t)fc_round_up((int64_t)fc_lanes_copy_scratch(&copy), 64);
    s.bytes = s.tile_at + (s.turned ? (size_t)(s.images * s.rows * s.cols * table->lanes * size) : 0);
    return s;
}

typedef struct blocks_job {
    const fc_conv_run *run;
    const void *weight;                       /* prepared */
    const fc_lane_sources *sources;
    blocks_split split;
    bool all_taps;                            /* no tap may be left out, though it sees padding only */
} blocks_job;

/* What a task computes. */
typedef struct blocks_block {
    fc_lanes_outputs out;
    int64_t block;
    fc_lanes_places high, wide;
} blocks_block;

static blocks_block block_of(const blocks_job *job, int64_t task)
{
    const fc_conv *conv = job->run->conv;
    const blocks_split *s = &job->split;
    blocks_block b = { .block = task % s->lanes.blocks };
    b.out = fc_lanes_outputs_of(conv, s->images, s->rows, s->cols, task / s->lanes.blocks);
    b.high = places_of(conv, FC_HEIGHT, b.out.row, b.out.rows);
    b.wide = places_of(conv, FC_WIDTH, b.out.col, b.out.cols);
    return b;
}

/* All places of the block, [image][depth of the kernel][row][column]. */
static void copy_block(const blocks_job *job, const blocks_block *b, void *memory)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const int64_t *x = conv->x_stride, deep = conv->kernel[FC_DEPTH];
    const blocks_split *s = &job->split;
    const int64_t plane = b->high.count * b->wide.count * s->lanes.pitch;
    fc_lanes_copy copy = fc_lanes_copy_of(&s->lanes, x, &b->high, &b->wide);
    copy.sources = job->sources;
    for (int64_t i = 0; i < b->out.images * deep; i++) {
        const int64_t z = b->out.depth * conv->stride[FC_DEPTH] - conv->pad_before[FC_DEPTH] +
                          i % deep * conv->dilation[FC_DEPTH];
        const int64_t at = (b->out.image + i / deep) * x[FC_N] + z * x[FC_D];
        const void *from = z >= 0 && z < conv->in_size[FC_DEPTH] ? fc_at(run->x, at, s->lanes.size) : NULL;
        fc_lanes_copy_plane(&copy, &b->high, b->block, from, (char *)memory + s->row_at,
                            fc_at_mut(memory, i * plane, s->lanes.size));
    }
}

static fc_lanes_axis axis_of(const blocks_job *job, int axis, const fc_lanes_places *places, int64_t first,
                             int64_t count)
{
    const fc_conv *conv = job->run->conv;
    fc_lanes_axis a = { .count = count, .kernel = conv->kernel[axis], .stride = conv->stride[axis],
                        .dilation = conv->dilation[axis], .in = INT64_MAX / 4 };
    if (!job->all_taps) {                     /* as counted from the block's first output */
        a.pad = conv->pad_before[axis] - first * conv->stride[axis];
        a.in = conv->in_size[axis];
    }
    a.x_out = places->seen < places->count ? places->seen : places->stride;
    return a;
}

/* What a block is to the kernel. */
static fc_depthwise_lanes kernel_of(const blocks_job *job, const blocks_block *b, const void *memory)
{
    const fc_conv *conv = job->run->conv;
    const blocks_split *s = &job->split;
    const int64_t lanes = job->run->table->lanes, pitch = s->lanes.pitch, *y = conv->y_stride;
    const int64_t row = b->wide.count * pitch, plane = b->high.count * row, tap = conv->in_per_group * lanes;
    fc_depthwise_lanes d = {
        .x = memory, .row = axis_of(job, FC_HEIGHT, &b->high, b->out.row, b->out.rows),
        .col = axis_of(job, FC_WIDTH, &b->wide, b->out.col, b->out.cols), .images = b->out.images,
        .x_image = conv->kernel[FC_DEPTH] * plane, .y_image = s->turned ? b->out.rows * b->out.cols * lanes : y[FC_N],
        .deep = conv->kernel[FC_DEPTH], .x_deep = plane, .w_deep = conv->kernel[1] * conv->kernel[2] * tap,
        .inputs = conv->in_per_group, .x_input = s->lanes.groups, .groups = s->lanes.groups, .bias_lanes = lanes,
        .activation = conv->activation,
    };
    d.far = !s->turned && fc_far(conv, conv->batch * conv->out_pixels * conv->out_channels);
    d.row.x_out *= row;
    d.row.x_tap = conv->dilation[FC_HEIGHT] * row;
    d.row.y_out = s->turned ? b->out.cols * lanes : y[FC_H];
    d.row.w_tap = conv->kernel[FC_WIDTH] * tap;
    d.col.x_out *= pitch;
    d.col.x_tap = conv->dilation[FC_WIDTH] * pitch;
    d.col.y_out = s->turned ? lanes : y[FC_W];
    d.col.w_tap = tap;
    return d;
}

/* The biases of one vector in the order of its lanes. */
static const void *biases_of(const fc_conv_run *run, const fc_group_lanes *l, int64_t channel, int64_t channels,
                             void *memory)
{
    if (!run->bias)
        return NULL;
    memset(memory, 0, (size_t)run->table->lanes * l->size);
    const int64_t out = l->groups > 1 ? l->out : channels;
    const fc_move move = { .rows = out, .cols = channels / out, .src = fc_at(run->bias, channel, l->size),
                           .src_row = 1, .src_col = out, .dst = memory, .dst_row = l->groups, .dst_col = 1 };
    run->table->move(&move);
    return memory;
}

static void run_task(void *context, int64_t task, void *memory)
{
    const blocks_job *job = context;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const blocks_split *s = &job->split;
    const fc_group_lanes *l = &s->lanes;
    const int64_t lanes = run->table->lanes;
    const blocks_block b = block_of(job, task);
    void *tile = (char *)memory + s->tile_at, *order = (char *)memory + s->order_at;
    copy_block(job, &b, memory);
    fc_depthwise_lanes d = kernel_of(job, &b, memory);
    d.pick = fc_group_lanes_order(l, order) ? order : NULL;
    const int64_t first = b.block * l->together, end = fc_min(l->units, first + l->together);
    for (int64_t unit = first; unit < end; unit++) {
        d.x = fc_at(memory, (unit - first) * l->groups * l->in, l->size);
        for (int64_t v = 0; v < l->vectors; v++) {
            const int64_t channel = unit * l->groups * l->out + v * lanes, count = fc_group_lanes_count(l, unit, v);
            d.lanes = s->turned ? lanes : count;
            d.weight = fc_at(job->weight, (unit * l->vectors + v) * conv->depth * lanes, l->size);
            d.bias = biases_of(run, l, channel, count, (char *)memory + s->bias_at);
            d.y = s->turned ? tile : fc_lanes_first_output(run, &b.out, channel);
            run->table->depthwise_lanes(&d);
            if (s->turned)
                fc_lanes_move_outputs(run, &b.out, channel, count, tile);
        }
    }
}

/* Taps that a tile of `outputs` sees, on average. */
static double taps_seen(const fc_conv *conv, int axis, int64_t outputs)
{
    const fc_lanes_axis a = { .count = conv->out_size[axis], .kernel = conv->kernel[axis], .in = conv->in_size[axis],
                              .stride = conv->stride[axis], .dilation = conv->dilation[axis],
                              .pad = conv->pad_before[axis] };
    return fc_lanes_taps_seen(&a, outputs);
}

double fc_grouped_blocks_cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    const fc_table *table = fc_table_for(conv->dtype);
    const int64_t *out = conv->out_size;
    if (conv->depth > MOST_DEPTH || conv->groups == 1)
        return INFINITY;
    blocks_split s = { .lanes = lanes_of(conv, table) };
    const fc_group_lanes *l = &s.lanes;
    const int64_t least = copied(conv, l->pitch, 1, fc_min(out[FC_WIDTH], LEAST_COLS));
    if (least * (int64_t)l->size > machine->l2 / 2) /* scratch is bounded by the cache */
        return INFINITY;
    split_pixels(conv, &s);
    const fc_lanes_tile tile = fc_lanes_tile_of(table->lanes_sums, s.images, s.rows, s.cols);
    const fc_lanes_places high = places_of(conv, FC_HEIGHT, 0, s.rows), wide = places_of(conv, FC_WIDTH, 0, s.cols);
    const bool turned = !conv->channels_last;
    const bool nine = fc_lanes_by_nine(table->lanes_sums, &tile, conv->kernel[FC_DEPTH], conv->kernel[FC_HEIGHT],
                                       conv->kernel[FC_WIDTH], conv->stride[FC_WIDTH], conv->dilation[FC_WIDTH], l->in);
    const int64_t across = tile.by_piece ? tile.places * tile.cols : tile.cols, down = tile.by_piece ? 1 : tile.places;
    const double blocks = (double)(s.image_blocks * out[FC_DEPTH] * s.row_blocks * s.col_blocks);
    const double tiles = blocks * (double)(l->units * l->vectors) *
                         fc_lanes_tiles(&tile, s.images, s.rows, s.cols);
    const double rows = blocks * (double)(l->blocks * s.images * conv->kernel[FC_DEPTH]) * (double)high.count;
    const double vectors = rows * (double)fc_div_up(l->record, table->lanes), places = vectors * (double)wide.count;
    const int64_t reach = (s.cols - 1) * wide.stride + wide.seen;
    const double read = vectors * (double)(turned ? fc_min(conv->in_size[FC_WIDTH], reach) : wide.count);
    const double outputs = (double)(conv->batch * conv->out_pixels) * (double)(l->units * l->vectors);
    const double moved = (read + outputs) * (double)(table->lanes * (int64_t)l->size);
    const bool crowds = conv->channels_last && fc_crowds_sets(conv);
    const double x_lines = (double)fc_x_count(conv) * (double)l->size / 64;
    const bool far = fc_x_count(conv) * (int64_t)l->size > machine->l2;
    const double depth = taps_seen(conv, FC_HEIGHT, tile.by_image ? 1 : down) * taps_seen(conv, FC_WIDTH, across) *
                         (double)(conv->kernel[FC_DEPTH] * conv->in_per_group);
    const double weights = (double)(l->units * l->vectors * table->lanes) * (double)conv->depth;
    const bool at_once = turned && wide.seen >= wide.count && high.seen >= high.count; /* to where they belong */
    const fc_count counts[] = {
        { tiles * (double)(tile.places * tile.cols) * depth,
          fc_lanes_multiply(l, machine, l->vectors > 1 ? 1.45 : 1.17, !nine ? 0 : wide.stride == 1 ? 0.95 : 1.15) },
        { tiles, 200 },
        { places, at_once ? 1 : 4 + 3.7 * fc_group_lanes_sources(l) }, /* copies */
        { rows, turned && !at_once ? 110 : 20 },
        { turned ? read : 0, at_once ? 7.5 : 6 },
        { turned ? outputs : 0, 10 },
        { moved > (double)machine->l2 ? moved / 64 : 0, 4 },    /* lines from beyond L2 */
        { turned && far && conv->stride[FC_WIDTH] > 2 ? x_lines * fc_seen_share(conv) : 0, 11 },
        { crowds ? read * (double)(machine->lanes * (int64_t)l->size) / 64 : 0, far ? 30 : 15 }, /* in few sets */
        { prepared ? 0 : weights, weights * (double)l->size > (double)machine->l3 / 2 ? 3 : 1 },
        { blocks * (double)l->blocks, 600 },
        { 1, 7500 },
    };
    return FC_COST(counts, machine);
}

size_t fc_grouped_blocks_scratch(const fc_conv *conv, const fc_table *table) { return split_of(conv, table).bytes; }

size_t fc_grouped_blocks_prepared_size(const fc_conv *conv, const fc_table *table)
{
    const fc_group_lanes lanes = lanes_of(conv, table);
    return fc_group_lanes_filter_bytes(&lanes, conv->taps);
}

typedef struct pack_job {
    const fc_group_lanes *lanes;
    fc_lanes_weight weight;
    void *packed;
} pack_job;

static void pack_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const pack_job *job = context;
    fc_group_lanes_filters(job->lanes, &job->weight, task, job->packed);
}

static fc_lanes_weight weight_of(const fc_conv *conv, const void *weight)
{
    return (fc_lanes_weight){ .weight = weight, .taps = conv->taps, .group = conv->out_per_group * conv->depth,
                              .channel = conv->depth, .input = conv->taps };
}

void fc_grouped_blocks_prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared)
{
    const fc_group_lanes lanes = lanes_of(conv, table);
    const fc_lanes_weight from = weight_of(conv, weight);
    for (int64_t unit = 0; unit < lanes.units; unit++)
        fc_group_lanes_filters(&lanes, &from, unit, prepared);
}

fc_status fc_grouped_blocks_forward(const fc_conv_run *run, fc_error *error)
{
    const fc_conv *conv = run->conv;
    blocks_job job = { .run = run, .weight = run->prepared, .split = split_of(conv, run->table) };
    const fc_group_lanes *lanes = &job.split.lanes;
    const double seconds = fc_grouped_blocks_cost(conv, fc_machine_for(conv->dtype), true);
    const size_t list = (size_t)fc_round_up((int64_t)fc_lanes_sources_bytes(lanes), 64);
    const size_t bytes = list + (run->prepared ? 0 : fc_group_lanes_filter_bytes(lanes, conv->taps));
    char *memory = fc_scratch_borrow(bytes);
    if (!memory)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of packed weights", bytes);
    fc_status status = FC_OK;
    job.sources = fc_lanes_sources(lanes, conv->x_stride[FC_C] != 1, memory);
    job.all_taps = fc_unpadded(conv) || !fc_surely_finite(conv->dtype, run->weight, conv->out_channels * conv->depth);
    if (!run->prepared) {
        pack_job packs = { lanes, weight_of(conv, run->weight), memory + list };
        status = fc_parallel(lanes->units, (double)(conv->out_channels * conv->depth) * 6e-10, 0, pack_task, &packs,
                             error);
        job.weight = packs.packed;
    }
    if (status == FC_OK)
        status = fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
    fc_scratch_give_back(memory);
    return status;
}

void fc_grouped_blocks_describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    const blocks_split s = split_of(conv, table);
    snprintf(text, size, "channels of %lld groups as lanes, in blocks with their padding; %lld image blocks x "
             "%lld blocks of groups x %lld row blocks", (long long)s.lanes.groups, (long long)s.image_blocks,
             (long long)s.lanes.blocks, (long long)(s.row_blocks * s.col_blocks));
}
