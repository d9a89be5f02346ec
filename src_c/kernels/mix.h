/* Products of a few channels of each pixel, several pixels to a vector: the arguments.  Part of the kernel table;
 * filled by conv/grouped_pixels.c and conv/weight_grad_mixed.c. */
#ifndef FC_KERNELS_MIX_H
#define FC_KERNELS_MIX_H
#include "epilogue.h"
#include <stdint.h>

/* y[p * out + o] = bias[o] + sum over c < in of weight[o * in + c] * x[p * x_pixel + c], then the activation.
 *
 * One chain of fused multiply-adds in the order of c.  fc_mix_pixels must be 2 at least, and x_pixel no less than
 * `in`; nothing beyond the last pixel's channels is read or written. */
typedef struct fc_mix {
    int64_t pixels, in, out;
    const void *x;
    int64_t x_pixel;
    const void *weight, *bias;                /* bias may be NULL */
    void *y;
    fc_activation activation;
} fc_mix;

/* sums[o * in + c] += sum over pixels p of x[p * x_pixel + c] * g[p * out + o], of the same shapes.  Four times
 * fc_mix_pixels chains, in the order of pixels, each pixel's products in one of them. */
typedef struct fc_mix_sums {
    int64_t pixels, in, out;
    const void *x, *g;
    int64_t x_pixel;
    void *sums;
} fc_mix_sums;

/* Pixels of a vector: their outputs fit in one, what they see in two. */
static inline int64_t fc_mix_pixels(int64_t lanes, int64_t x_pixel, int64_t out)
{
    const int64_t outs = lanes / out, seen = 2 * lanes / x_pixel;
    return outs < seen ? outs : seen;
}
#endif
