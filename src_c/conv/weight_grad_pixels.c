/* Weight gradient of depthwise convolutions whose channels are adjacent: lanes are channels, and nothing is copied.
 *
 * Pixels of grad_output that see the same taps inside the image, a few rows or columns at each edge and all the
 * others, are one sum of products with x where it lies.  Meanwhile the next block of pixels, which comes from
 * memory, is asked for in order.  Called by weight_grad.c. */
#include "../base/size.h"
#include "cost.h"
#include "geometry.h"
#include "weight_grad.h"
#include <math.h>

enum {
    MOST_KERNEL = 7,          /* of an axis: */
    MOST_RUNS = 2 * MOST_KERNEL + 1, /* the first tap inside only falls, and the last one too */
    SUMS = 1 << 15,           /* of a part, elements */
    BLOCK = 1 << 16,          /* elements of x and of grad_output, about */
    COLS = 256,
    LEAST_ROWS = 4,
};
enum { STRIPS, PART };        /* of split.a: vectors of channels in all, of a part */
enum { SUMS_AT, REGIONS_AT, LINES_AT }; /* of split.at */

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = { .spreads = true };  /* no product with padding is made */
    const int64_t sums = conv->taps * table->lanes, cols = fc_min(conv->out_size[FC_WIDTH], COLS);
    s.a[STRIPS] = fc_div_up(conv->in_channels, table->lanes);
    s.parts = fc_div_up(s.a[STRIPS], fc_max(1, SUMS / sums));
    s.a[PART] = fc_div_up(s.a[STRIPS], s.parts);
    s.parts = fc_div_up(s.a[STRIPS], s.a[PART]);
    const int64_t column = s.a[PART] * table->lanes * (1 + fc_min(conv->stride[1], 4) * fc_min(conv->stride[2], 4));
    s.blocks = fc_pixel_blocks_of(conv, 1, fc_max(LEAST_ROWS, BLOCK / (column * cols)), cols);
    s.at[REGIONS_AT] = (size_t)fc_round_up(s.a[PART] * sums * (int64_t)fc_size_of(conv->dtype), 64);
    s.at[LINES_AT] = s.at[REGIONS_AT] + MOST_RUNS * MOST_RUNS * sizeof(fc_tap_sums);
    s.bytes = s.at[LINES_AT] + MOST_RUNS * MOST_KERNEL * sizeof(int64_t);
    return s;
}

/* Outputs first .. first + count of an axis, of a block, and the taps through which they see pixels. */
typedef struct run {
    int64_t first, count, tap, taps;
} run;

static int64_t runs_of(const fc_conv *conv, int axis, int64_t first, int64_t count, run runs[MOST_RUNS])
{
    const int64_t dilation = conv->dilation[axis], size = conv->in_size[axis], kernel = conv->kernel[axis];
    int64_t number = 0, outputs;
    for (int64_t i = 0; i < count; i += outputs) {
        const int64_t start = (first + i) * conv->stride[axis] - conv->pad_before[axis];
        const fc_span taps = fc_span_of(0, kernel, dilation, start, size);
        const int64_t left = size - 1 - start - (kernel - 1) * dilation;
        const bool same = number > 0 && runs[number - 1].tap == taps.before && runs[number - 1].taps == taps.inside;
        outputs = taps.inside == kernel ? fc_min(count - i, left / conv->stride[axis] + 1) : 1;
        if (same)
            runs[number - 1].count += outputs;
        else
            runs[number++] = (run){ i, outputs, taps.before, taps.inside };
    }
    return number;
}

/* Columns that are not there are left to the kernel. */
static bool slides(const fc_conv *conv, const fc_table *table)
{
    const int64_t *x = conv->x_stride;
    return table->tap_slides && fc_tap_slides(conv->kernel[FC_WIDTH], conv->stride[FC_WIDTH] * x[FC_W],
                                              conv->dilation[FC_WIDTH] * x[FC_W]);
}

/* Runs of columns of a block. */
static int64_t col_runs_of(const fc_conv *conv, const fc_table *table, int64_t first, int64_t count,
                           run runs[MOST_RUNS])
{
    if (!slides(conv, table))
        return runs_of(conv, FC_WIDTH, first, count, runs);
    runs[0] = (run){ 0, count, 0, conv->kernel[FC_WIDTH] };
    return 1;
}

/* Every output of an axis sees a pixel: a gradient that is not finite then shows in some sum. */
static bool all_see(const fc_conv *conv, int axis)
{
    run runs[MOST_RUNS];
    const int64_t number = runs_of(conv, axis, 0, conv->out_size[axis], runs);
    for (int64_t i = 0; i < number; i++)
        if (runs[i].taps == 0)
            return false;
    return true;
}

static const char *supports(const fc_conv *conv)
{
    if (conv->in_per_group != 1 || conv->out_per_group != 1)
        return "pixels needs a depthwise convolution without a multiplier";
    if (conv->x_stride[FC_C] != 1 || conv->y_stride[FC_C] != 1)
        return "pixels needs adjacent channels";
    if (conv->kernel[FC_DEPTH] != 1 || conv->pad_before[FC_DEPTH] != 0 || conv->pad_after[FC_DEPTH] != 0 ||
        fc_max(conv->kernel[FC_HEIGHT], conv->kernel[FC_WIDTH]) > MOST_KERNEL)
        return "pixels needs a kernel of one depth without padding there, and 7x7 at most";
    return all_see(conv, FC_HEIGHT) && all_see(conv, FC_WIDTH) ? NULL : "pixels needs less padding";
}

/* What is asked for, in order: pixels of so many bytes, `step` apart. */
typedef struct soon {
    const char *at;
    int64_t pixels, bytes, step, done;
} soon;

static void ask(soon *s, int64_t lines)
{
    for (; lines > 0 && s->pixels > 0; lines--) {
        __builtin_prefetch(s->at + s->done, 0, 2);
        s->done += 64;
        if (s->done >= s->bytes) {
            s->done = 0;
            s->at += s->step;
            s->pixels--;
        }
    }
}

/* Rows first .. end of an image's plane from `channel` on, of which a part takes `bytes`; nothing where they do not
 * follow each other. */
static soon rows_soon(const fc_conv *conv, const void *base, const int64_t stride[FC_AXES], const int64_t in_size[3],
                      int64_t index, int64_t first, int64_t end, int64_t bytes)
{
    const size_t size = fc_size_of(conv->dtype);
    if (stride[FC_H] != in_size[2] * stride[FC_W] || end <= first)
        return (soon){ .pixels = 0 };
    return (soon){ .at = fc_at(base, index + first * stride[FC_H], size), .pixels = (end - first) * in_size[2],
                   .bytes = bytes, .step = stride[FC_W] * (int64_t)size };
}

typedef struct pixels_part {
    const fc_weight_run *run;
    int64_t channel, channels, strips;
    void *sums;
    fc_pixel_block block;
    int64_t g_index, x_index;                 /* of the block's image and plane, of the part's first channel */
    fc_tap_sums *region;
    int64_t *lines, regions;                  /* lines: MOST_KERNEL of every run of rows */
    soon x_soon, g_soon;
    int64_t x_lines, g_lines;                 /* of these, with every strip */
} pixels_part;

static int64_t x_index(const fc_conv *conv, const fc_pixel_block *b)
{
    return b->image * conv->x_stride[FC_N] + b->depth * conv->stride[FC_DEPTH] * conv->x_stride[FC_D];
}

static int64_t g_index(const fc_conv *conv, const fc_pixel_block *b)
{
    return b->image * conv->y_stride[FC_N] + b->depth * conv->y_stride[FC_D];
}

/* The next block's pixels of grad_output, and those of x that this one does not see. */
static void look_ahead(pixels_part *p, const fc_pixel_block *next)
{
    const fc_conv *conv = p->run->conv;
    const int64_t bytes = p->channels * (int64_t)fc_size_of(conv->dtype), stride = conv->stride[FC_HEIGHT];
    const int64_t reach = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] + 1 - conv->pad_before[FC_HEIGHT];
    const int64_t seen = next->row > p->block.row ? (p->block.row + p->block.rows - 1) * stride + reach : 0;
    const int64_t end = fc_min(conv->in_size[FC_HEIGHT], (next->row + next->rows - 1) * stride + reach);
    p->x_soon = rows_soon(conv, p->run->x, conv->x_stride, conv->in_size, x_index(conv, next) + p->channel,
                          fc_max(0, seen), end, bytes);
    p->g_soon = rows_soon(conv, p->run->g, conv->y_stride, conv->out_size, g_index(conv, next) + p->channel, next->row,
                          next->row + next->rows, bytes);
    p->x_lines = fc_div_up(p->x_soon.pixels * fc_div_up(bytes, 64), p->strips);
    p->g_lines = fc_div_up(p->g_soon.pixels * fc_div_up(bytes, 64), p->strips);
}

/* The pixels of one run of rows and one of columns: the sums of the first strip. */
static fc_tap_sums region_of(const pixels_part *p, const run *rows, const run *cols, int64_t *line)
{
    const fc_conv *conv = p->run->conv;
    const int64_t lanes = p->run->table->lanes, *x = conv->x_stride, *y = conv->y_stride;
    const int64_t *stride = conv->stride, *dilation = conv->dilation, *pad = conv->pad_before;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t row = p->block.row + rows->first, col = p->block.col + cols->first;
    const int64_t x_row = row * stride[1] - pad[1] + rows->tap * dilation[1];
    const int64_t x_col = col * stride[2] - pad[2] + cols->tap * dilation[2];
    for (int64_t i = 0; i < rows->taps; i++)
        line[i] = i * dilation[1] * x[FC_H];
    const int64_t before = x_col < 0 ? fc_div_up(-x_col, dilation[2]) : 0; /* columns outside */
    const bool slide = slides(conv, p->run->table);
    return (fc_tap_sums){
        .rows = rows->count, .cols = cols->count, .lanes = lanes,
        .g = fc_at(p->run->g, p->g_index + row * y[FC_H] + col * y[FC_W], size),
        .x = fc_at(p->run->x, p->x_index + x_row * x[FC_H] + x_col * x[FC_W], size),
        .g_row = y[FC_H], .g_col = y[FC_W], .x_row = stride[1] * x[FC_H], .x_col = stride[2] * x[FC_W], .line = line,
        .lines = rows->taps, .steps = cols->taps, .x_step = dilation[2] * x[FC_W],
        .sums = fc_at_mut(p->sums, (rows->tap * conv->kernel[2] + cols->tap) * lanes, size),
        .sums_line = conv->kernel[2] * lanes, .first = slide ? before : 0,
        .inside = slide ? (conv->in_size[2] - 1 - x_col) / dilation[2] + 1 - before : 0,
    };
}

static void go_to(pixels_part *p, const fc_pixel_block *b)
{
    const fc_conv *conv = p->run->conv;
    run rows[MOST_RUNS], cols[MOST_RUNS];
    p->block = *b;
    p->x_index = x_index(conv, b) + p->channel;
    p->g_index = g_index(conv, b) + p->channel;
    const int64_t row_runs = runs_of(conv, FC_HEIGHT, b->row, b->rows, rows);
    const int64_t col_runs = col_runs_of(conv, p->run->table, b->col, b->cols, cols);
    p->regions = row_runs * col_runs;
    for (int64_t i = 0; i < p->regions; i++)
        p->region[i] = region_of(p, &rows[i / col_runs], &cols[i % col_runs], p->lines + i / col_runs * MOST_KERNEL);
}

static void add_strip(pixels_part *p, int64_t index)
{
    const fc_conv *conv = p->run->conv;
    const int64_t lanes = p->run->table->lanes, left = p->channels - index * lanes;
    const size_t size = fc_size_of(conv->dtype);
    int64_t pixels = p->block.rows * p->block.cols, x_lines = p->x_lines, g_lines = p->g_lines;
    for (int64_t i = 0; i < p->regions; i++) {
        fc_tap_sums sums = p->region[i];
        const int64_t now = sums.rows * sums.cols, x_now = x_lines * now / pixels, g_now = g_lines * now / pixels;
        ask(&p->x_soon, x_now);
        ask(&p->g_soon, g_now);
        pixels -= now;
        x_lines -= x_now;
        g_lines -= g_now;
        sums.g = fc_at(sums.g, index * lanes, size);
        sums.x = fc_at(sums.x, index * lanes, size);
        sums.sums = fc_at_mut(sums.sums, index * conv->taps * lanes, size);
        sums.lanes = fc_min(lanes, left);
        p->run->table->tap_sums(&sums);
    }
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *memory)
{
    const fc_conv *conv = run->conv;
    const int64_t lanes = run->table->lanes, strip = run->split.a[PART];
    pixels_part p = { .run = run, .channel = part * strip * lanes, .sums = memory };
    p.region = (fc_tap_sums *)(void *)((char *)memory + run->split.at[REGIONS_AT]);
    p.lines = (int64_t *)(void *)((char *)memory + run->split.at[LINES_AT]);
    p.channels = fc_min(strip * lanes, conv->in_channels - p.channel);
    p.strips = fc_div_up(p.channels, lanes);
    const fc_move zeros = { .rows = 1, .dst = memory, .dst_col = 1, .zero_before = p.strips * conv->taps * lanes };
    run->table->move(&zeros);
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &run->split.blocks, i);
        const fc_pixel_block next = fc_pixel_block_at(conv, &run->split.blocks, i + 1);
        go_to(&p, &b);
        p.x_lines = p.g_lines = 0;
        if (i + 1 < end && run->split.blocks.col_blocks == 1)
            look_ahead(&p, &next);
        for (int64_t k = 0; k < p.strips; k++)
            add_strip(&p, k);
    }
    for (int64_t k = 0; k < p.strips; k++) {
        const int64_t channel = p.channel + k * lanes;
        const fc_move move = { .rows = fc_min(lanes, conv->in_channels - channel), .cols = conv->taps,
                               .src = fc_at(memory, k * conv->taps * lanes, fc_size_of(conv->dtype)), .src_row = 1,
                               .src_col = lanes, .dst = fc_at_mut(out, channel * conv->taps, fc_size_of(conv->dtype)),
                               .dst_row = conv->taps, .dst_col = 1 };
        run->table->move(&move);
    }
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const fc_table *table = fc_table_for(conv->dtype);
    const fc_weight_split s = split(conv, table);
    const double strips = (double)s.a[STRIPS], out = (double)(conv->batch * conv->out_pixels) * strips;
    const double taps = (double)conv->taps;
    double in = (double)(conv->batch * conv->out_size[FC_DEPTH]) * strips;
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++)
        in *= (double)fc_min(conv->in_size[axis], conv->out_size[axis] * conv->kernel[axis]);
    const double passes = ceil((double)conv->kernel[FC_HEIGHT] / FC_TAP_LINES) *
                          ceil((double)conv->kernel[FC_WIDTH] / FC_TAP_STEPS);
    run runs[MOST_RUNS];
    double regions = (double)(conv->batch * conv->out_size[FC_DEPTH]);
    regions *= (double)(runs_of(conv, FC_HEIGHT, 0, conv->out_size[FC_HEIGHT], runs) + s.blocks.row_blocks - 1);
    regions *= (double)(col_runs_of(conv, table, 0, conv->out_size[FC_WIDTH], runs) + s.blocks.col_blocks - 1);
    const fc_count counts[] = {
        { out * passes, slides(conv, table) ? (machine->multiply > 1 ? 1.9 : 1.2) * taps / passes
                                            : fmax(2 * taps / passes, 5) * (machine->multiply > 1 ? 1.6 : 1) },
        { in + out, fc_far(conv, fc_x_count(conv)) ? 10.5 : 8 },                   /* lines to the nearest cache */
        { fc_crowds_sets(conv) ? out * taps : 0, 11 },                             /* which do not stay there */
        { regions * strips * passes, 120 },
        { strips * taps, 8 },                                                      /* transposes out */
        { 1, 6000 },
    };
    return FC_COST(counts, machine);
}

const fc_weight_method fc_weight_pixels = { "pixels", supports, cost, split, task, &fc_weight_rows };
