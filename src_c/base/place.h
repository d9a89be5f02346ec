/* Wakes a thread away from its waker's CPU.  Used by parallel.c.
 *
 * Linux may put a thread that it wakes on the CPU of the thread that wakes it, which is at work and
 * stays so: after a pause of 10 milliseconds or more between calls, four of five calls for two
 * threads took as long as for one.  So a sleeper may run anywhere but there until it has woken.
 * A thread's CPUs are as they were afterwards, unless somebody else has chosen others meanwhile; where it has no other,
 * nothing is done. */
#ifndef FC_BASE_PLACE_H
#define FC_BASE_PLACE_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#if defined(__linux__) && !defined(__ANDROID__)
#define FC_PLACE 1
#include <sched.h>
#include <stdbool.h>
#else
#define FC_PLACE 0
#endif

typedef struct fc_place {
    pthread_mutex_t lock;            /* a waker and a thread that has woken by itself may meet */
#if FC_PLACE
    bool moved;
    cpu_set_t before, apart;         /* of 1024 CPUs: on larger machines nothing is done */
#endif
} fc_place;

static inline void fc_place_init(fc_place *place)
{
    pthread_mutex_init(&place->lock, NULL);
#if FC_PLACE
    place->moved = false;
#endif
}

/* By the waker, just before it wakes the thread; nothing is done unless *state is `value`, which is to
 * hold until the thread is awake and about to call fc_place_back. */
static inline void fc_place_apart(fc_place *place, pthread_t thread, _Atomic uint32_t *state, uint32_t value)
{
#if FC_PLACE
    const int here = sched_getcpu();
    pthread_mutex_lock(&place->lock);
    if (here >= 0 && here < CPU_SETSIZE && atomic_load(state) == value
        && (place->moved || pthread_getaffinity_np(thread, sizeof place->before, &place->before) == 0)) {
        cpu_set_t apart = place->before;
        CPU_CLR(here, &apart);
        if (CPU_COUNT(&apart) > 0 && !CPU_EQUAL(&apart, &place->before)
            && pthread_setaffinity_np(thread, sizeof apart, &apart) == 0) {
            place->apart = apart;
            place->moved = true;
        }
    }
    pthread_mutex_unlock(&place->lock);
#else
    (void)place, (void)thread, (void)state, (void)value;
#endif
}

/* By the thread itself, once it is awake and *state is no longer `value`. */
static inline void fc_place_back(fc_place *place)
{
#if FC_PLACE
    pthread_mutex_lock(&place->lock);
    cpu_set_t now;
    if (place->moved && pthread_getaffinity_np(pthread_self(), sizeof now, &now) == 0 && CPU_EQUAL(&now, &place->apart))
        pthread_setaffinity_np(pthread_self(), sizeof place->before, &place->before);
    place->moved = false;
    pthread_mutex_unlock(&place->lock);
#else
    (void)place;
#endif
}
#endif
