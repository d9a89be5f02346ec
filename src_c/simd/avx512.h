/* AVX-512 F, VL, DQ and BW: 16 floats or 8 doubles, 32 registers.  Included by isa/avx512.c. */
#ifndef FC_SIMD_AVX512_H
#define FC_SIMD_AVX512_H
#include "inline.h"
#include <immintrin.h>
#include <stdint.h>

#define FC_ISA avx512
#define FC_REGISTERS 32
#define FC_FREE_MASKS 1
#define VLEN_f32 16
#define VLEN_f64 8
#ifndef vkeep /* tests that emulate these intrinsics have no such register and define their own */
#define vkeep(v) __asm__("" : "+v"(v))
#endif

typedef __m512 fc_vec_f32;
typedef __m512d fc_vec_f64;
typedef __mmask16 fc_vmask_f32;
typedef __mmask8 fc_vmask_f64;

FC_INLINE __mmask16 fc_first_f32(int64_t n) { return (__mmask16)((1u << n) - 1); }
FC_INLINE __mmask8 fc_first_f64(int64_t n) { return (__mmask8)((1u << n) - 1); }

FC_INLINE fc_vec_f32 fc_vload_f32(const float *p) { return _mm512_loadu_ps(p); }
FC_INLINE void fc_vstore_f32(float *p, fc_vec_f32 v) { _mm512_storeu_ps(p, v); }
FC_INLINE void fc_vstream_f32(float *p, fc_vec_f32 v) { _mm512_stream_ps(p, v); }
FC_INLINE void fc_vstreamed(void) { _mm_sfence(); }
FC_INLINE fc_vec_f32 fc_vload_n_f32(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(fc_first_f32(n), p);
}
FC_INLINE fc_vmask_f32 fc_vlanes_f32(int i, int n)
{
    const int first = i < 0 ? 0 : i < 16 ? i : 16, last = n < 0 ? 0 : n < 16 ? n : 16;
    return (fc_vmask_f32)(((1u << last) - 1) & ~((1u << first) - 1));
}
FC_INLINE fc_vmask_f32 fc_vbits_f32(uint32_t bits) { return (fc_vmask_f32)bits; }
FC_INLINE fc_vec_f32 fc_vload_mask_f32(const float *p, fc_vmask_f32 m) { return _mm512_maskz_loadu_ps(m, p); }
FC_INLINE void fc_vstore_n_f32(float *p, fc_vec_f32 v, int64_t n)
{
    _mm512_mask_storeu_ps(p, fc_first_f32(n), v);
}
/* The span of 3 or 4 vectors from the first lane to the last is loaded, and lanes are picked. */
FC_INLINE fc_vec_f32 fc_vload_every_f32(const float *p, int64_t step, uint32_t bits)
{
    const __m512i low3 = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
    const __m512i high3 = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
    const __m512i by4 = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    const __mmask16 lanes = (__mmask16)bits;
    if (lanes == 0)
        return _mm512_setzero_ps();
    if (step != 3 && step != 4) {
        float lane[16];
        for (int i = 0; i < 16; i++)
            lane[i] = lanes >> i & 1 ? p[i * step] : 0;
        return _mm512_loadu_ps(lane);
    }
    const uint64_t span = (2ull << step * (31 - __builtin_clz(lanes))) - (1ull << step * __builtin_ctz(lanes));
    const __m512 a = _mm512_maskz_loadu_ps((__mmask16)span, p);
    const __m512 b = _mm512_maskz_loadu_ps((__mmask16)(span >> 16), p + 16);
    const __m512 c = _mm512_maskz_loadu_ps((__mmask16)(span >> 32), p + 32);
    if (step == 3)
        return _mm512_maskz_permutex2var_ps(lanes, _mm512_permutex2var_ps(a, low3, b), high3, c);
    const __m512 d = _mm512_maskz_loadu_ps((__mmask16)(span >> 48), p + 48);
    const __m512 low = _mm512_permutex2var_ps(a, by4, b), high = _mm512_permutex2var_ps(c, by4, d);
    return _mm512_maskz_mov_ps(lanes, _mm512_mask_blend_ps(0xFF00, low, high));
}
FC_INLINE fc_vec_f32 fc_vload_step_f32(const float *p, int64_t step)
{
    if (step == 3 || step == 4)
        return fc_vload_every_f32(p, step, 0xFFFF);
    const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    const __m512i at = _mm512_mullo_epi64(lane, _mm512_set1_epi64(step));
    const __m256 low = _mm512_i64gather_ps(at, p, 4), high = _mm512_i64gather_ps(at, p + 8 * step, 4);
    return _mm512_castpd_ps(_mm512_insertf64x4(_mm512_castps_pd(_mm512_castps256_ps512(low)),
                                               _mm256_castps_pd(high), 1));
}
FC_INLINE void fc_vstore_index_f32(int64_t *p, fc_vec_f32 v, int64_t n)
{
    const __m512i lanes = _mm512_castps_si512(v);
    const __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(lanes));
    const __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(lanes, 1));
    if (n >= 16) {
        _mm512_storeu_si512(p, low);
        _mm512_storeu_si512(p + 8, high);
        return;
    }
    _mm512_mask_storeu_pd((double *)p, fc_first_f64(n < 8 ? n : 8), _mm512_castsi512_pd(low));
    if (n > 8)
        _mm512_mask_storeu_pd((double *)(p + 8), fc_first_f64(n - 8), _mm512_castsi512_pd(high));
}
FC_INLINE fc_vec_f32 fc_vload_index_f32(const int64_t *p, int64_t n)
{
    __m512i low, high;
    if (n >= 16) {
        low = _mm512_loadu_si512(p);
        high = _mm512_loadu_si512(p + 8);
    } else {
        low = _mm512_castpd_si512(_mm512_maskz_loadu_pd(fc_first_f64(n < 8 ? n : 8), (const double *)p));
        high = _mm512_castpd_si512(_mm512_maskz_loadu_pd(fc_first_f64(n < 8 ? 0 : n - 8), (const double *)(p + 8)));
    }
    const __m512i lanes = _mm512_castsi256_si512(_mm512_cvtsepi64_epi32(low));
    return _mm512_castsi512_ps(_mm512_inserti64x4(lanes, _mm512_cvtsepi64_epi32(high), 1));
}
FC_INLINE fc_vmask_f32 fc_veq_index_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return _mm512_cmpeq_epi32_mask(_mm512_castps_si512(a), _mm512_castps_si512(b));
}
FC_INLINE fc_vmask_f32 fc_vlt_index_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return _mm512_cmpgt_epi32_mask(_mm512_castps_si512(b), _mm512_castps_si512(a));
}
FC_INLINE fc_vec_f32 fc_vadd_indices_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
FC_INLINE fc_vec_f32 fc_vadd_index_f32(fc_vec_f32 v, int64_t n)
{
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32((int)n)));
}
FC_INLINE fc_vec_f32 fc_vbcast_f32(const float *p) { return _mm512_set1_ps(*p); }
FC_INLINE fc_vec_f32 fc_vrepeat_f32(const float *p, const int n)
{
    double pair;
    if (n == 1)
        return _mm512_set1_ps(*p);
    if (n == 2) {
        __builtin_memcpy(&pair, p, sizeof pair);
        return _mm512_castpd_ps(_mm512_set1_pd(pair));
    }
    return n == 4 ? _mm512_broadcast_f32x4(_mm_loadu_ps(p))
         : n == 8 ? _mm512_broadcast_f32x8(_mm256_loadu_ps(p)) : _mm512_loadu_ps(p);
}
FC_INLINE fc_vec_f32 fc_vset1_f32(float x) { return _mm512_set1_ps(x); }
FC_INLINE fc_vec_f32 fc_vzero_f32(void) { return _mm512_setzero_ps(); }
FC_INLINE fc_vec_f32 fc_vadd_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm512_add_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vsub_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm512_sub_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vmul_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm512_mul_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vdiv_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm512_div_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vsqrt_f32(fc_vec_f32 a) { return _mm512_sqrt_ps(a); }
FC_INLINE fc_vec_f32 fc_vmin_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm512_min_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vmax_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm512_max_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vabs_f32(fc_vec_f32 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
FC_INLINE fc_vec_f32 fc_vfma_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 c) { return _mm512_fmadd_ps(a, b, c); }
FC_INLINE fc_vec_f32 fc_vload_half_f32(const float *p) { return _mm512_castps256_ps512(_mm256_loadu_ps(p)); }
FC_INLINE fc_vec_f32 fc_vfma_half_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 c, fc_vmask_f32 m)
{
    return _mm512_castps256_ps512(_mm256_mask3_fmadd_ps(_mm512_castps512_ps256(a), _mm512_castps512_ps256(b),
                                                        _mm512_castps512_ps256(c), (__mmask8)m));
}
FC_INLINE float fc_vsum_f32(fc_vec_f32 v)
{
    __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), upper);
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
/* The 4 x 4 transpose of the quarters of a b c d: each becomes one quarter of all four. */
FC_INLINE void fc_transpose_quarters(__m512 *a, __m512 *b, __m512 *c, __m512 *d)
{
    __m512 ab02 = _mm512_shuffle_f32x4(*a, *b, 0x88), ab13 = _mm512_shuffle_f32x4(*a, *b, 0xDD);
    __m512 cd02 = _mm512_shuffle_f32x4(*c, *d, 0x88), cd13 = _mm512_shuffle_f32x4(*c, *d, 0xDD);
    *a = _mm512_shuffle_f32x4(ab02, cd02, 0x88);
    *b = _mm512_shuffle_f32x4(ab13, cd13, 0x88);
    *c = _mm512_shuffle_f32x4(ab02, cd02, 0xDD);
    *d = _mm512_shuffle_f32x4(ab13, cd13, 0xDD);
}
/* Four rows at a time within quarters, which leaves column 4 q + i of rows 4 j to 4 j + 3 in quarter
 * q of row 4 j + i; then the quarters. */
FC_INLINE void fc_vtranspose_f32(fc_vec_f32 r[16])
{
    FC_UNROLL(4)
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[i], r[i + 1]));
        __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r[i], r[i + 1]));
        __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[i + 2], r[i + 3]));
        __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[i + 2], r[i + 3]));
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    FC_UNROLL(4)
    for (int i = 0; i < 4; i++)
        fc_transpose_quarters(&r[i], &r[i + 4], &r[i + 8], &r[i + 12]);
}
FC_INLINE void fc_vdeinterleave_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *even, fc_vec_f32 *odd)
{
    const __m512i lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, lanes, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(lanes, _mm512_set1_epi32(1)), b);
}
FC_INLINE void fc_vpart_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *even, fc_vec_f32 *odd)
{
    *even = _mm512_shuffle_ps(a, b, 0x88);
    *odd = _mm512_shuffle_ps(a, b, 0xDD);
}
FC_INLINE fc_vec_f32 fc_vparted_f32(fc_vec_f32 v)
{
    return _mm512_castpd_ps(_mm512_permutexvar_pd(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), _mm512_castps_pd(v)));
}
FC_INLINE void fc_vinterleave_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *low, fc_vec_f32 *high)
{
    const __m512i lanes = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *low = _mm512_permutex2var_ps(a, lanes, b);
    *high = _mm512_permutex2var_ps(a, _mm512_add_epi32(lanes, _mm512_set1_epi32(8)), b);
}
FC_INLINE fc_vec_f32 fc_vpick_f32(fc_vec_f32 a, fc_vec_f32 b, const float *index)
{
    return _mm512_permutex2var_ps(a, _mm512_castps_si512(_mm512_loadu_ps(index)), b);
}
FC_INLINE fc_vec_f32 fc_vpick_one_f32(fc_vec_f32 a, const float *index, fc_vmask_f32 m)
{
    return _mm512_maskz_permutexvar_ps(m, _mm512_castps_si512(_mm512_loadu_ps(index)), a);
}
FC_INLINE fc_vmask_f32 fc_vgt_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
FC_INLINE fc_vmask_f32 fc_visnan_f32(fc_vec_f32 a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
FC_INLINE fc_vmask_f32 fc_vmask_or_f32(fc_vmask_f32 m, fc_vmask_f32 k) { return (fc_vmask_f32)(m | k); }
FC_INLINE int fc_vany_f32(fc_vmask_f32 m) { return m != 0; }
FC_INLINE fc_vec_f32 fc_vblend_f32(fc_vmask_f32 m, fc_vec_f32 a, fc_vec_f32 b)
{
    return _mm512_mask_blend_ps(m, b, a);
}

FC_INLINE fc_vec_f64 fc_vload_f64(const double *p) { return _mm512_loadu_pd(p); }
FC_INLINE void fc_vstore_f64(double *p, fc_vec_f64 v) { _mm512_storeu_pd(p, v); }
FC_INLINE void fc_vstream_f64(double *p, fc_vec_f64 v) { _mm512_stream_pd(p, v); }
FC_INLINE fc_vec_f64 fc_vload_n_f64(const double *p, int64_t n)
{
    return _mm512_maskz_loadu_pd(fc_first_f64(n), p);
}
FC_INLINE fc_vmask_f64 fc_vlanes_f64(int i, int n)
{
    const int first = i < 0 ? 0 : i < 8 ? i : 8, last = n < 0 ? 0 : n < 8 ? n : 8;
    return (fc_vmask_f64)(((1u << last) - 1) & ~((1u << first) - 1));
}
FC_INLINE fc_vmask_f64 fc_vbits_f64(uint32_t bits) { return (fc_vmask_f64)bits; }
FC_INLINE fc_vec_f64 fc_vload_mask_f64(const double *p, fc_vmask_f64 m) { return _mm512_maskz_loadu_pd(m, p); }
FC_INLINE void fc_vstore_n_f64(double *p, fc_vec_f64 v, int64_t n)
{
    _mm512_mask_storeu_pd(p, fc_first_f64(n), v);
}
FC_INLINE fc_vec_f64 fc_vload_every_f64(const double *p, int64_t step, uint32_t bits)
{
    const __m512i low3 = _mm512_setr_epi64(0, 3, 6, 9, 12, 15, 0, 0);
    const __m512i high3 = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 10, 13);
    const __m512i by4 = _mm512_setr_epi64(0, 4, 8, 12, 0, 4, 8, 12);
    const __mmask8 lanes = (__mmask8)bits;
    if (lanes == 0)
        return _mm512_setzero_pd();
    if (step != 3 && step != 4) {
        double lane[8];
        for (int i = 0; i < 8; i++)
            lane[i] = lanes >> i & 1 ? p[i * step] : 0;
        return _mm512_loadu_pd(lane);
    }
    const uint32_t span = (uint32_t)((2ull << step * (31 - __builtin_clz(lanes))) -
                                     (1ull << step * __builtin_ctz(lanes)));
    const __m512d a = _mm512_maskz_loadu_pd((__mmask8)span, p), b = _mm512_maskz_loadu_pd((__mmask8)(span >> 8), p + 8);
    const __m512d c = _mm512_maskz_loadu_pd((__mmask8)(span >> 16), p + 16);
    if (step == 3)
        return _mm512_maskz_permutex2var_pd(lanes, _mm512_permutex2var_pd(a, low3, b), high3, c);
    const __m512d d = _mm512_maskz_loadu_pd((__mmask8)(span >> 24), p + 24);
    const __m512d low = _mm512_permutex2var_pd(a, by4, b), high = _mm512_permutex2var_pd(c, by4, d);
    return _mm512_maskz_mov_pd(lanes, _mm512_mask_blend_pd(0xF0, low, high));
}
FC_INLINE fc_vec_f64 fc_vload_step_f64(const double *p, int64_t step)
{
    if (step == 3 || step == 4)
        return fc_vload_every_f64(p, step, 0xFF);
    const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_i64gather_pd(_mm512_mullo_epi64(lane, _mm512_set1_epi64(step)), p, 8);
}
FC_INLINE void fc_vstore_index_f64(int64_t *p, fc_vec_f64 v, int64_t n)
{
    _mm512_mask_storeu_pd((double *)p, fc_first_f64(n), v);
}
FC_INLINE fc_vec_f64 fc_vload_index_f64(const int64_t *p, int64_t n)
{
    return n >= 8 ? _mm512_loadu_pd((const double *)p) : _mm512_maskz_loadu_pd(fc_first_f64(n), (const double *)p);
}
FC_INLINE fc_vmask_f64 fc_veq_index_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return _mm512_cmpeq_epi64_mask(_mm512_castpd_si512(a), _mm512_castpd_si512(b));
}
FC_INLINE fc_vmask_f64 fc_vlt_index_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return _mm512_cmpgt_epi64_mask(_mm512_castpd_si512(b), _mm512_castpd_si512(a));
}
FC_INLINE fc_vec_f64 fc_vadd_indices_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b)));
}
FC_INLINE fc_vec_f64 fc_vadd_index_f64(fc_vec_f64 v, int64_t n)
{
    return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(v), _mm512_set1_epi64(n)));
}
FC_INLINE fc_vec_f64 fc_vbcast_f64(const double *p) { return _mm512_set1_pd(*p); }
FC_INLINE fc_vec_f64 fc_vrepeat_f64(const double *p, const int n)
{
    return n == 1 ? _mm512_set1_pd(*p) : n == 2 ? _mm512_broadcast_f64x2(_mm_loadu_pd(p))
         : n == 4 ? _mm512_broadcast_f64x4(_mm256_loadu_pd(p)) : _mm512_loadu_pd(p);
}
FC_INLINE fc_vec_f64 fc_vset1_f64(double x) { return _mm512_set1_pd(x); }
FC_INLINE fc_vec_f64 fc_vzero_f64(void) { return _mm512_setzero_pd(); }
FC_INLINE fc_vec_f64 fc_vadd_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm512_add_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vsub_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm512_sub_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vmul_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm512_mul_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vdiv_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm512_div_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vsqrt_f64(fc_vec_f64 a) { return _mm512_sqrt_pd(a); }
FC_INLINE fc_vec_f64 fc_vmin_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm512_min_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vmax_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm512_max_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vabs_f64(fc_vec_f64 a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
FC_INLINE fc_vec_f64 fc_vfma_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 c) { return _mm512_fmadd_pd(a, b, c); }
FC_INLINE fc_vec_f64 fc_vload_half_f64(const double *p) { return _mm512_castpd256_pd512(_mm256_loadu_pd(p)); }
FC_INLINE fc_vec_f64 fc_vfma_half_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 c, fc_vmask_f64 m)
{
    return _mm512_castpd256_pd512(_mm256_mask3_fmadd_pd(_mm512_castpd512_pd256(a), _mm512_castpd512_pd256(b),
                                                        _mm512_castpd512_pd256(c), (__mmask8)m));
}
FC_INLINE double fc_vsum_f64(fc_vec_f64 v)
{
    __m256d h = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}
/* As for floats, with two rows at a time. */
FC_INLINE void fc_vtranspose_f64(fc_vec_f64 r[8])
{
    __m512 t[8];
    FC_UNROLL(4)
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(r[i], r[i + 1]));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(r[i], r[i + 1]));
    }
    FC_UNROLL(2)
    for (int i = 0; i < 2; i++)
        fc_transpose_quarters(&t[i], &t[i + 2], &t[i + 4], &t[i + 6]);
    FC_UNROLL(8)
    for (int i = 0; i < 8; i++)
        r[i] = _mm512_castps_pd(t[i]);
}
FC_INLINE void fc_vdeinterleave_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *even, fc_vec_f64 *odd)
{
    const __m512i lanes = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    *even = _mm512_permutex2var_pd(a, lanes, b);
    *odd = _mm512_permutex2var_pd(a, _mm512_add_epi64(lanes, _mm512_set1_epi64(1)), b);
}
FC_INLINE void fc_vpart_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *even, fc_vec_f64 *odd)
{
    *even = _mm512_unpacklo_pd(a, b);
    *odd = _mm512_unpackhi_pd(a, b);
}
FC_INLINE fc_vec_f64 fc_vparted_f64(fc_vec_f64 v)
{
    return _mm512_permutexvar_pd(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), v);
}
FC_INLINE void fc_vinterleave_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *low, fc_vec_f64 *high)
{
    const __m512i lanes = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    *low = _mm512_permutex2var_pd(a, lanes, b);
    *high = _mm512_permutex2var_pd(a, _mm512_add_epi64(lanes, _mm512_set1_epi64(4)), b);
}
FC_INLINE fc_vec_f64 fc_vpick_f64(fc_vec_f64 a, fc_vec_f64 b, const double *index)
{
    return _mm512_permutex2var_pd(a, _mm512_castpd_si512(_mm512_loadu_pd(index)), b);
}
FC_INLINE fc_vec_f64 fc_vpick_one_f64(fc_vec_f64 a, const double *index, fc_vmask_f64 m)
{
    return _mm512_maskz_permutexvar_pd(m, _mm512_castpd_si512(_mm512_loadu_pd(index)), a);
}
FC_INLINE fc_vmask_f64 fc_vgt_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
FC_INLINE fc_vmask_f64 fc_visnan_f64(fc_vec_f64 a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q); }
FC_INLINE fc_vmask_f64 fc_vmask_or_f64(fc_vmask_f64 m, fc_vmask_f64 k) { return (fc_vmask_f64)(m | k); }
FC_INLINE int fc_vany_f64(fc_vmask_f64 m) { return m != 0; }
FC_INLINE fc_vec_f64 fc_vblend_f64(fc_vmask_f64 m, fc_vec_f64 a, fc_vec_f64 b)
{
    return _mm512_mask_blend_pd(m, b, a);
}
#endif
