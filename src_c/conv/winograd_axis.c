/* Tiles of one axis: see winograd_axis.h. */
#include "winograd_axis.h"
#include "geometry.h"

/* Whether the tiles of a phase are one with at most two outputs, the outer taps of which meet padding: the
 * first tap of the first output, the last tap of the last one, be that the second or the only one. */
static bool pairs(const fc_conv *conv, int axis)
{
    const int64_t d = conv->dilation[axis], size = conv->out_size[axis];
    const int64_t end = conv->in_size[axis] + conv->pad_before[axis];
    const int64_t lone = fc_max(0, size - d); /* the first phase with one output, if it is below d */
    return size <= 2 * d && conv->pad_before[axis] >= fc_min(d, size) && (size <= d || 3 * d >= end) &&
           (lone == d || lone + 2 * d >= end);
}

static int form_of(const fc_conv *conv, int axis, int m)
{
    const bool other = conv->kernel[axis == FC_WIDTH ? FC_HEIGHT : FC_WIDTH] > 1;
    switch (conv->kernel[axis]) {
    case 1: return FC_WINOGRAD_NONE;
    case 3: return m == 4 ? FC_WINOGRAD_F43 : pairs(conv, axis) ? FC_WINOGRAD_PAIR : FC_WINOGRAD_F23;
    case 5: return m == 2 ? FC_WINOGRAD_F25 : other ? -1 : FC_WINOGRAD_F45; /* the error of both axes is too large */
    case 7: return m == 2 || other ? -1 : FC_WINOGRAD_F47;
    default: return -1;
    }
}

bool fc_winograd_has_form(const fc_conv *conv, int axis, int m) { return form_of(conv, axis, m) >= 0; }

static fc_winograd_class class_of(int form, int64_t outputs, int64_t first, int64_t count)
{
    return (fc_winograd_class){ { form, fc_winograd_edge(form, outputs) }, (int)outputs, first, first + count };
}

fc_winograd_axis fc_winograd_axis_of(const fc_conv *conv, int axis, int m)
{
    const int form = form_of(conv, axis, m);
    fc_winograd_axis a = { .size = conv->out_size[axis] };
    if (form < 0)
        return a;
    const fc_winograd_size size = fc_winograd_size_of(form);
    a.m = size.outputs;
    a.taps = size.taps;
    a.points = size.points;
    a.line = (fc_winograd_line){ form, size.outputs };
    a.dilation = size.taps > 1 ? conv->dilation[axis] : 1;
    a.phases = fc_max(1, fc_min(a.dilation, a.size));
    a.skip = form == FC_WINOGRAD_PAIR ? a.dilation : 0;
    const int64_t longer = fc_div_up(a.size, a.dilation), many = (a.size - 1) % a.dilation % a.phases + 1;
    const int64_t shorter = many < a.phases ? longer - 1 : longer;
    const int64_t whole = shorter / a.m * a.phases + (longer / a.m - shorter / a.m) * many;
    const int64_t cut[] = { longer % a.m, many < a.phases ? shorter % a.m : 0 };
    a.classes[0] = class_of(form, a.m, 0, whole);
    a.classes[1] = class_of(form, cut[0], whole, cut[0] ? many : 0);
    a.classes[2] = class_of(form, cut[1], a.classes[1].end, cut[1] ? a.phases - many : 0);
    a.tiles = a.classes[2].end;
    for (int i = 0; i < FC_WINOGRAD_CLASSES; i++) {
        const fc_winograd_class *c = &a.classes[i];
        if (c->end == c->first)
            continue;
        a.inputs = a.inputs ? a.inputs : fc_winograd_inputs(form, c->line.outputs);
        a.products += (double)((c->end - c->first) * fc_winograd_points(form, c->line.outputs));
    }
    return a;
}

int64_t fc_winograd_outputs_of(const fc_winograd_axis *axis, int64_t tiles)
{
    return fc_min(fc_div_up(tiles, axis->phases) * axis->m * axis->dilation, axis->size);
}

int64_t fc_winograd_pixels_of(const fc_winograd_axis *axis, int64_t tiles)
{
    return fc_winograd_at(axis, fc_div_up(tiles, axis->phases) * axis->phases - 1) +
           (axis->inputs - 1) * axis->dilation + 1;
}
