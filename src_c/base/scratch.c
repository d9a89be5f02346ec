/* Scratch memory: aligned blocks that threads keep (see scratch.h).  Called by parallel.c and conv/. */
#include "scratch.h"
#include "memory.h"
#include "parallel.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static _Atomic size_t held;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;

bool fc_scratch_reserve(fc_scratch *block, size_t size)
{
    /* Exactly what is asked for: sizes are bounded by the caches and soon stop growing. */
    if (size <= block->size)
        return true;
    fc_scratch_release(block);
    void *base = fc_memory_new(&size);
    if (!base)
        return false;
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

/* Borrowed blocks are used as a stack: an operator that borrows may call another that does. */
enum { MOST_BORROWED = 3 };
typedef struct blocks {
    fc_scratch of_tasks, shared[MOST_BORROWED];
    int borrowed;
} blocks;

static void end_of_thread(void *memory)
{
    blocks *mine = memory;
    fc_scratch_release(&mine->of_tasks);
    for (int i = 0; i < MOST_BORROWED; i++)
        fc_scratch_release(&mine->shared[i]);
    free(mine);
}

static void make_key(void)
{
    has_key = pthread_key_create(&key, end_of_thread) == 0;
}

static blocks *blocks_of_thread(bool create)
{
    pthread_once(&once, make_key);
    if (!has_key)
        return NULL;
    blocks *mine = pthread_getspecific(key);
    if (!mine && create) {
        mine = calloc(1, sizeof *mine);
        if (mine && pthread_setspecific(key, mine) != 0) {
            free(mine);
            mine = NULL;
        }
    }
    return mine;
}

fc_scratch *fc_scratch_of_thread(void)
{
    blocks *mine = blocks_of_thread(true);
    return mine ? &mine->of_tasks : NULL;
}

void *fc_scratch_borrow(size_t size)
{
    blocks *mine = blocks_of_thread(true);
    if (mine && mine->borrowed < MOST_BORROWED) {
        fc_scratch *block = &mine->shared[mine->borrowed];
        if (!fc_scratch_reserve(block, size > 0 ? size : 1)) /* NULL is for want of memory */
            return NULL;
        mine->borrowed++;
        return block->base;
    }
    return fc_memory_new(&size);
}

void fc_scratch_give_back(void *memory)
{
    blocks *mine = blocks_of_thread(false);
    if (mine && mine->borrowed > 0 && mine->shared[mine->borrowed - 1].base == memory) {
        mine->borrowed--;
        if (mine->shared[mine->borrowed].size > FC_KEPT_BYTES)
            fc_scratch_release(&mine->shared[mine->borrowed]);
        return;
    }
    free(memory);
}

void fc_scratch_clear_thread(void)
{
    blocks *mine = blocks_of_thread(false);
    if (!mine)
        return;
    fc_scratch_release(&mine->of_tasks);
    for (int i = mine->borrowed; i < MOST_BORROWED; i++)
        fc_scratch_release(&mine->shared[i]);
}

void fc_scratch_after_fork(void)
{
    const blocks *mine = has_key ? pthread_getspecific(key) : NULL;
    size_t size = mine ? mine->of_tasks.size : 0;
    for (int i = 0; mine && i < MOST_BORROWED; i++)
        size += mine->shared[i].size;
    atomic_store(&held, size);
}

size_t fc_scratch_held(void)
{
    return atomic_load(&held);
}
