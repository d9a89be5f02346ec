/* From a tile [pixel][channel] into y: see pixel_tile.h.  Called by direct.c and taps.c. */
#include "pixel_tile.h"
#include "geometry.h"

int64_t fc_out_block_at(const fc_conv *conv, const fc_out_block *b)
{
    const int64_t *y = conv->y_stride;
    return b->at.image * y[FC_N] + b->channel * y[FC_C] + b->at.depth * y[FC_D] + b->at.row * y[FC_H] +
           b->at.col * y[FC_W];
}

void fc_out_block_scatter(const fc_conv_run *run, const fc_out_block *b, const void *tile)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride;
    const bool even = y[FC_H] == b->cols * y[FC_W];
    const int64_t rows = even ? 1 : b->rows, cols = even ? b->rows * b->cols : b->cols;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < rows; r++) {
            fc_move move = {
                .rows = b->channels, .cols = cols,
                .src = fc_at(tile, (n * rows + r) * cols * b->channels, size), .src_row = 1, .src_col = b->channels,
                .dst = fc_at_mut(run->y, fc_out_block_at(conv, b) + n * y[FC_N] + r * y[FC_H], size),
                .dst_row = y[FC_C], .dst_col = y[FC_W],
            };
            if (move.dst_row == 1) {
                move.rows = cols;
                move.cols = b->channels;
                move.src_row = b->channels;
                move.src_col = move.dst_col = 1;
                move.dst_row = y[FC_W];
            }
            run->table->move(&move);
        }
}
