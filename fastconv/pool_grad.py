"""Gradients of max, average and Lp pooling, with respect to the input of the function of the same name.

`_core` does the checking and computing.  All take `grad_output`, the gradient with respect to the result, of
its shape and of float32 or float64, and make an array of the shape of the input.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import _core
from fastconv.conv import Padding, Sizes
from fastconv.pool import Array

__all__ = [
    "avg_pool1d_grad",
    "avg_pool2d_grad",
    "avg_pool3d_grad",
    "lp_pool1d_grad",
    "lp_pool2d_grad",
    "lp_pool3d_grad",
    "max_pool1d_grad",
    "max_pool2d_grad",
    "max_pool3d_grad",
]


def _by_index(spatial: int, grad_output: Any, indices: Any, input_shape: Any, layout: str, out: Any) -> Array:
    """Add every gradient to the pixel that its index says."""
    if input_shape is None:
        raise TypeError("input_shape is needed beside indices")
    return _core.move_by_index(spatial, grad_output, indices, input_shape, layout, out, True)


def _is_indices(indices_or_x: Any) -> bool:
    return bool(np.asarray(indices_or_x).dtype.kind in "iu")


def _check_shape(x: Any, input_shape: Any) -> None:
    if input_shape is not None and tuple(input_shape) != np.shape(x):
        raise ValueError(f"input_shape is {tuple(input_shape)}, but x has shape {np.shape(x)}")


def _max_pool_grad(
    spatial: int,
    grad_output: Any,
    indices_or_x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
    input_shape: Any,
    layout: str,
    out: Any,
    adaptive: bool,
) -> Array:
    if _is_indices(indices_or_x):
        return _by_index(spatial, grad_output, indices_or_x, input_shape, layout, out)
    _check_shape(indices_or_x, input_shape)
    if kernel_size is None:
        raise TypeError("kernel_size is needed beside x")
    _, indices = _core.max_pool(
        spatial, indices_or_x, kernel_size, stride, padding, dilation, ceil_mode, True, layout, None, adaptive
    )
    return _by_index(spatial, grad_output, indices, np.shape(indices_or_x), layout, out)


def _spatial_shape(array: Any, spatial: int, layout: str) -> tuple[int, ...]:
    last = _core.channels_last(layout, spatial)
    shape: tuple[int, ...] = np.shape(array)
    if len(shape) not in (spatial + 1, spatial + 2):
        raise ValueError(
            f"grad_output must have {spatial + 2} axes ({layout}), or {spatial + 1} without the batch; "
            f"got shape {shape}"
        )
    return shape[-spatial - 1 : -1] if last else shape[-spatial:]


def max_pool2d_grad(
    grad_output: npt.ArrayLike,
    indices_or_x: npt.ArrayLike,
    kernel_size: Sizes | None = None,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    input_shape: Sequence[int] | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `max_pool2d`: each goes to the pixel that won.

    ::

        grad_x[n, c].flat[indices[n, c, p, q]] += grad_output[n, c, p, q]

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    indices_or_x : array
        What ``return_indices=True`` returned (integers), with `input_shape`; or the input itself (floats),
        with the options of the pooling, which is then done again.
    kernel_size, stride, padding, dilation, ceil_mode
        As `max_pool2d` had them; not used with indices.
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
    >>> x = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> y, indices = fastconv.max_pool2d(x, 2, return_indices=True)
    >>> fastconv.max_pool2d_grad(np.ones_like(y), indices, input_shape=x.shape)
    array([[[[0., 0.],
             [0., 1.]]]])
    """
    return _max_pool_grad(
        2,
        grad_output,
        indices_or_x,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        input_shape,
        layout,
        out,
        False,
    )


def max_pool1d_grad(
    grad_output: npt.ArrayLike,
    indices_or_x: npt.ArrayLike,
    kernel_size: Sizes | None = None,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    input_shape: Sequence[int] | None = None,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Gradient of `max_pool1d`: `max_pool2d_grad` with one axis.

    Parameters
    ----------
    grad_output, indices_or_x, kernel_size, stride, padding, dilation, ceil_mode, input_shape, layout, out
        As in `max_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.max_pool1d_grad(np.ones((1, 1, 2)), np.ones((1, 1, 4)), 2).ravel()
    array([1., 0., 1., 0.])
    """
    return _max_pool_grad(
        1,
        grad_output,
        indices_or_x,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        input_shape,
        layout,
        out,
        False,
    )


def max_pool3d_grad(
    grad_output: npt.ArrayLike,
    indices_or_x: npt.ArrayLike,
    kernel_size: Sizes | None = None,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    input_shape: Sequence[int] | None = None,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `max_pool3d`: `max_pool2d_grad` with three axes.

    Parameters
    ----------
    grad_output, indices_or_x, kernel_size, stride, padding, dilation, ceil_mode, input_shape, layout, out
        As in `max_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.max_pool3d_grad(np.ones((1, 1, 1, 1, 1)), np.ones((1, 1, 2, 2, 2)), 2).ravel()
    array([1., 0., 0., 0., 0., 0., 0., 0.])
    """
    return _max_pool_grad(
        3,
        grad_output,
        indices_or_x,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        input_shape,
        layout,
        out,
        False,
    )


def avg_pool2d_grad(
    grad_output: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    input_shape: Sequence[int],
    dilation: Sizes = 1,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `avg_pool2d`: every pixel collects from all windows that it is in.

    ::

        grad_x[n, c, h, w] = sum of grad_output[n, c, p, q] / count over the windows p, q that see h, w

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation
        As `avg_pool2d` had them.
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
    >>> fastconv.avg_pool2d_grad(np.full((1, 1, 1, 1), 8.0), 2, input_shape=(1, 1, 2, 3))
    array([[[[2., 2., 0.],
             [2., 2., 0.]]]])
    """
    return _core.avg_pool_grad(
        2,
        grad_output,
        input_shape,
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


def avg_pool1d_grad(
    grad_output: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    input_shape: Sequence[int],
    dilation: Sizes = 1,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Gradient of `avg_pool1d`: `avg_pool2d_grad` with one axis.

    Parameters
    ----------
    grad_output, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d_grad`.
    input_shape, dilation, layout, out
        As in `avg_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.avg_pool1d_grad(np.ones((1, 1, 2)), 2, input_shape=(1, 1, 4)).ravel()[:2]
    array([0.5, 0.5])
    """
    return _core.avg_pool_grad(
        1,
        grad_output,
        input_shape,
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


def avg_pool3d_grad(
    grad_output: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    input_shape: Sequence[int],
    dilation: Sizes = 1,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `avg_pool3d`: `avg_pool2d_grad` with three axes.

    Parameters
    ----------
    grad_output, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d_grad`.
    input_shape, dilation, layout, out
        As in `avg_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.avg_pool3d_grad(np.ones((1, 1, 1, 1, 1)), 2, input_shape=(1, 1, 2, 2, 2)).ravel()[:2]
    array([0.125, 0.125])
    """
    return _core.avg_pool_grad(
        3,
        grad_output,
        input_shape,
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


def _lp_pool_grad(
    spatial: int,
    grad_output: Any,
    x: Any,
    y: Any,
    norm_type: Any,
    windows: tuple[Any, ...],
    layout: str,
    out: Any,
) -> Array:
    """Sums of grad_output * y ** (1 - p) over a pixel's windows, times |x| ** (p - 1) with the sign of x."""
    x, (kernel_size, stride, padding, dilation, ceil_mode) = np.asarray(x), windows
    power = _core.norm_order(norm_type)
    if y is None:
        y = _core.lp_pool(spatial, x, power, kernel_size, stride, ceil_mode, padding, dilation, layout, None)
    grad_output, y = np.asarray(grad_output), np.asarray(y)
    if grad_output.shape != y.shape or grad_output.dtype != y.dtype or x.dtype != y.dtype:
        raise ValueError(
            f"grad_output is {grad_output.dtype} of shape {grad_output.shape}; "
            f"the result of lp_pool{spatial}d is "
            f"{y.dtype} of shape {y.shape}"
        )
    if out is not None and np.may_share_memory(out, x):
        raise ValueError("out shares memory with x: pass memory that is written only")
    scaled = np.where(y == 0, 1, y)
    if power == 2:
        np.divide(grad_output, scaled, out=scaled)
    elif power == 1:
        scaled[...] = grad_output
    else:
        scaled **= 1 - power
        scaled *= grad_output
    scaled[y == 0] = 0
    grad = _core.avg_pool_grad(
        spatial,
        scaled,
        x.shape,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        True,
        1,
        dilation,
        layout,
        out,
        False,
    )
    if power == 2:
        grad *= x
    elif power == 1:
        grad *= np.sign(x)
    else:
        slope = np.abs(x)
        slope[x == 0] = 1
        slope **= power - 1
        slope *= np.sign(x)
        grad *= slope
    return grad


def lp_pool2d_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    y: npt.ArrayLike | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `lp_pool2d`.

    ::

        grad_x[n, c, h, w] = sign(x) * |x[n, c, h, w]| ** (norm_type - 1) *
            sum of grad_output[n, c, p, q] * y[n, c, p, q] ** (1 - norm_type)
            over the windows p, q that see h, w

    and 0 where x or y is 0.

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    x : array
        Input of the pooling.
    norm_type, kernel_size, stride, ceil_mode, padding, dilation
        As `lp_pool2d` had them.
    y : array, optional
        Its result, which is computed again if not given.
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
    >>> fastconv.lp_pool2d_grad(np.ones((1, 1, 1)), np.array([[[3.0, 4.0], [0.0, 0.0]]]), 2, 2)
    array([[[0.6, 0.8],
            [0. , 0. ]]])
    """
    windows = (kernel_size, stride, padding, dilation, ceil_mode)
    return _lp_pool_grad(2, grad_output, x, y, norm_type, windows, layout, out)


def lp_pool1d_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    y: npt.ArrayLike | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Gradient of `lp_pool1d`: `lp_pool2d_grad` with one axis.

    Parameters
    ----------
    grad_output, x, norm_type, kernel_size, stride, ceil_mode, y, padding, dilation, layout, out
        As in `lp_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.lp_pool1d_grad(np.ones((1, 1, 2)), np.ones((1, 1, 4)), 1, 2).ravel()[:2]
    array([1., 1.])
    """
    windows = (kernel_size, stride, padding, dilation, ceil_mode)
    return _lp_pool_grad(1, grad_output, x, y, norm_type, windows, layout, out)


def lp_pool3d_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    y: npt.ArrayLike | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `lp_pool3d`: `lp_pool2d_grad` with three axes.

    Parameters
    ----------
    grad_output, x, norm_type, kernel_size, stride, ceil_mode, y, padding, dilation, layout, out
        As in `lp_pool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.lp_pool3d_grad(np.ones((1, 1, 1, 1, 1)), np.ones((1, 1, 2, 2, 2)), 1, 2).ravel()[:2]
    array([1., 1.])
    """
    windows = (kernel_size, stride, padding, dilation, ceil_mode)
    return _lp_pool_grad(3, grad_output, x, y, norm_type, windows, layout, out)
