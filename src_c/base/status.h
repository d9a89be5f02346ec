/* How a C function says that it could not: a code and one sentence for the caller.
 * Every check happens before anything is written; _core turns these into Python exceptions. */
#ifndef FC_BASE_STATUS_H
#define FC_BASE_STATUS_H

typedef enum {
    FC_OK = 0,
    FC_BAD_VALUE,   /* ValueError */
    FC_BAD_TYPE,    /* TypeError */
    FC_NO_MEMORY,   /* MemoryError */
} fc_status;

typedef struct fc_error {
    fc_status status;
    char text[400];
} fc_error;

/* Fills error and returns status, so that a check reads `return fc_fail(...)`. */
fc_status fc_fail(fc_error *error, fc_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif
