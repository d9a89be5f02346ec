/* Depthwise: every output channel sees one input channel.
 *
 * NCHW problems are computed with pixels of a row as lanes, NHWC ones with channels as lanes, from x
 * to y directly where those lanes are adjacent in both; otherwise blocks of x are first copied to
 * scratch, split by stride phase.  Padding is never materialised on the direct way.  Listed in list.c. */
#include "../base/parallel.h"
#include "algorithm.h"
#include "geometry.h"
#include <stdio.h>
#include <string.h>

/* A part of x and of y as the kernel is to see them: the arrays themselves, or copies. */
typedef struct depthwise_view {
    const void *x;                            /* at input x_at of the first channel */
    void *y;                                  /* at output y_at of the first channel */
    int64_t x_stride[FC_AXES], y_stride[FC_AXES];
    int64_t x_at[FC_SPATIAL], x_size[FC_SPATIAL];  /* first input held, how many */
    int64_t y_at[FC_SPATIAL];
    int64_t phase;                            /* not 0: columns are split by stride phase, so far apart,
                                                 from the first padded column on, and none is outside */
    const void *weight, *bias;                /* of the first channel */
    int64_t w_tap, w_channel;
} depthwise_view;

typedef struct depthwise_split {
    bool by_channel, direct;                  /* lanes are channels; no copies */
    int64_t channels, channel_blocks;         /* output channels of a task, a multiple of repeat */
    int64_t rows, row_blocks;                 /* output rows of a task, depths counted as rows */
    int64_t tasks;
    int64_t runs, w_tap;                      /* longest list of runs; weights packed by tap */
    int64_t reach;                            /* columns before the last that an output sees */
    int64_t block_rows, block_cols, block_channels; /* outputs of one copied block */
    int64_t copy_cols;                        /* columns of one phase of its inputs, or channels of a pixel */
    size_t run_bytes, weight_bytes, x_bytes, y_bytes;
} depthwise_split;

typedef struct depthwise_job {
    const fc_conv_run *run;
    depthwise_split split;
} depthwise_job;

/* Runs of 4, 3 and 1 that make up `length` kernel elements: of 1 only for 1, 2 and 5. */
static void runs_of(int64_t length, int64_t runs[FC_DEPTHWISE_LENGTHS])
{
#if FC_LENGTH_0==4
    runs[2] = length < 3 ? length : length == 5;
    length -= runs[2];
    runs[1] = (4 - length % 4) % 4;
    runs[0] = (length - 3 * runs[1]) / 4;
#else
    runs[2] = length == 1; length -= runs[2];
    runs[1] = (3 - length % 3) % 3;
    runs[0] = (length - 2 * runs[1]) / 3;
#endif
}

static int64_t repeat_of(const fc_conv *conv) { return conv->out_per_group; }

/* The list of runs for the outputs of `v` at `out`: of all kernel elements but those that see only
 * padding along an axis that is neither place nor lane.  place < 0: no axis is places. */
static void fill_runs(fc_depthwise *d, const fc_conv *conv, const depthwise_view *v, int place, bool single,
                      const int64_t out[FC_SPATIAL], fc_depthwise_run *list)
{
    static const int64_t of[FC_DEPTHWISE_LENGTHS] = { FC_LENGTH_0, FC_LENGTH_1, 1 };
    int64_t length_runs[FC_DEPTHWISE_LENGTHS] = { 0, 0, 1 }, base[FC_SPATIAL] = { 0 }, start = 0;
    const bool by_channel = d->lane_weights;
    if (place >= 0 && !single)
        runs_of(conv->kernel[place], length_runs);
    else if (place >= 0)
        length_runs[FC_DEPTHWISE_LENGTHS - 1] = conv->kernel[place];
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (axis != place && (by_channel || axis != FC_WIDTH))
            base[axis] = out[axis] * conv->stride[axis] - conv->pad_before[axis] - v->x_at[axis];
    d->run = list;
    for (int l = 0; l < FC_DEPTHWISE_LENGTHS; l++) {
        const fc_depthwise_run *first = list;
        int64_t count[FC_SPATIAL], k[FC_SPATIAL], at[FC_SPATIAL];
        for (int axis = 0; axis < FC_SPATIAL; axis++)
            count[axis] = axis == place ? length_runs[l] : length_runs[l] ? conv->kernel[axis] : 0;
        for (int64_t i = 0, all = count[0] * count[1] * count[2]; i < all; i++) {
            const int64_t index[FC_SPATIAL] = { i / (count[1] * count[2]), i / count[2] % count[1], i % count[2] };
            bool inside = true;
            for (int axis = 0; axis < FC_SPATIAL; axis++) {
                k[axis] = axis == place ? start + index[axis] * of[l] : index[axis];
                at[axis] = base[axis] + k[axis] * conv->dilation[axis];
                if (axis != place && (by_channel || axis != FC_WIDTH))
                    inside = inside && at[axis] >= 0 && at[axis] < v->x_size[axis];
            }
            if (!inside)
                continue;
            const int64_t col = v->phase ? at[FC_WIDTH] % conv->stride[FC_WIDTH] * v->phase + at[FC_WIDTH] / conv->stride[FC_WIDTH]
                                         : at[FC_WIDTH] * v->x_stride[FC_W];
            *list++ = (fc_depthwise_run){
                .x = at[FC_DEPTH] * v->x_stride[FC_D] + at[FC_HEIGHT] * v->x_stride[FC_H] + col,
                .w = ((k[0] * conv->kernel[1] + k[1]) * conv->kernel[2] + k[2]) * v->w_tap,
                .place = place < 0 ? 0 : k[place] * conv->dilation[place],
                .lane = by_channel || v->phase ? 0 : at[FC_WIDTH],
            };
        }
        start += length_runs[l] * of[l];
        d->runs[l] = list - first;
    }
    d->work = list;
}

/* One spatial axis as the kernel takes it: outputs `first` .. `first + count` of the convolution. */
static fc_depthwise_axis axis_of(const fc_conv *conv, const depthwise_view *v, int axis, int64_t first, int64_t count)
{
    return (fc_depthwise_axis){
        .first = first - v->y_at[axis], .count = count, .in = v->x_size[axis], .stride = conv->stride[axis],
        .pad = conv->pad_before[axis] + v->x_at[axis] - v->y_at[axis] * conv->stride[axis],
        .reach = (conv->kernel[axis] - 1) * conv->dilation[axis],
        .x = v->x_stride[FC_D + axis], .y = v->y_stride[FC_D + axis],
    };
}

/* How the places of a tile follow each other; true where runs must be single kernel elements. */
static bool choose_unit(fc_depthwise *d, const fc_conv *conv, int axis)
{
    const int64_t stride = d->place.stride, dilation = conv->dilation[axis];
    const bool pairs = !d->lane_weights && d->lane.stride == 2;
    const bool one = conv->kernel[axis] == 1;
    d->skip = 1;
    if (pairs) {
        d->unit = stride / 2;
        return one || stride != 2 || dilation != 1;
    }
    d->unit = stride;
    if (one)
        return true;
    if (stride == 1 && dilation > 1 && d->place.count >= 4 * dilation) {
        d->unit = d->skip = dilation;
        return false;
    }
    if (stride == 2 && dilation == 1 && d->lane_weights) {
        d->unit = 1;
        return false;
    }
    return stride != 1 || dilation != 1;
}

static fc_depthwise start_of(const fc_conv *conv, const depthwise_view *v)
{
    return (fc_depthwise){ .x = v->x, .y = v->y, .weight = v->weight, .bias = v->bias, .activation = conv->activation,
                           .repeat = 1, .blocks = 1 };
}

/* Rows row0 .. row1 of `channels` output planes, columns col0 .. col1, at one output depth. */
static void compute_pixels(const fc_conv_run *run, const depthwise_view *v, int64_t channels, int64_t depth, int64_t row0,
                           int64_t row1, int64_t col0, int64_t col1, fc_depthwise_run *list)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t out[FC_SPATIAL] = { depth, row0, col0 };
    fc_depthwise d = start_of(conv, v);
    d.place = axis_of(conv, v, FC_HEIGHT, row0, row1 - row0);
    d.lane = axis_of(conv, v, FC_WIDTH, col0, col1 - col0);
    if (v->phase) {                           /* copied with its padding, from column col0 on */
        d.lane.in = INT64_MAX / 4;
        d.lane.stride = d.lane.x = 1;
        d.lane.reach = 0;
        d.lane.pad = d.lane.first;
    }
    if (conv->out_size[FC_HEIGHT] == 1)
        d.place.stride = d.lane.stride;       /* of one row, any stride will do */
    d.w_step = conv->kernel[FC_WIDTH];
    d.repeat = repeat_of(conv);
    d.x_block = v->x_stride[FC_C];
    d.y_block = v->y_stride[FC_C];
    d.w_block = conv->taps;
    d.bias_block = 1;
    fill_runs(&d, conv, v, FC_HEIGHT, choose_unit(&d, conv, FC_HEIGHT), out, list);
    d.y = fc_at_mut(v->y, (depth - v->y_at[FC_DEPTH]) * v->y_stride[FC_D], size);
    /* Several planes a time where they are small: their tiles share what the edges cost. */
    const int64_t plane = (row1 - row0) * (col1 - col0) + v->x_size[FC_HEIGHT] * v->x_size[FC_WIDTH];
    const int64_t group = fc_max(1, 8192 / plane) * d.repeat;
    for (int64_t c = 0; c < channels; c += group) {
        d.blocks = fc_min(group, channels - c);
        run->table->depthwise(&d);
        d.x = fc_at(d.x, group / d.repeat * d.x_block, size);
        d.y = fc_at_mut(d.y, group * d.y_block, size);
        d.weight = fc_at(d.weight, group * d.w_block, size);
        if (d.bias)
            d.bias = fc_at(d.bias, group, size);
    }
}

/* Columns col0 .. col1 of one output row, `channels` of them. */
static void compute_channels(const fc_conv_run *run, const depthwise_view *v, int64_t channels, int64_t depth, int64_t row,
                             int64_t col0, int64_t col1, fc_depthwise_run *list)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t out[FC_SPATIAL] = { depth, row, col0 }, lanes = run->table->lanes;
    fc_depthwise d = start_of(conv, v);
    d.lane_weights = 1;
    d.place = axis_of(conv, v, FC_WIDTH, col0, col1 - col0);
    d.w_step = v->w_tap;
    d.x_block = d.y_block = d.w_block = d.bias_block = lanes;
    d.lane = (fc_depthwise_axis){ .count = fc_min(lanes, channels), .in = fc_min(lanes, channels), .stride = 1, .x = 1, .y = 1 };
    fill_runs(&d, conv, v, FC_WIDTH, choose_unit(&d, conv, FC_WIDTH), out, list);
    d.y = fc_at_mut(v->y, (depth - v->y_at[FC_DEPTH]) * v->y_stride[FC_D] + (row - v->y_at[FC_HEIGHT]) * v->y_stride[FC_H], size);
    d.blocks = fc_max(1, channels / lanes);
    run->table->depthwise(&d);
    if (channels > lanes && channels % lanes != 0) {
        const int64_t rest = channels - lanes; /* the last vector overlaps the one before */
        d.x = fc_at(d.x, rest, size);
        d.y = fc_at_mut(d.y, rest, size);
        d.weight = fc_at(d.weight, rest, size);
        if (d.bias)
            d.bias = fc_at(d.bias, rest, size);
        d.blocks = 1;
        run->table->depthwise(&d);
    }
}

/* One long row: its middle, where nothing sees padding, as several segments beside each other, so
 * that a tile has more than one place; its ends as they are.  1-D problems are this. */
static void compute_long_row(const fc_conv_run *run, const depthwise_view *v, int64_t channels, int64_t depth, int64_t row,
                             int64_t col0, int64_t col1, fc_depthwise_run *list)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t out[FC_SPATIAL] = { depth, row, col0 };
    fc_depthwise d = start_of(conv, v);
    d.lane = axis_of(conv, v, FC_WIDTH, col0, col1 - col0);
    /* A pair of vectors read for stride 2 ends one value after the last that is used. */
    const int64_t room = d.lane.in - 1 - d.lane.reach + d.lane.pad - (d.lane.stride == 2);
    int64_t first = d.lane.first, end = d.lane.first + d.lane.count;
    if (v->phase == 0) {
        first = d.lane.pad > 0 ? fc_max(first, fc_div_up(d.lane.pad, d.lane.stride)) : first;
        end = room < 0 ? first : fc_min(end, room / d.lane.stride + 1);
    }
    const int64_t segment = end > first ? (end - first) / FC_DEPTHWISE_PLACES : 0;
    if (v->phase != 0 || segment < run->table->lanes) {
        compute_pixels(run, v, channels, depth, row, row + 1, col0, col1, list);
        return;
    }
    d.lane.first = first;
    d.lane.count = segment;
    d.place = (fc_depthwise_axis){ .count = FC_DEPTHWISE_PLACES, .in = INT64_MAX / 4, .stride = d.lane.stride,
                                   .x = segment * d.lane.x, .y = segment * d.lane.y };
    d.unit = d.skip = 1;
    d.repeat = repeat_of(conv);
    d.x_block = v->x_stride[FC_C];
    d.y_block = v->y_stride[FC_C];
    d.w_block = conv->taps;
    d.bias_block = 1;
    d.blocks = channels;
    d.y = fc_at_mut(v->y, (depth - v->y_at[FC_DEPTH]) * v->y_stride[FC_D] + (row - v->y_at[FC_HEIGHT]) * v->y_stride[FC_H], size);
    fill_runs(&d, conv, v, -1, true, out, list);
    run->table->depthwise(&d);
    first += v->y_at[FC_WIDTH];
    if (first > col0)
        compute_pixels(run, v, channels, depth, row, row + 1, col0, first, list);
    first += FC_DEPTHWISE_PLACES * segment;
    if (first < col1)
        compute_pixels(run, v, channels, depth, row, row + 1, first, col1, list);
}

/* What outputs first .. first + count see of an axis of x. */
static void inputs_of(const fc_conv *conv, int axis, int64_t first, int64_t count, depthwise_view *v)
{
    const int64_t start = first * conv->stride[axis] - conv->pad_before[axis];
    const int64_t end = start + (count - 1) * conv->stride[axis] + (conv->kernel[axis] - 1) * conv->dilation[axis] + 1;
    v->x_at[axis] = fc_min(fc_max(start, 0), conv->in_size[axis]);
    v->x_size[axis] = fc_max(0, fc_min(end, conv->in_size[axis]) - v->x_at[axis]);
}

/* One input plane's part for a block of outputs, zero-padded along columns and split by their stride
 * phase; to the outputs of all its channels. */
static void copied_pixels(const depthwise_job *job, const depthwise_view *whole, const int64_t at[FC_SPATIAL], int64_t rows,
                          int64_t cols, fc_depthwise_run *list, void *x, void *y)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const depthwise_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t stride = conv->stride[FC_WIDTH], repeat = repeat_of(conv);
    depthwise_view v = *whole;
    inputs_of(conv, FC_DEPTH, at[FC_DEPTH], 1, &v);
    inputs_of(conv, FC_HEIGHT, at[FC_HEIGHT], rows, &v);
    v.x = x;
    v.phase = s->copy_cols;
    v.x_stride[FC_H] = fc_min(stride, s->reach + 1) * v.phase;
    v.x_stride[FC_D] = v.x_size[FC_HEIGHT] * v.x_stride[FC_H];
    for (int64_t phase = 0; phase < stride && phase <= s->reach; phase++) {
        const fc_span span = fc_span_of(0, v.phase, stride, at[FC_WIDTH] * stride - conv->pad_before[FC_WIDTH] + phase,
                                        conv->in_size[FC_WIDTH]);
        fc_move move = { .rows = v.x_size[FC_HEIGHT], .cols = span.inside, .src_row = whole->x_stride[FC_H],
                         .src_col = whole->x_stride[FC_W] * stride, .dst_row = v.x_stride[FC_H], .dst_col = 1,
                         .zero_before = span.before, .zero_after = v.phase - span.before - span.inside };
        const int64_t column = span.inside ? span.column : 0;
        for (int64_t depth = 0; depth < v.x_size[FC_DEPTH]; depth++) {
            move.src = fc_at(whole->x, (v.x_at[FC_DEPTH] + depth) * whole->x_stride[FC_D] +
                             v.x_at[FC_HEIGHT] * whole->x_stride[FC_H] + column * whole->x_stride[FC_W], size);
            move.dst = fc_at_mut(x, depth * v.x_stride[FC_D] + phase * v.phase, size);
            run->table->move(&move);
        }
    }
    if (whole->y_stride[FC_W] == 1) {
        compute_pixels(run, &v, repeat, at[FC_DEPTH], at[FC_HEIGHT], at[FC_HEIGHT] + rows, at[FC_WIDTH], at[FC_WIDTH] + cols, list);
        return;
    }
    v.y = y;
    memcpy(v.y_at, at, sizeof v.y_at);
    v.y_stride[FC_W] = 1;
    v.y_stride[FC_H] = cols;
    v.y_stride[FC_C] = v.y_stride[FC_D] = rows * cols;
    compute_pixels(run, &v, repeat, at[FC_DEPTH], at[FC_HEIGHT], at[FC_HEIGHT] + rows, at[FC_WIDTH], at[FC_WIDTH] + cols, list);
    for (int64_t m = 0; m < repeat; m++) {
        const int64_t to = m * whole->y_stride[FC_C] + at[FC_DEPTH] * whole->y_stride[FC_D] +
                           at[FC_HEIGHT] * whole->y_stride[FC_H] + at[FC_WIDTH] * whole->y_stride[FC_W];
        const fc_move move = { .rows = rows, .cols = cols, .src = fc_at(y, m * rows * cols, size), .src_row = cols, .src_col = 1,
                               .dst = fc_at_mut(whole->y, to, size), .dst_row = whole->y_stride[FC_H],
                               .dst_col = whole->y_stride[FC_W] };
        run->table->move(&move);
    }
}

/* A block of x with channels beside each other, each as often as it has outputs; to those outputs. */
static void copied_channels(const depthwise_job *job, const depthwise_view *whole, int64_t channel, int64_t channels,
                            const int64_t at[FC_SPATIAL], int64_t rows, int64_t cols, fc_depthwise_run *list, void *x, void *y)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const depthwise_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t repeat = repeat_of(conv);
    depthwise_view v = *whole;
    inputs_of(conv, FC_DEPTH, at[FC_DEPTH], 1, &v);
    inputs_of(conv, FC_HEIGHT, at[FC_HEIGHT], rows, &v);
    inputs_of(conv, FC_WIDTH, at[FC_WIDTH], cols, &v);
    v.x = x;
    v.x_stride[FC_C] = 1;
    v.x_stride[FC_W] = s->copy_cols;
    v.x_stride[FC_H] = v.x_size[FC_WIDTH] * v.x_stride[FC_W];
    v.x_stride[FC_D] = v.x_size[FC_HEIGHT] * v.x_stride[FC_H];
    v.weight = fc_at(whole->weight, channel, size);
    v.bias = whole->bias ? fc_at(whole->bias, channel, size) : NULL;
    for (int64_t i = 0; i < v.x_size[FC_DEPTH] * v.x_size[FC_HEIGHT]; i++) {
        const int64_t from = channel / repeat * whole->x_stride[FC_C] +
                             (v.x_at[FC_DEPTH] + i / v.x_size[FC_HEIGHT]) * whole->x_stride[FC_D] +
                             (v.x_at[FC_HEIGHT] + i % v.x_size[FC_HEIGHT]) * whole->x_stride[FC_H] +
                             v.x_at[FC_WIDTH] * whole->x_stride[FC_W];
        const fc_depthwise_spread spread = {
            .pixels = v.x_size[FC_WIDTH], .channels = channels, .repeat = repeat, .repeated = channel % repeat,
            .src = fc_at(whole->x, from, size), .src_pixel = whole->x_stride[FC_W], .src_channel = whole->x_stride[FC_C],
            .dst = fc_at_mut(x, i * v.x_stride[FC_H], size), .dst_pixel = v.x_stride[FC_W],
        };
        run->table->depthwise_spread(&spread);
    }
    const bool in_place = whole->y_stride[FC_C] == 1;
    for (int64_t row = at[FC_HEIGHT]; row < at[FC_HEIGHT] + rows; row++) {
        const int64_t to = channel * whole->y_stride[FC_C] + at[FC_DEPTH] * whole->y_stride[FC_D] +
                           row * whole->y_stride[FC_H] + at[FC_WIDTH] * whole->y_stride[FC_W];
        v.y_at[FC_DEPTH] = at[FC_DEPTH];
        v.y_at[FC_HEIGHT] = row;
        v.y_at[FC_WIDTH] = at[FC_WIDTH];
        v.y = in_place ? fc_at_mut(whole->y, to, size) : y;
        v.y_stride[FC_W] = in_place ? whole->y_stride[FC_W] : s->block_channels;
        compute_channels(run, &v, channels, at[FC_DEPTH], row, at[FC_WIDTH], at[FC_WIDTH] + cols, list);
        if (in_place)
            continue;
        const fc_move move = { .rows = cols, .cols = channels, .src = y, .src_row = s->block_channels, .src_col = 1,
                               .dst = fc_at_mut(whole->y, to, size), .dst_row = whole->y_stride[FC_W],
                               .dst_col = whole->y_stride[FC_C] };
        run->table->move(&move);
    }
}

/* Output rows row0 .. row1 at one depth, by way of copied blocks. */
static void copied(const depthwise_job *job, const depthwise_view *v, int64_t channels, int64_t depth, int64_t row0,
                   int64_t row1, fc_depthwise_run *list, void *x, void *y)
{
    const fc_conv *conv = job->run->conv;
    const depthwise_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t width = conv->out_size[FC_WIDTH], repeat = repeat_of(conv);
    for (int64_t row = row0; row < row1; row += s->block_rows)
        for (int64_t col = 0; col < width; col += s->block_cols) {
            const int64_t at[FC_SPATIAL] = { depth, row, col };
            const int64_t rows = fc_min(s->block_rows, row1 - row), cols = fc_min(s->block_cols, width - col);
            depthwise_view part = *v;
            for (int64_t c = 0; c < channels; c += s->by_channel ? s->block_channels : repeat) {
                if (s->by_channel) {
                    copied_channels(job, v, c, fc_min(s->block_channels, channels - c), at, rows, cols, list, x, y);
                    continue;
                }
                part.x = fc_at(v->x, c / repeat * v->x_stride[FC_C], size);
                part.y = fc_at_mut(v->y, c * v->y_stride[FC_C], size);
                part.weight = fc_at(v->weight, c * v->w_channel, size);
                part.bias = v->bias ? fc_at(v->bias, c, size) : NULL;
                copied_pixels(job, &part, at, rows, cols, list, x, y);
            }
        }
}

static void pack_weights(const fc_conv *conv, const fc_table *table, int64_t channel, int64_t channels, int64_t w_tap,
                         const void *weight, void *packed)
{
    const fc_move move = { .rows = conv->taps, .cols = channels,
                           .src = fc_at(weight, channel * conv->taps, fc_size_of(conv->dtype)), .src_row = 1,
                           .src_col = conv->taps, .dst = packed, .dst_row = w_tap, .dst_col = 1,
                           .zero_after = w_tap - channels };
    table->move(&move);
}

static void run_task(void *context, int64_t task, void *memory)
{
    const depthwise_job *job = context;
    const depthwise_split *s = &job->split;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t block = task % s->row_blocks, rest = task / s->row_blocks;
    const int64_t channel = rest % s->channel_blocks * s->channels, image = rest / s->channel_blocks;
    const int64_t channels = fc_min(s->channels, conv->out_channels - channel);
    const int64_t height = conv->out_size[FC_HEIGHT], end = fc_min((block + 1) * s->rows, conv->out_size[FC_DEPTH] * height);
    fc_depthwise_run *list = memory;
    void *packed = (char *)memory + s->run_bytes, *x = (char *)packed + s->weight_bytes, *y = (char *)x + s->x_bytes;
    depthwise_view v = {
        .x = fc_at(run->x, image * conv->x_stride[FC_N] + channel / repeat_of(conv) * conv->x_stride[FC_C], size),
        .y = fc_at_mut(run->y, image * conv->y_stride[FC_N] + channel * conv->y_stride[FC_C], size),
        .bias = run->bias ? fc_at(run->bias, channel, size) : NULL,
        .w_tap = s->by_channel ? s->w_tap : 1, .w_channel = s->by_channel ? 1 : conv->taps,
    };
    memcpy(v.x_stride, conv->x_stride, sizeof v.x_stride);
    memcpy(v.y_stride, conv->y_stride, sizeof v.y_stride);
    memcpy(v.x_size, conv->in_size, sizeof v.x_size);
    if (s->direct) {                          /* of a lane without neighbours the stride says nothing */
        const int lane = s->by_channel ? FC_C : FC_W;
        v.x_stride[lane] = v.y_stride[lane] = 1;
    }
    if (s->by_channel && !run->prepared)
        pack_weights(conv, run->table, channel, channels, s->w_tap, run->weight, packed);
    v.weight = s->by_channel && !run->prepared ? packed
                                               : fc_at(s->by_channel ? run->prepared : run->weight, channel * v.w_channel, size);
    for (int64_t at = block * s->rows; at < end;) {
        const int64_t depth = at / height, row0 = at % height, row1 = fc_min(height, row0 + end - at);
        at += row1 - row0;
        if (!s->direct)
            copied(job, &v, channels, depth, row0, row1, list, x, y);
        else if (!s->by_channel && row1 - row0 == 1)
            compute_long_row(run, &v, channels, depth, row0, 0, conv->out_size[FC_WIDTH], list);
        else if (!s->by_channel)
            compute_pixels(run, &v, channels, depth, row0, row1, 0, conv->out_size[FC_WIDTH], list);
        else
            for (int64_t row = row0; row < row1; row++)
                compute_channels(run, &v, channels, depth, row, 0, conv->out_size[FC_WIDTH], list);
    }
}

static const char *supports(const fc_conv *conv)
{
    if (conv->groups != conv->in_channels)
        return "depthwise needs groups == in_channels";
    return NULL;
}

static bool is_direct(const fc_conv *conv)
{
    if (conv->channels_last)
        return repeat_of(conv) == 1 &&
               (conv->out_channels == 1 || (conv->x_stride[FC_C] == 1 && conv->y_stride[FC_C] == 1));
    const int64_t stride = conv->stride[FC_WIDTH];
    const bool x_beside = conv->in_size[FC_WIDTH] == 1 || conv->x_stride[FC_W] == 1;
    const bool y_beside = conv->out_size[FC_WIDTH] == 1 || conv->y_stride[FC_W] == 1;
    return x_beside && y_beside &&
           (stride == 1 || (stride == 2 && (conv->out_size[FC_HEIGHT] == 1 || conv->stride[FC_HEIGHT] % 2 == 0)));
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    (void)prepared;
    return conv->flops / (0.5 * machine->flops);
}

/* About this long should a task take, in seconds. */
static const double task_seconds = 40e-6;

static void split_tasks(const fc_conv *conv, depthwise_split *s)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const int64_t rows = conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT], repeat = repeat_of(conv);
    const double seconds = cost(conv, machine, false) / (double)fc_max(1, conv->batch);
    const int64_t tasks = (int64_t)fc_min((int64_t)(seconds / task_seconds) + 1, 1 << 20);
    if (s->by_channel) {
        s->row_blocks = fc_min(rows, tasks);
        s->rows = fc_div_up(rows, s->row_blocks);
        s->channel_blocks = fc_max(1, fc_min(tasks / s->row_blocks, conv->out_channels / 64));
        s->channels = fc_round_up(fc_div_up(conv->out_channels, s->channel_blocks), 64);
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
static void split_copies(const fc_conv *conv, int64_t lanes, depthwise_split *s)
{
    enum { ELEMENTS = 24 << 10, COLUMNS = 512, CHANNELS = 32 };
    const int64_t *stride = conv->stride;
    int64_t inputs = 1;                       /* elements copied for the first row, then for each */
    s->block_cols = fc_min(conv->out_size[FC_WIDTH], COLUMNS);
    s->block_channels = s->by_channel ? fc_min(fc_round_up(conv->out_channels, lanes), CHANNELS) : 1;
    if (s->by_channel) {
        s->copy_cols = s->block_channels + lanes;
        inputs = fc_min(conv->in_size[FC_WIDTH], (s->block_cols - 1) * stride[FC_WIDTH] + s->reach + 1) * s->copy_cols;
    } else {
        s->copy_cols = s->block_cols + s->reach / stride[FC_WIDTH] + lanes;
        inputs = fc_min(stride[FC_WIDTH], s->reach + 1) * s->copy_cols;
    }
    const int64_t deep = fc_min(conv->in_size[FC_DEPTH], (conv->kernel[FC_DEPTH] - 1) * conv->dilation[FC_DEPTH] + 1);
    const int64_t high = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] + 1;
    const int64_t more = fc_max(0, ELEMENTS / (inputs * deep) - high) / stride[FC_HEIGHT];
    s->block_rows = fc_min(s->rows, 1 + more);
    const int64_t copied_rows = fc_min(conv->in_size[FC_HEIGHT], (s->block_rows - 1) * stride[FC_HEIGHT] + high);
    const size_t size = fc_size_of(conv->dtype);
    s->x_bytes = (size_t)fc_round_up((deep * copied_rows * inputs + lanes) * (int64_t)size, 64);
    s->y_bytes = (size_t)((s->by_channel ? 1 : s->block_rows * repeat_of(conv)) * s->block_cols * s->block_channels) * size;
}

static depthwise_split split_of(const fc_conv *conv, const fc_table *table)
{
    depthwise_split s = { .by_channel = conv->channels_last, .direct = is_direct(conv) };
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    split_tasks(conv, &s);
    s.runs = conv->taps;
    s.run_bytes = (size_t)fc_round_up(2 * s.runs * (int64_t)sizeof(fc_depthwise_run), 64);
    s.reach = (conv->kernel[FC_WIDTH] - 1) * conv->dilation[FC_WIDTH];
    /* Sixteen more, so that taps do not share a cache set. */
    s.w_tap = fc_round_up(conv->out_channels, table->lanes) + 16;
    if (s.by_channel)
        s.weight_bytes = (size_t)fc_round_up(conv->taps * s.w_tap * size, 64);
    if (!s.direct)
        split_copies(conv, table->lanes, &s);
    return s;
}

static size_t scratch_of(const depthwise_split *s) { return s->run_bytes + s->weight_bytes + s->x_bytes + s->y_bytes; }

static size_t scratch(const fc_conv *conv, const fc_table *table)
{
    const depthwise_split s = split_of(conv, table);
    return scratch_of(&s);
}

static size_t prepared_size(const fc_conv *conv, const fc_table *table)
{
    return split_of(conv, table).weight_bytes;
}

static void prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared)
{
    pack_weights(conv, table, 0, conv->out_channels, split_of(conv, table).w_tap, weight, prepared);
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    depthwise_job job = { run, split_of(run->conv, run->table) };
    const double seconds = cost(run->conv, fc_machine_for(run->conv->dtype), run->prepared != NULL);
    return fc_parallel(job.split.tasks, seconds, scratch_of(&job.split), run_task, &job, error);
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    const depthwise_split s = split_of(conv, table);
    snprintf(text, size, "%s as lanes, %s; %lld images x %lld channel blocks x %lld row blocks",
             s.by_channel ? "channels" : "pixels", s.direct ? "in place" : "through copied blocks", (long long)conv->batch,
             (long long)s.channel_blocks, (long long)s.row_blocks);
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
