/* The input gradient of 1x1 kernels for few pixels with adjacent channels: classifiers, squeeze and excitation,
 * last stages.
 *
 * gx[pixel][ic] = sum over oc of gy[pixel][oc] * weight[oc][ic]: lanes are input channels, of filters as they
 * lie.  Nearly all the time goes into reading these from memory, once: turning them round would be another time.
 * A task computes some lanes of all pixels. */
#include "../base/parallel.h"
#include "../base/size.h"
#include "geometry.h"
#include "input_grad.h"

enum {
    MOST_PIXELS = 128,
    FEW_PIXELS = 14,          /* a tile: filters are used as they are read */
    DEEP = 1024,               /* outputs whose filters are copied at a time */
    TASKS = 8,
};

/* Elements between the pixels of all images, 0 where they are not evenly apart. */
static int64_t pixel_step(const int64_t stride[FC_AXES], const int64_t size[FC_SPATIAL], int64_t batch)
{
    const int64_t pixels = size[FC_DEPTH] * size[FC_HEIGHT] * size[FC_WIDTH];
    if (pixels == 1)
        return stride[FC_N];
    const bool even = fc_pixels_uniform(stride, size) && (size[FC_WIDTH] > 1 || size[FC_HEIGHT] == 1);
    return even && (batch == 1 || stride[FC_N] == pixels * stride[FC_W]) ? stride[FC_W] : 0;
}

static const char *supports(const fc_conv *conv)
{
    static const char reason[] = "pixels needs a 1x1 kernel of one group and few pixels with adjacent channels";
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (conv->pad_before[axis] != 0 || conv->in_size[axis] != conv->out_size[axis] ||
            (conv->stride[axis] != 1 && conv->in_size[axis] > 1))
            return reason;
    return conv->taps == 1 && conv->groups == 1 && conv->x_stride[FC_C] == 1 &&
           conv->batch * conv->out_pixels <= MOST_PIXELS &&
           pixel_step(conv->x_stride, conv->in_size, conv->batch) != 0 &&
           pixel_step(conv->y_stride, conv->out_size, conv->batch) != 0 ? NULL : reason;
}

typedef struct pixels_job {
    const fc_conv *conv;
    const fc_table *table;
    const void *g, *weight;
    void *grad;
    int64_t pixels, g_step, x_step;
    int64_t panel, panels, tasks;             /* lanes; in all */
} pixels_job;

/* The sums over outputs oc .. oc + outs, whose filters are b_step apart in b. */
static void multiply(const pixels_job *job, int64_t lane, int64_t lanes, int64_t oc, int64_t outs, const void *b,
                     int64_t b_step, const fc_ahead *ahead)
{
    const size_t size = fc_size_of(job->conv->dtype);
    const int64_t vectors = job->panel / job->table->lanes, tile = job->table->outer_tile(job->pixels, (int)vectors);
    const int64_t channel = job->conv->y_stride[FC_C];
    const fc_outer o = {
        .m = job->pixels, .n = lanes, .images = 1, .rows = 1, .cols = outs, .a = fc_at(job->g, oc * channel, size),
        .tile = tile, .a_tile = tile * job->g_step, .a_row = job->g_step, .a_step = { 0, 0, channel }, .b = b,
        .b_step = b_step, .accumulate = oc > 0, .c = fc_at_mut(job->grad, lane, size), .c_row = job->x_step,
        .ahead = { *ahead },
    };
    job->table->outer(&o);
}

static void run_task(void *context, int64_t task, void *scratch)
{
    const pixels_job *job = context;
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t ins = conv->in_channels, outs = conv->out_channels;
    for (int64_t panel = job->panels * task / job->tasks; panel < job->panels * (task + 1) / job->tasks; panel++) {
        const int64_t lane = panel * job->panel, lanes = fc_min(job->panel, ins - lane), next = lane + job->panel;
        const void *b = fc_at(job->weight, lane, size);
        fc_ahead ahead = { .rows = 0 };
        if (next < ins)
            ahead = (fc_ahead){ fc_at(job->weight, next, size), outs, fc_min(job->panel, ins - next) * (int64_t)size,
                                ins * (int64_t)size };
        /* Whole vectors are read: of the last filter, which nothing follows, they are copied. */
        const bool part = lanes % job->table->lanes != 0;
        const int64_t in_place = job->pixels > FEW_PIXELS ? 0 : part ? outs - 1 : outs;
        if (in_place > 0)
            multiply(job, lane, lanes, 0, in_place, b, ins, &ahead);
        if (in_place == outs)
            continue;
        if (in_place > 0)
            ahead.rows = 0;
        for (int64_t oc = in_place; oc < outs; oc += DEEP) {
            const int64_t count = fc_min(DEEP, outs - oc);
            const fc_outer_pack pack = { .pixels = count, .channels = lanes, .width = job->panel,
                                         .src = fc_at(b, oc * ins, size), .src_step = ins, .dst = scratch };
            job->table->outer_pack(&pack);
            multiply(job, lane, lanes, oc, count, scratch, job->panel, &ahead);
            ahead.rows = 0;
        }
    }
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    const fc_table *table = call->table;
    const int64_t vectors = fc_div_up(conv->in_channels, table->lanes);
    pixels_job job = { .conv = conv, .table = table, .g = call->g, .weight = call->weight, .grad = call->grad };
    job.pixels = conv->batch * conv->out_pixels;
    job.g_step = pixel_step(conv->y_stride, conv->out_size, conv->batch);
    job.x_step = pixel_step(conv->x_stride, conv->in_size, conv->batch);
    job.panel = (job.pixels > FEW_PIXELS ? fc_panel_vectors(table, vectors) : fc_min(vectors, table->widest_panel)) *
                table->lanes;
    job.panels = fc_div_up(conv->in_channels, job.panel);
    job.tasks = fc_min(job.panels, TASKS);
    const size_t scratch = (size_t)((job.pixels > FEW_PIXELS ? fc_min(conv->out_channels, DEEP) : 1) * job.panel) *
                           fc_size_of(conv->dtype);
    const double bytes = (double)conv->out_channels * (double)conv->in_channels * (double)fc_size_of(conv->dtype);
    const fc_machine *machine = fc_machine_for(conv->dtype);
    return fc_parallel(job.tasks, conv->flops / machine->flops + bytes / machine->memory_bytes, scratch, run_task,
                       &job, error);
}

const fc_input_method fc_input_pixels = { .name = "pixels", .also = "direct", .supports = supports, .run = run };
