/* Depthwise: every output channel sees one input channel.
 *
 * NCHW problems are computed with pixels of a row as lanes, NHWC ones with channels as lanes, from x
 * to y directly where those lanes are adjacent in both; otherwise blocks of x are first copied to
 * scratch, split by stride phase.  Padding is never materialised on the direct way.  Where blocks of
 * channels are predicted to be faster than all of these, depthwise_lanes.c computes them.  Listed in list.c. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "cost.h"
#include "depthwise.h"
#include "depthwise_lanes.h"
#include "depthwise_strided.h"
#include "nonfinite.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* [tap][channel], a tap's last vector filled up with zeros. */
static void pack_weights(const fc_conv *conv, const fc_table *table, int64_t channel, int64_t channels, int64_t w_tap,
                         const void *weight, void *packed)
{
    const size_t size = fc_size_of(conv->dtype);
    const fc_move move = { .rows = conv->taps, .cols = channels,
                           .src = fc_at(weight, channel * conv->taps, size), .src_row = 1,
                           .src_col = conv->taps, .dst = fc_at_mut(packed, channel, size), .dst_row = w_tap,
                           .dst_col = 1,
                           .zero_after = channel + channels == conv->out_channels ? w_tap - conv->out_channels : 0 };
    table->move(&move);
}

enum { PACKED_CHANNELS = 256 };               /* of a task */
typedef struct pack_job {
    const fc_conv_run *run;
    int64_t w_tap;
    void *packed;
} pack_job;

static void pack_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const pack_job *job = context;
    const fc_conv *conv = job->run->conv;
    const int64_t channel = task * PACKED_CHANNELS;
    pack_weights(conv, job->run->table, channel, fc_min(PACKED_CHANNELS, conv->out_channels - channel), job->w_tap,
                 job->run->weight, job->packed);
}

static void run_task(void *context, int64_t task, void *memory)
{
    const fc_depthwise_job *job = context;
    const fc_depthwise_split *s = &job->split;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t block = task % s->row_blocks, rest = task / s->row_blocks;
    const int64_t channel = rest % s->channel_blocks * s->channels, image = rest / s->channel_blocks;
    const int64_t channels = fc_min(s->channels, conv->out_channels - channel);
    const int64_t height = conv->out_size[FC_HEIGHT];
    const int64_t end = fc_min((block + 1) * s->rows, conv->out_size[FC_DEPTH] * height);
    void *x = (char *)memory + s->list_bytes, *y = (char *)x + s->x_bytes;
    fc_depthwise_view v = fc_depthwise_view_of(run, image, channel);
    if (s->direct) {                          /* of a lane without neighbours the stride says nothing */
        const int lane = s->by_channel ? FC_C : FC_W;
        v.x_stride[lane] = v.y_stride[lane] = 1;
    }
    if (s->by_channel) {
        v.w_tap = s->w_tap;
        v.w_channel = 1;
        v.slides = s->direct;
        v.weight = fc_at(run->prepared, channel, size);
    }
    for (int64_t at = block * s->rows; at < end;) {
        const int64_t depth = at / height, row0 = at % height, row1 = fc_min(height, row0 + end - at);
        at += row1 - row0;
        const fc_depthwise_part part = { { depth, row0, 0 }, { depth + 1, row1, conv->out_size[FC_WIDTH] } };
        if (!s->direct)
            fc_depthwise_copied(job, &v, channels, &part, memory, x, y);
        else if (s->by_channel)
            fc_depthwise_channels(run, &v, channels, &part, memory);
        else
            fc_depthwise_pixels(run, &v, channels, &part, memory);
    }
}

static const char *supports(const fc_conv *conv)
{
    if (conv->groups != conv->in_channels)
        return "depthwise needs groups == in_channels";
    return NULL;
}

/* Channels are lanes where they are adjacent; but the weights of a large kernel, one vector of them for each
 * element, would not stay in the L1 cache, and a copy to planes is cheap beside so many products. */
static bool by_channel(const fc_conv *conv)
{
    return conv->channels_last && conv->taps <= FC_DEPTHWISE_MANY_TAPS;
}

static bool is_direct(const fc_conv *conv)
{
    if (by_channel(conv))
        return fc_depthwise_repeat(conv) == 1 &&
               (conv->out_channels == 1 || (conv->x_stride[FC_C] == 1 && conv->y_stride[FC_C] == 1));
    const int64_t stride = conv->stride[FC_WIDTH];
    const bool x_beside = conv->in_size[FC_WIDTH] == 1 || conv->x_stride[FC_W] == 1;
    const bool y_beside = conv->out_size[FC_WIDTH] == 1 || conv->y_stride[FC_W] == 1;
    return x_beside && y_beside &&
           (stride == 1 || (stride == 2 && (conv->out_size[FC_HEIGHT] == 1 || conv->stride[FC_HEIGHT] % 2 == 0)));
}

static bool slides(const fc_conv *conv)
{
    return by_channel(conv) && is_direct(conv) &&
           fc_depthwise_slides(conv, fc_table_for(conv->dtype), conv->out_channels);
}

/* Of all ways but those of depthwise_lanes.c and depthwise_strided.c. */
static double plain_cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    const double rows = (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT]);
    const double width = (double)conv->out_size[FC_WIDTH], channels = (double)conv->out_channels;
    const double taps = (double)conv->taps, seen = taps / (double)conv->kernel[FC_HEIGHT] *
                        (double)fc_min(conv->kernel[FC_HEIGHT], conv->in_size[FC_HEIGHT]);
    const double blocks = (double)fc_div_up(conv->out_channels, machine->lanes);
    const double by_2 = conv->stride[FC_WIDTH] == 2, further = conv->stride[FC_WIDTH] > 2;
    double inputs = (double)(conv->batch * conv->in_channels);
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        inputs *= (double)conv->in_size[axis];
    const double moved = (inputs + rows * width * channels) * (double)fc_size_of(conv->dtype);
    const double lines = moved > (double)machine->l2 ? moved / 64 : 0; /* from beyond L2 */
    const double copied = is_direct(conv) ? 0 : (inputs + rows * width * channels) / machine->lanes;
    if (slides(conv)) {
        const double vectors = rows * width * blocks;
        const fc_count counts[] = {
            { vectors, 20 }, { fc_crowds_sets(conv) ? vectors : 0, 14 }, { lines, 4.1 },
            { prepared ? 0 : channels * taps, 1.8 },           /* pack weights */
            { 1, 4920 },
        };
        return FC_COST(counts, machine);
    }
    if (by_channel(conv)) {
        const double vectors = rows * width * blocks;
        const double masked = conv->out_channels < machine->lanes ? 1.5 : 1; /* loads of less than a vector */
        const bool once = conv->stride[FC_WIDTH] > 1 || moved > (double)machine->l3 / 2;
        const fc_count counts[] = {
            { vectors * seen * masked, 1.06 + 0.92 * by_2 + 3.1 * further + (is_direct(conv) ? 0 : 1.26) },
            { is_direct(conv) && fc_crowds_sets(conv) && !once ? vectors * seen : 0, 4 }, /* read from L2 each time */
            { vectors, 11 },                                   /* store */
            { rows * blocks, 53 },                             /* edges */
            { rows, 138 }, { rows * taps, 14.7 },
            { lines, 4.1 },
            { copied, 51 },
            { prepared ? 0 : channels * taps, 1.8 },           /* pack weights */
            { 1, 4920 },
        };
        return FC_COST(counts, machine);
    }
    const double planes = (double)conv->batch * channels;
    const double vectors = rows * channels * (double)fc_div_up(conv->out_size[FC_WIDTH], machine->lanes);
    /* The last vector of a row takes half the time where it is half a one, or less. */
    const int64_t last = conv->out_size[FC_WIDTH] % machine->lanes;
    const bool ends_in_half = machine->multiply > 1 && conv->stride[FC_WIDTH] == 1 && last > 0 &&
                              last <= machine->lanes / 2;
    const double products = (vectors - (ends_in_half ? 0.5 * rows * channels : 0)) * taps;
    /* Of each pair of vectors, where there are few beside each other; waiting for more products hides some. */
    const double edges = by_2 * (conv->in_size[FC_WIDTH] < 2 * machine->lanes ? fmax(44 - taps, 13.1) : 13.1);
    const bool alone = conv->taps == 1 && fc_starts_one(machine); /* measured: nothing hides what is waited for */
    const double dilated = conv->dilation[FC_HEIGHT] * conv->dilation[FC_WIDTH] > 1;
    const double multiply = taps > FC_DEPTHWISE_MANY_TAPS ? fc_multiply(machine, 0.72) : 0; /* little else */
    const fc_count counts[] = {
        { products, fmax(multiply, 1.09 + 1.09 * by_2 + 6.2 * further) },
        { vectors, 10.8 + edges },                               /* store */
        { planes, 19 }, { planes * taps, 0.39 + 2.2 * dilated },
        { lines, further ? 7.6 : alone && fc_streams_y(conv) ? 15 : 5 },
        { copied, conv->channels_last ? 72 : 8.7 },
        { conv->channels_last || is_direct(conv) ? 0 : planes, 570 },
        { 1, 4920 },
    };
    return FC_COST(counts, machine);
}

/* Whether planes with a stride are best read in place: the same for every view of arrays of this layout.  Views whose
 * pixels are not adjacent then go the plain way, which takes the weights as they are, too. */
static bool by_strides(const fc_conv *conv)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    fc_conv declared = *conv;
    fc_conv_default_strides(&declared, conv->channels_last);
    const double seconds = fc_depthwise_strided_margin(&declared) * fc_depthwise_strided_cost(&declared, machine);
    return seconds < plain_cost(&declared, machine, true) &&
           seconds < fc_depthwise_lanes_cost(&declared, machine, true);
}

/* Whether blocks of channels are the fastest way: the same for every view of arrays of this layout. */
static bool by_blocks(const fc_conv *conv)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    fc_conv declared = *conv;
    fc_conv_default_strides(&declared, conv->channels_last);
    if (by_strides(conv))
        return false;
    /* The price of the plain way is too low. */
    const double margin = conv->channels_last && conv->taps > 1 && !slides(&declared) ? 1.2 : 1;
    return fc_depthwise_lanes_cost(&declared, machine, true) < margin * plain_cost(&declared, machine, true);
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    if (by_strides(conv))
        return fmin(fc_depthwise_strided_cost(conv, machine), plain_cost(conv, machine, prepared));
    return by_blocks(conv) ? fc_depthwise_lanes_cost(conv, machine, prepared) : plain_cost(conv, machine, prepared);
}

/* About this long should a task take, in seconds. */
static const double task_seconds = 20e-6;

static void split_tasks(const fc_conv *conv, fc_depthwise_split *s)
{
    enum { ROWS = 4, CHANNELS = 256 };        /* at least, where sums slide over them */
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const int64_t rows = conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT], repeat = fc_depthwise_repeat(conv);
    const double seconds = cost(conv, machine, false) / (double)fc_max(1, conv->batch);
    const int64_t tasks = (int64_t)fc_min((int64_t)(seconds / task_seconds) + 1, 1 << 20);
    if (s->by_channel) {
        s->row_blocks = fc_min(rows, tasks);
        if (slides(conv))
            s->row_blocks = fc_max(1, fc_min(s->row_blocks, rows / ROWS));
        s->channel_blocks = conv->out_channels / (slides(conv) ? CHANNELS : 64);
        s->channel_blocks = fc_max(1, fc_min(tasks / s->row_blocks, s->channel_blocks));
        s->rows = fc_div_up(rows, s->row_blocks);
        /* Whole lines of channels, and all filters of an input channel. */
        s->channels = fc_round_up(fc_div_up(conv->out_channels, s->channel_blocks), 64 * repeat);
    } else {
        s->channel_blocks = fc_min(conv->in_channels, tasks);
        s->channels = fc_div_up(conv->in_channels, s->channel_blocks) * repeat;
        s->row_blocks = fc_max(1, fc_min(tasks / s->channel_blocks, rows / 16));
        s->rows = fc_round_up(fc_div_up(rows, s->row_blocks), 8);
    }
    s->channel_blocks = fc_div_up(conv->out_channels, s->channels);
    s->row_blocks = fc_div_up(rows, s->rows);
    s->tasks = conv->batch * s->channel_blocks * s->row_blocks;
}

/* Blocks whose copied inputs fill about a quarter of a small L2 cache, at least one row of outputs. */
static void split_copies(const fc_conv *conv, int64_t lanes, fc_depthwise_split *s)
{
    enum { ELEMENTS = 24 << 10, COLUMNS = 512, CHANNELS = 32 };
    const int64_t *stride = conv->stride, repeat = fc_depthwise_repeat(conv);
    /* Planes of adjacent channels are copied together, as many as a vector has lanes. */
    const int64_t planes = !s->by_channel && conv->channels_last && repeat == 1 ? fc_min(conv->in_channels, lanes) : 1;
    int64_t inputs = 1;                       /* elements copied for the first row, then for each */
    s->block_cols = fc_min(conv->out_size[FC_WIDTH], COLUMNS);
    s->block_channels = s->by_channel ? fc_min(fc_round_up(conv->out_channels, lanes), CHANNELS) : planes * repeat;
    if (s->by_channel) {
        s->copy_cols = s->block_channels + lanes;
        inputs = fc_min(conv->in_size[FC_WIDTH], (s->block_cols - 1) * stride[FC_WIDTH] + s->reach + 1) * s->copy_cols;
    } else {
        s->copy_cols = s->block_cols + s->reach / stride[FC_WIDTH] + lanes;
        inputs = fc_min(stride[FC_WIDTH], s->reach + 1) * s->copy_cols;
    }
    const int64_t deep = fc_min(conv->in_size[FC_DEPTH], (conv->kernel[FC_DEPTH] - 1) * conv->dilation[FC_DEPTH] + 1);
    const int64_t high = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] + 1;
    const int64_t elements = planes > 1 ? 4 * ELEMENTS / planes : ELEMENTS;
    const int64_t more = fc_max(0, elements / (inputs * deep) - high) / stride[FC_HEIGHT];
    s->block_rows = fc_min(s->rows, 1 + more);
    const int64_t copied_rows = fc_min(conv->in_size[FC_HEIGHT], (s->block_rows - 1) * stride[FC_HEIGHT] + high);
    const size_t size = fc_size_of(conv->dtype);
    s->x_bytes = (size_t)fc_round_up((planes * deep * copied_rows * inputs + lanes) * (int64_t)size, 64);
    s->y_bytes = (size_t)((s->by_channel ? 1 : s->block_rows) * s->block_cols * s->block_channels) * size;
}

static fc_depthwise_split split_of(const fc_conv *conv, const fc_table *table)
{
    fc_depthwise_split s = { .by_channel = by_channel(conv), .direct = is_direct(conv) };
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    split_tasks(conv, &s);
    s.list_bytes = fc_depthwise_list_bytes(conv);
    s.reach = (conv->kernel[FC_WIDTH] - 1) * conv->dilation[FC_WIDTH];
    /* Sixteen more, so that taps do not share a cache set. */
    s.w_tap = fc_round_up(conv->out_channels, table->lanes) + 16;
    if (s.by_channel)
        s.weight_bytes = (size_t)fc_round_up(conv->taps * s.w_tap * size, 64);
    if (!s.direct)
        split_copies(conv, table->lanes, &s);
    return s;
}

static size_t scratch_of(const fc_depthwise_split *s) { return s->list_bytes + s->x_bytes + s->y_bytes; }

static size_t scratch(const fc_conv *conv, const fc_table *table)
{
    if (by_blocks(conv))
        return fc_depthwise_lanes_scratch(conv, table);
    const fc_depthwise_split s = split_of(conv, table);
    return scratch_of(&s);
}

static size_t prepared_size(const fc_conv *conv, const fc_table *table)
{
    return by_blocks(conv) ? fc_depthwise_lanes_prepared_size(conv, table) : split_of(conv, table).weight_bytes;
}

static void prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared)
{
    if (by_blocks(conv)) {
        fc_depthwise_lanes_prepare(conv, table, weight, prepared);
        return;
    }
    pack_weights(conv, table, 0, conv->out_channels, split_of(conv, table).w_tap, weight, prepared);
}

/* Of a call: the weights that each thread packs for itself, after its scratch. */
static size_t own_at(const fc_depthwise_split *s) { return (scratch_of(s) + 63) / 64 * 64; }

static void pack_all(void *context, void *memory)
{
    const fc_depthwise_job *job = context;
    const fc_conv *conv = job->run->conv;
    pack_weights(conv, job->run->table, 0, conv->out_channels, job->split.w_tap, job->run->weight,
                 (char *)memory + own_at(&job->split));
}

static void run_own(void *context, int64_t task, void *memory)
{
    fc_depthwise_job mine = *(const fc_depthwise_job *)context;
    fc_conv_run run = *mine.run;
    run.prepared = (char *)memory + own_at(&mine.split);
    mine.run = &run;
    run_task(&mine, task, memory);
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    const fc_conv *conv = run->conv;
    if (by_blocks(conv))
        return fc_depthwise_lanes_forward(run, error);
    if (by_strides(conv) && isfinite(fc_depthwise_strided_cost(conv, fc_machine_for(conv->dtype))))
        return fc_depthwise_strided_forward(run, error);
    fc_conv_run prepared = *run;
    fc_depthwise_job job = { &prepared, split_of(conv, run->table) };
    const double seconds = cost(conv, fc_machine_for(conv->dtype), run->prepared != NULL);
    const bool packs = job.split.by_channel && !run->prepared, own = packs && fc_makes_own(job.split.weight_bytes);
    void *packed = NULL;
    fc_status status = FC_OK;
    if (own) {
        status = fc_parallel_each(job.split.tasks, seconds, own_at(&job.split) + job.split.weight_bytes, pack_all,
                                  run_own, &job, error);
        if (status == FC_OK)
            fc_nonfinite_padding(run, run->weight, conv->taps, 1);
        return status;
    }
    if (packs) {
        packed = fc_scratch_borrow(job.split.weight_bytes);
        if (!packed)
            return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of packed weights",
                           job.split.weight_bytes);
        pack_job pack = { run, job.split.w_tap, packed };
        status = fc_parallel(fc_div_up(conv->out_channels, PACKED_CHANNELS),
                             (double)(conv->out_channels * conv->taps) * 6e-10, 0, pack_task, &pack, error);
        prepared.prepared = packed;
    }
    if (status == FC_OK)
        status = fc_parallel(job.split.tasks, seconds, scratch_of(&job.split), run_task, &job, error);
    if (status == FC_OK && job.split.by_channel)
        fc_nonfinite_padding(&prepared, prepared.prepared, 1, job.split.w_tap);
    else if (status == FC_OK)
        fc_nonfinite_padding(&prepared, run->weight, conv->taps, 1);
    fc_scratch_give_back(packed);
    return status;
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    if (by_blocks(conv)) {
        fc_depthwise_lanes_describe(conv, table, text, size);
        return;
    }
    if (by_strides(conv)) {
        snprintf(text, size, "pixels as lanes, %s, in place; no scratch",
                 conv->stride[FC_WIDTH] > 1 ? "a stride apart" : "rows together");
        return;
    }
    const fc_depthwise_split s = split_of(conv, table);
    const char *way = slides(conv) ? "in place, sums sliding down" : s.direct ? "in place" : "through copied blocks";
    snprintf(text, size, "%s as lanes, %s; %lld images x %lld channel blocks x %lld row blocks",
             s.by_channel ? "channels" : "pixels", way,
             (long long)conv->batch, (long long)s.channel_blocks, (long long)s.row_blocks);
}

const fc_algorithm fc_algorithm_depthwise = {
    .name = "depthwise",
    .summary = "one input channel per output channel: register tiles of 8 rows or pixels by a vector",
    .supports = supports,
    .cost = cost,
    .scratch = scratch,
    .prepared_size = prepared_size,
    .prepare = prepare,
    .forward = forward,
    .describe = describe,
};
