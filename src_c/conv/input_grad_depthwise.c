/* The input gradient of strided depthwise convolutions: see input_grad_axis.h for phases and q.
 *
 * Blocks of grad_output are copied to a zero-bordered band, small beside the gradient, so that no
 * pixel is a special case.  NCHW: a plane's band is one long row, filtered once for each phase and
 * woven together as it is stored.  NHWC: lanes are channels, each phase writes its pixels in place. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include "band.h"
#include "cost.h"
#include "input_grad.h"
#include "input_grad_axis.h"

enum {
    FLAT = 2048,              /* q of a block of NCHW: its band and phases stay in L1 */
    PLANES = 8,               /* channels of a task, NCHW */
    BAND = 1 << 15,           /* elements of a band, NHWC */
    MOST_PITCH = 1 << 12,     /* of a row of the band: wider images are left to others */
    MOST_TAPS = 256,
    MOST_PHASES = 32,
    MOST_REACH = 64,          /* rows of a band beyond those of its block */
};

typedef struct depthwise_job {
    const fc_conv *conv;
    const fc_table *table;
    const void *g;
    const void *weight;                       /* NHWC: [tap][channel] */
    void *grad;
    fc_grad_axis axis[FC_SPATIAL];
    fc_conv seen;
    bool last, paired;                        /* lanes are channels; a stride of 2, from g to grad at once */
    int64_t rows, row_blocks, channels, channel_blocks;
    int64_t pitch, plane, flat;               /* NCHW: of a band's row, of a band's plane, of a phase */
    int64_t w_tap;                            /* NHWC: elements from tap to tap */
    bool stream;                              /* paired: as in fc_filter_pixel_pairs */
    int64_t start[MOST_PHASES + 1];           /* of each phase's taps, [rest of row][rest of column] */
    int64_t offset[MOST_TAPS], at[MOST_TAPS]; /* taps by phase: in a band, of the weights */
} depthwise_job;

/* Whatever the multiplier. */
static const char *fits(const fc_conv *conv)
{
    if (conv->in_per_group != 1 || conv->kernel[FC_DEPTH] != 1 || conv->stride[FC_DEPTH] != 1 ||
        conv->pad_before[FC_DEPTH] != 0 || conv->taps * conv->out_per_group > MOST_TAPS)
        return "it needs a depthwise convolution of one depth";
    if (conv->stride[FC_HEIGHT] == 1 && conv->stride[FC_WIDTH] == 1)
        return "it needs a stride";
    if (conv->out_size[FC_WIDTH] > MOST_PITCH || (conv->kernel[FC_WIDTH] - 1) * conv->dilation[FC_WIDTH] > MOST_PITCH ||
        (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] > MOST_REACH)
        return "its rows would not fit scratch";
    if (conv->stride[FC_HEIGHT] > MOST_PHASES || conv->stride[FC_WIDTH] > MOST_PHASES / conv->stride[FC_HEIGHT])
        return "its strides are too large";
    if (conv->x_stride[FC_C] == 1 && conv->y_stride[FC_C] == 1 && conv->groups > 1)
        return conv->out_per_group == 1 ? NULL : "it needs adjacent pixels";
    return conv->x_stride[FC_W] == 1 && conv->y_stride[FC_W] == 1 && conv->stride[FC_WIDTH] <= FC_WEAVE_PHASES
               ? NULL : "it needs adjacent channels, or adjacent pixels and a stride of at most 4";
}

static const char *supports(const fc_conv *conv)
{
    return conv->out_per_group > 1 ? "\"multiplied\" is for a channel multiplier" : fits(conv);
}

static const char *supports_multiplied(const fc_conv *conv)
{
    return conv->out_per_group == 1 ? "it needs a channel multiplier" : fits(conv);
}

/* Of each tap of an axis: its phase, and where it is read.  Worked out once, for divisions take long. */
typedef struct tap_places {
    int64_t rest[MOST_TAPS], back[MOST_TAPS];
} tap_places;

static void place_taps(const fc_grad_axis *axis, int64_t kernel, int64_t step, tap_places *places)
{
    for (int64_t t = 0; t < kernel; t++) {
        places->rest[t] = fc_grad_rest(axis, t);
        places->back[t] = fc_grad_back(axis, t) * step;
    }
}

/* Taps by phase; `channel`, `row` and `col` are the band's steps. */
static void find_taps(depthwise_job *job, int64_t channel, int64_t row, int64_t col)
{
    const int64_t *k = job->conv->kernel, width = job->axis[2].stride, phases = job->axis[1].stride * width;
    tap_places high, wide;
    int64_t count = 0;
    place_taps(&job->axis[1], k[1], row, &high);
    place_taps(&job->axis[2], k[2], col, &wide);
    for (int64_t phase = 0; phase < phases; phase++) {
        const int64_t rest_h = phase / width, rest_w = phase % width;
        job->start[phase] = count;
        for (int64_t o = 0; o < job->conv->out_per_group; o++)
            for (int64_t h = 0; h < k[1]; h++)
                for (int64_t w = 0; w < k[2] && high.rest[h] == rest_h; w++)
                    if (wide.rest[w] == rest_w) {
                        job->offset[count] = o * channel + high.back[h] + wide.back[w];
                        job->at[count++] = ((o * k[1] + h) * k[2] + w) * job->w_tap;
                    }
    }
    job->start[phases] = count;
}

/* What a task computes: rows and channels, first and how many; rows count q. */
typedef struct depthwise_block {
    int64_t image, depth, row, rows, channel, channels;
} depthwise_block;

static depthwise_block block_of(const depthwise_job *job, int64_t task)
{
    const fc_conv *conv = job->conv;
    depthwise_block b;
    b.row = task % job->row_blocks * job->rows;
    b.rows = fc_min(job->rows, job->axis[1].count - b.row);
    task /= job->row_blocks;
    b.channel = task % job->channel_blocks * job->channels;
    b.channels = fc_min(job->channels, conv->in_channels - b.channel);
    task /= job->channel_blocks;
    b.depth = task % conv->in_size[FC_DEPTH];
    b.image = task / conv->in_size[FC_DEPTH];
    return b;
}

static void pad(const depthwise_job *job, const depthwise_block *b, void *band)
{
    const fc_conv *conv = job->conv;
    const int64_t *y = conv->y_stride, outs = conv->out_per_group;
    const int64_t rows = b->rows + job->axis[1].reach, row = b->row - job->seen.pad_before[1];
    const int64_t top = fc_min(rows, fc_max(0, -row)), from = fc_max(0, row);
    const fc_span span = fc_span_of(0, job->pitch, 1, -job->seen.pad_before[2], conv->out_size[2]);
    fc_pad_planes p = {
        .planes = b->channels * outs, .cols = span.inside, .col_step = 1, .top = top,
        .rows = fc_max(0, fc_min(rows - top, conv->out_size[1] - from)), .left = span.before, .pitch = job->pitch,
        .src = job->g, .src_plane = y[FC_C], .src_row = y[FC_H], .band = band, .band_plane = job->plane,
    };
    p.bottom = rows - top - p.rows;
    if (p.rows > 0 && p.cols > 0)
        p.src = fc_at(job->g, b->image * y[FC_N] + b->channel * outs * y[FC_C] + b->depth * y[FC_D] + from * y[FC_H] +
                                  span.column, fc_size_of(conv->dtype));
    job->table->pad_planes(&p);
}

/* The rows of a block that have one rest and lie inside, of the block's first channel. */
typedef struct row_phase {
    int64_t skip, rows;                       /* of the block's, before the first; how many */
    int64_t step, at;                         /* elements of the gradient from row to row; its first */
    const int64_t *start;                     /* of the taps of each column phase */
} row_phase;

static row_phase row_phase_of(const depthwise_job *job, const depthwise_block *b, int64_t rest)
{
    const fc_conv *conv = job->conv;
    const int64_t *x = conv->x_stride, step = job->axis[1].stride;
    const int64_t row = fc_grad_pixel(conv, &job->axis[1], 1, b->row, rest);
    const int64_t end = row >= conv->in_size[1] ? 0 : (conv->in_size[1] - 1 - row) / step + 1;
    row_phase p = { .skip = row < 0 ? 1 : 0, .step = step * x[FC_H], .start = &job->start[rest * job->axis[2].stride] };
    p.rows = fc_min(b->rows, end) - p.skip;
    p.at = b->image * x[FC_N] + b->channel * x[FC_C] + b->depth * x[FC_D] + (row + p.skip * step) * x[FC_H];
    return p;
}

/* A stride of two: both column phases at once, woven in registers. */
static void pairs(const depthwise_job *job, const depthwise_block *b, const row_phase *phase, const void *band)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t outs = conv->out_per_group, odd = conv->pad_before[2] % 2;
    fc_filter_pairs f = { .rows = phase->rows, .cols = conv->in_size[2], .src_row = job->pitch,
                          .dst_row = phase->step };
    for (int64_t p = 0; p < 2; p++) {
        const int64_t rest = (p + odd) % 2, first = phase->start[rest];
        f.taps[p] = phase->start[rest + 1] - first;
        f.offset[p] = job->offset + first;
        f.at[p] = job->at + first;
    }
    for (int64_t c = 0; c < b->channels; c++) {
        f.src[0] = fc_at(band, c * outs * job->plane + phase->skip * job->pitch, size);
        f.src[1] = fc_at(f.src[0], odd, size);
        f.weight = fc_at(job->weight, (b->channel + c) * outs * conv->taps, size);
        f.dst = fc_at_mut(job->grad, phase->at + c * conv->x_stride[FC_C], size);
        job->table->filter_pairs(&f);
    }
}

/* Any stride: each column phase of a whole block to a buffer, from which rows are woven. */
static void weave(const depthwise_job *job, const depthwise_block *b, const row_phase *phase, const void *band,
                  void *buffer)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t outs = conv->out_per_group, stride = job->axis[2].stride, first = conv->pad_before[2] % stride;
    fc_weave w = { .rows = phase->rows, .cols = conv->in_size[2], .phases = (int)stride, .src_row = job->pitch,
                   .dst_row = phase->step };
    for (int64_t c = 0; c < b->channels; c++) {
        for (int64_t p = 0; p < stride; p++) {
            const int64_t rest = (p + first) % stride, taps = phase->start[rest + 1] - phase->start[rest];
            const fc_filter_flat f = {
                .count = b->rows * job->pitch, .taps = taps, .offset = job->offset + phase->start[rest],
                .at = job->at + phase->start[rest], .src = fc_at(band, c * outs * job->plane, size),
                .weight = fc_at(job->weight, (b->channel + c) * outs * conv->taps, size),
                .dst = fc_at_mut(buffer, rest * job->flat, size),
            };
            if (taps > 0)
                job->table->filter_flat(&f);
            w.src[p] = taps > 0 ? fc_at(f.dst, phase->skip * job->pitch + (p + first) / stride, size) : NULL;
        }
        w.dst = fc_at_mut(job->grad, phase->at + c * conv->x_stride[FC_C], size);
        job->table->weave(&w);
    }
}

static void planes_task(void *context, int64_t task, void *memory)
{
    const depthwise_job *job = context;
    const depthwise_block b = block_of(job, task);
    void *buffer = fc_at_mut(memory, job->channels * job->conv->out_per_group * job->plane + job->flat,
                             fc_size_of(job->conv->dtype));
    pad(job, &b, memory);
    for (int64_t rest = 0; rest < job->axis[1].stride; rest++) {
        const row_phase phase = row_phase_of(job, &b, rest);
        if (phase.rows > 0 && job->axis[2].stride == 2)
            pairs(job, &b, &phase, memory);
        else if (phase.rows > 0)
            weave(job, &b, &phase, memory, buffer);
    }
}

/* One row of pixels of one phase, all channels of the band. */
static void filter_row(const depthwise_job *job, const fc_band *band, int64_t channels, const int64_t *start,
                       int64_t rest_w, const void *src, const void *weight, void *row)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const fc_grad_axis *a = &job->axis[2];
    const int64_t pixel = fc_grad_pixel(conv, a, 2, 0, rest_w), skip = pixel < 0 ? 1 : 0;
    const int64_t first = pixel + skip * a->stride;
    if (first >= conv->in_size[2])
        return;
    const fc_filter_pixels f = {
        .lanes = channels, .src = fc_at(src, skip * band->col_step, size), .weight = weight,
        .dst = fc_at_mut(row, first * conv->x_stride[FC_W], size),
        .count = (conv->in_size[2] - 1 - first) / a->stride + 1, .taps = start[1] - start[0],
        .offset = job->offset + start[0], .at = job->at + start[0], .src_step = band->col_step,
        .dst_step = a->stride * conv->x_stride[FC_W],
    };
    job->table->filter_pixels(&f);
}

static void pixels_task(void *context, int64_t task, void *memory)
{
    const depthwise_job *job = context;
    const fc_conv *conv = job->conv;
    const int64_t *x = conv->x_stride;
    const size_t size = fc_size_of(conv->dtype);
    const depthwise_block b = block_of(job, task);
    const fc_conv_run run = { .conv = &job->seen, .table = job->table, .x = job->g };
    const fc_block_origin origin = { b.image, b.depth, b.row, 0 };
    const fc_band band = fc_band_make(&job->seen, job->channels, b.rows, job->axis[2].count, true, 1);
    fc_band_copy(&run, &band, &origin, b.channel, b.channels, memory);
    for (int64_t rh = 0; rh < job->axis[1].stride; rh++)
        for (int64_t rw = 0; rw < job->axis[2].stride; rw++) {
            const int64_t *start = &job->start[rh * job->axis[2].stride + rw];
            for (int64_t r = 0; r < b.rows; r++) {
                const int64_t h = fc_grad_pixel(conv, &job->axis[1], 1, b.row + r, rh);
                if (h >= 0 && h < conv->in_size[1])
                    filter_row(job, &band, b.channels, start, rw, fc_at(memory, r * band.row_step, size),
                               fc_at(job->weight, b.channel, size),
                               fc_at_mut(job->grad, b.image * x[FC_N] + b.channel + b.depth * x[FC_D] +
                                                    h * x[FC_H], size));
            }
        }
}

/* The rows of g that a row of the gradient meets, and the rows of the kernel through which: none, or each as far from
 * the one before. */
static void find_rows(const depthwise_job *job, int64_t q, int64_t rest, fc_filter_pixel_pairs *f)
{
    const fc_conv *conv = job->conv;
    const fc_grad_axis *a = &job->axis[1];
    int64_t first = 0, tap = 0, last = 0, last_tap = 0;
    f->rows = 0;
    for (int64_t h = 0; h < conv->kernel[1]; h++) {
        const int64_t output = a->first + q - h * a->dilation / a->stride;
        if (fc_grad_rest(a, h) != rest || output < 0 || output >= conv->out_size[1])
            continue;
        if (f->rows++ == 0) {
            first = output;
            tap = h;
        }
        last = output;
        last_tap = h;
    }
    const int64_t between = fc_max(1, f->rows - 1), w_row = conv->kernel[2] * job->w_tap;
    f->src_row = (last - first) / between * conv->y_stride[FC_H];
    f->w_row = (last_tap - tap) / between * w_row;
    f->src = fc_at(f->src, first * conv->y_stride[FC_H], fc_size_of(conv->dtype));
    f->weight = fc_at(f->weight, tap * w_row, fc_size_of(conv->dtype));
}

static void pairs_task(void *context, int64_t task, void *memory)
{
    (void)memory;
    const depthwise_job *job = context;
    const fc_conv *conv = job->conv;
    const int64_t *x = conv->x_stride, *y = conv->y_stride;
    const size_t size = fc_size_of(conv->dtype);
    const depthwise_block b = block_of(job, task);
    for (int64_t q = b.row; q < b.row + b.rows; q++)
        for (int64_t rest = 0; rest < job->axis[1].stride; rest++) {
            const int64_t row = fc_grad_pixel(conv, &job->axis[1], 1, q, rest);
            if (row < 0 || row >= conv->in_size[1])
                continue;
            fc_filter_pixel_pairs f = {
                .lanes = conv->in_channels, .pixels = conv->in_size[2], .outputs = conv->out_size[2],
                .kernel = conv->kernel[2], .pad = conv->pad_before[2],
                .src = fc_at(job->g, b.image * y[FC_N] + b.depth * y[FC_D], size), .weight = job->weight,
                .src_step = y[FC_W], .w_step = job->w_tap,
                .dst = fc_at_mut(job->grad, b.image * x[FC_N] + b.depth * x[FC_D] + row * x[FC_H], size),
                .dst_step = x[FC_W], .stream = job->stream,
            };
            find_rows(job, q, rest, &f);
            job->table->filter_pixel_pairs(&f);
        }
}

/* Weights as [tap][channel], whole vectors of channels. */
static void *turned_weights(const depthwise_job *job, const void *weight)
{
    const fc_conv *conv = job->conv;
    int64_t at[MOST_TAPS];
    void *turned = fc_scratch_borrow((size_t)(conv->taps * job->w_tap) * fc_size_of(conv->dtype));
    for (int64_t t = 0; t < conv->taps; t++)
        at[t] = t * job->w_tap;
    const fc_turn_panel w = { .outs = 1, .ins = conv->in_channels, .taps = conv->taps, .panel = job->w_tap, .at = at,
                              .src = weight, .dst = turned };
    if (turned)
        job->table->turn_panel(&w);
    return turned;
}

/* Rows of a task by what they write. */
static size_t split_pairs(depthwise_job *job)
{
    const fc_conv *conv = job->conv;
    const int64_t *x = conv->x_stride, lanes = job->table->lanes, size = (int64_t)fc_size_of(conv->dtype);
    const int64_t count = job->axis[1].count, row = job->axis[1].stride * conv->in_size[2] * conv->in_channels;
    job->channels = conv->in_channels;
    job->channel_blocks = 1;
    job->row_blocks = fc_div_up(count, fc_max(1, fc_min(count, BAND / fc_max(1, row))));
    job->rows = fc_div_up(count, job->row_blocks);
    job->row_blocks = fc_div_up(count, job->rows);
    const bool whole = conv->in_channels % lanes == 0 && x[FC_W] % lanes == 0 && x[FC_H] % lanes == 0 &&
                       x[FC_D] % lanes == 0 && x[FC_N] % lanes == 0 &&
                       (uintptr_t)job->grad % (uintptr_t)(lanes * size) == 0;
    job->stream = whole && fc_past_caches(fc_x_count(conv) * size);
    return 0;
}

static size_t split(depthwise_job *job)
{
    if (job->paired)
        return split_pairs(job);
    const fc_conv *conv = job->conv;
    const int64_t height = job->axis[1].count, width = job->axis[2].count, lanes = job->table->lanes;
    job->pitch = width + job->axis[2].reach;
    const int64_t most_channels = fc_max(lanes, BAND / (4 + job->axis[1].reach) / job->pitch);
    job->channel_blocks = job->last ? fc_div_up(conv->in_channels, most_channels)
                                    : fc_div_up(conv->in_channels, PLANES);
    job->channels = fc_min(conv->in_channels,
                           fc_round_up(fc_div_up(conv->in_channels, job->channel_blocks), job->last ? lanes : 1));
    const int64_t most = job->last ? BAND / (job->channels * job->pitch) - job->axis[1].reach : FLAT / job->pitch;
    job->rows = fc_max(1, fc_min(height, most));
    job->row_blocks = fc_div_up(height, job->rows);
    job->rows = fc_div_up(height, job->row_blocks);
    job->row_blocks = fc_div_up(height, job->rows);
    job->channel_blocks = fc_div_up(conv->in_channels, job->channels);
    const fc_band band = fc_band_make(&job->seen, job->channels, job->rows, width, true, 1);
    job->plane = (job->rows + job->axis[1].reach) * job->pitch;
    job->flat = fc_round_up(job->rows * job->pitch + job->axis[2].reach, lanes) + 4 * lanes;
    if (job->last)
        find_taps(job, 0, band.row_step, band.col_step);
    else
        find_taps(job, job->plane, job->pitch, 1);
    const int64_t planes = job->channels * conv->out_per_group * job->plane + (1 + job->axis[2].stride) * job->flat;
    return (size_t)(job->last ? band.size + lanes : planes) * fc_size_of(conv->dtype);
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    depthwise_job job = { .conv = conv, .table = call->table, .g = call->g, .weight = call->weight,
                          .grad = call->grad };
    job.last = conv->x_stride[FC_C] == 1 && conv->y_stride[FC_C] == 1 && conv->groups > 1;
    job.seen = fc_grad_axes(conv, job.axis);
    job.paired = job.last && conv->stride[2] == 2 && conv->dilation[2] == 1 &&
                 (conv->kernel[2] == 3 || conv->kernel[2] == 5 || conv->kernel[2] == 7);
    job.w_tap = job.last ? fc_round_up(conv->in_channels, job.table->lanes) : 1;
    const size_t bytes = split(&job);
    void *turned = NULL;
    if (job.last) {
        turned = turned_weights(&job, call->weight);
        if (!turned)
            return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %lld filters turned round",
                           (long long)conv->in_channels);
        job.weight = turned;
    }
    const double pixels = (double)(conv->batch * conv->in_channels) *
                          (double)(conv->in_size[0] * conv->in_size[1]) * (double)conv->in_size[2];
    const double seconds = pixels * (double)fc_size_of(conv->dtype) / 10e9;
    const fc_status status = fc_parallel(conv->batch * conv->in_size[0] * job.channel_blocks * job.row_blocks, seconds,
                                         bytes, job.paired ? pairs_task : job.last ? pixels_task : planes_task, &job,
                                         error);
    fc_scratch_give_back(turned);
    return status;
}

/* Blocks of groups are the only others that may be faster: their price is in call->most. */
static double cost_multiplied(fc_input_call *call)
{
    const fc_conv *conv = call->conv;
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const double planes = (double)(conv->batch * conv->groups), filters = planes * (double)conv->out_per_group;
    const double height = (double)conv->in_size[FC_HEIGHT], width = (double)conv->in_size[FC_WIDTH];
    const double high = height / (double)conv->stride[FC_HEIGHT], wide = width / (double)conv->stride[FC_WIDTH];
    const fc_count counts[] = {
        { filters * (double)conv->taps * (1 + high * wide / machine->lanes), 3.4 },
        { filters * high, 26 },                                                    /* rows of the band */
        { planes * height * width / machine->lanes, 17 },                          /* woven */
        { planes * (double)(conv->stride[FC_HEIGHT] * conv->stride[FC_WIDTH]), 45 },
        { 1, 3000 },
    };
    const double seconds = FC_COST(counts, machine);
    return conv->channels_last || seconds < 1.2 * call->most ? 0 : seconds;
}

/* Two methods, so that "depthwise" names one that takes no multiplier, whatever the layout and the stride. */
const fc_input_method fc_input_strided = {
    .name = "strided", .also = "depthwise", .supports = supports, .run = run,
};
const fc_input_method fc_input_multiplied = {
    .name = "multiplied", .supports = supports_multiplied, .cost = cost_multiplied, .run = run,
};
