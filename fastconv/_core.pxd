"""The C interfaces that _core calls: src_c/conv and src_c/base, as they are declared there."""

from libc.stdint cimport int64_t


cdef extern from "base/status.h" nogil:
    ctypedef enum fc_status:
        FC_OK
        FC_BAD_VALUE
        FC_BAD_TYPE
        FC_NO_MEMORY

    ctypedef struct fc_error:
        char text[400]


cdef extern from "base/size.h" nogil:
    bint fc_mul(int64_t a, int64_t b, int64_t* out)
    bint fc_add(int64_t a, int64_t b, int64_t* out)


cdef extern from "base/cpu.h" nogil:
    ctypedef enum fc_isa:
        FC_ISA_COUNT

    ctypedef struct fc_cpu:
        char name[64]
        int64_t l1, l2, l3

    const fc_cpu* fc_cpu_get()
    const char* fc_isa_name(fc_isa isa)


cdef extern from "kernels/table.h" nogil:
    ctypedef enum fc_act_kind:
        FC_ACT_NONE
        FC_ACT_RELU
        FC_ACT_RELU6
        FC_ACT_LEAKY_RELU

    ctypedef struct fc_activation:
        fc_act_kind kind
        double alpha

    ctypedef struct fc_table:
        pass


cdef extern from "base/dispatch.h" nogil:
    ctypedef enum fc_dtype:
        FC_F32
        FC_F64

    fc_status fc_dispatch_init(const char* forced, fc_error* error)
    fc_isa fc_dispatch_isa()
    int fc_dispatch_wide_fmas()
    void fc_dispatch_set_wide_fmas(int count)
    const fc_table* fc_table_of(fc_isa isa, fc_dtype dtype)


cdef extern from "base/parallel.h" nogil:
    int fc_get_num_threads()
    void fc_set_num_threads(int count)
    int fc_default_num_threads()
    void fc_clear_scratch()
    size_t fc_scratch_held()


cdef extern from "base/team.h" nogil:
    ctypedef void (*fc_team_fork)(void (*body)(void*) noexcept, void* argument, unsigned threads, unsigned flags) noexcept
    ctypedef int (*fc_team_count)() noexcept
    void fc_team_lend(fc_team_fork fork, fc_team_count count)


cdef extern from "conv/problem.h" nogil:
    enum:
        FC_N
        FC_C
        FC_D
        FC_AXES

    ctypedef enum fc_pad_mode:
        FC_PAD_ZEROS

    ctypedef struct fc_conv:
        fc_dtype dtype
        int spatial
        const char* x_name
        const char* weight_name
        int64_t batch, in_channels, out_channels, groups, in_per_group
        int64_t in_size[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t dilation[3]
        fc_pad_mode pad_mode
        double pad_value
        int64_t pad_before[3]
        int64_t pad_after[3]
        int64_t out_size[3]
        int64_t x_stride[5]
        int64_t y_stride[5]
        int64_t out_pixels
        bint has_bias
        bint exact
        fc_activation activation
        double flops

    fc_status fc_conv_check(fc_conv* conv, fc_error* error)
    void fc_conv_default_strides(fc_conv* conv, bint channels_last)


cdef extern from "conv/algorithm.h" nogil:
    ctypedef struct fc_machine:
        pass

    ctypedef struct fc_algorithm:
        const char* name
        const char* summary
        const char* (*supports)(const fc_conv*)
        double (*cost)(const fc_conv*, const fc_machine*, bint)
        size_t (*scratch)(const fc_conv*, const fc_table*)
        size_t (*prepared_size)(const fc_conv*, const fc_table*)
        void (*describe)(const fc_conv*, const fc_table*, char*, size_t)

    const fc_algorithm** fc_algorithms
    const fc_machine* fc_machine_for(fc_dtype dtype)
    double fc_algorithm_error(const fc_algorithm*, const fc_conv*)
    fc_status fc_algorithm_choose(const fc_conv*, const char*, bint, const fc_algorithm**, fc_error*)


cdef extern from "conv/channels_first.h" nogil:
    fc_status fc_channels_first(fc_dtype dtype, int64_t filters, int64_t channels, int64_t taps, const void* src,
                                void* dst, fc_error* error)

cdef extern from "conv/plan.h" nogil:
    ctypedef struct fc_thin:
        int64_t every[3]

    ctypedef struct fc_plan:
        fc_conv conv
        bint thins
        fc_thin thin
        const fc_algorithm* algorithm
        const fc_table* table
        size_t prepared_bytes

    fc_status fc_plan_init(fc_plan* plan, const fc_conv* conv, const char* algorithm, const void* weight,
                           fc_error* error)
    fc_status fc_plan_run(const fc_plan* plan, const void* x, const int64_t* x_stride, const void* weight,
                          const void* bias, void* y, const int64_t* y_stride, fc_error* error)
    void fc_plan_free(fc_plan* plan)
    fc_status fc_conv_settle(const fc_conv* conv, const char** algorithm, fc_error* error)
    fc_status fc_conv_forward(const fc_conv* conv, const char* algorithm, const void* x, const void* weight,
                              const void* bias, void* y, fc_error* error)


cdef extern from "pool/pool.h" nogil:
    ctypedef struct fc_pool:
        fc_dtype dtype
        int spatial
        bint channels_last, adaptive, ceil_mode, count_include_pad
        int64_t divisor_override
        double power
        int64_t batch, channels
        int64_t in_size[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t dilation[3]
        int64_t pad_before[3]
        int64_t pad_after[3]
        int64_t out_size[3]
        int64_t x_stride[5]
        int64_t y_stride[5]
        int64_t in_pixels, out_pixels

    ctypedef enum fc_integer:
        FC_I8
        FC_U8
        FC_I16
        FC_U16
        FC_I32
        FC_U32
        FC_I64
        FC_U64

    fc_status fc_pool_check(fc_pool* pool, fc_error* error)
    fc_status fc_pool_check_sizes(fc_pool* pool, fc_error* error)
    fc_status fc_max_pool(const fc_pool* pool, const void* x, void* y, fc_error* error)
    fc_status fc_max_pool_indices(const fc_pool* pool, const void* x, void* y, int64_t* indices, fc_error* error)
    fc_status fc_avg_pool(const fc_pool* pool, const void* x, void* y, fc_error* error)
    fc_status fc_avg_pool_grad(const fc_pool* pool, const void* grad_y, void* grad_x, fc_error* error)
    fc_status fc_lp_pool(const fc_pool* pool, const void* x, void* y, fc_error* error)
    fc_status fc_stochastic_pool(const fc_pool* pool, const void* x, const double* random, void* y,
                                 int64_t* indices, fc_error* error)
    int64_t fc_pool_bad_index(const fc_pool* pool, const int64_t* indices, bint none, int64_t* bad)
    fc_status fc_pool_scatter(const fc_pool* pool, const void* grad_y, const int64_t* indices, void* grad_x,
                              fc_error* error)
    fc_status fc_pool_unpool(const fc_pool* pool, const void* source, const int64_t* indices, void* to,
                             fc_error* error)
    fc_status fc_pool_gather(const fc_pool* pool, const void* source, const int64_t* indices, void* to,
                             fc_error* error)
    fc_status fc_max_pool_integer(const fc_pool* pool, fc_integer type, const void* x, void* y,
                                  int64_t* indices, fc_error* error)


cdef extern from "conv/input_grad.h" nogil:
    fc_status fc_conv_input_grad(const fc_conv* conv, const char* algorithm, const void* grad_output,
                                 const void* weight, void* grad_input, fc_error* error)


cdef extern from "conv/weight_grad.h" nogil:
    fc_status fc_conv_weight_grad(const fc_conv* conv, const char* algorithm, const void* grad_output,
                                  const void* x, void* grad_weight, fc_error* error)
    fc_status fc_conv_bias_grad(const fc_conv* conv, const void* grad_output, void* grad_bias, fc_error* error)
