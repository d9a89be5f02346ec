/* The transforms of the weight gradient through Winograd's F(4x4, 3x3), lanes being channels.  Part of
 * the kernel table; filled by conv/weight_grad_winograd.c.
 *
 * Y = A' [(G g G') * (B' d B)] A is linear in g, so the gradient of <Y, y> by g is
 * G' [(A y A') * (B' d B)] G: the input's transform is the forward's, and products are summed over all
 * tiles before the last one.  Points and matrices are those of winograd.h. */
#ifndef FC_KERNELS_WINOGRAD_GRAD_H
#define FC_KERNELS_WINOGRAD_GRAD_H
#include <stdint.h>

/* A y A' of every tile of 4 x 4: reads and writes whole vectors of channels.  v is [xi][tile][channel]. */
typedef struct fc_winograd_grad_in {
    int64_t tile_rows, tile_cols, channels;
    const void *y;
    int64_t row_step, col_step;
    void *v;
    int64_t xi_step, tile_step;
} fc_winograd_grad_in;

/* G' p G of `rows` times `lanes` sums of products (whole vectors): p is [xi][row][lane], taps is
 * [row * 9 + tap][lane]. */
typedef struct fc_winograd_grad_out {
    int64_t rows, lanes;
    const void *products;
    int64_t xi_step, row_step;
    void *taps;
    int64_t tap_step;
} fc_winograd_grad_out;
#endif
