/* Depthwise with a stride, or of narrow planes: planes of adjacent pixels one after the other, nothing copied (see
 * kernels/depthwise_strided.h). */
#include "depthwise_strided.h"
#include "../base/parallel.h"
#include "cost.h"
#include "nonfinite.h"
#include "plane_tasks.h"
#include <math.h>

typedef struct strided_job {
    const fc_conv_run *run;
    fc_plane_tasks tasks;
    bool far;
} strided_job;

static bool is_twos(const fc_conv *conv, int64_t lanes)
{
    const fc_strided_axis row = fc_strided_axis_of(conv, FC_HEIGHT), col = fc_strided_axis_of(conv, FC_WIDTH);
    return fc_strided_twos(&row, &col, lanes);
}

static bool is_flat(const fc_conv *conv, int64_t lanes)
{
    const fc_strided_axis row = fc_strided_axis_of(conv, FC_HEIGHT), col = fc_strided_axis_of(conv, FC_WIDTH);
    return fc_strided_flat(&row, &col, lanes);
}

/* A stride of 2 is for the plain way where few lanes, or single columns of the kernel, would be used. */
static bool fills(const fc_conv *conv, int64_t lanes)
{
    const int64_t cols = conv->out_size[FC_WIDTH], rows = conv->in_size[FC_WIDTH] < lanes && 2 * cols <= lanes ? 2 : 1;
    return conv->stride[FC_WIDTH] > 2 ||
           (2 * rows * cols >= lanes && (conv->kernel[FC_WIDTH] > 2 || conv->taps == 1));
}

static bool supports(const fc_conv *conv)
{
    const int64_t *stride = conv->stride, *kernel = conv->kernel, width = conv->in_size[FC_WIDTH];
    if (conv->in_per_group != 1 || conv->out_per_group != 1 || kernel[FC_DEPTH] != 1 || stride[FC_DEPTH] != 1 ||
        conv->pad_before[FC_DEPTH] != 0 || conv->out_size[FC_DEPTH] != conv->in_size[FC_DEPTH])
        return false;
    if (conv->channels_last || conv->x_stride[FC_W] != 1 || conv->y_stride[FC_W] != 1)
        return false;
    if (kernel[FC_WIDTH] > FC_STRIDED_KERNEL)
        return false;
    const int64_t lanes = fc_table_for(conv->dtype)->lanes;
    if (is_flat(conv, lanes))
        return kernel[FC_HEIGHT] <= FC_STRIDED_HIGH && conv->x_stride[FC_H] == width && conv->y_stride[FC_H] == width &&
               fc_max(conv->pad_before[FC_HEIGHT], conv->pad_after[FC_HEIGHT]) < kernel[FC_HEIGHT];
    if (fc_strided_narrow(width, lanes))
        return stride[FC_WIDTH] >= 2 && conv->out_size[FC_WIDTH] <= lanes && kernel[FC_HEIGHT] <= FC_STRIDED_HIGH &&
               fc_max(conv->pad_before[FC_HEIGHT], conv->pad_after[FC_HEIGHT]) < kernel[FC_HEIGHT] &&
               conv->dilation[FC_HEIGHT] == 1 && fills(conv, lanes);
    if (is_twos(conv, lanes))
        return true;
    return (stride[FC_WIDTH] == 3 || stride[FC_WIDTH] == 4) && (kernel[FC_WIDTH] == 1 || conv->dilation[FC_WIDTH] == 1);
}

/* Bytes of x that are read and of y, about. */
static double moved_of(const fc_conv *conv)
{
    const int64_t high = fc_min(conv->in_size[FC_HEIGHT], conv->out_size[FC_HEIGHT] * conv->kernel[FC_HEIGHT]);
    const double planes = (double)conv->batch * (double)(conv->out_channels * conv->out_size[FC_DEPTH]);
    return planes * (double)(conv->in_size[FC_WIDTH] * high + conv->out_pixels) * (double)fc_size_of(conv->dtype);
}

static double flat_cost(const fc_conv *conv, const fc_machine *machine)
{
    const double planes = (double)conv->batch * (double)(conv->out_channels * conv->out_size[FC_DEPTH]);
    const int64_t *kernel = conv->kernel, rows = machine->lanes / conv->in_size[FC_WIDTH];
    const double vectors = planes * (double)fc_div_up(conv->out_size[FC_HEIGHT], rows), taps = (double)conv->taps;
    const double moved = moved_of(conv);
    /* What is read once for several vectors: see the kernel. */
    const bool shares = rows == 2 && kernel[FC_HEIGHT] == kernel[FC_WIDTH] && conv->dilation[FC_WIDTH] == 1 &&
                        2 * conv->pad_before[FC_WIDTH] == kernel[FC_WIDTH] - 1 && (conv->taps == 9 || conv->taps == 25);
    const double pick = fc_table_for(conv->dtype)->depthwise_filters > 0 ? 1 : 1.8; /* of 16 registers */
    const double left = shares && conv->in_size[FC_HEIGHT] == 7 ? 0.85 : 1; /* without those of padding */
    const fc_count counts[] = {
        { vectors * taps * left, (shares ? machine->multiply > 1 ? 1.8 : 2.8 : 3.7) * pick },
        { planes * taps, shares ? 1 : 2.1 },
        { shares ? 0 : vectors * (double)kernel[FC_HEIGHT], 1.7 }, /* reads */
        { moved > (double)machine->l2 ? moved / 64 : 0, 2 },   /* lines from beyond L2 */
        { 1, 4920 },
    };
    return FC_COST(counts, machine);
}

static double twos_cost(const fc_conv *conv, const fc_machine *machine)
{
    enum { TILE = 4 };                        /* rows of outputs; fewer are computed one by one */
    const double planes = (double)conv->batch * (double)(conv->out_channels * conv->out_size[FC_DEPTH]);
    const double vectors = planes * (double)fc_div_up(conv->out_size[FC_WIDTH], machine->lanes);
    const double high = (double)conv->out_size[FC_HEIGHT], moved = moved_of(conv);
    const double tiles = vectors * (high < TILE ? 0.5 * high : ceil(high / TILE));
    const double pick = fc_table_for(conv->dtype)->depthwise_filters > 0 ? 1 : 0.75; /* of 16 registers, and lanes */
    const fc_count counts[] = {
        { tiles, 40 },
        { tiles * (double)conv->taps, (conv->taps == 25 ? 5.4 : 7) * pick },
        { moved > (double)machine->l2 ? moved / 64 : 0, 4 },   /* lines from beyond L2 */
        { 1, 4920 },
    };
    return FC_COST(counts, machine);
}

double fc_depthwise_strided_cost(const fc_conv *conv, const fc_machine *machine)
{
    if (!supports(conv))
        return INFINITY;
    if (is_flat(conv, machine->lanes))
        return flat_cost(conv, machine);
    if (is_twos(conv, machine->lanes))
        return twos_cost(conv, machine);
    enum { TILE = 4 };                        /* vectors of outputs below each other */
    const double planes = (double)conv->batch * (double)(conv->out_channels * conv->out_size[FC_DEPTH]);
    const int64_t lanes = machine->lanes, *out = conv->out_size, *kernel = conv->kernel;
    const int64_t width = conv->in_size[FC_WIDTH];
    const bool narrow = fc_strided_narrow(width, lanes);
    const int64_t rows = narrow && width < lanes && 2 * out[FC_WIDTH] <= lanes ? 2 : 1;
    const double tiles = planes * (double)(fc_div_up(out[FC_HEIGHT], TILE * rows) * fc_div_up(out[FC_WIDTH], lanes));
    const double parts = tiles * (double)(kernel[FC_HEIGHT] * fc_div_up(kernel[FC_WIDTH], conv->stride[FC_WIDTH]));
    const double moved = moved_of(conv);
    /* To pick lanes of two registers takes several instructions where there are 16 of these. */
    const double pick = fc_table_for(conv->dtype)->depthwise_filters > 0 ? 1 : narrow ? 1.8 : 2.5;
    const fc_count counts[] = {
        { tiles, narrow ? 26 : 40 },
        { narrow ? tiles * (double)kernel[FC_HEIGHT] : parts, narrow ? 13 : 22 }, /* reads */
        { tiles * (double)conv->taps, (narrow ? (rows == 1 && kernel[FC_WIDTH] > 4 ? 6 : 3.7) : 11) * pick },
        { moved > (double)machine->l2 ? moved / 64 : 0, 4 },   /* lines from beyond L2 */
        { 1, 4920 },
    };
    return FC_COST(counts, machine);
}

double fc_depthwise_strided_margin(const fc_conv *conv)
{
    const int64_t lanes = fc_machine_for(conv->dtype)->lanes;
    return is_flat(conv, lanes) || is_twos(conv, lanes) || conv->taps == 1 ? 1.1 : 1.6;
}

static void strided_task(void *context, int64_t task, void *memory)
{
    (void)memory;
    const strided_job *job = context;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const int64_t *x = conv->x_stride, *y = conv->y_stride;
    const size_t size = fc_size_of(conv->dtype);
    const fc_plane_task t = fc_plane_task_at(&job->tasks, task);
    fc_depthwise_strided d = {
        .planes = t.planes, .row = fc_strided_axis_of(conv, FC_HEIGHT), .col = fc_strided_axis_of(conv, FC_WIDTH),
        .x = fc_at(run->x, t.image * x[FC_N] + t.channel * x[FC_C] + t.depth * x[FC_D], size), .x_plane = x[FC_C],
        .x_row = x[FC_H], .weight = fc_at(run->weight, t.channel * conv->taps, size),
        .bias = run->bias ? fc_at(run->bias, t.channel, size) : NULL,
        .y = fc_at_mut(run->y, t.image * y[FC_N] + t.channel * y[FC_C] + t.depth * y[FC_D], size), .y_plane = y[FC_C],
        .y_row = y[FC_H], .activation = conv->activation, .far = job->far,
    };
    d.row.first = t.row;
    d.row.end = t.end;
    run->table->depthwise_strided(&d);
}

fc_status fc_depthwise_strided_forward(const fc_conv_run *run, fc_error *error)
{
    const fc_conv *conv = run->conv;
    const int64_t height = conv->out_size[FC_HEIGHT], size = (int64_t)fc_size_of(conv->dtype);
    const int64_t high = fc_max(1, conv->in_size[FC_HEIGHT] / height); /* rows of x to one of y, about */
    strided_job job = { .run = run, .far = moved_of(conv) > (double)fc_machine_for(conv->dtype)->l3 / 2 };
    job.tasks = fc_plane_tasks_of(conv->batch, conv->out_channels, conv->out_size[FC_DEPTH], height,
                                  high * conv->in_size[FC_WIDTH] * size, 8);
    const double seconds = fc_depthwise_strided_cost(conv, fc_machine_for(conv->dtype));
    const fc_status status = fc_parallel(job.tasks.tasks, seconds, 0, strided_task, &job, error);
    if (status == FC_OK)
        fc_nonfinite_padding(run, run->weight, conv->taps, 1);
    return status;
}
