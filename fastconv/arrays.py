"""What is asked of arrays off the fast path: foreign ones viewed, dtypes refused, memory and overlap checked.

Called by `_core` where an argument is no plain ndarray of native float32 or float64.
"""

import os
from typing import Any, cast

import numpy as np
import numpy.typing as npt

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_LARGE = 1 << 30  # bytes; anything below is left to the allocator
_ARRAY_ATTRIBUTES = ("__array_interface__", "__array_struct__", "__array__")


def as_ndarray(value: Any, name: str) -> npt.NDArray[Any]:
    """View an array of another library as an ndarray, without a copy.

    Parameters
    ----------
    value : object
        Anything with a buffer, ``__array_interface__``, ``__array_struct__``, ``__array__`` or CPU DLPack.
    name : str
        The argument's name, for errors.

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    TypeError
        If it has none of them, lives on another device, or records gradients.
    """
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if getattr(value, "requires_grad", False) is True:
        raise TypeError(f"{name} requires a gradient, which is not recorded here: pass {name}.detach()")
    if isinstance(value, (list, tuple, int, float)):
        raise TypeError(
            f"{name} must be an array, got {type(value).__name__}: pass np.asarray({name}, np.float32)"
        )
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array_interface__"):
            return np.from_dlpack(value)
        if any(hasattr(value, attribute) for attribute in _ARRAY_ATTRIBUTES):
            return np.asarray(value)
        return np.asarray(memoryview(value))
    except Exception as error:
        raise TypeError(
            f"{name} must be an array that NumPy can view without a copy (a buffer, __array_interface__ or "
            f"CPU DLPack), got {type(value).__name__}: {error}"
        ) from error


def float_dtype(array: npt.NDArray[Any], name: str) -> np.dtype[Any]:
    """Return float32 or float64 in native byte order, whichever `array` has in any byte order.

    Raises
    ------
    TypeError
        For every other dtype; the message names the cast.
    """
    native = array.dtype.newbyteorder("=")
    for dtype in _FLOATS:
        if native == dtype:
            return dtype
    raise TypeError(
        f"{name} has dtype {array.dtype}; convolution takes float32 and float64: "
        f"cast with {name}.astype(np.float32)"
    )


def check_memory(nbytes: int, what: str) -> None:
    """Raise MemoryError for more bytes than this machine has.

    Where memory is overcommitted, nobody else would say so before it is written to.
    """
    if nbytes >= _LARGE and nbytes > (memory := _memory_and_swap()):
        raise MemoryError(f"{what} takes {nbytes} bytes; this machine has {memory} bytes of memory")


def _memory_and_swap() -> int:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 1 << 47  # what an address can reach on today's 64-bit processors
    try:
        with open("/proc/meminfo") as lines:
            swap = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("SwapTotal"))
    except OSError:
        swap = memory  # unknown, as on macOS, where it grows as needed
    return memory + swap


def native_copy(array: npt.NDArray[Any], dtype: np.dtype[Any], name: str) -> npt.NDArray[Any]:
    """Return a new C-contiguous, aligned array of `dtype`; MemoryError names the argument."""
    check_memory(array.size * dtype.itemsize, f"{name}: a contiguous copy of shape {array.shape}")
    return np.array(array, dtype=dtype, order="C", copy=True, subok=False)


def shares_memory(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Return whether two arrays have a byte in common, or are too intricate to tell."""
    try:
        return np.shares_memory(a, b, max_work=cast(Any, 1_000_000))
    except RuntimeError:
        return True


def overlaps_itself(array: npt.NDArray[Any]) -> bool:
    """Return whether two elements of `array` have one address, as in a broadcast view.

    Examples
    --------
    >>> import numpy as np
    >>> overlaps_itself(np.zeros((4, 6))[::-1, ::2])
    False
    >>> overlaps_itself(np.broadcast_to(np.zeros(3), (2, 3)))
    True
    """
    axes = [(abs(step), size) for step, size in zip(array.strides, array.shape, strict=True) if size != 1]
    if array.size == 0:
        return False
    reach = array.itemsize  # of the finer axes together
    for step, size in sorted(axes):
        if step < reach:
            break
        reach += (size - 1) * step
    else:
        return False
    if any(step < array.itemsize for step, _ in axes):
        return True
    # Axes may interleave without meeting: all addresses are compared.
    addresses = np.zeros(1, np.int64)
    for step, size in axes:
        addresses = np.add.outer(addresses, np.arange(size) * step).ravel()
    return bool(np.diff(np.sort(addresses)).min() < array.itemsize)
