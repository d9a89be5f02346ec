/* 1x1 over few adjacent channels: several pixels to a vector, read and written in order.  Called by grouped.c. */
#ifndef FC_CONV_GROUPED_PIXELS_H
#define FC_CONV_GROUPED_PIXELS_H
#include "algorithm.h"

/* Whether so few channels fit, of a pixel that begins `in` elements after the last. */
static inline bool fc_grouped_pixels_fit(int64_t lanes, int64_t in, int64_t out)
{
    return in <= lanes && fc_mix_pixels(lanes, in, out) >= 2;
}

/* Infinite where it cannot be done. */
double fc_grouped_pixels_cost(const fc_conv *conv, const fc_machine *machine);
size_t fc_grouped_pixels_scratch(const fc_conv *conv);
fc_status fc_grouped_pixels_forward(const fc_conv_run *run, fc_error *error);
#endif
