/* Taps that meet nothing but zero padding, whatever the output, are no part of the sum: a 3x3 kernel on one pixel
 * is 1x1, a 31x31 kernel on 7x7 pixels 13x13.  Called by plan.c and by the gradients. */
#ifndef FC_CONV_TRIM_H
#define FC_CONV_TRIM_H
#include "algorithm.h"

typedef struct fc_trim {
    fc_conv conv;                             /* without those taps; all else the same */
    int64_t taps;                             /* of the kernel before */
    int64_t kernel[FC_SPATIAL], first[FC_SPATIAL]; /* that kernel; its tap that is the first now */
} fc_trim;

/* Whether there are such taps.  conv is checked and pads with zeros. */
bool fc_trim_make(const fc_conv *conv, fc_trim *trim);
/* Copies the weights that are left, to fc_trim_bytes(trim) bytes.  False where a weight is infinite or no number:
 * times padding it is no number, and no tap may go of a sum that is asked for. */
size_t fc_trim_bytes(const fc_trim *trim);
double fc_trim_seconds(const fc_trim *trim);
bool fc_trim_weight(const fc_trim *trim, const void *weight, void *kept);
/* The gradient of all weights, from that of those left: zero where a tap has gone. */
void fc_trim_expand(const fc_trim *trim, const void *kept, void *grad);
#endif
