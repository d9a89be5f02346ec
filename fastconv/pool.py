"""Max, average and Lp pooling: names, defaults and docstrings.  `_core` does the checking and computing.

Windows are placed as torch places them.  Output o of an axis sees the inputs ``o * stride - padding + k *
dilation`` for k below kernel_size; inputs outside x are skipped.  Gradients are in pool_grad.py, what else
pools is in pool_adaptive.py, pool_special.py and pool_weighted.py.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

from fastconv import _core
from fastconv.conv import Padding, Sizes

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]

Array: TypeAlias = npt.NDArray[Any]
OutputSize: TypeAlias = int | Sequence[int | None] | None


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
    Absolute values are taken for odd orders too, and windows that `ceil_mode` cuts off are not scaled up;
    torch does neither.

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
