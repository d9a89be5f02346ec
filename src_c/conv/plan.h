/* A plan: a checked problem, its algorithm and its prepared weights.  Called by _core. */
#ifndef FC_CONV_PLAN_H
#define FC_CONV_PLAN_H
#include "padding.h"
#include "thin.h"
#include "trim.h"

typedef struct fc_plan {
    fc_conv conv;                             /* what the algorithm computes: the core where `pads`, or without the
                                               * taps that meet padding only, the pixels that none sees */
    fc_conv original;
    bool pads, named;                         /* another padding than zeros; algorithm named by the user */
    fc_padded padded;
    bool thins;                               /* x without the pixels that no output sees: */
    fc_thin thin;
    const fc_algorithm *algorithm;
    const fc_table *table;                    /* of the ISA in use when the plan was made */
    void *prepared;                           /* owned; NULL where raw weights are as good */
    size_t prepared_bytes;                    /* of prepared and kept */
    void *kept;                               /* owned: the weights without those taps, or NULL */
} fc_plan;

/* Prepares weights for many runs.  The conv is checked already. */
fc_status fc_plan_init(fc_plan *plan, const fc_conv *conv, const char *algorithm, const void *weight, fc_error *error);
/* x and y with their own strides, same shapes.  weight is the one given to init: read where the algorithm prepares
 * nothing, or where strides ask for another of its loops. */
fc_status fc_plan_run(const fc_plan *plan, const void *x, const int64_t x_stride[FC_AXES], const void *weight,
                      const void *bias, void *y, const int64_t y_stride[FC_AXES], fc_error *error);
void fc_plan_free(fc_plan *plan);
/* A plan made, run and dropped, preparing only what one run needs. */
fc_status fc_conv_forward(const fc_conv *conv, const char *algorithm, const void *x, const void *weight,
                          const void *bias, void *y, fc_error *error);
/* What to name in calls of fc_conv_forward in place of "auto", for the same results: the algorithm that it takes, or
 * "auto" itself where it also weighs whether taps go. */
fc_status fc_conv_settle(const fc_conv *conv, const char **algorithm, fc_error *error);
#endif
