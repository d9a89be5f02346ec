/* The input gradient of 1x1 kernels as a forward convolution whose image is the filters, as they lie.
 *
 * gx[pixel][ic] = sum over oc of gy[pixel][oc] * weight[oc][ic] is a 1x1 convolution of an image of one row, its
 * channels oc and its pixels ic, by filters gy, one for each pixel.  Nothing is turned round where channels are
 * adjacent; elsewhere gy and gx are, some pixels at a time, which is less than the filters where pixels are few. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "../base/size.h"
#include "cost.h"
#include "geometry.h"
#include "grouped_pixels.h"
#include "input_grad.h"
#include "input_grad_pixels.h"
#include <math.h>

enum {
    TURNED = 1 << 17,         /* elements of gy and of gx that are turned at a time, */
    LEAST_TURNED = 64,        /* but so many pixels: all filters are read for them */
};

/* Whether gy is [pixel][oc] of all images, and pixels of gx are evenly apart. */
static bool in_place(const fc_conv *conv)
{
    return conv->y_stride[FC_C] == 1 && conv->x_stride[FC_C] == 1 &&
           fc_grad_pixel_step(conv->y_stride, conv->out_size, conv->batch) == conv->out_channels &&
           fc_grad_pixel_step(conv->x_stride, conv->in_size, conv->batch) != 0;
}

static const char *supports(const fc_conv *conv)
{
    if (!fc_grad_is_product(conv))
        return "exchanged needs a 1x1 kernel of one group without stride and padding";
    return in_place(conv) || (fc_pixels_uniform(conv->y_stride, conv->out_size) &&
                              fc_pixels_uniform(conv->x_stride, conv->in_size))
               ? NULL : "exchanged needs pixels that are evenly apart";
}

/* So few pixels that the filters are best read as they lie. */
static bool few(const fc_conv *conv)
{
    return conv->batch * conv->out_pixels <= fc_most_pixels(conv);
}

/* The convolution of the filters by so many pixels of gy, written as [pixel][ic]: contiguous, or `x_step` apart. */
static fc_status forward_conv(const fc_conv *conv, int64_t pixels, int64_t x_step, fc_conv *forward,
                              const fc_algorithm **algorithm, fc_error *error)
{
    *forward = (fc_conv){
        .dtype = conv->dtype, .spatial = 1, .batch = 1, .in_channels = conv->out_channels, .out_channels = pixels,
        .groups = 1, .in_per_group = conv->out_channels, .in_size = { 1, 1, conv->in_channels },
        .kernel = { 1, 1, 1 }, .stride = { 1, 1, 1 }, .dilation = { 1, 1, 1 }, .exact = conv->exact,
    };
    fc_status status = fc_conv_check(forward, error);
    if (status != FC_OK)
        return status;
    fc_conv_default_strides(forward, false);
    forward->y_stride[FC_C] = x_step;
    return fc_algorithm_choose(forward, "auto", false, algorithm, error);
}

/* Blocks of pixels that are turned at a time: some images, or a part of one. */
typedef struct turned_blocks {
    int64_t images, pixels;                   /* of a block; of each of its images */
} turned_blocks;

static turned_blocks blocks_of(const fc_conv *conv)
{
    const int64_t most = fc_max(LEAST_TURNED, TURNED / fc_max(conv->in_channels, conv->out_channels));
    const int64_t parts = fc_div_up(conv->out_pixels, most);
    turned_blocks b = { .images = fc_max(1, fc_min(most / conv->out_pixels, conv->batch)) };
    b.images = fc_div_up(conv->batch, fc_div_up(conv->batch, b.images));
    b.pixels = fc_div_up(conv->out_pixels, parts);
    return b;
}

typedef struct turn_job {
    const fc_input_call *call;
    void *array, *turned;                     /* at the block's first pixel; turned: [image][pixel][channel] */
    int64_t channels, step, image, channel;   /* of the array: elements between pixels, images, channels */
    int64_t images, pixels;
    bool back;
} turn_job;

enum { BAND = 64 };                           /* channels of a task */

static void turn_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    const turn_job *job = context;
    const size_t size = fc_size_of(job->call->conv->dtype);
    const int64_t bands = fc_div_up(job->channels, BAND), image = task / bands, first = task % bands * BAND;
    void *array = fc_at_mut(job->array, image * job->image + first * job->channel, size);
    void *turned = fc_at_mut(job->turned, image * job->pixels * job->channels + first, size);
    fc_move move = {
        .rows = job->pixels, .cols = fc_min(BAND, job->channels - first), .src = array, .src_row = job->step,
        .src_col = job->channel, .dst = turned, .dst_row = job->channels, .dst_col = 1,
    };
    if (job->back)
        move = (fc_move){ .rows = move.cols, .cols = move.rows, .src = turned, .src_row = 1, .src_col = job->channels,
                          .dst = array, .dst_row = job->channel, .dst_col = job->step };
    job->call->table->move(&move);
}

static fc_status turn(const turn_job *job, fc_error *error)
{
    const double elements = (double)(job->images * job->pixels) * (double)job->channels;
    return fc_parallel(job->images * fc_div_up(job->channels, BAND), elements * 3e-10, 0, turn_task,
                       (void *)(uintptr_t)job, error);
}

static fc_status run_in_place(const fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    fc_conv forward;
    const fc_algorithm *algorithm;
    const fc_status status = forward_conv(conv, conv->batch * conv->out_pixels,
                                          fc_grad_pixel_step(conv->x_stride, conv->in_size, conv->batch), &forward,
                                          &algorithm, error);
    const fc_conv_run run = { .conv = &forward, .table = call->table, .x = call->weight, .weight = call->g,
                              .y = call->grad };
    return status == FC_OK ? algorithm->forward(&run, error) : status;
}

/* One block, through `gy` and `gx` in scratch. */
static fc_status run_block(const fc_input_call *call, int64_t image, int64_t images, int64_t pixel, int64_t pixels,
                           void *gy, void *gx, fc_error *error)
{
    const fc_conv *conv = call->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, *y = conv->y_stride;
    turn_job in = { .call = call, .turned = gy, .channels = conv->out_channels, .image = y[FC_N], .channel = y[FC_C],
                    .step = y[FC_W], .images = images, .pixels = pixels };
    turn_job out = { .call = call, .turned = gx, .channels = conv->in_channels, .image = x[FC_N], .channel = x[FC_C],
                     .step = x[FC_W], .images = images, .pixels = pixels, .back = true };
    fc_conv block = *conv;
    fc_input_call turned = { .conv = &block, .table = call->table, .algorithm = call->algorithm, .g = gy,
                             .weight = call->weight, .grad = gx };
    block.batch = images;
    block.out_pixels = block.in_size[FC_WIDTH] = block.out_size[FC_WIDTH] = pixels;
    block.in_size[FC_DEPTH] = block.in_size[FC_HEIGHT] = block.out_size[FC_DEPTH] = block.out_size[FC_HEIGHT] = 1;
    fc_conv_default_strides(&block, true);
    in.array = (void *)(uintptr_t)fc_at(call->g, image * y[FC_N] + pixel * y[FC_W], size);
    out.array = fc_at_mut(call->grad, image * x[FC_N] + pixel * x[FC_W], size);
    fc_status status = turn(&in, error);
    if (status == FC_OK)
        status = few(&block) ? fc_input_pixels.run(&turned, error) : run_in_place(&turned, error);
    return status == FC_OK ? turn(&out, error) : status;
}

static fc_status run_turned(const fc_input_call *call, fc_error *error)
{
    const fc_conv *conv = call->conv;
    const size_t size = fc_size_of(conv->dtype);
    const turned_blocks b = blocks_of(conv);
    const size_t gy_bytes = (size_t)fc_round_up(b.images * b.pixels * conv->out_channels * (int64_t)size, 64);
    const size_t bytes = gy_bytes + (size_t)(b.images * b.pixels * conv->in_channels) * size;
    char *memory = fc_scratch_borrow(bytes);
    if (!memory)
        return fc_fail(error, FC_NO_MEMORY, "grad_output: no memory for %zu bytes of pixels turned round", bytes);
    fc_status status = FC_OK;
    for (int64_t n = 0; n < conv->batch && status == FC_OK; n += b.images)
        for (int64_t p = 0; p < conv->out_pixels && status == FC_OK; p += b.pixels)
            status = run_block(call, n, fc_min(b.images, conv->batch - n), p, fc_min(b.pixels, conv->out_pixels - p),
                               memory, memory + gy_bytes, error);
    fc_scratch_give_back(memory);
    return status;
}

static fc_status run(fc_input_call *call, fc_error *error)
{
    return in_place(call->conv) ? run_in_place(call, error) : run_turned(call, error);
}

/* Turned, a product of so few rows that the filters could not be turned for less. */
static double cost(fc_input_call *call)
{
    const fc_conv *conv = call->conv;
    const fc_machine *machine = fc_machine_for(conv->dtype);
    if (few(conv))
        return 0;
    if (in_place(conv) && fc_grouped_pixels_fit(machine->lanes, conv->out_channels, conv->in_channels))
        return INFINITY;                      /* filters turned round are a forward convolution that has a faster way */
    if (in_place(conv) && conv->out_channels > 1) /* a depth of one is nothing but rows and their ends */
        return 0;
    const double elements = (double)(conv->batch * conv->out_pixels) * (double)(conv->in_channels + conv->out_channels);
    const double weights = (double)conv->in_channels * (double)conv->out_channels;
    if (elements > 2 * weights)
        return INFINITY;
    const turned_blocks b = blocks_of(conv);
    const double blocks = (double)(fc_div_up(conv->batch, b.images) * fc_div_up(conv->out_pixels, b.pixels));
    const double again = !fc_far(conv, (int64_t)weights) ? 6 : blocks > 1 ? 28 : 10; /* from memory for every block */
    const fc_count counts[] = {
        { (double)(conv->batch * conv->out_pixels) * weights / machine->lanes, fc_multiply(machine, 0.75) },
        { blocks * weights / machine->lanes, again },                               /* copied, or read for few */
        { elements / machine->lanes, 25 },
        { blocks, 8000 },
    };
    return FC_COST(counts, machine);
}

const fc_input_method fc_input_exchanged = { .name = "exchanged", .supports = supports, .cost = cost, .run = run };
