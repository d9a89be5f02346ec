/* Stochastic pooling in training: one pixel of each window, with a probability in proportion to its
 * value (Zeiler and Fergus, 2013).  Called by _core, which has seen that no value is negative or NaN. */
#include "window_task.h"
#include <math.h>

typedef struct sampling {
    const void *x;
    const double *random;
    void *y;
    int64_t *indices;
} sampling;

#define real float
#define NAME(name) name##_f32
#include "stochastic.inc"
#undef real
#undef NAME
#define real double
#define NAME(name) name##_f64
#include "stochastic.inc"

fc_status fc_stochastic_pool(const fc_pool *pool, const void *x, const double *random, void *y, int64_t *indices,
                             fc_error *error)
{
    const sampling s = { x, random, y, indices };
    return fc_window_run(pool, pool->dtype == FC_F32 ? sample_row_f32 : sample_row_f64, &s, 0, 3e-9, error);
}
