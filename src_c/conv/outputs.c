/* Parts of the outputs: see outputs.h.  Each axis gives a border before and one behind, as long as the axes after it
 * are whole and those before it are the inside's. */
#include "outputs.h"
#include "geometry.h"

bool fc_outputs_inside(const fc_conv *conv, fc_outputs *inside)
{
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const int64_t pad = conv->pad_before[axis], stride = conv->stride[axis], out = conv->out_size[axis];
        const int64_t reach = (conv->kernel[axis] - 1) * conv->dilation[axis];
        const int64_t last = conv->in_size[axis] - 1 - reach + pad; /* where the last such output begins, at most */
        inside->first[axis] = fc_div_up(pad, stride);
        inside->end[axis] = last < 0 ? 0 : fc_min(out, last / stride + 1);
        if (inside->first[axis] >= inside->end[axis] || pad > reach || (out - 1) * stride - pad >= conv->in_size[axis])
            return false;
    }
    return true;
}

int64_t fc_outputs_count(const fc_outputs *outputs)
{
    int64_t count = 1;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        count *= outputs->end[axis] - outputs->first[axis];
    return count;
}

bool fc_outputs_part(const fc_conv *conv, const fc_outputs *inside, int index, fc_conv *part, int64_t *x, int64_t *y)
{
    const int border = (index - 1) / 2;
    *part = *conv;
    part->out_pixels = 1;
    *x = *y = 0;
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const bool whole = index > 0 && axis > border, before = index % 2 > 0;
        int64_t first = whole ? 0 : inside->first[axis], end = whole ? conv->out_size[axis] : inside->end[axis];
        if (index > 0 && axis == border) {
            end = before ? first : conv->out_size[axis];
            first = before ? 0 : inside->end[axis];
        }
        if (first >= end)
            return false;
        const int64_t start = first * conv->stride[axis] - conv->pad_before[axis], skipped = fc_max(start, 0);
        part->pad_before[axis] = skipped - start;
        part->in_size[axis] = conv->in_size[axis] - skipped;
        part->out_size[axis] = end - first;
        part->out_pixels *= end - first;
        *x += skipped * conv->x_stride[FC_D + axis];
        *y += first * conv->y_stride[FC_D + axis];
    }
    part->flops *= (double)part->out_pixels / (double)conv->out_pixels;
    return true;
}
