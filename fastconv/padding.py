"""Padding of other kinds than zeros: a padded copy, which is then convolved without padding.

Called by `_core` for every `padding_mode` but ``"zeros"``.  With an input of `a b c d`::

    mode         before      input     after
    constant      v v v  |  a b c d  |  v v v      v: padding_value
    replicate     a a a  |  a b c d  |  d d d      also "edge"
    reflect       d c b  |  a b c d  |  c b a      the edge is not repeated
    symmetric     c b a  |  a b c d  |  d c b      the edge is repeated
    circular      b c d  |  a b c d  |  a b c      also "wrap"
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

_NUMPY_MODES = {
    "constant": "constant",
    "replicate": "edge",
    "edge": "edge",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "circular": "wrap",
    "wrap": "wrap",
}
_AXES = ("depth", "height", "width")


def check_mode(mode: Any, value: Any) -> bool:
    """Check `padding_mode` and `padding_value`; return whether they ask for more than zeros.

    Raises
    ------
    TypeError
        If `mode` is no string or `value` no number.
    ValueError
        If `mode` is unknown, or a value comes with another mode than ``"constant"``.
    """
    if not isinstance(mode, str):
        raise TypeError(f"padding_mode must be a string, got {type(mode).__name__}")
    if mode != "zeros" and mode not in _NUMPY_MODES:
        names = ", ".join(f'"{name}"' for name in ("zeros", *_NUMPY_MODES))
        raise ValueError(f'padding_mode must be one of {names}, got "{mode}"')
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__") or np.ndim(value) != 0:
        raise TypeError(f"padding_value must be a number, got {type(value).__name__}")
    if mode != "constant" and value != 0:
        raise ValueError(f'padding_value is for padding_mode="constant"; got {value} with "{mode}"')
    return mode != "zeros" and not (mode == "constant" and value == 0)


def check_width(mode: str, axis: int, size: int, before: int, after: int) -> int:
    """Check how far one axis is padded; return its padded size.

    Parameters
    ----------
    mode : str
        A `padding_mode` that `check_mode` took.
    axis : int
        0, 1 or 2: depth, height or width.
    size, before, after : int
        Pixels along the axis, and of padding on its two sides.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If a width is negative or the mode cannot reach so far.
    """
    asked = f"({before}, {after}) for {_AXES[axis]}"
    if before < 0 or after < 0:
        raise ValueError(f"padding must not be negative, got {asked}")
    if size + before + after > 2**59:
        raise ValueError(f"padding {asked} is too large for a 64-bit size")
    kind = _NUMPY_MODES[mode]
    if kind == "edge" and size < 1 and before + after > 0:
        raise ValueError(f'padding_mode="{mode}" needs a pixel to repeat; x has {_AXES[axis]} {size}')
    if kind == "reflect" and max(before, after) > max(size - 1, 0):
        raise ValueError(f'padding_mode="{mode}" needs padding smaller than x, got {asked} {size}')
    if kind in {"symmetric", "wrap"} and max(before, after) > size:
        raise ValueError(f'padding_mode="{mode}" needs padding no larger than x, got {asked} {size}')
    return size + before + after


def pad(x: npt.NDArray[Any], widths: Sequence[tuple[int, int]], mode: str, value: float) -> npt.NDArray[Any]:
    """Return a padded copy of `x`.

    Parameters
    ----------
    x : numpy.ndarray
        Any array of a float dtype.
    widths : sequence of (int, int)
        Padding before and after, for each axis of `x`.
    mode : str
        A `padding_mode` other than ``"zeros"``.
    value : float
        What ``"constant"`` pads with.

    Returns
    -------
    numpy.ndarray

    Examples
    --------
    >>> import numpy as np
    >>> pad(np.array([1.0, 2.0, 3.0]), [(2, 1)], "reflect", 0)
    array([3., 2., 1., 2., 3., 2.])
    >>> pad(np.array([1.0, 2.0, 3.0]), [(2, 1)], "constant", 9)
    array([9., 9., 1., 2., 3., 9.])
    """
    if mode == "constant":
        return np.pad(x, widths, mode="constant", constant_values=value)
    return np.pad(x, widths, mode=cast(Any, _NUMPY_MODES[mode]))


def padded_bytes(x: npt.NDArray[Any], widths: Sequence[tuple[int, int]]) -> int:
    """Return the size of what `pad` would return."""
    sizes: list[int] = [size + sum(width) for size, width in zip(x.shape, widths, strict=True)]
    return math.prod(sizes) * x.itemsize
