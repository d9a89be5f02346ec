/* 1x1 convolutions that read the image where it lies.  Called by direct.c and im2col.c. */
#ifndef FC_CONV_POINTWISE_H
#define FC_CONV_POINTWISE_H
#include "algorithm.h"

/* Whether x in the declared layout is the matrix of channels by pixels that has to be multiplied: kernel
 * and stride 1, no padding, pixels adjacent. */
bool fc_pointwise_fits(const fc_conv *conv);
/* Whether it is that with the strides that x and y have. */
bool fc_pointwise_supports(const fc_conv *conv);
/* Whether the last pixels of several images, less than a vector each, are multiplied together. */
bool fc_pointwise_joins(const fc_conv *conv);
/* Whose vectors the pixels of one image fit. */
const fc_machine *fc_pointwise_machine(const fc_conv *conv);
enum { FC_POINTWISE_LEAST = 3960 };           /* of the cost, whatever the problem */
double fc_pointwise_cost(const fc_conv *conv);
size_t fc_pointwise_scratch(const fc_conv *conv);
fc_status fc_pointwise_forward(const fc_conv_run *run, fc_error *error);
void fc_pointwise_describe(const fc_conv *conv, char *text, size_t size);
#endif
