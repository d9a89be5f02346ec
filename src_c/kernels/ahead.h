/* Memory that a kernel asks for while it works, evenly, since it is wanted soon after.  Set by the loops in
 * conv/; asked for by gemm.inc and outer.inc. */
#ifndef FC_KERNELS_AHEAD_H
#define FC_KERNELS_AHEAD_H
#include <stdint.h>

/* `rows` rows of `bytes` bytes, `step` bytes apart; rows 0 for nothing.  `done`: bytes of this row. */
typedef struct fc_ahead {
    const char *at;
    int64_t rows, bytes, step, done;
} fc_ahead;

/* As many lines as there may be: a row that begins amid one has one more. */
static inline int64_t fc_ahead_lines(const fc_ahead *a) { return a->rows * (a->bytes / 64 + 1); }

/* Asks for `lines` lines, into L2. */
static inline void fc_ask(fc_ahead *a, int64_t lines)
{
    for (; lines > 0 && a->rows > 0; lines--) {
        const char *line = a->at + a->done;
        __builtin_prefetch(line, 0, 2);
        a->done += 64 - (int64_t)((uintptr_t)line % 64);
        if (a->done >= a->bytes) {
            a->done = 0;
            a->at += a->step;
            a->rows--;
        }
    }
}
#endif
