/* Direct convolution: y[pixel][oc] = sum over k of image[pixel + offset[k]] * weight[k][oc].
 *
 * Lanes are output channels, so one packed weight vector meets the pixels of a tile, each broadcast
 * from where it lies: from x itself where no padding is seen or channels are adjacent, else from a
 * zero-bordered band in scratch.  Native for NHWC, whose output rows are written in place; NCHW leaves through a
 * transposed tile.  Weights are packed per block, or once in a plan.  Supports every problem.  Listed in list.c. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "cost.h"
#include "direct.h"
#include "outputs.h"
#include "pixel_tile.h"
#include <stdio.h>
#include <string.h>

enum {
    LEAST_PIXELS = 256,       /* per task: fewer would pack weights for too little work; */
    LEAST_OF_FEW = 64,        /* but where tasks are wanted that channels are too few for */
    MOST_PIXELS = 1024,
    MOST_POINTS = 16384,
    WISHED_TASKS = 8,
};

/* Channels that one block of k touches. */
static int64_t band_channels(const fc_direct_split *s, const fc_conv *conv)
{
    return s->k_block % conv->taps == 0 ? s->k_block / conv->taps : fc_min(2, conv->in_per_group);
}

static void split_pixels(fc_direct_split *s, const fc_conv *conv)
{
    const int64_t width = conv->out_size[FC_WIDTH], height = conv->out_size[FC_HEIGHT];
    const int64_t all = conv->out_pixels * fc_max(conv->batch, 1);
    const int64_t most_pixels = s->points ? fc_min(MOST_PIXELS, MOST_POINTS / conv->taps) : MOST_PIXELS;
    const int64_t worth = fc_worth_tasks(conv);
    const bool few = s->panels * conv->groups < worth;
    const int64_t least = few ? LEAST_OF_FEW : LEAST_PIXELS, parts = few ? worth : WISHED_TASKS;
    const int64_t wished = fc_max(least, fc_min(most_pixels, all / parts));
    s->images = fc_max(1, fc_min(conv->batch, wished / conv->out_pixels));
    s->cols = fc_min(width, MOST_PIXELS);
    s->rows = fc_max(1, fc_min(height, wished / s->cols));
    const int64_t most = fc_machine_for(conv->dtype)->l2 / 2 / (int64_t)fc_size_of(conv->dtype);
    if (s->copies)
        fc_band_fit(conv, band_channels(s, conv), conv->channels_last, most, &s->images, &s->rows, &s->cols);
    s->image_blocks = fc_div_up(conv->batch, s->images);
    s->col_blocks = fc_div_up(width, s->cols);
    s->row_blocks = fc_div_up(height, s->rows);
    if (few)
        s->row_blocks = fc_even_tasks(s->row_blocks, s->row_blocks, s->image_blocks * s->col_blocks * conv->groups);
    s->rows = fc_div_up(height, s->row_blocks);
    s->row_blocks = fc_div_up(height, s->rows);
    s->band = fc_band_make(conv, band_channels(s, conv), s->rows, s->cols, conv->channels_last, 1);
}

/* Panels of a task: their weights stay in L2, and there are enough tasks beside the `blocks` of pixels. */
static void split_panels(fc_direct_split *s, const fc_conv *conv, int64_t blocks)
{
    const int64_t bytes = s->k_block * s->panel * (int64_t)fc_size_of(conv->dtype);
    const int64_t most = fc_max(1, fc_machine_for(conv->dtype)->l2 / 2 / bytes);
    s->block_panels = fc_max(1, fc_min(most, s->panels / fc_div_up(fc_worth_tasks(conv), fc_max(blocks, 1))));
    s->channel_blocks = fc_div_up(s->panels, s->block_panels);
    s->block_panels = fc_div_up(s->panels, s->channel_blocks);
}

/* Whether the values that one output pixel takes of one block of k lie side by side. */
static bool in_a_row(const fc_conv *conv, const fc_direct_split *s)
{
    return conv->taps == 1 && (s->copies ? s->band.channel_step : conv->x_stride[FC_C]) == 1;
}

/* Whether pixels of a row are found by their distance: where a tile has one vector, the addresses of its pixels would
 * take longer to read than the pixels.  Rows are cut into tiles of their own, so they must fill most of theirs. */
static bool by_runs(const fc_conv *conv, const fc_direct_split *s)
{
    enum { TILE = 14, LEAST = 10 };
    return s->vectors == 1 && !s->points && !in_a_row(conv, s) && s->cols >= LEAST * fc_div_up(s->cols, TILE);
}

/* `prepared`: weights are packed before the tasks, by a plan or at the start of the call.  `whole` has conv's channels
 * and the order of its weights, conv some of its outputs or all. */
static fc_direct_split split_part(const fc_conv *whole, const fc_conv *conv, const fc_table *table, bool prepared)
{
    fc_direct_split s = { 0 };
    const size_t size = fc_size_of(conv->dtype);
    fc_direct_split_channels(&s, whole, table);
    s.copies = s.copies && !fc_unpadded(conv);
    split_pixels(&s, conv);
    const int64_t blocks = s.image_blocks * conv->out_size[FC_DEPTH] * s.row_blocks * s.col_blocks;
    split_panels(&s, conv, blocks * conv->groups);
    s.runs = by_runs(conv, &s);
    s.tasks = blocks * conv->groups * s.channel_blocks;
    s.packs = !prepared && blocks <= 1;
    const int64_t pixels = s.images * s.rows * s.cols;
    const int64_t weights = s.packs ? s.k_block * s.block_panels * s.panel : 0;
    const int64_t band = s.copies ? s.band.size * s.images : 0;
    const int64_t tile = pixels * s.block_panels * s.panel;
    s.band_at = (size_t)fc_round_up(weights * (int64_t)size, 64);
    s.tile_at = s.band_at + (size_t)fc_round_up(band * (int64_t)size, 64);
    s.zeros_at = s.tile_at + (size_t)fc_round_up(tile * (int64_t)size, 64);
    s.offsets_at = s.zeros_at + (size_t)fc_round_up((s.points ? s.together : 0) * (int64_t)size, 64);
    s.pixels_at = s.offsets_at + (size_t)(s.points ? 0 : s.k_block) * sizeof(int64_t);
    const int64_t places = s.points ? pixels * conv->taps : pixels;
    s.bytes = s.pixels_at + (size_t)fc_round_up(places * (int64_t)sizeof(void *), 64);
    return s;
}

static fc_direct_split split_of(const fc_conv *conv, const fc_table *table, bool prepared)
{
    return split_part(conv, conv, table, prepared);
}

static const char *supports(const fc_conv *conv)
{
    (void)conv;
    return NULL;
}

/* Outputs that see no padding: few channels of most pixels are then read where they lie, those along the borders from
 * bands.  Every output has the same sum in the same order either way. */
static bool has_inside(const fc_conv *conv, const fc_direct_split *s, fc_outputs *inside)
{
    enum { LEAST_PIXELS = 2048, LEAST_COLS = 56 };
    if (!s->copies || !conv->channels_last || s->k_blocks > 1 || conv->batch * conv->out_pixels < LEAST_PIXELS)
        return false;
    return conv->out_size[FC_WIDTH] >= LEAST_COLS && fc_outputs_inside(conv, inside) &&
           fc_outputs_count(inside) >= conv->out_pixels / 16 * 15;
}

/* The largest of all parts, so that none lacks memory after another. */
static size_t scratch_of(const fc_conv *conv, const fc_table *table, bool prepared)
{
    const fc_direct_split s = split_of(conv, table, prepared);
    fc_outputs inside;
    if (!has_inside(conv, &s, &inside))
        return s.bytes;
    int64_t bytes = 0, x, y;
    for (int i = 0; i < FC_OUTPUT_PARTS; i++) {
        fc_conv part;
        if (fc_outputs_part(conv, &inside, i, &part, &x, &y))
            bytes = fc_max(bytes, (int64_t)split_part(conv, &part, table, true).bytes);
    }
    return (size_t)bytes;
}

static size_t scratch(const fc_conv *conv, const fc_table *table) { return scratch_of(conv, table, false); }

static size_t prepared_size(const fc_conv *conv, const fc_table *table)
{
    fc_direct_split s = { 0 };
    fc_direct_split_channels(&s, conv, table);
    return fc_direct_prepared_size(conv, &s);
}

static void prepare(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared)
{
    fc_direct_split s = { 0 };
    fc_direct_split_channels(&s, conv, table);
    fc_direct_prepare(conv, &s, weight, prepared, false);
}

typedef struct direct_job {
    const fc_conv_run *run;
    fc_direct_split split;
    const void *prepared;                     /* NULL where tasks pack */
    int64_t sides;                            /* parts of the channel blocks that go to one thread each */
    bool x_far, weights_far;                  /* too large to be in L2 */
} direct_job;

/* One task's block of the output and its pieces of scratch. */
typedef struct direct_block {
    fc_block_origin at;
    int64_t images, rows, cols, pixels;
    int64_t group, panel, panels, channel, channels; /* channel counts from the group's first */
    void *weights, *band, *tile, *zeros;
    int64_t *offsets;
    const void **pixel;
} direct_block;

static direct_block block_of(const direct_job *job, int64_t task, void *memory)
{
    const fc_direct_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    direct_block b = { .weights = memory };
    const int64_t of_side = s->tasks / job->sides, blocks = s->channel_blocks / job->sides, side = task / of_side;
    task %= of_side;
    const int64_t channel_block = side * blocks + task % blocks;
    task /= blocks;
    b.at.col = task % s->col_blocks * s->cols;
    task /= s->col_blocks;
    b.at.row = task % s->row_blocks * s->rows;
    task /= s->row_blocks;
    b.at.depth = task % conv->out_size[FC_DEPTH];
    task /= conv->out_size[FC_DEPTH];
    b.group = task % conv->groups;
    b.at.image = task / conv->groups * s->images;
    b.images = fc_min(s->images, conv->batch - b.at.image);
    b.rows = fc_min(s->rows, conv->out_size[FC_HEIGHT] - b.at.row);
    b.cols = fc_min(s->cols, conv->out_size[FC_WIDTH] - b.at.col);
    b.pixels = b.images * b.rows * b.cols;
    b.panel = channel_block * s->block_panels;
    b.panels = fc_min(s->block_panels, s->panels - b.panel);
    b.channel = b.panel * s->panel;
    b.channels = fc_min(b.panels * s->panel, conv->out_per_group - b.channel);
    b.band = (char *)memory + s->band_at;
    b.tile = (char *)memory + s->tile_at;
    b.zeros = (char *)memory + s->zeros_at;
    b.offsets = (int64_t *)(void *)((char *)memory + s->offsets_at);
    b.pixel = (const void **)(void *)((char *)memory + s->pixels_at);
    return b;
}

/* The address of every pixel's first tap, in x or in the band, or `ahead` elements after it; of runs, of the first
 * pixel of each row. */
static void find_pixels(const direct_job *job, const direct_block *b, int64_t ahead)
{
    const fc_direct_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t row_step = conv->stride[FC_HEIGHT] * (s->copies ? s->band.row_step : conv->x_stride[FC_H]);
    const int64_t col_step = conv->stride[FC_WIDTH] * (s->copies ? s->band.col_step : conv->x_stride[FC_W]);
    const void **pixel = b->pixel;
    const int64_t cols = s->runs ? 1 : b->cols;
    for (int64_t n = 0; n < b->images; n++) {
        const void *image = s->copies
            ? fc_at(b->band, n * s->band.size, size)
            : fc_at(job->run->x, (b->at.image + n) * conv->x_stride[FC_N] +
                                     b->at.depth * conv->stride[FC_DEPTH] * conv->x_stride[FC_D] +
                                     b->at.row * row_step + b->at.col * col_step, size);
        for (int64_t r = 0; r < b->rows; r++)
            for (int64_t c = 0; c < cols; c++)
                *pixel++ = fc_at(image, ahead + r * row_step + c * col_step, size);
    }
}

/* offset[k - k0] from a pixel's first tap; in a band, channels count from `first`. */
static void find_offsets(const direct_job *job, const direct_block *b, int64_t k0, int64_t k1, int64_t first)
{
    const fc_direct_split *s = &job->split;
    const fc_conv *conv = job->run->conv;
    const int64_t *kernel = conv->kernel;
    const int64_t channel_step = s->copies ? s->band.channel_step : conv->x_stride[FC_C];
    const int64_t depth_step = s->copies ? s->band.depth_step : conv->x_stride[FC_D] * conv->dilation[FC_DEPTH];
    const int64_t row_step = (s->copies ? s->band.row_step : conv->x_stride[FC_H]) * conv->dilation[FC_HEIGHT];
    const int64_t col_step = (s->copies ? s->band.col_step : conv->x_stride[FC_W]) * conv->dilation[FC_WIDTH];
    const int64_t base = s->copies ? -first : b->group * conv->in_per_group;
    int64_t channel = k0 / conv->taps, together = fc_direct_together(s, channel, k1 / conv->taps), of = 0;
    int64_t tap = k0 % conv->taps, kw = tap % kernel[2], kh = tap / kernel[2] % kernel[1],
        kd = tap / kernel[2] / kernel[1];
    for (int64_t k = k0; k < k1; k++) {
        b->offsets[k - k0] = (base + channel + of) * channel_step + kd * depth_step + kh * row_step + kw * col_step;
        if (++of < together)
            continue;
        of = 0;
        if (++kw < kernel[2])
            continue;
        kw = 0;
        if (++kh < kernel[1])
            continue;
        kh = 0;
        if (++kd < kernel[0])
            continue;
        kd = 0;
        channel += together;
        together = fc_direct_together(s, channel, k1 / conv->taps);
    }
}

/* The address of every pixel's channels from `first` on under every tap. */
static void find_points(const direct_job *job, const direct_block *b, int64_t first)
{
    const fc_conv *conv = job->run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, *in = conv->in_size, width = in[FC_WIDTH], step = conv->stride[FC_WIDTH];
    const void **point = b->pixel;
    for (int64_t tap = 0; tap < conv->taps; tap++) {
        const int64_t kw = tap % conv->kernel[2], kh = tap / conv->kernel[2] % conv->kernel[1];
        const int64_t kd = tap / conv->kernel[2] / conv->kernel[1];
        const int64_t z = b->at.depth * conv->stride[FC_DEPTH] - conv->pad_before[FC_DEPTH] + kd * conv->dilation[0];
        const int64_t col = b->at.col * step - conv->pad_before[FC_WIDTH] + kw * conv->dilation[FC_WIDTH];
        for (int64_t n = 0; n < b->images; n++)
            for (int64_t r = 0; r < b->rows; r++) {
                const int64_t y = (b->at.row + r) * conv->stride[FC_HEIGHT] - conv->pad_before[FC_HEIGHT] +
                                  kh * conv->dilation[FC_HEIGHT];
                const bool inside = z >= 0 && z < in[FC_DEPTH] && y >= 0 && y < in[FC_HEIGHT];
                const int64_t row = (b->at.image + n) * x[FC_N] + (b->group * conv->in_per_group + first) * x[FC_C] +
                                    z * x[FC_D] + y * x[FC_H];
                for (int64_t c = col; c < col + b->cols * step; c += step)
                    *point++ = inside && c >= 0 && c < width ? fc_at(job->run->x, row + c * x[FC_W], size) : b->zeros;
            }
    }
}

static void copy_bands(const direct_job *job, const direct_block *b, int64_t first, int64_t count)
{
    const fc_conv *conv = job->run->conv;
    for (int64_t n = 0; n < b->images; n++) {
        fc_block_origin at = b->at;
        at.image += n;
        fc_band_copy(job->run, &job->split.band, &at, b->group * conv->in_per_group + first, count,
                     fc_at_mut(b->band, n * job->split.band.size, fc_size_of(conv->dtype)));
    }
}

/* Element offset in y of pixel 0 of row `row` of image `image` of the block, channel 0 of the block. */
static int64_t y_offset(const fc_conv *conv, const direct_block *b, int64_t image, int64_t row)
{
    return (b->at.image + image) * conv->y_stride[FC_N] +
           (b->group * conv->out_per_group + b->channel) * conv->y_stride[FC_C] + b->at.depth * conv->y_stride[FC_D] +
           (b->at.row + row) * conv->y_stride[FC_H] + b->at.col * conv->y_stride[FC_W];
}

/* From a pixel of the block to the next in y, of a column down. */
static int64_t y_step(const fc_conv *conv, const direct_block *b) { return conv->y_stride[b->cols > 1 ? FC_W : FC_H]; }

/* Pixels of the block that lie evenly in y from its first on: all, an image's, or a row's. */
static int64_t even_pixels(const fc_conv *conv, const direct_block *b)
{
    const int64_t *y = conv->y_stride;
    if (b->cols == 1)
        return b->images > 1 && y[FC_N] != b->rows * y[FC_H] ? b->rows : b->pixels;
    if (b->rows > 1 && y[FC_H] != b->cols * y[FC_W])
        return b->cols;
    if (b->images > 1 && y[FC_N] != b->rows * b->cols * y[FC_W])
        return b->rows * b->cols;
    return b->pixels;
}

/* Whether outputs go to a tile first: they lie where no vector can be written, or in so short pieces that multiplying
 * these by themselves, all weights for each, takes longer than to move them. */
static bool needs_tile(const fc_conv *conv, const direct_block *b)
{
    enum { SHORT = 8, DEPTH = 128 };
    const int64_t even = even_pixels(conv, b);
    return conv->y_stride[FC_C] != 1 || (even < b->pixels && even < SHORT && conv->depth >= DEPTH);
}

/* The pixels of the block, in pieces that lie evenly in y. */
static void multiply_pixels(const direct_job *job, const direct_block *b, fc_gemm *g)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const bool in_place = !needs_tile(conv, b);
    const int64_t even = in_place ? even_pixels(conv, b) : b->pixels;
    const void *const *pixel = g->a;
    for (int64_t p = 0; p < b->pixels; p += g->m) {
        const int64_t image = p / (b->rows * b->cols), row = p / b->cols % b->rows, col = p % b->cols;
        g->m = fc_min(even - p % even, b->pixels - p);
        g->a = pixel + (g->a_run > 0 ? p / g->a_run : p);
        g->a_rows = job->x_far && g->a_run == 0 ? b->pixels - p : 0;
        g->c = in_place ? fc_at_mut(run->y, y_offset(conv, b, image, row) + col * conv->y_stride[FC_W], size)
                        : fc_at_mut(b->tile, p * b->channels, size);
        job->split.table->gemm(g);
    }
}

static void multiply(const direct_job *job, const direct_block *b, const void *weights, int64_t k0, int64_t k1)
{
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const fc_direct_split *s = &job->split;
    const bool in_place = !needs_tile(conv, b);
    const int64_t channel = b->group * conv->out_per_group + b->channel;
    const int64_t col_step = s->copies ? s->band.col_step : conv->x_stride[FC_W];
    fc_gemm g = {
        .a_run = s->runs ? b->cols : 0, .a_even = conv->stride[FC_WIDTH] * col_step,
        .n = b->channels, .k = k1 - k0, .a = b->pixel, .a_offset = in_a_row(conv, s) || s->points ? NULL : b->offsets,
        .a_segment = s->points ? (k1 - k0) / conv->taps : 0, .a_step = b->pixels,
        .b = weights, .b_panel = (k1 - k0) * s->panel, .b_step = s->panel, .panel_vectors = s->vectors,
        .b_far = job->weights_far,
        .accumulate = k0 > 0, .finish = k1 == conv->depth,
        .bias = run->bias ? fc_at(run->bias, channel, fc_size_of(conv->dtype)) : NULL, .bias_on_lanes = 1,
        .activation = conv->activation,
        .c_row = in_place ? y_step(conv, b) : b->channels,
        .c_reach = in_place ? fc_reach_of_y(conv) : FC_C_NEAR,
    };
    multiply_pixels(job, b, &g);
}

/* The tile [pixel][channel] into y. */
static void scatter(const direct_job *job, const direct_block *b)
{
    const fc_out_block out = { b->at, b->images, b->rows, b->cols,
                                 b->group * job->run->conv->out_per_group + b->channel, b->channels };
    fc_out_block_scatter(job->run, &out, b->tile);
}

static void run_task(void *context, int64_t task, void *memory)
{
    const direct_job *job = context;
    const fc_direct_split *s = &job->split;
    const fc_conv_run *run = job->run;
    const fc_conv *conv = run->conv;
    const direct_block b = block_of(job, task, memory);
    int64_t held = -1;                        /* first channel of the band now in scratch */
    if (s->points)
        memset(b.zeros, 0, (size_t)s->together * fc_size_of(conv->dtype));
    for (int64_t k0 = 0; k0 < conv->depth; k0 += s->k_block) {
        const int64_t k1 = fc_min(k0 + s->k_block, conv->depth);
        const int64_t first = k0 / conv->taps, last = (k1 - 1) / conv->taps;
        if (s->copies && (first != held || last != first))
            copy_bands(job, &b, first, last + 1 - first);
        held = first;
        if (s->points)
            find_points(job, &b, first);
        else if (k0 == 0 || in_a_row(conv, s))
            find_pixels(job, &b, in_a_row(conv, s) ? (s->copies ? 0 : b.group * conv->in_per_group + k0) : 0);
        if (!in_a_row(conv, s) && !s->points)
            find_offsets(job, &b, k0, k1, first);
        const void *weights = b.weights;
        if (job->prepared) {
            weights = fc_direct_prepared(conv, s, job->prepared, b.group, k0, k1, b.panel);
        } else {
            fc_direct_pack(conv, s, run->weight, b.group, b.panel, b.panels, k0, k1, b.weights);
        }
        multiply(job, &b, weights, k0, k1);
    }
    if (needs_tile(conv, &b))
        scatter(job, &b);
}

/* Of a call: the weights that each thread packs for itself. */
static void pack_all(void *context, void *memory)
{
    const direct_job *job = context;
    fc_direct_prepare(job->run->conv, &job->split, job->run->weight, (char *)memory + job->split.bytes, false);
}

static void run_own(void *context, int64_t task, void *memory)
{
    direct_job mine = *(const direct_job *)context;
    mine.prepared = (char *)memory + mine.split.bytes;
    run_task(&mine, task, memory);
}

/* Lines of planes that come from memory and are waited for, times their price by the vectors of outputs: measured.
 * Where one product starts in a cycle they come beside it; of planes that do not begin with a line a tile of pixels
 * needs those of some channels first, its neighbour those of others; a tap with a stride uses a part of each. */
static double lines_waited_for(const fc_conv *conv, const fc_machine *machine, double vectors)
{
    enum { HELD = 12 << 20, LINE = 64 };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), plane = conv->in_size[1] * conv->in_size[2] * size;
    const int64_t x = fc_x_count(conv) * size, y = conv->batch * conv->out_channels * conv->out_pixels * size;
    if (!fc_starts_one(machine))
        return conv->taps == 1 && fc_past_caches(x) ? 100 * fc_seen_share(conv) * (double)x / LINE : 0;
    const double uneven = plane % LINE != 0 && fc_past_caches(x + y) ? fmax(0, 80 - 16 * vectors) : 0;
    const bool parts = conv->taps > 1 && conv->stride[FC_WIDTH] > 1 && x + y > HELD;
    return (double)x / LINE * (parts ? 25 : uneven);
}

static double cost(const fc_conv *conv, const fc_machine *machine, bool prepared)
{
    const int64_t wide = machine->lanes;      /* of copies, where products take half of them */
    machine = fc_machine_fitting(machine, conv->out_per_group);
    const fc_direct_split s = split_of(conv, machine->table, prepared);
    const double groups = (double)conv->groups, depth = (double)conv->depth;
    const double vectors = (double)fc_div_up(conv->out_per_group, machine->lanes);
    const double pixels = (double)(conv->batch * conv->out_pixels);
    const int64_t turned = fc_div_up(conv->out_per_group, wide);
    const double lines_out = groups * pixels * (conv->taps > 1 ? (double)turned : vectors);
    const double weights = groups * depth * vectors;
    const double band = s.copies ? (double)(s.tasks * s.images * s.band.size) *
                                       (double)fc_div_up(conv->in_per_group, s.band.channels) / (double)wide : 0;
    const double nchw = !conv->channels_last;
    fc_outputs inside;
    const double bordering = has_inside(conv, &s, &inside)
        ? 1 - (double)fc_outputs_count(&inside) / (double)conv->out_pixels : 1; /* share of bands that are copied */
    /* Rows of a tile: what its accumulators leave of the registers. */
    const double tile_rows = (s.table->widest_panel > 3 ? 26.0 : 12.0) / s.vectors;
    const double lines = (double)fc_size_of(conv->dtype) / 64, x_far = fc_far(conv, fc_x_count(conv));
    /* Few channels of a group are copied pixel by pixel. */
    const double pixel = groups == 1 ? 0 : conv->channels_last ? 17 : 16 * x_far;
    const double copy = fmax(24.5, pixel * (double)wide / (double)s.band.channels);
    const double y_far = fc_far(conv, conv->batch * conv->out_pixels * conv->out_channels);
    /* Where one product starts in a cycle, lines in a shared cache come in time. */
    const int64_t elements = fc_x_count(conv) + conv->batch * conv->out_pixels * conv->out_channels;
    const bool held = fc_starts_one(machine) && !fc_past_caches(elements * (int64_t)fc_size_of(conv->dtype));
    const bool half_runs = s.runs && machine->halved;
    /* Of what waits: products of several taps hide some of it. */
    const double beside = fc_starts_one(machine) && conv->taps > 1 ? 0.65 : 1;
    const fc_count counts[] = {
        { groups * depth * vectors * pixels, fc_multiply_tile(machine, half_runs ? 0.82 : 0.962, s.vectors) },
        { prepared ? 0 : weights, 11.4 },                                                  /* pack weights */
        { weights, 0 },                                                                    /* and read them */
        { band * bordering, copy * beside },                                                           /* copy bands */
        { s.points ? 0 : (double)s.tasks * depth, 16.9 },                                  /* offsets */
        { groups * pixels / tile_rows * (double)s.panels * (double)s.k_blocks, 67.6 },     /* tiles */
        { nchw * lines_out, 11.2 * beside },                                               /* transposes out */
        { nchw * y_far * lines_out, 7.43 * beside },                                       /* to lines not in cache */
        { nchw * !s.copies * groups * depth * pixels * (double)s.channel_blocks, 0.25 },   /* pixels far apart */
        /* from lines not in cache, which products hide where one of them starts in a cycle */
        { nchw * !s.copies * x_far * groups * depth / (double)conv->taps * pixels, fc_starts_one(machine) ? 0 : 1.86 },
        { nchw * !s.copies, lines_waited_for(conv, machine, vectors) },
        { x_far * (double)(s.channel_blocks * fc_x_count(conv)) * lines, 0.506 },
        { y_far * pixels * (double)conv->out_channels * lines, 1.1 },
        { fc_lines_seen_in_pieces(conv, s.channel_blocks), held ? 8 : nchw > 0 ? 45 : 75 },
        { nchw * fc_lines_through_memory(conv), 57 },
        { s.points || s.runs ? 0 : groups * pixels * (double)s.channel_blocks, 9.75 * beside }, /* addresses */
        { s.points * groups * pixels * (double)(conv->taps * s.k_blocks * s.channel_blocks), 2 },
        { (double)s.tasks, 1150 },
        { 1, 4030 },
    };
    return FC_COST(counts, machine);
}

/* The inside and its borders, one after the other. */
static fc_status run_parts(const direct_job *whole, const fc_outputs *inside, double seconds, fc_error *error)
{
    const fc_conv *conv = whole->run->conv;
    const size_t size = fc_size_of(conv->dtype), bytes = scratch_of(conv, whole->run->table, true);
    fc_status status = FC_OK;
    for (int i = 0; i < FC_OUTPUT_PARTS && status == FC_OK; i++) {
        fc_conv part;
        fc_conv_run run = *whole->run;
        direct_job job = *whole;
        int64_t x, y;
        if (!fc_outputs_part(conv, inside, i, &part, &x, &y))
            continue;
        run.conv = &part;
        run.x = fc_at(run.x, x, size);
        run.y = fc_at_mut(run.y, y, size);
        job.run = &run;
        job.split = split_part(conv, &part, run.table, true);
        status = fc_parallel(job.split.tasks, seconds * part.flops / conv->flops, bytes, run_task, &job, error);
    }
    return status;
}

/* Threads that have packed the weights of some channels each are best at these themselves, of all pixels: what another
 * one has written comes at a few GB/s.  Not where x, which all then read, is more. */
static int64_t sides_of(const fc_conv *conv, const fc_direct_split *s)
{
    const int64_t threads = fc_get_num_threads(), weights = conv->depth * conv->out_channels;
    return conv->groups == 1 && s->channel_blocks % threads == 0 && fc_x_count(conv) <= 2 * weights ? threads : 1;
}

static fc_status forward(const fc_conv_run *run, fc_error *error)
{
    const fc_conv *conv = run->conv;
    direct_job job = {
        .run = run, .split = split_of(conv, run->table, run->prepared != NULL), .prepared = run->prepared, .sides = 1,
        .x_far = fc_far(conv, fc_x_count(conv)), .weights_far = fc_far(conv, conv->depth * conv->out_channels),
    };
    const double seconds = cost(conv, fc_machine_for(conv->dtype), run->prepared != NULL);
    void *packed = NULL;
    fc_outputs inside;
    const bool parts = has_inside(conv, &job.split, &inside);
    const bool packs = !run->prepared && (parts || !job.split.packs);
    const size_t bytes = packs ? fc_direct_prepared_size(conv, &job.split) : 0;
    if (packs && !parts && conv->groups == 1 && sides_of(conv, &job.split) == 1 && fc_makes_own(bytes))
        return fc_parallel_each(job.split.tasks, seconds, job.split.bytes + bytes, pack_all, run_own, &job, error);
    if (packs) {
        packed = fc_direct_borrow(run, &job.split, error);
        if (!packed)
            return FC_NO_MEMORY;
        job.prepared = packed;
        job.sides = parts ? 1 : sides_of(conv, &job.split);
    }
    const fc_status status = parts
        ? run_parts(&job, &inside, seconds, error)
        : fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
    fc_scratch_give_back(packed);
    return status;
}

static void describe(const fc_conv *conv, const fc_table *table, char *text, size_t size)
{
    const fc_direct_split s = split_of(conv, table, false);
    snprintf(text, size,
             "panels of %lld channels%s, %lld deep; blocks of %lld images x %lld rows x %lld columns%s; %lld tasks",
             (long long)s.panel, s.table == table ? "" : " in half vectors", (long long)s.k_block, (long long)s.images,
             (long long)s.rows, (long long)s.cols, s.copies ? ", padded in scratch" : "", (long long)s.tasks);
}

const fc_algorithm fc_algorithm_direct = {
    .name = "direct",
    .summary = "pixels broadcast in place or from a padded band, output channels as lanes",
    .supports = supports,
    .cost = cost,
    .scratch = scratch,
    .prepared_size = prepared_size,
    .prepare = prepare,
    .forward = forward,
    .describe = describe,
};
