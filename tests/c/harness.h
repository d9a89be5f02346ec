/* What the C tests of convolution algorithms share: memory between pages that fault, poisoned
 * outputs, the definition of a convolution in plain loops, and one check that runs an algorithm in
 * every way it may be run.  Header-only; each test is a program that exits with 0 where all held. */
#ifndef FC_TESTS_HARNESS_H
#define FC_TESTS_HARNESS_H
#include "../../src_c/base/parallel.h"
#include "../../src_c/conv/algorithm.h"
#include "../../src_c/conv/geometry.h"
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long harness_checks, harness_failures;
static char harness_doing[600];               /* the case at hand, for the fault handler */

static inline void harness_fail(const char *what)
{
    if (++harness_failures <= 20)
        fprintf(stderr, "FAILED: %s\n  %s\n", what, harness_doing);
}

static void harness_on_fault(int number)
{
    char text[700];
    const int length = snprintf(text, sizeof text, "FAULT (signal %d), memory not its own was touched\n  %s\n", number,
                                harness_doing);
    if (write(STDERR_FILENO, text, (size_t)length) < 0)
        _exit(2);
    _exit(1);
}

static inline void harness_start(void)
{
    fc_error error;
    struct sigaction action = { .sa_handler = harness_on_fault };
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    if (fc_dispatch_init(NULL, &error) != FC_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(2);
    }
}

static inline int harness_finish(const char *name)
{
    printf("%s: %ld checks, %ld failed\n", name, harness_checks, harness_failures);
    return harness_failures != 0;
}

static uint64_t harness_state = 0x9E3779B97F4A7C15u;

static inline uint64_t harness_bits(void)
{
    harness_state ^= harness_state << 13;
    harness_state ^= harness_state >> 7;
    harness_state ^= harness_state << 17;
    return harness_state >> 11;
}
/* Any of lo .. hi. */
static inline int64_t harness_pick(int64_t lo, int64_t hi) { return lo + (int64_t)(harness_bits() % (uint64_t)(hi - lo + 1)); }

/* `bytes` bytes whose end, or whose beginning, lies beside a page that faults. */
typedef struct harness_memory {
    unsigned char *map, *data;
    size_t bytes, mapped;
} harness_memory;

static inline harness_memory harness_map(size_t bytes, bool at_end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    harness_memory m = { .bytes = bytes, .mapped = (bytes + page - 1) / page * page + 2 * page };
    m.map = mmap(NULL, m.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m.map == MAP_FAILED || mprotect(m.map + page, m.mapped - 2 * page, PROT_READ | PROT_WRITE) != 0) {
        perror("mmap");
        exit(2);
    }
    m.data = at_end ? m.map + m.mapped - page - bytes : m.map + page;
    return m;
}
static inline void harness_unmap(harness_memory *m) { munmap(m->map, m->mapped); }

/* Every byte 0xFF is a NaN in both dtypes: what is read without right shows in the result. */
enum { HARNESS_POISON = 0xFF };

static inline double harness_get(const void *base, int64_t i, fc_dtype dtype)
{
    return dtype == FC_F32 ? (double)((const float *)base)[i] : ((const double *)base)[i];
}
static inline void harness_put(void *base, int64_t i, fc_dtype dtype, double value)
{
    if (dtype == FC_F32)
        ((float *)base)[i] = (float)value;
    else
        ((double *)base)[i] = value;
}
static inline void harness_random(void *base, int64_t count, fc_dtype dtype)
{
    for (int64_t i = 0; i < count; i++)
        harness_put(base, i, dtype, (double)(int64_t)(harness_bits() % 2000001 - 1000000) * 1e-6);
}

/* How an array lies in memory, beyond its declared layout. */
typedef enum harness_view {
    HARNESS_CONTIGUOUS, HARNESS_GAPS, HARNESS_OTHER_LAYOUT, HARNESS_STEP_2, HARNESS_REVERSED, HARNESS_VIEWS
} harness_view;

/* Strides of the view; the array spans elements -*before .. *after around its first element. */
static inline void harness_strides(harness_view view, bool channels_last, int64_t batch, int64_t channels,
                                   const int64_t size[FC_SPATIAL], int64_t stride[FC_AXES], int64_t *before, int64_t *after)
{
    static const int last[] = { FC_C, FC_W, FC_H, FC_D, FC_N }, first[] = { FC_W, FC_H, FC_D, FC_C, FC_N };
    const int *order = channels_last != (view == HARNESS_OTHER_LAYOUT) ? last : first;
    const int64_t shape[FC_AXES] = { batch, channels, size[0], size[1], size[2] };
    int64_t step = view == HARNESS_STEP_2 ? 2 : 1;
    *before = *after = 0;
    for (int i = 0; i < FC_AXES; i++) {
        const int axis = order[i];
        stride[axis] = step;
        step = step * (shape[axis] > 0 ? shape[axis] : 1) + (view == HARNESS_GAPS ? 3 : 0);
        if (view == HARNESS_REVERSED && (axis == FC_W || axis == FC_H))
            stride[axis] = -stride[axis];
        *(stride[axis] < 0 ? before : after) += (shape[axis] > 0 ? shape[axis] - 1 : 0) * llabs(stride[axis]);
    }
}

static inline int64_t harness_offset(const int64_t stride[FC_AXES], int64_t n, int64_t c, int64_t d, int64_t h, int64_t w)
{
    return n * stride[FC_N] + c * stride[FC_C] + d * stride[FC_D] + h * stride[FC_H] + w * stride[FC_W];
}

static inline double harness_activate(double y, const fc_activation *a)
{
    switch (a->kind) {
    case FC_ACT_RELU: return y > 0 ? y : 0;
    case FC_ACT_RELU6: return y > 6 ? 6 : y > 0 ? y : 0;
    case FC_ACT_LEAKY_RELU: return y > 0 ? y : a->alpha * y;
    default: return y;
    }
}

/* One output by the definition, and *size = sum of |x| |w| + |bias|, which bounds its rounding. */
static inline double harness_output(const fc_conv *conv, const void *x, const void *w, const void *bias, int64_t n,
                                    int64_t oc, int64_t od, int64_t oh, int64_t ow, double *size)
{
    const int64_t at[FC_SPATIAL] = { od, oh, ow }, group = oc / conv->out_per_group;
    long double sum = bias ? (long double)harness_get(bias, oc, conv->dtype) : 0;
    *size = (double)fabsl(sum);
    for (int64_t c = 0; c < conv->in_per_group; c++)
        for (int64_t t = 0; t < conv->taps; t++) {
            const int64_t k[FC_SPATIAL] = { t / (conv->kernel[1] * conv->kernel[2]), t / conv->kernel[2] % conv->kernel[1],
                                            t % conv->kernel[2] };
            int64_t in[FC_SPATIAL];
            bool inside = true;
            for (int a = 0; a < FC_SPATIAL; a++) {
                in[a] = at[a] * conv->stride[a] - conv->pad_before[a] + k[a] * conv->dilation[a];
                inside = inside && in[a] >= 0 && in[a] < conv->in_size[a];
            }
            if (!inside)
                continue;
            const long double product =
                (long double)harness_get(w, (oc * conv->in_per_group + c) * conv->taps + t, conv->dtype) *
                (long double)harness_get(x, harness_offset(conv->x_stride, n, group * conv->in_per_group + c, in[0], in[1], in[2]),
                                         conv->dtype);
            sum += product;
            *size += (double)fabsl(product);
        }
    return harness_activate((double)sum, &conv->activation);
}

static inline void harness_describe(const fc_conv *c, const char *name, int isa, harness_view xv, harness_view yv)
{
    const int64_t *i = c->in_size, *k = c->kernel, *s = c->stride, *d = c->dilation, *p = c->pad_before, *q = c->pad_after;
#define L3(a) (long long)a[0], (long long)a[1], (long long)a[2]
    snprintf(harness_doing, sizeof harness_doing,
             "%s isa=%s %s %s batch=%lld in=%lld out=%lld groups=%lld size=(%lld,%lld,%lld) kernel=(%lld,%lld,%lld) "
             "stride=(%lld,%lld,%lld) dilation=(%lld,%lld,%lld) before=(%lld,%lld,%lld) after=(%lld,%lld,%lld) "
             "bias=%d activation=%d x view %d y view %d",
             name, fc_isa_name((fc_isa)isa), c->dtype == FC_F32 ? "f32" : "f64", c->channels_last ? "NHWC" : "NCHW",
             (long long)c->batch, (long long)c->in_channels, (long long)c->out_channels, (long long)c->groups, L3(i), L3(k), L3(s),
             L3(d), L3(p), L3(q), c->has_bias, (int)c->activation.kind, (int)xv, (int)yv);
#undef L3
}

/* y against the definition; `ulps` scales the bound n * eps * sum|x||w| where more than a chain of
 * multiply-adds is done.  What lies between y's elements must be poisoned still. */
static inline void harness_compare(const fc_conv *conv, const void *x, const void *w, const void *bias, const harness_memory *y,
                                   int64_t y_before, double ulps)
{
    const size_t size = fc_size_of(conv->dtype);
    const double eps = conv->dtype == FC_F32 ? FLT_EPSILON : DBL_EPSILON;
    unsigned char *written = calloc(y->bytes / size + 1, 1);
    const void *first = y->data + (size_t)y_before * size;
    for (int64_t n = 0; n < conv->batch; n++)
        for (int64_t c = 0; c < conv->out_channels; c++)
            for (int64_t p = 0; p < conv->out_pixels; p++) {
                const int64_t h = conv->out_size[1], v = conv->out_size[2], od = p / (h * v), oh = p / v % h, ow = p % v;
                double magnitude;
                const double want = harness_output(conv, x, w, bias, n, c, od, oh, ow, &magnitude);
                const int64_t at = harness_offset(conv->y_stride, n, c, od, oh, ow);
                const double got = harness_get(first, at, conv->dtype);
                written[y_before + at] = 1;
                if (!(fabs(got - want) <= ulps * (double)(conv->depth + 2) * eps * magnitude)) {
                    char text[200];
                    snprintf(text, sizeof text, "y[%lld, %lld, %lld, %lld, %lld] is %.9g, wanted %.9g", (long long)n, (long long)c,
                             (long long)od, (long long)oh, (long long)ow, got, want);
                    harness_fail(text);
                    free(written);
                    return;
                }
            }
    for (size_t i = 0; i < y->bytes; i++)
        if (!written[i / size] && y->data[i] != HARNESS_POISON) {
            harness_fail("wrote between the elements of y");
            break;
        }
    free(written);
}

/* Runs `algorithm` on the problem (checked here; its strides are ignored) with x and y lying as the
 * views say: raw and prepared weights, one thread and two, which must agree in every bit. */
static inline void harness_check(const fc_algorithm *algorithm, fc_conv conv, int isa, harness_view x_view, harness_view y_view,
                                 bool at_end, double ulps)
{
    fc_error error;
    int64_t xb, xa, yb, ya;
    harness_describe(&conv, algorithm->name, isa, x_view, y_view);
    /* What an algorithm chooses by, and the kernels, are of one instruction set, as in the library. */
    if (fc_dispatch_init(fc_isa_name((fc_isa)isa), &error) != FC_OK || fc_conv_check(&conv, &error) != FC_OK) {
        harness_fail(error.text);
        return;
    }
    const fc_table *table = fc_table_of((fc_isa)isa, conv.dtype);
    const size_t size = fc_size_of(conv.dtype);
    harness_strides(x_view, conv.channels_last, conv.batch, conv.in_channels, conv.in_size, conv.x_stride, &xb, &xa);
    harness_strides(y_view, conv.channels_last, conv.batch, conv.out_channels, conv.out_size, conv.y_stride, &yb, &ya);
    const size_t w_count = (size_t)(conv.out_channels * conv.depth);
    harness_memory x = harness_map((size_t)(conv.batch ? xb + xa + 1 : 0) * size, at_end), w = harness_map(w_count * size, at_end);
    harness_memory bias = harness_map((size_t)conv.out_channels * size, at_end);
    harness_memory y = harness_map((size_t)(conv.batch ? yb + ya + 1 : 0) * size, at_end);
    void *x0 = x.data + (size_t)xb * size;
    memset(x.data, HARNESS_POISON, x.bytes);
    for (int64_t n = 0; n < conv.batch; n++)
        for (int64_t c = 0; c < conv.in_channels; c++)
            for (int64_t d = 0; d < conv.in_size[0]; d++)
                for (int64_t h = 0; h < conv.in_size[1]; h++)
                    for (int64_t v = 0; v < conv.in_size[2]; v++)
                        harness_random((char *)x0 + harness_offset(conv.x_stride, n, c, d, h, v) * (int64_t)size, 1, conv.dtype);
    harness_random(w.data, (int64_t)w_count, conv.dtype);
    harness_random(bias.data, conv.out_channels, conv.dtype);
    mprotect(x.map, x.mapped, PROT_READ); /* the guards become readable, so put them back */
    mprotect(x.map, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE);
    mprotect(x.map + x.mapped - (size_t)sysconf(_SC_PAGESIZE), (size_t)sysconf(_SC_PAGESIZE), PROT_NONE);
    const size_t prepared_bytes = algorithm->prepared_size ? algorithm->prepared_size(&conv, table) : 0;
    harness_memory prepared = harness_map((prepared_bytes + 63) / 64 * 64, true);
    if (prepared_bytes)
        algorithm->prepare(&conv, table, w.data, prepared.data);
    void *before = malloc(y.bytes + 1);
    for (int way = 0; way < (prepared_bytes ? 3 : 2); way++) {
        const fc_conv_run run = { &conv, table, x0, way == 2 ? NULL : w.data, conv.has_bias ? bias.data : NULL,
                                  way == 2 ? prepared.data : NULL, y.data + (size_t)yb * size };
        fc_set_num_threads(way == 1 ? 2 : 1);
        memset(y.data, HARNESS_POISON, y.bytes);
        harness_checks++;
        if (algorithm->forward(&run, &error) != FC_OK)
            harness_fail(error.text);
        else if (way == 0)
            harness_compare(&conv, x0, w.data, conv.has_bias ? bias.data : NULL, &y, yb, ulps);
        else if (memcmp(before, y.data, y.bytes) != 0)
            harness_fail(way == 1 ? "two threads give other bits than one" : "prepared weights give other bits than raw ones");
        memcpy(before, y.data, y.bytes);
    }
    free(before);
    harness_unmap(&prepared);
    harness_unmap(&x);
    harness_unmap(&w);
    harness_unmap(&bias);
    harness_unmap(&y);
}
#endif
