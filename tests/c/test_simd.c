/* The vector vocabulary against plain C, one instruction set per build: -DFC_TEST_ISA=avx2 includes
 * simd/avx2.h (-Isrc_c/simd).  Built and run by test_simd.py.  Exit code 77: this CPU lacks the ISA. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#include TEXT(FC_TEST_ISA.h)

enum { FAILURES_SHOWN = 20 };
static long checks, failures;

/* What is being done to guarded memory, for the handler. */
static const char *volatile touching = "nothing";
static volatile int touching_n;

static void on_fault(int signal_number)
{
    char text[128];
    int length = snprintf(text, sizeof text, "signal %d: %s, n = %d, touched memory that is not its own\n",
                          signal_number, touching, touching_n);
    if (write(STDERR_FILENO, text, (size_t)length) < 0)
        _exit(2);
    _exit(1);
}

/* One readable page between two that fault. */
static unsigned char *guarded;
static size_t page;

static void guard(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *pages = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_READ | PROT_WRITE) != 0) {
        perror("guard pages");
        exit(2);
    }
    guarded = pages + page;
    struct sigaction action = { .sa_handler = on_fault };
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

static uint64_t random_state = 0x9E3779B97F4A7C15u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void expect(int ok, const char *what, int n)
{
    checks++;
    if (!ok && ++failures <= FAILURES_SHOWN)
        fprintf(stderr, "%s: wrong, n = %d\n", what, n);
}

static int cpu_has_isa(void)
{
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}

#define FC_F64 0
#include "../../src_c/simd/vec.h"
#include "test_simd.inc"
#undef FC_F64
#define FC_F64 1
#include "../../src_c/simd/vec.h"
#include "test_simd.inc"

int main(void)
{
    if (!cpu_has_isa())
        return 77;
    guard();
    test_all_f32();
    test_all_f64();
    printf("%s: %ld checks, %ld failures\n", TEXT(FC_ISA), checks, failures);
    return failures != 0;
}
