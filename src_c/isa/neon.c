/* The neon build of every kernel: exports fc_table_neon_f32, or _f64 where FC_F64 is 1. */
#include "../simd/neon.h"
#include "../kernels/dtype.inc"
