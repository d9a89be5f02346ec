/* Weight gradient as a dense product: gW[(ic, tap)][oc] = sum over pixels of x[ic][pixel + tap] * gy[pixel][oc].
 *
 * Rows are pairs of input channel and tap, each a pointer into a zero-bordered band of x (or into x
 * where no padding is seen), broadcast at the offset of every output pixel, so stride and dilation
 * cost nothing; lanes are output channels, of grad_output packed per block of pixels.  The sums stay
 * in scratch over all blocks and are transposed into place at the end.  Called by weight_grad.c.
 *
 * Of few output channels a vector holds several groups: they are computed as one, a unit, whose products across
 * groups are dropped.  Where input channels fill vectors better, both exchange their roles: x is convolved with
 * grad_output, its taps the last first.  Adjacent channels of x stay adjacent in a band, rows in the order of
 * taps; then a part has several units, so that pixels from memory are read whole.
 *
 * Where there is enough padding, each tap is a product of its own, over the pixels where it meets none. */
#include "../base/size.h"
#include "band.h"
#include "cost.h"
#include "dense_problem.h"
#include "geometry.h"
#include "weight_grad.h"

enum {
    PIXELS = 600,             /* of a block: panels of grad_output are in L2, like the bands of x */
    LEAST_PIXELS = 64,
    WISHED_PARTS = 4,
    NEAR = 64,                /* elements between pixels that are read in place: farther ones share cache sets */
    CHAIN = 8,                /* blocks summed in one chain before they are added to the rest */
    SETS = 1024,              /* bytes: pixels a multiple of that apart share cache sets */
    MOST_UNIT_SUMS = 1 << 17, /* elements of a part with several units */
    LEAST_INS = 12,           /* rows of a product: fewer leave too much to its edges */
};
static const double PART_FLOPS = 1e7;         /* a part is worth a thread */
static const double MOST_MET = 0.98;          /* with a larger share of pixels no product is left out */
static const double LEAST_LEFT_OUT = 8;       /* pixels of a tap: fewer are less than to bring the sums in order */
/* Of split.a: groups of a unit; units of a part, blocks of them; channels of a unit
 * that a part takes; elements of a panel; whether x is copied, with how many elements to a pixel if its channels
 * are adjacent, else 0; whether roles are exchanged; whether each tap is a product of its own. */
enum { MERGED, UNITS, OC, OC_BLOCKS, IC, IC_BLOCKS, PANEL, COPIES, PITCH, EXCHANGED, SPLITS_TAPS };
enum { SUMS_AT, CHAIN_AT, BAND_AT, PANELS_AT, OFFSETS_AT, ROWS_AT }; /* of split.at */

static const char *supports(const fc_conv *conv)
{
    (void)conv;
    return NULL;
}

static bool interleaved(const fc_conv *conv) { return conv->x_stride[FC_C] == 1; }

/* Rows, and the sums, have the channels of a tap side by side, and not the taps of a channel. */
static bool by_taps(const fc_conv *conv, const fc_weight_split *s)
{
    return conv->taps > 1 && (interleaved(conv) || s->a[SPLITS_TAPS]);
}

static fc_band band_of(const fc_conv *conv, const fc_weight_split *s)
{
    const int64_t channels = interleaved(conv) ? s->a[PITCH] : s->a[IC];
    return fc_band_make(conv, channels, s->blocks.rows, s->blocks.cols, interleaved(conv), 1);
}

/* Elements of a band's pixel. */
static int64_t pitch_of(const fc_conv *conv, const fc_table *table, int64_t channels)
{
    return channels * (int64_t)fc_size_of(conv->dtype) % SETS == 0 ? channels + table->lanes : channels;
}

/* x is read in place where no padding is seen and the rows of a tile are adjacent pixels or channels. */
static bool copies(const fc_conv *conv)
{
    if (!fc_unpadded(conv))
        return true;
    return interleaved(conv) ? conv->x_stride[FC_W] > NEAR : conv->x_stride[FC_W] != 1;
}

/* Units that are parts of the same pixels, from memory, are computed together. */
static int64_t units_of(const fc_conv *conv, const fc_weight_split *s)
{
    const int64_t y_count = conv->batch * conv->out_pixels * conv->out_channels, sums = conv->depth * s->a[PANEL];
    if (!interleaved(conv) || conv->y_stride[FC_C] != 1 || conv->out_per_group > s->a[PANEL] ||
        (!fc_far(conv, fc_x_count(conv)) && !fc_far(conv, y_count)))
        return 1;
    const int64_t most = fc_max(1, fc_min(conv->groups, MOST_UNIT_SUMS / sums));
    return fc_div_up(conv->groups, fc_div_up(conv->groups, most));
}

static void cut_units(fc_weight_split *s, const fc_conv *conv, const fc_table *table)
{
    const int64_t l2 = fc_machine_for(conv->dtype)->l2 / 4 / (int64_t)fc_size_of(conv->dtype);
    const int64_t outs = s->a[UNITS] * s->a[PANEL], ins = s->a[UNITS] * conv->in_per_group;
    const int64_t most = fc_max(LEAST_PIXELS, fc_min(PIXELS, l2 / outs));
    int64_t cols = fc_min(conv->out_size[FC_WIDTH], most), rows = fc_min(conv->out_size[FC_HEIGHT], most / cols);
    int64_t images = fc_max(1, most / (rows * cols));
    s->a[COPIES] = true;
    s->a[PITCH] = pitch_of(conv, table, ins);
    fc_band_fit(conv, s->a[PITCH], true, 2 * l2, &images, &rows, &cols);
    s->blocks = fc_pixel_blocks_of(conv, images, rows, cols);
    s->a[IC] = conv->in_per_group;
    s->a[IC_BLOCKS] = 1;
    s->parts = fc_div_up(conv->groups, s->a[UNITS]);
}

/* Share of the pairs of output and tap that meet a pixel; 1 where an output meets none at all, for what it is if
 * not finite must be seen. */
static double met_share(const fc_conv *conv)
{
    double share = 1;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        share *= fc_met_share(conv, axis);
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (!fc_all_meet(conv, axis))
            return 1;
    return share;
}

/* Pixels of x that come from memory are read in pieces of some lines, so a block of a strided convolution rather has
 * fewer of them than these fewer channels. */
static void fit_pieces(const fc_conv *conv, int64_t *images, int64_t *rows, int64_t *cols)
{
    enum { PIECE = 768, FEW_PIXELS = 64 };    /* bytes; outputs that leave much to loading and storing sums */
    const int64_t size = (int64_t)fc_size_of(conv->dtype), most = fc_machine_for(conv->dtype)->l2 / 2 / size;
    int64_t channels = fc_min(conv->in_per_group, PIECE / size), i, r, c;
    for (;; channels = fc_div_up(channels, 2)) {
        i = *images;
        r = *rows;
        c = *cols;
        fc_band_fit(conv, channels, true, most, &i, &r, &c);
        if (i * r * c >= FEW_PIXELS || channels * size <= PIECE / 4)
            break;
    }
    *images = i;
    *rows = r;
    *cols = c;
}

/* A unit, or a part of one. */
static void cut_channels(fc_weight_split *s, const fc_conv *conv, const fc_table *table, bool plain)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    int64_t cols = fc_min(conv->out_size[FC_WIDTH], PIXELS);
    int64_t rows = fc_max(1, fc_min(conv->out_size[FC_HEIGHT], PIXELS / cols));
    int64_t images = fc_max(1, PIXELS / (rows * cols));
    s->a[COPIES] = copies(conv);
    if (s->a[COPIES])                         /* for outputs that a large stride takes far apart */
        fc_band_fit(conv, 1, interleaved(conv), fc_machine_for(conv->dtype)->l2 / 4 / size, &images, &rows, &cols);
    if (s->a[COPIES] && interleaved(conv) && fc_far(conv, fc_x_count(conv)))
        fit_pieces(conv, &images, &rows, &cols);
    s->blocks = fc_pixel_blocks_of(conv, images, rows, cols);
    s->a[IC_BLOCKS] = fc_div_up(conv->depth, fc_max(FC_DENSE_ROWS, conv->taps));
    for (;;) {
        s->a[IC] = fc_div_up(conv->in_per_group, s->a[IC_BLOCKS]);
        s->a[PITCH] = pitch_of(conv, table, s->a[IC]);
        const int64_t band = band_of(conv, s).size * s->blocks.images * size;
        const bool fits = !s->a[COPIES] || band <= fc_machine_for(conv->dtype)->l2 / 2;
        const int64_t parts = conv->groups * s->a[OC_BLOCKS] * s->a[IC_BLOCKS] * s->blocks.count;
        if (s->a[IC] == 1 || (fits && (parts >= WISHED_PARTS || (double)parts * 2 * PART_FLOPS > conv->flops)))
            break;
        s->a[IC_BLOCKS] *= 2;
    }
    s->a[IC_BLOCKS] = fc_div_up(conv->in_per_group, s->a[IC]);
    const double met = met_share(conv), left_out = (1 - met) * (double)(conv->batch * conv->out_pixels);
    s->a[SPLITS_TAPS] = !plain && s->a[IC] >= LEAST_INS && met < MOST_MET && left_out >= LEAST_LEFT_OUT;
    s->parts = conv->groups * s->a[OC_BLOCKS] * s->a[IC_BLOCKS];
}

/* `plain` for every product, with padding too, in the roles as they are: of what is not finite. */
static fc_weight_split split_as(const fc_conv *original, const fc_table *table, bool plain)
{
    fc_weight_split s = { .a[EXCHANGED] = !plain && fc_dense_exchanges(original, table->lanes) };
    const fc_conv computes = fc_dense_computed(original, table->lanes, s.a[EXCHANGED], &s.a[MERGED]), *conv = &computes;
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    const int64_t vectors = fc_panel_vectors(table, fc_div_up(conv->out_per_group, table->lanes));
    s.a[PANEL] = vectors * table->lanes;
    const int64_t panels = fc_div_up(conv->out_per_group, s.a[PANEL]);
    s.a[OC_BLOCKS] = fc_div_up(panels * s.a[PANEL], FC_DENSE_CHANNELS);
    s.a[OC] = fc_div_up(panels, s.a[OC_BLOCKS]) * s.a[PANEL];
    s.a[OC_BLOCKS] = fc_div_up(conv->out_per_group, s.a[OC]);
    s.a[UNITS] = units_of(conv, &s);
    if (s.a[UNITS] > 1)
        cut_units(&s, conv, table);
    else
        cut_channels(&s, conv, table, plain);
    s.spreads = s.a[EXCHANGED] || s.a[SPLITS_TAPS];
    const int64_t pixels = s.blocks.images * s.blocks.rows * s.blocks.cols, taps = s.a[IC] * conv->taps;
    const int64_t sums = s.a[UNITS] * taps * s.a[OC];
    const int64_t band = s.a[COPIES] ? band_of(conv, &s).size * s.blocks.images : 0;
    s.at[SUMS_AT] = 0;
    s.at[CHAIN_AT] = (size_t)fc_round_up(sums * size, 64);
    s.at[BAND_AT] = s.at[CHAIN_AT] * (s.blocks.count > CHAIN || by_taps(conv, &s) ? 2 : 1);
    s.at[PANELS_AT] = s.at[BAND_AT] + (size_t)fc_round_up(band * size, 64);
    s.at[OFFSETS_AT] = s.at[PANELS_AT] + (size_t)fc_round_up(s.a[UNITS] * (pixels * s.a[OC] + table->lanes) * size, 64);
    s.at[ROWS_AT] = s.at[OFFSETS_AT] + (size_t)(pixels * (s.a[SPLITS_TAPS] ? 3 : 1)) * sizeof(int64_t);
    s.bytes = s.at[ROWS_AT] + (size_t)taps * sizeof(void *);
    return s;
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    return split_as(conv, table, false);
}

static fc_weight_split split_plain(const fc_conv *conv, const fc_table *table) { return split_as(conv, table, true); }

/* What one part adds up, and where a block of x and of grad_output lies. */
typedef struct dense_part {
    const fc_weight_run *run;
    fc_conv conv;                             /* as it is computed */
    const void *x, *g;                        /* of that */
    fc_band band;
    int64_t unit, units, ic, ics, oc, ocs;    /* channels of one unit, from its first */
    char *scratch;
} dense_part;

static void *at(const dense_part *p, int which) { return p->scratch + p->run->split.at[which]; }

static int64_t sums_of(const dense_part *p) { return p->ics * p->conv.taps * p->run->split.a[OC]; }

/* Channels of one unit that there are. */
static int64_t ins_of(const dense_part *p, int64_t unit)
{
    return fc_min(p->ics, p->conv.in_channels - unit * p->conv.in_per_group - p->ic);
}
static int64_t outs_of(const dense_part *p, int64_t unit)
{
    return fc_min(p->ocs, p->conv.out_channels - unit * p->conv.out_per_group - p->oc);
}

/* Steps of x as rows are found in it: of the band, or in place. */
typedef struct dense_view {
    const void *first;                        /* under the block's first pixel, of the part's first channel */
    int64_t image, channel, depth, row, col;
} dense_view;

static dense_view view_of(const dense_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = &p->conv;
    const int64_t *x = conv->x_stride, *stride = conv->stride;
    const fc_band *band = &p->band;
    if (p->run->split.a[COPIES])
        return (dense_view){ at(p, BAND_AT), band->size, band->channel_step, band->depth_step, band->row_step,
                             band->col_step };
    const int64_t first = b->image * x[FC_N] + (p->unit * conv->in_per_group + p->ic) * x[FC_C] +
                          b->depth * stride[FC_DEPTH] * x[FC_D] + b->row * stride[FC_HEIGHT] * x[FC_H] +
                          b->col * stride[FC_WIDTH] * x[FC_W];
    return (dense_view){ fc_at(p->x, first, fc_size_of(conv->dtype)), x[FC_N], x[FC_C],
                         x[FC_D] * conv->dilation[FC_DEPTH], x[FC_H], x[FC_W] };
}

/* The offset of every pixel of the block from its first. */
static void find_offsets(const dense_part *p, const dense_view *v, const fc_pixel_block *b)
{
    const int64_t row = p->conv.stride[FC_HEIGHT] * v->row, col = p->conv.stride[FC_WIDTH] * v->col;
    int64_t *offset = at(p, OFFSETS_AT);
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < b->rows; r++)
            for (int64_t c = 0; c < b->cols; c++)
                *offset++ = n * v->image + r * row + c * col;
}

/* One row for every channel and tap of the part's i-th unit: taps of a channel, or channels of a tap, follow
 * each other. */
static void find_rows(const dense_part *p, const dense_view *v, int64_t i)
{
    const fc_conv *conv = &p->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *k = conv->kernel, ins = ins_of(p, p->unit + i);
    const bool by_tap = by_taps(conv, &p->run->split);
    const int64_t channel = by_tap ? 1 : conv->taps, tap = by_tap ? ins : 1;
    const void **rows = at(p, ROWS_AT);
    for (int64_t t = 0; t < conv->taps; t++) {
        const int64_t from = i * conv->in_per_group * v->channel + t / k[2] / k[1] * v->depth +
                             t / k[2] % k[1] * conv->dilation[FC_HEIGHT] * v->row +
                             t % k[2] * conv->dilation[FC_WIDTH] * v->col;
        for (int64_t c = 0; c < ins; c++)
            rows[c * channel + t * tap] = fc_at(v->first, from + c * v->channel, size);
    }
}

static void copy_bands(const dense_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = &p->conv;
    const fc_conv_run run = { .conv = conv, .table = p->run->table, .x = p->x };
    const int64_t first = p->unit * conv->in_per_group + p->ic;
    const int64_t channels = p->run->split.a[UNITS] > 1
                                 ? fc_min(p->units * conv->in_per_group, conv->in_channels - first)
                                 : ins_of(p, p->unit);
    for (int64_t n = 0; n < b->images; n++) {
        const fc_block_origin origin = { b->image + n, b->depth, b->row, b->col };
        fc_band_copy(&run, &p->band, &origin, first, channels,
                     fc_at_mut(at(p, BAND_AT), n * p->band.size, fc_size_of(conv->dtype)));
    }
}

/* A block of grad_output from a channel on. */
static const void *g_at(const dense_part *p, const fc_pixel_block *b, int64_t channel)
{
    const int64_t *y = p->conv.y_stride;
    return fc_at(p->g, b->image * y[FC_N] + channel * y[FC_C] + b->depth * y[FC_D] + b->row * y[FC_H] +
                           b->col * y[FC_W], fc_size_of(p->conv.dtype));
}

/* Where a block of grad_output lies as panels: in place, with its pixels this far apart, where channels
 * are adjacent and fill vectors; else 0. */
static int64_t step_in_place(const dense_part *p, const fc_pixel_block *b)
{
    const int64_t *y = p->conv.y_stride;
    if (y[FC_C] != 1 || y[FC_W] < 1 || y[FC_W] > NEAR || outs_of(p, p->unit) % p->run->table->lanes != 0 ||
        p->run->split.a[UNITS] > 1 || (b->rows > 1 && y[FC_H] != b->cols * y[FC_W]) ||
        (b->images > 1 && y[FC_N] != b->rows * b->cols * y[FC_W]))
        return 0;
    return y[FC_W];
}

/* Rows of pixels that follow each other are one row. */
static bool even_rows(const dense_part *p, const fc_pixel_block *b)
{
    return b->rows == 1 || p->conv.y_stride[FC_H] == b->cols * p->conv.y_stride[FC_W];
}

/* grad_output as [panel][pixel][lane], lanes without a channel zero. */
static void pack_panels(const dense_part *p, const fc_pixel_block *b)
{
    const size_t size = fc_size_of(p->conv.dtype);
    const int64_t *y = p->conv.y_stride, panel = p->run->split.a[PANEL], pixels = b->images * b->rows * b->cols;
    const bool even = even_rows(p, b);
    const int64_t rows = even ? 1 : b->rows, cols = even ? b->rows * b->cols : b->cols, outs = outs_of(p, p->unit);
    char *to = at(p, PANELS_AT);
    for (int64_t c = 0; c < outs; c += panel, to += (size_t)(pixels * panel) * size)
        for (int64_t n = 0; n < b->images; n++)
            for (int64_t r = 0; r < rows; r++) {
                const int64_t lanes = fc_min(panel, outs - c);
                const fc_move move = {
                    .rows = cols, .cols = lanes,
                    .src = fc_at(g_at(p, b, p->unit * p->conv.out_per_group + p->oc + c),
                                 n * y[FC_N] + r * y[FC_H], size),
                    .src_row = y[FC_W], .src_col = y[FC_C],
                    .dst = to + (size_t)((n * rows + r) * cols * panel) * size, .dst_row = panel, .dst_col = 1,
                    .zero_after = panel - lanes,
                };
                p->run->table->move(&move);
            }
}

/* Elements of a unit's pixels, with a vector that the last may overwrite. */
static int64_t block_of_unit(const dense_part *p, const fc_pixel_block *b)
{
    return b->images * b->rows * b->cols * p->conv.out_per_group + p->run->table->lanes;
}

/* Adjacent channels of all units, read in order: [unit][pixel][output channel]. */
static void pack_units(const dense_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = &p->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride, width = conv->out_per_group, first = p->unit * width;
    const bool even = even_rows(p, b);
    const int64_t rows = even ? 1 : b->rows, cols = even ? b->rows * b->cols : b->cols;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < rows; r++) {
            const fc_outer_pack pack = {
                .pixels = cols, .channels = fc_min(p->units * width, conv->out_channels - first), .width = width,
                .src = fc_at(g_at(p, b, first), n * y[FC_N] + r * y[FC_H], size), .src_step = y[FC_W],
                .dst = fc_at_mut(at(p, PANELS_AT), (n * rows + r) * cols * width, size),
                .dst_block = block_of_unit(p, b),
            };
            p->run->table->outer_pack(&pack);
        }
}

/* Whether the pixels under one tap are neighbours from the first to the last. */
static bool adjacent(const dense_part *p, const fc_pixel_block *b, const dense_view *v)
{
    return b->images == 1 && b->rows == 1 && p->conv.stride[FC_WIDTH] == 1 && v->col == 1;
}

/* Pixels of the block that meet one of x through tap t: their offsets from the first, in x and from `b_step` in
 * grad_output, beside each other behind those of all pixels.  Returns how many there are. */
static int64_t find_met(const dense_part *p, const fc_pixel_block *b, int64_t t, int64_t b_step)
{
    const fc_conv *conv = &p->conv;
    const int64_t *k = conv->kernel, pixels = b->images * b->rows * b->cols;
    int64_t *all = at(p, OFFSETS_AT), *x = all + pixels, *g = x + pixels;
    const fc_span depth = fc_met_by_tap(conv, FC_DEPTH, t / k[2] / k[1]);
    const fc_span height = fc_met_by_tap(conv, FC_HEIGHT, t / k[2] % k[1]);
    const fc_span width = fc_met_by_tap(conv, FC_WIDTH, t % k[2]);
    const int64_t row0 = fc_max(0, height.before - b->row), col0 = fc_max(0, width.before - b->col);
    const int64_t rows = fc_min(b->rows, height.before + height.inside - b->row);
    const int64_t cols = fc_min(b->cols, width.before + width.inside - b->col);
    if (b->depth < depth.before || b->depth >= depth.before + depth.inside)
        return 0;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t row = row0; row < rows; row++)
            for (int64_t col = col0; col < cols; col++) {
                const int64_t pixel = (n * b->rows + row) * b->cols + col;
                *x++ = all[pixel];
                *g++ = pixel * b_step;
            }
    return x - all - pixels;
}

/* The product of each tap by itself. */
static void multiply_taps(const dense_part *p, const fc_pixel_block *b, fc_gemm *g)
{
    const size_t size = fc_size_of(p->conv.dtype);
    int64_t *met = (int64_t *)at(p, OFFSETS_AT) + g->k;
    const void *const *rows = g->a;
    void *sums = g->c;
    g->a_offset = met;
    g->b_offset = met + g->k;
    g->m = ins_of(p, p->unit);
    for (int64_t t = 0; t < p->conv.taps; t++) {
        g->k = find_met(p, b, t, g->b_step);
        g->a = rows + t * g->m;
        g->c = fc_at_mut(sums, t * g->m * g->c_row, size);
        p->run->table->gemm(g);
    }
}

static void multiply(const dense_part *p, const fc_pixel_block *b, bool accumulate, void *sums)
{
    const fc_conv *conv = &p->conv;
    const fc_weight_split *s = &p->run->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t pixels = b->images * b->rows * b->cols, step = step_in_place(p, b);
    const dense_view v = view_of(p, b);
    fc_gemm g = {
        .k = pixels, .a = at(p, ROWS_AT), .a_offset = adjacent(p, b, &v) ? NULL : at(p, OFFSETS_AT),
        .b = at(p, PANELS_AT), .b_panel = pixels * s->a[PANEL], .b_step = s->a[PANEL],
        .panel_vectors = (int)(s->a[PANEL] / p->run->table->lanes), .accumulate = accumulate, .c_row = s->a[OC],
    };
    if (step > 0) {
        g.b = g_at(p, b, p->unit * conv->out_per_group + p->oc);
        g.b_panel = s->a[PANEL];
        g.b_step = step;
    } else if (s->a[UNITS] > 1) {
        g.b_step = conv->out_per_group;
    }
    find_offsets(p, &v, b);
    for (int64_t i = 0; i < p->units; i++) {
        find_rows(p, &v, i);
        g.m = ins_of(p, p->unit + i) * conv->taps;
        g.n = outs_of(p, p->unit + i);
        g.c = fc_at_mut(sums, i * sums_of(p), size);
        if (s->a[SPLITS_TAPS])
            multiply_taps(p, b, &g);
        else
            p->run->table->gemm(&g);
        g.b = fc_at(g.b, block_of_unit(p, b), size);
    }
}

/* Rows in the order of taps to that of channels. */
static const void *order(const dense_part *p, int64_t ins, const void *sums)
{
    const size_t size = fc_size_of(p->conv.dtype);
    const int64_t taps = p->conv.taps, row = p->run->split.a[OC];
    void *ordered = at(p, CHAIN_AT);
    for (int64_t t = 0; t < taps; t++) {
        const fc_move move = { .rows = ins, .cols = row, .src = fc_at(sums, t * ins * row, size), .src_row = row,
                               .src_col = 1, .dst = fc_at_mut(ordered, t * row, size), .dst_row = taps * row,
                               .dst_col = 1 };
        p->run->table->move(&move);
    }
    return ordered;
}

/* The channels of a unit's i-th group that this part has of one side: from `first`, so many, to `*from` and
 * `*end`, of a unit's channels, `per_group` to a group. */
static void share(int64_t i, int64_t per_group, int64_t first, int64_t count, int64_t *from, int64_t *end)
{
    *from = fc_max(i * per_group, first);
    *end = fc_min((i + 1) * per_group, first + count);
}

/* The sums of a unit, less those across its groups, to the gradient. */
static void finish_unit(const dense_part *p, int64_t unit, const void *sums, void *out)
{
    const fc_conv *original = p->run->conv;
    const fc_weight_split *s = &p->run->split;
    const size_t size = fc_size_of(original->dtype);
    const int64_t taps = original->taps, depth = original->depth, row = s->a[OC], ins = ins_of(p, unit);
    const int64_t groups = fc_min(s->a[MERGED], original->groups - unit * s->a[MERGED]);
    const int64_t ic_group = p->conv.in_per_group / s->a[MERGED], oc_group = p->conv.out_per_group / s->a[MERGED];
    const bool exchange = s->a[EXCHANGED], by_tap = by_taps(&p->conv, s);
    if (by_tap && !exchange)
        sums = order(p, ins, sums);
    for (int64_t i = 0; i < groups; i++) {
        const int64_t group = unit * s->a[MERGED] + i;
        int64_t c, c_end, o, o_end;
        share(i, ic_group, p->ic, ins, &c, &c_end);
        share(i, oc_group, p->oc, outs_of(p, unit), &o, &o_end);
        if (c >= c_end || o >= o_end)
            continue;
        if (!exchange) {
            const fc_move move = {
                .rows = o_end - o, .cols = (c_end - c) * taps, .src_row = 1, .src_col = row,
                .src = fc_at(sums, (c - p->ic) * taps * row + o - p->oc, size),
                .dst = fc_at_mut(out, (group * oc_group + o - i * oc_group) * depth + (c - i * ic_group) * taps, size),
                .dst_row = depth, .dst_col = 1,
            };
            p->run->table->move(&move);
        }
        for (; exchange && c < c_end; c++) {  /* taps turned round */
            const int64_t at = by_tap ? (taps - 1) * ins + c - p->ic : (c - p->ic + 1) * taps - 1;
            const fc_move move = {
                .rows = o_end - o, .cols = taps, .src = fc_at(sums, at * row + o - p->oc, size), .src_row = 1,
                .src_col = by_tap ? -ins * row : -row,
                .dst = fc_at_mut(out, (group * ic_group + c - i * ic_group) * depth + (o - i * oc_group) * taps, size),
                .dst_row = taps, .dst_col = 1,
            };
            p->run->table->move(&move);
        }
    }
}

static dense_part part_of(const fc_weight_run *run, int64_t part, void *scratch)
{
    const fc_weight_split *s = &run->split;
    int64_t merged;
    const bool exchange = s->a[EXCHANGED];
    dense_part p = { .run = run, .conv = fc_dense_computed(run->conv, run->table->lanes, exchange, &merged),
                     .x = exchange ? run->g : run->x, .g = exchange ? run->x : run->g, .scratch = scratch };
    const fc_conv *conv = &p.conv;
    p.band = band_of(conv, s);
    p.ic = part % s->a[IC_BLOCKS] * s->a[IC];
    p.ics = fc_min(s->a[IC], conv->in_per_group - p.ic);
    part /= s->a[IC_BLOCKS];
    p.oc = part % s->a[OC_BLOCKS] * s->a[OC];
    p.ocs = fc_min(s->a[OC], conv->out_per_group - p.oc);
    p.unit = part / s->a[OC_BLOCKS] * s->a[UNITS];
    p.units = fc_min(s->a[UNITS], conv->groups - p.unit);
    return p;
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const fc_weight_split *s = &run->split;
    const dense_part p = part_of(run, part, scratch);
    if (ins_of(&p, p.unit) <= 0 || outs_of(&p, p.unit) <= 0)
        return;                               /* the last unit has fewer groups */
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(&p.conv, &s->blocks, i);
        if (s->a[COPIES])
            copy_bands(&p, &b);
        if (s->a[UNITS] > 1)
            pack_units(&p, &b);
        else if (step_in_place(&p, &b) == 0)
            pack_panels(&p, &b);
        const int64_t in_chain = (i - first) % CHAIN;
        multiply(&p, &b, in_chain > 0, at(&p, i - first < CHAIN ? SUMS_AT : CHAIN_AT));
        if (i - first >= CHAIN && (in_chain == CHAIN - 1 || i == end - 1)) {
            const fc_add_to add = { .count = p.units * sums_of(&p), .src = at(&p, CHAIN_AT), .dst = at(&p, SUMS_AT) };
            run->table->add(&add);
        }
    }
    for (int64_t i = 0; i < p.units; i++)
        finish_unit(&p, p.unit + i, fc_at(at(&p, SUMS_AT), i * sums_of(&p), fc_size_of(run->conv->dtype)), out);
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    int64_t merged;
    const fc_conv c = fc_dense_computed(conv, machine->lanes, fc_dense_exchanges(conv, machine->lanes), &merged);
    const double sums = (double)c.groups * (double)c.depth * (double)fc_div_up(c.out_per_group, machine->lanes);
    const double met = met_share(&c);
    const int vectors = (int)fc_min(4, fc_div_up(c.out_per_group, machine->lanes));
    const fc_count counts[] = {
        { fc_dense_products(&c, machine->lanes) * (met < MOST_MET ? met : 1), fc_multiply_tile(machine, 1, vectors) },
        { fc_dense_copied(&c, machine->lanes), 1 },
        { sums, 8 },                                                               /* transposes out */
        { (double)c.groups * (1 + (double)(c.batch * c.out_pixels) / PIXELS), 600 },
        { 1, 9000 },
    };
    return FC_COST(counts, machine) * (!conv->channels_last && conv->groups == 1 ? fc_of_two(machine, 0.87) : 1);
}

static const fc_weight_method plain = { "direct", supports, cost, split_plain, task, NULL };
const fc_weight_method fc_weight_dense = { "direct", supports, cost, split, task, &plain };
