/* Pixels that no output sees are no part of the problem: where stride and dilation of an axis have a common divisor d,
 * or there is one tap and d is the stride, x is its every d-th row or column.  Called by plan.c and weight_grad.c. */
#ifndef FC_CONV_THIN_H
#define FC_CONV_THIN_H
#include "algorithm.h"

typedef struct fc_thin {
    int64_t first[FC_SPATIAL], every[FC_SPATIAL]; /* the pixels left of each axis; 0 and 1 where all are */
} fc_thin;

/* Whether there are such pixels; then thinned is conv, which is checked and pads with zeros, without them, but for
 * the strides of x. */
bool fc_thin_make(const fc_conv *conv, fc_conv *thinned, fc_thin *thin);
/* The first of the pixels left; x_stride becomes theirs. */
const void *fc_thin_x(const fc_thin *thin, fc_dtype dtype, const void *x, int64_t x_stride[FC_AXES]);
#endif
