/* The algorithm "dot": every output is a sum along its weights, which are read in place, once for
 * several pixels.  For few pixels, where rearranging weights would cost more than using them:
 * 1x1 planes, whole-image kernels, 7x7 planes of plain calls.  Called through list.c.
 *
 *     for block of pixels (what they see, packed in the order of the weights, has PACK_BYTES at most)
 *       pack, in parallel, unless x has that order already
 *       for task: a group's rows of weights
 *         for block of k (8 pixels of it stay in L1, the rows' part in L2)
 *           dot product of rows x pixels
 */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "dot_taps.h"
#include "geometry.h"
#include <stdio.h>

enum { PIXELS = 56, AHEAD = 32 };            /* of a call of the kernel; that are asked for before */
enum { PACK_BYTES = 1 << 20, K_BYTES = 4096, MOST_ROWS = 96, ROW_UNIT = 24, MOST_BLOCK = 4096 };
static const double pack_bandwidth = 4e9;

typedef struct dot_split {
    int64_t pixels, block;                    /* of all images; of one pass */
    int64_t k_block, rows, row_blocks;        /* rows: output channels of a task */
    size_t bytes;                             /* borrowed: pointers and packed pixels */
} dot_split;

typedef struct dot_job {
    const fc_conv_run *run;
    dot_split split;
    int64_t first, count, parts;              /* pixels of this pass, and parts of them that are tasks */
    bool in_place;
    bool x_far;                               /* comes from memory, where it lies */
    const void **x;                           /* what a pixel sees, of group 0 */
    void **c;                                 /* its first output channel */
    int64_t x_group;                          /* elements from group to group */
    void *packed;
} dot_job;

static const char *supports(const fc_conv *conv)
{
    (void)conv;
    return NULL;
}

static dot_split split_of(const fc_conv *conv)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype), seen = conv->depth * conv->groups * size;
    dot_split s = { .pixels = conv->batch * conv->out_pixels };
    s.block = fc_max(1, fc_min(fc_min(s.pixels, MOST_BLOCK), PACK_BYTES / seen));
    s.k_block = K_BYTES / size;
    s.rows = fc_min(fc_round_up(fc_div_up(conv->out_per_group, 8), ROW_UNIT), MOST_ROWS);
    s.row_blocks = fc_div_up(conv->out_per_group, s.rows);
    s.bytes = (size_t)(s.block * (seen + 2 * (int64_t)sizeof(void *)) + 2 * 64);
    return s;
}

/* Whether what a pixel sees lies in the order of the weights already. */
static bool is_in_place(const fc_conv *conv)
{
    if (!fc_unpadded(conv))
        return false;
    int64_t step = 1;
    for (int axis = FC_SPATIAL - 1; axis >= 0; axis--) {
        if (conv->kernel[axis] > 1 && (conv->dilation[axis] > 1 || conv->x_stride[FC_D + axis] != step))
            return false;
        step *= conv->kernel[axis];
    }
    return conv->in_per_group == 1 || conv->x_stride[FC_C] == step;
}

static const void *pixel_in_x(const fc_conv_run *run, int64_t pixel, int64_t at[FC_SPATIAL])
{
    const fc_conv *conv = run->conv;
    const int64_t image = pixel / conv->out_pixels;
    int64_t rest = pixel % conv->out_pixels, offset = image * conv->x_stride[FC_N];
    for (int axis = FC_SPATIAL - 1; axis >= 0; axis--) {
        at[axis] = rest % conv->out_size[axis] * conv->stride[axis] - conv->pad_before[axis];
        rest /= conv->out_size[axis];
        offset += at[axis] * conv->x_stride[FC_D + axis];
    }
    return fc_at(run->x, offset, fc_size_of(conv->dtype));
}

static void *pixel_in_y(const fc_conv_run *run, int64_t pixel)
{
    const fc_conv *conv = run->conv;
    int64_t rest = pixel % conv->out_pixels, offset = pixel / conv->out_pixels * conv->y_stride[FC_N];
    for (int axis = FC_SPATIAL - 1; axis >= 0; axis--) {
        offset += rest % conv->out_size[axis] * conv->y_stride[FC_D + axis];
        rest /= conv->out_size[axis];
    }
    return fc_at_mut(run->y, offset, fc_size_of(conv->dtype));
}

/* One pixel under a kernel of several taps: of each kernel row, all channels at once. */
static void pack_window(const dot_job *job, int64_t pixel, void *dst)
{
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *const kernel = conv->kernel, *const step = conv->x_stride;
    int64_t at[FC_SPATIAL];
    const char *const src = pixel_in_x(job->run, pixel, at);
    for (int64_t d = 0; d < kernel[0]; d++)
        for (int64_t h = 0; h < kernel[1]; h++) {
            const int64_t z = d * conv->dilation[0], y = h * conv->dilation[1];
            const bool inside = at[0] + z >= 0 && at[0] + z < conv->in_size[0] && at[1] + y >= 0 &&
                                at[1] + y < conv->in_size[1];
            const fc_span span = fc_span_of(0, kernel[2], conv->dilation[2], at[2], inside ? conv->in_size[2] : 0);
            const fc_move move = {
                .rows = conv->in_channels, .cols = span.inside,
                .src = span.inside ? fc_at(src, z * step[FC_D] + y * step[FC_H] +
                                                span.before * conv->dilation[2] * step[FC_W], size)
                                   : job->run->x,
                .src_row = step[FC_C], .src_col = conv->dilation[2] * step[FC_W],
                .dst = fc_at_mut(dst, (d * kernel[1] + h) * kernel[2], size), .dst_row = conv->taps, .dst_col = 1,
                .zero_before = span.before, .zero_after = kernel[2] - span.before - span.inside,
            };
            job->run->table->move(&move);
        }
}

/* Pixels first .. first + count of a 1x1 kernel, evenly apart in x: a transpose. */
static void pack_run(const dot_job *job, int64_t first, int64_t count, int64_t step, void *dst)
{
    const fc_conv *conv = job->run->conv;
    int64_t at[FC_SPATIAL];
    const fc_move move = {
        .rows = count, .cols = conv->in_channels, .src = pixel_in_x(job->run, first, at), .src_row = step,
        .src_col = conv->x_stride[FC_C], .dst = dst, .dst_row = conv->in_channels, .dst_col = 1,
    };
    job->run->table->move(&move);
}

enum { PACK_PIXELS = 16 };

static void pack_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const dot_job *job = context;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t seen = conv->depth * conv->groups, *stride = conv->stride;
    const bool even = stride[0] == 1 && stride[1] == 1 && stride[2] == 1 &&
                      fc_pixels_uniform(conv->x_stride, conv->in_size);
    const int64_t row = even ? conv->out_pixels : conv->out_size[FC_WIDTH];
    const bool pointwise = conv->taps == 1 && fc_unpadded(conv);
    const int64_t end = job->first + fc_min((task + 1) * PACK_PIXELS, job->count);
    int64_t count;
    for (int64_t p = job->first + task * PACK_PIXELS; p < end; p += count) {
        void *dst = fc_at_mut(job->packed, (p - job->first) * seen, size);
        count = pointwise ? fc_min(end - p, row - p % row) : 1;
        if (pointwise)
            pack_run(job, p, count, conv->stride[FC_WIDTH] * conv->x_stride[FC_W], dst);
        else
            pack_window(job, p, dst);
    }
}

static void run_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const dot_job *job = context;
    const dot_split *s = &job->split;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t part = task / (s->row_blocks * conv->groups);
    const int64_t group = task / s->row_blocks % conv->groups, row = task % s->row_blocks * s->rows;
    const int64_t start = job->count * part / job->parts, end = job->count * (part + 1) / job->parts;
    const int64_t channel = group * conv->out_per_group + row;
    const void *x[PIXELS + AHEAD];
    void *c[PIXELS];
    const int64_t weight_at = 0;
    fc_dot dot = {
        .rows = fc_min(s->rows, conv->out_per_group - row), .weight_row = conv->depth, .parts = 1,
        .weight_at = &weight_at, .x = x, .c = c, .c_row = conv->y_stride[FC_C],
        .bias = run->bias ? fc_at(run->bias, channel, size) : NULL, .activation = conv->activation,
    };
    const int64_t passes = fc_div_up(end - start, PIXELS);
    for (int64_t k = 0; k < conv->depth; k += s->k_block)
        for (int64_t pass = 0; pass < passes; pass++) {
            const int64_t first = start + (end - start) * pass / passes;
            dot.pixels = start + (end - start) * (pass + 1) / passes - first;
            const int64_t known = job->x_far ? fc_min(dot.pixels + AHEAD, end - first) : dot.pixels;
            for (int64_t p = 0; p < known; p++)
                x[p] = fc_at(job->x[first + p], group * job->x_group + k, size);
            dot.x_ahead = job->x_far ? known : 0;
            for (int64_t p = 0; p < dot.pixels; p++) {
                c[p] = fc_at_mut(job->c[first + p], channel * conv->y_stride[FC_C], size);
            }
            dot.weight = fc_at(run->weight, channel * conv->depth + k, size);
            dot.k = fc_min(s->k_block, conv->depth - k);
            dot.accumulate = k > 0;
            dot.finish = k + dot.k == conv->depth;
            run->table->dot(&dot);
        }
}

static double plain_cost(const fc_conv *conv, const fc_machine *machine)
{
    const dot_split s = split_of(conv);
    const double groups = (double)conv->groups, rows = (double)conv->out_per_group, pixels = (double)s.pixels;
    const double vectors = (double)(fc_div_up(conv->depth, machine->lanes) + conv->depth / s.k_block);
    const double passes = (double)fc_div_up(s.pixels, s.block), pointwise = conv->taps == 1;
    const double packs = is_in_place(conv) ? 0 : 1;
    const double packed = packs * groups * (double)conv->depth * pixels / machine->lanes;
    const double windows = packs * pixels * (double)(conv->kernel[FC_DEPTH] * conv->kernel[FC_HEIGHT]);
    const fc_count counts[] = {
        { groups * vectors * rows * pixels, fc_dot_multiply(machine) },
        { groups * vectors * rows * (double)fc_div_up(s.pixels, 8), 1.74 },         /* weights read */
        { groups * rows * pixels * (1 + (double)(conv->depth / s.k_block)), 7.69 }, /* sums of lanes */
        { groups * pixels, 10.9 },                                                  /* addresses */
        { pointwise * packed, 26.9 },
        { (1 - pointwise) * windows, 62.6 },                                        /* calls of move */
        { (1 - pointwise) * !conv->channels_last * windows * (double)conv->in_channels, 7.78 },
        { (1 - pointwise) * conv->channels_last * windows * (double)conv->in_channels, 10.4 },
        { (1 - pointwise) * windows * (double)(conv->in_channels * fc_max(0, conv->kernel[FC_WIDTH] - 7)), 1.95 },
        { passes * groups * (double)s.row_blocks, 32 },
        { 1, 3210 },
    };
    return FC_COST(counts, machine);
}

/* Whether tap by tap is the fastest way: the same for every view of arrays of this layout. */
static bool by_taps(const fc_conv *conv)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    return fc_dot_taps_cost(conv, machine, false) < plain_cost(conv, machine);
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    const double taps = fc_dot_taps_cost(conv, machine, false), plain = plain_cost(conv, machine);
    return taps < plain ? (prepared ? fc_dot_taps_cost(conv, machine, true) : taps) : plain;
}

/* Where each pixel of the block begins in x, or in its packed copy, and in y: a row at a time. */
static void find_pixels(dot_job *job)
{
    const fc_conv *conv = job->run->conv;
    const int64_t width = conv->out_size[FC_WIDTH], size = (int64_t)fc_size_of(conv->dtype);
    /* A stride that is never taken may be of any size. */
    const int64_t between = width > 1 ? conv->stride[FC_WIDTH] * conv->x_stride[FC_W] : 0;
    const int64_t x_step = (job->in_place ? between : conv->depth * conv->groups) * size;
    const int64_t y_step = conv->y_stride[FC_W] * size;
    int64_t at[FC_SPATIAL], count;
    for (int64_t p = 0; p < job->count; p += count) {
        count = fc_min(width - (job->first + p) % width, job->count - p);
        const char *x = job->in_place ? pixel_in_x(job->run, job->first + p, at)
                                      : (const char *)job->packed + p * x_step;
        char *y = pixel_in_y(job->run, job->first + p);
        for (int64_t i = p; i < p + count; i++, x += x_step, y += y_step) {
            job->x[i] = x;
            job->c[i] = y;
        }
    }
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    const fc_conv *conv = run->conv;
    if (by_taps(conv))
        return fc_dot_taps_forward(run, error);
    const size_t size = fc_size_of(conv->dtype);
    dot_job job = { .run = run, .split = split_of(conv), .in_place = is_in_place(conv) };
    const dot_split *s = &job.split;
    void *memory = fc_scratch_borrow(s->bytes);
    if (!memory)
        return fc_fail(error, FC_NO_MEMORY, "x: no memory for %zu bytes of packed pixels", s->bytes);
    job.x = memory;
    job.c = (void **)(job.x + s->block);
    job.packed = (void *)(((uintptr_t)(job.c + s->block) + 63) / 64 * 64);
    job.x_far = job.in_place && fc_past_caches(fc_x_count(conv) * (int64_t)size);
    job.x_group = job.in_place ? conv->in_per_group * conv->x_stride[FC_C] : conv->depth;
    const double seconds = plain_cost(conv, fc_machine_for(conv->dtype));
    const double seen = (double)conv->depth * (double)conv->groups;
    fc_status status = FC_OK;
    for (job.first = 0; job.first < s->pixels && status == FC_OK; job.first += s->block) {
        job.count = fc_min(s->block, s->pixels - job.first);
        job.parts = fc_max(1, fc_min(fc_worth_tasks(conv) / (conv->groups * s->row_blocks), job.count / PIXELS));
        find_pixels(&job);
        if (!job.in_place)
            status = fc_parallel(fc_div_up(job.count, PACK_PIXELS),
                                 seen * (double)job.count * (double)size / pack_bandwidth, 0, pack_task, &job, error);
        if (status == FC_OK)
            status = fc_parallel(job.parts * conv->groups * s->row_blocks,
                                 seconds * (double)job.count / (double)s->pixels, 0, run_task, &job, error);
    }
    fc_scratch_give_back(memory);
    return status;
}

static size_t scratch(const fc_conv *conv, const fc_table *table)
{
    (void)table;
    return by_taps(conv) ? fc_dot_taps_scratch(conv) : split_of(conv).bytes;
}

static size_t prepared_size(const fc_conv *conv, const fc_table *table)
{
    (void)table;
    return by_taps(conv) ? fc_dot_taps_prepared_size(conv) : 0;
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    (void)table;
    if (by_taps(conv)) {
        fc_dot_taps_describe(conv, text, size);
        return;
    }
    const dot_split s = split_of(conv);
    snprintf(text, size, "%lld output channels by %lld of %lld pixels, %lld deep; %lld tasks", (long long)s.rows,
             (long long)s.block, (long long)s.pixels, (long long)fc_min(s.k_block, conv->depth),
             (long long)(conv->groups * s.row_blocks));
}

const fc_algorithm fc_algorithm_dot = {
    .name = "dot",
    .summary = "weights in place, summed along the kernel: for few pixels",
    .supports = supports,
    .cost = cost,
    .scratch = scratch,
    .prepared_size = prepared_size,
    .prepare = fc_dot_taps_prepare,
    .forward = forward,
    .describe = describe,
};
