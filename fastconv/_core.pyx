# cython: language_level=3, binding=False, freethreading_compatible=True, auto_pickle=False
# cython: boundscheck=False, wraparound=False, cdivision=True, embedsignature=False
"""Arguments to problem to C: the only Cython, called by conv.py, plan.py and runtime.py.

An argument's type, rank and dtype are checked here, its numbers in C (fc_conv_check).  Arrays are read
through the buffer protocol, so that neither NumPy's headers nor its ABI are compiled in.
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_New, PyTuple_SetItem
from libc.limits cimport INT_MAX
from libc.stdint cimport INT64_MAX, int64_t, uintptr_t
from libc.string cimport memcmp, memcpy, memset, strlen

import operator
import os

import numpy

from fastconv import arrays
from fastconv import padding as padding_helper

cdef extern from *:
    """
    #ifdef __clang__
    #define FC_COMPILER "clang " __clang_version__
    #else
    #define FC_COMPILER "gcc " __VERSION__
    #endif
    """
    const char* FC_COMPILER
    const char* FC_VERSION

cdef extern from "Python.h":
    # Declared without exception clauses: what these raise is cleared and said in other words.
    int PyObject_GetBuffer(object, Py_buffer*, int)
    long long PyLong_AsLongLong(object)
    const char* PyUnicode_AsUTF8AndSize(object, Py_ssize_t*)
    PyObject* PyErr_Occurred()
    void PyErr_Clear()
    object PyObject_CallFunctionObjArgs(PyObject*, ...)

cdef enum:
    MAX_AXES = 5
    # Operations, a few microseconds' worth: below, no other thread would gain by the GIL's release.
    KEEP_GIL_BELOW = 200_000
    # Outputs below this many bytes are not held against the machine's memory.
    LARGE_OUTPUT = 1 << 30
    ALIGNED_OUTPUT = 1 << 18
    CACHE_LINE = 64

cdef object ndarray = numpy.ndarray
cdef object empty = numpy.empty
cdef object float32 = numpy.dtype(numpy.float32)
cdef object float64 = numpy.dtype(numpy.float64)
cdef tuple NAMES = ("conv1d", "conv2d", "conv3d")
cdef tuple CHANNELS_FIRST = ("NCL", "NCHW", "NCDHW")
cdef tuple CHANNELS_LAST = ("NLC", "NHWC", "NDHWC")
cdef object ZEROS = "zeros"
cdef bint exact_mode = False

# Passed as `groups`: as many groups as x has channels.
cdef object each_channel = object()
EACH_CHANNEL = each_channel

include "_core_arguments.pxi"
include "_core_results.pxi"
include "_core_arrays.pxi"


# A call or a plan before it meets memory.
cdef struct Problem:
    fc_conv conv
    bint channels_last, batched


cdef int check_ranks(int spatial, object layout, const View* x, const View* weight, const View* bias,
                     const char* x_name, const char* weight_name) except -1:
    name = NAMES[spatial - 1]
    if x.ndim != spatial + 2 and x.ndim != spatial + 1:
        raise ValueError(
            f"{x_name.decode()} must have {spatial + 2} axes ({layout}), or {spatial + 1} without the batch, for {name}; "
            f"got {seen(x)}"
        )
    if weight.ndim != spatial + 2:
        raise ValueError(
            f"{weight_name.decode()} must have {spatial + 2} axes (out, in / groups, kernel) for {name}; got {seen(weight)}"
        )
    if bias != NULL and (bias.ndim != 1 or bias.shape[0] != weight.shape[0]):
        raise ValueError(
            f"bias must have shape ({weight.shape[0]},), a number for each output channel of weight; "
            f"got {seen(bias)}"
        )
    return 0


cdef inline void place(const int64_t* values, const Problem* p, int64_t* into) noexcept nogil:
    """An array's sizes or steps in C's order: batch, channel, depth, height, width.

    Axes that the array does not have are left as they are.
    """
    cdef int spatial = p.conv.spatial, axis, first = 1 if p.batched else 0
    if p.batched:
        into[FC_N] = values[0]
    into[FC_C] = values[first + spatial] if p.channels_last else values[first]
    if not p.channels_last:
        first += 1
    for axis in range(spatial):
        into[FC_D + 3 - spatial + axis] = values[first + axis]


cdef int make_problem(Problem* p, int spatial, const View* x, const View* weight, const View* bias,
                      object stride, object padding, object dilation, object groups, object padding_mode,
                      object padding_value, object layout, object activation, const char* x_name=b"x",
                      const char* weight_name=b"weight") except -1:
    """Fill in and check everything but the strides of x and y; complaints call them by these names."""
    cdef fc_conv* conv = &p.conv
    cdef fc_error error
    cdef int64_t sizes[FC_AXES]
    cdef int axis, first = 3 - spatial
    memset(p, 0, sizeof(Problem))
    conv.spatial = spatial
    p.channels_last = is_channels_last(layout, spatial)
    conv.x_name = x_name
    conv.weight_name = weight_name
    check_ranks(spatial, layout, x, weight, bias, x_name, weight_name)
    same_dtype(weight, "weight", x.dtype, "x")
    if bias != NULL:
        same_dtype(bias, "bias", x.dtype, "x")
    p.batched = x.ndim == spatial + 2
    sizes[FC_N] = 1
    place(x.shape, p, sizes)
    conv.dtype = x.dtype
    conv.batch = sizes[FC_N]
    conv.in_channels = sizes[FC_C]
    conv.out_channels = weight.shape[0]
    conv.in_per_group = weight.shape[1]
    conv.groups = conv.in_channels if groups is each_channel else integer(groups, "groups")
    for axis in range(spatial):
        conv.in_size[first + axis] = sizes[FC_D + first + axis]
        conv.kernel[first + axis] = weight.shape[2 + axis]
    per_axis(stride, "stride", spatial, conv.stride)
    per_axis(dilation, "dilation", spatial, conv.dilation)
    read_padding(padding, conv)
    read_activation(activation, &conv.activation)
    conv.has_bias = bias != NULL
    conv.exact = exact_mode
    if padding_mode is not ZEROS or padding_value is not 0:
        conv.pad_mode = <fc_pad_mode><int>padding_helper.mode_number(padding_mode, padding_value)
        conv.pad_value = padding_value
    check(fc_conv_check(conv, &error), &error)
    fc_conv_default_strides(conv, p.channels_last)
    return 0


cdef int out_shape(const Problem* p, int64_t* sizes) noexcept nogil:
    """The result's shape in the user's layout; returns the number of axes."""
    cdef const fc_conv* conv = &p.conv
    cdef int count = 0, axis
    if p.batched:
        sizes[count] = conv.batch
        count += 1
    if not p.channels_last:
        sizes[count] = conv.out_channels
        count += 1
    for axis in range(3 - conv.spatial, 3):
        sizes[count] = conv.out_size[axis]
        count += 1
    if p.channels_last:
        sizes[count] = conv.out_channels
        count += 1
    return count


cdef int take_out(object out, const Problem* p, View* view) except -1:
    cdef int64_t sizes[MAX_AXES]
    cdef int count = out_shape(p, sizes)
    return check_out(out, sizes, count, p.conv.dtype, "result", view)


cdef object new_out(const Problem* p, const View* x, View* view):
    cdef int64_t sizes[MAX_AXES]
    cdef int count = out_shape(p, sizes)
    return new_array(sizes, count, p.conv.dtype, "output", x.data, view)


cdef inline bint is_small(const fc_conv* conv) noexcept nogil:
    return conv.flops + 16.0 * conv.batch * conv.out_channels * conv.out_pixels < KEEP_GIL_BELOW


def conv(int spatial, x, weight, bias, stride, padding, dilation, groups, padding_mode, padding_value, layout,
         activation, algorithm, out):
    """Convolve: conv1d, conv2d and conv3d of conv.py, with every argument given."""
    cdef Problem p
    cdef View vx, vw, vb, vy
    cdef View* has_bias = NULL
    cdef fc_error error
    cdef fc_status status
    cdef const char* name = algorithm_name(algorithm)
    given = x, weight, bias
    x = take(x, "x", &vx, False)
    weight = take(weight, "weight", &vw, True)
    if bias is not None:
        bias = take(bias, "bias", &vb, True)
        has_bias = &vb
    make_problem(&p, spatial, &vx, &vw, has_bias, stride, padding, dilation, groups, padding_mode,
                 padding_value, layout, activation)
    cdef void* bias_data = vb.data if has_bias != NULL else NULL
    if out is None:
        out = new_out(&p, &vx, &vy)
    else:
        take_out(out, &p, &vy)
        no_overlap(out, &vy, given[0], x, &vx, "x")
        no_overlap(out, &vy, given[1], weight, &vw, "weight")
        if has_bias != NULL:
            no_overlap(out, &vy, given[2], bias, &vb, "bias")
        place(vy.step, &p, p.conv.y_stride)
    place(vx.step, &p, p.conv.x_stride)
    if is_small(&p.conv):
        status = fc_conv_forward(&p.conv, name, vx.data, vw.data, bias_data, vy.data, &error)
    else:
        with nogil:
            status = fc_conv_forward(&p.conv, name, vx.data, vw.data, bias_data, vy.data, &error)
    check(status, &error)
    return out


cdef class Plan:
    """A problem with its algorithm, prepared weights and bias: what plan.py's classes add words to."""

    cdef fc_plan plan
    cdef Problem problem
    cdef View x_view, weight_view, bias_view
    cdef fc_isa isa_used
    cdef readonly object weight, bias, padding_mode, padding_value, layout, activation
    cdef readonly tuple x_shape

    def __cinit__(self, int spatial, x_shape, weight, bias, stride, padding, dilation, groups, padding_mode,
                  padding_value, layout, activation, algorithm):
        cdef View* vb = NULL
        cdef fc_error error
        cdef int axis
        cdef const char* name = algorithm_name(algorithm)
        # Copies, so that what is written to the caller's arrays later cannot reach half of a plan.
        self.weight = own(weight, "weight", &self.weight_view)
        if bias is not None:
            self.bias = own(bias, "bias", &self.bias_view)
            vb = &self.bias_view
        sizes = sequence(x_shape)
        if sizes is None:
            raise TypeError(f"x_shape must be a tuple of integers, got {kind(x_shape)} {short(x_shape)}")
        self.x_view.ndim = len(sizes)
        self.x_view.dtype = self.weight_view.dtype
        for axis in range(min(self.x_view.ndim, <int>MAX_AXES)):
            self.x_view.shape[axis] = integer(sizes[axis], "x_shape")
        make_problem(&self.problem, spatial, &self.x_view, &self.weight_view, vb, stride, padding, dilation,
                     groups, padding_mode, padding_value, layout, activation)
        self.x_shape = shape_of(&self.x_view)
        self.padding_mode = padding_mode
        self.padding_value = padding_value
        self.layout = layout
        self.activation = activation
        self.isa_used = fc_dispatch_isa()
        check(fc_plan_init(&self.plan, &self.problem.conv, name, self.weight_view.data, &error), &error)

    def __dealloc__(self):
        fc_plan_free(&self.plan)

    def __call__(self, x, out=None):
        cdef View vx, vy
        cdef int64_t x_stride[FC_AXES]
        cdef int64_t y_stride[FC_AXES]
        cdef const Problem* p = &self.problem
        cdef const void* weight = self.weight_view.data
        cdef const void* bias = self.bias_view.data
        cdef fc_error error
        cdef fc_status status
        given = x
        x = take(x, "x", &vx, False)
        same_dtype(&vx, "x", p.conv.dtype, "this plan's weight")
        if vx.ndim != self.x_view.ndim or memcmp(vx.shape, self.x_view.shape, vx.ndim * sizeof(int64_t)) != 0:
            raise ValueError(f"x has shape {x.shape}; this plan was made for {self.x_shape}")
        memcpy(x_stride, p.conv.x_stride, sizeof(x_stride))
        memcpy(y_stride, p.conv.y_stride, sizeof(y_stride))
        if out is None:
            out = new_out(p, &vx, &vy)
        else:
            take_out(out, p, &vy)
            no_overlap(out, &vy, given, x, &vx, "x")
            place(vy.step, p, y_stride)
        place(vx.step, p, x_stride)
        if is_small(&p.conv):
            status = fc_plan_run(&self.plan, vx.data, x_stride, weight, bias, vy.data, y_stride, &error)
        else:
            with nogil:
                status = fc_plan_run(&self.plan, vx.data, x_stride, weight, bias, vy.data, y_stride, &error)
        check(status, &error)
        return out

    def run(self, uintptr_t x, uintptr_t y):
        """Compute from one address to another: contiguous arrays of the plan's shapes."""
        cdef const fc_conv* conv = &self.problem.conv
        cdef const void* weight = self.weight_view.data
        cdef const void* bias = self.bias_view.data
        cdef fc_error error
        cdef fc_status status
        if is_small(conv):
            status = fc_plan_run(&self.plan, <void*>x, conv.x_stride, weight, bias, <void*>y, conv.y_stride, &error)
        else:
            with nogil:
                status = fc_plan_run(&self.plan, <void*>x, conv.x_stride, weight, bias, <void*>y, conv.y_stride,
                                     &error)
        check(status, &error)

    @property
    def algorithm(self):
        """Name of the algorithm that the plan uses."""
        return self.plan.algorithm.name.decode()

    @property
    def isa(self):
        """Instruction set of the kernels that the plan uses."""
        return fc_isa_name(self.isa_used).decode()

    @property
    def spatial(self):
        """1, 2 or 3."""
        return self.problem.conv.spatial

    @property
    def stride(self):
        """One integer per axis."""
        return tuple([self.problem.conv.stride[axis] for axis in range(3 - self.problem.conv.spatial, 3)])

    @property
    def dilation(self):
        """One integer per axis."""
        return tuple([self.problem.conv.dilation[axis] for axis in range(3 - self.problem.conv.spatial, 3)])

    @property
    def padding(self):
        """A (before, after) pair per axis."""
        cdef const Problem* p = &self.problem
        return tuple([
            (p.conv.pad_before[axis], p.conv.pad_after[axis])
            for axis in range(3 - p.conv.spatial, 3)
        ])

    @property
    def groups(self):
        """Groups of channels."""
        return self.problem.conv.groups

    @property
    def out_shape(self):
        """Shape of what a call returns."""
        cdef int64_t sizes[MAX_AXES]
        return make_shape(sizes, out_shape(&self.problem, sizes))

    @property
    def dtype(self):
        """Dtype of weight, x and the result."""
        return float32 if self.problem.conv.dtype == FC_F32 else float64

    @property
    def flops(self):
        """Multiplications and additions of one call, those with padding counted."""
        return self.problem.conv.flops

    @property
    def prepared_bytes(self):
        """Memory of the prepared weights."""
        return self.plan.prepared_bytes

    @property
    def seen_every(self):
        """How far apart the pixels are that outputs see, where all others are left out; ones where none is."""
        cdef const fc_plan* plan = &self.plan
        return tuple([plan.thin.every[axis] if plan.thins else 1 for axis in range(3 - plan.conv.spatial, 3)])

    @property
    def met_kernel(self):
        """Size of the part of the kernel that meets more than padding."""
        cdef const fc_conv* conv = &self.plan.conv
        return tuple([conv.kernel[axis] for axis in range(3 - conv.spatial, 3)])

    def candidates(self):
        """Return what every algorithm says of this problem, as dicts."""
        cdef const fc_conv* conv = &self.plan.conv
        cdef const fc_algorithm* a
        cdef const char* reason
        cdef char text[200]
        cdef int index = 0
        found = []
        while fc_algorithms[index] != NULL:
            a = fc_algorithms[index]
            index += 1
            entry = {"name": a.name.decode(), "summary": a.summary.decode(), "reason": None}
            found.append(entry)
            reason = a.supports(conv)
            if reason != NULL:
                entry["reason"] = reason.decode()
                continue
            text[0] = 0
            a.describe(conv, self.plan.table, text, sizeof(text))
            entry["seconds"] = a.cost(conv, fc_machine_for(conv.dtype), True)
            entry["call_seconds"] = a.cost(conv, fc_machine_for(conv.dtype), False)
            entry["scratch"] = a.scratch(conv, self.plan.table)
            entry["prepared"] = a.prepared_size(conv, self.plan.table) if a.prepared_size != NULL else 0
            entry["error"] = fc_algorithm_error(a, conv)
            entry["tile"] = text.decode()
        return found


include "_core_pool.pxi"
include "_core_grad.pxi"
include "_core_bound.pxi"
include "_core_tensors.pxi"
include "_core_xla.pxi"
include "_core_runtime.pxi"
