/* How direct.c cuts a problem, and its weights as panels (direct_pack.c), which taps.c shares. */
#ifndef FC_CONV_DIRECT_H
#define FC_CONV_DIRECT_H
#include "algorithm.h"
#include "band.h"
#include "geometry.h"

typedef struct fc_direct_split {
    const fc_table *table;                    /* whose vectors the channels of a group fit */
    int vectors;                              /* of a panel */
    int64_t panel, panels;                    /* lanes; per group */
    int64_t block_panels, channel_blocks;     /* panels per task; per group */
    int64_t k_block, k_blocks;
    int64_t together;                         /* channels that take one tap after the other: see by_lines */
    int64_t images, image_blocks;             /* per task; in all */
    int64_t rows, row_blocks, cols, col_blocks; /* output pixels of one image per task */
    int64_t tasks;
    bool packs;                               /* each task packs its weights */
    bool copies;                              /* padding is seen: bands are needed */
    bool points;                              /* no: each tap of each pixel is found in x or in zeros, see by_points */
    bool runs;                                /* of the block's pixels: each is found by its distance in its row */
    bool skips;                               /* taps.c: products with padding are left out if weights are finite */
    fc_band band;
    size_t weights_at, band_at, tile_at, zeros_at, offsets_at, met_at, pixels_at, bytes; /* scratch layout, bytes */
} fc_direct_split;

/* What does not depend on the pixels, and so holds for prepared weights too. */
void fc_direct_split_channels(fc_direct_split *s, const fc_conv *conv, const fc_table *table);

/* The order of k: channels, for each all taps; but by lines, a line's worth of channels takes one tap, then the next,
 * so that lines come from memory one after the other.  How many channels from `channel` on do so, of a block that
 * ends before `end`. */
static inline int64_t fc_direct_together(const fc_direct_split *s, int64_t channel, int64_t end)
{
    return s->together == 1 ? 1 : fc_min(s->together, end - channel);
}

/* Panels [first, first + count) of a group, rows k0 .. k1 each: [panel][k][lane], last lanes zero. */
void fc_direct_pack(const fc_conv *conv, const fc_direct_split *s, const void *weight, int64_t group, int64_t first,
                    int64_t count, int64_t k0, int64_t k1, void *packed);

/* All weights, for a plan or a call: [group][k block][panel][k][lane], and whether they are finite, which is known
 * only where products are left out. */
size_t fc_direct_prepared_size(const fc_conv *conv, const fc_direct_split *s);
void fc_direct_prepare(const fc_conv *conv, const fc_direct_split *s, const void *weight, void *prepared,
                       bool threads);
/* The same in memory that is to be given back (scratch.h), for a call; NULL and an error where there is none. */
void *fc_direct_borrow(const fc_conv_run *run, const fc_direct_split *s, fc_error *error);
const void *fc_direct_prepared(const fc_conv *conv, const fc_direct_split *s, const void *prepared, int64_t group,
                               int64_t k0, int64_t k1, int64_t panel);
bool fc_direct_finite(const fc_conv *conv, const fc_direct_split *s, const void *prepared);
#endif
