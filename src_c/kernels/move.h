/* A strided two-dimensional copy: what packs panels, pads bands and scatters tiles.
 * Part of the kernel table; filled by the algorithms in conv/. */
#ifndef FC_KERNELS_MOVE_H
#define FC_KERNELS_MOVE_H
#include <stdint.h>

/* For filters that a call reads for the first time: elements, eight lines of float32. */
enum { FC_WEIGHTS_AHEAD = 128 };

/* dst(r, c) = src(r, c) for r < rows, c < cols, each with its own strides, any sign.  Rows of dst
 * begin with zero_before zeros and end with zero_after zeros, which cols does not count: src points
 * at the first value copied, dst at the first value written.  Nothing else is read or written.
 * Fast where dst_col is 1 and src_col is 1 or 2 or src_row is 1 (a transpose).
 * A transpose, or a copy of adjacent values, asks for what lies `ahead` values beyond, where that is not 0: short
 * stretches of many rows in memory are nothing that hardware would fetch ahead by itself. */
typedef struct fc_move {
    int64_t rows, cols;
    const void *src;
    int64_t src_row, src_col;
    void *dst;
    int64_t dst_row, dst_col;
    int64_t zero_before, zero_after;
    int64_t ahead;
} fc_move;
#endif
