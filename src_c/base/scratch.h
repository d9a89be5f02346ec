/* Scratch memory: the blocks that each thread keeps.  Algorithms get a task's scratch as its argument
 * from parallel.c, and borrow here what all tasks of a call share. */
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
/* Memory that the tasks of one call share, such as transformed weights: 64-byte aligned, holding
 * whatever was left there, NULL where it cannot be had.  The thread keeps up to FC_KEPT_BYTES of a
 * block for its next call, because fresh pages cost more than most uses.  Each is given back by the
 * thread that borrowed it, the last one first; giving NULL back does nothing. */
enum { FC_KEPT_BYTES = 64 << 20 };
void *fc_scratch_borrow(size_t size);
void fc_scratch_give_back(void *memory);
/* Frees what the calling thread keeps and is not using. */
void fc_scratch_clear_thread(void);
/* In the child of a fork: the only bytes held are this thread's. */
void fc_scratch_after_fork(void);
#endif
