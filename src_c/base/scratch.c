/* Scratch memory: aligned blocks, one per thread (see scratch.h).  Called by parallel.c. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "scratch.h"
#include "parallel.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { LINE = 64, PAGE = 4096, HUGE_PAGE = 2 << 20 };

static _Atomic size_t held;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;

bool fc_scratch_reserve(fc_scratch *block, size_t size)
{
    /* Exactly what is asked for: sizes are bounded by the caches and soon stop growing.  Large blocks
     * are whole huge pages, which spares the packed panels most of their TLB misses. */
    const size_t align = size >= HUGE_PAGE ? HUGE_PAGE : size >= PAGE ? PAGE : LINE;
    const size_t unit = size >= HUGE_PAGE ? HUGE_PAGE : LINE;
    void *base = NULL;
    if (size <= block->size)
        return true;
    fc_scratch_release(block);
    if (size > PTRDIFF_MAX - unit)
        return false;
    size = (size + unit - 1) / unit * unit;
    if (posix_memalign(&base, align, size) != 0)
        return false;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (size >= HUGE_PAGE)
        madvise(base, size, MADV_HUGEPAGE);   /* a wish: without it the block is only slower */
#endif
    block->base = base;
    block->size = size;
    atomic_fetch_add(&held, size);
    return true;
}

void fc_scratch_release(fc_scratch *block)
{
    atomic_fetch_sub(&held, block->size);
    free(block->base);
    *block = (fc_scratch){ 0 };
}

static void end_of_thread(void *block)
{
    fc_scratch_release(block);
    free(block);
}

static void make_key(void)
{
    has_key = pthread_key_create(&key, end_of_thread) == 0;
}

fc_scratch *fc_scratch_of_thread(void)
{
    pthread_once(&once, make_key);
    if (!has_key)
        return NULL;
    fc_scratch *block = pthread_getspecific(key);
    if (!block) {
        block = calloc(1, sizeof *block);
        if (block && pthread_setspecific(key, block) != 0) {
            free(block);
            block = NULL;
        }
    }
    return block;
}

void fc_scratch_after_fork(void)
{
    const fc_scratch *mine = has_key ? pthread_getspecific(key) : NULL;
    atomic_store(&held, mine ? mine->size : 0);
}

size_t fc_scratch_held(void)
{
    return atomic_load(&held);
}
