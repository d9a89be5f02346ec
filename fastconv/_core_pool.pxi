# Pooling: arguments to fc_pool to C.  Included by _core.pyx; called by pool.py with every argument given.

cdef enum:
    # A call that combines fewer inputs than this keeps the GIL.
    KEEP_GIL_POOLING_BELOW = 100_000
    MAX_POOL, AVG_POOL, LP_POOL, STOCHASTIC_POOL

cdef object int64 = numpy.dtype(numpy.int64)
cdef dict INTEGERS = {"i1": <int>FC_I8, "u1": <int>FC_U8, "i2": <int>FC_I16, "u2": <int>FC_U16, "i4": <int>FC_I32,
                      "u4": <int>FC_U32, "i8": <int>FC_I64, "u8": <int>FC_U64}


cdef struct Pooling:
    fc_pool pool
    bint batched


cdef int fill_any(object array, View* view) except -1:
    """Describe an aligned ndarray of any native dtype; steps in elements, dtype not set."""
    cdef Py_buffer b
    cdef int axis
    cdef int64_t wanted = 1
    if PyObject_GetBuffer(array, &b, PyBUF_STRIDES) < 0:
        PyErr_Clear()
        raise TypeError("an array's memory cannot be read")
    view.ndim = b.ndim
    view.data = <char*>b.buf
    view.contiguous = True
    if b.ndim <= MAX_AXES:
        for axis in range(b.ndim - 1, -1, -1):
            view.shape[axis] = b.shape[axis]
            view.step[axis] = wanted if b.shape[axis] <= 1 else b.strides[axis] // b.itemsize
            view.contiguous = view.contiguous and view.step[axis] == wanted
            wanted = view.step[axis] * b.shape[axis]
    PyBuffer_Release(&b)
    return 0


cdef object take_floats(object value, str name, View* view, bint contiguous, str other):
    """A float array: as `take`, but an error says what pooling takes (`other` before it)."""
    if type(value) is ndarray and fill(value, view, 0) and (view.contiguous or not contiguous):
        return value
    array = arrays.as_ndarray(value, name)
    native = array.dtype.newbyteorder("=")
    if native != float32 and native != float64:
        raise TypeError(
            f"{name} has dtype {array.dtype}; {other}float32 and float64 are taken here: "
            f"cast with {name}.astype(np.float32)"
        )
    return take(array, name, view, contiguous)


cdef int pool_ranks(int spatial, object layout, const View* view, str name) except -1:
    if view.ndim != spatial + 2 and view.ndim != spatial + 1:
        raise ValueError(
            f"{name} must have {spatial + 2} axes ({layout}), or {spatial + 1} without the batch; got {seen(view)}"
        )
    return 0


cdef inline void pool_place(const int64_t* values, const Pooling* p, int64_t* into) noexcept nogil:
    """An array's sizes or steps in C's order; axes that it does not have are left as they are."""
    cdef int spatial = p.pool.spatial, axis, first = 1 if p.batched else 0
    if p.batched:
        into[FC_N] = values[0]
    into[FC_C] = values[first + spatial] if p.pool.channels_last else values[first]
    if not p.pool.channels_last:
        first += 1
    for axis in range(spatial):
        into[FC_D + 3 - spatial + axis] = values[first + axis]


cdef tuple pool_shape(const Pooling* p, const int64_t* size):
    cdef int64_t sizes[MAX_AXES]
    cdef int count = 0, axis
    if p.batched:
        sizes[count] = p.pool.batch
        count += 1
    if not p.pool.channels_last:
        sizes[count] = p.pool.channels
        count += 1
    for axis in range(3 - p.pool.spatial, 3):
        sizes[count] = size[axis]
        count += 1
    if p.pool.channels_last:
        sizes[count] = p.pool.channels
        count += 1
    return make_shape(sizes, count)


cdef int pool_sizes(Pooling* p, int spatial, object layout, const View* x, str name) except -1:
    """Everything that the shape and the layout of x say."""
    cdef fc_pool* pool = &p.pool
    cdef int64_t sizes[FC_AXES]
    cdef int axis
    memset(p, 0, sizeof(Pooling))
    pool.spatial = spatial
    pool.channels_last = is_channels_last(layout, spatial)
    pool_ranks(spatial, layout, x, name)
    p.batched = x.ndim == spatial + 2
    sizes[FC_N] = 1
    pool_place(x.shape, p, sizes)
    pool.dtype = x.dtype
    pool.batch = sizes[FC_N]
    pool.channels = sizes[FC_C]
    for axis in range(3 - spatial, 3):
        pool.in_size[axis] = sizes[FC_D + axis]
    return 0


cdef int pool_windows(Pooling* p, object kernel_size, object stride, object padding, object dilation,
                      object ceil_mode) except -1:
    """What is asked of the windows, checked; strides of contiguous arrays."""
    cdef fc_pool* pool = &p.pool
    cdef fc_conv conv           # the arguments are read as those of a convolution
    cdef fc_error error
    cdef size_t three = 3 * sizeof(int64_t)
    conv.spatial = pool.spatial
    per_axis(kernel_size, "kernel_size", pool.spatial, conv.kernel)
    if stride is None:
        memcpy(conv.stride, conv.kernel, three)
    else:
        per_axis(stride, "stride", pool.spatial, conv.stride)
    per_axis(dilation, "dilation", pool.spatial, conv.dilation)
    memcpy(conv.in_size, pool.in_size, three)
    read_padding(padding, &conv)
    memcpy(pool.kernel, conv.kernel, three)
    memcpy(pool.stride, conv.stride, three)
    memcpy(pool.dilation, conv.dilation, three)
    memcpy(pool.pad_before, conv.pad_before, three)
    memcpy(pool.pad_after, conv.pad_after, three)
    pool.ceil_mode = flag(ceil_mode, "ceil_mode")
    check(fc_pool_check(pool, &error), &error)
    pool_strides(pool)
    return 0


cdef int pool_outputs(Pooling* p, object output_size) except -1:
    """Adaptive windows: one per pixel of output_size, whose None means the size of x."""
    cdef fc_pool* pool = &p.pool
    cdef fc_error error
    cdef int axis, first = 3 - pool.spatial
    items = None if type(output_size) is int else sequence(output_size)
    if items is None:
        items = (output_size,) * pool.spatial
    if len(items) != pool.spatial:
        raise ValueError(
            f"output_size must be one integer or {pool.spatial}, one per axis, got {short(output_size)}"
        )
    for axis in range(pool.spatial):
        size = items[axis]
        pool.out_size[first + axis] = pool.in_size[first + axis] if size is None else integer(size, "output_size")
    pool.adaptive = True
    check(fc_pool_check(pool, &error), &error)
    pool_strides(pool)
    return 0


cdef void pool_strides(fc_pool* pool) noexcept nogil:
    cdef fc_conv conv
    conv.in_channels = conv.out_channels = pool.channels
    memcpy(conv.in_size, pool.in_size, 3 * sizeof(int64_t))
    memcpy(conv.out_size, pool.out_size, 3 * sizeof(int64_t))
    fc_conv_default_strides(&conv, pool.channels_last)
    memcpy(pool.x_stride, conv.x_stride, sizeof(pool.x_stride))
    memcpy(pool.y_stride, conv.y_stride, sizeof(pool.y_stride))


cdef inline bint flag(object value, str name) except? -1:
    if value is True or value is False:
        return value is True
    if isinstance(value, numpy.bool_):
        return bool(value)
    raise TypeError(f"{name} must be a bool, got {kind(value)} {short(value)}")


cdef inline bint in_lanes(const Pooling* p, const View* x) noexcept nogil:
    """Whether the axis along which vectors are loaded has no gaps."""
    cdef int last = x.ndim - 1
    return x.shape[last] <= 1 or x.step[last] == 1


cdef inline int64_t inputs(const fc_pool* pool) noexcept nogil:
    return pool.batch * pool.channels * pool.in_pixels


cdef inline int64_t outputs(const fc_pool* pool) noexcept nogil:
    return pool.batch * pool.channels * pool.out_pixels


cdef object make_result(object out, tuple shape, int64_t count, object dtype, str name, const void* beside):
    """`out` after all checks but overlap, or a new array of `count` elements, made from one at `beside`."""
    if out is None:
        return make_empty(shape, dtype, count * dtype.itemsize if count >= ALIGNED_OUTPUT // 8 else 0, "output",
                          beside)
    if not isinstance(out, ndarray):
        raise TypeError(f"{name} must be a numpy.ndarray, got {kind(out)}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"{name} has dtype {out.dtype}; the result is native {dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}; the result has {shape}")
    if arrays.overlaps_itself(out):
        raise ValueError(f"{name} has strides that put several elements at one address")
    return out


cdef object written(object out, object others):
    """The array that C writes to for `out`: itself, or a contiguous one that is copied to it after."""
    for name, other in others:
        if numpy.may_share_memory(out, other) and arrays.shares_memory(out, other):
            raise ValueError(f"out shares memory with {name}: pass memory that is written only")
    if out.flags.c_contiguous and out.flags.aligned:
        return out
    return numpy.empty(out.shape, out.dtype)


cdef object pool_integers(Pooling* p, object x, object return_indices, object out, int type_code):
    cdef View vx, vy, vi
    cdef fc_error error
    cdef fc_status status
    cdef int64_t* indices = NULL
    shape = pool_shape(p, p.pool.out_size)
    given = out
    fill_any(x, &vx)
    out = make_result(out, shape, outputs(&p.pool), x.dtype, "out", vx.data)
    to = out if given is None else written(out, (("x", x),))
    fill_any(to, &vy)
    found = None
    if return_indices:
        found = make_result(None, shape, outputs(&p.pool), int64, "indices", NULL)
        fill_any(found, &vi)
        indices = <int64_t*>vi.data
    with nogil:
        status = fc_max_pool_integer(&p.pool, <fc_integer>type_code, vx.data, vy.data, indices, &error)
    check(status, &error)
    if to is not out:
        out[...] = to
    return (out, found) if return_indices else out


cdef object run_pool(Pooling* p, int which, object x, View* vx, object return_indices, object out):
    cdef View vy, vi
    cdef fc_error error
    cdef fc_status status
    cdef int64_t* indices = NULL
    cdef fc_pool* pool = &p.pool
    cdef int64_t work = pool.batch * pool.channels * (pool.in_pixels + pool.out_pixels * 4)
    shape = pool_shape(p, pool.out_size)
    given = out
    out = make_result(out, shape, outputs(pool), float32 if pool.dtype == FC_F32 else float64, "out", vx.data)
    to = out if given is None else written(out, (("x", x),))
    fill_any(to, &vy)
    if not in_lanes(p, vx):
        x = numpy.ascontiguousarray(x)
        fill(x, vx, 0)
    pool_place(vx.step, p, pool.x_stride)
    found = None
    if return_indices:
        found = make_result(None, shape, outputs(&p.pool), int64, "indices", NULL)
        fill_any(found, &vi)
        indices = <int64_t*>vi.data
    if work < KEEP_GIL_POOLING_BELOW:
        status = call_pool(pool, which, vx.data, vy.data, indices, &error)
    else:
        with nogil:
            status = call_pool(pool, which, vx.data, vy.data, indices, &error)
    check(status, &error)
    if to is not out:
        out[...] = to
    return (out, found) if return_indices else out


cdef fc_status call_pool(const fc_pool* pool, int which, const void* x, void* y, int64_t* indices,
                         fc_error* error) noexcept nogil:
    if which == AVG_POOL:
        return fc_avg_pool(pool, x, y, error)
    if which == LP_POOL:
        return fc_lp_pool(pool, x, y, error)
    if indices == NULL:
        return fc_max_pool(pool, x, y, error)
    return fc_max_pool_indices(pool, x, y, indices, error)


cdef object whole_numbers(object x):
    """x as a contiguous native array of an integer dtype, or None for what is to be taken as floats."""
    if type(x) is ndarray and (x.dtype is float32 or x.dtype is float64):
        return None
    x = arrays.as_ndarray(x, "x")
    return numpy.ascontiguousarray(x, x.dtype.newbyteorder("=")) if x.dtype.kind in "iu" else None


def max_pool(int spatial, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out,
             adaptive):
    """Max pooling; with `adaptive`, kernel_size is output_size."""
    cdef Pooling p
    cdef View vx
    return_indices = flag(return_indices, "return_indices")
    cdef object whole = whole_numbers(x)
    if whole is not None:
        x = whole
        fill_any(x, &vx)
        vx.dtype = FC_F32
    else:
        x = take_floats(x, "x", &vx, False, "integers, ")
    pool_sizes(&p, spatial, layout, &vx, "x")
    if adaptive:
        pool_outputs(&p, kernel_size)
    else:
        pool_windows(&p, kernel_size, stride, padding, dilation, ceil_mode)
    if whole is not None:
        return pool_integers(&p, x, return_indices, out, INTEGERS[x.dtype.str[1:]])
    return run_pool(&p, MAX_POOL, x, &vx, return_indices, out)


cdef int average_options(Pooling* p, object count_include_pad, object divisor_override) except -1:
    p.pool.count_include_pad = flag(count_include_pad, "count_include_pad")
    if divisor_override is not None:
        p.pool.divisor_override = integer(divisor_override, "divisor_override")
        if p.pool.divisor_override < 1:
            raise ValueError(f"divisor_override must be at least 1, got {p.pool.divisor_override}")
    return 0


def avg_pool(int spatial, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override,
             dilation, layout, out, adaptive):
    """Average pooling; with `adaptive`, kernel_size is output_size."""
    cdef Pooling p
    cdef View vx
    x = take_floats(x, "x", &vx, False, "")
    pool_sizes(&p, spatial, layout, &vx, "x")
    average_options(&p, count_include_pad, divisor_override)
    if adaptive:
        pool_outputs(&p, kernel_size)
    else:
        pool_windows(&p, kernel_size, stride, padding, dilation, ceil_mode)
    return run_pool(&p, AVG_POOL, x, &vx, False, out)


def norm_order(norm_type):
    """Return norm_type as a float after checking it."""
    if isinstance(norm_type, (str, bytes, bool)) or not hasattr(norm_type, "__float__"):
        raise TypeError(f"norm_type must be a number, got {kind(norm_type)} {short(norm_type)}")
    order = float(norm_type)
    if not 0 < order < float("inf"):
        raise ValueError(f"norm_type must be positive and finite, got {short(norm_type)}")
    return order


def lp_pool(int spatial, x, norm_type, kernel_size, stride, ceil_mode, padding, dilation, layout, out):
    """Lp pooling."""
    cdef Pooling p
    cdef View vx
    x = take_floats(x, "x", &vx, False, "")
    pool_sizes(&p, spatial, layout, &vx, "x")
    p.pool.power = norm_order(norm_type)
    pool_windows(&p, kernel_size, stride, padding, dilation, ceil_mode)
    return run_pool(&p, LP_POOL, x, &vx, False, out)


cdef int view_shape(object shape, str name, View* view) except -1:
    """A shape given as a tuple, as if of an array."""
    cdef int axis
    sizes = sequence(shape)
    if sizes is None:
        raise TypeError(f"{name} must be a tuple of integers, got {kind(shape)} {short(shape)}")
    view.ndim = len(sizes)
    for axis in range(min(view.ndim, <int>MAX_AXES)):
        view.shape[axis] = integer(sizes[axis], name)
        if view.shape[axis] < 0:
            raise ValueError(f"{name} must not be negative, got {short(shape)}")
    return 0


def avg_pool_grad(int spatial, grad_output, input_shape, kernel_size, stride, padding, ceil_mode,
                  count_include_pad, divisor_override, dilation, layout, out, adaptive):
    """Gradient of average pooling; with `adaptive`, kernel_size is output_size."""
    cdef Pooling p
    cdef View vg, vx, vo
    cdef fc_error error
    cdef fc_status status
    grad_output = take_floats(grad_output, "grad_output", &vg, False, "")
    view_shape(input_shape, "input_shape", &vx)
    vx.dtype = vg.dtype
    pool_sizes(&p, spatial, layout, &vx, "input_shape")
    average_options(&p, count_include_pad, divisor_override)
    if adaptive:
        pool_outputs(&p, kernel_size)
    else:
        pool_windows(&p, kernel_size, stride, padding, dilation, ceil_mode)
    wanted = pool_shape(&p, p.pool.out_size)
    if grad_output.shape != wanted:
        raise ValueError(f"grad_output has shape {grad_output.shape}; these options make {wanted} of {input_shape}")
    given = out
    out = make_result(out, pool_shape(&p, p.pool.in_size), inputs(&p.pool),
                      float32 if vg.dtype == FC_F32 else float64, "out", vg.data)
    to = out if given is None else written(out, (("grad_output", grad_output),))
    fill_any(to, &vo)
    if not in_lanes(&p, &vg):
        grad_output = numpy.ascontiguousarray(grad_output)
        fill(grad_output, &vg, 0)
    pool_place(vg.step, &p, p.pool.y_stride)
    with nogil:
        status = fc_avg_pool_grad(&p.pool, vg.data, vo.data, &error)
    check(status, &error)
    if to is not out:
        out[...] = to
    return out


cdef object take_indices(object indices, tuple shape, str of, View* view):
    array = arrays.as_ndarray(indices, "indices")
    if array.dtype != int64:
        raise TypeError(f"indices has dtype {array.dtype}; int64 is wanted: cast with indices.astype(np.int64)")
    if array.shape != shape:
        raise ValueError(f"indices has shape {array.shape}; {of} has {shape}")
    array = numpy.ascontiguousarray(array, int64)
    if not array.flags.aligned:
        array = array.copy()
    fill_any(array, view)
    return array


cdef int index_sizes(Pooling* p, int spatial, object layout, const View* small, const View* big, str small_name,
                     str big_name) except -1:
    """A pooling known by the shapes before and after it."""
    cdef int64_t sizes[FC_AXES]
    cdef fc_error error
    cdef int axis
    pool_sizes(p, spatial, layout, big, big_name)
    pool_ranks(spatial, layout, small, small_name)
    sizes[FC_N] = 1
    if small.ndim == big.ndim:
        pool_place(small.shape, p, sizes)
    if small.ndim != big.ndim or sizes[FC_N] != p.pool.batch or sizes[FC_C] != p.pool.channels:
        raise ValueError(
            f"{small_name} has {seen(small)} and {big_name} {seen(big)}; batch and channels ({layout}) must agree"
        )
    for axis in range(3 - spatial, 3):
        p.pool.out_size[axis] = sizes[FC_D + axis]
    p.pool.dtype = small.dtype
    check(fc_pool_check_sizes(&p.pool, &error), &error)
    pool_strides(&p.pool)
    return 0


cdef int check_indices(const Pooling* p, const View* indices, bint none) except -1:
    """Before the caller's own memory is written; else C looks at them on its way."""
    cdef int64_t bad = 0, at
    with nogil:
        at = fc_pool_bad_index(&p.pool, <const int64_t*>indices.data, none, &bad)
    if at >= 0:
        raise ValueError(f"indices: {bad} is outside a plane of {p.pool.in_pixels} pixels")
    return 0


def move_by_index(int spatial, source, indices, shape, layout, out, bint add):
    """Scatter to arrays of `shape`: add gradients up (where -1 goes nowhere), or place values."""
    cdef Pooling p
    cdef View vs, vi, vb, vo
    cdef fc_error error
    cdef fc_status status
    cdef str name = "grad_output" if add else "x", whole = "input_shape" if add else "output_size"
    source = take_floats(source, name, &vs, True, "")
    view_shape(shape, whole, &vb)
    index_sizes(&p, spatial, layout, &vs, &vb, name, whole)
    indices = take_indices(indices, source.shape, name, &vi)
    given = out
    if given is not None:
        check_indices(&p, &vi, add)
    out = make_result(out, pool_shape(&p, p.pool.in_size), inputs(&p.pool),
                      float32 if vs.dtype == FC_F32 else float64, "out", vs.data)
    to = out if given is None else written(out, ((name, source), ("indices", indices)))
    fill_any(to, &vo)
    with nogil:
        if add:
            status = fc_pool_scatter(&p.pool, vs.data, <const int64_t*>vi.data, vo.data, &error)
        else:
            status = fc_pool_unpool(&p.pool, vs.data, <const int64_t*>vi.data, vo.data, &error)
    check(status, &error)
    if to is not out:
        out[...] = to
    return out


def channels_last(layout, int spatial):
    """Whether a layout, which is checked, has channels last."""
    return is_channels_last(layout, spatial)


def gather_by_index(int spatial, source, indices, layout, out):
    """source[indices], plane by plane: the gradient of unpooling."""
    cdef Pooling p
    cdef View vs, vi, vn, vo
    cdef fc_error error
    cdef fc_status status
    source = take_floats(source, "grad_output", &vs, True, "")
    indices = arrays.as_ndarray(indices, "indices")
    indices = take_indices(indices, indices.shape, "", &vi)
    vi.dtype = vs.dtype
    index_sizes(&p, spatial, layout, &vi, &vs, "indices", "grad_output")
    given = out
    if given is not None:
        check_indices(&p, &vi, False)
    out = make_result(out, pool_shape(&p, p.pool.out_size), outputs(&p.pool),
                      float32 if vs.dtype == FC_F32 else float64, "out", vs.data)
    to = out if given is None else written(out, (("grad_output", source), ("indices", indices)))
    fill_any(to, &vo)
    with nogil:
        status = fc_pool_gather(&p.pool, vs.data, <const int64_t*>vi.data, vo.data, &error)
    check(status, &error)
    if to is not out:
        out[...] = to
    return out


def sampled_pool(x, kernel_size, stride, padding, dilation, ceil_mode, random, layout, out):
    """Stochastic pooling in training; random(shape) makes float64 numbers in [0, 1)."""
    cdef Pooling p
    cdef View vx, vy, vi, vr
    cdef fc_error error
    cdef fc_status status
    x = take_floats(x, "x", &vx, False, "")
    pool_sizes(&p, 2, layout, &vx, "x")
    pool_windows(&p, kernel_size, stride, padding, dilation, ceil_mode)
    shape = pool_shape(&p, p.pool.out_size)
    given = out
    out = make_result(out, shape, outputs(&p.pool), float32 if vx.dtype == FC_F32 else float64, "out", vx.data)
    to = out if given is None else written(out, (("x", x),))
    indices = make_result(None, shape, outputs(&p.pool), int64, "indices", NULL)
    numbers = numpy.ascontiguousarray(random(shape), float64)
    fill_any(to, &vy)
    fill_any(indices, &vi)
    fill_any(numbers, &vr)
    pool_place(vx.step, &p, p.pool.x_stride)
    with nogil:
        status = fc_stochastic_pool(&p.pool, vx.data, <const double*>vr.data, vy.data, <int64_t*>vi.data, &error)
    check(status, &error)
    if to is not out:
        out[...] = to
    return out, indices
