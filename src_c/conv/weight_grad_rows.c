/* Weight gradient of few channels a group: every weight is a sum of products of two rows of pixels.
 *
 * Lanes are pixels of a row, of grad_output and of a zero-bordered band of x whose columns are split by stride
 * phase.  Each weight is an accumulator of its own, lanes added at the end.  Takes any problem.
 * Called by weight_grad.c. */
#include "../base/size.h"
#include "band.h"
#include "cost.h"
#include "geometry.h"
#include "weight_grad.h"

enum {
    PLANE = 4096,             /* elements of one channel's rows, so that all passes over them hit L1 */
    COLS = 2048,
    MOST_TAPS = 1024,         /* sums of one output channel held at a time, if its kernel allows */
    WISHED_PARTS = 16,
};
enum { GROUPS, GROUP_BLOCKS, OC, OC_BLOCKS, IC, IC_BLOCKS, COPIES_X, COPIES_G }; /* of split.a */
enum { SUMS_AT, BAND_AT, G_AT, LINES_AT, OUT_AT }; /* of split.at */

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

static void place(fc_weight_split *s, const fc_conv *conv, const fc_table *table, int64_t outputs, int64_t taps)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    const int64_t sums = outputs * taps * table->lanes, pixels = s->blocks.rows * s->blocks.cols;
    s->at[SUMS_AT] = 0;
    s->at[BAND_AT] = (size_t)fc_round_up(sums * size, 64);
    s->at[G_AT] = s->at[BAND_AT] + (size_t)fc_round_up(s->a[COPIES_X] ? band_of(conv, s).size * size : 0, 64);
    s->at[LINES_AT] = s->at[G_AT] + (size_t)fc_round_up(s->a[COPIES_G] ? outputs * pixels * size : 0, 64);
    s->at[OUT_AT] = s->at[LINES_AT] + (size_t)fc_round_up(taps * (int64_t)sizeof(int64_t), 64);
    s->bytes = s->at[OUT_AT] + (size_t)(taps * size);
}

/* Rows of a block so that one channel's band has about PLANE elements. */
static fc_pixel_blocks blocks_of(const fc_conv *conv, int64_t elements)
{
    const int64_t cols = fc_min(conv->out_size[FC_WIDTH], COLS);
    const fc_band one = fc_band_make(conv, 1, 1, cols, true, 1);
    const int64_t row = one.cols * one.depth * fc_min(conv->stride[FC_HEIGHT], elements);
    const int64_t halo = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT];
    const int64_t rows = elements / row - halo / conv->stride[FC_HEIGHT];
    return fc_pixel_blocks_of(conv, 1, fc_max(rows, fc_min(halo + 1, 8)), cols);
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = { 0 };
    const int64_t l2 = fc_machine_for(conv->dtype)->l2 / 4 / (int64_t)fc_size_of(conv->dtype);
    s.blocks = blocks_of(conv, PLANE);
    s.a[COPIES_X] = !fc_unpadded(conv) || conv->x_stride[FC_W] != 1 || conv->stride[FC_WIDTH] != 1;
    s.a[COPIES_G] = conv->y_stride[FC_W] != 1;
    s.a[IC_BLOCKS] = fc_max(1, fc_min(conv->in_per_group, conv->depth / MOST_TAPS));
    s.a[IC] = fc_div_up(conv->in_per_group, s.a[IC_BLOCKS]);
    s.a[GROUPS] = 1;
    while (s.a[IC] > 1 && s.a[COPIES_X] && band_of(conv, &s).size > l2)
        s.a[IC] = fc_div_up(s.a[IC], 2);
    s.a[IC_BLOCKS] = fc_div_up(conv->in_per_group, s.a[IC]);
    s.a[OC_BLOCKS] = fc_div_up(conv->out_per_group, 16);
    s.a[OC] = fc_div_up(conv->out_per_group, s.a[OC_BLOCKS]);
    s.a[OC_BLOCKS] = fc_div_up(conv->out_per_group, s.a[OC]);
    if (s.a[IC_BLOCKS] == 1 && s.a[OC_BLOCKS] == 1) { /* several small groups, whose copies share a call */
        const int64_t channels = fc_max(conv->in_per_group, conv->out_per_group);
        s.a[GROUPS] = fc_max(1, fc_min(conv->groups / WISHED_PARTS, 16 / channels));
        while (s.a[GROUPS] > 1 && band_of(conv, &s).size > l2)
            s.a[GROUPS] /= 2;
    }
    s.a[GROUP_BLOCKS] = fc_div_up(conv->groups, s.a[GROUPS]);
    s.parts = s.a[GROUP_BLOCKS] * s.a[OC_BLOCKS] * s.a[IC_BLOCKS];
    place(&s, conv, table, s.a[GROUPS] * s.a[OC], s.a[IC] * conv->taps);
    return s;
}

/* x under a block, in place or copied. */
typedef struct rows_view {
    const void *x;                            /* under the first pixel of the first channel */
    int64_t channel, depth, row, col;         /* elements between them; row and col are the image's */
    int64_t phase, phases;
} rows_view;

static rows_view view_of(const fc_weight_run *run, const fc_band *band, const fc_pixel_block *b, int64_t channel,
                         int64_t channels, void *memory)
{
    const fc_conv *conv = run->conv;
    const int64_t *x = conv->x_stride;
    if (run->split.a[COPIES_X]) {
        const fc_conv_run copy = { .conv = conv, .table = run->table, .x = run->x };
        const fc_block_origin origin = { b->image, b->depth, b->row, b->col };
        fc_band_copy(&copy, band, &origin, channel, channels, memory);
        return (rows_view){ memory, band->channel_step, band->depth_step, band->row_step, band->col_step,
                            band->phase_step, band->phases };
    }
    const int64_t first = b->image * x[FC_N] + channel * x[FC_C] + b->depth * conv->stride[0] * x[FC_D] +
                          b->row * conv->stride[1] * x[FC_H] + b->col * conv->stride[2] * x[FC_W];
    return (rows_view){ fc_at(run->x, first, fc_size_of(conv->dtype)), x[FC_C], x[FC_D] * conv->dilation[0], x[FC_H],
                        x[FC_W], 0, 1 };
}

/* Taps as the kernel takes them.  Steps run along the kernel's rows where their pixels are evenly
 * apart, else along its columns, or along channels where it has one tap. */
typedef struct rows_taps {
    int64_t lines, steps, x_step;
    bool natural;                             /* sums come in the order of the weights */
} rows_taps;

static rows_taps find_taps(const fc_conv *conv, const rows_view *v, int64_t channels, int64_t *line)
{
    const int64_t *k = conv->kernel, across = conv->dilation[FC_WIDTH], down = conv->dilation[FC_HEIGHT] * v->row;
    if (conv->taps == 1) {
        const int64_t steps = channels % 4 == 0 ? 4 : channels % 3 == 0 ? 3 : channels % 2 == 0 ? 2 : channels;
        for (int64_t c = 0; c < channels; c += steps)
            *line++ = c * v->channel;
        return (rows_taps){ channels / steps, steps, v->channel, true };
    }
    const bool rows = (v->phases == 1 || across % v->phases == 0) && (k[2] > 1 || k[1] == 1);
    const int64_t inner = rows ? k[1] : k[2];
    for (int64_t c = 0; c < channels; c++)
        for (int64_t d = 0; d < k[0]; d++)
            for (int64_t i = 0; i < inner; i++)
                *line++ = c * v->channel + d * v->depth +
                          (rows ? i * down : i * across % v->phases * v->phase + i * across / v->phases * v->col);
    return (rows_taps){ channels * k[0] * inner, rows ? k[2] : k[1], rows ? across / v->phases * v->col : down,
                        rows || k[2] == 1 };
}

/* Lanes are pixels: the sums of one pair of groups' worth of channels. */
typedef struct rows_part {
    int64_t group, groups, ic, ics, oc, ocs;  /* channels count from the group's first */
    fc_band band;
} rows_part;

static rows_part part_of(const fc_weight_run *run, int64_t part)
{
    const fc_conv *conv = run->conv;
    const fc_weight_split *s = &run->split;
    rows_part p = { .band = band_of(conv, s) };
    p.ic = part % s->a[IC_BLOCKS] * s->a[IC];
    p.ics = fc_min(s->a[IC], conv->in_per_group - p.ic);
    part /= s->a[IC_BLOCKS];
    p.oc = part % s->a[OC_BLOCKS] * s->a[OC];
    p.ocs = fc_min(s->a[OC], conv->out_per_group - p.oc);
    p.group = part / s->a[OC_BLOCKS] * s->a[GROUPS];
    p.groups = fc_min(s->a[GROUPS], conv->groups - p.group);
    return p;
}

/* grad_output under the block as [channel][row][col], where its pixels are not adjacent. */
static void copy_g(const fc_weight_run *run, const rows_part *p, const fc_pixel_block *b, void *memory)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride, channel = p->group * conv->out_per_group + p->oc;
    for (int64_t r = 0; r < b->rows; r++) {
        const fc_move move = {
            .rows = (p->groups - 1) * conv->out_per_group + p->ocs, .cols = b->cols,
            .src = fc_at(run->g, b->image * y[FC_N] + channel * y[FC_C] + b->depth * y[FC_D] + (b->row + r) * y[FC_H] +
                                     b->col * y[FC_W], size),
            .src_row = y[FC_C], .src_col = y[FC_W],
            .dst = fc_at_mut(memory, r * b->cols, size), .dst_row = b->rows * b->cols, .dst_col = 1,
        };
        run->table->move(&move);
    }
}

static rows_taps add_block(const fc_weight_run *run, const rows_part *p, const fc_pixel_block *b, char *scratch)
{
    const fc_conv *conv = run->conv;
    const fc_weight_split *s = &run->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t lanes = run->table->lanes, *y = conv->y_stride;
    int64_t *line = (int64_t *)(void *)(scratch + s->at[LINES_AT]);
    const rows_view v = view_of(run, &p->band, b, p->group * conv->in_per_group + p->ic,
                                (p->groups - 1) * conv->in_per_group + p->ics, scratch + s->at[BAND_AT]);
    const rows_taps taps = find_taps(conv, &v, p->ics, line);
    if (s->a[COPIES_G])
        copy_g(run, p, b, scratch + s->at[G_AT]);
    for (int64_t i = 0; i < p->groups * p->ocs; i++) {
        const int64_t group = i / p->ocs, oc = (p->group + group) * conv->out_per_group + p->oc + i % p->ocs;
        const fc_tap_sums sums = {
            .rows = b->rows, .cols = b->cols / lanes, .lanes = lanes, .tail = b->cols % lanes,
            .g = s->a[COPIES_G] ? fc_at(scratch + s->at[G_AT], i * b->rows * b->cols, size)
                                : fc_at(run->g, b->image * y[FC_N] + oc * y[FC_C] + b->depth * y[FC_D] +
                                                    b->row * y[FC_H] + b->col, size),
            .x = fc_at(v.x, group * conv->in_per_group * v.channel, size),
            .g_row = s->a[COPIES_G] ? b->cols : y[FC_H], .g_col = lanes,
            .x_row = conv->stride[FC_HEIGHT] * v.row, .x_col = lanes,
            .line = line, .lines = taps.lines, .steps = taps.steps, .x_step = taps.x_step,
            .sums = fc_at_mut(scratch, i * p->ics * conv->taps * lanes, size),
        };
        run->table->tap_sums(&sums);
    }
    return taps;
}

/* Lanes added up, kernels whose columns were steps turned back. */
static void finish(const fc_weight_run *run, const rows_part *p, const rows_taps *taps, char *scratch, void *out)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t count = p->ics * conv->taps, steps = taps->steps, inner = conv->kernel[FC_WIDTH];
    void *sums = scratch + run->split.at[OUT_AT];
    for (int64_t i = 0; i < p->groups * p->ocs; i++) {
        const int64_t oc = (p->group + i / p->ocs) * conv->out_per_group + p->oc + i % p->ocs;
        void *to = fc_at_mut(out, oc * conv->depth + p->ic * conv->taps, size);
        const fc_lane_sums lanes = { .count = count, .src = fc_at(scratch, i * count * run->table->lanes, size),
                                     .dst = taps->natural ? to : sums };
        run->table->lane_sums(&lanes);
        for (int64_t plane = 0; plane < count && !taps->natural; plane += steps * inner) {
            const fc_move move = { .rows = steps, .cols = inner, .src = fc_at(sums, plane, size), .src_row = 1,
                                   .src_col = steps, .dst = fc_at_mut(to, plane, size), .dst_row = inner,
                                   .dst_col = 1 };
            run->table->move(&move);
        }
    }
}

static void clear(const fc_weight_run *run, void *sums, int64_t count)
{
    const fc_move zeros = { .rows = 1, .dst = sums, .dst_col = 1, .zero_before = count };
    run->table->move(&zeros);
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const rows_part p = part_of(run, part);
    rows_taps taps = { 0 };
    clear(run, scratch, p.groups * p.ocs * p.ics * run->conv->taps * run->table->lanes);
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(run->conv, &run->split.blocks, i);
        taps = add_block(run, &p, &b, scratch);
    }
    finish(run, &p, &taps, scratch, out);
}

/* Vectors of x and of grad_output that are copied, lanes along channels. */
static double copied(const fc_conv *conv, const fc_machine *machine)
{
    const double in = (double)(conv->in_size[0] * conv->in_size[1] * conv->in_size[2]) * (double)conv->in_channels;
    const double out = (double)conv->out_pixels * (double)conv->out_channels;
    return (double)conv->batch * (in + out) / machine->lanes;
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const double rows = (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT]);
    const double vectors = (double)fc_div_up(conv->out_size[FC_WIDTH], machine->lanes);
    const double weights = (double)conv->depth * (double)conv->out_channels, nhwc = conv->channels_last;
    const double in_rows = (double)conv->batch * (double)(conv->in_size[FC_DEPTH] * conv->in_size[FC_HEIGHT]);
    const double phases = (double)fc_min(conv->stride[FC_WIDTH], conv->in_size[FC_WIDTH]);
    const fc_count counts[] = {
        { weights * rows * vectors, fc_multiply_loaded(machine, 2.4) },
        { copied(conv, machine), 5 + 60 * nhwc + 3 * (conv->stride[FC_WIDTH] > 1) },
        { rows * (double)conv->out_channels, 50 },                                 /* ends of rows */
        { (phases > 1 ? phases * in_rows : rows) * (double)conv->in_channels, 50 },
        { weights, 10 },                                                           /* sums of lanes */
        { 1, 14000 },
    };
    return FC_COST(counts, machine);
}

const fc_weight_method fc_weight_rows = { "rows", supports, cost, split, task, NULL };
