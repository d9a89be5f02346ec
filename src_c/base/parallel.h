/* The thread pool and each thread's scratch memory.  Called by the algorithms. */
#ifndef FC_BASE_PARALLEL_H
#define FC_BASE_PARALLEL_H
#include "status.h"
#include <stddef.h>
#include <stdint.h>

/* One task of a fixed split.  scratch is this thread's memory, 64-byte aligned, of the size asked
 * for in fc_parallel, holding whatever was left there. */
typedef void (*fc_task)(void *context, int64_t task, void *scratch);

/* Runs task 0 .. tasks - 1, each once, on at most fc_get_num_threads() threads, the caller among
 * them; returns when all are done.  Which thread runs which task is not fixed, so a task's result
 * must not depend on it.  `seconds` is the predicted time of all tasks on one thread: below about
 * 20 microseconds no other thread is woken.  Scratch is reserved before the first task runs; if the
 * caller's cannot be, FC_NO_MEMORY and nothing has run.  Denormals are flushed inside tasks and the
 * floating-point mode is put back after.  Safe from many threads at once, from a task (runs
 * inline), and after fork. */
fc_status fc_parallel(int64_t tasks, double seconds, size_t scratch, fc_task run, void *context, fc_error *error);

int fc_get_num_threads(void);
void fc_set_num_threads(int count);     /* count >= 1 */
/* FASTCONV_NUM_THREADS, else OMP_NUM_THREADS, else the CPUs of this process (affinity, cgroup). */
int fc_default_num_threads(void);
/* Frees the calling thread's scratch and that of every idle worker. */
void fc_clear_scratch(void);
/* Bytes of scratch now held by all threads. */
size_t fc_scratch_held(void);
/* Stops and joins the workers; the next large call starts them again. */
void fc_parallel_stop(void);
#endif
