/* The input gradient as dense products, straight from the filters.  Called by input_grad.c. */
#ifndef FC_CONV_INPUT_GRAD_DIRECT_H
#define FC_CONV_INPUT_GRAD_DIRECT_H
#include "algorithm.h"

/* NULL where it can compute this gradient, else why not. */
const char *fc_input_grad_direct_supports(const fc_conv *conv);
/* Predicted seconds on one core. */
double fc_input_grad_direct_cost(const fc_conv *conv, const fc_machine *machine);
/* Fails for lack of memory only, before grad_input is touched. */
fc_status fc_input_grad_direct(const fc_conv *conv, const void *grad_output, const void *weight, void *grad_input,
                               fc_error *error);
#endif
