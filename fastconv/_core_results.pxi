# Memory of results.  Included by _core.pyx, for _core_arrays.pxi, _core_pool.pxi and _core_runtime.pxi.
#
# A large result that nobody holds any more leaves its memory for later ones: pages new from the system cost as much
# as the convolution where memory is the limit.  What is kept is bounded by RESULT_MEMORY, and freed by clear_scratch().

cdef extern from *:
    """
    /* Without the GIL a count of one may be out of date. */
    #ifdef Py_GIL_DISABLED
    enum { FC_KEEPS = 0 };
    #else
    enum { FC_KEEPS = 1 };
    #endif
    """
    const int FC_KEEPS

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject*)

cdef enum:
    MOST_KEPT = 16
    LEAST_KEPT = 1 << 20
    PAGE = 4096
    APART = 256                               # bytes, from the place of an input in its page to that of the result

cdef struct Kept:
    PyObject* memory                          # an array of bytes; one reference is ours
    int64_t start, nbytes                     # the first that begins a cache line, and how many a result may have
    int64_t address                           # of the first

cdef Kept kept[MOST_KEPT]                     # the last used last
cdef int kept_count = 0


def _result_memory():
    text = os.environ.get("FASTCONV_RESULT_MEMORY", "")
    try:
        most = int(text) if text else 1 << 28
    except ValueError:
        most = -1
    if most < 0 or most >= 1 << 62:
        raise ImportError(f"FASTCONV_RESULT_MEMORY must be a number of bytes, 0 for none, got {text!r}")
    return most if FC_KEEPS else 0


cdef int64_t RESULT_MEMORY = _result_memory()


cdef void put_last(int index) noexcept:
    cdef Kept one = kept[index]
    cdef int i
    for i in range(index, kept_count - 1):
        kept[i] = kept[i + 1]
    kept[kept_count - 1] = one


cdef void forget(int64_t room):
    """Forget the oldest until `room` bytes, and one place, are left of what may be kept."""
    global kept_count
    cdef PyObject* memory
    while kept_count > 0 and (kept_count == MOST_KEPT or bytes_kept() > RESULT_MEMORY - room):
        memory = kept[0].memory
        put_last(0)
        kept_count -= 1
        Py_DECREF(<object>memory)


cdef int64_t bytes_kept() noexcept:
    cdef int64_t nbytes = 0
    cdef int i
    for i in range(kept_count):
        nbytes += kept[i].nbytes
    return nbytes


cdef int find_kept(int64_t nbytes) noexcept:
    """The smallest that nothing else refers to and that is not much larger than `nbytes`, or -1."""
    cdef int i, best = -1
    for i in range(kept_count):
        if (Py_REFCNT(kept[i].memory) == 1 and nbytes <= kept[i].nbytes <= nbytes + nbytes // 4
                and (best < 0 or kept[i].nbytes <= kept[best].nbytes)):
            best = i
    return best


cdef object new_memory(int64_t nbytes, str what):
    if nbytes >= LARGE_OUTPUT:
        arrays.check_memory(nbytes, what)
    return empty(nbytes + CACHE_LINE + PAGE, numpy.uint8)


cdef int64_t away_from(const void* beside, int64_t address) noexcept:
    """How far after `address` a result begins that is made from what lies at `beside`, or NULL.

    A load waits for an earlier store to the same place of another page as if that were the same memory: of depthwise
    rows in NHWC whose pixels are a page apart, up to twice the time.
    """
    if beside == NULL:
        return 0
    return (<int64_t>beside + APART - address) & (PAGE - CACHE_LINE)


cdef object result_memory(int64_t nbytes, str what, const void* beside, int64_t* start):
    """An array of bytes of which `nbytes` from `start` on, the beginning of a cache line, are a result's."""
    global kept_count
    cdef int index = find_kept(nbytes)
    cdef int64_t address
    if index >= 0:
        start[0] = kept[index].start + away_from(beside, kept[index].address)
        put_last(index)
        return <object>kept[kept_count - 1].memory
    try:
        memory = new_memory(nbytes, what)
    except MemoryError:
        forget(RESULT_MEMORY)
        memory = new_memory(nbytes, what)
    address = memory.ctypes.data
    start[0] = -address & (CACHE_LINE - 1)
    address += start[0]
    if LEAST_KEPT <= nbytes <= RESULT_MEMORY:
        forget(nbytes)
        Py_INCREF(memory)
        kept[kept_count] = Kept(<PyObject*>memory, start[0], nbytes, address)
        kept_count += 1
    start[0] += away_from(beside, address)
    return memory


cdef object make_empty(tuple shape, object dtype, int64_t nbytes, str what, const void* beside):
    """A new array for what is made from an array at `beside`.  A large one begins on a cache line: vectors that are
    written across two of them cost up to half of the time where memory is the limit."""
    cdef int64_t start
    if nbytes < ALIGNED_OUTPUT:
        return PyObject_CallFunctionObjArgs(<PyObject*>empty, <PyObject*>shape, <PyObject*>dtype, <PyObject*>NULL)
    memory = result_memory(nbytes, f"the {what} of shape {shape}" if nbytes >= LARGE_OUTPUT else what, beside,
                           &start)
    return ndarray(shape, dtype, memory, start)


def clear_results():
    """Free the memory that is kept for results."""
    forget(RESULT_MEMORY)


def results_held():
    """Return the bytes that are kept for results, or are still a result's."""
    return bytes_kept()
