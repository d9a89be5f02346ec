/* The input gradient of a convolution with a stride along rows of adjacent pixels, phase by phase.
 *
 * A task computes some rows of one image: every column phase as a convolution into scratch, then all
 * of them woven into the rows of the gradient, which are so written once, in order, zeros included. */
#include "../base/parallel.h"
#include "../base/size.h"
#include "geometry.h"
#include "input_grad.h"
#include <math.h>
#include <stdatomic.h>

/* Elements in scratch, at least one row: in L2 where tasks can be cut by groups, more where a block of
 * filters has to be read for it. */
enum { TILE = 1 << 17, SMALL_TILE = 1 << 15 };
enum { FEW_CHANNELS = 16 };                   /* of a group */

/* Beyond the phases at once: as a part of their time; per element of the gradient; per phase of an image; and for
 * each of its groups, if there are several. */
static const double SMALL_BLOCKS = 0.25, WEAVE_SECONDS = 5e-10, CALL_SECONDS = 1.3e-6, GROUP_SECONDS = 4.5e-7;
static const double GROUPED = 0.65;           /* of all that, where groups have few channels, which stay near */

static const char *supports(const fc_conv *conv)
{
    return !conv->channels_last && conv->x_stride[FC_W] == 1 && conv->stride[FC_WIDTH] > 1 &&
           conv->stride[FC_WIDTH] <= FC_WEAVE_PHASES ? NULL : "rows needs adjacent pixels and a stride of 2 to 4";
}

typedef struct rows_job {
    const fc_grad_phases *phases;
    const void *g;
    void *grad;
    int64_t width;                            /* of the widest column phase */
    int64_t groups, group_blocks;             /* per task; such blocks */
    int64_t rows, blocks;                     /* rows of one row phase per task; such blocks */
    int64_t row_phases, depth_phases, depths; /* that have pixels; most pixels of a depth phase */
    _Atomic int *failed;                      /* a task had no memory */
} rows_job;

/* The tap whose phase begins at input pixel `pixel`, or -1. */
static int64_t tap_of(const fc_grad_phases *phases, int axis, int64_t pixel)
{
    const fc_conv *conv = phases->conv;
    fc_axis_phase phase;
    for (int64_t tap = 0; tap < phases->count[axis]; tap++)
        if (fc_axis_phase_of(conv, axis, tap, 0, INT64_MAX, &phase) && phase.first == pixel)
            return tap;
    return -1;
}

/* What a task computes. */
typedef struct rows_block {
    int64_t image, group, groups;
    int64_t depth_phase, depth, row_phase, row, rows; /* row and depth count the pixels of their phase */
} rows_block;

/* The block's part of one phase.  False: zeros. */
static bool run_phase(const rows_job *job, const rows_block *b, const int64_t tap[FC_SPATIAL], void *tile)
{
    const fc_grad_phases *phases = job->phases;
    const fc_conv *conv = phases->conv;
    const size_t size = fc_size_of(conv->dtype);
    fc_axis_phase axes[FC_SPATIAL];
    fc_error error;
    fc_conv sub;
    int64_t x, y;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (tap[axis] < 0)
            return false;
    const fc_grad_phase *phase = &phases->phase[(tap[0] * phases->count[1] + tap[1]) * phases->count[2] + tap[2]];
    if (!phase->live || !fc_axis_phase_of(conv, FC_DEPTH, tap[0], b->depth, 1, &axes[0]) ||
        !fc_axis_phase_of(conv, FC_HEIGHT, tap[1], b->row, b->rows, &axes[1]) ||
        !fc_axis_phase_of(conv, FC_WIDTH, tap[2], 0, INT64_MAX, &axes[2]))
        return false;
    fc_conv part = *conv;
    part.batch = 1;
    part.groups = b->groups;
    part.in_channels = b->groups * conv->in_per_group;
    part.out_channels = b->groups * conv->out_per_group;
    if (fc_phase_conv(&part, axes, &sub, &x, &y, &error) != FC_OK)
        return false;
    sub.y_stride[FC_W] = 1;
    sub.y_stride[FC_H] = job->width;
    sub.y_stride[FC_D] = sub.y_stride[FC_C] = b->rows * job->width;
    sub.y_stride[FC_N] = part.in_channels * b->rows * job->width;
    x += b->image * conv->y_stride[FC_N] + b->group * conv->out_per_group * conv->y_stride[FC_C];
    const fc_conv_run run = {
        .conv = &sub, .table = phases->table, .prepared = phase->prepared, .x = fc_at(job->g, x, size), .y = tile,
        .weight = fc_at(phase->weight, b->group * conv->in_per_group * sub.depth, size),
    };
    if (phase->algorithm->forward(&run, &error) != FC_OK)
        atomic_store(job->failed, 1);
    return true;
}

static bool block_of(const rows_job *job, int64_t task, rows_block *b)
{
    const fc_conv *conv = job->phases->conv;
    const int64_t block = task % job->blocks;
    task /= job->blocks;
    b->row_phase = task % job->row_phases;
    task /= job->row_phases;
    b->depth = task % job->depths;
    task /= job->depths;
    b->depth_phase = task % job->depth_phases;
    task /= job->depth_phases;
    b->group = task % job->group_blocks * job->groups;
    b->groups = fc_min(job->groups, conv->groups - b->group);
    b->image = task / job->group_blocks;
    b->row = block * job->rows;
    b->rows = fc_min(job->rows, fc_div_up(conv->in_size[FC_HEIGHT] - b->row_phase, conv->stride[FC_HEIGHT]) - b->row);
    return b->rows > 0 && b->depth_phase + b->depth * conv->stride[FC_DEPTH] < conv->in_size[FC_DEPTH];
}

static void run_task(void *context, int64_t task, void *tile)
{
    const rows_job *job = context;
    const fc_conv *conv = job->phases->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, *stride = conv->stride;
    rows_block b;
    if (!block_of(job, task, &b))
        return;
    fc_weave weave = { .rows = b.rows, .cols = conv->in_size[FC_WIDTH], .phases = (int)stride[FC_WIDTH],
                       .src_row = job->width, .dst_row = stride[FC_HEIGHT] * x[FC_H] };
    const int64_t plane = b.rows * job->width, channels = b.groups * conv->in_per_group;
    for (int64_t p = 0; p < fc_min(stride[FC_WIDTH], conv->in_size[FC_WIDTH]); p++) {
        const int64_t tap[FC_SPATIAL] = { tap_of(job->phases, 0, b.depth_phase), tap_of(job->phases, 1, b.row_phase),
                                          tap_of(job->phases, 2, p) };
        void *to = fc_at_mut(tile, p * channels * plane, size);
        weave.src[p] = run_phase(job, &b, tap, to) ? to : NULL;
    }
    const int64_t first = b.image * x[FC_N] + b.group * conv->in_per_group * x[FC_C] +
                          (b.depth_phase + b.depth * stride[FC_DEPTH]) * x[FC_D] +
                          (b.row_phase + b.row * stride[FC_HEIGHT]) * x[FC_H];
    for (int64_t c = 0; c < channels; c++) {
        weave.dst = fc_at_mut(job->grad, first + c * x[FC_C], size);
        job->phases->table->weave(&weave);
        for (int p = 0; p < weave.phases; p++)
            weave.src[p] = weave.src[p] ? fc_at(weave.src[p], plane, size) : NULL;
    }
}

/* Prepared filters are those of all groups. */
static bool any_prepared(const fc_grad_phases *phases)
{
    for (int64_t i = 0; i < phases->all; i++)
        if (phases->phase[i].live && phases->phase[i].prepared)
            return true;
    return false;
}

static fc_status run_rows(const fc_grad_phases *phases, const void *grad_output, void *grad_input, fc_error *error)
{
    const fc_conv *conv = phases->conv;
    const int64_t *size = conv->in_size, *stride = conv->stride;
    _Atomic int failed = 0;
    rows_job job = { .phases = phases, .g = grad_output, .grad = grad_input, .failed = &failed };
    job.width = fc_div_up(size[FC_WIDTH], stride[FC_WIDTH]);
    job.row_phases = fc_min(size[FC_HEIGHT], stride[FC_HEIGHT]);
    job.depth_phases = fc_min(size[FC_DEPTH], stride[FC_DEPTH]);
    job.depths = fc_div_up(size[FC_DEPTH], stride[FC_DEPTH]);
    const int64_t all = fc_div_up(size[FC_HEIGHT], stride[FC_HEIGHT]);
    const int64_t row = job.width * stride[FC_WIDTH] * conv->in_per_group;
    job.groups = conv->groups;
    int64_t tile = TILE;
    if (conv->groups > 1 && !any_prepared(phases)) {
        tile = SMALL_TILE;
        job.groups = fc_max(1, fc_min(conv->groups, tile / (row * all)));
    }
    job.group_blocks = fc_div_up(conv->groups, job.groups);
    job.blocks = fc_div_up(all, fc_max(1, fc_min(all, tile / (row * job.groups))));
    job.rows = fc_div_up(all, job.blocks);
    job.blocks = fc_div_up(all, job.rows);
    const int64_t depths = conv->batch * job.group_blocks * job.depth_phases * job.depths;
    const double seconds = conv->flops / fc_machine_for(conv->dtype)->flops;
    const fc_status status =
        fc_parallel(depths * job.row_phases * job.blocks, seconds,
                    (size_t)(job.rows * row * job.groups) * fc_size_of(conv->dtype), run_task, &job, error);
    if (status == FC_OK && atomic_load(&failed))
        return fc_fail(error, FC_NO_MEMORY, "grad_output: no memory for the scratch of a task");
    return status;
}

static double cost(fc_input_call *call)
{
    fc_error unused;                          /* a run tries again, and says why it cannot */
    const fc_conv *conv = call->conv;
    const fc_grad_phases *phases = &call->phases;
    const bool near = conv->groups > 1 && conv->in_per_group < FEW_CHANNELS && conv->stride[FC_WIDTH] != 3;
    const double most = call->most / (near ? GROUPED : 1);
    if (fc_grad_phases_least(conv) >= most ||
        fc_grad_phases_make(&call->phases, conv, call->algorithm, true, most, &unused) != FC_OK ||
        phases->made < phases->all)
        return INFINITY;
    const double pixels = (double)conv->batch * (double)(conv->in_size[0] * conv->in_size[1] * conv->in_size[2]);
    const double calls = (double)(conv->batch * phases->all), groups = conv->groups > 1 ? (double)conv->groups : 0;
    const double zeros = 1 - (double)(conv->batch * phases->covered) / pixels; /* are woven as they are written */
    const double seconds = (1 + SMALL_BLOCKS) * phases->seconds + calls * (CALL_SECONDS + GROUP_SECONDS * groups) +
                           WEAVE_SECONDS * (1 - 0.8 * zeros) * pixels * (double)conv->in_channels;
    return near ? GROUPED * seconds : seconds; /* three phases are woven slowly */
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    fc_status status = fc_grad_phases_make(&call->phases, call->conv, call->algorithm, true, INFINITY, error);
    if (status == FC_OK)
        status = fc_grad_phases_reserve(&call->phases, call->weight, true, error);
    return status == FC_OK ? run_rows(&call->phases, call->g, call->grad, error) : status;
}

const fc_input_method fc_input_rows = { .name = "rows", .supports = supports, .cost = cost, .run = run };
