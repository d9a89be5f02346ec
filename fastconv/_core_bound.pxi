# Operators bound to shapes: everything is checked once, and a call takes addresses alone.  Included by
# _core.pyx, for operators/, whose adapters know where their arrays lie and that they are contiguous.

cdef enum:
    CONV_FORWARD, CONV_INPUT_GRAD, CONV_WEIGHT_GRAD, CONV_BIAS_GRAD

cdef enum:
    POOL_MAX, POOL_MAX_INDICES, POOL_AVG, POOL_AVG_GRAD, POOL_LP, POOL_SCATTER, POOL_UNPOOL

cdef tuple CONV_KINDS = ("forward", "input_grad", "weight_grad", "bias_grad")
cdef tuple POOL_KINDS = ("max", "max_indices", "avg", "avg_grad", "lp", "scatter", "unpool")


cdef fc_dtype float_code(object dtype) except *:
    if dtype != float32 and dtype != float64:
        raise TypeError(f"dtype must be float32 or float64, got {dtype}")
    return FC_F32 if dtype == float32 else FC_F64


cdef class BoundConv:
    """A convolution or one of its gradients, for contiguous arrays of one shape each.

    ``run`` takes addresses in the order of the NumPy function's arrays, then that of the result; what lies
    there must be of the shapes and the dtype given here.  It may be called from several threads at once.
    """

    cdef Problem problem
    cdef int kind
    # What "auto" takes forward, without and with set_exact; NULL until it has been asked for.
    cdef const char* chosen[2]

    def __cinit__(self, str kind, int spatial, x_shape, weight_shape, has_bias, stride, padding, dilation, groups,
                  layout, dtype):
        cdef View x, weight, bias
        cdef View* given = NULL
        self.kind = CONV_KINDS.index(kind)
        shape_argument(x_shape, "x", float_code(dtype), &x)
        shape_argument(weight_shape, "weight", x.dtype, &weight)
        if has_bias:
            shape_argument((weight.shape[0],), "bias", x.dtype, &bias)
            given = &bias
        make_problem(&self.problem, spatial, &x, &weight, given, stride, padding, dilation, groups, ZEROS, 0,
                     layout, None)

    cpdef run(self, uintptr_t a, uintptr_t b, uintptr_t c=0, uintptr_t d=0):
        """Forward: x, weight, bias or 0, y.  Gradients: grad_output, what it is multiplied with, the result."""
        cdef fc_conv conv = self.problem.conv
        cdef fc_error error
        cdef fc_status status
        conv.exact = exact_mode
        if self.kind == CONV_FORWARD and self.chosen[conv.exact] == NULL:
            self.choose(&conv)
        if is_small(&conv):
            status = self.compute(&conv, a, b, c, d, &error)
        else:
            with nogil:
                status = self.compute(&conv, a, b, c, d, &error)
        check(status, &error)

    cdef int choose(self, const fc_conv* conv) except -1:
        """Weigh the algorithms once, as any call would."""
        cdef const char* algorithm
        cdef fc_error error
        check(fc_conv_settle(conv, &algorithm, &error), &error)
        self.chosen[conv.exact] = algorithm
        return 0

    cdef fc_status compute(self, const fc_conv* conv, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d,
                           fc_error* error) noexcept nogil:
        if self.kind == CONV_FORWARD:
            return fc_conv_forward(conv, self.chosen[conv.exact], <void*>a, <void*>b, <void*>c, <void*>d, error)
        if self.kind == CONV_INPUT_GRAD:
            return fc_conv_input_grad(conv, "auto", <void*>a, <void*>b, <void*>c, error)
        if self.kind == CONV_WEIGHT_GRAD:
            return fc_conv_weight_grad(conv, "auto", <void*>a, <void*>b, <void*>c, error)
        return fc_conv_bias_grad(conv, <void*>a, <void*>b, error)


cdef class BoundPool:
    """A pooling or a gradient of one, for contiguous arrays of one shape each; as `BoundConv`.

    `windows` are kernel_size, stride, padding, dilation and ceil_mode; None for adaptive windows, which
    `out_shape` says, and for what moves numbers by index between arrays of `x_shape` and `out_shape`.
    """

    cdef Pooling pooling
    cdef int kind
    cdef bint keep_gil

    def __cinit__(self, str kind, int spatial, x_shape, out_shape, windows, layout, dtype, count_include_pad=False,
                  divisor_override=None, norm_type=1.0):
        cdef View x, out
        cdef Pooling* p = &self.pooling
        self.kind = POOL_KINDS.index(kind)
        shape_argument(x_shape, "x", float_code(dtype), &x)
        if self.kind >= POOL_SCATTER:
            shape_argument(out_shape, "indices", x.dtype, &out)
            index_sizes(p, spatial, layout, &out, &x, "indices", "x")
        else:
            pool_sizes(p, spatial, layout, &x, "x")
            average_options(p, count_include_pad, divisor_override)
            p.pool.power = norm_order(norm_type)
            if windows is None:
                last = len(out_shape) - (1 if p.pool.channels_last else 0)
                pool_outputs(p, tuple(out_shape[last - spatial:last]))
            else:
                kernel_size, stride, padding, dilation, ceil_mode = windows
                pool_windows(p, kernel_size, stride, padding, dilation, ceil_mode)
        self.keep_gil = (
            p.pool.batch * p.pool.channels * (p.pool.in_pixels + p.pool.out_pixels * 4) < KEEP_GIL_POOLING_BELOW
        )

    cpdef run(self, uintptr_t a, uintptr_t b, uintptr_t c=0):
        """Arrays in the order of the NumPy function, then the results."""
        cdef fc_error error
        cdef fc_status status
        cdef int64_t at = -1, bad = 0
        cdef bint none = self.kind == POOL_SCATTER
        if self.kind >= POOL_SCATTER:
            with nogil:
                at = fc_pool_bad_index(&self.pooling.pool, <const int64_t*>b, none, &bad)
        if at >= 0:
            raise ValueError(f"indices: {bad} is outside a plane of {self.pooling.pool.in_pixels} pixels")
        if self.keep_gil:
            status = self.compute(a, b, c, &error)
        else:
            with nogil:
                status = self.compute(a, b, c, &error)
        check(status, &error)

    cdef fc_status compute(self, uintptr_t a, uintptr_t b, uintptr_t c, fc_error* error) noexcept nogil:
        cdef const fc_pool* pool = &self.pooling.pool
        if self.kind == POOL_MAX:
            return fc_max_pool(pool, <void*>a, <void*>b, error)
        if self.kind == POOL_MAX_INDICES:
            return fc_max_pool_indices(pool, <void*>a, <void*>b, <int64_t*>c, error)
        if self.kind == POOL_AVG:
            return fc_avg_pool(pool, <void*>a, <void*>b, error)
        if self.kind == POOL_AVG_GRAD:
            return fc_avg_pool_grad(pool, <void*>a, <void*>b, error)
        if self.kind == POOL_LP:
            return fc_lp_pool(pool, <void*>a, <void*>b, error)
        if self.kind == POOL_SCATTER:
            return fc_pool_scatter(pool, <void*>a, <const int64_t*>b, <void*>c, error)
        return fc_pool_unpool(pool, <void*>a, <const int64_t*>b, <void*>c, error)
