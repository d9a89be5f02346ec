/* Phases of the input gradient.  Used by input_grad_whole.c and input_grad_rows.c.
 *
 * Input pixels whose padded position leaves the same rest by the stride, along every axis, form a
 * phase.  A phase sees a fixed subset of the taps, so its gradient is a convolution with stride 1 of
 * grad_output by those taps in reverse order, inputs and outputs of each group exchanged: an fc_conv
 * like any other. */
#ifndef FC_CONV_INPUT_GRAD_PHASES_H
#define FC_CONV_INPUT_GRAD_PHASES_H
#include "algorithm.h"

/* A part of a phase along one axis: input pixels first, first + stride, ...  `count` of them, met by the
 * taps tap, tap + tap_step, ...; as a convolution of in_size outputs from in_first on. */
typedef struct fc_axis_phase {
    int64_t first, count;
    int64_t tap, tap_step, taps;
    int64_t dilation, pad_before, pad_after, in_first, in_size;
} fc_axis_phase;

/* Phases of an axis are counted by the first tap that meets them. */
int64_t fc_axis_phases(const fc_conv *conv, int axis);
/* At most `most` pixels of the phase of `tap`, from its pixel `skip` on.  False where it has none, or
 * they see no output: they are zero. */
bool fc_axis_phase_of(const fc_conv *conv, int axis, int64_t tap, int64_t skip, int64_t most, fc_axis_phase *phase);
/* The convolution that computes a part of a phase, written with the input's steps times the stride;
 * x and y are the offsets of its first element in grad_output and in the input gradient. */
fc_status fc_phase_conv(const fc_conv *conv, const fc_axis_phase axes[FC_SPATIAL], fc_conv *sub, int64_t *x, int64_t *y,
                        fc_error *error);

typedef struct fc_grad_phase {
    bool live;                                /* it has pixels that see an output */
    fc_conv conv;                             /* of all its pixels */
    int64_t x, y;
    const fc_algorithm *algorithm;
    double seconds;                           /* predicted */
    int64_t tap[FC_SPATIAL], tap_step[FC_SPATIAL];
    const int64_t *taps;                      /* where each tap of its filters lies in one of the forward's */
    void *weight, *prepared;                  /* its filters; prepared is NULL where raw ones are as good */
} fc_grad_phase;

typedef struct fc_grad_phases {
    const fc_conv *conv;
    const fc_table *table;
    fc_grad_phase *phase;                     /* [depth][height][width] of first taps */
    int64_t count[FC_SPATIAL], all, made, covered; /* covered: pixels of live phases */
    double seconds;                           /* predicted for those that are made */
    int64_t *taps;
    const void *weight;
    void *memory;                             /* of all filters */
} fc_grad_phases;

/* Less than any phases take: not worth making them where something else takes no longer. */
double fc_grad_phases_least(const fc_conv *conv);
/* Makes phases, which chooses their algorithms, from the first that is not made yet until all are or they take more
 * than `most` seconds: the caller has something faster then, unless it calls again. */
fc_status fc_grad_phases_make(fc_grad_phases *phases, const fc_conv *conv, const char *algorithm, bool prepare,
                              double most, fc_error *error);
/* Memory for filters.  With `prepare`, as given to make, all of them are turned round and prepared as a plan
 * does; without, fc_turn_filters makes them when they are needed. */
fc_status fc_grad_phases_reserve(fc_grad_phases *phases, const void *weight, bool prepare, fc_error *error);
/* Whether the phase's algorithm turns filters round itself, and all are there: it is given phases->weight as they are. */
bool fc_phase_turns(const fc_grad_phases *phases, const fc_grad_phase *phase);
/* Input channels whose filters phase->weight has room for: all, or so many of one group as a cache holds. */
int64_t fc_turn_block(const fc_grad_phases *phases, const fc_grad_phase *phase);
/* Filters of input channels first .. first + count of every group, which is all of them unless there is
 * one group, to phase->weight. */
fc_status fc_turn_filters(const fc_grad_phases *phases, const fc_grad_phase *phase, int64_t first, int64_t count,
                          fc_error *error);
void fc_grad_phases_free(fc_grad_phases *phases);
#endif
