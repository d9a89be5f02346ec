"""The definition of every pooling and of every gradient: NumPy alone, float64, window after window.

Beside reference.py, and as slow: the tests hold pool.py and pool_grad.py to it.  Images are brought to
(batch, channels, *size); options are those of the functions of the same name in fastconv.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv.reference import LAYOUTS, Array, _channels_last, _per_axis, pad_amounts

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """The windows of one axis: for each output the inputs that it sees, and how many it counts."""

    size: int
    inside: tuple[NDArray[np.intp], ...]
    counted: tuple[int, ...]


def axis_windows(
    size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int = 1, ceil_mode: bool = False
) -> Axis:
    """Place the windows of one axis.

    Output o sees ``o * stride - before + k * dilation``.  There are as many as fit into the padded axis; in
    ceil_mode one more may reach out of it, if it begins in x or before it.  An average counts padding, but
    not what ceil_mode adds.

    Examples
    --------
    >>> [i.tolist() for i in axis_windows(5, 2, 2, (0, 0), ceil_mode=True).inside]
    [[0, 1], [2, 3], [4]]
    >>> axis_windows(5, 3, 2, (1, 1)).counted
    (3, 3, 3)
    """
    before, after = pads
    room = before + size + after - dilation * (kernel - 1) - 1
    outputs = -(-room // stride) + 1 if ceil_mode else room // stride + 1
    if ceil_mode and (outputs - 1) * stride >= size + before:
        outputs -= 1
    positions = [o * stride - before + dilation * np.arange(kernel) for o in range(outputs)]
    inside = tuple(p[(p >= 0) & (p < size)] for p in positions)
    return Axis(size, inside, tuple(int((p < size + after).sum()) for p in positions))


def adaptive_axis(size: int, outputs: int) -> Axis:
    """Place windows from floor(o * size / outputs) to ceil((o + 1) * size / outputs).

    Examples
    --------
    >>> [i.tolist() for i in adaptive_axis(5, 2).inside]
    [[0, 1, 2], [2, 3, 4]]
    """
    inside = tuple(np.arange(o * size // outputs, -(-(o + 1) * size // outputs)) for o in range(outputs))
    return Axis(size, inside, tuple(len(i) for i in inside))


def _first(a: ArrayLike, layout: str) -> tuple[NDArray[Any], int, bool]:
    """Bring an array to (batch, channels, *size); also its rank, and whether it had a batch."""
    a = np.asarray(a)
    rank = next(rank for rank, names in LAYOUTS.items() if layout in names)
    batched = a.ndim == rank + 2
    a = a if batched else a[np.newaxis]
    return (np.moveaxis(a, -1, 1) if _channels_last(layout, rank) else a), rank, batched


def _back(a: NDArray[Any], layout: str, rank: int, batched: bool) -> NDArray[Any]:
    a = np.moveaxis(a, 1, -1) if _channels_last(layout, rank) else a
    return np.ascontiguousarray(a if batched else a[0])


def windows_of(
    size: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> list[Axis]:
    """Place the windows of every axis."""
    rank = len(size)
    kernel = _per_axis(kernel_size, rank, "kernel_size")
    strides = kernel if stride is None else _per_axis(stride, rank, "stride")
    dilations = _per_axis(dilation, rank, "dilation")
    pads = pad_amounts(padding, size, kernel, strides, dilations)
    return [axis_windows(*numbers, ceil_mode) for numbers in zip(size, kernel, strides, pads, dilations)]


def _adaptive(size: Sequence[int], output_size: Any) -> list[Axis]:
    items = output_size if np.iterable(output_size) else (output_size,) * len(size)
    return [adaptive_axis(n, n if out is None else out) for n, out in zip(size, items)]


def _each(axes: list[Axis]) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...], int]]:
    """Yield every output, an index of the pixels that it sees, and how many it counts."""
    for output in np.ndindex(*(len(axis.inside) for axis in axes)):
        pixels = np.ix_(*(axis.inside[o] for axis, o in zip(axes, output)))
        yield output, (..., *pixels), int(np.prod([axis.counted[o] for axis, o in zip(axes, output)]))


def _at(output: tuple[int, ...]) -> Any:
    """Index one output of every plane."""
    return (..., *output)


def _out(x: NDArray[Any], axes: list[Axis], dtype: Any = np.float64) -> NDArray[Any]:
    return np.zeros((*x.shape[:2], *(len(axis.inside) for axis in axes)), dtype)


def _plane_indices(axes: list[Axis], pixels: tuple[Any, ...]) -> Indices:
    plane = np.arange(int(np.prod([axis.size for axis in axes]))).reshape([axis.size for axis in axes])
    return np.asarray(plane[pixels[1:]].ravel())


# --- Max ----------------------------------------------------------------------------------------------


def _max(x: ArrayLike, layout: str, make: Any) -> tuple[NDArray[Any], Indices]:
    image, rank, batched = _first(x, layout)
    axes = make(image.shape[2:])
    y, found = _out(image, axes, image.dtype), _out(image, axes, np.int64)
    for output, pixels, _ in _each(axes):
        seen = image[pixels].reshape(*image.shape[:2], -1)
        least = -np.inf if image.dtype.kind == "f" else np.iinfo(image.dtype).min
        if seen.shape[-1] == 0:
            y[_at(output)], found[_at(output)] = least, -1
            continue
        best = np.argmax(seen, axis=-1)
        nan = np.isnan(seen)
        last_nan = seen.shape[-1] - 1 - np.argmax(nan[..., ::-1], axis=-1)
        best = np.where(nan.any(axis=-1), last_nan, best)
        y[_at(output)] = np.take_along_axis(seen, best[..., np.newaxis], -1)[..., 0]
        found[_at(output)] = _plane_indices(axes, pixels)[best]
    return _back(y, layout, rank, batched), _back(found, layout, rank, batched)


def max_pool(
    x: ArrayLike,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    layout: str = "NCHW",
) -> tuple[NDArray[Any], Indices]:
    """Largest of each window and its index in the plane: the first of equals, the last of several NaN.

    Examples
    --------
    >>> max_pool([[[1, 3, 3, 2]]], 2, layout="NCL")
    (array([[[3, 3]]]), array([[[1, 2]]]))
    """
    return _max(x, layout, lambda size: windows_of(size, kernel_size, stride, padding, dilation, ceil_mode))


def adaptive_max_pool(
    x: ArrayLike, output_size: Any, *, layout: str = "NCHW"
) -> tuple[NDArray[Any], Indices]:
    """Largest of each window of a grid, and its index."""
    return _max(x, layout, lambda size: _adaptive(size, output_size))


def scatter(
    grad_output: ArrayLike, indices: ArrayLike, input_shape: Sequence[int], *, layout: str = "NCHW"
) -> Array:
    """Gradient of everything that picks a pixel: each is added to the pixel that its index says, -1 to none.

    Examples
    --------
    >>> scatter([[[1, 2]]], [[[3, 3]]], (1, 1, 4), layout="NCL")
    array([[[0., 0., 0., 3.]]])
    """
    grad, rank, batched = _first(np.asarray(grad_output, np.float64), layout)
    found = _first(indices, layout)[0].reshape(*grad.shape[:2], -1)
    like = _first(np.broadcast_to(0.0, tuple(input_shape)), layout)[0]
    x = np.zeros((*like.shape[:2], int(np.prod(like.shape[2:])) + 1))  # the last is for -1
    n, c, _ = np.ogrid[: grad.shape[0], : grad.shape[1], :1]
    np.add.at(x, (n, c, found), grad.reshape(found.shape))
    return np.asarray(_back(x[..., :-1].reshape(like.shape), layout, rank, batched))


def max_unpool(
    x: ArrayLike, indices: ArrayLike, output_shape: Sequence[int], *, layout: str = "NCHW"
) -> Array:
    """Every value at its index, zeros elsewhere."""
    return scatter(x, indices, output_shape, layout=layout)


def max_unpool_grad(grad_output: ArrayLike, indices: ArrayLike, *, layout: str = "NCHW") -> Array:
    """What lies at the indices."""
    grad, rank, batched = _first(np.asarray(grad_output, np.float64), layout)
    found = _first(indices, layout)[0]
    flat = grad.reshape(*grad.shape[:2], -1)
    picked = np.take_along_axis(flat, found.reshape(*grad.shape[:2], -1), -1)
    return np.asarray(_back(picked.reshape(found.shape), layout, rank, batched))


# --- Sums ---------------------------------------------------------------------------------------------


def _sum(x: ArrayLike, layout: str, make: Any, include_pad: bool, override: int | None) -> Array:
    image, rank, batched = _first(np.asarray(x, np.float64), layout)
    axes = make(image.shape[2:])
    y = _out(image, axes)
    for output, pixels, counted in _each(axes):
        seen = image[pixels].reshape(*image.shape[:2], -1)
        y[_at(output)] = seen.sum(axis=-1) / _count(seen.shape[-1], counted, include_pad, override)
    return np.asarray(_back(y, layout, rank, batched))


def _count(inside: int, counted: int, include_pad: bool, override: int | None) -> int:
    return override or max(counted if include_pad else inside, 1)


def _sum_grad(
    grad_output: ArrayLike,
    input_shape: Sequence[int],
    layout: str,
    make: Any,
    include_pad: bool,
    override: int | None,
) -> Array:
    grad, rank, batched = _first(np.asarray(grad_output, np.float64), layout)
    x = np.zeros(_first(np.broadcast_to(0.0, tuple(input_shape)), layout)[0].shape)
    axes = make(x.shape[2:])
    for output, pixels, counted in _each(axes):
        inside = int(np.prod([len(axis.inside[o]) for axis, o in zip(axes, output)]))
        share = grad[_at(output)] / _count(inside, counted, include_pad, override)
        x[pixels] += share.reshape(*x.shape[:2], *[1] * rank)
    return np.asarray(_back(x, layout, rank, batched))


def avg_pool(
    x: ArrayLike,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    layout: str = "NCHW",
) -> Array:
    """Sum of each window over what it counts.

    Examples
    --------
    >>> averages = avg_pool([[[1, 2, 3]]], 3, 1, 1, layout="NCL")
    >>> averages, avg_pool([[[4, 2]]], 3, 1, 1, False, False, layout="NCL")
    (array([[[1.        , 2.        , 1.66666667]]]), array([[[3., 3.]]]))
    """

    def make(size: Sequence[int]) -> list[Axis]:
        return windows_of(size, kernel_size, stride, padding, dilation, ceil_mode)

    return _sum(x, layout, make, count_include_pad, divisor_override)


def avg_pool_grad(
    grad_output: ArrayLike,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    input_shape: Sequence[int],
    dilation: Any = 1,
    layout: str = "NCHW",
) -> Array:
    """Gradient of `avg_pool`: each window gives every pixel in it the same share."""

    def make(size: Sequence[int]) -> list[Axis]:
        return windows_of(size, kernel_size, stride, padding, dilation, ceil_mode)

    return _sum_grad(grad_output, input_shape, layout, make, count_include_pad, divisor_override)


def adaptive_avg_pool(x: ArrayLike, output_size: Any, *, layout: str = "NCHW") -> Array:
    """Mean of each window of a grid."""
    return _sum(x, layout, lambda size: _adaptive(size, output_size), False, None)


def adaptive_avg_pool_grad(
    grad_output: ArrayLike, output_size: Any, *, input_shape: Sequence[int], layout: str = "NCHW"
) -> Array:
    """Gradient of `adaptive_avg_pool`."""
    return _sum_grad(grad_output, input_shape, layout, lambda size: _adaptive(size, output_size), False, None)


def lp_pool(
    x: ArrayLike,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    padding: Any = 0,
    dilation: Any = 1,
    layout: str = "NCHW",
) -> Array:
    """Lp norm of each window: (sum of |x| ** p) ** (1 / p).

    Examples
    --------
    >>> lp_pool([[[3, -4]]], 2, 2, layout="NCL")
    array([[[5.]]])
    """
    powers = np.abs(np.asarray(x, np.float64)) ** norm_type
    sums = avg_pool(
        powers, kernel_size, stride, padding, ceil_mode, True, 1, dilation=dilation, layout=layout
    )
    return np.asarray(sums ** (1 / norm_type))


def lp_pool_grad(
    grad_output: ArrayLike,
    x: ArrayLike,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    padding: Any = 0,
    dilation: Any = 1,
    layout: str = "NCHW",
) -> Array:
    """Gradient of `lp_pool`: grad * (|x| / y) ** (p - 1) with the sign of x, 0 where x or y is."""
    x = np.asarray(x, np.float64)
    how = {"padding": padding, "dilation": dilation, "layout": layout}
    y = lp_pool(x, norm_type, kernel_size, stride, ceil_mode, **how)
    scaled = np.where(
        y == 0, 0, np.asarray(grad_output, np.float64) * np.where(y == 0, 1, y) ** (1 - norm_type)
    )
    sums = avg_pool_grad(
        scaled,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        True,
        1,
        input_shape=x.shape,
        dilation=dilation,
        layout=layout,
    )
    return np.asarray(np.sign(x) * np.where(x == 0, 1, np.abs(x)) ** (norm_type - 1) * sums)


def weighted_avg_pool2d(
    x: ArrayLike,
    weight: ArrayLike,
    stride: Any = None,
    padding: Any = 0,
    *,
    dilation: Any = 1,
    layout: str = "NCHW",
) -> Array:
    """Sum of weight * x over the sum of the weights whose pixel is inside x.

    Examples
    --------
    >>> weighted_avg_pool2d([[[4, 8]]], [[1, 1, 2]], 1, [0, 1])
    array([[[6.66666667, 6.        ]]])
    """
    weight = np.asarray(weight, np.float64)
    how = (weight.shape, weight.shape if stride is None else stride, padding, dilation)
    image, rank, batched = _first(np.asarray(x, np.float64), layout)
    return np.asarray(
        _back(
            _weighted(image, weight, *how) / _weighted(np.ones_like(image), weight, *how),
            layout,
            rank,
            batched,
        )
    )


def _weighted(image: Array, weight: Array, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Array:
    from fastconv.reference import conv2d

    flat = image.reshape(-1, 1, *image.shape[2:])
    y = conv2d(flat, weight[np.newaxis, np.newaxis], None, stride, padding, dilation)
    return y.reshape(*image.shape[:2], *y.shape[2:])


def weighted_avg_pool2d_grad(
    grad_output: ArrayLike,
    weight: ArrayLike,
    stride: Any = None,
    padding: Any = 0,
    *,
    input_shape: Sequence[int],
    dilation: Any = 1,
    layout: str = "NCHW",
) -> Array:
    """Gradient of `weighted_avg_pool2d` with respect to x."""
    from fastconv.reference import conv2d_input_grad

    weight = np.asarray(weight, np.float64)
    stride = weight.shape if stride is None else stride
    grad, rank, batched = _first(np.asarray(grad_output, np.float64), layout)
    like: Any = np.ones(_first(np.broadcast_to(0.0, tuple(input_shape)), layout)[0].shape)
    grad = grad / _weighted(like, weight, weight.shape, stride, padding, dilation)
    x = conv2d_input_grad(
        grad.reshape(-1, 1, *grad.shape[2:]),
        weight[np.newaxis, np.newaxis],
        input_shape=(like.shape[0] * like.shape[1], 1, *like.shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
    )
    return np.asarray(_back(x.reshape(like.shape), layout, rank, batched))


def weighted_avg_pool2d_weight_grad(
    grad_output: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    stride: Any = None,
    padding: Any = 0,
    *,
    dilation: Any = 1,
    layout: str = "NCHW",
) -> Array:
    """Gradient of `weighted_avg_pool2d` with respect to the weights: one pixel of all windows at a time."""
    weight = np.asarray(weight, np.float64)
    how = (weight.shape, weight.shape if stride is None else stride, padding, dilation)
    image, grad = (_first(np.asarray(a, np.float64), layout)[0] for a in (x, grad_output))
    sums = _weighted(np.ones_like(image), weight, *how)
    y = _weighted(image, weight, *how) / sums
    made = np.empty(weight.shape)
    for at in np.ndindex(*weight.shape):
        one = np.zeros(weight.shape)
        one[at] = 1
        inside = _weighted(np.ones_like(image), one, *how)
        made[at] = np.sum(grad / sums * (_weighted(image, one, *how) - y * inside))
    return made


# --- Stochastic ---------------------------------------------------------------------------------------


def stochastic_pool2d(
    x: ArrayLike,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    dilation: Any = 1,
    ceil_mode: bool = False,
    random: ArrayLike | None = None,
    layout: str = "NCHW",
) -> tuple[Array, Indices]:
    """Expected value of each window; or, with a number in [0, 1) for each output, a pixel and its index.

    The pixel is the first where the sum so far, row by row, is more than random * the sum of the window.

    Examples
    --------
    >>> stochastic_pool2d([[[1, 3]]], (1, 2))[0], stochastic_pool2d([[[1, 3]]], (1, 2), random=[[[0.3]]])
    (array([[[2.5]]]), (array([[[3.]]]), array([[[1]]])))
    """
    image, rank, batched = _first(np.asarray(x, np.float64), layout)
    axes = windows_of(image.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    y, found = _out(image, axes), _out(image, axes, np.int64)
    found[...] = -1
    numbers = None if random is None else _first(np.asarray(random, np.float64), layout)[0]
    for output, pixels, _ in _each(axes):
        seen = image[pixels].reshape(*image.shape[:2], -1)
        total = seen.sum(axis=-1)
        where = _at(output)
        if numbers is None or seen.shape[-1] == 0:
            y[where] = (seen**2).sum(axis=-1) / np.where(total > 0, total, 1)
            continue
        limit = numbers[where] * np.cumsum(seen, axis=-1)[..., -1]
        drawn = np.argmax(np.cumsum(seen, axis=-1) > limit[..., np.newaxis], axis=-1)
        y[where] = np.take_along_axis(seen, drawn[..., np.newaxis], -1)[..., 0]
        found[where] = np.where(total > 0, _plane_indices(axes, pixels)[drawn], -1)
    return np.asarray(_back(y, layout, rank, batched)), _back(found, layout, rank, batched)
