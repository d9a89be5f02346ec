/* The bias gradient: sums of grad_output over batch and pixels.  Called by _core; see weight_grad.h.
 *
 * Images and rows are cut into chunks by the problem alone; each chunk's sums have a place of their
 * own and are added in order. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include "geometry.h"
#include "weight_grad.h"
#include <string.h>

enum { CHUNKS = 8, CHANNEL_BLOCK = 64, TILE = 1024 };
static const double CHUNK_ELEMENTS = 1 << 16;

typedef struct bias_job {
    const fc_conv *conv;
    const fc_table *table;
    const void *g;
    void *out;                                /* [chunk][channel] */
    int64_t chunks, blocks, rows, row, cols;  /* rows of all images, `row` of them in one; columns */
} bias_job;

/* Adds one row of pixels, of channels first .. end, to their sums. */
static void add_row(const bias_job *job, int64_t index, int64_t first, int64_t end, char *sums, void *tile)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride, row = index % job->row, height = conv->out_size[FC_HEIGHT];
    const int64_t at = index / job->row * y[FC_N] +
                       (job->row == 1 ? 0 : row / height * y[FC_D] + row % height * y[FC_H]);
    if (y[FC_C] == 1) {
        const fc_sum_rows s = { .rows = job->cols, .cols = end - first, .row_step = y[FC_W],
                                .src = fc_at(job->g, at + first, size), .dst = sums + (size_t)first * size };
        job->table->sum_rows(&s);
        return;
    }
    for (int64_t c = first; c < end; c++) {
        fc_sum_rows s = { .rows = 1, .cols = job->cols, .along = 1, .src = fc_at(job->g, at + c * y[FC_C], size),
                          .dst = sums + (size_t)c * size };
        if (y[FC_W] == 1) {
            job->table->sum_rows(&s);
            continue;
        }
        for (int64_t x = 0; x < job->cols; x += TILE) {
            const fc_move move = { .rows = 1, .cols = fc_min(TILE, job->cols - x),
                                   .src = fc_at(job->g, at + c * y[FC_C] + x * y[FC_W], size), .src_col = y[FC_W],
                                   .dst = tile, .dst_col = 1 };
            job->table->move(&move);
            s.src = tile;
            s.cols = move.cols;
            job->table->sum_rows(&s);
        }
    }
}

static void run_task(void *context, int64_t task, void *tile)
{
    const bias_job *job = context;
    const int64_t chunk = task % job->chunks, block = task / job->chunks, channels = job->conv->out_channels;
    const size_t size = fc_size_of(job->conv->dtype);
    const int64_t first = block * CHANNEL_BLOCK, end = fc_min(first + CHANNEL_BLOCK, channels);
    char *sums = fc_at_mut(job->out, chunk * channels, size);
    memset(sums + (size_t)first * size, 0, (size_t)(end - first) * size);
    for (int64_t r = job->rows * chunk / job->chunks; r < job->rows * (chunk + 1) / job->chunks; r++)
        add_row(job, r, first, end, sums, tile);
}

fc_status fc_conv_bias_grad(const fc_conv *conv, const void *grad_output, void *grad_bias, fc_error *error)
{
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *out = conv->out_size;
    bias_job job = { .conv = conv, .table = fc_table_for(conv->dtype), .g = grad_output };
    const bool even = fc_pixels_uniform(conv->y_stride, out);
    job.row = even ? 1 : out[0] * out[1];
    job.cols = even ? out[0] * out[1] * out[2] : out[2];
    job.rows = conv->batch * job.row;
    if (job.rows == 0) {
        memset(grad_bias, 0, (size_t)conv->out_channels * size);
        return FC_OK;
    }
    const double elements = (double)job.rows * (double)job.cols * (double)conv->out_channels;
    job.blocks = fc_div_up(conv->out_channels, CHANNEL_BLOCK);
    job.chunks = fc_max(1, fc_min(fc_min(CHUNKS, job.rows),
                                  (int64_t)fc_min(1 << 20, (int64_t)(elements / CHUNK_ELEMENTS))));
    job.out = fc_scratch_borrow((size_t)(job.chunks * conv->out_channels) * size);
    if (!job.out)
        return fc_fail(error, FC_NO_MEMORY, "grad_output: no memory for the sums of %lld channels",
                       (long long)conv->out_channels);
    const fc_status status = fc_parallel(job.chunks * job.blocks, elements * (double)size / 10e9, TILE * size, run_task,
                                         &job, error);
    for (int64_t chunk = 1; chunk < job.chunks && status == FC_OK; chunk++) {
        const fc_add_to add = { .count = conv->out_channels, .dst = job.out,
                                .src = fc_at(job.out, chunk * conv->out_channels, size) };
        job.table->add(&add);
    }
    if (status == FC_OK)
        memcpy(grad_bias, job.out, (size_t)conv->out_channels * size);
    fc_scratch_give_back(job.out);
    return status;
}
