/* Dot tap by tap: every output is a sum along the channels that each tap of it sees, read where they are adjacent.
 * Called by dot.c. */
#ifndef FC_CONV_DOT_TAPS_H
#define FC_CONV_DOT_TAPS_H
#include "cost.h"

/* Price of a multiply-add of vectors in the kernel: measured. */
static inline double fc_dot_multiply(const fc_machine *machine)
{
    return fc_multiply(machine, machine->multiply > 1 ? 0.93 : 1.04);
}

/* Infinite where it cannot be done in a scratch that fits in a cache. */
double fc_dot_taps_cost(const fc_conv *conv, const fc_machine *machine, bool prepared);
size_t fc_dot_taps_scratch(const fc_conv *conv);
/* Weights as [output][tap][input]. */
size_t fc_dot_taps_prepared_size(const fc_conv *conv);
void fc_dot_taps_prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared);
fc_status fc_dot_taps_forward(const fc_conv_run *run, fc_error *error);
void fc_dot_taps_describe(const fc_conv *conv, char *text, size_t size);
#endif
