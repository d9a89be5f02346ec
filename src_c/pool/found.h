/* Max pooling with indices where pixels are lanes.  Called by job.c, which asks whether and how, and by reduce.c. */
#ifndef FC_POOL_FOUND_H
#define FC_POOL_FOUND_H
#include "job.h"

/* Sets j->found where its scratch is bounded by the cache; else false. */
bool fc_pool_found_fits(fc_pool_job *j);
/* Nanoseconds a plane, measured. */
double fc_pool_found_ns(const fc_pool_job *j);
/* Adds to j->bytes what a task needs; units and bands are chosen. */
void fc_pool_found_place(fc_pool_job *j);
/* Fills what does not change during a task. */
void fc_pool_found_begin(const fc_pool_job *j, char *memory);
/* height and width: what windows of the band see. */
void fc_pool_found_run(const fc_pool_job *j, const fc_pool_band *band, const fc_pool_span *height,
                       const fc_pool_span *width, char *memory);
#endif
