/* Padding of other kinds than zeros: such a convolution is cut into parts that have none.
 * Called by plan.c alone; algorithms only ever see FC_PAD_ZEROS. */
#ifndef FC_CONV_PADDING_H
#define FC_CONV_PADDING_H
#include "algorithm.h"

/* What an algorithm is chosen for, and weights prepared. */
typedef struct fc_padded {
    fc_conv core;                             /* without padding: what most of the work is */
    bool whole;                               /* core is some images whole, copied with their padding */
    int64_t first[FC_SPATIAL], end[FC_SPATIAL]; /* else: the outputs that see no padding, in place */
} fc_padded;

/* Whether any pixel of another padding than zeros is seen. */
bool fc_pads_otherwise(const fc_conv *conv);
/* The conv is checked; fails where the padded image has more elements than fit 64 bits. */
fc_status fc_padded_make(const fc_conv *conv, fc_padded *padded, fc_error *error);
/* Runs all parts of run->conv, the original problem with the strides of x and y.  `algorithm` was
 * chosen for the core, and run->prepared made for it; `named`: by the user, so parts take it too.
 * Fails for lack of memory only: of the copies' before y is touched; where an algorithm lacks scratch for
 * a later part, earlier ones are written. */
fc_status fc_padded_run(const fc_padded *padded, const fc_conv_run *run, const fc_algorithm *algorithm, bool named,
                        fc_error *error);
#endif
