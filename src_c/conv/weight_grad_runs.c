/* Weight gradient of groups, or of few channels: x and grad_output as pixels of channels, the channels of a unit of
 * groups side by side (see group_lanes.h), x in a border of zeros.
 *
 * What a row of the kernel sees of x is then one run of numbers, and so are the outputs of a pixel: their products,
 * all with all, are summed over the pixels of a block, one row of the kernel after the other.  One of the two runs is
 * broadcast, the other fills vectors, whichever fills them better: of few channels that is the run of x, of all
 * columns of the kernel.  Of few outputs a vector holds several groups, for which a load repeats what it sees of
 * each.  So no product is made in vain but with padding.  Called by weight_grad.c. */
#include "../base/size.h"
#include "cost.h"
#include "geometry.h"
#include "runs_copy.h"
#include "weight_grad.h"
#include <string.h>

enum {
    MOST_LANES = 16,       /* of a vector */
    PIXELS = 1024,            /* of a block */
    LEAST_PIXELS = 64,        /* fewer leave too much to loading and adding sums: parts are rather cut */
    CHANNELS = 512,           /* of a part, about, of each side */
    FEW_PIXELS = 4096,        /* of all images, that are no tasks enough: */
    WISHED_PARTS = 4,
    FEW_ROWS = 8,             /* inputs of a group, of which a tap by itself is a product too small */
    MOST_SUMS = 1 << 16,      /* of a part, elements */
    MOST_COPY = 1 << 17,      /* elements of one row of x, where it cannot be cut further */
    COLS = 64,                /* of that row */
    LITTLE = 1000000,         /* operations: to find out more would take as long as it saves */
};
enum { SUMS_AT, X_AT, G_AT, OFFSETS_AT, SOURCES_AT, TURN_AT }; /* of split.at */

typedef struct runs_plan {
    bool exchanged;                           /* lanes are channels of x, and not of grad_output */
    fc_group_lanes x, g;
    int64_t steps, lines;                     /* columns of the kernel in a run; runs of a unit */
    int64_t rows, vectors, panel;             /* of the product of two runs; vectors at a time */
    int64_t sums;                             /* of all runs of a unit */
    int64_t part;                             /* units of a part */
    bool g_in_place;                          /* grad_output is read where it lies */
} runs_plan;

/* Of a unit of `groups` groups with `channels` each, `together` units beside each other. */
static fc_group_lanes side_of(const fc_conv *conv, const fc_table *table, int64_t channels, int64_t groups,
                              int64_t together)
{
    fc_group_lanes l = { .table = table, .size = fc_size_of(conv->dtype), .in = channels, .all = conv->groups,
                         .groups = groups, .units = fc_div_up(conv->groups, groups), .together = together };
    l.blocks = fc_div_up(l.units, together);
    l.record = together * groups * channels;
    const int64_t vectors = fc_div_up(l.record, table->lanes);
    l.pitch = (together > 1 ? vectors | 1 : vectors) * table->lanes; /* odd: units read a part of each pixel */
    return l;
}

/* Groups whose outputs share a vector: a power of two. */
static int64_t groups_of(const fc_conv *conv, int64_t lanes)
{
    int64_t groups = 1;
    while (groups * 2 * conv->out_per_group <= lanes && groups < conv->groups)
        groups *= 2;
    return groups;
}

/* Columns of the kernel whose channels follow each other in a copy of one unit: all, where these are less than a vector
 * and pixels are copied in the order of columns, so that what is written beyond one is the next; or where they fill
 * vectors, if no other unit is read with them, or a tap by itself is little. */
static int64_t steps_of(const fc_conv *conv, int64_t lanes, int64_t groups)
{
    const int64_t record = conv->in_per_group * groups;
    const bool near = conv->x_stride[FC_C] != 1 || !fc_far(conv, fc_x_count(conv));
    const bool alone = groups >= conv->groups || (conv->in_per_group <= FEW_ROWS && near);
    const bool even = (record < lanes && conv->stride[FC_WIDTH] <= conv->kernel[FC_WIDTH]) ||
                      (record % lanes == 0 && alone);
    return conv->dilation[FC_WIDTH] == 1 && even ? conv->kernel[FC_WIDTH] : 1;
}

/* Time of a pixel for one run of x and `vectors` vectors at a time, in that of a vector multiply-add: tiles of few sums
 * wait for each other. */
static double panel_price(const fc_table *table, int64_t rows, int64_t vectors)
{
    const int64_t tile = vectors > 0 ? table->outer_tile(rows, (int)vectors) : rows;
    return vectors > 0 ? (double)fc_div_up(rows, tile) * (fmax((double)(tile * vectors), 7.5) + 1) : 0;
}

/* The same of all vectors. */
static double panels_price(const fc_table *table, int64_t rows, int64_t vectors, int64_t width)
{
    return (double)(vectors / width) * panel_price(table, rows, width) + panel_price(table, rows, vectors % width);
}

/* Panels as wide as is best. */
static int64_t panel_of(const fc_table *table, int64_t rows, int64_t vectors)
{
    int64_t best = 1;
    for (int64_t width = 2; width <= fc_min(vectors, table->widest_panel); width++)
        if (panels_price(table, rows, vectors, width) < panels_price(table, rows, vectors, best))
            best = width;
    return best;
}

/* The product as it is, or exchanged, without how units are put together. */
static runs_plan product_of(const fc_conv *conv, const fc_table *table, bool exchanged)
{
    const int64_t lanes = table->lanes;
    const int64_t groups = exchanged ? 1 : groups_of(conv, lanes), in = conv->in_per_group, out = conv->out_per_group;
    runs_plan p = { .exchanged = exchanged, .steps = steps_of(conv, lanes, groups) };
    p.lines = conv->taps / p.steps;
    p.rows = exchanged ? out : p.steps * in;
    p.vectors = fc_div_up(exchanged ? p.steps * in : out * groups, lanes);
    p.panel = groups > 1 ? 1 : panel_of(table, p.rows, p.vectors);
    p.sums = p.lines * p.rows * p.vectors * lanes;
    p.x.groups = groups;
    return p;
}

/* Time of a pixel and a unit. */
static double pixel_price(const fc_table *table, const runs_plan *p)
{
    return panels_price(table, p->rows, p->vectors, p->panel) * (double)p->lines;
}

/* Units that are copied at once: all of a part where channels are adjacent, so that pixels are read in order; of planes
 * as many as fill vectors.  A power of two, of which the part becomes a multiple. */
static int64_t together(const int64_t stride[FC_AXES], int64_t unit, int64_t lanes, int64_t *part)
{
    int64_t units = 1;
    if (stride[FC_C] == 1)
        return *part;
    while (2 * units <= *part && units * unit < lanes)
        units *= 2;
    *part -= *part % units;
    return units;
}

static runs_plan plan_of(const fc_conv *conv, const fc_table *table)
{
    const int64_t lanes = table->lanes;
    const runs_plan as_it_is = product_of(conv, table, false), exchanged = product_of(conv, table, true);
    const double other = pixel_price(table, &exchanged) * (double)as_it_is.x.groups; /* whose units are groups */
    runs_plan p = other < 0.95 * pixel_price(table, &as_it_is) ? exchanged : as_it_is;
    const int64_t groups = p.x.groups, units = fc_div_up(conv->groups, groups);
    const int64_t widest = groups * fc_max(conv->in_per_group, conv->out_per_group);
    const int64_t wished = conv->batch * conv->out_pixels < FEW_PIXELS ? WISHED_PARTS : 1;
    p.part = fc_min(fc_max(1, fc_min(CHANNELS / widest, MOST_SUMS / p.sums)), fc_div_up(units, wished));
    p.part = fc_div_up(units, fc_div_up(units, p.part));
    const int64_t x = p.steps > 1 ? 1 : together(conv->x_stride, groups * conv->in_per_group, lanes, &p.part);
    const int64_t g = together(conv->y_stride, groups * conv->out_per_group, lanes, &p.part);
    p.x = side_of(conv, table, conv->in_per_group, groups, fc_min(x, p.part));
    if (p.steps > 1)
        p.x.pitch = p.x.record;
    p.g = side_of(conv, table, conv->out_per_group, groups, fc_min(g, p.part));
    /* Of one group pixels are whole runs already, but vectors must not reach beyond one. */
    p.g_in_place = conv->groups == 1 && conv->y_stride[FC_C] == 1 && (p.exchanged || p.g.record % lanes == 0);
    return p;
}

/* Places of an axis of x under `count` outputs from `first` on. */
static fc_lanes_places places_of(const fc_conv *conv, int axis, int64_t first, int64_t count)
{
    const int64_t seen = (conv->kernel[axis] - 1) * conv->dilation[axis] + 1, stride = conv->stride[axis];
    const bool apart = stride > seen;
    return (fc_lanes_places){ .start = first * stride - conv->pad_before[axis],
                              .count = apart ? count * seen : (count - 1) * stride + seen,
                              .seen = apart ? seen : (count - 1) * stride + seen, .stride = stride,
                              .size = conv->in_size[axis], .step = conv->dilation[axis] };
}

/* Places from one output to the next. */
static int64_t apart(const fc_lanes_places *p) { return p->seen < p->count ? p->seen : p->stride; }

/* Elements of a copy of x for one image. */
static int64_t copied(const fc_conv *conv, int64_t pitch, int64_t rows, int64_t cols)
{
    return conv->kernel[FC_DEPTH] * places_of(conv, FC_HEIGHT, 0, rows).count *
           places_of(conv, FC_WIDTH, 0, cols).count * pitch;
}

/* Sums of a unit, or of a group with inputs as lanes, whichever are fewer. */
static int64_t least_sums(const fc_conv *conv, int64_t lanes, int64_t groups)
{
    const int64_t in = conv->in_per_group, out = conv->out_per_group, steps = steps_of(conv, lanes, 1);
    return fc_min(conv->taps * in * fc_round_up(groups * out, lanes),
                  conv->taps / steps * out * fc_round_up(steps * in, lanes));
}

static const char *supports(const fc_conv *conv)
{
    const int64_t lanes = fc_table_for(conv->dtype)->lanes, groups = groups_of(conv, lanes);
    int64_t places = 1;
    if (fc_max(conv->in_per_group, conv->out_per_group) > CHANNELS || least_sums(conv, lanes, groups) > MOST_SUMS / 2)
        return "runs is for groups, or for few channels";
    if (conv->in_per_group == 1 && conv->out_per_group == 1 && conv->groups > 1)
        return "runs is for groups of several channels";
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        if ((conv->kernel[axis] - 1) > MOST_COPY / conv->dilation[axis])
            return "the pixels under a row of taps would not fit scratch";
        const int64_t count = axis == FC_DEPTH   ? conv->kernel[axis]
                              : axis == FC_WIDTH ? places_of(conv, axis, 0, fc_min(conv->out_size[axis], COLS)).count
                                                 : places_of(conv, axis, 0, 1).count;
        if (count > MOST_COPY / places)
            return "the pixels under a row of taps would not fit scratch";
        places *= count;
    }
    const int64_t pixel = fc_max(groups * conv->in_per_group, CHANNELS) + 2 * lanes;
    if (pixel <= MOST_COPY / places || plan_of(conv, fc_table_for(conv->dtype)).x.pitch <= MOST_COPY / places)
        return NULL;
    return "the pixels under a row of taps would not fit scratch";
}

/* Blocks of pixels: images, then rows, then columns are halved until both copies fit. */
static fc_pixel_blocks blocks_of(const fc_conv *conv, const runs_plan *p)
{
    const int64_t most = fc_machine_for(conv->dtype)->l2 / (int64_t)fc_size_of(conv->dtype);
    const bool adjacent = conv->x_stride[FC_C] == 1; /* then where it comes from is in L2 too */
    const int64_t pixel = adjacent ? fc_max(p->x.pitch, p->part * p->x.groups * p->x.in) : p->x.pitch;
    int64_t cols = fc_min(conv->out_size[FC_WIDTH], PIXELS), rows = fc_min(conv->out_size[FC_HEIGHT], PIXELS / cols);
    int64_t images = fc_max(1, fc_min(conv->batch, PIXELS / (rows * cols)));
    while (copied(conv, pixel, rows, cols) * images > most * 5 / 16 || rows * cols * images * p->g.pitch > most / 4) {
        int64_t *const side = images > 1 ? &images : rows > 1 ? &rows : &cols;
        if (side == &cols && cols <= COLS)
            break;
        *side = fc_div_up(*side, 2);
    }
    return fc_pixel_blocks_of(conv, images, rows, cols);
}

/* The same of grad_output, where the places are the outputs. */
static fc_lanes_places outputs_of(const fc_conv *conv, int axis, int64_t first, int64_t count)
{
    return (fc_lanes_places){ .start = first, .count = count, .seen = count, .stride = 1, .size = conv->out_size[axis],
                              .step = 1 };
}

static size_t turn_bytes(const fc_conv *conv, const runs_plan *p, const fc_pixel_blocks *b)
{
    const fc_lanes_places x[2] = { places_of(conv, FC_HEIGHT, 0, b->rows), places_of(conv, FC_WIDTH, 0, b->cols) };
    const fc_lanes_places g[2] = { outputs_of(conv, FC_HEIGHT, 0, b->rows), outputs_of(conv, FC_WIDTH, 0, b->cols) };
    const fc_lanes_copy x_copy = fc_lanes_copy_of(&p->x, conv->x_stride, &x[0], &x[1]);
    const fc_lanes_copy g_copy = fc_lanes_copy_of(&p->g, conv->y_stride, &g[0], &g[1]);
    const size_t x_bytes = fc_lanes_copy_scratch(&x_copy), g_bytes = fc_lanes_copy_scratch(&g_copy);
    const size_t copies = x_bytes > g_bytes ? x_bytes : g_bytes;
    const size_t turned = (size_t)(p->x.groups * conv->out_per_group * conv->depth) * p->x.size;
    return p->x.groups > 1 && turned > copies ? turned : copies;
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = { 0 };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), room = 2 * table->lanes; /* for whole vectors */
    const runs_plan p = plan_of(conv, table);
    s.blocks = blocks_of(conv, &p);
    s.parts = fc_div_up(p.g.units, p.part);
    const int64_t pixels = s.blocks.images * s.blocks.rows * s.blocks.cols;
    const int64_t x = s.blocks.images * copied(conv, p.x.pitch, s.blocks.rows, s.blocks.cols) + room;
    s.at[X_AT] = (size_t)fc_round_up(p.part * p.sums * size, 64);
    s.at[G_AT] = s.at[X_AT] + (size_t)fc_round_up(x * size, 64);
    s.at[OFFSETS_AT] = s.at[G_AT] + (size_t)fc_round_up((p.g_in_place ? 0 : pixels * p.g.pitch + room) * size, 64);
    s.at[SOURCES_AT] = s.at[OFFSETS_AT] + (size_t)fc_round_up(2 * pixels * (int64_t)sizeof(int64_t), 64);
    s.at[TURN_AT] = s.at[SOURCES_AT] + fc_lanes_sources_bytes(&p.x) + fc_lanes_sources_bytes(&p.g);
    s.bytes = s.at[TURN_AT] + turn_bytes(conv, &p, &s.blocks);
    return s;
}

/* A part at one block of pixels. */
typedef struct runs_part {
    const fc_weight_run *run;
    runs_plan plan;
    int64_t part, units;
    const fc_lane_sources *x_sources, *g_sources;
    char *scratch;
    fc_pixel_block block;
    fc_lanes_places high, wide;               /* of x */
    int64_t plane, image;                     /* elements of the copy of x */
    fc_runs_soon x_soon, g_soon;
    int64_t x_lines, g_lines;                 /* of these, with every product */
} runs_part;

static void *at(const runs_part *p, int which) { return p->scratch + p->run->split.at[which]; }

/* Grad_output at the first pixel of a block. */
static const void *g_of(const runs_part *p, const fc_pixel_block *b)
{
    const int64_t *y = p->run->conv->y_stride;
    return fc_at(p->run->g, b->image * y[FC_N] + b->depth * y[FC_D] + b->row * y[FC_H] + b->col * y[FC_W],
                 p->plan.g.size);
}

static void go_to(runs_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = p->run->conv;
    p->block = *b;
    p->high = places_of(conv, FC_HEIGHT, b->row, b->rows);
    p->wide = places_of(conv, FC_WIDTH, b->col, b->cols);
    p->plane = p->high.count * p->wide.count * p->plan.x.pitch;
    p->image = conv->kernel[FC_DEPTH] * p->plane;
}

/* The pixels of x under the block: [image][depth of the kernel][row][column]. */
static void copy_x(const runs_part *p, int64_t block)
{
    const fc_conv *conv = p->run->conv;
    const int64_t *x = conv->x_stride, deep = conv->kernel[FC_DEPTH];
    const fc_runs_side side = { &p->plan.x, p->x_sources, x, p->high, p->wide };
    for (int64_t i = 0; i < p->block.images * deep; i++) {
        const int64_t z = p->block.depth * conv->stride[FC_DEPTH] - conv->pad_before[FC_DEPTH] +
                          i % deep * conv->dilation[FC_DEPTH];
        const int64_t from = (p->block.image + i / deep) * x[FC_N] + z * x[FC_D];
        const bool inside = z >= 0 && z < conv->in_size[FC_DEPTH];
        fc_runs_copy_plane(&side, block, inside ? fc_at(p->run->x, from, p->plan.x.size) : NULL, at(p, TURN_AT),
                           fc_at_mut(at(p, X_AT), i * p->plane, p->plan.x.size));
    }
}

static void copy_g(const runs_part *p, int64_t block)
{
    const fc_conv *conv = p->run->conv;
    const fc_pixel_block *b = &p->block;
    const int64_t *y = conv->y_stride, image = b->rows * b->cols * p->plan.g.pitch;
    const size_t size = p->plan.g.size;
    if (p->plan.g_in_place)
        return;
    const fc_runs_side side = { &p->plan.g, p->g_sources, y, outputs_of(conv, FC_HEIGHT, b->row, b->rows),
                             outputs_of(conv, FC_WIDTH, b->col, b->cols) };
    for (int64_t n = 0; n < b->images; n++)
        fc_runs_copy_plane(&side, block, fc_at(p->run->g, (b->image + n) * y[FC_N] + b->depth * y[FC_D], size),
                           at(p, TURN_AT), fc_at_mut(at(p, G_AT), n * image, size));
}

/* Where every pixel of the block is, of x under the first tap, then of grad_output. */
static void find_offsets(const runs_part *p)
{
    const fc_pixel_block *b = &p->block;
    const int64_t col = apart(&p->wide) * p->plan.x.pitch;
    const int64_t row = apart(&p->high) * p->wide.count * p->plan.x.pitch, pixels = b->images * b->rows * b->cols;
    int64_t *x = at(p, OFFSETS_AT), *g = x + pixels, i = 0;
    const int64_t *y = p->run->conv->y_stride;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < b->rows; r++)
            for (int64_t c = 0; c < b->cols; c++, i++) {
                x[i] = n * p->image + r * row + c * col;
                g[i] = p->plan.g_in_place ? n * y[FC_N] + r * y[FC_H] + c * y[FC_W] : i * p->plan.g.pitch;
            }
}

static void *sums_of(const runs_part *p, int64_t unit)
{
    return fc_at_mut(at(p, SUMS_AT), unit * p->plan.sums, p->plan.x.size);
}

/* What is copied after the units that are copied with this one: the next of the block, or the first of the next block,
 * which may be NULL; asked for in `calls` steps for each unit. */
static void look_ahead(runs_part *p, int64_t unit, const fc_pixel_block *next, int64_t calls)
{
    const fc_conv *conv = p->run->conv;
    const runs_plan *plan = &p->plan;
    const int64_t first = p->part * plan->part, at_x = unit + plan->x.together, at_g = unit + plan->g.together;
    const int64_t y_count = conv->batch * conv->out_pixels * conv->out_channels;
    const fc_pixel_block *b = at_x < p->units ? &p->block : next;
    if (unit % plan->x.together == 0) {
        p->x_soon.images = 0;
        if (b && fc_far(conv, fc_x_count(conv)) && conv->in_size[FC_DEPTH] == 1) {
            const fc_runs_side x = { &plan->x, NULL, conv->x_stride, places_of(conv, FC_HEIGHT, b->row, b->rows),
                                  places_of(conv, FC_WIDTH, b->col, b->cols) };
            p->x_soon = fc_runs_soon_of(&x, (first + (at_x < p->units ? at_x : 0)) / plan->x.together, p->run->x, b);
        }
        p->x_lines = fc_div_up(fc_runs_soon_lines(&p->x_soon), calls * plan->x.together);
    }
    b = at_g < p->units ? &p->block : next;
    if (unit % plan->g.together == 0) {
        p->g_soon.images = 0;
        if (b && !plan->g_in_place && fc_far(conv, y_count) && conv->in_size[FC_DEPTH] == 1) {
            const fc_runs_side g = { &plan->g, NULL, conv->y_stride, outputs_of(conv, FC_HEIGHT, b->row, b->rows),
                                  outputs_of(conv, FC_WIDTH, b->col, b->cols) };
            p->g_soon = fc_runs_soon_of(&g, (first + (at_g < p->units ? at_g : 0)) / plan->g.together, p->run->g, b);
        }
        p->g_lines = fc_div_up(fc_runs_soon_lines(&p->g_soon), calls * plan->g.together);
    }
}

/* The product of two runs, tile by tile. */
static void add_run(runs_part *p, const void *a, const void *b, bool accumulate, void *c)
{
    const runs_plan *plan = &p->plan;
    const fc_table *table = p->run->table;
    const int64_t pixels = p->block.images * p->block.rows * p->block.cols, *offsets = at(p, OFFSETS_AT);
    const int64_t row = plan->vectors * table->lanes;
    fc_run_sums sums = {
        .pixels = pixels, .groups = plan->x.groups, .a_at = plan->exchanged ? offsets + pixels : offsets,
        .b_at = plan->exchanged ? offsets : offsets + pixels, .accumulate = accumulate, .c_row = row,
    };
    for (int64_t v = 0; v < plan->vectors; v += plan->panel) {
        sums.vectors = fc_min(plan->panel, plan->vectors - v);
        sums.b = fc_at(b, v * table->lanes, plan->x.size);
        const int64_t tile = table->outer_tile(plan->rows, (int)sums.vectors);
        for (int64_t i = 0; i < plan->rows; i += tile) {
            sums.rows = fc_min(tile, plan->rows - i);
            sums.a = fc_at(a, i * plan->x.groups, plan->x.size);
            sums.c = fc_at_mut(c, i * row + v * table->lanes, plan->x.size);
            fc_runs_ask(&p->x_soon, p->x_lines);
            fc_runs_ask(&p->g_soon, p->g_lines);
            table->run_sums(&sums);
        }
    }
}

/* Products of a run, about. */
static int64_t tiles_of(const fc_table *table, const runs_plan *p)
{
    return fc_div_up(p->vectors, p->panel) * fc_div_up(p->rows, table->outer_tile(p->rows, (int)p->panel));
}

/* All runs of a unit. */
static void add_unit(runs_part *p, int64_t unit, bool accumulate)
{
    const fc_conv *conv = p->run->conv;
    const runs_plan *plan = &p->plan;
    const int64_t *k = conv->kernel, *dilation = conv->dilation, lanes = p->run->table->lanes;
    const int64_t x_unit = unit % plan->x.together * plan->x.groups * plan->x.in;
    const int64_t g_unit = unit % plan->g.together * plan->g.groups * plan->g.in;
    const void *g = plan->g_in_place ? g_of(p, &p->block) : fc_at(at(p, G_AT), g_unit, plan->g.size);
    for (int64_t line = 0; line < plan->lines; line++) {
        const int64_t tap = line * plan->steps, row = tap / k[2] % k[1] * dilation[1], col = tap % k[2] * dilation[2];
        const int64_t from = tap / k[2] / k[1] * p->plane + (row * p->wide.count + col) * plan->x.pitch + x_unit;
        const void *x = fc_at(at(p, X_AT), from, plan->x.size);
        add_run(p, plan->exchanged ? g : x, plan->exchanged ? x : g, accumulate,
                fc_at_mut(sums_of(p, unit), line * plan->rows * plan->vectors * lanes, plan->x.size));
    }
}

/* Lanes are inputs, of all columns of a run. */
static void finish_exchanged(const runs_part *p, int64_t unit, void *out)
{
    const fc_conv *conv = p->run->conv;
    const runs_plan *plan = &p->plan;
    const size_t size = plan->x.size;
    const int64_t row = plan->vectors * p->run->table->lanes, line = plan->rows * row, ins = conv->in_per_group;
    for (int64_t o = 0; o < plan->rows; o++) {
        void *to = fc_at_mut(out, (unit * plan->rows + o) * conv->depth, size);
        const void *from = fc_at(sums_of(p, unit - p->part * plan->part), o * row, size);
        fc_move move = { .rows = ins, .cols = plan->steps, .src = from, .src_row = 1, .src_col = ins,
                         .dst = to, .dst_row = conv->taps, .dst_col = 1 };
        if (plan->steps == 1) {
            move.cols = conv->taps;
            move.src_col = line;
        }
        for (int64_t tap = 0; tap < conv->taps; tap += move.cols) {
            move.src = fc_at(from, tap / plan->steps * line, size);
            move.dst = fc_at_mut(to, tap, size);
            p->run->table->move(&move);
        }
    }
}

/* Lanes are outputs, of several groups by way of scratch. */
static void finish(const runs_part *p, int64_t unit, void *out)
{
    const fc_conv *conv = p->run->conv;
    const runs_plan *plan = &p->plan;
    const size_t size = plan->x.size;
    const int64_t row = plan->vectors * p->run->table->lanes, outs = conv->out_per_group, n = plan->x.groups;
    void *first = fc_at_mut(out, unit * n * outs * conv->depth, size), *to = n > 1 ? at(p, TURN_AT) : first;
    for (int64_t i = 0; i < conv->in_per_group; i++) {
        const fc_move move = { .rows = n * outs, .cols = conv->taps, .src_row = 1, .src_col = conv->in_per_group * row,
                               .src = fc_at(sums_of(p, unit - p->part * plan->part), i * row, size),
                               .dst = fc_at_mut(to, i * conv->taps, size), .dst_row = conv->depth, .dst_col = 1 };
        p->run->table->move(&move);
    }
    const int64_t groups = n > 1 ? fc_min(n, conv->groups - unit * n) : 0; /* the last unit has fewer */
    for (int64_t i = 0; i < groups * outs; i++)
        memcpy(fc_at_mut(first, i * conv->depth, size), fc_at(to, (i % outs * n + i / outs) * conv->depth, size),
               (size_t)conv->depth * size);
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *memory)
{
    const fc_conv *conv = run->conv;
    runs_part p = { .run = run, .plan = plan_of(conv, run->table), .part = part, .scratch = memory };
    char *sources = at(&p, SOURCES_AT);
    const int64_t first_unit = part * p.plan.part;
    p.units = fc_min(p.plan.part, p.plan.g.units - first_unit);
    p.x_sources = fc_lanes_sources(&p.plan.x, conv->x_stride[FC_C] != 1, sources);
    p.g_sources = fc_lanes_sources(&p.plan.g, conv->y_stride[FC_C] != 1, sources + fc_lanes_sources_bytes(&p.plan.x));
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &run->split.blocks, i);
        const fc_pixel_block next = fc_pixel_block_at(conv, &run->split.blocks, i + 1);
        const bool like_last = i > first && b.images == p.block.images && b.rows == p.block.rows &&
                               b.cols == p.block.cols;
        go_to(&p, &b);
        if (!like_last)
            find_offsets(&p);
        for (int64_t unit = 0; unit < p.units; unit++) {
            if (unit % p.plan.x.together == 0)
                copy_x(&p, (first_unit + unit) / p.plan.x.together);
            if (unit % p.plan.g.together == 0)
                copy_g(&p, (first_unit + unit) / p.plan.g.together);
            look_ahead(&p, unit, i + 1 < end ? &next : NULL, tiles_of(run->table, &p.plan) * p.plan.lines);
            add_unit(&p, unit, i > first);
        }
    }
    for (int64_t unit = first_unit; unit < first_unit + p.units; unit++)
        if (p.plan.exchanged)
            finish_exchanged(&p, unit, out);
        else
            finish(&p, unit, out);
}

/* Price of all copies of one side, of `planes` planes of images; `count` elements are in all of the array. */
static double copies(const fc_conv *conv, const fc_runs_side *s, double planes, int64_t count)
{
    const fc_group_lanes *l = s->lanes;
    const double vectors = (double)l->blocks * (double)fc_div_up(l->record, l->table->lanes) * planes;
    const double pixels = (double)s->high.count * (double)s->wide.count, far = fc_far(conv, count);
    const bool turns = s->stride[FC_C] != 1;
    if (!turns && l->pitch == l->record && s->stride[FC_W] == l->record) /* rows are copied whole */
        return (double)l->record / l->table->lanes * planes * pixels * (2.5 + 8 * far);
    if (turns && fc_runs_is_plain(s))
        return vectors * pixels * 11;         /* what comes from memory is asked for in time */
    if (turns)                                /* all columns of rows that are needed, then pixels */
        return vectors * ((double)fc_min(s->high.count, s->high.size) * (double)s->wide.size * (24 + 16 * far) +
                          pixels * (6 + 3.7 * fc_group_lanes_sources(l)));
    return vectors * pixels * ((l->groups > 1 ? 5 : 2.5) + 3.7 * fc_group_lanes_sources(l) + 8 * far);
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const fc_table *table = fc_table_for(conv->dtype);
    const double all = (double)(fc_x_count(conv) + conv->batch * conv->out_pixels * conv->out_channels);
    const double copy = !conv->channels_last ? 30 : conv->taps == 1 ? 20 : 0;
    if (conv->flops < LITTLE && !fc_far(conv, 4 * fc_x_count(conv)))
        return (40000 + (conv->flops + copy * all) / machine->lanes) * fc_cost_unit(machine);
    const runs_plan p = plan_of(conv, table);
    const fc_pixel_blocks b = blocks_of(conv, &p);
    const double pixels = (double)(conv->batch * conv->out_pixels), blocks = (double)b.count, units = (double)p.g.units;
    const fc_runs_side x = { &p.x, NULL, conv->x_stride, places_of(conv, FC_HEIGHT, 0, b.rows),
                          places_of(conv, FC_WIDTH, 0, b.cols) };
    const fc_runs_side g = { &p.g, NULL, conv->y_stride, outputs_of(conv, FC_HEIGHT, 0, b.rows),
                          outputs_of(conv, FC_WIDTH, 0, b.cols) };
    const int64_t y_count = conv->batch * conv->out_pixels * conv->out_channels;
    const double lines = fc_far(conv, y_count) ? (double)y_count / table->lanes : 0;
    const bool few = conv->in_per_group < table->lanes && (p.exchanged || p.vectors == 1);
    /* Loads that repeat are as many as products. */
    const double of_groups = p.x.groups == 1 ? 0.88 : !conv->channels_last ? 1.25 : p.x.groups == 2 ? 1.25 : 0.8;
    /* Measured; of one group, where other methods are as quick, what these are said to take. */
    const bool turned = !conv->channels_last && conv->in_per_group < table->lanes;
    const double of_one = conv->taps == 1 ? 1.1 : few ? 0.8 : turned ? 1.05 : 0.95;
    const double multiply = fmax(1.1, (conv->groups > 1 ? of_groups : of_one) * machine->multiply);
    const fc_count counts[] = {
        { pixels * units * pixel_price(table, &p), multiply },
        { copies(conv, &x, (double)(conv->kernel[FC_DEPTH] * b.images) * blocks, fc_x_count(conv)), 1 },
        { p.g_in_place ? 4 * lines : copies(conv, &g, (double)b.images * blocks, y_count), 1 },
        { blocks * units * (double)(p.lines * tiles_of(table, &p)), 150 },
        { blocks * units, 400 },
        { units * (double)(p.lines * p.rows * p.vectors), 22 },                    /* sums to the gradient */
        { 1, 16000 },
    };
    return FC_COST(counts, machine);
}

const fc_weight_method fc_weight_runs = { "runs", supports, cost, split, task, NULL };
