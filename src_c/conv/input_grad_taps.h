/* The input gradient tap by tap: products of every output with the filters of one tap, added to the pixels that it
 * meets.  As many products as the convolution has, padding left out, where images are small.  Called by
 * input_grad.c. */
#ifndef FC_CONV_INPUT_GRAD_TAPS_H
#define FC_CONV_INPUT_GRAD_TAPS_H
#include "algorithm.h"

/* NULL, or a clause that says why not. */
const char *fc_input_grad_taps_supports(const fc_conv *conv);
double fc_input_grad_taps_cost(const fc_conv *conv, const fc_machine *machine);
fc_status fc_input_grad_taps(const fc_conv *conv, const void *grad_output, const void *weight, void *grad_input,
                             fc_error *error);
#endif
