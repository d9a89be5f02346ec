/* The depthwise convolution against its definition: every ISA that runs here, both dtypes, shapes
 * around the tile, and random ones.
 *
 *   cc -std=c11 -D_GNU_SOURCE -DFC_HAVE_AVX2 tests/c/test_depthwise.c, the sources of src_c/base and
 *   src_c/conv and one object per ISA, -lpthread -lm; argument: how many random problems. */
#include "harness.h"

extern const fc_algorithm fc_algorithm_depthwise;

static fc_conv problem(fc_dtype dtype, int spatial, bool channels_last, int64_t batch, int64_t channels, int64_t repeat)
{
    fc_conv conv = { .dtype = dtype, .spatial = spatial, .channels_last = channels_last, .batch = batch,
                     .in_channels = channels, .out_channels = channels * repeat, .groups = channels, .in_per_group = 1 };
    for (int a = 0; a < FC_SPATIAL; a++)
        conv.in_size[a] = conv.kernel[a] = conv.stride[a] = conv.dilation[a] = 1;
    return conv;
}

static int64_t reach(const fc_conv *conv, int axis) { return (conv->kernel[axis] - 1) * conv->dilation[axis]; }

/* Enough padding for one output at least. */
static void make_valid(fc_conv *conv)
{
    for (int a = FC_SPATIAL - conv->spatial; a < FC_SPATIAL; a++) {
        const int64_t lack = reach(conv, a) + 1 - conv->in_size[a] - conv->pad_before[a] - conv->pad_after[a];
        if (lack > 0)
            conv->pad_after[a] += lack;
    }
}

static void check_everywhere(const fc_conv *conv, harness_view x_view, harness_view y_view)
{
    static bool at_end;
    for (int isa = 0; isa < FC_ISA_COUNT; isa++)
        if (fc_table_of((fc_isa)isa, conv->dtype)) {
            at_end = !at_end;
            harness_check(&fc_algorithm_depthwise, *conv, isa, x_view, y_view, at_end, 1);
            harness_check(&fc_algorithm_depthwise, *conv, isa, x_view, y_view, !at_end, 1);
        }
}

static fc_conv square(fc_dtype dtype, bool channels_last, int64_t channels, int64_t repeat, int64_t size, int64_t kernel,
                      int64_t stride, int64_t dilation, int64_t pad)
{
    fc_conv conv = problem(dtype, 2, channels_last, 1, channels, repeat);
    for (int a = FC_HEIGHT; a <= FC_WIDTH; a++) {
        conv.in_size[a] = size;
        conv.kernel[a] = kernel;
        conv.stride[a] = stride;
        conv.dilation[a] = dilation;
        conv.pad_before[a] = conv.pad_after[a] = pad;
    }
    make_valid(&conv);
    return conv;
}

/* Every size around the tile of 8 places by 2 to 16 lanes, for the kernels that networks have. */
static void check_sizes(void)
{
    static const int64_t kernels[][4] = { { 3, 1, 1, 1 }, { 3, 2, 1, 1 }, { 5, 1, 1, 2 }, { 5, 2, 1, 2 }, { 7, 1, 1, 3 },
                                          { 3, 1, 2, 2 }, { 3, 3, 1, 0 }, { 2, 2, 1, 0 }, { 4, 1, 1, 1 }, { 1, 1, 1, 0 } };
    for (int64_t size = 1; size <= 35; size += size < 20 ? 1 : 5)
        for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++)
            for (int variant = 0; variant < 4; variant++) {
                fc_conv conv = square((fc_dtype)(variant & 1), variant & 2, 3, 1, size, kernels[k][0], kernels[k][1], kernels[k][2],
                                      kernels[k][3]);
                conv.has_bias = size & 1;
                conv.activation.kind = (fc_act_kind)(size % 4);
                conv.activation.alpha = 0.1;
                check_everywhere(&conv, HARNESS_CONTIGUOUS, HARNESS_CONTIGUOUS);
            }
}

/* Channels around a vector; the other layout's memory, gaps, steps, reversed axes. */
static void check_channels_and_views(void)
{
    for (int64_t channels = 1; channels <= 36; channels++)
        for (int variant = 0; variant < 4; variant++) {
            fc_conv conv = square((fc_dtype)(variant & 1), variant & 2, channels, 1 + channels % 3, 9, 3, 1, 1, 1);
            check_everywhere(&conv, HARNESS_CONTIGUOUS, HARNESS_CONTIGUOUS);
        }
    for (int view = 0; view < HARNESS_VIEWS * HARNESS_VIEWS; view++)
        for (int variant = 0; variant < 24; variant++) {
            fc_conv conv = square((fc_dtype)(variant & 1), variant & 2, 11, 1 + variant / 12, 19, 3, 1 + variant / 4 % 3, 1, 1);
            conv.batch = 2;
            check_everywhere(&conv, (harness_view)(view % HARNESS_VIEWS), (harness_view)(view / HARNESS_VIEWS));
        }
}

/* Kernels larger than the tile and the image, dilation that touches padding alone, planes and rows
 * that are split into tasks and blocks. */
static void check_large(void)
{
    for (int variant = 0; variant < 4; variant++) {
        const fc_dtype dtype = (fc_dtype)(variant & 1);
        const bool last = variant & 2;
        const fc_conv convs[] = {
            square(dtype, last, 2, 1, 28, 31, 1, 1, 15), square(dtype, last, 2, 1, 9, 21, 2, 1, 12),
            square(dtype, last, 3, 1, 6, 3, 1, 9, 9),    square(dtype, last, 2, 1, 40, 3, 1, 7, 7),
            square(dtype, last, 2, 3, 150, 3, 1, 1, 1),  square(dtype, last, 70, 1, 50, 3, 2, 1, 1),
            square(dtype, last, 130, 2, 33, 5, 3, 1, 2), square(dtype, last, 2, 1, 64, 11, 4, 1, 2),
            square(dtype, last, 4, 1, 5, 3, 7, 1, 1),    square(dtype, last, 200, 1, 7, 3, 1, 1, 1),
        };
        for (size_t i = 0; i < sizeof convs / sizeof convs[0]; i++) {
            check_everywhere(&convs[i], HARNESS_CONTIGUOUS, HARNESS_CONTIGUOUS);
            check_everywhere(&convs[i], HARNESS_OTHER_LAYOUT, HARNESS_STEP_2);
        }
        fc_conv line = problem(dtype, 1, last, 2, 5, 1);
        line.in_size[FC_WIDTH] = 1500;
        line.kernel[FC_WIDTH] = 9;
        line.pad_before[FC_WIDTH] = 8;
        for (int64_t stride = 1; stride <= 3; stride++) {
            line.stride[FC_WIDTH] = stride;
            check_everywhere(&line, HARNESS_CONTIGUOUS, HARNESS_CONTIGUOUS);
            check_everywhere(&line, HARNESS_REVERSED, HARNESS_GAPS);
        }
        fc_conv empty = square(dtype, last, 3, 1, 5, 3, 1, 1, 1);
        empty.batch = 0;
        check_everywhere(&empty, HARNESS_CONTIGUOUS, HARNESS_CONTIGUOUS);
    }
}

static void check_random(long count)
{
    for (long i = 0; i < count; i++) {
        const int spatial = (int)harness_pick(1, 3);
        fc_conv conv = problem((fc_dtype)harness_pick(0, 1), spatial, harness_pick(0, 1), harness_pick(1, 2), harness_pick(1, 20),
                               harness_pick(0, 2) ? 1 : harness_pick(2, 9));
        const int64_t most[] = { 0, 90, 26, 9 };
        for (int a = FC_SPATIAL - spatial; a < FC_SPATIAL; a++) {
            conv.in_size[a] = harness_pick(1, most[spatial]);
            conv.kernel[a] = harness_pick(1, harness_pick(0, 3) ? 5 : 12 / spatial + 1);
            conv.stride[a] = harness_pick(0, 1) ? 1 : harness_pick(1, 4);
            conv.dilation[a] = harness_pick(0, 2) ? 1 : harness_pick(1, 4);
            conv.pad_before[a] = harness_pick(0, 3) ? harness_pick(0, 3) : harness_pick(0, 9);
            conv.pad_after[a] = harness_pick(0, 3) ? harness_pick(0, 3) : harness_pick(0, 9);
        }
        make_valid(&conv);
        conv.has_bias = harness_pick(0, 1);
        conv.activation = (fc_activation){ (fc_act_kind)harness_pick(0, 3), 0.25 };
        const harness_view x_view = harness_pick(0, 2) ? HARNESS_CONTIGUOUS : (harness_view)harness_pick(0, HARNESS_VIEWS - 1);
        const harness_view y_view = harness_pick(0, 2) ? HARNESS_CONTIGUOUS : (harness_view)harness_pick(0, HARNESS_VIEWS - 1);
        check_everywhere(&conv, x_view, y_view);
    }
}

int main(int argc, char **argv)
{
    harness_start();
    check_sizes();
    check_channels_and_views();
    check_large();
    check_random(argc > 1 ? atol(argv[1]) : 2000);
    return harness_finish("depthwise");
}
