/* See pointwise.h.  y[oc][pixel] = sum over k of weight[oc][k] * x[k][pixel], one image at a time.
 *
 * Lanes are pixels and weights are read where they lie.  The first tile of output channels copies
 * the panel of x that it reads, for the others, or x is packed before where it comes from memory;
 * nothing is read outside x.  Last pixels that fill too little of a vector: pointwise_tail.c. */
#include "pointwise.h"
#include "../base/parallel.h"
#include "cost.h"
#include "geometry.h"
#include "pointwise_tail.h"
#include <stdio.h>

enum {
    JOINED_LEAST = 3,         /* whole vectors of an image */
    LEAST_COPIED_K = 40,      /* a shorter panel of whole vectors is in L1 wherever it lies */
    LEAST_ROWS = 64,          /* output channels per task */
    FEW_ROWS = 36,            /* output channels of a task that multiplies in about the time that x takes to come */
    MANY_L2 = 4,              /* an image that much larger than what may be expected in L2 comes from memory */
    TAIL_ROWS = 144,          /* output channels at a time where there is a tail */
    STREAM_ROWS = 8,          /* so few output channels multiply x as it streams by, without a copy: */
    STREAM_K = 8,             /* so many channels at a time, of */
    STREAM_BYTES = 4096,      /* so much of an image, whose sums stay in L1 */
    LEAST_IN_PLACE = 8,       /* vectors of an image */
};

/* Times the time of a vector of an image: one of several images together; last pixels by themselves, and each. */
static const double JOINS = 1.2, TAILS = 0.3, TAIL = 0.05;

typedef struct pointwise_split {
    int64_t lanes, panel;                     /* of a vector, of a panel */
    int64_t k_block, k_blocks;
    int64_t vectors, block, blocks;           /* of an image; pixels of a task, whole vectors, at most; per image */
    int64_t rows, row_blocks;                 /* output channels of a task; per group */
    int64_t images;                           /* of a task */
    int64_t tail, joined;                     /* pixels of an image after the last block; joined: multiplied */
    int64_t tasks;                            /* together with those of a task's other images */
    size_t tail_at, tile_at, weights_at, bytes; /* scratch layout, bytes; the copied pixels are first */
} pointwise_split;

/* Vectors of a block of pixels, `depth` channels deep, at most: it stays in L2 beside what streams past it. */
static int64_t most_vectors(const fc_conv *conv, const fc_table *table, int64_t depth)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const int64_t vector = table->lanes * (int64_t)fc_size_of(conv->dtype);
    const int64_t held = machine->multiply > 1 ? machine->l2 * 3 / 8 : machine->l2 / 4;
    return fc_max(table->panel_vectors, held / (depth * vector));
}

/* Images of a task: as many as fill vectors with what is left of their pixels after whole ones, if that takes less
 * time than what else can be done with it, and while there are tasks enough. */
static int64_t images_joined(const fc_conv *conv)
{
    const fc_table *table = fc_table_for(conv->dtype);
    const int64_t lanes = table->lanes, whole = conv->out_pixels / lanes, left = conv->out_pixels % lanes;
    const int64_t most = fc_min(table->panel_vectors * lanes / fc_max(left, 1),
                                conv->batch * conv->groups / fc_worth_tasks(conv));
    double least = fc_is_tail(left, lanes) ? TAILS + TAIL * (double)left : 1;
    int64_t images = 1;
    if (left == 0 || whole < JOINED_LEAST || whole > most_vectors(conv, table, conv->depth) ||
        conv->depth > fc_panel_depth(conv, lanes * table->panel_vectors))
        return 1;
    for (int64_t n = 2; n <= most; n++) {
        const double vectors = JOINS * (double)fc_div_up(n * left, lanes) / (double)n;
        if (vectors < least) {
            least = vectors;
            images = n;
        }
    }
    return images;
}

const fc_machine *fc_pointwise_machine(const fc_conv *conv)
{
    const fc_machine *machine = fc_machine_for(conv->dtype);
    return conv->batch == 1 ? fc_machine_fitting(machine, conv->out_pixels) : machine;
}

bool fc_pointwise_joins(const fc_conv *conv) { return images_joined(conv) > 1; }

/* Other small planes of many images are better packed together than each padded to whole vectors. */
static bool planes_fill(const fc_conv *conv)
{
    const int64_t lanes = fc_machine_for(conv->dtype)->lanes;
    return conv->batch == 1 || fc_round_up(conv->out_pixels, lanes) * 8 <= conv->out_pixels * 9 ||
           fc_pointwise_joins(conv);
}

static bool is_matrix(const fc_conv *conv)
{
    const int64_t *const stride = conv->stride, *const size = conv->in_size;
    return conv->taps == 1 && stride[0] == 1 && stride[1] == 1 && stride[2] == 1 && fc_unpadded(conv) &&
           conv->out_pixels == size[0] * size[1] * size[2] && planes_fill(conv);
}

bool fc_pointwise_fits(const fc_conv *conv)
{
    return (!conv->channels_last || (conv->in_channels == 1 && conv->out_channels == 1)) && is_matrix(conv);
}

/* Channels that all lie at one place, of a broadcast array, are refused: to gemm a step of 0 is a panel's own. */
bool fc_pointwise_supports(const fc_conv *conv)
{
    return is_matrix(conv) && (conv->x_stride[FC_C] != 0 || conv->depth == 1) && conv->x_stride[FC_W] == 1 &&
           conv->y_stride[FC_W] == 1 && fc_pixels_uniform(conv->x_stride, conv->in_size) &&
           fc_pixels_uniform(conv->y_stride, conv->out_size);
}

/* First pixel of a block; blocks are as even as whole vectors can be. */
static int64_t block_at(const pointwise_split *s, int64_t block) { return s->vectors * block / s->blocks * s->lanes; }

static pointwise_split split_of(const fc_conv *conv)
{
    const fc_table *table = fc_pointwise_machine(conv)->table;
    pointwise_split s = { .lanes = table->lanes, .panel = (int64_t)table->lanes * table->panel_vectors };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), rows = conv->out_per_group;
    s.k_blocks = fc_div_up(conv->depth, fc_panel_depth(conv, s.panel));
    s.k_block = fc_div_up(conv->depth, s.k_blocks);
    s.images = images_joined(conv);
    s.tail = fc_pointwise_tail(conv);
    s.joined = s.images > 1 ? conv->out_pixels % s.lanes : 0;
    const int64_t pixels = conv->out_pixels - s.tail - s.joined, vectors = fc_div_up(pixels, s.lanes);
    const int64_t most = most_vectors(conv, table, s.k_block);
    const int64_t wished = fc_div_up(fc_worth_tasks(conv), conv->groups * fc_max(conv->batch, 1));
    const int64_t least = fc_div_up(vectors, most);
    /* The larger side is split first, no more than needed: of the other one every task reads all. */
    s.row_blocks = rows > conv->out_pixels ? fc_max(1, fc_min(rows / LEAST_ROWS, fc_div_up(wished, least))) : 1;
    const int64_t worth = fc_min(fc_div_up(vectors, 2 * table->panel_vectors), fc_div_up(wished, s.row_blocks));
    const int64_t others = fc_div_up(conv->batch, s.images) * conv->groups * s.row_blocks;
    s.vectors = vectors;
    s.blocks = fc_max(1, fc_min(vectors, fc_even_tasks(fc_max(least, worth), least, others)));
    s.block = fc_div_up(vectors, s.blocks) * s.lanes;
    s.row_blocks = fc_max(s.row_blocks, fc_min(rows / LEAST_ROWS, wished / s.blocks));
    s.rows = fc_div_up(rows, s.row_blocks);
    s.row_blocks = fc_div_up(rows, s.rows);
    s.tasks = fc_div_up(conv->batch, s.images) * conv->groups * s.row_blocks * s.blocks;
    const int64_t together = fc_round_up(s.images * s.joined, s.lanes);
    s.tail_at = (size_t)fc_round_up((s.k_block * s.block + s.lanes) * size, 64);
    s.tile_at = s.tail_at + (size_t)fc_round_up(s.k_block * fc_max(FC_MOST_TAIL, together) * size, 64);
    s.weights_at = s.tile_at + (size_t)(s.rows * together * size);
    s.bytes = s.weights_at + (size_t)s.rows * sizeof(void *);
    return s;
}

size_t fc_pointwise_scratch(const fc_conv *conv) { return split_of(conv).bytes; }

typedef struct pointwise_job {
    const fc_conv_run *run;
    pointwise_split split;
} pointwise_job;

/* What a task multiplies: pixels of one image or, all of them, of several. */
typedef struct pointwise_part {
    int64_t image, images, group, row, rows, first, pixels;
    bool has_tail;
} pointwise_part;

static pointwise_part part_of(const pointwise_job *job, int64_t task)
{
    const pointwise_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const int64_t block = task % s->blocks, rest = task / s->blocks, rows = rest / s->row_blocks;
    pointwise_part p = { .first = block_at(s, block), .row = rest % s->row_blocks * s->rows };
    p.pixels = fc_min(block_at(s, block + 1), conv->out_pixels - s->tail - s->joined) - p.first;
    p.rows = fc_min(s->rows, conv->out_per_group - p.row);
    p.group = rows % conv->groups;
    p.image = rows / conv->groups * s->images;
    p.images = fc_min(s->images, conv->batch - p.image);
    p.has_tail = s->tail > 0 && block == s->blocks - 1;
    return p;
}

static const void *source(const pointwise_job *job, const pointwise_part *p, int64_t k0)
{
    const fc_conv *conv = job->run->conv;
    const int64_t channel = p->group * conv->in_per_group + k0;
    return fc_at(job->run->x, p->image * conv->x_stride[FC_N] + channel * conv->x_stride[FC_C] + p->first,
                 fc_size_of(conv->dtype));
}

/* `whole` for all rows.  With a tail, a few rows at a time, whose weights then are in the cache for the rest. */
static void multiply(const fc_conv_run *run, const fc_gemm *whole, const fc_tail *tail, const void *tail_packed)
{
    const size_t size = fc_size_of(run->conv->dtype);
    fc_gemm g = *whole;
    for (int64_t row = 0; row < whole->m; row += g.m) {
        g.m = fc_min(whole->m - row, tail ? TAIL_ROWS : whole->m);
        g.a = whole->a + row;
        g.a_rows = fc_max(whole->a_rows - row, 0);
        g.c = fc_at_mut(whole->c, row * g.c_row, size);
        g.bias = whole->bias ? fc_at(whole->bias, row, size) : NULL;
        if (tail) {
            const fc_tail part = { tail->image, tail->group, tail->k0, tail->k, tail->row + row, g.m };
            fc_tail_multiply(run, &part, tail_packed);
        }
        run->table->gemm(&g);
        if (g.b_copy) {
            g.b = g.b_copy;
            g.b_copy = NULL;
            g.b_lane = g.k;
            g.b_step = 0;
        }
        g.b_far = 0;
    }
}

/* Whether the pieces of a panel, read as they are multiplied, do not reach x early enough. */
static bool is_late(const fc_conv *conv, int64_t rows)
{
    return fc_far(conv, rows <= FEW_ROWS ? fc_x_count(conv) : fc_x_count(conv) / MANY_L2);
}

/* Whether x then is read before it is multiplied, a few rows at a time.  Where two products start in a cycle that takes
 * longer than to wait for what is asked for a panel ahead: measured. */
static bool packs(const fc_conv *conv, int64_t rows)
{
    return is_late(conv, rows) && fc_starts_one(fc_machine_for(conv->dtype));
}

/* Whether the next block is asked for too, a row of it after the other. */
static bool asks_soon(const fc_conv *conv, int64_t rows)
{
    const bool past = fc_past_caches(fc_x_count(conv) * (int64_t)fc_size_of(conv->dtype));
    return fc_starts_one(fc_machine_for(conv->dtype)) ? packs(conv, rows) : past;
}

/* The block as panels cut as gemm cuts them, those of one width together. */
static void pack_panels(const fc_table *table, size_t size, fc_gemm *g, void *packed)
{
    for (int64_t j = 0, pixels; j < g->n; j += pixels) {
        const int64_t vectors = fc_gemm_cut(fc_div_up(g->n - j, table->lanes), table->widest_panel);
        const int64_t width = vectors * table->lanes;
        for (pixels = width; g->n - j > pixels; pixels += width)
            if (fc_gemm_cut(fc_div_up(g->n - j - pixels, table->lanes), table->widest_panel) != vectors)
                break;
        const fc_outer_pack pack = {
            .pixels = g->k, .channels = fc_min(pixels, g->n - j), .width = width, .src = fc_at(g->b, j, size),
            .src_step = g->b_step, .dst = fc_at_mut(packed, j * g->k, size), .dst_block = width * g->k,
        };
        table->outer_pack(&pack);
    }
    g->b = packed;
    g->b_lane = g->k;
    g->b_step = 0;
    g->b_far = 0;
}

static bool streams(const fc_conv *conv, int64_t rows)
{
    return rows <= STREAM_ROWS && conv->out_pixels * (int64_t)fc_size_of(conv->dtype) >= 2 * STREAM_BYTES &&
           is_late(conv, rows);
}

/* x is read along its rows, a few of them at a time, which the processor foresees; a panel's reads jump from channel
 * to channel.  What is left, less than a vector, stays in g. */
static void stream(const fc_conv_run *run, fc_gemm *g)
{
    const size_t size = fc_size_of(run->conv->dtype);
    const int64_t whole = g->n / run->table->lanes * run->table->lanes, pixels = STREAM_BYTES / (int64_t)size;
    const void *weights[STREAM_ROWS];
    for (int64_t j = 0; j < whole; j += pixels)
        for (int64_t k = 0; k < g->k; k += STREAM_K) {
            fc_gemm part = *g;
            for (int64_t i = 0; i < g->m; i++)
                weights[i] = fc_at(g->a[i], k, size);
            part.a = weights;
            part.n = fc_min(pixels, whole - j);
            part.k = fc_min(STREAM_K, g->k - k);
            part.b = fc_at(g->b, k * g->b_step + j, size);
            part.b_far = 0;
            part.c = fc_at_mut(g->c, j, size);
            part.accumulate = g->accumulate || k > 0;
            part.finish = g->finish && k + part.k == g->k;
            run->table->gemm(&part);
        }
    g->n -= whole;
    g->b = fc_at(g->b, whole, size);
    g->c = fc_at_mut(g->c, whole, size);
}

/* Whether vectors of all channels of an image can be aligned together, and blocks end with whole ones. */
static bool aligns(const fc_conv *conv, const pointwise_split *s)
{
    return conv->x_stride[FC_C] % s->lanes == 0 && conv->out_pixels % s->lanes == 0;
}

/* Whether x is multiplied where it lies, all of which may be in L2: by aligned vectors, for those across two lines
 * take a fifth longer.  A copy of panels is worth its time for many rows, in which many channels are side by side. */
static bool in_place(const fc_conv *conv, const pointwise_split *s)
{
    enum { ROWS = 96, DEPTH = 64, ACROSS_ROWS = 24 };
    return s->k_blocks == 1 && conv->out_pixels >= LEAST_IN_PLACE * s->lanes &&
           (aligns(conv, s) ? s->rows <= ROWS || conv->depth <= DEPTH
                            : s->rows <= ACROSS_ROWS && s->blocks == 1) &&
           (s->blocks == 1 || conv->out_pixels - block_at(s, s->blocks - 1) >= 2 * s->lanes) &&
           !fc_far(conv, fc_x_count(conv) / 2);
}

/* Pixels before the first that is aligned, if it is in all channels. */
static int64_t before_aligned(const fc_conv *conv, const pointwise_split *s, const void *x)
{
    const uintptr_t size = fc_size_of(conv->dtype), vector = (uintptr_t)s->lanes * size, past = (uintptr_t)x % vector;
    return aligns(conv, s) && past % size == 0 ? (int64_t)((vector - past) % vector / size) : 0;
}

/* Whether that is for vectors that are aligned in y too, or are few: many are written for more than they are read. */
static bool aligns_results(const fc_conv_run *run, const pointwise_split *s)
{
    enum { ROWS = 32 };
    const uintptr_t vector = (uintptr_t)s->lanes * fc_size_of(run->conv->dtype);
    return s->rows <= ROWS || ((uintptr_t)run->x % vector == (uintptr_t)run->y % vector &&
                               run->conv->y_stride[FC_C] % s->lanes == 0);
}

/* One vector of pixels from `first` on; some may be computed twice, to the same bits. */
static void multiply_vector(const fc_conv_run *run, const fc_gemm *like, int64_t first)
{
    const size_t size = fc_size_of(run->conv->dtype);
    fc_gemm g = *like;
    g.n = run->table->lanes;
    g.b = fc_at(g.b, first, size);
    g.c = fc_at_mut(g.c, first, size);
    run->table->gemm(&g);
}

/* A block of pixels from one aligned vector to another, but for an image's first and last.  No pixel is another
 * block's too, since the last one is more than a vector. */
static void multiply_in_place(const fc_conv_run *run, const pointwise_part *p, const pointwise_split *s, fc_gemm *g)
{
    const size_t size = fc_size_of(run->conv->dtype);
    const int64_t first = before_aligned(run->conv, s, g->b);
    const int64_t last = g->n + (p->first + g->n + s->tail < run->conv->out_pixels ? first : 0);
    const int64_t whole = (last - first) / s->lanes * s->lanes;
    if (p->first == 0 && first > 0)
        multiply_vector(run, g, 0);
    if (first + whole < last)
        multiply_vector(run, g, last - s->lanes);
    g->n = whole;
    g->b = fc_at(g->b, first, size);
    g->c = fc_at_mut(g->c, first, size);
    g->b_far = 0;
}

/* What is left of an image's pixels, into its lanes beside those of the task's others. */
static void pack_joined(const pointwise_job *job, const pointwise_part *p, int64_t index, void *joined)
{
    const pointwise_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const fc_move move = {
        .rows = conv->depth, .cols = s->joined, .src = fc_at(source(job, p, 0), p->pixels, size),
        .src_row = conv->x_stride[FC_C], .src_col = 1, .dst = fc_at_mut(joined, index * s->joined, size),
        .dst_row = fc_round_up(s->images * s->joined, s->lanes), .dst_col = 1,
    };
    job->run->table->move(&move);
}

static void multiply_joined(const pointwise_job *job, const pointwise_part *p, const fc_gemm *like, const void *joined,
                            void *tile)
{
    const pointwise_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t width = fc_round_up(s->images * s->joined, s->lanes), *stride = conv->y_stride;
    fc_gemm g = *like;
    g.n = p->images * s->joined;
    g.panel_vectors = (int)(width / s->lanes);
    g.b = joined;
    g.b_step = width;
    g.b_lane = 0;
    g.b_far = 0;
    g.c = tile;
    g.c_row = width;
    g.c_reach = FC_C_NEAR;
    job->run->table->gemm(&g);
    for (int64_t i = 0; i < p->images; i++) {
        const int64_t at = (p->image + i) * stride[FC_N] + (p->group * conv->out_per_group + p->row) * stride[FC_C];
        const fc_move move = {
            .rows = p->rows, .cols = s->joined, .src = fc_at(tile, i * s->joined, size), .src_row = width,
            .src_col = 1, .dst = fc_at_mut(job->run->y, at + p->pixels, size), .dst_row = stride[FC_C], .dst_col = 1,
        };
        job->run->table->move(&move);
    }
}

/* Some of the part at once where x streams by; how the rest of it is to be read. */
static void stream_or_pack(const pointwise_job *job, const pointwise_part *p, fc_gemm *g, void *memory)
{
    const fc_conv_run *run = job->run;
    if (streams(run->conv, p->rows))
        stream(run, g);
    if (packs(run->conv, p->rows))
        pack_panels(run->table, fc_size_of(run->conv->dtype), g, memory);
    else if (g->k >= LEAST_COPIED_K || g->n % job->split.lanes > 0)
        g->b_copy = memory;
}

/* What this thread reads next: the next channels, or image, of its task, or the next task of its share. */
static fc_ahead next_of(const pointwise_job *job, int64_t task, const pointwise_part *p, int64_t k1)
{
    const pointwise_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const int64_t size = (int64_t)fc_size_of(conv->dtype), next = task + 1;
    pointwise_part of = *p;
    int64_t k0 = k1;
    if (k1 >= conv->depth) {
        k0 = 0;
        if (p->images > 1)
            of.image++;
        else if (next < s->tasks)
            of = part_of(job, next);
        else
            return (fc_ahead){ 0 };
    }
    return (fc_ahead){
        .at = source(job, &of, k0), .rows = fc_min(s->k_block, conv->depth - k0), .bytes = of.pixels * size,
        .step = conv->x_stride[FC_C] * size,
    };
}

/* Channels k0 .. k0 + g->k of a part that begins at g->b. */
static void run_part(const pointwise_job *job, const pointwise_part *p, const fc_gemm *like, int64_t k0,
                     fc_ahead *soon, void *memory)
{
    const pointwise_split *s = &job->split;
    const fc_conv_run *run = job->run;
    void *const tail_packed = (char *)memory + s->tail_at;
    const fc_tail tail = { p->image, p->group, k0, like->k, p->row, p->rows };
    fc_gemm g = *like;
    if (p->has_tail)
        fc_tail_pack(run, &tail, tail_packed);
    if (in_place(run->conv, s) && aligns_results(run, s))
        multiply_in_place(run, p, s, &g);
    else
        stream_or_pack(job, p, &g, memory);
    g.soon = soon->rows > 0 ? soon : NULL;
    multiply(run, &g, p->has_tail ? &tail : NULL, tail_packed);
}

static void run_task(void *context, int64_t task, void *memory)
{
    const pointwise_job *job = context;
    const pointwise_split *s = &job->split;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const pointwise_part all = part_of(job, task);
    pointwise_part p = all;
    const int64_t oc = p.group * conv->out_per_group + p.row;
    const void **weights = (const void **)(void *)((char *)memory + s->weights_at);
    fc_gemm g = {
        .m = p.rows, .n = p.pixels, .a = weights, .panel_vectors = run->table->panel_vectors,
        .a_rows = fc_far(conv, conv->depth * conv->out_channels) ? p.rows : 0, .b_lane = 1,
        .b_step = conv->x_stride[FC_C], .b_far = fc_far(conv, fc_x_count(conv)), .activation = conv->activation,
        .c_row = conv->y_stride[FC_C], .c_reach = fc_reach_of_y(conv),
        .bias = run->bias ? fc_at(run->bias, oc, size) : NULL,
    };
    for (int64_t i = 0; i < all.images; i++, p.image++, p.images--)
        for (int64_t k0 = 0; k0 < conv->depth; k0 += s->k_block) {
            g.k = fc_min(s->k_block, conv->depth - k0);
            g.b = source(job, &p, k0);
            g.c = fc_at_mut(run->y, p.image * conv->y_stride[FC_N] + oc * conv->y_stride[FC_C] + p.first, size);
            g.accumulate = k0 > 0;
            g.finish = k0 + g.k == conv->depth;
            for (int64_t row = 0; row < p.rows; row++)
                weights[row] = fc_at(run->weight, (oc + row) * conv->depth + k0, size);
            if (s->joined)
                pack_joined(job, &p, i, (char *)memory + s->tail_at);
            fc_ahead soon = asks_soon(conv, p.rows) ? next_of(job, task, &p, k0 + g.k) : (fc_ahead){ 0 };
            run_part(job, &p, &g, k0, &soon, memory);
        }
    if (s->joined) {
        p = all;
        multiply_joined(job, &p, &g, (char *)memory + s->tail_at, (char *)memory + s->tile_at);
    }
}

double fc_pointwise_cost(const fc_conv *conv)
{
    const fc_machine *machine = fc_pointwise_machine(conv);
    const pointwise_split s = split_of(conv);
    const double images = (double)(conv->batch * conv->groups), rows = (double)conv->out_per_group;
    const double depth = (double)conv->depth, size = (double)fc_size_of(conv->dtype);
    const double joined = (double)fc_div_up(s.images * s.joined, s.lanes) / (double)s.images;
    const double vectors = (double)fc_div_up(conv->out_pixels - s.tail - s.joined, s.lanes) + JOINS * joined;
    const double panels = (double)fc_div_up(conv->out_pixels, s.panel);
    const double k_blocks = (double)s.k_blocks, tile = machine->table->widest_panel > 3 ? 9 : 4; /* rows */
    const double half = fc_multiply_tile(machine, 0.96, vectors > 1 ? 2 : 1);
    const double product = machine->multiply > 1 ? 1.92 : machine->halved ? half : 0.706;
    const bool copies = conv->depth == 1 && conv->out_per_group == 1 && fc_starts_one(machine);
    const double x_far = fc_far(conv, fc_x_count(conv));
    const double y_far = fc_far(conv, conv->batch * conv->out_pixels * conv->out_channels);
    const fc_count counts[] = {
        { images * depth * rows * vectors, product },                                  /* multiply */
        { in_place(conv, &s) ? 0 : images * (double)s.row_blocks * depth * vectors, 7.21 }, /* copy */
        { images * rows / tile * k_blocks * panels, 17.4 },                            /* tiles */
        { images * rows * vectors * k_blocks, copies ? 18 : 7.38 },                    /* stores */
        { images * rows * depth * (s.tail > 0 ? TAILS + TAIL * (double)s.tail : 0), 0.706 }, /* tails */
        { x_far * (double)s.row_blocks * (double)fc_x_count(conv) * size / 64, 8.43 }, /* lines not in cache */
        { y_far * images * (double)conv->out_pixels * rows * size / 64, 1.46 },
        { (double)s.tasks, 1090 },
        { 1, FC_POINTWISE_LEAST },
    };
    return FC_COST(counts, machine);
}

fc_status fc_pointwise_forward(const fc_conv_run *run, fc_error *error)
{
    fc_conv_run fitting = *run;
    fitting.table = fc_pointwise_machine(run->conv)->table;
    pointwise_job job = { &fitting, split_of(run->conv) };
    const double seconds = fc_pointwise_cost(run->conv);
    return fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
}

void fc_pointwise_describe(const fc_conv *conv, char *text, size_t size)
{
    const pointwise_split s = split_of(conv);
    snprintf(text, size, "image in place, panels of %lld pixels%s, %lld deep; %lld pixel blocks x %lld channel blocks",
             (long long)s.panel, fc_pointwise_machine(conv)->halved ? " in half vectors" : "", (long long)s.k_block,
             (long long)s.blocks, (long long)s.row_blocks);
}
