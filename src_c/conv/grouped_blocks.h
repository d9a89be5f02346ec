/* Grouped by way of blocks of channels: some groups of some pixels are copied to scratch, in a border of zeros, and
 * filtered there, output channels of several groups as lanes.  Called by grouped.c. */
#ifndef FC_CONV_GROUPED_BLOCKS_H
#define FC_CONV_GROUPED_BLOCKS_H
#include "algorithm.h"

/* Infinite where it cannot be done in a scratch that fits in a cache. */
double fc_grouped_blocks_cost(const fc_conv *conv, const fc_machine *machine, bool prepared);
size_t fc_grouped_blocks_scratch(const fc_conv *conv, const fc_table *table);
size_t fc_grouped_blocks_prepared_size(const fc_conv *conv, const fc_table *table);
void fc_grouped_blocks_prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared);
fc_status fc_grouped_blocks_forward(const fc_conv_run *run, fc_error *error);
void fc_grouped_blocks_describe(const fc_conv *conv, const fc_table *table, char *text, size_t size);
#endif
