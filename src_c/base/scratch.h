/* One block of scratch memory, and the block that each thread keeps.  Used by parallel.c alone:
 * algorithms get their scratch as an argument of a task. */
#ifndef FC_BASE_SCRATCH_H
#define FC_BASE_SCRATCH_H
#include <stdbool.h>
#include <stddef.h>

/* Zeros are an empty block.  It has one owner at a time, so nothing here takes a lock. */
typedef struct fc_scratch {
    void *base;                    /* 64-byte aligned; NULL where size is 0 */
    size_t size;
} fc_scratch;

/* Makes the block at least `size` bytes, contents lost if it has to grow.  False, and the block is
 * empty, where memory cannot be had. */
bool fc_scratch_reserve(fc_scratch *block, size_t size);
void fc_scratch_release(fc_scratch *block);
/* The calling thread's own block, released when the thread ends.  NULL where it cannot be kept. */
fc_scratch *fc_scratch_of_thread(void);
/* In the child of a fork: the only bytes held are this thread's. */
void fc_scratch_after_fork(void);
#endif
