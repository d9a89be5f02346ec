/* The gradient of a convolution with respect to its weights, and to its bias.  Called by _core.
 *
 * weight_grad.c chooses one of the methods below, cuts its work and adds partial sums; a method
 * computes one task.  A new one is its file and a line in weight_grad.c. */
#ifndef FC_CONV_WEIGHT_GRAD_H
#define FC_CONV_WEIGHT_GRAD_H
#include "algorithm.h"

/* conv is the forward problem, checked, with the strides of x and of grad_output (y_stride).
 * grad_weight is contiguous. */
fc_status fc_conv_weight_grad(const fc_conv *conv, const char *algorithm, const void *grad_output, const void *x,
                              void *grad_weight, fc_error *error);
/* grad_bias[channel] = sum of grad_output over batch and pixels.  Of conv: dtype, batch, out_channels,
 * out_size and y_stride. */
fc_status fc_conv_bias_grad(const fc_conv *conv, const void *grad_output, void *grad_bias, fc_error *error);

/* Output pixels in blocks: some images, or some rows and columns of one. */
typedef struct fc_pixel_blocks {
    int64_t images, rows, cols;               /* of a block, at most */
    int64_t image_blocks, row_blocks, col_blocks, count;
} fc_pixel_blocks;

typedef struct fc_pixel_block {
    int64_t image, depth, row, col;           /* its first pixel */
    int64_t images, rows, cols;
} fc_pixel_block;

fc_pixel_blocks fc_pixel_blocks_of(const fc_conv *conv, int64_t images, int64_t rows, int64_t cols);
fc_pixel_block fc_pixel_block_at(const fc_conv *conv, const fc_pixel_blocks *blocks, int64_t index);

/* How a method cuts a problem: channels into `parts`, pixels into blocks.  A function of the problem
 * and of the machine's caches, never of the number of threads. */
typedef struct fc_weight_split {
    int64_t parts;
    fc_pixel_blocks blocks;
    int64_t a[11];                            /* the method's own */
    size_t at[6], bytes;                      /* scratch layout; bytes in all */
    bool spreads;                             /* what is not finite reaches more weights than it should, or fewer */
} fc_weight_split;

typedef struct fc_weight_run {
    const fc_conv *conv;
    const fc_table *table;
    const void *g, *x;                        /* grad_output, input */
    fc_weight_split split;
} fc_weight_run;

typedef struct fc_weight_method fc_weight_method;
struct fc_weight_method {
    const char *name;
    const char *(*supports)(const fc_conv *conv);
    double (*cost)(const fc_conv *conv, const fc_machine *machine);
    fc_weight_split (*split)(const fc_conv *conv, const fc_table *table);
    /* Writes this part's share of the gradient, summed over pixel blocks first .. end, to its place in
     * `out`, laid out as weights are. */
    void (*task)(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch);
    /* What computes it again where a split spreads values and not all results are finite. */
    const fc_weight_method *plain;
};

extern const fc_weight_method fc_weight_pointwise, fc_weight_dense, fc_weight_rows, fc_weight_planes,
    fc_weight_channels, fc_weight_pixels, fc_weight_mixed, fc_weight_winograd, fc_weight_runs,
    fc_weight_dot;
#endif
