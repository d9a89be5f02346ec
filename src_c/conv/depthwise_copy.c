/* Depthwise by way of copied blocks: where the lanes are not adjacent in memory, or lie more than two
 * apart.  Columns are split by stride phase, channels put beside each other.  Called by depthwise.c. */
#include "depthwise.h"
#include <string.h>

/* What outputs first .. first + count see of an axis of x. */
static void inputs_of(const fc_conv *conv, int axis, int64_t first, int64_t count, fc_depthwise_view *v)
{
    const int64_t start = first * conv->stride[axis] - conv->pad_before[axis];
    const int64_t end = start + (count - 1) * conv->stride[axis] + (conv->kernel[axis] - 1) * conv->dilation[axis] + 1;
    v->x_at[axis] = fc_min(fc_max(start, 0), conv->in_size[axis]);
    v->x_size[axis] = fc_max(0, fc_min(end, conv->in_size[axis]) - v->x_at[axis]);
}

/* The part of x for a block of outputs, zero-padded along columns and split by their stride phase. */
static void copy_planes(const fc_depthwise_job *job, const fc_depthwise_view *whole, int64_t planes, int64_t col,
                        const fc_depthwise_view *v, void *x)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t stride = conv->stride[FC_WIDTH], reach = job->split.reach, rows = v->x_size[FC_HEIGHT];
    const bool together = planes > 1;         /* a row of all, else all rows of one */
    for (int64_t phase = 0; phase < stride && phase <= reach; phase++) {
        const int64_t first = col * stride - conv->pad_before[FC_WIDTH] + phase;
        const fc_span span = fc_span_of(0, v->phase, stride, first, conv->in_size[FC_WIDTH]);
        const int64_t column = span.inside ? span.column : 0;
        fc_move move = { .rows = together ? planes : rows, .cols = span.inside,
                         .src_row = whole->x_stride[together ? FC_C : FC_H], .src_col = whole->x_stride[FC_W] * stride,
                         .dst_row = v->x_stride[together ? FC_C : FC_H], .dst_col = 1,
                         .zero_before = span.before, .zero_after = v->phase - span.before - span.inside };
        for (int64_t i = 0; i < v->x_size[FC_DEPTH] * (together ? rows : 1); i++) {
            const int64_t depth = together ? i / rows : i, row = together ? i % rows : 0;
            const int64_t from = (v->x_at[FC_DEPTH] + depth) * whole->x_stride[FC_D] +
                                 (v->x_at[FC_HEIGHT] + row) * whole->x_stride[FC_H] + column * whole->x_stride[FC_W];
            move.src = fc_at(whole->x, from, size);
            move.dst = fc_at_mut(x, depth * v->x_stride[FC_D] + row * v->x_stride[FC_H] + phase * v->phase, size);
            run->table->move(&move);
        }
    }
}

/* Outputs of some channels, from planes to where they belong. */
static void move_planes(const fc_conv_run *run, const fc_depthwise_view *whole, int64_t channels,
                        const int64_t at[FC_SPATIAL], int64_t rows, int64_t cols, const void *y)
{
    const size_t size = fc_size_of(run->conv->dtype);
    for (int64_t row = 0; row < rows; row++) {
        const int64_t to = at[FC_DEPTH] * whole->y_stride[FC_D] + (at[FC_HEIGHT] + row) * whole->y_stride[FC_H] +
                           at[FC_WIDTH] * whole->y_stride[FC_W];
        const fc_move move = { .rows = channels, .cols = cols, .src = fc_at(y, row * cols, size),
                               .src_row = rows * cols, .src_col = 1,
                               .dst = fc_at_mut(whole->y, to, size), .dst_row = whole->y_stride[FC_C],
                               .dst_col = whole->y_stride[FC_W] };
        run->table->move(&move);
    }
}

/* A block of outputs of some channels: of all filters of one input, or of some inputs with one filter each. */
static void copied_pixels(const fc_depthwise_job *job, const fc_depthwise_view *whole, int64_t channels,
                          const int64_t at[FC_SPATIAL], int64_t rows, int64_t cols, void *list, void *x, void *y)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const fc_depthwise_split *s = &job->split;
    fc_depthwise_view v = *whole;
    inputs_of(conv, FC_DEPTH, at[FC_DEPTH], 1, &v);
    inputs_of(conv, FC_HEIGHT, at[FC_HEIGHT], rows, &v);
    const fc_depthwise_part part = { { at[FC_DEPTH], at[FC_HEIGHT], at[FC_WIDTH] },
                                     { at[FC_DEPTH] + 1, at[FC_HEIGHT] + rows, at[FC_WIDTH] + cols } };
    v.x = v.readable = x;
    v.far = false;
    v.readable_end = (const char *)x + s->x_bytes;
    v.phase = s->copy_cols;
    v.x_stride[FC_H] = fc_min(conv->stride[FC_WIDTH], s->reach + 1) * v.phase;
    v.x_stride[FC_D] = v.x_size[FC_HEIGHT] * v.x_stride[FC_H];
    v.x_stride[FC_C] = v.x_size[FC_DEPTH] * v.x_stride[FC_D];
    copy_planes(job, whole, channels / fc_depthwise_repeat(conv), at[FC_WIDTH], &v, x);
    if (whole->y_stride[FC_W] == 1) {
        fc_depthwise_pixels(run, &v, channels, &part, list);
        return;
    }
    v.y = y;
    memcpy(v.y_at, at, sizeof v.y_at);
    v.y_stride[FC_W] = 1;
    v.y_stride[FC_H] = cols;
    v.y_stride[FC_C] = v.y_stride[FC_D] = rows * cols;
    fc_depthwise_pixels(run, &v, channels, &part, list);
    move_planes(run, whole, channels, at, rows, cols, y);
}

/* A block of x with channels beside each other, each as often as it has outputs; to those outputs. */
static void copied_channels(const fc_depthwise_job *job, const fc_depthwise_view *whole, int64_t channel,
                            int64_t channels, const int64_t at[FC_SPATIAL], int64_t rows, int64_t cols, void *list,
                            void *x, void *y)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const fc_depthwise_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t repeat = fc_depthwise_repeat(conv);
    fc_depthwise_view v = *whole;
    inputs_of(conv, FC_DEPTH, at[FC_DEPTH], 1, &v);
    inputs_of(conv, FC_HEIGHT, at[FC_HEIGHT], rows, &v);
    inputs_of(conv, FC_WIDTH, at[FC_WIDTH], cols, &v);
    v.x = v.readable = x;
    v.far = false;
    v.readable_end = (const char *)x + s->x_bytes;
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
            .rows = 1, .cols = v.x_size[FC_WIDTH], .channels = channels, .repeat = repeat, .repeated = channel % repeat,
            .src = fc_at(whole->x, from, size), .src_pixel = whole->x_stride[FC_W],
            .src_channel = whole->x_stride[FC_C],
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
        const fc_depthwise_part part = { { at[FC_DEPTH], row, at[FC_WIDTH] },
                                         { at[FC_DEPTH] + 1, row + 1, at[FC_WIDTH] + cols } };
        fc_depthwise_channels(run, &v, channels, &part, list);
        if (in_place)
            continue;
        const fc_move move = { .rows = cols, .cols = channels, .src = y, .src_row = s->block_channels, .src_col = 1,
                               .dst = fc_at_mut(whole->y, to, size), .dst_row = whole->y_stride[FC_W],
                               .dst_col = whole->y_stride[FC_C] };
        run->table->move(&move);
    }
}

void fc_depthwise_copied(const fc_depthwise_job *job, const fc_depthwise_view *v, int64_t channels,
                         const fc_depthwise_part *p, void *list, void *x, void *y)
{
    const fc_conv *conv = job->run->conv;
    const fc_depthwise_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t width = conv->out_size[FC_WIDTH], repeat = fc_depthwise_repeat(conv);
    const int64_t row1 = p->end[FC_HEIGHT];
    for (int64_t row = p->first[FC_HEIGHT]; row < row1; row += s->block_rows)
        for (int64_t col = 0; col < width; col += s->block_cols) {
            const int64_t at[FC_SPATIAL] = { p->first[FC_DEPTH], row, col };
            const int64_t rows = fc_min(s->block_rows, row1 - row), cols = fc_min(s->block_cols, width - col);
            fc_depthwise_view part = *v;
            for (int64_t c = 0; c < channels; c += s->block_channels) {
                const int64_t count = fc_min(s->block_channels, channels - c);
                if (s->by_channel) {
                    copied_channels(job, v, c, count, at, rows, cols, list, x, y);
                    continue;
                }
                part.x = fc_at(v->x, c / repeat * v->x_stride[FC_C], size);
                part.y = fc_at_mut(v->y, c * v->y_stride[FC_C], size);
                part.weight = fc_at(v->weight, c * v->w_channel, size);
                part.bias = v->bias ? fc_at(v->bias, c, size) : NULL;
                copied_pixels(job, &part, count, at, rows, cols, list, x, y);
            }
        }
}
