/* The neon build of every kernel: exports fc_table_neon_f32 and fc_table_neon_f64. */
#include "../simd/neon.h"
#include "../kernels/all.inc"
