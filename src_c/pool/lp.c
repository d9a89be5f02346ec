/* Lp pooling.  Called by _core; its gradient is a sum of windows between two products, in pool.py. */
#include "reduce.h"

fc_status fc_lp_pool(const fc_pool *pool, const void *x, void *y, fc_error *error)
{
    fc_reduction r = { .pool = pool, .op = FC_POOL_POWER, .end = FC_POOL_ROOT, .from = x, .to = y };
    if (pool->power == 1) {
        r.op = FC_POOL_ABS;
        r.end = FC_POOL_KEEP;
    } else if (pool->power == 2) {
        r.op = FC_POOL_SQUARE;
        r.end = FC_POOL_SQRT;
    }
    return fc_pool_reduce(&r, error);
}
