/* Cutting a padded convolution into parts without padding: see padding.h.
 *
 * A small image is copied with its padding.  Of a large one, the outputs that see none of it are
 * computed in place, and those along the borders from copies of the strips that they see:
 *
 *     +---------------------+
 *     |         top         |      each axis gives a strip before and one behind, as long as the
 *     +----+-----------+----+      axes after it are whole and those before it are the core's
 *     |left|    core   |rght|
 *     +----+-----------+----+
 *     |        bottom       |
 *     +---------------------+
 *
 * A copy takes COPY_BYTES at most, whatever the image: strips are halved until they fit. */
#include "padding.h"
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "geometry.h"
#include <string.h>

enum { COPY_BYTES = 1 << 20 };
static const double copy_bandwidth = 8e9;

/* Some outputs of some images. */
typedef struct box {
    int64_t image, images, first[FC_SPATIAL], end[FC_SPATIAL];
} box;

typedef struct copy_job {
    const fc_conv *conv;                      /* the original */
    const fc_table *table;
    const fc_conv *part;                      /* its in_size and x_stride are the copy's */
    const void *x;
    void *copy;
    const int64_t *from[FC_SPATIAL];          /* source index of each index of the copy, -1 for pad_value */
    int64_t image;
} copy_job;

bool fc_pads_otherwise(const fc_conv *conv)
{
    bool pads = false;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        pads = pads || conv->pad_before[axis] > 0 || conv->pad_after[axis] > 0;
    return pads && conv->pad_mode != FC_PAD_ZEROS && !(conv->pad_mode == FC_PAD_CONSTANT && conv->pad_value == 0);
}

static int64_t reach_of(const fc_conv *conv, int axis) { return (conv->kernel[axis] - 1) * conv->dilation[axis] + 1; }

/* The problem of a box: its outputs from exactly the pixels that they see. */
static fc_status part_of(const fc_conv *conv, const box *b, fc_conv *part, fc_error *error)
{
    *part = *conv;
    part->pad_mode = FC_PAD_ZEROS;
    part->batch = b->images;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        part->pad_before[axis] = part->pad_after[axis] = 0;
        part->in_size[axis] = (b->end[axis] - b->first[axis] - 1) * conv->stride[axis] + reach_of(conv, axis);
    }
    if (fc_conv_check(part, error) != FC_OK)
        return fc_fail(error, FC_BAD_VALUE, "padding: the padded input has more elements than fit 64 bits");
    fc_conv_default_strides(part, conv->channels_last);
    memcpy(part->y_stride, conv->y_stride, sizeof part->y_stride);
    return FC_OK;
}

static int64_t copy_elements(const fc_conv *part)
{
    return part->batch * part->in_channels * part->in_size[0] * part->in_size[1] * part->in_size[2];
}

static bool is_empty(const box *b)
{
    return b->end[0] <= b->first[0] || b->end[1] <= b->first[1] || b->end[2] <= b->first[2];
}

static box all_of(const fc_conv *conv, int64_t images)
{
    box b = { .images = images };
    memcpy(b.end, conv->out_size, sizeof b.end);
    return b;
}

fc_status fc_padded_make(const fc_conv *conv, fc_padded *padded, fc_error *error)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    box b = all_of(conv, fc_min(conv->batch, 1));
    *padded = (fc_padded){ .whole = true };
    const fc_status status = part_of(conv, &b, &padded->core, error);
    if (status != FC_OK || conv->batch == 0)
        return status;
    const int64_t bytes = copy_elements(&padded->core) * size;
    if (bytes <= COPY_BYTES) {
        b.images = fc_min(conv->batch, COPY_BYTES / bytes);
        return part_of(conv, &b, &padded->core, error);
    }
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const int64_t last = conv->in_size[axis] + conv->pad_before[axis] - reach_of(conv, axis);
        padded->first[axis] = fc_min(fc_div_up(conv->pad_before[axis], conv->stride[axis]), conv->out_size[axis]);
        padded->end[axis] = last < 0 ? 0 : fc_min(last / conv->stride[axis] + 1, conv->out_size[axis]);
    }
    padded->whole = false;
    b.images = conv->batch;
    memcpy(b.first, padded->first, sizeof b.first);
    memcpy(b.end, padded->end, sizeof b.end);
    if (is_empty(&b))     /* then every output is on a border; the core is for explaining only */
        memset(padded->end, 0, sizeof padded->end);
    return is_empty(&b) ? FC_OK : part_of(conv, &b, &padded->core, error);
}

static int64_t source_of(const fc_conv *conv, int64_t i, int64_t size)
{
    if (i >= 0 && i < size)
        return i;
    switch (conv->pad_mode) {
    case FC_PAD_REPLICATE:
        return i < 0 ? 0 : size - 1;
    case FC_PAD_REFLECT:
        return i < 0 ? -i : 2 * (size - 1) - i;
    case FC_PAD_SYMMETRIC:
        return i < 0 ? -i - 1 : 2 * size - 1 - i;
    case FC_PAD_CIRCULAR:
        return i < 0 ? i + size : i - size;
    default:
        return -1;
    }
}

static void fill(void *dst, int64_t count, double value, fc_dtype dtype)
{
    float *f = dst;
    double *d = dst;
    for (int64_t i = 0; i < count; i++)
        if (dtype == FC_F32)
            f[i] = (float)value;
        else
            d[i] = value;
}

/* How many columns from w on come from neighbouring columns, or are all pad_value. */
static int64_t neighbours(const int64_t *from, int64_t w, int64_t width)
{
    int64_t count = 1;
    while (w + count < width && from[w + count] == (from[w] < 0 ? -1 : from[w] + count))
        count++;
    return count;
}

/* One row of one image of the copy, all channels. */
static void copy_row(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const copy_job *job = context;
    const fc_conv *conv = job->conv, *part = job->part;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t rows = part->in_size[FC_HEIGHT], width = part->in_size[FC_WIDTH], channels = conv->in_channels;
    const int64_t row = task % rows, plane = task / rows % part->in_size[FC_DEPTH];
    const int64_t image = task / rows / part->in_size[FC_DEPTH];
    const int64_t z = job->from[FC_DEPTH][plane], y = job->from[FC_HEIGHT][row];
    const int64_t *const from = job->from[FC_WIDTH];
    const int64_t *const step = part->x_stride;
    char *dst = fc_at_mut(job->copy, image * step[FC_N] + plane * step[FC_D] + row * step[FC_H], size);
    const char *src = job->x;
    if (z >= 0 && y >= 0)
        src = fc_at(job->x, (job->image + image) * conv->x_stride[FC_N] + z * conv->x_stride[FC_D] +
                            y * conv->x_stride[FC_H], size);
    const bool outside = z < 0 || y < 0, last = conv->channels_last;
    int64_t count;
    for (int64_t w = 0; w < width; w += count) {
        const int64_t column = outside ? -1 : from[w];
        count = outside ? width : neighbours(from, w, width);
        void *at = dst + w * step[FC_W] * (int64_t)size;
        const fc_move move = {
            .rows = last ? count : channels, .cols = last ? channels : count,
            .src = fc_at(src, fc_max(column, 0) * conv->x_stride[FC_W], size),
            .src_row = conv->x_stride[last ? FC_W : FC_C], .src_col = conv->x_stride[last ? FC_C : FC_W],
            .dst = at, .dst_row = step[last ? FC_W : FC_C], .dst_col = 1,
        };
        if (column >= 0)
            job->table->move(&move);
        else
            for (int64_t r = 0; r < move.rows; r++)
                fill(fc_at_mut(at, r * move.dst_row, size), move.cols, conv->pad_value, conv->dtype);
    }
}

/* Room for the copy of any part, and for where its pixels come from: had before the first part is computed,
 * so that a lack of it leaves y as it was. */
static size_t copy_room(const fc_padded *padded, const fc_conv *conv)
{
    int64_t elements = conv->in_channels, indices = 0;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        elements *= reach_of(conv, axis);
        indices += conv->pad_before[axis] + conv->in_size[axis] + conv->pad_after[axis];
    }
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    const int64_t bytes = padded->whole ? copy_elements(&padded->core) * size : fc_max(COPY_BYTES, elements * size);
    return (size_t)fc_round_up(bytes, 64) + (size_t)indices * sizeof(int64_t);
}

static fc_status copy_and_run(const fc_conv_run *original, const box *b, const fc_conv *part,
                              const fc_algorithm *algorithm, const void *prepared, void *memory, fc_error *error)
{
    const fc_conv *conv = original->conv;
    const size_t size = fc_size_of(conv->dtype), bytes = (size_t)fc_round_up(copy_elements(part) * (int64_t)size, 64);
    const int64_t *in = part->in_size;
    copy_job job = { .conv = conv, .table = original->table, .part = part, .x = original->x, .copy = memory,
                     .image = b->image };
    int64_t *from = (int64_t *)((char *)job.copy + bytes);
    for (int axis = 0; axis < FC_SPATIAL; from += in[axis++]) {
        const int64_t start = b->first[axis] * conv->stride[axis] - conv->pad_before[axis];
        job.from[axis] = from;
        for (int64_t i = 0; i < in[axis]; i++)
            from[i] = source_of(conv, start + i, conv->in_size[axis]);
    }
    fc_status status = fc_parallel(part->batch * in[0] * in[1], (double)bytes / copy_bandwidth, 0, copy_row,
                                   &job, error);
    const int64_t *y = conv->y_stride;
    const int64_t at = b->image * y[FC_N] + b->first[0] * y[FC_D] + b->first[1] * y[FC_H] + b->first[2] * y[FC_W];
    const fc_conv_run run = { .conv = part, .table = original->table, .x = job.copy, .weight = original->weight,
                              .bias = original->bias, .prepared = prepared, .y = fc_at_mut(original->y, at, size) };
    return status == FC_OK ? algorithm->forward(&run, error) : status;
}

/* Halves a box along its images, else along the axis with most outputs.  False for a single output. */
static bool halve(const box *b, box *a, box *c)
{
    *a = *c = *b;
    if (b->images > 1) {
        a->images = b->images / 2;
        c->image += a->images;
        c->images -= a->images;
        return true;
    }
    int axis = 0;
    for (int i = 1; i < FC_SPATIAL; i++)
        if (b->end[i] - b->first[i] > b->end[axis] - b->first[axis])
            axis = i;
    a->end[axis] = c->first[axis] = b->first[axis] + (b->end[axis] - b->first[axis]) / 2;
    return b->end[axis] - b->first[axis] > 1;
}

static fc_status run_border(const fc_conv_run *run, box b, const fc_algorithm *algorithm, bool named, void *memory,
                            fc_error *error)
{
    fc_conv part;
    box half, rest;
    if (is_empty(&b))
        return FC_OK;
    fc_status status = part_of(run->conv, &b, &part, error);
    if (status == FC_OK && copy_elements(&part) * (int64_t)fc_size_of(part.dtype) > COPY_BYTES &&
        halve(&b, &half, &rest)) {
        status = run_border(run, half, algorithm, named, memory, error);
        return status == FC_OK ? run_border(run, rest, algorithm, named, memory, error) : status;
    }
    if (status == FC_OK && !(named && !algorithm->supports(&part))) {
        part.exact = part.exact || named;
        status = fc_algorithm_choose(&part, "auto", false, &algorithm, error);
    }
    return status == FC_OK ? copy_and_run(run, &b, &part, algorithm, NULL, memory, error) : status;
}

static fc_status run_core(const fc_padded *padded, const fc_conv_run *original, const fc_algorithm *algorithm,
                          fc_error *error)
{
    const fc_conv *conv = original->conv;
    const size_t size = fc_size_of(conv->dtype);
    fc_conv core = padded->core;
    int64_t x = 0, y = 0;
    memcpy(core.x_stride, conv->x_stride, sizeof core.x_stride);
    memcpy(core.y_stride, conv->y_stride, sizeof core.y_stride);
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        x += (padded->first[axis] * conv->stride[axis] - conv->pad_before[axis]) * conv->x_stride[FC_D + axis];
        y += padded->first[axis] * conv->y_stride[FC_D + axis];
    }
    fc_conv_run run = *original;
    run.conv = &core;
    run.x = fc_at(original->x, x, size);
    run.y = fc_at_mut(original->y, y, size);
    return algorithm->forward(&run, error);
}

static fc_status run_whole(const fc_padded *padded, const fc_conv_run *run, const fc_algorithm *algorithm, void *memory,
                           fc_error *error)
{
    const fc_conv *conv = run->conv;
    fc_conv core = padded->core;
    fc_status status = FC_OK;
    memcpy(core.y_stride, conv->y_stride, sizeof core.y_stride);
    /* The last images twice rather than a second problem for fewer of them. */
    for (int64_t image = 0; image < conv->batch && status == FC_OK; image += core.batch) {
        box b = all_of(conv, core.batch);
        b.image = fc_min(image, conv->batch - core.batch);
        status = copy_and_run(run, &b, &core, algorithm, run->prepared, memory, error);
    }
    return status;
}

static fc_status run_parts(const fc_padded *padded, const fc_conv_run *run, const fc_algorithm *algorithm, bool named,
                           void *memory, fc_error *error)
{
    box inner = all_of(run->conv, run->conv->batch);
    fc_status status = FC_OK;
    for (int axis = 0; axis < FC_SPATIAL && status == FC_OK; axis++) {
        box before = inner, behind = inner;
        before.end[axis] = padded->first[axis];
        behind.first[axis] = fc_max(padded->end[axis], padded->first[axis]);
        status = run_border(run, before, algorithm, named, memory, error);
        if (status == FC_OK)
            status = run_border(run, behind, algorithm, named, memory, error);
        inner.first[axis] = padded->first[axis];
        inner.end[axis] = padded->end[axis];
    }
    return status == FC_OK && !is_empty(&inner) ? run_core(padded, run, algorithm, error) : status;
}

fc_status fc_padded_run(const fc_padded *padded, const fc_conv_run *run, const fc_algorithm *algorithm, bool named,
                        fc_error *error)
{
    const size_t bytes = copy_room(padded, run->conv);
    void *memory = fc_scratch_borrow(bytes);
    if (!memory)
        return fc_fail(error, FC_NO_MEMORY, "padding: no memory for %zu bytes of padded input", bytes);
    const fc_status status = padded->whole ? run_whole(padded, run, algorithm, memory, error)
                                           : run_parts(padded, run, algorithm, named, memory, error);
    fc_scratch_give_back(memory);
    return status;
}
