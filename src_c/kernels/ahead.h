/* Memory that is asked for while something else is computed.  Part of the arguments of outer and gemm. */
#ifndef FC_KERNELS_AHEAD_H
#define FC_KERNELS_AHEAD_H
#include <stdint.h>

/* `rows` rows of `bytes` bytes, `step` bytes apart, wanted soon; of the first, `done` have been asked for. */
typedef struct fc_ahead {
    const char *at;
    int64_t rows, bytes, step, done;
} fc_ahead;

static inline int64_t fc_ahead_lines(const fc_ahead *ahead) { return ahead->rows * ((ahead->bytes + 63) / 64); }

/* Asks for the next `lines` lines, to L2. */
static inline void fc_ahead_ask(fc_ahead *ahead, int64_t lines)
{
    for (; lines > 0 && ahead->rows > 0; lines--) {
        __builtin_prefetch(ahead->at + ahead->done, 0, 2);
        ahead->done += 64;
        if (ahead->done >= ahead->bytes) {
            ahead->done = 0;
            ahead->at += ahead->step;
            ahead->rows--;
        }
    }
}
#endif
