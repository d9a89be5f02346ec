/* Panels of the image matrix: row k (an input channel and a tap) by output pixels as lanes.
 * Called by conv/im2col.c. */
#ifndef FC_CONV_PANEL_H
#define FC_CONV_PANEL_H
#include "algorithm.h"
#include "geometry.h"

/* A run of output pixels in one image: pixel `pixel` on, `count` of them, from lane `lane` of a panel. */
typedef struct fc_pixel_run {
    int64_t image, pixel, count, lane;
} fc_pixel_run;

/* The next run of panel lanes [run->lane + run->count, lanes): to the image's end, or the row's. */
static inline bool fc_next_run(const fc_conv *conv, int64_t first, int64_t lanes, bool by_row, fc_pixel_run *run)
{
    run->lane += run->count;
    if (run->lane >= lanes)
        return false;
    run->image = (first + run->lane) / conv->out_pixels;
    run->pixel = (first + run->lane) % conv->out_pixels;
    const int64_t width = conv->out_size[FC_WIDTH];
    const int64_t left = by_row ? width - run->pixel % width : conv->out_pixels - run->pixel;
    run->count = fc_min(left, lanes - run->lane);
    return true;
}

typedef struct fc_panel {
    int64_t group;
    int64_t first, lanes;                     /* output pixels, counted through the whole batch */
    int64_t k0, k1;
    int vectors;                              /* of the panel's width */
} fc_panel;

/* Bytes of `memory` for fc_panel_pack. */
size_t fc_panel_scratch(const fc_table *table, int vectors);
/* packed[k - k0][lane]; lanes from panel->lanes on may hold anything. */
void fc_panel_pack(const fc_conv_run *run, const fc_panel *panel, void *memory, void *packed);
#endif
