/* FC_INLINE and FC_UNROLL: how the functions of the vector vocabulary and the parts of kernels are
 * written.  Included by the ISA headers and by vec.h. */
#ifndef FC_SIMD_INLINE_H
#define FC_SIMD_INLINE_H

/* Always inline, or a tile would leave its registers. */
#define FC_INLINE static inline __attribute__((always_inline, unused))

/* Before a loop of at most n rounds over an array of vectors, which stays in registers only where
 * every round is unrolled.  Clang takes GCC's pragma too, but acts on it after it has given such an
 * array a place in memory; its own unrolls early.  FC_UNROLL_BY: before a loop of any number of rounds, n
 * at a time. */
#define FC_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define FC_UNROLL(n) FC_PRAGMA(clang loop unroll(full))
#define FC_UNROLL_BY(n) FC_PRAGMA(clang loop unroll_count(n))
#else
#define FC_UNROLL(n) FC_PRAGMA(GCC unroll n)
#define FC_UNROLL_BY(n) FC_PRAGMA(GCC unroll n)
#endif
/* Hides where an index came from, so that addresses stay base + index: many rows at one index would
 * otherwise become as many pointers to step. */
#define FC_OPAQUE(index) __asm__("" : "+r"(index))
#endif
