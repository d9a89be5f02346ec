/* Arguments of depthwise filters of 3x3 whose sums slide down an image.  Part of the kernel table; filled by
 * conv/depthwise_slide.c. */
#ifndef FC_KERNELS_DEPTHWISE_SLIDE_H
#define FC_KERNELS_DEPTHWISE_SLIDE_H
#include "ahead.h"
#include "depthwise.h"

enum { FC_SLIDE_LEAST_COLS = 4, FC_SLIDE_COLS = 7, FC_SLIDE_LEAST_ROWS = 2, FC_SLIDE_KERNEL = 3 };

/* Lanes are channels, strides and dilations 1.  The same sums in the same order as fc_depthwise: bias, then the taps
 * row by row; those outside x are left out. */
typedef struct fc_depthwise_slide {
    const void *x, *weight, *bias;            /* at input 0 of both axes; bias NULL for none */
    void *y;                                  /* at output 0 of both axes */
    fc_depthwise_axis row, col;               /* no fewer outputs than above; columns see one of padding at most */
    int64_t rows;                             /* computed before the next columns are: more than LEAST_ROWS */
    int64_t w_step;                           /* weights from tap to tap */
    int64_t blocks, lead, overlap;            /* vectors of channels, as in fc_depthwise */
    int far, stream;                          /* as in fc_depthwise, but that the next `rows` of both are asked for */
    fc_activation activation;
} fc_depthwise_slide;
#endif
