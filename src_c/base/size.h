/* Overflow-checked products and sums of sizes.  Used where sizes enter; never in kernels. */
#ifndef FC_BASE_SIZE_H
#define FC_BASE_SIZE_H
#include <stdbool.h>
#include <stdint.h>

static inline bool fc_mul(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool fc_add(int64_t a, int64_t b, int64_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline int64_t fc_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t fc_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t fc_div_up(int64_t a, int64_t b) { return a / b + (a % b != 0); }
static inline int64_t fc_round_up(int64_t a, int64_t b) { return fc_div_up(a, b) * b; }
static inline int64_t fc_common_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}
#endif
