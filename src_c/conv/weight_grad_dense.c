/* Weight gradient as a dense product: gW[(ic, tap)][oc] = sum over pixels of x[ic][pixel + tap] * gy[pixel][oc].
 *
 * Rows are pairs of input channel and tap, each a pointer into a zero-bordered band of x (or into x
 * where no padding is seen), broadcast at the offset of every output pixel, so stride and dilation
 * cost nothing; lanes are output channels, of grad_output packed per block of pixels.  The sums stay
 * in scratch over all blocks and are transposed into place at the end.  Called by weight_grad.c. */
#include "../base/size.h"
#include "band.h"
#include "cost.h"
#include "geometry.h"
#include "weight_grad.h"

enum {
    PIXELS = 600,             /* of a block: panels of grad_output are in L2, like the bands of x */
    ROWS = 1152,              /* (channel, tap) pairs of a part: parts each copy what they see, so rather few */
    CHANNELS = 256,           /* output channels of a part */
    WISHED_PARTS = 4,
    NEAR = 64,                /* elements between pixels that are read in place: farther ones share cache sets */
    CHAIN = 8,                /* blocks summed in one chain before they are added to the rest */
};
static const double PART_FLOPS = 4e7;         /* a part is worth a thread */
enum { OC, OC_BLOCKS, IC, IC_BLOCKS, PANEL, VECTORS, COPIES }; /* of split.a */
enum { SUMS_AT, CHAIN_AT, BAND_AT, PANELS_AT, OFFSETS_AT, ROWS_AT }; /* of split.at */

static const char *supports(const fc_conv *conv)
{
    (void)conv;
    return NULL;
}

static fc_band band_of(const fc_conv *conv, const fc_weight_split *s)
{
    return fc_band_make(conv, s->a[IC], s->blocks.rows, s->blocks.cols, false, 1);
}

/* x is read in place where no padding is seen and the rows of a tile are adjacent pixels or, with one
 * tap, adjacent channels. */
static bool copies(const fc_conv *conv)
{
    return !fc_unpadded(conv) || (conv->x_stride[FC_W] != 1 && (conv->x_stride[FC_C] != 1 || conv->taps > 1));
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = { 0 };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), vectors = fc_div_up(conv->out_per_group, table->lanes);
    s.a[VECTORS] = fc_panel_vectors(table, vectors);
    s.a[PANEL] = s.a[VECTORS] * table->lanes;
    const int64_t panels = fc_div_up(conv->out_per_group, s.a[PANEL]);
    s.a[OC_BLOCKS] = fc_div_up(panels * s.a[PANEL], CHANNELS);
    s.a[OC] = fc_div_up(panels, s.a[OC_BLOCKS]) * s.a[PANEL];
    s.a[OC_BLOCKS] = fc_div_up(conv->out_per_group, s.a[OC]);
    const int64_t height = conv->out_size[FC_HEIGHT], cols = fc_min(conv->out_size[FC_WIDTH], PIXELS);
    const int64_t rows = fc_max(1, fc_min(height, PIXELS / cols));
    s.blocks = fc_pixel_blocks_of(conv, fc_max(1, PIXELS / (rows * cols)), rows, cols);
    s.a[COPIES] = copies(conv);
    s.a[IC_BLOCKS] = fc_div_up(conv->depth, fc_max(ROWS, conv->taps));
    for (;;) {
        s.a[IC] = fc_div_up(conv->in_per_group, s.a[IC_BLOCKS]);
        const int64_t band = band_of(conv, &s).size * s.blocks.images * size;
        const bool fits = !s.a[COPIES] || band <= fc_machine_for(conv->dtype)->l2 / 2;
        const int64_t parts = conv->groups * s.a[OC_BLOCKS] * s.a[IC_BLOCKS] * s.blocks.count;
        if (s.a[IC] == 1 || (fits && (parts >= WISHED_PARTS || (double)parts * 2 * PART_FLOPS > conv->flops)))
            break;
        s.a[IC_BLOCKS] *= 2;
    }
    s.a[IC_BLOCKS] = fc_div_up(conv->in_per_group, s.a[IC]);
    s.parts = conv->groups * s.a[OC_BLOCKS] * s.a[IC_BLOCKS];
    const int64_t pixels = s.blocks.images * s.blocks.rows * s.blocks.cols, taps = s.a[IC] * conv->taps;
    const int64_t sums = taps * s.a[OC];
    const int64_t band = s.a[COPIES] ? band_of(conv, &s).size * s.blocks.images : 0;
    s.at[SUMS_AT] = 0;
    s.at[CHAIN_AT] = (size_t)fc_round_up(sums * size, 64);
    s.at[BAND_AT] = s.at[CHAIN_AT] * (s.blocks.count > CHAIN ? 2 : 1);
    s.at[PANELS_AT] = s.at[BAND_AT] + (size_t)fc_round_up(band * size, 64);
    s.at[OFFSETS_AT] = s.at[PANELS_AT] + (size_t)fc_round_up(pixels * s.a[OC] * size, 64);
    s.at[ROWS_AT] = s.at[OFFSETS_AT] + (size_t)pixels * sizeof(int64_t);
    s.bytes = s.at[ROWS_AT] + (size_t)taps * sizeof(void *);
    return s;
}

/* What one part adds up, and where a block of x and of grad_output lies. */
typedef struct dense_part {
    const fc_weight_run *run;
    fc_band band;
    int64_t ic, ics, oc, ocs;                 /* of the whole tensors, and how many */
    char *scratch;
} dense_part;

static void *at(const dense_part *p, int which) { return p->scratch + p->run->split.at[which]; }

/* One row for every (channel, tap), and the offset of every pixel of the block from its first. */
static void find_rows(const dense_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = p->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const bool copied = p->run->split.a[COPIES];
    const int64_t *x = conv->x_stride, *stride = conv->stride, *dilation = conv->dilation;
    const int64_t channel = copied ? p->band.channel_step : x[FC_C];
    const int64_t depth = copied ? p->band.depth_step : x[FC_D] * dilation[FC_DEPTH];
    const int64_t row = copied ? p->band.row_step : x[FC_H], col = copied ? p->band.col_step : x[FC_W];
    const int64_t image = copied ? p->band.size : x[FC_N];
    const void *first = at(p, BAND_AT), **rows = at(p, ROWS_AT);
    if (!copied)
        first = fc_at(p->run->x, b->image * x[FC_N] + p->ic * x[FC_C] + b->depth * stride[FC_DEPTH] * x[FC_D] +
                                     b->row * stride[FC_HEIGHT] * row + b->col * stride[FC_WIDTH] * col, size);
    for (int64_t c = 0; c < p->ics; c++)
        for (int64_t d = 0; d < conv->kernel[FC_DEPTH]; d++)
            for (int64_t h = 0; h < conv->kernel[FC_HEIGHT]; h++)
                for (int64_t w = 0; w < conv->kernel[FC_WIDTH]; w++)
                    *rows++ = fc_at(first, c * channel + d * depth + h * dilation[FC_HEIGHT] * row +
                                               w * dilation[FC_WIDTH] * col, size);
    int64_t *offset = at(p, OFFSETS_AT);
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < b->rows; r++)
            for (int64_t c = 0; c < b->cols; c++)
                *offset++ = n * image + r * stride[FC_HEIGHT] * row + c * stride[FC_WIDTH] * col;
}

static void copy_bands(const dense_part *p, const fc_pixel_block *b)
{
    const fc_conv_run run = { .conv = p->run->conv, .table = p->run->table, .x = p->run->x };
    for (int64_t n = 0; n < b->images; n++) {
        const fc_block_origin origin = { b->image + n, b->depth, b->row, b->col };
        fc_band_copy(&run, &p->band, &origin, p->ic, p->ics,
                     fc_at_mut(at(p, BAND_AT), n * p->band.size, fc_size_of(run.conv->dtype)));
    }
}

/* Where a block of grad_output lies as panels: in place, with its pixels this far apart, where channels
 * are adjacent and fill vectors; else 0. */
static int64_t step_in_place(const dense_part *p, const fc_pixel_block *b)
{
    const int64_t *y = p->run->conv->y_stride;
    if (y[FC_C] != 1 || y[FC_W] < 1 || y[FC_W] > NEAR || p->ocs % p->run->table->lanes != 0 ||
        (b->rows > 1 && y[FC_H] != b->cols * y[FC_W]) || (b->images > 1 && y[FC_N] != b->rows * b->cols * y[FC_W]))
        return 0;
    return y[FC_W];
}

/* grad_output as [panel][pixel][lane], lanes without a channel zero. */
static void pack_panels(const dense_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = p->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride, panel = p->run->split.a[PANEL], pixels = b->images * b->rows * b->cols;
    const bool even = b->rows == 1 || y[FC_H] == b->cols * y[FC_W];
    const int64_t rows = even ? 1 : b->rows, cols = even ? b->rows * b->cols : b->cols;
    char *to = at(p, PANELS_AT);
    for (int64_t c = 0; c < p->ocs; c += panel, to += (size_t)(pixels * panel) * size)
        for (int64_t n = 0; n < b->images; n++)
            for (int64_t r = 0; r < rows; r++) {
                const int64_t lanes = fc_min(panel, p->ocs - c);
                const fc_move move = {
                    .rows = cols, .cols = lanes,
                    .src = fc_at(p->run->g, (b->image + n) * y[FC_N] + (p->oc + c) * y[FC_C] + b->depth * y[FC_D] +
                                                (b->row + r) * y[FC_H] + b->col * y[FC_W], size),
                    .src_row = y[FC_W], .src_col = y[FC_C],
                    .dst = to + (size_t)((n * rows + r) * cols * panel) * size, .dst_row = panel, .dst_col = 1,
                    .zero_after = panel - lanes,
                };
                p->run->table->move(&move);
            }
}

/* Whether the pixels under one tap are neighbours from the first to the last. */
static bool adjacent(const dense_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = p->run->conv;
    return b->images == 1 && b->rows == 1 && conv->stride[FC_WIDTH] == 1 &&
           (p->run->split.a[COPIES] ? p->band.col_step : conv->x_stride[FC_W]) == 1;
}

static void multiply(const dense_part *p, const fc_pixel_block *b, bool accumulate, void *sums)
{
    const fc_conv *conv = p->run->conv;
    const fc_weight_split *s = &p->run->split;
    const int64_t pixels = b->images * b->rows * b->cols, step = step_in_place(p, b), *y = conv->y_stride;
    fc_gemm g = {
        .m = p->ics * conv->taps, .n = p->ocs, .k = pixels, .a = at(p, ROWS_AT),
        .a_offset = adjacent(p, b) ? NULL : at(p, OFFSETS_AT),
        .b = at(p, PANELS_AT), .b_panel = pixels * s->a[PANEL], .b_step = s->a[PANEL],
        .panel_vectors = (int)s->a[VECTORS], .accumulate = accumulate, .c = sums, .c_row = s->a[OC],
    };
    if (step > 0) {
        g.b = fc_at(p->run->g, b->image * y[FC_N] + p->oc + b->depth * y[FC_D] + b->row * y[FC_H] + b->col * y[FC_W],
                    fc_size_of(conv->dtype));
        g.b_panel = s->a[PANEL];
        g.b_step = step;
    }
    p->run->table->gemm(&g);
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const fc_conv *conv = run->conv;
    const fc_weight_split *s = &run->split;
    const size_t size = fc_size_of(conv->dtype);
    dense_part p = { .run = run, .band = band_of(conv, s), .scratch = scratch };
    const int64_t ic = part % s->a[IC_BLOCKS] * s->a[IC], rest = part / s->a[IC_BLOCKS];
    const int64_t oc = rest % s->a[OC_BLOCKS] * s->a[OC], group = rest / s->a[OC_BLOCKS];
    p.ic = group * conv->in_per_group + ic;
    p.ics = fc_min(s->a[IC], conv->in_per_group - ic);
    p.oc = group * conv->out_per_group + oc;
    p.ocs = fc_min(s->a[OC], conv->out_per_group - oc);
    const int64_t rows = p.ics * conv->taps;
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &s->blocks, i);
        if (s->a[COPIES])
            copy_bands(&p, &b);
        find_rows(&p, &b);
        if (step_in_place(&p, &b) == 0)
            pack_panels(&p, &b);
        const int64_t in_chain = (i - first) % CHAIN;
        multiply(&p, &b, in_chain > 0, at(&p, i - first < CHAIN ? SUMS_AT : CHAIN_AT));
        if (i - first >= CHAIN && (in_chain == CHAIN - 1 || i == end - 1)) {
            const fc_add_to add = { .count = rows * s->a[OC], .src = at(&p, CHAIN_AT), .dst = at(&p, SUMS_AT) };
            run->table->add(&add);
        }
    }
    const fc_move move = {
        .rows = p.ocs, .cols = rows, .src = at(&p, SUMS_AT), .src_row = 1, .src_col = s->a[OC],
        .dst = fc_at_mut(out, p.oc * conv->depth + ic * conv->taps, size), .dst_row = conv->depth, .dst_col = 1,
    };
    run->table->move(&move);
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const double groups = (double)conv->groups, depth = (double)conv->depth;
    const double vectors = (double)fc_div_up(conv->out_per_group, machine->lanes);
    const double pixels = (double)(conv->batch * conv->out_pixels);
    /* Channels that are adjacent, but few of a group, are no blocks to transpose. */
    const bool torn = conv->x_stride[FC_C] == 1 && conv->groups > 1 && conv->in_per_group < 2 * machine->lanes;
    const fc_count counts[] = {
        { groups * depth * vectors * pixels, 1.2 },                                /* multiply */
        { torn ? (double)fc_x_count(conv) : 0, 8 },
        { groups * (depth / machine->lanes + vectors) * pixels / 4, 20 },          /* copies */
        { groups * depth * vectors, 8 },                                           /* transposes out */
        { 1, 14000 },
    };
    return FC_COST(counts, machine);
}

const fc_weight_method fc_weight_dense = { "direct", supports, cost, split, task };
