/* A pooling to be computed, in numbers: made and checked here once, then read by everyone.
 * 1-D and 2-D are 3-D with ones in front; layouts and slices differ in strides only. */
#ifndef FC_POOL_POOL_H
#define FC_POOL_POOL_H
#include "../conv/problem.h"

typedef struct fc_pool {
    fc_dtype dtype;                           /* of floats; integers have functions of their own */
    int spatial;                              /* 1, 2 or 3: for messages only */
    bool channels_last;                       /* lanes are channels: their stride is 1 in x and y, else that of width
                                               * is */
    bool adaptive;                            /* out_size is given; kernel, stride, padding are not used */
    bool ceil_mode;                           /* a last window may begin inside and end outside */
    bool count_include_pad;                   /* averages divide by padding too */
    int64_t divisor_override;                 /* averages divide by this, unless 0 */
    double power;                             /* of the Lp norm */
    int64_t batch, channels;
    int64_t in_size[FC_SPATIAL], kernel[FC_SPATIAL], stride[FC_SPATIAL], dilation[FC_SPATIAL];
    int64_t pad_before[FC_SPATIAL], pad_after[FC_SPATIAL];
    int64_t out_size[FC_SPATIAL];             /* filled by fc_pool_check unless adaptive */
    int64_t x_stride[FC_AXES], y_stride[FC_AXES]; /* elements */
    int64_t in_pixels, out_pixels;            /* of one plane; filled by fc_pool_check */
} fc_pool;

/* Checks every field that the caller sets but the strides, fills the rest.  All size products that
 * are formed later are shown here not to overflow int64_t. */
fc_status fc_pool_check(fc_pool *pool, fc_error *error);
/* The same of a call that has indices instead of windows: batch, channels and both sizes. */
fc_status fc_pool_check_sizes(fc_pool *pool, fc_error *error);

/* Each operator's forward and gradient; x, y and the gradients have the strides of x and of y.  Indices
 * are contiguous in the order of y: pixels, or channels if channels_last, are adjacent.
 * They check nothing, and fail for lack of memory only, before anything is written. */
fc_status fc_max_pool(const fc_pool *pool, const void *x, void *y, fc_error *error);
fc_status fc_max_pool_indices(const fc_pool *pool, const void *x, void *y, int64_t *indices, fc_error *error);
fc_status fc_avg_pool(const fc_pool *pool, const void *x, void *y, fc_error *error);
fc_status fc_avg_pool_grad(const fc_pool *pool, const void *grad_y, void *grad_x, fc_error *error);
fc_status fc_lp_pool(const fc_pool *pool, const void *x, void *y, fc_error *error);
/* For every window the first pixel where the sum so far exceeds random * the whole sum: y and its index. */
fc_status fc_stochastic_pool(const fc_pool *pool, const void *x, const double *random, void *y, int64_t *indices,
                             fc_error *error);

/* The index of a plane that is outside 0 .. in_pixels - 1, and not -1 if `none` is allowed; where all
 * are inside, -1 is returned. */
int64_t fc_pool_bad_index(const fc_pool *pool, const int64_t *indices, bool none, int64_t *bad);
/* These three fail where an index is outside, and have then written to some of what they write.
 * grad_x = 0, then grad_x[indices[o]] += grad_y[o], in order; -1 goes nowhere. */
fc_status fc_pool_scatter(const fc_pool *pool, const void *grad_y, const int64_t *indices, void *grad_x,
                          fc_error *error);
/* to = 0, then to[indices[i]] = from[i]: `to` has the strides of x, `from` those of y. */
fc_status fc_pool_unpool(const fc_pool *pool, const void *from, const int64_t *indices, void *to, fc_error *error);
/* to[i] = from[indices[i]]: `from` has the strides of x, `to` those of y. */
fc_status fc_pool_gather(const fc_pool *pool, const void *from, const int64_t *indices, void *to, fc_error *error);

typedef enum { FC_I8, FC_U8, FC_I16, FC_U16, FC_I32, FC_U32, FC_I64, FC_U64 } fc_integer;
/* The largest of integers.  A window without a pixel has the least of the type; indices may be NULL. */
fc_status fc_max_pool_integer(const fc_pool *pool, fc_integer type, const void *x, void *y, int64_t *indices,
                              fc_error *error);
#endif
