"""Forward convolution: names, defaults and docstrings.  `_core` does all checking and computing."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

from fastconv import _core

__all__ = ["conv1d", "conv2d", "conv3d", "depthwise_conv2d"]

Sizes: TypeAlias = int | Sequence[int]
Padding: TypeAlias = int | str | Sequence[int | tuple[int, int]]
Activation: TypeAlias = Literal["relu", "relu6"] | tuple[Literal["leaky_relu"], float]


def conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    padding_value: float = 0,
    layout: str = "NCHW",
    activation: Activation | None = None,
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Convolve a batch of images with a set of filters.

    As everywhere in deep learning the filters are not flipped: this is a cross-correlation.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, height, width), or (batch, height, width, channels) with
        ``layout="NHWC"``; the batch axis may be left out.  float32 or float64, with any strides,
        alignment and byte order: an ndarray, or anything that NumPy can view without a copy (a
        buffer, ``__array_interface__``, CPU DLPack).  Never written to.
    weight : array
        Filters of shape (out_channels, channels / groups, kernel_height, kernel_width) in both
        layouts, of the dtype of `x`.
    bias : array, optional
        One number per output channel, of the dtype of `x`.
    stride : int or (int, int)
        Step of the filters between outputs, along height and width.
    padding : int, sequence or str
        Pixels added around each image: one integer, one per axis, or a (before, after) pair per
        axis.  ``"valid"`` adds none.  ``"same"`` adds what makes the output ``ceil(size / stride)``
        long, the odd one after the image, as TensorFlow's SAME and ONNX's SAME_UPPER;
        ``"same_lower"`` puts the odd one before it.
    dilation : int or (int, int)
        Distance between the pixels that neighbouring weights see.
    groups : int
        Number of groups that the channels are split into; a group of output channels sees its own
        group of input channels only.
    padding_mode : {"zeros", "constant", "replicate", "edge", "reflect", "symmetric", "circular", "wrap"}
        What padding contains.  Small images are copied with it, of large ones the borders only.
    padding_value : float
        What ``padding_mode="constant"`` pads with.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x` and of the result.
    activation : {None, "relu", "relu6", ("leaky_relu", alpha)}
        Function applied to the output while it is still in registers.
    algorithm : str
        ``"auto"`` takes the one with the lowest predicted time; naming one that cannot compute this
        convolution is an error that says why.  `plan_conv2d` and its ``explain()`` show them all.
    out : ndarray, optional
        Array to write to: of the result's shape and dtype, in native byte order, aligned, with any
        strides that give each element its own address, sharing no memory with an input.  Not written
        to if anything is wrong.

    Returns
    -------
    ndarray
        `out`, or a new C-contiguous array, in `layout` and of the dtype of `x`, without the batch axis
        if `x` has none.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, dtypes differ, or an argument is of the wrong type.
    ValueError
        If shapes or numbers do not fit together; the message names the argument.
    MemoryError
        If the result or the scratch memory cannot be had.

    See Also
    --------
    plan_conv2d : the same, with the weights prepared once for many calls.
    depthwise_conv2d : a group for every channel.

    Notes
    -----
    A result has the same bits whatever the number of threads, and in every run on one instruction set.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> box = np.ones((1, 1, 3, 3), np.float32)
    >>> fastconv.conv2d(x, box)
    array([[[[45., 54.],
             [81., 90.]]]], dtype=float32)
    >>> fastconv.conv2d(x, box, stride=2, padding="same").shape
    (1, 1, 2, 2)
    >>> fastconv.conv2d(x[0], -box, activation="relu").max()
    np.float32(0.0)
    """
    return _core.conv(
        2,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode,
        padding_value,
        layout,
        activation,
        algorithm,
        out,
    )


def conv1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    padding_value: float = 0,
    layout: str = "NCL",
    activation: Activation | None = None,
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Convolve a batch of signals with a set of filters.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, length), or (batch, length, channels) with
        ``layout="NLC"``; the batch axis may be left out.
    weight : array
        Filters of shape (out_channels, channels / groups, kernel_length).
    bias, stride, dilation, groups, padding_mode, padding_value, activation, algorithm, out
        As in `conv2d`, with one axis.
    padding : int, sequence or str
        As in `conv2d`; also ``"causal"``: all padding goes before the signal, so that no output sees
        what comes after it.
    layout : {"NCL", "NLC"}
        Order of the axes of `x` and of the result.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    See Also
    --------
    conv2d : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.array([[[1, 2, 3, 4, 5]]], np.float32)
    >>> fastconv.conv1d(x, np.array([[[1, 1]]], np.float32), padding="causal")
    array([[[1., 3., 5., 7., 9.]]], dtype=float32)
    """
    return _core.conv(
        1,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode,
        padding_value,
        layout,
        activation,
        algorithm,
        out,
    )


def conv3d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    padding_value: float = 0,
    layout: str = "NCDHW",
    activation: Activation | None = None,
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Convolve a batch of volumes with a set of filters.

    Parameters
    ----------
    x : array
        Input of shape (batch, channels, depth, height, width), or (batch, depth, height, width,
        channels) with ``layout="NDHWC"``; the batch axis may be left out.
    weight : array
        Filters of shape (out_channels, channels / groups, kernel_depth, kernel_height, kernel_width).
    bias, stride, padding, dilation, groups, padding_mode, padding_value, activation, algorithm, out
        As in `conv2d`, with three axes.
    layout : {"NCDHW", "NDHWC"}
        Order of the axes of `x` and of the result.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    See Also
    --------
    conv2d : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.ones((1, 1, 4, 4, 4))
    >>> fastconv.conv3d(x, np.ones((2, 1, 2, 2, 2)), stride=2).shape
    (1, 2, 2, 2, 2)
    """
    return _core.conv(
        3,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode,
        padding_value,
        layout,
        activation,
        algorithm,
        out,
    )


def depthwise_conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    *,
    padding_mode: str = "zeros",
    padding_value: float = 0,
    layout: str = "NCHW",
    activation: Activation | None = None,
    algorithm: str = "auto",
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Convolve every channel of a batch of images with filters of its own.

    The same as `conv2d` with as many groups as `x` has channels.

    Parameters
    ----------
    x : array
        Input, as in `conv2d`.
    weight : array
        Filters of shape (channels * multiplier, 1, kernel_height, kernel_width): channel ``c`` of `x`
        makes the output channels ``c * multiplier`` to ``c * multiplier + multiplier - 1``.
    bias, stride, padding, dilation, padding_mode, padding_value, layout, activation, algorithm, out
        As in `conv2d`.

    Returns
    -------
    ndarray
        `out`, or a new array in `layout`.

    See Also
    --------
    conv2d : documents every parameter and error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.ones((1, 3, 8, 8), np.float32)
    >>> fastconv.depthwise_conv2d(x, np.ones((6, 1, 3, 3), np.float32), padding="same").shape
    (1, 6, 8, 8)
    """
    return _core.conv(
        2,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        _core.EACH_CHANNEL,
        padding_mode,
        padding_value,
        layout,
        activation,
        algorithm,
        out,
    )
