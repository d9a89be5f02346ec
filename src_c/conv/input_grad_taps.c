/* The input gradient tap by tap: products of every output with the filters of one tap, added to the pixels that it
 * meets.  As many products as the convolution has, padding left out, where images are small.
 *
 * With one tap, pixels of a row of outputs meet pixels of a row of the input that are evenly apart: a dense product
 * over output channels, added to these rows.  Lanes are input channels, of filters turned once for all images of a
 * task; outputs are broadcast from where they lie, so neither stride nor padding is seen.  The sums of an image are
 * in scratch, or in the gradient itself where its channels are adjacent.  A task computes some input channels of
 * some images. */
#include "../base/parallel.h"
#include "../base/size.h"
#include "cost.h"
#include "geometry.h"
#include "input_grad.h"

enum {
    TILE = 1 << 17,           /* elements of the sums of an image, at most */
    FILTERS = 1 << 17,        /* elements turned at a time, about */
    LEAST_CHANNELS = 64,      /* of grad_output, added up in registers: more filters are turned for it */
    MOST_TAPS = 1024,
    WISHED_TASKS = 8,
};
static const double TASK_SECONDS = 1e-4;      /* a task of its own is worth that */

typedef struct taps_split {
    int inner;                                /* axis of the products' rows: the longest of the outputs */
    int vectors;
    int64_t panel, panels;                    /* lanes; per group */
    int64_t channels, passes;                 /* output channels per pass */
    int64_t images, round, image_blocks;      /* of a task, and of them at a time */
    int64_t tasks;
    bool in_place;                            /* the tile is grad_input itself */
    size_t filters_at, at_at, offsets_at, pixels_at, bytes; /* scratch layout; the tile is first */
} taps_split;

/* Outputs of an axis that tap t sees inside: how many, and the first. */
static int64_t met(const fc_conv *conv, int axis, int64_t tap, int64_t *first)
{
    const int64_t stride = conv->stride[axis], offset = tap * conv->dilation[axis] - conv->pad_before[axis];
    *first = offset < 0 ? fc_div_up(-offset, stride) : 0;
    if (offset >= conv->in_size[axis])
        return 0;
    return fc_max(0, fc_min(conv->out_size[axis], (conv->in_size[axis] - 1 - offset) / stride + 1) - *first);
}

/* Pairs of an output and a tap along an axis. */
static int64_t pairs(const fc_conv *conv, int axis)
{
    int64_t sum = 0, first;
    for (int64_t t = 0; t < conv->kernel[axis]; t++)
        sum += met(conv, axis, t, &first);
    return sum;
}

static int64_t pixels_of(const fc_conv *conv) { return conv->in_size[0] * conv->in_size[1] * conv->in_size[2]; }

static const char *supports(const fc_conv *conv)
{
    if (conv->taps > MOST_TAPS)
        return "taps needs a smaller kernel";
    if (conv->out_pixels > TILE)              /* an address of each is in scratch */
        return "taps needs less padding";
    return pixels_of(conv) <= TILE / 16 ? NULL : "taps needs smaller images";
}

/* Where there are several threads and one panel, it is halved: passes, and so the sums, are those of a whole one. */
static taps_split split_of(const fc_conv *conv, const fc_table *table, bool threads)
{
    taps_split s = { .inner = FC_WIDTH, .in_place = conv->x_stride[FC_C] == 1 };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), pixels = pixels_of(conv);
    for (int axis = FC_HEIGHT; axis >= 0; axis--)
        if (conv->out_size[axis] > conv->out_size[s.inner])
            s.inner = axis;
    const double seconds = conv->flops / fc_machine_for(conv->dtype)->flops;
    const int64_t worth = (int64_t)fc_min(seconds / TASK_SECONDS, WISHED_TASKS);
    s.vectors = fc_panel_vectors(table, fc_div_up(conv->in_per_group, table->lanes));
    s.panel = s.vectors * (int64_t)table->lanes;
    const int64_t most = fc_max(LEAST_CHANNELS, FILTERS / (conv->taps * s.panel));
    if (threads && worth > 1 && conv->batch * conv->groups == 1 && conv->in_per_group <= s.panel)
        s.vectors = (int)fc_div_up(s.vectors, 2);
    s.panel = s.vectors * (int64_t)table->lanes;
    s.panels = fc_div_up(conv->in_per_group, s.panel);
    s.passes = fc_div_up(conv->out_per_group, most);
    s.channels = fc_div_up(conv->out_per_group, s.passes);
    s.passes = fc_div_up(conv->out_per_group, s.channels);
    const int64_t tasks = conv->groups * s.panels;
    s.image_blocks = fc_max(1, fc_min(conv->batch, fc_div_up(worth, tasks)));
    s.images = fc_div_up(conv->batch, s.image_blocks);
    s.image_blocks = fc_div_up(conv->batch, s.images);
    s.round = fc_max(1, fc_min(s.images, TILE / (pixels * s.panel)));
    s.tasks = tasks * s.image_blocks;
    s.filters_at = (size_t)fc_round_up(s.in_place ? 0 : s.round * pixels * s.panel * size, 64);
    /* Filters of one tap more: where those go that meet nothing. */
    s.at_at = s.filters_at + (size_t)fc_round_up((conv->taps + 1) * s.channels * s.panel * size, 64);
    s.offsets_at = s.at_at + (size_t)conv->taps * sizeof(int64_t);
    s.pixels_at = s.offsets_at + (size_t)s.channels * sizeof(int64_t);
    s.bytes = s.pixels_at + (size_t)conv->out_pixels * sizeof(void *);
    return s;
}

typedef struct taps_job {
    const fc_conv *conv;
    const fc_table *table;
    const void *g, *weight;
    void *grad;
    taps_split split;
} taps_job;

/* One task's part, and its pieces of scratch. */
typedef struct taps_block {
    int64_t group, lane, lanes;               /* lanes count from the group's first input channel */
    int64_t image, images;
    int64_t step[FC_SPATIAL];                 /* elements between pixels of the sums */
    int64_t out_step[FC_SPATIAL];             /* pixels in `pixel`: the inner axis' are adjacent */
    void *tile, *filters;
    int64_t *at, *offsets;                    /* where a tap's filters go; of output channels */
    const void **pixel;
} taps_block;

static taps_block block_of(const taps_job *job, int64_t task, char *memory)
{
    const taps_split *s = &job->split;
    const fc_conv *conv = job->conv;
    taps_block b = { .tile = memory, .filters = memory + s->filters_at };
    b.at = (int64_t *)(void *)(memory + s->at_at);
    b.offsets = (int64_t *)(void *)(memory + s->offsets_at);
    b.pixel = (const void **)(void *)(memory + s->pixels_at);
    b.lane = task % s->panels * s->panel;
    b.lanes = fc_min(s->panel, conv->in_per_group - b.lane);
    task /= s->panels;
    b.group = task % conv->groups;
    b.image = task / conv->groups * s->images;
    b.images = fc_min(s->images, conv->batch - b.image);
    int64_t pixels = s->panel, outputs = 1;
    for (int axis = FC_WIDTH; axis >= 0; axis--) {
        b.step[axis] = s->in_place ? conv->x_stride[FC_D + axis] : pixels;
        pixels *= conv->in_size[axis];
    }
    b.out_step[s->inner] = 1;
    outputs = conv->out_size[s->inner];
    for (int axis = FC_WIDTH; axis >= 0; axis--)
        if (axis != s->inner) {
            b.out_step[axis] = outputs;
            outputs *= conv->out_size[axis];
        }
    return b;
}

/* The first sum of an image of the round that began with `first`. */
static void *sums_of(const taps_job *job, const taps_block *b, int64_t first, int64_t image)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    if (!job->split.in_place)
        return fc_at_mut(b->tile, (image - first) * pixels_of(conv) * job->split.panel, size);
    return fc_at_mut(job->grad, image * conv->x_stride[FC_N] + b->group * conv->in_per_group + b->lane, size);
}

static void clear(const taps_job *job, const taps_block *b, void *sums)
{
    const fc_conv *conv = job->conv;
    const int64_t *in = conv->in_size;
    for (int64_t r = 0; r < in[FC_DEPTH] * in[FC_HEIGHT]; r++) {
        const int64_t row = r / in[FC_HEIGHT] * b->step[FC_DEPTH] + r % in[FC_HEIGHT] * b->step[FC_HEIGHT];
        const fc_move zeros = { .rows = in[FC_WIDTH], .dst = fc_at_mut(sums, row, fc_size_of(conv->dtype)),
                                .dst_row = b->step[FC_WIDTH], .dst_col = 1, .zero_before = b->lanes };
        job->table->move(&zeros);
    }
}

/* Filters of output channels oc .. oc + outs as [tap][output channel][lane]. */
static void turn(const taps_job *job, const taps_block *b, int64_t oc, int64_t outs)
{
    const fc_conv *conv = job->conv;
    const int64_t panel = job->split.panel, *k = conv->kernel;
    for (int64_t t = 0; t < conv->taps; t++) {
        int64_t first;
        const bool meets = met(conv, 0, t / k[2] / k[1], &first) > 0 && met(conv, 1, t / k[2] % k[1], &first) > 0 &&
                           met(conv, 2, t % k[2], &first) > 0;
        b->at[t] = (meets ? t : conv->taps) * outs * panel;
    }
    const fc_turn_panel w = {
        .outs = outs, .ins = b->lanes, .taps = conv->taps, .src_o = conv->depth, .panel = panel,
        .dst_o = panel, .at = b->at,
        .src = fc_at(job->weight, (b->group * conv->out_per_group + oc) * conv->depth + b->lane * conv->taps,
                     fc_size_of(conv->dtype)),
        .dst = b->filters,
    };
    job->table->turn_panel(&w);
}

/* Where the output channels from `oc` on of every pixel of an image lie. */
static void find_pixels(const taps_job *job, const taps_block *b, int64_t image, int64_t oc, int64_t outs)
{
    const fc_conv *conv = job->conv;
    const int64_t *y = conv->y_stride, *out = conv->out_size;
    const void *first = fc_at(job->g, image * y[FC_N] + (b->group * conv->out_per_group + oc) * y[FC_C],
                              fc_size_of(conv->dtype));
    for (int64_t d = 0; d < out[0]; d++)
        for (int64_t h = 0; h < out[1]; h++)
            for (int64_t w = 0; w < out[2]; w++)
                b->pixel[d * b->out_step[0] + h * b->out_step[1] + w * b->out_step[2]] =
                    fc_at(first, d * y[FC_D] + h * y[FC_H] + w * y[FC_W], fc_size_of(conv->dtype));
    for (int64_t o = 0; o < outs; o++)
        b->offsets[o] = o * y[FC_C];
}

/* The products of one tap over `outs` output channels. */
static void multiply(const taps_job *job, const taps_block *b, const int64_t tap[FC_SPATIAL], int64_t outs,
                     const void *filters, void *sums)
{
    const fc_conv *conv = job->conv;
    const taps_split *s = &job->split;
    const size_t size = fc_size_of(conv->dtype);
    const int inner = s->inner, upper = inner == 0 ? 1 : 0, lower = inner == 2 ? 1 : 2;
    int64_t count[FC_SPATIAL], first[FC_SPATIAL], out = 0, in = 0;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        count[axis] = met(conv, axis, tap[axis], &first[axis]);
        if (count[axis] == 0)
            return;
        out += first[axis] * b->out_step[axis];
        in += (first[axis] * conv->stride[axis] + tap[axis] * conv->dilation[axis] - conv->pad_before[axis]) *
              b->step[axis];
    }
    fc_gemm g = {
        .m = count[inner], .n = b->lanes, .k = outs, .a_offset = conv->y_stride[FC_C] == 1 ? NULL : b->offsets,
        .b = filters, .b_step = s->panel, .panel_vectors = s->vectors, .accumulate = 1,
        .c_row = fc_min(conv->stride[inner], conv->in_size[inner]) * b->step[inner],
    };
    for (int64_t i = 0; i < count[upper] * count[lower]; i++) {
        const int64_t u = i / count[lower], l = i % count[lower];
        g.a = b->pixel + out + u * b->out_step[upper] + l * b->out_step[lower];
        g.c = fc_at_mut(sums, in + u * conv->stride[upper] * b->step[upper] + l * conv->stride[lower] * b->step[lower],
                        size);
        job->table->gemm(&g);
    }
}

/* The sums of an image from the tile to grad_input. */
static void scatter(const taps_job *job, const taps_block *b, int64_t image, const void *sums)
{
    const fc_conv *conv = job->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, *in = conv->in_size, width = in[FC_WIDTH];
    const bool even = fc_pixels_uniform(x, in);
    const int64_t rows = even ? 1 : in[FC_DEPTH] * in[FC_HEIGHT], pixels = even ? pixels_of(conv) : width;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t to = image * x[FC_N] + (b->group * conv->in_per_group + b->lane) * x[FC_C] +
                           r / in[FC_HEIGHT] * x[FC_D] + r % in[FC_HEIGHT] * x[FC_H];
        const fc_move move = {
            .rows = b->lanes, .cols = pixels, .src = fc_at(sums, r * width * job->split.panel, size), .src_row = 1,
            .src_col = job->split.panel, .dst = fc_at_mut(job->grad, to, size), .dst_row = x[FC_C], .dst_col = x[FC_W],
        };
        job->table->move(&move);
    }
}

/* One image over the output channels of one pass. */
static void add_image(const taps_job *job, const taps_block *b, int64_t image, int64_t oc, int64_t outs, void *sums)
{
    const fc_conv *conv = job->conv;
    const int64_t *k = conv->kernel, filters = outs * job->split.panel;
    find_pixels(job, b, image, oc, outs);
    for (int64_t t = 0; t < conv->taps; t++) {
        const int64_t tap[FC_SPATIAL] = { t / k[2] / k[1], t / k[2] % k[1], t % k[2] };
        multiply(job, b, tap, outs, fc_at(b->filters, t * filters, fc_size_of(conv->dtype)), sums);
    }
}

static void run_task(void *context, int64_t task, void *memory)
{
    const taps_job *job = context;
    const taps_split *s = &job->split;
    const int64_t all = job->conv->out_per_group;
    const taps_block b = block_of(job, task, memory);
    const int64_t end = b.image + b.images;
    for (int64_t first = b.image; first < end; first += s->round) {
        const int64_t last = fc_min(first + s->round, end);
        for (int64_t image = first; image < last; image++)
            clear(job, &b, sums_of(job, &b, first, image));
        for (int64_t oc = 0; oc < all; oc += s->channels) {
            const int64_t outs = fc_min(s->channels, all - oc);
            if (s->passes > 1 || first == b.image)
                turn(job, &b, oc, outs);
            for (int64_t image = first; image < last; image++)
                add_image(job, &b, image, oc, outs, sums_of(job, &b, first, image));
        }
        for (int64_t image = first; image < last && !s->in_place; image++)
            scatter(job, &b, image, sums_of(job, &b, first, image));
    }
}

static double seconds_of(const fc_conv *conv, const fc_machine *machine)
{
    const taps_split s = split_of(conv, fc_table_for(conv->dtype), false);
    const double groups = (double)conv->groups, outs = (double)conv->out_per_group, passes = (double)s.passes;
    const double vectors = (double)fc_div_up(conv->in_per_group, machine->lanes), images = (double)conv->batch;
    const double inner = (double)pairs(conv, s.inner), taps = (double)conv->kernel[s.inner];
    double all = images;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        all *= (double)pairs(conv, axis);
    const double sums = inner / taps * s.vectors; /* in registers: a chain of additions is 8 multiply-adds long */
    const double price = vectors == 1 ? 1.3 : 1.1;
    const fc_count counts[] = {
        { groups * all * outs * vectors, fc_multiply(machine, sums * price < 8 && sums > 0 ? 8 / sums : price) },
        { groups * all * vectors * passes, 5 },                                     /* sums */
        { inner > 0 ? groups * (double)s.panels * all / inner * taps * passes : 0, 250 }, /* products */
        { groups * (double)s.image_blocks * (double)conv->taps * outs * vectors, conv->taps <= 4 ? 4 : 10 }, /* turn */
        { groups * images * (double)pixels_of(conv) * vectors, s.in_place ? 3 : 22 }, /* clear, out of the tile */
        { groups * images * (double)conv->out_pixels * (double)s.panels * passes, 8 }, /* addresses */
        { fc_lines_in_pieces(conv, 1), s.in_place ? 35 : 50 },
        { conv->groups == 1 && fc_far(conv, fc_x_count(conv)) ? (double)fc_x_count(conv) / machine->lanes : 0, 20 },
        { (double)s.tasks, 400 },
        { 1, 2500 },
    };
    return FC_COST(counts, machine);
}

static double cost(fc_input_call *call) { return seconds_of(call->conv, fc_machine_for(call->conv->dtype)); }

static fc_status run(fc_input_call *call, fc_error *error)
{
    taps_job job = { .conv = call->conv, .table = call->table, .g = call->g, .weight = call->weight,
                     .grad = call->grad, .split = split_of(call->conv, call->table, fc_get_num_threads() > 1) };
    return fc_parallel(job.split.tasks, cost(call), job.split.bytes, run_task, &job, error);
}

const fc_input_method fc_input_taps = { .name = "taps", .supports = supports, .cost = cost, .run = run };
