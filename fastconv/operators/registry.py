"""What a differentiable operator is: one declaration from which every framework's adapter is made.

Filled by conv.py and pool.py beside it; read by fastconv/torch, fastconv/jax.py, fastconv/autograd.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

__all__ = [
    "REGISTRY",
    "Argument",
    "Call",
    "Framework",
    "Gradient",
    "Kind",
    "NumPy",
    "Operator",
    "Spec",
    "get",
    "register",
]

# What a framework may do with an array: `image` has the axes of `layout`, with or without a batch; all
# other roles have axes of their own.
Role = Literal["image", "filter", "channel", "window"]
# What an option is once it is canonical.  Every sequence is a flat tuple of integers: one per axis
# (ints), (before, after) for each axis (pads), or a shape, of an image in its layout or of filters.
Kind = Literal["int", "int?", "ints", "pads", "image_shape", "filter_shape", "float", "bool", "layout"]


class Spec(NamedTuple):
    """Shape and dtype of an array that need not be there."""

    shape: tuple[int, ...]
    dtype: Any


@dataclass(frozen=True)
class Argument:
    """An array that an operator takes or returns."""

    name: str
    role: Role
    optional: bool = False
    dtype: Any = None  # None: that of the image; else one of its own, such as int64 for indices


class Framework(Protocol):
    """What a gradient's rule may use: registered operators, and element by element what all frameworks have.

    `xp` is numpy, torch, jax.numpy or autograd.numpy, of which rules use ``abs``, ``sign``, ``where``,
    ``reshape`` and ``broadcast_to`` beside arithmetic.  All of it can be differentiated once more.
    """

    xp: Any

    def __call__(self, name: str, *arrays: Any, **options: Any) -> Any:
        """Call a registered operator with canonical options."""
        ...


class Call(NamedTuple):
    """What a rule sees of the forward call: what its Gradient saves, shapes and options."""

    arrays: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Gradient:
    """How to differentiate with respect to one array.

    `rule(ops, grad, call)` returns what the chain rule makes of `grad`, the gradient with respect to the
    first result; `saves` names the arguments and results whose values it reads from ``call.arrays``.
    Shapes of all arguments are in ``call.shapes`` without being saved.
    """

    saves: tuple[str, ...]
    rule: Callable[[Framework, Any, Call], Any]


@dataclass(frozen=True)
class Operator:
    """A differentiable operator, declared once.

    Attributes
    ----------
    name : str
        Unique; that of the NumPy function where there is one.
    spatial : int
        1, 2 or 3.
    arrays, results : tuple of Argument
        What is taken and returned; optional ones may be None.  Only the first result can be differentiated.
    options : dict
        Names and kinds of the canonical options.
    function : callable
        The public function: it lends its documentation, and its signature for `bind`.
    canonical : callable
        ``canonical(shapes, **as given by the user)`` returns canonical options: hashable, complete, with
        nothing left to be looked up in a shape.  `shapes` are those of the arrays, by name.
    forward : callable
        ``forward(*arrays, out=None, **canonical options)``, on NumPy arrays.
    shape : callable
        ``shape(specs, options)`` returns the Spec of each result from those of the arrays, by name, computing
        nothing.  Sizes may be symbols that know integer arithmetic.  ValueError where they do not fit.
    gradients : dict
        For each array that may be differentiated, how.  All others are constants.
    graded : str or None
        The operator to call in place of this one if a gradient is going to be asked for: it has the same
        arguments, its first result is this operator's, and the others make the gradient cheap.
    bound : callable or None
        ``bound(specs, options)`` checks once and returns what computes from addresses: of the arrays in their
        order, 0 for one that is None, then of the results.  All are contiguous, of the shapes and dtypes of
        `specs` and of the shape rule.  None where only `forward` can compute.
    """

    name: str
    spatial: int
    arrays: tuple[Argument, ...]
    results: tuple[Argument, ...]
    options: Mapping[str, Kind]
    function: Callable[..., Any]
    canonical: Callable[..., dict[str, Any]]
    forward: Callable[..., Any]
    shape: Callable[[Mapping[str, Spec], Mapping[str, Any]], tuple[Spec, ...]]
    gradients: Mapping[str, Gradient] = field(default_factory=dict)
    graded: str | None = None
    bound: Callable[[Mapping[str, Spec], Mapping[str, Any]], Callable[..., None]] | None = None

    @cached_property
    def signature(self) -> inspect.Signature:
        """Arrays and options as a user gives them: the NumPy function's, less what has no gradient."""
        arrays = [a.name for a in self.arrays]
        have = inspect.signature(self.function).parameters
        takes = inspect.signature(self.canonical).parameters
        anything = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        needed = {a.name for a in self.arrays if not a.optional}
        return inspect.Signature(
            [
                p.replace(annotation=p.empty, default=p.empty if p.name in needed else p.default)
                for p in have.values()
                if p.name in arrays or p.name in takes or (anything and p.name != "out")
            ]
        )

    def bind(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split a user's arguments into arrays and canonical options.

        Returns
        -------
        arrays : dict
            In the order of `self.arrays`, None where one was left out.
        options : dict
            Canonical.

        Raises
        ------
        TypeError
            If arguments are missing or no arrays, or one is not known.
        ValueError
            If an option does not fit.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        arrays = {a.name: given.pop(a.name) for a in self.arrays}
        for argument in self.arrays:
            array = arrays[argument.name]
            if not (hasattr(array, "shape") or (array is None and argument.optional)):
                raise TypeError(f"{argument.name} must be an array, got {type(array).__name__}")
        shapes = {name: tuple(a.shape) for name, a in arrays.items() if a is not None}
        return arrays, self.canonical(shapes, **given)

    def folds(self, batched: Sequence[str]) -> bool:
        """Return whether one more batch axis of these arrays may be folded into that of the images.

        Each image is computed by itself, unless its gradients are summed into filters.
        """
        roles = {a.name: a.role for a in self.arrays}
        return all(roles[name] == "image" for name in batched) and all(
            r.role == "image" for r in self.results
        )


REGISTRY: dict[str, Operator] = {}


def register(operator: Operator) -> Operator:
    """Add an operator; every adapter has it from then on."""
    if operator.name in REGISTRY:
        raise ValueError(f"there is an operator {operator.name} already")
    REGISTRY[operator.name] = operator
    return operator


def get(name: str) -> Operator:
    """Return the operator of a name; KeyError if there is none."""
    return REGISTRY[name]


class NumPy:
    """The plainest framework: computes at once and records nothing."""

    xp: Any = np

    def __call__(self, name: str, *arrays: Any, **options: Any) -> Any:
        """Compute."""
        return get(name).forward(*arrays, **options)


# --- Reading options ------------------------------------------------------------------------------------


LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def whole(value: Any, name: str, least: int) -> Any:
    """Refuse what is no integer, or too small; symbols stay what they are."""
    if not hasattr(value, "__index__") or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value) if isinstance(value, np.integer) else value


def each_axis(value: Any, spatial: int, name: str) -> tuple[Any, ...]:
    """One thing for each axis, from one for all of them or one each."""
    if isinstance(value, str) or not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return (value,) * spatial
    if len(value) != spatial:
        raise ValueError(f"{name} must be one integer or {spatial}, one per axis, got {value!r}")
    return tuple(value)


def per_axis(value: Any, spatial: int, name: str) -> tuple[int, ...]:
    """One positive integer for each axis, from one for all of them or one each."""
    return tuple(whole(item, name, 1) for item in each_axis(value, spatial, name))


def spatial_sizes(shape: Sequence[int], spatial: int, layout: str) -> tuple[int, ...]:
    """Sizes of an image without batch and channels."""
    if layout not in LAYOUTS[spatial]:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS[spatial])}, got {layout!r}")
    if len(shape) not in (spatial + 1, spatial + 2):
        raise ValueError(
            f"an image must have {spatial + 2} axes, or {spatial + 1} without the batch; got {tuple(shape)}"
        )
    return tuple(shape[-spatial - 1 : -1] if layout[-1] == "C" else shape[-spatial:])


def require_shape(specs: Mapping[str, Spec], name: str, shape: Sequence[int]) -> None:
    """Refuse an array of another shape."""
    if tuple(specs[name].shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(specs[name].shape)}")


def with_sizes(
    shape: Sequence[int], channels: int | None, sizes: Sequence[int], layout: str
) -> tuple[int, ...]:
    """Shape of an image with other sizes, and with other channels unless None."""
    batch = tuple(shape[: len(shape) - len(sizes) - 1])
    if layout[-1] == "C":
        return (*batch, *sizes, shape[-1] if channels is None else channels)
    return (*batch, shape[len(batch)] if channels is None else channels, *sizes)


def channels_of(shape: Sequence[int], spatial: int, layout: str) -> int:
    """Number of channels of an image."""
    return shape[-1] if layout[-1] == "C" else shape[-spatial - 1]


def read_pads(
    padding: Any,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """(before, after) for each axis, flat, of everything that `padding` may be in the NumPy functions."""
    if isinstance(padding, str):
        return tuple(
            amount
            for axis in zip(sizes, kernel, stride, dilation)
            for amount in _pads_by_word(padding, len(sizes), *axis)
        )
    flat: list[int] = []
    for item in each_axis(padding, len(sizes), "padding"):
        pair = tuple(item) if isinstance(item, (tuple, list)) else (item, item)
        if len(pair) != 2:
            raise ValueError(f"padding must have (before, after) for an axis, got {item!r}")
        flat.extend(whole(amount, "padding", 0) for amount in pair)
    return tuple(flat)


def _pads_by_word(
    word: str, spatial: int, size: int, kernel: int, stride: int, dilation: int
) -> tuple[int, int]:
    reach = (kernel - 1) * dilation
    if word == "valid":
        return 0, 0
    if word == "causal" and spatial == 1:
        return reach, 0
    if word not in ("same", "same_lower"):
        raise ValueError(f"padding must be integers or a word that the function knows, got {word!r}")
    total = max((size - 1) // stride * stride + reach + 1 - size, 0)
    less = total // 2
    return (less, total - less) if word == "same" else (total - less, less)


def pairs(pads: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Flat pads as the NumPy functions take them."""
    return tuple(zip(pads[::2], pads[1::2]))


def each_spatial() -> Iterator[tuple[int, str]]:
    """1, 2 and 3 with the name of the layout."""
    yield from ((1, "NCL"), (2, "NCHW"), (3, "NCDHW"))
