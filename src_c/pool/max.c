/* Max pooling, with the indices of what won or without.  Called by _core. */
#include "reduce.h"

fc_status fc_max_pool(const fc_pool *pool, const void *x, void *y, fc_error *error)
{
    const fc_reduction r = { .pool = pool, .op = FC_POOL_MAX, .end = FC_POOL_KEEP, .from = x, .to = y };
    return fc_pool_reduce(&r, error);
}

fc_status fc_max_pool_indices(const fc_pool *pool, const void *x, void *y, int64_t *indices, fc_error *error)
{
    const fc_reduction r = { .pool = pool, .op = FC_POOL_MAX, .end = FC_POOL_KEEP, .from = x, .to = y,
                             .indices = indices };
    if (pool->dtype == FC_F32 && pool->in_pixels > INT32_MAX / 2)
        return fc_fail(error, FC_BAD_VALUE,
                       "return_indices: a plane of %lld pixels; float32 takes up to 2**30, cast x to float64",
                       (long long)pool->in_pixels);
    return fc_pool_reduce(&r, error);
}
