/* AVX2 + FMA: 8 floats or 4 doubles, 16 registers.  Included by isa/avx2.c. */
#ifndef FC_SIMD_AVX2_H
#define FC_SIMD_AVX2_H
#include "inline.h"
#include <immintrin.h>
#include <stdint.h>

#define FC_ISA avx2
#define FC_REGISTERS 16
#define FC_FREE_MASKS 0
#define VLEN_f32 8
#define VLEN_f64 4
#define vkeep(v) __asm__("" : "+x"(v))

typedef __m256 fc_vec_f32;
typedef __m256d fc_vec_f64;
typedef __m256 fc_vmask_f32; /* all bits of a lane, or none */
typedef __m256d fc_vmask_f64;

FC_INLINE __m256i fc_mask8(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FC_INLINE __m256i fc_mask4(int64_t n)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

FC_INLINE fc_vec_f32 fc_vload_f32(const float *p) { return _mm256_loadu_ps(p); }
FC_INLINE void fc_vstore_f32(float *p, fc_vec_f32 v) { _mm256_storeu_ps(p, v); }
FC_INLINE void fc_vstream_f32(float *p, fc_vec_f32 v) { _mm256_stream_ps(p, v); }
FC_INLINE void fc_vstreamed(void) { _mm_sfence(); }
FC_INLINE fc_vec_f32 fc_vload_n_f32(const float *p, int64_t n) { return _mm256_maskload_ps(p, fc_mask8(n)); }
FC_INLINE fc_vmask_f32 fc_vlanes_f32(int i, int n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32(i), lane);
    return _mm256_castsi256_ps(_mm256_andnot_si256(before, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane)));
}
FC_INLINE fc_vmask_f32 fc_vbits_f32(uint32_t bits)
{
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), lane), lane));
}
FC_INLINE fc_vec_f32 fc_vload_mask_f32(const float *p, fc_vmask_f32 m)
{
    return _mm256_maskload_ps(p, _mm256_castps_si256(m));
}
/* Not a masked store: those are microcode on several cores, tens of cycles each. */
FC_INLINE void fc_vstore_n_f32(float *p, fc_vec_f32 v, int64_t n)
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
FC_INLINE fc_vec_f32 fc_vload_step_f32(const float *p, int64_t step)
{
    return _mm256_setr_ps(p[0], p[step], p[2 * step], p[3 * step], p[4 * step], p[5 * step], p[6 * step], p[7 * step]);
}
FC_INLINE fc_vec_f32 fc_vload_every_f32(const float *p, int64_t step, uint32_t bits)
{
    float lane[8];
    for (int i = 0; i < 8; i++)
        lane[i] = bits >> i & 1 ? p[i * step] : 0;
    return fc_vload_f32(lane);
}
FC_INLINE void fc_vstore_index_f32(int64_t *p, fc_vec_f32 v, int64_t n)
{
    const __m256i lanes = _mm256_castps_si256(v);
    const __m256i low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(lanes));
    const __m256i high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(lanes, 1));
    int64_t index[8];
    if (n >= 8) {
        _mm256_storeu_si256((__m256i *)p, low);
        _mm256_storeu_si256((__m256i *)(p + 4), high);
        return;
    }
    _mm256_storeu_si256((__m256i *)index, low);
    _mm256_storeu_si256((__m256i *)(index + 4), high);
    for (int64_t i = 0; i < n; i++)
        p[i] = index[i];
}
/* The low halves where the high ones say that they are all, else the end of the range on that side. */
FC_INLINE fc_vec_f32 fc_vload_index_f32(const int64_t *p, int64_t n)
{
    const __m256d first = _mm256_maskload_pd((const double *)p, fc_mask4(n));
    const __m256d last = n > 4 ? _mm256_maskload_pd((const double *)(p + 4), fc_mask4(n - 4)) : _mm256_setzero_pd();
    const __m256 a = _mm256_castpd_ps(first), b = _mm256_castpd_ps(last);
    const __m256i low = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), 0xD8);
    const __m256i high = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD)), 0xD8);
    const __m256i end = _mm256_xor_si256(_mm256_srai_epi32(high, 31), _mm256_set1_epi32(INT32_MAX));
    const __m256i fits = _mm256_cmpeq_epi32(high, _mm256_srai_epi32(low, 31));
    return _mm256_castsi256_ps(_mm256_blendv_epi8(end, low, fits));
}
FC_INLINE fc_vmask_f32 fc_veq_index_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
FC_INLINE fc_vmask_f32 fc_vlt_index_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_castps_si256(b), _mm256_castps_si256(a)));
}
FC_INLINE fc_vec_f32 fc_vadd_indices_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
FC_INLINE fc_vec_f32 fc_vadd_index_f32(fc_vec_f32 v, int64_t n)
{
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), _mm256_set1_epi32((int)n)));
}
FC_INLINE fc_vec_f32 fc_vbcast_f32(const float *p) { return _mm256_broadcast_ss(p); }
FC_INLINE fc_vec_f32 fc_vrepeat_f32(const float *p, const int n)
{
    double pair;
    if (n == 1)
        return _mm256_broadcast_ss(p);
    if (n == 2) {
        __builtin_memcpy(&pair, p, sizeof pair);
        return _mm256_castpd_ps(_mm256_set1_pd(pair));
    }
    return n == 4 ? _mm256_broadcast_ps((const __m128 *)(const void *)p) : _mm256_loadu_ps(p);
}
FC_INLINE fc_vec_f32 fc_vset1_f32(float x) { return _mm256_set1_ps(x); }
FC_INLINE fc_vec_f32 fc_vzero_f32(void) { return _mm256_setzero_ps(); }
FC_INLINE fc_vec_f32 fc_vadd_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm256_add_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vsub_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm256_sub_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vmul_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm256_mul_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vdiv_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm256_div_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vmin_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm256_min_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vmax_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm256_max_ps(a, b); }
FC_INLINE fc_vec_f32 fc_vsqrt_f32(fc_vec_f32 a) { return _mm256_sqrt_ps(a); }
FC_INLINE fc_vec_f32 fc_vabs_f32(fc_vec_f32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FC_INLINE fc_vec_f32 fc_vfma_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 c) { return _mm256_fmadd_ps(a, b, c); }
FC_INLINE float fc_vsum_f32(fc_vec_f32 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
FC_INLINE void fc_vtranspose_f32(fc_vec_f32 r[8])
{
    __m256 t[8];
    FC_UNROLL(4)
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    __m256 u[8];
    FC_UNROLL(2)
    for (int i = 0; i < 2; i++) {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
    }
    FC_UNROLL(4)
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}
FC_INLINE void fc_vdeinterleave_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *even, fc_vec_f32 *odd)
{
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)), 0xD8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xDD)), 0xD8));
}
FC_INLINE void fc_vpart_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *even, fc_vec_f32 *odd)
{
    *even = _mm256_shuffle_ps(a, b, 0x88);
    *odd = _mm256_shuffle_ps(a, b, 0xDD);
}
FC_INLINE fc_vec_f32 fc_vparted_f32(fc_vec_f32 v)
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xD8));
}
FC_INLINE void fc_vinterleave_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *low, fc_vec_f32 *high)
{
    __m256 even = _mm256_unpacklo_ps(a, b), odd = _mm256_unpackhi_ps(a, b);
    *low = _mm256_permute2f128_ps(even, odd, 0x20);
    *high = _mm256_permute2f128_ps(even, odd, 0x31);
}
FC_INLINE fc_vec_f32 fc_vpick_f32(fc_vec_f32 a, fc_vec_f32 b, const float *index)
{
    const __m256i at = _mm256_castps_si256(_mm256_loadu_ps(index)); /* a permutation reads the low 3 bits */
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(a, at), _mm256_permutevar8x32_ps(b, at),
                            _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
}
FC_INLINE fc_vec_f32 fc_vpick_one_f32(fc_vec_f32 a, const float *index, fc_vmask_f32 m)
{
    return _mm256_and_ps(_mm256_permutevar8x32_ps(a, _mm256_castps_si256(_mm256_loadu_ps(index))), m);
}
FC_INLINE fc_vmask_f32 fc_vgt_f32(fc_vec_f32 a, fc_vec_f32 b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
FC_INLINE fc_vmask_f32 fc_visnan_f32(fc_vec_f32 a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
FC_INLINE fc_vmask_f32 fc_vmask_or_f32(fc_vmask_f32 m, fc_vmask_f32 k) { return _mm256_or_ps(m, k); }
FC_INLINE int fc_vany_f32(fc_vmask_f32 m) { return _mm256_movemask_ps(m) != 0; }
FC_INLINE fc_vec_f32 fc_vblend_f32(fc_vmask_f32 m, fc_vec_f32 a, fc_vec_f32 b)
{
    return _mm256_blendv_ps(b, a, m);
}

FC_INLINE fc_vec_f64 fc_vload_f64(const double *p) { return _mm256_loadu_pd(p); }
FC_INLINE void fc_vstore_f64(double *p, fc_vec_f64 v) { _mm256_storeu_pd(p, v); }
FC_INLINE void fc_vstream_f64(double *p, fc_vec_f64 v) { _mm256_stream_pd(p, v); }
FC_INLINE fc_vec_f64 fc_vload_n_f64(const double *p, int64_t n) { return _mm256_maskload_pd(p, fc_mask4(n)); }
FC_INLINE fc_vmask_f64 fc_vlanes_f64(int i, int n)
{
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    __m256i before = _mm256_cmpgt_epi64(_mm256_set1_epi64x(i), lane);
    return _mm256_castsi256_pd(_mm256_andnot_si256(before, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane)));
}
FC_INLINE fc_vmask_f64 fc_vbits_f64(uint32_t bits)
{
    const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
    return _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(bits), lane), lane));
}
FC_INLINE fc_vec_f64 fc_vload_mask_f64(const double *p, fc_vmask_f64 m)
{
    return _mm256_maskload_pd(p, _mm256_castpd_si256(m));
}
FC_INLINE void fc_vstore_n_f64(double *p, fc_vec_f64 v, int64_t n)
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
FC_INLINE fc_vec_f64 fc_vload_step_f64(const double *p, int64_t step)
{
    return _mm256_setr_pd(p[0], p[step], p[2 * step], p[3 * step]);
}
FC_INLINE fc_vec_f64 fc_vload_every_f64(const double *p, int64_t step, uint32_t bits)
{
    double lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = bits >> i & 1 ? p[i * step] : 0;
    return fc_vload_f64(lane);
}
FC_INLINE void fc_vstore_index_f64(int64_t *p, fc_vec_f64 v, int64_t n) { fc_vstore_n_f64((double *)p, v, n); }
FC_INLINE fc_vec_f64 fc_vload_index_f64(const int64_t *p, int64_t n)
{
    return _mm256_maskload_pd((const double *)p, fc_mask4(n));
}
FC_INLINE fc_vmask_f64 fc_veq_index_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(b)));
}
FC_INLINE fc_vmask_f64 fc_vlt_index_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return _mm256_castsi256_pd(_mm256_cmpgt_epi64(_mm256_castpd_si256(b), _mm256_castpd_si256(a)));
}
FC_INLINE fc_vec_f64 fc_vadd_indices_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(b)));
}
FC_INLINE fc_vec_f64 fc_vadd_index_f64(fc_vec_f64 v, int64_t n)
{
    return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(v), _mm256_set1_epi64x(n)));
}
FC_INLINE fc_vec_f64 fc_vbcast_f64(const double *p) { return _mm256_broadcast_sd(p); }
FC_INLINE fc_vec_f64 fc_vrepeat_f64(const double *p, const int n)
{
    return n == 1 ? _mm256_broadcast_sd(p) : n == 2 ? _mm256_broadcast_pd((const __m128d *)(const void *)p)
                                                    : _mm256_loadu_pd(p);
}
FC_INLINE fc_vec_f64 fc_vset1_f64(double x) { return _mm256_set1_pd(x); }
FC_INLINE fc_vec_f64 fc_vzero_f64(void) { return _mm256_setzero_pd(); }
FC_INLINE fc_vec_f64 fc_vadd_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm256_add_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vsub_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm256_sub_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vmul_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm256_mul_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vdiv_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm256_div_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vmin_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm256_min_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vmax_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm256_max_pd(a, b); }
FC_INLINE fc_vec_f64 fc_vsqrt_f64(fc_vec_f64 a) { return _mm256_sqrt_pd(a); }
FC_INLINE fc_vec_f64 fc_vabs_f64(fc_vec_f64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
FC_INLINE fc_vec_f64 fc_vfma_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 c) { return _mm256_fmadd_pd(a, b, c); }
FC_INLINE double fc_vsum_f64(fc_vec_f64 v)
{
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}
FC_INLINE void fc_vtranspose_f64(fc_vec_f64 r[4])
{
    __m256d a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    __m256d c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a, c, 0x20);
    r[1] = _mm256_permute2f128_pd(b, d, 0x20);
    r[2] = _mm256_permute2f128_pd(a, c, 0x31);
    r[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
FC_INLINE void fc_vdeinterleave_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *even, fc_vec_f64 *odd)
{
    __m256d lo = _mm256_unpacklo_pd(a, b), hi = _mm256_unpackhi_pd(a, b);
    *even = _mm256_permute4x64_pd(lo, 0xD8);
    *odd = _mm256_permute4x64_pd(hi, 0xD8);
}
FC_INLINE void fc_vpart_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *even, fc_vec_f64 *odd)
{
    *even = _mm256_unpacklo_pd(a, b);
    *odd = _mm256_unpackhi_pd(a, b);
}
FC_INLINE fc_vec_f64 fc_vparted_f64(fc_vec_f64 v)
{
    return _mm256_permute4x64_pd(v, 0xD8);
}
FC_INLINE void fc_vinterleave_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *low, fc_vec_f64 *high)
{
    __m256d even = _mm256_unpacklo_pd(a, b), odd = _mm256_unpackhi_pd(a, b);
    *low = _mm256_permute2f128_pd(even, odd, 0x20);
    *high = _mm256_permute2f128_pd(even, odd, 0x31);
}
FC_INLINE fc_vec_f64 fc_vpick_f64(fc_vec_f64 a, fc_vec_f64 b, const double *index)
{
    const __m256i at = _mm256_castpd_si256(_mm256_loadu_pd(index)), low = _mm256_slli_epi64(at, 1);
    const __m256i halves = _mm256_or_si256(low, _mm256_slli_epi64(_mm256_or_si256(low, _mm256_set1_epi64x(1)), 32));
    const __m256 of_a = _mm256_permutevar8x32_ps(_mm256_castpd_ps(a), halves);
    const __m256 of_b = _mm256_permutevar8x32_ps(_mm256_castpd_ps(b), halves);
    return _mm256_blendv_pd(_mm256_castps_pd(of_a), _mm256_castps_pd(of_b),
                            _mm256_castsi256_pd(_mm256_slli_epi64(at, 61)));
}
FC_INLINE fc_vmask_f64 fc_vgt_f64(fc_vec_f64 a, fc_vec_f64 b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
FC_INLINE fc_vmask_f64 fc_visnan_f64(fc_vec_f64 a) { return _mm256_cmp_pd(a, a, _CMP_UNORD_Q); }
FC_INLINE fc_vmask_f64 fc_vmask_or_f64(fc_vmask_f64 m, fc_vmask_f64 k) { return _mm256_or_pd(m, k); }
FC_INLINE int fc_vany_f64(fc_vmask_f64 m) { return _mm256_movemask_pd(m) != 0; }
FC_INLINE fc_vec_f64 fc_vblend_f64(fc_vmask_f64 m, fc_vec_f64 a, fc_vec_f64 b)
{
    return _mm256_blendv_pd(b, a, m);
}
FC_INLINE fc_vec_f64 fc_vpick_one_f64(fc_vec_f64 a, const double *index, fc_vmask_f64 m)
{
    return _mm256_and_pd(fc_vpick_f64(a, a, index), m);
}
#endif
