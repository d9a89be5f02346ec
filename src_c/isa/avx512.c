/* The avx512 build of every kernel: exports fc_table_avx512_f32 and fc_table_avx512_f64. */
#include "../simd/avx512.h"
#include "../kernels/all.inc"
