"""Pooling: names, defaults and docstrings.  `_core` does the checking and computing.

Windows are placed as torch places them.  Output o of an axis sees the inputs ``o * stride - padding + k *
dilation`` for k below kernel_size; inputs outside x are skipped.  Gradients are in pool_grad.py.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fastconv import _core
from fastconv.conv import Padding, Sizes, depthwise_conv2d
from fastconv.plan import plan_conv2d

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "stochastic_pool2d",
    "weighted_avg_pool2d",
]

Array: TypeAlias = npt.NDArray[Any]
OutputSize: TypeAlias = int | None | Sequence[int | None]


def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Any:
    """Take the largest pixel of each window.

    ::

        y[n, c, p, q] = max over i, j of x[n, c, p * s0 - p0 + i * d0, q * s1 - p1 + j * d1]

    over the pixels that lie inside `x`.  NaN is larger than everything.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, height, width), or (batch, height, width, channels) with
        ``layout="NHWC"``; the batch axis may be left out.  float32, float64 or any
        integer type.
    kernel_size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        Step between windows; by default `kernel_size`.
    padding : int, sequence or str
        Pixels around each image that never win: one integer, one per axis, or a (before, after) pair per
        axis, each less than the window's reach; ``"valid"``, ``"same"``, ``"same_lower"`` as in `conv2d`.
    dilation : int or (int, int)
        Distance between neighbouring pixels of a window.
    ceil_mode : bool
        Round the output's size up: the last window may end outside, but begins inside `x` or in the
        padding before it.
    return_indices : bool
        Also return where the largest are: among equals the first, of several NaN the last.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x` and of the result.
    out : ndarray, optional
        Array to write to, of the result's shape and dtype, sharing no memory with `x`.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        `out`, or a new array in `layout`; then the indices: int64, of the same shape, counted within one
        (channel, image) plane.  A window without a pixel, which dilation and padding can make, has -inf or
        the least integer, and -1.

    Raises
    ------
    TypeError
        If a dtype or the type of an argument is wrong.
    ValueError
        If numbers do not fit together; the message names the argument.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> fastconv.max_pool2d(x, 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    >>> fastconv.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)[1]
    array([[[[ 5,  7],
             [13, 15]]]])
    """
    return _core.max_pool(
        2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out, False
    )


def max_pool1d(
    x: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCL",
    out: Array | None = None,
) -> Any:
    """Take the largest of each window: `max_pool2d` with one axis.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, length),
        or (batch, length, channels) with ``layout="NLC"``.
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out
        As in `max_pool2d`.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        The maxima, and their indices with `return_indices`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.max_pool1d(np.arange(8.0).reshape(1, 1, 8), 2).shape
    (1, 1, 4)
    """
    return _core.max_pool(
        1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out, False
    )


def max_pool3d(
    x: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Any:
    """Take the largest of each window: `max_pool2d` with three axes.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, depth, height, width),
        or (batch, depth, height, width, channels) with ``layout="NDHWC"``.
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out
        As in `max_pool2d`.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        The maxima, and their indices with `return_indices`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.max_pool3d(np.arange(64.0).reshape(1, 1, 4, 4, 4), 2).shape
    (1, 1, 2, 2, 2)
    """
    return _core.max_pool(
        3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out, False
    )


def avg_pool2d(
    x: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Sizes = 1,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Average each window.

    ::

        y[n, c, p, q] = sum over i, j of x[n, c, p * s0 - p0 + i * d0, q * s1 - p1 + j * d1] / count

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, height, width), or (batch, height, width, channels) with
        ``layout="NHWC"``; the batch axis may be left out.  float32 or float64.
    kernel_size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        Step between windows; by default `kernel_size`.
    padding : int, sequence or str
        Pixels around each image that count as zeros: one integer, one per axis, or a (before, after) pair per
        axis, each less than the window's reach; ``"valid"``, ``"same"``, ``"same_lower"`` as in `conv2d`.
    ceil_mode : bool
        Round the output's size up: the last window may end outside, but begins inside `x` or in the
        padding before it.
    count_include_pad : bool
        Whether `count` includes padding (but never what `ceil_mode` adds after it).
    divisor_override : int, optional
        Divide by this instead of `count`; 1 makes sums.
    dilation : int or (int, int)
        Distance between neighbouring pixels of a window.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x` and of the result.
    out : ndarray, optional
        Array to write to, of the result's shape and dtype, sharing no memory with `x`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Raises
    ------
    TypeError
        If a dtype or the type of an argument is wrong.
    ValueError
        If numbers do not fit together; the message names the argument.

    Notes
    -----
    With ``count_include_pad=False`` a window without a pixel is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> fastconv.avg_pool2d(x, 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    >>> fastconv.avg_pool2d(np.ones((1, 1, 3, 3)), 3, stride=2, padding=1, count_include_pad=False)
    array([[[[1., 1.],
             [1., 1.]]]])
    """
    return _core.avg_pool(
        2,
        x,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        dilation,
        layout,
        out,
        False,
    )


def avg_pool1d(
    x: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Sizes = 1,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Average each window: `avg_pool2d` with one axis.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, length),
        or (batch, length, channels) with ``layout="NLC"``.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, layout, out
        As in `avg_pool2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.avg_pool1d(np.arange(8.0).reshape(1, 1, 8), 2).ravel()[:3]
    array([0.5, 2.5, 4.5])
    """
    return _core.avg_pool(
        1,
        x,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        dilation,
        layout,
        out,
        False,
    )


def avg_pool3d(
    x: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Sizes = 1,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Average each window: `avg_pool2d` with three axes.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, depth, height, width),
        or (batch, depth, height, width, channels) with ``layout="NDHWC"``.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, layout, out
        As in `avg_pool2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.avg_pool3d(np.arange(64.0).reshape(1, 1, 4, 4, 4), 2).ravel()[:3]
    array([10.5, 12.5, 18.5])
    """
    return _core.avg_pool(
        3,
        x,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        dilation,
        layout,
        out,
        False,
    )


def lp_pool2d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Take the Lp norm of each window.

    ::

        y[n, c, p, q] = (sum over i, j of |x[n, c, p * s0 - p0 + i * d0, q * s1 - p1 + j * d1]| ** norm_type)
                        ** (1 / norm_type)

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, height, width), or (batch, height, width, channels) with
        ``layout="NHWC"``; the batch axis may be left out.  float32 or float64.
    norm_type : float
        Order of the norm: any positive number.  1 and 2 are fast.
    kernel_size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        Step between windows; by default `kernel_size`.
    padding : int, sequence or str
        Pixels around each image that count as zeros: one integer, one per axis, or a (before, after) pair per
        axis, each less than the window's reach; ``"valid"``, ``"same"``, ``"same_lower"`` as in `conv2d`.
    ceil_mode : bool
        Round the output's size up: the last window may end outside, but begins inside `x` or in the
        padding before it.
    dilation : int or (int, int)
        Distance between neighbouring pixels of a window.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x` and of the result.
    out : ndarray, optional
        Array to write to, of the result's shape and dtype, sharing no memory with `x`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Raises
    ------
    TypeError
        If a dtype or the type of an argument is wrong.
    ValueError
        If numbers do not fit together; the message names the argument.

    Notes
    -----
    Absolute values are taken for odd orders too, and windows that `ceil_mode` cuts off are not scaled up; torch
    does neither.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.lp_pool2d(np.array([[[3.0, 4.0], [0.0, 0.0]]]), 2, 2)
    array([[[5.]]])
    """
    return _core.lp_pool(2, x, norm_type, kernel_size, stride, ceil_mode, padding, dilation, layout, out)


def lp_pool1d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Take the Lp norm of each window: `lp_pool2d` with one axis.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, length),
        or (batch, length, channels) with ``layout="NLC"``.
    norm_type, kernel_size, stride, ceil_mode, padding, dilation, layout, out
        As in `lp_pool2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.lp_pool1d(np.ones((1, 1, 8)), 1, 2).ravel()[:2]
    array([2., 2.])
    """
    return _core.lp_pool(1, x, norm_type, kernel_size, stride, ceil_mode, padding, dilation, layout, out)


def lp_pool3d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Take the Lp norm of each window: `lp_pool2d` with three axes.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, depth, height, width),
        or (batch, depth, height, width, channels) with ``layout="NDHWC"``.
    norm_type, kernel_size, stride, ceil_mode, padding, dilation, layout, out
        As in `lp_pool2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.lp_pool3d(np.ones((1, 1, 4, 4, 4)), 1, 2).ravel()[:2]
    array([8., 8.])
    """
    return _core.lp_pool(3, x, norm_type, kernel_size, stride, ceil_mode, padding, dilation, layout, out)


def adaptive_avg_pool2d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Average windows that divide the image into a grid.

    ::

        y[n, c, p, q] = mean of x[n, c, floor(p * H / P) : ceil((p + 1) * H / P),
                                    floor(q * W / Q) : ceil((q + 1) * W / Q)]

    for an output of P x Q; ``output_size=1`` is global pooling.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, height, width), or (batch, height, width, channels) with
        ``layout="NHWC"``; the batch axis may be left out.  float32 or float64.
    output_size : int or (int, int)
        Height and width of the result; None keeps that of `x`.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x` and of the result.
    out : ndarray, optional
        Array to write to, of the result's shape and dtype, sharing no memory with `x`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Raises
    ------
    TypeError
        If a dtype or the type of an argument is wrong.
    ValueError
        If numbers do not fit together; the message names the argument.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), (1, 2))
    array([[[[6.5, 8.5]]]])
    """
    return _core.avg_pool(2, x, output_size, None, 0, False, False, None, 1, layout, out, True)


def adaptive_avg_pool1d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Average windows of a grid: `adaptive_avg_pool2d` with one axis.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, length),
        or (batch, length, channels) with ``layout="NLC"``.
    output_size, layout, out
        As in `adaptive_avg_pool2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool1d(np.arange(8.0).reshape(1, 1, 8), 1).ravel()
    array([3.5])
    """
    return _core.avg_pool(1, x, output_size, None, 0, False, False, None, 1, layout, out, True)


def adaptive_avg_pool3d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Average windows of a grid: `adaptive_avg_pool2d` with three axes.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, depth, height, width),
        or (batch, depth, height, width, channels) with ``layout="NDHWC"``.
    output_size, layout, out
        As in `adaptive_avg_pool2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool3d(np.arange(64.0).reshape(1, 1, 4, 4, 4), 1).ravel()
    array([31.5])
    """
    return _core.avg_pool(3, x, output_size, None, 0, False, False, None, 1, layout, out, True)


def adaptive_max_pool2d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Any:
    """Take the largest pixel of windows that divide the image into a grid.

    ::

        y[n, c, p, q] = max of x[n, c, floor(p * H / P) : ceil((p + 1) * H / P),
                                    floor(q * W / Q) : ceil((q + 1) * W / Q)]

    for an output of P x Q; ``output_size=1`` is global pooling.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, height, width), or (batch, height, width, channels) with
        ``layout="NHWC"``; the batch axis may be left out.  float32, float64 or any
        integer type.
    output_size : int or (int, int)
        Height and width of the result; None keeps that of `x`.
    return_indices : bool
        Also return where the largest are, as `max_pool2d` does.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x` and of the result.
    out : ndarray, optional
        Array to write to, of the result's shape and dtype, sharing no memory with `x`.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        `out`, or a new array in `layout`, and the indices with `return_indices`.

    Raises
    ------
    TypeError
        If a dtype or the type of an argument is wrong.
    ValueError
        If numbers do not fit together; the message names the argument.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), (1, 2))
    array([[[[13., 15.]]]])
    """
    return _core.max_pool(2, x, output_size, None, 0, 1, False, return_indices, layout, out, True)


def adaptive_max_pool1d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "NCL",
    out: Array | None = None,
) -> Any:
    """Take the largest of windows of a grid: `adaptive_max_pool2d` with one axis.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, length),
        or (batch, length, channels) with ``layout="NLC"``.
    output_size, return_indices, layout, out
        As in `adaptive_max_pool2d`.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        The maxima, and their indices with `return_indices`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_max_pool1d(np.arange(8.0).reshape(1, 1, 8), 1).ravel()
    array([7.])
    """
    return _core.max_pool(1, x, output_size, None, 0, 1, False, return_indices, layout, out, True)


def adaptive_max_pool3d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Any:
    """Take the largest of windows of a grid: `adaptive_max_pool2d` with three axes.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, depth, height, width),
        or (batch, depth, height, width, channels) with ``layout="NDHWC"``.
    output_size, return_indices, layout, out
        As in `adaptive_max_pool2d`.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        The maxima, and their indices with `return_indices`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_max_pool3d(np.arange(64.0).reshape(1, 1, 4, 4, 4), 1).ravel()
    array([63.])
    """
    return _core.max_pool(3, x, output_size, None, 0, 1, False, return_indices, layout, out, True)


def _unpooled_shape(
    spatial: int,
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Any,
    layout: str,
) -> tuple[int, ...]:
    """Shape of what `max_unpool2d` makes: `output_size` with or without batch and channels, or computed."""
    shape = tuple(x.shape)
    if len(shape) not in (spatial + 1, spatial + 2):
        raise ValueError(
            f"x must have {spatial + 2} axes ({layout}), or {spatial + 1} without the batch; got shape {shape}"
        )
    first = len(shape) - spatial - 1 if layout[-1] == "C" else len(shape) - spatial
    if output_size is None:
        amounts = {
            "kernel_size": kernel_size,
            "stride": kernel_size if stride is None else stride,
            "padding": padding,
        }
        k, s, p = (_per_axis(value, name, spatial) for name, value in amounts.items())
        sizes = tuple((n - 1) * s[i] - 2 * p[i] + k[i] for i, n in enumerate(shape[first : first + spatial]))
    else:
        sizes = _per_axis(output_size, "output_size", None)
        if len(sizes) == len(shape):
            return sizes
        if len(sizes) != spatial:
            raise ValueError(
                f"output_size must have {spatial} integers, or those of the whole shape, got {output_size}"
            )
    return (*shape[:first], *sizes, *shape[first + spatial :])


def _per_axis(value: Any, name: str, spatial: int | None) -> tuple[int, ...]:
    """One integer for each axis; from one for all, if `spatial` is given."""
    items = tuple(value) if np.iterable(value) else (value,) * (spatial or 1)
    if spatial is not None and len(items) != spatial:
        raise ValueError(f"{name} must be one integer or {spatial}, one per axis, got {value}")
    for item in items:
        if isinstance(item, bool) or not hasattr(item, "__index__"):
            raise TypeError(f"{name} must be an integer for each axis, got {value!r}")
    return tuple(int(item) for item in items)


def max_unpool2d(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Put every value back where `max_pool2d` found it, and zeros elsewhere.

    ::

        y[n, c].flat[indices[n, c, p, q]] = x[n, c, p, q]

    Of several values for one pixel the last is kept.

    Parameters
    ----------
    x : array
        What max pooling made: (batch, channels, height, width), or as `layout` says; the batch may be left
        out.  float32 or float64.
    indices : array of int64
        What ``max_pool2d(..., return_indices=True)`` returned beside it.
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling; they say how large the result is unless `output_size` does.
    output_size : sequence of int, optional
        Height and width of the result, or its whole shape.
    layout : {"NCHW", "NHWC"}
        Order of the axes.
    out : ndarray, optional
        Array to write to, of the result's shape and dtype, sharing no memory with an input.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Raises
    ------
    TypeError
        If a dtype or the type of an argument is wrong.
    ValueError
        If shapes do not fit together, or an index is outside its plane.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> y, indices = fastconv.max_pool2d(np.arange(4.0).reshape(1, 1, 2, 2), 2, return_indices=True)
    >>> fastconv.max_unpool2d(y, indices, 2)
    array([[[[0., 0.],
             [0., 3.]]]])
    """
    x = np.asarray(x)
    shape = _unpooled_shape(2, x, kernel_size, stride, padding, output_size, layout)
    return _core.move_by_index(2, x, indices, shape, layout, out, False)


def max_unpool1d(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
    *,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Undo `max_pool1d`, with zeros for what it dropped: `max_unpool2d` with one axis.

    Parameters
    ----------
    x, indices, kernel_size, stride, padding, output_size, layout, out
        As in `max_unpool2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> y, indices = fastconv.max_pool1d(np.ones((1, 1, 4)), 2, return_indices=True)
    >>> fastconv.max_unpool1d(y, indices, 2).ravel()
    array([1., 0., 1., 0.])
    """
    x = np.asarray(x)
    shape = _unpooled_shape(1, x, kernel_size, stride, padding, output_size, layout)
    return _core.move_by_index(1, x, indices, shape, layout, out, False)


def max_unpool3d(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
    *,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Undo `max_pool3d`, with zeros for what it dropped: `max_unpool2d` with three axes.

    Parameters
    ----------
    x, indices, kernel_size, stride, padding, output_size, layout, out
        As in `max_unpool2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> y, indices = fastconv.max_pool3d(np.ones((1, 1, 2, 2, 2)), 2, return_indices=True)
    >>> fastconv.max_unpool3d(y, indices, 2).ravel()
    array([1., 0., 0., 0., 0., 0., 0., 0.])
    """
    x = np.asarray(x)
    shape = _unpooled_shape(3, x, kernel_size, stride, padding, output_size, layout)
    return _core.move_by_index(3, x, indices, shape, layout, out, False)


def _window_weights(
    shape: tuple[int, ...], weight: Any, stride: Any, padding: Any, dilation: Any, layout: str
) -> tuple[Any, Any, Array]:
    """Check what a weighted average is asked for: a plan for one channel, the weights, their sums inside x."""
    weight = np.asarray(weight)
    if weight.ndim != 2:
        raise ValueError(f"weight must have 2 axes (kernel height, kernel width), got shape {weight.shape}")
    if len(shape) not in (3, 4):
        raise ValueError(f"x must have 4 axes ({layout}), or 3 without the batch; got shape {shape}")
    if layout not in ("NCHW", "NHWC"):
        raise ValueError(f'layout must be "NCHW" or "NHWC", got {layout!r}')
    height, width = shape[-2:] if layout == "NCHW" else shape[-3:-1]
    stride = weight.shape if stride is None else stride
    plan = plan_conv2d((1, height, width), weight[np.newaxis, np.newaxis], None, stride, padding, dilation)
    sums = plan(np.ones((1, height, width), weight.dtype))[0]
    if not np.all(sums != 0):
        raise ValueError("weight: the weights of a window that lie inside x must not add up to 0")
    return plan, weight, sums


def weighted_avg_pool2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    dilation: Sizes = 1,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Average each window with weights, which are scaled to add up to 1 over what lies inside the image.

    ::

        y[n, c, p, q] = sum over i, j of weight[i, j] * x[n, c, p * s0 - p0 + i * d0, q * s1 - p1 + j * d1]
                        / sum of the weight[i, j] whose pixel is inside x

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, height, width), or (batch, height, width, channels) with
        ``layout="NHWC"``; the batch axis may be left out.  float32 or float64.
    weight : array
        Weights of shape (kernel_height, kernel_width), of the dtype of `x`, the same for every channel.
    stride : int or (int, int), optional
        Step between windows; by default the shape of `weight`.
    padding, dilation
        As in `avg_pool2d`.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x` and of the result.
    out : ndarray, optional
        Array to write to, of the result's shape and dtype, sharing no memory with an input.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    Raises
    ------
    TypeError
        If a dtype or the type of an argument is wrong.
    ValueError
        If numbers do not fit together, or the weights inside `x` add up to 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> binomial = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0])
    >>> fastconv.weighted_avg_pool2d(np.ones((1, 1, 4, 4)), binomial, stride=2, padding=1)
    array([[[[1., 1.],
             [1., 1.]]]])
    """
    x = np.asarray(x)
    plan, weight, sums = _window_weights(x.shape, weight, stride, padding, dilation, layout)
    channels = x.shape[-3] if layout == "NCHW" else x.shape[-1]
    each = np.broadcast_to(weight, (channels, 1, *weight.shape))
    y = depthwise_conv2d(x, each, None, plan.stride, plan.padding, plan.dilation, layout=layout, out=out)
    y /= sums if layout == "NCHW" else sums[..., np.newaxis]
    return y


def stochastic_pool2d(
    x: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    training: bool = False,
    rng: np.random.Generator | None = None,
    return_indices: bool = False,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Any:
    """Sample one pixel of each window, with a probability in proportion to its value.

    In training ``y = x[l]``, where pixel l of the window is drawn with probability ``x[l] / sum of x``; at
    inference y is the expected value, ``sum of x ** 2 / sum of x``.  Windows of zeros are 0.  After Zeiler and
    Fergus, Stochastic Pooling for Regularization of Deep Convolutional Neural Networks (2013).

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, height, width), or (batch, height, width, channels) with
        ``layout="NHWC"``; the batch axis may be left out.  float32 or float64, and
        not negative: what ReLU leaves.
    kernel_size, stride, padding, dilation, ceil_mode
        As in `max_pool2d`.
    training : bool
        Whether to sample.
    rng : numpy.random.Generator, optional
        Where samples come from, one number for each output in their order; by default a new generator.
    return_indices : bool
        With ``training=True``, also return what was drawn, as `max_pool2d` does: -1 for windows of zeros.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x` and of the result.
    out : ndarray, optional
        Array to write to, of the result's shape and dtype, sharing no memory with `x`.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        `out`, or a new array in `layout`, and the indices with `return_indices`.

    Raises
    ------
    TypeError
        If a dtype or the type of an argument is wrong.
    ValueError
        If numbers do not fit together, or a pixel is negative or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.array([[[1.0, 3.0], [0.0, 0.0]]])
    >>> fastconv.stochastic_pool2d(x, 2)
    array([[[2.5]]])
    >>> fastconv.stochastic_pool2d(x, 2, training=True, rng=np.random.default_rng(0))
    array([[[3.]]])
    """
    x = np.asarray(x)
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    for name, value in (("training", training), ("return_indices", return_indices)):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be a bool, got {type(value).__name__}")
    if return_indices and not training:
        raise ValueError("return_indices: nothing is drawn without training=True")
    if x.dtype.kind == "f" and not np.all(x >= 0):
        raise ValueError("x must not be negative or NaN for stochastic_pool2d: probabilities are made of it")
    if training:
        draw = (np.random.default_rng() if rng is None else rng).random
        y, indices = _core.sampled_pool(
            x, kernel_size, stride, padding, dilation, ceil_mode, draw, layout, out
        )
        return (y, indices) if return_indices else y
    how = (kernel_size, stride, padding, ceil_mode, True, 1, dilation, layout)
    sums = _core.avg_pool(2, x, *how, None, False)
    squares = _core.avg_pool(2, x * x, *how, out, False)
    squares /= np.where(sums > 0, sums, 1)
    return squares
