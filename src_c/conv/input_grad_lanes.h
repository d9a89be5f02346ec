/* The input gradient of depthwise convolutions by way of blocks of channels, as depthwise_lanes.h.  Called by
 * input_grad.c. */
#ifndef FC_CONV_INPUT_GRAD_LANES_H
#define FC_CONV_INPUT_GRAD_LANES_H
#include "algorithm.h"

/* Whether it can compute this gradient, and is predicted to be the fastest way. */
bool fc_input_grad_lanes_chosen(const fc_conv *conv);
fc_status fc_input_grad_lanes(const fc_conv *conv, const void *grad_output, const void *weight, void *grad_input,
                              fc_error *error);
#endif
