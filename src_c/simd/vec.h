/* The vector vocabulary: what every instruction set must define, and nothing else does.
 *
 * Included by each kernel source after the ISA's own header.  An ISA header (scalar.h, avx2.h,
 * avx512.h, neon.h) defines every name below twice, with the suffix _f32 and _f64; the macros
 * here give kernels one name for the dtype that is being compiled (FC_F64 is 0 or 1).
 *
 *   vec                 a vector of VLEN reals                     VLEN_f32, VLEN_f64
 *   vload(p) vstore(p, v)         any alignment
 *   vload_n(p, n)       the first n lanes (0 <= n <= VLEN), the others zero; touches n reals only
 *   vstore_n(p, v, n)   writes the first n lanes (0 <= n <= VLEN), touches n reals only
 *   vbcast(p)           *p in every lane          vset1(x)         x in every lane
 *   vzero()  vadd  vsub  vmul  vdiv  vmin  vmax   vmax returns the second operand if either is NaN
 *   vfma(a, b, c)       a * b + c, fused where the ISA has it      vsum(v)  sum of the lanes
 *   vkeep(v)            macro: pins v in a register, so that the compiler cannot fold its load
 *                       into every use as a memory operand
 *   vtranspose(rows)    VLEN x VLEN transpose of vec rows[VLEN], in place
 *   vdeinterleave(a, b, &even, &odd)   lanes 0 2 4 .. and 1 3 5 .. of the 2 * VLEN lanes a b
 *
 *   FC_ISA              the table's name, an identifier: scalar, avx2, avx512, neon
 *   FC_REGISTERS        vector registers: 16 or 32
 */
#ifndef FC_F64
#error "define FC_F64 to 0 or 1 before including simd/vec.h"
#endif

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
#define vec FC_T(vec)
#define vload FC_T(vload)
#define vstore FC_T(vstore)
#define vload_n FC_T(vload_n)
#define vstore_n FC_T(vstore_n)
#define vbcast FC_T(vbcast)
#define vset1 FC_T(vset1)
#define vzero FC_T(vzero)
#define vadd FC_T(vadd)
#define vsub FC_T(vsub)
#define vmul FC_T(vmul)
#define vdiv FC_T(vdiv)
#define vmin FC_T(vmin)
#define vmax FC_T(vmax)
#define vfma FC_T(vfma)
#define vsum FC_T(vsum)
#define vtranspose FC_T(vtranspose)
#define vdeinterleave FC_T(vdeinterleave)

#define FC_INLINE static inline __attribute__((always_inline, unused))
#endif
