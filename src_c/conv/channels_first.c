/* See channels_first.h.  A filter at a time is transposed, from one end of memory to the other. */
#include "channels_first.h"
#include "../base/parallel.h"
#include "../base/size.h"
#include "geometry.h"

enum { TASK_WEIGHTS = 1 << 15 };
static const double WEIGHT_SECONDS = 0.3e-9;

typedef struct first_job {
    const fc_table *table;
    int64_t filters, per_task, channels, taps;
    size_t size;
    const char *src;
    char *dst;
} first_job;

static void run_task(void *context, int64_t task, void *scratch)
{
    const first_job *job = context;
    const int64_t end = fc_min((task + 1) * job->per_task, job->filters);
    (void)scratch;
    for (int64_t filter = task * job->per_task; filter < end; filter++) {
        const size_t at = (size_t)(filter * job->channels * job->taps) * job->size;
        const fc_move move = { .rows = job->channels, .cols = job->taps, .src = job->src + at, .src_row = 1,
                               .src_col = job->channels, .dst = job->dst + at, .dst_row = job->taps, .dst_col = 1 };
        job->table->move(&move);
    }
}

fc_status fc_channels_first(fc_dtype dtype, int64_t filters, int64_t channels, int64_t taps, const void *src, void *dst,
                            fc_error *error)
{
    const int64_t filter = channels * taps;
    first_job job = { .table = fc_table_for(dtype), .filters = filters, .channels = channels, .taps = taps,
                      .per_task = fc_max(1, TASK_WEIGHTS / fc_max(filter, 1)), .size = fc_size_of(dtype), .src = src,
                      .dst = dst };
    return fc_parallel(fc_div_up(filters, job.per_task), (double)(filters * filter) * WEIGHT_SECONDS, 0, run_task, &job,
                       error);
}
