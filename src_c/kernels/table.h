/* The kernel table: every function that exists once per instruction set and dtype.
 *
 * Kernels are called by the algorithms in conv/ and pool/ through fc_table() (base/dispatch.h).
 * They check nothing and return nothing; the caller has checked sizes and reserved memory.
 * All strides, offsets and sizes count elements of the table's dtype.
 */
#ifndef FC_KERNELS_TABLE_H
#define FC_KERNELS_TABLE_H
#include "depthwise.h"
#include "gemm.h"
#include "move.h"
#include "winograd.h"

typedef struct fc_table {
    int lanes;             /* of one vector */
    int panel_vectors;     /* widest panel that gemm takes; it takes every smaller width too */
    void (*gemm)(const fc_gemm *g);
    void (*move)(const fc_move *m);
    void (*winograd_input)(const fc_winograd_input *w);
    void (*winograd_weight)(const fc_winograd_weight *w);
    void (*winograd_output)(const fc_winograd_output *w);
    void (*depthwise)(const fc_depthwise *d);
    void (*depthwise_spread)(const fc_depthwise_spread *s);
} fc_table;
#endif
