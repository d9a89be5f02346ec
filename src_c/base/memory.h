/* Memory that kernels read and write a lot: aligned blocks, large ones in huge pages.
 * Used by scratch.c and by conv/plan.c for prepared weights.  Freed by free(). */
#ifndef FC_BASE_MEMORY_H
#define FC_BASE_MEMORY_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { FC_LINE = 64, FC_PAGE = 4096, FC_HUGE_PAGE = 2 << 20 };

/* At least *size bytes, which becomes what they are; NULL where they cannot be had.  Blocks of huge
 * pages or more are whole ones: a panel read once through small pages costs up to twice the time, for
 * want of prefetches beyond a page and of TLB entries. */
static inline void *fc_memory_new(size_t *size)
{
    *size += *size == 0;
    const size_t align = *size >= FC_HUGE_PAGE ? FC_HUGE_PAGE : *size >= FC_PAGE ? FC_PAGE : FC_LINE;
    const size_t unit = *size >= FC_HUGE_PAGE ? FC_HUGE_PAGE : FC_LINE;
    void *base = NULL;
    if (*size > PTRDIFF_MAX - unit)
        return NULL;
    *size = (*size + unit - 1) / unit * unit;
    if (posix_memalign(&base, align, *size) != 0)
        return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (*size >= FC_HUGE_PAGE)
        madvise(base, *size, MADV_HUGEPAGE);   /* a wish: without it the block is only slower */
#endif
    return base;
}
#endif
