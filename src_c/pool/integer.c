/* Max pooling of integers.  Called by _core. */
#include "window_task.h"
#include <string.h>

typedef struct integers {
    const void *x;
    void *y;
    int64_t *indices;
} integers;

/* to[i] = the larger of to[i] and from[i], 16 bytes at a time by the compiler's own vectors. */
#define LARGER(type, name)                                                                 \
    typedef type name##_lanes __attribute__((vector_size(16)));                            \
    static inline void larger_##name(type *to, const type *from, int64_t count)            \
    {                                                                                      \
        enum { LANES = 16 / sizeof(type) };                                                \
        int64_t i = 0;                                                                     \
        for (; i + LANES <= count; i += LANES) {                                           \
            name##_lanes a, b, more;                                                       \
            memcpy(&a, to + i, sizeof a);                                                  \
            memcpy(&b, from + i, sizeof b);                                                \
            more = (name##_lanes)(a > b);                                                  \
            a = (a & more) | (b & ~more);                                                  \
            memcpy(to + i, &a, sizeof a);                                                  \
        }                                                                                  \
        for (; i < count; i++)                                                             \
            to[i] = from[i] > to[i] ? from[i] : to[i];                                     \
    }
LARGER(int8_t, i8)
LARGER(uint8_t, u8)
LARGER(int16_t, i16)
LARGER(uint16_t, u16)
LARGER(int32_t, i32)
LARGER(uint32_t, u32)
LARGER(int64_t, i64)
LARGER(uint64_t, u64)

#define real int8_t
#define LEAST INT8_MIN
#define NAME(name) name##_i8
#include "integer.inc"
#undef real
#undef LEAST
#undef NAME
#define real uint8_t
#define LEAST 0
#define NAME(name) name##_u8
#include "integer.inc"
#undef real
#undef LEAST
#undef NAME
#define real int16_t
#define LEAST INT16_MIN
#define NAME(name) name##_i16
#include "integer.inc"
#undef real
#undef LEAST
#undef NAME
#define real uint16_t
#define LEAST 0
#define NAME(name) name##_u16
#include "integer.inc"
#undef real
#undef LEAST
#undef NAME
#define real int32_t
#define LEAST INT32_MIN
#define NAME(name) name##_i32
#include "integer.inc"
#undef real
#undef LEAST
#undef NAME
#define real uint32_t
#define LEAST 0
#define NAME(name) name##_u32
#include "integer.inc"
#undef real
#undef LEAST
#undef NAME
#define real int64_t
#define LEAST INT64_MIN
#define NAME(name) name##_i64
#include "integer.inc"
#undef real
#undef LEAST
#undef NAME
#define real uint64_t
#define LEAST 0
#define NAME(name) name##_u64
#include "integer.inc"

fc_status fc_max_pool_integer(const fc_pool *pool, fc_integer type, const void *x, void *y, int64_t *indices,
                              fc_error *error)
{
    static void (*const rows[])(const fc_window_row *, const void *, void *) = {
        [FC_I8] = max_row_i8, [FC_U8] = max_row_u8, [FC_I16] = max_row_i16, [FC_U16] = max_row_u16,
        [FC_I32] = max_row_i32, [FC_U32] = max_row_u32, [FC_I64] = max_row_i64, [FC_U64] = max_row_u64,
    };
    const integers arrays = { x, y, indices };
    return fc_window_run(pool, rows[type], &arrays, (size_t)pool->in_size[FC_WIDTH] * 8, 0.5e-9, error);
}
