/* The last pixels of an image of a 1x1 convolution, where they would fill too little of a vector.  Called by
 * pointwise.c, and by im2col.c for the same problem in arrays with other strides. */
#ifndef FC_CONV_POINTWISE_TAIL_H
#define FC_CONV_POINTWISE_TAIL_H
#include "algorithm.h"

enum { FC_MOST_TAIL = 4 };                    /* pixels */
static inline bool fc_is_tail(int64_t pixels, int64_t lanes) { return pixels <= FC_MOST_TAIL && 2 * pixels <= lanes; }

/* Pixels after the last whole vector of an image, where so few that sums along k, for which weights are
 * the lanes, cost less than a vector for them.  Follows the declared layout, as their last bits do. */
int64_t fc_pointwise_tail(const fc_conv *conv);

/* Packed pixels, [pixel][k] of `k` channels of a group from k0 on, times output channels row .. row + rows. */
typedef struct fc_tail {
    int64_t image, group, k0, k, row, rows;
} fc_tail;
void fc_tail_pack(const fc_conv_run *run, const fc_tail *tail, void *packed);
void fc_tail_multiply(const fc_conv_run *run, const fc_tail *tail, const void *packed);
/* All tails of all images, k_block channels at a time: over what is in y there. */
fc_status fc_tail_forward(const fc_conv_run *run, int64_t k_block, fc_error *error);
#endif
