/* Average pooling and its gradient.  Called by _core. */
#include "reduce.h"

fc_status fc_avg_pool(const fc_pool *pool, const void *x, void *y, fc_error *error)
{
    const fc_reduction r = { .pool = pool, .op = FC_POOL_SUM, .end = FC_POOL_DIVIDE, .average = true,
                             .from = x, .to = y };
    return fc_pool_reduce(&r, error);
}

/* Every pixel collects its share of the gradients of all windows that it is in. */
fc_status fc_avg_pool_grad(const fc_pool *pool, const void *grad_y, void *grad_x, fc_error *error)
{
    const fc_reduction r = {
        .pool = pool, .op = FC_POOL_SUM, .end = FC_POOL_DIVIDE, .average = true, .transposed = true, .from = grad_y,
        .to = grad_x,
    };
    return fc_pool_reduce(&r, error);
}
