"""Averages with a window of weights, with their gradients with respect to the image and to the weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.conv import Padding, Sizes, depthwise_conv2d
from fastconv.grad import conv2d_weight_grad
from fastconv.plan import plan_conv2d
from fastconv.pool import Array

__all__ = ["weighted_avg_pool2d", "weighted_avg_pool2d_grad", "weighted_avg_pool2d_weight_grad"]


def _window_weights(
    shape: tuple[int, ...], weight: Any, stride: Any, padding: Any, dilation: Any, layout: str
) -> tuple[Any, Any, Array]:
    """Check the arguments of a weighted average; a plan for one channel, the weights, their sums inside x."""
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


def _check_grad(grad: Array, shape: tuple[int, ...], sums: Array, layout: str) -> None:
    at = len(shape) - (3 if layout == "NHWC" else 2)
    wanted = (*shape[:at], *sums.shape, *shape[at + 2 :])
    if grad.shape != wanted:
        raise ValueError(f"grad_output has shape {grad.shape}; these options make {wanted} of {shape}")


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
    image: Any = np.asarray(x)
    plan, kernel, sums = _window_weights(image.shape, weight, stride, padding, dilation, layout)
    channels = image.shape[-3] if layout == "NCHW" else image.shape[-1]
    each = np.broadcast_to(kernel, (channels, 1, *kernel.shape))
    y = depthwise_conv2d(image, each, None, plan.stride, plan.padding, plan.dilation, layout=layout, out=out)
    y /= sums if layout == "NCHW" else sums[..., np.newaxis]
    return y


def weighted_avg_pool2d_grad(
    grad_output: npt.ArrayLike,
    weight: npt.ArrayLike,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    input_shape: Sequence[int],
    dilation: Sizes = 1,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `weighted_avg_pool2d` with respect to its input.

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    weight, stride, padding, dilation
        As `weighted_avg_pool2d` had them.
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
    >>> fastconv.weighted_avg_pool2d_grad(np.ones((1, 1, 1)), np.array([[1.0, 3.0]]), input_shape=(1, 1, 2))
    array([[[0.25, 0.75]]])
    """
    grad = np.asarray(grad_output)
    shape = tuple(input_shape)
    plan, kernel, sums = _window_weights(shape, weight, stride, padding, dilation, layout)
    last = layout == "NHWC"
    sizes, at = (shape[-3:-1], len(shape) - 3) if last else (shape[-2:], len(shape) - 2)
    _check_grad(grad, shape, sums, layout)
    # A convolution with the weights turned around, of the gradients set `stride` pixels apart.
    spaced_sizes = [(n - 1) * s + 1 for n, s in zip(sums.shape, plan.stride)]
    spaced = np.zeros((*shape[:at], *spaced_sizes, *shape[at + 2 :]), grad.dtype)
    steps = tuple(slice(None, None, s) for s in plan.stride)
    spaced[(*[slice(None)] * at, *steps)] = grad / (sums[..., np.newaxis] if last else sums)
    pads = []
    for n, spaced_n, k, d, (before, _) in zip(sizes, spaced_sizes, kernel.shape, plan.dilation, plan.padding):
        pads.append(((k - 1) * d - before, n - spaced_n + before))
    channels = shape[-1] if last else shape[-3]
    each = np.broadcast_to(kernel[::-1, ::-1], (channels, 1, *kernel.shape))
    return depthwise_conv2d(spaced, each, None, 1, pads, plan.dilation, layout=layout, out=out)


def weighted_avg_pool2d_weight_grad(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    y: npt.ArrayLike | None = None,
    dilation: Sizes = 1,
    layout: str = "NCHW",
) -> Array:
    """Gradient of `weighted_avg_pool2d` with respect to its window of weights.

    With S the sum of the weights of a window whose pixel is inside x ::

        grad_weight[i, j] = sum over n, c, p, q of grad_output[n, c, p, q] / S[p, q]
            * (x[n, c, p * s0 - p0 + i * d0, q * s1 - p1 + j * d1] - y[n, c, p, q])

    over the windows where that pixel is inside x.

    Parameters
    ----------
    grad_output : array
        Gradient with respect to the result.
    x : array
        Input of the pooling.
    weight, stride, padding, dilation
        As `weighted_avg_pool2d` had them.
    y : array, optional
        Its result, which is computed again if not given.
    layout : {"NCHW", "NHWC"}
        Order of the axes.

    Returns
    -------
    ndarray
        A new array of the shape of `weight`.

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
    >>> x, weight = np.array([[[1.0, 5.0]]]), np.array([[1.0, 3.0]])
    >>> fastconv.weighted_avg_pool2d_weight_grad(np.ones((1, 1, 1)), x, weight)
    array([[-0.75,  0.25]])
    """
    grad, image = np.asarray(grad_output), np.asarray(x)
    plan, kernel, sums = _window_weights(image.shape, weight, stride, padding, dilation, layout)
    _check_grad(grad, image.shape, sums, layout)
    if y is None:
        y = weighted_avg_pool2d(image, kernel, stride, padding, dilation=dilation, layout=layout)
    result: Any = np.asarray(y)
    if result.shape != grad.shape:
        raise ValueError(f"y has shape {result.shape}; the result has {grad.shape}")
    channels = image.shape[-1] if layout == "NHWC" else image.shape[-3]
    how: dict[str, Any] = {
        "weight_shape": (channels, 1, *kernel.shape),
        "stride": plan.stride,
        "padding": plan.padding,
        "dilation": plan.dilation,
        "groups": channels,
        "layout": layout,
    }
    share = grad / (sums[..., np.newaxis] if layout == "NHWC" else sums)
    seen = conv2d_weight_grad(share, image, **how)
    seen -= conv2d_weight_grad(share * result, np.ones_like(image), **how)
    return np.asarray(seen.sum(axis=(0, 1)))
