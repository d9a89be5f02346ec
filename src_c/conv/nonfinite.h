/* Padding times a weight that is infinite or no number, which is no number: for algorithms whose kernels never
 * multiply padding.  Called by depthwise.c, depthwise_lanes.c and grouped.c once y is computed, and by trim.c. */
#ifndef FC_CONV_NONFINITE_H
#define FC_CONV_NONFINITE_H
#include "algorithm.h"

/* Sets the outputs to NaN that see padding through such a weight.  Weight `index` (from 0, over in_per_group and
 * taps) of an output channel is weight[channel * channel_step + index * index_step]; unused memory between them is
 * read too, and may only hold finite numbers. */
void fc_nonfinite_padding(const fc_conv_run *run, const void *weight, int64_t channel_step, int64_t index_step);
/* False where one of the values is infinite or no number; it may be false of very large ones too. */
bool fc_surely_finite(fc_dtype dtype, const void *values, int64_t count);
#endif
