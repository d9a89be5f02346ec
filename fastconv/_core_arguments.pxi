# Numbers, padding and words of a call, as C takes them.  Included by _core.pyx.
# Types are checked here; whether a number makes sense is for fc_conv_check to say.

cdef int raise_error(fc_status status, fc_error* error) except -1:
    """Turn a C status into its exception: the one place where that happens."""
    cdef str text = error.text.decode()
    if status == FC_NO_MEMORY:
        raise MemoryError(text)
    if status == FC_BAD_TYPE:
        raise TypeError(text)
    raise ValueError(text)


cdef inline int check(fc_status status, fc_error* error) except -1:
    return 0 if status == FC_OK else raise_error(status, error)


cdef str kind(object value):
    return type(value).__name__


cdef str short(object value):
    """Return a value as an error shows it, whatever its size."""
    try:
        text = repr(value)
    except Exception:
        return kind(value)
    return text if len(text) <= 80 else text[:77] + "..."


cdef int64_t integer(object value, str name) except? -1:
    """A real integer that fits 64 bits: no bool, no float, whatever its value."""
    if type(value) is not int:
        if isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, got bool {value}")
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an integer, got {kind(value)} {short(value)}") from None
    cdef int64_t number = PyLong_AsLongLong(value)
    if number == -1 and PyErr_Occurred() != NULL:
        PyErr_Clear()
        raise ValueError(f"{name}: an integer of {value.bit_length()} bits does not fit 64 bits")
    return number


cdef object sequence(object value):
    """A tuple of a sequence's items, or None for what is none."""
    if type(value) is tuple:
        return value
    if isinstance(value, (str, bytes, dict, set)) or not hasattr(value, "__len__"):
        return None
    try:
        return tuple(value)
    except TypeError:       # an array without axes
        return None


cdef int per_axis(object value, str name, int spatial, int64_t* into) except -1:
    """One integer for all axes, or one each, into the last `spatial` places of three."""
    cdef int axis, first = 3 - spatial
    items = None if type(value) is int else sequence(value)
    if items is None:
        into[2] = integer(value, name)
        for axis in range(first, 2):
            into[axis] = into[2]
        return 0
    if len(items) != spatial:
        raise ValueError(f"{name} must be one integer or {spatial}, one per axis, got {short(value)}")
    for axis in range(spatial):
        into[first + axis] = integer(items[axis], name)
    return 0


cdef int pad_by_word(str word, fc_conv* conv) except -1:
    """`same` puts the odd one after, as TensorFlow's SAME and ONNX's SAME_UPPER.

    Sizes that fc_conv_check refuses are left for it to refuse, with no padding.
    """
    cdef int axis
    cdef int64_t size, step, reach, total
    if word not in ("valid", "same", "same_lower", "causal") or (word == "causal" and conv.spatial != 1):
        causal = ', "causal"' if conv.spatial == 1 else ""
        words = f'"valid", "same", "same_lower"{causal}'
        raise ValueError(f"padding must be integers or one of {words}, got {short(word)}")
    for axis in range(3 - conv.spatial, 3):
        conv.pad_before[axis] = conv.pad_after[axis] = 0
        size = conv.in_size[axis]
        step = conv.stride[axis]
        if word == "valid" or size < 1 or step < 1 or conv.dilation[axis] < 1 or conv.kernel[axis] < 1:
            continue
        if not fc_mul(conv.kernel[axis] - 1, conv.dilation[axis], &reach) or reach > INT64_MAX // 16:
            continue
        if word == "causal":
            conv.pad_before[axis] = reach
            continue
        total = max((size - 1) // step * step + reach + 1 - size, <int64_t>0)
        conv.pad_before[axis] = total // 2 if word == "same" else total - total // 2
        conv.pad_after[axis] = total - conv.pad_before[axis]
    return 0


cdef int read_padding(object padding, fc_conv* conv) except -1:
    """An int, one per axis, a (before, after) pair per axis, or a word."""
    cdef int axis, first = 3 - conv.spatial
    cdef int64_t amount
    if type(padding) is int:
        amount = integer(padding, "padding")
        for axis in range(first, 3):
            conv.pad_before[axis] = conv.pad_after[axis] = amount
        return 0
    if isinstance(padding, str):
        return pad_by_word(padding, conv)
    items = sequence(padding)
    if items is None:
        return read_padding(int(integer(padding, "padding")), conv)
    if len(items) != conv.spatial:
        raise ValueError(
            f"padding must be one integer, or {conv.spatial} integers or (before, after) pairs, "
            f"one per axis, got {short(padding)}"
        )
    for axis in range(conv.spatial):
        item = items[axis]
        pair = None if type(item) is int else sequence(item)
        if pair is None:
            amount = integer(item, "padding")
            conv.pad_before[first + axis] = conv.pad_after[first + axis] = amount
            continue
        if len(pair) != 2:
            raise ValueError(f"padding must have (before, after) for an axis, got {short(item)}")
        conv.pad_before[first + axis] = integer(pair[0], "padding")
        conv.pad_after[first + axis] = integer(pair[1], "padding")
    return 0


cdef int read_activation(object activation, fc_activation* into) except -1:
    into.alpha = 0.0
    into.kind = FC_ACT_NONE
    if activation is None:
        return 0
    if isinstance(activation, str) and activation in ("relu", "relu6"):
        into.kind = FC_ACT_RELU if activation == "relu" else FC_ACT_RELU6
        return 0
    if type(activation) is tuple and len(activation) == 2 and activation[0] == "leaky_relu":
        into.kind = FC_ACT_LEAKY_RELU
        alpha = activation[1]
        if isinstance(alpha, (str, bytes, bool)) or not hasattr(alpha, "__float__"):
            raise TypeError(f"activation: the slope of leaky_relu must be a number, got {short(alpha)}")
        into.alpha = float(alpha)
        if not abs(into.alpha) < float("inf"):
            raise ValueError(f"activation: the slope of leaky_relu must be finite, got {short(alpha)}")
        return 0
    error = ValueError if isinstance(activation, (str, tuple)) else TypeError
    raise error(f'activation must be None, "relu", "relu6" or ("leaky_relu", alpha), got {short(activation)}')


cdef int is_channels_last(object layout, int spatial) except -1:
    first = CHANNELS_FIRST[spatial - 1]
    if layout is first:
        return False
    if isinstance(layout, str):
        if layout == first:
            return False
        if layout == CHANNELS_LAST[spatial - 1]:
            return True
    error = ValueError if isinstance(layout, str) else TypeError
    raise error(f'layout must be "{first}" or "{CHANNELS_LAST[spatial - 1]}", got {short(layout)}')


cdef const char* algorithm_name(object algorithm) except NULL:
    cdef Py_ssize_t length
    cdef const char* name
    if not isinstance(algorithm, str):
        raise TypeError(f"algorithm must be a string, got {kind(algorithm)} {short(algorithm)}")
    name = PyUnicode_AsUTF8AndSize(algorithm, &length)
    if name == NULL or <Py_ssize_t>strlen(name) != length:
        PyErr_Clear()
        raise ValueError(f"algorithm: {short(algorithm)} is no algorithm's name")
    return name
