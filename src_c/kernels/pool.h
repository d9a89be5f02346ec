/* Arguments of the pooling kernels.  Part of the kernel table; filled by pool/reduce.c and pool/max.c.
 *
 * Pixels as lanes: `pool_rows` combines whole rows of inputs into a buffer in L1, `pool_cols` or
 * `pool_spans` combine neighbours in that buffer.  Channels as lanes: `pool_pixels` does both at once. */
#ifndef FC_KERNELS_POOL_H
#define FC_KERNELS_POOL_H
#include <stdint.h>

/* What is accumulated: the largest (NaN wins), or the sum of x, |x|, x * x, |x| ** power. */
typedef enum { FC_POOL_MAX, FC_POOL_SUM, FC_POOL_ABS, FC_POOL_SQUARE, FC_POOL_POWER } fc_pool_op;
/* What becomes of it: itself, divided by a divisor, its square root, its root of order `power`. */
typedef enum { FC_POOL_KEEP, FC_POOL_DIVIDE, FC_POOL_SQRT, FC_POOL_ROOT } fc_pool_end;

enum { FC_POOL_ROWS = 32 };                   /* the most rows of one call */

/* to[i] = the combination of x[r][i] over the rows; of nothing where rows is 0.  With `factor`, a sum's
 * row r is multiplied by factor[r].  accumulate: what is in `to` is combined too. */
typedef struct fc_pool_rows {
    fc_pool_op op;
    double power;
    int64_t rows, cols;
    const void *const *x;
    const double *factor;
    int accumulate;
    void *to;
} fc_pool_rows;

/* y[o] = end(the combination of from[o * stride + k * step], k < taps); `from` holds what pool_rows
 * made.  A vector past what the last output needs may be read. */
typedef struct fc_pool_cols {
    fc_pool_op op;
    fc_pool_end end;
    double power;
    const void *from;
    int64_t taps, step, stride, cols;
    const void *divisor;                      /* a real for each output, for FC_POOL_DIVIDE */
    void *y;
} fc_pool_cols;

/* Inputs first, first + step .. along one axis: `count` of them. */
typedef struct fc_pool_span {
    int64_t first, count;
} fc_pool_span;

/* As pool_cols, with a span for each output; reads nothing else. */
typedef struct fc_pool_spans {
    fc_pool_op op;
    fc_pool_end end;
    double power;
    const void *from;
    const fc_pool_span *span;
    int64_t step, cols;
    const void *divisor;
    void *y;
} fc_pool_spans;

/* to[i * step] = from[i] * factor[i], factor NULL for ones. */
typedef struct fc_pool_spread {
    const void *from;
    int64_t cols, step;
    const double *factor;
    void *to;
} fc_pool_spread;

/* y[p][c] = end(the combination of x[r][i][c] over the rows r and the span i of pixel p). */
typedef struct fc_pool_pixels {
    fc_pool_op op;
    fc_pool_end end;
    double power;
    int64_t rows;
    const void *const *x;
    const double *row_factor, *col_factor;    /* both or neither; of a sum; col_factor by i */
    const fc_pool_span *span;
    int64_t step, x_pixel;                    /* from i to the next of a span; elements between pixels */
    int64_t pixels, channels, y_pixel;
    const double *divisor;                    /* of each pixel */
    int accumulate, finish;                   /* not the first rows; the last: only they apply `end` */
    void *y;
} fc_pool_pixels;

/* The largest and where it is: ties go to the first, NaN to the last.  Positions ride in the bits of a
 * real, as an int32_t or int64_t of its size. */

/* One row of inputs, pixels as lanes: best[o] and where[o] are improved by from[o * stride + k * step],
 * whose position is position + k * step.  All may be read, best and where written, to a whole vector. */
typedef struct fc_pool_index_cols {
    const void *from;
    int64_t taps, step, stride, cols, position;
    void *best, *where;
} fc_pool_index_cols;

/* y[o] = best[o], index[o] = where[o] + start + o * stride.  Outputs that nothing improved have -1 in
 * `where`: their index is `row` plus the first of their span, or -1 where row is -1 or the span empty. */
typedef struct fc_pool_index_end {
    const void *best, *where;
    const fc_pool_span *span;
    int64_t cols, stride, start, row;
    void *y;
    int64_t *index;
} fc_pool_index_end;

/* Channels as lanes.  The position of input i of row r is position[r] + i. */
typedef struct fc_pool_index_pixels {
    int64_t rows;
    const void *const *x;
    const int64_t *position;
    const fc_pool_span *span;
    int64_t step, x_pixel, pixels, channels, y_pixel, index_pixel;
    int accumulate;                           /* y and index hold the result of the rows before */
    void *y;
    int64_t *index;
} fc_pool_index_pixels;
#endif
