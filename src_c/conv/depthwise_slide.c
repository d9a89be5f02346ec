/* Depthwise filters of 3x3 at stride 1 with channels as lanes, by way of sums that slide down the image (see
 * kernels/depthwise_slide.h): in place, outputs bit by bit those of depthwise_direct.c, which calls this. */
#include "cost.h"
#include "depthwise.h"

bool fc_depthwise_slides(const fc_conv *conv, const fc_table *table, int64_t channels)
{
    const int64_t *pad = conv->pad_before, *out = conv->out_size, *in = conv->in_size;
    for (int axis = FC_HEIGHT; axis <= FC_WIDTH; axis++)
        if (conv->kernel[axis] != FC_SLIDE_KERNEL || conv->stride[axis] != 1 || conv->dilation[axis] != 1)
            return false;
    return table->depthwise_slide && conv->in_per_group == 1 && conv->out_per_group == 1 && channels >= table->lanes &&
           conv->kernel[FC_DEPTH] == 1 && conv->stride[FC_DEPTH] == 1 && pad[FC_DEPTH] == 0 &&
           out[FC_DEPTH] == in[FC_DEPTH] && out[FC_HEIGHT] >= FC_SLIDE_LEAST_ROWS &&
           out[FC_WIDTH] >= FC_SLIDE_LEAST_COLS && pad[FC_WIDTH] <= 1 &&
           out[FC_WIDTH] + 1 - pad[FC_WIDTH] <= in[FC_WIDTH];
}

static fc_depthwise_axis axis_of(const fc_conv *conv, const fc_depthwise_view *v, int axis, int64_t first, int64_t end)
{
    return (fc_depthwise_axis){ .first = first, .count = end - first, .in = conv->in_size[axis], .stride = 1,
                                .pad = conv->pad_before[axis], .reach = FC_SLIDE_KERNEL - 1,
                                .x = v->x_stride[FC_D + axis], .y = v->y_stride[FC_D + axis] };
}

void fc_depthwise_slide_down(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels, int64_t depth,
                        const fc_depthwise_part *p)
{
    enum { MOST_ROWS = 8, FAR_ROWS = 4, LEAST_ROWS = 3, PIXELS = 4 * FC_SLIDE_COLS };
    const fc_conv *conv = run->conv;
    const int64_t lanes = run->table->lanes, size = (int64_t)fc_size_of(conv->dtype);
    const fc_machine *machine = fc_machine_for(conv->dtype);
    const int64_t l2 = machine->l2 / size, most_rows = v->far && machine->multiply == 1 ? FAR_ROWS : MOST_ROWS;
    fc_depthwise_slide d = {
        .x = fc_at(v->x, depth * v->x_stride[FC_D], (size_t)size), .weight = v->weight, .bias = v->bias,
        .y = fc_at_mut(v->y, depth * v->y_stride[FC_D], (size_t)size),
        .row = axis_of(conv, v, FC_HEIGHT, p->first[FC_HEIGHT], p->end[FC_HEIGHT]),
        .w_step = v->w_tap, .blocks = fc_div_up(channels - v->lead, lanes) + (v->lead > 0),
        .lead = v->lead > 0 ? lanes - v->lead : 0, .far = v->far, .activation = conv->activation,
    };
    d.overlap = d.blocks * lanes - d.lead - channels;
    d.stream = v->far && v->lead == 0 && fc_depthwise_streams(conv) && channels % lanes == 0 &&
               v->y_stride[FC_W] % lanes == 0 && v->y_stride[FC_H] % lanes == 0 &&
               (uintptr_t)d.y % (uintptr_t)(lanes * size) == 0;
    /* As many columns as let some rows of x and y stay in L2, with the next ones of both. */
    const int64_t first = p->first[FC_WIDTH], width = p->end[FC_WIDTH] - first;
    const int64_t fit = l2 / (4 * (LEAST_ROWS + 1) * channels);
    const int64_t parts = fc_div_up(width, fc_max(PIXELS, fit)), cols = fc_div_up(width, parts);
    d.rows = fc_max(LEAST_ROWS, fc_min(most_rows, l2 / (4 * cols * channels) - 1));
    for (int64_t i = 0, col = first, end; i < parts; i++, col = end) {
        end = first + width * (i + 1) / parts;
        d.col = axis_of(conv, v, FC_WIDTH, col, end);
        run->table->depthwise_slide(&d);
    }
}
