/* Bands: see band.h.  Every element of the band that is used is written by a copy, so scratch needs no clearing. */
#include "band.h"
#include "geometry.h"

static int64_t seen(const fc_conv *conv, int axis, int64_t outputs)
{
    return (outputs - 1) * conv->stride[axis] + (conv->kernel[axis] - 1) * conv->dilation[axis] + 1;
}

fc_band fc_band_make(const fc_conv *conv, int64_t channels, int64_t out_rows, int64_t out_cols, bool interleaved,
                     int64_t phases)
{
    fc_band band = { .channels = channels, .depth = conv->kernel[FC_DEPTH], .phases = phases, .row_phases = 1 };
    band.rows = seen(conv, FC_HEIGHT, out_rows);
    band.cols = seen(conv, FC_WIDTH, out_cols);
    phases = band.phases = fc_min(phases, band.cols); /* a stride that is never taken may be of any size */
    band.phase_step = band.phase_cols = fc_div_up(band.cols, phases);
    const int64_t pitch = band.phase_step * phases;
    band.col_step = interleaved ? channels : 1;
    band.row_step = pitch * band.col_step;
    band.depth_step = band.row_step * band.rows;
    band.size = band.depth_step * band.depth * (interleaved ? 1 : channels);
    band.channel_step = interleaved ? 1 : band.depth_step * band.depth;
    band.rows_seen = band.cols_seen = UINT64_MAX;
    return band;
}

enum { PHASES_KNOWN = 64 };                   /* later ones count as seen */

static bool is_seen(uint64_t seen_phases, int64_t phase)
{
    return phase >= PHASES_KNOWN || (seen_phases >> phase & 1);
}

static uint64_t phases_seen(const fc_conv *conv, int axis, int64_t phases)
{
    uint64_t found = 0;
    for (int64_t tap = 0; tap < conv->kernel[axis]; tap++) {
        const int64_t phase = tap * conv->dilation[axis] % phases;
        if (phase < PHASES_KNOWN)
            found |= (uint64_t)1 << phase;
    }
    return found;
}

static double share_of(uint64_t seen_phases, int64_t phases)
{
    int64_t found = 0;
    for (int64_t phase = 0; phase < phases && phase < PHASES_KNOWN; phase++)
        found += is_seen(seen_phases, phase);
    return ((double)found + (double)fc_max(0, phases - PHASES_KNOWN)) / (double)phases;
}

double fc_band_share(const fc_band *band)
{
    return share_of(band->rows_seen, band->row_phases) * share_of(band->cols_seen, band->phases);
}

fc_band fc_band_make_flat(const fc_conv *conv, int64_t channels, int64_t out_rows, int64_t out_cols)
{
    fc_band band = fc_band_make(conv, channels, out_rows, out_cols, false, conv->stride[FC_WIDTH]);
    band.row_phases = fc_min(conv->stride[FC_HEIGHT], band.rows);
    band.row_step = band.phase_cols;
    band.row_phase_step = fc_div_up(band.rows, band.row_phases) * band.row_step;
    band.phase_step = band.row_phases * band.row_phase_step;
    band.depth_step = band.phases * band.phase_step;
    band.channel_step = band.depth_step * band.depth;
    band.size = band.channel_step * channels;
    band.rows_seen = phases_seen(conv, FC_HEIGHT, band.row_phases);
    band.cols_seen = phases_seen(conv, FC_WIDTH, band.phases);
    return band;
}

void fc_band_fit(const fc_conv *conv, int64_t channels, bool interleaved, int64_t most, int64_t *images, int64_t *rows,
                 int64_t *cols)
{
    while (fc_band_make(conv, channels, *rows, *cols, interleaved, 1).size * *images > most) {
        int64_t *const side = *images > 1 ? images : *rows > 1 ? rows : cols;
        if (side == cols && *cols <= 16)
            return;
        *side = fc_div_up(*side, 2);
    }
}

/* Every so many of the pixels inside, from the `first` on; from memory they are asked for in time. */
static void move_pixels(const fc_conv_run *run, const fc_band *band, const void *src, const fc_span *span,
                        int64_t first, int64_t every, int64_t count, void *dst)
{
    enum { AHEAD_BYTES = 8192, LEAST_AHEAD = 4, MOST_AHEAD = 32 }; /* that, in pixels: of 256 bytes and more */
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t pixel = conv->x_stride[FC_W];
    fc_move pixels = {
        .rows = every == 1 ? span->inside : fc_div_up(span->inside - first, every), .cols = count,
        .src = fc_at(src, (span->column + first) * pixel, size), .src_row = every * pixel,
        .src_col = conv->x_stride[FC_C],
        .dst = fc_at_mut(dst, (span->before + first) * band->col_step, size), .dst_row = every * band->col_step,
        .dst_col = 1, .zero_after = band->col_step - count,
    };
    const int64_t ahead = AHEAD_BYTES / (count * (int64_t)size);
    if (conv->x_stride[FC_C] == 1 && ahead <= MOST_AHEAD && fc_far(conv, fc_x_count(conv)))
        pixels.ahead = fc_max(LEAST_AHEAD, ahead) * every * pixel;
    run->table->move(&pixels);
}

/* Pixels of adjacent channels, of those columns that some tap sees. */
static void copy_pixels(const fc_conv_run *run, const fc_band *band, const void *src, const fc_span *span,
                        int64_t count, void *dst)
{
    const int64_t every = run->conv->stride[FC_WIDTH];
    if (every <= run->conv->kernel[FC_WIDTH] || every > PHASES_KNOWN) {
        move_pixels(run, band, src, span, 0, 1, count, dst);
        return;
    }
    const uint64_t seen_cols = phases_seen(run->conv, FC_WIDTH, every);
    for (int64_t phase = 0; phase < every; phase++) {
        const int64_t first = (phase + every - span->before % every) % every; /* inside */
        if (is_seen(seen_cols, phase) && first < span->inside)
            move_pixels(run, band, src, span, first, every, count, dst);
    }
}

/* One row of the band, all channels: `columns` NULL-safe: inside == 0 writes zeros only. */
static void copy_row(const fc_conv_run *run, const fc_band *band, const void *src, int64_t column0, int64_t count,
                     bool inside, void *dst)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t width = inside ? conv->in_size[FC_WIDTH] : 0;
    /* Interleaved: a pixel is a row of channels.  Planes of one element have adjacent channels too. */
    if (band->channel_step == 1 && band->col_step == band->channels && band->phases == 1) {
        const fc_span span = fc_span_of(0, band->cols, 1, column0, width);
        const int64_t after = band->cols - span.before - span.inside;
        const fc_move before = { .rows = 1, .dst = dst, .dst_col = 1, .zero_before = span.before * band->col_step };
        const fc_move behind = { .rows = 1, .dst = fc_at_mut(dst, (band->cols - after) * band->col_step, size),
                                 .dst_col = 1, .zero_before = after * band->col_step };
        run->table->move(&before);
        if (span.inside > 0)
            copy_pixels(run, band, src, &span, count, dst);
        run->table->move(&behind);
        return;
    }
    for (int64_t phase = 0; phase < band->phases; phase++) {
        if (!is_seen(band->cols_seen, phase))
            continue;
        const fc_span span = fc_span_of(0, band->phase_cols, band->phases, column0 + phase, width);
        const fc_move row = {
            .rows = count, .cols = span.inside,
            .src = span.inside ? fc_at(src, span.column * conv->x_stride[FC_W], size) : src,
            .src_row = conv->x_stride[FC_C], .src_col = band->phases * conv->x_stride[FC_W],
            .dst = fc_at_mut(dst, phase * band->phase_step, size), .dst_row = band->channel_step, .dst_col = 1,
            .zero_before = span.before, .zero_after = band->phase_cols - span.before - span.inside,
        };
        run->table->move(&row);
    }
}

void fc_band_copy(const fc_conv_run *run, const fc_band *band, const fc_block_origin *at, int64_t first, int64_t count,
                  void *memory)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t z0 = at->depth * conv->stride[FC_DEPTH] - conv->pad_before[FC_DEPTH];
    const int64_t y0 = at->row * conv->stride[FC_HEIGHT] - conv->pad_before[FC_HEIGHT];
    const int64_t x0 = at->col * conv->stride[FC_WIDTH] - conv->pad_before[FC_WIDTH];
    const int64_t base = at->image * conv->x_stride[FC_N] + first * conv->x_stride[FC_C];
    /* Rows that no tap sees are left out; but a vector of planes may go on to the next row. */
    const int64_t step = conv->stride[FC_HEIGHT];
    const bool leaves_rows = band->channel_step == 1 && step > conv->kernel[FC_HEIGHT] && step <= PHASES_KNOWN;
    const uint64_t seen_rows = leaves_rows ? phases_seen(conv, FC_HEIGHT, step) : UINT64_MAX;
    for (int64_t d = 0; d < band->depth; d++) {
        const int64_t z = z0 + d * conv->dilation[FC_DEPTH];
        const bool z_inside = z >= 0 && z < conv->in_size[FC_DEPTH];
        for (int64_t r = 0; r < band->rows; r++) {
            if (!is_seen(band->rows_seen, r % band->row_phases) || (leaves_rows && !is_seen(seen_rows, r % step)))
                continue;
            const int64_t y = y0 + r;
            const bool inside = z_inside && y >= 0 && y < conv->in_size[FC_HEIGHT];
            const void *src = run->x;
            if (inside)
                src = fc_at(run->x, base + z * conv->x_stride[FC_D] + y * conv->x_stride[FC_H], size);
            const int64_t to = d * band->depth_step + r % band->row_phases * band->row_phase_step +
                               r / band->row_phases * band->row_step;
            copy_row(run, band, src, x0, count, inside, fc_at_mut(memory, to, size));
        }
    }
}
