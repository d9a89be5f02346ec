/* Grouped convolution, or one group of few channels in or out: output pixels are the lanes and nothing is packed.
 *
 * One group's input channels are copied to a zero-bordered band, rows and columns split by stride phase,
 * and every tap is a plain load at an offset: y[oc][pixel] = sum over k of weight[oc][k] *
 * band[pixel + offset[k]], weights in place.  A row that fills its vectors is a product written in place; else
 * all rows of a block are one, whose pixels run on through the border columns between them; what falls on those
 * is dropped when the sums are copied to y.  Rows with a stride of 1 need no band: see by_rows.  Blocks of channels,
 * channels as lanes and a few channels of adjacent pixels have files of their own.  Listed in list.c. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "algorithm.h"
#include "band.h"
#include "cost.h"
#include "depthwise.h"
#include "grouped_blocks.h"
#include "grouped_channels.h"
#include "grouped_pixels.h"
#include "met.h"
#include "nonfinite.h"
#include <math.h>
#include <stdio.h>

enum {
    MOST_PIXELS = 1024,       /* outputs of a channel per block */
    FEW_CHANNELS = 16,        /* of one group */
    FEW_OUTPUTS = 24,         /* of one group: more fill the vectors of the algorithms with channels as lanes */
    FEW_ROWS = 2,             /* of a product, whose sums are too few in panels of the usual width */
};
static const double TASK_SECONDS = 40e-6;     /* so long should a task take that needs no band */

typedef struct grouped_split {
    int64_t groups, group_blocks;             /* groups per task: more than one where channels are adjacent */
    int64_t channels;                         /* input channels of a group per pass */
    int64_t rows, row_blocks, cols, col_blocks;
    int64_t tasks;
    int64_t pitch;                            /* pixels from one output row of a block to the next */
    bool in_place;                            /* rows are written to y as they are */
    int panel_vectors;
    fc_band band;
    size_t tile_at, offsets_at, weights_at, bytes; /* scratch layout, bytes; the band is first */
} grouped_split;

/* Whether each row of a block is a product of its own, written where it belongs: its last vector is full enough. */
static bool rows_in_place(const fc_conv *conv, const fc_table *table, const grouped_split *s)
{
    return conv->y_stride[FC_W] == 1 && s->channels == conv->in_per_group && s->cols > table->lanes &&
           8 * s->cols >= 7 * fc_round_up(s->cols, table->lanes);
}

static grouped_split split_of(const fc_conv *conv, const fc_table *table)
{
    grouped_split s = { .groups = 1, .channels = conv->in_per_group };
    s.panel_vectors = conv->out_per_group <= FEW_ROWS ? table->widest_panel : table->panel_vectors;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t height = conv->out_size[FC_HEIGHT], width = conv->out_size[FC_WIDTH];
    const int64_t most = fc_machine_for(conv->dtype)->l2 / 4 / (int64_t)size;
    if (conv->channels_last) /* a transpose moves whole vectors of channels */
        s.groups = fc_min(conv->groups, fc_div_up(table->lanes, fc_min(conv->in_per_group, conv->out_per_group)));
    s.cols = fc_min(width, MOST_PIXELS);
    s.rows = fc_min(height, fc_max(1, MOST_PIXELS / s.cols));
    for (;;) {
        s.band = fc_band_make_flat(conv, s.groups * s.channels, s.rows, s.cols);
        if (s.band.size <= most)
            break;
        if (s.rows > 1)
            s.rows = fc_div_up(s.rows, 2);
        else if (s.groups > 1)
            s.groups = fc_div_up(s.groups, 2);
        else if (s.channels > 1)
            s.channels = fc_div_up(s.channels, 2);
        else if (s.cols > 16)
            s.cols = fc_div_up(s.cols, 2);
        else
            break;
    }
    s.row_blocks = fc_div_up(height, s.rows);
    s.rows = fc_div_up(height, s.row_blocks);
    s.row_blocks = fc_div_up(height, s.rows);
    s.col_blocks = fc_div_up(width, s.cols);
    s.group_blocks = fc_div_up(conv->groups, s.groups);
    s.tasks = conv->batch * s.group_blocks * conv->out_size[FC_DEPTH] * s.row_blocks * s.col_blocks;
    s.band = fc_band_make_flat(conv, s.groups * s.channels, s.rows, s.cols);
    s.pitch = s.band.row_step;
    s.in_place = rows_in_place(conv, table, &s);
    const int64_t tile = s.in_place ? 0 : s.groups * conv->out_per_group * s.rows * s.pitch;
    s.tile_at = (size_t)fc_round_up((s.band.size + table->lanes) * (int64_t)size, 64);
    s.offsets_at = s.tile_at + (size_t)fc_round_up(tile * (int64_t)size, 64);
    s.weights_at = s.offsets_at + (size_t)(s.channels * conv->taps) * sizeof(int64_t);
    s.bytes = s.weights_at + (size_t)conv->out_per_group * sizeof(void *);
    return s;
}

static const char *supports(const fc_conv *conv)
{
    return conv->groups > 1 || conv->in_channels <= FEW_CHANNELS || conv->out_channels <= FEW_OUTPUTS
        ? NULL
        : "grouped needs groups > 1, or at most 16 input or 24 output channels";
}

typedef struct grouped_job {
    const fc_conv_run *run;
    grouped_split split;
} grouped_job;

static void find_offsets(const fc_conv *conv, const fc_band *band, int64_t channels, int64_t *offsets)
{
    int64_t *of_tap = offsets;
    for (int64_t d = 0; d < conv->kernel[FC_DEPTH]; d++)
        for (int64_t h = 0; h < conv->kernel[FC_HEIGHT]; h++)
            for (int64_t w = 0; w < conv->kernel[FC_WIDTH]; w++)
                *of_tap++ = fc_band_offset(band, conv, d, h, w);
    for (int64_t i = conv->taps; i < channels * conv->taps; i++)
        offsets[i] = offsets[i - conv->taps] + band->channel_step;
}

static int64_t y_offset(const fc_conv *conv, const fc_block_origin *at, int64_t channel, int64_t row)
{
    return at->image * conv->y_stride[FC_N] + channel * conv->y_stride[FC_C] + at->depth * conv->y_stride[FC_D] +
           (at->row + row) * conv->y_stride[FC_H] + at->col * conv->y_stride[FC_W];
}

/* The block of one task: `count` groups from `group` on. */
typedef struct grouped_block {
    fc_block_origin at;
    int64_t group, count, rows, cols;
} grouped_block;

/* Adds the input channels of the pass that lie in the band to one group's outputs in the block. */
static void multiply(const grouped_job *job, const grouped_block *b, int64_t index, int64_t first, int64_t count,
                     void *memory)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const grouped_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t channel = (b->group + index) * conv->out_per_group;
    const void **weights = (const void **)(void *)((char *)memory + s->weights_at);
    for (int64_t i = 0; i < conv->out_per_group; i++)
        weights[i] = fc_at(run->weight, (channel + i) * conv->depth + first * conv->taps, size);
    fc_gemm g = {
        .m = conv->out_per_group, .n = (b->rows - 1) * s->pitch + b->cols, .k = count * conv->taps, .a = weights,
        .b = fc_at(memory, index * conv->in_per_group * s->band.channel_step, size),
        .b_offset = (const int64_t *)(const void *)((char *)memory + s->offsets_at),
        .panel_vectors = s->panel_vectors, .accumulate = first > 0,
        .finish = first + count == conv->in_per_group, .activation = conv->activation,
        .bias = run->bias ? fc_at(run->bias, channel, size) : NULL,
        .c = fc_at_mut((char *)memory + s->tile_at, index * conv->out_per_group * b->rows * s->pitch, size),
        .c_row = b->rows * s->pitch,
    };
    if (!s->in_place) {
        run->table->gemm(&g);
        return;
    }
    g.n = b->cols;
    g.c_row = conv->y_stride[FC_C];
    for (int64_t r = 0; r < b->rows; r++, g.b = fc_at(g.b, s->pitch, size)) {
        g.c = fc_at_mut(run->y, y_offset(conv, &b->at, channel, r), size);
        run->table->gemm(&g);
    }
}

/* The block's outputs from scratch to y. */
static void move_out(const fc_conv_run *run, const grouped_split *s, const grouped_block *b, const void *tile)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t channel = b->group * conv->out_per_group, channels = b->count * conv->out_per_group;
    const int64_t src_channel = b->rows * s->pitch, *y = conv->y_stride;
    if (conv->channels_last)
        for (int64_t r = 0; r < b->rows; r++) {
            const fc_move move = { .rows = channels, .cols = b->cols, .src = fc_at(tile, r * s->pitch, size),
                                   .src_row = src_channel, .src_col = 1,
                                   .dst = fc_at_mut(run->y, y_offset(conv, &b->at, channel, r), size),
                                   .dst_row = y[FC_C], .dst_col = y[FC_W] };
            run->table->move(&move);
        }
    else {
        const bool one = y[FC_C] == b->rows * y[FC_H]; /* rows of the next channel follow */
        for (int64_t c = 0; c < (one ? 1 : channels); c++) {
            const fc_move move = { .rows = one ? channels * b->rows : b->rows, .cols = b->cols,
                                   .src = fc_at(tile, c * src_channel, size), .src_row = s->pitch, .src_col = 1,
                                   .dst = fc_at_mut(run->y, y_offset(conv, &b->at, channel + c, 0), size),
                                   .dst_row = y[FC_H], .dst_col = y[FC_W] };
            run->table->move(&move);
        }
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const grouped_job *job = context;
    const grouped_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    grouped_block b;
    b.at.col = task % s->col_blocks * s->cols;
    task /= s->col_blocks;
    b.at.row = task % s->row_blocks * s->rows;
    task /= s->row_blocks;
    b.at.depth = task % conv->out_size[FC_DEPTH];
    task /= conv->out_size[FC_DEPTH];
    b.group = task % s->group_blocks * s->groups;
    b.count = fc_min(s->groups, conv->groups - b.group);
    b.at.image = task / s->group_blocks;
    b.rows = fc_min(s->rows, conv->out_size[FC_HEIGHT] - b.at.row);
    b.cols = fc_min(s->cols, conv->out_size[FC_WIDTH] - b.at.col);
    find_offsets(conv, &s->band, s->channels, (int64_t *)(void *)((char *)memory + s->offsets_at));
    for (int64_t c = 0; c < conv->in_per_group; c += s->channels) {
        const int64_t count = fc_min(s->channels, conv->in_per_group - c);
        fc_band_copy(job->run, &s->band, &b.at, b.group * conv->in_per_group + c,
                     (b.count - 1) * conv->in_per_group + count, memory);
        for (int64_t index = 0; index < b.count; index++)
            multiply(job, &b, index, c, count, memory);
    }
    if (!s->in_place)
        move_out(job->run, s, &b, (char *)memory + s->tile_at);
}

/* Whether many outputs of few inputs, which leave L2, are written sooner row by row of all channels: measured where two
 * products start in a cycle. */
static bool leaves_soon(const fc_conv *conv)
{
    enum { INPUTS = 3, OUTPUTS = 32, PIXELS = 64 * 64 };
    return conv->groups == 1 && conv->in_per_group <= INPUTS && conv->out_per_group >= OUTPUTS &&
           (conv->in_per_group == 1 || conv->out_pixels <= PIXELS) &&
           fc_far(conv, conv->batch * conv->out_pixels * conv->out_channels) &&
           !fc_starts_one(fc_machine_for(conv->dtype));
}

/* Whether the depthwise kernel does it, from x to y directly: four filters share what it loads. */
static bool by_rows(const fc_conv *conv, const fc_table *table)
{
    const bool beside = conv->x_stride[FC_W] == 1 && conv->y_stride[FC_W] == 1;
    const int64_t width = conv->out_size[FC_WIDTH];
    return !conv->channels_last && beside && table->depthwise_filters > 0 &&
           conv->out_per_group % table->depthwise_filters == 0 && conv->in_per_group <= 32 &&
           conv->stride[FC_WIDTH] == 1 && 5 * width >= 3 * fc_round_up(width, table->lanes) && !leaves_soon(conv);
}

typedef struct rows_job {
    const fc_conv_run *run;
    int64_t rows, row_blocks;                 /* of a task */
} rows_job;

static rows_job rows_of(const fc_conv_run *run, double seconds)
{
    enum { LEAST_ROWS = 8, UNIT = 4 };
    const fc_conv *conv = run->conv;
    const int64_t height = conv->out_size[FC_HEIGHT];
    const int64_t tasks = (int64_t)(seconds / (double)(conv->batch * conv->groups) / TASK_SECONDS) + 1;
    const int64_t rows = fc_round_up(fc_div_up(height, fc_min(fc_max(1, height / LEAST_ROWS), tasks)), UNIT);
    return (rows_job){ run, rows, fc_div_up(height, rows) };
}

/* Rows of one group of one image. */
static void run_rows(void *context, int64_t task, void *memory)
{
    const rows_job *job = context;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const int64_t row = task % job->row_blocks * job->rows, group = task / job->row_blocks % conv->groups;
    const fc_depthwise_view v = fc_depthwise_view_of(run, task / job->row_blocks / conv->groups,
                                                     group * conv->out_per_group);
    const fc_depthwise_part part = { { 0, row, 0 },
        { conv->out_size[0], fc_min(row + job->rows, conv->out_size[1]), conv->out_size[2] } };
    fc_depthwise_pixels(run, &v, conv->out_per_group, &part, memory);
}

static double cost_of_rows(const fc_conv *conv, const fc_machine *machine)
{
    const double rows = (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT] *
                                 conv->out_channels);
    const double vectors = rows * (double)fc_div_up(conv->out_size[FC_WIDTH], machine->lanes);
    /* Rows that a tile meets through no tap are left out. */
    const double met = 0.5 + 0.5 * fc_met_share(conv, FC_HEIGHT);
    const int64_t y_count = conv->batch * conv->out_pixels * conv->out_channels;
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    const bool past = conv->groups == 1 && fc_past_caches((fc_x_count(conv) + y_count) * size);
    const fc_count counts[] = {
        /* A single tap has nothing beside it that shares a load. */
        { vectors * (double)conv->depth * met, fc_multiply(machine, conv->kernel[FC_WIDTH] > 1 ? 1.1 : 2.6) },
        { vectors, 7 },                                                              /* tiles and stores */
        { past ? (double)(fc_x_count(conv) * size) / 64 : 0, 25 },                   /* rows of many planes at once */
        { fc_lines_seen_in_pieces(conv, 1), 10 },
        { fc_lines_through_memory(conv), 57 },
        { (double)(conv->batch * conv->groups), 2500 },                              /* calls */
        { 1, 4000 },
    };
    return FC_COST(counts, machine);
}

static double plain_cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    if (by_rows(conv, fc_table_for(conv->dtype)))
        return cost_of_rows(conv, machine);
    if (fc_grouped_channels_can(conv))
        return fc_grouped_channels_cost(conv, prepared);
    const grouped_split s = split_of(conv, fc_table_for(conv->dtype));
    const int64_t pixels = s.in_place ? s.cols : (s.rows - 1) * s.pitch + s.cols; /* of a product */
    const double products = (double)(s.tasks * s.groups * (s.in_place ? s.rows : 1));
    const double passes = (double)fc_div_up(conv->in_per_group, s.channels), nhwc = conv->channels_last;
    const double vectors = products * (double)(fc_div_up(pixels, machine->lanes) * conv->out_per_group);
    const double tiles = products * (double)(fc_div_up(conv->out_per_group, 9) * fc_div_up(pixels, 3 * machine->lanes));
    const double share = fc_band_share(&s.band);
    const double band = (double)(s.tasks * s.band.size) * passes * share / machine->lanes;
    const double pieces = (double)(s.tasks * s.band.rows * s.band.depth * s.band.phases) * passes * share;
    const int64_t y_count = conv->batch * conv->out_pixels * conv->out_channels;
    const bool y_far = fc_far(conv, y_count), held = fc_starts_one(machine) && !fc_streams_y(conv);
    /* Columns further apart than two are copied one by one, each channel by itself where channels lie apart. */
    const double singles = conv->stride[FC_WIDTH] > 2, of_channels = singles * (1 - nhwc) * (double)s.band.channels;
    const double x_bytes = (double)fc_x_count(conv) * (double)fc_size_of(conv->dtype);
    const double bytes = x_bytes + (double)y_count * (double)fc_size_of(conv->dtype);
    const bool past = fc_starts_one(machine) && fc_past_caches((int64_t)bytes);
    const bool crowds = conv->channels_last && fc_crowds_sets(conv) && x_bytes > (double)machine->l2;
    /* Each vector of a band is loaded across two lines: of few rows that takes longer than their products. */
    const double waiting = fmax(1, 2 / (double)conv->out_per_group + 1 / (double)s.panel_vectors);
    const fc_count counts[] = {
        { vectors * (double)conv->depth * waiting, fc_multiply(machine, 1.04) },
        { band, 14.9 + singles * (nhwc > 0 ? 25 : 5) },                                    /* copy bands */
        { pieces, 67.1 + of_channels * 25 },                                               /* calls of move */
        { tiles * passes, 175 },
        { vectors * passes, 4.08 },                                                        /* stores */
        { crowds ? x_bytes / 64 : 0, 50 },                                                 /* lines in few sets */
        { nhwc * band, 6.41 },                                                             /* transposes in */
        { conv->in_per_group == 1 ? nhwc * band * machine->lanes : 0, 0.253 },             /* values alone */
        { nhwc * vectors, !y_far ? 4.01 : held ? 10 : 45 },                                   /* transposes out */
        { (double)s.tasks * (double)(conv->taps + s.channels * conv->taps / 16), 41.4 },        /* offsets */
        { fc_lines_seen_in_pieces(conv, 1), 3.79 },
        { past ? bytes / 64 : 0, 12 },                                                     /* of many planes at once */
        { fc_lines_through_memory(conv), 57 },
        { (double)s.tasks, 347 },
        { 1, 5110 },
    };
    return FC_COST(counts, machine);
}

/* Whether blocks of channels are the fastest way: the same for every view of arrays of this layout. */
static bool by_blocks(const fc_conv *conv)
{
    const double least_flops = 2e5;           /* of less, a choice takes longer than it saves */
    const fc_machine *machine = fc_machine_for(conv->dtype);
    fc_conv declared = *conv;
    fc_conv_default_strides(&declared, conv->channels_last);
    /* In place padding is left out, which has no price. */
    const double margin = conv->channels_last && conv->out_per_group >= machine->lanes ? 0.93 : 1;
    /* Groups of one input are depthwise's, which has kernels of its own for them. */
    return conv->flops >= least_flops && conv->in_per_group > 1 &&
           fc_grouped_blocks_cost(&declared, machine, true) < margin * plain_cost(&declared, machine, true);
}

/* Whether several pixels share a vector: the same for every view of arrays of this layout. */
static bool by_pixels(const fc_conv *conv)
{
    return isfinite(fc_grouped_pixels_cost(conv, fc_machine_for(conv->dtype)));
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    if (by_pixels(conv))
        return fc_grouped_pixels_cost(conv, machine);
    return by_blocks(conv) ? fc_grouped_blocks_cost(conv, machine, prepared) : plain_cost(conv, machine, prepared);
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    if (by_pixels(run->conv))
        return fc_grouped_pixels_forward(run, error);
    if (by_blocks(run->conv))
        return fc_grouped_blocks_forward(run, error);
    const double seconds = plain_cost(run->conv, fc_machine_for(run->conv->dtype), run->prepared != NULL);
    if (by_rows(run->conv, run->table)) {
        rows_job rows = rows_of(run, seconds);
        const fc_status status = fc_parallel(run->conv->batch * run->conv->groups * rows.row_blocks, seconds,
                                             fc_depthwise_list_bytes(run->conv), run_rows, &rows, error);
        if (status == FC_OK)
            fc_nonfinite_padding(run, run->weight, run->conv->depth, 1);
        return status;
    }
    if (fc_grouped_channels_can(run->conv))
        return fc_grouped_channels_forward(run, seconds, error);
    grouped_job job = { run, split_of(run->conv, run->table) };
    return fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
}

static size_t scratch(const fc_conv *conv, const fc_table *table)
{
    if (by_pixels(conv))
        return fc_grouped_pixels_scratch(conv);
    if (by_blocks(conv))
        return fc_grouped_blocks_scratch(conv, table);
    if (fc_grouped_channels_can(conv))
        return fc_grouped_channels_scratch(conv);
    return by_rows(conv, table) ? fc_depthwise_list_bytes(conv) : split_of(conv, table).bytes;
}

static size_t prepared_size(const fc_conv *conv, const fc_table *table)
{
    if (by_pixels(conv))
        return 0;
    if (by_blocks(conv))
        return fc_grouped_blocks_prepared_size(conv, table);
    return fc_grouped_channels_can(conv) ? fc_grouped_channels_prepared_size(conv) : 0;
}

static void prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared)
{
    if (by_blocks(conv))
        fc_grouped_blocks_prepare(conv, table, weight, prepared);
    else
        fc_grouped_channels_prepare(conv, weight, prepared);
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    if (by_pixels(conv)) {
        snprintf(text, size, "several pixels to a vector, in order");
        return;
    }
    if (by_blocks(conv)) {
        fc_grouped_blocks_describe(conv, table, text, size);
        return;
    }
    if (by_rows(conv, table)) {
        snprintf(text, size, "rows in place, %d filters at a time; %lld images x %lld groups", table->depthwise_filters,
                 (long long)conv->batch, (long long)conv->groups);
        return;
    }
    if (fc_grouped_channels_can(conv)) {
        fc_grouped_channels_describe(conv, text, size);
        return;
    }
    const grouped_split s = split_of(conv, table);
    snprintf(text, size, "bands of %lld channels x %lld rows x %lld columns, %lld column phases; %lld tasks",
             (long long)s.channels, (long long)s.band.rows, (long long)s.band.cols, (long long)s.band.phases,
             (long long)s.tasks);
}

const fc_algorithm fc_algorithm_grouped = {
    .name = "grouped",
    .summary = "few channels a group, or in one: pixels as lanes on a padded band, weights in place",
    .supports = supports,
    .cost = cost,
    .scratch = scratch,
    .prepared_size = prepared_size,
    .prepare = prepare,
    .forward = forward,
    .describe = describe,
};
