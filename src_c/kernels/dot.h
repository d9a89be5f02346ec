/* Sums of products along adjacent values.  Part of the kernel table; filled by dot.c, dot_taps.c, pointwise_tail.c. */
#ifndef FC_KERNELS_DOT_H
#define FC_KERNELS_DOT_H
#include "epilogue.h"
#include <stdint.h>

/* c[p][r * c_row] (+)= sum over parts and k of weight[r * weight_row + weight_at[part] + k] *
 * x[part * x_part + p][x_offset + k], then the epilogue.
 *
 * Lanes run along k on both sides, so that weights are read in place, each once for a few pixels.
 * A sum has VLEN chains, which are added halves first: in the same order whatever the tile. */
typedef struct fc_dot {
    int64_t rows, pixels, k;
    const void *weight;
    int64_t weight_row;
    int64_t parts, x_part;
    const int64_t *weight_at; /* elements */
    const void *const *x;
    int64_t x_offset;      /* elements */
    int64_t x_ahead;       /* of one part: x is listed for so many pixels, those after the last are asked for; else 0 */
    void *const *c;
    int64_t c_row;
    int accumulate;        /* start from c instead of from the bias (or zero) */
    int finish;            /* last part of k: apply the activation */
    const void *bias;      /* bias[r], NULL for none */
    fc_activation activation;
} fc_dot;
#endif
