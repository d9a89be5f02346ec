/* Waiting for a word to change: a short spin, then sleep in the kernel.  Used by parallel.c.
 * Linux has futexes; elsewhere a mutex and a condition variable do the same. */
#ifndef FC_BASE_PARK_H
#define FC_BASE_PARK_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#if defined(__linux__) && !defined(FC_NO_FUTEX)
#define FC_FUTEX 1
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define FC_FUTEX 0
#include <pthread.h>
#endif

typedef struct fc_park {
    _Atomic uint32_t word;
#if !FC_FUTEX
    pthread_mutex_t lock;
    pthread_cond_t changed;
#endif
} fc_park;

static inline void fc_park_init(fc_park *park, uint32_t word)
{
    atomic_init(&park->word, word);
#if !FC_FUTEX
    pthread_mutex_init(&park->lock, NULL);
    pthread_cond_init(&park->changed, NULL);
#endif
}

/* Sleeps while the word is `value`; may return early, so the caller looks again. */
static inline void fc_park_sleep(fc_park *park, uint32_t value)
{
#if FC_FUTEX
    syscall(SYS_futex, &park->word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#else
    pthread_mutex_lock(&park->lock);
    if (atomic_load(&park->word) == value)
        pthread_cond_wait(&park->changed, &park->lock);
    pthread_mutex_unlock(&park->lock);
#endif
}

/* Wakes whoever sleeps on the word.  The word has been changed before. */
static inline void fc_park_wake(fc_park *park)
{
#if FC_FUTEX
    syscall(SYS_futex, &park->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
#else
    pthread_mutex_lock(&park->lock);
    pthread_cond_broadcast(&park->changed);
    pthread_mutex_unlock(&park->lock);
#endif
}

static inline int64_t fc_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Spins while the word is `value`, until about `end` (of fc_now_ns), 0 for hardly at all.  False
 * where the time ran out. */
static inline bool fc_park_spin(fc_park *park, uint32_t value, int64_t end)
{
    do {
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(&park->word, memory_order_acquire) != value)
                return true;
#if defined(__x86_64__)
            __asm__ volatile("pause");
#elif defined(__aarch64__)
            __asm__ volatile("yield");
#endif
        }
    } while (end > 0 && fc_now_ns() < end);
    return false;
}
#endif
