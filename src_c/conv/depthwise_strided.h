/* Depthwise with a stride, or narrow: planes of adjacent pixels, one after the other, in place.  Called by
 * depthwise.c; weight_grad_planes.c has the axes from here. */
#ifndef FC_CONV_DEPTHWISE_STRIDED_H
#define FC_CONV_DEPTHWISE_STRIDED_H
#include "geometry.h"

/* With all outputs. */
static inline fc_strided_axis fc_strided_axis_of(const fc_conv *conv, int axis)
{
    return (fc_strided_axis){ .end = conv->out_size[axis], .kernel = conv->kernel[axis], .stride = conv->stride[axis],
                              .dilation = conv->dilation[axis], .pad = conv->pad_before[axis],
                              .in = conv->in_size[axis] };
}

/* Seconds on one core; INFINITY where it cannot. */
double fc_depthwise_strided_cost(const fc_conv *conv, const fc_machine *machine);
/* How many times its price what others are priced at has to be: where these are near, some are faster than that. */
double fc_depthwise_strided_margin(const fc_conv *conv);
fc_status fc_depthwise_strided_forward(const fc_conv_run *run, fc_error *error);
#endif
