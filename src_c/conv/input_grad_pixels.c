/* The input gradient of 1x1 kernels for a few pixels: classifiers, squeeze and excitation.
 *
 * gx[pixel][ic] = sum over oc of gy[pixel][oc] * weight[oc][ic]: lanes are input channels, of filters as they
 * lie.  Nearly all the time goes into reading these, once: a few filters at a time, along them, which the
 * processor foresees.  A task computes some lanes of all pixels. */
#include "input_grad_pixels.h"
#include "../base/parallel.h"
#include "../base/size.h"
#include "input_grad.h"
#include <math.h>

enum {
    MOST_PIXELS = 18,         /* their sums stay in a near cache */
    FILTERS = 8,              /* at a time, or shorter ones of so many elements */
    ELEMENTS = 4096,
    DEEP = 512,               /* filters whose last lanes, less than a vector, are copied at a time */
    LEAST_LANES = 256,        /* of a task */
    TASKS = 8,
};

static const char *supports(const fc_conv *conv)
{
    return fc_grad_is_product(conv) && (conv->x_stride[FC_C] == 1 || conv->in_channels == 1) &&
           (conv->y_stride[FC_C] == 1 || conv->out_channels == 1) && conv->batch * conv->out_pixels <= MOST_PIXELS &&
           fc_grad_pixel_step(conv->x_stride, conv->in_size, conv->batch) != 0 &&
           fc_grad_pixel_step(conv->y_stride, conv->out_size, conv->batch) != 0
               ? NULL : "pixels needs a 1x1 kernel of one group and few pixels with adjacent channels";
}

typedef struct pixels_job {
    const fc_input_call *call;
    int64_t pixels, g_step, x_step;
    int64_t lanes, tasks;                     /* of a task, whole vectors */
} pixels_job;

/* Lanes first .. first + lanes of all pixels, `filters` at a time; what is read beyond is copied before, to `copy`. */
static void multiply(const pixels_job *job, int64_t first, int64_t lanes, int64_t filters, void *copy)
{
    const fc_conv *conv = job->call->conv;
    const size_t size = fc_size_of(conv->dtype);
    const void *rows[MOST_PIXELS];
    fc_gemm g = {
        .m = job->pixels, .n = lanes, .a = rows, .b_lane = 1, .b_step = conv->in_channels, .b_copy = copy,
        .panel_vectors = job->call->table->panel_vectors, .c = fc_at_mut(job->call->grad, first, size),
        .c_row = job->x_step,
    };
    for (int64_t k = 0; k < conv->out_channels; k += g.k) {
        for (int64_t i = 0; i < job->pixels; i++)
            rows[i] = fc_at(job->call->g, i * job->g_step + k, size);
        g.k = fc_min(filters, conv->out_channels - k);
        g.b = fc_at(job->call->weight, k * conv->in_channels + first, size);
        g.accumulate = k > 0;
        job->call->table->gemm(&g);
    }
}

static void run_task(void *context, int64_t task, void *scratch)
{
    const pixels_job *job = context;
    const int64_t first = task * job->lanes, lanes = fc_min(job->lanes, job->call->conv->in_channels - first);
    const int64_t whole = lanes / job->call->table->lanes * job->call->table->lanes;
    if (whole > 0)
        multiply(job, first, whole, fc_max(FILTERS, ELEMENTS / job->call->conv->in_channels), NULL);
    if (lanes > whole)
        multiply(job, first + whole, lanes - whole, DEEP, scratch);
}

static double cost(fc_input_call *call)
{
    return call->conv->batch * call->conv->out_pixels <= fc_most_pixels(call->conv) ? 0 : INFINITY;
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    const int64_t lanes = call->table->lanes;
    pixels_job job = { .call = call, .pixels = conv->batch * conv->out_pixels };
    job.g_step = fc_grad_pixel_step(conv->y_stride, conv->out_size, conv->batch);
    job.x_step = fc_grad_pixel_step(conv->x_stride, conv->in_size, conv->batch);
    job.lanes = fc_round_up(fc_max(LEAST_LANES, fc_div_up(conv->in_channels, TASKS)), lanes);
    job.tasks = fc_div_up(conv->in_channels, job.lanes);
    const double bytes = (double)conv->out_channels * (double)conv->in_channels * (double)fc_size_of(conv->dtype);
    const fc_machine *machine = fc_machine_for(conv->dtype);
    return fc_parallel(job.tasks, conv->flops / machine->flops + bytes / machine->memory_bytes,
                       (size_t)(DEEP * lanes) * fc_size_of(conv->dtype), run_task, &job, error);
}

const fc_input_method fc_input_pixels = { .name = "pixels", .also = "direct", .supports = supports, .cost = cost,
                                          .run = run };
