/* Weight gradient of 1x1 over few adjacent channels: several pixels of grad_output to a vector, and what each lane
 * takes of x picked from two (see kernels/mix.h).  Called by weight_grad.c. */
#include "cost.h"
#include "geometry.h"
#include "grouped_pixels.h"
#include "weight_grad.h"
#include <string.h>

enum { PIXELS = 4096 };                       /* of a block, whose sums are four chains for each pixel of a vector */

/* Elements from pixel to pixel of x. */
static int64_t x_pixel(const fc_conv *conv)
{
    return conv->out_size[FC_WIDTH] > 1 ? conv->stride[FC_WIDTH] * conv->x_stride[FC_W] : conv->in_per_group;
}

static const char *supports(const fc_conv *conv)
{
    const int64_t in = conv->in_per_group, out = conv->out_per_group, step = x_pixel(conv);
    if (conv->groups > 1 || conv->taps > 1 || !fc_unpadded(conv))
        return "mixed needs a kernel of one element, one group and no padding";
    if ((in > 1 && conv->x_stride[FC_C] != 1) || (out > 1 && conv->y_stride[FC_C] != 1) || step < in ||
        (conv->out_size[FC_WIDTH] > 1 && conv->y_stride[FC_W] != out))
        return "mixed needs adjacent channels";
    return fc_grouped_pixels_fit(fc_table_for(conv->dtype)->lanes, step, out) ? NULL : "mixed needs fewer channels";
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    (void)table;
    fc_weight_split s = { .parts = 1 };
    s.blocks = fc_pixel_blocks_of(conv, 1, 1, fc_min(conv->out_size[FC_WIDTH], PIXELS));
    return s;
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const fc_conv *conv = run->conv;
    const int64_t *x = conv->x_stride, *y = conv->y_stride, *stride = conv->stride;
    const size_t size = fc_size_of(conv->dtype);
    (void)part, (void)scratch;
    memset(out, 0, (size_t)(conv->out_per_group * conv->in_per_group) * size);
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &run->split.blocks, i);
        const fc_mix_sums m = {
            .pixels = b.cols, .in = conv->in_per_group, .out = conv->out_per_group, .x_pixel = x_pixel(conv),
            .x = fc_at(run->x, b.image * x[FC_N] + b.depth * stride[FC_DEPTH] * x[FC_D] +
                                   b.row * stride[FC_HEIGHT] * x[FC_H] + b.col * x_pixel(conv), size),
            .g = fc_at(run->g, b.image * y[FC_N] + b.depth * y[FC_D] + b.row * y[FC_H] + b.col * y[FC_W], size),
            .sums = out,
        };
        run->table->mix_sums(&m);
    }
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const int64_t in = conv->in_per_group, out = conv->out_per_group;
    const double all = (double)(conv->batch * conv->out_pixels), blocks = (double)split(conv, NULL).blocks.count;
    const double vectors = all / (double)fc_mix_pixels(machine->lanes, x_pixel(conv), out);
    const double bytes = all * (double)(x_pixel(conv) + out) * (double)fc_size_of(conv->dtype);
    const fc_count counts[] = {
        { vectors * (double)in, 7 },                                               /* load, pick and multiply */
        { bytes > (double)machine->l2 ? bytes / 64 : 0, 6 },                       /* lines from beyond L2 */
        { blocks, 300 + 60 * (double)in },
        { 1, 4000 },
    };
    return FC_COST(counts, machine);
}

const fc_weight_method fc_weight_mixed = { "mixed", supports, cost, split, task, NULL };
