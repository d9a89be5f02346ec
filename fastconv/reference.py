"""The definition of every operator and of every gradient: NumPy alone, float64 throughout, no speed.

Read this file to learn what a function of the library computes; the tests hold every kernel to it.
Sums of integers are exact here as long as they stay below 2**53.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index as as_integer
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[np.float64]
Shape = Sequence[int]
Pads = tuple[tuple[int, int], ...]
Activation = str | tuple[str, float] | None

LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
PADDING_MODES = ("zeros", "constant", "replicate", "edge", "reflect", "symmetric", "circular", "wrap")

# --- Padding ------------------------------------------------------------------------------------------


def source_index(size: int, before: int, after: int, mode: str) -> NDArray[np.intp]:
    """Say which pixel of an axis each position of the padded axis shows; -1 where it is the constant.

    Drawn for an axis ``a b c d`` with three positions before it and three after::

        mode                      before | a b c d | after
        zeros                      0 0 0 | a b c d | 0 0 0
        constant                   v v v | a b c d | v v v      v is padding_value
        replicate, edge            a a a | a b c d | d d d
        reflect                    d c b | a b c d | c b a
        symmetric                  c b a | a b c d | d c b
        circular, wrap             b c d | a b c d | a b c

    The last three reach once across the axis at most, reflect one pixel less.

    Examples
    --------
    >>> source_index(4, 3, 3, "reflect")
    array([3, 2, 1, 0, 1, 2, 3, 2, 1, 0])
    >>> source_index(4, 3, 3, "zeros")
    array([-1, -1, -1,  0,  1,  2,  3, -1, -1, -1])
    """
    reach = {"reflect": size - 1, "symmetric": size, "circular": size, "wrap": size}.get(mode, before + after)
    if max(before, after) > reach:
        raise ValueError(f"padding {(before, after)} is too much: {mode!r} reaches over {reach} pixels")
    i = np.arange(-before, size + after)
    if mode in ("zeros", "constant"):
        return np.where((i >= 0) & (i < size), i, -1)
    if mode in ("replicate", "edge"):
        return np.clip(i, 0, size - 1)
    if mode in ("circular", "wrap"):
        return i % size
    if mode == "symmetric":
        return np.where(i < 0, -1 - i, np.where(i < size, i, 2 * size - 1 - i))
    if mode == "reflect":
        return np.where(i < 0, -i, np.where(i < size, i, 2 * size - 2 - i))
    raise ValueError(f"padding_mode is {mode!r}; wanted one of {', '.join(map(repr, PADDING_MODES))}")


def pad(x: ArrayLike, pads: Sequence[tuple[int, int]], mode: str = "zeros", value: float = 0) -> Array:
    """Pad the last ``len(pads)`` axes of x, each by (before, after) positions; modes as in `source_index`.

    Examples
    --------
    >>> pad([1, 2, 3], [(2, 1)], "symmetric")
    array([2., 1., 1., 2., 3., 3.])
    """
    x = np.asarray(x, dtype=np.float64)
    for axis, (before, after) in enumerate(pads, start=x.ndim - len(pads)):
        source = source_index(x.shape[axis], before, after, mode)
        shows_x = source >= 0
        shape = (*x.shape[:axis], len(source), *x.shape[axis + 1 :])
        padded = np.full(shape, value if mode == "constant" else 0, np.float64)
        np.moveaxis(padded, axis, 0)[shows_x] = np.moveaxis(x, axis, 0)[source[shows_x]]
        x = padded
    return x


def pad_grad(grad: ArrayLike, pads: Sequence[tuple[int, int]], mode: str = "zeros") -> Array:
    """Gradient of `pad`: every pixel collects the gradients of all positions that showed it.

    Examples
    --------
    >>> pad_grad([1, 10, 100, 1000, 10000, 100000], [(2, 1)], "symmetric")
    array([   110.,   1001., 110000.])
    """
    grad = np.asarray(grad, dtype=np.float64)
    for axis, (before, after) in enumerate(pads, start=grad.ndim - len(pads)):
        size = grad.shape[axis] - before - after
        source = source_index(size, before, after, mode)
        shows_x = source >= 0
        collected = np.zeros((*grad.shape[:axis], size, *grad.shape[axis + 1 :]))
        np.add.at(np.moveaxis(collected, axis, 0), source[shows_x], np.moveaxis(grad, axis, 0)[shows_x])
        grad = collected
    return grad


def pad_amounts(padding: Any, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
                dilation: Sequence[int]) -> Pads:
    """Turn the argument ``padding`` into (before, after) for each axis.

    An int, one int per axis, one (before, after) pair per axis, or a name:

    - ``"valid"``: none.
    - ``"same"``: as much as makes ceil(size / stride) outputs; if that is odd, the larger half is after.
    - ``"same_lower"``: the same, with the larger half before.
    - ``"causal"``: all of it before, so that no output sees a later input (one axis only).

    Examples
    --------
    >>> pad_amounts("same", size=[5, 6], kernel=[2, 3], stride=[1, 2], dilation=[1, 1])
    ((0, 1), (0, 1))
    >>> pad_amounts((1, (0, 2)), size=[5, 6], kernel=[2, 3], stride=[1, 2], dilation=[1, 1])
    ((1, 1), (0, 2))
    """
    rank = len(size)
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * rank
        if padding == "causal" and rank == 1:
            return ((dilation[0] * (kernel[0] - 1), 0),)
        if padding not in ("same", "same_lower"):
            raise ValueError(f"padding is {padding!r}; the words are valid, same, same_lower, in 1-D causal")
        total = [max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
                 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)]
        halves = tuple((t // 2, t - t // 2) for t in total)
        return halves if padding == "same" else tuple((after, before) for before, after in halves)
    pads = tuple(_pair(p) for p in (tuple(padding) if np.iterable(padding) else (padding,) * rank))
    if len(pads) != rank:
        raise ValueError(f"padding is {padding!r}; wanted {rank} entries, ints or (before, after) pairs")
    if min(min(p) for p in pads) < 0:
        raise ValueError(f"padding must not be negative, got {padding!r}")
    return pads


def _pair(p: Any) -> tuple[int, int]:
    """Read one axis of ``padding``: an int means the same on both sides."""
    if not np.iterable(p):
        return as_integer(p), as_integer(p)
    before, after = p
    return as_integer(before), as_integer(after)


# --- Activation ---------------------------------------------------------------------------------------


def _slope(activation: Any) -> tuple[str | None, float]:
    """Split ``activation`` into its name and the slope that leaky ReLU has below zero."""
    if isinstance(activation, tuple) and len(activation) == 2 and activation[0] == "leaky_relu":
        return "leaky_relu", float(activation[1])
    if activation in (None, "relu", "relu6"):
        return activation, 0.0
    raise ValueError(f"activation is {activation!r}; wanted None, 'relu', 'relu6' or ('leaky_relu', slope)")


def activate(z: ArrayLike, activation: Activation) -> Array:
    """Apply an activation; NaN stays NaN.

    ``"relu"``: max(z, 0); ``"relu6"``: min(max(z, 0), 6); ``("leaky_relu", a)``: z above zero, a * z below.

    Examples
    --------
    >>> activate([-2, 3, 7], "relu6"), activate([-2, 3, 7], ("leaky_relu", 0.1))
    (array([0., 3., 6.]), array([-0.2,  3. ,  7. ]))
    """
    z = np.asarray(z, dtype=np.float64)
    name, slope = _slope(activation)
    if name == "leaky_relu":
        return np.where(z < 0, slope * z, z)
    if name is None:
        return z
    return np.asarray(np.clip(z, 0, 6 if name == "relu6" else np.inf))


def activation_grad(grad: ArrayLike, z: ArrayLike, activation: Activation) -> Array:
    """Gradient of `activate` with respect to ``z``, the values before it; at a corner, the side of zero.

    Examples
    --------
    >>> activation_grad([1, 1, 1], [-2, 3, 7], "relu6")
    array([0., 1., 0.])
    """
    z, grad = np.asarray(z, dtype=np.float64), np.asarray(grad, dtype=np.float64)
    name, slope = _slope(activation)
    if name == "leaky_relu":
        return grad * np.where(z > 0, 1, slope)
    if name is None:
        return grad
    return grad * ((z > 0) & (z < (6 if name == "relu6" else np.inf)))


# --- Convolution in any number of dimensions ----------------------------------------------------------
#
# Inside, images are (batch, groups, channels of a group, *size), outputs the same with their own numbers,
# and weights (groups, outputs of a group, channels of a group, *kernel).


@dataclass(frozen=True)
class _Geometry:
    """The checked numbers of one convolution, one entry per axis."""

    batch: int
    groups: int
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads

    @property
    def padded(self) -> tuple[int, ...]:
        return tuple(before + n + after for n, (before, after) in zip(self.size, self.pads, strict=True))

    @property
    def reach(self) -> tuple[int, ...]:
        """How many pixels a dilated kernel spans."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def out_size(self) -> tuple[int, ...]:
        return tuple((n - r) // s + 1 for n, r, s in zip(self.padded, self.reach, self.stride, strict=True))

    def taps(self) -> Iterator[tuple[Any, Any]]:
        """Yield an index of every kernel position, and one of the pixel that it meets for each output.

        Output p and kernel position k meet at ``p * stride + k * dilation`` of the padded image.
        """
        for tap in np.ndindex(*self.kernel):
            yield (..., *tap), (..., *(
                slice(k * d, k * d + (n - 1) * s + 1, s)
                for k, d, s, n in zip(tap, self.dilation, self.stride, self.out_size, strict=True)
            ))

    def split_weight(self, weight: Array) -> Array:
        return weight.reshape(self.groups, self.out_channels // self.groups, *weight.shape[1:])

    def split_image(self, image: Array) -> Array:
        """Cut the channels of an image, or of an output, into groups."""
        return image.reshape(self.batch, self.groups, image.shape[1] // self.groups, *image.shape[2:])

    def flat(self, outputs: Array) -> Array:
        """Put all output pixels on one axis, so that one tap is one matrix product per group."""
        return outputs.reshape(*outputs.shape[:3], int(np.prod(self.out_size)))


def _per_axis(value: Any, rank: int, name: str) -> tuple[int, ...]:
    values = tuple(as_integer(v) for v in (value if np.iterable(value) else (value,) * rank))
    if len(values) != rank or min(values) < 1:
        raise ValueError(f"{name} is {value!r}; wanted an int or {rank} of them, at least 1")
    return values


def _geometry(x_shape: Shape, weight_shape: Shape, stride: Any, padding: Any, dilation: Any,
              groups: int) -> _Geometry:
    """Check shapes, (N, C, *size) and (out, in / groups, *kernel), against the options."""
    rank = len(weight_shape) - 2
    (batch, channels, *size), (out_channels, in_per_group, *kernel) = x_shape, weight_shape
    if groups < 1 or channels % groups or out_channels % groups:
        raise ValueError(f"groups={groups} does not divide {channels} channels of x, {out_channels} outputs")
    if in_per_group * groups != channels:
        raise ValueError(f"weight has {in_per_group} channels a group; x has {channels} in {groups} group(s)")
    if min(channels, out_channels, *size, *kernel) < 1:
        raise ValueError(f"x is {tuple(x_shape)} and weight {tuple(weight_shape)}; only a batch may be empty")
    strides, dilations = _per_axis(stride, rank, "stride"), _per_axis(dilation, rank, "dilation")
    pads = pad_amounts(padding, size, kernel, strides, dilations)
    g = _Geometry(batch, groups, channels, out_channels, tuple(size), tuple(kernel), strides, dilations, pads)
    if min(g.out_size) < 1:
        raise ValueError(f"weight: the kernel reaches over {g.reach} pixels; the padded x has {g.padded}")
    return g


def _channels_last(layout: str | None, rank: int) -> bool:
    if layout is not None and layout not in LAYOUTS[rank]:
        raise ValueError(f"layout is {layout!r}; wanted {' or '.join(map(repr, LAYOUTS[rank]))}")
    return layout == LAYOUTS[rank][1]


def _to_first(a: ArrayLike, rank: int, layout: str | None, name: str) -> Array:
    """Bring an image to (batch, channels, *size), whatever its layout and with or without a batch axis."""
    a = np.asarray(a, dtype=np.float64)
    if a.ndim not in (rank + 1, rank + 2):
        raise ValueError(f"{name} has {a.ndim} axes; wanted {rank + 2}, or {rank + 1} without a batch")
    a = a if a.ndim == rank + 2 else a[np.newaxis]
    return np.moveaxis(a, -1, 1) if _channels_last(layout, rank) else a


def _from_first(a: Array, rank: int, layout: str | None, batched: bool) -> Array:
    """Undo `_to_first`."""
    a = np.moveaxis(a, 1, -1) if _channels_last(layout, rank) else a
    return np.ascontiguousarray(a if batched else a[0])


def _weight(weight: ArrayLike, rank: int) -> Array:
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim != rank + 2:
        raise ValueError(f"weight has {weight.ndim} axes; wanted {rank + 2}: (out, in / groups, *kernel)")
    return weight


def _conv(rank: int, x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Any = 1,
          padding: Any = 0, dilation: Any = 1, groups: int = 1, padding_mode: str = "zeros",
          padding_value: float = 0, layout: str | None = None, activation: Activation = None) -> Array:
    weight, image = _weight(weight, rank), _to_first(x, rank, layout, "x")
    g = _geometry(image.shape, weight.shape, stride, padding, dilation, groups)
    image = g.split_image(pad(image, g.pads, padding_mode, padding_value))
    weight = g.split_weight(weight)
    y: Array = np.zeros((g.batch, g.out_channels, *g.out_size))
    flat = g.flat(g.split_image(y))  # a view: adding to it adds to y
    for tap, window in g.taps():
        flat += weight[tap] @ g.flat(image[window])
    if bias is not None:
        bias = np.asarray(bias, dtype=np.float64)
        if bias.shape != (g.out_channels,):
            raise ValueError(f"bias has shape {bias.shape}; wanted ({g.out_channels},)")
        y += bias.reshape(-1, *[1] * rank)
    return _from_first(activate(y, activation), rank, layout, np.ndim(x) == rank + 2)


def _input_grad(rank: int, grad_output: ArrayLike, weight: ArrayLike, input_shape: Shape,
                stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
                padding_mode: str = "zeros", layout: str | None = None) -> Array:
    weight, grad_y = _weight(weight, rank), _to_first(grad_output, rank, layout, "grad_output")
    x_shape = _to_first(np.broadcast_to(0.0, tuple(input_shape)), rank, layout, "input_shape").shape
    g = _geometry(x_shape, weight.shape, stride, padding, dilation, groups)
    _check_grad_output(grad_y, g)
    grad_image = g.split_image(np.zeros((g.batch, g.in_channels, *g.padded)))
    flat, transposed = g.flat(g.split_image(grad_y)), g.split_weight(weight).swapaxes(1, 2)
    for tap, window in g.taps():
        meets = grad_image[window]  # a view, of distinct pixels
        meets += (transposed[tap] @ flat).reshape(meets.shape)
    grad_x = pad_grad(grad_image.reshape(g.batch, g.in_channels, *g.padded), g.pads, padding_mode)
    return _from_first(grad_x, rank, layout, len(input_shape) == rank + 2)


def _weight_grad(rank: int, grad_output: ArrayLike, x: ArrayLike, weight_shape: Shape, stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, padding_mode: str = "zeros",
                 padding_value: float = 0, layout: str | None = None) -> Array:
    grad_y, image = _to_first(grad_output, rank, layout, "grad_output"), _to_first(x, rank, layout, "x")
    g = _geometry(image.shape, weight_shape, stride, padding, dilation, groups)
    _check_grad_output(grad_y, g)
    image = g.split_image(pad(image, g.pads, padding_mode, padding_value))
    flat = g.flat(g.split_image(grad_y))
    grad_weight: Array = np.zeros(tuple(weight_shape))
    by_group = g.split_weight(grad_weight)
    for tap, window in g.taps():
        by_group[tap] = (flat @ g.flat(image[window]).swapaxes(-1, -2)).sum(axis=0)
    return grad_weight


def _bias_grad(rank: int, grad_output: ArrayLike, layout: str | None) -> Array:
    grad_y = _to_first(grad_output, rank, layout, "grad_output")
    return np.asarray(grad_y.sum(axis=(0, *range(2, rank + 2))))


def _check_grad_output(grad_y: Array, g: _Geometry) -> None:
    wanted = (g.batch, g.out_channels, *g.out_size)
    if grad_y.shape != wanted:
        raise ValueError(f"grad_output is {grad_y.shape} as (N, C, *size); these options make {wanted}")


# --- The public functions -----------------------------------------------------------------------------


def conv1d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1, *, padding_mode: str = "zeros", padding_value: float = 0,
           layout: str = "NCL", activation: Activation = None) -> Array:
    """Convolve signals: `conv2d` with one axis; ``padding`` may also be ``"causal"``.

    ::

        y[n, o, p] = act(bias[o] + sum over c, k of weight[o, c, k] * padded[n, c, p * s + k * d])

    Examples
    --------
    >>> conv1d([[1, 2, 3, 4, 5, 5, 4, 3, 2, 1]], [[[-1, 0, 1]]])
    array([[ 2.,  2.,  2.,  1., -1., -2., -2., -2.]])
    >>> conv1d([[1, 2, 3, 4, 5]], [[[-1, 0, 2, 0, -1]]], padding=2, padding_mode="symmetric")
    array([[-3., -1.,  0.,  1.,  3.]])
    """
    return _conv(1, x, weight, bias, stride, padding, dilation, groups, padding_mode, padding_value, layout,
                 activation)


def conv2d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1, *, padding_mode: str = "zeros", padding_value: float = 0,
           layout: str = "NCHW", activation: Activation = None) -> Array:
    """Convolve images, as neural networks mean it: the kernel is not flipped (a cross-correlation).

    ::

        y[n, o, p, q] = act(bias[o] + sum over c, i, j of
                            weight[o, c, i, j] * padded[n, first(o) + c, p * s0 + i * d0, q * s1 + j * d1])

    where ``padded`` is x with its border (`pad`), s and d are stride and dilation, c counts the
    in / groups channels of the group that output o belongs to, and first(o) is the first of them.

    Parameters
    ----------
    x : array_like, (N, C, H, W), or (N, H, W, C) in layout "NHWC"; without N as well
    weight : array_like, (out, C / groups, kernel height, kernel width) in both layouts
    bias : array_like, (out,), optional
    stride, dilation : int or one int per axis
    padding : int, one int or (before, after) pair per axis, or a name
        See `pad_amounts`.
    groups : int
        Channels and outputs are cut into that many parts; outputs of a part see the channels of that part.
    padding_mode, padding_value
        See `source_index`.
    layout : {"NCHW", "NHWC"}
        Of x and of the result.
    activation : None, "relu", "relu6" or ("leaky_relu", slope)

    Returns
    -------
    ndarray of float64, (N, out, H', W') or (N, H', W', out)
        H' is ``(before + H + after - dilation * (kernel - 1) - 1) // stride + 1``.

    Examples
    --------
    >>> x = [[[1, 2, 3], [3, 4, 5], [1, 0, 2]]]
    >>> conv2d(x, [[[[0, 1], [1, -1]]]])
    array([[[1., 2.],
            [5., 3.]]])
    >>> conv2d(x, [[[[0, 1], [1, -1]]]], padding="same")
    array([[[1., 2., 5.],
            [5., 3., 2.],
            [0., 2., 0.]]])
    """
    return _conv(2, x, weight, bias, stride, padding, dilation, groups, padding_mode, padding_value, layout,
                 activation)


def conv3d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1, *, padding_mode: str = "zeros", padding_value: float = 0,
           layout: str = "NCDHW", activation: Activation = None) -> Array:
    """Convolve volumes: `conv2d` with three axes.

    Examples
    --------
    The 2x2 example of `conv2d`, and an image of ones behind it that counts double:

    >>> x = [[[[1, 2, 3], [3, 4, 5], [1, 0, 2]], [[1, 1, 1], [1, 1, 1], [1, 1, 1]]]]
    >>> conv3d(x, [[[[[0, 1], [1, -1]], [[2, 0], [0, 0]]]]])
    array([[[[3., 4.],
             [7., 5.]]]])
    """
    return _conv(3, x, weight, bias, stride, padding, dilation, groups, padding_mode, padding_value, layout,
                 activation)


def conv1d_input_grad(grad_output: ArrayLike, weight: ArrayLike, *, input_shape: Shape, **how: Any) -> Array:
    """Gradient of `conv1d` with respect to x; see `conv2d_input_grad`."""
    return _input_grad(1, grad_output, weight, input_shape, **how)


def conv2d_input_grad(grad_output: ArrayLike, weight: ArrayLike, *, input_shape: Shape, **how: Any) -> Array:
    """Gradient of `conv2d` with respect to x.

    ::

        grad_padded[n, first(o) + c, p * s0 + i * d0, q * s1 + j * d1] +=
            weight[o, c, i, j] * grad_output[n, o, p, q]

    for every n, o, c, p, q, i, j; then `pad_grad` folds the border back.

    Parameters
    ----------
    grad_output : array_like, shape of the output
        Gradient with respect to the output before its activation; see `activation_grad`.
    input_shape : tuple of int
        Shape of x, in the layout and with or without a batch axis as x had it.
    **how : stride, padding, dilation, groups, padding_mode and layout, as `conv2d` had them

    Examples
    --------
    >>> conv2d_input_grad([[[1, 0], [0, 10]]], [[[[0, 1], [1, -1]]]], input_shape=(1, 3, 3))
    array([[[  0.,   1.,   0.],
            [  1.,  -1.,  10.],
            [  0.,  10., -10.]]])
    """
    return _input_grad(2, grad_output, weight, input_shape, **how)


def conv3d_input_grad(grad_output: ArrayLike, weight: ArrayLike, *, input_shape: Shape, **how: Any) -> Array:
    """Gradient of `conv3d` with respect to x; see `conv2d_input_grad`."""
    return _input_grad(3, grad_output, weight, input_shape, **how)


def conv1d_weight_grad(grad_output: ArrayLike, x: ArrayLike, *, weight_shape: Shape, **how: Any) -> Array:
    """Gradient of `conv1d` with respect to its weights; see `conv2d_weight_grad`."""
    return _weight_grad(1, grad_output, x, weight_shape, **how)


def conv2d_weight_grad(grad_output: ArrayLike, x: ArrayLike, *, weight_shape: Shape, **how: Any) -> Array:
    """Gradient of `conv2d` with respect to its weights.

    ::

        grad_weight[o, c, i, j] = sum over n, p, q of
            grad_output[n, o, p, q] * padded[n, first(o) + c, p * s0 + i * d0, q * s1 + j * d1]

    Parameters
    ----------
    grad_output : array_like, shape of the output
        Gradient with respect to the output before its activation; see `activation_grad`.
    weight_shape : tuple of int, (out, C / groups, kernel height, kernel width)
    **how : stride, padding, dilation, groups, padding_mode, padding_value and layout, as `conv2d` had them

    Examples
    --------
    >>> conv2d_weight_grad([[[1, 1], [1, 1]]], [[[1, 2, 3], [3, 4, 5], [1, 0, 2]]], weight_shape=(1, 1, 2, 2))
    array([[[[10., 14.],
             [ 8., 11.]]]])
    """
    return _weight_grad(2, grad_output, x, weight_shape, **how)


def conv3d_weight_grad(grad_output: ArrayLike, x: ArrayLike, *, weight_shape: Shape, **how: Any) -> Array:
    """Gradient of `conv3d` with respect to its weights; see `conv2d_weight_grad`."""
    return _weight_grad(3, grad_output, x, weight_shape, **how)


def conv1d_bias_grad(grad_output: ArrayLike, *, layout: str = "NCL") -> Array:
    """Gradient of `conv1d` with respect to its bias: the sum over batch and pixels."""
    return _bias_grad(1, grad_output, layout)


def conv2d_bias_grad(grad_output: ArrayLike, *, layout: str = "NCHW") -> Array:
    """Gradient of `conv2d` with respect to its bias: the sum over batch and pixels, for each output channel.

    Examples
    --------
    >>> conv2d_bias_grad([[[1, 2], [3, 4]], [[10, 20], [30, 40]]])
    array([ 10., 100.])
    """
    return _bias_grad(2, grad_output, layout)


def conv3d_bias_grad(grad_output: ArrayLike, *, layout: str = "NCDHW") -> Array:
    """Gradient of `conv3d` with respect to its bias: the sum over batch and voxels."""
    return _bias_grad(3, grad_output, layout)


# --- How far a floating-point result may be from these -------------------------------------------------


def error_bound(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, padding_value: float = 0,
                activation: Activation = None, dtype: DTypeLike | None = None, **how: Any) -> Array:
    """Bound the rounding error of a convolution, for each output: the tolerance of the tests.

    An inner product of n terms, in any order, with or without fused multiply-adds, is off by at most ::

        gamma(n) * sum |x||w|,   gamma(n) = n * u / (1 - n * u),   u = eps / 2

    (N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002, section 3.1), and
    that sum is itself a convolution, of absolute values.  Here n is the depth of the sum, in / groups times
    the kernel's pixels, plus one for the bias, which is one more term, one for a rounded padding_value, and
    two for an activation with a rounded slope.  ReLU and ReLU6 bring values no further apart, leaky ReLU by
    its slope at most.  The float64 sum of this file is allowed its own gamma(n).  A term that underflows, or
    an input that is flushed because it is denormal, is off by the smallest normal number times the other
    factor at most.

    It holds for sums of products: an algorithm that trades multiplications for additions has another bound.

    Parameters
    ----------
    x, weight, bias, padding_value, activation, **how
        As for `conv1d`, `conv2d` or `conv3d`, whichever the axes of the weights say.
    dtype : dtype, optional
        In which the convolution was computed; by default x's.

    Examples
    --------
    >>> x = np.array([[1, 2, 3, 4, 5]], dtype=np.float32)
    >>> bound = error_bound(x, [[[-1, 0, 1]]])
    >>> np.round(bound / np.finfo(np.float32).eps, 1)  # half of 7, times 1 + 3, 2 + 4, 3 + 5
    array([[14., 21., 28.]])
    """
    rank = np.ndim(weight) - 2
    info = np.finfo(np.asarray(x).dtype if dtype is None else dtype)
    x, weight = np.abs(np.asarray(x, dtype=np.float64)), np.abs(_weight(weight, rank))
    bias = None if bias is None else np.abs(np.asarray(bias, dtype=np.float64))
    magnitude = _conv(rank, x, weight, bias, padding_value=abs(padding_value), **how)
    n = weight[0].size + 4
    gamma = sum(n * u / (1 - n * u) for u in (float(info.eps) / 2, float(np.finfo(np.float64).eps) / 2))
    largest = max(x.max(initial=abs(padding_value)), weight.max())
    underflow = 2 * n * float(info.smallest_normal) * (1 + largest)
    return np.asarray(max(1.0, abs(_slope(activation)[1])) * (gamma * magnitude + underflow))
