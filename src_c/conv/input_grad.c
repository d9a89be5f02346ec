/* The input gradient: convolutions of grad_output with the filters turned round, one for each phase of
 * the stride (see input_grad_phases.h), written to every stride-th pixel, or all of them at once, or products
 * tap by tap: the headers included here say when.  Pixels that no tap meets are zero.  Called by _core. */
#include "input_grad.h"
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include "geometry.h"
#include "input_grad_depthwise.h"
#include "input_grad_direct.h"
#include "input_grad_lanes.h"
#include "input_grad_patches.h"
#include "input_grad_phases.h"
#include "input_grad_pixels.h"
#include "input_grad_taps.h"
#include "trim.h"
#include <math.h>
#include <string.h>

enum { ZERO_TASKS = 16 };
/* What computing blocks of rows costs beyond the phases at once: per element of the gradient, as a part, per phase
 * of an image, and more for each of its groups, if there are several; these of several phases always have a price. */
static const double WEAVE_SECONDS = 5e-10, SMALL_BLOCKS = 0.25, CALL_SECONDS = 1.3e-6, GROUP_SECONDS = 4.5e-7,
                    PIECE_SECONDS = 1e-7;
static const double TRIM_SECONDS = 2.5e-10;   /* per weight */

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
        const int64_t block = fc_turn_block(phases, phase);
        for (int64_t first = 0; first < conv->in_per_group && status == FC_OK; first += block) {
            const int64_t count = fc_min(block, conv->in_per_group - first);
            status = fc_turn_filters(phases, phase, first, count, error);
            fc_conv sub = phase->conv;
            sub.out_per_group = count;
            sub.out_channels = count * conv->groups;
            const fc_conv_run run = {
                .conv = &sub, .table = phases->table, .x = fc_at(grad_output, phase->x, size), .weight = phase->weight,
                .y = fc_at_mut(grad_input, phase->y + first * conv->x_stride[FC_C], size),
            };
            if (status == FC_OK)
                status = phase->algorithm->forward(&run, error);
        }
    }
    return status;
}

/* Of the phases, blocks of rows or not. */
static double phases_seconds(const fc_grad_phases *phases, bool rows)
{
    const fc_conv *conv = phases->conv;
    const double pixels = (double)conv->batch * (double)(conv->in_size[0] * conv->in_size[1] * conv->in_size[2]);
    const double calls = (double)(conv->batch * phases->all), groups = conv->groups > 1 ? (double)conv->groups : 0;
    if (!rows)
        return phases->seconds + (phases->all > 1 ? PIECE_SECONDS * calls * groups : 0);
    return (1 + SMALL_BLOCKS) * phases->seconds + WEAVE_SECONDS * pixels * (double)conv->in_channels +
           calls * (CALL_SECONDS + GROUP_SECONDS * groups);
}

/* The ways of a call that no choice comes before: those that are always the fastest, and those that are named.
 * False: there is a choice. */
static bool without_choice(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *weight,
                           void *grad_input, fc_status *status, fc_error *error)
{
    const bool any = strcmp(algorithm, "auto") == 0, direct = strcmp(algorithm, "direct") == 0;
    const char *no_taps = fc_input_grad_taps_supports(conv);
    if (strcmp(algorithm, "taps") == 0 && no_taps)
        *status = fc_fail(error, FC_BAD_VALUE, "algorithm=\"taps\" cannot compute this gradient: %s", no_taps);
    else if (strcmp(algorithm, "taps") == 0)
        *status = conv->batch == 0 ? FC_OK : fc_input_grad_taps(conv, grad_output, weight, grad_input, error);
    else if (conv->batch == 0) {              /* only the algorithm's name may be wrong */
        const fc_algorithm *named;
        *status = fc_algorithm_choose(conv, algorithm, false, &named, error);
    } else if ((any || strcmp(algorithm, "depthwise") == 0) && fc_input_grad_lanes_chosen(conv))
        *status = fc_input_grad_lanes(conv, grad_output, weight, grad_input, error);
    else if ((any || strcmp(algorithm, "depthwise") == 0) && fc_input_grad_depthwise_supports(conv) == NULL &&
               (conv->stride[FC_HEIGHT] > 1 || conv->stride[FC_WIDTH] > 1))
        *status = fc_input_grad_depthwise(conv, grad_output, weight, grad_input, error);
    else if ((any || direct) && fc_input_grad_patches_supports(conv))
        *status = fc_input_grad_patches(conv, grad_output, weight, grad_input, error);
    else if ((any || direct) && fc_input_grad_pixels_supports(conv))
        *status = fc_input_grad_pixels(conv, grad_output, weight, grad_input, error);
    else if (direct && fc_input_grad_direct_supports(conv) == NULL)
        *status = fc_input_grad_direct(conv, grad_output, weight, grad_input, error);
    else
        return false;
    return true;
}

static fc_status input_grad(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *weight,
                            void *grad_input, fc_error *error)
{
    fc_grad_phases phases;
    fc_status status;
    if (without_choice(conv, algorithm, grad_output, weight, grad_input, &status, error))
        return status;
    const bool rows = fc_input_grad_by_rows(conv), any = strcmp(algorithm, "auto") == 0;
    const fc_machine *machine = fc_machine_for(conv->dtype);
    double by_direct = INFINITY, by_taps = INFINITY;
    if (any && fc_input_grad_direct_supports(conv) == NULL)
        by_direct = fc_input_grad_direct_cost(conv, machine);
    if (any && fc_input_grad_taps_supports(conv) == NULL)
        by_taps = fc_input_grad_taps_cost(conv, machine);
    status = fc_grad_phases_init(&phases, conv, algorithm, rows, fmin(by_direct, by_taps), error);
    const double seconds = phases_seconds(&phases, rows);
    if (status == FC_OK && by_taps < by_direct && by_taps < seconds) {
        status = fc_input_grad_taps(conv, grad_output, weight, grad_input, error);
    } else if (status == FC_OK && by_direct < seconds) {
        status = fc_input_grad_direct(conv, grad_output, weight, grad_input, error);
    } else if (status == FC_OK) {
        status = fc_grad_phases_reserve(&phases, weight, rows, error);
        if (status == FC_OK)
            status = rows ? fc_input_grad_rows(&phases, grad_output, grad_input, error)
                          : run_phases(&phases, grad_output, grad_input, error);
    }
    fc_grad_phases_free(&phases);
    return status;
}

/* Tap by tap those that meet padding only cost nothing, but that they are read: less than to copy the others? */
static bool by_taps_anyway(const fc_conv *conv, const fc_conv *trimmed)
{
    if (fc_input_grad_taps_supports(conv))
        return false;
    const fc_machine *machine = fc_machine_for(conv->dtype);
    double others = fc_input_grad_taps_cost(trimmed, machine);
    if (fc_input_grad_direct_supports(trimmed) == NULL)
        others = fmin(others, fc_input_grad_direct_cost(trimmed, machine));
    others += TRIM_SECONDS * (double)conv->out_channels * (double)conv->depth;
    return fc_input_grad_taps_cost(conv, machine) < others;
}

/* Taps that meet padding only reach no pixel. */
fc_status fc_conv_input_grad(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *weight,
                             void *grad_input, fc_error *error)
{
    fc_trim trim;
    if (conv->batch == 0 || strcmp(algorithm, "auto") != 0 || !fc_trim_make(conv, &trim))
        return input_grad(conv, algorithm, grad_output, weight, grad_input, error);
    if (by_taps_anyway(conv, &trim.conv))
        return fc_input_grad_taps(conv, grad_output, weight, grad_input, error);
    void *kept = fc_scratch_borrow(fc_trim_bytes(&trim));
    if (!kept)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of its taps", fc_trim_bytes(&trim));
    (void)fc_trim_weight(&trim, weight, kept);
    const fc_status status = input_grad(&trim.conv, algorithm, grad_output, kept, grad_input, error);
    fc_scratch_give_back(kept);
    return status;
}
