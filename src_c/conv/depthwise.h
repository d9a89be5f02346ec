/* What the parts of the depthwise algorithm share: how the work is split, and the part of x and of y
 * that the kernel is to see.  depthwise.c splits, depthwise_direct.c calls the kernel,
 * depthwise_copy.c does so by way of copied blocks. */
#ifndef FC_CONV_DEPTHWISE_H
#define FC_CONV_DEPTHWISE_H
#include "algorithm.h"
#include "geometry.h"

/* A part of x and of y as the kernel is to see them: the arrays themselves, or copies. */
typedef struct fc_depthwise_view {
    const void *x;                            /* at input x_at of the first channel */
    void *y;                                  /* at output y_at of the first channel */
    int64_t x_stride[FC_AXES], y_stride[FC_AXES];
    int64_t x_at[FC_SPATIAL], x_size[FC_SPATIAL];  /* first input held, how many */
    int64_t y_at[FC_SPATIAL];
    int64_t phase;                            /* not 0: columns are split by stride phase, so far apart,
                                                 from the first padded column on, and none is outside */
    const void *readable, *readable_end;      /* all memory of which x is a part */
    bool far;                                 /* x and y are not in the L2 cache: they are asked for ahead */
    const void *weight, *bias;                /* of the first channel */
    int64_t w_tap, w_channel;
    const void *pick;                         /* of channels: as in fc_depthwise */
    bool slides;                              /* of channels, in place: as fc_depthwise_slide_down takes it */
    int64_t lead;                             /* of channels: the first that is aligned, if that pays; else 0 */
} fc_depthwise_view;

/* Outputs first .. end along each spatial axis. */
typedef struct fc_depthwise_part {
    int64_t first[FC_SPATIAL], end[FC_SPATIAL];
} fc_depthwise_part;

typedef struct fc_depthwise_split {
    bool by_channel, direct;                  /* lanes are channels; no copies */
    int64_t channels, channel_blocks;         /* output channels of a task, a multiple of repeat */
    int64_t rows, row_blocks;                 /* output rows of a task, depths counted as rows */
    int64_t tasks;
    int64_t w_tap;                            /* weights packed by tap */
    int64_t reach;                            /* columns before the last that an output sees */
    int64_t block_rows, block_cols, block_channels; /* outputs of one copied block */
    int64_t copy_cols;                        /* columns of one phase of its inputs, or channels of a pixel */
    size_t list_bytes, weight_bytes, x_bytes, y_bytes;
} fc_depthwise_split;

typedef struct fc_depthwise_job {
    const fc_conv_run *run;
    fc_depthwise_split split;
} fc_depthwise_job;

static inline int64_t fc_depthwise_repeat(const fc_conv *conv) { return conv->out_per_group; }

/* Whether x and y come from beyond the L2 cache, and fast enough for that to matter.  Where one wide multiply-add
 * starts in a cycle, what the L3 cache holds was measured to come in time by itself, there asking only takes time (a
 * tenth); but of more than a small part of that cache, which others share, much comes from memory, in half the time if
 * it is asked for. */
bool fc_depthwise_far(const fc_conv *conv);
/* Whether results of channels as lanes are written past the caches.  Where two multiply-adds start in a cycle lines
 * that are asked for before they are written take less time (1.0 to 1.4), while a cache may hold them: measured. */
bool fc_depthwise_streams(const fc_conv *conv);
/* All of one image from an output channel on, which is the first of its input's. */
fc_depthwise_view fc_depthwise_view_of(const fc_conv_run *run, int64_t image, int64_t channel);
/* Bytes of the lists of one kernel call, wherever `list` is asked for. */
size_t fc_depthwise_list_bytes(const fc_conv *conv);
/* Planes of `channels` channels; pixels are lanes.  Also of grouped convolutions with several inputs a group,
 * whose outputs a group are a multiple of table.depthwise_filters. */
void fc_depthwise_pixels(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels,
                         const fc_depthwise_part *part, void *list);
/* The same with channels as lanes, which are beside each other in x and y. */
void fc_depthwise_channels(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels,
                           const fc_depthwise_part *part, void *list);
/* Whether fc_depthwise_slide_down may be called for so many channels: a filter of 3x3 at stride 1. */
bool fc_depthwise_slides(const fc_conv *conv, const fc_table *table, int64_t channels);
/* All columns of two rows or more, at one depth. */
void fc_depthwise_slide_down(const fc_conv_run *run, const fc_depthwise_view *v, int64_t channels, int64_t depth,
                             const fc_depthwise_part *p);
/* Output rows of one depth, all columns, by way of blocks copied to `x`, and from `y` where y is not
 * adjacent along lanes. */
void fc_depthwise_copied(const fc_depthwise_job *job, const fc_depthwise_view *v, int64_t channels,
                         const fc_depthwise_part *part, void *list, void *x, void *y);
#endif
