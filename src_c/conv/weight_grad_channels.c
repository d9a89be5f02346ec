/* Weight gradient of groups of few channels, depthwise among them: lanes are output channels.
 *
 * A strip is a vector of output channels: of as many whole groups as it holds, or of a part of one.  Pixels
 * of grad_output become tiles, one vector a pixel, and so do those of x.  For every input channel of a group
 * in turn, x is spread to a zero-bordered band whose lanes hold, under each output channel, that input of its
 * group; so each tap is a sum of products of two vectors, whatever the padding, stride or dilation.
 * Adjacent channels are read in order, all strips of a block at once; others are transposed, strip by strip.
 * Called by weight_grad.c. */
#include "../base/size.h"
#include "cost.h"
#include "geometry.h"
#include "weight_grad.h"
#include <math.h>

enum {
    BAND = 24 << 10,          /* bytes of a band, if its rows allow: what a tap reads is in L1 */
    MOST_BAND = 1 << 20,      /* of any */
    COLS = 512,               /* of a block */
    LEAST_ROWS = 4,
    SUMS = 1 << 16,           /* of a part, elements */
    WISHED_PARTS = 4,         /* where pixels are few, of no less than PART_STRIPS */
    PART_STRIPS = 8,
};
/* Output pixels of all images that are chunks, so tasks, enough; where pixels are read whole. */
static const int64_t PIXELS_ENOUGH = 8192;
/* Of split.a: groups of a strip; strips in all and of a part; elements of a row of the band, of its plane, of
 * a plane of the tile of x. */
enum { GROUPS, STRIPS, PART, PITCH, PLANE, X_TILE };
enum { SUMS_AT, BAND_AT, X_AT, G_AT, LINES_AT, PICKS_AT }; /* of split.at */

/* Groups that share a strip; 1: its lanes see one input channel at a time. */
static int64_t groups_of(const fc_conv *conv, int64_t lanes)
{
    const int64_t groups = lanes / fc_max(conv->out_per_group, conv->in_per_group);
    return fc_max(1, fc_min(groups, conv->groups));
}

static int64_t strips_of(const fc_conv *conv, int64_t lanes)
{
    if (conv->out_per_group > lanes)
        return conv->groups * fc_div_up(conv->out_per_group, lanes);
    return fc_div_up(conv->groups, groups_of(conv, lanes));
}

static bool depthwise(const fc_conv *conv) { return conv->in_per_group == 1 && conv->out_per_group == 1; }

/* Rows or columns of x under `outputs` of the output. */
static int64_t seen(const fc_conv *conv, int axis, int64_t outputs)
{
    return (outputs - 1) * conv->stride[axis] + (conv->kernel[axis] - 1) * conv->dilation[axis] + 1;
}

/* Rows of a block whose band, with `row` bytes a row, has so many bytes. */
static int64_t rows_within(const fc_conv *conv, int64_t row, int64_t bytes)
{
    const int64_t stride = fc_min(conv->stride[FC_HEIGHT], bytes);
    return (bytes / row - seen(conv, FC_HEIGHT, 1)) / stride + 1;
}

/* Rows of a block of `cols` columns; 0 where even one is too much for scratch. */
static int64_t rows_of(const fc_conv *conv, int64_t lanes, int64_t cols)
{
    const int64_t row = seen(conv, FC_WIDTH, cols) * conv->kernel[FC_DEPTH] * lanes * (int64_t)fc_size_of(conv->dtype);
    if (seen(conv, FC_HEIGHT, 1) > MOST_BAND / row)
        return 0;
    const int64_t least = fc_min(LEAST_ROWS, rows_within(conv, row, MOST_BAND));
    return fc_max(1, fc_min(fc_max(rows_within(conv, row, BAND), least), conv->out_size[FC_HEIGHT]));
}

static const char *supports(const fc_conv *conv)
{
    const int64_t lanes = fc_table_for(conv->dtype)->lanes, cols = fc_min(conv->out_size[FC_WIDTH], COLS);
    if (conv->kernel[FC_DEPTH] > 16 || seen(conv, FC_WIDTH, 1) > MOST_BAND || rows_of(conv, lanes, cols) == 0)
        return "the pixels under a row of taps would not fit scratch";
    return conv->depth <= SUMS / lanes ? NULL : "the sums of a vector of outputs would not fit scratch";
}

static bool has_tiles(const fc_conv *conv, int64_t groups)
{
    return !depthwise(conv) && (groups > 1 || conv->x_stride[FC_C] == 1);
}

/* Short rows of depthwise planes are transposed together, by way of a tile. */
static bool by_planes(const fc_conv *conv, const fc_table *table)
{
    return depthwise(conv) && conv->x_stride[FC_C] != 1 && conv->in_size[FC_WIDTH] <= table->lanes;
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = { 0 };
    const int64_t lanes = table->lanes, size = (int64_t)fc_size_of(conv->dtype);
    const int64_t cols = fc_min(conv->out_size[FC_WIDTH], COLS), sums = conv->depth * lanes;
    const bool few = conv->batch * conv->out_pixels < PIXELS_ENOUGH || conv->x_stride[FC_C] != 1;
    s.a[GROUPS] = groups_of(conv, lanes);
    s.a[STRIPS] = strips_of(conv, lanes);
    const int64_t wished = few ? fc_max(1, fc_min(WISHED_PARTS, s.a[STRIPS] / PART_STRIPS)) : 1;
    s.parts = fc_max(fc_div_up(s.a[STRIPS], fc_max(1, SUMS / sums)), wished);
    s.a[PART] = fc_div_up(s.a[STRIPS], s.parts);
    s.parts = fc_div_up(s.a[STRIPS], s.a[PART]);
    s.blocks = fc_pixel_blocks_of(conv, 1, rows_of(conv, lanes, cols), cols);
    const int64_t rows = seen(conv, FC_HEIGHT, s.blocks.rows), width = seen(conv, FC_WIDTH, s.blocks.cols);
    s.a[PITCH] = width * lanes;
    s.a[PLANE] = rows * s.a[PITCH];
    s.a[X_TILE] = fc_min(rows, conv->in_size[1]) * fc_min(width, conv->in_size[2]) * lanes;
    const int64_t depth = conv->kernel[FC_DEPTH], pixels = s.blocks.rows * s.blocks.cols;
    s.at[SUMS_AT] = 0;
    s.at[BAND_AT] = (size_t)fc_round_up(s.a[PART] * sums * size, 64);
    s.at[X_AT] = s.at[BAND_AT] + (size_t)fc_round_up(depth * s.a[PLANE] * size, 64);
    const bool tiles = has_tiles(conv, s.a[GROUPS]) || by_planes(conv, table);
    s.at[G_AT] = s.at[X_AT] + (size_t)fc_round_up(tiles ? depth * s.a[X_TILE] * size : 0, 64);
    s.at[LINES_AT] = s.at[G_AT] + (size_t)fc_round_up(pixels * lanes * size, 64);
    s.at[PICKS_AT] = s.at[LINES_AT] + (size_t)fc_round_up(depth * conv->kernel[1] * (int64_t)sizeof(int64_t), 64);
    s.bytes = s.at[PICKS_AT] + (size_t)(conv->in_per_group * lanes * size);
    return s;
}

/* Channels of a strip: first and how many. */
typedef struct strip {
    int64_t out, outs, in, ins;
} strip;

static strip strip_at(const fc_weight_run *run, int64_t index)
{
    const fc_conv *conv = run->conv;
    const int64_t lanes = run->table->lanes, most = run->split.a[GROUPS], outs = conv->out_per_group;
    const int64_t ins = conv->in_per_group;
    if (outs > lanes) {
        const int64_t strips = fc_div_up(outs, lanes), group = index / strips, first = index % strips * lanes;
        return (strip){ group * outs + first, fc_min(lanes, outs - first), group * ins, ins };
    }
    const int64_t group = index * most, groups = fc_min(most, conv->groups - group);
    return (strip){ group * outs, groups * outs, group * ins, groups * ins };
}

/* The next block's pixels, from the part's first channel on, which are asked for in order while this one is
 * computed; cache lines of each. */
typedef struct ahead {
    const void *from;
    int64_t lines;
} ahead;

/* A part at one block of pixels: what it sees of x, counted from the band's first row and column. */
typedef struct channels_part {
    const fc_weight_run *run;
    int64_t first, strips, in;                /* strips; the first input channel */
    ahead x_ahead, g_ahead;
    char *scratch;
    fc_pixel_block block;
    fc_span depth, rows, cols;
} channels_part;

static void *at(const channels_part *p, int which, int64_t index)
{
    return fc_at_mut(p->scratch + p->run->split.at[which], index, fc_size_of(p->run->conv->dtype));
}

static void clear(const fc_weight_run *run, void *memory, int64_t count)
{
    const fc_move zeros = { .rows = 1, .dst = memory, .dst_col = 1, .zero_before = count };
    run->table->move(&zeros);
}

static void go_to(channels_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = p->run->conv;
    const int64_t *pad = conv->pad_before, *in = conv->in_size, *stride = conv->stride;
    p->block = *b;
    p->depth = fc_span_of(0, conv->kernel[0], conv->dilation[0], b->depth * stride[0] - pad[0], in[0]);
    p->rows = fc_span_of(0, seen(conv, 1, b->rows), 1, b->row * stride[1] - pad[1], in[1]);
    p->cols = fc_span_of(0, seen(conv, 2, b->cols), 1, b->col * stride[2] - pad[2], in[2]);
}

/* A channel of x at the block's first pixel inside, of plane `d` of those inside. */
static const void *x_at(const channels_part *p, int64_t channel, int64_t d)
{
    const fc_conv *conv = p->run->conv;
    const int64_t *x = conv->x_stride;
    return fc_at(p->run->x, p->block.image * x[FC_N] + channel * x[FC_C] +
                            (p->depth.column + d * conv->dilation[0]) * x[FC_D] +
                            p->rows.column * x[FC_H] + p->cols.column * x[FC_W], fc_size_of(conv->dtype));
}

/* The block's grad_output from a channel on. */
static const void *g_at(const channels_part *p, int64_t channel)
{
    const int64_t *y = p->run->conv->y_stride;
    const fc_pixel_block *b = &p->block;
    return fc_at(p->run->g, b->image * y[FC_N] + channel * y[FC_C] + b->depth * y[FC_D] + b->row * y[FC_H] +
                            b->col * y[FC_W], fc_size_of(p->run->conv->dtype));
}

/* rows x cols pixels of a vector's channels to a tile, or a band, whose rows are `pitch` apart; of what lies
 * ahead, `done` lines were asked for. */
static void cut(const fc_weight_run *run, const void *src, const int64_t stride[FC_AXES], int64_t rows, int64_t cols,
                int64_t channels, const ahead *a, int64_t done, void *tile, int64_t pitch)
{
    const int64_t lanes = run->table->lanes;
    const size_t size = fc_size_of(run->conv->dtype);
    if (rows == 0 || cols == 0)
        return;
    if (stride[FC_C] == 1) {
        const fc_cut_lanes c = {
            .rows = rows, .cols = cols, .channels = channels, .src = src, .src_row = stride[FC_H],
            .src_col = stride[FC_W], .dst = tile, .dst_row = pitch, .lines = a->lines,
            .left = a->lines - done % a->lines, .ahead_step = stride[FC_W],
            .ahead = (const char *)a->from + done % a->lines * 64 + done / a->lines * stride[FC_W] * (int64_t)size,
        };
        run->table->cut_lanes(&c);
        return;
    }
    const bool even = rows == 1 || (stride[FC_H] == cols * stride[FC_W] && pitch == cols * lanes);
    const int64_t calls = even ? 1 : rows, pixels = even ? rows * cols : cols;
    for (int64_t r = 0; r < calls; r++) {
        const fc_move move = { .rows = pixels, .cols = channels, .src = fc_at(src, r * stride[FC_H], size),
                               .src_row = stride[FC_W], .src_col = stride[FC_C],
                               .dst = fc_at_mut(tile, r * pitch, size), .dst_row = lanes, .dst_col = 1 };
        run->table->move(&move);
    }
}

/* Pixels inside, of plane `d`, of a vector of channels of x: to the tile, or to the band.  `done`: such vectors
 * before. */
static void cut_x(const channels_part *p, int64_t channel, int64_t channels, int64_t d, int64_t done)
{
    const fc_weight_split *s = &p->run->split;
    const int64_t plane = p->depth.before + d, lanes = p->run->table->lanes, row = p->cols.inside * lanes;
    const bool planes = by_planes(p->run->conv, p->run->table), band = depthwise(p->run->conv) && !planes;
    cut(p->run, x_at(p, channel, d), p->run->conv->x_stride, p->rows.inside, p->cols.inside, channels, &p->x_ahead,
        done * p->rows.inside * p->cols.inside,
        band ? at(p, BAND_AT, plane * s->a[PLANE] + p->rows.before * s->a[PITCH] + p->cols.before * lanes)
             : at(p, X_AT, plane * s->a[X_TILE]),
        band ? s->a[PITCH] : row);
    const fc_move move = {
        .rows = p->rows.inside, .cols = row, .src = at(p, X_AT, plane * s->a[X_TILE]), .src_row = row, .src_col = 1,
        .dst = at(p, BAND_AT, plane * s->a[PLANE] + p->rows.before * s->a[PITCH] + p->cols.before * lanes),
        .dst_row = s->a[PITCH], .dst_col = 1,
    };
    if (planes && p->rows.inside > 0 && row > 0)
        p->run->table->move(&move);
}

/* Input `i` of the strip's groups to the band. */
static void spread(const channels_part *p, const strip *t, int64_t i)
{
    const fc_conv *conv = p->run->conv;
    const fc_weight_split *s = &p->run->split;
    const int64_t lanes = p->run->table->lanes, *x = conv->x_stride;
    const bool tiles = has_tiles(conv, s->a[GROUPS]), single = s->a[GROUPS] == 1;
    for (int64_t d = 0; d < p->depth.inside && p->rows.inside * p->cols.inside > 0; d++) {
        const int64_t plane = p->depth.before + d;
        if (tiles && i % (single ? lanes : conv->in_per_group) == 0)
            cut_x(p, t->in + i, fc_min(lanes, t->ins - i), d, (t->in + i - p->in) / (single ? lanes : t->ins));
        const fc_spread_lanes f = {
            .rows = p->rows.inside, .cols = p->cols.inside, .single = single, .pick = at(p, PICKS_AT, i * lanes),
            .src = tiles ? at(p, X_AT, plane * s->a[X_TILE] + (single ? i % lanes : 0)) : x_at(p, t->in + i, d),
            .src_row = tiles ? p->cols.inside * lanes : x[FC_H], .src_col = tiles ? lanes : x[FC_W],
            .band = at(p, BAND_AT, plane * s->a[PLANE] + p->rows.before * s->a[PITCH] + p->cols.before * lanes),
            .band_row = s->a[PITCH],
        };
        p->run->table->spread_lanes(&f);
    }
}

static void add_strip(const channels_part *p, int64_t index)
{
    const fc_conv *conv = p->run->conv;
    const fc_weight_split *s = &p->run->split;
    const int64_t lanes = p->run->table->lanes, ins = conv->in_per_group;
    const strip t = strip_at(p->run, p->first + index);
    fc_tap_sums f = {
        .rows = p->block.rows, .cols = p->block.cols, .lanes = lanes,
        .g = at(p, G_AT, 0), .g_row = p->block.cols * lanes, .g_col = lanes, .x = at(p, BAND_AT, 0),
        .x_row = conv->stride[1] * s->a[PITCH], .x_col = conv->stride[2] * lanes, .line = at(p, LINES_AT, 0),
        .lines = conv->kernel[0] * conv->kernel[1], .steps = conv->kernel[2], .x_step = conv->dilation[2] * lanes,
    };
    cut(p->run, g_at(p, t.out), conv->y_stride, p->block.rows, p->block.cols, t.outs, &p->g_ahead,
        index * p->block.rows * p->block.cols, at(p, G_AT, 0), f.g_row);
    for (int64_t d = 0; d < p->depth.inside && depthwise(conv); d++)
        cut_x(p, t.in, t.ins, d, index);
    for (int64_t i = 0; i < ins; i++) {
        if (!depthwise(conv))
            spread(p, &t, i);
        f.sums = at(p, SUMS_AT, (index * ins + i) * conv->taps * lanes);
        p->run->table->tap_sums(&f);
    }
}

/* The band's offset of every row of taps, and the input of its group that every lane picks. */
static void find_lines_and_picks(const channels_part *p)
{
    const fc_conv *conv = p->run->conv;
    const fc_weight_split *s = &p->run->split;
    int64_t *line = at(p, LINES_AT, 0), lanes = p->run->table->lanes;
    for (int64_t l = 0; l < conv->kernel[0] * conv->kernel[1]; l++)
        line[l] = l / conv->kernel[1] * s->a[PLANE] + l % conv->kernel[1] * conv->dilation[1] * s->a[PITCH];
    void *picks = at(p, PICKS_AT, 0);
    for (int64_t i = 0; i < conv->in_per_group * lanes && s->a[GROUPS] > 1; i++) {
        const int64_t pick = fc_min(i % lanes / conv->out_per_group * conv->in_per_group + i / lanes, lanes - 1);
        if (conv->dtype == FC_F32)
            ((int32_t *)picks)[i] = (int32_t)pick;
        else
            ((int64_t *)picks)[i] = pick;
    }
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *memory)
{
    const fc_conv *conv = run->conv;
    const int64_t lanes = run->table->lanes, sums = conv->depth * lanes;
    channels_part p = { .run = run, .first = part * run->split.a[PART], .scratch = memory };
    p.strips = fc_min(run->split.a[PART], run->split.a[STRIPS] - p.first);
    const strip t0 = strip_at(run, p.first), t1 = strip_at(run, p.first + p.strips - 1);
    p.in = t0.in;
    p.x_ahead.lines = fc_div_up((t1.in + t1.ins - t0.in) * (int64_t)fc_size_of(conv->dtype), 64);
    p.g_ahead.lines = fc_div_up((t1.out + t1.outs - t0.out) * (int64_t)fc_size_of(conv->dtype), 64);
    find_lines_and_picks(&p);
    clear(run, at(&p, SUMS_AT, 0), p.strips * sums);
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &run->split.blocks, i);
        const fc_pixel_block next = fc_pixel_block_at(conv, &run->split.blocks, i + 1 < end ? i + 1 : i);
        go_to(&p, &next);
        p.x_ahead.from = x_at(&p, p.in, 0);
        p.g_ahead.from = g_at(&p, strip_at(run, p.first).out);
        go_to(&p, &b);
        clear(run, at(&p, BAND_AT, 0), conv->kernel[0] * run->split.a[PLANE]); /* what no copy writes is padding */
        for (int64_t k = 0; k < p.strips; k++)
            add_strip(&p, k);
    }
    for (int64_t k = 0; k < p.strips; k++) {
        const strip t = strip_at(run, p.first + k);
        const fc_move move = { .rows = t.outs, .cols = conv->depth, .src = at(&p, SUMS_AT, k * sums), .src_row = 1,
                               .src_col = lanes, .dst = fc_at_mut(out, t.out * conv->depth, fc_size_of(conv->dtype)),
                               .dst_row = conv->depth, .dst_col = 1 };
        run->table->move(&move);
    }
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const double strips = (double)strips_of(conv, machine->lanes), nchw = !conv->channels_last;
    const double out = (double)(conv->batch * conv->out_pixels) * strips, ins = (double)conv->in_per_group;
    double in = (double)conv->batch * strips;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        in *= (double)fc_min(conv->in_size[axis], seen(conv, axis, conv->out_size[axis]));
    const double lines = (double)(conv->kernel[FC_DEPTH] * conv->kernel[FC_HEIGHT]);
    const double far = conv->channels_last && fc_far(conv, fc_x_count(conv));
    const double bytes = (double)(fc_x_count(conv) + conv->batch * conv->out_pixels * conv->out_channels) *
                         (double)fc_size_of(conv->dtype);
    const bool past = bytes > 0.75 * (double)machine->l3;
    const bool beyond = depthwise(conv) && fc_far(conv, fc_x_count(conv) / 4);
    const double piece = !past ? 12 : conv->in_size[FC_WIDTH] <= machine->lanes ? 45 : 25;
    const double passes = ceil(lines / FC_TAP_LINES) * ceil((double)conv->kernel[FC_WIDTH] / FC_TAP_STEPS);
    const fc_count counts[] = {
        { out * ins * passes, fc_multiply_loaded(machine, fmax(2 * (double)conv->taps / passes, 5)) },
        { in * ins, 5 },                                                           /* bands */
        { (in + out) * nchw, 2 },                                                  /* transposes */
        { in + out, 8 },                                                           /* tiles */
        { depthwise(conv) * far * (in + out), past ? 18 : 10 },                    /* pixels from memory, in pieces */
        { nchw * beyond * (in + out), piece },                                     /* planes from memory, in pieces */
        { strips * (double)conv->depth, 8 },                                       /* transposes out */
        { strips * ins, 100 },                                                     /* calls */
        { 1, 6000 },
    };
    return FC_COST(counts, machine);
}

const fc_weight_method fc_weight_channels = { "channels", supports, cost, split, task, NULL };
