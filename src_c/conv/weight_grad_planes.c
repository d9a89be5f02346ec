/* Weight gradient of depthwise filters whose pixels are adjacent: every weight is a sum of products of two planes, of
 * grad_output and of x where they are.  Lanes are pixels, added at the end.  Called by weight_grad.c. */
#include "../base/size.h"
#include "cost.h"
#include "depthwise_strided.h"
#include "weight_grad.h"

enum {
    BLOCK_BYTES = 128 << 10,                  /* of x and grad_output: all rows of a kernel find them in L2 */
    AHEAD_BYTES = 16 << 10,                   /* how far on they are prefetched */
    SUMS_BYTES = 16 << 10,                    /* of the planes of a part */
    WISHED_PARTS = 16,
    IMAGES = 16,                              /* of a call of the kernel, which has to work out masks first */
    MOST_STRIDE = 4,                          /* of columns */
    MOST_DOWN = 16,                           /* of rows */
};
enum { PLANES, BLOCK, AHEAD };                /* of split.a: of a part; rows as the kernel takes them */

static const char *supports(const fc_conv *conv)
{
    const int64_t *pad = conv->pad_before, *after = conv->pad_after, *k = conv->kernel;
    if (conv->in_per_group != 1)
        return "it is for depthwise convolutions";
    if (conv->x_stride[FC_W] != 1 || conv->y_stride[FC_W] != 1)
        return "pixels of a row must be adjacent";
    if (k[FC_DEPTH] != 1 || pad[FC_DEPTH] || after[FC_DEPTH])
        return "it takes kernels of one plane without padding";
    if (conv->stride[FC_HEIGHT] > MOST_DOWN)
        return "it takes strides of rows to 16";
    if (conv->stride[FC_WIDTH] > MOST_STRIDE || (conv->stride[FC_WIDTH] > 1 && conv->dilation[FC_WIDTH] > 1))
        return "it takes strides to 4, and of more than 1 no dilation";
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++) /* else some of grad_output may meet padding only */
        if ((pad[axis] || after[axis]) && (conv->dilation[axis] > 1 || pad[axis] >= k[axis] || after[axis] >= k[axis]))
            return "it takes less padding than taps, and of dilated ones none";
    /* A vector of sums for each tap: scratch is bounded by the cache. */
    return conv->taps <= fc_machine_for(conv->dtype)->l2 / 64 ? NULL : "the sums of a plane would not fit scratch";
}

/* Bytes of a row of outputs and of the x that only it sees, about. */
static int64_t row_of(const fc_conv *conv)
{
    const int64_t high = fc_max(1, conv->in_size[FC_HEIGHT] / conv->out_size[FC_HEIGHT]);
    return (conv->out_size[FC_WIDTH] + high * conv->in_size[FC_WIDTH]) * (int64_t)fc_size_of(conv->dtype);
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    const int64_t sums = conv->taps * table->lanes * (int64_t)fc_size_of(conv->dtype);
    const int64_t planes = fc_min(SUMS_BYTES / sums, fc_div_up(conv->out_channels, WISHED_PARTS));
    fc_weight_split s = { .spreads = true };  /* padding, which is zero, is left out */
    s.a[PLANES] = fc_max(1, planes);
    s.a[BLOCK] = fc_max(BLOCK_BYTES / row_of(conv), 2 * conv->kernel[FC_HEIGHT]);
    s.a[AHEAD] = fc_max(1, AHEAD_BYTES / row_of(conv));
    s.parts = fc_div_up(conv->out_channels, s.a[PLANES]);
    const int64_t rows = s.parts < WISHED_PARTS ? s.a[BLOCK] : conv->out_size[FC_HEIGHT];
    s.blocks = fc_pixel_blocks_of(conv, s.parts < WISHED_PARTS ? 1 : IMAGES, rows, conv->out_size[FC_WIDTH]);
    s.bytes = (size_t)(s.a[PLANES] * sums);
    return s;
}

/* Of x and grad_output. */
static double all_bytes(const fc_conv *conv)
{
    const double outputs = (double)(conv->batch * conv->out_channels) * (double)conv->out_pixels;
    return ((double)fc_x_count(conv) + outputs) * (double)fc_size_of(conv->dtype);
}

static bool is_far(const fc_conv *conv) { return all_bytes(conv) > (double)fc_machine_for(conv->dtype)->l3 / 4; }

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, *y = conv->y_stride, channel = part * run->split.a[PLANES];
    const int64_t planes = fc_min(run->split.a[PLANES], conv->out_channels - channel), same = conv->out_per_group;
    const int64_t count = planes * conv->taps;
    const fc_move zeros = { .rows = 1, .dst = scratch, .dst_col = 1, .zero_before = count * run->table->lanes };
    run->table->move(&zeros);
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &run->split.blocks, i);
        fc_plane_sums p = {
            .images = b.images, .planes = planes, .same = same, .skip = channel % same,
            .row = fc_strided_axis_of(conv, FC_HEIGHT), .col = fc_strided_axis_of(conv, FC_WIDTH),
            .block = run->split.a[BLOCK], .ahead = run->split.a[AHEAD],
            .x = fc_at(run->x, b.image * x[FC_N] + channel / same * x[FC_C] +
                                   b.depth * conv->stride[FC_DEPTH] * x[FC_D], size),
            .g = fc_at(run->g, b.image * y[FC_N] + channel * y[FC_C] + b.depth * y[FC_D], size),
            .x_image = x[FC_N], .x_plane = x[FC_C], .x_row = x[FC_H], .g_image = y[FC_N], .g_plane = y[FC_C],
            .g_row = y[FC_H], .sums = scratch, .far = is_far(conv),
        };
        p.row.first = b.row;
        p.row.end = b.row + b.rows;
        run->table->plane_sums(&p);
    }
    const fc_lane_sums lanes = { .count = count, .src = scratch,
                                 .dst = fc_at_mut(out, channel * conv->taps, size) };
    run->table->lane_sums(&lanes);
}

/* Small square kernels of narrow planes without a stride, whose rows meet in registers: short rows follow each other
 * in x and in grad_output. */
static bool meets_in_registers(const fc_conv *conv, const fc_machine *machine)
{
    const int64_t *k = conv->kernel, *stride = conv->stride, *dilation = conv->dilation;
    const int64_t width = conv->out_size[FC_WIDTH], in = conv->in_size[FC_WIDTH];
    return machine->table->tap_slides && stride[FC_HEIGHT] == 1 && stride[FC_WIDTH] == 1 && dilation[FC_HEIGHT] == 1 &&
           dilation[FC_WIDTH] == 1 && k[FC_HEIGHT] == k[FC_WIDTH] && (k[FC_WIDTH] == 3 || k[FC_WIDTH] == 5) &&
           (2 * width > machine->lanes || (in == width && conv->x_stride[FC_H] == in && conv->y_stride[FC_H] == width));
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const int64_t width = conv->out_size[FC_WIDTH], lanes = machine->lanes;
    const double planes = (double)(conv->batch * conv->out_channels) * (double)conv->out_size[FC_DEPTH];
    const double vectors = (double)fc_div_up(width, lanes), weights = (double)(conv->out_channels * conv->taps);
    const double rows = (double)conv->out_size[FC_HEIGHT], taps = (double)conv->taps;
    const double apart = conv->stride[FC_WIDTH] > 2 ? 3.7 : conv->stride[FC_WIDTH] > 1 ? 1.1 : 0;
    const fc_strided_axis row = fc_strided_axis_of(conv, FC_HEIGHT);
    const fc_strided_axis col = fc_strided_axis_of(conv, FC_WIDTH);
    const double pairs = 2 * width <= lanes && conv->in_size[FC_WIDTH] < lanes ? 0.5 : 1; /* rows share a vector */
    const fc_count wide[] = {
        { planes * rows * vectors * taps, (2.1 + apart) * (machine->multiply > 1 ? 1.35 : 1) },
        { planes * vectors * (double)conv->kernel[FC_HEIGHT], 105 }, /* rows that see x by themselves */
        { planes, 160 },
        { weights, 16 },                                             /* sums of lanes */
        { 1, 11000 },
    };
    const fc_count narrow[] = {
        { planes * rows * pairs * taps, 3.6 }, { planes * rows * pairs, 24.5 }, { planes * taps, 19.7 },
        { weights, 3.7 }, { 1, 11900 },
    };
    const double together = ceil(rows / (2 * width <= lanes ? 2 : 1));
    const fc_count meeting[] = {
        { planes * together * taps, 1.8 }, { planes * taps, 3 }, { planes, 45 },
        { is_far(conv) ? all_bytes(conv) / 64 : 0, 4 }, { weights, 3.7 }, { 1, 11900 },
    };
    if (fc_plane_sums_narrow(&row, &col, lanes) && meets_in_registers(conv, machine))
        return FC_COST(meeting, machine);
    return fc_plane_sums_narrow(&row, &col, lanes) ? FC_COST(narrow, machine) : FC_COST(wide, machine);
}

const fc_weight_method fc_weight_planes = { "planes", supports, cost, split, task, &fc_weight_rows };
