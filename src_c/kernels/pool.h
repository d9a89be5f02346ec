/* Arguments of the pooling kernels.  Part of the kernel table; filled by pool/ alone.
 *
 * Three ways to fill the lanes of a vector.  `pool_pixels`: with channels that lie side by side, also
 * those of a tile of planes that `move` has turned.  `pool_lines`: with the columns of a plane; whole rows
 * are combined first, then neighbours.  `pool_wholes`: with the pixels of a plane that is one window. */
#ifndef FC_KERNELS_POOL_H
#define FC_KERNELS_POOL_H
#include <stdbool.h>
#include <stdint.h>

/* What is accumulated: the largest (NaN wins), or the sum of x, |x|, x * x, |x| ** power. */
typedef enum { FC_POOL_MAX, FC_POOL_SUM, FC_POOL_ABS, FC_POOL_SQUARE, FC_POOL_POWER } fc_pool_op;
/* What becomes of it: itself, divided by what the window counts, its square root, its root of order `power`. */
typedef enum { FC_POOL_KEEP, FC_POOL_DIVIDE, FC_POOL_SQRT, FC_POOL_ROOT } fc_pool_end;

/* Inputs first, first + step .. along one axis: `count` of them. */
typedef struct fc_pool_span {
    int64_t first, count;
} fc_pool_span;

/* Rows of outputs that see the same inputs along depth.  Strides are elements; axes are depth, height, width. */
typedef struct fc_pool_block {
    fc_pool_op op;
    fc_pool_end end;
    double power;
    const void *x;
    int64_t x_stride[3], step[3];
    fc_pool_span depth;
    const fc_pool_span *height, *width;       /* of each row; of each pixel of a row */
    int64_t rows, pixels;
    const double *factor[3];                  /* a sum's inputs are multiplied by these, by position; all or none */
    double depth_counted;                     /* FC_POOL_DIVIDE divides by the product of three */
    const double *height_counted;
    const void *width_counted, *width_share;  /* reals, and their reciprocals; whole vectors of them */
    bool divided_alike;                       /* height_counted and width_counted are ones */
    void *y;
    int64_t y_row;
    void *sums;                               /* a buffer for combined rows, in L1 or L2 */
} fc_pool_block;

/* Channels as lanes: `channels` of them are adjacent in x and y.  With `sums`, which holds x_pixels times
 * `channels`, rows are combined first; then x_stride[2] is `channels`. */
typedef struct fc_pool_pixels {
    fc_pool_block block;
    int64_t channels, x_pixels, y_pixel;
    /* Pixels whose windows have as many inputs, are counted alike, and begin even_step after each other. */
    int64_t even_first, even_end, even_step;
} fc_pool_pixels;

/* Pixels as lanes; x_stride[2] is 1.  `sums` has FC_POOL_LINES buffers, `buffer` reals apart, that hold what
 * nothing combines to outside left .. left + cols - 1; whole vectors are read beyond the last output's inputs.
 * phases 1: y[o] = end(combination of sums[first + o * stride + k * step], k < taps), where stride is 1 or 2, or any
 * that `gathered` says.  phases 2: y[2 * o + i] is that of sums[o + start[i] + k], k < phase_taps[i].
 * phases 0: spans as `width` says. */
enum { FC_POOL_LINES = 4 };
typedef struct fc_pool_lines {
    fc_pool_block block;
    int64_t cols, left, buffer, spread;       /* cols of x, which go `spread` apart into the buffer */
    int64_t first;                            /* where output 0 begins to read it */
    int phases;
    int64_t taps, step, stride, start[2], phase_taps[2];
    const void *factors;                      /* factor[2], as reals, or NULL */
} fc_pool_lines;

/* Pixels as lanes; x_stride[2] is 1.  Windows are `taps`, 2 or 3, neighbouring columns, `stride`, 1 or 2, apart; that
 * of output 0 begins `before` columns, below a vector's, before the first of `cols`.  Nothing is combined to outside,
 * and the last vector of outputs begins to see at column cols or earlier. */
typedef struct fc_pool_near {
    fc_pool_block block;                      /* of the first plane */
    int64_t cols, before, taps, stride;
    int64_t planes, x_plane, y_plane;
} fc_pool_near;

/* Pixels as lanes, in rows that two vectors hold: x_stride[2] is 1.  Output o's k-th input is column index[k *
 * index_tap + o] of a row, in the bits of a real; cols where it has none, which is then below two vectors.
 * Tables have whole vectors of outputs. */
typedef struct fc_pool_short {
    fc_pool_block block;
    int64_t cols, taps, index_tap;
    const void *index, *factors;              /* factors: factor[2], as reals */
} fc_pool_short;

/* Planes of `pixels` adjacent reals, each one window: y[i] = end(combination of x[i * x_plane ..]). */
typedef struct fc_pool_wholes {
    fc_pool_op op;
    fc_pool_end end;
    double power, counted;
    const void *x;
    int64_t planes, pixels, x_plane;
    void *y;
} fc_pool_wholes;

/* The same with `channels` adjacent reals of `pixels` pixels, x_pixel apart; `sums` is a buffer for them. */
typedef struct fc_pool_whole_pixels {
    fc_pool_op op;
    fc_pool_end end;
    double power, counted;
    const void *x;
    int64_t channels, pixels, x_pixel;
    void *sums, *y;
} fc_pool_whole_pixels;

/* The gradient of averages of planes that are one window: y[i * y_plane ..] = x[i * x_plane] / counted. */
typedef struct fc_pool_fill {
    double counted;
    const void *x;
    int64_t planes, pixels, x_plane, y_plane;
    void *y;
} fc_pool_fill;

/* to[i] = what combining nothing gives, i < count. */
typedef struct fc_pool_clear {
    fc_pool_op op;
    int64_t count;
    void *to;
} fc_pool_clear;

/* The largest and where it is, channels as lanes: ties go to the first, NaN to the last.  Positions ride in
 * the bits of a real, as an int32_t or int64_t of its size, and count from `position` on for the input at x. */
typedef struct fc_pool_found {
    fc_pool_pixels pixels;
    int64_t position, plane_stride[3];        /* of inputs, in positions */
    int64_t *index;                           /* like y, index_row and index_pixel apart; else, if NULL, */
    int64_t index_row, index_pixel;
    void *where;                              /* bits, with y's strides */
} fc_pool_found;

/* The same with pixels as lanes.  `pool_found_near`: windows 2 x 2 or 3 x 3 next to each other or two apart, at one
 * depth; none is empty, and outputs are to be found by `pool_found_lines` instead where there is doubt.
 *
 * `pool_found_lines`: `planes` planes of `out_rows` rows of `pixels` outputs that see the same `depth`
 * rows along depth.  What a window sees outside x is copied as minus infinity, of columns once and for all: before
 * the first call `lines` is cleared.
 *
 * Row i, of `rows` that windows see, goes to line i / stride[0] of those of i % stride[0], column c to place (before +
 * c) / stride[1] of those of (before + c) % stride[1], where `phases` of the remainders are wanted. */
typedef struct fc_pool_found_lines {
    const void *x;                            /* the first column of row row_first */
    int64_t x_plane, x_depth, x_row;
    const void *ahead;                        /* what the next call begins to read; asked for meanwhile */
    int64_t planes, depth, rows, row_first, row_end; /* rows before row_first and from row_end on are outside x */
    int64_t before, cols;
    int64_t stride[2], phases[2];             /* of rows, and of columns */
    int64_t pitch, plane, row_phase, phase;   /* from line to line, plane to plane, and remainder to remainder */
    void *lines, *best, *which;               /* whole rounds of vectors; two vectors beyond are read */
    int64_t across, down;                     /* taps; where they are from their window's first, and positions so */
    const int64_t *across_at, *down_at;
    const void *across_position, *down_position; /* in the bits of reals */
    int64_t out_rows, pixels;
    bool empty;                               /* some windows see nothing of x */
    bool joined;                              /* outputs of all rows are side by side in lines, y and index */
    const void *starts;                       /* of the windows of a row, or of all rows if joined; bits */
    int64_t start, position_row;              /* added to all of these; positions from row to row of x */
    const fc_pool_span *height, *width;       /* what windows see of x */
    int64_t depth_first, depth_count;         /* the position of the first of depth's */
    void *y;
    int64_t y_plane, y_row;
    int64_t *index;
    int64_t index_plane, index_row;
    bool doubt;                               /* set by `pool_found_near` where numbers are none, or infinite */
} fc_pool_found_lines;

/* index[plane * index_plane + i] = where[i * where_pixel + plane], planes up to the lanes of a vector. */
typedef struct fc_pool_turn {
    const void *where;
    int64_t where_pixel, planes, pixels, index_plane;
    int64_t *index;
} fc_pool_turn;
#endif
