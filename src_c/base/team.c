/* Threads of another library (see team.h).  Lent through _core by fastconv.torch, used by parallel.c. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "team.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

static _Atomic fc_team_fork lent_fork;
static _Atomic fc_team_count lent_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool forkable;

/* OpenMP's threads have not come along, and it would wait for them. */
static void after_fork_in_child(void)
{
    atomic_store(&lent_fork, NULL);
}

static void initialise(void)
{
    forkable = pthread_atfork(NULL, NULL, after_fork_in_child) == 0;
}

void fc_team_lend(fc_team_fork fork, fc_team_count count)
{
    pthread_once(&once, initialise);
    /* In this order, so that who sees the one has the other. */
    if (fork)
        atomic_store(&lent_count, count);
    atomic_store(&lent_fork, forkable ? fork : NULL);
}

bool fc_team_run(int threads, fc_team_body body, void *argument)
{
    const fc_team_fork fork = atomic_load(&lent_fork);
    if (!fork || atomic_load(&lent_count)() != threads)
        return false;
    fork(body, argument, 0, 0);
    return true;
}
