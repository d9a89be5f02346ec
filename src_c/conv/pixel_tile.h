/* Outputs of a task, and their way from a tile whose lanes are channels into y.  Used by direct.c and taps.c. */
#ifndef FC_CONV_PIXEL_TILE_H
#define FC_CONV_PIXEL_TILE_H
#include "band.h"

/* So many images, rows and columns from `at` on, and channels from `channel` of y on. */
typedef struct fc_out_block {
    fc_block_origin at;
    int64_t images, rows, cols, channel, channels;
} fc_out_block;

/* Where the first of them is in y, in elements. */
int64_t fc_out_block_at(const fc_conv *conv, const fc_out_block *block);
/* The tile [image][row][column][channel] into y. */
void fc_out_block_scatter(const fc_conv_run *run, const fc_out_block *block, const void *tile);
#endif
