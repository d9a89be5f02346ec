/* Vectors whose lanes are output channels of several groups: how they lie in filters and in copies of images.  Used by
 * grouped_blocks.c, input_grad_blocks.c and weight_grad_runs.c.
 *
 * Of `groups` groups, a power of two that is a unit, lane l is output l / groups of group l % groups: what all lanes
 * see of one input channel of each group are `groups` numbers side by side, which a load repeats for nothing.  So a
 * pixel of a copy is [unit][input of a group][group].  A group of more outputs than lanes is a unit of several
 * vectors. */
#ifndef FC_CONV_GROUP_LANES_H
#define FC_CONV_GROUP_LANES_H
#include "algorithm.h"
#include "cost.h"
#include "geometry.h"

typedef struct fc_group_lanes {
    const fc_table *table;
    size_t size;                              /* of a real */
    int64_t in, out, all;                     /* channels of a group; groups in all */
    int64_t groups, units, vectors;           /* of a unit; in all; of a unit's outputs */
    int64_t together, blocks;                 /* units beside each other in a copy; blocks of them */
    int64_t record, pitch;                    /* elements of a pixel of the copy; from one to the next */
} fc_group_lanes;

/* The price of a multiply-add of lanes, as fc_multiply: one input for all lanes is part of the multiply-add, inputs of
 * several groups are loaded before it.  Of kernels of nine taps at a time, which load those once for several taps,
 * `nine` is that of several groups, of others it is 0.  Measured where one multiply-add starts in a cycle. */
static inline double fc_lanes_multiply(const fc_group_lanes *lanes, const fc_machine *machine, double price,
                                       double nine)
{
    const bool by_nine = nine > 0, same = machine->multiply == 1 || (lanes->vectors > 1 && !by_nine);
    const double one = 0.93 * (by_nine ? fmin(1, nine) : 1), several = by_nine ? nine : 1.33;
    return fc_multiply(machine, price) * (same ? 1 : lanes->groups == 1 ? one : several);
}

/* About `channels` input channels beside each other. */
fc_group_lanes fc_group_lanes_of(const fc_table *table, fc_dtype dtype, int64_t groups, int64_t in, int64_t out,
                                 int64_t channels);
/* Output channels of one vector: from the first of its unit's on, how many. */
int64_t fc_group_lanes_count(const fc_group_lanes *lanes, int64_t unit, int64_t vector);
/* As fc_depthwise_lanes.pick, `lanes` integers; false where lanes are channels. */
bool fc_group_lanes_order(const fc_group_lanes *lanes, void *pick);

/* Weights of taps that are adjacent: elements from group to group, from channel to channel, from input to input. */
typedef struct fc_lanes_weight {
    const void *weight;
    int64_t taps, group, channel, input;
} fc_lanes_weight;

/* Filters of a unit, as [unit][vector][tap][input][lane]. */
size_t fc_group_lanes_filter_bytes(const fc_group_lanes *lanes, int64_t taps);
void fc_group_lanes_filters(const fc_group_lanes *lanes, const fc_lanes_weight *weight, int64_t unit, void *filters);

/* What of x one axis of a copy holds: places 0 .. count - 1, of which `seen` follow each other in x, the next are
 * `stride` from them; those outside 0 .. size - 1 are zeros. */
typedef struct fc_lanes_places {
    int64_t start, count, seen, stride, size;
    int64_t step;                             /* of the `seen`, only each so many are needed */
} fc_lanes_places;

/* A block of units, row by row.  Where channels lie apart in x they are turned: at once to where they belong, where
 * places follow each other in x and its columns are adjacent; else first, some rows of x at a time: all of its columns
 * from `column` on that some place wants. */
typedef struct fc_lanes_copy {
    const fc_group_lanes *lanes;
    const fc_lane_sources *sources;           /* [full, last block][vector of a record] */
    int64_t x_row, x_col, x_channel;          /* elements */
    fc_lanes_places cols;
    bool turns, planes;                       /* planes: at once */
    int64_t column, columns, rows;            /* turned at a time */
} fc_lanes_copy;

/* Vectors of x that each of a copy comes from, most of the time. */
double fc_group_lanes_sources(const fc_group_lanes *lanes);
/* Where lanes of a pixel come from in x: in memory of so many bytes. */
size_t fc_lanes_sources_bytes(const fc_group_lanes *lanes);
const fc_lane_sources *fc_lanes_sources(const fc_group_lanes *lanes, bool turned, void *memory);

/* Of rows as `high` wants them, and columns as `wide` does. */
fc_lanes_copy fc_lanes_copy_of(const fc_group_lanes *lanes, const int64_t x_stride[FC_AXES],
                               const fc_lanes_places *high, const fc_lanes_places *wide);
size_t fc_lanes_copy_scratch(const fc_lanes_copy *copy);
/* All rows of one plane; x at its first pixel and the first channel of all, or NULL for zeros. */
void fc_lanes_copy_plane(const fc_lanes_copy *copy, const fc_lanes_places *high, int64_t block, const void *x,
                         void *scratch, void *to);
#endif
