"""Gradients of convolution: names, defaults and docstrings.  `_core` does all checking and computing."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from fastconv import _core
from fastconv.conv import Padding, Sizes

__all__ = [
    "conv1d_bias_grad",
    "conv1d_input_grad",
    "conv1d_weight_grad",
    "conv2d_bias_grad",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "conv3d_bias_grad",
    "conv3d_input_grad",
    "conv3d_weight_grad",
]


def conv2d_input_grad(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    input_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    layout: str = "NCHW",
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv2d` with respect to its input.

    ::

        grad_x[n, c, p * s0 + i * d0 - pad0, q * s1 + j * d1 - pad1] +=
            weight[o, c - first(o), i, j] * grad_output[n, o, p, q]

    for every image n, output o, output pixel (p, q), kernel element (i, j) and channel c of the group of o,
    of which first(o) is the first; s, d and pad are stride, dilation and padding before.  What falls outside
    the image is dropped, and pixels that no kernel met are zero (within rounding where a Winograd algorithm
    is named).  Infinite or NaN weights may make more pixels NaN than those that they reach: most methods
    multiply zeros around `grad_output` with them.

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the output of `conv2d` (before its activation), of the shape that `conv2d`
        returns for these options; float32 or float64, with any strides.
    weight : array
        The filters of the forward call, of the dtype of `grad_output`.
    input_shape : tuple of int
        Shape of the input of the forward call, in `layout`, without the batch axis if `grad_output` has none.
    stride, padding, dilation, groups
        As in the forward call; see `conv2d`.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `grad_output`, of `input_shape` and of the result.
    algorithm : str
        ``"auto"``, or one of the algorithms of `conv2d`: the gradient is a convolution with stride 1 of
        `grad_output`, for each pixel of a stride.  ``"direct"`` computes all pixels of a stride together,
        ``"taps"`` adds the products of one tap after the other (images of up to 8192 pixels, 131072 outputs).
        Further ones, of certain problems, are ``"planes"``, ``"lanes"``, ``"blocks"``, ``"strided"``,
        ``"multiplied"``, ``"patches"``, ``"pixels"``, ``"exchanged"``, ``"dense"``, ``"rows"`` and
        ``"phases"``.  Naming one that cannot compute it is an error that says why.
    out : ndarray, optional
        Array to write to, as in `conv2d`.

    Returns
    -------
    ndarray
        `out`, or a new C-contiguous array of shape `input_shape` and of the dtype of `grad_output`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, dtypes differ, or an argument is of the wrong type.
    ValueError
        If shapes or numbers do not fit together; the message names the argument.
    MemoryError
        If the result or the scratch memory cannot be had.

    Notes
    -----
    A result has the same bits whatever the number of threads, and in every run on one instruction set.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> weight = np.array([[[[1, 2], [3, 4]]]], np.float32)
    >>> fastconv.conv2d_input_grad(np.ones((1, 1, 2, 2), np.float32), weight, input_shape=(1, 1, 3, 3))
    array([[[[ 1.,  3.,  2.],
             [ 4., 10.,  6.],
             [ 3.,  7.,  4.]]]], dtype=float32)
    """
    return _core.conv_input_grad(
        2, grad_output, weight, input_shape, stride, padding, dilation, groups, layout, algorithm, out
    )


def conv2d_weight_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    *,
    weight_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    layout: str = "NCHW",
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv2d` with respect to its filters.

    ::

        grad_weight[o, c, i, j] = sum over n, p, q of
            grad_output[n, o, p, q] * padded[n, first(o) + c, p * s0 + i * d0, q * s1 + j * d1]

    where ``padded`` is `x` with its border of zeros, s and d are stride and dilation, and first(o) is the
    first channel of the group of output o.

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the output of `conv2d` (before its activation), of the shape that `conv2d`
        returns for these options; float32 or float64, with any strides.
    x : array
        The input of the forward call, of the dtype of `grad_output`, with any strides.
    weight_shape : tuple of int
        Shape of the filters: (out_channels, channels / groups, kernel_height, kernel_width).
    stride, padding, dilation, groups
        As in the forward call; see `conv2d`.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `grad_output` and `x`.
    algorithm : str
        ``"auto"``, ``"direct"`` (a matrix product over blocks of pixels), ``"pointwise"`` (that of 1x1
        kernels without padding), ``"rows"`` (sums of products of rows of pixels: few channels a group),
        ``"channels"`` (likewise, of vectors of channels), ``"planes"`` and ``"pixels"`` (likewise, where they
        lie: depthwise with adjacent columns, or channels), ``"mixed"`` (1x1 of a few adjacent channels),
        ``"runs"`` (products of the channels under a row of the kernel: groups, or few channels), ``"dot"``
        (sums along pixels: 1x1 without stride, of few channels whose pixels are adjacent) or
        ``"winograd4"`` (dense 3x3 with stride 1, a quarter of the products; its error stays below 1e-5 of
        the largest value in float32).
    out : ndarray, optional
        Array to write to, as in `conv2d`.

    Returns
    -------
    ndarray
        `out`, or a new C-contiguous array of shape `weight_shape` and of the dtype of `grad_output`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, dtypes differ, or an argument is of the wrong type.
    ValueError
        If shapes or numbers do not fit together; the message names the argument.
    MemoryError
        If the result or the scratch memory cannot be had.

    Notes
    -----
    A result has the same bits whatever the number of threads, and in every run on one instruction set.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> fastconv.conv2d_weight_grad(np.ones((1, 1, 2, 2), np.float32), x, weight_shape=(1, 1, 2, 2))
    array([[[[ 8., 12.],
             [20., 24.]]]], dtype=float32)
    """
    return _core.conv_weight_grad(
        2, grad_output, x, weight_shape, stride, padding, dilation, groups, layout, algorithm, out
    )


def conv2d_bias_grad(
    grad_output: npt.ArrayLike,
    *,
    layout: str = "NCHW",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv2d` with respect to its bias.

    ::

        grad_bias[o] = sum over n, p, q of grad_output[n, o, p, q]

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the output of `conv2d`, (batch, channels, height, width) or as `layout` says;
        the batch axis may be left out.  float32 or float64, with any strides.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `grad_output`.
    out : ndarray, optional
        Array to write to, as in `conv2d`.

    Returns
    -------
    ndarray
        `out`, or a new array with one number for each channel.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.conv2d_bias_grad(np.ones((2, 3, 4, 5), np.float32))
    array([40., 40., 40.], dtype=float32)
    """
    return _core.conv_bias_grad(2, grad_output, layout, out)


def conv1d_input_grad(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    input_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    layout: str = "NCL",
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv1d` with respect to its input.

    Parameters
    ----------
    grad_output, weight, input_shape, stride, padding, dilation, groups, algorithm, out
        As in `conv2d_input_grad`, with one axis.
    layout : {"NCL", "NLC"}
        Order of the axes.

    Returns
    -------
    ndarray
        `out`, or a new array.

    See Also
    --------
    conv2d_input_grad : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> grad = np.ones((1, 1, 2))
    >>> fastconv.conv1d_input_grad(grad, np.ones((1, 1, 2)), input_shape=(1, 1, 3)).sum()
    np.float64(4.0)
    """
    return _core.conv_input_grad(
        1, grad_output, weight, input_shape, stride, padding, dilation, groups, layout, algorithm, out
    )


def conv1d_weight_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    *,
    weight_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    layout: str = "NCL",
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv1d` with respect to its filters.

    Parameters
    ----------
    grad_output, x, weight_shape, stride, padding, dilation, groups, algorithm, out
        As in `conv2d_weight_grad`, with one axis.
    layout : {"NCL", "NLC"}
        Order of the axes.

    Returns
    -------
    ndarray
        `out`, or a new array.

    See Also
    --------
    conv2d_weight_grad : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.ones((1, 1, 3))
    >>> fastconv.conv1d_weight_grad(np.ones((1, 1, 2)), x, weight_shape=(1, 1, 2)).ravel()[0]
    np.float64(2.0)
    """
    return _core.conv_weight_grad(
        1, grad_output, x, weight_shape, stride, padding, dilation, groups, layout, algorithm, out
    )


def conv1d_bias_grad(
    grad_output: npt.ArrayLike,
    *,
    layout: str = "NCL",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv1d` with respect to its bias.

    Parameters
    ----------
    grad_output, out
        As in `conv2d_bias_grad`, with one axis.
    layout : {"NCL", "NLC"}
        Order of the axes.

    Returns
    -------
    ndarray
        `out`, or a new array.

    See Also
    --------
    conv2d_bias_grad : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.conv1d_bias_grad(np.ones((1, 1, 2)))
    array([2.])
    """
    return _core.conv_bias_grad(1, grad_output, layout, out)


def conv3d_input_grad(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    input_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    layout: str = "NCDHW",
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv3d` with respect to its input.

    Parameters
    ----------
    grad_output, weight, input_shape, stride, padding, dilation, groups, algorithm, out
        As in `conv2d_input_grad`, with three axes.
    layout : {"NCDHW", "NDHWC"}
        Order of the axes.

    Returns
    -------
    ndarray
        `out`, or a new array.

    See Also
    --------
    conv2d_input_grad : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> grad = np.ones((1, 1, 2, 2, 2))
    >>> fastconv.conv3d_input_grad(grad, np.ones((1, 1, 2, 2, 2)), input_shape=(1, 1, 3, 3, 3)).sum()
    np.float64(64.0)
    """
    return _core.conv_input_grad(
        3, grad_output, weight, input_shape, stride, padding, dilation, groups, layout, algorithm, out
    )


def conv3d_weight_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    *,
    weight_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    layout: str = "NCDHW",
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv3d` with respect to its filters.

    Parameters
    ----------
    grad_output, x, weight_shape, stride, padding, dilation, groups, algorithm, out
        As in `conv2d_weight_grad`, with three axes.
    layout : {"NCDHW", "NDHWC"}
        Order of the axes.

    Returns
    -------
    ndarray
        `out`, or a new array.

    See Also
    --------
    conv2d_weight_grad : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.ones((1, 1, 3, 3, 3))
    >>> fastconv.conv3d_weight_grad(np.ones((1, 1, 2, 2, 2)), x, weight_shape=(1, 1, 2, 2, 2)).ravel()[0]
    np.float64(8.0)
    """
    return _core.conv_weight_grad(
        3, grad_output, x, weight_shape, stride, padding, dilation, groups, layout, algorithm, out
    )


def conv3d_bias_grad(
    grad_output: npt.ArrayLike,
    *,
    layout: str = "NCDHW",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Compute the gradient of `conv3d` with respect to its bias.

    Parameters
    ----------
    grad_output, out
        As in `conv2d_bias_grad`, with three axes.
    layout : {"NCDHW", "NDHWC"}
        Order of the axes.

    Returns
    -------
    ndarray
        `out`, or a new array.

    See Also
    --------
    conv2d_bias_grad : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.conv3d_bias_grad(np.ones((1, 1, 2, 2, 2)))
    array([8.])
    """
    return _core.conv_bias_grad(3, grad_output, layout, out)
