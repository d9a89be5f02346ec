/* How a Winograd convolution is cut into blocks, panels and chunks, and what it is predicted to cost.
 * Used by winograd.c. */
#ifndef FC_CONV_WINOGRAD_SPLIT_H
#define FC_CONV_WINOGRAD_SPLIT_H
#include "band.h"
#include "winograd_axis.h"

enum {
    FC_WINOGRAD_TAP_CHANNELS = 8,             /* input channels per step of the weight transform */
    FC_WINOGRAD_PANEL_BYTES = 128,            /* of a panel of output channels, at most */
    FC_WINOGRAD_MOST_TAPS = 25,
};

/* What is kept of the weights before the first block: G g G', or g with its output channels adjacent. */
typedef enum fc_winograd_kept { FC_WINOGRAD_KEPT_U, FC_WINOGRAD_KEPT_TAPS } fc_winograd_kept;

typedef struct fc_winograd_split {
    fc_winograd_axis y, x;
    int xis, vectors;                         /* vectors: of a panel */
    int64_t images, rows, cols;               /* images, tile rows and tile columns per block, at most */
    int64_t image_blocks, row_blocks, col_blocks, blocks; /* blocks of all groups; as even as can be */
    int64_t high, wide;                       /* an image in tiles of all phases, of which a block has whole ones */
    int64_t tiles;                            /* per block */
    int64_t panel, panels;                    /* lanes; per group */
    int64_t range_panels, ranges;             /* panels per task; tasks per block */
    int64_t chunk, chunks;                    /* input channels per product; V has so many at a time */
    int64_t v_tile, v_xi, p_xi, u_xi;         /* steps, elements */
    int64_t kept_panel;                       /* step of what is kept, elements */
    fc_winograd_kept keeps;                   /* by a plan, or by a call of several blocks */
    int64_t tasks;
    fc_band band;
    /* Scratch layout; the band is first, and making V takes no more than what is before v_at.  V and the
     * products are elsewhere where tasks share V.  p_bytes: of one panel. */
    size_t v_bytes, p_bytes, places_at, v_at, p_at, u_at, turned_at, tile_at, bytes;
} fc_winograd_split;

/* m: outputs per tile and axis, 2 or 4. */
const char *fc_winograd_supports(const fc_conv *conv, int m);
/* For so many threads: tiles, not sums, are cut by them, so results have the same bits. */
fc_winograd_split fc_winograd_split_of(const fc_conv *conv, const fc_table *table, int m, int threads);
enum { FC_WINOGRAD_LEAST = 9070 };            /* of its cost, whatever the problem */
double fc_winograd_cost(const fc_conv *conv, const fc_machine *machine, bool prepared, int m);
double fc_winograd_error(const fc_conv *conv, int m);
/* Whether pixels are written where they belong; else a tile of them is, and moved. */
static inline bool fc_winograd_in_place(const fc_conv *conv)
{
    return conv->channels_last && conv->y_stride[FC_C] == 1;
}
size_t fc_winograd_prepared_size(const fc_conv *conv, const fc_table *table, int m);
void fc_winograd_describe(const fc_conv *conv, const fc_table *table, char *text, size_t size, int m);
#endif
