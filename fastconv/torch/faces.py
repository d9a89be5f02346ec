"""A face: one of torch's functions over an operator, in the shortest way that each call allows.

functional.py gives every face its name and signature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import prod
from typing import Any

import torch

from fastconv._core import TensorCalls, alike
from fastconv.operators import Spec
from fastconv.torch import library as _library  # noqa: F401  registers the operators
from fastconv.torch.eager import FORMATS, HANDLES, MOST_BOUND, Bound, call, look_up, refuse_constants, run
from fastconv.torch.modes import READER, is_computable, is_plain, unwatched

__all__ = ["Face", "NotOurs"]

Shapes = Sequence[Sequence[int] | None]

_grad_enabled = torch.is_grad_enabled
_is_compiling = torch.compiler.is_compiling


# Where forward and backward are faster here than there: products of a convolution, numbers that a pool reads.
RECORDED_FROM_PRODUCTS = 50_000
RECORDED_FROM_NUMBERS = 5_000


class NotOurs(Exception):
    """Arguments that are for torch to compute with, or to refuse."""


class Face:
    """A function of torch over an operator.

    Parameters
    ----------
    name : str
        Of the operator.
    own : callable
        Torch's function, which gets what fastconv does not take.
    options : callable
        ``options(shapes, given)`` makes the operator's canonical options of what the user gave; NotOurs,
        ValueError or TypeError where torch is to decide.
    defaults : tuple
        What torch need not be told of `given`; Ellipsis for what it must.
    own_plainly : callable
        What `own` comes to, without its questions; it takes no None.
    """

    def __init__(
        self,
        name: str,
        own: Callable[..., Any],
        options: Callable[[Shapes, tuple[Any, ...]], tuple[Any, ...]],
        defaults: tuple[Any, ...],
        own_plainly: Callable[..., Any] | None = None,
    ) -> None:
        self.handle = HANDLES[name]
        self.graded = HANDLES[self.handle.graded] if self.handle.graded else None
        self.recorder = self.handle.record if self.graded is None else self.graded.record_first
        self.has_constants = self.graded is None and not all(self.handle.differentiable)
        self.own, self.options, self.defaults = own, options, defaults
        # Slopes of powers are not torch's at 0, and an index outside a plane is an error in another place.
        self.exchangeable = not name.startswith(("lp_pool", "max_unpool"))
        self.format, self.rank = FORMATS.get(self.handle.op.spatial), self.handle.op.spatial + 2
        # By shapes, dtypes and arguments, the arguments as they came, and None for what torch is to decide.
        self.remembered: dict[Any, tuple[tuple[Any, ...], Bound | None]] = {}
        record = self.record if self.has_constants else self.recorder
        self.calls = None if READER is None else TensorCalls(READER, record, own_plainly or own)
        self.quick = _nothing if self.calls is None else self.calls.call

    def __call__(self, arrays: tuple[Any, ...], given: tuple[Any, ...], rest: tuple[Any, ...] = ()) -> Any:
        """Compute; `rest` are arguments that only torch's function gets, after `given`."""
        if not unwatched():
            return self.watched(arrays, given, rest)
        records = False
        for a in arrays:
            if a is not None:
                if not is_plain(a):
                    return self.own(*arrays, *given, *rest)
                records = records or a.requires_grad
        x = arrays[0]
        if x is None:
            return self.own(*arrays, *given, *rest)
        records = records and _grad_enabled()
        first = x.is_contiguous() or not self.has_channels_last(x)
        key = (first, records, given, *[a if a is None else (a.shape, a.dtype) for a in arrays])
        try:
            had, bound = self.remembered[key]
        except KeyError:
            had, bound = self.remember(key, arrays, given)
        except TypeError:  # a list among the arguments
            plain = _hashable(given)
            return self(arrays, plain, rest) if plain != given else self.own(*arrays, *given, *rest)
        if not alike(had, given):
            had, bound = self.remember(key, arrays, given)
        if bound is None:
            return self.own(*arrays, *given, *rest)
        return self.record(bound, *arrays) if records else run(self.handle, bound, arrays)

    def record(self, bound: Bound, *arrays: Any) -> Any:
        """Compute for gradients."""
        if self.has_constants:
            refuse_constants(self.handle, arrays)
        return self.recorder(bound, *arrays)

    def image(self, x: Any, given: tuple[Any, ...], rest: tuple[Any, ...] = ()) -> Any:
        """Do what a call does, quickly where the same was done before."""
        if not _is_compiling():
            made = self.quick((x,), given)
            if made is not None:
                return made
        return self((x,), given, rest)

    def filtered(self, x: Any, weight: Any, bias: Any, given: tuple[Any, ...]) -> Any:
        """Do so with filters and a bias, or None."""
        if not _is_compiling():
            made = self.quick((x, weight, bias), given)
            if made is not None:
                return made
        return self((x, weight, bias), given)

    def has_channels_last(self, x: Any) -> bool:
        """Whether an image that is not contiguous is so in torch's format of that name."""
        format = self.format  # noqa: A001
        return format is not None and x.dim() == self.rank and x.is_contiguous(memory_format=format)

    def remember(
        self, key: Any, arrays: tuple[Any, ...], given: tuple[Any, ...]
    ) -> tuple[tuple[Any, ...], Bound | None]:
        """Check arguments that have not been seen before."""
        if len(self.remembered) >= MOST_BOUND:
            self.remembered.clear()
        handle = self.graded if key[1] and self.graded is not None else self.handle
        bound = None
        if is_computable(*[a for a, kind in zip(arrays, handle.kinds) if kind is None]):
            shapes = [a if a is None else a.shape for a in arrays]
            with suppress(NotOurs, ValueError, TypeError, KeyError):
                bound = look_up(handle, arrays, self.options(shapes, given))
        small = key[1] and bound is not None and self.is_small(arrays, bound)
        if bound is not None and bound.quick is not None and self.calls is not None:
            if not key[1]:
                self.calls.remember(bound.quick, given)
            else:
                self.calls.remember_recorded(
                    bound.quick, given, None if small else bound, self.told(given) if small else ()
                )
        self.remembered[key] = given, None if small else bound
        return self.remembered[key]

    def told(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """What torch must be told."""
        count = len(given)
        while count and alike(given[count - 1], self.defaults[count - 1]):
            count -= 1
        return tuple([() if value is None else value for value in given[:count]])

    def is_small(self, arrays: tuple[Any, ...], bound: Bound) -> bool:
        """Whether to let torch record a call: that takes it microseconds less, however small the layer."""
        if not self.exchangeable:
            return False
        if arrays[1:]:
            products: int = prod(bound.shape) * prod(arrays[1].shape[1:])
            return products < RECORDED_FROM_PRODUCTS
        numbers: int = arrays[0].numel()
        return numbers < RECORDED_FROM_NUMBERS

    def watched(self, arrays: tuple[Any, ...], given: tuple[Any, ...], rest: tuple[Any, ...]) -> Any:
        """Compute through torch.library, for whoever watches."""
        handle = self.handle
        floats = [a for a, kind in zip(arrays, handle.kinds) if kind is None]
        if arrays[0] is None or not is_computable(*floats):
            return self.own(*arrays, *given, *rest)
        try:
            options = self.options([a if a is None else a.shape for a in arrays], _hashable(given))
            specs = {
                d.name: Spec(tuple(a.shape), a.dtype)
                for d, a in zip(handle.op.arrays, arrays)
                if a is not None
            }
            handle.op.shape(specs, handle.named(options, False))
        except (NotOurs, ValueError, TypeError):
            return self.own(*arrays, *given, *rest)
        if self.graded is not None and _grad_enabled() and arrays[0].requires_grad:
            return call(self.graded, arrays, options)[0]
        return call(handle, arrays, options)


def _hashable(given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([tuple(value) if isinstance(value, list) else value for value in given])


def _nothing(arrays: tuple[Any, ...], given: tuple[Any, ...]) -> None:
    """Stand in for calls that were checked."""
