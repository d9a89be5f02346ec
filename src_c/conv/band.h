/* A band: the part of one image that a block of output pixels sees, copied to scratch with its
 * padding as zeros, so that kernels need no edge cases.  Called by direct.c and grouped.c. */
#ifndef FC_CONV_BAND_H
#define FC_CONV_BAND_H
#include "algorithm.h"

typedef struct fc_band {
    int64_t channels;                 /* most that one copy takes */
    int64_t depth, rows, cols;        /* kernel depth; input rows and columns under the block */
    int64_t phases;                   /* column j lies at j % phases * phase_step + j / phases * col_step */
    int64_t row_phases;               /* row i at i % row_phases * row_phase_step + i / row_phases * row_step */
    int64_t channel_step, depth_step, row_step, row_phase_step, col_step, phase_step; /* elements */
    int64_t phase_cols;               /* columns of one phase */
    uint64_t rows_seen, cols_seen;    /* phases that some tap sees, a bit each; others are not copied */
    int64_t size;                     /* elements in all */
} fc_band;

/* Of a block of out_rows x out_cols output pixels at one output depth.  interleaved: channels are
 * adjacent (NHWC), else planes are, with columns split into `phases`. */
fc_band fc_band_make(const fc_conv *conv, int64_t channels, int64_t out_rows, int64_t out_cols, bool interleaved,
                     int64_t phases);
/* The same with planes adjacent and both rows and columns split by their stride phase, each phase a plane
 * of its own: output pixels of a row, and rows, then follow each other at fixed distances 1 and row_step. */
fc_band fc_band_make_flat(const fc_conv *conv, int64_t channels, int64_t out_rows, int64_t out_cols);
/* Part of a flat band that is copied. */
double fc_band_share(const fc_band *band);
/* Halves the images, rows and columns of a block, in this order, until the bands of its images have at
 * most `most` elements, or it is 16 columns of one row. */
void fc_band_fit(const fc_conv *conv, int64_t channels, bool interleaved, int64_t most, int64_t *images, int64_t *rows,
                 int64_t *cols);
/* Where kernel element (d, h, w) of the first output pixel lies in channel 0 of the band. */
static inline int64_t fc_band_offset(const fc_band *band, const fc_conv *conv, int64_t d, int64_t h, int64_t w)
{
    const int64_t row = h * conv->dilation[1], col = w * conv->dilation[2];
    return d * band->depth_step + row % band->row_phases * band->row_phase_step +
           row / band->row_phases * band->row_step + col % band->phases * band->phase_step +
           col / band->phases * band->col_step;
}
/* Where a block of the output begins. */
typedef struct fc_block_origin {
    int64_t image, depth, row, col;
} fc_block_origin;
/* Copies channels first .. first + count (of the whole image) under the block at `at`. */
void fc_band_copy(const fc_conv_run *run, const fc_band *band, const fc_block_origin *at, int64_t first, int64_t count,
                  void *memory);
#endif
