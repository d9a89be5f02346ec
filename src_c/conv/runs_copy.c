/* Copies of one side of a weight gradient: see runs_copy.h. */
#include "runs_copy.h"
#include "../base/size.h"
#include <string.h>

enum {
    WIDE = 128,               /* channels: pixels of more are asked for in time where they are copied */
};

static void clear_cols(const fc_runs_side *s, int64_t row, int64_t col, int64_t count, void *to)
{
    const fc_group_lanes *l = s->lanes;
    if (count > 0)
        memset(fc_at_mut(to, (row * s->wide.count + col) * l->pitch, l->size), 0, (size_t)(count * l->pitch) * l->size);
}

/* Pixels of adjacent channels. */
static void copy_pixels(const fc_runs_side *s, const void *from, int64_t pixels, int64_t channels, void *to)
{
    const fc_group_lanes *l = s->lanes;
    if (l->pitch % l->table->lanes == 0) {
        const fc_outer_pack pack = { .pixels = pixels, .channels = channels, .width = l->pitch, .src = from,
                                     .src_step = s->stride[FC_W], .dst = to };
        l->table->outer_pack(&pack);
        return;
    }
    const fc_move move = { .rows = pixels, .cols = channels, .src = from, .src_row = s->stride[FC_W], .src_col = 1,
                           .dst = to, .dst_row = l->pitch, .dst_col = 1 };
    l->table->move(&move);
}

void fc_runs_copy_plane(const fc_runs_side *s, int64_t block, const void *from, void *scratch, void *to)
{
    const fc_group_lanes *l = s->lanes;
    const int64_t *stride = s->stride, channel = block * l->record;
    fc_span rows = fc_span_of(0, s->high.count, 1, s->high.start, s->high.size);
    fc_span cols = fc_span_of(0, s->wide.count, 1, s->wide.start, s->wide.size);
    if (!fc_runs_is_plain(s) || stride[FC_C] != 1 || l->groups > 1) {
        fc_lanes_copy copy = fc_lanes_copy_of(l, stride, &s->high, &s->wide);
        copy.sources = s->sources;
        fc_lanes_copy_plane(&copy, &s->high, block, from, scratch, to);
        return;
    }
    if (!from || rows.inside == 0 || cols.inside == 0)
        rows = (fc_span){ s->high.count, 0, 0 };
    const int64_t first = rows.column * stride[FC_H] + cols.column * stride[FC_W] + channel * stride[FC_C];
    from = rows.inside > 0 ? fc_at(from, first, l->size) : NULL;
    for (int64_t r = 0; r < rows.inside; r++)
        copy_pixels(s, fc_at(from, r * stride[FC_H], l->size), cols.inside,
                    fc_min(l->record, l->all * l->in - channel),
                    fc_at_mut(to, ((rows.before + r) * s->wide.count + cols.before) * l->pitch, l->size));
    clear_cols(s, 0, 0, rows.before * s->wide.count, to);
    for (int64_t r = rows.before; r < rows.before + rows.inside; r++) {
        clear_cols(s, r, 0, cols.before, to);
        clear_cols(s, r, cols.before + cols.inside, s->wide.count - cols.before - cols.inside, to);
    }
    clear_cols(s, rows.before + rows.inside, 0, (s->high.count - rows.before - rows.inside) * s->wide.count, to);
}

fc_runs_soon fc_runs_soon_of(const fc_runs_side *s, int64_t block, const void *base, const fc_pixel_block *b)
{
    const fc_group_lanes *l = s->lanes;
    const int64_t *stride = s->stride, size = (int64_t)l->size, width = s->wide.size, channel = block * l->record;
    const fc_span rows = fc_span_of(0, s->high.count, 1, s->high.start, s->high.size);
    const int64_t channels = fc_min(l->record, l->all * l->in - channel), pixels = rows.inside * width;
    if (!fc_runs_is_plain(s) || stride[FC_H] != width * stride[FC_W] || pixels == 0 || channels <= 0 ||
        (stride[FC_C] == 1 && l->groups == 1 && channels > WIDE))
        return (fc_runs_soon){ .images = 0 };
    fc_runs_soon soon = {
        .image = fc_at(base, b->image * stride[FC_N] + rows.column * stride[FC_H] + channel * stride[FC_C], l->size),
        .images = b->images, .image_step = stride[FC_N] * size,
        .pieces = pixels, .step = stride[FC_W] * size, .bytes = channels * size,
    };
    if (stride[FC_C] != 1) {
        soon.pieces = channels;
        soon.step = stride[FC_C] * size;
        soon.bytes = stride[FC_W] == 1 ? pixels * size : 0;
    } else if (soon.bytes == soon.step) {     /* pixels without a gap are one piece */
        soon.bytes *= soon.pieces;
        soon.pieces = 1;
    }
    return soon;
}

