"""Un-pooling and stochastic pooling, with their gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import _core
from fastconv.conv import Padding, Sizes
from fastconv.pool import Array
from fastconv.pool_grad import _by_index, _check_shape, _is_indices

__all__ = [
    "max_unpool1d",
    "max_unpool1d_grad",
    "max_unpool2d",
    "max_unpool2d_grad",
    "max_unpool3d",
    "max_unpool3d_grad",
    "stochastic_pool2d",
    "stochastic_pool2d_grad",
]


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
    last = _core.channels_last(layout, spatial)
    shape = tuple(x.shape)
    if len(shape) not in (spatial + 1, spatial + 2):
        raise ValueError(
            f"x must have {spatial + 2} axes ({layout}), or {spatial + 1} without the batch; "
            f"got shape {shape}"
        )
    first = len(shape) - spatial - 1 if last else len(shape) - spatial
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
    inference y is the expected value, ``sum of x ** 2 / sum of x``.  Windows of zeros are 0.  After Zeiler
    and Fergus, Stochastic Pooling for Regularization of Deep Convolutional Neural Networks (2013).

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


def max_unpool2d_grad(
    grad_output: npt.ArrayLike,
    indices: npt.ArrayLike,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `max_unpool2d` with respect to its input: what lies at the indices.

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    indices : array of int64
        Those of the unpooling, none twice in a plane.
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
    >>> fastconv.max_unpool2d_grad(np.arange(4.0).reshape(1, 1, 2, 2), np.full((1, 1, 1, 1), 3))
    array([[[[3.]]]])
    """
    return _core.gather_by_index(2, grad_output, indices, layout, out)


def max_unpool1d_grad(
    grad_output: npt.ArrayLike,
    indices: npt.ArrayLike,
    *,
    layout: str = "NCL",
    out: Array | None = None,
) -> Array:
    """Gradient of `max_unpool1d`: `max_unpool2d_grad` with one axis.

    Parameters
    ----------
    grad_output, indices, layout, out
        As in `max_unpool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.max_unpool1d_grad(np.arange(4.0).reshape((1, 1, 4)), np.full((1, 1, 1), 3)).ravel()
    array([3.])
    """
    return _core.gather_by_index(1, grad_output, indices, layout, out)


def max_unpool3d_grad(
    grad_output: npt.ArrayLike,
    indices: npt.ArrayLike,
    *,
    layout: str = "NCDHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `max_unpool3d`: `max_unpool2d_grad` with three axes.

    Parameters
    ----------
    grad_output, indices, layout, out
        As in `max_unpool2d_grad`.

    Returns
    -------
    ndarray
        `out`, or a new array of the input's shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> grad = np.arange(8.0).reshape((1, 1, 2, 2, 2))
    >>> fastconv.max_unpool3d_grad(grad, np.full((1, 1, 1, 1, 1), 3)).ravel()
    array([3.])
    """
    return _core.gather_by_index(3, grad_output, indices, layout, out)


def stochastic_pool2d_grad(
    grad_output: npt.ArrayLike,
    indices_or_x: npt.ArrayLike,
    kernel_size: Sizes | None = None,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    input_shape: Sequence[int] | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `stochastic_pool2d`: in training each goes to the pixel that was drawn.

    At inference, with S the sum of a window and y its result ::

        grad_x[n, c, h, w] = sum of grad_output * (2 * x[n, c, h, w] - y) / S over the windows that see h, w

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    indices_or_x : array
        What was drawn (integers), with `input_shape`; or the input of inference (floats), with its options.
    kernel_size, stride, padding, dilation, ceil_mode
        As `stochastic_pool2d` had them; not used with indices.
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
    >>> fastconv.stochastic_pool2d_grad(np.ones((1, 1, 1)), np.array([[[1.0, 3.0]]]), (1, 2))
    array([[[-0.125,  0.875]]])
    """
    if _is_indices(indices_or_x):
        return _by_index(2, grad_output, indices_or_x, input_shape, layout, out)
    x, grad = np.asarray(indices_or_x), np.asarray(grad_output)
    _check_shape(x, input_shape)
    if kernel_size is None:
        raise TypeError("kernel_size is needed beside x")
    how = (kernel_size, stride, padding, ceil_mode, True, 1, dilation, layout)
    sums = _core.avg_pool(2, x, *how, None, False)
    if grad.shape != sums.shape or grad.dtype != x.dtype:
        raise ValueError(
            f"grad_output is {grad.dtype} of shape {grad.shape}; wanted {x.dtype} of {sums.shape}"
        )
    if out is not None and np.may_share_memory(out, x):
        raise ValueError("out shares memory with x: pass memory that is written only")
    y = _core.avg_pool(2, x * x, *how, None, False)
    empty = ~(sums > 0)
    sums[empty] = 1
    share = grad / sums
    share[empty] = 0
    grad_x = _core.avg_pool_grad(2, share, x.shape, *how, out, False)
    grad_x *= 2 * x
    share *= y / sums
    grad_x -= _core.avg_pool_grad(2, share, x.shape, *how, None, False)
    return grad_x
