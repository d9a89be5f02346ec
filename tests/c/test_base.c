/* Stress test of the thread pool and its scratch memory (src_c/base/parallel.h).  Run by the test
 * suite as a program of its own: prints what failed, exits with 0 where nothing did.
 *
 *   cc -std=c11 -g -O1 tests/c/test_base.c src_c/base/{cpus,parallel,scratch,status}.c -lpthread -lm
 *
 * and once more with -fsanitize=thread and with -fsanitize=address,undefined. */
#define _GNU_SOURCE
#include "../../src_c/base/cpus.h"
#include "../../src_c/base/parallel.h"
#include "../../src_c/base/scratch.h"
#include "check.h"
#include <dirent.h>
#include <fenv.h>
#include <float.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Children of a fork start threads, and sizes that no machine has are asked for on purpose. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0:allocator_may_return_null=1"; }
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

static const double LARGE = 1;       /* seconds: enough for any number of threads to be woken */

static void nap(long microseconds)
{
    nanosleep(&(struct timespec){ 0, microseconds * 1000 }, NULL);
}

/* Threads of this process by the kernel's count. */
static int count_threads(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/task");
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return count;
}

/* A thread that was joined may be listed a moment longer. */
static bool threads_become(int count)
{
    for (int i = 0; i < 2000 && count_threads() != count; i++)
        nap(1000);
    return count_threads() == count;
}

/* --- every task once --------------------------------------------------------------------------- */

enum { MOST_TASKS = 1000 };

/* Plain counters: a task that ran twice at once, or whose writes the caller does not see, is a race. */
static void count_task(void *context, int64_t task, void *scratch)
{
    (void)scratch;
    ((int *)context)[task]++;
}

static bool all_once(const int *counts, int64_t tasks)
{
    for (int64_t i = 0; i < tasks; i++)
        if (counts[i] != 1)
            return false;
    return counts[tasks] == 0;
}

/* One call that has to come out right; used by the tests below for "the pool works". */
static bool call_works(int64_t tasks, double seconds, size_t scratch)
{
    int counts[MOST_TASKS + 1] = { 0 };
    fc_error error;
    return fc_parallel(tasks, seconds, scratch, count_task, counts, &error) == FC_OK && all_once(counts, tasks);
}

static void *do_nothing(void *argument)
{
    return argument;
}

static void test_small_calls_start_nothing(void)
{
    pthread_t first;                 /* sanitizers start a thread of their own beside it */
    pthread_create(&first, NULL, do_nothing, NULL);
    pthread_join(first, NULL);
    nap(10000);
    const int before = count_threads();
    fc_set_num_threads(4);
    for (int i = 0; i < 100; i++)
        CHECK(call_works(100, 5e-6, 64));
    CHECK(call_works(1, LARGE, 64));
    CHECK(count_threads() == before);
    CHECK(call_works(100, LARGE, 64));
    CHECK(count_threads() == before + 3);
    fc_parallel_stop();
    CHECK(threads_become(before));
    CHECK(call_works(100, LARGE, 64));
    CHECK(count_threads() == before + 3);
}

static void test_every_task_once(void)
{
    for (int threads = 1; threads <= 8; threads++) {
        fc_set_num_threads(threads);
        CHECK(fc_get_num_threads() == threads);
        for (int64_t tasks = 0; tasks <= MOST_TASKS; tasks++)
            if (!call_works(tasks, LARGE, 0))
                fprintf(stderr, "%d threads, %d tasks: ", threads, (int)tasks), CHECK(!"every task once");
    }
    CHECK(call_works(0, LARGE, SIZE_MAX)); /* no tasks need no scratch */
}

typedef struct crowd {
    _Atomic int running, most;
    int wanted;
} crowd;

/* Waits, for five seconds at most, until as many tasks as there are threads run at the same time. */
static void meet(void *context, int64_t task, void *scratch)
{
    crowd *c = context;
    (void)task, (void)scratch;
    const int running = atomic_fetch_add(&c->running, 1) + 1;
    for (int most = atomic_load(&c->most); most < running;)
        if (atomic_compare_exchange_weak(&c->most, &most, running))
            break;
    for (int i = 0; i < 5000 && atomic_load(&c->most) < c->wanted; i++)
        nap(1000);
    nap(200);
    atomic_fetch_sub(&c->running, 1);
}

static void test_threads_meet(void)
{
    static const struct { double seconds; int threads, together; } cases[] = {
        { LARGE, 2, 2 }, { LARGE, 8, 8 }, { LARGE, 3, 3 }, { 35e-6, 8, 3 }, { LARGE, 1, 1 }, { 15e-6, 8, 1 },
    };
    fc_error error;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int round = 0; round < 3; round++) {
            crowd c = { .wanted = cases[i].together };
            fc_set_num_threads(cases[i].threads);
            nap(round * 1000); /* 0: workers may still spin; later they sleep */
            CHECK(fc_parallel(24, cases[i].seconds, 0, meet, &c, &error) == FC_OK);
            CHECK(c.most == cases[i].together && c.running == 0);
        }
}

/* --- scratch ----------------------------------------------------------------------------------- */

/* Fills its scratch with the task's number, lets others run, and finds it as it was. */
static void fill_scratch(void *context, int64_t task, void *scratch)
{
    const size_t size = *(const size_t *)context;
    unsigned char *bytes = scratch;
    const unsigned char mark = (unsigned char)(task + 1);
    CHECK((uintptr_t)scratch % 64 == 0 && scratch);
    memset(bytes, mark, size);
    nap(50);
    size_t same = 0;
    for (size_t i = 0; i < size; i++)
        same += bytes[i] == mark;
    CHECK(same == size);
}

static void test_scratch(void)
{
    static const size_t sizes[] = { 1, 63, 64, 65, 4095, 4097, 100000, (2 << 20) - 1, (2 << 20) + 1, 5 << 20, 7 };
    fc_error error;
    fc_set_num_threads(5);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        CHECK(fc_parallel(20, LARGE, size, fill_scratch, &size, &error) == FC_OK);
        CHECK(fc_scratch_held() >= size);
    }
    fc_clear_scratch();
    CHECK(fc_scratch_held() == 0);
    CHECK(call_works(20, LARGE, 4096));
    CHECK(fc_scratch_held() == 5 * 4096);
}

static void *use_scratch(void *argument)
{
    (void)argument;
    CHECK(call_works(5, 0, 1 << 20));
    CHECK(fc_scratch_held() == 1 << 20);
    return NULL;
}

static void test_thread_frees_its_scratch(void)
{
    pthread_t thread;
    fc_clear_scratch();
    pthread_create(&thread, NULL, use_scratch, NULL);
    pthread_join(thread, NULL);
    CHECK(fc_scratch_held() == 0);
}

/* Borrowed blocks are a stack, keep their addresses from call to call, and are freed when nobody has them. */
static void test_borrowed(void)
{
    enum { SIZE = 1 << 16, DEPTH = 5 };
    unsigned char *blocks[DEPTH];
    fc_clear_scratch();
    blocks[0] = fc_scratch_borrow(0);         /* no bytes are not no memory */
    CHECK(blocks[0] != NULL);
    fc_scratch_give_back(blocks[0]);
    for (int i = 0; i < DEPTH; i++) {
        blocks[i] = fc_scratch_borrow(SIZE);
        CHECK(blocks[i] && (uintptr_t)blocks[i] % 64 == 0);
        memset(blocks[i], i, SIZE);
    }
    fc_clear_scratch(); /* frees nothing that is in use */
    for (int i = 0; i < DEPTH; i++)
        CHECK(blocks[i][0] == i && blocks[i][SIZE - 1] == i);
    CHECK(fc_scratch_held() >= SIZE);
    for (int i = DEPTH - 1; i >= 0; i--)
        fc_scratch_give_back(blocks[i]);
    CHECK(fc_scratch_borrow(SIZE) == blocks[0]);
    fc_scratch_give_back(blocks[0]);
    fc_scratch_give_back(NULL);
    CHECK(fc_scratch_borrow(SIZE_MAX) == NULL);
    fc_scratch_give_back(fc_scratch_borrow((size_t)FC_KEPT_BYTES + 1)); /* too large to keep */
    fc_clear_scratch();
    CHECK(fc_scratch_held() == 0);
}

static void test_huge_scratch(void)
{
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 63, SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 2 - (4 << 20) };
    int counts[101] = { 0 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fc_error error = { FC_OK, "" };
        char number[32];
        snprintf(number, sizeof number, "%zu bytes", sizes[i]);
        CHECK(fc_parallel(100, LARGE, sizes[i], count_task, counts, &error) == FC_NO_MEMORY);
        CHECK(error.status == FC_NO_MEMORY && strstr(error.text, number));
        CHECK(call_works(100, LARGE, 64));
    }
    for (int i = 0; i < 101; i++)
        CHECK(counts[i] == 0);
}

/* Slow enough for several threads to take part, and each needs its scratch. */
static void use_both_ends(void *context, int64_t task, void *scratch)
{
    const size_t size = *(const size_t *)context;
    CHECK(scratch);
    if (scratch)
        ((char *)scratch)[0] = ((char *)scratch)[size - 1] = (char)task;
    nap(200);
}

/* The address space holds the caller's scratch and not that of eight threads: the call works. */
static void test_scratch_for_some(void)
{
    if (SANITIZED)
        return;                      /* sanitizers reserve terabytes of addresses */
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        long pages = 0;
        FILE *file = fopen("/proc/self/statm", "r");
        CHECK(file && fscanf(file, "%ld", &pages) == 1);
        fc_set_num_threads(8);
        CHECK(call_works(100, LARGE, 64)); /* the threads' stacks are there now */
        const rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (800u << 20);
        CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){ most, most }) == 0);
        size_t size = 300u << 20;
        fc_error error;
        CHECK(fc_parallel(100, LARGE, size, use_both_ends, &size, &error) == FC_OK);
        CHECK(fc_scratch_held() < 3 * (300u << 20));
        CHECK(call_works(100, LARGE, 64));
        _exit(atomic_load(&failures) != 0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* --- calls from tasks and from many threads ---------------------------------------------------- */

typedef struct inner {
    pthread_t thread;
    unsigned char *outer;
    int counts[31];
} inner;

static void inner_task(void *context, int64_t task, void *scratch)
{
    inner *in = context;
    CHECK(pthread_equal(in->thread, pthread_self()));
    CHECK((unsigned char *)scratch + 256 <= in->outer || in->outer + 256 <= (unsigned char *)scratch);
    CHECK((uintptr_t)scratch % 64 == 0);
    memset(scratch, 0xee, 256);
    in->counts[task]++;
}

static void outer_task(void *context, int64_t task, void *scratch)
{
    inner in = { .thread = pthread_self(), .outer = scratch };
    fc_error error;
    memset(scratch, (int)task, 256);
    CHECK(fc_parallel(30, LARGE, 256, inner_task, &in, &error) == FC_OK);
    CHECK(all_once(in.counts, 30));
    CHECK(fc_parallel(30, LARGE, SIZE_MAX, inner_task, &in, &error) == FC_NO_MEMORY);
    fc_clear_scratch();              /* must leave the scratch of running tasks */
    CHECK(in.outer[0] == (unsigned char)task && in.outer[255] == (unsigned char)task);
    ((int *)context)[task]++;
}

static void test_nested(void)
{
    fc_error error;
    for (int threads = 1; threads <= 4; threads++) {
        int counts[101] = { 0 };
        fc_set_num_threads(threads);
        CHECK(fc_parallel(100, LARGE, 256, outer_task, counts, &error) == FC_OK);
        CHECK(all_once(counts, 100));
    }
}

enum { CALLERS = 8, CALLS = 2000 };

static void *call_often(void *argument)
{
    const unsigned seed = (unsigned)(uintptr_t)argument;
    for (unsigned i = 0; i < CALLS; i++) {
        const unsigned r = (seed * 2654435761u + i) * 2246822519u >> 12;
        if (!call_works(r % 40, r % 5 ? LARGE : 0, r % 3 ? r % 9000 : 0))
            CHECK(!"many callers: every task once");
    }
    return NULL;
}

static void test_many_callers(void)
{
    pthread_t callers[CALLERS];
    fc_parallel_stop();
    nap(10000);
    const int before = count_threads();
    fc_set_num_threads(4);
    for (uintptr_t i = 0; i < CALLERS; i++)
        pthread_create(&callers[i], NULL, call_often, (void *)(i + 1));
    for (int i = 0; i < CALLERS; i++)
        pthread_join(callers[i], NULL);
    CHECK(threads_become(before + 3)); /* workers are shared, not the callers' own */
    fc_clear_scratch();
    CHECK(fc_scratch_held() == 0);
}

static _Atomic bool enough;

/* Runs until it may end, and says that it has begun. */
static void linger(void *context, int64_t task, void *scratch)
{
    (void)task, (void)scratch;
    atomic_fetch_add((_Atomic int *)context, 1);
    while (!atomic_load(&enough))
        nap(100);
}

static void *call_linger(void *begun)
{
    fc_error error;
    CHECK(fc_parallel(4, LARGE, 0, linger, begun, &error) == FC_OK);
    return NULL;
}

/* A stop does not wait for another thread's call; its workers end with it. */
static void test_stop_beside_a_call(void)
{
    pthread_t caller;
    _Atomic int begun = 0;
    fc_parallel_stop();
    nap(10000);
    const int before = count_threads();
    fc_set_num_threads(4);
    atomic_store(&enough, false);
    pthread_create(&caller, NULL, call_linger, &begun);
    for (int i = 0; i < 5000 && atomic_load(&begun) < 4; i++)
        nap(1000);
    CHECK(begun == 4 && count_threads() == before + 4);
    CHECK(call_works(100, LARGE, 64)); /* alone: nobody is left, and nobody is waited for */
    CHECK(count_threads() == before + 4);
    fc_parallel_stop();
    CHECK(count_threads() == before + 4);
    atomic_store(&enough, true);
    pthread_join(caller, NULL);
    CHECK(threads_become(before));
    CHECK(call_works(100, LARGE, 64));
    CHECK(count_threads() == before + 3);
}

static void *call_until_enough(void *argument)
{
    (void)argument;
    while (!atomic_load(&enough))
        if (!call_works(30, LARGE, 5000))
            CHECK(!"calls beside another thread: every task once");
    return NULL;
}

/* Everything that may be called at any time, beside three threads that run jobs. */
static void test_settings_while_running(void)
{
    pthread_t callers[3];
    atomic_store(&enough, false);
    for (int i = 0; i < 3; i++)
        pthread_create(&callers[i], NULL, call_until_enough, NULL);
    for (int i = 0; i < 2000; i++) {
        fc_set_num_threads(1 + i % 8);
        CHECK(fc_get_num_threads() == 1 + i % 8);
        if (i % 7 == 0)
            fc_clear_scratch();
        if (i % 50 == 0)
            fc_parallel_stop();
        if (i % 3 == 0)
            CHECK(call_works(10, LARGE, 100));
        nap(20);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < 3; i++)
        pthread_join(callers[i], NULL);
    fc_set_num_threads(0);
    CHECK(fc_get_num_threads() == 1);
    fc_set_num_threads(FC_MOST_THREADS + 1);
    CHECK(fc_get_num_threads() == FC_MOST_THREADS);
    fc_set_num_threads(4);
}

/* --- fork and exit ----------------------------------------------------------------------------- */

/* Forks, uses the pool in both, and takes the child's word for it.  `leave` is exit or _exit. */
static void fork_once(void (*leave)(int))
{
    const int before = atomic_load(&failures);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        alarm(30);
        atomic_store(&enough, true);
        CHECK(fc_scratch_held() <= 1 << 20);
        for (int i = 0; i < 20; i++)
            CHECK(call_works(50, LARGE, 3000));
        crowd c = { .wanted = 2 };
        fc_error error;
        CHECK(fc_parallel(8, LARGE, 64, meet, &c, &error) == FC_OK && c.most >= 2);
        leave(atomic_load(&failures) != before);
    }
    CHECK(call_works(50, LARGE, 3000));
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

static void test_fork(void)
{
    pthread_t callers[2];
    fc_set_num_threads(4);
    fc_clear_scratch();
    for (int i = 0; i < 5; i++)
        fork_once(_exit);
    atomic_store(&enough, false);
    for (int i = 0; i < 2; i++)
        pthread_create(&callers[i], NULL, call_until_enough, NULL);
    for (int i = 0; i < 30; i++)
        fork_once(_exit);
    atomic_store(&enough, true);
    for (int i = 0; i < 2; i++)
        pthread_join(callers[i], NULL);
    CHECK(call_works(50, LARGE, 3000));
}

/* The process ends while workers spin, sleep or are at work for a thread that nobody joins.  Comes
 * first, so that sanitizers see whole processes end and not what a fork left of them. */
static void test_exit(void)
{
    for (int i = 0; i < 10; i++) {
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            pthread_t caller;
            alarm(30);
            atomic_store(&enough, false);
            if (i % 2 && pthread_create(&caller, NULL, call_until_enough, NULL) == 0)
                pthread_detach(caller);
            CHECK(call_works(50, LARGE, 3000));
            nap(i * 20);
            exit(atomic_load(&failures) != 0);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
}

/* --- floating-point mode ----------------------------------------------------------------------- */

static bool denormals_live(void)
{
    volatile float small = FLT_MIN, half = 0.5f;
    volatile double small_double = DBL_MIN, half_double = 0.5;
    volatile float made = small * half;
    volatile double made_double = small_double * half_double;
    return made != 0 && made_double != 0;
}

/* A denormal that was made elsewhere and only read here. */
static bool denormals_read(float denormal)
{
    volatile float from = denormal, large = 1e30f;
    return from * large != 0;
}

/* By arithmetic: fegetround looks at the x87 unit on x86-64. */
static bool rounds_up(void)
{
    volatile float one = 1, little = FLT_EPSILON / 4;
    return one + little > one;
}

static void see_mode(void *context, int64_t task, void *scratch)
{
    (void)task, (void)scratch;
#if defined(__x86_64__) || defined(__aarch64__)
    CHECK(!rounds_up());
    CHECK(!denormals_live());
    CHECK(!denormals_read(*(const float *)context));
#endif
}

static void test_mode(void)
{
    static const double seconds[] = { 0, LARGE };
    float denormal;
    fc_error error;
    memcpy(&denormal, &(uint32_t){ 0x1000 }, 4);
    fc_set_num_threads(3);
    for (int i = 0; i < 2; i++) {
        fesetround(FE_UPWARD);
        feclearexcept(FE_ALL_EXCEPT);
        CHECK(fc_parallel(60, seconds[i], 0, see_mode, &denormal, &error) == FC_OK);
        CHECK(rounds_up() && fegetround() == FE_UPWARD);
        fesetround(FE_TONEAREST);
        CHECK(denormals_live() && denormals_read(denormal));
    }
}

static void test_nothing_is_left(void)
{
    fc_parallel_stop();
    fc_clear_scratch();
    CHECK(fc_scratch_held() == 0);
}

int main(void)
{
    static const test tests[] = {
        TEST(test_exit), TEST(test_small_calls_start_nothing), TEST(test_every_task_once), TEST(test_threads_meet),
        TEST(test_scratch), TEST(test_thread_frees_its_scratch), TEST(test_borrowed), TEST(test_huge_scratch),
        TEST(test_scratch_for_some), TEST(test_nested), TEST(test_many_callers), TEST(test_stop_beside_a_call),
        TEST(test_settings_while_running), TEST(test_fork), TEST(test_mode), TEST(test_nothing_is_left),
    };
    alarm(600);                      /* a hang is a failure */
    return run_tests("test_base", tests, sizeof tests / sizeof tests[0]);
}
