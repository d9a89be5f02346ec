/* fastconv's public C interface: convolution for extension modules, without Python on the way.
 *
 *     #include <Python.h>
 *     #include <fastconv.h>                      // include_dirs=[fastconv.get_include()]
 *     const fastconv_api *api = PyCapsule_Import(FASTCONV_CAPSULE, 0);
 *     if (api == NULL || api->version < 1) return NULL;
 *
 * Every function is safe from many threads at once and needs no GIL.  Arrays are contiguous: x is
 * (batch, channels, *size), or (batch, *size, channels) with channels_last, y likewise with the output's
 * sizes, weight always (out_channels, in_channels / groups, *kernel), bias (out_channels) or NULL.
 * Functions return FASTCONV_OK or a reason, and then one sentence is in error[0 .. error_size). */
#ifndef FASTCONV_H
#define FASTCONV_H
#include <stddef.h>
#include <stdint.h>

#define FASTCONV_CAPSULE "fastconv._core._C_API"

enum { FASTCONV_OK, FASTCONV_BAD_VALUE, FASTCONV_BAD_TYPE, FASTCONV_NO_MEMORY };
enum { FASTCONV_FLOAT32, FASTCONV_FLOAT64 };
enum { FASTCONV_NO_ACTIVATION, FASTCONV_RELU, FASTCONV_RELU6, FASTCONV_LEAKY_RELU };

/* Axes count from the left: of a 2-D problem [0] is the height, [1] the width. */
typedef struct fastconv_problem {
    int dtype;
    int spatial;                 /* 1, 2 or 3 */
    int channels_last;
    int activation;
    double alpha;                /* slope of leaky ReLU below zero */
    int64_t batch, in_channels, out_channels, groups;
    int64_t size[3], kernel[3], stride[3], dilation[3], pad_before[3], pad_after[3];
    const char *algorithm;       /* NULL for "auto" */
} fastconv_problem;

typedef struct fastconv_api {
    int version;                 /* 1; later versions only add members at the end */
    /* Checks the problem and writes the output's size, `spatial` values. */
    int (*output_size)(const fastconv_problem *problem, int64_t size[3], char *error, size_t error_size);
    /* Computes y; nothing is written unless the result is FASTCONV_OK. */
    int (*forward)(const fastconv_problem *problem, const void *x, const void *weight, const void *bias, void *y,
                   char *error, size_t error_size);
} fastconv_api;
#endif
