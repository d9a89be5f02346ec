/* FC_INLINE: how the functions of the vector vocabulary and the parts of kernels are defined.
 * Included by the ISA headers and by vec.h.  Always inline, or a tile would leave its registers. */
#ifndef FC_SIMD_INLINE_H
#define FC_SIMD_INLINE_H
#define FC_INLINE static inline __attribute__((always_inline, unused))
#endif
