/* Threads that another library of the process keeps.  parallel.c runs its jobs on them while they are
 * lent: a second pool would have to fight for the CPUs that the first one's threads spin on. */
#ifndef FC_BASE_TEAM_H
#define FC_BASE_TEAM_H
#include <stdbool.h>

typedef void (*fc_team_body)(void *argument);
/* Runs the body on `threads` threads at once, the caller's among them, 0 for as many as there are;
 * returns when all have.  The form is that of GOMP_parallel, which GNU's and LLVM's OpenMP have. */
typedef void (*fc_team_fork)(fc_team_body body, void *argument, unsigned threads, unsigned flags);
/* How many threads a fork from the calling thread takes: omp_get_max_threads. */
typedef int (*fc_team_count)(void);

/* From now on, but not in the child of a fork; NULLs for no longer.  The functions stay loaded. */
void fc_team_lend(fc_team_fork fork, fc_team_count count);
/* Runs the body on a team of exactly that many threads; false, and nothing has run, where none is lent.
 * Another number would not do: OpenMP ends and starts threads when a team's size changes. */
bool fc_team_run(int threads, fc_team_body body, void *argument);
#endif
