/* Weight gradient of few channels: every weight is a sum of products of two rows of pixels.
 *
 * Lanes are pixels of a row, of grad_output and of a zero-bordered band of x whose columns are split by stride
 * phase.  Each weight is a vector of sums, lanes added at the end; a tile of them is some outputs by some pairs of an
 * input and a tap, wherever these lie in the band.  So no lane is empty but at the ends of rows.  Planes are read in
 * place, but of x where it has padding or strides; adjacent channels are turned.  Takes any problem.
 * Called by weight_grad.c. */
#include "../base/size.h"
#include "band.h"
#include "cost.h"
#include "geometry.h"
#include "weight_grad.h"

enum {
    PIXELS = 1024,            /* of a block, so that what a tile sees of it hits L1 */
    LEAST_PIXELS = 256,       /* fewer leave much to loading and storing sums */
    COLS = 2048,
    MOST_TAPS = 512,          /* pairs of input and tap of a part, if a kernel allows */
    MOST_CHANNELS = 16,       /* of a part of several groups */
    WISHED_PARTS = 16,
    CROWDED = 128,            /* elements: pixels a multiple of that apart */
    CHAIN = 1 << 16,          /* pixels summed, by lanes, in one chain before they are added to the rest */
};
enum { GROUPS, GROUP_BLOCKS, OC, OC_BLOCKS, IC, IC_BLOCKS, COPIES_X, COPIES_G, BLOCKS }; /* of split.a */
enum { SUMS_AT, CHAIN_AT, BAND_AT, G_AT, LIST_AT }; /* of split.at */

static const char *supports(const fc_conv *conv)
{
    (void)conv;
    return NULL;
}

static fc_band band_of(const fc_conv *conv, const fc_weight_split *s)
{
    return fc_band_make(conv, s->a[GROUPS] * s->a[IC], s->blocks.rows, s->blocks.cols, false,
                        fc_min(conv->stride[FC_WIDTH], (s->blocks.cols - 1) * conv->stride[FC_WIDTH] +
                                           (conv->kernel[FC_WIDTH] - 1) * conv->dilation[FC_WIDTH] + 1));
}

/* Elements of the copies of x. */
static int64_t bands(const fc_conv *conv, const fc_weight_split *s)
{
    return s->a[COPIES_X] ? band_of(conv, s).size * s->blocks.images : 0;
}

static void place(fc_weight_split *s, const fc_conv *conv, const fc_table *table)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype), outs = s->a[GROUPS] * s->a[OC];
    const int64_t taps = s->a[IC] * conv->taps, pixels = s->blocks.images * s->blocks.rows * s->blocks.cols;
    s->a[BLOCKS] = fc_max(1, CHAIN / pixels);
    s->at[SUMS_AT] = 0;
    s->at[CHAIN_AT] = (size_t)fc_round_up(outs * taps * table->lanes * size, 64);
    s->at[BAND_AT] = s->at[CHAIN_AT] * (s->blocks.count > s->a[BLOCKS] ? 2 : 1);
    s->at[G_AT] = s->at[BAND_AT] + (size_t)fc_round_up(bands(conv, s) * size, 64);
    s->at[LIST_AT] = s->at[G_AT] + (size_t)fc_round_up(s->a[COPIES_G] ? outs * pixels * size : 0, 64);
    s->bytes = s->at[LIST_AT] + (size_t)taps * sizeof(int64_t);
}

/* Images or rows; of rows so many that those above and below, which they share, are not most. */
static fc_pixel_blocks blocks_of(const fc_conv *conv, int64_t pixels)
{
    const int64_t cols = fc_min(conv->out_size[FC_WIDTH], COLS);
    const int64_t halo = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] / conv->stride[FC_HEIGHT];
    return fc_pixel_blocks_of(conv, pixels / conv->out_pixels, fc_max(pixels / cols, fc_min(halo + 1, 8)), cols);
}

static void even(int64_t all, int64_t most, int64_t *block, int64_t *blocks)
{
    *blocks = fc_div_up(all, fc_max(1, fc_min(most, all)));
    *block = fc_div_up(all, *blocks);
    *blocks = fc_div_up(all, *block);
}

/* Groups whose copies share a call: adjacent channels are turned by vectors of them, as quickly as one. */
static int64_t groups_of(const fc_conv *conv, int64_t channels)
{
    if (conv->x_stride[FC_C] == 1 || conv->y_stride[FC_C] == 1)
        return conv->groups;
    return fc_min(conv->groups / WISHED_PARTS, MOST_CHANNELS / channels);
}

/* Copies of x that stay in L2 with the sums, of `elements`. */
static void fit(fc_weight_split *s, const fc_conv *conv, int64_t least_groups, int64_t elements)
{
    for (int64_t pixels = PIXELS; bands(conv, s) > elements;) {
        if (s->a[GROUPS] / 2 >= least_groups) {
            s->a[GROUPS] /= 2;
        } else if (pixels > LEAST_PIXELS) {
            pixels /= 2;
            s->blocks = blocks_of(conv, pixels);
        } else if (s->a[GROUPS] > 1) {
            s->a[GROUPS] /= 2;
        } else if (s->a[IC] > 1) {
            s->a[IC] = fc_div_up(s->a[IC], 2);
        } else {
            return;
        }
    }
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = { .a[GROUPS] = 1, .blocks = blocks_of(conv, PIXELS) };
    const int64_t l2 = fc_machine_for(conv->dtype)->l2 / 4 / (int64_t)fc_size_of(conv->dtype), sums = l2 / table->lanes;
    const int64_t channels = fc_max(conv->in_per_group, conv->out_per_group);
    s.a[COPIES_X] = !fc_unpadded(conv) || conv->x_stride[FC_W] != 1 || conv->stride[FC_WIDTH] != 1;
    s.a[COPIES_G] = conv->y_stride[FC_W] != 1;
    even(conv->in_per_group, MOST_TAPS / conv->taps, &s.a[IC], &s.a[IC_BLOCKS]);
    if (s.a[IC_BLOCKS] == 1 && conv->depth * conv->out_per_group <= sums)
        s.a[GROUPS] = fc_max(1, fc_min(groups_of(conv, channels), sums / (conv->out_per_group * conv->depth)));
    fit(&s, conv, conv->x_stride[FC_C] == 1 ? fc_div_up(table->lanes, conv->in_per_group) : 1, l2);
    s.a[IC_BLOCKS] = fc_div_up(conv->in_per_group, s.a[IC]);
    even(conv->out_per_group, sums / (s.a[IC] * conv->taps), &s.a[OC], &s.a[OC_BLOCKS]);
    s.a[GROUP_BLOCKS] = fc_div_up(conv->groups, s.a[GROUPS]);
    s.parts = s.a[GROUP_BLOCKS] * s.a[OC_BLOCKS] * s.a[IC_BLOCKS];
    place(&s, conv, table);
    return s;
}

/* The sums of some outputs with some inputs, of one group or of several. */
typedef struct rows_part {
    const fc_weight_run *run;
    int64_t group, groups, ic, ics, oc, ocs;  /* channels count from the group's first */
    fc_band band;
    char *scratch;
} rows_part;

static rows_part part_of(const fc_weight_run *run, int64_t part, void *scratch)
{
    const fc_conv *conv = run->conv;
    const fc_weight_split *s = &run->split;
    rows_part p = { .run = run, .band = band_of(conv, s), .scratch = scratch };
    p.ic = part % s->a[IC_BLOCKS] * s->a[IC];
    p.ics = fc_min(s->a[IC], conv->in_per_group - p.ic);
    part /= s->a[IC_BLOCKS];
    p.oc = part % s->a[OC_BLOCKS] * s->a[OC];
    p.ocs = fc_min(s->a[OC], conv->out_per_group - p.oc);
    p.group = part / s->a[OC_BLOCKS] * s->a[GROUPS];
    p.groups = fc_min(s->a[GROUPS], conv->groups - p.group);
    return p;
}

static void *at(const rows_part *p, int which) { return p->scratch + p->run->split.at[which]; }

/* A block of one tensor, in place or copied: its first pixel, of the first channel, and elements between them. */
typedef struct rows_view {
    const void *first;
    int64_t image, channel, row;
} rows_view;

static rows_view view_of_x(const rows_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = p->run->conv;
    const int64_t *x = conv->x_stride, *stride = conv->stride, channel = p->group * conv->in_per_group + p->ic;
    const int64_t channels = (p->groups - 1) * conv->in_per_group + p->ics;
    const size_t size = fc_size_of(conv->dtype);
    const fc_conv_run copy = { .conv = conv, .table = p->run->table, .x = p->run->x };
    const int64_t down = b->rows > 1 ? stride[FC_HEIGHT] : 0; /* a stride that is never taken may be of any size */
    if (!p->run->split.a[COPIES_X])
        return (rows_view){ fc_at(p->run->x, b->image * x[FC_N] + channel * x[FC_C] + b->depth * stride[0] * x[FC_D] +
                                                 b->row * stride[1] * x[FC_H] + b->col * x[FC_W], size),
                            x[FC_N], x[FC_C], down * x[FC_H] };
    for (int64_t n = 0; n < b->images; n++) {
        const fc_block_origin origin = { b->image + n, b->depth, b->row, b->col };
        fc_band_copy(&copy, &p->band, &origin, channel, channels, fc_at_mut(at(p, BAND_AT), n * p->band.size, size));
    }
    return (rows_view){ at(p, BAND_AT), p->band.size, p->band.channel_step, down * p->band.row_step };
}

/* Of grad_output as [image][channel][row][col], where its pixels are not adjacent. */
static rows_view view_of_g(const rows_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = p->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride, channel = p->group * conv->out_per_group + p->oc;
    const int64_t channels = (p->groups - 1) * conv->out_per_group + p->ocs, plane = b->rows * b->cols;
    const void *first = fc_at(p->run->g, b->image * y[FC_N] + channel * y[FC_C] + b->depth * y[FC_D] +
                                             b->row * y[FC_H] + b->col * y[FC_W], size);
    if (!p->run->split.a[COPIES_G])
        return (rows_view){ first, y[FC_N], y[FC_C], y[FC_H] };
    const bool whole = b->rows == 1 || y[FC_H] == b->cols * y[FC_W];
    const int64_t lines = whole ? 1 : b->rows, cols = plane / lines;
    for (int64_t i = 0; i < b->images * lines; i++) {
        const int64_t image = i / lines, row = i % lines;
        const fc_move move = {
            .rows = channels, .cols = cols, .src = fc_at(first, image * y[FC_N] + row * y[FC_H], size),
            .src_row = y[FC_C], .src_col = y[FC_W],
            .dst = fc_at_mut(at(p, G_AT), image * channels * plane + row * cols, size), .dst_row = plane, .dst_col = 1,
        };
        p->run->table->move(&move);
    }
    return (rows_view){ at(p, G_AT), channels * plane, plane, b->cols };
}

/* Where every pair of an input and a tap lies from the block's first pixel, in the order of the weights. */
static void list_taps(const rows_part *p)
{
    const fc_conv *conv = p->run->conv;
    const int64_t *x = conv->x_stride, *k = conv->kernel, *dilation = conv->dilation;
    int64_t *to = at(p, LIST_AT);
    const bool copied = p->run->split.a[COPIES_X];
    for (int64_t c = 0; c < p->ics; c++)
        for (int64_t t = 0; t < conv->taps; t++) {
            const int64_t d = t / k[2] / k[1], h = t / k[2] % k[1], w = t % k[2];
            *to++ = copied ? c * p->band.channel_step + fc_band_offset(&p->band, conv, d, h, w)
                           : c * x[FC_C] + d * dilation[0] * x[FC_D] + h * dilation[1] * x[FC_H] + w * dilation[2];
        }
}

/* `pixels` pixels that follow each other, of the channels that a part has of one tensor: what is asked for of them
 * while its i-th group is computed. */
static fc_ahead ahead_of(const rows_part *p, const int64_t stride[FC_AXES], const void *from, int64_t pixels,
                         int64_t per_group, int64_t channels, int64_t i)
{
    const int64_t size = (int64_t)fc_size_of(p->run->conv->dtype), first = pixels * i / p->groups;
    if (stride[FC_W] == 1)
        return (fc_ahead){ fc_at(from, i * per_group * stride[FC_C], (size_t)size), channels, pixels * size,
                           stride[FC_C] * size, 0 };
    if (stride[FC_C] == 1)
        return (fc_ahead){ fc_at(from, first * stride[FC_W], (size_t)size), pixels * (i + 1) / p->groups - first,
                           ((p->groups - 1) * per_group + channels) * size, stride[FC_W] * size, 0 };
    return (fc_ahead){ .rows = 0 };
}

/* The next block of grad_output. */
static fc_ahead g_ahead(const rows_part *p, const fc_pixel_block *b, int64_t i)
{
    const fc_conv *conv = p->run->conv;
    const int64_t *y = conv->y_stride, channel = p->group * conv->out_per_group + p->oc;
    if (b->images > 1 || (b->rows > 1 && y[FC_H] != b->cols * y[FC_W]))
        return (fc_ahead){ .rows = 0 };
    const void *from = fc_at(p->run->g, b->image * y[FC_N] + channel * y[FC_C] + b->depth * y[FC_D] +
                                            b->row * y[FC_H] + b->col * y[FC_W], fc_size_of(conv->dtype));
    return ahead_of(p, y, from, b->rows * b->cols, conv->out_per_group, p->ocs, i);
}

/* The rows of x that the next block sees and this one does not. */
static fc_ahead x_ahead(const rows_part *p, const fc_pixel_block *b, const fc_pixel_block *next, int64_t i)
{
    const fc_conv *conv = p->run->conv;
    const int64_t *x = conv->x_stride, stride = conv->stride[FC_HEIGHT], width = conv->in_size[FC_WIDTH];
    const int64_t below = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] + 1 - conv->pad_before[FC_HEIGHT];
    const int64_t seen = next->row > b->row ? (b->row + b->rows - 1) * stride + below : 0, first = fc_max(0, seen);
    const int64_t rows = fc_min(conv->in_size[FC_HEIGHT], (next->row + next->rows - 1) * stride + below) - first;
    if (next->images > 1 || conv->in_size[FC_DEPTH] > 1 || rows <= 0 || x[FC_H] != width * x[FC_W])
        return (fc_ahead){ .rows = 0 };
    const int64_t channel = p->group * conv->in_per_group + p->ic;
    const void *from = fc_at(p->run->x, next->image * x[FC_N] + channel * x[FC_C] + first * x[FC_H],
                             fc_size_of(conv->dtype));
    return ahead_of(p, x, from, rows * width, conv->in_per_group, p->ics, i);
}

static void add_block(const rows_part *p, const fc_pixel_block *b, const fc_pixel_block *next, bool accumulate,
                      void *sums)
{
    const fc_conv *conv = p->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const rows_view x = view_of_x(p, b), g = view_of_g(p, b);
    const int64_t taps = p->ics * conv->taps;
    for (int64_t i = 0; i < p->groups; i++) {
        fc_lane_dots d = {
            .m = taps, .n = p->ocs, .images = b->images, .lines = b->rows, .pixels = b->cols,
            .a = fc_at(x.first, i * conv->in_per_group * x.channel, size), .a_image = x.image, .a_line = x.row,
            .a_at = at(p, LIST_AT),
            .b = fc_at(g.first, i * conv->out_per_group * g.channel, size), .b_image = g.image, .b_line = g.row,
            .b_row = g.channel, .accumulate = accumulate,
            .sums = fc_at_mut(sums, i * p->ocs * taps * p->run->table->lanes, size), .sums_a = 1, .sums_b = taps,
        };
        if (next) {
            d.ahead[0] = g_ahead(p, next, i);
            d.ahead[1] = x_ahead(p, b, next, i);
        }
        p->run->table->lane_dots(&d);
    }
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const fc_conv *conv = run->conv;
    const fc_weight_split *s = &run->split;
    const size_t size = fc_size_of(conv->dtype);
    const rows_part p = part_of(run, part, scratch);
    const int64_t taps = p.ics * conv->taps, lanes = run->table->lanes;
    void *sums = at(&p, SUMS_AT), *chain = at(&p, CHAIN_AT);
    list_taps(&p);
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &s->blocks, i);
        const fc_pixel_block next = fc_pixel_block_at(conv, &s->blocks, i + 1);
        const int64_t in_chain = (i - first) % s->a[BLOCKS];
        const bool begun = i - first < s->a[BLOCKS];
        add_block(&p, &b, i + 1 < end ? &next : NULL, in_chain > 0, begun ? sums : chain);
        if (!begun && (in_chain == s->a[BLOCKS] - 1 || i == end - 1)) {
            const fc_add_to add = { .count = p.groups * p.ocs * taps * lanes, .src = chain, .dst = sums };
            run->table->add(&add);
        }
    }
    for (int64_t i = 0; i < p.groups * p.ocs; i++) {
        const int64_t oc = (p.group + i / p.ocs) * conv->out_per_group + p.oc + i % p.ocs;
        const fc_lane_sums add = { .count = taps, .src = fc_at(sums, i * taps * lanes, size),
                                   .dst = fc_at_mut(out, oc * conv->depth + p.ic * conv->taps, size) };
        run->table->lane_sums(&add);
    }
}

/* Time of a multiply-add of a tile of so many rows of taps and outputs, which loads both: those of x cross lines. */
static double tile_price(const fc_machine *machine, int64_t taps, int64_t outs)
{
    const double rows = (double)fc_min(taps, 5), cols = (double)fc_min(outs, 5), load = machine->multiply;
    /* Where two products start in a cycle they wait for their loads. */
    return fc_of_two(machine, 1.15) * fmax(fc_multiply(machine, 1.05), load * (1.6 / cols + 1 / rows)) +
           4 / (rows * cols);
}

/* Time of a vector that is copied; adjacent channels are turned, those of a part together. */
static double copy_price(const int64_t stride[FC_AXES], int64_t channels, int64_t lanes, int64_t every)
{
    if (stride[FC_C] == 1 && channels > 1)    /* of pixels that share sets of the cache more slowly */
        return (stride[FC_W] * every % CROWDED == 0 ? 28 : every > 1 ? 22 : 16) *
               (double)lanes / (double)fc_min(channels, lanes);
    return every > 4 ? 40 : every > 2 ? 20 : every > 1 ? 10 : 6;
}

/* Copies of x: vectors, and rows. */
static void count_bands(const fc_conv *conv, const fc_weight_split *s, int64_t lanes, double *vectors, double *rows)
{
    const fc_band band = band_of(conv, s);
    const double planes = (double)(conv->in_channels * s->a[OC_BLOCKS]) * (double)(s->blocks.images * s->blocks.count);
    *vectors = s->a[COPIES_X] ? planes * (double)(band.size / band.channels) / (double)lanes : 0;
    *rows = s->a[COPIES_X] ? planes * (double)(band.rows * band.depth) * (double)band.phases : 0;
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const fc_weight_split s = split(conv, fc_table_for(conv->dtype));
    const int64_t lanes = machine->lanes, width = conv->out_size[FC_WIDTH];
    const int64_t y_count = conv->batch * conv->out_channels * conv->out_pixels, all = fc_x_count(conv) + y_count;
    const double lines = (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT]);
    const double weights = (double)conv->depth * (double)conv->out_channels, blocks = (double)s.blocks.count;
    const double vectors = (double)(width / lanes) + (width % lanes ? 1.3 : 0);
    const double g = (double)y_count * (double)s.a[IC_BLOCKS] / (double)lanes;
    const bool past = (double)all * (double)fc_size_of(conv->dtype) > 0.75 * (double)machine->l3;
    const int64_t every = fc_min(conv->stride[FC_WIDTH], conv->in_size[FC_WIDTH]);
    double x, x_rows;
    count_bands(conv, &s, lanes, &x, &x_rows);
    const fc_count counts[] = {
        { weights * lines * vectors, tile_price(machine, s.a[IC] * conv->taps, s.a[OC]) },
        { weights * lines / 25, 12 },                                              /* ends of rows */
        { weights * blocks, 6 },                                                   /* sums read and written */
        { x, copy_price(conv->x_stride, s.a[GROUPS] * s.a[IC], lanes, every) },
        { x_rows, 8 },
        { g, s.a[COPIES_G] ? copy_price(conv->y_stride, s.a[GROUPS] * s.a[OC], lanes, 1) : fc_far(conv, y_count) * 4 },
        { past ? (double)all / (double)lanes : 0, width <= lanes ? 45 : s.a[COPIES_G] ? 0 : 8 }, /* from memory */
        { weights, 10 },                                                           /* sums of lanes */
        { (double)(s.parts * s.a[GROUPS]) * blocks, 200 },
        { 1, 10000 },
    };
    return FC_COST(counts, machine);
}

const fc_weight_method fc_weight_rows = { "rows", supports, cost, split, task, NULL };
