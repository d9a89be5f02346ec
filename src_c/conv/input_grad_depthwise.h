/* The input gradient of strided depthwise convolutions.  Called by input_grad.c. */
#ifndef FC_CONV_INPUT_GRAD_DEPTHWISE_H
#define FC_CONV_INPUT_GRAD_DEPTHWISE_H
#include "algorithm.h"

/* NULL where it can compute this gradient, else why not. */
const char *fc_input_grad_depthwise_supports(const fc_conv *conv);
fc_status fc_input_grad_depthwise(const fc_conv *conv, const void *grad_output, const void *weight, void *grad_input,
                                  fc_error *error);
#endif
