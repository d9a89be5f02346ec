"""The functions of `torch.nn.functional` that fastconv has, with their names and signatures.

What fastconv does not take (another device or dtype, sparse tensors, subclasses, autocast, forward-mode
differentiation, options that are wrong) is handed to torch's own function, with its result or its error.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastconv.operators import Spec
from fastconv.torch.eager import HANDLES, call
from fastconv.torch.faces import Face, NotOurs, Shapes
from fastconv.torch.modes import is_computable

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
    "conv1d",
    "conv2d",
    "conv3d",
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

Sizes = int | Sequence[int]
OutputSize = int | Sequence[int | None] | None


# --- What torch's arguments mean ------------------------------------------------------------------------


def _each(value: Any, spatial: int, least: int) -> tuple[int, ...]:
    """One integer for each axis; torch also repeats a sequence of one."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) == 1:
        values = values * spatial
    if len(values) != spatial:
        raise NotOurs
    for item in values:
        if not _is_whole(item) or item < least:
            raise NotOurs
    return values


def _is_whole(value: Any) -> bool:
    """Whether it is an integer, or stands for one while a compiler traces; others are for torch to judge."""
    return (isinstance(value, int) and not isinstance(value, bool)) or isinstance(value, torch.SymInt)


def _flag(value: Any) -> bool:
    """Return what is a bool; torch takes nothing else for one."""
    if not isinstance(value, bool):
        raise NotOurs
    return value


def _both(padding: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([amount for each in padding for amount in (each, each)])


def _conv_options(spatial: int) -> Any:
    def options(shapes: Shapes, given: tuple[Any, ...]) -> tuple[Any, ...]:
        stride, padding, dilation, groups = given
        steps, apart = _each(stride, spatial, 1), _each(dilation, spatial, 1)
        if not _is_whole(groups) or groups < 1:
            raise NotOurs
        x, weight = shapes[0], shapes[1]
        if (
            x is None
            or weight is None
            or len(x) not in (spatial + 1, spatial + 2)
            or len(weight) != spatial + 2
        ):
            raise NotOurs
        if not isinstance(padding, str):
            return steps, _both(_each(padding, spatial, 0)), apart, groups
        if padding == "valid":
            return steps, (0,) * (2 * spatial), apart, groups
        if padding != "same" or any(step != 1 for step in steps):
            raise NotOurs
        around = [d * (k - 1) for d, k in zip(apart, weight[2:])]
        return steps, tuple([p for total in around for p in (total // 2, total - total // 2)]), apart, groups

    return options


def _windows(
    spatial: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> tuple[Any, ...]:
    """Windows as torch takes them: padding of at most half of a window."""
    kernel = _each(kernel_size, spatial, 1)
    steps = kernel if stride is None or stride == () else _each(stride, spatial, 1)
    pads = _each(padding, spatial, 0)
    if any(2 * pad > size for pad, size in zip(pads, kernel)):
        raise NotOurs
    return kernel, steps, _both(pads), _each(dilation, spatial, 1), _flag(ceil_mode)


def _ranked(shape: Sequence[int] | None, spatial: int) -> Sequence[int]:
    """Refuse images that torch refuses, or that have nothing but a batch axis of 0 in them."""
    if shape is None or len(shape) not in (spatial + 1, spatial + 2):
        raise NotOurs
    for size in shape[-spatial - 1 :]:
        if size == 0:
            raise NotOurs
    return shape


def _max_options(spatial: int) -> Any:
    def options(shapes: Shapes, given: tuple[Any, ...]) -> tuple[Any, ...]:
        _ranked(shapes[0], spatial)
        return _windows(spatial, *given)

    return options


def _avg_options(spatial: int) -> Any:
    def options(shapes: Shapes, given: tuple[Any, ...]) -> tuple[Any, ...]:
        _ranked(shapes[0], spatial)
        kernel_size, stride, padding, ceil_mode, count_include_pad, *divisor = given
        override = divisor[0] if divisor else None
        if override is not None and (not _is_whole(override) or override < 1):
            raise NotOurs
        return (
            *_windows(spatial, kernel_size, stride, padding, 1, ceil_mode),
            _flag(count_include_pad),
            override,
        )

    return options


def _lp_options(spatial: int) -> Any:
    def options(shapes: Shapes, given: tuple[Any, ...]) -> tuple[Any, ...]:
        _ranked(shapes[0], spatial)
        norm_type, kernel_size, stride, ceil_mode = given
        # Torch keeps the sign of odd powers, and scales windows that ceil_mode cuts off.
        if _flag(ceil_mode) or norm_type <= 0 or norm_type % 2 != 0:
            raise NotOurs
        return float(norm_type), *_windows(spatial, kernel_size, stride, 0, 1, False)

    return options


def _grid_options(spatial: int) -> Any:
    def options(shapes: Shapes, given: tuple[Any, ...]) -> tuple[Any, ...]:
        sizes = _ranked(shapes[0], spatial)[-spatial:]
        wanted = given[0]
        if wanted is None:
            raise NotOurs
        wanted = tuple(wanted) if isinstance(wanted, (tuple, list)) else (wanted,) * spatial
        if len(wanted) != spatial:
            raise NotOurs
        return (_each(tuple([n if w is None else w for n, w in zip(sizes, wanted)]), spatial, 1),)

    return options


def _unpool_options(spatial: int) -> Any:
    def options(shapes: Shapes, given: tuple[Any, ...]) -> tuple[Any, ...]:
        shape = tuple(_ranked(shapes[0], spatial))
        if shapes[1] is None or tuple(shapes[1]) != shape:
            raise NotOurs
        kernel_size, stride, padding, output_size = given
        kernel = _each(kernel_size, spatial, 1)
        steps = kernel if stride is None else _each(stride, spatial, 1)
        pads = _each(padding, spatial, 0)
        sizes = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(shape[-spatial:], kernel, steps, pads)]
        if output_size is not None:
            wanted = tuple(output_size)[-spatial:]
            if len(wanted) != spatial or len(output_size) > len(shape):
                raise NotOurs
            for size, least, step in zip(wanted, sizes, steps):
                if not least - step < size < least + step:
                    raise NotOurs
            sizes = list(wanted)
        return ((*shape[:-spatial], *sizes),)

    return options


# --- Faces ----------------------------------------------------------------------------------------------


def _faces(kind: str, options: Any, defaults: tuple[Any, ...], plainly: Any = None) -> dict[int, Face]:
    return {
        n: Face(f"{kind}{n}d", getattr(F, f"{kind}{n}d"), options(n), defaults, plainly and plainly[n])
        for n in (1, 2, 3)
    }


def _with_indices(kind: str, options: Any, defaults: tuple[Any, ...]) -> dict[int, Face]:
    owns = {n: getattr(F, f"{kind}{n}d") for n in (1, 2, 3)}
    return {
        n: Face(
            f"{kind}{n}d_with_indices", own, options(n), defaults, functools.partial(own, return_indices=True)
        )
        for n, own in owns.items()
    }


_WINDOWS = (..., None, 0, 1, False)  # kernel_size, stride, padding, dilation, ceil_mode
_CONV = _faces("conv", _conv_options, (1, 0, 1, 1))
_MAX = _faces(
    "max_pool", _max_options, _WINDOWS, {1: torch.max_pool1d, 2: torch.max_pool2d, 3: torch.max_pool3d}
)
_MAX_INDICES = _with_indices("max_pool", _max_options, _WINDOWS)
_AVG = _faces("avg_pool", _avg_options, (..., None, 0, False, True, None))
_LP = _faces("lp_pool", _lp_options, (..., ..., None, False))
_GRID_AVG, _GRID_MAX = (
    _faces("adaptive_avg_pool", _grid_options, (...,)),
    _faces("adaptive_max_pool", _grid_options, (...,)),
)
_GRID_INDICES = _with_indices("adaptive_max_pool", _grid_options, (...,))
_UNPOOL = _faces("max_unpool", _unpool_options, (..., None, 0, None))
# What is called most, without a look-up.
_conv1, _conv2, _conv3 = _CONV[1], _CONV[2], _CONV[3]
_max2, _max_indices2, _avg2, _grid_avg2 = _MAX[2], _MAX_INDICES[2], _AVG[2], _GRID_AVG[2]


def conv1d(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv1d`, computed by fastconv."""
    return _conv1.filtered(input, weight, bias, (stride, padding, dilation, groups))


def conv2d(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d`, computed by fastconv.

    Examples
    --------
    >>> import torch
    >>> import fastconv.torch
    >>> x, weight = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)
    >>> fastconv.torch.conv2d(x, weight, padding=1)[0, 0, 0]
    tensor([4., 6., 6., 4.])
    """
    return _conv2.filtered(input, weight, bias, (stride, padding, dilation, groups))


def conv3d(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv3d`, computed by fastconv."""
    return _conv3.filtered(input, weight, bias, (stride, padding, dilation, groups))


def max_pool1d(
    input: Tensor,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`torch.nn.functional.max_pool1d`, computed by fastconv."""
    face = (_MAX_INDICES if return_indices else _MAX)[1]
    return face.image(input, (kernel_size, stride, padding, dilation, ceil_mode), (return_indices,))


def max_pool2d(
    input: Tensor,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`torch.nn.functional.max_pool2d`, computed by fastconv."""
    face = _max_indices2 if return_indices else _max2
    return face.image(input, (kernel_size, stride, padding, dilation, ceil_mode), (return_indices,))


def max_pool3d(
    input: Tensor,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`torch.nn.functional.max_pool3d`, computed by fastconv."""
    face = (_MAX_INDICES if return_indices else _MAX)[3]
    return face.image(input, (kernel_size, stride, padding, dilation, ceil_mode), (return_indices,))


def avg_pool1d(
    input: Tensor,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """`torch.nn.functional.avg_pool1d`, computed by fastconv."""
    given = (kernel_size, stride, padding, ceil_mode, count_include_pad)
    return _AVG[1].image(input, given)


def avg_pool2d(
    input: Tensor,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """`torch.nn.functional.avg_pool2d`, computed by fastconv."""
    given = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg2.image(input, given)


def avg_pool3d(
    input: Tensor,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """`torch.nn.functional.avg_pool3d`, computed by fastconv."""
    given = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _AVG[3].image(input, given)


def lp_pool1d(
    input: Tensor,  # noqa: A002
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """`torch.nn.functional.lp_pool1d`, computed by fastconv for even norms; slopes at 0 are 0, not NaN."""
    return _LP[1].image(input, (norm_type, kernel_size, stride, ceil_mode))


def lp_pool2d(
    input: Tensor,  # noqa: A002
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """`torch.nn.functional.lp_pool2d`, computed by fastconv for even norms; slopes at 0 are 0, not NaN."""
    return _LP[2].image(input, (norm_type, kernel_size, stride, ceil_mode))


def lp_pool3d(
    input: Tensor,  # noqa: A002
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """`torch.nn.functional.lp_pool3d`, computed by fastconv for even norms; slopes at 0 are 0, not NaN."""
    return _LP[3].image(input, (norm_type, kernel_size, stride, ceil_mode))


def adaptive_avg_pool1d(input: Tensor, output_size: OutputSize) -> Tensor:  # noqa: A002
    """`torch.nn.functional.adaptive_avg_pool1d`, computed by fastconv."""
    return _GRID_AVG[1].image(input, (output_size,))


def adaptive_avg_pool2d(input: Tensor, output_size: OutputSize) -> Tensor:  # noqa: A002
    """`torch.nn.functional.adaptive_avg_pool2d`, computed by fastconv."""
    return _grid_avg2.image(input, (output_size,))


def adaptive_avg_pool3d(input: Tensor, output_size: OutputSize) -> Tensor:  # noqa: A002
    """`torch.nn.functional.adaptive_avg_pool3d`, computed by fastconv."""
    return _GRID_AVG[3].image(input, (output_size,))


def adaptive_max_pool1d(
    input: Tensor,  # noqa: A002
    output_size: OutputSize,
    return_indices: bool = False,
) -> Any:
    """`torch.nn.functional.adaptive_max_pool1d`, computed by fastconv."""
    return (_GRID_INDICES if return_indices else _GRID_MAX)[1].image(input, (output_size,), (return_indices,))


def adaptive_max_pool2d(
    input: Tensor,  # noqa: A002
    output_size: OutputSize,
    return_indices: bool = False,
) -> Any:
    """`torch.nn.functional.adaptive_max_pool2d`, computed by fastconv."""
    return (_GRID_INDICES if return_indices else _GRID_MAX)[2].image(input, (output_size,), (return_indices,))


def adaptive_max_pool3d(
    input: Tensor,  # noqa: A002
    output_size: OutputSize,
    return_indices: bool = False,
) -> Any:
    """`torch.nn.functional.adaptive_max_pool3d`, computed by fastconv."""
    return (_GRID_INDICES if return_indices else _GRID_MAX)[3].image(input, (output_size,), (return_indices,))


def max_unpool1d(
    input: Tensor,  # noqa: A002
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """`torch.nn.functional.max_unpool1d`, computed by fastconv."""
    return _unpool(1, input, indices, (kernel_size, stride, padding, output_size))


def max_unpool2d(
    input: Tensor,  # noqa: A002
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """`torch.nn.functional.max_unpool2d`, computed by fastconv."""
    return _unpool(2, input, indices, (kernel_size, stride, padding, output_size))


def max_unpool3d(
    input: Tensor,  # noqa: A002
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """`torch.nn.functional.max_unpool3d`, computed by fastconv."""
    return _unpool(3, input, indices, (kernel_size, stride, padding, output_size))


def _unpool(spatial: int, x: Tensor, indices: Tensor, given: tuple[Any, ...]) -> Tensor:
    if not isinstance(indices, Tensor) or indices.dtype != torch.int64:
        return _UNPOOL[spatial].own(x, indices, *given)
    try:
        return _UNPOOL[spatial]((x, indices), given)
    except ValueError:  # an index outside its plane
        return _UNPOOL[spatial].own(x, indices, *given)


# --- What torch does not have ---------------------------------------------------------------------------


def weighted_avg_pool2d(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    stride: Sizes | None = None,
    padding: Any = 0,
    *,
    dilation: Sizes = 1,
) -> Tensor:
    """`fastconv.weighted_avg_pool2d` on tensors; differentiable with respect to both."""
    return _ours(
        "weighted_avg_pool2d", (input, weight), {"stride": stride, "padding": padding, "dilation": dilation}
    )


def stochastic_pool2d(
    input: Tensor,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Any = 0,
    *,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`fastconv.stochastic_pool2d` on tensors; with ``training=True`` samples come from torch's generator."""
    given = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    if not training:
        return _ours("stochastic_pool2d", (input,), given)
    operator = HANDLES["stochastic_pool2d"].op
    options = operator.canonical({"x": tuple(input.shape)}, **given, layout="NCHW")
    specs = {"x": Spec(tuple(input.shape), input.dtype)}
    shape = operator.shape(specs, options)[0].shape
    random = torch.rand(shape, dtype=torch.float64, generator=generator)
    return _ours("stochastic_pool2d_samples", (input, random), given)[0]


def _ours(name: str, arrays: tuple[Tensor, ...], given: dict[str, Any]) -> Any:
    handle = HANDLES[name]
    if not is_computable(arrays[0]):
        raise TypeError(f"{name} takes dense float32 and float64 tensors on the CPU, got {arrays[0].dtype}")
    shapes = {a.name: tuple(array.shape) for a, array in zip(handle.op.arrays, arrays)}
    options = handle.op.canonical(shapes, **given, layout="NCHW")
    return call(handle, arrays, tuple([options[option] for option in handle.options]))
