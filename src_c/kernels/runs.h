/* Sums of products of two runs of channels, pixel by pixel: the arguments.  Part of the kernel table; filled by
 * conv/weight_grad_runs.c. */
#ifndef FC_KERNELS_RUNS_H
#define FC_KERNELS_RUNS_H
#include <stdint.h>

/* c[i * c_row + j] (+)= sum over pixels p of
 *     a[a_at[p] + i * groups + j % groups] * b[b_at[p] + j]   for i < rows, j < vectors * VLEN
 *
 * Each sum begins at zero; `accumulate` adds it to c at the end.  groups is a power of two up to VLEN; of more than
 * one, tiles are one vector wide. */
typedef struct fc_run_sums {
    int64_t pixels, rows, groups;
    int64_t vectors;
    const void *a, *b;
    const int64_t *a_at, *b_at;               /* elements */
    int accumulate;
    void *c;
    int64_t c_row;
} fc_run_sums;
#endif
