/* The input gradient of depthwise convolutions by way of blocks of channels, as depthwise_lanes.h.
 *
 * Pixels of one rest, modulo the stride, see every stride-th tap: a phase, which is a depthwise convolution of stride
 * 1 of grad_output with these taps in reverse.  A vector of channels of grad_output is copied amid zeros, all phases
 * are written between each other, and where channels are not adjacent the result is turned back. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "depthwise_lanes.h"
#include "geometry.h"
#include "input_grad.h"
#include "input_grad_lanes.h"
#include <math.h>
#include <string.h>

enum { MOST_BYTES = 192 << 10 };              /* of a block's grad_output and gradient */

typedef struct lanes_job {
    const fc_conv *conv;
    const fc_table *table;
    const void *g, *weight;                   /* weight: as fc_depthwise_lanes_prepare makes it */
    void *grad;
    bool turned;                              /* channels are not adjacent */
    int64_t images, rows, image_blocks, row_blocks, channel_blocks;
    int64_t cols, cols_at;                    /* of grad_output in the copy; the first of them */
    int64_t most_rows;                        /* of grad_output, of a block */
} lanes_job;

typedef struct lanes_block {
    int64_t image, images, row, rows, channel, channels;
    int64_t g_at, g_rows;                     /* rows of grad_output in the copy */
} lanes_block;

/* Zeros around grad_output that a tile may see. */
static int64_t border_of(const fc_conv *conv, int axis)
{
    const int64_t tile = axis == FC_WIDTH ? 2 * FC_LANES_COLS - 1 : FC_LANES_PLACES - 1;
    return fc_min(tile, (conv->kernel[axis] - 1) * conv->dilation[axis] / conv->stride[axis] + 1);
}

/* Outputs that pixels first .. first + count - 1 of an axis see, with their border. */
static fc_span outputs_of(const fc_conv *conv, int axis, int64_t first, int64_t count)
{
    const int64_t stride = conv->stride[axis], border = border_of(conv, axis), out = conv->out_size[axis];
    const int64_t low = first + conv->pad_before[axis] - (conv->kernel[axis] - 1) * conv->dilation[axis];
    const int64_t from = low < 0 ? -(-low / stride) : fc_div_up(low, stride);
    const int64_t to = (first + count - 1 + conv->pad_before[axis]) / stride + 1;
    fc_span span = { .column = fc_min(fc_max(from, -border), out) };
    span.inside = fc_max(0, fc_min(to, out + border) - span.column);
    return span;
}

fc_lanes_phase fc_lanes_phase_of(const fc_conv *conv, int axis, int64_t pixel, int64_t end)
{
    const int64_t stride = conv->stride[axis], dilation = conv->dilation[axis], pad = conv->pad_before[axis];
    const int64_t rest = (pixel + pad) % stride;
    fc_lanes_phase p = { .axis = { .stride = 1, .dilation = 1, .in = conv->out_size[axis] }, .first = pixel };
    int64_t tap = 0, period = 1;
    while (tap < conv->kernel[axis] && tap < stride && tap * dilation % stride != rest)
        tap++;
    while (period < conv->kernel[axis] && period * dilation % stride != 0)
        period++;
    p.axis.count = (end - 1 - pixel) / stride + 1;
    if (tap >= conv->kernel[axis] || tap * dilation % stride != rest)
        return p;                             /* no taps: zeros */
    p.axis.kernel = (conv->kernel[axis] - 1 - tap) / period + 1;
    p.axis.dilation = fc_max(1, period * dilation / stride); /* of one tap it says nothing */
    p.axis.pad = (p.axis.kernel - 1) * p.axis.dilation - (pixel + pad - tap * dilation) / stride;
    p.tap = tap + (p.axis.kernel - 1) * period;
    p.tap_step = -period;
    return p;
}

static lanes_block block_of(const lanes_job *job, int64_t task)
{
    const fc_conv *conv = job->conv;
    lanes_block b;
    b.channel = task % job->channel_blocks * job->table->lanes;
    b.channels = fc_min(job->table->lanes, conv->in_channels - b.channel);
    task /= job->channel_blocks;
    b.row = task % job->row_blocks * job->rows;
    b.rows = fc_min(job->rows, conv->in_size[FC_HEIGHT] - b.row);
    b.image = task / job->row_blocks * job->images;
    b.images = fc_min(job->images, conv->batch - b.image);
    const fc_span rows = outputs_of(conv, FC_HEIGHT, b.row, b.rows);
    b.g_at = rows.column;
    b.g_rows = rows.inside;
    return b;
}

static void copy_outputs(const lanes_job *job, const lanes_block *b, void *memory)
{
    const fc_conv *conv = job->conv;
    const int64_t *y = conv->y_stride, lanes = job->table->lanes;
    const size_t size = fc_size_of(conv->dtype), pixel = (size_t)lanes * size;
    const fc_span span = fc_span_of(0, job->cols, 1, job->cols_at, conv->out_size[FC_WIDTH]);
    for (int64_t i = 0; i < b->images * b->g_rows; i++) {
        const int64_t row = b->g_at + i % b->g_rows;
        char *to = (char *)memory + (size_t)(i * job->cols) * pixel;
        if (row < 0 || row >= conv->out_size[FC_HEIGHT] || span.inside == 0) {
            memset(to, 0, (size_t)job->cols * pixel);
            continue;
        }
        const int64_t at = (b->image + i / b->g_rows) * y[FC_N] + b->channel * y[FC_C] + row * y[FC_H] +
                           span.column * y[FC_W];
        const fc_move move = { .rows = span.inside, .cols = b->channels, .src = fc_at(job->g, at, size),
                               .src_row = y[FC_W], .src_col = y[FC_C],
                               .dst = to + (size_t)span.before * pixel, .dst_row = lanes, .dst_col = 1,
                               .zero_after = lanes - b->channels };
        memset(to, 0, (size_t)span.before * pixel);
        job->table->move(&move);
        const int64_t done = span.before + span.inside;
        memset(to + (size_t)done * pixel, 0, (size_t)(job->cols - done) * pixel);
    }
}

/* The pixels of one rest of rows and of columns. */
static void filter_phase(const lanes_job *job, const lanes_block *b, const fc_lanes_phase *h, const fc_lanes_phase *w,
                         const void *copy, void *to)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, lanes = job->table->lanes, width = conv->in_size[FC_WIDTH];
    const int64_t row = job->cols * lanes, x_row = job->turned ? width * lanes : x[FC_H];
    const int64_t x_col = job->turned ? lanes : x[FC_W], first_row = h->first - (job->turned ? b->row : 0);
    fc_depthwise_lanes d = {
        .row = h->axis, .col = w->axis, .images = b->images, .x_image = b->g_rows * row,
        .y_image = job->turned ? b->rows * width * lanes : x[FC_N], .deep = 1,
        .lanes = job->turned ? lanes : b->channels,
        .inputs = 1, .groups = lanes,
        .x = fc_at(copy, -(h->axis.pad + b->g_at) * row - (w->axis.pad + job->cols_at) * lanes, size),
        .weight = fc_at(job->weight, (b->channel * conv->taps) + (h->tap * conv->kernel[FC_WIDTH] + w->tap) * lanes,
                        size),
        .y = fc_at_mut(to, first_row * x_row + w->first * x_col, size),
    };
    d.row.x_out = row;
    d.row.x_tap = h->axis.dilation * row;
    d.row.y_out = conv->stride[FC_HEIGHT] * x_row;
    d.row.w_tap = h->tap_step * conv->kernel[FC_WIDTH] * lanes;
    d.col.x_out = lanes;
    d.col.x_tap = w->axis.dilation * lanes;
    d.col.y_out = conv->stride[FC_WIDTH] * x_col;
    d.col.w_tap = w->tap_step * lanes;
    job->table->depthwise_lanes(&d);
}

static void move_back(const lanes_job *job, const lanes_block *b, const void *memory)
{
    const fc_conv *conv = job->conv;
    const int64_t *x = conv->x_stride, lanes = job->table->lanes, width = conv->in_size[FC_WIDTH];
    const size_t size = fc_size_of(conv->dtype);
    const bool whole = b->rows == 1 || x[FC_H] == width * x[FC_W];
    const int64_t rows = whole ? 1 : b->rows, cols = whole ? b->rows * width : width;
    for (int64_t i = 0; i < b->images * rows; i++) {
        const int64_t at = (b->image + i / rows) * x[FC_N] + b->channel * x[FC_C] + (b->row + i % rows) * x[FC_H];
        const fc_move move = { .rows = b->channels, .cols = cols, .src = fc_at(memory, i * cols * lanes, size),
                               .src_row = 1, .src_col = lanes, .dst = fc_at_mut(job->grad, at, size),
                               .dst_row = x[FC_C], .dst_col = cols == 1 ? 1 : x[FC_W] };
        job->table->move(&move);
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const lanes_job *job = context;
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const lanes_block b = block_of(job, task);
    void *to = job->turned ? fc_at_mut(memory, job->images * job->most_rows * job->cols * job->table->lanes, size)
                           : fc_at_mut(job->grad, b.image * conv->x_stride[FC_N] + b.channel * conv->x_stride[FC_C],
                                       size);
    copy_outputs(job, &b, memory);
    for (int64_t i = 0; i < fc_min(conv->stride[FC_HEIGHT], b.rows); i++) {
        const fc_lanes_phase h = fc_lanes_phase_of(conv, FC_HEIGHT, b.row + i, b.row + b.rows);
        for (int64_t j = 0; j < fc_min(conv->stride[FC_WIDTH], conv->in_size[FC_WIDTH]); j++) {
            const fc_lanes_phase w = fc_lanes_phase_of(conv, FC_WIDTH, j, conv->in_size[FC_WIDTH]);
            filter_phase(job, &b, &h, &w, memory, to);
        }
    }
    if (job->turned)
        move_back(job, &b, to);
}

/* Elements of scratch that one image takes. */
static int64_t elements_of(const lanes_job *job)
{
    const int64_t back = job->turned ? job->rows * job->conv->in_size[FC_WIDTH] : 0;
    return (job->most_rows * job->cols + back) * job->table->lanes;
}

static void set_rows(lanes_job *job, int64_t rows)
{
    const fc_conv *conv = job->conv;
    job->rows = rows;
    job->row_blocks = fc_div_up(conv->in_size[FC_HEIGHT], rows);
    const int64_t halo = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT];
    job->most_rows = (rows - 1 + halo) / conv->stride[FC_HEIGHT] + 2;
    job->most_rows = fc_min(job->most_rows, conv->out_size[FC_HEIGHT] + 2 * border_of(conv, FC_HEIGHT));
}

static void split(lanes_job *job)
{
    const fc_conv *conv = job->conv;
    const int64_t most = MOST_BYTES / (int64_t)fc_size_of(conv->dtype), height = conv->in_size[FC_HEIGHT];
    const fc_span cols = outputs_of(conv, FC_WIDTH, 0, conv->in_size[FC_WIDTH]);
    job->turned = conv->x_stride[FC_C] != 1 && conv->in_channels > 1;
    job->cols = cols.inside;
    job->cols_at = cols.column;
    job->images = 1;
    job->channel_blocks = fc_div_up(conv->in_channels, job->table->lanes);
    set_rows(job, height);
    for (int64_t blocks = 2; job->rows > 1 && elements_of(job) > most; blocks++)
        set_rows(job, fc_div_up(height, blocks));
    if (job->row_blocks == 1) {
        enum { WISHED_TASKS = 16 };
        const int64_t tasks = conv->batch * job->channel_blocks, fit = most / fc_max(1, elements_of(job));
        job->images = fc_max(1, fc_min(fc_min(fit, conv->batch), tasks / WISHED_TASKS));
    }
    job->image_blocks = fc_div_up(conv->batch, job->images);
}

/* Where it was faster in 3250 random layers than what is done without it.  Of stride 1 that is a convolution with the
 * filters turned round, which takes time of its own, for each weight and once: few pixels are not worth it. */
static bool is_fastest(const fc_conv *conv)
{
    enum { FEW = 150, FEW_LAST = 200, ONCE = 2000, ONCE_LAST = 6000 };
    enum { NARROW = 8, MANY_TAPS = 30, MORE_TAPS = 64, CHANNELS = 128 };
    const int64_t width = conv->in_size[FC_WIDTH], pixels = conv->in_size[FC_HEIGHT] * width;
    const int64_t stride = fc_max(conv->stride[FC_HEIGHT], conv->stride[FC_WIDTH]);
    if (stride == 1) {
        const int64_t most = (conv->channels_last ? FEW_LAST : FEW) * (conv->taps > MORE_TAPS ? 3 : 1);
        const int64_t once = (conv->channels_last ? ONCE_LAST : ONCE) / conv->in_channels;
        return pixels <= fc_min(most, conv->taps + conv->taps / 3 + once) / fc_max(1, conv->batch);
    }
    if (!conv->channels_last && fc_input_planes.supports(conv) == NULL)
        return true;                          /* that was asked before, and found this to be faster */
    if (4 * conv->in_channels < 3 * fc_table_for(conv->dtype)->lanes)
        return false;
    if (conv->channels_last)
        return conv->taps > MANY_TAPS && (conv->in_channels <= CHANNELS || conv->taps > MORE_TAPS);
    return pixels > 1 && (stride >= 3 || conv->taps > MANY_TAPS || width <= NARROW);
}

static const char *supports(const fc_conv *conv)
{
    lanes_job job = { .conv = conv, .table = fc_table_for(conv->dtype) };
    if (conv->in_per_group != 1 || conv->out_per_group != 1 || conv->kernel[FC_DEPTH] != 1 ||
        conv->pad_before[FC_DEPTH] != 0 || conv->in_size[FC_DEPTH] != 1 || conv->out_size[FC_DEPTH] != 1)
        return "lanes needs a depthwise convolution of one depth, without a multiplier";
    split(&job);                              /* scratch is bounded by the cache */
    return elements_of(&job) * (int64_t)fc_size_of(conv->dtype) <= fc_machine_for(conv->dtype)->l2 / 2
               ? NULL : "lanes needs shorter rows";
}

static double cost(fc_input_call *call) { return is_fastest(call->conv) ? 0 : INFINITY; }

static fc_status run(fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    lanes_job job = { .conv = conv, .table = call->table, .g = call->g, .grad = call->grad };
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    const size_t bytes = fc_depthwise_lanes_prepared_size(conv, job.table);
    split(&job);
    void *packed = fc_scratch_borrow(bytes);
    if (!packed)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of packed weights", bytes);
    fc_depthwise_lanes_prepare(conv, job.table, call->weight, packed);
    job.weight = packed;
    const double pixels = (double)(conv->batch * conv->in_channels) * (double)(conv->in_size[1] * conv->in_size[2]);
    const fc_status status = fc_parallel(job.image_blocks * job.row_blocks * job.channel_blocks,
                                         pixels * (double)size / 10e9,
                                         (size_t)(job.images * elements_of(&job) * size), run_task, &job, error);
    fc_scratch_give_back(packed);
    return status;
}

const fc_input_method fc_input_lanes = { .name = "lanes", .also = "depthwise", .supports = supports, .cost = cost,
                                         .run = run };
