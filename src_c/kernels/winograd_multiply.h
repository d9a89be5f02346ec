/* The products of Winograd's convolution.  Part of the kernel table; filled by conv/winograd.c. */
#ifndef FC_KERNELS_WINOGRAD_MULTIPLY_H
#define FC_KERNELS_WINOGRAD_MULTIPLY_H
#include <stdint.h>

/* m[tile][lane] (+)= sum over k of v[tile][k] * u[k][lane].  The dense product of gemm.h takes any
 * rows and any width; this one asks for equal steps and whole vectors, and so needs no pointer per
 * row and can fetch the next tiles while it works on these.  The sum is one chain over k, which is
 * then added to m: blocks of k have less error than one long chain. */
typedef struct fc_winograd_multiply {
    int64_t tiles, k;
    int vectors;                              /* lanes: 1 or 2 vectors */
    const void *v;
    int64_t v_tile;                           /* steps, elements */
    const void *u;
    int64_t u_step;
    void *m;
    int64_t m_tile;
    int accumulate;
} fc_winograd_multiply;
#endif
