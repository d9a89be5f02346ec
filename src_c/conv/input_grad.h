/* The gradient of a convolution with respect to its input.  Called by _core.
 *
 * input_grad.c chooses one of the methods below; a new one is its file and a line in input_grad.c. */
#ifndef FC_CONV_INPUT_GRAD_H
#define FC_CONV_INPUT_GRAD_H
#include "algorithm.h"
#include "input_grad_phases.h"

/* conv is the forward problem, checked: x_stride says how grad_input lies, y_stride how grad_output.
 * algorithm names one of the forward's, or a method.  grad_input is not touched where this fails. */
fc_status fc_conv_input_grad(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *weight,
                             void *grad_input, fc_error *error);

typedef struct fc_input_call {
    const fc_conv *conv;
    const fc_table *table;
    const char *algorithm;                    /* of the forward as named, or "auto" */
    const void *g, *weight;                   /* grad_output */
    void *grad;
    double most;                              /* seconds of another method: a cost above may be any above */
    fc_grad_phases phases;                    /* once a cost, or a run, had to make them; freed by the caller */
} fc_input_call;

typedef struct fc_input_method {
    const char *name;                         /* none of the forward's */
    const char *also;                         /* algorithm of the forward that names it too, or NULL */
    const char *(*supports)(const fc_conv *conv); /* NULL where it can compute this gradient, else why not */
    /* Predicted seconds on one core; NULL: nothing is faster where it is supported. */
    double (*cost)(fc_input_call *call);
    /* Fails for lack of memory only, before grad is touched; or for an algorithm that is named and cannot. */
    fc_status (*run)(fc_input_call *call, fc_error *error);
} fc_input_method;

extern const fc_input_method fc_input_planes, fc_input_lanes, fc_input_blocks, fc_input_strided, fc_input_multiplied,
    fc_input_patches, fc_input_pixels, fc_input_exchanged, fc_input_direct, fc_input_taps, fc_input_rows,
    fc_input_phases;
#endif
