/* The avx2 build of every kernel: exports fc_table_avx2_f32, or _f64 where FC_F64 is 1. */
#include "../simd/avx2.h"
#include "../kernels/dtype.inc"
