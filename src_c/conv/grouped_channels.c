/* Grouped with output channels as lanes, by the depthwise kernel: see grouped_channels.h.  Called by grouped.c. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "cost.h"
#include "depthwise.h"
#include "grouped_channels.h"
#include "nonfinite.h"
#include <stdio.h>

enum {
    MOST_DEPTH = 4096,        /* products of an output */
    PACKED_CHANNELS = 64,     /* whose weights a task packs */
};
static const double TASK_SECONDS = 40e-6;     /* so long should a task take */

/* Whose vectors the channels of a group fit, or of all where groups share a vector.  A group that has a half vector for
 * itself needs no picks there. */
static const fc_machine *machine_of(const fc_conv *conv)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    if (!machine->half || conv->out_per_group > machine->half->lanes)
        return fc_machine_fitting(machine, conv->out_per_group);
    if (conv->out_per_group == machine->half->lanes)
        return conv->out_channels % machine->lanes == 0 ? machine : machine->half;
    return fc_machine_fitting(machine, conv->out_channels);
}

bool fc_grouped_channels_can(const fc_conv *conv)
{
    const int64_t in = conv->in_per_group, out = conv->out_per_group, lanes = machine_of(conv)->lanes;
    return conv->channels_last && conv->groups > 1 && conv->x_stride[FC_C] == 1 && conv->y_stride[FC_C] == 1 &&
           conv->out_channels >= lanes &&
           in > 1 && lanes > 1 && (out % lanes == 0 || (in == out && lanes % out == 0)) && conv->depth <= MOST_DEPTH;
}

/* Weights as [input of a group][tap][output channel]; sixteen more, so that rows do not share a cache set. */
typedef struct channels_job {
    fc_conv_run run;                          /* with the table of machine_of */
    const void *weight;
    int64_t w_tap, rows, row_blocks;
    size_t pick_at;                           /* in scratch, after the lists */
} channels_job;

static int64_t packed_tap(const fc_conv *conv) { return conv->out_channels + 16; }

static channels_job job_of(const fc_conv_run *run, double seconds)
{
    const fc_conv *conv = run->conv;
    const int64_t height = conv->out_size[FC_HEIGHT], images = conv->batch * conv->out_size[FC_DEPTH];
    channels_job job = { .run = *run, .w_tap = packed_tap(conv), .pick_at = fc_depthwise_list_bytes(conv) };
    job.run.table = machine_of(conv)->table;
    const int64_t tasks = (int64_t)(seconds / (double)images / TASK_SECONDS) + 1;
    job.row_blocks = fc_min(fc_max(1, height / 4), tasks);
    job.rows = fc_div_up(height, job.row_blocks);
    job.row_blocks = fc_div_up(height, job.rows);
    return job;
}

size_t fc_grouped_channels_scratch(const fc_conv *conv)
{
    return fc_depthwise_list_bytes(conv) +
           (size_t)(conv->in_per_group * machine_of(conv)->lanes) * fc_size_of(conv->dtype);
}

/* Lane l sees input `i` of its group, in the vector of its groups: integers of a real's size, as vpick takes them. */
static void find_picks(const fc_conv *conv, int64_t lanes, void *pick)
{
    const int64_t group = conv->out_per_group;
    for (int64_t i = 0; i < conv->in_per_group; i++)
        for (int64_t l = 0; l < lanes; l++)
            if (conv->dtype == FC_F32)
                ((int32_t *)pick)[i * lanes + l] = (int32_t)(l / group * group + i);
            else
                ((int64_t *)pick)[i * lanes + l] = l / group * group + i;
}

static void run_task(void *context, int64_t task, void *memory)
{
    const channels_job *job = context;
    const fc_conv *conv = job->run.conv;
    const int64_t row = task % job->row_blocks * job->rows, depth = task / job->row_blocks % conv->out_size[FC_DEPTH];
    const fc_depthwise_part part = { { depth, row, 0 },
        { depth + 1, fc_min(row + job->rows, conv->out_size[FC_HEIGHT]), conv->out_size[FC_WIDTH] } };
    fc_depthwise_view v = fc_depthwise_view_of(&job->run, task / job->row_blocks / conv->out_size[FC_DEPTH], 0);
    v.weight = job->weight;
    v.w_tap = job->w_tap;
    v.w_channel = 1;
    if (conv->out_per_group < job->run.table->lanes) {
        v.pick = (char *)memory + job->pick_at;
        find_picks(conv, job->run.table->lanes, (char *)memory + job->pick_at);
    }
    fc_depthwise_channels(&job->run, &v, conv->out_channels, &part, memory);
}

static void pack(const fc_conv *conv, int64_t channel, int64_t channels, const void *weight, void *packed)
{
    const size_t size = fc_size_of(conv->dtype);
    const fc_move move = { .rows = conv->depth, .cols = channels, .src = fc_at(weight, channel * conv->depth, size),
                           .src_row = 1, .src_col = conv->depth, .dst = fc_at_mut(packed, channel, size),
                           .dst_row = packed_tap(conv), .dst_col = 1,
                           .zero_after = channel + channels == conv->out_channels
                                         ? packed_tap(conv) - conv->out_channels : 0 };
    fc_table_for(conv->dtype)->move(&move);
}

static void pack_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const channels_job *job = context;
    const fc_conv *conv = job->run.conv;
    const int64_t channel = task * PACKED_CHANNELS;
    pack(conv, channel, fc_min(PACKED_CHANNELS, conv->out_channels - channel), job->run.weight,
         (void *)(uintptr_t)job->weight);
}

size_t fc_grouped_channels_prepared_size(const fc_conv *conv)
{
    return (size_t)(conv->depth * packed_tap(conv)) * fc_size_of(conv->dtype);
}

void fc_grouped_channels_prepare(const fc_conv *conv, const void *weight, void *prepared)
{
    pack(conv, 0, conv->out_channels, weight, prepared);
}

fc_status fc_grouped_channels_forward(const fc_conv_run *run, double seconds, fc_error *error)
{
    const fc_conv *conv = run->conv;
    channels_job job = job_of(run, seconds);
    const size_t bytes = fc_grouped_channels_prepared_size(conv);
    void *packed = run->prepared ? NULL : fc_scratch_borrow(bytes);
    if (!run->prepared && !packed)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of packed weights", bytes);
    job.weight = packed ? packed : run->prepared;
    fc_status status = FC_OK;
    if (packed)
        status = fc_parallel(fc_div_up(conv->out_channels, PACKED_CHANNELS),
                             (double)(conv->out_channels * conv->depth) * 6e-10, 0, pack_task, &job, error);
    if (status == FC_OK)
        status = fc_parallel(conv->batch * conv->out_size[FC_DEPTH] * job.row_blocks, seconds,
                             fc_grouped_channels_scratch(conv), run_task, &job, error);
    if (status == FC_OK)
        fc_nonfinite_padding(run, job.weight, 1, job.w_tap);
    fc_scratch_give_back(packed);
    return status;
}

/* Of a multiply-add where channels are lanes: of the columns of a kernel three share an input where they can, and tiles
 * of 7 or 14 outputs know which inputs are inside. */
static double price_of(const fc_conv *conv, const fc_machine *machine, bool shared)
{
    const int64_t stride = conv->stride[FC_WIDTH], cols = conv->kernel[FC_WIDTH], width = conv->out_size[FC_WIDTH];
    const bool alone = stride > 2 || (stride == 2 && conv->dilation[FC_WIDTH] > 1);
    const double singles = (double)(alone ? cols : cols % 3) / (double)cols;
    const bool whole = width % 7 == 0, one = stride == 1;
    const double of_three = shared ? (whole ? (one ? 0.95 : 1.35) : one ? 1.25 : 1.7)
                                   : (whole ? (one ? 1.1 : 2.2) : one ? 2 : 3.1);
    const double of_one = stride > 2 || whole ? (shared ? 1.5 : 2.7) : shared ? 2.3 : 4.2;
    /* With a stride, where one multiply-add starts in a cycle: measured. */
    const double least = machine->multiply == 1 || one ? 0 : stride == 2 ? 2.2 + (shared ? 0 : 0.3 + 2 * singles) : 3;
    return fmax(of_three + (of_one - of_three) * singles, least) * (width < 8 ? 8.0 / (double)(width + 1) : 1);
}

double fc_grouped_channels_cost(const fc_conv *conv, bool prepared)
{
    const fc_machine *machine = machine_of(conv);
    const double vectors = (double)(conv->batch * conv->out_pixels) *
                           (double)fc_div_up(conv->out_channels, machine->lanes);
    const double weights = (double)(conv->out_channels * conv->depth);
    const bool shared = conv->out_per_group >= machine->lanes;
    /* Weights of a group that do not stay in L1 are read again for each row, whose few columns share them. */
    const int64_t bytes = conv->out_per_group * conv->depth * (int64_t)fc_size_of(conv->dtype);
    const double again = shared && 2 * bytes > machine->l1 ? fmin(7 / (double)conv->out_size[FC_WIDTH], 1) : 0;
    const double product = price_of(conv, machine, shared) + 1.05 * again;
    /* Inputs that are picked are loaded before the multiply-adds. */
    const double picked = !shared && machine->multiply > 1 ? 1.33 : 1;
    const fc_count counts[] = {
        { vectors * (double)conv->depth, fc_multiply(machine, product) * picked },
        { vectors, shared ? 12 : 20 },                                             /* tiles and stores */
        { prepared ? 0 : weights, 2 },                                             /* pack weights */
        { 1, 5500 },
    };
    return FC_COST(counts, machine);
}

void fc_grouped_channels_describe(const fc_conv *conv, char *text, size_t size)
{
    const fc_machine *machine = machine_of(conv);
    snprintf(text, size, "channels as lanes, in place, %s%s", machine->halved ? "in half vectors, " : "",
             conv->out_per_group < machine->lanes ? "groups share a vector" : "inputs shared by a vector");
}
