/* Winograd convolution F(m x m, 3 x 3), m = 4 or 2: 4 or 2.25 times fewer multiplications.
 *
 * A block of tiles is copied to an interleaved zero-bordered band and transformed with channels as
 * lanes to V[xi][tile][channel], all input channels.  Then, for each panel of output channels: the
 * products V[xi] U[xi], U[xi][channel][lane] being the transformed weights, and their transform back
 * with output channels as lanes, bias and activation on the way out.  U of a chunk of input channels
 * is made just before it is used, unless all of it stays in the cache from one block to the next:
 * it is four times the weights, and reading it from memory takes longer than making it.
 * Listed in list.c as winograd4 and winograd2. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "algorithm.h"
#include "band.h"
#include "cost.h"
#include "geometry.h"
#include <math.h>
#include <stdio.h>

enum {
    CHUNK = 128,              /* input channels per product: a panel of U stays in L1, few passes over the products */
    BAND_BYTES = 32 << 10,    /* of a band, where one vector of channels leaves room for more */
    BAND_VECTORS = 4,
    TAP_CHANNELS = 8,         /* input channels per step of the weight transform */
    PANEL_VECTORS = 2,
    MOST_PANEL_BYTES = 128,   /* of any ISA */
    LEAST_TILES = 28,         /* per block: fewer would make U too often, or read it */
    MOST_TILES = 56,          /* of blocks that make U themselves */
    WISHED_TASKS = 8,         /* where there are fewer blocks, tasks share V and have some of its panels each */
};

/* What is kept of the weights before the first block: nothing, G g G', or g with its output channels adjacent. */
typedef enum winograd_kept { KEPT_NOTHING, KEPT_U, KEPT_TAPS } winograd_kept;

typedef struct winograd_split {
    int m, xis, vectors;
    int edge_rows, edge_cols;                 /* outputs of tiles in the last row and column: 2 .. m */
    int64_t tiles_y, tiles_x;                 /* of one image */
    int64_t images, rows, cols;               /* images, tile rows and tile columns per block */
    int64_t image_blocks, row_blocks, col_blocks, blocks; /* blocks of all groups */
    int64_t tiles;                            /* per block */
    int64_t panel, panels;                    /* lanes; per group */
    int64_t range_panels, ranges;             /* panels per task; tasks per block */
    int64_t chunk, chunks;                    /* input channels per product */
    int64_t v_tile, v_xi, p_xi, u_xi;         /* steps, elements */
    int64_t kept_panel;                       /* step of what is kept, elements */
    winograd_kept keeps;                      /* by a plan, or by a call of several blocks */
    int64_t tasks;
    fc_band band;
    size_t v_bytes, v_at, p_at, u_at, turned_at, tile_at, bytes; /* scratch layout; the band is first */
} winograd_split;

static void split_channels(winograd_split *s, const fc_conv *conv, const fc_table *table)
{
    const size_t size = fc_size_of(conv->dtype);
    const int64_t channels = conv->in_per_group;
    s->xis = (s->m + 2) * (s->m + 2);
    s->vectors = (int)fc_min(PANEL_VECTORS, fc_div_up(conv->out_per_group, table->lanes));
    s->panel = s->vectors * (int64_t)table->lanes;
    s->panels = fc_div_up(conv->out_per_group, s->panel);
    /* One line more than a power of two would be: xi planes must not fall on the same cache sets. */
    const int64_t line = 64 / (int64_t)size;
    const double u = (double)(conv->groups * s->panels * channels * s->panel * s->xis) * (double)size;
    s->keeps = u <= 1.25 * (double)fc_machine_for(conv->dtype)->l2 ? KEPT_U : KEPT_TAPS;
    s->chunk = fc_div_up(channels, fc_div_up(channels, CHUNK));
    s->chunks = fc_div_up(channels, s->chunk);
    s->u_xi = s->chunk * s->panel + line;
    s->kept_panel = s->keeps == KEPT_U ? s->chunks * s->xis * s->u_xi : channels * 9 * s->panel;
}

/* Images, tile rows and tile columns of a block of about `most` tiles. */
static void split_tiles(winograd_split *s, const fc_conv *conv, int64_t most)
{
    const int64_t of_image = s->tiles_y * s->tiles_x;
    s->images = fc_max(1, fc_min(conv->batch, most / of_image));
    s->image_blocks = fc_max(1, fc_div_up(conv->batch, s->images)); /* an empty batch has a cost too */
    s->images = fc_max(1, fc_div_up(conv->batch, s->image_blocks));
    s->col_blocks = fc_div_up(s->tiles_x, fc_min(s->tiles_x, most));
    s->cols = fc_div_up(s->tiles_x, s->col_blocks);
    s->col_blocks = fc_div_up(s->tiles_x, s->cols);
    s->row_blocks = fc_div_up(s->tiles_y, fc_max(1, fc_min(s->tiles_y, most / s->cols)));
    s->rows = fc_div_up(s->tiles_y, s->row_blocks);
    s->row_blocks = fc_div_up(s->tiles_y, s->rows);
    s->blocks = s->image_blocks * conv->groups * conv->out_size[FC_DEPTH] * s->row_blocks * s->col_blocks;
    s->tiles = s->images * s->rows * s->cols;
}

/* Outputs along an axis that the last tile has to give; two at least. */
static int edge_of(int64_t outputs, int m)
{
    return outputs % m == 0 ? m : (int)fc_max(2, outputs % m);
}

/* Whether pixels are written where they belong; else a tile of them is, and moved. */
static bool in_place(const fc_conv *conv) { return conv->channels_last && conv->y_stride[FC_C] == 1; }

static void split_scratch(winograd_split *s, const fc_conv *conv, const fc_table *table)
{
    const int64_t size = (int64_t)fc_size_of(conv->dtype), line = 64 / size;
    const int64_t vectors = fc_div_up(conv->in_per_group, table->lanes);
    /* Tiles an odd number of vectors apart do not crowd into few cache sets. */
    s->v_tile = (vectors + (vectors % 2 == 0)) * table->lanes;
    s->v_xi = s->tiles * s->v_tile + line;
    s->p_xi = s->tiles * s->panel + line;
    const int64_t pixels = (s->rows * s->m + 2) * (s->cols * s->m + 2);
    const int64_t fit = BAND_BYTES / (pixels * table->lanes * size);
    const int64_t band = fc_min(vectors, fc_max(1, fc_min(fit, BAND_VECTORS))) * table->lanes;
    s->band = fc_band_make(conv, band, s->rows * s->m, s->cols * s->m, true, 1);
    const int64_t tile = in_place(conv) ? 0 : s->rows * s->cols * s->m * s->m * table->lanes;
    s->v_at = (size_t)fc_round_up(s->band.size * size, 64);
    s->v_bytes = (size_t)fc_round_up(s->xis * s->v_xi * size, 64);
    s->p_at = s->v_at + (s->ranges > 1 ? 0 : s->v_bytes);
    s->u_at = s->p_at + (size_t)fc_round_up(s->xis * s->p_xi * size, 64);
    s->turned_at = s->u_at + (size_t)fc_round_up(s->xis * s->u_xi * size, 64);
    s->tile_at = s->turned_at + (size_t)(TAP_CHANNELS * 9 * s->panel * size);
    s->bytes = s->tile_at + (size_t)(tile * size);
}

static winograd_split split_of(const fc_conv *conv, const fc_table *table, int m)
{
    winograd_split s = { .m = m };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), l2 = fc_max(1 << 20, fc_machine_for(conv->dtype)->l2);
    split_channels(&s, conv, table);
    s.tiles_y = fc_div_up(conv->out_size[FC_HEIGHT], m);
    s.tiles_x = fc_div_up(conv->out_size[FC_WIDTH], m);
    s.edge_rows = edge_of(conv->out_size[FC_HEIGHT], m);
    s.edge_cols = edge_of(conv->out_size[FC_WIDTH], m);
    const int64_t per_tile = s.xis * (fc_round_up(conv->in_per_group, table->lanes) + s.panel) * size;
    split_tiles(&s, conv, s.keeps == KEPT_U ? LEAST_TILES : fc_max(LEAST_TILES, fc_min(MOST_TILES, l2 / per_tile)));
    s.ranges = fc_max(1, fc_min(s.panels, WISHED_TASKS / s.blocks));
    s.range_panels = fc_div_up(s.panels, s.ranges);
    s.ranges = fc_div_up(s.panels, s.range_panels);
    s.tasks = s.blocks * s.ranges;
    split_scratch(&s, conv, table);
    return s;
}

static const char *supports(const fc_conv *conv)
{
    if (conv->exact)
        return "Winograd is off while exact results are asked for";
    if (conv->kernel[FC_DEPTH] != 1 || conv->stride[FC_DEPTH] != 1 || conv->pad_before[FC_DEPTH] != 0)
        return "Winograd needs a two-dimensional kernel";
    if (conv->kernel[FC_HEIGHT] != 3 || conv->kernel[FC_WIDTH] != 3)
        return "Winograd needs a 3x3 kernel";
    if (conv->stride[FC_HEIGHT] != 1 || conv->stride[FC_WIDTH] != 1)
        return "Winograd needs stride 1";
    if (conv->dilation[FC_HEIGHT] != 1 || conv->dilation[FC_WIDTH] != 1)
        return "Winograd needs dilation 1";
    return NULL;
}

/* Where U of one chunk of input channels is made from. */
typedef struct winograd_maker {
    const fc_conv *conv;
    const fc_table *table;
    const winograd_split *split;
    const void *weight, *taps;                /* taps: kept ones of the panel, or NULL */
    int64_t group, panel;                     /* of output channels */
    int64_t first, count;                     /* input channels */
    void *turned, *u;                         /* turned: room for TAP_CHANNELS */
} winograd_maker;

/* Filters of `count` input channels of a panel with its output channels adjacent: taps[channel * 9 + tap][lane]. */
static void turn_weights(const winograd_maker *k, int64_t c, int64_t count, void *taps)
{
    const fc_conv *conv = k->conv;
    const int64_t channel = k->panel * k->split->panel, lanes = fc_min(k->split->panel, conv->out_per_group - channel);
    const int64_t filter = (k->group * conv->out_per_group + channel) * conv->depth;
    const fc_move move = {
        .rows = count * 9, .cols = lanes,
        .src = fc_at(k->weight, filter + c * 9, fc_size_of(conv->dtype)), .src_row = 1, .src_col = conv->depth,
        .dst = taps, .dst_row = k->split->panel, .dst_col = 1, .zero_after = k->split->panel - lanes,
    };
    k->table->move(&move);
}

static void make_weights(const winograd_maker *k)
{
    const winograd_split *s = k->split;
    const size_t size = fc_size_of(k->conv->dtype);
    for (int64_t done = 0; done < k->count; done += TAP_CHANNELS) {
        const int64_t c = k->first + done, count = fc_min(TAP_CHANNELS, k->count - done);
        if (!k->taps)
            turn_weights(k, c, count, k->turned);
        const fc_winograd_weight w = {
            .m = s->m, .channels = count, .lanes = s->panel,
            .taps = k->taps ? fc_at(k->taps, c * 9 * s->panel, size) : k->turned,
            .u = fc_at_mut(k->u, done * s->panel, size), .xi_step = s->u_xi,
        };
        k->table->winograd_weight(&w);
    }
}

/* What is kept of one panel. */
static void keep_panel(const fc_conv *conv, const fc_table *table, const winograd_split *s, const void *weight,
                       int64_t index, void *kept)
{
    const size_t size = fc_size_of(conv->dtype);
    const int64_t channels = conv->in_per_group;
    _Alignas(64) unsigned char turned[TAP_CHANNELS * 9 * MOST_PANEL_BYTES];
    winograd_maker k = {
        .conv = conv, .table = table, .split = s, .weight = weight, .group = index / s->panels,
        .panel = index % s->panels, .turned = turned,
    };
    void *to = fc_at_mut(kept, index * s->kept_panel, size);
    if (s->keeps == KEPT_TAPS)
        for (int64_t c = 0; c < channels; c += TAP_CHANNELS)
            turn_weights(&k, c, fc_min(TAP_CHANNELS, channels - c), fc_at_mut(to, c * 9 * s->panel, size));
    else
        for (int64_t c = 0; c < channels; c += s->chunk) {
            k.first = c;
            k.count = fc_min(s->chunk, channels - c);
            k.u = fc_at_mut(to, c / s->chunk * s->xis * s->u_xi, size);
            make_weights(&k);
        }
}

static size_t prepared_size_of(const fc_conv *conv, const fc_table *table, int m)
{
    winograd_split s = { .m = m };
    split_channels(&s, conv, table);
    return (size_t)(conv->groups * s.panels * s.kept_panel) * fc_size_of(conv->dtype);
}

static void prepare_of(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared, int m)
{
    winograd_split s = { .m = m };
    split_channels(&s, conv, table);
    for (int64_t index = 0; index < conv->groups * s.panels; index++)
        keep_panel(conv, table, &s, weight, index, prepared);
}

typedef struct winograd_job {
    const fc_conv_run *run;
    winograd_split split;
    void *kept;                               /* NULL: from the weights each time */
    void *v;                                  /* of all blocks, NULL: each task its own */
} winograd_job;

static void keep_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const winograd_job *job = context;
    keep_panel(job->run->conv, job->run->table, &job->split, job->run->weight, task, job->kept);
}

/* Tiles of one kind: `rows` x `cols` from (row, col) of the block on, all with out_rows x out_cols
 * outputs; tile numbers from `first` on, image after image. */
typedef struct winograd_region {
    int out_rows, out_cols;
    int64_t row, col, rows, cols, first;
} winograd_region;

/* Last column, inner tiles, last row, corner: in that order the tiles that have a point are
 * neighbours, whichever point it is. */
enum { LAST_COL, INNER, LAST_ROW, CORNER, REGIONS };

typedef struct winograd_block {
    fc_block_origin at;                       /* row and col in output pixels */
    int64_t images, group, panel, panels, tiles;
    winograd_region region[REGIONS];
    void *band, *v, *products, *u, *turned, *tile;
} winograd_block;

static void regions_of(const winograd_split *s, winograd_block *b)
{
    const int64_t row = b->at.row / s->m, col = b->at.col / s->m;
    const int64_t rows = fc_min(s->rows, s->tiles_y - row), cols = fc_min(s->cols, s->tiles_x - col);
    const int64_t inner_rows = rows - (s->edge_rows < s->m && row + rows == s->tiles_y);
    const int64_t inner_cols = cols - (s->edge_cols < s->m && col + cols == s->tiles_x);
    for (int i = 0; i < REGIONS; i++) {
        const bool down = i == LAST_ROW || i == CORNER, right = i == LAST_COL || i == CORNER;
        b->region[i] = (winograd_region){
            .out_rows = down ? s->edge_rows : s->m, .out_cols = right ? s->edge_cols : s->m,
            .row = down ? inner_rows : 0, .col = right ? inner_cols : 0,
            .rows = down ? rows - inner_rows : inner_rows, .cols = right ? cols - inner_cols : inner_cols,
            .first = b->tiles,
        };
        b->tiles += b->images * b->region[i].rows * b->region[i].cols;
    }
}

static winograd_block block_of(const winograd_job *job, int64_t task, void *memory)
{
    const winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    winograd_block b = { .band = memory };
    b.panel = task % s->ranges * s->range_panels;
    b.panels = fc_min(s->range_panels, s->panels - b.panel);
    task /= s->ranges;
    b.v = job->v ? (char *)job->v + (size_t)task * s->v_bytes : (char *)memory + s->v_at;
    b.at.col = task % s->col_blocks * s->cols * s->m;
    task /= s->col_blocks;
    b.at.row = task % s->row_blocks * s->rows * s->m;
    task /= s->row_blocks;
    b.at.depth = task % conv->out_size[FC_DEPTH];
    task /= conv->out_size[FC_DEPTH];
    b.group = task % conv->groups;
    b.at.image = task / conv->groups * s->images;
    b.images = fc_min(s->images, conv->batch - b.at.image);
    b.products = (char *)memory + s->p_at;
    b.u = (char *)memory + s->u_at;
    b.turned = (char *)memory + s->turned_at;
    b.tile = (char *)memory + s->tile_at;
    regions_of(s, &b);
    return b;
}

/* V of the block, input channels c0 .. c1. */
static void transform_input(const winograd_job *job, const winograd_block *b, int64_t c0, int64_t c1)
{
    const winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    for (int64_t n = 0; n < b->images; n++) {
        fc_block_origin at = b->at;
        at.image += n;
        for (int64_t c = c0; c < c1; c += s->band.channels) {
            const int64_t count = fc_min(s->band.channels, c1 - c);
            fc_band_copy(job->run, &s->band, &at, b->group * conv->in_per_group + c, count, b->band);
            for (int i = 0; i < REGIONS; i++) {
                const winograd_region *r = &b->region[i];
                const int64_t corner = r->row * s->m * s->band.row_step + r->col * s->m * s->band.col_step;
                const fc_winograd_input w = {
                    .m = s->m, .out_rows = r->out_rows, .out_cols = r->out_cols,
                    .tile_rows = r->rows, .tile_cols = r->cols, .channels = count,
                    .band = fc_at(b->band, corner, size), .row_step = s->band.row_step, .col_step = s->band.col_step,
                    .v = fc_at_mut(b->v, (r->first + n * r->rows * r->cols) * s->v_tile + c, size),
                    .xi_step = s->v_xi, .tile_step = s->v_tile,
                };
                job->run->table->winograd_input(&w);
            }
        }
    }
}

/* Part of the input channels of one block. */
static void input_task(void *context, int64_t task, void *memory)
{
    const winograd_job *job = context;
    const winograd_split *s = &job->split;
    const int64_t channels = job->run->conv->in_per_group, parts = fc_div_up(channels, s->band.channels);
    const winograd_block b = block_of(job, task / parts * s->ranges, memory);
    const int64_t c = task % parts * s->band.channels;
    transform_input(job, &b, c, fc_min(c + s->band.channels, channels));
}

/* products[xi] (+)= V[xi] U[xi] for one chunk of input channels, from c on. */
static void multiply(const winograd_job *job, const winograd_block *b, int64_t c, const void *u)
{
    const winograd_split *s = &job->split;
    const size_t size = fc_size_of(job->run->conv->dtype);
    const int n = s->m + 2;
    const winograd_region *region = b->region;
    for (int xi = 0; xi < s->xis; xi++) {
        const int row = xi / n, col = xi % n;
        const bool in_last_row = row <= s->edge_rows || row == n - 1, in_last_col = col <= s->edge_cols || col == n - 1;
        const int64_t first = region[in_last_col ? LAST_COL : INNER].first;
        const int64_t end = !in_last_row ? region[LAST_ROW].first : in_last_col ? b->tiles : region[CORNER].first;
        const fc_winograd_multiply w = {
            .tiles = end - first, .k = fc_min(s->chunk, job->run->conv->in_per_group - c), .vectors = s->vectors,
            .v = fc_at(b->v, xi * s->v_xi + first * s->v_tile + c, size), .v_tile = s->v_tile,
            .u = fc_at(u, xi * s->u_xi, size), .u_step = s->panel,
            .m = fc_at_mut(b->products, xi * s->p_xi + first * s->panel, size), .m_tile = s->panel,
            .accumulate = c > 0,
        };
        job->run->table->winograd_multiply(&w);
    }
}

/* Pixels of `count` channels of image n of the block, lanes from `lane` of the panel on, to y. */
static void transform_back(const winograd_job *job, const winograd_block *b, int64_t n, int64_t channel, int64_t lane,
                           int64_t count, int64_t rows, int64_t cols, void *y, int64_t row_step, int64_t col_step)
{
    const winograd_split *s = &job->split;
    const fc_conv_run *run = job->run;
    const size_t size = fc_size_of(run->conv->dtype);
    for (int i = 0; i < REGIONS; i++) {
        const winograd_region *r = &b->region[i];
        const int64_t row = r->row * s->m, col = r->col * s->m;
        const int64_t first = r->first + n * r->rows * r->cols;
        const fc_winograd_output w = {
            .m = s->m, .out_rows = r->out_rows, .out_cols = r->out_cols,
            .tile_rows = r->rows, .tile_cols = r->cols, .channels = count, .rows = rows - row, .cols = cols - col,
            .products = fc_at(b->products, first * s->panel + lane, size), .xi_step = s->p_xi, .tile_step = s->panel,
            .y = fc_at_mut(y, row * row_step + col * col_step, size), .row_step = row_step, .col_step = col_step,
            .bias = run->bias ? fc_at(run->bias, channel, size) : NULL, .activation = run->conv->activation,
        };
        run->table->winograd_output(&w);
    }
}

/* One panel back to pixels: in place where y's channels are adjacent, else a vector of channels at a
 * time through a tile and a transpose. */
static void transform_output(const winograd_job *job, const winograd_block *b, int64_t panel)
{
    const fc_conv_run *run = job->run;
    const winograd_split *s = &job->split;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t first = b->group * conv->out_per_group + panel * s->panel;
    const int64_t channels = fc_min(s->panel, conv->out_per_group - panel * s->panel);
    const int64_t rows = fc_min(s->rows * s->m, conv->out_size[FC_HEIGHT] - b->at.row);
    const int64_t cols = fc_min(s->cols * s->m, conv->out_size[FC_WIDTH] - b->at.col);
    const int64_t *y = conv->y_stride, lanes = run->table->lanes;
    const bool even = y[FC_H] == cols * y[FC_W], whole = in_place(conv);
    const int64_t step = whole ? channels : lanes;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t c = 0; c < channels; c += step) {
            const int64_t count = fc_min(step, channels - c);
            void *image = fc_at_mut(run->y, (b->at.image + n) * y[FC_N] + (first + c) * y[FC_C] + b->at.depth * y[FC_D] +
                                                b->at.row * y[FC_H] + b->at.col * y[FC_W], size);
            if (whole) {
                transform_back(job, b, n, first + c, c, count, rows, cols, image, y[FC_H], y[FC_W]);
                continue;
            }
            transform_back(job, b, n, first + c, c, count, rows, cols, b->tile, cols * lanes, lanes);
            for (int64_t r = 0; r < (even ? 1 : rows); r++) {
                const fc_move move = {
                    .rows = count, .cols = even ? rows * cols : cols,
                    .src = fc_at(b->tile, r * cols * lanes, size), .src_row = 1, .src_col = lanes,
                    .dst = fc_at_mut(image, r * y[FC_H], size), .dst_row = y[FC_C], .dst_col = y[FC_W],
                };
                run->table->move(&move);
            }
        }
}

/* U of the chunk from input channel c on: kept, or made now. */
static const void *chunk_of(const winograd_job *job, const winograd_block *b, int64_t panel, int64_t c)
{
    const winograd_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const void *kept = job->kept ? fc_at(job->kept, (b->group * s->panels + panel) * s->kept_panel, size) : NULL;
    if (kept && s->keeps == KEPT_U)
        return fc_at(kept, c / s->chunk * s->xis * s->u_xi, size);
    const winograd_maker maker = {
        .conv = conv, .table = job->run->table, .split = s, .weight = job->run->weight, .taps = kept,
        .group = b->group, .panel = panel, .first = c, .count = fc_min(s->chunk, conv->in_per_group - c),
        .turned = b->turned, .u = b->u,
    };
    make_weights(&maker);
    return b->u;
}

static void run_task(void *context, int64_t task, void *memory)
{
    const winograd_job *job = context;
    const winograd_block b = block_of(job, task, memory);
    const int64_t channels = job->run->conv->in_per_group;
    if (!job->v)
        transform_input(job, &b, 0, channels);
    for (int64_t panel = b.panel; panel < b.panel + b.panels; panel++) {
        for (int64_t c = 0; c < channels; c += job->split.chunk)
            multiply(job, &b, c, chunk_of(job, &b, panel, c));
        transform_output(job, &b, panel);
    }
}

/* The transforms' own roundings, whatever the data; a sum in chunks adds little for many channels. */
static double error_of(const fc_conv *conv, int m)
{
    return fc_epsilon(conv->dtype) * ((m == 4 ? 24 : 8) + 0.1 * sqrt((double)conv->in_per_group));
}

static double cost_of(const fc_conv *conv, const fc_machine *machine, bool prepared, int m)
{
    const winograd_split s = split_of(conv, fc_table_for(conv->dtype), m);
    const double images = (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->groups);
    const double in = (double)fc_div_up(conv->in_per_group, machine->lanes);
    const double out = (double)(s.panels * s.vectors), filters = (double)(conv->groups * conv->in_per_group) * out;
    const double blocks = (double)s.blocks, tiles = images * (double)(s.tiles_y * s.tiles_x);
    const double points = (double)((s.tiles_y - 1) * (m + 2) + s.edge_rows + 2) *
                          (double)((s.tiles_x - 1) * (m + 2) + s.edge_cols + 2);
    const double copies = blocks * (double)s.images * in / (double)(s.band.channels / machine->lanes);
    const bool keeps = prepared || s.blocks > conv->groups, made = !keeps || s.keeps != KEPT_U;
    const double makes = made ? blocks / (double)conv->groups : prepared ? 0 : 1; /* times that U is made */
    const double taps_bytes = 9.0 * (double)(conv->out_channels * conv->in_per_group) * (double)fc_size_of(conv->dtype);
    const bool cold = taps_bytes > 2.0 * (double)machine->l2;
    const fc_count counts[] = {
        { images * points * (double)conv->in_per_group * out, 0.98 },                    /* multiply */
        { s.xis * tiles * in, 12.3 },                                                    /* transform in */
        { s.xis * tiles * out, 7.5 },                                                    /* transform out */
        { (conv->channels_last ? 0 : 1) * tiles * (m * m) * out, 12.2 },                 /* transposes out */
        { s.xis * filters * makes, 8.9 },                                                /* U made */
        { (prepared ? 0 : 9) * filters, 6.7 },                                           /* weights turned */
        { (cold ? 9 : 0) * filters, 3.3 },                                               /* weights read from memory */
        { made ? 0 : s.xis * filters * blocks / (double)conv->groups, 0.8 },             /* U read from L2 */
        { copies * (double)s.band.size / machine->lanes, 13.3 },                         /* copy bands */
        { s.xis * blocks * (double)(fc_div_up(s.tiles, 14) * s.panels * s.chunks), 46 }, /* blocks of products */
        { 1, 4380 },
    };
    return FC_COST(counts, machine);
}

static fc_status forward_of(const fc_conv_run *run, fc_error *error, int m)
{
    const fc_conv *conv = run->conv;
    winograd_job job = { run, split_of(conv, run->table, m), (void *)run->prepared, NULL };
    const winograd_split *s = &job.split;
    const double seconds = cost_of(conv, fc_machine_for(conv->dtype), run->prepared != NULL, m);
    const bool keep = !run->prepared && s->blocks > conv->groups, share = s->ranges > 1;
    const size_t bytes = prepared_size_of(conv, run->table, m);
    fc_status status = FC_OK;
    if (share && !(job.v = fc_scratch_borrow((size_t)s->blocks * s->v_bytes)))
        return fc_fail(error, FC_NO_MEMORY, "x: no memory for %zu transformed blocks", (size_t)s->blocks);
    if (keep && !(job.kept = fc_scratch_borrow(bytes)))
        status = fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of prepared weights", bytes);
    if (keep && status == FC_OK)
        status = fc_parallel(s->panels * conv->groups, seconds / 8, 0, keep_task, &job, error);
    if (share && status == FC_OK)
        status = fc_parallel(s->blocks * fc_div_up(conv->in_per_group, s->band.channels), seconds / 16, s->v_at, input_task,
                             &job, error);
    if (status == FC_OK)
        status = fc_parallel(s->tasks, seconds, s->bytes, run_task, &job, error);
    if (keep)
        fc_scratch_give_back(job.kept);
    fc_scratch_give_back(job.v);
    return status;
}

static void describe_of(const fc_conv *conv, const fc_table *table, char *text, size_t size, int m)
{
    const winograd_split s = split_of(conv, table, m);
    snprintf(text, size, "F(%dx%d, 3x3); blocks of %lld tiles, panels of %lld channels; %lld tasks", m, m,
             (long long)s.tiles, (long long)s.panel, (long long)s.tasks);
}

#define FC_WINOGRAD(M, SUMMARY)                                                                                        \
    static double cost_##M(const fc_conv *c, const fc_machine *machine, bool p) { return cost_of(c, machine, p, M); }  \
    static size_t scratch_##M(const fc_conv *c, const fc_table *t) { return split_of(c, t, M).bytes; }                 \
    static size_t prepared_size_##M(const fc_conv *c, const fc_table *t) { return prepared_size_of(c, t, M); }         \
    static void prepare_##M(const fc_conv *c, const fc_table *t, const void *w, void *p) { prepare_of(c, t, w, p, M); } \
    static fc_status forward_##M(const fc_conv_run *run, fc_error *error) { return forward_of(run, error, M); }        \
    static void describe_##M(const fc_conv *c, const fc_table *t, char *s, size_t n) { describe_of(c, t, s, n, M); }   \
    static double error_##M(const fc_conv *c) { return error_of(c, M); }                                               \
    const fc_algorithm fc_algorithm_winograd##M = {                                                                    \
        .name = "winograd" #M, .summary = SUMMARY, .supports = supports, .cost = cost_##M, .scratch = scratch_##M,     \
        .prepared_size = prepared_size_##M, .prepare = prepare_##M, .forward = forward_##M, .describe = describe_##M,  \
        .error = error_##M,                                                                                            \
    };
FC_WINOGRAD(2, "Winograd F(2x2, 3x3): 2.25 times fewer multiplications")
FC_WINOGRAD(4, "Winograd F(4x4, 3x3): 4 times fewer multiplications")
