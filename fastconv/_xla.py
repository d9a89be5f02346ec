"""The way from XLA to an operator: a handler of XLA's foreign function interface.

Imported by fastconv/jax.py, which registers the handler at `ADDRESS`.  XLA calls it with the addresses of
buffers of a compiled program, and operators read and write just there.

The interface is a C one of plain structs, described in xla/ffi/api/c_api.h.  What is read of it here has been
the same since its first version, and is safe to read in a later one: fields and functions are only ever added
at an end while the major version stays what it is, and structs say how large they are.  A runtime that says
otherwise is answered with an error when it first asks who we are, long before there are buffers, and jax.py
goes another way.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_int, c_int64, c_uint32, c_void_p
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastconv import _core
from fastconv.operators import Operator, Spec, get

__all__ = ["ADDRESS", "TARGET", "describe", "read"]

TARGET = "fastconv"  # the handler's name in compiled programs

# Structs are read as what they are made of on every 64-bit machine: words of 8 bytes, of these numbers.
FRAME_WORDS, BUFFER_WORDS, SPAN_WORDS, EXTENSION_WORDS = 21, 4, 2, 4
FRAME_SIZE, FRAME_EXTENSION, FRAME_API = 0, 1, 2
FRAME_ARG_COUNT, FRAME_ARGS, FRAME_RET_COUNT, FRAME_RETS, FRAME_ATTRS = 7, 9, 12, 14, 20
BUFFER_DATA = 3
EXTENSION_TYPE, EXTENSION_NEXT, EXTENSION_METADATA = 1, 2, 3
METADATA_VERSION, METADATA_TRAITS = 3, 4
API_VERSION, API_ERROR_CREATE = 4, 6

METADATA_EXTENSION, MAJOR_VERSION = 1, 0
SILENT_VERSION = (0, 1)  # what asks for a version without saying its own
INVALID_ARGUMENT, RESOURCE_EXHAUSTED = 3, 8

_Frame, _Buffer, _Span, _Extension = (
    c_int64 * words for words in (FRAME_WORDS, BUFFER_WORDS, SPAN_WORDS, EXTENSION_WORDS)
)
_memory_view = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_view.restype = ctypes.py_object
_memory_view.argtypes = (c_void_p, ctypes.c_ssize_t, c_int)
_WRITABLE = 0x200  # PyBUF_WRITE


class ErrorCreateArgs(ctypes.Structure):
    """XLA_FFI_Error_Create_Args."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension_start", c_void_p),
        ("message", ctypes.c_char_p),
        ("code", c_int),
    )


_ErrorCreate = ctypes.CFUNCTYPE(c_void_p, ctypes.POINTER(ErrorCreateArgs))


# --- Calls that compiled programs contain -----------------------------------------------------------------


class Prepared(NamedTuple):
    """A call of an operator, checked."""

    absent: tuple[int, ...]  # which optional arrays are left out
    compute: Callable[..., None]  # from addresses of all arrays, 0 for absent ones, and of the results


def describe(
    operator: Operator, options: Mapping[str, Any], arrays: Sequence[Any], results: Sequence[Any]
) -> str:
    """Write down a call: the operator, its canonical options, shape and dtype of every array and result.

    It becomes part of the compiled program, which may be kept on disk and run by another process.
    """
    every = [None if a is None else (a.shape, np.dtype(a.dtype).name) for a in (*arrays, *results)]
    return json.dumps([operator.name, dict(options), every])


@lru_cache(maxsize=4096)
def read(description: bytes) -> Prepared:
    """Prepare the call that `describe` wrote down.

    Raises
    ------
    TypeError, ValueError
        If the operator refuses it.
    """
    name, options, every = json.loads(description)
    operator = get(name)
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    given = [None if spec is None else Spec(tuple(spec[0]), np.dtype(spec[1])) for spec in every]
    arrays = given[: len(operator.arrays)]
    # JAX has no 64-bit types unless told to: an index is then shorter in the program than in the operator.
    own = [s and Spec(s.shape, np.dtype(a.dtype or s.dtype)) for a, s in zip(operator.arrays, arrays)]
    specs = {a.name: spec for a, spec in zip(operator.arrays, own) if spec is not None}
    wanted = (*own, *operator.shape(specs, options))
    absent = tuple(position for position, spec in enumerate(arrays) if spec is None)
    compute = _from_addresses(operator, specs, options, wanted)
    if list(wanted) != given:
        compute = _converting(compute, len(arrays), given, wanted)
    return Prepared(absent, compute)


def _from_addresses(
    operator: Operator, specs: Mapping[str, Spec], options: Mapping[str, Any], every: Sequence[Spec | None]
) -> Callable[..., None]:
    """Make what computes an operator from addresses."""
    if operator.bound is not None:
        return operator.bound(specs, options)

    def compute(*addresses: int) -> None:
        views = [_view(address, spec) for address, spec in zip(addresses, every)]
        first, *rest = views[len(operator.arrays) :]
        made = operator.forward(*views[: len(operator.arrays)], out=first, **options)
        for out, value in zip(rest, made[1:] if rest else ()):
            out[...] = value

    return compute


def _converting(
    compute: Callable[..., None], inputs: int, given: Sequence[Spec | None], wanted: Sequence[Spec | None]
) -> Callable[..., None]:
    """Let arrays and results be of other dtypes than the operator has them."""

    def convert(*addresses: int) -> None:
        views = [_view(address, spec) for address, spec in zip(addresses, given)]
        others = [
            v if v is None or s is None else v.astype(s.dtype, copy=False) for v, s in zip(views, wanted)
        ]
        compute(*(0 if array is None else array.ctypes.data for array in others))
        for view, other in zip(views[inputs:], others[inputs:]):
            if other is not view:
                view[...] = other

    return convert


def _view(address: int, spec: Spec | None) -> Any:
    if spec is None:
        return None
    size = math.prod(spec.shape) * spec.dtype.itemsize
    if size == 0:
        return np.empty(spec.shape, spec.dtype)
    return np.ndarray(spec.shape, spec.dtype, _memory_view(address, size, _WRITABLE))


# --- The handler ------------------------------------------------------------------------------------------


def _handle(address: int) -> int:
    """XLA_FFI_Handler: return NULL, or an error that the runtime then owns."""
    frame = _Frame.from_address(address)[:]
    try:
        extension = frame[FRAME_EXTENSION]
        while extension:
            words = _Extension.from_address(extension)[
                :
            ]  # a pointer to a struct follows in every one there is
            if words[EXTENSION_TYPE] & 0xFFFFFFFF == METADATA_EXTENSION:
                _agree(frame, words[EXTENSION_METADATA])
                return 0
            extension = words[EXTENSION_NEXT]
        prepared = read(_attribute(frame))
        addresses = _addresses(frame[FRAME_ARG_COUNT], frame[FRAME_ARGS])
        for position in prepared.absent:
            addresses.insert(position, 0)
        prepared.compute(*addresses, *_addresses(frame[FRAME_RET_COUNT], frame[FRAME_RETS]))
    except BaseException as error:  # nothing may be thrown through XLA's own frames
        return _error(frame, error)
    return 0


def _attribute(frame: Sequence[int]) -> bytes:
    """The one attribute that calls have: their description."""
    text, length = _Span.from_address(c_int64.from_address(frame[FRAME_ATTRS]).value)[:]
    return ctypes.string_at(text, length)


def _addresses(count: int, buffers: int) -> list[int]:
    if count == 0:
        return []
    return [
        _Buffer.from_address(buffer)[BUFFER_DATA] for buffer in (c_int64 * count).from_address(buffers)[:]
    ]


def _agree(frame: Sequence[int], metadata: int) -> None:
    """Answer the runtime's question for our version with its own, if it is one that can be read here."""
    api = frame[FRAME_API]
    major, minor = (c_int * 2).from_address(api + 8 * API_VERSION) if api else SILENT_VERSION
    if major != MAJOR_VERSION or frame[FRAME_SIZE] < 8 * FRAME_WORDS:
        raise RuntimeError(f"XLA's foreign function interface {major}.{minor} is not known to fastconv")
    answer = (c_int * 2).from_address(metadata + 8 * METADATA_VERSION)
    answer[0], answer[1] = major, minor
    c_uint32.from_address(metadata + 8 * METADATA_TRAITS).value = 0


def _error(frame: Sequence[int], error: BaseException) -> int:
    if not frame[FRAME_API]:
        return 0  # the version that was not answered is refused as well
    code = RESOURCE_EXHAUSTED if isinstance(error, MemoryError) else INVALID_ARGUMENT
    message = f"fastconv: {type(error).__name__}: {error}".encode()
    create = _ErrorCreate(c_int64.from_address(frame[FRAME_API] + 8 * API_ERROR_CREATE).value)
    arguments = ErrorCreateArgs(ctypes.sizeof(ErrorCreateArgs), None, message, code)
    return create(ctypes.byref(arguments)) or 0


ADDRESS = _core.xla_entry(_handle)
