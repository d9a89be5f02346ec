/* Which kernel table is in use.  Chosen once, at import; asked for by every call. */
#ifndef FC_BASE_DISPATCH_H
#define FC_BASE_DISPATCH_H
#include "../kernels/table.h"
#include "cpu.h"
#include "status.h"

typedef enum { FC_F32, FC_F64 } fc_dtype;

/* Picks the best ISA built in and present, or the one that `forced` names (NULL or "" for none).
 * FC_BAD_VALUE where the name is unknown, not built in, or not in this CPU. Call once, first. */
fc_status fc_dispatch_init(const char *forced, fc_error *error);
fc_isa fc_dispatch_isa(void);
/* Multiply-adds of 512 bits that start in a cycle, 1 or 2: the CPU's own, or what a user says of a virtual machine that
 * names another CPU than it runs on.  0 goes back to the CPU's own. */
int fc_dispatch_wide_fmas(void);
void fc_dispatch_set_wide_fmas(int count);
const fc_table *fc_table_for(fc_dtype dtype);
/* Every table built in and present, for tests: NULL if this ISA cannot run here. */
const fc_table *fc_table_of(fc_isa isa, fc_dtype dtype);
#endif
