/* Outputs that see no padding, and those along the borders, as problems of their own in the same arrays.
 * Called by direct.c. */
#ifndef FC_CONV_OUTPUTS_H
#define FC_CONV_OUTPUTS_H
#include "algorithm.h"

enum { FC_OUTPUT_PARTS = 1 + 2 * FC_SPATIAL };

/* Outputs first .. end of each axis. */
typedef struct fc_outputs {
    int64_t first[FC_SPATIAL], end[FC_SPATIAL];
} fc_outputs;

/* Those that see no padding.  False where there are none, or where some see nothing else along an axis. */
bool fc_outputs_inside(const fc_conv *conv, fc_outputs *inside);
int64_t fc_outputs_count(const fc_outputs *outputs); /* of one image */
/* Part 0 is the inside, the others its borders; together they are all outputs.  False for a part that is empty.  x and
 * y are at its first pixel seen and its first output, in elements from conv's; the strides are conv's. */
bool fc_outputs_part(const fc_conv *conv, const fc_outputs *inside, int index, fc_conv *part, int64_t *x, int64_t *y);
#endif
