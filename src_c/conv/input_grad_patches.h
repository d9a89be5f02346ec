/* The input gradient where every pixel is met by one tap, kernel and stride being the same: the first layer
 * of networks that cut an image into patches.  Called by input_grad.c. */
#ifndef FC_CONV_INPUT_GRAD_PATCHES_H
#define FC_CONV_INPUT_GRAD_PATCHES_H
#include "algorithm.h"

/* Of few input channels: the phases of more are as well computed one by one. */
bool fc_input_grad_patches_supports(const fc_conv *conv);
fc_status fc_input_grad_patches(const fc_conv *conv, const void *grad_output, const void *weight, void *grad_input,
                                fc_error *error);
#endif
