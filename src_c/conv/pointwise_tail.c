/* Tails of 1x1 convolutions: see pointwise_tail.h. */
#include "pointwise_tail.h"
#include "../base/parallel.h"
#include "geometry.h"
#include "pointwise.h"

int64_t fc_pointwise_tail(const fc_conv *conv)
{
    const fc_machine *machine = fc_pointwise_machine(conv);
    const int64_t lanes = machine->lanes, tail = conv->out_pixels % lanes;
    return !machine->halved && fc_is_tail(tail, lanes) && tail < conv->out_pixels && fc_pointwise_fits(conv) &&
           !fc_pointwise_joins(conv) ? tail : 0;
}

void fc_tail_pack(const fc_conv_run *run, const fc_tail *t, void *packed)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t tail = fc_pointwise_tail(conv), channel = t->group * conv->in_per_group + t->k0;
    const bool beside = conv->x_stride[FC_W] == 1 && fc_pixels_uniform(conv->x_stride, conv->in_size);
    const int64_t step = beside ? tail : 1;
    for (int64_t p = 0; p < tail; p += step) {
        const int64_t at = fc_pixel_offset(conv->x_stride, conv->in_size, t->image, conv->out_pixels - tail + p);
        const fc_move move = {
            .rows = t->k, .cols = step, .src = fc_at(run->x, at + channel * conv->x_stride[FC_C], size),
            .src_row = conv->x_stride[FC_C], .src_col = 1, .dst = fc_at_mut(packed, p * t->k, size), .dst_row = 1,
            .dst_col = t->k,
        };
        run->table->move(&move);
    }
}

void fc_tail_multiply(const fc_conv_run *run, const fc_tail *t, const void *packed)
{
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t tail = fc_pointwise_tail(conv), oc = t->group * conv->out_per_group + t->row;
    const void *x[FC_MOST_TAIL];
    void *c[FC_MOST_TAIL];
    const int64_t weight_at = 0;
    for (int64_t p = 0; p < tail; p++) {
        const int64_t at = fc_pixel_offset(conv->y_stride, conv->out_size, t->image, conv->out_pixels - tail + p);
        x[p] = fc_at(packed, p * t->k, size);
        c[p] = fc_at_mut(run->y, at + oc * conv->y_stride[FC_C], size);
    }
    const fc_dot dot = {
        .rows = t->rows, .pixels = tail, .k = t->k, .weight = fc_at(run->weight, oc * conv->depth + t->k0, size),
        .weight_row = conv->depth, .parts = 1, .weight_at = &weight_at, .x = x, .c = c,
        .c_row = conv->y_stride[FC_C], .accumulate = t->k0 > 0,
        .finish = t->k0 + t->k == conv->depth, .bias = run->bias ? fc_at(run->bias, oc, size) : NULL,
        .activation = conv->activation,
    };
    run->table->dot(&dot);
}

typedef struct tail_job {
    const fc_conv_run *run;
    int64_t k_block;
} tail_job;

static void run_task(void *context, int64_t task, void *memory)
{
    const tail_job *job = context;
    const fc_conv *conv = job->run->conv;
    fc_tail t = { .image = task / conv->groups, .group = task % conv->groups, .rows = conv->out_per_group };
    for (; t.k0 < conv->depth; t.k0 += job->k_block) {
        t.k = fc_min(job->k_block, conv->depth - t.k0);
        fc_tail_pack(job->run, &t, memory);
        fc_tail_multiply(job->run, &t, memory);
    }
}

fc_status fc_tail_forward(const fc_conv_run *run, int64_t k_block, fc_error *error)
{
    const fc_conv *conv = run->conv;
    const double size = (double)fc_size_of(conv->dtype), tasks = (double)(conv->batch * conv->groups);
    const double seconds = tasks * (double)conv->depth * (double)conv->out_per_group * size /
                           fc_machine_for(conv->dtype)->l2_bytes;
    tail_job job = { run, k_block };
    return fc_parallel(conv->batch * conv->groups, seconds, (size_t)(k_block * FC_MOST_TAIL) * (size_t)size, run_task,
                       &job, error);
}
