/* Packing of panels: see panel.h.
 *
 * Where pixels of a row lie one stride apart in memory (NCHW), where every vector of the panel comes from
 * is worked out once per tap, then the kernel repeats it for each channel: with a stride of 1 and as many
 * columns out as in, a vector is one masked load wherever rows end.  Elsewhere (NHWC) pixels are
 * transposed, a run of a row at a time. */
#include "panel.h"

enum {
    TAPS_AT_ONCE = 32,                        /* whose pieces are worked out together */
    MOST_LANES = 64,                          /* of a panel: four vectors of 16 */
};

size_t fc_panel_scratch(const fc_table *table, int vectors)
{
    /* A piece has at least one lane, or is the only one of its vector. */
    return (size_t)TAPS_AT_ONCE * (size_t)(vectors * table->lanes) * sizeof(fc_pack_piece);
}

typedef struct tap_place {
    int64_t at[FC_SPATIAL];                   /* input index under output pixel 0, may be outside */
} tap_place;

static tap_place place_of(const fc_conv *conv, int64_t tap)
{
    tap_place place;
    for (int axis = FC_WIDTH; axis >= FC_DEPTH; axis--) {
        place.at[axis] = tap % conv->kernel[axis] * conv->dilation[axis] - conv->pad_before[axis];
        tap /= conv->kernel[axis];
    }
    return place;
}

/* A run of one output row: its lanes, and where tap (0, 0, 0) of an unpadded kernel would see it. */
typedef struct row_run {
    int64_t lane, count, image, depth, row, col; /* col counts output columns, the others input indices */
} row_run;

/* The runs of a panel, at most one per lane; returns their number. */
static int find_runs(const fc_conv *conv, const fc_panel *panel, row_run *runs)
{
    fc_pixel_run run = { 0 };
    int count = 0;
    while (fc_next_run(conv, panel->first, panel->lanes, true, &run)) {
        const int64_t row = run.pixel / conv->out_size[FC_WIDTH];
        runs[count++] = (row_run){
            .lane = run.lane, .count = run.count, .image = run.image,
            .depth = row / conv->out_size[FC_HEIGHT] * conv->stride[FC_DEPTH],
            .row = row % conv->out_size[FC_HEIGHT] * conv->stride[FC_HEIGHT],
            .col = run.pixel - row * conv->out_size[FC_WIDTH],
        };
    }
    return count;
}

/* A run through one tap: the input columns inside, and the offset of the first in x. */
static fc_span row_span(const fc_conv *conv, const tap_place *tap, const row_run *run, int64_t *offset)
{
    const int64_t h = run->row + tap->at[FC_HEIGHT], d = run->depth + tap->at[FC_DEPTH];
    if (h < 0 || h >= conv->in_size[FC_HEIGHT] || d < 0 || d >= conv->in_size[FC_DEPTH])
        return (fc_span){ run->count, 0, 0 };
    const fc_span span = fc_span_of(run->col, run->count, conv->stride[FC_WIDTH], tap->at[FC_WIDTH],
                                    conv->in_size[FC_WIDTH]);
    *offset = run->image * conv->x_stride[FC_N] + d * conv->x_stride[FC_D] + h * conv->x_stride[FC_H] +
              span.column * conv->x_stride[FC_W];
    return span;
}

/* Bits first .. first + count, or every second bit from 2 * first on. */
static uint32_t lane_bits(int64_t first, int64_t count, int64_t step)
{
    const uint64_t ones = ((1ull << count) - 1) << first;
    if (step != 2)
        return (uint32_t)ones;
    uint32_t bits = (uint32_t)ones & 0xFFFFu;
    bits = (bits | bits << 8) & 0x00FF00FFu;
    bits = (bits | bits << 4) & 0x0F0F0F0Fu;
    bits = (bits | bits << 2) & 0x33333333u;
    return (bits | bits << 1) & 0x55555555u;
}

/* The pieces of a tap, in the order of lanes. */
typedef struct piece_list {
    fc_pack_piece *next;                      /* to be written */
    int64_t vector;                           /* of the piece before it, -1 at first */
} piece_list;

static void add_piece(piece_list *list, int64_t vector, int64_t at, uint32_t lanes)
{
    if (vector == list->vector) {
        fc_pack_piece *last = list->next - 1;
        if (last->at == at) {
            last->lanes |= lanes;
            return;
        }
        last->more = 1;
    }
    while (list->vector < vector - 1) {
        *list->next++ = (fc_pack_piece){ 0, 0, 0 };
        list->vector++;
    }
    *list->next++ = (fc_pack_piece){ at, lanes, 0 };
    list->vector = vector;
}

/* `log_vlen`: of the lanes of a vector, a power of two. */
static fc_pack_piece *find_pieces(const fc_conv *conv, const row_run *runs, int count, int vectors, int log_vlen,
                                  const tap_place *tap, fc_pack_piece *pieces)
{
    const int64_t step = conv->stride[FC_WIDTH], vlen = (int64_t)1 << log_vlen;
    piece_list list = { pieces, -1 };
    for (int i = 0; i < count; i++) {
        int64_t offset = 0;
        const fc_span span = row_span(conv, tap, &runs[i], &offset);
        int64_t lane = runs[i].lane + span.before, left = span.inside, take;
        for (; left > 0; left -= take, lane += take, offset += take * step) {
            const int64_t in_vector = lane & (vlen - 1);
            take = fc_min(left, vlen - in_vector);
            add_piece(&list, lane >> log_vlen, offset - in_vector * step, lane_bits(in_vector, take, step));
        }
    }
    for (; list.vector < vectors - 1; list.vector++)
        *list.next++ = (fc_pack_piece){ 0, 0, 0 };
    return list.next;
}

/* Rows of `channels` channels from `channel` of the group on by taps tap0 .. tap1. */
static void pack_planes(const fc_conv_run *run, const fc_panel *panel, int64_t channel, int64_t channels, int64_t tap0,
                        int64_t tap1, fc_pack_piece *pieces, void *packed)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t lanes = (int64_t)panel->vectors * run->table->lanes;
    fc_pack pack = {
        .channels = channels, .channel_step = conv->x_stride[FC_C], .step = conv->stride[FC_WIDTH], .pieces = pieces,
        .x = fc_at(run->x, (panel->group * conv->in_per_group + channel) * conv->x_stride[FC_C], size),
        .panel_step = conv->taps * lanes,
    };
    row_run runs[MOST_LANES];
    const int count = find_runs(conv, panel, runs), log_vlen = __builtin_ctz((unsigned)run->table->lanes);
    for (int64_t t0 = tap0; t0 < tap1; t0 += TAPS_AT_ONCE) {
        const int64_t t1 = fc_min(t0 + TAPS_AT_ONCE, tap1);
        fc_pack_piece *end = pieces;
        for (int64_t t = t0; t < t1; t++) {
            const tap_place tap = place_of(conv, t);
            end = find_pieces(conv, runs, count, panel->vectors, log_vlen, &tap, end);
        }
        pack.vectors = (t1 - t0) * panel->vectors;
        pack.panel = fc_at_mut(packed, (t0 - tap0) * lanes, size);
        run->table->pack(&pack);
    }
}

/* One tap of some channels for a run of pixels of a row, transposed. */
static void pack_run(const fc_conv_run *run, const fc_panel *panel, const row_run *pixels, int64_t channel,
                     int64_t channels, const tap_place *tap, void *packed)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    int64_t offset = 0;
    const fc_span span = row_span(conv, tap, pixels, &offset);
    const fc_move move = {
        .rows = channels, .cols = span.inside,
        .src = fc_at(run->x, offset + (panel->group * conv->in_per_group + channel) * conv->x_stride[FC_C], size),
        .src_row = conv->x_stride[FC_C], .src_col = conv->stride[FC_WIDTH] * conv->x_stride[FC_W],
        .dst = fc_at_mut(packed, pixels->lane, size),
        .dst_row = conv->taps * panel->vectors * run->table->lanes, .dst_col = 1,
        .zero_before = span.before, .zero_after = pixels->count - span.before - span.inside,
    };
    run->table->move(&move);
}

/* Rows as for pack_planes, of pixels that do not lie side by side. */
static void pack_runs(const fc_conv_run *run, const fc_panel *panel, int64_t channel, int64_t channels, int64_t tap0,
                      int64_t tap1, void *packed)
{
    const size_t size = fc_size_of(run->conv->dtype);
    const int64_t lanes = (int64_t)panel->vectors * run->table->lanes;
    row_run runs[MOST_LANES];
    const int count = find_runs(run->conv, panel, runs);
    for (int64_t t = tap0; t < tap1; t++) {
        const tap_place tap = place_of(run->conv, t);
        for (int i = 0; i < count; i++)
            pack_run(run, panel, &runs[i], channel, channels, &tap, fc_at_mut(packed, (t - tap0) * lanes, size));
    }
}

void fc_panel_pack(const fc_conv_run *run, const fc_panel *panel, void *memory, void *packed)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t lanes = (int64_t)panel->vectors * run->table->lanes, taps = conv->taps;
    int64_t channels, tap1;
    for (int64_t k = panel->k0; k < panel->k1; k += channels * (tap1 - k % taps)) {
        const int64_t left = panel->k1 - k, tap0 = k % taps;
        channels = tap0 == 0 ? fc_max(left / taps, 1) : 1;
        tap1 = fc_min(taps, tap0 + left);
        void *rows = fc_at_mut(packed, (k - panel->k0) * lanes, size);
        if (conv->x_stride[FC_W] == 1)
            pack_planes(run, panel, k / taps, channels, tap0, tap1, memory, rows);
        else
            pack_runs(run, panel, k / taps, channels, tap0, tap1, rows);
    }
}
