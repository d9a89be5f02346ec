/* The kernel table: every function that exists once per instruction set and dtype.
 *
 * Kernels are called by the algorithms in conv/ and pool/ through fc_table() (base/dispatch.h).
 * They check nothing and return nothing; the caller has checked sizes and reserved memory.
 * All strides, offsets and sizes count elements of the table's dtype.
 */
#ifndef FC_KERNELS_TABLE_H
#define FC_KERNELS_TABLE_H
#include "gemm.h"

typedef struct fc_table {
    int lanes;             /* of one vector */
    int panel_vectors;     /* widest panel that gemm takes; it takes every smaller width too */
    void (*gemm)(const fc_gemm *g);
} fc_table;
#endif
