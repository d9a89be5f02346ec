/* The avx512 build of every kernel: exports fc_table_avx512_f32, or _f64 where FC_F64 is 1. */
#include "../simd/avx512.h"
#include "../kernels/dtype.inc"
