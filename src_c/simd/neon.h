/* AArch64 Advanced SIMD: 4 floats or 2 doubles, 32 registers.  Included by isa/neon.c. */
#ifndef FC_SIMD_NEON_H
#define FC_SIMD_NEON_H
#include "inline.h"
#include <arm_neon.h>
#include <stdint.h>

#define FC_ISA neon
#define FC_REGISTERS 32
#define FC_FREE_MASKS 0
#define VLEN_f32 4
#define VLEN_f64 2
#define vkeep(v) __asm__("" : "+w"(v))

typedef float32x4_t fc_vec_f32;
typedef float64x2_t fc_vec_f64;
typedef uint32x4_t fc_vmask_f32; /* all bits of a lane, or none */
typedef uint64x2_t fc_vmask_f64;

FC_INLINE fc_vec_f32 fc_vload_f32(const float *p) { return vld1q_f32(p); }
FC_INLINE void fc_vstore_f32(float *p, fc_vec_f32 v) { vst1q_f32(p, v); }
FC_INLINE void fc_vstream_f32(float *p, fc_vec_f32 v) { fc_vstore_f32(p, v); }
FC_INLINE void fc_vstreamed(void) {}
FC_INLINE fc_vec_f32 fc_vload_n_f32(const float *p, int64_t n)
{
    const float32x2_t none = vdup_n_f32(0);
    switch (n) {
    case 0: return vdupq_n_f32(0);
    case 1: return vcombine_f32(vld1_lane_f32(p, none, 0), none);
    case 2: return vcombine_f32(vld1_f32(p), none);
    case 3: return vcombine_f32(vld1_f32(p), vld1_lane_f32(p + 2, none, 0));
    default: return vld1q_f32(p);
    }
}
FC_INLINE fc_vmask_f32 fc_vlanes_f32(int i, int n)
{
    const int32x4_t lane = { 0, 1, 2, 3 };
    return vandq_u32(vcgeq_s32(lane, vdupq_n_s32(i)), vcltq_s32(lane, vdupq_n_s32(n)));
}
FC_INLINE fc_vmask_f32 fc_vbits_f32(uint32_t bits)
{
    const uint32x4_t lane = { 1, 2, 4, 8 };
    return vtstq_u32(vdupq_n_u32(bits), lane);
}
FC_INLINE fc_vec_f32 fc_vload_mask_f32(const float *p, fc_vmask_f32 m)
{
    const uint64_t lanes = vget_lane_u64(vreinterpret_u64_u16(vmovn_u32(m)), 0); /* 16 bits each */
    if (lanes == ~(uint64_t)0)
        return vld1q_f32(p);
    fc_vec_f32 v = vdupq_n_f32(0);
    if (lanes & 1)
        v = vld1q_lane_f32(p, v, 0);
    if (lanes >> 16 & 1)
        v = vld1q_lane_f32(p + 1, v, 1);
    if (lanes >> 32 & 1)
        v = vld1q_lane_f32(p + 2, v, 2);
    if (lanes >> 48)
        v = vld1q_lane_f32(p + 3, v, 3);
    return v;
}
FC_INLINE void fc_vstore_n_f32(float *p, fc_vec_f32 v, int64_t n)
{
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    float32x2_t part = vget_low_f32(v);
    if (n & 2) {
        vst1_f32(p, part);
        part = vget_high_f32(v);
        p += 2;
    }
    if (n & 1)
        vst1_lane_f32(p, part, 0);
}
FC_INLINE fc_vec_f32 fc_vload_step_f32(const float *p, int64_t step)
{
    return (fc_vec_f32){ p[0], p[step], p[2 * step], p[3 * step] };
}
FC_INLINE fc_vec_f32 fc_vload_every_f32(const float *p, int64_t step, uint32_t bits)
{
    float lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = bits >> i & 1 ? p[i * step] : 0;
    return fc_vload_f32(lane);
}
FC_INLINE void fc_vstore_index_f32(int64_t *p, fc_vec_f32 v, int64_t n)
{
    const int32x4_t lanes = vreinterpretq_s32_f32(v);
    if (n < 4) {
        for (int64_t i = 0; i < n; i++)
            p[i] = lanes[i];
        return;
    }
    vst1q_s64(p, vmovl_s32(vget_low_s32(lanes)));
    vst1q_s64(p + 2, vmovl_high_s32(lanes));
}
FC_INLINE fc_vec_f32 fc_vload_index_f32(const int64_t *p, int64_t n)
{
    int64_t lanes[4] = { 0, 0, 0, 0 };
    for (int64_t i = 0; n < 4 && i < n; i++)
        lanes[i] = p[i];
    const int64_t *const from = n < 4 ? lanes : p;
    return vreinterpretq_f32_s32(vcombine_s32(vqmovn_s64(vld1q_s64(from)), vqmovn_s64(vld1q_s64(from + 2))));
}
FC_INLINE fc_vmask_f32 fc_veq_index_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return vceqq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b));
}
FC_INLINE fc_vmask_f32 fc_vlt_index_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return vcltq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b));
}
FC_INLINE fc_vec_f32 fc_vadd_indices_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b)));
}
FC_INLINE fc_vec_f32 fc_vadd_index_f32(fc_vec_f32 v, int64_t n)
{
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v), vdupq_n_s32((int32_t)n)));
}
FC_INLINE fc_vec_f32 fc_vbcast_f32(const float *p) { return vld1q_dup_f32(p); }
FC_INLINE fc_vec_f32 fc_vrepeat_f32(const float *p, const int n)
{
    if (n == 2)
        return vcombine_f32(vld1_f32(p), vld1_f32(p));
    return n == 1 ? vld1q_dup_f32(p) : vld1q_f32(p);
}
FC_INLINE fc_vec_f32 fc_vset1_f32(float x) { return vdupq_n_f32(x); }
FC_INLINE fc_vec_f32 fc_vzero_f32(void) { return vdupq_n_f32(0); }
FC_INLINE fc_vec_f32 fc_vadd_f32(fc_vec_f32 a, fc_vec_f32 b) { return vaddq_f32(a, b); }
FC_INLINE fc_vec_f32 fc_vsub_f32(fc_vec_f32 a, fc_vec_f32 b) { return vsubq_f32(a, b); }
FC_INLINE fc_vec_f32 fc_vmul_f32(fc_vec_f32 a, fc_vec_f32 b) { return vmulq_f32(a, b); }
FC_INLINE fc_vec_f32 fc_vdiv_f32(fc_vec_f32 a, fc_vec_f32 b) { return vdivq_f32(a, b); }
FC_INLINE fc_vec_f32 fc_vsqrt_f32(fc_vec_f32 a) { return vsqrtq_f32(a); }
/* Not vminq and vmaxq, which return NaN where either is. */
FC_INLINE fc_vec_f32 fc_vmin_f32(fc_vec_f32 a, fc_vec_f32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
FC_INLINE fc_vec_f32 fc_vmax_f32(fc_vec_f32 a, fc_vec_f32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
FC_INLINE fc_vec_f32 fc_vabs_f32(fc_vec_f32 a) { return vabsq_f32(a); }
FC_INLINE fc_vec_f32 fc_vfma_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 c) { return vfmaq_f32(c, a, b); }
FC_INLINE float fc_vsum_f32(fc_vec_f32 v) { return vaddv_f32(vadd_f32(vget_low_f32(v), vget_high_f32(v))); }
FC_INLINE void fc_vtranspose_f32(fc_vec_f32 r[4])
{
    float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1]));
    float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
    float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3]));
    float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
    r[0] = vreinterpretq_f32_f64(vtrn1q_f64(a, c));
    r[1] = vreinterpretq_f32_f64(vtrn1q_f64(b, d));
    r[2] = vreinterpretq_f32_f64(vtrn2q_f64(a, c));
    r[3] = vreinterpretq_f32_f64(vtrn2q_f64(b, d));
}
FC_INLINE void fc_vdeinterleave_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *even, fc_vec_f32 *odd)
{
    *even = vuzp1q_f32(a, b);
    *odd = vuzp2q_f32(a, b);
}
FC_INLINE void fc_vpart_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *even, fc_vec_f32 *odd)
{
    fc_vdeinterleave_f32(a, b, even, odd);
}
FC_INLINE fc_vec_f32 fc_vparted_f32(fc_vec_f32 v) { return v; }
FC_INLINE void fc_vinterleave_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *low, fc_vec_f32 *high)
{
    *low = vzip1q_f32(a, b);
    *high = vzip2q_f32(a, b);
}
FC_INLINE fc_vec_f32 fc_vpick_f32(fc_vec_f32 a, fc_vec_f32 b, const float *index)
{
    float from[2 * VLEN_f32], to[VLEN_f32];
    int32_t at[VLEN_f32];
    fc_vstore_f32(from, a);
    fc_vstore_f32(from + VLEN_f32, b);
    __builtin_memcpy(at, index, sizeof at);
    for (int i = 0; i < VLEN_f32; i++)
        to[i] = from[at[i]];
    return fc_vload_f32(to);
}
FC_INLINE fc_vmask_f32 fc_vgt_f32(fc_vec_f32 a, fc_vec_f32 b) { return vcgtq_f32(a, b); }
FC_INLINE fc_vmask_f32 fc_visnan_f32(fc_vec_f32 a) { return vmvnq_u32(vceqq_f32(a, a)); }
FC_INLINE fc_vmask_f32 fc_vmask_or_f32(fc_vmask_f32 m, fc_vmask_f32 k) { return vorrq_u32(m, k); }
FC_INLINE int fc_vany_f32(fc_vmask_f32 m) { return vmaxvq_u32(m) != 0; }
FC_INLINE fc_vec_f32 fc_vblend_f32(fc_vmask_f32 m, fc_vec_f32 a, fc_vec_f32 b) { return vbslq_f32(m, a, b); }
FC_INLINE fc_vec_f32 fc_vpick_one_f32(fc_vec_f32 a, const float *index, fc_vmask_f32 m)
{
    return fc_vblend_f32(m, fc_vpick_f32(a, a, index), fc_vzero_f32());
}

FC_INLINE fc_vec_f64 fc_vload_f64(const double *p) { return vld1q_f64(p); }
FC_INLINE void fc_vstore_f64(double *p, fc_vec_f64 v) { vst1q_f64(p, v); }
FC_INLINE void fc_vstream_f64(double *p, fc_vec_f64 v) { fc_vstore_f64(p, v); }
FC_INLINE fc_vec_f64 fc_vload_n_f64(const double *p, int64_t n)
{
    switch (n) {
    case 0: return vdupq_n_f64(0);
    case 1: return vcombine_f64(vld1_f64(p), vdup_n_f64(0));
    default: return vld1q_f64(p);
    }
}
FC_INLINE fc_vmask_f64 fc_vlanes_f64(int i, int n)
{
    const int64x2_t lane = { 0, 1 };
    return vandq_u64(vcgeq_s64(lane, vdupq_n_s64(i)), vcltq_s64(lane, vdupq_n_s64(n)));
}
FC_INLINE fc_vmask_f64 fc_vbits_f64(uint32_t bits)
{
    const uint64x2_t lane = { 1, 2 };
    return vtstq_u64(vdupq_n_u64(bits), lane);
}
FC_INLINE fc_vec_f64 fc_vload_mask_f64(const double *p, fc_vmask_f64 m)
{
    fc_vec_f64 v = vdupq_n_f64(0);
    if (vgetq_lane_u64(m, 0))
        v = vld1q_lane_f64(p, v, 0);
    if (vgetq_lane_u64(m, 1))
        v = vld1q_lane_f64(p + 1, v, 1);
    return v;
}
FC_INLINE void fc_vstore_n_f64(double *p, fc_vec_f64 v, int64_t n)
{
    if (n >= 2)
        vst1q_f64(p, v);
    else if (n == 1)
        vst1q_lane_f64(p, v, 0);
}
FC_INLINE fc_vec_f64 fc_vload_step_f64(const double *p, int64_t step) { return (fc_vec_f64){ p[0], p[step] }; }
FC_INLINE fc_vec_f64 fc_vload_every_f64(const double *p, int64_t step, uint32_t bits)
{
    double lane[2];
    for (int i = 0; i < 2; i++)
        lane[i] = bits >> i & 1 ? p[i * step] : 0;
    return fc_vload_f64(lane);
}
FC_INLINE void fc_vstore_index_f64(int64_t *p, fc_vec_f64 v, int64_t n) { fc_vstore_n_f64((double *)p, v, n); }
FC_INLINE fc_vec_f64 fc_vload_index_f64(const int64_t *p, int64_t n)
{
    const int64x2_t none = vdupq_n_s64(0);
    return vreinterpretq_f64_s64(n >= 2 ? vld1q_s64(p) : n == 1 ? vld1q_lane_s64(p, none, 0) : none);
}
FC_INLINE fc_vmask_f64 fc_veq_index_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return vceqq_s64(vreinterpretq_s64_f64(a), vreinterpretq_s64_f64(b));
}
FC_INLINE fc_vmask_f64 fc_vlt_index_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return vcltq_s64(vreinterpretq_s64_f64(a), vreinterpretq_s64_f64(b));
}
FC_INLINE fc_vec_f64 fc_vadd_indices_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    return vreinterpretq_f64_s64(vaddq_s64(vreinterpretq_s64_f64(a), vreinterpretq_s64_f64(b)));
}
FC_INLINE fc_vec_f64 fc_vadd_index_f64(fc_vec_f64 v, int64_t n)
{
    return vreinterpretq_f64_s64(vaddq_s64(vreinterpretq_s64_f64(v), vdupq_n_s64(n)));
}
FC_INLINE fc_vec_f64 fc_vbcast_f64(const double *p) { return vld1q_dup_f64(p); }
FC_INLINE fc_vec_f64 fc_vrepeat_f64(const double *p, const int n)
{
    return n == 1 ? vld1q_dup_f64(p) : vld1q_f64(p);
}
FC_INLINE fc_vec_f64 fc_vset1_f64(double x) { return vdupq_n_f64(x); }
FC_INLINE fc_vec_f64 fc_vzero_f64(void) { return vdupq_n_f64(0); }
FC_INLINE fc_vec_f64 fc_vadd_f64(fc_vec_f64 a, fc_vec_f64 b) { return vaddq_f64(a, b); }
FC_INLINE fc_vec_f64 fc_vsub_f64(fc_vec_f64 a, fc_vec_f64 b) { return vsubq_f64(a, b); }
FC_INLINE fc_vec_f64 fc_vmul_f64(fc_vec_f64 a, fc_vec_f64 b) { return vmulq_f64(a, b); }
FC_INLINE fc_vec_f64 fc_vdiv_f64(fc_vec_f64 a, fc_vec_f64 b) { return vdivq_f64(a, b); }
FC_INLINE fc_vec_f64 fc_vsqrt_f64(fc_vec_f64 a) { return vsqrtq_f64(a); }
FC_INLINE fc_vec_f64 fc_vmin_f64(fc_vec_f64 a, fc_vec_f64 b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
FC_INLINE fc_vec_f64 fc_vmax_f64(fc_vec_f64 a, fc_vec_f64 b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
FC_INLINE fc_vec_f64 fc_vabs_f64(fc_vec_f64 a) { return vabsq_f64(a); }
FC_INLINE fc_vec_f64 fc_vfma_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 c) { return vfmaq_f64(c, a, b); }
FC_INLINE double fc_vsum_f64(fc_vec_f64 v) { return vaddvq_f64(v); }
FC_INLINE void fc_vtranspose_f64(fc_vec_f64 r[2])
{
    float64x2_t first = vtrn1q_f64(r[0], r[1]);
    r[1] = vtrn2q_f64(r[0], r[1]);
    r[0] = first;
}
FC_INLINE void fc_vdeinterleave_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *even, fc_vec_f64 *odd)
{
    *even = vuzp1q_f64(a, b);
    *odd = vuzp2q_f64(a, b);
}
FC_INLINE void fc_vpart_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *even, fc_vec_f64 *odd)
{
    fc_vdeinterleave_f64(a, b, even, odd);
}
FC_INLINE fc_vec_f64 fc_vparted_f64(fc_vec_f64 v) { return v; }
FC_INLINE void fc_vinterleave_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *low, fc_vec_f64 *high)
{
    *low = vzip1q_f64(a, b);
    *high = vzip2q_f64(a, b);
}
FC_INLINE fc_vec_f64 fc_vpick_f64(fc_vec_f64 a, fc_vec_f64 b, const double *index)
{
    double from[2 * VLEN_f64], to[VLEN_f64];
    int64_t at[VLEN_f64];
    fc_vstore_f64(from, a);
    fc_vstore_f64(from + VLEN_f64, b);
    __builtin_memcpy(at, index, sizeof at);
    for (int i = 0; i < VLEN_f64; i++)
        to[i] = from[at[i]];
    return fc_vload_f64(to);
}
FC_INLINE fc_vmask_f64 fc_vgt_f64(fc_vec_f64 a, fc_vec_f64 b) { return vcgtq_f64(a, b); }
FC_INLINE fc_vmask_f64 fc_visnan_f64(fc_vec_f64 a)
{
    return vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(vceqq_f64(a, a))));
}
FC_INLINE fc_vmask_f64 fc_vmask_or_f64(fc_vmask_f64 m, fc_vmask_f64 k) { return vorrq_u64(m, k); }
FC_INLINE int fc_vany_f64(fc_vmask_f64 m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }
FC_INLINE fc_vec_f64 fc_vblend_f64(fc_vmask_f64 m, fc_vec_f64 a, fc_vec_f64 b) { return vbslq_f64(m, a, b); }
FC_INLINE fc_vec_f64 fc_vpick_one_f64(fc_vec_f64 a, const double *index, fc_vmask_f64 m)
{
    return fc_vblend_f64(m, fc_vpick_f64(a, a, index), fc_vzero_f64());
}
#endif
