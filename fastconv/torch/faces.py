"""A face: one of torch's functions over an operator, in the shortest way that each call allows.

functional.py gives every face its name and signature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch

from fastconv.operators import Spec
from fastconv.torch import library as _library  # noqa: F401  registers the operators
from fastconv.torch.eager import FORMATS, HANDLES, MOST_BOUND, Bound, call, look_up, refuse_constants, run
from fastconv.torch.modes import is_computable, is_plain, unwatched

__all__ = ["Face", "NotOurs"]

Shapes = Sequence[Sequence[int] | None]

_grad_enabled = torch.is_grad_enabled


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
    """

    def __init__(
        self,
        name: str,
        own: Callable[..., Any],
        options: Callable[[Shapes, tuple[Any, ...]], tuple[Any, ...]],
    ) -> None:
        self.handle = HANDLES[name]
        self.graded = HANDLES[self.handle.graded] if self.handle.graded else None
        self.own, self.options = own, options
        self.format, self.rank = FORMATS.get(self.handle.op.spatial), self.handle.op.spatial + 2
        # Shapes, dtypes and arguments as they came; None for what torch is to decide.
        self.remembered: dict[Any, Bound | None] = {}

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
            bound = self.remembered[key]
        except KeyError:
            bound = self.remember(key, arrays, given)
        except TypeError:  # a list among the arguments
            plain = _hashable(given)
            return self(arrays, plain, rest) if plain != given else self.own(*arrays, *given, *rest)
        if bound is None:
            return self.own(*arrays, *given, *rest)
        if not records:
            return run(self.handle, bound, arrays)
        if self.graded is not None:
            return self.graded.record_first(bound, *arrays)
        refuse_constants(self.handle, arrays)
        return self.handle.record(bound, *arrays)

    def image(self, x: Any, given: tuple[Any, ...], rest: tuple[Any, ...] = ()) -> Any:
        """Do what a call does, in fewer steps for one image that is contiguous in either layout."""
        if unwatched() and is_plain(x) and (x.is_contiguous() or self.has_channels_last(x)):
            records = x.requires_grad and _grad_enabled()
            try:
                bound = self.remembered.get((x.is_contiguous(), records, given, (x.shape, x.dtype)))
            except TypeError:
                bound = None
            if bound is None:
                return self((x,), given, rest)
            if records:
                if self.graded is not None:
                    return self.graded.record_first(bound, x)
                return self.handle.record(bound, x)
            y = x.new_empty_strided(bound.shape, bound.strides)
            if not bound.more:
                bound.run(x.data_ptr(), y.data_ptr())
                return y
            more = [torch.empty_strided(*each, dtype=dtype) for *each, dtype in bound.more]
            bound.run(x.data_ptr(), y.data_ptr(), *[a.data_ptr() for a in more])
            return (y, *more)
        return self((x,), given, rest)

    def filtered(self, x: Any, weight: Any, bias: Any, given: tuple[Any, ...]) -> Any:
        """Do what a call does, in fewer steps for an image as `image` has it, filters and a bias or None."""
        if not (unwatched() and is_plain(x) and is_plain(weight) and weight.is_contiguous()):
            return self((x, weight, bias), given)
        first = x.is_contiguous()
        if not (first or self.has_channels_last(x)):
            return self((x, weight, bias), given)
        at, one, records = 0, None, x.requires_grad or weight.requires_grad
        if bias is not None:
            if not (is_plain(bias) and bias.is_contiguous()):
                return self((x, weight, bias), given)
            at, one, records = bias.data_ptr(), (bias.shape, bias.dtype), records or bias.requires_grad
        records = records and _grad_enabled()
        try:
            bound = self.remembered.get(
                (first, records, given, (x.shape, x.dtype), (weight.shape, weight.dtype), one)
            )
        except TypeError:
            bound = None
        if bound is None:
            return self((x, weight, bias), given)
        if records:
            return self.handle.record(bound, x, weight, bias)
        y = x.new_empty_strided(bound.shape, bound.strides)
        bound.run(x.data_ptr(), weight.data_ptr(), at, y.data_ptr())
        return y

    def has_channels_last(self, x: Any) -> bool:
        """Whether an image that is not contiguous is so in torch's format of that name."""
        format = self.format  # noqa: A001
        return format is not None and x.dim() == self.rank and x.is_contiguous(memory_format=format)

    def remember(self, key: Any, arrays: tuple[Any, ...], given: tuple[Any, ...]) -> Bound | None:
        """Check arguments that have not been seen before."""
        if len(self.remembered) >= MOST_BOUND:
            self.remembered.clear()
        handle = self.graded if key[1] and self.graded is not None else self.handle
        bound = None
        if is_computable(*[a for a, kind in zip(arrays, handle.kinds) if kind is None]):
            shapes = [a if a is None else a.shape for a in arrays]
            with suppress(NotOurs, ValueError, TypeError, KeyError):
                bound = look_up(handle, arrays, self.options(shapes, given))
        self.remembered[key] = bound
        return bound

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
