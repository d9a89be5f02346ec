/* Depthwise by way of blocks of channels (see depthwise_lanes.h): rows that are short beside a vector, strides of 3
 * and more, large kernels and small planes.
 *
 * Every lane is full whatever the image's width, and no tap is a special case.  Only what some output sees is copied:
 * rows and columns between kernels are left out, and of the padding no more than a tile reaches. */
#include "depthwise_lanes.h"
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "cost.h"
#include "depthwise.h"
#include "geometry.h"
#include "lanes_outputs.h"
#include "nonfinite.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10, LEAST_COLS = 16, MOST_VECTORS = 4, PACKED_BLOCKS = 16 };

typedef struct lanes_split {
    int64_t images, rows, cols;               /* outputs of a task, of one depth */
    int64_t vectors, pitch;                   /* of channels, beside each other; a pixel of the copy, an odd number of
                                               * vectors, so that one of them from each uses the whole cache */
    int64_t image_blocks, row_blocks, col_blocks, channel_blocks, tasks;
    bool turned;                              /* outputs go by way of scratch: they are not adjacent */
    size_t x_bytes, y_bytes;
} lanes_split;

/* An axis of the copy under outputs first .. first + count - 1. */
typedef struct lanes_span {
    bool apart;                               /* what each output sees is copied by itself */
    int64_t seen;                             /* by one output, from its first tap to its last */
    int64_t at, size;                         /* first input copied, if not apart; how many */
    int64_t out;                              /* inputs of the copy from output to output */
    int64_t begin;                            /* input of the copy under tap 0 of the first output */
} lanes_span;

static lanes_span span_of(const fc_conv *conv, int axis, int64_t first, int64_t count, int64_t border, bool may_part)
{
    const int64_t stride = conv->stride[axis], start = first * stride - conv->pad_before[axis];
    lanes_span s = { .seen = (conv->kernel[axis] - 1) * conv->dilation[axis] + 1, .out = stride };
    s.apart = may_part && stride > s.seen;
    if (s.apart) {
        s.out = s.seen;
        s.size = count * s.seen;
        return s;
    }
    s.at = fc_max(start, -border);
    s.size = fc_max(0, fc_min(start + (count - 1) * stride + s.seen, conv->in_size[axis] + border) - s.at);
    s.begin = start - s.at;
    return s;
}

/* Columns of planes are turned a vector at a time anyway, and channels repeated are written in order. */
static bool parts_cols(const fc_conv *conv) { return conv->channels_last && conv->out_per_group == 1; }

/* The most elements of a copy for one image. */
static int64_t copied(const fc_conv *conv, int64_t lanes, int64_t rows, int64_t cols)
{
    const lanes_span h = span_of(conv, FC_HEIGHT, 0, rows, 0, true);
    const lanes_span w = span_of(conv, FC_WIDTH, 0, cols, 0, parts_cols(conv));
    const int64_t high = h.apart ? h.size : fc_min((rows - 1) * h.out + h.seen,
                                                   conv->in_size[FC_HEIGHT] + 2 * (FC_LANES_PLACES - 1) * h.out);
    const int64_t wide = w.apart ? w.size : fc_min((cols - 1) * w.out + w.seen,
                                                   conv->in_size[FC_WIDTH] + 2 * (2 * FC_LANES_COLS - 1) * w.out);
    return fc_min(conv->kernel[FC_DEPTH], conv->in_size[FC_DEPTH]) * high * wide * lanes;
}

static lanes_split split_of(const fc_conv *conv, const fc_table *table)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype), lanes = table->lanes, most = BLOCK_BYTES / size;
    /* Several vectors of channels: longer runs, beside which many taps take so long that larger blocks are better. */
    const bool beside = conv->channels_last && conv->out_per_group == 1 && conv->taps <= FC_DEPTHWISE_MANY_TAPS;
    const int64_t *out = conv->out_size, l2 = fc_machine_for(conv->dtype)->l2 / size, more = l2 / (beside ? 16 : 4);
    lanes_split s = { .images = 1, .rows = 1, .cols = out[FC_WIDTH], .vectors = 1 };
    const int64_t halo = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] / conv->stride[FC_HEIGHT];
    while (s.cols > LEAST_COLS && copied(conv, lanes, 1 + 2 * halo, s.cols) > more)
        s.cols = fc_div_up(s.cols, 2);
    while (s.rows < out[FC_HEIGHT]) {         /* what blocks of rows share is copied again */
        const int64_t next = copied(conv, lanes, s.rows + 1, s.cols);
        if (next > (s.rows < 3 * halo ? more : most))
            break;
        s.rows++;
    }
    s.row_blocks = fc_div_up(out[FC_HEIGHT], s.rows);
    s.rows = fc_div_up(out[FC_HEIGHT], s.row_blocks);
    s.row_blocks = fc_div_up(out[FC_HEIGHT], s.rows);
    s.col_blocks = fc_div_up(out[FC_WIDTH], s.cols);
    s.cols = fc_div_up(out[FC_WIDTH], s.col_blocks);
    s.col_blocks = fc_div_up(out[FC_WIDTH], s.cols);
    s.channel_blocks = fc_div_up(conv->out_channels, lanes);
    if (beside) {
        const int64_t fit = l2 / 3 / copied(conv, lanes, s.rows, s.cols) - 1;
        s.vectors = fc_max(1, fc_min(fc_min(MOST_VECTORS, fit), s.channel_blocks));
        s.channel_blocks = fc_div_up(s.channel_blocks, s.vectors);
    }
    s.pitch = (s.vectors | 1) * lanes;
    if (s.row_blocks == 1 && s.col_blocks == 1) {
        enum { WISHED_TASKS = 16 };
        const int64_t fit = most / fc_max(1, copied(conv, s.pitch, s.rows, s.cols));
        const int64_t tasks = conv->batch * out[FC_DEPTH] * s.channel_blocks;
        s.images = fc_max(1, fc_min(fc_min(conv->batch, fit), fc_div_up(tasks, WISHED_TASKS)));
    }
    s.image_blocks = fc_div_up(conv->batch, s.images);
    s.images = fc_max(1, fc_div_up(conv->batch, fc_max(1, s.image_blocks)));
    s.tasks = s.image_blocks * out[FC_DEPTH] * s.row_blocks * s.col_blocks * s.channel_blocks;
    s.turned = conv->y_stride[FC_C] != 1 && conv->out_channels > 1;
    /* Channels repeated are written a vector at a time. */
    s.x_bytes = (size_t)fc_round_up((s.images * copied(conv, s.pitch, s.rows, s.cols) + lanes) * size, 64);
    s.y_bytes = s.turned ? (size_t)(s.images * s.rows * s.cols * lanes * size) : 0;
    return s;
}

typedef struct lanes_job {
    const fc_conv_run *run;
    const void *weight;                       /* prepared */
    lanes_split split;
    bool asks;                                /* for what the next task needs */
} lanes_job;

/* What a task computes. */
typedef struct lanes_block {
    fc_lanes_outputs out;
    int64_t channel, channels;
    int64_t deep, deeps;                      /* taps along depth that see x */
    int64_t pitch;
    lanes_span high, wide;
} lanes_block;

static lanes_block block_of(const lanes_job *job, int64_t task)
{
    const fc_conv *conv = job->run->conv;
    const fc_table *table = job->run->table;
    const lanes_split *s = &job->split;
    lanes_block b;
    b.pitch = s->pitch;
    b.channel = task % s->channel_blocks * s->vectors * table->lanes;
    b.channels = fc_min(s->vectors * table->lanes, conv->out_channels - b.channel);
    b.out = fc_lanes_outputs_of(conv, s->images, s->rows, s->cols, task / s->channel_blocks);
    const fc_span deep = fc_span_of(0, conv->kernel[FC_DEPTH], conv->dilation[FC_DEPTH],
                                    b.out.depth * conv->stride[FC_DEPTH] - conv->pad_before[FC_DEPTH],
                                    conv->in_size[FC_DEPTH]);
    b.deep = deep.before;
    b.deeps = deep.inside;
    const fc_lanes_tile tile = fc_lanes_tile_of(table->lanes_sums, b.out.images, b.out.rows, b.out.cols);
    const int64_t across = (tile.by_piece ? tile.places * tile.cols : tile.cols) - 1;
    const int64_t down = tile.by_piece || tile.by_image ? 0 : tile.places - 1;
    b.high = span_of(conv, FC_HEIGHT, b.out.row, b.out.rows, down * conv->stride[FC_HEIGHT], true);
    b.wide = span_of(conv, FC_WIDTH, b.out.col, b.out.cols, across * conv->stride[FC_WIDTH], parts_cols(conv));
    return b;
}

/* `count` pixels that are `step` apart in x, to every `out`-th of the copy; those outside are zeros. */
static void copy_pixels(const fc_conv_run *run, const lanes_block *b, const void *row, int64_t start, int64_t step,
                        int64_t count, int64_t out, void *to)
{
    const fc_conv *conv = run->conv;
    const int64_t repeat = conv->out_per_group;
    const size_t size = fc_size_of(conv->dtype), pixel = (size_t)b->pitch * size;
    const fc_span span = fc_span_of(0, count, step, start, row ? conv->in_size[FC_WIDTH] : 0);
    const fc_depthwise_spread spread = {
        .rows = 1, .cols = span.inside, .channels = b->channels, .repeat = repeat, .repeated = b->channel % repeat,
        .src = row && span.inside ? fc_at(row, span.column * conv->x_stride[FC_W], size) : row,
        .src_pixel = step * conv->x_stride[FC_W], .src_channel = conv->x_stride[FC_C],
        .dst = (char *)to + (size_t)(span.before * out) * pixel, .dst_pixel = out * b->pitch,
    };
    if (span.inside > 0)
        run->table->depthwise_spread(&spread);
    for (int64_t i = 0; i < count; i++) {
        if (i == span.before)
            i += span.inside;
        if (i < count)
            memset((char *)to + (size_t)(i * out) * pixel, 0, pixel);
    }
}

/* One row of the copy. */
static void copy_row(const fc_conv_run *run, const lanes_block *b, const void *row, void *to)
{
    const fc_conv *conv = run->conv;
    const lanes_span *w = &b->wide;
    const size_t pixel = (size_t)b->pitch * fc_size_of(conv->dtype);
    if (!row) {
        memset(to, 0, (size_t)w->size * pixel);
        return;
    }
    if (!w->apart) {
        copy_pixels(run, b, row, w->at, 1, w->size, 1, to);
        return;
    }
    for (int64_t tap = 0; tap < w->seen; tap += conv->dilation[FC_WIDTH])
        copy_pixels(run, b, row, b->out.col * conv->stride[FC_WIDTH] - conv->pad_before[FC_WIDTH] + tap,
                    conv->stride[FC_WIDTH], b->out.cols, w->seen, (char *)to + (size_t)tap * pixel);
}

/* All rows of one image and depth. */
static void copy_plane(const fc_conv_run *run, const lanes_block *b, const void *plane, void *to)
{
    const fc_conv *conv = run->conv;
    const lanes_span *h = &b->high;
    const int64_t *x = conv->x_stride, width = conv->in_size[FC_WIDTH], repeat = conv->out_per_group;
    const size_t size = fc_size_of(conv->dtype), bytes = (size_t)(b->wide.size * b->pitch) * size;
    const int64_t before = -b->wide.at, after = b->wide.at + b->wide.size - width;
    if (!h->apart && !b->wide.apart && before >= 0 && after >= 0 && x[FC_H] == width * x[FC_W]) {
        const fc_span rows = fc_span_of(0, h->size, 1, h->at, conv->in_size[FC_HEIGHT]);
        const fc_depthwise_spread spread = {
            .rows = rows.inside, .cols = width, .before = before, .after = after, .channels = b->channels,
            .repeat = repeat, .repeated = b->channel % repeat,
            .src = rows.inside ? fc_at(plane, rows.column * x[FC_H], size) : plane,
            .src_pixel = x[FC_W], .src_channel = x[FC_C],
            .dst = (char *)to + (size_t)rows.before * bytes, .dst_pixel = b->pitch,
        };
        memset(to, 0, (size_t)rows.before * bytes);
        if (rows.inside > 0)
            run->table->depthwise_spread(&spread);
        memset((char *)to + (size_t)(rows.before + rows.inside) * bytes, 0,
               (size_t)(h->size - rows.before - rows.inside) * bytes);
        return;
    }
    for (int64_t j = 0; j < h->size; j++) {
        const int64_t output = b->out.row + j / h->seen;
        const int64_t y = h->apart ? output * conv->stride[FC_HEIGHT] - conv->pad_before[FC_HEIGHT] + j % h->seen
                                   : h->at + j;
        const bool inside = y >= 0 && y < conv->in_size[FC_HEIGHT];
        copy_row(run, b, inside ? fc_at(plane, y * x[FC_H], size) : NULL, (char *)to + (size_t)j * bytes);
    }
}

static void copy_block(const fc_conv_run *run, const lanes_block *b, void *memory)
{
    const fc_conv *conv = run->conv;
    const int64_t *x = conv->x_stride;
    const size_t size = fc_size_of(conv->dtype);
    for (int64_t i = 0; i < b->out.images * b->deeps; i++) {
        const int64_t z = b->out.depth * conv->stride[FC_DEPTH] - conv->pad_before[FC_DEPTH] +
                          (b->deep + i % b->deeps) * conv->dilation[FC_DEPTH];
        const int64_t at = (b->out.image + i / b->deeps) * x[FC_N] + b->channel / conv->out_per_group * x[FC_C] +
                           z * x[FC_D];
        copy_plane(run, b, fc_at(run->x, at, size),
                   fc_at_mut(memory, i * b->high.size * b->wide.size * b->pitch, size));
    }
}

static fc_lanes_axis axis_of(const fc_conv *conv, int axis, int64_t first, int64_t count)
{
    return (fc_lanes_axis){ .first = first, .count = count, .kernel = conv->kernel[axis],
                            .stride = conv->stride[axis], .dilation = conv->dilation[axis],
                            .pad = conv->pad_before[axis], .in = conv->in_size[axis] };
}

/* What a block is to the kernel, its first vector of channels. */
static fc_depthwise_lanes lanes_of(const lanes_job *job, const lanes_block *b, const void *copy, void *outputs)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t lanes = run->table->lanes, *y = conv->y_stride;
    const bool turned = job->split.turned;
    const fc_lanes_outputs *o = &b->out;
    const int64_t row = b->wide.size * b->pitch, plane = b->high.size * row;
    fc_depthwise_lanes d = {
        .row = axis_of(conv, FC_HEIGHT, o->row, o->rows), .col = axis_of(conv, FC_WIDTH, o->col, o->cols),
        .images = o->images, .x_image = b->deeps * plane, .y_image = turned ? o->rows * o->cols * lanes : y[FC_N],
        .deep = b->deeps, .x_deep = plane, .w_deep = conv->kernel[1] * conv->kernel[2] * lanes,
        .activation = conv->activation,
        .inputs = 1, .groups = lanes,
    };
    d.row.x_out = b->high.out * row;
    d.row.x_tap = conv->dilation[FC_HEIGHT] * row;
    d.row.y_out = turned ? o->cols * lanes : y[FC_H];
    d.row.w_tap = conv->kernel[FC_WIDTH] * lanes;
    d.col.x_out = b->wide.out * b->pitch;
    d.col.x_tap = conv->dilation[FC_WIDTH] * b->pitch;
    d.col.y_out = turned ? lanes : y[FC_W];
    d.col.w_tap = lanes;
    d.x = fc_at(copy, b->high.begin * row + b->wide.begin * b->pitch - o->row * d.row.x_out - o->col * d.col.x_out,
                size);
    d.y = turned ? outputs : fc_lanes_first_output(run, o, b->channel);
    d.y = fc_at_mut(d.y, -o->row * d.row.y_out - o->col * d.col.y_out, size);
    return d;
}

/* In line: GCC 12.2 takes calls of what does nothing but ask for dead. */
#define ASKS static inline __attribute__((always_inline))
/* Asks for `channels` of some rows of an array, a plane of `size` pixels in each image, from `first` on: to write them,
 * if `y`. */
ASKS void ask_for_rows(const char *first, const int64_t *stride, const int64_t *size, int64_t row, int64_t end,
                       int64_t channels, int64_t bytes, bool y)
{
    enum { LINE = 64 };
    for (; row < end; row++) {
        const int64_t image = row / size[FC_HEIGHT], at_row = row % size[FC_HEIGHT];
        const char *pixel = first + (image * stride[FC_N] + at_row * stride[FC_H]) * bytes;
        for (int64_t c = 0; c < size[FC_WIDTH]; c++, pixel += stride[FC_W] * bytes)
            for (int64_t at = 0; at < channels * bytes; at += LINE)
                if (y)
                    __builtin_prefetch(pixel + at, 1, 2);
                else
                    __builtin_prefetch(pixel + at, 0, 2);
    }
}

/* Asks for a part of what a later task reads and writes: pixels lie so far apart that no processor foresees it. */
ASKS void ask_ahead(const lanes_job *job, int64_t task, int64_t part, int64_t parts)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    if (!job->asks || task >= job->split.tasks)
        return;
    const size_t size = fc_size_of(conv->dtype);
    const lanes_block b = block_of(job, task);
    const int64_t *x = conv->x_stride, *y = conv->y_stride;
    const int64_t in = b.out.images * conv->in_size[FC_HEIGHT], out = b.out.images * conv->out_size[FC_HEIGHT];
    ask_for_rows(fc_at(run->x, b.out.image * x[FC_N] + b.channel * x[FC_C], size), x, conv->in_size,
                 in * part / parts, in * (part + 1) / parts, b.channels, (int64_t)size, false);
    ask_for_rows(fc_at(run->y, b.out.image * y[FC_N] + b.channel * y[FC_C], size), y, conv->out_size,
                 out * part / parts, out * (part + 1) / parts, b.channels, (int64_t)size, true);
}

#undef ASKS

static void run_task(void *context, int64_t task, void *memory)
{
    const lanes_job *job = context;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t lanes = run->table->lanes;
    const bool turned = job->split.turned;
    void *outputs = (char *)memory + job->split.x_bytes;
    lanes_block b = block_of(job, task);
    fc_depthwise_lanes d = lanes_of(job, &b, memory, outputs);
    copy_block(run, &b, memory);
    const int64_t all = b.channels;
    for (int64_t left = all; left > 0; left -= lanes, b.channel += lanes) {
        b.channels = fc_min(lanes, left);
        d.lanes = turned ? lanes : b.channels;
        d.weight = fc_at(job->weight, b.channel * conv->taps + b.deep * d.w_deep, size);
        d.bias = run->bias ? fc_at(run->bias, b.channel, size) : NULL;
        d.bias_lanes = b.channels;
        run->table->depthwise_lanes(&d);
        ask_ahead(job, task + 1, (all - left) / lanes, fc_div_up(all, lanes));
        if (turned)
            fc_lanes_move_outputs(run, &b.out, b.channel, b.channels, outputs);
        else
            d.y = fc_at_mut(d.y, lanes * conv->y_stride[FC_C], size);
        d.x = fc_at(d.x, lanes, size);
    }
}

/* Taps of an axis that a tile of `outputs` sees, on average over an axis of `all`. */
static double taps_seen(const fc_conv *conv, int axis, int64_t outputs)
{
    const int64_t *k = conv->kernel, d = conv->dilation[axis];
    const int64_t inside = (conv->in_size[axis] + (outputs - 1) * conv->stride[axis] - 1) / d + 1;
    return (double)fc_min(k[axis], inside);
}

double fc_depthwise_lanes_cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    const int64_t *out = conv->out_size, *stride = conv->stride;
    const fc_table *table = fc_table_for(conv->dtype);
    const int64_t least = copied(conv, 3 * machine->lanes, 1, fc_min(out[FC_WIDTH], LEAST_COLS));
    if (least * (int64_t)fc_size_of(conv->dtype) > machine->l2) /* scratch is bounded by the cache */
        return INFINITY;
    const fc_lanes_tile tile = fc_lanes_tile_of(table->lanes_sums, conv->batch, out[FC_HEIGHT], out[FC_WIDTH]);
    const bool turned = !conv->channels_last, repeated = conv->out_per_group > 1;
    const int64_t across = tile.by_piece ? tile.places * tile.cols : tile.cols;
    const int64_t down = tile.by_piece || tile.by_image ? 1 : tile.places;
    const int64_t blocks = fc_div_up(conv->out_channels, machine->lanes);
    const double planes = (double)(blocks * conv->batch * out[FC_DEPTH]);
    const double tiles = planes * (double)fc_div_up(out[FC_WIDTH], across) *
                         (tile.by_image ? (double)fc_div_up(conv->batch, tile.places) / (double)conv->batch *
                                              (double)out[FC_HEIGHT]
                                        : (double)fc_div_up(out[FC_HEIGHT], down));
    const double taps = taps_seen(conv, FC_HEIGHT, down) * taps_seen(conv, FC_WIDTH, across) *
                        (double)fc_min(conv->kernel[FC_DEPTH], conv->in_size[FC_DEPTH]);
    const lanes_span h = span_of(conv, FC_HEIGHT, 0, out[FC_HEIGHT], (down - 1) * stride[FC_HEIGHT], true);
    const lanes_span w = span_of(conv, FC_WIDTH, 0, out[FC_WIDTH], (across - 1) * stride[FC_WIDTH], parts_cols(conv));
    const double rows = (double)(blocks * conv->batch) * (double)(conv->in_size[FC_DEPTH] * h.size);
    const double outputs = planes * (double)(out[FC_HEIGHT] * out[FC_WIDTH]);
    const double moved = (rows * (double)w.size + outputs) * machine->lanes * (double)fc_size_of(conv->dtype);
    const int64_t tap = conv->dilation[FC_WIDTH];
    const bool in_rows = turned && table->lanes_sums >= 16 &&
                         fc_lanes_in_rows(conv->kernel[FC_WIDTH], stride[FC_WIDTH], tap, tile.cols);
    const fc_count counts[] = {
        { tiles * tile.places * tile.cols * taps, in_rows ? 0.75 : 1.4 }, /* multiply */
        { tiles, turned ? 170 : 130 },
        { rows * (double)w.size, (turned ? 9.8 : 9.5) + (repeated ? 13 : 0) }, /* copies */
        { rows, turned ? 75 : 45 },
        { turned ? outputs : 0, 7 },
        { moved > (double)machine->l2 ? moved / 64 : 0, 6.3 }, /* lines from beyond L2 */
        { turned && moved > (double)machine->l3 / 4 ? moved / 64 : 0, 8 }, /* in short pieces, from far beyond */
        { prepared ? 0 : (double)(blocks * machine->lanes) * (double)conv->taps, 0.65 },
        { 1, 4920 },
    };
    return FC_COST(counts, machine);
}

size_t fc_depthwise_lanes_scratch(const fc_conv *conv, const fc_table *table)
{
    const lanes_split s = split_of(conv, table);
    return s.x_bytes + s.y_bytes;
}

size_t fc_depthwise_lanes_prepared_size(const fc_conv *conv, const fc_table *table)
{
    return (size_t)(fc_round_up(conv->out_channels, table->lanes) * conv->taps) * fc_size_of(conv->dtype);
}

static void pack_blocks(const fc_conv *conv, const fc_table *table, const void *weight, int64_t first, int64_t end,
                        void *prepared)
{
    const size_t size = fc_size_of(conv->dtype);
    const int64_t lanes = table->lanes;
    for (int64_t block = first; block < end; block++) {
        const int64_t at = block * lanes * conv->taps, channels = fc_min(lanes, conv->out_channels - block * lanes);
        const fc_move move = { .rows = conv->taps, .cols = channels, .src = fc_at(weight, at, size), .src_row = 1,
                               .src_col = conv->taps, .dst = fc_at_mut(prepared, at, size), .dst_row = lanes,
                               .dst_col = 1, .zero_after = lanes - channels };
        table->move(&move);
    }
}

void fc_depthwise_lanes_prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared)
{
    pack_blocks(conv, table, weight, 0, fc_div_up(conv->out_channels, table->lanes), prepared);
}

typedef struct pack_job {
    const fc_conv_run *run;
    void *packed;
} pack_job;

static void pack_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const pack_job *job = context;
    const fc_conv *conv = job->run->conv;
    const int64_t first = task * PACKED_BLOCKS, all = fc_div_up(conv->out_channels, job->run->table->lanes);
    pack_blocks(conv, job->run->table, job->run->weight, first, fc_min(all, first + PACKED_BLOCKS), job->packed);
}

/* As fc_nonfinite_padding, block by block. */
static void spoil_blocks(const fc_conv_run *run, const void *weight)
{
    const size_t size = fc_size_of(run->conv->dtype);
    const int64_t lanes = run->table->lanes;
    fc_conv some = *run->conv;
    fc_conv_run part = *run;
    part.conv = &some;
    if (fc_unpadded(run->conv))
        return;
    for (int64_t channel = 0; channel < run->conv->out_channels; channel += lanes) {
        some.out_channels = fc_min(lanes, run->conv->out_channels - channel);
        part.y = fc_at_mut(run->y, channel * run->conv->y_stride[FC_C], size);
        fc_nonfinite_padding(&part, fc_at(weight, channel * run->conv->taps, size), 1, lanes);
    }
}

fc_status fc_depthwise_lanes_forward(const fc_conv_run *run, fc_error *error)
{
    const fc_conv *conv = run->conv;
    const fc_machine *machine = fc_machine_for(conv->dtype);
    lanes_job job = { .run = run, .weight = run->prepared, .split = split_of(conv, run->table) };
    job.asks = !job.split.turned && job.split.row_blocks * job.split.col_blocks == 1 && conv->out_per_group == 1 &&
               fc_depthwise_far(conv);
    const double seconds = fc_depthwise_lanes_cost(conv, machine, true);
    void *packed = NULL;
    fc_status status = FC_OK;
    if (!run->prepared) {
        const size_t bytes = fc_depthwise_lanes_prepared_size(conv, run->table);
        packed = fc_scratch_borrow(bytes);
        if (!packed)
            return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of packed weights", bytes);
        pack_job pack = { run, packed };
        status = fc_parallel(fc_div_up(fc_div_up(conv->out_channels, run->table->lanes), PACKED_BLOCKS),
                             (double)(conv->out_channels * conv->taps) * 6e-10, 0, pack_task, &pack, error);
        job.weight = packed;
    }
    if (status == FC_OK)
        status = fc_parallel(job.split.tasks, seconds, job.split.x_bytes + job.split.y_bytes, run_task, &job, error);
    if (status == FC_OK)
        spoil_blocks(run, job.weight);
    fc_scratch_give_back(packed);
    return status;
}

void fc_depthwise_lanes_describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    const lanes_split s = split_of(conv, table);
    snprintf(text, size, "channels as lanes, in blocks with their padding; %lld image blocks x %lld channel blocks x "
             "%lld row blocks", (long long)s.image_blocks, (long long)s.channel_blocks,
             (long long)(s.row_blocks * s.col_blocks));
}
