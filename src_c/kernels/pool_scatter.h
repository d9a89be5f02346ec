/* Arguments of the kernels that move numbers by index.  Part of the kernel table; filled by pool/scatter.c.
 *
 * `small` has a number for every window, `big` one for every pixel.  Indices are any: where they often are, as
 * seen from their window, is a hint that makes lanes of what else would go one by one. */
#ifndef FC_KERNELS_POOL_SCATTER_H
#define FC_KERNELS_POOL_SCATTER_H
#include <stdbool.h>
#include <stdint.h>

/* big = 0, then big[index[o]] += small[o] in order, where -1 goes nowhere; big = 0, then big[index[o]] = small[o];
 * small[o] = big[index[o]]. */
typedef enum { FC_POOL_ADD, FC_POOL_PUT, FC_POOL_FETCH } fc_pool_moved;

enum { FC_POOL_NEAR = 16 };
typedef struct fc_pool_by_index {
    fc_pool_moved move;
    const int64_t *index;                     /* in the order of `small` */
    void *big, *small;
    int64_t planes;                           /* of `in` and `out` adjacent pixels; or as many channels, */
    int64_t channels;                         /* of pixels that are so many reals apart */
    int64_t in, out;                          /* pixels of a plane, at most INT32_MAX of floats */
    int64_t in_size[3], out_size[3];
    int64_t apart[3];                         /* pixels from window to window along each axis, about */
    int64_t ahead;                            /* pixels that windows see beyond those that they begin at, about */
    int64_t near_at[FC_POOL_NEAR];            /* positions of indices, from where their window begins, in order */
    int nears;
    bool tiles;                               /* near_at are those of windows that do not overlap */
    bool stream;                              /* of tiles of whole vectors: `big` is written past the caches */
    bool outside;                             /* set where an index is of no pixel; the rest is then not done */
} fc_pool_by_index;
#endif
