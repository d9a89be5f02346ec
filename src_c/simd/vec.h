/* The vector vocabulary: what every instruction set must define, and nothing else does.
 *
 * Included by each kernel source after the ISA's own header.  An ISA header (scalar.h, avx2.h,
 * avx512.h, neon.h) defines every name below twice, as fc_vadd_f32 and fc_vadd_f64 (arm_neon.h has a
 * vadd_f32 of its own); the macros here give kernels one name for the dtype that is being compiled
 * (FC_F64 is 0 or 1).
 *
 *   vec                 a vector of VLEN reals                     VLEN_f32, VLEN_f64
 *   vload(p) vstore(p, v)         any address that a real may have
 *   vload_n(p, n)       the first n lanes (0 <= n <= VLEN), the others zero; touches n reals only
 *   vload_mask(p, m)    lanes where m is true, the others zero; touches those reals only
 *   vstream(p, v)                past the caches, where p is a multiple of a vector; whoever else reads it must do so
 *                                 after vstreamed()
 *   vstore_n(p, v, n)   writes the first n lanes (0 <= n <= VLEN), touches n reals only
 *   vload_step(p, step) p[0], p[step] .. p[(VLEN - 1) * step]
 *   vload_every(p, step, b)       lane i is p[i * step] where bit i of the uint32_t b is set, the others zero;
 *                       touches no real before the first of these or after the last
 *   vstore_index(p, v, n)         the first n lanes as int64_t, where lanes hold an int32_t or int64_t
 *                       of their size; touches n int64_t only
 *   vload_index(p, n)   the first n (0 <= n <= VLEN) of int64_t p[] as such integers, brought into their
 *                       range, the other lanes 0; touches n int64_t only
 *   vadd_index(v, n)    adds n to lanes that hold an int32_t or int64_t of their size
 *   vadd_indices(a, b)  veq_index(a, b)  vlt_index(a, b)   a + b, a == b, a < b of such lanes
 *   vbcast(p)           *p in every lane          vset1(x)         x in every lane
 *   vrepeat(p, n)       lane i is p[i % n]: n is a power of two up to VLEN and a constant; touches n reals only
 *   vzero()  vadd  vsub  vmul  vdiv  vsqrt        correctly rounded
 *   vmax(a, b)          a > b ? a : b, so b if either is NaN and b of two zeros
 *   vmin(a, b)          a < b ? a : b, likewise
 *   vabs(a)             clears the sign, of zero and NaN too
 *   vfma(a, b, c)       a * b + c, fused where the ISA has it
 *   vsum(v)             sum of the lanes in a fixed order: the upper half is added to the lower one,
 *                       lane by lane, until one lane is left
 *   vkeep(v)            macro: pins v in a register, so that the compiler cannot fold its load
 *                       into every use as a memory operand
 *   vtranspose(rows)    VLEN x VLEN transpose of vec rows[VLEN], in place
 *   vdeinterleave(a, b, &even, &odd)   lanes 0 2 4 .. and 1 3 5 .. of the 2 * VLEN lanes a b
 *   vpart(a, b, &even, &odd)  vparted(v)   the same lanes in an order of the ISA's own, at less cost; v brought from
 *                       that order to that of vdeinterleave
 *   vinterleave(a, b, &low, &high)     a0 b0 a1 b1 .., its first VLEN lanes and its last
 *
 *   vpick(a, b, index)  lane i is lane index[i] of the 2 * VLEN lanes a b; index points at VLEN
 *                       integers 0 .. 2 * VLEN - 1 of a real's size, in the bits of reals
 *   vpick_one(a, index, m)   lane i is lane index[i], 0 .. VLEN - 1, of a where m is true, else zero
 *
 *   vmask               one truth per lane; its representation is the ISA's affair
 *   vgt(a, b)           a > b: false if either is NaN
 *   visnan(a)           a is NaN
 *   vmask_or(m, k)      either                       vany(m)          in any lane
 *   vlanes(i, n)        lanes i .. n - 1; i and n are any int: below 0 is as 0, above VLEN as VLEN
 *   vbits(b)            lane i where bit i of the uint32_t b is set; bits from VLEN on are not read
 *   vblend(m, a, b)     a where m is true, else b: copies bits, so indices of another type may ride
 *
 *   vload_half(p)  vfma_half(a, b, c, m)   vload(p) and vblend(m, vfma(a, b, c), c) in the first VLEN / 2 lanes,
 *                       anything in the others; only where FC_FREE_MASKS is 1
 *
 *   FC_ISA              the table's name, an identifier: scalar, avx2, avx512, neon
 *   FC_REGISTERS        vector registers: 16 or 32
 *   FC_FREE_MASKS       1 where vstore_n, and vblend of what vfma made, cost nothing more; else 0
 *
 * Results are the same bits on every ISA, except the payload of a NaN that arithmetic made, vfma
 * where the ISA has none, and vsum, whose order follows VLEN.  That takes a compiler that keeps to
 * the source: -ffp-contract=off and no -ffast-math for every file that includes this.
 */
#ifndef FC_F64
#error "define FC_F64 to 0 or 1 before including simd/vec.h"
#endif
#include "inline.h"

#undef real
#undef VLEN
#undef FC_SUFFIX
#if FC_F64
#define real double
#define VLEN VLEN_f64
#define FC_SUFFIX f64
#else
#define real float
#define VLEN VLEN_f32
#define FC_SUFFIX f32
#endif

#ifndef FC_VEC_NAMES
#define FC_VEC_NAMES
#define FC_PASTE(a, b) a##_##b
#define FC_PASTE_(a, b) FC_PASTE(a, b)
/* The name of a function or type for the dtype being compiled. */
#define FC_T(name) FC_PASTE_(name, FC_SUFFIX)
/* fc_table_avx2_f32 and so on: the one symbol that a stub exports per dtype. */
#define FC_TABLE FC_PASTE_(FC_PASTE_(fc_table, FC_ISA), FC_SUFFIX)
#define vec FC_T(fc_vec)
#define vmask FC_T(fc_vmask)
#define vload FC_T(fc_vload)
#define vstore FC_T(fc_vstore)
#define vstream FC_T(fc_vstream)
#define vstreamed fc_vstreamed
#define vload_n FC_T(fc_vload_n)
#define vload_mask FC_T(fc_vload_mask)
#define vstore_n FC_T(fc_vstore_n)
#define vload_step FC_T(fc_vload_step)
#define vload_every FC_T(fc_vload_every)
#define vstore_index FC_T(fc_vstore_index)
#define vload_index FC_T(fc_vload_index)
#define vadd_index FC_T(fc_vadd_index)
#define vadd_indices FC_T(fc_vadd_indices)
#define veq_index FC_T(fc_veq_index)
#define vlt_index FC_T(fc_vlt_index)
#define vbcast FC_T(fc_vbcast)
#define vrepeat FC_T(fc_vrepeat)
#define vset1 FC_T(fc_vset1)
#define vzero FC_T(fc_vzero)
#define vadd FC_T(fc_vadd)
#define vsub FC_T(fc_vsub)
#define vmul FC_T(fc_vmul)
#define vdiv FC_T(fc_vdiv)
#define vsqrt FC_T(fc_vsqrt)
#define vmin FC_T(fc_vmin)
#define vmax FC_T(fc_vmax)
#define vabs FC_T(fc_vabs)
#define vfma FC_T(fc_vfma)
#define vload_half FC_T(fc_vload_half)
#define vfma_half FC_T(fc_vfma_half)
#define vsum FC_T(fc_vsum)
#define vtranspose FC_T(fc_vtranspose)
#define vdeinterleave FC_T(fc_vdeinterleave)
#define vpart FC_T(fc_vpart)
#define vparted FC_T(fc_vparted)
#define vinterleave FC_T(fc_vinterleave)
#define vpick FC_T(fc_vpick)
#define vpick_one FC_T(fc_vpick_one)
#define vgt FC_T(fc_vgt)
#define visnan FC_T(fc_visnan)
#define vmask_or FC_T(fc_vmask_or)
#define vany FC_T(fc_vany)
#define vlanes FC_T(fc_vlanes)
#define vbits FC_T(fc_vbits)
#define vblend FC_T(fc_vblend)
#endif
