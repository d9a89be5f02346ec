/* The input gradient: the choice of a method.
 *
 * gx[ic][p * stride + tap * dilation - padding] = sum over outputs p and taps of weight[oc][ic, tap] * gy[oc][p].
 * Called by _core. */
#include "input_grad.h"
#include "../base/scratch.h"
#include "geometry.h"
#include "remember.h"
#include "trim.h"
#include <math.h>
#include <string.h>

static const double TRIM_SECONDS = 2.5e-10;   /* per weight */

/* Those that take long to price last: they may stop at another's price. */
static const fc_input_method *const methods[] = {
    &fc_input_planes,  &fc_input_lanes,     &fc_input_blocks, &fc_input_strided, &fc_input_multiplied,
    &fc_input_patches, &fc_input_pixels,    &fc_input_exchanged, &fc_input_direct, &fc_input_taps,
    &fc_input_rows,    &fc_input_phases,
    NULL,
};

static bool same(const char *a, const char *b) { return a && strcmp(a, b) == 0; }

static const fc_input_method *named(const char *name)
{
    for (const fc_input_method *const *m = methods; *m; m++)
        if (same((*m)->name, name))
            return *m;
    return NULL;
}

/* The cheapest of all, or of those that an algorithm of the forward names; NULL if none can compute this. */
static const fc_input_method *cheapest(fc_input_call *call, bool any)
{
    const fc_input_method *best = NULL;
    call->most = INFINITY;
    for (const fc_input_method *const *m = methods; *m; m++) {
        if ((!any && !same((*m)->also, call->algorithm)) || (*m)->supports(call->conv))
            continue;
        const double seconds = (*m)->cost ? (*m)->cost(call) : 0;
        if (seconds < call->most) {
            best = *m;
            call->most = seconds;
        }
        if (seconds <= 0)
            break;
    }
    return best;
}

/* A method by its own name; else by an algorithm of the forward, which phases take where no other is named by it. */
static fc_status choose(fc_input_call *call, const fc_input_method **chosen, fc_error *error)
{
    const bool any = same(call->algorithm, "auto");
    *chosen = any ? fc_recall(call->conv, FC_OF_INPUT_GRAD) : named(call->algorithm);
    if (any && *chosen)
        return FC_OK;
    const char *reason = *chosen ? (*chosen)->supports(call->conv) : NULL;
    if (reason)
        return fc_fail(error, FC_BAD_VALUE, "algorithm=\"%s\" cannot compute this gradient: %s", call->algorithm,
                       reason);
    if (*chosen)
        call->algorithm = "auto";
    else
        *chosen = cheapest(call, any);
    if (!*chosen)
        *chosen = fc_input_rows.supports(call->conv) ? &fc_input_phases : &fc_input_rows;
    if (any)
        fc_remember(call->conv, FC_OF_INPUT_GRAD, *chosen);
    return FC_OK;
}

static fc_status input_grad(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *weight,
                            void *grad_input, fc_error *error)
{
    fc_input_call call = { .conv = conv, .table = fc_table_for(conv->dtype), .algorithm = algorithm,
                           .g = grad_output, .weight = weight, .grad = grad_input };
    const fc_algorithm *algorithm_of_none;
    const fc_input_method *method;
    if (conv->batch == 0 && !named(algorithm)) /* only the algorithm's name may be wrong */
        return fc_algorithm_choose(conv, algorithm, false, &algorithm_of_none, error);
    fc_status status = choose(&call, &method, error);
    if (status == FC_OK && conv->batch > 0)
        status = method->run(&call, error);
    fc_grad_phases_free(&call.phases);
    return status;
}

static double cost_of(const fc_input_method *method, const fc_conv *conv)
{
    fc_input_call call = { .conv = conv, .table = fc_table_for(conv->dtype), .algorithm = "auto" };
    return method->supports(conv) ? INFINITY : method->cost(&call);
}

/* Tap by tap those that meet padding only cost nothing, but that they are read: less than to copy the others? */
static bool by_taps_anyway(const fc_conv *conv, const fc_conv *trimmed)
{
    const double taps = cost_of(&fc_input_taps, conv);
    return isfinite(taps) && taps < fmin(cost_of(&fc_input_taps, trimmed), cost_of(&fc_input_direct, trimmed)) +
                                        TRIM_SECONDS * (double)conv->out_channels * (double)conv->depth;
}

/* Taps that meet padding only reach no pixel. */
fc_status fc_conv_input_grad(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *weight,
                             void *grad_input, fc_error *error)
{
    fc_trim trim;
    if (conv->batch == 0 || !same(algorithm, "auto") || !fc_trim_make(conv, &trim))
        return input_grad(conv, algorithm, grad_output, weight, grad_input, error);
    if (by_taps_anyway(conv, &trim.conv))
        return input_grad(conv, fc_input_taps.name, grad_output, weight, grad_input, error);
    void *kept = fc_scratch_borrow(fc_trim_bytes(&trim));
    if (!kept)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of its taps", fc_trim_bytes(&trim));
    (void)fc_trim_weight(&trim, weight, kept);
    const fc_status status = input_grad(&trim.conv, algorithm, grad_output, kept, grad_input, error);
    fc_scratch_give_back(kept);
    return status;
}
