# Arrays to pointers, shapes and steps: inputs taken, outputs made or checked.  Included by _core.pyx.
# What a plain, aligned, native ndarray needs is done here; everything rarer is asked of arrays.py.

# An array as C sees it.  Axes in the array's own order, steps in elements.
cdef struct View:
    char* data
    fc_dtype dtype
    int ndim
    bint contiguous
    int64_t shape[MAX_AXES]
    int64_t step[MAX_AXES]


cdef int fill(object array, View* view, int flags) noexcept:
    """Describe an ndarray.  False where it has to be copied first, or is of no use at all."""
    cdef Py_buffer b
    cdef int axis
    cdef Py_ssize_t size
    cdef int64_t step, wanted = 1
    cdef bint usable = True
    if PyObject_GetBuffer(array, &b, PyBUF_STRIDES | PyBUF_FORMAT | flags) < 0:
        PyErr_Clear()
        return False
    view.ndim = b.ndim
    view.data = <char*>b.buf
    view.contiguous = True
    size = b.itemsize
    view.dtype = FC_F32 if b.format[0] == c"f" else FC_F64
    if b.format[1] != 0 or (b.format[0] != c"f" and b.format[0] != c"d"):
        usable = False      # also misaligned and foreign byte orders, which carry a prefix
    elif <uintptr_t>b.buf % <uintptr_t>size != 0:
        usable = False
    elif b.ndim <= MAX_AXES:
        for axis in range(b.ndim - 1, -1, -1):
            view.shape[axis] = b.shape[axis]
            if b.shape[axis] <= 1:
                step = wanted       # NumPy leaves anything in the stride of such an axis
            else:
                step = b.strides[axis] // size
                if step * size != b.strides[axis]:
                    usable = False
                    break
                if step != wanted:
                    view.contiguous = False
            view.step[axis] = step
            wanted = step * b.shape[axis]
    # The array outlives the call that this view serves, and with it its memory.
    PyBuffer_Release(&b)
    return usable


cdef object take_slowly(object value, str name, View* view, bint contiguous):
    array = arrays.as_ndarray(value, name)
    native = arrays.float_dtype(array, name)
    if not fill(array, view, 0) or (contiguous and not view.contiguous):
        array = arrays.native_copy(array, native, name)
        if not fill(array, view, 0):
            raise TypeError(f"{name} cannot be read as {native}")
    return array


cdef inline object take(object value, str name, View* view, bint contiguous):
    """Fill view from an input and return the array that owns the memory, a copy where one is needed."""
    if type(value) is ndarray and fill(value, view, 0) and (view.contiguous or not contiguous):
        return value
    return take_slowly(value, name, view, contiguous)


cdef tuple shape_of(const View* view):
    return tuple([view.shape[axis] for axis in range(view.ndim)])


cdef str seen(const View* view):
    """What an error says of a view's shape."""
    return f"shape {shape_of(view)}" if view.ndim <= MAX_AXES else f"{view.ndim} axes"


cdef tuple make_shape(const int64_t* sizes, int count):
    cdef tuple shape = PyTuple_New(count)
    cdef object size
    cdef int axis
    for axis in range(count):
        size = sizes[axis]
        Py_INCREF(size)         # PyTuple_SetItem takes the reference over
        PyTuple_SetItem(shape, axis, size)
    return shape


cdef str dtype_name(fc_dtype dtype):
    return "float32" if dtype == FC_F32 else "float64"


cdef int same_dtype(const View* view, str name, fc_dtype dtype, str other) except -1:
    if view.dtype != dtype:
        raise TypeError(
            f"{name} has dtype {dtype_name(view.dtype)}, but {other} {dtype_name(dtype)}: "
            f"cast with {name}.astype(np.{dtype_name(dtype)})"
        )
    return 0


cdef int check_out(object out, const int64_t* sizes, int count, fc_dtype dtype, str what, View* view) except -1:
    """Describe an `out` argument, once it is known to be fit for a result of these sizes."""
    cdef int axis
    cdef bint same
    if not isinstance(out, ndarray):
        raise TypeError(f"out must be a numpy.ndarray, got {kind(out)}")
    if not fill(out, view, PyBUF_WRITABLE):
        if not out.flags.writeable:
            raise ValueError("out is read-only")
        if out.dtype != numpy.dtype(dtype_name(dtype)):
            raise TypeError(f"out has dtype {out.dtype}; the {what} is native {dtype_name(dtype)}")
        raise ValueError("out must be aligned, with strides that are multiples of its item size")
    if view.dtype != dtype:
        raise TypeError(f"out has dtype {dtype_name(view.dtype)}; the {what} is {dtype_name(dtype)}")
    same = view.ndim == count
    for axis in range(count):
        same = same and view.shape[axis] == sizes[axis]
    if not same:
        raise ValueError(f"out has shape {out.shape}; the {what} has {make_shape(sizes, count)}")
    if not view.contiguous and arrays.overlaps_itself(out):
        raise ValueError("out has strides that put several elements at one address")
    return 0


cdef object new_array(const int64_t* sizes, int count, fc_dtype dtype, str what, const void* beside, View* view):
    """A new array for a result that is made from an array at `beside`, described."""
    cdef int64_t nbytes = 4 if dtype == FC_F32 else 8
    cdef int axis
    cdef tuple shape = make_shape(sizes, count)
    for axis in range(count):
        nbytes *= sizes[axis]
    out = make_empty(shape, float32 if dtype == FC_F32 else float64, nbytes, what, beside)
    if not fill(out, view, PyBUF_WRITABLE):
        raise MemoryError(f"the {what} could not be made")
    return out


cdef object own(object value, str name, View* view):
    """A contiguous copy that nobody writes to."""
    array = take(value, name, view, False)
    array = arrays.native_copy(array, array.dtype, name)
    array.flags.writeable = False
    fill(array, view, 0)
    return array


cdef inline void extent(const View* view, uintptr_t* low, uintptr_t* high) noexcept nogil:
    """First byte and one past the last of a view; the same twice where it is empty."""
    cdef int axis
    cdef int64_t size = 4 if view.dtype == FC_F32 else 8, reach
    cdef uintptr_t start = <uintptr_t>view.data
    low[0] = high[0] = start
    for axis in range(view.ndim):
        if view.shape[axis] == 0:
            low[0] = high[0] = start
            return
        reach = (view.shape[axis] - 1) * view.step[axis] * size
        if reach < 0:
            low[0] += <uintptr_t>reach
        else:
            high[0] += <uintptr_t>reach
    high[0] += <uintptr_t>size


cdef int no_overlap(object out, const View* a, object given, object other, const View* b, str name) except -1:
    """Refuse an out that shares memory with an input as given, which may have been copied to be read."""
    cdef uintptr_t a_low, a_high, b_low, b_high
    if other is not given:
        other = arrays.as_ndarray(given, name)
        if arrays.shares_memory(out, other):
            raise ValueError(f"out shares memory with {name}: pass memory that is written only")
        return 0
    extent(a, &a_low, &a_high)
    extent(b, &b_low, &b_high)
    if a_low >= b_high or b_low >= a_high:
        return 0
    if arrays.shares_memory(out, other):
        raise ValueError(f"out shares memory with {name}: pass memory that is written only")
    return 0
