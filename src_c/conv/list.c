/* Every convolution algorithm, and the choice among them.  Called by plan.c and by _core.
 * A new algorithm is its file and one line in each of the two lists below. */
#include "algorithm.h"
#include "cost.h"
#include "remember.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

extern const fc_algorithm fc_algorithm_direct, fc_algorithm_depthwise, fc_algorithm_dot, fc_algorithm_grouped,
    fc_algorithm_im2col, fc_algorithm_taps, fc_algorithm_winograd2, fc_algorithm_winograd4;

const fc_algorithm *const fc_algorithms[] = {
    &fc_algorithm_direct,
    &fc_algorithm_depthwise,
    &fc_algorithm_dot,
    &fc_algorithm_grouped,
    &fc_algorithm_im2col,
    &fc_algorithm_taps,
    &fc_algorithm_winograd4,
    &fc_algorithm_winograd2,
    NULL,
};

/* What "auto" takes may be off by no more than this, unless it is a plain sum of products: 1e-5 in
 * float32, and as many roundings in float64. */
static const double most_error = 1e-5 / 0x1p-23;

double fc_algorithm_error(const fc_algorithm *algorithm, const fc_conv *conv)
{
    /* One chain of additions: its error grows as the root of its length. */
    return algorithm->error ? algorithm->error(conv) : 0.75 * fc_epsilon(conv->dtype) * sqrt((double)conv->depth);
}

static const fc_algorithm *cheapest(const fc_conv *conv, bool prepared)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const fc_algorithm *best = NULL;
    double best_cost = 0;
    fc_conv declared = *conv;                 /* a choice follows the layout, never the strides */
    fc_conv_default_strides(&declared, conv->channels_last);
    const double unit = fc_cost_unit(machine);
    for (const fc_algorithm *const *a = fc_algorithms; *a; a++) {
        if ((best && (*a)->least * unit >= best_cost) || (*a)->supports(conv))
            continue;                         /* a cost takes a while to work out, beside a tiny problem */
        const double cost = (*a)->cost(&declared, machine, prepared);
        if ((best && cost >= best_cost) || ((*a)->error && (*a)->error(conv) > most_error * fc_epsilon(conv->dtype)))
            continue;
        best = *a;
        best_cost = cost;
    }
    return best;
}

static const fc_algorithm *named(const char *name)
{
    for (const fc_algorithm *const *a = fc_algorithms; *a; a++)
        if (strcmp((*a)->name, name) == 0)
            return *a;
    return NULL;
}

static fc_status unknown(const char *name, fc_error *error)
{
    char names[200] = "";
    size_t length = 0;
    for (const fc_algorithm *const *a = fc_algorithms; *a && length < sizeof names; a++)
        length += (size_t)snprintf(names + length, sizeof names - length, ", \"%s\"", (*a)->name);
    return fc_fail(error, FC_BAD_VALUE, "algorithm must be one of \"auto\"%s, got \"%.40s\"", names, name);
}

fc_status fc_algorithm_choose(const fc_conv *conv, const char *name, bool prepared,
                              const fc_algorithm **chosen, fc_error *error)
{
    if (strcmp(name, "auto") == 0) {
        const fc_chooser chooser = prepared ? FC_OF_PLAN : FC_OF_CALL;
        *chosen = fc_recall(conv, chooser);
        if (*chosen)
            return FC_OK;
        *chosen = cheapest(conv, prepared);
        fc_remember(conv, chooser, *chosen);
        return *chosen ? FC_OK : fc_fail(error, FC_BAD_VALUE, "algorithm=\"auto\": none can compute this convolution");
    }
    const fc_algorithm *algorithm = named(name);
    if (!algorithm)
        return unknown(name, error);
    const char *reason = algorithm->supports(conv);
    if (reason)
        return fc_fail(error, FC_BAD_VALUE, "algorithm=\"%s\" cannot compute this convolution: %s", name, reason);
    *chosen = algorithm;
    return FC_OK;
}
