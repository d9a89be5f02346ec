/* The gradient of a convolution with respect to its input.  Called by _core. */
#ifndef FC_CONV_INPUT_GRAD_H
#define FC_CONV_INPUT_GRAD_H
#include "algorithm.h"

/* conv is the forward problem, checked: x_stride says how grad_input lies, y_stride how grad_output.
 * algorithm names one of the forward's.  grad_input is not touched where this fails. */
fc_status fc_conv_input_grad(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *weight,
                             void *grad_input, fc_error *error);
#endif
