/* How channels of a direct convolution are cut, and weights as panels: see direct.h.  Called by direct.c and taps.c. */
#include "../base/parallel.h"
#include "../base/scratch.h"
#include "direct.h"
#include "nonfinite.h"
#include <stdatomic.h>

enum {
    LEAST_DEPTH = 512,        /* of a block of k: fewer would pass over the outputs too often */
    LINE_CHANNELS = 16,
    TURNED_ROWS = 72,         /* of weights that are turned round at once: channels by taps, */
    MOST_TURNED_TAPS = 18,    /* of which a channel alone has enough if it has more */
    MOST_PANEL = 256,         /* bytes of a row of the widest panel */
};
static const double PACK_SECONDS = 0.3e-9;    /* per weight */

/* Whether all channels take one tap, then the next, so that no pixel need be copied where padding is seen: what a tap
 * reads of one lies side by side.  The order of k depends on it, and so do the last bits of a result: hence not on
 * strides or the machine's caches.  Weights in this order take longer to pack. */
static bool by_points(const fc_conv *conv)
{
    enum { CHANNELS = 24, TAPS = 64, UNPADDED_PIXELS = 256, PIXELS = 40 };
    return conv->channels_last && conv->taps > 1 && conv->taps <= TAPS &&
           conv->in_per_group >= CHANNELS &&
           conv->batch * conv->out_pixels >= (fc_unpadded(conv) ? UNPADDED_PIXELS : PIXELS);
}

/* Whether else lines of channels are read where they lie in x, which does not fit in a cache; for the order of k the
 * same holds. */
static bool by_lines(const fc_conv *conv)
{
    enum { BYTES = 1 << 20, TAPS = 36 };
    return conv->channels_last && conv->taps > 1 && conv->taps <= TAPS && fc_unpadded(conv) && !by_points(conv) &&
           fc_x_count(conv) * (int64_t)fc_size_of(conv->dtype) > BYTES;
}

void fc_direct_split_channels(fc_direct_split *s, const fc_conv *conv, const fc_table *table)
{
    s->table = table = fc_table_fitting(table, conv->dtype, conv->out_per_group);
    s->vectors = fc_panel_vectors(table, fc_div_up(conv->out_per_group, table->lanes));
    s->panel = (int64_t)s->vectors * table->lanes;
    s->panels = fc_div_up(conv->out_per_group, s->panel);
    s->points = by_points(conv) && conv->x_stride[FC_C] == 1;
    s->copies = !fc_unpadded(conv) && !s->points;
    s->together = by_lines(conv) ? LINE_CHANNELS : 1;
    int64_t most = fc_panel_depth(conv, s->panel);
    if (!fc_unpadded(conv) && !by_points(conv)) { /* so that tasks can have all panels: bands are copied for each */
        const int64_t l2 = fc_machine_for(conv->dtype)->l2 / (int64_t)fc_size_of(conv->dtype);
        most = fc_min(most, fc_max(LEAST_DEPTH, l2 / 2 / (s->panels * s->panel)));
    }
    if (conv->taps <= most || s->together > 1) {       /* whole channels per block of k */
        const int64_t channels = fc_max(s->together, most / conv->taps / s->together * s->together);
        s->k_blocks = fc_div_up(conv->in_per_group, channels);
        s->k_block = fc_round_up(fc_div_up(conv->in_per_group, s->k_blocks), s->together) * conv->taps;
        s->k_block = fc_min(s->k_block, conv->depth);
    } else {
        s->k_block = most;
    }
    s->k_blocks = fc_div_up(conv->depth, s->k_block);
    if (by_points(conv))
        s->together = s->k_block / conv->taps;
}

/* `count` channels, of `together` that take one tap after the other.  All their taps are turned round at once, which
 * fills the blocks of the transpose and reads each line of the weights once, and then brought in order. */
static void pack_channels(const fc_conv *conv, const fc_table *table, const fc_move *filters, int64_t count,
                          int64_t together, void *packed)
{
    _Alignas(64) char turned[TURNED_ROWS * MOST_PANEL];
    fc_move move = *filters;
    const int64_t panel = move.dst_row, taps = conv->taps;
    const size_t size = fc_size_of(conv->dtype);
    move.rows = count * taps;
    if (count == 1) {
        move.dst = packed;
        move.dst_row = together * panel;
        table->move(&move);
        return;
    }
    move.dst = turned;
    table->move(&move);
    for (int64_t tap = 0; tap < taps; tap++) {
        const fc_move rows = {
            .rows = count, .cols = panel,
            .src = fc_at(turned, tap * panel, size), .src_row = taps * panel, .src_col = 1,
            .dst = fc_at_mut(packed, tap * together * panel, size), .dst_row = panel, .dst_col = 1,
        };
        table->move(&rows);
    }
}

/* Rows k0 .. k1 of some lanes of a panel, in the order of k. */
static void pack_rows(const fc_conv *conv, const fc_direct_split *s, const void *weight, int64_t k0, int64_t k1,
                      int64_t lanes, void *packed)
{
    const size_t size = fc_size_of(conv->dtype);
    fc_move move = { .rows = k1 - k0, .cols = lanes, .src = fc_at(weight, k0, size), .src_row = 1,
                     .src_col = conv->depth, .dst = packed, .dst_row = s->panel, .dst_col = 1,
                     .zero_after = s->panel - lanes, .ahead = FC_WEIGHTS_AHEAD };
    if (s->together == 1) {
        s->table->move(&move);
        return;
    }
    const int64_t taps = conv->taps, end = k1 / taps;
    int64_t together;
    for (int64_t c = k0 / taps; c < end; c += together) {
        together = fc_direct_together(s, c, end);
        void *const to = fc_at_mut(packed, (c * taps - k0) * s->panel, size);
        for (int64_t i = 0, count; i < together; i += count) {
            count = taps <= MOST_TURNED_TAPS ? fc_min(TURNED_ROWS / taps, together - i) : 1;
            move.src = fc_at(weight, (c + i) * taps, size);
            pack_channels(conv, s->table, &move, count, together, fc_at_mut(to, i * s->panel, size));
        }
    }
}

void fc_direct_pack(const fc_conv *conv, const fc_direct_split *s, const void *weight, int64_t group, int64_t first,
                    int64_t count, int64_t k0, int64_t k1, void *packed)
{
    const size_t size = fc_size_of(conv->dtype);
    for (int64_t p = 0; p < count; p++) {
        const int64_t channel = (first + p) * s->panel;
        const int64_t lanes = fc_min(s->panel, conv->out_per_group - channel);
        pack_rows(conv, s, fc_at(weight, (group * conv->out_per_group + channel) * conv->depth, size), k0, k1, lanes,
                  fc_at_mut(packed, p * (k1 - k0) * s->panel, size));
    }
}

static int64_t prepared_at(const fc_conv *conv, const fc_direct_split *s, int64_t group, int64_t k0, int64_t k1,
                           int64_t panel)
{
    return ((group * conv->depth + k0) * s->panels + panel * (k1 - k0)) * s->panel;
}

/* Of weights; whether they are finite comes after them. */
static size_t weight_bytes(const fc_conv *conv, const fc_direct_split *s)
{
    return (size_t)(conv->groups * conv->depth * s->panels * s->panel) * fc_size_of(conv->dtype);
}

size_t fc_direct_prepared_size(const fc_conv *conv, const fc_direct_split *s)
{
    return weight_bytes(conv, s) + (s->skips ? sizeof(bool) : 0);
}

const void *fc_direct_prepared(const fc_conv *conv, const fc_direct_split *s, const void *prepared, int64_t group,
                               int64_t k0, int64_t k1, int64_t panel)
{
    return fc_at(prepared, prepared_at(conv, s, group, k0, k1, panel), fc_size_of(conv->dtype));
}

bool fc_direct_finite(const fc_conv *conv, const fc_direct_split *s, const void *prepared)
{
    return s->skips && *(const bool *)fc_at(prepared, (int64_t)weight_bytes(conv, s), 1);
}

typedef struct direct_weights {
    const fc_conv *conv;
    const fc_direct_split *split;
    const void *weight;
    void *packed;
    _Atomic bool spoilt;                      /* a weight is not finite */
} direct_weights;

/* One panel of one group, all of its depth. */
static void pack_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    direct_weights *w = context;
    const fc_direct_split *s = w->split;
    const int64_t group = task / s->panels, panel = task % s->panels, depth = w->conv->depth;
    for (int64_t k0 = 0; k0 < depth; k0 += s->k_block) {
        const int64_t k1 = fc_min(k0 + s->k_block, depth);
        void *to = fc_at_mut(w->packed, prepared_at(w->conv, s, group, k0, k1, panel), fc_size_of(w->conv->dtype));
        fc_direct_pack(w->conv, s, w->weight, group, panel, 1, k0, k1, to);
        if (s->skips && !fc_surely_finite(w->conv->dtype, to, (k1 - k0) * s->panel))
            w->spoilt = true;
    }
}

void fc_direct_prepare(const fc_conv *conv, const fc_direct_split *s, const void *weight, void *prepared,
                       bool threads)
{
    direct_weights w = { .conv = conv, .split = s, .weight = weight, .packed = prepared };
    const int64_t tasks = conv->groups * s->panels;
    const double share = (double)conv->depth * (double)conv->out_channels * PACK_SECONDS;
    fc_error none;                            /* tasks without scratch cannot fail */
    if (threads)
        (void)fc_parallel(tasks, share, 0, pack_task, &w, &none);
    for (int64_t task = 0; task < tasks && !threads; task++)
        pack_task(&w, task, NULL);
    if (s->skips)
        *(bool *)fc_at_mut(prepared, (int64_t)weight_bytes(conv, s), 1) = !w.spoilt;
}

void *fc_direct_borrow(const fc_conv_run *run, const fc_direct_split *s, fc_error *error)
{
    const size_t bytes = fc_direct_prepared_size(run->conv, s);
    void *packed = fc_scratch_borrow(bytes);
    if (packed)
        fc_direct_prepare(run->conv, s, run->weight, packed, true);
    else
        fc_fail(error, FC_NO_MEMORY, "weight: no memory for %zu bytes of packed weights", bytes);
    return packed;
}
