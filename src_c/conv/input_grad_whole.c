/* The input gradient phase by phase: a convolution of grad_output with the filters turned round for each phase of
 * the stride (see input_grad_phases.h), written to every stride-th pixel.  Pixels that no tap meets are zero. */
#include "../base/parallel.h"
#include "../base/size.h"
#include "geometry.h"
#include "input_grad.h"
#include <math.h>
#include <string.h>

enum { ZERO_TASKS = 16 };
static const double ZERO_SECONDS = 6e-11;     /* of a byte of pixels that are cleared first */
static const double PIECE_SECONDS = 1e-7;     /* of a phase of a group of an image, if there are several */

typedef struct zero_job {
    const fc_conv *conv;
    const fc_table *table;
    void *grad;
} zero_job;

/* Zeros in every pixel: of all channels at once where they are adjacent, else row by row. */
static void zero_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const zero_job *job = context;
    const fc_conv *conv = job->conv;
    const int64_t *size = conv->in_size, *stride = conv->x_stride, bytes = (int64_t)fc_size_of(conv->dtype);
    const bool pixels = stride[FC_C] == 1;
    const int64_t outer = pixels ? 1 : conv->in_channels, rows = conv->batch * outer * size[0] * size[1];
    const bool whole = pixels ? stride[FC_W] == conv->in_channels : stride[FC_W] == 1;
    const int64_t row = pixels ? size[2] * conv->in_channels : size[2];
    for (int64_t r = rows * task / ZERO_TASKS; r < rows * (task + 1) / ZERO_TASKS; r++) {
        const int64_t h = r % size[1], d = r / size[1] % size[0], c = r / size[1] / size[0];
        void *to = fc_at_mut(job->grad, c / outer * stride[FC_N] + c % outer * stride[FC_C] + d * stride[FC_D] +
                                            h * stride[FC_H], (size_t)bytes);
        if (whole) {
            memset(to, 0, (size_t)(row * bytes));
            continue;
        }
        const fc_move move = { .rows = size[2], .dst = to, .dst_row = stride[FC_W], .dst_col = 1,
                               .zero_before = pixels ? conv->in_channels : 1 };
        job->table->move(&move);
    }
}

static fc_status run_phases(const fc_grad_phases *phases, const void *grad_output, void *grad_input, fc_error *error)
{
    const fc_conv *conv = phases->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t pixels = conv->in_size[0] * conv->in_size[1] * conv->in_size[2];
    fc_status status = FC_OK;
    if (phases->covered < pixels) {
        zero_job job = { conv, phases->table, grad_input };
        const double bytes = (double)conv->batch * (double)conv->in_channels * (double)pixels * (double)size;
        status = fc_parallel(ZERO_TASKS, bytes / 10e9, 0, zero_task, &job, error);
    }
    for (int64_t i = 0; i < phases->all && status == FC_OK; i++) {
        const fc_grad_phase *phase = &phases->phase[i];
        if (!phase->live)
            continue;
        const bool turns = fc_phase_turns(phases, phase);
        const int64_t block = turns ? conv->in_per_group : fc_turn_block(phases, phase);
        for (int64_t first = 0; first < conv->in_per_group && status == FC_OK; first += block) {
            const int64_t count = fc_min(block, conv->in_per_group - first);
            status = turns ? FC_OK : fc_turn_filters(phases, phase, first, count, error);
            fc_conv sub = phase->conv;
            sub.out_per_group = count;
            sub.out_channels = count * conv->groups;
            const fc_conv_run run = {
                .conv = &sub, .table = phases->table, .x = fc_at(grad_output, phase->x, size),
                .weight = turns ? phases->weight : phase->weight, .reversed = turns,
                .y = fc_at_mut(grad_input, phase->y + first * conv->x_stride[FC_C], size),
            };
            if (status == FC_OK)
                status = phase->algorithm->forward(&run, error);
        }
    }
    return status;
}

static const char *supports(const fc_conv *conv)
{
    return fc_input_rows.supports(conv) ? NULL : "\"rows\" computes its phases";
}

static double cost(fc_input_call *call)
{
    fc_error unused;                          /* a run tries again, and says why it cannot */
    const fc_conv *conv = call->conv;
    const fc_grad_phases *phases = &call->phases;
    if (fc_grad_phases_least(conv) >= call->most ||
        fc_grad_phases_make(&call->phases, conv, call->algorithm, false, call->most, &unused) != FC_OK ||
        phases->made < phases->all)
        return INFINITY;
    const double groups = conv->groups > 1 ? (double)conv->groups : 0;
    const bool zeros = phases->covered < conv->in_size[0] * conv->in_size[1] * conv->in_size[2];
    const double bytes = (double)fc_x_count(conv) * (double)fc_size_of(conv->dtype);
    return phases->seconds + (zeros ? ZERO_SECONDS * bytes : 0) +
           (phases->all > 1 ? PIECE_SECONDS * (double)(conv->batch * phases->all) * groups : 0);
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    fc_status status = fc_grad_phases_make(&call->phases, call->conv, call->algorithm, false, INFINITY, error);
    if (status == FC_OK)
        status = fc_grad_phases_reserve(&call->phases, call->weight, false, error);
    return status == FC_OK ? run_phases(&call->phases, call->g, call->grad, error) : status;
}

const fc_input_method fc_input_phases = {
    .name = "phases", .supports = supports, .cost = cost, .run = run,
};
