/* Planes whose pixels are adjacent, one after the other and some rows at a time, cut into tasks.  Used by
 * depthwise_strided.c and input_grad_planes.c. */
#ifndef FC_CONV_PLANE_TASKS_H
#define FC_CONV_PLANE_TASKS_H
#include "../base/size.h"

typedef struct fc_plane_tasks {
    int64_t channels, depth, height;
    int64_t planes, plane_blocks, rows, row_blocks; /* of a task; how many */
    int64_t tasks;
} fc_plane_tasks;

/* `row`: bytes of x to a row of the result, of which a task has a multiple of `unit`, or all. */
static inline fc_plane_tasks fc_plane_tasks_of(int64_t batch, int64_t channels, int64_t depth, int64_t height,
                                               int64_t row, int64_t unit)
{
    enum { BYTES = 96 << 10 };                /* of a task, about */
    fc_plane_tasks t = { .channels = channels, .depth = depth, .height = height };
    t.planes = fc_max(1, fc_min(channels, BYTES / height / row));
    t.plane_blocks = fc_div_up(channels, t.planes);
    t.rows = fc_min(height, fc_round_up(fc_max(1, BYTES / row), unit));
    t.row_blocks = fc_div_up(height, t.rows);
    t.tasks = batch * depth * t.plane_blocks * t.row_blocks;
    return t;
}

typedef struct fc_plane_task {
    int64_t image, depth, channel, planes, row, end; /* rows row .. end - 1 of `planes` planes from `channel` on */
} fc_plane_task;

static inline fc_plane_task fc_plane_task_at(const fc_plane_tasks *t, int64_t task)
{
    fc_plane_task p = { .row = task % t->row_blocks * t->rows };
    task /= t->row_blocks;
    p.end = fc_min(p.row + t->rows, t->height);
    p.channel = task % t->plane_blocks * t->planes;
    task /= t->plane_blocks;
    p.planes = fc_min(t->planes, t->channels - p.channel);
    p.depth = task % t->depth;
    p.image = task / t->depth;
    return p;
}
#endif
