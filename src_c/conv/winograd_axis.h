/* Winograd along one axis of a problem: its form, its tiles, and which of them are cut short.
 * Used by winograd_split.c and winograd.c.
 *
 * A dilation d makes d interleaved problems of every axis, its phases.  Tile i of an axis belongs to phase
 * i % phases and begins there at output i / phases * m: so tiles are in the order of their first pixels, and
 * one round of them, a tile of every phase, covers m * d adjacent outputs.  Phases differ in length by one
 * pixel at most and the longer ones are first, so the last tiles of an axis are cut to at most two lengths. */
#ifndef FC_CONV_WINOGRAD_AXIS_H
#define FC_CONV_WINOGRAD_AXIS_H
#include "algorithm.h"
#include "../kernels/winograd.h"

enum { FC_WINOGRAD_CLASSES = 3 };             /* whole tiles, the last ones of longer phases, of shorter ones */

typedef struct fc_winograd_class {
    fc_winograd_line line;
    int written;                              /* outputs of a tile: those of the line or fewer */
    int64_t first, end;                       /* tiles */
} fc_winograd_class;

typedef struct fc_winograd_axis {
    int m, taps, points, inputs;              /* inputs: most that a tile reads */
    fc_winograd_line line;                    /* of whole tiles */
    int64_t size, dilation, phases, tiles;    /* size: outputs */
    int64_t skip;                             /* pixels from where the kernel begins to the first one that a tile
                                               * reads */
    fc_winograd_class classes[FC_WINOGRAD_CLASSES];
    double products;                          /* of all tiles along this axis */
} fc_winograd_axis;

/* `m` outputs per tile (2 or 4; 1 along an axis with one tap).  With no form for the kernel, points is 0. */
fc_winograd_axis fc_winograd_axis_of(const fc_conv *conv, int axis, int m);
/* Whether it has one. */
bool fc_winograd_has_form(const fc_conv *conv, int axis, int m);
/* The first output of tile i. */
static inline int64_t fc_winograd_at(const fc_winograd_axis *axis, int64_t i)
{
    return i / axis->phases * axis->m * axis->dilation + i % axis->phases;
}
/* Outputs and pixels that `tiles` tiles, whole rounds of them, span. */
int64_t fc_winograd_outputs_of(const fc_winograd_axis *axis, int64_t tiles);
int64_t fc_winograd_pixels_of(const fc_winograd_axis *axis, int64_t tiles);
#endif
