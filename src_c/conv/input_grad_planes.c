/* The input gradient of depthwise convolutions with a stride along rows whose pixels are adjacent: planes one after
 * the other, from grad_output to the gradient, without a copy.  Listed in input_grad.c. */
#include "../base/parallel.h"
#include "geometry.h"
#include "input_grad.h"
#include "plane_tasks.h"
#include <math.h>

typedef struct planes_job {
    const fc_input_call *call;
    fc_phases_axis row, col;
    fc_plane_tasks tasks;
} planes_job;

static fc_phases_axis axis_of(const fc_conv *conv, int axis)
{
    return (fc_phases_axis){ .kernel = conv->kernel[axis], .stride = conv->stride[axis],
                             .pad = conv->pad_before[axis], .pixels = conv->in_size[axis],
                             .outputs = conv->out_size[axis] };
}

static const char *supports(const fc_conv *conv)
{
    const int64_t *stride = conv->stride, *kernel = conv->kernel;
    if (conv->in_per_group != 1 || conv->out_per_group != 1 || kernel[FC_DEPTH] != 1 || stride[FC_DEPTH] != 1 ||
        conv->pad_before[FC_DEPTH] != 0)
        return "planes needs a depthwise convolution of one depth, without a multiplier";
    if (conv->x_stride[FC_W] != 1 || conv->y_stride[FC_W] != 1)
        return "planes needs adjacent pixels";
    if (stride[FC_WIDTH] < 2 || stride[FC_WIDTH] > FC_PHASES_STRIDE)
        return "planes needs a stride of 2 to 4 along rows";
    if (stride[FC_HEIGHT] > FC_PHASES_DOWN)
        return "planes needs a smaller stride of rows";
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++)
        if (kernel[axis] > 1 && conv->dilation[axis] > 1)
            return "planes needs a dilation of 1";
    const fc_phases_axis col = axis_of(conv, FC_WIDTH);
    return fc_phases_taps(&col) <= FC_PHASES_TAPS ? NULL : "planes needs shorter rows of a kernel";
}

/* Cycles of a plane, measured: tiles of a vector of each phase and their taps, and stores of rows that share one. */
static double cycles_of(const fc_conv *conv)
{
    enum { ALL_PHASES = 16, FEW_TAPS = 25 };  /* inputs that a tile of all phases may see; taps that it unrolls */
    const fc_phases_axis row = axis_of(conv, FC_HEIGHT), col = axis_of(conv, FC_WIDTH);
    const int64_t lanes = fc_table_for(conv->dtype)->lanes, seen = fc_phases_taps(&row) * fc_phases_taps(&col);
    const int64_t cols = fc_div_up(col.pixels, col.stride), down = fc_div_up(row.pixels, row.stride);
    const bool once = seen <= ALL_PHASES && row.stride == col.stride;
    const int64_t rows = once && col.pixels <= lanes && cols <= col.outputs && 2 * col.outputs <= lanes
                             ? lanes / col.outputs : 1;
    const double tiles = (double)(fc_div_up(down, rows) * fc_div_up(cols, lanes));
    const double phases = (double)(row.stride * col.stride), stores = rows > 1 ? (double)(rows * row.stride) : 0;
    const double tap = conv->taps > FEW_TAPS ? 3 : 1.5;
    return once ? 19 + tiles * (tap * (double)conv->taps + 0.84 * (double)seen + 4.8 * phases + 1.6 * stores)
                : 58 + tiles * (0.76 * (double)conv->taps + 2.1 * (double)seen + 8 * phases);
}

/* The same by way of blocks of channels. */
static double cycles_of_lanes(const fc_conv *conv)
{
    const int64_t lanes = fc_table_for(conv->dtype)->lanes;
    const double pixels = (double)(conv->in_size[FC_HEIGHT] * conv->in_size[FC_WIDTH]);
    const double used = (double)conv->in_channels / (double)fc_round_up(conv->in_channels, lanes);
    const double taps = (double)conv->taps / (double)(conv->stride[FC_HEIGHT] * conv->stride[FC_WIDTH]);
    return (16 + pixels * (1.4 + 0.07 * taps)) * 16 / (double)lanes / used;
}

static double cost(fc_input_call *call)
{
    const bool lanes = fc_input_lanes.supports(call->conv) == NULL;
    return lanes && cycles_of_lanes(call->conv) < cycles_of(call->conv) ? INFINITY : 0;
}

static void planes_task(void *context, int64_t task, void *memory)
{
    (void)memory;
    const planes_job *job = context;
    const fc_input_call *call = job->call;
    const fc_conv *conv = call->conv;
    const int64_t *x = conv->x_stride, *y = conv->y_stride;
    const size_t size = fc_size_of(conv->dtype);
    const fc_plane_task t = fc_plane_task_at(&job->tasks, task);
    const fc_filter_phases f = {
        .planes = t.planes, .first = t.row, .end = t.end, .row = job->row, .col = job->col,
        .src = fc_at(call->g, t.image * y[FC_N] + t.channel * y[FC_C] + t.depth * y[FC_D], size), .src_plane = y[FC_C],
        .src_row = y[FC_H], .weight = fc_at(call->weight, t.channel * conv->taps, size),
        .dst = fc_at_mut(call->grad, t.image * x[FC_N] + t.channel * x[FC_C] + t.depth * x[FC_D], size),
        .dst_plane = x[FC_C], .dst_row = x[FC_H],
    };
    call->table->filter_phases(&f);
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    planes_job job = { .call = call, .row = axis_of(conv, FC_HEIGHT), .col = axis_of(conv, FC_WIDTH) };
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    job.tasks = fc_plane_tasks_of(conv->batch, conv->in_channels, conv->in_size[FC_DEPTH], conv->in_size[FC_HEIGHT],
                                  conv->in_size[FC_WIDTH] * size, 4 * job.row.stride);
    const double pixels = (double)(conv->batch * conv->in_channels) *
                          (double)(conv->in_size[0] * conv->in_size[1]) * (double)conv->in_size[2];
    return fc_parallel(job.tasks.tasks, pixels * (double)size / 10e9, 0, planes_task, &job, error);
}

const fc_input_method fc_input_planes = { .name = "planes", .also = "depthwise", .supports = supports, .cost = cost,
                                          .run = run };
