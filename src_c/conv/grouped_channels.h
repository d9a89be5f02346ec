/* Grouped with output channels as lanes, in place: a group has whole vectors of them, or several share a vector.
 * Called by grouped.c. */
#ifndef FC_CONV_GROUPED_CHANNELS_H
#define FC_CONV_GROUPED_CHANNELS_H
#include "algorithm.h"

bool fc_grouped_channels_can(const fc_conv *conv);
double fc_grouped_channels_cost(const fc_conv *conv, bool prepared);
size_t fc_grouped_channels_scratch(const fc_conv *conv);
size_t fc_grouped_channels_prepared_size(const fc_conv *conv);
void fc_grouped_channels_prepare(const fc_conv *conv, const void *weight, void *prepared);
/* `seconds`: what it is expected to take. */
fc_status fc_grouped_channels_forward(const fc_conv_run *run, double seconds, fc_error *error);
void fc_grouped_channels_describe(const fc_conv *conv, char *text, size_t size);
#endif
