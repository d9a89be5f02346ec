/* Lanes of several groups: see group_lanes.h. */
#include "group_lanes.h"
#include "../base/size.h"
#include <string.h>

enum {
    MOST_LANES = 16,          /* of a vector */
    TURNED_BYTES = 24 << 10,  /* of several rows at a time */
};

static int64_t power_above(int64_t n)
{
    int64_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

fc_group_lanes fc_group_lanes_of(const fc_table *table, fc_dtype dtype, int64_t groups, int64_t in, int64_t out,
                                 int64_t channels)
{
    fc_group_lanes l = { .table = table, .size = fc_size_of(dtype), .in = in, .out = out, .all = groups };
    l.groups = out >= table->lanes ? 1 : table->lanes / power_above(out);
    l.groups = fc_min(l.groups, power_above(groups));
    l.units = fc_div_up(groups, l.groups);
    l.vectors = l.groups > 1 ? 1 : fc_div_up(out, table->lanes);
    l.together = fc_max(1, fc_min(l.units, channels / (l.groups * in)));
    l.blocks = fc_div_up(l.units, l.together);
    l.together = fc_div_up(l.units, l.blocks);
    l.blocks = fc_div_up(l.units, l.together);
    l.record = l.together * l.groups * in;
    /* An odd number of vectors where a unit reads some of each pixel only: so it uses the whole cache. */
    const int64_t vectors = fc_div_up(l.record, table->lanes);
    l.pitch = (l.together > 1 ? vectors | 1 : vectors) * table->lanes;
    return l;
}

int64_t fc_group_lanes_count(const fc_group_lanes *l, int64_t unit, int64_t vector)
{
    if (l->groups > 1)
        return fc_min(l->groups, l->all - unit * l->groups) * l->out;
    return fc_min(l->table->lanes, l->out - vector * l->table->lanes);
}

static void set_index(const fc_group_lanes *l, void *list, int64_t at, int64_t index)
{
    if (l->size == sizeof(int32_t))
        ((int32_t *)list)[at] = (int32_t)index;
    else
        ((int64_t *)list)[at] = index;
}

bool fc_group_lanes_order(const fc_group_lanes *l, void *pick)
{
    for (int64_t i = 0; i < l->table->lanes; i++)
        set_index(l, pick, i, i < l->groups * l->out ? i % l->out * l->groups + i / l->out : 0);
    return l->groups > 1;
}

size_t fc_group_lanes_filter_bytes(const fc_group_lanes *l, int64_t taps)
{
    return (size_t)(l->units * l->vectors * l->in * taps * l->table->lanes) * l->size;
}

void fc_group_lanes_filters(const fc_group_lanes *l, const fc_lanes_weight *w, int64_t unit, void *filters)
{
    const int64_t lanes = l->table->lanes, first = unit * l->groups, depth = l->in * w->taps;
    const bool together = w->input == w->taps;
    int64_t plane[MOST_LANES];
    for (int64_t v = 0; v < l->vectors; v++) {
        fc_turn_planes t = { .rows = together ? l->in : 1, .cols = w->taps,
                             .channels = fc_min(lanes, l->groups * l->out),
                             .plane = plane, .dst_row = lanes, .dst_col = l->in * lanes };
        if (l->vectors > 1)
            t.channels = fc_group_lanes_count(l, unit, v);
        for (int64_t i = 0; i < t.channels; i++) { /* any filter where there is none: nothing sees that lane */
            const int64_t group = first + i % l->groups, channel = v * lanes + i / l->groups;
            plane[i] = group < l->all ? group * w->group + channel * w->channel : first * w->group;
        }
        for (int64_t i = 0; i < l->in; i += t.rows) {
            t.src = fc_at(w->weight, i * w->input, l->size);
            t.dst = fc_at_mut(filters, ((unit * l->vectors + v) * depth + i) * lanes, l->size);
            l->table->turn_planes(&t);
        }
    }
}

static int64_t record_vectors(const fc_group_lanes *l) { return fc_div_up(l->record, l->table->lanes); }

/* A vector's sources are vectors, at most as many as it has lanes. */
static size_t from_bytes(const fc_group_lanes *l) { return (size_t)l->table->lanes * sizeof(int64_t); }
static size_t pick_bytes(const fc_group_lanes *l) { return (size_t)(l->table->lanes * l->table->lanes) * l->size; }

size_t fc_lanes_sources_bytes(const fc_group_lanes *l)
{
    return (size_t)(2 * record_vectors(l)) *
           (size_t)fc_round_up((int64_t)(sizeof(fc_lane_sources) + from_bytes(l) + pick_bytes(l)), 64);
}

/* Channel of x, counted from the block's first, at `position` of a pixel of the copy: any where there is none. */
static int64_t channel_at(const fc_group_lanes *l, int64_t position, int64_t channels)
{
    const int64_t unit = l->groups * l->in, channel = position / unit * unit + position % l->groups * l->in +
                                                      position % unit / l->groups;
    return channel < channels ? channel : 0;
}

/* One vector, of `channels` channels of a block whose first has `before` others before it, of `all`. */
static int64_t find_sources(const fc_group_lanes *l, int64_t vector, int64_t before, int64_t channels, int64_t all,
                            int64_t *from, void *pick)
{
    const int64_t lanes = l->table->lanes, most = fc_max(all - lanes, 0) - before;
    int64_t count = 0;
    for (int64_t i = 0; i < lanes; i++) {
        const int64_t channel = channel_at(l, vector * lanes + i, channels);
        int64_t n = 0;
        while (n < count && (channel < from[n] || channel >= from[n] + lanes))
            n++;
        if (n == count)
            from[count++] = fc_min(channel, most);
    }
    for (int64_t i = 0; i < lanes; i++) {
        const int64_t channel = channel_at(l, vector * lanes + i, channels);
        int64_t of = 0;
        while (channel < from[of] || channel >= from[of] + lanes)
            of++;
        for (int64_t n = 0; n < count; n++)   /* the second list picks from the first source too */
            set_index(l, pick, n * lanes + i, n == of ? channel - from[n] + (n > 0 ? lanes : 0)
                                              : n == 1 && of == 0 ? channel - from[0] : i);
    }
    return count;
}

double fc_group_lanes_sources(const fc_group_lanes *l)
{
    const int64_t lanes = l->table->lanes;
    return (double)fc_min(l->groups, fc_div_up((l->groups - 1) * l->in + lanes / l->groups, lanes));
}

const fc_lane_sources *fc_lanes_sources(const fc_group_lanes *l, bool turned, void *memory)
{
    const int64_t vectors = record_vectors(l), block = l->together * l->groups * l->in, all = l->all * l->in;
    fc_lane_sources *sources = memory;
    char *next = (char *)memory + (size_t)fc_round_up(2 * vectors * (int64_t)sizeof *sources, 64);
    for (int64_t i = 0; i < 2 * vectors; i++) {
        const int64_t before = i < vectors ? 0 : (l->blocks - 1) * block, channels = fc_min(block, all - before);
        /* Of whole blocks the last has the fewest channels behind it. */
        const int64_t least = i < vectors && l->blocks > 2 ? all - (l->blocks - 2) * block : all;
        void *pick = next + from_bytes(l);
        /* Pixels that are turned have room behind their last channel. */
        sources[i] = (fc_lane_sources){ .from = (int64_t *)(void *)next, .pick = pick };
        sources[i].count = find_sources(l, i % vectors, turned ? 0 : before, channels,
                                        turned ? channels + l->table->lanes : least, (int64_t *)(void *)next, pick);
        next += from_bytes(l) + pick_bytes(l);
    }
    return sources;
}

static int64_t turned_pitch(const fc_group_lanes *l)
{
    return fc_round_up(l->record, l->table->lanes) + l->table->lanes;
}

/* Of x those from the first place on that is inside to the last. */
static fc_span inside_of(const fc_lanes_places *p)
{
    return fc_span_of(0, (fc_div_up(p->count, p->seen) - 1) * p->stride + p->seen, 1, p->start, p->size);
}

fc_lanes_copy fc_lanes_copy_of(const fc_group_lanes *l, const int64_t x_stride[FC_AXES], const fc_lanes_places *high,
                               const fc_lanes_places *wide)
{
    const fc_span cols = inside_of(wide);
    fc_lanes_copy c = { .lanes = l, .x_row = x_stride[FC_H], .x_col = x_stride[FC_W], .x_channel = x_stride[FC_C],
                        .cols = *wide, .turns = x_stride[FC_C] != 1, .column = cols.column, .columns = cols.inside,
                        .rows = 1 };
    c.planes = c.turns && c.x_col == 1 && wide->seen >= wide->count && high->seen >= high->count;
    /* Whole rows that follow one another are turned as one. */
    if (c.turns && cols.inside > 0 && cols.column == 0 && cols.inside == wide->size &&
        c.x_row == wide->size * c.x_col && high->seen >= high->count)
        c.rows = fc_max(1, TURNED_BYTES / ((int64_t)l->size * wide->size * turned_pitch(l)));
    return c;
}

size_t fc_lanes_copy_scratch(const fc_lanes_copy *c)
{
    const fc_lanes_places *p = &c->cols;      /* of any block of as many columns */
    const int64_t columns = fc_min(p->size, (fc_div_up(p->count, p->seen) - 1) * p->stride + p->seen);
    const int64_t pixel = turned_pitch(c->lanes) * (int64_t)c->lanes->size;
    return c->turns && !c->planes ? (size_t)(fc_max(TURNED_BYTES, columns * pixel) + pixel) : 0;
}

/* Pixels of one row as they are read: `pixel` elements apart from column `column` on. */
typedef struct lanes_row {
    const void *src;
    int64_t column, pixel, ahead;
} lanes_row;

/* Every `out`-th place from `to` on, from columns `start`, start + step, ... */
static void copy_places(const fc_lanes_copy *c, int64_t block, const lanes_row *row, int64_t start, int64_t step,
                        int64_t count, int64_t out, void *to)
{
    const fc_group_lanes *l = c->lanes;
    const int64_t vectors = record_vectors(l);
    const size_t pixel = (size_t)l->pitch * l->size;
    const fc_span span = fc_span_of(0, count, step, start, c->cols.size);
    /* Of blocks of less than a vector there is one source, which may have less than a vector behind it. */
    const int64_t all = l->all * l->in, there = block == l->blocks - 1 ? all : all - block * l->record;
    const fc_pick_lanes pick = {
        .pixels = span.inside, .vectors = vectors, .ahead = row->ahead,
        .readable = c->turns ? l->table->lanes : fc_min(l->table->lanes, there),
        .src = span.inside > 0 ? fc_at(row->src, (span.column - row->column) * row->pixel, l->size) : NULL,
        .src_pixel = step * row->pixel, .dst = (char *)to + (size_t)(span.before * out) * pixel,
        .dst_pixel = out * l->pitch, .sources = c->sources + (block == l->blocks - 1 ? vectors : 0),
    };
    if (span.inside > 0)
        l->table->pick_lanes(&pick);
    for (int64_t i = 0; i < count; i++) {
        if (i == span.before)
            i += span.inside;
        if (i < count)
            memset((char *)to + (size_t)(i * out) * pixel, 0, pixel);
    }
}

static void copy_row(const fc_lanes_copy *c, int64_t block, const lanes_row *row, void *to)
{
    const fc_lanes_places *p = &c->cols;
    if (p->seen >= p->count) {
        copy_places(c, block, row, p->start, 1, p->count, 1, to);
        return;
    }
    for (int64_t i = 0; i < p->seen; i += p->step)
        copy_places(c, block, row, p->start + i, p->stride, p->count / p->seen, p->seen,
                    fc_at_mut(to, i * c->lanes->pitch, c->lanes->size));
}

/* Rows from `row` on to pixels with all channels of the block. */
static void turn_rows(const fc_lanes_copy *c, int64_t block, const void *x, int64_t row, int64_t rows, void *scratch)
{
    const fc_group_lanes *l = c->lanes;
    const fc_move move = {
        .rows = rows * c->columns, .cols = fc_min(l->record, l->all * l->in - block * l->record),
        .src = fc_at(x, row * c->x_row + c->column * c->x_col, l->size), .src_row = c->x_col, .src_col = c->x_channel,
        .dst = scratch, .dst_row = turned_pitch(l), .dst_col = 1,
    };
    l->table->move(&move);
}

static void clear_places(const fc_lanes_copy *c, int64_t row, int64_t col, int64_t count, void *to)
{
    const fc_group_lanes *l = c->lanes;
    if (count > 0)
        memset(fc_at_mut(to, (row * c->cols.count + col) * l->pitch, l->size), 0, (size_t)(count * l->pitch) * l->size);
}

/* Planes to pixels in the order of the lanes, with nothing between: rows of x that follow each other at once. */
static void turn_planes(const fc_lanes_copy *c, const fc_lanes_places *high, int64_t block, const void *x, void *to)
{
    const fc_group_lanes *l = c->lanes;
    const int64_t lanes = l->table->lanes, all = l->all * l->in - block * l->record, width = c->cols.count;
    const fc_span cols = fc_span_of(0, width, 1, c->cols.start, c->cols.size), none = { high->count, 0, 0 };
    const fc_span rows = x && cols.inside > 0 ? fc_span_of(0, high->count, 1, high->start, high->size) : none;
    const int64_t at_once = cols.inside == c->cols.size && c->x_row == c->cols.size ? rows.inside : 1;
    const int64_t first = rows.column * c->x_row + cols.column + block * l->record * c->x_channel;
    int64_t plane[MOST_LANES];
    for (int64_t v = 0; v < l->record && rows.inside > 0; v += lanes) {
        fc_turn_planes t = { .rows = at_once, .cols = cols.inside, .channels = fc_min(lanes, l->record - v),
                             .plane = plane, .dst_row = width * l->pitch, .dst_col = l->pitch };
        for (int64_t i = 0; i < t.channels; i++)
            plane[i] = channel_at(l, v + i, all) * c->x_channel;
        for (int64_t r = 0; r < rows.inside; r += at_once) {
            t.src = fc_at(x, first + r * c->x_row, l->size);
            t.dst = fc_at_mut(to, ((rows.before + r) * width + cols.before) * l->pitch + v, l->size);
            l->table->turn_planes(&t);
        }
    }
    clear_places(c, 0, 0, rows.before * width, to);
    for (int64_t r = rows.before; r < rows.before + rows.inside; r++) {
        clear_places(c, r, 0, cols.before, to);
        clear_places(c, r, cols.before + cols.inside, width - cols.before - cols.inside, to);
    }
    clear_places(c, rows.before + rows.inside, 0, (high->count - rows.before - rows.inside) * width, to);
}

void fc_lanes_copy_plane(const fc_lanes_copy *c, const fc_lanes_places *high, int64_t block, const void *x,
                         void *scratch, void *to)
{
    if (c->planes) {
        turn_planes(c, high, block, x, to);
        return;
    }
    const fc_group_lanes *l = c->lanes;
    const size_t bytes = (size_t)(c->cols.count * l->pitch) * l->size;
    const fc_span rows = inside_of(high);
    const void *first = x ? fc_at(x, block * l->record * c->x_channel, l->size) : NULL;
    int64_t turned = 0;                       /* rows turned lie before it */
    for (int64_t i = 0; i < high->count; i++, to = (char *)to + bytes) {
        const int64_t y = high->start + i / high->seen * high->stride + i % high->seen;
        if (!x || y < 0 || y >= high->size || c->columns == 0) {
            memset(to, 0, bytes);
            continue;
        }
        const int64_t next = high->start + (i + 1) / high->seen * high->stride + (i + 1) % high->seen;
        lanes_row row = { fc_at(first, y * c->x_row, l->size), 0, c->x_col, (next - y) * c->x_row };
        if (c->turns) {
            if (y >= turned) {
                turned = fc_min(y + c->rows, rows.column + rows.inside);
                turn_rows(c, block, first, y, turned - y, scratch);
            }
            const int64_t of = c->rows == 1 ? 0 : (y - rows.column) % c->rows;
            row = (lanes_row){ fc_at(scratch, of * c->columns * turned_pitch(l), l->size), c->column, turned_pitch(l),
                               0 };
        }
        copy_row(c, block, &row, to);
    }
}
