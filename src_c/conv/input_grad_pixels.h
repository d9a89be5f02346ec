/* The input gradient of 1x1 kernels for few pixels with adjacent channels: classifiers, squeeze and excitation,
 * last stages.  Called by input_grad.c. */
#ifndef FC_CONV_INPUT_GRAD_PIXELS_H
#define FC_CONV_INPUT_GRAD_PIXELS_H
#include "algorithm.h"

bool fc_input_grad_pixels_supports(const fc_conv *conv);
fc_status fc_input_grad_pixels(const fc_conv *conv, const void *grad_output, const void *weight, void *grad_input,
                               fc_error *error);
#endif
