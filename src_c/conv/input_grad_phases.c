/* Phases of the input gradient: see input_grad_phases.h. */
#include "input_grad_phases.h"
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include "geometry.h"
#include <stdlib.h>
#include <string.h>

extern const fc_algorithm fc_algorithm_grouped;

enum {
    TURN_BAND = 16,           /* input channels per task of turning filters */
    TURN_SINGLE = 512,        /* filters of a task, where they have one input channel each */
    TURN_LINES = 128,         /* and of one tap, */
    TURN_OUTS = 32,           /* so many outputs at a time */
    LEAST_BLOCK = 128,        /* input channels whose filters are turned at a time */
    BLOCK_BYTES = 1 << 21,
};
static const double TURN_SECONDS = 5e-10;     /* per weight */

static int64_t dilation_of(const fc_conv *conv, int axis) { return conv->kernel[axis] > 1 ? conv->dilation[axis] : 1; }

int64_t fc_axis_phases(const fc_conv *conv, int axis)
{
    const int64_t common = fc_common_divisor(conv->stride[axis], dilation_of(conv, axis));
    return fc_min(conv->kernel[axis], conv->stride[axis] / common);
}

bool fc_axis_phase_of(const fc_conv *conv, int axis, int64_t tap, int64_t skip, int64_t most, fc_axis_phase *p)
{
    const int64_t stride = conv->stride[axis], dilation = dilation_of(conv, axis), pad = conv->pad_before[axis];
    const int64_t common = fc_common_divisor(stride, dilation);
    const int64_t rest = (tap * dilation % stride - pad % stride) % stride;
    p->tap = tap;
    p->tap_step = stride / common;
    p->taps = (conv->kernel[axis] - 1 - tap) / p->tap_step + 1;
    p->dilation = p->taps > 1 ? dilation / common : 1;
    p->first = rest < 0 ? rest + stride : rest;
    if (p->first >= conv->in_size[axis])
        return false;
    p->count = (conv->in_size[axis] - 1 - p->first) / stride + 1 - skip;
    if (p->count <= 0)
        return false;
    p->first += skip * stride;
    p->count = fc_min(p->count, most);
    /* The first pixel meets output `base` through `tap`, earlier ones through the others. */
    const int64_t base = (p->first + pad - tap * dilation) / stride, reach = (p->taps - 1) * p->dilation;
    p->in_first = fc_max(0, base - reach);
    p->pad_before = fc_max(0, reach - base);
    p->in_size = conv->out_size[axis] - p->in_first;
    p->pad_after = p->count + reach - p->pad_before - p->in_size;
    if (p->pad_after < 0) {
        p->in_size += p->pad_after;
        p->pad_after = 0;
    }
    return p->in_size > 0;
}

fc_status fc_phase_conv(const fc_conv *conv, const fc_axis_phase axes[FC_SPATIAL], fc_conv *sub, int64_t *x, int64_t *y,
                        fc_error *error)
{
    *sub = *conv;
    *x = *y = 0;
    sub->in_channels = conv->out_channels;
    sub->out_channels = conv->in_channels;
    sub->in_per_group = conv->out_per_group;
    sub->has_bias = false;
    sub->activation.kind = FC_ACT_NONE;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const fc_axis_phase *a = &axes[axis];
        sub->in_size[axis] = a->in_size;
        sub->kernel[axis] = a->taps;
        sub->stride[axis] = 1;
        sub->dilation[axis] = a->dilation;
        sub->pad_before[axis] = a->pad_before;
        sub->pad_after[axis] = a->pad_after;
        *x += a->in_first * conv->y_stride[FC_D + axis];
        *y += a->first * conv->x_stride[FC_D + axis];
    }
    const fc_status status = fc_conv_check(sub, error);
    if (status != FC_OK)
        return status;
    memcpy(sub->x_stride, conv->y_stride, sizeof sub->x_stride);
    memcpy(sub->y_stride, conv->x_stride, sizeof sub->y_stride);
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        sub->y_stride[FC_D + axis] *= sub->out_size[axis] > 1 ? conv->stride[axis] : 1;
    return FC_OK;
}

/* As the forward chooses; "grouped", which packs nothing, also where one group has few channels. */
static fc_status choose(fc_grad_phase *phase, const char *algorithm, bool prepare, fc_error *error)
{
    const fc_status status = fc_algorithm_choose(&phase->conv, algorithm, prepare, &phase->algorithm, error);
    if (status != FC_OK)
        return status;
    const fc_machine *machine = fc_machine_for(phase->conv.dtype);
    phase->seconds = phase->algorithm->cost(&phase->conv, machine, prepare);
    if (strcmp(algorithm, "auto") != 0 || phase->conv.groups > 1)
        return FC_OK;
    const double grouped = fc_algorithm_grouped.cost(&phase->conv, machine, prepare);
    if (grouped < phase->seconds) {
        phase->algorithm = &fc_algorithm_grouped;
        phase->seconds = grouped;
    }
    return FC_OK;
}

static fc_status make_phase(fc_grad_phases *phases, int64_t index, const char *algorithm, bool prepare, fc_error *error)
{
    const fc_conv *conv = phases->conv;
    const int64_t *count = phases->count;
    const int64_t tap[FC_SPATIAL] = { index / count[2] / count[1], index / count[2] % count[1], index % count[2] };
    fc_grad_phase *phase = &phases->phase[index];
    fc_axis_phase axes[FC_SPATIAL];
    *phase = (fc_grad_phase){ .live = true };
    for (int axis = 0; axis < FC_SPATIAL && phase->live; axis++) {
        phase->live = fc_axis_phase_of(conv, axis, tap[axis], 0, INT64_MAX, &axes[axis]);
        phase->tap[axis] = axes[axis].tap;
        phase->tap_step[axis] = axes[axis].tap_step;
    }
    if (!phase->live)
        return FC_OK;
    fc_status status = fc_phase_conv(conv, axes, &phase->conv, &phase->x, &phase->y, error);
    if (status == FC_OK)
        status = choose(phase, algorithm, prepare, error);
    if (status != FC_OK)
        return status;
    const bool turned = prepare || !fc_phase_turns(phases, phase);
    phases->covered += phase->conv.out_pixels;
    phases->seconds += phase->seconds + turned * TURN_SECONDS * (double)phase->conv.depth * (double)conv->in_channels;
    return FC_OK;
}

/* Where each tap of a phase's filters lies in one of the forward's, last first. */
static void fill_taps(const fc_conv *conv, const fc_grad_phase *phase, int64_t *taps)
{
    const int64_t *count = phase->conv.kernel;
    for (int64_t d = count[0] - 1; d >= 0; d--)
        for (int64_t h = count[1] - 1; h >= 0; h--)
            for (int64_t w = count[2] - 1; w >= 0; w--)
                *taps++ = ((phase->tap[0] + d * phase->tap_step[0]) * conv->kernel[1] + phase->tap[1] +
                           h * phase->tap_step[1]) * conv->kernel[2] + phase->tap[2] + w * phase->tap_step[2];
}

typedef struct turn_job {
    const fc_grad_phases *phases;
    const fc_grad_phase *phase;
    int64_t first, count, band, bands;
} turn_job;

/* The filters of some input channels of one group. */
static void turn_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const turn_job *job = context;
    const fc_conv *conv = job->phases->conv;
    const fc_grad_phase *phase = job->phase;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t group = task / job->bands, channel = task % job->bands * job->band;
    const fc_swap_weight swap = {
        .i = fc_min(job->band, job->count - channel), .o = conv->out_per_group, .taps = phase->conv.taps,
        .src_i = conv->taps, .src_o = conv->depth, .tap = phase->taps, .all = phase->conv.taps == conv->taps,
        .src = fc_at(job->phases->weight,
                     group * conv->out_per_group * conv->depth + (job->first + channel) * conv->taps, size),
        .dst = fc_at_mut(phase->weight, (group * job->count + channel) * phase->conv.depth, size),
    };
    if (conv->taps > 1) {
        job->phases->table->swap_weight(&swap);
        return;
    }
    /* Some lines of every filter at a time: each line of its own would be waited for. */
    for (int64_t o = 0; o < swap.o; o += TURN_OUTS) {
        const fc_move move = {
            .rows = swap.i, .cols = fc_min(TURN_OUTS, swap.o - o), .src = fc_at(swap.src, o * swap.src_o, size),
            .src_row = 1, .src_col = swap.src_o, .dst = fc_at_mut(swap.dst, o, size), .dst_row = swap.o, .dst_col = 1,
        };
        job->phases->table->move(&move);
    }
}

/* The same with one input channel a group: filters of all groups follow each other, turned round too. */
static void turn_single_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const turn_job *job = context;
    const fc_conv *conv = job->phases->conv;
    const fc_grad_phase *phase = job->phase;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t first = task * job->band;
    const fc_swap_weight swap = {
        .i = 1, .o = fc_min(job->band, conv->out_channels - first), .taps = phase->conv.taps, .src_i = conv->taps,
        .src_o = conv->taps, .tap = phase->taps, .all = phase->conv.taps == conv->taps,
        .src = fc_at(job->phases->weight, first * conv->taps, size),
        .dst = fc_at_mut(phase->weight, first * phase->conv.taps, size),
    };
    job->phases->table->swap_weight(&swap);
}

fc_status fc_turn_filters(const fc_grad_phases *phases, const fc_grad_phase *phase, int64_t first, int64_t count,
                          fc_error *error)
{
    const fc_conv *conv = phases->conv;
    const bool single = conv->in_per_group == 1;
    const int64_t band = single ? TURN_SINGLE : conv->taps > 1 ? TURN_BAND : TURN_LINES;
    turn_job job = { phases, phase, first, count, band, fc_div_up(single ? conv->out_channels : count, band) };
    const double elements = (double)phase->conv.depth * (double)(count * conv->groups);
    if (single)
        return fc_parallel(job.bands, elements * TURN_SECONDS, 0, turn_single_task, &job, error);
    return fc_parallel(conv->groups * job.bands, elements * TURN_SECONDS, 0, turn_task, &job, error);
}

bool fc_phase_turns(const fc_grad_phases *phases, const fc_grad_phase *phase)
{
    return phase->algorithm->turns && phase->conv.taps == phases->conv->taps;
}

int64_t fc_turn_block(const fc_grad_phases *phases, const fc_grad_phase *phase)
{
    const fc_conv *conv = phases->conv;
    const int64_t bytes = phase->conv.depth * (int64_t)fc_size_of(conv->dtype);
    if (conv->groups > 1 || conv->in_per_group * bytes <= 2 * BLOCK_BYTES)
        return conv->in_per_group;
    const int64_t blocks = fc_div_up(conv->in_per_group * bytes, BLOCK_BYTES);
    return fc_min(conv->in_per_group,
                  fc_max(LEAST_BLOCK, fc_round_up(fc_div_up(conv->in_per_group, blocks), TURN_BAND)));
}

static size_t prepared_size(const fc_grad_phases *phases, const fc_grad_phase *phase)
{
    if (!phase->algorithm->prepared_size)
        return 0;
    return (phase->algorithm->prepared_size(&phase->conv, phases->table) + 63) / 64 * 64;
}

static void prepare_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const fc_grad_phases *phases = context;
    const fc_grad_phase *phase = &phases->phase[task];
    if (phase->live && phase->prepared)
        phase->algorithm->prepare(&phase->conv, phases->table, phase->weight, phase->prepared);
}

static size_t weight_size(const fc_grad_phases *phases, const fc_grad_phase *phase, bool all)
{
    const fc_conv *conv = phases->conv;
    const int64_t channels = all ? conv->in_per_group : fc_turn_block(phases, phase);
    return (size_t)fc_round_up(phase->conv.depth * conv->groups * channels * (int64_t)fc_size_of(conv->dtype), 64);
}

/* Room for all filters where they are prepared, else for those of one phase at a time. */
static fc_status reserve(fc_grad_phases *phases, bool prepare, fc_error *error)
{
    size_t bytes = 0;
    int64_t *taps = phases->taps;
    for (int64_t i = 0; i < phases->all; i++) {
        fc_grad_phase *phase = &phases->phase[i];
        if (!phase->live)
            continue;
        const size_t weights = prepare || !fc_phase_turns(phases, phase) ? weight_size(phases, phase, prepare) : 0;
        bytes = prepare ? bytes + weights + prepared_size(phases, phase) : weights > bytes ? weights : bytes;
        fill_taps(phases->conv, phase, taps);
        phase->taps = taps;
        taps += phase->conv.taps;
    }
    phases->memory = fc_scratch_borrow(bytes);
    if (!phases->memory)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of filters turned round", bytes);
    char *memory = phases->memory;
    for (int64_t i = 0; i < phases->all; i++) {
        fc_grad_phase *phase = &phases->phase[i];
        phase->weight = memory;
        if (!phase->live || !prepare)
            continue;
        memory += weight_size(phases, phase, true);
        if (prepared_size(phases, phase) > 0)
            phase->prepared = memory;
        memory += prepared_size(phases, phase);
    }
    return FC_OK;
}

static fc_status prepare_all(fc_grad_phases *phases, fc_error *error)
{
    const fc_conv *conv = phases->conv;
    fc_status status = FC_OK;
    for (int64_t i = 0; i < phases->all && status == FC_OK; i++)
        if (phases->phase[i].live)
            status = fc_turn_filters(phases, &phases->phase[i], 0, conv->in_per_group, error);
    const double elements = (double)conv->depth * (double)conv->out_channels;
    return status == FC_OK ? fc_parallel(phases->all, elements * 5e-10, 0, prepare_task, phases, error) : status;
}

static fc_status begin(fc_grad_phases *phases, const fc_conv *conv, fc_error *error)
{
    *phases = (fc_grad_phases){ .conv = conv, .table = fc_table_for(conv->dtype), .all = 1 };
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        phases->all *= phases->count[axis] = fc_axis_phases(conv, axis);
    phases->phase = malloc((size_t)phases->all * sizeof *phases->phase);
    phases->taps = malloc((size_t)conv->taps * sizeof *phases->taps);
    if (phases->phase && phases->taps)
        return FC_OK;
    fc_grad_phases_free(phases);
    return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %lld phases of a stride", (long long)phases->all);
}

double fc_grad_phases_least(const fc_conv *conv)
{
    static const double LEAST = 1.2e-6;       /* of a phase, to be priced and run, and of all */
    double all = 1;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        all *= (double)fc_axis_phases(conv, axis);
    return LEAST * (1 + all);
}

fc_status fc_grad_phases_make(fc_grad_phases *phases, const fc_conv *conv, const char *algorithm, bool prepare,
                              double most, fc_error *error)
{
    fc_status status = phases->phase ? FC_OK : begin(phases, conv, error);
    while (status == FC_OK && phases->made < phases->all && phases->seconds <= most) {
        status = make_phase(phases, phases->made, algorithm, prepare, error);
        phases->made += status == FC_OK;
    }
    return status;
}

fc_status fc_grad_phases_reserve(fc_grad_phases *phases, const void *weight, bool prepare, fc_error *error)
{
    phases->weight = weight;
    const fc_status status = reserve(phases, prepare, error);
    return status == FC_OK && prepare ? prepare_all(phases, error) : status;
}

void fc_grad_phases_free(fc_grad_phases *phases)
{
    fc_scratch_give_back(phases->memory);
    free(phases->taps);
    free(phases->phase);
    *phases = (fc_grad_phases){ 0 };
}
