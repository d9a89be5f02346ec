/* Grouped convolution: few channels a group, so output pixels are the lanes and nothing is packed.
 *
 * One group's input channels are copied to a zero-bordered band, columns split by stride phase, and
 * every tap is a plain load at an offset: y[oc][pixel] = sum over k of weight[oc][k] *
 * band[pixel + offset[k]], weights in place.  Listed in list.c. */
#include "../base/parallel.h"
#include "algorithm.h"
#include "band.h"
#include "geometry.h"
#include <stdio.h>

enum { MOST_COLS = 1024 };    /* output columns per block */

typedef struct grouped_split {
    int64_t channels;                         /* input channels per pass */
    int64_t rows, row_blocks, cols, col_blocks;
    int64_t tasks;
    bool in_place;                            /* output rows are adjacent pixels */
    fc_band band;
    size_t tile_at, offsets_at, weights_at, bytes; /* scratch layout, bytes; the band is first */
} grouped_split;

static grouped_split split_of(const fc_conv *conv, const fc_table *table)
{
    grouped_split s = { .channels = conv->in_per_group };
    const size_t size = fc_size_of(conv->dtype);
    const int64_t height = conv->out_size[FC_HEIGHT], width = conv->out_size[FC_WIDTH];
    const int64_t most = fc_machine_for(conv->dtype)->l2 / 4 / (int64_t)size;
    s.cols = fc_min(width, MOST_COLS);
    s.rows = fc_min(height, fc_max(1, 2 * MOST_COLS / s.cols));
    for (;;) {
        s.band = fc_band_make(conv, s.channels, s.rows, s.cols, false, conv->stride[FC_WIDTH]);
        if (s.band.size <= most)
            break;
        if (s.rows > 1)
            s.rows = fc_div_up(s.rows, 2);
        else if (s.channels > 1)
            s.channels = fc_div_up(s.channels, 2);
        else if (s.cols > 16)
            s.cols = fc_div_up(s.cols, 2);
        else
            break;
    }
    s.row_blocks = fc_div_up(height, s.rows);
    s.rows = fc_div_up(height, s.row_blocks);
    s.row_blocks = fc_div_up(height, s.rows);
    s.col_blocks = fc_div_up(width, s.cols);
    s.tasks = conv->batch * conv->groups * conv->out_size[FC_DEPTH] * s.row_blocks * s.col_blocks;
    s.in_place = conv->y_stride[FC_W] == 1;
    const int64_t tile = s.in_place ? 0 : conv->out_per_group * s.rows * s.cols;
    s.tile_at = (size_t)fc_round_up((s.band.size + table->lanes) * (int64_t)size, 64);
    s.offsets_at = s.tile_at + (size_t)fc_round_up(tile * (int64_t)size, 64);
    s.weights_at = s.offsets_at + (size_t)(s.channels * conv->taps) * sizeof(int64_t);
    s.bytes = s.weights_at + (size_t)conv->out_per_group * sizeof(void *);
    return s;
}

static const char *supports(const fc_conv *conv) { return conv->groups > 1 ? NULL : "grouped needs groups > 1"; }

static size_t scratch(const fc_conv *conv, const fc_table *table) { return split_of(conv, table).bytes; }

typedef struct grouped_job {
    const fc_conv_run *run;
    grouped_split split;
} grouped_job;

static void find_offsets(const fc_conv *conv, const fc_band *band, int64_t channels, int64_t *offsets)
{
    for (int64_t c = 0; c < channels; c++)
        for (int64_t d = 0; d < conv->kernel[FC_DEPTH]; d++)
            for (int64_t h = 0; h < conv->kernel[FC_HEIGHT]; h++)
                for (int64_t w = 0; w < conv->kernel[FC_WIDTH]; w++) {
                    const int64_t col = w * conv->dilation[FC_WIDTH];
                    *offsets++ = c * band->channel_step + d * band->depth_step +
                                 h * conv->dilation[FC_HEIGHT] * band->row_step + col % band->phases * band->phase_step +
                                 col / band->phases;
                }
}

static int64_t y_offset(const fc_conv *conv, const fc_block_origin *at, int64_t channel, int64_t row)
{
    return at->image * conv->y_stride[FC_N] + channel * conv->y_stride[FC_C] + at->depth * conv->y_stride[FC_D] +
           (at->row + row) * conv->y_stride[FC_H] + at->col * conv->y_stride[FC_W];
}

/* Adds input channels first .. first + count of the group to every row of the block. */
static void multiply(const grouped_job *job, const fc_block_origin *at, int64_t group, int64_t rows, int64_t cols,
                     int64_t first, int64_t count, void *memory)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const grouped_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t channel = group * conv->out_per_group;
    int64_t *offsets = (int64_t *)(void *)((char *)memory + s->offsets_at);
    const void **weights = (const void **)(void *)((char *)memory + s->weights_at);
    fc_band_copy(run, &s->band, at, group * conv->in_per_group + first, count, memory);
    for (int64_t i = 0; i < conv->out_per_group; i++)
        weights[i] = fc_at(run->weight, (channel + i) * conv->depth + first * conv->taps, size);
    fc_gemm g = {
        .m = conv->out_per_group, .n = cols, .k = count * conv->taps, .a = weights, .b_offset = offsets,
        .panel_vectors = run->table->panel_vectors, .accumulate = first > 0,
        .finish = first + count == conv->in_per_group, .activation = conv->activation,
        .bias = run->bias ? fc_at(run->bias, channel, size) : NULL,
        .c_row = s->in_place ? conv->y_stride[FC_C] : rows * cols,
    };
    for (int64_t r = 0; r < rows; r++) {
        g.b = fc_at(memory, r * conv->stride[FC_HEIGHT] * s->band.row_step, size);
        g.c = s->in_place ? fc_at_mut(run->y, y_offset(conv, at, channel, r), size)
                          : fc_at_mut((char *)memory + s->tile_at, r * cols, size);
        run->table->gemm(&g);
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const grouped_job *job = context;
    const grouped_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    fc_block_origin at;
    at.col = task % s->col_blocks * s->cols;
    task /= s->col_blocks;
    at.row = task % s->row_blocks * s->rows;
    task /= s->row_blocks;
    at.depth = task % conv->out_size[FC_DEPTH];
    task /= conv->out_size[FC_DEPTH];
    const int64_t group = task % conv->groups;
    at.image = task / conv->groups;
    const int64_t rows = fc_min(s->rows, conv->out_size[FC_HEIGHT] - at.row);
    const int64_t cols = fc_min(s->cols, conv->out_size[FC_WIDTH] - at.col);
    find_offsets(conv, &s->band, s->channels, (int64_t *)(void *)((char *)memory + s->offsets_at));
    for (int64_t c = 0; c < conv->in_per_group; c += s->channels)
        multiply(job, &at, group, rows, cols, c, fc_min(s->channels, conv->in_per_group - c), memory);
    if (s->in_place)
        return;
    for (int64_t r = 0; r < rows; r++) {
        const fc_move move = {
            .rows = conv->out_per_group, .cols = cols,
            .src = fc_at((char *)memory + s->tile_at, r * cols, size), .src_row = rows * cols, .src_col = 1,
            .dst = fc_at_mut(job->run->y, y_offset(conv, &at, group * conv->out_per_group, r), size),
            .dst_row = conv->y_stride[FC_C], .dst_col = conv->y_stride[FC_W],
        };
        job->run->table->move(&move);
    }
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    (void)prepared;
    const double rows = (double)(conv->batch * conv->out_channels * conv->out_size[0] * conv->out_size[1]);
    const double width = (double)fc_round_up(conv->out_size[FC_WIDTH], machine->lanes);
    const double copied = (double)(conv->batch * conv->in_channels * conv->out_pixels) * (double)(conv->stride[1] * conv->stride[2]);
    double seconds = 2 * rows * width * (double)conv->depth / (0.75 * machine->flops) + 16 * copied / machine->flops;
    seconds += rows * 120 / machine->flops;
    if (conv->channels_last)
        seconds += (rows * width + copied) * 24 / machine->flops;
    return seconds;
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    grouped_job job = { run, split_of(run->conv, run->table) };
    const double seconds = cost(run->conv, fc_machine_for(run->conv->dtype), false);
    return fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    const grouped_split s = split_of(conv, table);
    snprintf(text, size, "bands of %lld channels x %lld rows x %lld columns, %lld column phases; %lld tasks",
             (long long)s.channels, (long long)s.band.rows, (long long)s.band.cols, (long long)s.band.phases,
             (long long)s.tasks);
}

const fc_algorithm fc_algorithm_grouped = {
    .name = "grouped",
    .summary = "few channels a group: pixels as lanes on a padded band, weights in place",
    .supports = supports,
    .cost = cost,
    .scratch = scratch,
    .forward = forward,
    .describe = describe,
};
