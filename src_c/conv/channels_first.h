/* Filters of channels_last arrays, brought into the order that all algorithms read.  Called by _core, for tensors of
 * frameworks that keep filters so. */
#ifndef FC_CONV_CHANNELS_FIRST_H
#define FC_CONV_CHANNELS_FIRST_H
#include "../base/dispatch.h"
#include "../base/status.h"
#include <stdint.h>

/* dst[filter][channel][tap] = src[filter][tap][channel]; both hold filters * channels * taps elements. */
fc_status fc_channels_first(fc_dtype dtype, int64_t filters, int64_t channels, int64_t taps, const void *src, void *dst,
                            fc_error *error);
#endif
