/* Blocks, scratch and predicted time of Winograd convolutions: see winograd_split.h. */
#include "winograd_split.h"
#include "../base/parallel.h"
#include "cost.h"
#include "geometry.h"
#include <math.h>
#include <stdio.h>

enum {
    CHUNK = 128,              /* input channels per product: a panel of U stays in L1, few passes over the products */
    BAND_BYTES = 32 << 10,    /* of a band, where one vector of channels leaves room for more */
    BAND_VECTORS = 4,
    PANEL_VECTORS = 2,
    LEAST_TILES = 28,         /* per block: fewer would make U too often, or read it */
    MOST_TILES = 200,         /* of blocks that make U themselves */
    ONE_BLOCK = 56,           /* so few tiles are one block: U is made once, and not kept; */
    TWO_BLOCKS = 24,          /* of several threads two, from so many on: what another has made is far */
    PRODUCT_BYTES = 8 << 20,
    MOST_PHASE_BYTES = 64 << 20,
    WISHED_TASKS = 8,         /* where threads are more than blocks, tasks share V and have some of its panels each */
    MOST_ODD = 15,            /* more tasks may be an odd number */
    MOST_DILATION = 24,       /* a block has a tile of every phase at least */
};

const char *fc_winograd_supports(const fc_conv *conv, int m)
{
    if (conv->exact)
        return "Winograd is off while exact results are asked for";
    if (conv->kernel[FC_DEPTH] != 1 || conv->stride[FC_DEPTH] != 1 || conv->pad_before[FC_DEPTH] != 0)
        return "Winograd needs a two-dimensional kernel";
    if (conv->stride[FC_HEIGHT] != 1 || conv->stride[FC_WIDTH] != 1)
        return "Winograd needs stride 1";
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++)
        if (conv->kernel[axis] > 1 && conv->dilation[axis] > MOST_DILATION)
            return "Winograd needs a dilation of at most 24";
    if (conv->taps == 1)
        return "Winograd needs a kernel larger than 1x1";
    if (!fc_winograd_has_form(conv, FC_HEIGHT, m) || !fc_winograd_has_form(conv, FC_WIDTH, m))
        return m == 2
            ? "Winograd with two outputs per tile needs kernels of 1, 3 or 5 taps along each axis"
            : "Winograd with four outputs per tile needs a kernel of 3x3, or of 3, 5 or 7 taps along one axis";
    if (conv->dilation[FC_HEIGHT] == 1 && conv->dilation[FC_WIDTH] == 1)
        return NULL;
    const fc_winograd_axis y = fc_winograd_axis_of(conv, FC_HEIGHT, m), x = fc_winograd_axis_of(conv, FC_WIDTH, m);
    const double tiles = (double)(y.phases * x.phases), outputs = (double)conv->out_per_group;
    if (tiles > 1 && tiles * y.points * x.points * outputs * (double)fc_size_of(conv->dtype) > MOST_PHASE_BYTES)
        return "Winograd would need too much memory for a tile of every phase of this dilation";
    return NULL;
}

static void split_channels(fc_winograd_split *s, const fc_conv *conv, const fc_table *table, int m)
{
    const size_t size = fc_size_of(conv->dtype);
    const int64_t channels = conv->in_per_group;
    s->y = fc_winograd_axis_of(conv, FC_HEIGHT, m);
    s->x = fc_winograd_axis_of(conv, FC_WIDTH, m);
    s->xis = s->y.points * s->x.points;
    s->vectors = (int)fc_min(PANEL_VECTORS, fc_div_up(conv->out_per_group, table->lanes));
    s->panel = s->vectors * (int64_t)table->lanes;
    s->panels = fc_div_up(conv->out_per_group, s->panel);
    /* One line more than a power of two would be: xi planes must not fall on the same cache sets. */
    const int64_t line = 64 / (int64_t)size;
    const double u = (double)(conv->groups * s->panels * channels * s->panel * s->xis) * (double)size;
    s->keeps = u <= 1.25 * (double)fc_machine_for(conv->dtype)->l2 ? FC_WINOGRAD_KEPT_U : FC_WINOGRAD_KEPT_TAPS;
    s->chunk = fc_div_up(channels, fc_div_up(channels, CHUNK));
    s->chunks = fc_div_up(channels, s->chunk);
    s->u_xi = s->chunk * s->panel + line;
    s->kept_panel = s->keeps == FC_WINOGRAD_KEPT_U ? s->chunks * s->xis * s->u_xi : channels * conv->taps * s->panel;
}

/* Tiles in rounds of all phases: a block has whole ones. */
static int64_t rounds_of(const fc_winograd_axis *axis) { return fc_div_up(axis->tiles, axis->phases); }

/* Tasks that share the V of a block. */
static int64_t ranges_of(const fc_winograd_split *s, int threads)
{
    return s->blocks >= threads ? 1 : fc_max(1, fc_min(s->panels, WISHED_TASKS / s->blocks));
}

/* Images, tile rows and tile columns of a block of about `most` tiles. */
static void split_tiles(fc_winograd_split *s, const fc_conv *conv, int64_t most, int threads)
{
    const int64_t of_image = s->y.tiles * s->x.tiles, high = rounds_of(&s->y), wide = rounds_of(&s->x);
    s->high = high;
    s->wide = wide;
    if (2 * of_image <= 3 * most)             /* a block too large is better than two too small */
        most = fc_max(most, high * s->y.phases * wide * s->x.phases);
    s->images = fc_max(1, fc_min(conv->batch, most / of_image));
    s->image_blocks = fc_max(1, fc_div_up(conv->batch, s->images)); /* an empty batch has a cost too */
    s->images = fc_max(1, fc_div_up(conv->batch, s->image_blocks));
    const int64_t fit = fc_max(1, most / (s->x.phases * s->y.phases));
    const int64_t others = s->image_blocks * conv->groups * conv->out_size[FC_DEPTH];
    for (int64_t least = 1;; least = 2) {
        const int64_t across = fc_div_up(wide, fc_max(least, fc_div_up(wide, fc_min(wide, fit))));
        s->col_blocks = fc_div_up(wide, across);
        s->cols = fc_min(s->x.tiles, across * s->x.phases);
        const int64_t down = fc_max(1, fc_min(high, most / (s->cols * s->y.phases)));
        const int64_t even = fc_div_up(high, fc_div_up(high, down));
        s->row_blocks = fc_div_up(high, even);
        s->rows = fc_min(s->y.tiles, even * s->y.phases);
        s->blocks = others * s->row_blocks * s->col_blocks;
        /* A few tasks should be an even number, of which two threads have as many each. */
        const int64_t tasks = s->blocks * ranges_of(s, threads);
        if (least == 2 || wide == 1 || tasks % 2 == 0 || tasks > MOST_ODD || threads == 1)
            break;
    }
    s->tiles = s->images * s->rows * s->cols;
}

static fc_band band_of(const fc_winograd_split *s, const fc_conv *conv, int64_t channels)
{
    fc_conv pixels = *conv;                   /* a band of pixels, whatever the kernel sees of them */
    pixels.kernel[FC_HEIGHT] = pixels.kernel[FC_WIDTH] = 1;
    return fc_band_make(&pixels, channels, fc_winograd_pixels_of(&s->y, s->rows),
                        fc_winograd_pixels_of(&s->x, s->cols), true, 1);
}

static void split_scratch(fc_winograd_split *s, const fc_conv *conv, const fc_table *table)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype), line = 64 / size;
    const int64_t vectors = fc_div_up(s->chunk, table->lanes);
    const bool shared = s->ranges > 1;
    /* Tiles an odd number of vectors apart do not crowd into few cache sets. */
    s->v_tile = (vectors + (vectors % 2 == 0)) * table->lanes;
    s->v_xi = s->tiles * s->v_tile + line;
    s->p_xi = s->tiles * s->panel + line;
    const fc_band one = band_of(s, conv, table->lanes);
    const int64_t fit = BAND_BYTES / (one.size * size);
    s->band = band_of(s, conv, fc_min(vectors, fc_max(1, fc_min(fit, BAND_VECTORS))) * table->lanes);
    const int64_t pixels = fc_winograd_outputs_of(&s->y, s->rows) * fc_winograd_outputs_of(&s->x, s->cols);
    const int64_t tile = fc_winograd_in_place(conv) ? 0 : pixels * table->lanes;
    s->places_at = (size_t)fc_round_up(s->band.size * size, 64);
    s->v_at = s->places_at + (size_t)fc_round_up((s->rows + s->cols) * (int64_t)sizeof(int64_t), 64);
    s->v_bytes = (size_t)fc_round_up(s->xis * s->v_xi * size, 64);
    s->p_bytes = (size_t)fc_round_up(s->xis * s->p_xi * size, 64);
    s->p_at = s->v_at + (shared ? 0 : s->v_bytes);
    s->u_at = s->p_at + (shared && s->chunks > 1 ? 0 : s->p_bytes * (size_t)(s->chunks > 1 ? s->range_panels : 1));
    s->turned_at = s->u_at + (size_t)fc_round_up(s->xis * s->u_xi * size, 64);
    s->tile_at = s->turned_at + (size_t)(FC_WINOGRAD_TAP_CHANNELS * conv->taps * s->panel * size);
    s->bytes = s->tile_at + (size_t)fc_round_up(tile * size, 64);
}

/* Tiles of a block.  Few where U is in the cache and V is to stay there too; else many, so that U is seldom
 * made, as long as the products of all panels find room. */
static int64_t most_tiles(const fc_winograd_split *s, const fc_conv *conv, const fc_table *table, int threads)
{
    const int64_t all = conv->batch * conv->out_size[FC_DEPTH] * s->y.tiles * s->x.tiles;
    /* One block, of which each thread makes V for its panels: less than U of all of them. */
    const bool one = conv->batch * conv->groups == 1 && s->panels % threads == 0 &&
                        all <= conv->out_per_group / 4 * 3;
    if (s->keeps == FC_WINOGRAD_KEPT_U && one)
        return all;
    if (s->keeps == FC_WINOGRAD_KEPT_U && all > ONE_BLOCK)
        return LEAST_TILES;
    if (s->keeps == FC_WINOGRAD_KEPT_U && threads > 1 && conv->batch == 1 && all >= TWO_BLOCKS &&
        s->panels % threads > 0)
        return fc_div_up(rounds_of(&s->y), 2) * s->y.phases * s->x.tiles;
    const int64_t products = s->xis * fc_round_up(conv->out_per_group, table->lanes) * (int64_t)fc_size_of(conv->dtype);
    return fc_max(LEAST_TILES, fc_min(MOST_TILES, PRODUCT_BYTES / products));
}

fc_winograd_split fc_winograd_split_of(const fc_conv *conv, const fc_table *table, int m, int threads)
{
    fc_winograd_split s = { 0 };
    if (fc_worth_tasks(conv) == 1)
        threads = 1;
    split_channels(&s, conv, table, m);
    split_tiles(&s, conv, most_tiles(&s, conv, table, threads), threads);
    s.range_panels = fc_div_up(s.panels, ranges_of(&s, threads));
    const bool even = s.blocks < threads && s.panels % 2 == 0;
    while (even && s.range_panels > 1 && fc_div_up(s.panels, s.range_panels) % 2 != 0)
        s.range_panels--;                     /* an even number of ranges */
    s.ranges = fc_div_up(s.panels, s.range_panels);
    s.tasks = s.blocks * s.ranges;
    split_scratch(&s, conv, table);
    return s;
}

size_t fc_winograd_prepared_size(const fc_conv *conv, const fc_table *table, int m)
{
    fc_winograd_split s = { 0 };
    split_channels(&s, conv, table, m);
    return (size_t)(conv->groups * s.panels * s.kept_panel) * fc_size_of(conv->dtype);
}

/* The transforms' own roundings, whatever the data; a sum in chunks adds little for many channels. */
double fc_winograd_error(const fc_conv *conv, int m)
{
    static const double of_form[] = {
        [FC_WINOGRAD_NONE] = 0, [FC_WINOGRAD_F23] = 6, [FC_WINOGRAD_F43] = 12, [FC_WINOGRAD_F25] = 12,
        [FC_WINOGRAD_F45] = 28, [FC_WINOGRAD_F47] = 60, [FC_WINOGRAD_PAIR] = 6,
    };
    const double y = of_form[fc_winograd_axis_of(conv, FC_HEIGHT, m).line.form];
    const double x = of_form[fc_winograd_axis_of(conv, FC_WIDTH, m).line.form];
    return fc_epsilon(conv->dtype) * (y + x + 0.1 * sqrt((double)conv->in_per_group));
}

double fc_winograd_cost(const fc_conv *conv, const fc_machine *machine, bool prepared, int m)
{
    /* Of one thread, whatever their number: the same is chosen. */
    const fc_winograd_split s = fc_winograd_split_of(conv, fc_table_for(conv->dtype), m, 1);
    const double images = (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->groups);
    const double in = (double)fc_div_up(conv->in_per_group, machine->lanes);
    const double out = (double)(s.panels * s.vectors), filters = (double)(conv->groups * conv->in_per_group) * out;
    const double blocks = (double)s.blocks, points = images * s.y.products * s.x.products;
    const double copies = blocks * (double)s.images * in / (double)(s.band.channels / machine->lanes);
    const double pixels = (double)s.y.tiles * s.y.m * (double)s.x.tiles * s.x.m;
    const bool keeps = prepared || s.blocks > conv->groups, made = !keeps || s.keeps != FC_WINOGRAD_KEPT_U;
    const double makes = made ? blocks / (double)conv->groups : prepared ? 0 : 1; /* times that U is made */
    const double taps = (double)conv->taps;
    const double taps_bytes = taps * (double)(conv->out_channels * conv->in_per_group) *
                              (double)fc_size_of(conv->dtype);
    const bool cold = taps_bytes > 2.0 * (double)machine->l2;
    const double xis = (double)s.xis, tiles = (double)fc_div_up(s.tiles, 14), chunks = (double)s.chunks;
    const bool far = s.chunks > 1 && 2 * s.panels * (int64_t)s.p_bytes > machine->l2; /* products of all panels */
    const double size = (double)fc_size_of(conv->dtype);
    const bool y_far = fc_far(conv, conv->batch * conv->out_pixels * conv->out_channels);
    const fc_count counts[] = {
        { points * (double)conv->in_per_group * out, fc_multiply_tile(machine, 0.938, s.vectors) },
        { points * in, 5.34 },                                              /* transform in */
        { points * out, 10.6 },                                             /* transform out */
        { (conv->channels_last ? 0 : 1) * images * pixels * out, 10.4 },    /* transposes out */
        { xis * filters * makes, 9.15 },                                    /* U made */
        { (prepared ? 0 : taps) * filters, 11.9 },                          /* weights turned */
        { (cold ? taps : 0) * filters, 6 },                                 /* weights read from memory */
        { made ? 0 : xis * filters * blocks / (double)conv->groups, 2.17 }, /* U read from L2 */
        { copies * (double)s.band.size / machine->lanes, 24.3 },            /* copy bands */
        { xis * blocks * tiles * (double)s.panels * chunks, 131 },          /* blocks of products */
        { far ? chunks * points * out : 0, 19 },                            /* products read and written */
        { y_far ? (double)(conv->batch * conv->out_pixels * conv->out_channels) * size / 64 : 0, 40 }, /* far lines */
        { fc_lines_in_pieces(conv, 1), fc_starts_one(machine) ? 5 : 50 },
        { 1, FC_WINOGRAD_LEAST },
    };
    return FC_COST(counts, machine) * (m == 4 && conv->groups == 1 ? fc_of_two(machine, 0.87) : 1);
}

void fc_winograd_describe(const fc_conv *conv, const fc_table *table, char *text, size_t size, int m)
{
    const fc_winograd_split s = fc_winograd_split_of(conv, table, m, fc_get_num_threads());
    snprintf(text, size,
             "F(%dx%d, %dx%d), %.3g products per output; blocks of %lld tiles, panels of %lld channels; %lld tasks",
             s.y.m, s.x.m, s.y.taps, s.x.taps, s.y.products * s.x.products / (double)(s.y.size * s.x.size),
             (long long)s.tiles, (long long)s.panel, (long long)s.tasks);
}
