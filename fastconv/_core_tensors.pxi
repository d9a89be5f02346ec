# Operators on the tensors of a framework that has DLPack's exchange interface: a call that was checked before
# is found again, and computed, without leaving C.  Included by _core.pyx, for torch/.

cdef extern from "Python.h":
    void* PyCapsule_GetPointer(object capsule, const char* name) except NULL
    object PyObject_CallNoArgs(object function)

cdef extern from "base/dlpack.h":
    enum:
        FC_DLPACK_MAJOR
        FC_DLPACK_CPU
        FC_DLPACK_INT
        FC_DLPACK_FLOAT
    const char* FC_DLPACK_CAPSULE

    ctypedef struct fc_dlpack_tensor:
        void* data
        int device_type
        int rank
        unsigned char kind
        unsigned char bits
        int64_t* shape
        int64_t* strides
        unsigned long long offset

    ctypedef struct fc_dlpack_exchange:
        unsigned major
        int (*read)(PyObject*, fc_dlpack_tensor*) noexcept

cdef enum:
    MOST_TENSORS = 3
    SLOTS = 1024
    WAYS = 4                             # slots next to each other that calls of the same shapes share


def alike(a, b):
    """Whether two arguments are equal and of the same types: 1, 1.0 and True are not."""
    return is_alike(a, b)


cdef bint is_alike(object a, object b) except -1:
    cdef Py_ssize_t i, count
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if not isinstance(a, tuple):
        return a == b
    count = len(<tuple>a)
    if count != len(<tuple>b):
        return False
    for i in range(count):
        if not is_alike((<tuple>a)[i], (<tuple>b)[i]):
            return False
    return True


cdef class TensorReader:
    """How to look at a framework's tensors, and at who watches.

    ``tensor_type`` and ``parameter_type`` are taken, subclasses are not.  Any answer to ``questions`` but False,
    None and 0 means that a call has a witness; ``levels._current_level`` is that of forward-mode differentiation.
    ``allocate(shape, strides, dtype)`` makes a result.
    """

    cdef fc_dlpack_exchange* exchange
    cdef object tensor_type, parameter_type, levels, grad_enabled, allocate
    cdef tuple questions

    def __cinit__(self, capsule, tensor_type, parameter_type, tuple questions, levels, grad_enabled, allocate):
        self.exchange = <fc_dlpack_exchange*>PyCapsule_GetPointer(capsule, FC_DLPACK_CAPSULE)
        if self.exchange.major != FC_DLPACK_MAJOR or self.exchange.read == NULL:
            raise ValueError("this version of DLPack's exchange interface is not known")
        self.tensor_type, self.parameter_type, self.questions = tensor_type, parameter_type, questions
        self.levels, self.grad_enabled, self.allocate = levels, grad_enabled, allocate

    def unwatched(self):
        """Whether nobody watches."""
        return not self.watched()

    cdef bint watched(self) except -1:
        cdef Py_ssize_t i
        for i in range(len(self.questions)):
            if PyObject_CallNoArgs(self.questions[i]):
                return True
        return self.levels._current_level >= 0

    cdef bint read(self, object tensor, fc_dlpack_tensor* seen) except -1:
        """False where a tensor does not lie in this memory; if it `is_neg()`, its numbers are the negatives."""
        kind = type(tensor)
        if kind is not self.tensor_type and kind is not self.parameter_type:
            return False
        if self.exchange.read(<PyObject*>tensor, seen) != 0:
            PyErr_Clear()
            return False
        return seen.device_type == FC_DLPACK_CPU and seen.data != NULL and 0 < seen.rank <= MAX_AXES

    cdef uintptr_t address(self, object made) except? 0:
        cdef fc_dlpack_tensor seen
        if self.exchange.read(<PyObject*>made, &seen) != 0:
            raise RuntimeError("a new tensor cannot be read")
        return address_of(&seen)


cdef class TensorCall:
    """An operator with shapes, on tensors: `make` computes the result, or a tuple of two.

    None where the tensors are not these shapes, contiguous, in the layout that was bound; filters may lie in
    either.  ``run`` is that of a `BoundConv` or `BoundPool`, TypeError where it is neither.  ``arrays`` has
    (shape, dtype, channels_last, is a filter) of each tensor, shapes in the framework's order, or None for one
    that is left out; ``results`` has (shape, strides, dtype of the framework).
    """

    cdef TensorReader reader
    cdef int count
    cdef int ranks[MOST_TENSORS]               # 0 for what is left out
    cdef int64_t shapes[MOST_TENSORS][MAX_AXES]
    cdef unsigned char kinds[MOST_TENSORS]
    cdef unsigned char bits[MOST_TENSORS]
    cdef bint last[MOST_TENSORS]
    cdef bint filters[MOST_TENSORS]
    cdef BoundConv conv
    cdef BoundPool pool
    cdef tuple results

    def __cinit__(self, TensorReader reader, run, arrays, results):
        cdef int i, axis
        owner = getattr(run, "__self__", None)
        if isinstance(owner, BoundConv):
            self.conv = owner
        elif isinstance(owner, BoundPool):
            self.pool = owner
        if (self.conv is None and self.pool is None) or len(arrays) > MOST_TENSORS or len(results) > 2:
            raise TypeError("this operator takes no addresses")
        self.reader, self.results, self.count = reader, tuple(results), len(arrays)
        for i, array in enumerate(arrays):
            if array is None:
                continue
            shape, dtype, self.last[i], self.filters[i] = array
            if not 0 < len(shape) <= MAX_AXES:
                raise TypeError("this operator takes no such shapes")
            self.kinds[i] = FC_DLPACK_FLOAT if dtype.kind == "f" else FC_DLPACK_INT
            self.bits[i] = 8 * dtype.itemsize
            self.ranks[i] = len(shape)
            for axis in range(self.ranks[i]):
                self.shapes[i][axis] = shape[axis]

    def make(self, tuple tensors):
        """Compute, recording nothing."""
        cdef fc_dlpack_tensor seen[MOST_TENSORS]
        cdef Py_ssize_t i
        if len(tensors) != self.count:
            return None
        memset(seen, 0, sizeof(seen))
        for i in range(self.count):
            if tensors[i] is not None and (not self.reader.read(tensors[i], &seen[i]) or tensors[i].is_neg()):
                return None
        return self.compute(seen) if self.fits(seen) else None

    cdef bint fits(self, const fc_dlpack_tensor* seen) noexcept:
        cdef int i
        for i in range(self.count):
            if (
                seen[i].rank != self.ranks[i]
                or seen[i].kind != self.kinds[i]
                or seen[i].bits != self.bits[i]
                or (
                    seen[i].rank > 0
                    and (
                        memcmp(seen[i].shape, self.shapes[i], seen[i].rank * sizeof(int64_t)) != 0
                        or not (
                            lies_in_order(&seen[i], self.last[i])
                            or (self.filters[i] and seen[i].rank > 2 and lies_in_order(&seen[i], True))
                        )
                    )
                )
            ):
                return False
        return True

    cdef object compute(self, const fc_dlpack_tensor* seen):
        cdef uintptr_t at[MOST_TENSORS + 2]
        cdef int i
        cdef tuple layout = self.results[0]
        cdef object turned = None                # alive until it has been read; an operator has one filter at most
        for i in range(self.count):
            at[i] = address_of(&seen[i]) if seen[i].rank > 0 else 0
            if self.filters[i] and seen[i].rank > 2 and not lies_in_order(&seen[i], False):
                turned = self.channels_first(&seen[i])
                at[i] = self.reader.address(turned)
        y = self.reader.allocate(layout[0], layout[1], layout[2])
        at[self.count] = self.reader.address(y)
        for i in range(self.count + 1, MOST_TENSORS + 2):
            at[i] = 0
        if len(self.results) == 1:
            self.run(at)
            return y
        layout = self.results[1]
        more = self.reader.allocate(layout[0], layout[1], layout[2])
        at[self.count + 1] = self.reader.address(more)
        self.run(at)
        return y, more

    cdef object channels_first(self, const fc_dlpack_tensor* filters):
        """Filters that lie in channels_last, as the operators read them."""
        cdef fc_error error
        cdef fc_status status
        cdef int axis, rank = filters.rank
        cdef int64_t step = 1, taps = 1
        shape, strides = [filters.shape[axis] for axis in range(rank)], [0] * rank
        for axis in range(rank - 1, -1, -1):
            strides[axis] = step
            step *= filters.shape[axis]
            if axis > 1:
                taps = step
        made = self.reader.allocate(tuple(shape), tuple(strides), self.results[0][2])
        cdef uintptr_t at = self.reader.address(made)
        cdef fc_dtype dtype = FC_F32 if filters.bits == 32 else FC_F64
        with nogil:
            status = fc_channels_first(dtype, filters.shape[0], filters.shape[1], taps, <void*>address_of(filters),
                                       <void*>at, &error)
        check(status, &error)
        return made

    cdef int run(self, const uintptr_t* at) except -1:
        if self.conv is not None:
            self.conv.run(at[0], at[1], at[2], at[3])
        else:
            self.pool.run(at[0], at[1], at[2])
        return 0


cdef class Remembered:
    """A call that was checked: by which arguments, and what is done where it is recorded for gradients."""

    cdef TensorCall call
    cdef tuple given
    cdef bint records
    cdef object bound                    # to record, or None: the framework does, called with `rest`
    cdef tuple rest


cdef class TensorCalls:
    """The calls of one function that were checked, found by shapes and arguments.

    ``record(bound, *tensors)`` computes and records for gradients, ``theirs(*tensors, *rest)`` is the framework's
    own function.
    """

    cdef TensorReader reader
    cdef object record, theirs
    cdef list slots
    cdef int evicted

    def __cinit__(self, TensorReader reader, record, theirs):
        self.reader, self.record, self.theirs = reader, record, theirs
        self.slots = [None] * SLOTS

    def remember(self, TensorCall call, tuple given):
        """Keep a call that nothing is recorded of."""
        self.keep(call, given, False, None, ())

    def remember_recorded(self, TensorCall call, tuple given, bound, tuple rest):
        """Keep one that is recorded: ``bound`` is for ``record``, None where ``theirs`` does it, with ``rest``."""
        self.keep(call, given, True, bound, rest)

    cdef int keep(self, TensorCall call, tuple given, bint records, object bound, tuple rest) except -1:
        cdef Remembered made = Remembered()
        cdef Py_ssize_t way, first = slot_of(call.count, call.ranks, call.shapes, records)
        made.call, made.given, made.records, made.bound, made.rest = call, given, records, bound, rest
        for way in range(WAYS):
            if self.slots[first + way] is None:
                self.slots[first + way] = made
                return 0
        self.evicted = (self.evicted + 1) % WAYS
        self.slots[first + self.evicted] = made
        return 0

    def call(self, tuple tensors, tuple given):
        """Compute, and record what is to be recorded.

        None where it must be looked at: nobody made it before, or since another took its slot; a tensor is no
        plain one in its layout; somebody watches.
        """
        cdef fc_dlpack_tensor seen[MOST_TENSORS]
        cdef int ranks[MOST_TENSORS]
        cdef int64_t shapes[MOST_TENSORS][MAX_AXES]
        cdef int i, count = <int>len(tensors)
        cdef bint records = False
        memset(seen, 0, sizeof(seen))
        for i in range(count):
            tensor = tensors[i]
            if tensor is not None:
                if not self.reader.read(tensor, &seen[i]):
                    return None
                memcpy(shapes[i], seen[i].shape, seen[i].rank * sizeof(int64_t))
                records = records or tensor.requires_grad
            ranks[i] = seen[i].rank
        records = records and self.reader.grad_enabled()
        cdef Remembered made = self.find(seen, count, slot_of(count, ranks, shapes, records), records, given)
        if made is None:
            return None
        if records and made.bound is None:   # whoever watches sees the framework's own call
            return call_theirs(self.theirs, tensors, made.rest)
        if self.reader.watched():
            return None
        for i in range(count):
            if ranks[i] > 0 and tensors[i].is_neg():
                return None
        return self.record(made.bound, *tensors) if records else made.call.compute(seen)

    cdef Remembered find(self, const fc_dlpack_tensor* seen, int count, Py_ssize_t first, bint records, tuple given):
        cdef Remembered made
        cdef Py_ssize_t way
        for way in range(WAYS):
            found = self.slots[first + way]
            if found is None:
                return None
            made = <Remembered>found
            if (
                made.records == records
                and made.call.count == count
                and made.call.fits(seen)
                # What lies in both layouts at once counts as the first.
                and not (made.call.last[0] and lies_in_order(&seen[0], False))
                and is_alike(made.given, given)
            ):
                return made
        return None


# Arguments that are left out take the framework least time.
cdef object call_theirs(object theirs, tuple tensors, tuple rest):
    if len(rest) == 0 and len(tensors) > 0 and tensors[len(tensors) - 1] is None:
        return theirs(*tensors[:len(tensors) - 1])
    return theirs(*tensors, *rest)


cdef uintptr_t address_of(const fc_dlpack_tensor* x) noexcept nogil:
    return <uintptr_t>x.data + x.offset


cdef bint lies_in_order(const fc_dlpack_tensor* x, bint channels_last) noexcept:
    """Whether elements follow each other in memory; the strides of axes of one element do not count."""
    cdef int64_t expected = 1
    cdef int i, axis, rank = x.rank
    for i in range(rank):
        axis = rank - 1 - i
        if channels_last:                # channels, then the axes of the image from the last, then the batch
            axis = 1 if i == 0 else 0 if i == rank - 1 else rank - i
        if x.shape[axis] != 1 and x.strides[axis] != expected:
            return False
        expected *= x.shape[axis]
    return True


# The first of the slots for calls of these shapes.
cdef Py_ssize_t slot_of(int count, const int* ranks, const int64_t (*shapes)[MAX_AXES], bint records) noexcept:
    cdef uintptr_t mixed = records
    cdef int i, axis
    for i in range(count):
        for axis in range(ranks[i]):
            mixed = (mixed ^ <uintptr_t>shapes[i][axis]) * <uintptr_t>0x9E3779B97F4A7C15
            mixed ^= mixed >> 29
    return <Py_ssize_t>(mixed % (SLOTS // WAYS) * WAYS)
