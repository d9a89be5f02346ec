/* A convolution to be computed, in numbers: made and checked here once, then read by everyone.
 * 1-D and 2-D are 3-D with ones in front; NCHW, NHWC and slices differ in strides only. */
#ifndef FC_CONV_PROBLEM_H
#define FC_CONV_PROBLEM_H
#include "../base/dispatch.h"
#include "../base/status.h"
#include <stdbool.h>
#include <stdint.h>

enum { FC_SPATIAL = 3 };                      /* depth, height, width */
enum { FC_N, FC_C, FC_D, FC_H, FC_W, FC_AXES }; /* axes of a stride array */

/* With an input of a b c d, two pixels before and behind:
 *   zeros      0 0 | a b c d | 0 0      reflect    c b | a b c d | c b
 *   constant   v v | a b c d | v v      symmetric  b a | a b c d | d c
 *   replicate  a a | a b c d | d d      circular   c d | a b c d | a b */
typedef enum fc_pad_mode {
    FC_PAD_ZEROS, FC_PAD_CONSTANT, FC_PAD_REPLICATE, FC_PAD_REFLECT, FC_PAD_SYMMETRIC, FC_PAD_CIRCULAR
} fc_pad_mode;

typedef struct fc_conv {
    fc_dtype dtype;
    int spatial;                              /* 1, 2 or 3: for messages only */
    const char *x_name, *weight_name;         /* what messages call them; NULL for "x" and "weight" */
    bool channels_last;                       /* the declared layout: NHWC; set by fc_conv_default_strides */
    int64_t batch, in_channels, out_channels, groups;
    int64_t in_per_group;                     /* the weight's second axis; checked against the rest */
    int64_t in_size[FC_SPATIAL], kernel[FC_SPATIAL], stride[FC_SPATIAL], dilation[FC_SPATIAL];
    int64_t pad_before[FC_SPATIAL], pad_after[FC_SPATIAL];
    fc_pad_mode pad_mode;                     /* algorithms see FC_PAD_ZEROS only: padding.h */
    double pad_value;                         /* of FC_PAD_CONSTANT */
    int64_t out_size[FC_SPATIAL];             /* filled by fc_conv_check */
    int64_t x_stride[FC_AXES], y_stride[FC_AXES]; /* elements; any sign */
    bool has_bias;
    bool exact;                               /* no algorithm with fewer multiplications */
    fc_activation activation;
    /* Filled by fc_conv_check: */
    int64_t out_per_group, taps, depth;       /* taps = product of kernel, depth = taps * in_per_group */
    int64_t out_pixels;                       /* of one image */
    double flops;                             /* 2 * multiply-adds, padding counted */
} fc_conv;

/* Weights are contiguous (out, in / groups, depth, height, width) of the problem's dtype. */

/* Checks every field that the caller sets but the strides, fills the rest.  All size products that
 * any algorithm forms are shown here not to overflow int64_t. */
fc_status fc_conv_check(fc_conv *conv, fc_error *error);
/* Contiguous strides for x and y in the layout given, after fc_conv_check; callers then replace the
 * strides of arrays that are not contiguous.  Algorithms and prepared weights follow the declared
 * layout, never the strides, so that one plan serves every view. */
void fc_conv_default_strides(fc_conv *conv, bool channels_last);
#endif
