/* The weight gradient: the choice of a method, the split into tasks, and sums of partial results.
 *
 * gW[oc][ic, tap] = sum over images and output pixels p of grad_output[oc][p] * x[ic][p * stride + tap *
 * dilation - padding].  Methods cut it by channels.  Where that gives few tasks, pixels are cut as
 * well, into chunks that depend on the problem alone; each chunk's sums have a place of their own and
 * are added in order, so that the bits do not depend on the number of threads. */
#include "weight_grad.h"
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include "geometry.h"
#include "nonfinite.h"
#include "remember.h"
#include "thin.h"
#include "trim.h"
#include <string.h>

enum {
    WISHED_TASKS = 8,
    ADD_BLOCK = 4096,         /* elements of the gradient per task of the final sum */
};
static const double CHUNK_SECONDS = 1.2e-4;   /* a chunk is worth a thread */
static const int64_t MOST_PARTIAL = 1 << 21;  /* bytes of partial sums */
static const int64_t CHUNK_PIXELS = 1024;      /* a chunk is worth writing its sums to memory and adding them */

static const fc_weight_method *const methods[] = {
    &fc_weight_pointwise, &fc_weight_dense, &fc_weight_rows, &fc_weight_planes,
    &fc_weight_channels, &fc_weight_pixels, &fc_weight_mixed, &fc_weight_winograd,
    &fc_weight_runs, &fc_weight_dot, NULL,
};

fc_pixel_blocks fc_pixel_blocks_of(const fc_conv *conv, int64_t images, int64_t rows, int64_t cols)
{
    fc_pixel_blocks b;
    const int64_t height = conv->out_size[FC_HEIGHT], width = conv->out_size[FC_WIDTH];
    b.col_blocks = fc_div_up(width, fc_min(cols, width));
    b.cols = fc_div_up(width, b.col_blocks);
    b.col_blocks = fc_div_up(width, b.cols);
    b.row_blocks = fc_div_up(height, b.col_blocks > 1 ? 1 : fc_min(rows, height));
    b.rows = fc_div_up(height, b.row_blocks);
    b.row_blocks = fc_div_up(height, b.rows);
    b.images = b.rows < height || b.cols < width ? 1 : fc_max(1, fc_min(images, conv->batch));
    b.image_blocks = fc_div_up(conv->batch, b.images);
    b.images = fc_div_up(conv->batch, fc_max(b.image_blocks, 1));
    b.image_blocks = fc_div_up(conv->batch, fc_max(b.images, 1));
    b.count = b.image_blocks * conv->out_size[FC_DEPTH] * b.row_blocks * b.col_blocks;
    return b;
}

fc_pixel_block fc_pixel_block_at(const fc_conv *conv, const fc_pixel_blocks *blocks, int64_t index)
{
    fc_pixel_block b;
    b.col = index % blocks->col_blocks * blocks->cols;
    index /= blocks->col_blocks;
    b.row = index % blocks->row_blocks * blocks->rows;
    index /= blocks->row_blocks;
    b.depth = index % conv->out_size[FC_DEPTH];
    b.image = index / conv->out_size[FC_DEPTH] * blocks->images;
    b.images = fc_min(blocks->images, conv->batch - b.image);
    b.rows = fc_min(blocks->rows, conv->out_size[FC_HEIGHT] - b.row);
    b.cols = fc_min(blocks->cols, conv->out_size[FC_WIDTH] - b.col);
    return b;
}

static fc_status unknown(const char *name, fc_error *error)
{
    return fc_fail(error, FC_BAD_VALUE,
                   "algorithm must be one of \"auto\", \"pointwise\", \"direct\", \"rows\", \"planes\", "
                   "\"channels\", \"pixels\", \"mixed\", \"runs\", \"dot\", \"winograd4\" for a weight gradient, "
                   "got \"%.40s\"",
                   name);
}

static fc_status choose(const fc_conv *conv, const char *name, const fc_weight_method **chosen, fc_error *error)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const bool any = strcmp(name, "auto") == 0;
    const char *reason = NULL;
    bool known = any;
    double best = 0;
    *chosen = any ? fc_recall(conv, FC_OF_WEIGHT_GRAD) : NULL;
    if (*chosen)
        return FC_OK;
    for (const fc_weight_method *const *m = methods; *m; m++) {
        if (!any && strcmp((*m)->name, name) != 0)
            continue;
        known = true;
        reason = (*m)->supports(conv);
        if (reason)
            continue;
        const double cost = (*m)->cost(conv, machine);
        if (!*chosen || cost < best) {
            *chosen = *m;
            best = cost;
        }
    }
    if (!known)
        return unknown(name, error);
    if (!*chosen)
        return fc_fail(error, FC_BAD_VALUE, "algorithm=\"%s\" cannot compute this gradient: %s", name, reason);
    if (any)
        fc_remember(conv, FC_OF_WEIGHT_GRAD, *chosen);
    return FC_OK;
}

typedef struct weight_job {
    const fc_weight_run *run;
    const fc_weight_method *method;
    int64_t chunks, elements;
    void *out, *partial;                      /* chunk 0 writes to out, the others to partial */
} weight_job;

static void run_task(void *context, int64_t task, void *scratch)
{
    const weight_job *job = context;
    const int64_t chunk = task % job->chunks, blocks = job->run->split.blocks.count;
    void *out = job->out;
    if (chunk > 0)
        out = fc_at_mut(job->partial, (chunk - 1) * job->elements, fc_size_of(job->run->conv->dtype));
    job->method->task(job->run, task / job->chunks, blocks * chunk / job->chunks,
                      blocks * (chunk + 1) / job->chunks, out, scratch);
}

static void add_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const weight_job *job = context;
    const size_t size = fc_size_of(job->run->conv->dtype);
    const int64_t first = task * ADD_BLOCK;
    for (int64_t chunk = 1; chunk < job->chunks; chunk++) {
        const fc_add_to add = { .count = fc_min(ADD_BLOCK, job->elements - first),
                                .src = fc_at(job->partial, (chunk - 1) * job->elements + first, size),
                                .dst = fc_at_mut(job->out, first, size) };
        job->run->table->add(&add);
    }
}

static int64_t chunks_of(const fc_weight_run *run, int64_t elements, double seconds)
{
    const fc_conv *conv = run->conv;
    const int64_t bytes = elements * (int64_t)fc_size_of(conv->dtype);
    int64_t chunks = fc_min(fc_div_up(WISHED_TASKS, run->split.parts), run->split.blocks.count);
    chunks = fc_min(chunks, MOST_PARTIAL / bytes + 1);
    chunks = fc_min(chunks, 1 + conv->batch * conv->out_pixels / CHUNK_PIXELS);
    if ((double)chunks * CHUNK_SECONDS > seconds)
        chunks = (int64_t)(seconds / CHUNK_SECONDS);
    return fc_even_tasks(fc_max(1, chunks), 1, run->split.parts);
}

/* Pixels of a 1x1 convolution that lie evenly are one long row, of all images if these follow each other. */
static void flatten(fc_conv *conv)
{
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (conv->stride[axis] != 1 || conv->in_size[axis] != conv->out_size[axis])
            return;
    if (conv->taps > 1 || !fc_unpadded(conv) || !fc_pixels_uniform(conv->x_stride, conv->in_size) ||
        !fc_pixels_uniform(conv->y_stride, conv->out_size))
        return;
    int64_t *x = conv->x_stride, *y = conv->y_stride;
    if (conv->out_pixels == 1) {
        x[FC_W] = x[FC_N];
        y[FC_W] = y[FC_N];
    }
    if (x[FC_N] == conv->out_pixels * x[FC_W] && y[FC_N] == conv->out_pixels * y[FC_W]) {
        conv->out_pixels *= conv->batch;
        conv->batch = 1;
    }
    conv->in_size[FC_WIDTH] = conv->out_size[FC_WIDTH] = conv->out_pixels;
    conv->in_size[FC_HEIGHT] = conv->in_size[FC_DEPTH] = conv->out_size[FC_HEIGHT] = conv->out_size[FC_DEPTH] = 1;
}

static fc_status run_method(fc_weight_run *run, const fc_weight_method *method, void *grad_weight, fc_error *error)
{
    const fc_conv *conv = run->conv;
    const int64_t elements = conv->out_channels * conv->depth;
    const size_t size = fc_size_of(conv->dtype);
    run->split = method->split(conv, run->table);
    weight_job job = { .run = run, .method = method, .elements = elements, .out = grad_weight };
    const double seconds = method->cost(conv, fc_machine_for(conv->dtype));
    job.chunks = chunks_of(run, elements, seconds);
    if (job.chunks > 1) {
        const size_t bytes = (size_t)((job.chunks - 1) * elements) * size;
        job.partial = fc_scratch_borrow(bytes);
        if (!job.partial)
            return fc_fail(error, FC_NO_MEMORY, "weight_shape: no memory for %zu bytes of partial sums", bytes);
    }
    fc_status status = fc_parallel(run->split.parts * job.chunks, seconds, run->split.bytes, run_task, &job, error);
    if (status == FC_OK && job.chunks > 1)
        status = fc_parallel(fc_div_up(elements, ADD_BLOCK), (double)elements * (double)job.chunks * 2e-10, 0, add_task,
                             &job, error);
    fc_scratch_give_back(job.partial);
    return status;
}

static fc_status weight_grad(const fc_conv *original, const char *algorithm, const void *grad_output, const void *x,
                             void *grad_weight, fc_error *error)
{
    fc_conv conv = *original;
    const fc_weight_method *method;
    const int64_t elements = conv.out_channels * conv.depth;
    conv.batch = fc_max(1, conv.batch);       /* methods need not think of none */
    flatten(&conv);
    fc_status status = choose(&conv, algorithm, &method, error);
    if (status != FC_OK)
        return status;
    if (original->batch == 0) {
        memset(grad_weight, 0, (size_t)elements * fc_size_of(conv.dtype));
        return FC_OK;
    }
    fc_weight_run run = { .conv = &conv, .table = fc_table_for(conv.dtype), .g = grad_output, .x = x };
    status = run_method(&run, method, grad_weight, error);
    if (status == FC_OK && run.split.spreads && !fc_surely_finite(conv.dtype, grad_weight, elements))
        status = run_method(&run, method->plain, grad_weight, error);
    return status;
}

/* Whether grad_output, times padding, is zero: it is finite where the sums of its channels are. */
static fc_status is_finite(const fc_conv *conv, const void *grad_output, void *sums, bool *finite, fc_error *error)
{
    const fc_status status = fc_conv_bias_grad(conv, grad_output, sums, error);
    *finite = status == FC_OK && fc_surely_finite(conv->dtype, sums, conv->out_channels);
    return status;
}

fc_status fc_conv_weight_grad(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *x,
                              void *grad_weight, fc_error *error)
{
    fc_conv thinned;
    fc_thin thin;
    fc_trim trim;
    if (fc_thin_make(conv, &thinned, &thin)) {
        x = fc_thin_x(&thin, conv->dtype, x, thinned.x_stride);
        conv = &thinned;
    }
    if (conv->batch == 0 || strcmp(algorithm, "auto") != 0 || !fc_trim_make(conv, &trim))
        return weight_grad(conv, algorithm, grad_output, x, grad_weight, error);
    bool finite;
    void *kept = fc_scratch_borrow(fc_trim_bytes(&trim)); /* more than one a channel: the sums fit */
    if (!kept)
        return fc_fail(error, FC_NO_MEMORY, "weight_shape: no memory for %zu bytes of taps", fc_trim_bytes(&trim));
    fc_status status = is_finite(conv, grad_output, kept, &finite, error);
    if (status == FC_OK)
        status = finite ? weight_grad(&trim.conv, algorithm, grad_output, x, kept, error)
                        : weight_grad(conv, algorithm, grad_output, x, grad_weight, error);
    if (status == FC_OK && finite)
        fc_trim_expand(&trim, kept, grad_weight);
    fc_scratch_give_back(kept);
    return status;
}
