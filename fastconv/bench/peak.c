/* What one core can do: its peak of fused multiply-adds per instruction set and dtype, and the bytes it reads
 * per second.  A program of its own, built and run by fastconv.bench.peak; by hand:
 *     cc -O2 benchmarks/peak.c -o peak && ./peak
 * prints lines "flops ISA DTYPE PER_SECOND" and "read BYTES PER_SECOND"; `./peak avx2 float32` only that one. */
#define _POSIX_C_SOURCE 200809L
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Makes a register's value unknown to the compiler, so that it can neither foresee a chain nor drop it. */
#if defined __x86_64__
#define OPAQUE(v) __asm__ volatile("" : "+v"(v))
#elif defined __aarch64__
#define OPAQUE(v) __asm__ volatile("" : "+w"(v))
#endif

/* Enough independent chains acc = acc * m + c to hide the latency of all pipes, few enough for the registers.
 * Every function runs `steps` rounds of its chains and returns the operations done. */
#define FMA_CHAINS(name, attribute, vec, lanes, chains, set1, fma)   \
    attribute static double name(int64_t steps)                      \
    {                                                                \
        vec acc[chains], m = set1(0.999), c = set1(0.001);           \
        OPAQUE(m);                                                   \
        OPAQUE(c);                                                   \
        _Pragma("GCC unroll 32") for (int i = 0; i < chains; ++i)    \
            acc[i] = set1(1);                                        \
        for (int64_t s = 0; s < steps; ++s)                          \
            _Pragma("GCC unroll 32") for (int i = 0; i < chains; ++i) \
            {                                                        \
                acc[i] = fma(acc[i], m, c);                          \
                OPAQUE(acc[i]);                                      \
            }                                                        \
        return 2.0 * lanes * chains * (double)steps;                 \
    }

#if defined __x86_64__
/* Without a fused instruction the peak is multiplications and additions side by side, on chains of their own. */
#define MUL_ADD_CHAINS(name, vec, lanes, set1, mul, add)             \
    static double name(int64_t steps)                                \
    {                                                                \
        vec sum[6], product[6], m = set1(0.999), c = set1(0.001);    \
        OPAQUE(m);                                                   \
        OPAQUE(c);                                                   \
        _Pragma("GCC unroll 32") for (int i = 0; i < 6; ++i)         \
            sum[i] = product[i] = set1(1);                           \
        for (int64_t s = 0; s < steps; ++s) {                        \
            _Pragma("GCC unroll 32") for (int i = 0; i < 6; ++i)     \
            {                                                        \
                sum[i] = add(sum[i], c);                             \
                product[i] = mul(product[i], m);                     \
                OPAQUE(sum[i]);                                      \
                OPAQUE(product[i]);                                  \
            }                                                        \
            if (s % 1024 == 0) /* keep the products normal numbers */ \
                _Pragma("GCC unroll 32") for (int i = 0; i < 6; ++i) \
                    product[i] = set1(1);                            \
        }                                                            \
        return 2.0 * lanes * 6 * (double)steps;                      \
    }
MUL_ADD_CHAINS(scalar_f32, __m128, 4, _mm_set1_ps, _mm_mul_ps, _mm_add_ps)
MUL_ADD_CHAINS(scalar_f64, __m128d, 2, _mm_set1_pd, _mm_mul_pd, _mm_add_pd)
#define AVX2 __attribute__((target("avx2,fma")))
FMA_CHAINS(avx2_f32, AVX2, __m256, 8, 12, _mm256_set1_ps, _mm256_fmadd_ps)
FMA_CHAINS(avx2_f64, AVX2, __m256d, 4, 12, _mm256_set1_pd, _mm256_fmadd_pd)
#define AVX512 __attribute__((target("avx512f")))
FMA_CHAINS(avx512_f32, AVX512, __m512, 16, 24, _mm512_set1_ps, _mm512_fmadd_ps)
FMA_CHAINS(avx512_f64, AVX512, __m512d, 8, 24, _mm512_set1_pd, _mm512_fmadd_pd)
#elif defined __aarch64__
#define NEON_FMA_F32(a, m, c) vfmaq_f32(c, a, m)
#define NEON_FMA_F64(a, m, c) vfmaq_f64(c, a, m)
FMA_CHAINS(neon_f32, , float32x4_t, 4, 24, vdupq_n_f32, NEON_FMA_F32)
FMA_CHAINS(neon_f64, , float64x2_t, 2, 24, vdupq_n_f64, NEON_FMA_F64)
#endif

typedef struct { const char *isa, *dtype; bool present; double (*run)(int64_t steps); } peak_case;

/* Best of `tries` runs of about 2 ms: long enough for the clock, short enough to fit between interruptions. */
static double best_rate(double (*run)(int64_t), int tries)
{
    int64_t steps = 10000;
    double best = 0;
    for (int attempt = -1; attempt < tries;) {
        double start = now(), done = run(steps), spent = now() - start;
        if (spent < 0.5e-3) {
            steps *= 2;
            continue;
        }
        if (attempt < 0)
            steps = (int64_t)((double)steps * 2e-3 / spent) + 1;
        else if (done / spent > best)
            best = done / spent;
        ++attempt;
    }
    return best;
}

/* Read-only passes over `bytes` of memory, with enough independent sums to hide the latency of an addition. */
typedef uint64_t words4 __attribute__((vector_size(32), may_alias));
static inline __attribute__((always_inline)) double read_rate(const uint64_t *data, int64_t bytes, int tries)
{
    enum { SUMS = 8, STEP = SUMS * 4 };
    words4 sum[SUMS] = {{0}};
    int64_t words = bytes / (int64_t)sizeof *data, passes = 1 + (64 << 20) / bytes;
    double best = 0;
    for (int attempt = 0; attempt < tries; ++attempt) {
        double start = now();
        for (int64_t p = 0; p < passes; ++p) {
            __asm__ volatile("" : : "r"(data) : "memory");
            for (int64_t i = 0; i < words; i += STEP)
                _Pragma("GCC unroll 32") for (int j = 0; j < SUMS; ++j)
                    sum[j] += *(const words4 *)(data + i + 4 * j);
        }
        double rate = (double)passes * (double)bytes / (now() - start);
        if (rate > best)
            best = rate;
    }
    for (int j = 1; j < SUMS; ++j)
        sum[0] += sum[j];
    uint64_t total = sum[0][0] + sum[0][1] + sum[0][2] + sum[0][3];
    __asm__ volatile("" : : "r"(total));
    return best;
}

static double read_baseline(const uint64_t *data, int64_t bytes) { return read_rate(data, bytes, 5); }
#if defined __x86_64__
AVX2 static double read_avx2(const uint64_t *data, int64_t bytes) { return read_rate(data, bytes, 5); }
#endif

int main(int argc, char **argv)
{
    const peak_case cases[] = {
#if defined __x86_64__
        {"scalar", "float32", true, scalar_f32},
        {"scalar", "float64", true, scalar_f64},
        {"avx2", "float32", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), avx2_f32},
        {"avx2", "float64", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), avx2_f64},
        {"avx512", "float32", __builtin_cpu_supports("avx512f"), avx512_f32},
        {"avx512", "float64", __builtin_cpu_supports("avx512f"), avx512_f64},
#elif defined __aarch64__
        {"scalar", "float32", true, neon_f32}, /* the compiler's baseline has these vectors too */
        {"scalar", "float64", true, neon_f64},
        {"neon", "float32", true, neon_f32},
        {"neon", "float64", true, neon_f64},
#endif
        {NULL, NULL, false, NULL},
    };
    for (const peak_case *c = cases; c->isa; ++c)
        if (c->present && (argc < 3 || (!strcmp(argv[1], c->isa) && !strcmp(argv[2], c->dtype))))
            printf("flops %s %s %.4g\n", c->isa, c->dtype, best_rate(c->run, argc < 3 ? 25 : 10));
    if (argc >= 3)
        return 0;
    const int64_t sizes[] = {16 << 10, 256 << 10, 4 << 20, 256 << 20};
    uint64_t *data = aligned_alloc(64, (size_t)sizes[3]);
    if (!data) {
        fprintf(stderr, "peak: no memory for %lld bytes\n", (long long)sizes[3]);
        return 1;
    }
    memset(data, 1, (size_t)sizes[3]); /* real pages, not the zero page */
    double (*rate)(const uint64_t *, int64_t) = read_baseline;
#if defined __x86_64__
    if (__builtin_cpu_supports("avx2"))
        rate = read_avx2;
#endif
    for (int i = 0; i < 4; ++i)
        printf("read %lld %.4g\n", (long long)sizes[i], rate(data, sizes[i]));
    free(data);
    return 0;
}
