/* One side of a weight gradient as pixels of channels: copies of blocks of it, and what they will read.  Called by
 * weight_grad_runs.c. */
#ifndef FC_CONV_RUNS_COPY_H
#define FC_CONV_RUNS_COPY_H
#include "../base/size.h"
#include "group_lanes.h"
#include "weight_grad.h"

/* One side under the block, as copies are made of it. */
typedef struct fc_runs_side {
    const fc_group_lanes *lanes;
    const fc_lane_sources *sources;
    const int64_t *stride;                    /* of the array */
    fc_lanes_places high, wide;
} fc_runs_side;

/* Whether rows and columns follow each other, so that a copy is one of plain rows of pixels. */
static inline bool fc_runs_is_plain(const fc_runs_side *s)
{
    return s->high.seen >= s->high.count && s->wide.seen >= s->wide.count;
}

/* A block of units of one plane; from its first pixel and first channel of all, or NULL for zeros. */
void fc_runs_copy_plane(const fc_runs_side *s, int64_t block, const void *from, void *scratch, void *to);

/* Lines that will be copied next, which are asked for while products are made: `images` times `pieces` of so many
 * bytes, one after the other. */
typedef struct fc_runs_soon {
    const char *image;
    int64_t images, image_step, pieces, step, bytes;
    int64_t piece, done;                      /* of the first image; bytes of that piece */
} fc_runs_soon;

static inline int64_t fc_runs_soon_lines(const fc_runs_soon *s)
{
    return s->images * s->pieces * fc_div_up(s->bytes, 64);
}

/* Asks for the next `lines` of them, to L2. */
static inline void fc_runs_ask(fc_runs_soon *s, int64_t lines)
{
    for (; lines > 0 && s->images > 0; lines--) {
        __builtin_prefetch(s->image + s->piece * s->step + s->done, 0, 2);
        s->done += 64;
        if (s->done < s->bytes)
            continue;
        s->done = 0;
        if (++s->piece == s->pieces) {
            s->piece = 0;
            s->images--;
            s->image += s->image_step;
        }
    }
}

/* What a copy will read: rows that follow each other of some images, from the first inside. */
fc_runs_soon fc_runs_soon_of(const fc_runs_side *s, int64_t block, const void *base, const fc_pixel_block *b);
#endif
