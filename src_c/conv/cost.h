/* Predicted times: counts of what an algorithm does, each times a price.  Called by cost() of the
 * algorithms; benchmarks/choice.py measures how often the choice that follows is right.
 *
 * Prices are in the time of one vector multiply-add at peak (two per cycle), so one set serves every
 * instruction set and both dtypes.  They were fitted to measured times of 2400 random layers and 580
 * of known networks on AVX-512, so that the expected loss of a choice is least. */
#ifndef FC_CONV_COST_H
#define FC_CONV_COST_H
#include "algorithm.h"
#include <math.h>

typedef struct fc_count {
    double times, price;
} fc_count;

/* Whether a CPU starts one multiply-add of whole vectors in a cycle: what goes on beside those is hidden more often. */
static inline bool fc_starts_one(const fc_machine *machine) { return machine->multiply > 1 || machine->halved; }

/* The price of multiply-adds where that is `price` if two start in a cycle.  What it has beyond one, loads for the most
 * part, goes on beside them.  Not for depthwise, which waits for more than those. */
static inline double fc_multiply(const fc_machine *machine, double price)
{
    return fmax(price, machine->multiply * fmin(price, 1));
}

/* The same of tiles of so many vectors: those of one, of half the lanes, load as many values as they multiply, where
 * whole ones take each as part of its multiply-add.  Measured. */
static inline double fc_multiply_tile(const fc_machine *machine, double price, int vectors)
{
    return fc_multiply(machine, price) * (vectors == 1 && machine->halved ? 1.45 : 1);
}

/* The same of multiply-adds that each load a vector: measured. */
static inline double fc_multiply_loaded(const fc_machine *machine, double price)
{
    return machine->multiply > 1 ? 1.6 * price : price;
}

/* The part of a price that CPUs take which start two multiply-adds of whole vectors in a cycle: measured on one. */
static inline double fc_of_two(const fc_machine *machine, double part) { return fc_starts_one(machine) ? 1 : part; }

/* Seconds of a price of one. */
static inline double fc_cost_unit(const fc_machine *machine) { return 2 * machine->lanes / machine->flops; }

static inline double fc_cost_sum(const fc_count *counts, int number, const fc_machine *machine)
{
    double sum = 0;
    for (int i = 0; i < number; i++)
        sum += counts[i].times * counts[i].price;
    return sum * fc_cost_unit(machine);
}
#define FC_COST(counts, machine) fc_cost_sum(counts, (int)(sizeof(counts) / sizeof *(counts)), machine)
#endif
