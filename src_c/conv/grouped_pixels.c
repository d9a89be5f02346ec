/* 1x1 over few adjacent channels, of images in colour for instance: see grouped_pixels.h and kernels/mix.h.
 *
 * What lies otherwise than an array of this layout does, a few thousand pixels at a time, goes by way of scratch. */
#include "grouped_pixels.h"
#include "../base/parallel.h"
#include "cost.h"
#include "geometry.h"
#include <math.h>

enum { PIXELS = 4096 };                       /* of a run */

/* All pixels in runs: lines of them that lie evenly in both arrays, cut where they are long. */
typedef struct pixels_job {
    const fc_conv_run *run;
    int64_t width, cuts, count, runs_of_task; /* pixels of a line; runs of one; runs; of a task */
    int64_t x_pixel, y_pixel;
    bool x_in_place, y_in_place;
} pixels_job;

double fc_grouped_pixels_cost(const fc_conv *conv, const fc_machine *machine)
{
    enum { MOST_STRIDE = 16 };
    const int64_t in = conv->in_per_group, out = conv->out_per_group, stride = conv->stride[FC_WIDTH];
    if (!conv->channels_last || conv->groups > 1 || conv->taps > 1 || !fc_unpadded(conv) || stride > MOST_STRIDE ||
        !fc_grouped_pixels_fit(machine->lanes, in * stride, out))
        return INFINITY;
    const double all = (double)(conv->batch * conv->out_pixels);
    const double vectors = all / (double)fc_mix_pixels(machine->lanes, in * stride, out);
    const double bytes = all * (double)(in * stride + out) * (double)fc_size_of(conv->dtype);
    const bool even = conv->stride[FC_DEPTH] == 1 && conv->stride[FC_HEIGHT] == 1 && stride == 1;
    const double lines = even ? 1 : (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT]);
    const fc_count counts[] = {
        { vectors * (double)in, 2.6 },                                             /* pick and multiply */
        { vectors, 8 },                                                            /* loads and stores */
        { bytes > (double)machine->l2 ? bytes / 64 : 0, 6 },                       /* lines from beyond L2 */
        { lines, 900 },
        { 1, 4000 },
    };
    return FC_COST(counts, machine);
}

size_t fc_grouped_pixels_scratch(const fc_conv *conv)
{
    return (size_t)(PIXELS * (conv->in_per_group + conv->out_per_group)) * fc_size_of(conv->dtype);
}

static pixels_job job_of(const fc_conv_run *run, double seconds)
{
    const fc_conv *conv = run->conv;
    const int64_t *x = conv->x_stride, *y = conv->y_stride, *stride = conv->stride, lanes = run->table->lanes;
    const int64_t in = conv->in_per_group, out = conv->out_per_group;
    pixels_job job = { .run = run, .width = conv->out_size[FC_WIDTH] };
    /* A stride that is never taken may be of any size. */
    job.x_pixel = job.width > 1 ? stride[FC_WIDTH] * x[FC_W] : in;
    job.y_pixel = job.width > 1 ? y[FC_W] : out;
    int64_t lines = conv->batch;
    for (int axis = FC_HEIGHT; axis >= FC_DEPTH; axis--) {
        const int64_t size = conv->out_size[axis];
        const bool even = lines == conv->batch &&
                          (size == 1 || (stride[axis] * x[FC_D + axis] == job.width * job.x_pixel &&
                                         y[FC_D + axis] == job.width * job.y_pixel));
        if (even)
            job.width *= size;
        else
            lines *= size;
    }
    if (lines == conv->batch &&
        (lines == 1 || (x[FC_N] == job.width * job.x_pixel && y[FC_N] == job.width * job.y_pixel))) {
        job.width *= lines;
        lines = 1;
    }
    job.x_in_place = (in == 1 || x[FC_C] == 1) && job.x_pixel >= in && fc_grouped_pixels_fit(lanes, job.x_pixel, out);
    job.y_in_place = (out == 1 || y[FC_C] == 1) && job.y_pixel == out;
    job.cuts = fc_div_up(job.width, PIXELS);
    job.count = lines * job.cuts;
    job.runs_of_task = fc_max(1, (int64_t)((double)job.count / fc_max(1, (int64_t)(seconds / 20e-6))));
    return job;
}

/* Offsets of the first pixel of a line of the job in x and y. */
static void find_line(const pixels_job *job, int64_t line, int64_t *x, int64_t *y)
{
    const fc_conv *conv = job->run->conv;
    int64_t pixel = line * job->width;        /* among all */
    *x = *y = 0;
    for (int axis = FC_WIDTH; axis >= FC_DEPTH; axis--) {
        const int64_t at = pixel % conv->out_size[axis];
        pixel /= conv->out_size[axis];
        *x += at * conv->stride[axis] * conv->x_stride[FC_D + axis];
        *y += at * conv->y_stride[FC_D + axis];
    }
    *x += pixel * conv->x_stride[FC_N];
    *y += pixel * conv->y_stride[FC_N];
}

static void run_task(void *context, int64_t task, void *scratch)
{
    const pixels_job *job = context;
    const fc_conv *conv = job->run->conv;
    const fc_table *table = job->run->table;
    const int64_t in = conv->in_per_group, out = conv->out_per_group;
    const size_t size = fc_size_of(conv->dtype);
    void *const copy = scratch, *const sums = fc_at_mut(scratch, PIXELS * in, size);
    const int64_t end = fc_min((task + 1) * job->runs_of_task, job->count);
    for (int64_t i = task * job->runs_of_task; i < end; i++) {
        const int64_t first = job->width * (i % job->cuts) / job->cuts;
        const int64_t pixels = job->width * (i % job->cuts + 1) / job->cuts - first;
        int64_t at_x, at_y;
        find_line(job, i / job->cuts, &at_x, &at_y);
        const void *x = fc_at(job->run->x, at_x + first * job->x_pixel, size);
        void *y = fc_at_mut(job->run->y, at_y + first * job->y_pixel, size);
        const fc_move in_order = { .rows = pixels, .cols = in, .src = x, .src_row = job->x_pixel,
                                   .src_col = conv->x_stride[FC_C], .dst = copy, .dst_row = in, .dst_col = 1 };
        const fc_mix mix = {
            .pixels = pixels, .in = in, .out = out, .x = job->x_in_place ? x : copy,
            .x_pixel = job->x_in_place ? job->x_pixel : in, .weight = job->run->weight, .bias = job->run->bias,
            .y = job->y_in_place ? y : sums, .activation = conv->activation,
        };
        const fc_move to_y = { .rows = pixels, .cols = out, .src = sums, .src_row = out, .src_col = 1, .dst = y,
                               .dst_row = job->y_pixel, .dst_col = conv->y_stride[FC_C] };
        if (!job->x_in_place)
            table->move(&in_order);
        table->mix(&mix);
        if (!job->y_in_place)
            table->move(&to_y);
    }
}

fc_status fc_grouped_pixels_forward(const fc_conv_run *run, fc_error *error)
{
    const double seconds = fc_grouped_pixels_cost(run->conv, fc_machine_for(run->conv->dtype));
    pixels_job job = job_of(run, seconds);
    return fc_parallel(fc_div_up(job.count, job.runs_of_task), seconds, fc_grouped_pixels_scratch(run->conv), run_task,
                       &job, error);
}
