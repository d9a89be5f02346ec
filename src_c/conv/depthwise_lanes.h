/* Depthwise by way of blocks of channels: one vector of channels of some pixels is copied to scratch, in a border of
 * zeros, and filtered there.  Called by depthwise.c. */
#ifndef FC_CONV_DEPTHWISE_LANES_H
#define FC_CONV_DEPTHWISE_LANES_H
#include "algorithm.h"

enum { FC_DEPTHWISE_MANY_TAPS = 144 };        /* weights of more, a vector each, would not stay in L1 with all else */

double fc_depthwise_lanes_cost(const fc_conv *conv, const fc_machine *machine, bool prepared);
size_t fc_depthwise_lanes_scratch(const fc_conv *conv, const fc_table *table);
/* Weights as [block of channels][tap][lane], a block's missing lanes zero. */
size_t fc_depthwise_lanes_prepared_size(const fc_conv *conv, const fc_table *table);
void fc_depthwise_lanes_prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared);
fc_status fc_depthwise_lanes_forward(const fc_conv_run *run, fc_error *error);
void fc_depthwise_lanes_describe(const fc_conv *conv, const fc_table *table, char *text, size_t size);
#endif
