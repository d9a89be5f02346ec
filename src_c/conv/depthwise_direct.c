/* Depthwise: one block of outputs by calls of the kernel, with rows and pixels as places and lanes for
 * NCHW, pixels and channels for NHWC.  Called by depthwise.c and depthwise_copy.c. */
#include "depthwise.h"
#include <math.h>
#include <string.h>

/* Lists of a kernel call, in scratch. */
typedef struct depthwise_list {
    fc_depthwise_run *run;
    fc_depthwise_start *place_at;
    int64_t *lane_at;
    void *work;
} depthwise_list;

static depthwise_list list_of(const fc_conv *conv, void *memory)
{
    depthwise_list list = { .work = memory };
    const int64_t high = fc_max(conv->kernel[FC_HEIGHT], conv->kernel[FC_WIDTH]), wide = conv->kernel[FC_WIDTH];
    list.run = (fc_depthwise_run *)(void *)((char *)memory + fc_round_up((int64_t)fc_depthwise_work(high, wide), 64));
    list.place_at = (fc_depthwise_start *)(void *)(list.run + conv->depth);
    list.lane_at = (int64_t *)(void *)(list.place_at + high);
    return list;
}

size_t fc_depthwise_list_bytes(const fc_conv *conv)
{
    const depthwise_list list = list_of(conv, NULL);
    return (size_t)fc_round_up((int64_t)((size_t)(list.lane_at + conv->kernel[FC_WIDTH])), 64);
}

bool fc_depthwise_far(const fc_conv *conv)
{
    enum { FEW_TAPS = 16 };
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const double held = machine->multiply > 1 && conv->in_per_group == 1 ? 0.15 * (double)machine->l3 : 0;
    const double inputs = (double)(conv->in_channels * conv->in_size[0]) *
                          (double)(conv->in_size[1] * conv->in_size[2]);
    const double outputs = (double)conv->out_channels * (double)conv->out_pixels;
    const double bytes = (double)conv->batch * (inputs + outputs) * (double)fc_size_of(conv->dtype);
    return bytes > fmax(held, (conv->taps < FEW_TAPS || conv->in_per_group > 1 ? 0.75 : 4) * (double)machine->l2);
}

bool fc_depthwise_streams(const fc_conv *conv)
{
    enum { MOST = 64 << 20 };
    const int64_t bytes = conv->batch * conv->out_channels * conv->out_pixels * (int64_t)fc_size_of(conv->dtype);
    return fc_machine_for(conv->dtype)->multiply > 1 ? fc_streams_y(conv) : bytes > MOST;
}

fc_depthwise_view fc_depthwise_view_of(const fc_conv_run *run, int64_t image, int64_t channel)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t count[FC_AXES] = { conv->batch, conv->in_channels, conv->in_size[0], conv->in_size[1],
                                     conv->in_size[2] };
    const int64_t first = channel / conv->out_per_group * conv->in_per_group;
    int64_t low = 0, high = 1;                /* elements of x before and after its first */
    for (int axis = 0; axis < FC_AXES; axis++) {
        const int64_t last = (count[axis] - 1) * conv->x_stride[axis];
        low += last < 0 ? last : 0;
        high += last > 0 ? last : 0;
    }
    fc_depthwise_view v = {
        .x = fc_at(run->x, image * conv->x_stride[FC_N] + first * conv->x_stride[FC_C], size),
        .y = fc_at_mut(run->y, image * conv->y_stride[FC_N] + channel * conv->y_stride[FC_C], size),
        .readable = fc_at(run->x, low, size), .readable_end = fc_at(run->x, high, size),
        .weight = run->weight ? fc_at(run->weight, channel * conv->depth, size) : NULL,
        .bias = run->bias ? fc_at(run->bias, channel, size) : NULL, .w_tap = 1, .w_channel = conv->depth,
    };
    v.far = fc_depthwise_far(conv);
    memcpy(v.x_stride, conv->x_stride, sizeof v.x_stride);
    memcpy(v.y_stride, conv->y_stride, sizeof v.y_stride);
    memcpy(v.x_size, conv->in_size, sizeof v.x_size);
    return v;
}

static const int64_t run_lengths[FC_DEPTHWISE_LENGTHS] = { 7, 5, 3, 1 };

/* Runs of 7, 5, 3 and 1, none over `longest`, that make up `length` kernel elements: of 1 only where there is no
 * other way. */
static void runs_of(int64_t length, int longest, int64_t runs[FC_DEPTHWISE_LENGTHS])
{
    /* By the remainder: runs of the longest less, then how many of the others. */
    static const int8_t of_7[7][4] = { { 0 }, { -1, 1, 1 }, { -1, 0, 3 }, { 0, 0, 1 }, { -1, 1, 2 }, { 0, 1 },
                                       { 0, 0, 2 } };
    static const int8_t of_5[5][4] = { { 0 }, { 0, -1, 2 }, { 0, -1, 2, 1 }, { 0, 0, 1 }, { 0, -1, 3 } };
    static const int8_t small[5][4] = { { 0 }, { 0, 0, 0, 1 }, { 0, 0, 0, 2 }, { 0, 0, 1 }, { 0, 0, 1, 1 } };
    if (longest == 3) {
        runs[0] = runs[1] = 0;
        runs[2] = length / 3;
        runs[3] = length % 3;
        return;
    }
    const int8_t *more = length < 5 ? small[length] : longest == 7 ? of_7[length % 7] : of_5[length % 5];
    for (int l = 0; l < FC_DEPTHWISE_LENGTHS; l++)
        runs[l] = more[l];
    if (length >= 5)
        runs[longest == 7 ? 0 : 1] += length / longest;
}

/* The runs for the outputs of `v` at `out`: all kernel elements but those that see only padding along
 * an axis that is neither place nor lane.  place < 0: no axis is places. */
static void fill_runs(fc_depthwise *d, const fc_conv_run *run, const fc_depthwise_view *v, int place, bool single,
                      const int64_t out[FC_SPATIAL], const depthwise_list *list)
{
    const fc_conv *conv = run->conv;
    const bool lanes = !d->lane_weights, apart = lanes && !v->phase; /* lanes are columns, which are told apart */
    int64_t length_runs[FC_DEPTHWISE_LENGTHS] = { 0, 0, 0, 1 }, base[FC_SPATIAL] = { 0 }, start = 0;
    if (place >= 0 && !single)
        runs_of(conv->kernel[place], conv->in_per_group > 1 ? 3 : run->table->depthwise_longest, length_runs);
    else if (place >= 0)
        length_runs[FC_DEPTHWISE_LENGTHS - 1] = conv->kernel[place];
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (axis != place && !(lanes && axis == FC_WIDTH))
            base[axis] = out[axis] * conv->stride[axis] - conv->pad_before[axis] - v->x_at[axis];
    fc_depthwise_run *next = list->run;
    d->place_ats = 0;
    for (int l = 0; l < FC_DEPTHWISE_LENGTHS; l++) {
        fc_depthwise_run *const first = next;
        const int64_t first_place = d->place_ats;
        int64_t count[FC_SPATIAL], k[FC_SPATIAL], at[FC_SPATIAL];
        for (int64_t i = 0; i < length_runs[l]; i++, start += run_lengths[l])
            list->place_at[d->place_ats++] =
                (fc_depthwise_start){ place < 0 ? 0 : start * conv->dilation[place], run_lengths[l] };
        for (int axis = 0; axis < FC_SPATIAL; axis++)
            count[axis] = axis == place ? length_runs[l] : length_runs[l] ? conv->kernel[axis] : 0;
        for (int64_t i = 0, all = count[0] * count[1] * count[2]; i < all; i++) {
            const int64_t index[FC_SPATIAL] = { i / (count[1] * count[2]), i / count[2] % count[1], i % count[2] };
            const int64_t chunk = first_place + (place < 0 ? 0 : index[place]);
            bool inside = true;
            for (int axis = 0; axis < FC_SPATIAL; axis++) {
                const int64_t tap = axis == place ? list->place_at[chunk].at : index[axis] * conv->dilation[axis];
                at[axis] = base[axis] + tap;
                k[axis] = axis == place ? tap / conv->dilation[axis] : index[axis];
                if (axis != place && !(lanes && axis == FC_WIDTH))
                    inside = inside && at[axis] >= 0 && at[axis] < v->x_size[axis];
            }
            if (!inside)
                continue;
            const int64_t col = v->phase ? at[FC_WIDTH] % conv->stride[FC_WIDTH] * v->phase +
                                           at[FC_WIDTH] / conv->stride[FC_WIDTH]
                                         : at[FC_WIDTH] * v->x_stride[FC_W];
            *next++ = (fc_depthwise_run){
                .x = at[FC_DEPTH] * v->x_stride[FC_D] + at[FC_HEIGHT] * v->x_stride[FC_H] + col,
                .w = ((k[0] * conv->kernel[1] + k[1]) * conv->kernel[2] + k[2]) * v->w_tap,
                .place = (int32_t)chunk, .lane = apart ? (int32_t)index[FC_WIDTH] : 0,
            };
        }
        const int64_t runs = next - first, inputs = conv->in_per_group; /* the same for every channel of a group */
        for (int64_t i = runs * inputs - 1; i >= 0 && inputs > 1; i--) {
            /* Planes one after the other; of pixels all channels of a row, which lie in the same lines. */
            const int64_t of = lanes ? i % runs : i / inputs, input = lanes ? i / runs : i % inputs;
            first[i] = first[of];
            first[i].x += v->pick ? 0 : input * v->x_stride[FC_C];
            first[i].w += input * conv->taps * v->w_tap;
            first[i].lane = lanes ? first[of].lane : (int32_t)input;
        }
        next = first + runs * inputs;
        d->runs[l] = next - first;
    }
    d->lane_ats = apart ? conv->kernel[FC_WIDTH] : 1;
    list->lane_at[0] = 0;
    for (int64_t i = 1; i < d->lane_ats; i++)
        list->lane_at[i] = i * conv->dilation[FC_WIDTH];
    d->run = list->run;
    d->place_at = list->place_at;
    d->lane_at = list->lane_at;
    d->work = list->work;
}

/* One spatial axis as the kernel takes it: outputs `first` .. `end` of the convolution. */
static fc_depthwise_axis axis_of(const fc_conv *conv, const fc_depthwise_view *v, int axis, int64_t first, int64_t end)
{
    return (fc_depthwise_axis){
        .first = first - v->y_at[axis], .count = end - first, .in = v->x_size[axis], .stride = conv->stride[axis],
        .pad = conv->pad_before[axis] + v->x_at[axis] - v->y_at[axis] * conv->stride[axis],
        .reach = (conv->kernel[axis] - 1) * conv->dilation[axis],
        .x = v->x_stride[FC_D + axis], .y = v->y_stride[FC_D + axis],
    };
}

/* How the places of a tile follow each other; true where runs must be single kernel elements. */
static bool choose_unit(fc_depthwise *d, const fc_conv *conv, int axis)
{
    const int64_t stride = d->place.stride, dilation = conv->dilation[axis];
    const bool pairs = !d->lane_weights && d->lane.stride == 2;
    const bool one = conv->kernel[axis] == 1;
    d->skip = 1;
    if (pairs) {
        d->unit = stride / 2;
        return one || stride != 2 || dilation != 1;
    }
    d->unit = stride;
    if (one)
        return true;
    if (stride == 1 && dilation > 1 && d->place.count >= 4 * dilation) {
        d->unit = d->skip = dilation;
        return false;
    }
    if (stride == 2 && dilation == 1 && d->lane_weights) {
        d->unit = 1;
        return false;
    }
    return stride != 1 || dilation != 1;
}

static fc_depthwise start_of(const fc_conv *conv, const fc_depthwise_view *v)
{
    return (fc_depthwise){ .x = v->x, .y = v->y, .weight = v->weight, .bias = v->bias, .activation = conv->activation,
                           .readable = v->readable, .readable_end = v->readable_end, .repeat = 1, .blocks = 1,
                           .group = 1, .again = 1 };
}

/* Blocks are planes, or as many as share what is loaded. */
static void set_planes(fc_depthwise *d, const fc_conv *conv, const fc_table *table, const fc_depthwise_view *v,
                       int64_t channels)
{
    const int64_t filters = conv->in_per_group > 1 ? table->depthwise_filters : 1;
    d->filters = (int)filters;
    d->w_filter = conv->depth;
    d->y_filter = v->y_stride[FC_C];
    d->repeat = conv->out_per_group / filters;
    d->x_block = conv->in_per_group * v->x_stride[FC_C];
    d->y_block = filters * v->y_stride[FC_C];
    d->w_block = filters * conv->depth;
    d->w_step = conv->kernel[FC_WIDTH];
    d->bias_block = filters;
    d->blocks = channels / filters;
}

/* How many planes are computed tile by tile together, which share what a tile costs beside its sums: some, as long as
 * they stay in L2, with the next ones where these are asked for, and more of small ones.  `outputs` of each. */
static int64_t planes_of(const fc_conv *conv, const fc_depthwise_view *v, int64_t outputs)
{
    enum { SMALL = 32 << 10, FEW = 8 << 10, SOME = 4 }; /* elements, of several inputs a group; planes */
    const int64_t plane = outputs + conv->in_per_group * v->x_size[FC_HEIGHT] * v->x_size[FC_WIDTH];
    if (conv->in_per_group > 1)
        return fc_max(1, FEW / plane);
    const int64_t held = fc_machine_for(conv->dtype)->l2 / 4 * (v->far ? 2 : 3) / (int64_t)fc_size_of(conv->dtype);
    return fc_max(fc_max(1, SMALL / plane), fc_min(SOME, held / plane));
}

/* Some rows at one output depth. */
static void compute_rows(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels, int64_t depth,
                         int64_t row0, int64_t row1, int64_t col0, int64_t col1, const depthwise_list *list)
{
    const fc_conv *conv = run->conv;
    const int64_t out[FC_SPATIAL] = { depth, row0, col0 };
    fc_depthwise d = start_of(conv, v);
    d.place = axis_of(conv, v, FC_HEIGHT, row0, row1);
    d.lane = axis_of(conv, v, FC_WIDTH, col0, col1);
    if (v->phase) {                           /* copied with its padding, from column col0 on */
        d.lane.in = INT64_MAX / 4;
        d.lane.stride = d.lane.x = 1;
        d.lane.reach = 0;
        d.lane.pad = d.lane.first;
    }
    if (conv->out_size[FC_HEIGHT] == 1)
        d.place.stride = d.lane.stride;       /* of one row, any stride will do */
    set_planes(&d, conv, run->table, v, channels);
    fill_runs(&d, run, v, FC_HEIGHT, choose_unit(&d, conv, FC_HEIGHT), out, list);
    d.y = fc_at_mut(v->y, (depth - v->y_at[FC_DEPTH]) * v->y_stride[FC_D], fc_size_of(conv->dtype));
    d.group = planes_of(conv, v, d.filters * (row1 - row0) * (col1 - col0)) * d.repeat;
    d.far = v->far && (d.filters == 1 || conv->groups > 1);
    if (d.far) {                              /* the next planes, or rows; or the next group */
        enum { ROWS = 16 };
        const bool planes = d.group > d.repeat;
        d.x_ahead = d.filters > 1 ? d.x_block
                                  : planes ? d.group / d.repeat * d.x_block : ROWS * d.place.stride * d.place.x;
        d.y_ahead = d.filters > 1 ? channels * v->y_stride[FC_C] : planes ? d.group * d.y_block : ROWS * d.place.y;
        d.ahead_row = d.place.x;
    }
    run->table->depthwise(&d);
}

/* One long row: its middle, where nothing sees padding, as several segments beside each other, so
 * that a tile has more than one place; its ends as they are.  1-D problems are this. */
static void compute_long_row(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels,
                             int64_t depth, int64_t row, int64_t col0, int64_t col1, const depthwise_list *list)
{
    enum { SEGMENTS = 8 };
    const fc_conv *conv = run->conv;
    const int64_t out[FC_SPATIAL] = { depth, row, col0 };
    fc_depthwise d = start_of(conv, v);
    d.lane = axis_of(conv, v, FC_WIDTH, col0, col1);
    /* A pair of vectors read for stride 2 ends one value after the last that is used. */
    const int64_t room = d.lane.in - 1 - d.lane.reach + d.lane.pad - (d.lane.stride == 2);
    int64_t first = d.lane.first, end = d.lane.first + d.lane.count;
    if (v->phase == 0) {
        first = d.lane.pad > 0 ? fc_max(first, fc_div_up(d.lane.pad, d.lane.stride)) : first;
        end = room < 0 ? first : fc_min(end, room / d.lane.stride + 1);
    }
    const int64_t segment = end > first ? (end - first) / SEGMENTS : 0;
    if (v->phase != 0 || segment < run->table->lanes) {
        compute_rows(run, v, channels, depth, row, row + 1, col0, col1, list);
        return;
    }
    d.lane.first = first;
    d.lane.count = segment;
    d.place = (fc_depthwise_axis){ .count = SEGMENTS, .in = INT64_MAX / 4, .stride = d.lane.stride,
                                   .x = segment * d.lane.x, .y = segment * d.lane.y };
    d.unit = d.skip = 1;
    set_planes(&d, conv, run->table, v, channels);
    d.y = fc_at_mut(v->y, (depth - v->y_at[FC_DEPTH]) * v->y_stride[FC_D] +
                          (row - v->y_at[FC_HEIGHT]) * v->y_stride[FC_H], fc_size_of(conv->dtype));
    fill_runs(&d, run, v, -1, true, out, list);
    run->table->depthwise(&d);
    first += v->y_at[FC_WIDTH];
    if (first > col0)
        compute_rows(run, v, channels, depth, row, row + 1, col0, first, list);
    first += SEGMENTS * segment;
    if (first < col1)
        compute_rows(run, v, channels, depth, row, row + 1, first, col1, list);
}

void fc_depthwise_pixels(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels,
                         const fc_depthwise_part *p, void *memory)
{
    const depthwise_list list = list_of(run->conv, memory);
    const int64_t row0 = p->first[FC_HEIGHT], row1 = p->end[FC_HEIGHT], col0 = p->first[FC_WIDTH];
    const int64_t col1 = p->end[FC_WIDTH];
    for (int64_t depth = p->first[FC_DEPTH]; depth < p->end[FC_DEPTH]; depth++)
        if (row1 - row0 == 1)
            compute_long_row(run, v, channels, depth, row0, col0, col1, &list);
        else
            compute_rows(run, v, channels, depth, row0, row1, col0, col1, &list);
}

/* `rows` rows from `row` on that see the same kernel rows, `channels` of them. */
static void compute_channels(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels, int64_t depth,
                             int64_t row, int64_t rows, int64_t col0, int64_t col1, const depthwise_list *list)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t out[FC_SPATIAL] = { depth, row, col0 }, lanes = run->table->lanes;
    fc_depthwise d = start_of(conv, v);
    d.lane_weights = 1;
    d.place = axis_of(conv, v, FC_WIDTH, col0, col1);
    d.w_step = v->w_tap;
    d.x_block = d.y_block = d.w_block = d.bias_block = lanes;
    if (conv->in_per_group > 1) {
        d.inputs = v->pick ? FC_DEPTHWISE_PICKED : FC_DEPTHWISE_SHARED;
        d.pick = v->pick;
    }
    if (d.inputs == FC_DEPTHWISE_SHARED) {
        d.repeat = conv->out_per_group / lanes;
        d.x_block = conv->in_per_group;
    }
    d.lane = (fc_depthwise_axis){ .count = fc_min(lanes, channels), .in = fc_min(lanes, channels), .stride = 1,
                                  .x = 1, .y = 1 };
    fill_runs(&d, run, v, FC_WIDTH, choose_unit(&d, conv, FC_WIDTH), out, list);
    d.y = fc_at_mut(v->y, (depth - v->y_at[FC_DEPTH]) * v->y_stride[FC_D] +
                          (row - v->y_at[FC_HEIGHT]) * v->y_stride[FC_H], size);
    d.blocks = d.group = fc_div_up(channels - v->lead, lanes) + (v->lead > 0);
    d.lead = v->lead > 0 ? lanes - v->lead : 0;
    d.overlap = channels > lanes ? d.blocks * lanes - d.lead - channels : 0;
    d.again = rows;
    d.x_again = conv->stride[FC_HEIGHT] * v->x_stride[FC_H];
    d.y_again = v->y_stride[FC_H];
    d.far = v->far;
    d.stream = v->far && v->lead == 0 && fc_depthwise_streams(conv) && channels % lanes == 0 &&
               v->y_stride[FC_W] % lanes == 0 && v->y_stride[FC_H] % lanes == 0 &&
               (uintptr_t)d.y % ((uintptr_t)lanes * size) == 0;
    if (d.far) {                              /* the next row of outputs */
        const int64_t top = row * conv->stride[FC_HEIGHT] - conv->pad_before[FC_HEIGHT] - v->x_at[FC_HEIGHT];
        d.x_ahead = (top + (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT] + 1) * v->x_stride[FC_H];
        d.y_ahead = v->y_stride[FC_H];
        d.ahead_row = v->x_stride[FC_H];
    }
    run->table->depthwise(&d);
}

/* The part's rows at one depth, for channels and columns whose inputs stay in the L1 cache from one
 * row to the next. */
static void compute_strip(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels, int64_t depth,
                          const fc_depthwise_part *p, const depthwise_list *list)
{
    const fc_conv *conv = run->conv;
    const int64_t stride = conv->stride[FC_HEIGHT], pad = conv->pad_before[FC_HEIGHT] + v->x_at[FC_HEIGHT];
    const int64_t reach = (conv->kernel[FC_HEIGHT] - 1) * conv->dilation[FC_HEIGHT];
    int64_t rows;
    for (int64_t row = p->first[FC_HEIGHT]; row < p->end[FC_HEIGHT]; row += rows) {
        const int64_t top = row * stride - pad, below = v->x_size[FC_HEIGHT] - 1 - reach - top;
        rows = top >= 0 && below >= 0 ? fc_min(p->end[FC_HEIGHT] - row, below / stride + 1) : 1;
        compute_channels(run, v, channels, depth, row, rows, p->first[FC_WIDTH], p->end[FC_WIDTH], list);
    }
}

/* Of a strip.  The places of a tile are as far apart as taps are, and a tile of less than seven takes as long as one
 * of seven; unless they all lie in one set of the L1 cache, which holds eight. */
static int64_t least_columns(const fc_conv *conv, const fc_depthwise_view *v)
{
    enum { LEAST = 28, PLACES = 14, SETS = 4096 };
    const bool skips = conv->stride[FC_WIDTH] == 1 && conv->kernel[FC_WIDTH] > 1;
    const int64_t dilation = skips ? fc_min(conv->dilation[FC_WIDTH], conv->out_size[FC_WIDTH]) : 1;
    const int64_t apart = dilation * v->x_stride[FC_W] * (int64_t)fc_size_of(conv->dtype);
    return apart % SETS == 0 ? LEAST : fc_max(LEAST, PLACES * dilation);
}

/* The first channel whose vectors are aligned, of many channels: a load from two lines takes as long as two loads, and
 * one more vector of channels less than that.  Not where y is, which then may be written past the caches. */
static int64_t lead_of(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels)
{
    enum { LEAST = 12 };                      /* vectors */
    const int64_t lanes = run->table->lanes, size = (int64_t)fc_size_of(run->conv->dtype);
    const int64_t off = (int64_t)((uintptr_t)v->x % (uintptr_t)(lanes * size));
    if (run->conv->in_per_group > 1 || channels < LEAST * lanes || off % size != 0 || v->x_stride[FC_W] % lanes != 0 ||
        v->x_stride[FC_H] % lanes != 0 || v->x_stride[FC_D] % lanes != 0)
        return 0;
    if (fc_depthwise_streams(run->conv) && (uintptr_t)v->y % (uintptr_t)(lanes * size) == 0)
        return 0;
    return off > 0 ? lanes - off / size : 0;
}

void fc_depthwise_channels(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels,
                           const fc_depthwise_part *p, void *memory)
{
    enum { ELEMENTS = 7 << 10, WEIGHTS = 8 << 10 };
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const depthwise_list list = list_of(conv, memory);
    /* Of depthwise all: long runs of memory are worth more than to find anything in the L1 cache again. */
    const int64_t wished = conv->in_per_group > 1 ? WEIGHTS / conv->depth : channels;
    const int64_t blocks = fc_div_up(channels, fc_max(1, wished));
    const int64_t unit = conv->in_per_group > 1 ? fc_max(run->table->lanes, conv->out_per_group) : run->table->lanes;
    const int64_t most = fc_round_up(fc_div_up(channels, blocks), unit);
    const int64_t width = p->end[FC_WIDTH] - p->first[FC_WIDTH];
    const int64_t column = fc_min(conv->kernel[FC_HEIGHT], v->x_size[FC_HEIGHT]) * conv->stride[FC_WIDTH];
    const int64_t fit = ELEMENTS / (fc_min(most, channels) * fc_max(1, column));
    const int64_t least = least_columns(conv, v);
    const int64_t strips = fc_div_up(width, fc_max(least, fit / 28 * 28)), cols = fc_div_up(width, strips);
    if (v->slides && p->end[FC_HEIGHT] - p->first[FC_HEIGHT] >= FC_SLIDE_LEAST_ROWS &&
        fc_depthwise_slides(conv, run->table, channels)) {
        fc_depthwise_view whole = *v;
        whole.lead = lead_of(run, v, channels);
        for (int64_t depth = p->first[FC_DEPTH]; depth < p->end[FC_DEPTH]; depth++)
            fc_depthwise_slide_down(run, &whole, channels, depth, p);
        return;
    }
    for (int64_t depth = p->first[FC_DEPTH]; depth < p->end[FC_DEPTH]; depth++)
        for (int64_t block = 0; block < channels; block += most) {
            /* With several inputs a group all lanes are whole: the last few channels come with some again. */
            const int64_t c = conv->in_per_group > 1 ? fc_min(block, fc_max(channels - run->table->lanes, 0)) : block;
            fc_depthwise_view some = *v;
            fc_depthwise_part strip = *p;
            some.lead = lead_of(run, v, channels);
            some.x = fc_at(v->x, conv->in_per_group > 1 ? c / conv->out_per_group * conv->in_per_group : c, size);
            some.y = fc_at_mut(v->y, c, size);
            some.weight = fc_at(v->weight, c, size);
            some.bias = v->bias ? fc_at(v->bias, c, size) : NULL;
            for (int64_t col = 0; col < width; col += cols) {
                strip.first[FC_WIDTH] = p->first[FC_WIDTH] + col;
                strip.end[FC_WIDTH] = fc_min(p->end[FC_WIDTH], strip.first[FC_WIDTH] + cols);
                compute_strip(run, &some, fc_min(most, channels - c), depth, &strip, &list);
            }
        }
}
