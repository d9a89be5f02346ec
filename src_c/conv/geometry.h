/* Index arithmetic that several algorithms share: where a pixel lies, which taps are inside.
 * Header-only; everything here is in elements and was bounded by fc_conv_check. */
#ifndef FC_CONV_GEOMETRY_H
#define FC_CONV_GEOMETRY_H
#include "../base/size.h"
#include "algorithm.h"
#include <stddef.h>

enum { FC_DEPTH, FC_HEIGHT, FC_WIDTH };       /* spatial axes of in_size, kernel ... */

static inline size_t fc_size_of(fc_dtype dtype) { return dtype == FC_F32 ? sizeof(float) : sizeof(double); }

/* Element `index` of an array whose elements have `size` bytes. */
static inline const void *fc_at(const void *base, int64_t index, size_t size)
{
    return (const char *)base + index * (int64_t)size;
}
static inline void *fc_at_mut(void *base, int64_t index, size_t size) { return (char *)base + index * (int64_t)size; }

/* How wide, in vectors, to make the panels that hold `vectors` of them: the width whose last panel is
 * fullest, for a narrow one reads as many broadcasts for less work. */
static inline int fc_panel_vectors(const fc_table *table, int64_t vectors)
{
    const int wide = table->widest_panel, narrow = wide - 1;
    if (vectors <= wide)
        return (int)fc_max(vectors, 1);
    const int64_t wide_last = (vectors - 1) % wide + 1, narrow_last = (vectors - 1) % narrow + 1;
    return wide_last * narrow > narrow_last * wide ? wide : narrow;
}

/* How deep a panel of `lanes` may be: several stay in L2 with what streams past them. */
static inline int64_t fc_panel_depth(const fc_conv *conv, int64_t lanes)
{
    const int64_t most = fc_machine_for(conv->dtype)->l2 / 4 / (lanes * (int64_t)fc_size_of(conv->dtype));
    return fc_max(64, fc_min(most, 2304));
}

/* How many tasks a dense problem is worth where splitting costs: an even number, for most machines have
 * an even number of cores, up to 8; more come of larger problems by their blocks. */
static inline int64_t fc_worth_tasks(const fc_conv *conv)
{
    enum { MOST = 8 };
    const double task_flops = 12e6, two = 6e6; /* some 70 microseconds; so many are worth two tasks */
    const int64_t tasks = conv->flops < (MOST - 1) * task_flops ? 1 + (int64_t)(conv->flops / task_flops) : MOST;
    return conv->flops >= two ? fc_round_up(tasks, 2) : 1;
}

/* `blocks`, times `others` all tasks, or one less, but `least`, or one more: a few tasks should be an even number, of
 * which two threads have as many each. */
static inline int64_t fc_even_tasks(int64_t blocks, int64_t least, int64_t others)
{
    enum { MOST_ODD = 15 };
    if (blocks % 2 == 0 || others % 2 == 0 || blocks == 1 || blocks * others > MOST_ODD)
        return blocks;
    return blocks > least ? blocks - 1 : blocks + 1;
}

static inline int64_t fc_x_count(const fc_conv *conv)
{
    return conv->batch * conv->in_channels * conv->in_size[0] * conv->in_size[1] * conv->in_size[2];
}

/* Whether an array of `count` elements cannot be expected in L2. */
static inline bool fc_far(const fc_conv *conv, int64_t count)
{
    return count * (int64_t)fc_size_of(conv->dtype) > fc_machine_for(conv->dtype)->l2 / 2;
}

/* Whether a channel's lines of all pixels, where channels are adjacent, share two sets of the L1 cache: what is read
 * of several rows does not stay there. */
static inline bool fc_crowds_sets(const fc_conv *conv)
{
    enum { APART = 2048 };
    return conv->in_channels * (int64_t)fc_size_of(conv->dtype) % APART == 0;
}

/* Whether a result is so large that what is written of it first has left the caches when the last is: then it is
 * better written past them, which spares reading it. */
static inline bool fc_past_caches(int64_t bytes)
{
    enum { MOST = 15 << 20 };
    return bytes > MOST;
}

static inline bool fc_streams_y(const fc_conv *conv)
{
    return fc_past_caches(conv->batch * conv->out_channels * conv->out_pixels * (int64_t)fc_size_of(conv->dtype));
}

static inline fc_reach fc_reach_of_y(const fc_conv *conv)
{
    const bool far = fc_far(conv, conv->batch * conv->out_channels * conv->out_pixels);
    return fc_streams_y(conv) ? FC_C_PAST : far ? FC_C_FAR : FC_C_NEAR;
}

/* Lines of y beyond what the caches of a machine may hold, which are read from memory before they are written where
 * they are not written past the caches: measured. */
static inline double fc_lines_through_memory(const fc_conv *conv)
{
    const double held = 32 << 20, count = (double)(conv->batch * conv->out_channels) * (double)conv->out_pixels;
    const double bytes = count * (double)fc_size_of(conv->dtype);
    return bytes > held ? (bytes - held) / 64 : 0;
}

/* Lines of an array of so many elements that groups, of which each has `piece` elements side by side, read or write
 * from beyond L2: in pieces too short for the processor to foresee the next. */
static inline double fc_lines_of_pieces(const fc_conv *conv, int64_t count, int64_t piece)
{
    enum { LINE = 64 };
    const double size = (double)fc_size_of(conv->dtype), bytes = (double)piece * size;
    return fc_far(conv, count) ? (double)count * size / LINE * (bytes > LINE ? LINE / bytes : 1) : 0;
}

/* Share of x that some tap sees: strides may leave out rows, and columns where these have lines of their own. */
static inline double fc_seen_share(const fc_conv *conv)
{
    double share = 1;
    for (int axis = 0; axis < FC_SPATIAL; axis++)
        if (conv->stride[axis] > conv->kernel[axis] && (axis != FC_WIDTH || conv->channels_last))
            share *= (double)conv->kernel[axis] / (double)conv->stride[axis];
    return share;
}

/* Such lines of x, which is read or written `passes` times, and y. */
static inline double fc_lines_in_pieces(const fc_conv *conv, double passes)
{
    if (conv->groups == 1)
        return 0;
    const int64_t pixels = conv->in_size[0] * conv->in_size[1] * conv->in_size[2];
    const int64_t x_piece = conv->channels_last ? conv->in_per_group : pixels;
    const int64_t y_piece = conv->channels_last ? conv->out_per_group : conv->out_pixels;
    return passes * fc_lines_of_pieces(conv, fc_x_count(conv), x_piece) +
           fc_lines_of_pieces(conv, conv->batch * conv->out_pixels * conv->out_channels, y_piece);
}

/* Of a forward convolution, which reads no more of x than it sees; of small pixels all groups read the same lines, one
 * after the other. */
static inline double fc_lines_seen_in_pieces(const fc_conv *conv, int64_t passes)
{
    enum { SMALL = 128 };                     /* bytes */
    const bool small = conv->channels_last && conv->in_channels * (int64_t)fc_size_of(conv->dtype) <= SMALL;
    return fc_lines_in_pieces(conv, small ? 0 : (double)passes * fc_seen_share(conv));
}

/* Pixels of one image are `stride[FC_W]` apart from the first to the last, across rows. */
static inline bool fc_pixels_uniform(const int64_t stride[FC_AXES], const int64_t size[FC_SPATIAL])
{
    const int64_t row = stride[FC_W] * size[FC_WIDTH];
    return (size[FC_HEIGHT] == 1 || stride[FC_H] == row) &&
           (size[FC_DEPTH] == 1 || stride[FC_D] == row * size[FC_HEIGHT]);
}

static inline int64_t fc_pixel_offset(const int64_t stride[FC_AXES], const int64_t size[FC_SPATIAL], int64_t image,
                                      int64_t pixel)
{
    const int64_t row = pixel / size[FC_WIDTH];
    return image * stride[FC_N] + row / size[FC_HEIGHT] * stride[FC_D] + row % size[FC_HEIGHT] * stride[FC_H] +
           pixel % size[FC_WIDTH] * stride[FC_W];
}

/* Output pixels first .. first + count of one row, seen through one tap: of them, `before` see
 * padding left of x, then `inside` see x from column `column` on, the rest see padding. */
typedef struct fc_span {
    int64_t before, inside, column;
} fc_span;

/* Both sides not negative.  Division is slow and most strides are 1 or 2. */
static inline int64_t fc_divide(int64_t a, int64_t b) { return b == 1 ? a : b == 2 ? a >> 1 : a / b; }

static inline fc_span fc_span_of(int64_t first, int64_t count, int64_t stride, int64_t offset, int64_t size)
{
    const int64_t start = first * stride + offset;      /* column under the first pixel */
    fc_span span = { 0, 0, start };
    if (start < 0)
        span.before = fc_min(count, fc_divide(stride - 1 - start, stride));
    if (start < size)
        span.inside = fc_min(count, fc_divide(size - 1 - start, stride) + 1) - span.before;
    if (span.inside < 0)
        span.inside = 0;
    span.column = start + span.before * stride;
    return span;
}

/* Whether no tap of any output pixel sees padding. */
static inline bool fc_unpadded(const fc_conv *conv)
{
    for (int axis = 0; axis < FC_SPATIAL; axis++) {
        const int64_t last = (conv->out_size[axis] - 1) * conv->stride[axis] - conv->pad_before[axis] +
                             (conv->kernel[axis] - 1) * conv->dilation[axis];
        if (conv->pad_before[axis] > 0 || last >= conv->in_size[axis])
            return false;
    }
    return true;
}
#endif
