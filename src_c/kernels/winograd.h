/* The transforms of Winograd's convolutions, lanes being channels.  Part of the kernel table; filled by
 * conv/winograd.c and conv/weight_grad_winograd.c.
 *
 * Along each axis F(m, r) makes m outputs of r taps from m + r - 1 inputs, with as many products, by matrices
 * A, B, G of the Cook-Toom construction (Lavin and Gray, "Fast algorithms for convolutional neural networks",
 * 2016):  Y = A' [ (G g G') * (B' d B) ] A, each side with the matrices of its own axis.
 * Points: 0, pairs of a number and its negative, infinity; winograd_lines.inc has them. */
#ifndef FC_KERNELS_WINOGRAD_H
#define FC_KERNELS_WINOGRAD_H
#include "epilogue.h"
#include <stdint.h>

/* F(m, r) of one axis.  PAIR is no Cook-Toom: of two outputs whose three taps meet two pixels and padding
 * it makes three products. */
typedef enum fc_winograd_form {
    FC_WINOGRAD_NONE, FC_WINOGRAD_F23, FC_WINOGRAD_F43, FC_WINOGRAD_F25, FC_WINOGRAD_F45, FC_WINOGRAD_F47,
    FC_WINOGRAD_PAIR
} fc_winograd_form;

typedef struct fc_winograd_size {
    int outputs, taps, points;
} fc_winograd_size;

static inline fc_winograd_size fc_winograd_size_of(int form)
{
    static const fc_winograd_size sizes[] = {
        [FC_WINOGRAD_NONE] = { 1, 1, 1 }, [FC_WINOGRAD_F23] = { 2, 3, 4 }, [FC_WINOGRAD_F43] = { 4, 3, 6 },
        [FC_WINOGRAD_F25] = { 2, 5, 6 }, [FC_WINOGRAD_F45] = { 4, 5, 8 }, [FC_WINOGRAD_F47] = { 4, 7, 10 },
        [FC_WINOGRAD_PAIR] = { 2, 3, 3 },
    };
    return sizes[form];
}

/* Tiles with fewer outputs, r < m, along an axis: at an edge.  F(4, 3) needs r + 2 points of them, two outputs at
 * least: the first r + 1 finite ones and infinity.  It uses the same G g G', of which it needs those
 * points alone; what the other points would divide G by is multiplied into B' instead.  So 14 outputs
 * in a line cost 3 * 6 + 4 products, not 4 * 6.  The one output of a PAIR needs one product; other forms
 * have whole tiles only. */
typedef struct fc_winograd_line {
    int form, outputs;
} fc_winograd_line;

static inline int fc_winograd_edge(int form, int64_t outputs)
{
    const int m = fc_winograd_size_of(form).outputs;
    if (form == FC_WINOGRAD_PAIR)
        return (int)outputs;
    return form == FC_WINOGRAD_F43 && outputs < m ? (outputs < 2 ? 2 : (int)outputs) : m;
}

/* Points of a line, and the place of point i among those of a whole tile. */
static inline int fc_winograd_points(int form, int outputs)
{
    const fc_winograd_size size = fc_winograd_size_of(form);
    return form == FC_WINOGRAD_PAIR ? 2 * outputs - 1 : size.points - (size.outputs - outputs);
}
static inline int fc_winograd_place(int form, int outputs, int i)
{
    if (form == FC_WINOGRAD_PAIR)
        return outputs == 1 ? 1 : i;
    return form == FC_WINOGRAD_F43 && i > outputs ? 5 : i;
}
static inline int fc_winograd_has(fc_winograd_line line, int place)
{
    if (line.form == FC_WINOGRAD_PAIR)
        return line.outputs == 2 || place == 1;
    return line.form != FC_WINOGRAD_F43 || place <= line.outputs || place == 5;
}
/* Pixels that a line reads. */
static inline int fc_winograd_inputs(int form, int outputs)
{
    return form == FC_WINOGRAD_PAIR ? outputs : fc_winograd_points(form, outputs);
}

/* B' d B of every tile: tile (i, j) begins at pixel (row_at[i], col_at[j]) of an interleaved band; its own
 * pixels are `row_tap` and `col_tap` steps apart.  Reads and writes whole vectors of channels: both have
 * room for that.  v is [xi][tile][channel]; places that these lines do not need are not written. */
typedef struct fc_winograd_input {
    fc_winograd_line row, col;
    int64_t tile_rows, tile_cols, channels;
    const void *band;
    const int64_t *row_at, *col_at;
    int64_t row_step, col_step, row_tap, col_tap; /* elements; elements */
    void *v;
    int64_t xi_step, tile_step;
} fc_winograd_input;

/* G g G' of `channels` input channels times `lanes` output channels (whole vectors):
 * taps is [channel * taps + tap][lane], u is [xi][channel][lane]. */
typedef struct fc_winograd_weight {
    int row, col;                             /* forms */
    int64_t channels, lanes;
    const void *taps;
    void *u;
    int64_t xi_step;
} fc_winograd_weight;

/* A' p A of every tile, bias, activation: products are [xi][tile][channel] with room for whole
 * vectors; of each tile rows x cols pixels are written, exactly `channels` each, where fc_winograd_input
 * would read. */
typedef struct fc_winograd_output {
    fc_winograd_line row, col;
    int64_t tile_rows, tile_cols, channels, rows, cols;
    const void *products;
    int64_t xi_step, tile_step;
    void *y;
    const int64_t *row_at, *col_at;
    int64_t row_step, col_step, row_tap, col_tap;
    const void *bias;                         /* of channel 0 on; NULL for none */
    fc_activation activation;
} fc_winograd_output;
#endif
