/* The transforms of Winograd's convolution F(m x m, 3 x 3), m = 2 or 4, lanes being channels.
 * Part of the kernel table; filled by conv/winograd.c.
 *
 * With n = m + 2 and matrices A, B, G of the Cook-Toom construction (Lavin and Gray, "Fast
 * algorithms for convolutional neural networks", 2016):  Y = A' [ (G g G') * (B' d B) ] A.
 * Points: 0, 1, -1, infinity for m = 2; 0, 3/4, -3/4, 3/2, -3/2, infinity for m = 4, which are exact
 * in binary and have a quarter of the error of 0, 1, -1, 2, -2.
 *
 * A tile at the edge of an image may have fewer outputs, r < m, along an axis.  r + 2 points are
 * enough for it: the first r + 1 finite ones and infinity.  It uses the same G g G', of which it
 * needs those points alone; what the other points would divide G by is multiplied into B' instead.
 * So 14 outputs in a line cost 3 * 6 + 4 products, not 4 * 6.  Point i of r has place i of m, but
 * infinity has place m + 1 always. */
#ifndef FC_KERNELS_WINOGRAD_H
#define FC_KERNELS_WINOGRAD_H
#include "epilogue.h"
#include <stdint.h>

/* B' d B of every tile: tile (i, j) begins at pixel (i * m, j * m) of an interleaved band.
 * Reads and writes whole vectors of channels: both have room for that.  v is [xi][tile][channel];
 * places that the outputs per tile, out_rows x out_cols (m, or 2 .. m), do not need are not written. */
typedef struct fc_winograd_input {
    int m, out_rows, out_cols;
    int64_t tile_rows, tile_cols, channels;
    const void *band;
    int64_t row_step, col_step;
    void *v;
    int64_t xi_step, tile_step;
} fc_winograd_input;

/* G g G' of `channels` input channels times `lanes` output channels (whole vectors):
 * taps is [channel * 9 + tap][lane], u is [xi][channel][lane]. */
typedef struct fc_winograd_weight {
    int m;
    int64_t channels, lanes;
    const void *taps;
    void *u;
    int64_t xi_step;
} fc_winograd_weight;

/* A' p A of every tile, bias, activation: products are [xi][tile][channel] with room for whole
 * vectors; of the tile_rows * m by tile_cols * m pixels only rows x cols are written, exactly
 * `channels` each. */
typedef struct fc_winograd_output {
    int m, out_rows, out_cols;                /* as in fc_winograd_input */
    int64_t tile_rows, tile_cols, channels, rows, cols;
    const void *products;
    int64_t xi_step, tile_step;
    void *y;
    int64_t row_step, col_step;
    const void *bias;                         /* of channel 0 on; NULL for none */
    fc_activation activation;
} fc_winograd_output;
#endif
