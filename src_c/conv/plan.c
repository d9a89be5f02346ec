/* Plans: an algorithm chosen and its weights prepared once, then run many times.
 * The one way from a checked problem to an algorithm; called by _core and by the public C API. */
#include "plan.h"
#include "../base/size.h"
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

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
    plan->prepared = NULL;
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

fc_status fc_plan_init(fc_plan *plan, const fc_conv *conv, const char *algorithm, const void *weight, fc_error *error)
{
    fc_status status = begin(plan, conv, algorithm, true, error);
    if (status != FC_OK)
        return status;
    conv = &plan->conv;
    const size_t bytes = prepared_size(plan->algorithm, conv, plan->table);
    if (bytes == 0)
        return FC_OK;
    if (bytes <= SIZE_MAX - ALIGNMENT)
        plan->prepared = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (!plan->prepared)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of prepared weights", bytes);
    plan->prepared_bytes = bytes;
    plan->algorithm->prepare(conv, plan->table, weight, plan->prepared);
    return FC_OK;
}

fc_status fc_plan_run(const fc_plan *plan, const void *x, const int64_t x_stride[FC_AXES], const void *weight,
                      const void *bias, void *y, const int64_t y_stride[FC_AXES], fc_error *error)
{
    fc_conv conv = plan->pads ? plan->original : plan->conv;
    if (conv.batch == 0)
        return FC_OK;
    memcpy(conv.x_stride, x_stride, sizeof conv.x_stride);
    memcpy(conv.y_stride, y_stride, sizeof conv.y_stride);
    const fc_conv_run run = {
        .conv = &conv, .table = plan->table, .x = x, .weight = weight, .bias = bias, .prepared = plan->prepared, .y = y,
    };
    return plan->pads ? fc_padded_run(&plan->padded, &run, plan->algorithm, plan->named, error)
                      : plan->algorithm->forward(&run, error);
}

void fc_plan_free(fc_plan *plan)
{
    free(plan->prepared);
    plan->prepared = NULL;
    plan->prepared_bytes = 0;
}

static fc_status forward_padded(const fc_conv *conv, const char *algorithm, const void *x, const void *weight,
                                const void *bias, void *y, fc_error *error)
{
    fc_plan plan;
    const fc_status status = begin(&plan, conv, algorithm, false, error);
    return status == FC_OK ? fc_plan_run(&plan, x, conv->x_stride, weight, bias, y, conv->y_stride, error) : status;
}

fc_status fc_conv_forward(const fc_conv *conv, const char *algorithm, const void *x, const void *weight,
                          const void *bias, void *y, fc_error *error)
{
    const fc_algorithm *chosen;
    if (fc_pads_otherwise(conv))
        return forward_padded(conv, algorithm, x, weight, bias, y, error);
    const fc_status status = fc_algorithm_choose(conv, algorithm, false, &chosen, error);
    if (status != FC_OK || conv->batch == 0)
        return status;
    const fc_conv_run run = {
        .conv = conv, .table = fc_table_for(conv->dtype), .x = x, .weight = weight, .bias = bias, .y = y,
    };
    return chosen->forward(&run, error);
}
