# Gradients of convolution: arguments to the forward problem that they belong to.  Included by _core.pyx,
# for grad.py.

cdef int shape_argument(object shape, str name, fc_dtype dtype, View* view) except -1:
    """Describe an array that is not there, from a shape."""
    cdef int axis
    sizes = sequence(shape)
    if sizes is None:
        raise TypeError(f"{name} must be a tuple of integers, got {kind(shape)} {short(shape)}")
    memset(view, 0, sizeof(View))
    view.ndim = len(sizes)
    view.dtype = dtype
    for axis in range(min(view.ndim, <int>MAX_AXES)):
        view.shape[axis] = integer(sizes[axis], name)
    return 0


cdef int check_grad_output(const Problem* p, const View* grad) except -1:
    cdef int64_t sizes[MAX_AXES]
    cdef int axis, count = out_shape(p, sizes)
    cdef bint same = grad.ndim == count
    for axis in range(count):
        same = same and grad.shape[axis] == sizes[axis]
    if not same:
        raise ValueError(f"grad_output has {seen(grad)}; these options make {make_shape(sizes, count)}")
    return 0


cdef object grad_target(object out, const int64_t* sizes, int count, const View* grad, View* view):
    """A new array for a gradient, or `out` once it has been checked."""
    if out is None:
        return new_array(sizes, count, grad.dtype, "gradient", grad.data, view)
    check_out(out, sizes, count, grad.dtype, "gradient", view)
    return out


def conv_input_grad(int spatial, grad_output, weight, input_shape, stride, padding, dilation, groups, layout, algorithm,
                    out):
    """Gradient with respect to x: conv1d_input_grad and the like of grad.py, with every argument given."""
    cdef Problem p
    cdef View vg, vw, vx
    cdef fc_error error
    cdef fc_status status
    cdef int64_t sizes[MAX_AXES]
    cdef const char* name = algorithm_name(algorithm)
    inputs_given = grad_output, weight
    grad_output = take(grad_output, "grad_output", &vg, False)
    weight = take(weight, "weight", &vw, True)
    same_dtype(&vw, "weight", vg.dtype, "grad_output")
    shape_argument(input_shape, "input_shape", vg.dtype, &vx)
    make_problem(&p, spatial, &vx, &vw, NULL, stride, padding, dilation, groups, ZEROS, 0, layout, None,
                 b"input_shape", b"weight")
    check_grad_output(&p, &vg)
    given = out is not None
    memcpy(sizes, vx.shape, sizeof(sizes))
    out = grad_target(out, sizes, vx.ndim, &vg, &vx)
    if given:
        no_overlap(out, &vx, inputs_given[0], grad_output, &vg, "grad_output")
        no_overlap(out, &vx, inputs_given[1], weight, &vw, "weight")
    place(vx.step, &p, p.conv.x_stride)
    place(vg.step, &p, p.conv.y_stride)
    with nogil:
        status = fc_conv_input_grad(&p.conv, name, vg.data, vw.data, vx.data, &error)
    check(status, &error)
    return out


def conv_weight_grad(int spatial, grad_output, x, weight_shape, stride, padding, dilation, groups, layout, algorithm,
                     out):
    """Gradient with respect to weight: conv1d_weight_grad and the like of grad.py, with every argument given."""
    cdef Problem p
    cdef View vg, vw, vx, vt
    cdef fc_error error
    cdef fc_status status
    cdef int64_t sizes[MAX_AXES]
    cdef const char* name = algorithm_name(algorithm)
    inputs_given = grad_output, x
    grad_output = take(grad_output, "grad_output", &vg, False)
    x = take(x, "x", &vx, False)
    same_dtype(&vx, "x", vg.dtype, "grad_output")
    shape_argument(weight_shape, "weight_shape", vg.dtype, &vw)
    make_problem(&p, spatial, &vx, &vw, NULL, stride, padding, dilation, groups, ZEROS, 0, layout, None, b"x",
                 b"weight_shape")
    check_grad_output(&p, &vg)
    memcpy(sizes, vw.shape, sizeof(sizes))
    given = out is not None
    out = grad_target(out, sizes, vw.ndim, &vg, &vw)
    if given:
        no_overlap(out, &vw, inputs_given[0], grad_output, &vg, "grad_output")
        no_overlap(out, &vw, inputs_given[1], x, &vx, "x")
    # C writes contiguous weights; an array with gaps gets a copy of them.
    target = out
    if not vw.contiguous:
        target = grad_target(None, sizes, vw.ndim, &vg, &vt)
        vw.data = vt.data
    place(vx.step, &p, p.conv.x_stride)
    place(vg.step, &p, p.conv.y_stride)
    with nogil:
        status = fc_conv_weight_grad(&p.conv, name, vg.data, vx.data, vw.data, &error)
    check(status, &error)
    if target is not out:
        out[...] = target
    return out


def conv_bias_grad(int spatial, grad_output, layout, out):
    """Gradient with respect to bias: conv1d_bias_grad and the like of grad.py."""
    cdef Problem p
    cdef View vg, vb, vt
    cdef fc_error error
    cdef fc_status status
    cdef int64_t sizes[FC_AXES]
    cdef int axis
    memset(&p, 0, sizeof(Problem))
    p.conv.spatial = spatial
    p.channels_last = is_channels_last(layout, spatial)
    input_given = grad_output
    grad_output = take(grad_output, "grad_output", &vg, False)
    if vg.ndim != spatial + 2 and vg.ndim != spatial + 1:
        raise ValueError(
            f"grad_output must have {spatial + 2} axes ({layout}), or {spatial + 1} without the batch; got {seen(&vg)}"
        )
    p.batched = vg.ndim == spatial + 2
    for axis in range(<int>FC_AXES):
        sizes[axis] = 1
    place(vg.shape, &p, sizes)
    place(vg.step, &p, p.conv.y_stride)
    p.conv.dtype = vg.dtype
    p.conv.batch = sizes[FC_N]
    p.conv.out_channels = sizes[FC_C]
    for axis in range(3):
        p.conv.out_size[axis] = sizes[FC_D + axis]
        if sizes[FC_D + axis] == 0:
            p.conv.batch = 0
    given = out is not None
    out = grad_target(out, &sizes[FC_C], 1, &vg, &vb)
    if given:
        no_overlap(out, &vb, input_given, grad_output, &vg, "grad_output")
    target = out
    if not vb.contiguous:
        target = grad_target(None, &sizes[FC_C], 1, &vg, &vt)
        vb.data = vt.data
    with nogil:
        status = fc_conv_bias_grad(&p.conv, vg.data, vb.data, &error)
    check(status, &error)
    if target is not out:
        out[...] = target
    return out
