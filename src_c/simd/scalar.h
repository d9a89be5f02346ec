/* Any CPU: the compiler's generic vectors of 16 bytes, 4 floats or 2 doubles, no intrinsics.
 * Included by isa/scalar.c, which fills every slot of the table wherever this compiles. */
#ifndef FC_SIMD_SCALAR_H
#define FC_SIMD_SCALAR_H
#include "inline.h"
#include <stdint.h>

#define FC_ISA scalar
#define FC_REGISTERS 16
#define FC_FREE_MASKS 0
#define VLEN_f32 4
#define VLEN_f64 2
/* Which class of register holds a generic vector depends on the target. */
#if defined(__SSE2__)
#define vkeep(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define vkeep(v) __asm__("" : "+w"(v))
#else
#define vkeep(v) ((void)(v))
#endif

typedef float fc_vec_f32 __attribute__((vector_size(16)));
typedef double fc_vec_f64 __attribute__((vector_size(16)));
/* All bits of a lane, or none; by 32 bits for doubles too, because SSE2 cannot select by 64. */
typedef int32_t fc_vmask_f32 __attribute__((vector_size(16)));
typedef fc_vmask_f32 fc_vmask_f64;

/* The lanes i j .. of the lanes of a and then of b.  Element by element would leave the registers. */
#ifdef __clang__
#define fc_pick4(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#define fc_pick2(a, b, i, j) __builtin_shufflevector(a, b, i, j)
#else
typedef int64_t fc_lanes_f64 __attribute__((vector_size(16)));
#define fc_pick4(a, b, i, j, k, l) __builtin_shuffle(a, b, (fc_vmask_f32){ i, j, k, l })
#define fc_pick2(a, b, i, j) __builtin_shuffle(a, b, (fc_lanes_f64){ i, j })
#endif

FC_INLINE fc_vec_f32 fc_vset1_f32(float x) { return (fc_vec_f32){ x, x, x, x }; }
FC_INLINE fc_vec_f32 fc_vzero_f32(void) { return fc_vset1_f32(0); }
FC_INLINE fc_vec_f32 fc_vbcast_f32(const float *p) { return fc_vset1_f32(*p); }
FC_INLINE fc_vec_f32 fc_vload_f32(const float *p)
{
    fc_vec_f32 v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
FC_INLINE fc_vec_f32 fc_vrepeat_f32(const float *p, const int n)
{
    return (fc_vec_f32){ p[0], p[1 % n], p[2 % n], p[3 % n] };
}
FC_INLINE void fc_vstore_f32(float *p, fc_vec_f32 v) { __builtin_memcpy(p, &v, sizeof v); }
FC_INLINE void fc_vstream_f32(float *p, fc_vec_f32 v) { fc_vstore_f32(p, v); }
FC_INLINE void fc_vstreamed(void) {}
FC_INLINE fc_vec_f32 fc_vload_n_f32(const float *p, int64_t n)
{
    return (fc_vec_f32){ n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0 };
}
FC_INLINE fc_vmask_f32 fc_vlanes_f32(int i, int n)
{
    return (fc_vmask_f32){ -(int32_t)(0 >= i && 0 < n), -(int32_t)(1 >= i && 1 < n),
                           -(int32_t)(2 >= i && 2 < n), -(int32_t)(3 >= i && 3 < n) };
}
FC_INLINE fc_vmask_f32 fc_vbits_f32(uint32_t bits)
{
    return (fc_vmask_f32){ -(int32_t)(bits & 1), -(int32_t)(bits >> 1 & 1), -(int32_t)(bits >> 2 & 1),
                           -(int32_t)(bits >> 3 & 1) };
}
FC_INLINE fc_vec_f32 fc_vload_mask_f32(const float *p, fc_vmask_f32 m)
{
    return (fc_vec_f32){ m[0] ? p[0] : 0, m[1] ? p[1] : 0, m[2] ? p[2] : 0, m[3] ? p[3] : 0 };
}
FC_INLINE void fc_vstore_n_f32(float *p, fc_vec_f32 v, int64_t n)
{
    if (n > 0)
        p[0] = v[0];
    if (n > 1)
        p[1] = v[1];
    if (n > 2)
        p[2] = v[2];
    if (n > 3)
        p[3] = v[3];
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
    const fc_vmask_f32 lanes = (fc_vmask_f32)v;
    for (int64_t i = 0; i < n; i++)
        p[i] = lanes[i];
}
FC_INLINE fc_vec_f32 fc_vload_index_f32(const int64_t *p, int64_t n)
{
    fc_vmask_f32 lanes = { 0, 0, 0, 0 };
    for (int64_t i = 0; i < n; i++)
        lanes[i] = p[i] > INT32_MAX ? INT32_MAX : p[i] < INT32_MIN ? INT32_MIN : (int32_t)p[i];
    return (fc_vec_f32)lanes;
}
FC_INLINE fc_vmask_f32 fc_veq_index_f32(fc_vec_f32 a, fc_vec_f32 b) { return (fc_vmask_f32)a == (fc_vmask_f32)b; }
FC_INLINE fc_vmask_f32 fc_vlt_index_f32(fc_vec_f32 a, fc_vec_f32 b) { return (fc_vmask_f32)a < (fc_vmask_f32)b; }
FC_INLINE fc_vec_f32 fc_vadd_indices_f32(fc_vec_f32 a, fc_vec_f32 b)
{
    return (fc_vec_f32)((fc_vmask_f32)a + (fc_vmask_f32)b);
}
FC_INLINE fc_vec_f32 fc_vadd_index_f32(fc_vec_f32 v, int64_t n) { return (fc_vec_f32)((fc_vmask_f32)v + (int32_t)n); }
FC_INLINE fc_vec_f32 fc_vadd_f32(fc_vec_f32 a, fc_vec_f32 b) { return a + b; }
FC_INLINE fc_vec_f32 fc_vsub_f32(fc_vec_f32 a, fc_vec_f32 b) { return a - b; }
FC_INLINE fc_vec_f32 fc_vmul_f32(fc_vec_f32 a, fc_vec_f32 b) { return a * b; }
FC_INLINE fc_vec_f32 fc_vdiv_f32(fc_vec_f32 a, fc_vec_f32 b) { return a / b; }
FC_INLINE fc_vec_f32 fc_vsqrt_f32(fc_vec_f32 a)
{
    return (fc_vec_f32){ __builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]),
                         __builtin_sqrtf(a[3]) };
}
FC_INLINE fc_vec_f32 fc_vfma_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 c) { return a * b + c; }
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
FC_INLINE fc_vmask_f32 fc_vgt_f32(fc_vec_f32 a, fc_vec_f32 b) { return (fc_vmask_f32)(a > b); }
FC_INLINE fc_vmask_f32 fc_visnan_f32(fc_vec_f32 a) { return (fc_vmask_f32)(a != a); }
FC_INLINE fc_vmask_f32 fc_vmask_or_f32(fc_vmask_f32 m, fc_vmask_f32 k) { return m | k; }
FC_INLINE int fc_vany_f32(fc_vmask_f32 m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
FC_INLINE fc_vec_f32 fc_vblend_f32(fc_vmask_f32 m, fc_vec_f32 a, fc_vec_f32 b)
{
    return (fc_vec_f32)((fc_vmask_f32)b ^ (m & ((fc_vmask_f32)a ^ (fc_vmask_f32)b)));
}
FC_INLINE fc_vec_f32 fc_vpick_one_f32(fc_vec_f32 a, const float *index, fc_vmask_f32 m)
{
    return fc_vblend_f32(m, fc_vpick_f32(a, a, index), fc_vzero_f32());
}
FC_INLINE fc_vec_f32 fc_vmin_f32(fc_vec_f32 a, fc_vec_f32 b) { return fc_vblend_f32(fc_vgt_f32(b, a), a, b); }
FC_INLINE fc_vec_f32 fc_vmax_f32(fc_vec_f32 a, fc_vec_f32 b) { return fc_vblend_f32(fc_vgt_f32(a, b), a, b); }
FC_INLINE fc_vec_f32 fc_vabs_f32(fc_vec_f32 a)
{
    return (fc_vec_f32)((fc_vmask_f32)a & ~(fc_vmask_f32)fc_vset1_f32(-0.0f));
}
FC_INLINE float fc_vsum_f32(fc_vec_f32 v) { return (v[0] + v[2]) + (v[1] + v[3]); }
FC_INLINE void fc_vtranspose_f32(fc_vec_f32 r[4])
{
    fc_vec_f32 a = fc_pick4(r[0], r[1], 0, 4, 1, 5), b = fc_pick4(r[2], r[3], 0, 4, 1, 5);
    fc_vec_f32 c = fc_pick4(r[0], r[1], 2, 6, 3, 7), d = fc_pick4(r[2], r[3], 2, 6, 3, 7);
    r[0] = fc_pick4(a, b, 0, 1, 4, 5);
    r[1] = fc_pick4(a, b, 2, 3, 6, 7);
    r[2] = fc_pick4(c, d, 0, 1, 4, 5);
    r[3] = fc_pick4(c, d, 2, 3, 6, 7);
}
FC_INLINE void fc_vdeinterleave_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *even, fc_vec_f32 *odd)
{
    *even = fc_pick4(a, b, 0, 2, 4, 6);
    *odd = fc_pick4(a, b, 1, 3, 5, 7);
}
FC_INLINE void fc_vpart_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *even, fc_vec_f32 *odd)
{
    fc_vdeinterleave_f32(a, b, even, odd);
}
FC_INLINE fc_vec_f32 fc_vparted_f32(fc_vec_f32 v) { return v; }
FC_INLINE void fc_vinterleave_f32(fc_vec_f32 a, fc_vec_f32 b, fc_vec_f32 *low, fc_vec_f32 *high)
{
    *low = (fc_vec_f32){ a[0], b[0], a[1], b[1] };
    *high = (fc_vec_f32){ a[2], b[2], a[3], b[3] };
}

FC_INLINE fc_vec_f64 fc_vset1_f64(double x) { return (fc_vec_f64){ x, x }; }
FC_INLINE fc_vec_f64 fc_vzero_f64(void) { return fc_vset1_f64(0); }
FC_INLINE fc_vec_f64 fc_vbcast_f64(const double *p) { return fc_vset1_f64(*p); }
FC_INLINE fc_vec_f64 fc_vload_f64(const double *p)
{
    fc_vec_f64 v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
FC_INLINE fc_vec_f64 fc_vrepeat_f64(const double *p, const int n)
{
    return (fc_vec_f64){ p[0], p[1 % n] };
}
FC_INLINE void fc_vstore_f64(double *p, fc_vec_f64 v) { __builtin_memcpy(p, &v, sizeof v); }
FC_INLINE void fc_vstream_f64(double *p, fc_vec_f64 v) { fc_vstore_f64(p, v); }
FC_INLINE fc_vec_f64 fc_vload_n_f64(const double *p, int64_t n)
{
    return (fc_vec_f64){ n > 0 ? p[0] : 0, n > 1 ? p[1] : 0 };
}
FC_INLINE fc_vmask_f64 fc_vlanes_f64(int i, int n)
{
    const int32_t lane0 = -(int32_t)(0 >= i && 0 < n), lane1 = -(int32_t)(1 >= i && 1 < n);
    return (fc_vmask_f64){ lane0, lane0, lane1, lane1 };
}
FC_INLINE fc_vmask_f64 fc_vbits_f64(uint32_t bits)
{
    const int32_t lane0 = -(int32_t)(bits & 1), lane1 = -(int32_t)(bits >> 1 & 1);
    return (fc_vmask_f64){ lane0, lane0, lane1, lane1 };
}
FC_INLINE fc_vec_f64 fc_vload_mask_f64(const double *p, fc_vmask_f64 m)
{
    return (fc_vec_f64){ m[0] ? p[0] : 0, m[2] ? p[1] : 0 };
}
FC_INLINE void fc_vstore_n_f64(double *p, fc_vec_f64 v, int64_t n)
{
    if (n > 0)
        p[0] = v[0];
    if (n > 1)
        p[1] = v[1];
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
    int64_t lanes[2] = { n > 0 ? p[0] : 0, n > 1 ? p[1] : 0 };
    fc_vec_f64 v;
    __builtin_memcpy(&v, lanes, sizeof v);
    return v;
}
FC_INLINE fc_vmask_f64 fc_veq_index_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    const fc_vmask_f32 same = (fc_vmask_f32)a == (fc_vmask_f32)b;
    return same & (fc_vmask_f32){ same[1], same[0], same[3], same[2] };
}
FC_INLINE fc_vmask_f64 fc_vlt_index_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    int64_t x[2], y[2];
    __builtin_memcpy(x, &a, sizeof x);
    __builtin_memcpy(y, &b, sizeof y);
    const int32_t first = -(int32_t)(x[0] < y[0]), last = -(int32_t)(x[1] < y[1]);
    return (fc_vmask_f64){ first, first, last, last };
}
FC_INLINE fc_vec_f64 fc_vadd_indices_f64(fc_vec_f64 a, fc_vec_f64 b)
{
    typedef int64_t lanes __attribute__((vector_size(16)));
    return (fc_vec_f64)((lanes)a + (lanes)b);
}
FC_INLINE fc_vec_f64 fc_vadd_index_f64(fc_vec_f64 v, int64_t n)
{
    typedef int64_t lanes __attribute__((vector_size(16)));
    return (fc_vec_f64)((lanes)v + n);
}
FC_INLINE fc_vec_f64 fc_vadd_f64(fc_vec_f64 a, fc_vec_f64 b) { return a + b; }
FC_INLINE fc_vec_f64 fc_vsub_f64(fc_vec_f64 a, fc_vec_f64 b) { return a - b; }
FC_INLINE fc_vec_f64 fc_vmul_f64(fc_vec_f64 a, fc_vec_f64 b) { return a * b; }
FC_INLINE fc_vec_f64 fc_vdiv_f64(fc_vec_f64 a, fc_vec_f64 b) { return a / b; }
FC_INLINE fc_vec_f64 fc_vsqrt_f64(fc_vec_f64 a)
{
    return (fc_vec_f64){ __builtin_sqrt(a[0]), __builtin_sqrt(a[1]) };
}
FC_INLINE fc_vec_f64 fc_vfma_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 c) { return a * b + c; }
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
FC_INLINE fc_vmask_f64 fc_vgt_f64(fc_vec_f64 a, fc_vec_f64 b) { return (fc_vmask_f64)(a > b); }
FC_INLINE fc_vmask_f64 fc_visnan_f64(fc_vec_f64 a) { return (fc_vmask_f64)(a != a); }
FC_INLINE fc_vmask_f64 fc_vmask_or_f64(fc_vmask_f64 m, fc_vmask_f64 k) { return m | k; }
FC_INLINE int fc_vany_f64(fc_vmask_f64 m) { return (m[0] | m[2]) != 0; }
FC_INLINE fc_vec_f64 fc_vblend_f64(fc_vmask_f64 m, fc_vec_f64 a, fc_vec_f64 b)
{
    return (fc_vec_f64)((fc_vmask_f64)b ^ (m & ((fc_vmask_f64)a ^ (fc_vmask_f64)b)));
}
FC_INLINE fc_vec_f64 fc_vpick_one_f64(fc_vec_f64 a, const double *index, fc_vmask_f64 m)
{
    return fc_vblend_f64(m, fc_vpick_f64(a, a, index), fc_vzero_f64());
}
FC_INLINE fc_vec_f64 fc_vmin_f64(fc_vec_f64 a, fc_vec_f64 b) { return fc_vblend_f64(fc_vgt_f64(b, a), a, b); }
FC_INLINE fc_vec_f64 fc_vmax_f64(fc_vec_f64 a, fc_vec_f64 b) { return fc_vblend_f64(fc_vgt_f64(a, b), a, b); }
FC_INLINE fc_vec_f64 fc_vabs_f64(fc_vec_f64 a)
{
    return (fc_vec_f64)((fc_vmask_f64)a & ~(fc_vmask_f64)fc_vset1_f64(-0.0));
}
FC_INLINE double fc_vsum_f64(fc_vec_f64 v) { return v[0] + v[1]; }
FC_INLINE void fc_vtranspose_f64(fc_vec_f64 r[2])
{
    fc_vec_f64 first = fc_pick2(r[0], r[1], 0, 2);
    r[1] = fc_pick2(r[0], r[1], 1, 3);
    r[0] = first;
}
FC_INLINE void fc_vdeinterleave_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *even, fc_vec_f64 *odd)
{
    *even = fc_pick2(a, b, 0, 2);
    *odd = fc_pick2(a, b, 1, 3);
}
FC_INLINE void fc_vpart_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *even, fc_vec_f64 *odd)
{
    fc_vdeinterleave_f64(a, b, even, odd);
}
FC_INLINE fc_vec_f64 fc_vparted_f64(fc_vec_f64 v) { return v; }
FC_INLINE void fc_vinterleave_f64(fc_vec_f64 a, fc_vec_f64 b, fc_vec_f64 *low, fc_vec_f64 *high)
{
    *low = (fc_vec_f64){ a[0], b[0] };
    *high = (fc_vec_f64){ a[1], b[1] };
}
#undef fc_pick4
#undef fc_pick2
#endif
