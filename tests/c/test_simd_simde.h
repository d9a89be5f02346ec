/* AVX-512 intrinsics on a CPU that has none: SIMDe's emulation, and the few of them that it lacks.
 * Given to the compiler with -include before simd/avx512.h (or isa/avx512.c); needs -Wno-psabi. */
#ifndef TEST_SIMD_SIMDE_H
#define TEST_SIMD_SIMDE_H
#if !defined(__AVX2__) || !defined(__FMA__)
#error "the emulation stands on AVX2 and FMA: compile with -mavx2 -mfma"
#endif
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

/* 64 bytes are no register here. */
#define vkeep(v) ((void)(v))

#define FC_EMULATE(suffix, real, vector, mask)                                                  \
    static inline vector fc_emulated_maskz_loadu_##suffix(mask m, const void *p)                \
    {                                                                                           \
        real lanes[sizeof(vector) / sizeof(real)] = { 0 };                                      \
        for (unsigned i = 0; i < sizeof(vector) / sizeof(real); i++)                            \
            if (m >> i & 1)                                                                     \
                lanes[i] = ((const real *)p)[i];                                                \
        return simde_mm512_loadu_##suffix(lanes);                                               \
    }                                                                                           \
    static inline void fc_emulated_mask_storeu_##suffix(void *p, mask m, vector v)              \
    {                                                                                           \
        real lanes[sizeof(vector) / sizeof(real)];                                              \
        simde_mm512_storeu_##suffix(lanes, v);                                                  \
        for (unsigned i = 0; i < sizeof(vector) / sizeof(real); i++)                            \
            if (m >> i & 1)                                                                     \
                ((real *)p)[i] = lanes[i];                                                      \
    }
FC_EMULATE(ps, float, simde__m512, simde__mmask16)
FC_EMULATE(pd, double, simde__m512d, simde__mmask8)
#undef FC_EMULATE
static inline simde__m256 fc_emulated_mask3_fmadd_ps(simde__m256 a, simde__m256 b, simde__m256 c, simde__mmask8 m)
{
    float lanes[8], kept[8];
    simde_mm256_storeu_ps(lanes, simde_mm256_fmadd_ps(a, b, c));
    simde_mm256_storeu_ps(kept, c);
    for (int i = 0; i < 8; i++)
        lanes[i] = m >> i & 1 ? lanes[i] : kept[i];
    return simde_mm256_loadu_ps(lanes);
}
static inline simde__m256d fc_emulated_mask3_fmadd_pd(simde__m256d a, simde__m256d b, simde__m256d c, simde__mmask8 m)
{
    double lanes[4], kept[4];
    simde_mm256_storeu_pd(lanes, simde_mm256_fmadd_pd(a, b, c));
    simde_mm256_storeu_pd(kept, c);
    for (int i = 0; i < 4; i++)
        lanes[i] = m >> i & 1 ? lanes[i] : kept[i];
    return simde_mm256_loadu_pd(lanes);
}
#undef _mm256_mask3_fmadd_ps
#undef _mm256_mask3_fmadd_pd
#define _mm256_mask3_fmadd_ps fc_emulated_mask3_fmadd_ps
#define _mm256_mask3_fmadd_pd fc_emulated_mask3_fmadd_pd
static inline simde__m256 fc_emulated_i64gather_ps(simde__m512i at, const float *p)
{
    float lanes[8];
    int64_t index[8];
    simde_mm512_storeu_si512(index, at);
    for (int i = 0; i < 8; i++)
        lanes[i] = p[index[i]];
    return simde_mm256_loadu_ps(lanes);
}
static inline simde__m512d fc_emulated_i64gather_pd(simde__m512i at, const double *p)
{
    double lanes[8];
    int64_t index[8];
    simde_mm512_storeu_si512(index, at);
    for (int i = 0; i < 8; i++)
        lanes[i] = p[index[i]];
    return simde_mm512_loadu_pd(lanes);
}
static inline simde__m512i fc_emulated_cvtepi32_epi64(simde__m256i v)
{
    int32_t lanes[8];
    int64_t wide[8];
    simde_mm256_storeu_si256((simde__m256i *)lanes, v);
    for (int i = 0; i < 8; i++)
        wide[i] = lanes[i];
    return simde_mm512_loadu_si512(wide);
}
#undef _mm512_cvtepi32_epi64
#define _mm512_cvtepi32_epi64(v) fc_emulated_cvtepi32_epi64(v)
#undef _mm512_i64gather_ps
#undef _mm512_i64gather_pd
#define _mm512_i64gather_ps(at, p, scale) fc_emulated_i64gather_ps(at, p)
#define _mm512_i64gather_pd(at, p, scale) fc_emulated_i64gather_pd(at, p)
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, quarters) simde_mm512_shuffle_f32x4(a, b, quarters)
#define _mm512_stream_ps simde_mm512_storeu_ps
#define _mm512_stream_pd simde_mm512_storeu_pd
#define _mm512_maskz_loadu_ps fc_emulated_maskz_loadu_ps
#define _mm512_maskz_loadu_pd fc_emulated_maskz_loadu_pd
#define _mm512_mask_storeu_ps fc_emulated_mask_storeu_ps
#define _mm512_mask_storeu_pd fc_emulated_mask_storeu_pd
#endif
