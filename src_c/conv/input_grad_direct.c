/* The input gradient as dense products, straight from the filters.
 *
 * Every phase (see input_grad_axis.h) is a dense product over (tap, output channel) of the same
 * outputs, broadcast, and of filters whose lanes are input channels; phases write every s-th pixel
 * of one tile, which leaves scratch as whole rows.
 *
 * Outputs are read in place where none outside is seen, else from a zero-bordered band with adjacent
 * channels.  Filters are turned once, or by each task where few tasks share them. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include "band.h"
#include "cost.h"
#include "geometry.h"
#include "input_grad.h"
#include "input_grad_axis.h"
#include "input_grad_pixels.h"
#include <math.h>

enum {
    K_BLOCK = 640,            /* a panel of filters that deep is in L2 */
    CHANNEL_BLOCK = 128,      /* input channels per task: their filters stay in L2 */
    LEAST_PIXELS = 192,       /* pairs of q per task: fewer would turn filters for too little work */
    TILE = 1 << 16,           /* elements of scratch, at most, beyond one row of a panel */
    STREAMS = 16,             /* channels written side by side */
    MOST_COLS = 512,
    MOST_PHASES = 64,
    WISHED_TASKS = 8,
};
static const double TASK_FLOPS = 20e6;        /* worth a task of its own */

typedef struct direct_split {
    fc_grad_axis axis[FC_SPATIAL];
    fc_conv seen;                             /* grad_output as the x of a convolution, for the band */
    int vectors;
    int64_t panel, panels;                    /* lanes; per group */
    int64_t block_panels, channel_blocks;     /* of input channels, per task; per group */
    int64_t channels, pitch;                  /* output channels per pass; input channels of a tile's pixel */
    int64_t images, image_blocks, rows, row_blocks, cols, col_blocks; /* pairs of q of a task */
    int64_t tasks, blocks;                    /* in all; that share filters */
    int64_t taps_phase;                       /* most taps of a phase */
    bool copies, in_place;                    /* grad_output into a band; the tile is grad_input itself */
    fc_band band;
    size_t filters_at, tile_at, offsets_at, pixels_at, bytes; /* scratch layout; the band is first */
} direct_split;

static void split_axes(direct_split *s, const fc_conv *conv)
{
    s->seen = fc_grad_axes(conv, s->axis);
    s->copies = conv->y_stride[FC_C] != 1;
    for (int i = 0; i < FC_SPATIAL; i++) {
        const fc_grad_axis *a = &s->axis[i];
        s->copies = s->copies || a->reach > 0 || a->first > 0 || a->count > conv->out_size[i];
    }
}

static int64_t phases_of(const direct_split *s) { return s->axis[0].stride * s->axis[1].stride * s->axis[2].stride; }

/* Taps of an axis from one of a phase to the next of the same, or `kernel` where that would be outside. */
static int64_t period_of(const fc_grad_axis *a, int64_t kernel)
{
    int64_t period = 1;
    if (a->dilation == 1)
        return fc_min(a->stride, kernel);
    while (period < kernel && fc_grad_rest(a, period) != 0)
        period++;
    return period;
}

static void split_channels(direct_split *s, const fc_conv *conv, const fc_table *table)
{
    const int64_t vectors = fc_div_up(conv->in_per_group, table->lanes);
    s->vectors = (int)fc_min(table->panel_vectors, vectors == 1 ? 1 : vectors % 3 == 0 ? 3 : 2);
    s->panel = s->vectors * (int64_t)table->lanes;
    s->panels = fc_div_up(conv->in_per_group, s->panel);
    s->channel_blocks = fc_div_up(s->panels * s->panel, CHANNEL_BLOCK);
    s->taps_phase = 1;
    for (int i = 0; i < FC_SPATIAL; i++)
        s->taps_phase *= fc_div_up(conv->kernel[i], period_of(&s->axis[i], conv->kernel[i]));
    const int64_t most = fc_max(table->lanes, K_BLOCK / s->taps_phase);
    s->channels = fc_div_up(conv->out_per_group, fc_div_up(conv->out_per_group, most));
}

static int64_t tile_pixels(const direct_split *s)
{
    return s->images * s->rows * s->cols * phases_of(s);
}

static void split_pixels(direct_split *s, const fc_conv *conv)
{
    const int64_t height = s->axis[1].count, width = s->axis[2].count;
    const int64_t most = fc_max(LEAST_PIXELS, TILE / (phases_of(s) * fc_min(CHANNEL_BLOCK, s->panels * s->panel)));
    const int64_t all = conv->batch * s->axis[0].count * height * width;
    const int64_t wished = fc_max(LEAST_PIXELS, fc_min(most, all / WISHED_TASKS));
    const int64_t l2 = fc_machine_for(conv->dtype)->l2 / 2 / (int64_t)fc_size_of(conv->dtype);
    s->cols = fc_div_up(width, fc_div_up(width, MOST_COLS));
    s->rows = fc_max(1, fc_min(height, wished / s->cols));
    s->images = fc_max(1, fc_min(conv->batch, wished / (height * width)));
    if (s->copies)
        fc_band_fit(&s->seen, s->channels, true, l2, &s->images, &s->rows, &s->cols);
    s->image_blocks = fc_div_up(conv->batch, s->images);
    s->row_blocks = fc_div_up(height, s->rows);
    s->rows = fc_div_up(height, s->row_blocks);
    s->row_blocks = fc_div_up(height, s->rows);
    s->col_blocks = fc_div_up(width, s->cols);
    s->band = fc_band_make(&s->seen, s->channels, s->rows, s->cols, true, 1);
}

static int64_t filter_elements(const direct_split *s, const fc_conv *conv, int64_t panels, int64_t channels)
{
    return panels * s->panel * conv->taps * channels;
}

static direct_split split_of(const fc_conv *conv, const fc_table *table)
{
    direct_split s = { 0 };
    const int64_t size = (int64_t)fc_size_of(conv->dtype);
    split_axes(&s, conv);
    split_channels(&s, conv, table);
    split_pixels(&s, conv);
    s.blocks = s.image_blocks * s.axis[0].count * s.row_blocks * s.col_blocks;
    /* Tasks that share outputs each copy them: more of them only where there is work for them. */
    const int64_t worth = fc_min(WISHED_TASKS, 1 + (int64_t)fc_min(1e6, conv->flops / TASK_FLOPS));
    if (s.blocks * conv->groups * s.channel_blocks < worth)
        s.channel_blocks = fc_min(s.panels, fc_div_up(worth, s.blocks * conv->groups));
    s.block_panels = fc_div_up(s.panels, s.channel_blocks);
    s.channel_blocks = fc_div_up(s.panels, s.block_panels);
    s.tasks = s.blocks * conv->groups * s.channel_blocks;
    s.in_place = conv->x_stride[FC_C] == 1 && phases_of(&s) == 1 && s.cols == conv->in_size[FC_WIDTH] &&
                 fc_pixels_uniform(conv->x_stride, conv->in_size) &&
                 (s.images == 1 || conv->x_stride[FC_N] == s.rows * s.cols * conv->x_stride[FC_W]);
    s.pitch = s.block_panels * s.panel;
    const int64_t filters = s.blocks > 1 ? 0 : filter_elements(&s, conv, s.block_panels, s.channels);
    const int64_t tile = s.in_place ? 0 : tile_pixels(&s) * s.pitch;
    s.filters_at = (size_t)fc_round_up(s.copies ? s.band.size * s.images * size : 0, 64);
    s.tile_at = s.filters_at + (size_t)fc_round_up(filters * size, 64);
    s.offsets_at = s.tile_at + (size_t)fc_round_up(tile * size, 64);
    s.pixels_at = s.offsets_at + (size_t)(conv->taps * (s.channels + 2)) * sizeof(int64_t);
    s.bytes = s.pixels_at + (size_t)fc_round_up(s.images * s.rows * s.cols * (int64_t)sizeof(void *), 64);
    return s;
}

static const char *supports(const fc_conv *conv)
{
    int64_t phases = 1;
    for (int i = 0; i < FC_SPATIAL; i++)
        phases = conv->stride[i] > MOST_PHASES ? MOST_PHASES + 1 : phases * conv->stride[i];
    return phases <= MOST_PHASES ? NULL : "dense needs smaller strides";
}

typedef struct direct_job {
    const fc_conv *conv;
    const fc_table *table;
    const void *g, *weight;
    const void *filters;                      /* all of them turned, or NULL where tasks turn theirs */
    void *grad;
    direct_split split;
} direct_job;

/* One task's part, and its pieces of scratch. */
typedef struct direct_block {
    fc_block_origin at;                       /* image; depth, row and col count q from the first */
    int64_t images, rows, cols, pixels;
    int64_t group, panel, panels, ins;        /* panel counts from the group's first */
    void *band, *filters, *tile;
    int64_t *order, *start, *offsets;         /* of taps, see find_taps; [tap in order][output channel] */
    const void **pixel;
} direct_block;

static direct_block block_of(const direct_job *job, int64_t task, char *memory)
{
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    direct_block b = { .band = memory, .filters = memory + s->filters_at, .tile = memory + s->tile_at };
    b.panel = task % s->channel_blocks * s->block_panels;
    b.panels = fc_min(s->block_panels, s->panels - b.panel);
    b.ins = fc_min(b.panels * s->panel, conv->in_per_group - b.panel * s->panel);
    task /= s->channel_blocks;
    b.at.col = task % s->col_blocks * s->cols;
    task /= s->col_blocks;
    b.at.row = task % s->row_blocks * s->rows;
    task /= s->row_blocks;
    b.at.depth = task % s->axis[0].count;
    task /= s->axis[0].count;
    b.group = task % conv->groups;
    b.at.image = task / conv->groups * s->images;
    b.images = fc_min(s->images, conv->batch - b.at.image);
    b.rows = fc_min(s->rows, s->axis[1].count - b.at.row);
    b.cols = fc_min(s->cols, s->axis[2].count - b.at.col);
    b.pixels = b.images * b.rows * b.cols;
    b.order = (int64_t *)(void *)(memory + s->offsets_at);
    b.start = b.order + conv->taps;
    b.offsets = b.start + conv->taps;
    b.pixel = (const void **)(void *)(memory + s->pixels_at);
    return b;
}

/* The first tap of an axis that is of phase `rest`, `kernel` if there is none. */
static int64_t first_tap(const fc_grad_axis *a, int64_t kernel, int64_t rest)
{
    int64_t first = 0;
    if (a->dilation == 1)
        return fc_min(rest, kernel);
    while (first < kernel && fc_grad_rest(a, first) != rest)
        first++;
    return first;
}

/* The taps of phase `rest`, appended to order; returns how many. */
static int64_t taps_of(const fc_conv *conv, const direct_split *s, const int64_t rest[FC_SPATIAL], int64_t *order)
{
    const int64_t *k = conv->kernel;
    int64_t count = 0, first[FC_SPATIAL], step[FC_SPATIAL];
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        first[axis] = first_tap(&s->axis[axis], k[axis], rest[axis]);
        step[axis] = period_of(&s->axis[axis], k[axis]);
    }
    for (int64_t d = first[0]; d < k[0]; d += step[0])
        for (int64_t h = first[1]; h < k[1]; h += step[1])
            for (int64_t w = first[2]; w < k[2]; w += step[2])
                order[count++] = (d * k[1] + h) * k[2] + w;
    return count;
}

static void phase_rest(const direct_split *s, int64_t phase, int64_t rest[FC_SPATIAL])
{
    rest[2] = phase % s->axis[2].stride;
    rest[1] = phase / s->axis[2].stride % s->axis[1].stride;
    rest[0] = phase / s->axis[2].stride / s->axis[1].stride;
}

/* Taps sorted by phase. */
static void order_taps(const fc_conv *conv, const direct_split *s, int64_t *order)
{
    int64_t rest[FC_SPATIAL];
    for (int64_t phase = 0, done = 0; phase < phases_of(s); phase++) {
        phase_rest(s, phase, rest);
        done += taps_of(conv, s, rest, order + done);
    }
}

/* Filters of `panels` panels and `outs` output channels from `oc` on: [panel][tap in order][outs][lane]. */
static void turn(const direct_job *job, const int64_t *order, int64_t *at, int64_t group, int64_t panel, int64_t panels,
                 int64_t oc, int64_t outs, void *to)
{
    const fc_conv *conv = job->conv;
    const direct_split *s = &job->split;
    for (int64_t i = 0; i < conv->taps; i++)
        at[order[i]] = i * outs * s->panel;
    const fc_turn_panel w = {
        .outs = outs, .ins = fc_min(panels * s->panel, conv->in_per_group - panel * s->panel), .taps = conv->taps,
        .src_o = conv->depth, .panel = s->panel, .dst_panel = conv->taps * outs * s->panel,
        .dst_o = s->panel, .at = at,
        .src = fc_at(job->weight, (group * conv->out_per_group + oc) * conv->depth + panel * s->panel * conv->taps,
                     fc_size_of(conv->dtype)),
        .dst = to,
    };
    job->table->turn_panel(&w);
}

/* All turned filters: [group][pass][panel][tap in order][output channel][lane]. */
static int64_t turned_at(const direct_job *job, int64_t group, int64_t panel, int64_t oc, int64_t outs)
{
    const fc_conv *conv = job->conv;
    const direct_split *s = &job->split;
    return filter_elements(s, conv, s->panels, group * conv->out_per_group + oc) +
           filter_elements(s, conv, panel, outs);
}

static void turn_pass(const direct_job *job, int64_t task, int64_t *order, void *filters)
{
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    const int64_t passes = fc_div_up(conv->out_per_group, s->channels), group = task / passes;
    const int64_t oc = task % passes * s->channels, outs = fc_min(s->channels, conv->out_per_group - oc);
    order_taps(conv, s, order);
    turn(job, order, order + conv->taps, group, 0, s->panels, oc, outs,
         fc_at_mut(filters, turned_at(job, group, 0, oc, outs), fc_size_of(conv->dtype)));
}

static void turn_task(void *context, int64_t task, void *scratch)
{
    const direct_job *job = context;
    turn_pass(job, task, scratch, (void *)(uintptr_t)job->filters);
}

/* All passes, by each thread for itself. */
static void turn_all(void *context, void *memory)
{
    const direct_job *job = context;
    const direct_split *s = &job->split;
    for (int64_t pass = 0; pass < fc_div_up(job->conv->out_per_group, s->channels); pass++)
        turn_pass(job, pass, (void *)((char *)memory + s->offsets_at), (char *)memory + s->bytes);
}

/* The address of output q of every pair, less the taps' reach where there is a band. */
static void find_pixels(const direct_job *job, const direct_block *b)
{
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *y = conv->y_stride;
    const int64_t image = s->copies ? s->band.size : y[FC_N], row = s->copies ? s->band.row_step : y[FC_H];
    const int64_t col = s->copies ? s->band.col_step : y[FC_W];
    const void *first = b->band, **pixel = b->pixel;
    if (!s->copies)
        first = fc_at(job->g, b->at.image * y[FC_N] + b->group * conv->out_per_group + b->at.depth * y[FC_D] +
                                  b->at.row * row + b->at.col * col, size);
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < b->rows; r++)
            for (int64_t c = 0; c < b->cols; c++)
                *pixel++ = fc_at(first, n * image + r * row + c * col, size);
}

/* Offsets of (tap in order, output channel) from a pixel; channels count from `first`. */
static void find_offsets(const direct_job *job, const direct_block *b, int64_t first, int64_t outs)
{
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    const int64_t *k = conv->kernel;
    int64_t *offset = b->offsets;
    for (int64_t i = 0; i < conv->taps; i++) {
        const int64_t tap[FC_SPATIAL] = { b->order[i] / k[2] / k[1], b->order[i] / k[2] % k[1], b->order[i] % k[2] };
        int64_t at = s->copies ? 0 : first, back[FC_SPATIAL];
        for (int axis = 0; axis < FC_SPATIAL; axis++)
            back[axis] = fc_grad_back(&s->axis[axis], tap[axis]);
        if (s->copies)
            at = back[0] * s->band.depth_step + back[1] * s->band.row_step + back[2] * s->band.col_step;
        for (int64_t o = 0; o < outs; o++)
            *offset++ = at + o;
    }
}

static void copy_bands(const direct_job *job, const direct_block *b, int64_t first, int64_t outs)
{
    const fc_conv *conv = job->conv;
    const fc_conv_run run = { .conv = &job->split.seen, .table = job->table, .x = job->g };
    for (int64_t n = 0; n < b->images; n++) {
        fc_block_origin at = b->at;
        at.image += n;
        fc_band_copy(&run, &job->split.band, &at, b->group * conv->out_per_group + first, outs,
                     fc_at_mut(b->band, n * job->split.band.size, fc_size_of(conv->dtype)));
    }
}

/* Element of grad_input, or of the tile, that a phase writes first. */
static void *target(const direct_job *job, const direct_block *b, int64_t phase)
{
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    const int64_t *x = conv->x_stride, cols = s->axis[2].stride;
    const size_t size = fc_size_of(conv->dtype);
    if (!s->in_place)
        return fc_at_mut(b->tile, (phase / cols * b->pixels * cols + phase % cols) * s->pitch, size);
    return fc_at_mut(job->grad, b->at.image * x[FC_N] + b->group * conv->in_per_group + b->panel * s->panel +
                                    b->at.depth * x[FC_D] + b->at.row * x[FC_H] + b->at.col * x[FC_W], size);
}

/* Every phase, over the output channels of one pass. */
static void multiply(const direct_job *job, const direct_block *b, const void *filters, int64_t outs, bool accumulate)
{
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    fc_gemm g = {
        .m = b->pixels, .n = b->ins, .a = b->pixel, .b_panel = conv->taps * outs * s->panel, .b_step = s->panel,
        .panel_vectors = s->vectors,
        .c_row = s->in_place ? conv->x_stride[FC_W] : s->axis[2].stride * s->pitch,
    };
    for (int64_t phase = 0, done = 0; phase < phases_of(s); phase++) {
        int64_t rest[FC_SPATIAL];
        phase_rest(s, phase, rest);
        const int64_t taps = taps_of(conv, s, rest, b->start), all = taps * outs;
        const int64_t blocks = fc_max(1, fc_div_up(all, K_BLOCK + K_BLOCK / 4));
        const int64_t step = fc_max(1, fc_div_up(all, blocks));
        g.c = target(job, b, phase);
        for (int64_t k = 0; k == 0 || k < all; k += step) {
            g.k = fc_min(step, all - k);
            g.a_offset = b->offsets + done * outs + k;
            g.b = fc_at(filters, (done * outs + k) * s->panel, size);
            g.accumulate = accumulate || k > 0;
            if (g.k > 0 || !g.accumulate)
                job->table->gemm(&g);
        }
        done += taps;
    }
}

/* Rows r .. r + rows of the tile that are pixels, channels c .. c + channels of them, to grad_input. */
static void scatter_rows(const direct_job *job, const direct_block *b, int64_t c, int64_t channels, int64_t image,
                         int64_t depth, int64_t rest, int64_t r, int64_t rows, const void *tile)
{
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, width = b->cols * s->axis[2].stride;
    const int64_t first = (s->axis[2].first + b->at.col) * s->axis[2].stride - conv->pad_before[2];
    const int64_t skip = fc_max(0, -first), cols = fc_min(width, conv->in_size[2] - first) - skip;
    const bool even = s->axis[1].stride == 1 && cols == width && x[FC_H] == cols * x[FC_W];
    for (int64_t i = r; i < (even ? r + 1 : r + rows); i++) {
        const int64_t h = (s->axis[1].first + b->at.row + i) * s->axis[1].stride + rest - conv->pad_before[1];
        if (h < 0 || h >= conv->in_size[1] || cols <= 0)
            continue;
        void *to = fc_at_mut(job->grad,
                             image * x[FC_N] + (b->group * conv->in_per_group + b->panel * s->panel + c) * x[FC_C] +
                                 depth * x[FC_D] + h * x[FC_H] + (first + skip) * x[FC_W], size);
        const int64_t pixels = even ? rows * cols : cols;
        const bool last = x[FC_C] == 1;
        const fc_move move = {
            .rows = last ? pixels : channels, .cols = last ? channels : pixels,
            .src = fc_at(tile, (i * width + skip) * s->pitch + c, size), .src_row = last ? s->pitch : 1,
            .src_col = last ? 1 : s->pitch,
            .dst = to, .dst_row = last ? x[FC_W] : x[FC_C], .dst_col = last ? 1 : x[FC_W],
        };
        job->table->move(&move);
    }
}

/* Of one plane of images' channels c .. c + channels.  Rows are written in order, so that each channel is one
 * stream. */
static void scatter_plane(const direct_job *job, const direct_block *b, int64_t c, int64_t channels,
                          int64_t n, int64_t rd)
{
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    const int64_t width = b->cols * s->axis[2].stride, phases = s->axis[1].stride, step = phases == 1 ? b->rows : 1;
    const int64_t depth = (s->axis[0].first + b->at.depth) * s->axis[0].stride + rd - conv->pad_before[0];
    if (depth < 0 || depth >= conv->in_size[0])
        return;
    for (int64_t r = 0; r < b->rows; r += step)
        for (int64_t rh = 0; rh < phases; rh++) {
            const int64_t rows = (rd * phases + rh) * b->images + n;
            scatter_rows(job, b, c, channels, b->at.image + n, depth, rh, r, step,
                         fc_at(b->tile, rows * b->rows * width * s->pitch, fc_size_of(conv->dtype)));
        }
}

static void scatter(const direct_job *job, const direct_block *b)
{
    const int64_t step = job->conv->x_stride[FC_C] == 1 ? b->ins : STREAMS;
    for (int64_t c = 0; c < b->ins; c += step)
        for (int64_t n = 0; n < b->images; n++)
            for (int64_t rd = 0; rd < job->split.axis[0].stride; rd++)
                scatter_plane(job, b, c, fc_min(step, b->ins - c), n, rd);
}

static void run_task(void *context, int64_t task, void *memory)
{
    const direct_job *job = context;
    const direct_split *s = &job->split;
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const direct_block b = block_of(job, task, memory);
    find_pixels(job, &b);
    order_taps(conv, s, b.order);
    for (int64_t oc = 0; oc < conv->out_per_group; oc += s->channels) {
        const int64_t outs = fc_min(s->channels, conv->out_per_group - oc);
        const void *filters = b.filters;
        if (s->copies)
            copy_bands(job, &b, oc, outs);
        find_offsets(job, &b, oc, outs);
        if (job->filters)
            filters = fc_at(job->filters, turned_at(job, b.group, b.panel, oc, outs), size);
        else
            turn(job, b.order, b.start, b.group, b.panel, b.panels, oc, outs, b.filters);
        multiply(job, &b, filters, outs, oc > 0);
    }
    if (!s->in_place)
        scatter(job, &b);
}

static void run_own(void *context, int64_t task, void *memory)
{
    direct_job mine = *(const direct_job *)context;
    mine.filters = (char *)memory + mine.split.bytes;
    run_task(&mine, task, memory);
}

static double seconds_of(const fc_conv *conv, const fc_machine *machine)
{
    const direct_split s = split_of(conv, fc_table_for(conv->dtype));
    const double groups = (double)conv->groups, lanes = machine->lanes, phases = (double)phases_of(&s);
    const double vectors = (double)fc_div_up(conv->in_per_group, machine->lanes), outs = (double)conv->out_per_group;
    const double pixels = (double)(conv->batch * s.axis[0].count) * (double)(s.axis[1].count * s.axis[2].count);
    const double taps = (double)conv->taps;
    const double passes = (double)fc_div_up(conv->out_per_group, s.channels), nchw = conv->x_stride[FC_C] != 1;
    const double band = s.copies ? (double)(s.tasks * s.images * s.band.size) * passes / lanes : 0;
    /* Of one vector a product's tiles wait for their loads, though one multiply-add starts in a cycle. */
    const double waiting = vectors == 1 && groups > 1 && machine->multiply > 1 ? 1.3 : 1;
    const fc_count counts[] = {
        { groups * taps * outs * vectors * pixels, fc_multiply(machine, 1.08) * waiting },
        { groups * taps * outs * vectors, 10 },                             /* turn filters */
        { band, conv->y_stride[FC_C] == 1 ? 5 : 14 },                       /* copy bands */
        { (double)s.tasks * taps * outs, 2 },                               /* offsets */
        { groups * passes * phases * pixels / 5 * vectors / 2, 75 },        /* tiles of the product */
        { !s.in_place * groups * phases * pixels * vectors, 3 + 3 * nchw }, /* out of the tile */
        { groups * pixels * (double)s.channel_blocks, 5 },                  /* addresses */
        { groups > 1 ? groups * phases * pixels * vectors : 0, 20 },        /* pixels in pieces */
        { fc_lines_in_pieces(conv, 1), nchw ? 20 : 8 },
        { conv->groups == 1 && fc_far(conv, fc_x_count(conv)) ? (double)fc_x_count(conv) / lanes : 0, 20 },
        { (double)s.tasks, 326 },
        { 1, 2500 },
    };
    return FC_COST(counts, machine);
}

/* Others compute products better. */
static double cost(fc_input_call *call)
{
    const bool product = fc_grad_is_product(call->conv) && call->conv->x_stride[FC_C] != 1;
    return product ? INFINITY : seconds_of(call->conv, fc_machine_for(call->conv->dtype));
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    direct_job job = { .conv = conv, .table = call->table, .g = call->g, .weight = call->weight, .grad = call->grad,
                       .split = split_of(conv, call->table) };
    const size_t size = fc_size_of(conv->dtype);
    fc_status status = FC_OK;
    void *filters = NULL;
    const double seconds = seconds_of(conv, fc_machine_for(conv->dtype));
    const size_t bytes = (size_t)filter_elements(&job.split, conv, job.split.panels, conv->out_channels) * size;
    if (job.split.blocks > 1 && conv->groups == 1 && fc_makes_own(bytes))
        return fc_parallel_each(job.split.tasks, seconds, job.split.bytes + bytes, turn_all, run_own, &job, error);
    if (job.split.blocks > 1) {
        filters = fc_scratch_borrow(bytes);
        if (!filters)
            return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of filters turned round", bytes);
        job.filters = filters;
        const double weights = (double)conv->depth * (double)conv->out_channels;
        status = fc_parallel(conv->groups * fc_div_up(conv->out_per_group, job.split.channels), weights * 2e-10,
                             (size_t)(2 * conv->taps) * sizeof(int64_t), turn_task, &job, error);
    }
    if (status == FC_OK)
        status = fc_parallel(job.split.tasks, seconds, job.split.bytes, run_task, &job, error);
    fc_scratch_give_back(filters);
    return status;
}

const fc_input_method fc_input_direct = {
    .name = "dense", .also = "direct", .supports = supports, .cost = cost, .run = run,
};
