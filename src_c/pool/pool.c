/* fc_pool_check: the one door where the sizes of a pooling are checked.  Called by _core before
 * anything is allocated.  The sentences name Python's arguments. */
#include "pool.h"
#include "../base/size.h"

typedef long long ll;
static const char *const axis_names[FC_SPATIAL] = { "depth", "height", "width" };

static fc_status check_counts(const fc_pool *pool, fc_error *error)
{
    if (pool->batch < 0)
        return fc_fail(error, FC_BAD_VALUE, "x: batch size %lld is negative", (ll)pool->batch);
    if (pool->channels < 1)
        return fc_fail(error, FC_BAD_VALUE, "x has %lld channels; at least 1 is needed", (ll)pool->channels);
    if (pool->divisor_override < 0)
        return fc_fail(error, FC_BAD_VALUE, "divisor_override must be at least 1, got %lld",
                       (ll)pool->divisor_override);
    return FC_OK;
}

static fc_status check_numbers(const fc_pool *pool, int axis, fc_error *error)
{
    const char *name = axis_names[axis];
    if (pool->in_size[axis] < 1)
        return fc_fail(error, FC_BAD_VALUE, "x has %s %lld; at least 1 is needed", name, (ll)pool->in_size[axis]);
    if (pool->adaptive) {
        if (pool->out_size[axis] < 1)
            return fc_fail(error, FC_BAD_VALUE, "output_size must be at least 1, got %lld for %s",
                           (ll)pool->out_size[axis], name);
        return FC_OK;
    }
    if (pool->kernel[axis] < 1)
        return fc_fail(error, FC_BAD_VALUE, "kernel_size must be at least 1, got %lld for %s",
                       (ll)pool->kernel[axis], name);
    if (pool->stride[axis] < 1)
        return fc_fail(error, FC_BAD_VALUE, "stride must be at least 1, got %lld for %s", (ll)pool->stride[axis], name);
    if (pool->dilation[axis] < 1)
        return fc_fail(error, FC_BAD_VALUE, "dilation must be at least 1, got %lld for %s",
                       (ll)pool->dilation[axis], name);
    if (pool->pad_before[axis] < 0 || pool->pad_after[axis] < 0)
        return fc_fail(error, FC_BAD_VALUE, "padding must not be negative, got (%lld, %lld) for %s",
                       (ll)pool->pad_before[axis], (ll)pool->pad_after[axis], name);
    return FC_OK;
}

/* padded = before + size + after, reach = (kernel - 1) * dilation + 1, out = (padded - reach) / stride + 1,
 * rounded up in ceil_mode; but the last window begins in x or the padding before it. */
static fc_status check_axis(fc_pool *pool, int axis, fc_error *error)
{
    const char *name = axis_names[axis];
    const int64_t size = pool->in_size[axis], before = pool->pad_before[axis], after = pool->pad_after[axis];
    const int64_t stride = pool->stride[axis];
    int64_t reach, product;
    fc_status status = check_numbers(pool, axis, error);
    if (status != FC_OK)
        return status;
    if (pool->adaptive) {
        if (!fc_add(pool->out_size[axis], 1, &product) || !fc_mul(size, product, &product) || product > INT64_MAX / 16)
            return fc_fail(error, FC_BAD_VALUE, "output_size %lld for %s %lld is too large for 64 bits",
                           (ll)pool->out_size[axis], name, (ll)size);
        pool->kernel[axis] = pool->stride[axis] = pool->dilation[axis] = 1;
        pool->pad_before[axis] = pool->pad_after[axis] = 0;
        return FC_OK;
    }
    if (!fc_mul(pool->kernel[axis] - 1, pool->dilation[axis], &reach) || reach > INT64_MAX / 16)
        return fc_fail(error, FC_BAD_VALUE, "dilation %lld of kernel_size %lld is too large for a 64-bit size",
                       (ll)pool->dilation[axis], (ll)pool->kernel[axis]);
    if (before > reach || after > reach)
        return fc_fail(error, FC_BAD_VALUE,
                       "padding (%lld, %lld) for %s must be less than what kernel_size %lld with dilation %lld reaches "
                       "over, %lld pixels",
                       (ll)before, (ll)after, name, (ll)pool->kernel[axis], (ll)pool->dilation[axis], (ll)reach + 1);
    reach += 1;
    if (size > INT64_MAX / 16 || stride > INT64_MAX / 16)
        return fc_fail(error, FC_BAD_VALUE, "stride %lld for %s %lld is too large for a 64-bit size", (ll)stride, name,
                       (ll)size);
    const int64_t room = before + size + after - reach + (pool->ceil_mode ? stride - 1 : 0);
    if (room < 0)
        return fc_fail(error, FC_BAD_VALUE,
                       "kernel_size %lld with dilation %lld reaches over %lld pixels of %s, but x has %lld with "
                       "padding (%lld, %lld), %lld in all",
                       (ll)pool->kernel[axis], (ll)pool->dilation[axis], (ll)reach, name, (ll)size,
                       (ll)before, (ll)after, (ll)(before + size + after));
    pool->out_size[axis] = room / stride + 1;
    if (pool->ceil_mode && (pool->out_size[axis] - 1) * stride >= size + before)
        pool->out_size[axis] -= 1;
    return FC_OK;
}

/* 64 bytes an element keep every byte count below 2**63. */
static bool fits(const fc_pool *pool, const int64_t size[FC_SPATIAL], int64_t *pixels)
{
    int64_t all;
    return fc_mul(size[0], size[1], pixels) && fc_mul(*pixels, size[2], pixels) &&
           fc_mul(*pixels, pool->channels, &all) && fc_mul(all, fc_max(pool->batch, 1), &all) && all <= INT64_MAX / 64;
}

static fc_status check_products(fc_pool *pool, fc_error *error)
{
    const int64_t *out = pool->out_size;
    if (!fits(pool, pool->in_size, &pool->in_pixels))
        return fc_fail(error, FC_BAD_VALUE, "x: the number of elements of its shape does not fit 64 bits");
    if (!fits(pool, out, &pool->out_pixels))
        return fc_fail(error, FC_BAD_VALUE,
                       "%s: the output of shape (%lld, %lld, %lld, %lld, %lld) has more elements than fit 64 bits",
                       pool->adaptive ? "output_size" : "padding or stride", (ll)pool->batch, (ll)pool->channels,
                       (ll)out[0], (ll)out[1], (ll)out[2]);
    return FC_OK;
}

/* Windows of one size and distance are those of a plain pooling. */
static void make_plain(fc_pool *pool)
{
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (pool->in_size[axis] % pool->out_size[axis] != 0)
            return;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        pool->kernel[axis] = pool->stride[axis] = pool->in_size[axis] / pool->out_size[axis];
    pool->adaptive = false;
    pool->count_include_pad = true;
}

fc_status fc_pool_check(fc_pool *pool, fc_error *error)
{
    const int first = FC_SPATIAL - pool->spatial;
    fc_status status = check_counts(pool, error);
    for (int axis = 0; axis < first; axis++) {
        pool->in_size[axis] = pool->kernel[axis] = pool->stride[axis] = pool->dilation[axis] = 1;
        pool->pad_before[axis] = pool->pad_after[axis] = 0;
        pool->out_size[axis] = 1;
    }
    for (int axis = first; axis < FC_SPATIAL && status == FC_OK; axis++)
        status = check_axis(pool, axis, error);
    if (status == FC_OK)
        status = check_products(pool, error);
    if (status == FC_OK && pool->adaptive)
        make_plain(pool);
    return status;
}

fc_status fc_pool_check_sizes(fc_pool *pool, fc_error *error)
{
    const int first = FC_SPATIAL - pool->spatial;
    for (int axis = 0; axis < first; axis++)
        pool->in_size[axis] = pool->out_size[axis] = 1;
    if (pool->batch < 0 || pool->channels < 1)
        return fc_fail(error, FC_BAD_VALUE,
                       "indices have batch size %lld and %lld channels; at least 0 and 1 are needed",
                       (ll)pool->batch, (ll)pool->channels);
    for (int axis = first; axis < FC_SPATIAL; axis++)
        if (pool->in_size[axis] < 1 || pool->out_size[axis] < 1)
            return fc_fail(error, FC_BAD_VALUE, "sizes must be at least 1, got %lld and %lld for %s",
                           (ll)pool->in_size[axis], (ll)pool->out_size[axis], axis_names[axis]);
    if (!fits(pool, pool->in_size, &pool->in_pixels) || !fits(pool, pool->out_size, &pool->out_pixels))
        return fc_fail(error, FC_BAD_VALUE, "the number of elements of the input or the output does not fit 64 bits");
    return FC_OK;
}
