/* Dot tap by tap: see dot_taps.h.  For groups of few outputs and many inputs, whatever stride, dilation and kernel.
 *
 *     for task: a block of outputs by some groups (what they see stays in L2)
 *       for pass over their channels (one, unless a single group is too much)
 *         turn what is seen to [image][row][column][channel], unless x has that order
 *         for tile of up to 8 outputs: find where each tap of each lies, or zeros; drop taps that see zeros only
 *           for group: dot products of its rows of weights with the tile
 */
#include "dot_taps.h"
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "met.h"
#include "nonfinite.h"
#include <stdio.h>
#include <string.h>

enum {
    TILE = 8,                 /* outputs, as the kernel takes them at a time */
    MOST_TAPS = 512,          /* whose places are a list */
    LEAST_COLS = 8,
    CHANNELS_TURNED = 128,    /* at a time, about */
    CHANNELS_ADJACENT = 128,  /* so many are read one after the other, or all */
    CHANNELS_PASS = 64,       /* of a group that takes several passes, about */
    WISHED_TASKS = 16,
    PACKED_OUTPUTS = 4,       /* of a task that packs weights */
};

typedef struct taps_split {
    int64_t channels, passes;                 /* of a group */
    int64_t groups, group_blocks;
    int64_t images, image_blocks, rows, row_blocks, cols, col_blocks; /* outputs of a task */
    int64_t tasks;
    int64_t tile;                             /* outputs of one row, or of whole rows */
    bool apart;                               /* of rows between those of two outputs nothing is seen */
    bool adjacent;                            /* split for channels that are read in place */
    bool turns;
    int64_t pitch;                            /* of a pixel that is turned */
    size_t places_at, parts_at, offsets_at, zeros_at, bytes; /* scratch layout, bytes; the copy is first */
} taps_split;

/* Rows of x, or columns, from the first that `count` outputs see to the last. */
static int64_t reach(const fc_conv *conv, int axis, int64_t count)
{
    return (count - 1) * conv->stride[axis] + (conv->kernel[axis] - 1) * conv->dilation[axis] + 1;
}

static int64_t rows_seen(const fc_conv *conv, bool apart, int64_t rows)
{
    return apart ? rows * conv->kernel[FC_HEIGHT] : reach(conv, FC_HEIGHT, rows);
}

/* Elements of a copy of one image. */
static int64_t copied(const fc_conv *conv, const taps_split *s, int64_t rows)
{
    const int64_t cols = fc_min(reach(conv, FC_WIDTH, s->cols), conv->in_size[FC_WIDTH]);
    return conv->kernel[FC_DEPTH] * rows_seen(conv, s->apart, rows) * cols * s->pitch;
}

/* Halves what is not worth its place most; false where nothing is left to halve. */
static bool halve(const fc_conv *conv, taps_split *s)
{
    const int64_t lanes = fc_machine_for(conv->dtype)->lanes;
    const bool adjacent = s->adjacent;        /* what is adjacent is read together, */
    const int64_t least = adjacent ? fc_max(1, CHANNELS_ADJACENT / conv->in_per_group) : 1;
    if (adjacent && s->rows > 1)
        s->rows = fc_div_up(s->rows, 2);
    else if (s->groups > least)
        s->groups = fc_max(least, fc_div_up(s->groups, 2));
    else if (!adjacent && s->channels > CHANNELS_PASS) /* and what is turned, once */
        s->channels = fc_round_up(fc_div_up(s->channels, 2), lanes);
    else if (s->rows > 1)
        s->rows = fc_div_up(s->rows, 2);
    else if (s->cols > LEAST_COLS)
        s->cols = fc_div_up(s->cols, 2);
    else if (s->groups > 1)
        s->groups = fc_div_up(s->groups, 2);
    else if (s->channels > lanes)
        s->channels = fc_round_up(fc_div_up(s->channels, 2), lanes);
    else
        return false;
    return true;
}

/* Whether channels are read where they lie.  Not if those of one group use few sets of the cache, which do not hold
 * them from one tap to the next. */
static bool is_adjacent(const fc_conv *conv)
{
    enum { ENOUGH = 4 };                      /* times that a value is used */
    const double uses = (double)(conv->taps * conv->out_per_group) /
                        ((double)conv->stride[0] * (double)conv->stride[1] * (double)conv->stride[2]);
    return conv->channels_last && (conv->groups == 1 || !fc_crowds_sets(conv) || uses < ENOUGH);
}

/* Even blocks: how many of at most `block`, which becomes what each has. */
static int64_t blocks_of(int64_t all, int64_t *block)
{
    *block = fc_div_up(all, fc_div_up(all, *block));
    return fc_div_up(all, *block);
}

/* False where scratch would not fit in the cache. */
static bool split_make(const fc_conv *conv, taps_split *s)
{
    const int64_t *out = conv->out_size, in = conv->in_per_group, size = (int64_t)fc_size_of(conv->dtype);
    *s = (taps_split){ .adjacent = is_adjacent(conv), .images = 1, .channels = in, .cols = out[FC_WIDTH] };
    const int64_t most = fc_machine_for(conv->dtype)->l2 / (s->adjacent ? 2 : 4) / size;
    s->apart = conv->stride[FC_HEIGHT] > reach(conv, FC_HEIGHT, 1);
    s->groups = fc_max(1, fc_min(conv->groups, (s->adjacent ? conv->in_channels : CHANNELS_TURNED) / in));
    const int64_t others = fc_max(1, conv->batch * out[FC_DEPTH] * fc_div_up(conv->groups, s->groups));
    /* What blocks of rows share is turned again: of few rows that is much. */
    const int64_t halo = s->apart ? 0 : reach(conv, FC_HEIGHT, 1) / conv->stride[FC_HEIGHT];
    s->rows = fc_div_up(out[FC_HEIGHT], fc_div_up(WISHED_TASKS, others));
    s->rows = fc_min(out[FC_HEIGHT], fc_max(s->rows, s->adjacent ? 1 : 3 * halo));
    for (;;) {
        s->pitch = fc_round_up(s->groups * s->channels, fc_machine_for(conv->dtype)->lanes);
        if (copied(conv, s, s->rows) <= most)
            break;
        if (!halve(conv, s))
            return false;
    }
    s->passes = fc_div_up(in, s->channels);
    s->group_blocks = blocks_of(conv->groups, &s->groups);
    s->row_blocks = blocks_of(out[FC_HEIGHT], &s->rows);
    s->col_blocks = blocks_of(out[FC_WIDTH], &s->cols);
    s->pitch = fc_round_up(s->groups * s->channels, fc_machine_for(conv->dtype)->lanes);
    if (s->row_blocks == 1 && s->col_blocks == 1)
        s->images = fc_max(1, fc_min(fc_min(conv->batch, most / copied(conv, s, s->rows)),
                                     fc_div_up(others, WISHED_TASKS)));
    s->image_blocks = conv->batch > 0 ? blocks_of(conv->batch, &s->images) : 0;
    s->tasks = s->image_blocks * out[FC_DEPTH] * s->row_blocks * s->col_blocks * s->group_blocks;
    s->tile = s->cols < TILE ? TILE / s->cols * s->cols : fc_div_up(s->cols, fc_div_up(s->cols, TILE));
    return true;
}

static taps_split split_of(const fc_conv *conv)
{
    taps_split s;
    const size_t size = fc_size_of(conv->dtype);
    (void)split_make(conv, &s);
    s.turns = (conv->in_channels > 1 && conv->x_stride[FC_C] != 1) || (conv->channels_last && !s.adjacent);
    s.places_at = s.turns ? (size_t)fc_round_up(s.images * copied(conv, &s, s.rows) * (int64_t)size, 64) : 0;
    s.parts_at = s.places_at + (size_t)conv->taps * TILE * sizeof(void *);
    s.offsets_at = s.parts_at + (size_t)conv->taps * sizeof(int64_t);
    s.zeros_at = (size_t)fc_round_up((int64_t)(s.offsets_at + (size_t)conv->taps * sizeof(int64_t)), 64);
    s.bytes = s.zeros_at + (size_t)s.pitch * size;
    return s;
}

typedef struct taps_job {
    const fc_conv_run *run;
    const void *weight;                       /* prepared */
    taps_split split;
    bool skips;                               /* taps that see padding only are left out */
} taps_job;

/* Outputs of a task, and where what they see lies: bytes from image to image, from output to output and from tap to
 * tap of the axes.  `base` is of the first output's first tap, but of column 0 of x. */
typedef struct taps_block {
    int64_t image, images, depth, row, rows, col, cols, group, groups;
    int64_t channel, channels;                /* of each group in this pass */
    const void *x;
    int64_t base, x_image, x_deep, x_row, x_row_tap, x_col;
    int64_t column, columns;                  /* of x that are turned */
    const void **places;
    int64_t *parts, *offsets;
    const void *zeros;
} taps_block;

static taps_block block_of(const taps_job *job, int64_t task, void *memory)
{
    const fc_conv *conv = job->run->conv;
    const taps_split *s = &job->split;
    const int64_t *out = conv->out_size;
    taps_block b = { .group = task % s->group_blocks * s->groups };
    b.places = (const void **)(void *)((char *)memory + s->places_at);
    b.parts = (int64_t *)(void *)((char *)memory + s->parts_at);
    b.offsets = (int64_t *)(void *)((char *)memory + s->offsets_at);
    b.zeros = (char *)memory + s->zeros_at;
    task /= s->group_blocks;
    b.col = task % s->col_blocks * s->cols;
    task /= s->col_blocks;
    b.row = task % s->row_blocks * s->rows;
    task /= s->row_blocks;
    b.depth = task % out[FC_DEPTH];
    b.image = task / out[FC_DEPTH] * s->images;
    b.groups = fc_min(s->groups, conv->groups - b.group);
    b.cols = fc_min(s->cols, out[FC_WIDTH] - b.col);
    b.rows = fc_min(s->rows, out[FC_HEIGHT] - b.row);
    b.images = fc_min(s->images, conv->batch - b.image);
    const int64_t first = b.col * conv->stride[FC_WIDTH] - conv->pad_before[FC_WIDTH];
    b.column = fc_max(0, first);
    b.columns = fc_max(0, fc_min(conv->in_size[FC_WIDTH], first + reach(conv, FC_WIDTH, b.cols)) - b.column);
    return b;
}

/* Plane of x under tap `deep`, which may be padding. */
static int64_t plane_under(const fc_conv *conv, const taps_block *b, int64_t deep)
{
    return b->depth * conv->stride[FC_DEPTH] - conv->pad_before[FC_DEPTH] + deep * conv->dilation[FC_DEPTH];
}

/* Row of x under tap `tap` of the block's output row `row`. */
static int64_t row_under(const fc_conv *conv, const taps_block *b, int64_t row, int64_t tap)
{
    return (b->row + row) * conv->stride[FC_HEIGHT] - conv->pad_before[FC_HEIGHT] + tap * conv->dilation[FC_HEIGHT];
}

/* The first of the pass's channels in the block's first image. */
static const void *first_channel(const taps_job *job, const taps_block *b)
{
    const fc_conv *conv = job->run->conv;
    const int64_t channel = b->group * conv->in_per_group + b->channel;
    return fc_at(job->run->x, b->image * conv->x_stride[FC_N] + (channel > 0 ? channel * conv->x_stride[FC_C] : 0),
                 fc_size_of(conv->dtype));
}

static void view_in_place(const taps_job *job, taps_block *b)
{
    const fc_conv *conv = job->run->conv;
    const int64_t *x = conv->x_stride, size = (int64_t)fc_size_of(conv->dtype);
    b->x = first_channel(job, b);
    b->base = (plane_under(conv, b, 0) * x[FC_D] + row_under(conv, b, 0, 0) * x[FC_H]) * size;
    b->x_image = x[FC_N] * size;
    b->x_deep = conv->dilation[FC_DEPTH] * x[FC_D] * size;
    b->x_row = conv->stride[FC_HEIGHT] * x[FC_H] * size;
    b->x_row_tap = conv->dilation[FC_HEIGHT] * x[FC_H] * size;
    b->x_col = x[FC_W] * size;
}

/* Rows of x that follow each other from `row` on, those inside of it, to the copy's from `to` on. */
static void turn_rows(const taps_job *job, const taps_block *b, const void *plane, int64_t row, int64_t rows,
                      char *to)
{
    const fc_conv *conv = job->run->conv;
    const int64_t *x = conv->x_stride, pitch = job->split.pitch, before = row < 0 ? fc_min(rows, -row) : 0;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t inside = fc_min(rows, conv->in_size[FC_HEIGHT] - row) - before;
    if (inside <= 0 || b->columns == 0)
        return;
    const bool whole = b->columns == conv->in_size[FC_WIDTH] && x[FC_H] == b->columns * x[FC_W];
    fc_move move = {
        .rows = whole ? inside * b->columns : b->columns,
        .src = fc_at(plane, (row + before) * x[FC_H] + b->column * x[FC_W], size), .src_row = x[FC_W],
        .src_col = x[FC_C], .dst = fc_at_mut(to, before * b->columns * pitch, size), .dst_row = pitch, .dst_col = 1,
        .cols = b->groups * b->channels,
    };
    for (int64_t i = 0; i < (whole ? 1 : inside); i++) {
        job->run->table->move(&move);
        move.src = fc_at(move.src, x[FC_H], size);
        move.dst = fc_at_mut(move.dst, b->columns * pitch, size);
    }
}

/* What the block sees, [image][depth of the kernel][row][column][group][channel]. */
static void turn_block(const taps_job *job, taps_block *b, void *memory)
{
    const fc_conv *conv = job->run->conv;
    const taps_split *s = &job->split;
    const int64_t *x = conv->x_stride, deep = conv->kernel[FC_DEPTH], high = conv->kernel[FC_HEIGHT];
    const size_t size = fc_size_of(conv->dtype);
    const int64_t pixel = s->pitch * (int64_t)size, row = b->columns * pixel;
    const int64_t plane = rows_seen(conv, s->apart, b->rows) * row;
    const void *first = first_channel(job, b);
    for (int64_t i = 0; i < b->images * deep; i++) {
        const int64_t z = plane_under(conv, b, i % deep);
        if (z < 0 || z >= conv->in_size[FC_DEPTH])
            continue;
        const void *from = fc_at(first, i / deep * x[FC_N] + z * x[FC_D], size);
        char *to = (char *)memory + i * plane;
        if (!s->apart)
            turn_rows(job, b, from, row_under(conv, b, 0, 0), reach(conv, FC_HEIGHT, b->rows), to);
        for (int64_t r = 0; s->apart && r < b->rows * high; r++)
            turn_rows(job, b, from, row_under(conv, b, r / high, r % high), 1, to + r * row);
    }
    b->x = memory;
    b->base = -b->column * pixel;
    b->x_image = deep * plane;
    b->x_deep = plane;
    b->x_row = (s->apart ? high : conv->stride[FC_HEIGHT]) * row;
    b->x_row_tap = (s->apart ? 1 : conv->dilation[FC_HEIGHT]) * row;
    b->x_col = pixel;
}

/* How far each tap is from the first. */
static void find_offsets(const fc_conv *conv, const taps_block *b)
{
    int64_t *to = b->offsets;
    for (int64_t d = 0; d < conv->kernel[FC_DEPTH]; d++)
        for (int64_t h = 0; h < conv->kernel[FC_HEIGHT]; h++)
            for (int64_t w = 0; w < conv->kernel[FC_WIDTH]; w++)
                *to++ = d * b->x_deep + h * b->x_row_tap + w * conv->dilation[FC_WIDTH] * b->x_col;
}

/* The outputs of a tile: where they are in y, and their first taps in x. */
typedef struct taps_tile {
    int64_t count;
    int64_t at[TILE], row[TILE], col[TILE];   /* bytes from the block's x; row and column of x */
    int64_t y[TILE];                          /* elements */
    bool inside;                              /* of x are all taps */
} taps_tile;

static taps_tile tile_of(const fc_conv *conv, const taps_block *b, int64_t first, int64_t count)
{
    const int64_t *y = conv->y_stride, *in = conv->in_size;
    const int64_t high = reach(conv, FC_HEIGHT, 1), wide = reach(conv, FC_WIDTH, 1), z = plane_under(conv, b, 0);
    taps_tile t = { .count = count, .inside = z >= 0 && z + reach(conv, FC_DEPTH, 1) <= in[FC_DEPTH] };
    int64_t col = first % b->cols, row = first / b->cols % b->rows, image = first / b->cols / b->rows;
    for (int64_t p = 0; p < count; p++) {
        t.row[p] = row_under(conv, b, row, 0);
        t.col[p] = (b->col + col) * conv->stride[FC_WIDTH] - conv->pad_before[FC_WIDTH];
        t.at[p] = b->base + image * b->x_image + row * b->x_row + t.col[p] * b->x_col;
        t.y[p] = (b->image + image) * y[FC_N] + b->depth * y[FC_D] + (b->row + row) * y[FC_H] +
                 (b->col + col) * y[FC_W];
        t.inside = t.inside && t.row[p] >= 0 && t.row[p] + high <= in[FC_HEIGHT] && t.col[p] >= 0 &&
                   t.col[p] + wide <= in[FC_WIDTH];
        if (++col == b->cols) {
            col = 0;
            if (++row == b->rows) {
                row = 0;
                image++;
            }
        }
    }
    return t;
}

/* Places of one tap; whether x is seen at all. */
static bool find_tap(const fc_conv *conv, const taps_block *b, const taps_tile *t, int64_t down, int64_t right,
                     int64_t offset, const void **places)
{
    const uint64_t height = (uint64_t)conv->in_size[FC_HEIGHT], width = (uint64_t)conv->in_size[FC_WIDTH];
    bool any = false;
    for (int64_t p = 0; p < t->count; p++) {
        const bool seen = (uint64_t)(t->row[p] + down) < height && (uint64_t)(t->col[p] + right) < width;
        places[p] = seen ? fc_at(b->x, t->at[p] + offset, 1) : b->zeros;
        any |= seen;
    }
    return any;
}

static const int64_t NOWHERE = INT64_MIN / 2;  /* rows from any row */

/* The taps of a tile that are multiplied, their places and weights.  Returns how many there are. */
static int64_t find_places(const taps_job *job, const taps_block *b, const taps_tile *t)
{
    const fc_conv *conv = job->run->conv;
    const int64_t *kernel = conv->kernel;
    const void **places = b->places;
    int64_t parts = 0, tap = 0;
    if (t->inside) {
        for (; tap < conv->taps; tap++, places += TILE) {
            b->parts[tap] = tap * conv->in_per_group;
            for (int64_t p = 0; p < t->count; p++)
                places[p] = fc_at(b->x, t->at[p] + b->offsets[tap], 1);
        }
        return tap;
    }
    for (int64_t d = 0; d < kernel[FC_DEPTH]; d++) {
        const int64_t z = plane_under(conv, b, d);
        const bool outside = z < 0 || z >= conv->in_size[FC_DEPTH];
        for (int64_t h = 0; h < kernel[FC_HEIGHT]; h++)
            for (int64_t w = 0; w < kernel[FC_WIDTH]; w++, tap++) {
                const bool any = find_tap(conv, b, t, outside ? NOWHERE : h * conv->dilation[FC_HEIGHT],
                                          w * conv->dilation[FC_WIDTH], b->offsets[tap], places);
                if (!any && job->skips)
                    continue;
                b->parts[parts++] = tap * conv->in_per_group;
                places += TILE;
            }
    }
    return parts;
}

static void multiply(const taps_job *job, const taps_block *b, const taps_tile *t)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    void *c[TILE];
    fc_dot dot = {
        .rows = conv->out_per_group, .pixels = t->count, .k = b->channels, .weight_row = conv->depth,
        .parts = find_places(job, b, t), .weight_at = b->parts, .x = b->places, .x_part = TILE, .c = c,
        .c_row = conv->y_stride[FC_C], .accumulate = b->channel > 0,
        .finish = b->channel + b->channels == conv->in_per_group, .activation = conv->activation,
    };
    for (int64_t g = 0; g < b->groups; g++) {
        const int64_t channel = (b->group + g) * conv->out_per_group;
        for (int64_t p = 0; p < t->count; p++)
            c[p] = fc_at_mut(run->y, t->y[p] + channel * conv->y_stride[FC_C], size);
        dot.x_offset = g * b->channels;
        dot.weight = fc_at(job->weight, channel * conv->depth + b->channel, size);
        dot.bias = run->bias ? fc_at(run->bias, channel, size) : NULL;
        run->table->dot(&dot);
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const taps_job *job = context;
    const taps_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    taps_block b = block_of(job, task, memory);
    const int64_t pixels = b.images * b.rows * b.cols;
    memset((char *)memory + s->zeros_at, 0, (size_t)s->pitch * fc_size_of(conv->dtype));
    for (b.channel = 0; b.channel < conv->in_per_group; b.channel += s->channels) {
        b.channels = fc_min(s->channels, conv->in_per_group - b.channel);
        if (s->turns)
            turn_block(job, &b, memory);
        else
            view_in_place(job, &b);
        find_offsets(conv, &b);
        for (int64_t p = 0, count; p < pixels; p += count) {
            const int64_t left = s->cols < TILE ? pixels - p : b.cols - p % b.cols;
            count = fc_min(s->tile, left);
            const taps_tile tile = tile_of(conv, &b, p, count);
            multiply(job, &b, &tile);
        }
    }
}

double fc_dot_taps_cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    enum { MOST_OUTPUTS = 24 };               /* of a group: more fill vectors of their own */
    taps_split s;
    const int64_t in = conv->in_per_group, rows = conv->out_per_group;
    /* What one tap, or one output of planes, sees has the order of the weights, or is packed so as well. */
    if (conv->taps == 1 || (conv->out_pixels == 1 && !conv->channels_last && fc_unpadded(conv)))
        return INFINITY;
    if (2 * in < machine->lanes || rows > MOST_OUTPUTS || conv->taps > MOST_TAPS || conv->batch == 0 ||
        !split_make(conv, &s))
        return INFINITY;
    const double pixels = (double)(conv->batch * conv->out_pixels), groups = (double)conv->groups;
    const double met = (double)conv->taps * fc_met_share(conv, FC_DEPTH) * fc_met_share(conv, FC_HEIGHT);
    const double vectors = (double)(s.passes * fc_div_up(fc_min(in, s.channels), machine->lanes));
    const double fetched = groups * met * pixels * (double)fc_div_up(rows, 3); /* rows of a tile share x */
    const double images = (double)(s.image_blocks * s.images * conv->out_size[FC_DEPTH] * s.row_blocks *
                                   s.col_blocks);
    const double turned = s.adjacent ? 0 : images * (double)(copied(conv, &s, s.rows) * s.group_blocks *
                                                                      s.passes);
    const double weights = (double)(conv->depth * conv->out_channels), x = (double)fc_x_count(conv);
    const double far = fc_far(conv, fc_x_count(conv)) ? x * (double)fc_size_of(conv->dtype) / 64 : 0;
    const fc_count counts[] = {
        { groups * vectors * (double)rows * pixels * met, fc_dot_multiply(machine) },
        { fetched * vectors, rows < 3 ? 1 : 0.4 },
        { fetched * (double)s.passes, rows < 3 ? 1.5 : 0.8 },
        { pixels * (double)(conv->taps * s.passes * s.group_blocks), 5 },                /* places */
        { groups * (double)rows * pixels * (double)s.passes, 7.69 },                     /* sums of lanes */
        { groups * pixels * (double)s.passes / (double)s.tile, 60 },                     /* calls */
        { turned / machine->lanes, conv->channels_last ? 6 : 13 },
        { far * fc_seen_share(conv), conv->channels_last ? 8 : 12 },                     /* lines from beyond L2 */
        { prepared ? 0 : weights / machine->lanes, 35 },                                 /* pack weights */
        { (double)s.tasks, 500 },
        { 1, 4000 },
    };
    return FC_COST(counts, machine);
}

size_t fc_dot_taps_scratch(const fc_conv *conv) { return split_of(conv).bytes; }

size_t fc_dot_taps_prepared_size(const fc_conv *conv)
{
    return (size_t)(conv->out_channels * conv->depth) * fc_size_of(conv->dtype);
}

typedef struct pack_job {
    const fc_conv *conv;
    const fc_table *table;
    const void *weight;
    void *packed;
} pack_job;

static void pack_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const pack_job *job = context;
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t end = fc_min(conv->out_channels, (task + 1) * PACKED_OUTPUTS);
    for (int64_t o = task * PACKED_OUTPUTS; o < end; o++) {
        const fc_move move = {
            .rows = conv->taps, .cols = conv->in_per_group, .src = fc_at(job->weight, o * conv->depth, size),
            .src_row = 1, .src_col = conv->taps, .dst = fc_at_mut(job->packed, o * conv->depth, size),
            .dst_row = conv->in_per_group, .dst_col = 1,
        };
        job->table->move(&move);
    }
}

void fc_dot_taps_prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared)
{
    pack_job job = { conv, table, weight, prepared };
    for (int64_t task = 0; task < fc_div_up(conv->out_channels, PACKED_OUTPUTS); task++)
        pack_task(&job, task, NULL);
}

fc_status fc_dot_taps_forward(const fc_conv_run *run, fc_error *error)
{
    const fc_conv *conv = run->conv;
    taps_job job = { .run = run, .weight = run->prepared, .split = split_of(conv) };
    const double seconds = fc_dot_taps_cost(conv, fc_machine_for(conv->dtype), true);
    const int64_t weights = conv->out_channels * conv->depth;
    void *packed = NULL;
    fc_status status = FC_OK;
    if (!job.weight) {
        const size_t bytes = fc_dot_taps_prepared_size(conv);
        packed = fc_scratch_borrow(bytes);
        if (!packed)
            return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of packed weights", bytes);
        pack_job packs = { conv, run->table, run->weight, packed };
        status = fc_parallel(fc_div_up(conv->out_channels, PACKED_OUTPUTS), (double)weights * 4e-10, 0, pack_task,
                             &packs, error);
        job.weight = packed;
    }
    job.skips = !fc_unpadded(conv) && fc_surely_finite(conv->dtype, job.weight, weights);
    if (status == FC_OK)
        status = fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
    if (packed)
        fc_scratch_give_back(packed);
    return status;
}

void fc_dot_taps_describe(const fc_conv *conv, char *text, size_t size)
{
    const taps_split s = split_of(conv);
    snprintf(text, size, "channels as lanes, tap by tap%s; blocks of %lld groups x %lld images x %lld rows x %lld "
             "columns; %lld tasks", s.turns ? ", turned in scratch" : "", (long long)s.groups, (long long)s.images,
             (long long)s.rows, (long long)s.cols, (long long)s.tasks);
}
