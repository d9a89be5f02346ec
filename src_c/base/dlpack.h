/* What DLPack 1 says of a tensor, and the part of its exchange interface that reads one in place.
 * Used by _core_tensors.pxi; the layouts are fixed by DLPack's major version. */
#ifndef FC_BASE_DLPACK_H
#define FC_BASE_DLPACK_H
#include <stdint.h>

enum { FC_DLPACK_MAJOR = 1, FC_DLPACK_CPU = 1, FC_DLPACK_INT = 0, FC_DLPACK_FLOAT = 2 };
#define FC_DLPACK_CAPSULE "dlpack_exchange_api"

typedef struct fc_dlpack_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t rank;
    uint8_t kind, bits;
    uint16_t lanes;
    int64_t *shape, *strides;      /* strides in elements */
    uint64_t offset;               /* in bytes */
} fc_dlpack_tensor;

typedef struct fc_dlpack_exchange {
    uint32_t major, minor;
    struct fc_dlpack_exchange *older;
    void *allocate, *own, *wrap;
    int (*read)(void *object, fc_dlpack_tensor *out);   /* not 0, and an exception is set: cannot be read */
    void *stream;
} fc_dlpack_exchange;
#endif
