/* The input gradient of groups of few channels by way of blocks, as grouped_blocks.c: lanes are input channels of
 * several groups, grad_output is copied amid zeros, and the pixels of each rest by the stride are a convolution of the
 * copy with every stride-th tap, written between the others.  Called by input_grad.c. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "cost.h"
#include "group_lanes.h"
#include "input_grad.h"
#include "input_grad_lanes.h"
#include "lanes_outputs.h"
#include <math.h>
#include <string.h>

enum {
    UNIT_BYTES = 48 << 10,    /* of a block's copy, for each of its units, */
    MOST_BYTES = 384 << 10,   /* and of all with the gradient */
    MOST_PHASES = 36,
    MOST_CELL_GROUPS = 8,     /* of float64 that is a whole vector */
    MOST_DEPTH = 4096,        /* weights that a pixel meets */
    CHANNELS_BESIDE = 128,    /* of a copy, where they are adjacent in grad_output */
    CHANNELS_APART = 32,
};

typedef struct blocks_job {
    const fc_conv *conv;
    const fc_table *table;
    fc_group_lanes lanes;
    const void *g, *weight;                   /* weight: as fc_group_lanes_filters makes it */
    void *grad;
    const fc_lane_sources *sources;
    bool turned;                              /* channels of the gradient are not adjacent */
    bool holes;                               /* no tap meets some pixels */
    int64_t images, rows, image_blocks, row_blocks; /* pixels of a task: all columns */
    fc_lanes_places wide;
    size_t order_at, row_at, tile_at, bytes;  /* scratch layout, bytes; the copy is first */
} blocks_job;

typedef struct blocks_block {
    int64_t image, images, row, rows, block;
    fc_lanes_places high;
} blocks_block;

/* Outputs that pixels first .. first + count - 1 of an axis meet. */
static fc_lanes_places places_of(const fc_conv *conv, int axis, int64_t first, int64_t count)
{
    const int64_t stride = conv->stride[axis];
    const int64_t low = first + conv->pad_before[axis] - (conv->kernel[axis] - 1) * conv->dilation[axis];
    fc_lanes_places p = { .stride = 1, .step = 1, .size = conv->out_size[axis] };
    p.start = low < 0 ? -(-low / stride) : fc_div_up(low, stride);
    p.count = p.seen = fc_max(1, (first + count - 1 + conv->pad_before[axis]) / stride + 1 - p.start);
    return p;
}

static void copy_block(const blocks_job *job, const blocks_block *b, void *memory)
{
    const fc_group_lanes *l = &job->lanes;
    const int64_t plane = b->high.count * job->wide.count * l->pitch, *y = job->conv->y_stride;
    fc_lanes_copy copy = fc_lanes_copy_of(l, y, &b->high, &job->wide);
    copy.sources = job->sources;
    for (int64_t i = 0; i < b->images; i++)
        fc_lanes_copy_plane(&copy, &b->high, b->block, fc_at(job->g, (b->image + i) * y[FC_N], l->size),
                            (char *)memory + job->row_at, fc_at_mut(memory, i * plane, l->size));
}

/* One vector of channels of the pixels of one rest of rows and of columns. */
static void filter_phase(const blocks_job *job, const blocks_block *b, const fc_lanes_phase *h, const fc_lanes_phase *w,
                         fc_depthwise_lanes d, void *to)
{
    const fc_conv *conv = job->conv;
    const fc_group_lanes *l = &job->lanes;
    const int64_t *x = conv->x_stride, lanes = job->table->lanes, width = conv->in_size[FC_WIDTH];
    const int64_t row = job->wide.count * l->pitch, x_row = job->turned ? width * lanes : x[FC_H];
    const int64_t x_col = job->turned ? lanes : x[FC_W], tap = l->in * lanes;
    d.row = h->axis;
    d.col = w->axis;
    d.x = fc_at(d.x, -(h->axis.pad + b->high.start) * row - (w->axis.pad + job->wide.start) * l->pitch, l->size);
    d.weight = fc_at(d.weight, (h->tap * conv->kernel[FC_WIDTH] + w->tap) * tap, l->size);
    d.y = fc_at_mut(to, (h->first - (job->turned ? b->row : 0)) * x_row + w->first * x_col, l->size);
    d.row.x_out = row;
    d.row.x_tap = h->axis.dilation * row;
    d.row.y_out = conv->stride[FC_HEIGHT] * x_row;
    d.row.w_tap = h->tap_step * conv->kernel[FC_WIDTH] * tap;
    d.col.x_out = l->pitch;
    d.col.x_tap = w->axis.dilation * l->pitch;
    d.col.y_out = conv->stride[FC_WIDTH] * x_col;
    d.col.w_tap = w->tap_step * tap;
    job->table->depthwise_lanes(&d);
}

/* Whether any tap meets the pixels of a phase. */
static bool is_met(const fc_lanes_phase *h, const fc_lanes_phase *w)
{
    return h->axis.kernel > 0 && w->axis.kernel > 0;
}

/* Whether cells of four pixels are computed at once. */
static bool by_cells(const blocks_job *job)
{
    const fc_conv *conv = job->conv;
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++)
        if (conv->kernel[axis] != 3 || conv->stride[axis] != 2 || conv->dilation[axis] != 1)
            return false;
    return job->table->group_cells && (conv->in_size[FC_WIDTH] + 1) / 2 >= FC_CELLS_LEAST &&
           job->lanes.groups <= MOST_CELL_GROUPS && (job->row_blocks == 1 || job->rows % 2 == 0);
}

static fc_cells_axis cells_axis_of(const fc_conv *conv, int axis, int64_t first, int64_t pixels)
{
    const int64_t sees = first + conv->pad_before[axis];
    return (fc_cells_axis){ .pixels = pixels, .outputs = conv->out_size[axis], .first = sees >= 1 ? (sees - 1) / 2 : -1,
                            .one = conv->pad_before[axis] % 2 == 0 };
}

static void filter_cells(const blocks_job *job, const blocks_block *b, const fc_depthwise_lanes *d, void *to)
{
    const fc_conv *conv = job->conv;
    const fc_group_lanes *l = &job->lanes;
    const int64_t *x = conv->x_stride, lanes = job->table->lanes, width = conv->in_size[FC_WIDTH];
    const int64_t row = job->wide.count * l->pitch, tap = l->in * lanes;
    fc_group_cells g = {
        .weight = d->weight, .row = cells_axis_of(conv, FC_HEIGHT, b->row, b->rows),
        .col = cells_axis_of(conv, FC_WIDTH, 0, width), .images = d->images, .x_image = d->x_image,
        .y_image = d->y_image, .inputs = d->inputs, .x_input = d->x_input, .groups = d->groups, .far = d->far,
        .pick = d->pick, .lanes = d->lanes,
    };
    g.x = fc_at(d->x, (g.row.first - b->high.start) * row + (g.col.first - job->wide.start) * l->pitch, l->size);
    g.y = job->turned ? to : fc_at_mut(to, b->row * x[FC_H], l->size);
    g.row.x_out = row;
    g.row.y_pixel = job->turned ? width * lanes : x[FC_H];
    g.row.w_tap = 3 * tap;
    g.col.x_out = l->pitch;
    g.col.y_pixel = job->turned ? lanes : x[FC_W];
    g.col.w_tap = tap;
    job->table->group_cells(&g);
}

static void filter_phases(const blocks_job *job, const blocks_block *b, const fc_depthwise_lanes *d, void *to)
{
    const fc_conv *conv = job->conv;
    for (int64_t i = 0; i < fc_min(conv->stride[FC_HEIGHT], b->rows); i++) {
        const fc_lanes_phase h = fc_lanes_phase_of(conv, FC_HEIGHT, b->row + i, b->row + b->rows);
        for (int64_t j = 0; j < fc_min(conv->stride[FC_WIDTH], conv->in_size[FC_WIDTH]); j++) {
            const fc_lanes_phase w = fc_lanes_phase_of(conv, FC_WIDTH, j, conv->in_size[FC_WIDTH]);
            if (is_met(&h, &w))
                filter_phase(job, b, &h, &w, *d, to);
        }
    }
}

/* Pixels that no tap meets, of all channels of the block; or the tile, whose others are written for each vector. */
static void clear_pixels(const blocks_job *job, const blocks_block *b, void *tile)
{
    const fc_conv *conv = job->conv;
    const fc_group_lanes *l = &job->lanes;
    const int64_t *x = conv->x_stride, width = conv->in_size[FC_WIDTH], stride = conv->stride[FC_WIDTH];
    const int64_t unit = l->groups * l->out, first = b->block * l->together * unit;
    const int64_t channels = fc_min(l->together * unit, l->all * l->out - first);
    if (job->turned) {
        memset(tile, 0, (size_t)(b->images * b->rows * width * job->table->lanes) * l->size);
        return;
    }
    bool met[MOST_PHASES];
    for (int64_t j = 0; j < stride; j++)
        met[j] = fc_lanes_phase_of(conv, FC_WIDTH, j, j + 1).axis.kernel > 0;
    for (int64_t r = 0; r < b->rows; r++) {
        const bool none = fc_lanes_phase_of(conv, FC_HEIGHT, b->row + r, b->row + r + 1).axis.kernel == 0;
        for (int64_t i = 0; i < b->images; i++) {
            void *row = fc_at_mut(job->grad, (b->image + i) * x[FC_N] + (b->row + r) * x[FC_H] + first, l->size);
            if (none && x[FC_W] == channels) {
                memset(row, 0, (size_t)(width * channels) * l->size);
                continue;
            }
            for (int64_t j = 0; j < stride; j++)
                for (int64_t col = j; col < width && (none || !met[j]); col += stride)
                    memset(fc_at_mut(row, col * x[FC_W], l->size), 0, (size_t)channels * l->size);
        }
    }
}

static void move_back(const blocks_job *job, const blocks_block *b, int64_t channel, int64_t channels,
                      const void *memory)
{
    const fc_conv *conv = job->conv;
    const int64_t *x = conv->x_stride, lanes = job->table->lanes, width = conv->in_size[FC_WIDTH];
    const size_t size = job->lanes.size;
    const bool whole = b->rows == 1 || x[FC_H] == width * x[FC_W];
    const int64_t rows = whole ? 1 : b->rows, cols = whole ? b->rows * width : width;
    for (int64_t i = 0; i < b->images * rows; i++) {
        const int64_t at = (b->image + i / rows) * x[FC_N] + channel * x[FC_C] + (b->row + i % rows) * x[FC_H];
        const fc_move move = { .rows = channels, .cols = cols, .src = fc_at(memory, i * cols * lanes, size),
                               .src_row = 1, .src_col = lanes, .dst = fc_at_mut(job->grad, at, size),
                               .dst_row = x[FC_C], .dst_col = cols == 1 ? 1 : x[FC_W] };
        job->table->move(&move);
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const blocks_job *job = context;
    const fc_conv *conv = job->conv;
    const fc_group_lanes *l = &job->lanes;
    const int64_t lanes = job->table->lanes, *x = conv->x_stride;
    blocks_block b = { .block = task % l->blocks };
    task /= l->blocks;
    b.row = task % job->row_blocks * job->rows;
    b.rows = fc_min(job->rows, conv->in_size[FC_HEIGHT] - b.row);
    b.image = task / job->row_blocks * job->images;
    b.images = fc_min(job->images, conv->batch - b.image);
    b.high = places_of(conv, FC_HEIGHT, b.row, b.rows);
    void *tile = (char *)memory + job->tile_at, *order = (char *)memory + job->order_at;
    copy_block(job, &b, memory);
    if (job->holes)
        clear_pixels(job, &b, tile);
    fc_depthwise_lanes d = {
        .images = b.images, .x_image = b.high.count * job->wide.count * l->pitch, .deep = 1, .inputs = l->in,
        .y_image = job->turned ? b.rows * conv->in_size[FC_WIDTH] * lanes : x[FC_N],
        .x_input = l->groups, .groups = l->groups, .pick = fc_group_lanes_order(l, order) ? order : NULL,
        .far = !job->turned && fc_far(conv, fc_x_count(conv)),
    };
    const int64_t first = b.block * l->together, end = fc_min(l->units, first + l->together);
    const bool cells = by_cells(job);
    for (int64_t unit = first; unit < end; unit++)
        for (int64_t v = 0; v < l->vectors; v++) {
            const int64_t channel = unit * l->groups * l->out + v * lanes, count = fc_group_lanes_count(l, unit, v);
            d.x = fc_at(memory, (unit - first) * l->groups * l->in, l->size);
            d.lanes = job->turned ? lanes : count;
            d.weight = fc_at(job->weight, (unit * l->vectors + v) * l->in * conv->taps * lanes, l->size);
            void *to = job->turned ? tile : fc_at_mut(job->grad, b.image * x[FC_N] + channel * x[FC_C], l->size);
            if (cells)
                filter_cells(job, &b, &d, to);
            else
                filter_phases(job, &b, &d, to);
            if (job->turned)
                move_back(job, &b, channel, count, tile);
        }
}

/* Elements of one image: of the copy, of the tile. */
static int64_t copied(const blocks_job *job, int64_t rows)
{
    return places_of(job->conv, FC_HEIGHT, 0, rows + job->conv->stride[FC_HEIGHT]).count * job->wide.count *
           job->lanes.pitch;
}

static int64_t tile_of(const blocks_job *job, int64_t rows)
{
    return job->turned ? rows * job->conv->in_size[FC_WIDTH] * job->table->lanes : 0;
}

static bool fits(const blocks_job *job, int64_t rows)
{
    const int64_t size = (int64_t)job->lanes.size, copy = copied(job, rows) * size;
    return copy <= UNIT_BYTES * job->lanes.together && copy + tile_of(job, rows) * size <= MOST_BYTES;
}

static blocks_job job_of(const fc_conv *conv)
{
    enum { WISHED_TASKS = 16 };
    blocks_job job = { .conv = conv, .table = fc_table_for(conv->dtype), .turned = conv->x_stride[FC_C] != 1 };
    job.lanes = fc_group_lanes_of(job.table, conv->dtype, conv->groups, conv->out_per_group, conv->in_per_group,
                                  conv->channels_last ? CHANNELS_BESIDE : CHANNELS_APART);
    const int64_t height = conv->in_size[FC_HEIGHT], size = (int64_t)job.lanes.size;
    job.wide = places_of(conv, FC_WIDTH, 0, conv->in_size[FC_WIDTH]);
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++)
        job.holes = job.holes || conv->kernel[axis] < conv->stride[axis] ||
                    (conv->dilation[axis] > 1 && conv->stride[axis] > 1);
    job.rows = height;
    for (int64_t blocks = 2; job.rows > 1 && !fits(&job, job.rows); blocks++)
        job.rows = fc_min(job.rows - 1, fc_div_up(height, blocks));
    /* Whole strides, so that no phase has fewer rows than another. */
    if (job.rows < height && job.rows > conv->stride[FC_HEIGHT]) {
        const int64_t stride = conv->stride[FC_HEIGHT], more = fc_round_up(job.rows, stride);
        job.rows = fits(&job, more) ? more : job.rows / stride * stride;
    }
    job.row_blocks = fc_div_up(height, job.rows);
    job.images = 1;
    if (job.row_blocks == 1) {
        const int64_t one = (copied(&job, height) + tile_of(&job, height)) * size;
        const int64_t tasks = conv->batch * job.lanes.blocks;
        job.images = fc_max(1, fc_min(fc_min(conv->batch, UNIT_BYTES * job.lanes.together / one),
                                      fc_div_up(tasks, WISHED_TASKS)));
    }
    job.image_blocks = fc_div_up(conv->batch, job.images);
    job.images = fc_max(1, fc_div_up(conv->batch, fc_max(1, job.image_blocks)));
    const fc_lanes_places high = places_of(conv, FC_HEIGHT, 0, job.rows);
    const fc_lanes_copy copy = fc_lanes_copy_of(&job.lanes, conv->y_stride, &high, &job.wide);
    job.order_at = (size_t)fc_round_up((job.images * copied(&job, job.rows) + job.table->lanes) * size, 64);
    job.row_at = job.order_at + (size_t)fc_round_up(job.table->lanes * size, 64);
    job.tile_at = job.row_at + (size_t)fc_round_up((int64_t)fc_lanes_copy_scratch(&copy), 64);
    job.bytes = job.tile_at + (size_t)(job.images * tile_of(&job, job.rows) * size);
    return job;
}

static const char *supports(const fc_conv *conv)
{
    if (conv->groups == 1 || conv->in_size[FC_DEPTH] != 1 || conv->out_size[FC_DEPTH] != 1 ||
        conv->kernel[FC_DEPTH] != 1 || conv->pad_before[FC_DEPTH] != 0)
        return "blocks needs groups, and images of one depth";
    if (conv->out_per_group * conv->taps > MOST_DEPTH)
        return "blocks needs fewer weights that a pixel meets";
    if (conv->stride[FC_HEIGHT] > MOST_PHASES || conv->stride[FC_WIDTH] > MOST_PHASES ||
        conv->stride[FC_HEIGHT] * conv->stride[FC_WIDTH] > MOST_PHASES)
        return "blocks needs smaller strides";
    const blocks_job job = job_of(conv);      /* scratch is bounded by the cache */
    return job.bytes <= (size_t)fc_machine_for(conv->dtype)->l2 / 2 + MOST_BYTES ? NULL : "blocks needs shorter rows";
}

/* Tiles of all phases of a block, and the sums of them by their taps. */
static void count_tiles(const blocks_job *job, double *tiles, double *products)
{
    const fc_conv *conv = job->conv;
    const int64_t rows = job->rows, width = conv->in_size[FC_WIDTH];
    *tiles = *products = 0;
    if (by_cells(job)) {
        const int64_t cells = (width + 1) / 2, cols = fc_cells_cols(cells, job->lanes.groups);
        *tiles = (double)(job->images * fc_div_up(rows, 2) * fc_div_up(cells, cols));
        *products = *tiles * (double)(conv->taps * cols * conv->out_per_group);
        return;
    }
    for (int64_t i = 0; i < fc_min(conv->stride[FC_HEIGHT], rows); i++) {
        const fc_lanes_axis h = fc_lanes_phase_of(conv, FC_HEIGHT, i, rows).axis;
        for (int64_t j = 0; j < fc_min(conv->stride[FC_WIDTH], width); j++) {
            const fc_lanes_axis w = fc_lanes_phase_of(conv, FC_WIDTH, j, width).axis;
            if (h.kernel == 0 || w.kernel == 0)
                continue;
            const fc_lanes_tile t = fc_lanes_tile_of(job->table->lanes_sums, job->images, h.count, w.count);
            const int64_t across = t.by_piece ? t.places * t.cols : t.cols;
            const double all = fc_lanes_tiles(&t, job->images, h.count, w.count);
            *tiles += all;
            const int64_t down = t.by_image || t.by_piece ? 1 : t.places;
            *products += all * (double)(t.places * t.cols) * fc_lanes_taps_seen(&h, down) *
                         fc_lanes_taps_seen(&w, across) * (double)conv->out_per_group;
        }
    }
}

static double seconds_of(const blocks_job *job)
{
    const fc_conv *conv = job->conv;
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const fc_group_lanes *l = &job->lanes;
    const bool turned = !conv->channels_last;
    double tiles, products;
    count_tiles(job, &tiles, &products);
    const double blocks = (double)(job->image_blocks * job->row_blocks);
    const double vectors = blocks * (double)(l->units * l->vectors);
    const double filled = (double)conv->in_size[FC_HEIGHT] / (double)(job->rows * job->row_blocks); /* of the blocks */
    const double rows = blocks * (double)(l->blocks * job->images) *
                        (double)places_of(conv, FC_HEIGHT, 0, job->rows).count;
    const double places = rows * (double)(job->wide.count * fc_div_up(l->record, machine->lanes));
    const double pixels = (double)(conv->batch * conv->in_size[FC_HEIGHT] * conv->in_size[FC_WIDTH]) *
                          (double)(l->units * l->vectors);
    const bool crowds = !turned && fc_crowds_sets(conv);
    const double high = (double)conv->kernel[FC_HEIGHT] / (double)conv->stride[FC_HEIGHT];
    const double met = fmin(1, high) * fmin(1, (double)conv->kernel[FC_WIDTH] / (double)conv->stride[FC_WIDTH]);
    const double moved = (places + pixels) * (double)(machine->lanes * (int64_t)l->size);
    const double weights = (double)(conv->in_channels * conv->out_per_group) * (double)conv->taps;
    /* Products to a store that others, of phases in place, have as few of. */
    const bool few = conv->out_per_group <= 2 || conv->stride[FC_HEIGHT] * conv->stride[FC_WIDTH] == 1;
    const bool cells = by_cells(job);
    const fc_lanes_tile tile = fc_lanes_tile_of(job->table->lanes_sums, job->images, job->rows,
                                                conv->in_size[FC_WIDTH]);
    const bool whole = conv->stride[FC_HEIGHT] == 1 && conv->stride[FC_WIDTH] == 1; /* no phases */
    const bool nine = fc_lanes_by_nine(job->table->lanes_sums, &tile, 1, conv->kernel[FC_HEIGHT],
                                       conv->kernel[FC_WIDTH], 1, whole ? conv->dilation[FC_WIDTH] : 0, l->in);
    const double multiply = fc_lanes_multiply(l, machine, 1.22, cells ? 1.1 : nine ? 0.95 : 0);
    const fc_count counts[] = {
        { products * vectors * filled, multiply },
        { tiles * vectors * filled, turned ? 230 : few && !cells ? 400 : 180 }, /* with stores far apart */
        { (double)(conv->stride[FC_HEIGHT] * conv->stride[FC_WIDTH]) * vectors, 150 }, /* calls */
        { places, turned ? 1 : 4 + 3.7 * fc_group_lanes_sources(l) }, /* copies */
        { rows, 20 },
        { turned ? places : 0, 7.5 },
        { turned ? pixels : 0, 10 },
        { moved > (double)machine->l2 ? moved / 64 : 0, 4 },    /* lines from beyond L2 */
        { turned ? 0 : pixels * (1 - met), 18 },                /* pixels that no tap meets */
        { crowds ? pixels * (double)(machine->lanes * (int64_t)l->size) / 64 : 0, 5 }, /* in few sets of the cache */
        { weights, 1.5 },                                    /* filters */
        { blocks * (double)l->blocks, 600 },
        { 1, 7500 },
    };
    return FC_COST(counts, machine);
}

/* Depthwise convolutions have methods of their own. */
static double cost(fc_input_call *call)
{
    const blocks_job job = job_of(call->conv);
    return call->conv->in_per_group == 1 && call->conv->out_per_group == 1 ? INFINITY : seconds_of(&job);
}

typedef struct pack_job {
    const fc_group_lanes *lanes;
    fc_lanes_weight weight;                   /* inputs and outputs exchanged */
    void *packed;
} pack_job;

static void pack_task(void *context, int64_t unit, void *scratch)
{
    (void)scratch;
    const pack_job *job = context;
    fc_group_lanes_filters(job->lanes, &job->weight, unit, job->packed);
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    blocks_job job = job_of(conv);
    const fc_group_lanes *l = &job.lanes;
    const size_t list = (size_t)fc_round_up((int64_t)fc_lanes_sources_bytes(l), 64);
    const size_t bytes = list + fc_group_lanes_filter_bytes(l, conv->taps);
    char *memory = fc_scratch_borrow(bytes);
    if (!memory)
        return fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of packed weights", bytes);
    pack_job pack = { l, { .weight = call->weight, .taps = conv->taps, .group = conv->out_per_group * conv->depth,
                           .channel = conv->taps, .input = conv->depth }, memory + list };
    job.g = call->g;
    job.grad = call->grad;
    job.weight = pack.packed;
    job.sources = fc_lanes_sources(l, conv->y_stride[FC_C] != 1, memory);
    fc_status status = fc_parallel(l->units, (double)(conv->out_channels * conv->depth) * 1e-9, 0, pack_task, &pack,
                                   error);
    if (status == FC_OK)
        status = fc_parallel(job.image_blocks * job.row_blocks * l->blocks, seconds_of(&job), job.bytes, run_task,
                             &job, error);
    fc_scratch_give_back(memory);
    return status;
}

const fc_input_method fc_input_blocks = { .name = "blocks", .supports = supports, .cost = cost, .run = run };
