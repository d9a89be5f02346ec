/* The arguments of the gradients' own kernels.  Part of the kernel table; filled by conv/input_grad.c,
 * conv/weight_grad*.c and conv/bias_grad.c. */
#ifndef FC_KERNELS_GRAD_H
#define FC_KERNELS_GRAD_H
#include <stdint.h>

/* sums[line][step][lane] += sum over row, col of
 *     g[row * g_row + col * g_col + lane] * x[row * x_row + col * x_col + line[line] + step * x_step + lane]
 *
 * A vector holds `lanes` lanes, VLEN at most; every row ends with one more vector of `tail` lanes, if
 * that is not 0.  Lanes that are not there are not read.  FC_TAP_LINES x FC_TAP_STEPS sums are kept in
 * registers at a time. */
enum { FC_TAP_LINES = 3, FC_TAP_STEPS = 4 };
typedef struct fc_tap_sums {
    int64_t rows, cols, lanes, tail;
    const void *g, *x;
    int64_t g_row, g_col, x_row, x_col;       /* elements from one row, one vector to the next */
    const int64_t *line;                      /* of every line: offset in x */
    int64_t lines, steps, x_step;             /* any number of lines and steps */
    void *sums;                               /* [line][step][VLEN], */
    int64_t sums_line;                        /* of that many elements a line, if it is not 0: more steps than these */
    /* If `inside` is not 0: of a row's columns of x, x_step apart from `x` on, so many from the first-th on are there,
     * and the others are zeros.  For tables that slide (table.h) where fc_tap_slides says so, without a tail. */
    int64_t first, inside;
} fc_tap_sums;

/* Whether enough taps beside each other see what those of the next column do. */
static inline int fc_tap_slides(int64_t steps, int64_t x_col, int64_t x_step)
{
    return steps >= 3 && (x_col == x_step || x_col == 2 * x_step);
}

/* dst[t] = sum of the lanes of src[t], count vectors. */
typedef struct fc_lane_sums {
    int64_t count;
    const void *src;
    void *dst;
} fc_lane_sums;

/* dst[i] += src[i]. */
typedef struct fc_add_to {
    int64_t count;
    const void *src;
    void *dst;
} fc_add_to;

/* along: dst[0] += all of rows x cols, cols adjacent.  Else dst[col] += sum over rows, cols adjacent.
 * Long sums are cut into blocks that are added up, so that the error grows with their number only. */
typedef struct fc_sum_rows {
    int64_t rows, cols, row_step;
    int along;
    const void *src;
    void *dst;
} fc_sum_rows;

/* dst[i][o][t] = src[i * src_i + o * src_o + tap[t]]: a filter turned round for the input gradient. */
typedef struct fc_swap_weight {
    int64_t i, o, taps;
    int64_t src_i, src_o;
    const int64_t *tap;
    int all;                                  /* tap[t] is taps - 1 - t */
    const void *src;
    void *dst;
} fc_swap_weight;

/* Filters as panels of the dense product whose lanes are input channels:
 *     dst[i / panel * dst_panel + at[t] + o * dst_o + i % panel] = src[o * src_o + i * taps + t]
 * for o < outs, i < ins, t < taps; lanes of the last panel that have no input are zero. */
typedef struct fc_turn_panel {
    int64_t outs, ins, taps, src_o, panel, dst_panel, dst_o;
    const int64_t *at;
    const void *src;
    void *dst;
} fc_turn_panel;

/* Planes in a border of zeros: band(plane, top + row, left + col) = src(plane, row, col * col_step), else 0.
 * Rows of the band are adjacent, `pitch` apart; whole vectors are written, so that up to a vector
 * less one element after the last row is overwritten. */
typedef struct fc_pad_planes {
    int64_t planes, rows, cols, col_step;
    int64_t top, bottom, left, pitch;         /* rows of zeros; columns of zeros before, width of all */
    const void *src;
    int64_t src_plane, src_row;
    void *band;
    int64_t band_plane;
} fc_pad_planes;

/* dst[x] = sum over taps of weight[at[t]] * src[x + offset[t]] for x < count and up to three vectors
 * more, for which src and dst have room. */
typedef struct fc_filter_flat {
    int64_t count, taps;
    const int64_t *offset, *at;
    const void *src, *weight;
    void *dst;
} fc_filter_flat;

/* Two filters whose results alternate: of p = 0 and 1, for 2 * x + p < cols,
 *     dst(row, 2 * x + p) = sum over taps of weight[at[p][t]] * src[p](row, x + offset[p][t]).
 * Whole vectors of src are read. */
typedef struct fc_filter_pairs {
    int64_t rows, cols, taps[2];
    const int64_t *offset[2], *at[2];
    const void *src[2], *weight;
    int64_t src_row, dst_row;
    void *dst;
} fc_filter_pairs;

/* dst[x * dst_step + lane] = sum over taps of weight[at[t] + lane] * src[x * src_step + offset[t] + lane]
 * for x < count, lane < lanes; whole vectors are read. */
typedef struct fc_filter_pixels {
    int64_t count, lanes, taps;
    const int64_t *offset, *at;
    const void *src, *weight;
    int64_t src_step;
    void *dst;
    int64_t dst_step;
} fc_filter_pixels;

/* dst(row, col) = src[col % phases](row, col / phases); a NULL source is zeros. */
enum { FC_WEAVE_PHASES = 4 };
typedef struct fc_weave {
    int64_t rows, cols;
    int phases;                               /* 1 .. FC_WEAVE_PHASES */
    const void *src[FC_WEAVE_PHASES];
    int64_t src_row, dst_row;
    void *dst;
} fc_weave;
#endif
