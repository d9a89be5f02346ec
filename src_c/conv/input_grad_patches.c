/* The input gradient where every pixel is met by one tap, kernel and stride being the same: the first layer
 * of networks that cut an image into patches.
 *
 * All values of a patch are rows of one product, whose lanes are output pixels: grad_output is read once for
 * all of them, and not once for each phase.  A task computes some rows of patches in scratch, [value of the
 * patch][pixel], and writes them transposed, a line of every patch after the other. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include "geometry.h"
#include "input_grad.h"

enum { TILE = 1 << 17 };      /* elements of scratch, at least those of one row of patches */

static const char *supports(const fc_conv *conv)
{
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (conv->kernel[axis] != conv->stride[axis] || (conv->kernel[axis] > 1 && conv->dilation[axis] > 1) ||
            conv->pad_before[axis] != 0 || conv->in_size[axis] != conv->out_size[axis] * conv->stride[axis])
            return "patches needs a kernel as large as the stride and no padding";
    if (conv->groups > 1 || conv->taps == 1 || conv->in_channels >= fc_table_for(conv->dtype)->lanes)
        return "patches needs one group of few input channels"; /* phases of more are as well computed one by one */
    return NULL;
}

typedef struct patches_job {
    const fc_conv *conv;
    const fc_table *table;
    const void *g, *weight, *filters;         /* filters: [value of a patch][output channel] */
    void *grad;
    int64_t rows, blocks, pitch;              /* rows of patches of a task; tasks of an image's depth; pixels */
    bool last;                                /* a patch's channels are adjacent, and written together */
    size_t own_at;                            /* where in scratch a thread has filters of its own */
} patches_job;

static void turn(const patches_job *job, void *filters)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t outs = conv->out_channels, channels = conv->in_channels;
    for (int64_t c = 0; c < channels; c++) {
        const fc_move move = {
            .rows = conv->taps, .cols = outs, .src = fc_at(job->weight, c * conv->taps, size), .src_row = 1,
            .src_col = conv->depth, .dst = fc_at_mut(filters, (job->last ? c : c * conv->taps) * outs, size),
            .dst_row = job->last ? channels * outs : outs, .dst_col = 1,
        };
        job->table->move(&move);
    }
}

/* Line (plane, row) of all patches of one row, `values` of each. */
static void write_line(const patches_job *job, const void *tile, int64_t values, void *to)
{
    const int64_t col = job->conv->x_stride[FC_W];
    const fc_move move = {
        .rows = job->conv->out_size[FC_WIDTH], .cols = values, .src = tile, .src_row = 1,
        .src_col = job->pitch, .dst = to, .dst_row = job->conv->stride[FC_WIDTH] * col, .dst_col = job->last ? 1 : col,
    };
    job->table->move(&move);
}

static void write_patches(const patches_job *job, int64_t image, int64_t depth, int64_t row, int64_t rows,
                          const void *tile)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, *k = conv->kernel, width = conv->out_size[FC_WIDTH];
    const int64_t channels = job->last ? 1 : conv->in_channels, values = job->last ? k[2] * conv->in_channels : k[2];
    for (int64_t c = 0; c < channels; c++)
        for (int64_t line = 0; line < k[0] * k[1]; line++)
            for (int64_t r = 0; r < rows; r++) {
                const int64_t d = depth * k[0] + line / k[1], h = (row + r) * k[1] + line % k[1];
                write_line(job, fc_at(tile, (c * k[0] * k[1] + line) * values * job->pitch + r * width, size), values,
                           fc_at_mut(job->grad, image * x[FC_N] + c * x[FC_C] + d * x[FC_D] + h * x[FC_H], size));
            }
}

static void run_task(void *context, int64_t task, void *scratch)
{
    const patches_job *job = context;
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride, width = conv->out_size[FC_WIDTH], outs = conv->out_channels;
    const int64_t row = task % job->blocks * job->rows, depth = task / job->blocks % conv->out_size[FC_DEPTH];
    const int64_t image = task / job->blocks / conv->out_size[FC_DEPTH];
    const int64_t rows = fc_min(job->rows, conv->out_size[FC_HEIGHT] - row);
    char *tile = scratch, *pixels = tile + (size_t)(conv->depth * job->pitch) * size;
    const void **filter = (const void **)(void *)(pixels +
                                                  (size_t)fc_round_up((outs * job->pitch) * (int64_t)size, 64));
    for (int64_t i = 0; i < conv->depth; i++)
        filter[i] = fc_at(job->filters, i * outs, size);
    const bool even = rows == 1 || y[FC_H] == width * y[FC_W];
    for (int64_t r = 0; r < (even ? 1 : rows); r++) {
        const fc_move move = {
            .rows = outs, .cols = even ? rows * width : width,
            .src = fc_at(job->g, image * y[FC_N] + depth * y[FC_D] + (row + r) * y[FC_H], size), .src_row = y[FC_C],
            .src_col = y[FC_W], .dst = pixels + (size_t)(r * width) * size, .dst_row = job->pitch, .dst_col = 1,
        };
        job->table->move(&move);
    }
    const fc_gemm g = {
        .m = conv->depth, .n = rows * width, .k = outs, .a = filter, .b = pixels,
        .b_panel = job->table->panel_vectors * job->table->lanes, .b_step = job->pitch,
        .panel_vectors = job->table->panel_vectors, .c = tile, .c_row = job->pitch,
    };
    job->table->gemm(&g);
    write_patches(job, image, depth, row, rows, tile);
}

static void turn_own(void *context, void *scratch)
{
    const patches_job *job = context;
    turn(job, (char *)scratch + job->own_at);
}

static void run_own(void *context, int64_t task, void *scratch)
{
    patches_job mine = *(const patches_job *)context;
    mine.filters = (char *)scratch + mine.own_at;
    run_task(&mine, task, scratch);
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    const fc_table *table = call->table;
    const size_t size = fc_size_of(conv->dtype), bytes = (size_t)(conv->depth * conv->out_channels) * size;
    const int64_t height = conv->out_size[FC_HEIGHT], width = conv->out_size[FC_WIDTH];
    patches_job job = { .conv = conv, .table = table, .g = call->g, .weight = call->weight, .grad = call->grad };
    job.last = conv->x_stride[FC_C] == 1 && conv->x_stride[FC_W] == conv->in_channels;
    job.blocks = fc_div_up(height, fc_max(1, fc_min(height, TILE / ((conv->depth + conv->out_channels) * width))));
    job.rows = fc_div_up(height, job.blocks);
    job.blocks = fc_div_up(height, job.rows);
    /* Whole vectors are read; a line more, so that rows do not share cache sets. */
    job.pitch = fc_round_up(job.rows * width, table->lanes) + table->lanes;
    const int64_t tasks = conv->batch * conv->out_size[FC_DEPTH] * job.blocks;
    const double seconds = conv->flops / fc_machine_for(conv->dtype)->flops;
    job.own_at = (size_t)fc_round_up((conv->depth + conv->out_channels) * job.pitch * (int64_t)size + 64 +
                                         conv->depth * (int64_t)sizeof(void *), 64);
    if (fc_makes_own(bytes))
        return fc_parallel_each(tasks, seconds, job.own_at + bytes, turn_own, run_own, &job, error);
    void *filters = fc_scratch_borrow(bytes);
    if (!filters)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of filters turned round", bytes);
    turn(&job, filters);
    job.filters = filters;
    const fc_status status = fc_parallel(tasks, seconds, job.own_at, run_task, &job, error);
    fc_scratch_give_back(filters);
    return status;
}

const fc_input_method fc_input_patches = { .name = "patches", .also = "direct", .supports = supports, .run = run };
