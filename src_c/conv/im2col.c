/* im2col as an implicit GEMM: y[oc][pixel] = sum over k of weight[oc][k] * image[k][pixel].
 *
 * Lanes are output pixels, counted through the whole batch; weights are read where they lie.  The
 * image matrix never exists: a block of it, k_block deep and a few panels wide, is packed into
 * scratch of half the L2 cache and multiplied at once; where the image is that matrix, pointwise.c
 * reads it in place.  Supports every problem.  Listed in list.c. */
#include "../base/parallel.h"
#include "algorithm.h"
#include "cost.h"
#include "geometry.h"
#include "pointwise.h"
#include <stdio.h>

enum {
    K_BLOCK = 320,            /* a panel of it stays in L1, a block of weights in L2 */
    ROW_BLOCK = 96,           /* output channels that reuse one block of weights across the panels */
    LEAST_ROWS = 64,          /* fewer per task would pack more than they multiply */
    MOST_TASKS = 8,           /* by splitting alone: more come of larger problems */
};
static const double TASK_FLOPS = 25e6;       /* worth a task of its own */

typedef struct im2col_split {
    int64_t lanes, panel;                     /* of a vector; of a panel */
    int64_t depth, k_block, k_blocks;
    int64_t pixels, block, blocks;            /* in all; per block, whole panels; count */
    int64_t rows, row_blocks;                 /* output channels of one task, and tasks per group */
    int64_t tasks;
    size_t packed, tile;                      /* scratch elements */
} im2col_split;

static im2col_split split_of(const fc_conv *conv, const fc_table *table)
{
    im2col_split s = { .lanes = table->lanes };
    s.panel = s.lanes * table->panel_vectors;
    s.depth = conv->depth;
    s.k_blocks = fc_div_up(s.depth, K_BLOCK);
    s.k_block = fc_div_up(s.depth, s.k_blocks);
    s.pixels = conv->batch * conv->out_pixels;
    const int64_t half_l2 = fc_min(fc_machine_for(conv->dtype)->l2 / 2, 1 << 19);
    const int64_t panel_bytes = s.k_block * s.panel * (int64_t)fc_size_of(conv->dtype);
    const int64_t panels = fc_div_up(fc_max(s.pixels, 1), s.panel);
    const int64_t most = fc_max(1, half_l2 / panel_bytes);
    /* As many tasks as wished, from pixels first: those share nothing that has to be packed. */
    const int64_t worth = conv->flops < MOST_TASKS * TASK_FLOPS ? 1 + (int64_t)(conv->flops / TASK_FLOPS) : MOST_TASKS;
    const int64_t wished = fc_div_up(worth, conv->groups);
    const int64_t per_block = fc_min(most, fc_max(fc_div_up(panels, wished), fc_min(panels, 3)));
    s.blocks = fc_div_up(panels, per_block);
    s.block = fc_div_up(panels, s.blocks) * s.panel;
    s.blocks = fc_div_up(fc_max(s.pixels, 1), s.block);
    s.row_blocks = fc_max(1, fc_min(conv->out_per_group / LEAST_ROWS, wished / s.blocks));
    s.rows = fc_div_up(conv->out_per_group, s.row_blocks);
    s.row_blocks = fc_div_up(conv->out_per_group, s.rows);
    s.tasks = s.blocks * s.row_blocks * conv->groups;
    s.packed = (size_t)(s.k_block * fc_min(s.block, fc_round_up(s.pixels, s.panel)) + s.panel);
    s.tile = (size_t)(fc_min(ROW_BLOCK, s.rows) * s.panel);
    return s;
}

static const char *supports(const fc_conv *conv)
{
    (void)conv;
    return NULL;
}

static size_t scratch(const fc_conv *conv, const fc_table *table)
{
    if (fc_pointwise_supports(conv))
        return fc_pointwise_scratch(conv, table);
    const im2col_split s = split_of(conv, table);
    return (s.packed + s.tile) * fc_size_of(conv->dtype);
}

/* A run of pixels in one image: pixel `pixel` on, `count` of them, from lane `lane` of the panel. */
typedef struct pixel_run {
    int64_t image, pixel, count, lane;
} pixel_run;

/* The next run of panel lanes [run->lane + run->count, lanes): to the image's end, or the row's. */
static bool next_run(const fc_conv *conv, int64_t first, int64_t lanes, bool by_row, pixel_run *run)
{
    run->lane += run->count;
    if (run->lane >= lanes)
        return false;
    run->image = (first + run->lane) / conv->out_pixels;
    run->pixel = (first + run->lane) % conv->out_pixels;
    const int64_t width = conv->out_size[FC_WIDTH];
    const int64_t left = by_row ? width - run->pixel % width : conv->out_pixels - run->pixel;
    run->count = fc_min(left, lanes - run->lane);
    return true;
}

static int64_t pixel_offset(const int64_t stride[FC_AXES], const int64_t size[FC_SPATIAL], const pixel_run *run)
{
    const int64_t row = run->pixel / size[FC_WIDTH];
    return run->image * stride[FC_N] + row / size[FC_HEIGHT] * stride[FC_D] + row % size[FC_HEIGHT] * stride[FC_H] +
           run->pixel % size[FC_WIDTH] * stride[FC_W];
}

/* Rows k0 .. k1 of one tap for one run of pixels of a row: input channels are `taps` rows apart. */
static void pack_tap(const fc_conv_run *run, const pixel_run *pixels, int64_t group, const int64_t tap[FC_SPATIAL],
                     int64_t tap_index, int64_t k0, int64_t k1, int64_t panel, void *packed)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t c0 = k0 > tap_index ? fc_div_up(k0 - tap_index, conv->taps) : 0;
    const int64_t c1 = k1 > tap_index ? fc_div_up(k1 - tap_index, conv->taps) : 0;
    if (c1 <= c0)
        return;
    const int64_t row = pixels->pixel / conv->out_size[FC_WIDTH];
    const int64_t at[2] = { row / conv->out_size[FC_HEIGHT], row % conv->out_size[FC_HEIGHT] };
    int64_t x = pixels->image * run->conv->x_stride[FC_N] + (group * conv->in_per_group + c0) * conv->x_stride[FC_C];
    bool inside = true;
    for (int axis = FC_DEPTH; axis <= FC_HEIGHT; axis++) {
        const int64_t index = at[axis] * conv->stride[axis] - conv->pad_before[axis] + tap[axis] * conv->dilation[axis];
        inside = inside && index >= 0 && index < conv->in_size[axis];
        x += index * conv->x_stride[FC_D + axis];
    }
    fc_span span = { pixels->count, 0, 0 };
    if (inside)
        span = fc_span_of(pixels->pixel % conv->out_size[FC_WIDTH], pixels->count, conv->stride[FC_WIDTH],
                          tap[FC_WIDTH] * conv->dilation[FC_WIDTH] - conv->pad_before[FC_WIDTH],
                          conv->in_size[FC_WIDTH]);
    if (span.inside == 0)
        x = 0;
    else
        x += span.column * conv->x_stride[FC_W];
    const fc_move move = {
        .rows = c1 - c0, .cols = span.inside,
        .src = fc_at(run->x, x, size), .src_row = conv->x_stride[FC_C],
        .src_col = conv->stride[FC_WIDTH] * conv->x_stride[FC_W],
        .dst = fc_at_mut(packed, (c0 * conv->taps + tap_index - k0) * panel + pixels->lane, size),
        .dst_row = conv->taps * panel, .dst_col = 1,
        .zero_before = span.before, .zero_after = pixels->count - span.before - span.inside,
    };
    run->table->move(&move);
}

/* A 1x1 convolution that reads every pixel once: runs may cross rows. */
static bool is_pointwise(const fc_conv *conv)
{
    return conv->taps == 1 && fc_unpadded(conv) && conv->stride[0] == 1 && conv->stride[1] == 1 &&
           conv->stride[2] == 1 && conv->out_pixels == conv->in_size[0] * conv->in_size[1] * conv->in_size[2] &&
           fc_pixels_uniform(conv->x_stride, conv->in_size);
}

static void pack_panel(const fc_conv_run *run, const im2col_split *s, int64_t group, int64_t first, int64_t lanes,
                       int64_t k0, int64_t k1, void *packed)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    pixel_run pixels = { 0 };
    if (is_pointwise(conv)) {
        while (next_run(conv, first, lanes, false, &pixels)) {
            const int64_t x = pixels.image * conv->x_stride[FC_N] +
                              (group * conv->in_per_group + k0) * conv->x_stride[FC_C] + pixels.pixel * conv->x_stride[FC_W];
            const fc_move move = { .rows = k1 - k0, .cols = pixels.count, .src = fc_at(run->x, x, size),
                                   .src_row = conv->x_stride[FC_C], .src_col = conv->x_stride[FC_W],
                                   .dst = fc_at_mut(packed, pixels.lane, size), .dst_row = s->panel, .dst_col = 1 };
            run->table->move(&move);
        }
        return;
    }
    while (next_run(conv, first, lanes, true, &pixels)) {
        int64_t tap[FC_SPATIAL], index = 0;
        for (tap[0] = 0; tap[0] < conv->kernel[0]; tap[0]++)
            for (tap[1] = 0; tap[1] < conv->kernel[1]; tap[1]++)
                for (tap[2] = 0; tap[2] < conv->kernel[2]; tap[2]++)
                    pack_tap(run, &pixels, group, tap, index++, k0, k1, s->panel, packed);
    }
}

/* Between y and a tile of `rows` channels by one panel: pixels of several images, or strided ones. */
static void move_tile(const fc_conv_run *run, const im2col_split *s, int64_t channel, int64_t rows, int64_t first,
                      int64_t lanes, void *tile, bool to_y)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const bool by_row = !fc_pixels_uniform(conv->y_stride, conv->out_size);
    pixel_run pixels = { 0 };
    while (next_run(conv, first, lanes, by_row, &pixels)) {
        void *y = fc_at_mut(run->y, pixel_offset(conv->y_stride, conv->out_size, &pixels) + channel * conv->y_stride[FC_C], size);
        void *t = fc_at_mut(tile, pixels.lane, size);
        fc_move move = { .rows = rows, .cols = pixels.count };
        move.src = to_y ? t : y;
        move.dst = to_y ? y : t;
        move.src_row = to_y ? s->panel : conv->y_stride[FC_C];
        move.src_col = to_y ? 1 : conv->y_stride[FC_W];
        move.dst_row = to_y ? conv->y_stride[FC_C] : s->panel;
        move.dst_col = to_y ? conv->y_stride[FC_W] : 1;
        run->table->move(&move);
    }
}

/* Panels from `first` on that one call can write in place: the same image, adjacent pixels. */
static int64_t lanes_in_place(const fc_conv *conv, const im2col_split *s, int64_t first, int64_t end)
{
    if (conv->y_stride[FC_W] != 1 || !fc_pixels_uniform(conv->y_stride, conv->out_size))
        return 0;
    const int64_t in_image = conv->out_pixels - first % conv->out_pixels;
    if (end - first <= in_image)
        return end - first;
    return in_image / s->panel * s->panel;
}

typedef struct im2col_job {
    const fc_conv_run *run;
    im2col_split split;
} im2col_job;

/* All packed pixels times up to ROW_BLOCK output channels, for one block of k. */
static void multiply(const im2col_job *job, int64_t group, int64_t channel, int64_t rows, int64_t first, int64_t end,
                     int64_t k0, int64_t k1, const void *packed, void *tile)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const im2col_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t oc = group * conv->out_per_group + channel;
    const void *weights[ROW_BLOCK];
    for (int64_t i = 0; i < rows; i++)
        weights[i] = fc_at(run->weight, (oc + i) * conv->depth + k0, size);
    fc_gemm g = {
        .m = rows, .k = k1 - k0, .a = weights,
        .b_panel = s->panel * (k1 - k0), .b_step = s->panel, .panel_vectors = run->table->panel_vectors,
        .accumulate = k0 > 0, .finish = k1 == conv->depth,
        .bias = run->bias ? fc_at(run->bias, oc, size) : NULL, .activation = conv->activation,
    };
    for (int64_t p = first; p < end; p += g.n) {
        g.b = fc_at(packed, (p - first) * (k1 - k0), size);
        g.n = lanes_in_place(conv, s, p, end);
        if (g.n > 0) {
            pixel_run at = { .image = p / conv->out_pixels, .pixel = p % conv->out_pixels };
            g.c = fc_at_mut(run->y, pixel_offset(conv->y_stride, conv->out_size, &at) + oc * conv->y_stride[FC_C], size);
            g.c_row = conv->y_stride[FC_C];
            run->table->gemm(&g);
            continue;
        }
        g.n = fc_min(s->panel, end - p);
        g.c = tile;
        g.c_row = s->panel;
        if (g.accumulate)
            move_tile(run, s, oc, rows, p, g.n, tile, false);
        run->table->gemm(&g);
        move_tile(run, s, oc, rows, p, g.n, tile, true);
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const im2col_job *job = context;
    const im2col_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t block = task % s->blocks, rest = task / s->blocks;
    const int64_t row0 = rest % s->row_blocks * s->rows, group = rest / s->row_blocks;
    const int64_t row1 = fc_min(row0 + s->rows, conv->out_per_group);
    const int64_t first = block * s->block, end = fc_min(first + s->block, s->pixels);
    void *tile = fc_at_mut(memory, (int64_t)s->packed, size);
    for (int64_t k0 = 0; k0 < s->depth; k0 += s->k_block) {
        const int64_t k1 = fc_min(k0 + s->k_block, s->depth);
        for (int64_t p = first; p < end; p += s->panel)
            pack_panel(job->run, s, group, p, fc_min(s->panel, end - p), k0, k1,
                       fc_at_mut(memory, (p - first) * (k1 - k0), size));
        const int64_t row_blocks = fc_div_up(row1 - row0, ROW_BLOCK), step = fc_div_up(row1 - row0, row_blocks);
        for (int64_t row = row0; row < row1; row += step)
            multiply(job, group, row, fc_min(step, row1 - row), first, end, k0, k1, memory, tile);
    }
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    (void)prepared;
    if (fc_pointwise_supports(conv))
        return fc_pointwise_cost(conv, machine);
    const im2col_split s = split_of(conv, fc_table_for(conv->dtype));
    const double groups = (double)conv->groups, rows = (double)conv->out_per_group, depth = (double)conv->depth;
    const double vectors = (double)fc_div_up(s.pixels, s.lanes), panels = (double)fc_div_up(s.pixels, s.panel);
    const double image_rows = (double)(conv->batch * conv->out_size[FC_DEPTH] * conv->out_size[FC_HEIGHT]);
    const double runs = is_pointwise(conv) ? panels : panels + image_rows;
    const double packs = groups * (double)s.row_blocks, nhwc = conv->channels_last;
    const fc_count counts[] = {
        { groups * depth * rows * vectors, 0.91 },                                          /* multiply */
        { packs * depth * vectors, 12.4 },                                                  /* pack */
        { packs * runs * (double)(conv->taps * s.k_blocks), 77 },                           /* calls of move */
        { groups * (double)(fc_div_up(conv->out_per_group, 4) * s.k_blocks) * panels, 66 }, /* tiles */
        { nhwc * packs * depth * vectors, 3.4 },                                            /* transposes in */
        { nhwc * groups * rows * vectors * (double)s.k_blocks, 11.8 },                      /* transposes out */
        { groups * rows * depth / (double)machine->lanes, 3.8 },                            /* weights read */
        { (double)s.tasks, 263 },
        { 1, 2760 },
    };
    return FC_COST(counts, machine);
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    if (fc_pointwise_supports(run->conv))
        return fc_pointwise_forward(run, error);
    im2col_job job = { run, split_of(run->conv, run->table) };
    const double seconds = cost(run->conv, fc_machine_for(run->conv->dtype), false);
    const size_t bytes = (job.split.packed + job.split.tile) * fc_size_of(run->conv->dtype);
    return fc_parallel(job.split.tasks, seconds, bytes, run_task, &job, error);
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    if (fc_pointwise_supports(conv)) {
        fc_pointwise_describe(conv, table, text, size);
        return;
    }
    const im2col_split s = split_of(conv, table);
    snprintf(text, size, "panels of %lld pixels, %lld deep; %lld pixel blocks x %lld channel blocks x %lld groups",
             (long long)s.panel, (long long)s.k_block, (long long)s.blocks, (long long)s.row_blocks,
             (long long)conv->groups);
}

const fc_algorithm fc_algorithm_im2col = {
    .name = "im2col",
    .summary = "implicit GEMM: image panels packed per cache block, weights in place",
    .supports = supports,
    .cost = cost,
    .scratch = scratch,
    .forward = forward,
    .describe = describe,
};
