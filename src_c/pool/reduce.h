/* The engine of all poolings: one combination of inputs for each output, or the same the other way round
 * for gradients.  Called by max.c, average.c and lp.c. */
#ifndef FC_POOL_REDUCE_H
#define FC_POOL_REDUCE_H
#include "pool.h"

typedef struct fc_reduction {
    const fc_pool *pool;
    fc_pool_op op;
    fc_pool_end end;
    bool average;                             /* FC_POOL_DIVIDE by what fc_pool_counted says */
    /* Gradients: `to` has the shape of x; each of its pixels is the sum of `from`, of the shape of y, over
     * the windows that it is in, divided by what they counted if `average`. */
    bool transposed;
    const void *from;
    void *to;
    int64_t *indices;                         /* of FC_POOL_MAX: where the largest are, in the order of y; or NULL */
} fc_reduction;

fc_status fc_pool_reduce(const fc_reduction *reduction, fc_error *error);
#endif
