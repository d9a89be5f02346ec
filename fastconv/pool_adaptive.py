"""Pooling to a given size, and its gradients.

Window o of an axis reaches from ``floor(o * size / output_size)`` to ``ceil((o + 1) * size / output_size)``.
"""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from fastconv import _core
from fastconv.pool import Array, OutputSize
from fastconv.pool_grad import _max_pool_grad, _spatial_shape

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_grad",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_grad",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_grad",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_grad",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_grad",
]


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


def adaptive_avg_pool2d_grad(
    grad_output: npt.ArrayLike,
    *,
    input_shape: Sequence[int],
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `adaptive_avg_pool2d`: every pixel collects its share from the windows that it is in.

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    input_shape : tuple of int
        Shape of the input.
    layout : {"NCHW", "NHWC"}
        Order of the axes.
    out : ndarray, optional
        Array to write to, of the input's shape, sharing no memory with what is read.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool2d_grad(np.ones((1, 1, 1, 2)), input_shape=(1, 1, 1, 3))
    array([[[[0.5, 1. , 0.5]]]])
    """
    size = _spatial_shape(grad_output, 2, layout)
    return _core.avg_pool_grad(
        2, grad_output, input_shape, size, None, 0, False, False, None, 1, layout, out, True
    )


def adaptive_avg_pool1d_grad(
    grad_output: npt.ArrayLike,
    *,
    input_shape: Sequence[int],
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Gradient of `adaptive_avg_pool1d`: `adaptive_avg_pool2d_grad` with one axis.

    Parameters
    ----------
    grad_output, input_shape, layout, out
        As in `adaptive_avg_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool1d_grad(np.ones((1, 1, 1)), input_shape=(1, 1, 4)).ravel()[:2]
    array([0.25, 0.25])
    """
    size = _spatial_shape(grad_output, 1, layout)
    return _core.avg_pool_grad(
        1, grad_output, input_shape, size, None, 0, False, False, None, 1, layout, out, True
    )


def adaptive_avg_pool3d_grad(
    grad_output: npt.ArrayLike,
    *,
    input_shape: Sequence[int],
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `adaptive_avg_pool3d`: `adaptive_avg_pool2d_grad` with three axes.

    Parameters
    ----------
    grad_output, input_shape, layout, out
        As in `adaptive_avg_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool3d_grad(np.ones((1, 1, 1, 1, 1)), input_shape=(1, 1, 2, 2, 2)).ravel()[:2]
    array([0.125, 0.125])
    """
    size = _spatial_shape(grad_output, 3, layout)
    return _core.avg_pool_grad(
        3, grad_output, input_shape, size, None, 0, False, False, None, 1, layout, out, True
    )


def adaptive_max_pool2d_grad(
    grad_output: npt.ArrayLike,
    indices_or_x: npt.ArrayLike,
    *,
    input_shape: Sequence[int] | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `adaptive_max_pool2d`: each goes to the pixel that won.

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    indices_or_x : array
        What ``return_indices=True`` returned (integers), with `input_shape`; or the input itself (floats).
    input_shape : tuple of int
        Shape of the input; may be left out if that is given.
    layout : {"NCHW", "NHWC"}
        Order of the axes.
    out : ndarray, optional
        Array to write to, of the input's shape, sharing no memory with what is read.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_max_pool2d_grad(np.ones((1, 1, 1, 2)), np.array([[[[1.0, 3.0, 2.0]]]]))
    array([[[[0., 2., 0.]]]])
    """
    size = _spatial_shape(grad_output, 2, layout)
    return _max_pool_grad(
        2, grad_output, indices_or_x, size, None, 0, 1, False, input_shape, layout, out, True
    )


def adaptive_max_pool1d_grad(
    grad_output: npt.ArrayLike,
    indices_or_x: npt.ArrayLike,
    *,
    input_shape: Sequence[int] | None = None,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Gradient of `adaptive_max_pool1d`: `adaptive_max_pool2d_grad` with one axis.

    Parameters
    ----------
    grad_output, indices_or_x, input_shape, layout, out
        As in `adaptive_max_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_max_pool1d_grad(np.ones((1, 1, 1)), np.ones((1, 1, 4))).ravel()[:2]
    array([1., 0.])
    """
    size = _spatial_shape(grad_output, 1, layout)
    return _max_pool_grad(
        1, grad_output, indices_or_x, size, None, 0, 1, False, input_shape, layout, out, True
    )


def adaptive_max_pool3d_grad(
    grad_output: npt.ArrayLike,
    indices_or_x: npt.ArrayLike,
    *,
    input_shape: Sequence[int] | None = None,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `adaptive_max_pool3d`: `adaptive_max_pool2d_grad` with three axes.

    Parameters
    ----------
    grad_output, indices_or_x, input_shape, layout, out
        As in `adaptive_max_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_max_pool3d_grad(np.ones((1, 1, 1, 1, 1)), np.ones((1, 1, 2, 2, 2))).ravel()[:2]
    array([1., 0.])
    """
    size = _spatial_shape(grad_output, 3, layout)
    return _max_pool_grad(
        3, grad_output, indices_or_x, size, None, 0, 1, False, input_shape, layout, out, True
    )
