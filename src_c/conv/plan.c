/* Plans: an algorithm chosen and its weights prepared once, then run many times.
 * The one way from a checked problem to an algorithm; called by _core and by the public C API. */
#include "plan.h"
#include "../base/memory.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include <stdlib.h>
#include <string.h>

static size_t prepared_size(const fc_algorithm *algorithm, const fc_conv *conv, const fc_table *table)
{
    return algorithm->prepared_size ? algorithm->prepared_size(conv, table) : 0;
}

/* A plan without prepared weights: the problem that an algorithm gets, and the algorithm. */
static fc_status begin(fc_plan *plan, const fc_conv *conv, const char *algorithm, bool prepared, fc_error *error)
{
    plan->original = plan->conv = *conv;
    plan->table = fc_table_for(conv->dtype);
    plan->pads = fc_pads_otherwise(conv);
    plan->named = strcmp(algorithm, "auto") != 0;
    plan->prepared = plan->kept = NULL;
    plan->prepared_bytes = 0;
    plan->conv.pad_mode = FC_PAD_ZEROS;
    if (plan->pads) {
        const fc_status status = fc_padded_make(conv, &plan->padded, error);
        if (status != FC_OK)
            return status;
        plan->conv = plan->padded.core;
    }
    return fc_algorithm_choose(&plan->conv, algorithm, prepared, &plan->algorithm, error);
}

/* Whether taps go: not where the algorithm can only do without, nor, in a call that chooses, where copying those that
 * are left takes longer than is saved.  A named algorithm computes the same in calls and plans. */
static bool trims(const fc_conv *conv, const char *algorithm, bool prepared, fc_trim *trim)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const fc_algorithm *all, *chosen;
    fc_error none;
    if (fc_pads_otherwise(conv) || !fc_trim_make(conv, trim) ||
        fc_algorithm_choose(&trim->conv, algorithm, prepared, &chosen, &none) != FC_OK)
        return false;
    if (prepared || strcmp(algorithm, "auto") != 0 || fc_algorithm_choose(conv, algorithm, false, &all, &none) != FC_OK)
        return true;
    return chosen->cost(&trim->conv, machine, false) + fc_trim_seconds(trim) < all->cost(conv, machine, false);
}

static fc_status reserve(void **memory, size_t bytes, fc_error *error)
{
    size_t size = bytes;
    if (!(*memory = fc_memory_new(&size)))
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of prepared weights", bytes);
    return FC_OK;
}

fc_status fc_plan_init(fc_plan *plan, const fc_conv *conv, const char *algorithm, const void *weight, fc_error *error)
{
    fc_conv thinned;
    fc_trim trim;
    void *kept = NULL;
    fc_status status = FC_OK;
    plan->thins = !fc_pads_otherwise(conv) && fc_thin_make(conv, &thinned, &plan->thin);
    if (plan->thins)
        conv = &thinned;
    if (trims(conv, algorithm, true, &trim)) {
        status = reserve(&kept, fc_trim_bytes(&trim), error);
        if (status == FC_OK && !fc_trim_weight(&trim, weight, kept)) {
            free(kept);
            kept = NULL;
        }
    }
    plan->prepared = plan->kept = NULL;
    if (status == FC_OK)
        status = begin(plan, kept ? &trim.conv : conv, algorithm, true, error);
    const size_t bytes = status == FC_OK ? prepared_size(plan->algorithm, &plan->conv, plan->table) : 0;
    if (bytes > 0)
        status = reserve(&plan->prepared, bytes, error);
    if (plan->prepared)
        plan->algorithm->prepare(&plan->conv, plan->table, kept ? kept : weight, plan->prepared);
    if (status != FC_OK) {
        free(kept);
        kept = NULL;
    }
    plan->kept = kept;
    plan->prepared_bytes = bytes + (kept ? fc_trim_bytes(&trim) : 0);
    return status;
}

fc_status fc_plan_run(const fc_plan *plan, const void *x, const int64_t x_stride[FC_AXES], const void *weight,
                      const void *bias, void *y, const int64_t y_stride[FC_AXES], fc_error *error)
{
    fc_conv conv = plan->pads ? plan->original : plan->conv;
    if (conv.batch == 0)
        return FC_OK;
    memcpy(conv.x_stride, x_stride, sizeof conv.x_stride);
    memcpy(conv.y_stride, y_stride, sizeof conv.y_stride);
    if (plan->thins)
        x = fc_thin_x(&plan->thin, conv.dtype, x, conv.x_stride);
    const fc_conv_run run = {
        .conv = &conv, .table = plan->table, .x = x, .weight = plan->kept ? plan->kept : weight, .bias = bias,
        .prepared = plan->prepared, .y = y,
    };
    return plan->pads ? fc_padded_run(&plan->padded, &run, plan->algorithm, plan->named, error)
                      : plan->algorithm->forward(&run, error);
}

void fc_plan_free(fc_plan *plan)
{
    free(plan->prepared);
    free(plan->kept);
    plan->prepared = plan->kept = NULL;
    plan->prepared_bytes = 0;
}

static fc_status forward_padded(const fc_conv *conv, const char *algorithm, const void *x, const void *weight,
                                const void *bias, void *y, fc_error *error)
{
    fc_plan plan = { .thins = false };
    const fc_status status = begin(&plan, conv, algorithm, false, error);
    return status == FC_OK ? fc_plan_run(&plan, x, conv->x_stride, weight, bias, y, conv->y_stride, error) : status;
}

static fc_status forward(const fc_conv *conv, const char *algorithm, const void *x, const void *weight,
                         const void *bias, void *y, fc_error *error)
{
    const fc_algorithm *chosen;
    const fc_status status = fc_algorithm_choose(conv, algorithm, false, &chosen, error);
    if (status != FC_OK || conv->batch == 0)
        return status;
    const fc_conv_run run = {
        .conv = conv, .table = fc_table_for(conv->dtype), .x = x, .weight = weight, .bias = bias, .y = y,
    };
    return chosen->forward(&run, error);
}

fc_status fc_conv_forward(const fc_conv *conv, const char *algorithm, const void *x, const void *weight,
                          const void *bias, void *y, fc_error *error)
{
    fc_conv thinned;
    fc_thin thin;
    fc_trim trim;
    if (fc_pads_otherwise(conv))
        return forward_padded(conv, algorithm, x, weight, bias, y, error);
    if (fc_thin_make(conv, &thinned, &thin)) {
        x = fc_thin_x(&thin, conv->dtype, x, thinned.x_stride);
        conv = &thinned;
    }
    if (!trims(conv, algorithm, false, &trim))
        return forward(conv, algorithm, x, weight, bias, y, error);
    void *kept = fc_scratch_borrow(fc_trim_bytes(&trim));
    if (!kept)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of its taps", fc_trim_bytes(&trim));
    const fc_status status = fc_trim_weight(&trim, weight, kept)
        ? forward(&trim.conv, algorithm, x, kept, bias, y, error)
        : forward(conv, algorithm, x, weight, bias, y, error);
    fc_scratch_give_back(kept);
    return status;
}

fc_status fc_conv_settle(const fc_conv *conv, const char **algorithm, fc_error *error)
{
    const fc_algorithm *chosen;
    fc_conv thinned;
    fc_thin thin;
    fc_trim trim;
    *algorithm = "auto";
    if (fc_pads_otherwise(conv))
        return FC_OK;
    if (fc_thin_make(conv, &thinned, &thin))
        conv = &thinned;
    if (fc_trim_make(conv, &trim))
        return FC_OK;
    const fc_status status = fc_algorithm_choose(conv, "auto", false, &chosen, error);
    if (status == FC_OK)
        *algorithm = chosen->name;
    return status;
}
