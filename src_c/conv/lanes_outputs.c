/* Outputs whose lanes are channels: see lanes_outputs.h. */
#include "lanes_outputs.h"
#include "../base/size.h"
#include "geometry.h"

fc_lanes_outputs fc_lanes_outputs_of(const fc_conv *conv, int64_t images, int64_t rows, int64_t cols, int64_t task)
{
    const int64_t *out = conv->out_size;
    const int64_t col_blocks = fc_div_up(out[FC_WIDTH], cols), row_blocks = fc_div_up(out[FC_HEIGHT], rows);
    fc_lanes_outputs o = { .col = task % col_blocks * cols, .row = task / col_blocks % row_blocks * rows };
    task = task / col_blocks / row_blocks;
    o.cols = fc_min(cols, out[FC_WIDTH] - o.col);
    o.rows = fc_min(rows, out[FC_HEIGHT] - o.row);
    o.depth = task % out[FC_DEPTH];
    o.image = task / out[FC_DEPTH] * images;
    o.images = fc_min(images, conv->batch - o.image);
    return o;
}

static int64_t offset_of(const fc_conv *conv, const fc_lanes_outputs *o, int64_t image, int64_t row, int64_t channel)
{
    const int64_t *y = conv->y_stride;
    return (o->image + image) * y[FC_N] + channel * y[FC_C] + o->depth * y[FC_D] + (o->row + row) * y[FC_H] +
           o->col * y[FC_W];
}

void *fc_lanes_first_output(const fc_conv_run *run, const fc_lanes_outputs *o, int64_t channel)
{
    return fc_at_mut(run->y, offset_of(run->conv, o, 0, 0, channel), fc_size_of(run->conv->dtype));
}

void fc_lanes_move_outputs(const fc_conv_run *run, const fc_lanes_outputs *o, int64_t channel, int64_t channels,
                           const void *memory)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride, lanes = run->table->lanes;
    const bool whole = o->cols == conv->out_size[FC_WIDTH] && (o->rows == 1 || y[FC_H] == o->cols * y[FC_W]);
    const int64_t rows = whole ? 1 : o->rows, cols = whole ? o->rows * o->cols : o->cols;
    for (int64_t i = 0; i < o->images * rows; i++) {
        const int64_t at = offset_of(conv, o, i / rows, i % rows, channel);
        const fc_move move = { .rows = channels, .cols = cols, .src = fc_at(memory, i * cols * lanes, size),
                               .src_row = 1, .src_col = lanes, .dst = fc_at_mut(run->y, at, size),
                               .dst_row = y[FC_C], .dst_col = cols == 1 ? 1 : y[FC_W] };
        run->table->move(&move);
    }
}

double fc_lanes_taps_seen(const fc_lanes_axis *a, int64_t tile)
{
    enum { MOST_TILES = 64 };                 /* of more, few are at the ends */
    const int64_t tiles = fc_div_up(a->count, tile), reach = (a->kernel - 1) * a->dilation;
    int64_t taps = 0;
    if (tiles > MOST_TILES || a->count < 1)
        return (double)a->kernel;
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t first = a->first + fc_max(0, fc_min(i * tile, a->count - tile));
        const int64_t last = fc_min(first + tile, a->first + a->count) - 1;
        const int64_t before = a->pad - last * a->stride, room = a->in - 1 + a->pad - first * a->stride;
        const int64_t begin = before > 0 ? (before - 1) / a->dilation + 1 : 0;
        const int64_t end = room < 0 ? 0 : room >= reach ? a->kernel : room / a->dilation + 1;
        taps += fc_max(0, end - begin);
    }
    return (double)taps / (double)tiles;
}

double fc_lanes_tiles(const fc_lanes_tile *tile, int64_t images, int64_t rows, int64_t cols)
{
    if (tile->by_piece)
        return (double)fc_div_up(cols, tile->places * tile->cols);
    const int64_t all = tile->by_image ? images : rows, others = tile->by_image ? rows : images;
    const int64_t last = all % tile->places;
    const double part = last == 1 && tile->cols >= FC_LANES_ALONE_COLS ? 1.0 / tile->places : last > 0 ? 1 : 0;
    return (double)(fc_div_up(cols, tile->cols) * others) * ((double)(all / tile->places) + part);
}
