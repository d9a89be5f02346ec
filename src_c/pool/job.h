/* How a reduction is computed, chosen once per call from its sizes alone.  Made by job.c, read by reduce.c. */
#ifndef FC_POOL_JOB_H
#define FC_POOL_JOB_H
#include "../base/dispatch.h"
#include "reduce.h"
#include "window.h"

typedef enum {
    FC_BY_CHANNELS,                           /* lanes are channels, side by side in memory */
    FC_BY_TILE,                               /* lanes are planes, turned into a tile in L1 or L2 */
    FC_BY_LINES,                              /* lanes are columns */
    FC_BY_NEAR,                               /* the same, of narrow windows */
    FC_BY_SHORT,                              /* the same, of rows that two vectors hold */
    FC_BY_FOUND,                              /* the same, with indices */
    FC_BY_WHOLES,                             /* planes that are one window */
} fc_pool_way;

/* Of FC_BY_FOUND: outputs that are computed at a time, and where their scratch begins. */
typedef struct fc_pool_found_block {
    int64_t planes, rows, pixels;
    bool near;                                /* windows that stay in registers */
    size_t at;
} fc_pool_found_block;

typedef struct fc_pool_job {
    const fc_reduction *r;
    const fc_table *table;
    fc_pool_way way;
    size_t size;                              /* of an element */
    const int64_t *from_size, *to_size, *from_stride, *to_stride;
    int64_t step[FC_SPATIAL];                 /* between the inputs of a window */
    bool weighted;                            /* gradients: windows counted differently */
    bool alike;                               /* all windows count `divisor` */
    double divisor;
    /* Units: blocks of channels of an image, groups of planes, or planes.  Planes are even steps apart within
     * a run: an image, or all of them where images follow each other as their planes do. */
    int64_t unit, in_run, units_in_run, units, units_per_task;
    int64_t depth_rows, height_rows, depth_bands, bands; /* of a band of outputs; bands of a unit */
    int64_t tasks;
    double seconds;
    fc_pool_lines lines;                      /* what FC_BY_LINES knows of columns */
    fc_pool_found_block found;                /* of FC_BY_FOUND */
    int64_t before;                           /* of FC_BY_NEAR: columns that output 0 sees before the first */
    int64_t taps, index_tap;                  /* of FC_BY_SHORT */
    size_t index_at;
    size_t factors_at;                        /* along width, as reals */
    /* in scratch */
    size_t width_at, width_counted_at, width_share_at, height_at, height_counted_at, factor_at[FC_SPATIAL];
    size_t sums_at, tile_at, made_at, where_at, bytes;
    bool rows_first;                          /* lanes are channels: rows are combined first */
} fc_pool_job;

fc_pool_job fc_pool_job_of(const fc_reduction *reduction);

/* A band of outputs of one unit, at some depths. */
typedef struct fc_pool_band {
    int64_t depth, depth_end, height, height_end;
    const char *from;                         /* the unit's first plane or channel */
    char *to;
    int64_t *index;
    int64_t planes;                           /* or channels */
} fc_pool_band;

/* Where `count` of a size go in scratch, after `bytes`. */
static inline size_t fc_pool_placed(size_t *bytes, int64_t count, size_t size)
{
    const size_t at = *bytes;
    *bytes += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

/* An integer in the bits of a real. */
static inline void fc_pool_put_bits(const fc_pool_job *j, char *reals, int64_t at, int64_t value)
{
    if (j->size == sizeof(float))
        ((int32_t *)(void *)reals)[at] = (int32_t)value;
    else
        ((int64_t *)(void *)reals)[at] = value;
}

/* Inputs along one axis that an output sees, in the direction of the job. */
static inline fc_pool_span fc_pool_job_window(const fc_pool_job *j, int axis, int64_t o)
{
    return j->r->transposed ? fc_pool_seen_by(j->r->pool, axis, o) : fc_pool_window(j->r->pool, axis, o);
}

/* Inputs from the first to the last that outputs first .. end - 1 see. */
static inline fc_pool_span fc_pool_job_region(const fc_pool_job *j, int axis, int64_t first, int64_t end)
{
    int64_t low = j->from_size[axis], high = 0;
    for (int64_t o = first; o < end; o++) {
        const fc_pool_span span = fc_pool_job_window(j, axis, o);
        if (span.count == 0)
            continue;
        low = fc_min(low, span.first);
        high = fc_max(high, span.first + (span.count - 1) * j->step[axis] + 1);
    }
    return high > low ? (fc_pool_span){ low, high - low } : (fc_pool_span){ 0, 0 };
}
#endif
