"""Padding of other kinds than zeros: its names, for `_core`, and padded copies, for filters.py.

With an input of `a b c d`::

    mode         before      input     after
    constant      v v v  |  a b c d  |  v v v      v: padding_value
    replicate     a a a  |  a b c d  |  d d d      also "edge"
    reflect       d c b  |  a b c d  |  c b a      the edge is not repeated
    symmetric     c b a  |  a b c d  |  d c b      the edge is repeated
    circular      b c d  |  a b c d  |  a b c      also "wrap"
"""

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
_NUMBERS = {"zeros": 0, "constant": 1, "edge": 2, "reflect": 3, "symmetric": 4, "wrap": 5}  # fc_pad_mode in C


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


def mode_number(mode: Any, value: Any) -> int:
    """Return C's number of a `padding_mode`, checked as by `check_mode`."""
    check_mode(mode, value)
    return _NUMBERS["zeros" if mode == "zeros" else _NUMPY_MODES[mode]]


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
