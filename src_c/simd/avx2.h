/* AVX2 + FMA: 8 floats or 4 doubles, 16 registers.  Included by isa/avx2.c. */
#ifndef FC_SIMD_AVX2_H
#define FC_SIMD_AVX2_H
#include <immintrin.h>
#include <stdint.h>

#define FC_ISA avx2
#define FC_REGISTERS 16
#define VLEN_f32 8
#define VLEN_f64 4
#define vkeep(v) __asm__("" : "+x"(v))

typedef __m256 vec_f32;
typedef __m256d vec_f64;
#define FC_INLINE_AVX2 static inline __attribute__((always_inline, unused))

FC_INLINE_AVX2 __m256i fc_mask8(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FC_INLINE_AVX2 __m256i fc_mask4(int64_t n)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

FC_INLINE_AVX2 vec_f32 vload_f32(const float *p) { return _mm256_loadu_ps(p); }
FC_INLINE_AVX2 void vstore_f32(float *p, vec_f32 v) { _mm256_storeu_ps(p, v); }
FC_INLINE_AVX2 vec_f32 vload_n_f32(const float *p, int64_t n) { return _mm256_maskload_ps(p, fc_mask8(n)); }
/* Not a masked store: those are microcode on several cores, tens of cycles each. */
FC_INLINE_AVX2 void vstore_n_f32(float *p, vec_f32 v, int64_t n)
{
    if (n >= 8) {
        _mm256_storeu_ps(p, v);
        return;
    }
    __m128 part = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        part = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, part);
        part = _mm_movehl_ps(part, part);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, part);
}
FC_INLINE_AVX2 vec_f32 vbcast_f32(const float *p) { return _mm256_broadcast_ss(p); }
FC_INLINE_AVX2 vec_f32 vset1_f32(float x) { return _mm256_set1_ps(x); }
FC_INLINE_AVX2 vec_f32 vzero_f32(void) { return _mm256_setzero_ps(); }
FC_INLINE_AVX2 vec_f32 vadd_f32(vec_f32 a, vec_f32 b) { return _mm256_add_ps(a, b); }
FC_INLINE_AVX2 vec_f32 vsub_f32(vec_f32 a, vec_f32 b) { return _mm256_sub_ps(a, b); }
FC_INLINE_AVX2 vec_f32 vmul_f32(vec_f32 a, vec_f32 b) { return _mm256_mul_ps(a, b); }
FC_INLINE_AVX2 vec_f32 vdiv_f32(vec_f32 a, vec_f32 b) { return _mm256_div_ps(a, b); }
FC_INLINE_AVX2 vec_f32 vmin_f32(vec_f32 a, vec_f32 b) { return _mm256_min_ps(a, b); }
FC_INLINE_AVX2 vec_f32 vmax_f32(vec_f32 a, vec_f32 b) { return _mm256_max_ps(a, b); }
FC_INLINE_AVX2 vec_f32 vfma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm256_fmadd_ps(a, b, c); }
FC_INLINE_AVX2 float vsum_f32(vec_f32 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
FC_INLINE_AVX2 void vtranspose_f32(vec_f32 r[8])
{
    __m256 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    __m256 u[8];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}
FC_INLINE_AVX2 void vdeinterleave_f32(vec_f32 a, vec_f32 b, vec_f32 *even, vec_f32 *odd)
{
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)), 0xD8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xDD)), 0xD8));
}

FC_INLINE_AVX2 vec_f64 vload_f64(const double *p) { return _mm256_loadu_pd(p); }
FC_INLINE_AVX2 void vstore_f64(double *p, vec_f64 v) { _mm256_storeu_pd(p, v); }
FC_INLINE_AVX2 vec_f64 vload_n_f64(const double *p, int64_t n) { return _mm256_maskload_pd(p, fc_mask4(n)); }
FC_INLINE_AVX2 void vstore_n_f64(double *p, vec_f64 v, int64_t n)
{
    if (n >= 4) {
        _mm256_storeu_pd(p, v);
        return;
    }
    __m128d part = _mm256_castpd256_pd128(v);
    if (n & 2) {
        _mm_storeu_pd(p, part);
        part = _mm256_extractf128_pd(v, 1);
        p += 2;
    }
    if (n & 1)
        _mm_store_sd(p, part);
}
FC_INLINE_AVX2 vec_f64 vbcast_f64(const double *p) { return _mm256_broadcast_sd(p); }
FC_INLINE_AVX2 vec_f64 vset1_f64(double x) { return _mm256_set1_pd(x); }
FC_INLINE_AVX2 vec_f64 vzero_f64(void) { return _mm256_setzero_pd(); }
FC_INLINE_AVX2 vec_f64 vadd_f64(vec_f64 a, vec_f64 b) { return _mm256_add_pd(a, b); }
FC_INLINE_AVX2 vec_f64 vsub_f64(vec_f64 a, vec_f64 b) { return _mm256_sub_pd(a, b); }
FC_INLINE_AVX2 vec_f64 vmul_f64(vec_f64 a, vec_f64 b) { return _mm256_mul_pd(a, b); }
FC_INLINE_AVX2 vec_f64 vdiv_f64(vec_f64 a, vec_f64 b) { return _mm256_div_pd(a, b); }
FC_INLINE_AVX2 vec_f64 vmin_f64(vec_f64 a, vec_f64 b) { return _mm256_min_pd(a, b); }
FC_INLINE_AVX2 vec_f64 vmax_f64(vec_f64 a, vec_f64 b) { return _mm256_max_pd(a, b); }
FC_INLINE_AVX2 vec_f64 vfma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm256_fmadd_pd(a, b, c); }
FC_INLINE_AVX2 double vsum_f64(vec_f64 v)
{
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}
FC_INLINE_AVX2 void vtranspose_f64(vec_f64 r[4])
{
    __m256d a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    __m256d c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a, c, 0x20);
    r[1] = _mm256_permute2f128_pd(b, d, 0x20);
    r[2] = _mm256_permute2f128_pd(a, c, 0x31);
    r[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
FC_INLINE_AVX2 void vdeinterleave_f64(vec_f64 a, vec_f64 b, vec_f64 *even, vec_f64 *odd)
{
    __m256d lo = _mm256_unpacklo_pd(a, b), hi = _mm256_unpackhi_pd(a, b);
    *even = _mm256_permute4x64_pd(lo, 0xD8);
    *odd = _mm256_permute4x64_pd(hi, 0xD8);
}
#endif
