/* Sums of products along adjacent values.  Part of the kernel table; filled by conv/dot.c. */
#ifndef FC_KERNELS_DOT_H
#define FC_KERNELS_DOT_H
#include "epilogue.h"
#include <stdint.h>

/* c[p][r * c_row] (+)= sum over k of weight[r * weight_row + k] * x[p][k], then the epilogue.
 *
 * Lanes run along k on both sides, so that weights are read in place, each once for a few pixels.
 * A sum has VLEN chains, which are added halves first: in the same order whatever the tile. */
typedef struct fc_dot {
    int64_t rows, pixels, k;
    const void *weight;
    int64_t weight_row;
    const void *const *x;
    void *const *c;
    int64_t c_row;
    int accumulate;        /* start from c instead of from the bias (or zero) */
    int finish;            /* last part of k: apply the activation */
    const void *bias;      /* bias[r], NULL for none */
    fc_activation activation;
} fc_dot;
#endif
