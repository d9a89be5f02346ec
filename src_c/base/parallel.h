/* The thread pool and each thread's scratch memory.  Called by the algorithms. */
#ifndef FC_BASE_PARALLEL_H
#define FC_BASE_PARALLEL_H
#include "status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One task of a fixed split.  scratch is this thread's memory, 64-byte aligned, of the size asked
 * for in fc_parallel, holding whatever was left there; no task that runs at the same time has the
 * same.  NULL or not where that size is 0.  A task may call fc_parallel, but does not fork. */
typedef void (*fc_task)(void *context, int64_t task, void *scratch);
/* What a thread makes in its scratch for all of its tasks. */
typedef void (*fc_begin)(void *context, void *scratch);

/* Runs task 0 .. tasks - 1, each once, on at most fc_get_num_threads() threads, the caller among
 * them; returns when all are done.  A thread begins with tasks that follow each other, the same ones
 * in every loop of as many; which thread runs which task is not fixed, so a task's result must not
 * depend on it.  `seconds` is the predicted time of all tasks on one thread: below about
 * 20 microseconds no other thread is woken, and one more for each 10 microseconds.  Scratch is
 * reserved before the first task runs; if the caller's cannot be, FC_NO_MEMORY and nothing has run,
 * and a worker without scratch does not take part.  Inside tasks denormals are flushed, rounding is
 * to nearest and nothing traps; the caller's floating-point mode is put back after.
 *
 * Safe from many threads at once (who finds the workers taken runs alone, and nobody waits for
 * another's job), from a task (runs inline, with scratch of its own), and after a fork, also one
 * made while other threads are in here: the child starts workers of its own. */
fc_status fc_parallel(int64_t tasks, double seconds, size_t scratch, fc_task run, void *context, fc_error *error);
/* The same; a thread that has a task calls `begin` before the first. */
fc_status fc_parallel_each(int64_t tasks, double seconds, size_t scratch, fc_begin begin, fc_task run, void *context,
                           fc_error *error);
/* Whether each thread should make for itself `size` bytes that all its tasks read: there are several, and what another
 * has written comes at a few GB/s, slower than most things are made. */
bool fc_makes_own(size_t size);

/* At first fc_default_num_threads(). */
int fc_get_num_threads(void);
/* At any time, from any thread; holds for calls that begin after it.  Brought into 1 .. 1024. */
void fc_set_num_threads(int count);
/* FASTCONV_NUM_THREADS, else OMP_NUM_THREADS, else the CPUs of this process (affinity, cgroup).
 * A variable that is no number of threads counts as not set. */
int fc_default_num_threads(void);
/* Frees the calling thread's scratch (not from a task, which is using it) and that of every idle
 * worker.  A thread that ends frees its own. */
void fc_clear_scratch(void);
/* Bytes of scratch now held by all threads. */
size_t fc_scratch_held(void);
/* Stops and joins the workers; the next large call starts them again.  Those that are at work for
 * another thread end with that thread's call.  Need not be called before the process exits. */
void fc_parallel_stop(void);
#endif
