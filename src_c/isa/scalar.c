/* The scalar build of every kernel: exports fc_table_scalar_f32 and fc_table_scalar_f64. */
#include "../simd/scalar.h"
#include "../kernels/all.inc"
