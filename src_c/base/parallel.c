/* The thread pool (see parallel.h).  Called by the algorithms, one fc_parallel per parallel loop.
 *
 * Idle workers are on a list under one lock.  A caller takes as many as its job can use and are
 * there, posts the job to each, runs tasks itself until none is left, calls back the workers that
 * have not begun, waits for those that have, and puts all of them back.  So a caller waits for
 * nothing but tasks of its own, and where another caller holds the workers it runs alone.
 *
 * Each thread begins with a share of its own, tasks that follow each other and mostly read and write
 * the same memory, the same in the next loop and the next call: what is in its cache stays there.
 * Who is done helps the others with theirs.
 *
 * A worker is driven by one word, `state`:
 *   IDLE      spins for a while, then -> SLEEPING                        by the worker
 *   SLEEPING  asleep, or about to be: a call needs a wake-up too         (-> IDLE if nobody called)
 *   CALLED    its job is posted (-> IDLE or STIRRED if called back)      by the caller that took it
 *   STIRRED   SLEEPING, or woken by now, but not about to sleep          (-> IDLE if nobody called)
 *   RUNNING   runs tasks, then -> IDLE                                   by the worker
 *   AWAITED   RUNNING, and the caller sleeps until it is not             by the caller
 *   QUIT      taken off the list for good                                by fc_parallel_stop
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "parallel.h"
#include "cpus.h"
#include "fpmode.h"
#include "park.h"
#include "place.h"
#include "scratch.h"
#include "size.h"
#include "team.h"
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE, SLEEPING, STIRRED, CALLED, RUNNING, AWAITED, QUIT };
enum { LINE = 64, STACK = 1 << 20, MOST_SHARES = 16 };
/* A worker looks out for the next call this long before it sleeps, a caller for its last worker.
 * Waking a sleeper costs a few microseconds here and some tens until it runs. */
enum { SPIN_IDLE = 30000, SPIN_FINISH = 40000 };

typedef struct worker worker;
/* Tasks next .. end - 1 are left of a share. */
typedef struct share {
    alignas(LINE) _Atomic int64_t next;
    int64_t end;
} share;

typedef struct job {
    fc_task run;
    fc_begin begin;                  /* or NULL */
    void *context;
    size_t scratch;
    _Atomic(worker *) asleep;        /* called workers that somebody must wake */
    _Atomic unsigned joined;         /* threads of a lent team that have begun */
    unsigned shares;
    share share[MOST_SHARES];
} job;

struct worker {
    alignas(LINE) fc_park state;
    /* Only the caller that took the worker touches these; the worker reads while RUNNING. */
    alignas(LINE) job *job;
    unsigned share;                  /* that it begins with */
    fc_scratch scratch;
    uint32_t was;                    /* state before CALLED */
    worker *next;                    /* in the idle list or in a caller's team */
    worker *next_asleep;
    pthread_t thread;
    fc_place place;
};

static struct {
    pthread_mutex_t lock;
    worker *idle;                    /* last used first: they may still be spinning */
    int busy;                        /* workers in teams */
    unsigned stops;                  /* calls of fc_parallel_stop */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Atomic int threads;          /* 0 until first asked for */
static int cpus;
static bool forkable;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool inside_task;

/* A fork waits until the lists are whole. */
static void before_fork(void)
{
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&pool.lock);
}

/* No worker has come along.  What idle ones held is freed; what belonged to a job under way in
 * another thread, or to that thread, may be half changed and is left alone. */
static void after_fork_in_child(void)
{
    while (pool.idle) {
        worker *gone = pool.idle;
        pool.idle = gone->next;
        fc_scratch_release(&gone->scratch);
        free(gone);
    }
    pool.busy = 0;
    fc_scratch_after_fork();
    pthread_mutex_unlock(&pool.lock);
}

static void initialise(void)
{
    cpus = fc_cpus_available();
    forkable = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

/* Until when to spin: not at all where threads outnumber CPUs, for then someone else needs this one. */
static int64_t spin_end(int64_t ns)
{
    return fc_get_num_threads() <= cpus ? fc_now_ns() + ns : 0;
}

/* Wakes two sleepers of a job.  Everyone who has a task does so first: many workers are then awake
 * after a few rounds, and no one caller pays for all of them. */
static void wake_two(job *j)
{
    for (int i = 0; i < 2; i++) {
        worker *w = atomic_load(&j->asleep);
        while (w && !atomic_compare_exchange_weak(&j->asleep, &w, w->next_asleep))
            ;
        if (!w)
            return;
        fc_place_apart(&w->place, w->thread, &w->state.word, CALLED);
        fc_park_wake(&w->state);
    }
}

/* Tasks of a share until none is left; whether this thread has begun. */
static bool run_share(job *j, share *mine, bool begun, void *scratch)
{
    for (;;) {
        const int64_t task = atomic_fetch_add_explicit(&mine->next, 1, memory_order_relaxed);
        if (task >= mine->end)
            return begun;
        wake_two(j);
        if (!begun && j->begin)
            j->begin(j->context, scratch);
        begun = true;
        j->run(j->context, task, scratch);
    }
}

static void run_tasks(job *j, unsigned first, void *scratch)
{
    const uint64_t mode = fc_fp_enter();
    const bool nested = inside_task;
    bool begun = false;
    inside_task = true;
    for (unsigned i = 0; i < j->shares; i++)
        begun = run_share(j, &j->share[(first + i) % j->shares], begun, scratch);
    inside_task = nested;
    fc_fp_leave(mode);
}

static void *work(void *argument)
{
    worker *w = argument;
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "fastconv");
#endif
    for (;;) {
        uint32_t seen = IDLE;
        if (!fc_park_spin(&w->state, IDLE, spin_end(SPIN_IDLE))
            && atomic_compare_exchange_strong(&w->state.word, &seen, SLEEPING))
            fc_park_sleep(&w->state, SLEEPING);
        /* Woken for a job that was over too soon: spin, for the next one may follow at once. */
        seen = SLEEPING;
        if (!atomic_compare_exchange_strong(&w->state.word, &seen, IDLE) && seen == STIRRED)
            atomic_compare_exchange_strong(&w->state.word, &seen, IDLE);
        seen = CALLED;
        const bool called = atomic_compare_exchange_strong(&w->state.word, &seen, RUNNING);
        fc_place_back(&w->place);    /* after CALLED has ended, for only then is it moved */
        if (!called) {
            if (seen == QUIT)
                return NULL;
            continue;                /* called back in the meantime */
        }
        run_tasks(w->job, w->share, w->scratch.base);
        if (atomic_exchange(&w->state.word, IDLE) == AWAITED)
            fc_park_wake(&w->state);
    }
}

/* A new worker, or NULL where the system has no thread left.  Signals stay with the program's own
 * threads, except those that a fault in this thread raises. */
static worker *start_worker(void)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS };
    sigset_t blocked, before;
    pthread_attr_t attributes;
    worker *w = aligned_alloc(LINE, sizeof *w);
    if (!w)
        return NULL;
    memset(w, 0, sizeof *w);
    fc_park_init(&w->state, IDLE);
    fc_place_init(&w->place);
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&blocked, faults[i]);
    int failed = pthread_attr_init(&attributes);
    if (!failed) {
        pthread_attr_setstacksize(&attributes, STACK);
        pthread_sigmask(SIG_SETMASK, &blocked, &before);
        failed = pthread_create(&w->thread, &attributes, work, w);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (failed) {
        free(w);
        return NULL;
    }
    return w;
}

/* Ends workers that are on no list.  They are between jobs. */
static void quit(worker *team)
{
    while (team) {
        worker *w = team;
        team = w->next;
        if (atomic_exchange(&w->state.word, QUIT) != IDLE)
            fc_park_wake(&w->state);
        pthread_join(w->thread, NULL);
        fc_scratch_release(&w->scratch);
        free(w);
    }
}

/* Up to `want` workers, started where too few are idle; all teams together stay below the number of
 * threads.  `stops` is for give_back. */
static worker *take(int64_t want, unsigned *stops)
{
    worker *team = NULL, **end = &team;
    const int most = fc_get_num_threads() - 1;
    pthread_mutex_lock(&pool.lock);
    for (; want > 0 && pool.busy < most; want--) {
        worker *w = pool.idle;
        if (w)
            pool.idle = w->next;
        else if (!(w = start_worker()))
            break;
        pool.busy++;
        *end = w;
        end = &w->next;
    }
    *end = NULL;
    *stops = pool.stops;
    pthread_mutex_unlock(&pool.lock);
    return team;
}

/* Every idle worker. */
static worker *take_idle(unsigned *stops)
{
    pthread_mutex_lock(&pool.lock);
    worker *team = pool.idle;
    pool.idle = NULL;
    for (worker *w = team; w; w = w->next)
        pool.busy++;
    *stops = pool.stops;
    pthread_mutex_unlock(&pool.lock);
    return team;
}

/* Puts a team back in front of the list, or ends it if the pool was stopped since it was taken. */
static void give_back(worker *team, unsigned stops)
{
    worker **end = &team;
    if (!team)
        return;
    pthread_mutex_lock(&pool.lock);
    for (; *end; end = &(*end)->next)
        pool.busy--;
    const bool stopped = stops != pool.stops;
    if (!stopped) {
        *end = pool.idle;
        pool.idle = team;
    }
    pthread_mutex_unlock(&pool.lock);
    if (stopped)
        quit(team);
}

/* Posts the job to each worker that has the memory for it. */
static void call(worker *team, job *j)
{
    worker *asleep = NULL, **end = &asleep;
    unsigned member = 0;
    for (worker *w = team; w; w = w->next) {
        member++;
        if (!fc_scratch_reserve(&w->scratch, j->scratch))
            continue;
        w->job = j;
        w->share = member;
        w->next_asleep = NULL;
        /* `was` is read by this thread only, so it may be written after the exchange. */
        w->was = atomic_exchange(&w->state.word, CALLED);
        if (w->was != IDLE) {
            *end = w;
            end = &w->next_asleep;
        }
    }
    atomic_store(&j->asleep, asleep);
}

/* Calls back the workers that have not begun and waits for those that have. */
static void finish(worker *team)
{
    const int64_t end = team ? spin_end(SPIN_FINISH) : 0;
    for (worker *w = team; w; w = w->next) {
        uint32_t seen = CALLED;
        /* A sleeper may have been woken by now or not: it makes itself IDLE if it was. */
        if (atomic_compare_exchange_strong(&w->state.word, &seen, w->was == IDLE ? IDLE : STIRRED)
            || seen != RUNNING)
            continue;
        if (fc_park_spin(&w->state, RUNNING, end))
            continue;
        atomic_compare_exchange_strong(&w->state.word, &seen, AWAITED);
        while (atomic_load(&w->state.word) == AWAITED)
            fc_park_sleep(&w->state, AWAITED);
    }
}

/* Worker threads that are worth waking: one for each 10 microseconds of work but the caller's. */
static int64_t helpers(int64_t tasks, double seconds)
{
    const int64_t most = fc_min(tasks, fc_get_num_threads());
    const double worth = seconds / 10e-6;
    if (inside_task || !(worth >= 2))
        return 0;
    return (worth < (double)most ? (int64_t)worth : most) - 1;
}

/* Even shares for so many threads. */
static void split(job *j, int64_t tasks, int64_t threads)
{
    const int64_t shares = fc_min(fc_min(threads, MOST_SHARES), tasks);
    int64_t first = 0;
    j->shares = (unsigned)shares;
    for (int64_t i = 0; i < shares; i++) {
        atomic_init(&j->share[i].next, first);
        first += (tasks - first) / (shares - i);
        j->share[i].end = first;
    }
}

/* What each thread of a lent team does, the caller's among them. */
static void help(void *argument)
{
    job *j = argument;
    fc_scratch *mine = fc_scratch_of_thread();
    if (mine && fc_scratch_reserve(mine, j->scratch))
        run_tasks(j, atomic_fetch_add(&j->joined, 1), mine->base);
}

static void clear_share(void *argument)
{
    (void)argument;
    fc_scratch_clear_thread();
}

fc_status fc_parallel(int64_t tasks, double seconds, size_t scratch, fc_task run, void *context, fc_error *error)
{
    return fc_parallel_each(tasks, seconds, scratch, NULL, run, context, error);
}

fc_status fc_parallel_each(int64_t tasks, double seconds, size_t scratch, fc_begin begin, fc_task run, void *context,
                           fc_error *error)
{
    job j;
    fc_scratch own = { 0 };          /* of this call alone: a task's own scratch is in use */
    fc_scratch *mine = inside_task ? NULL : fc_scratch_of_thread();
    worker *team = NULL;
    unsigned stops = 0;
    if (tasks <= 0)
        return FC_OK;
    if (!mine)
        mine = &own;
    if (!fc_scratch_reserve(mine, scratch))
        return fc_fail(error, FC_NO_MEMORY, "cannot allocate %zu bytes of scratch memory for one thread", scratch);
    const int64_t want = helpers(tasks, seconds);
    j.run = run;
    j.begin = begin;
    j.context = context;
    j.scratch = scratch;
    atomic_init(&j.asleep, NULL);
    atomic_init(&j.joined, 0);
    split(&j, tasks, 1 + want);
    if (want > 0) {
        pthread_once(&once, initialise);
        /* A caller whose scratch is not its thread's has no memory left to speak of. */
        if (forkable && mine != &own && fc_team_run(fc_get_num_threads(), help, &j))
            return FC_OK;
        team = forkable ? take(want, &stops) : NULL; /* else the child of a fork would hang */
        call(team, &j);
    }
    run_tasks(&j, 0, mine->base);
    finish(team);
    give_back(team, stops);
    fc_scratch_release(&own);
    return FC_OK;
}

bool fc_makes_own(size_t size)
{
    enum { MOST = 4 << 20 };         /* of each thread: its scratch stays in cache, or nearly */
    return fc_get_num_threads() > 1 && size <= MOST;
}

int fc_get_num_threads(void)
{
    int count = atomic_load(&threads);
    if (count == 0) {
        const int fresh = fc_default_num_threads();
        if (atomic_compare_exchange_strong(&threads, &count, fresh))
            count = fresh;           /* else another thread has just set it: count is that */
    }
    return count;
}

void fc_set_num_threads(int count)
{
    atomic_store(&threads, count < 1 ? 1 : count > FC_MOST_THREADS ? FC_MOST_THREADS : count);
}

void fc_clear_scratch(void)
{
    unsigned stops;
    worker *team = take_idle(&stops);
    for (worker *w = team; w; w = w->next)
        fc_scratch_release(&w->scratch);
    give_back(team, stops);
    if (inside_task)
        return;
    fc_scratch_clear_thread();
    fc_team_run(fc_get_num_threads(), clear_share, NULL);
}

void fc_parallel_stop(void)
{
    pthread_mutex_lock(&pool.lock);
    worker *team = pool.idle;
    pool.idle = NULL;
    pool.stops++;
    pthread_mutex_unlock(&pool.lock);
    quit(team);
}
