/* What an algorithm is.  One file per algorithm defines one fc_algorithm; list.c lists them. */
#ifndef FC_CONV_ALGORITHM_H
#define FC_CONV_ALGORITHM_H
#include "problem.h"
#include <stddef.h>

/* Measured constants of a machine, one core, per dtype.  cost() turns work into seconds with them;
 * nothing in here depends on the number of threads, so neither does a choice. */
typedef struct fc_machine {
    double flops;                             /* of fused multiply-adds per second, if two start in each cycle */
    double multiply;                          /* price of a vector multiply-add: 1, or 2 if one starts */
    double l2_bytes, memory_bytes;            /* bandwidth, bytes per second */
    int64_t l1, l2, l3;                       /* cache bytes */
    int lanes;
    const fc_table *table;                    /* of its kernels, with vectors of so many lanes */
    bool halved;                              /* those are of half the lanes that another table has */
    const struct fc_machine *half;            /* the same with such vectors, NULL where whole ones do more */
} fc_machine;
const fc_machine *fc_machine_for(fc_dtype dtype);
/* For `channels` that are lanes: half vectors, where whole ones would stay emptier by a sixth or more of them. */
const fc_machine *fc_machine_fitting(const fc_machine *machine, int64_t channels);
const fc_table *fc_table_fitting(const fc_table *table, fc_dtype dtype, int64_t channels);

/* Everything of one execution.  Element pointers; x and y point at the first element. */
typedef struct fc_conv_run {
    const fc_conv *conv;
    const fc_table *table;
    const void *x, *weight, *bias;            /* bias may be NULL */
    const void *prepared;                     /* from prepare(), or NULL */
    void *y;
    /* The weights, not prepared, are those of the convolution whose input gradient this is, groups * in_per_group
     * filters of out_per_group channels, their taps in reverse: for algorithms that turn them round. */
    bool reversed;
} fc_conv_run;

typedef struct fc_algorithm {
    const char *name;
    const char *summary;                      /* one line for explain() */
    /* NULL where it can compute this problem, else a clause that says why not:
     * "depthwise needs groups == in_channels". */
    const char *(*supports)(const fc_conv *conv);
    /* Predicted seconds on one core, weights not prepared unless `prepared`. */
    double (*cost)(const fc_conv *conv, const fc_machine *machine, bool prepared);
    double least;                             /* no cost is less, in the unit of prices (cost.h); 0 if not known */
    /* Bytes per thread. */
    size_t (*scratch)(const fc_conv *conv, const fc_table *table);
    /* Bytes of prepared weights, 0 where raw weights are as good; prepare() fills them (64-byte aligned). */
    size_t (*prepared_size)(const fc_conv *conv, const fc_table *table);
    void (*prepare)(const fc_conv *conv, const fc_table *table, const void *weight, void *prepared);
    /* Checks nothing; fails for lack of memory only, before y is touched. */
    fc_status (*forward)(const fc_conv_run *run, fc_error *error);
    bool turns;                               /* weights that are `reversed` */
    /* One clause with the tile and the split for explain(), at most `size` characters. */
    void (*describe)(const fc_conv *conv, const fc_table *table, char *text, size_t size);
    /* As fc_algorithm_error; NULL for a plain sum of products. */
    double (*error)(const fc_conv *conv);
} fc_algorithm;

/* The largest error of an output to be expected, as a part of the largest output: a figure that held
 * for every kind of data in docs/accuracy.md, not a bound. */
double fc_algorithm_error(const fc_algorithm *algorithm, const fc_conv *conv);
/* Rounding of one number: 2 to the power -23 or -52. */
static inline double fc_epsilon(fc_dtype dtype) { return dtype == FC_F32 ? 0x1p-23 : 0x1p-52; }

/* NULL-terminated; order breaks ties of cost. */
extern const fc_algorithm *const fc_algorithms[];
/* By name, or the cheapest for "auto".  FC_BAD_VALUE names the reason where it cannot. */
fc_status fc_algorithm_choose(const fc_conv *conv, const char *name, bool prepared,
                              const fc_algorithm **chosen, fc_error *error);
#endif
