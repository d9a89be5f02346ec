/* The scalar build of every kernel: exports fc_table_scalar_f32, or _f64 where FC_F64 is 1. */
#include "../simd/scalar.h"
#include "../kernels/dtype.inc"
