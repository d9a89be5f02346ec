/* The table behind include/fastconv.h: public problems become fc_conv, sentences are copied out.
 * _core exports it as a capsule. */
#include "public.h"
#include "plan.h"
#include <stdio.h>
#include <string.h>

static int report(fc_status status, const fc_error *error, char *text, size_t size)
{
    if (status != FC_OK && size > 0)
        snprintf(text, size, "%s", error->text);
    return (int)status;
}

static fc_status convert(const fastconv_problem *p, fc_conv *conv, fc_error *error)
{
    if (p->dtype != FASTCONV_FLOAT32 && p->dtype != FASTCONV_FLOAT64)
        return fc_fail(error, FC_BAD_TYPE, "dtype must be FASTCONV_FLOAT32 or FASTCONV_FLOAT64, got %d", p->dtype);
    if (p->spatial < 1 || p->spatial > FC_SPATIAL)
        return fc_fail(error, FC_BAD_VALUE, "spatial must be 1, 2 or 3, got %d", p->spatial);
    if (p->activation < FASTCONV_NO_ACTIVATION || p->activation > FASTCONV_LEAKY_RELU)
        return fc_fail(error, FC_BAD_VALUE, "activation must be FASTCONV_NO_ACTIVATION to FASTCONV_LEAKY_RELU, got %d",
                       p->activation);
    *conv = (fc_conv){
        .dtype = (fc_dtype)p->dtype, .spatial = p->spatial, .batch = p->batch, .in_channels = p->in_channels,
        .out_channels = p->out_channels, .groups = p->groups,
        .in_per_group = p->groups > 0 ? p->in_channels / p->groups : 0,
        .activation = { (fc_act_kind)p->activation, p->alpha },
    };
    const int first = FC_SPATIAL - p->spatial;
    for (int axis = 0; axis < p->spatial; axis++) {
        conv->in_size[first + axis] = p->size[axis];
        conv->kernel[first + axis] = p->kernel[axis];
        conv->stride[first + axis] = p->stride[axis];
        conv->dilation[first + axis] = p->dilation[axis];
        conv->pad_before[first + axis] = p->pad_before[axis];
        conv->pad_after[first + axis] = p->pad_after[axis];
    }
    const fc_status status = fc_conv_check(conv, error);
    if (status == FC_OK)
        fc_conv_default_strides(conv, p->channels_last != 0);
    return status;
}

static int output_size(const fastconv_problem *problem, int64_t size[3], char *text, size_t text_size)
{
    fc_conv conv;
    fc_error error;
    const fc_status status = convert(problem, &conv, &error);
    if (status == FC_OK)
        memcpy(size, conv.out_size + FC_SPATIAL - conv.spatial, (size_t)conv.spatial * sizeof *size);
    return report(status, &error, text, text_size);
}

static int forward(const fastconv_problem *problem, const void *x, const void *weight, const void *bias, void *y,
                   char *text, size_t text_size)
{
    fc_conv conv;
    fc_error error;
    fc_status status = convert(problem, &conv, &error);
    if (status == FC_OK) {
        conv.has_bias = bias != NULL;
        status = fc_conv_forward(&conv, problem->algorithm ? problem->algorithm : "auto", x, weight, bias, y, &error);
    }
    return report(status, &error, text, text_size);
}

const fastconv_api fc_public_api = { .version = 1, .output_size = output_size, .forward = forward };
