/* Predicted times: counts of what an algorithm does, each times a price.  Called by cost() of the
 * algorithms; benchmarks/choice.py measures how often the choice that follows is right.
 *
 * Prices are in the time of one vector multiply-add at peak (two per cycle), so one set serves every
 * instruction set and both dtypes.  They were fitted to measured times of 1200 random layers on
 * AVX-512 (relative errors, nearly fastest algorithms weighing most). */
#ifndef FC_CONV_COST_H
#define FC_CONV_COST_H
#include "algorithm.h"

typedef struct fc_count {
    double times, price;
} fc_count;

static inline double fc_cost_sum(const fc_count *counts, int number, const fc_machine *machine)
{
    double sum = 0;
    for (int i = 0; i < number; i++)
        sum += counts[i].times * counts[i].price;
    return sum * 2 * machine->lanes / machine->flops;
}
#define FC_COST(counts, machine) fc_cost_sum(counts, (int)(sizeof(counts) / sizeof *(counts)), machine)
#endif
