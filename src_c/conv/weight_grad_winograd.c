/* Weight gradient of dense 3x3 convolutions through Winograd's F(4x4, 3x3): a quarter of the products.
 *
 * Tiles of x (6 x 6) and of grad_output (4 x 4) are transformed to [xi][tile][channel]; a dense product
 * for each xi sums over the tiles, input channels broadcast and output channels as lanes; the sums are
 * transformed back once for many tiles.  See kernels/winograd_grad.h for the matrices.  The phases of a
 * dilated kernel, every d-th pixel of every d-th row, are images of their own.
 * Called by weight_grad.c. */
#include "../base/size.h"
#include "band.h"
#include "cost.h"
#include "geometry.h"
#include "weight_grad.h"

enum {
    M = 4, XIS = 36, TAPS = 9,
    BLOCK = 64,               /* channels of either side whose sums, 36 for each pair, stay in L2 */
    RANGE = 256,              /* input channels of a part where one block of tiles is all of them */
    OUT_RANGE = 128,
    MOST_TILES = 64,          /* of a block, at most */
    LEAST_PHASE = 16,         /* pixels a side: tiles of smaller ones are too empty to be worth it */
    CHAIN = 512,              /* tiles summed in one chain before they are transformed back */
};
enum { IC, IC_RANGES, OC, OC_RANGES, V_TILE, G_TILE, CHAIN_BLOCKS }; /* of split.a */
enum { BAND_AT, V_AT, G_AT, P_AT, TAPS_AT, ROWS_AT }; /* of split.at */

static const char *supports(const fc_conv *conv)
{
    if (conv->exact)
        return "Winograd is off while exact results are asked for";
    if (conv->kernel[FC_DEPTH] != 1 || conv->kernel[FC_HEIGHT] != 3 || conv->kernel[FC_WIDTH] != 3)
        return "Winograd needs a 3x3 kernel";
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (conv->stride[axis] != 1)
            return "Winograd needs stride 1";
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++)
        if (conv->dilation[axis] > 1 && conv->out_size[axis] / conv->dilation[axis] < LEAST_PHASE)
            return "Winograd needs a dilation of at most a sixteenth of the output";
    return NULL;
}

static int64_t phases_of(const fc_conv *conv, int axis) { return fc_min(conv->dilation[axis], conv->out_size[axis]); }

/* The problem with tiles for output pixels and phases for images, which fc_pixel_blocks counts. */
static fc_conv in_tiles(const fc_conv *conv)
{
    fc_conv tiles = *conv;
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++) {
        tiles.out_size[axis] = fc_div_up(fc_div_up(conv->out_size[axis], conv->dilation[axis]), M);
        tiles.batch *= phases_of(conv, axis);
    }
    return tiles;
}

/* One phase as a problem without dilation; x and y are the offsets of its first elements. */
static fc_conv phase_of(const fc_conv *conv, int64_t phase, int64_t *x, int64_t *y)
{
    fc_conv sub = *conv;
    const int64_t wide = phases_of(conv, FC_WIDTH), first[] = { 0, phase / wide, phase % wide };
    *x = *y = 0;
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++) {
        const int64_t d = conv->dilation[axis], seen = (first[axis] - conv->pad_before[axis]) % d;
        const int64_t rest = seen < 0 ? seen + d : seen;
        sub.dilation[axis] = 1;
        sub.in_size[axis] = rest < conv->in_size[axis] ? fc_div_up(conv->in_size[axis] - rest, d) : 0;
        sub.out_size[axis] = fc_div_up(conv->out_size[axis] - first[axis], d);
        sub.pad_before[axis] = (rest + conv->pad_before[axis] - first[axis]) / d;
        *x += sub.in_size[axis] > 0 ? rest * conv->x_stride[FC_D + axis] : 0;
        *y += first[axis] * conv->y_stride[FC_D + axis];
        sub.x_stride[FC_D + axis] *= sub.in_size[axis] > 1 ? d : 1;
        sub.y_stride[FC_D + axis] *= sub.out_size[axis] > 1 ? d : 1;
    }
    return sub;
}

/* grad_output as the x of a convolution, for its band. */
static fc_conv seen_grad(const fc_conv *conv)
{
    fc_conv seen = *conv;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        seen.in_size[axis] = conv->out_size[axis];
        seen.kernel[axis] = 1;
        seen.pad_before[axis] = 0;
    }
    for (int axis = 0; axis < FC_AXES; axis++)
        seen.x_stride[axis] = conv->y_stride[axis];
    return seen;
}

static fc_band band_of(const fc_conv *conv, const fc_pixel_blocks *blocks)
{
    return fc_band_make(conv, BLOCK, blocks->rows * M, blocks->cols * M, true, 1);
}

static int64_t tiles_of(const fc_weight_split *s) { return s->blocks.images * s->blocks.rows * s->blocks.cols; }

/* One more than a power of two lines would be: xi planes must not fall on the same cache sets. */
static int64_t v_xi(const fc_weight_split *s) { return tiles_of(s) * s->a[V_TILE] + 16; }
static int64_t g_xi(const fc_weight_split *s) { return tiles_of(s) * s->a[G_TILE] + 16; }
enum { P_XI = BLOCK * BLOCK + 16 };

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = { 0 };
    const fc_conv tiles = in_tiles(conv);
    const int64_t size = (int64_t)fc_size_of(conv->dtype), l2 = fc_machine_for(conv->dtype)->l2;
    const int64_t of_image = tiles.out_size[FC_HEIGHT] * tiles.out_size[FC_WIDTH];
    const int64_t budget = fc_max(l2, 1 << 20) * 9 / 20 / (XIS * size * 2 * BLOCK);
    const int64_t most = fc_max(8, fc_min(MOST_TILES, budget)), cols = fc_min(tiles.out_size[FC_WIDTH], most);
    s.blocks = fc_pixel_blocks_of(&tiles, fc_max(1, most / of_image), fc_max(1, most / cols), cols);
    const bool one = s.blocks.count == 1;
    s.a[IC] = one ? fc_max(BLOCK, fc_min(RANGE, budget * 2 * BLOCK / tiles_of(&s) - OUT_RANGE)) / BLOCK * BLOCK : BLOCK;
    s.a[OC] = one ? fc_max(BLOCK, fc_min(OUT_RANGE, conv->out_per_group / 2)) / BLOCK * BLOCK : BLOCK;
    s.a[IC_RANGES] = fc_div_up(conv->in_per_group, s.a[IC]);
    s.a[OC_RANGES] = fc_div_up(conv->out_per_group, s.a[OC]);
    s.parts = conv->groups * s.a[OC_RANGES] * s.a[IC_RANGES];
    s.a[V_TILE] = fc_round_up(fc_min(s.a[IC], conv->in_per_group), table->lanes);
    s.a[G_TILE] = fc_round_up(fc_min(s.a[OC], conv->out_per_group), 2 * table->lanes);
    s.a[CHAIN_BLOCKS] = one ? 1 : fc_div_up(CHAIN, tiles_of(&s));
    int64_t of_x, of_y;
    const fc_conv phase = phase_of(conv, 0, &of_x, &of_y), seen = seen_grad(&phase);
    const fc_band x = band_of(&phase, &s.blocks), g = band_of(&seen, &s.blocks);
    s.at[V_AT] = (size_t)fc_round_up((fc_max(x.size, g.size) + BLOCK) * size, 64);
    s.at[G_AT] = s.at[V_AT] + (size_t)fc_round_up(XIS * v_xi(&s) * size, 64);
    s.at[P_AT] = s.at[G_AT] + (size_t)fc_round_up(XIS * g_xi(&s) * size, 64);
    s.at[TAPS_AT] = s.at[P_AT] + (size_t)fc_round_up(XIS * P_XI * size, 64);
    s.at[ROWS_AT] = s.at[TAPS_AT] + (size_t)(2 * TAPS * BLOCK * BLOCK * size);
    s.bytes = s.at[ROWS_AT] + BLOCK * sizeof(void *) + (size_t)tiles_of(&s) * sizeof(int64_t);
    return s;
}

/* Channels of one part: of the whole tensors, and how many. */
typedef struct winograd_part {
    const fc_weight_run *run;
    int64_t ic, ics, oc, ocs;
    char *scratch;
} winograd_part;

static void *at(const winograd_part *p, int which) { return p->scratch + p->run->split.at[which]; }

/* Image n of a block, which is a phase of an image: its problem and where its pixels begin. */
typedef struct winograd_image {
    fc_conv conv;
    fc_block_origin at;
    int64_t x, y;
} winograd_image;

static winograd_image image_of(const fc_conv *conv, const fc_pixel_block *b, int64_t n)
{
    const int64_t phases = phases_of(conv, FC_HEIGHT) * phases_of(conv, FC_WIDTH), index = b->image + n;
    winograd_image image = { .at = { index / phases, b->depth, b->row * M, b->col * M } };
    image.conv = phase_of(conv, index % phases, &image.x, &image.y);
    return image;
}

static void transform_x(const winograd_part *p, const fc_pixel_block *b)
{
    const fc_weight_split *s = &p->run->split;
    const size_t size = fc_size_of(p->run->conv->dtype);
    const fc_pixel_blocks blocks = { .rows = b->rows, .cols = b->cols };
    const fc_winograd_line line = { FC_WINOGRAD_F43, M };
    int64_t places[MOST_TILES];
    for (int64_t i = 0; i < MOST_TILES; i++)
        places[i] = i * M;
    for (int64_t n = 0; n < b->images; n++) {
        const winograd_image image = image_of(p->run->conv, b, n);
        const fc_band band = band_of(&image.conv, &blocks);
        const fc_conv_run run = { .conv = &image.conv, .table = p->run->table, .x = fc_at(p->run->x, image.x, size) };
        for (int64_t c = 0; c < p->ics; c += BLOCK) {
            const int64_t count = fc_min(BLOCK, p->ics - c);
            fc_band_copy(&run, &band, &image.at, p->ic + c, count, at(p, BAND_AT));
            const fc_winograd_input w = {
                .row = line, .col = line, .tile_rows = b->rows, .tile_cols = b->cols,
                .channels = count, .band = at(p, BAND_AT), .row_at = places, .col_at = places,
                .row_step = band.row_step, .col_step = band.col_step, .row_tap = 1, .col_tap = 1,
                .v = fc_at_mut(at(p, V_AT), n * b->rows * b->cols * s->a[V_TILE] + c, size),
                .xi_step = v_xi(s), .tile_step = s->a[V_TILE],
            };
            run.table->winograd_input(&w);
        }
    }
}

static void transform_g(const winograd_part *p, const fc_pixel_block *b)
{
    const fc_weight_split *s = &p->run->split;
    const size_t size = fc_size_of(p->run->conv->dtype);
    const fc_pixel_blocks blocks = { .rows = b->rows, .cols = b->cols };
    for (int64_t n = 0; n < b->images; n++) {
        const winograd_image image = image_of(p->run->conv, b, n);
        const fc_conv seen = seen_grad(&image.conv);
        const fc_band band = band_of(&seen, &blocks);
        const fc_conv_run run = { .conv = &seen, .table = p->run->table, .x = fc_at(p->run->g, image.y, size) };
        for (int64_t c = 0; c < p->ocs; c += BLOCK) {
            const int64_t count = fc_min(BLOCK, p->ocs - c);
            fc_band_copy(&run, &band, &image.at, p->oc + c, count, at(p, BAND_AT));
            const fc_winograd_grad_in w = {
                .tile_rows = b->rows, .tile_cols = b->cols, .channels = count, .y = at(p, BAND_AT),
                .row_step = band.row_step, .col_step = band.col_step,
                .v = fc_at_mut(at(p, G_AT), n * b->rows * b->cols * s->a[G_TILE] + c, size),
                .xi_step = g_xi(s), .tile_step = s->a[G_TILE],
            };
            run.table->winograd_grad_in(&w);
        }
    }
}

/* Products of input channels ic .. ic + ics of the part with output channels oc .. oc + ocs. */
static void multiply(const winograd_part *p, int64_t tiles, int64_t ic, int64_t ics, int64_t oc, int64_t ocs,
                     bool accumulate)
{
    const fc_weight_split *s = &p->run->split;
    const fc_table *table = p->run->table;
    const size_t size = fc_size_of(p->run->conv->dtype);
    const void **rows = at(p, ROWS_AT);
    int64_t *offset = (int64_t *)(void *)(rows + BLOCK);
    for (int64_t t = 0; t < tiles; t++)
        offset[t] = t * s->a[V_TILE];
    fc_gemm g = {
        .m = ics, .n = ocs, .k = tiles, .a = rows, .a_offset = offset, .b_panel = 2 * table->lanes,
        .b_step = s->a[G_TILE], .panel_vectors = 2, .accumulate = accumulate, .c_row = BLOCK,
    };
    for (int64_t xi = 0; xi < XIS; xi++) {
        for (int64_t c = 0; c < ics; c++)
            rows[c] = fc_at(at(p, V_AT), xi * v_xi(s) + ic + c, size);
        g.b = fc_at(at(p, G_AT), xi * g_xi(s) + oc, size);
        g.c = fc_at_mut(at(p, P_AT), xi * P_XI, size);
        table->gemm(&g);
    }
}

/* The sums so far as taps, added to those before where there are any. */
static void finish(const winograd_part *p, int64_t ics, int64_t ocs, bool first)
{
    const fc_table *table = p->run->table;
    void *all = at(p, TAPS_AT), *more = fc_at_mut(all, TAPS * BLOCK * BLOCK, fc_size_of(p->run->conv->dtype));
    const fc_winograd_grad_out w = {
        .rows = ics, .lanes = ocs, .products = at(p, P_AT), .xi_step = P_XI, .row_step = BLOCK,
        .taps = first ? all : more, .tap_step = BLOCK,
    };
    table->winograd_grad_out(&w);
    const fc_add_to add = { .count = ics * TAPS * BLOCK, .src = more, .dst = all };
    if (!first)
        table->add(&add);
}

static void store(const winograd_part *p, int64_t ic, int64_t ics, int64_t oc, int64_t ocs, void *out)
{
    const fc_conv *conv = p->run->conv;
    const int64_t channel = p->ic % conv->in_per_group + ic;
    const fc_move move = {
        .rows = ocs, .cols = ics * TAPS, .src = at(p, TAPS_AT), .src_row = 1, .src_col = BLOCK,
        .dst = fc_at_mut(out, (p->oc + oc) * conv->depth + channel * TAPS, fc_size_of(conv->dtype)),
        .dst_row = conv->depth, .dst_col = 1,
    };
    p->run->table->move(&move);
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const fc_conv *conv = run->conv, tiles = in_tiles(conv);
    const fc_weight_split *s = &run->split;
    const int64_t ic = part % s->a[IC_RANGES] * s->a[IC], rest = part / s->a[IC_RANGES];
    const int64_t oc = rest % s->a[OC_RANGES] * s->a[OC], group = rest / s->a[OC_RANGES];
    const winograd_part p = {
        .run = run, .scratch = scratch, .ic = group * conv->in_per_group + ic, .oc = group * conv->out_per_group + oc,
        .ics = fc_min(s->a[IC], conv->in_per_group - ic), .ocs = fc_min(s->a[OC], conv->out_per_group - oc),
    };
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(&tiles, &s->blocks, i);
        const int64_t chain = s->a[CHAIN_BLOCKS], in_chain = (i - first) % chain;
        transform_x(&p, &b);
        transform_g(&p, &b);
        for (int64_t c = 0; c < p.ics; c += BLOCK)
            for (int64_t k = 0; k < p.ocs; k += BLOCK) {
                const int64_t ics = fc_min(BLOCK, p.ics - c), ocs = fc_min(BLOCK, p.ocs - k);
                multiply(&p, b.images * b.rows * b.cols, c, ics, k, ocs, in_chain > 0);
                if (in_chain == chain - 1 || i == end - 1)
                    finish(&p, ics, ocs, i - first < chain);
                if (i == end - 1)
                    store(&p, c, ics, k, ocs, out);
            }
    }
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const fc_weight_split s = split(conv, fc_table_for(conv->dtype));
    const double groups = (double)conv->groups, channels = (double)conv->in_per_group;
    const double in = (double)fc_div_up(conv->in_per_group, machine->lanes);
    const double out = (double)fc_div_up(conv->out_per_group, machine->lanes);
    const double tiles = (double)s.blocks.count * (double)tiles_of(&s);
    const double in_passes = in * (double)s.a[OC_RANGES], out_passes = out * (double)s.a[IC_RANGES];
    const bool nchw = conv->x_stride[FC_C] != 1;
    const bool far = fc_far(conv, conv->batch * conv->out_channels * conv->out_pixels);
    const fc_count counts[] = {
        { groups * XIS * tiles * channels * out, 1.2 * machine->multiply },
        { groups * XIS * tiles * in_passes, 9 },                                      /* transform x */
        { groups * XIS * tiles * out_passes, 6 },                                     /* transform grad_output */
        { groups * tiles * (36 * in_passes + 16 * out_passes), 6 + 14 * nchw + 12 * far }, /* copy bands */
        { conv->groups > 1 && !nchw ? groups * tiles * 52 : 0, 40 },                  /* pixels in pieces */
        { groups * XIS * channels * out, 8 },                                         /* transform and store taps */
        { groups * XIS * ceil(channels / 13) * ceil(out / 2) * (double)s.blocks.count, 75 }, /* tiles of the product */
        { 1, 14000 },
    };
    return FC_COST(counts, machine) * (conv->channels_last ? 1 : fc_of_two(machine, 0.87));
}

const fc_weight_method fc_weight_winograd = { "winograd4", supports, cost, split, task, NULL };
