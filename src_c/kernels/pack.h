/* Rows of packed panels from planes of x.  Part of the kernel table; filled by conv/panel.c. */
#ifndef FC_KERNELS_PACK_H
#define FC_KERNELS_PACK_H
#include <stdint.h>

/* Lanes of one vector of a panel that lie `step` apart in x.  `at` is where lane 0 would lie, from the
 * channel's first element; of the lanes it is not part of nothing is read.  Bit i of `lanes` is lane i,
 * but for a step of 2 it is the value at + i, since those are loaded two vectors at a time. */
typedef struct fc_pack_piece {
    int64_t at;
    uint32_t lanes;
    uint32_t more;         /* the next piece belongs to the same vector */
} fc_pack_piece;

/* panel[c][i] = vector i of channel c, put together from its pieces; lanes in no piece are zero.  Each
 * vector has at least one piece, and every channel has the same ones. */
typedef struct fc_pack {
    int64_t channels, vectors;
    const void *x;
    int64_t channel_step, step;
    const fc_pack_piece *pieces;
    void *panel;
    int64_t panel_step;    /* between channels; vectors are adjacent */
} fc_pack;
#endif
