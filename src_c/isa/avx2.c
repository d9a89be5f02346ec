/* The avx2 build of every kernel: exports fc_table_avx2_f32 and fc_table_avx2_f64. */
#include "../simd/avx2.h"
#include "../kernels/all.inc"
