"""The registered operators on tensors: computed at once where nobody watches, else through torch.library.

`call` is the one way in, for functional.py and for the gradients' rules.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from fastconv._core import TensorCall
from fastconv.operators import REGISTRY, Argument, Call, Operator, Spec
from fastconv.torch.modes import READER, is_plain, is_transformed, unwatched

__all__ = [
    "HANDLES",
    "OPS",
    "Handle",
    "as_laid_out",
    "batched",
    "call",
    "compute",
    "look_up",
    "memory_format",
    "move_last",
    "run",
]

Options = tuple[Any, ...]
NUMPY = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.int64: np.dtype(np.int64),
}
TORCH = {dtype: name for name, dtype in NUMPY.items()}
LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
MOST_BOUND = 4096  # shapes remembered for each operator; a program with more begins anew

_grad_enabled = torch.is_grad_enabled


class Bound:
    """An operator with shapes and options: where its results lie, and what computes them from addresses."""

    __slots__ = ("channels_last", "contexts", "more", "options", "quick", "run", "shape", "strides")

    def __init__(
        self,
        op: Operator,
        specs: Mapping[str, Spec],
        options: dict[str, Any],
        channels_last: bool,
        flat: Options,
    ) -> None:
        results = op.shape(specs, options)
        self.options = flat
        self.channels_last = channels_last
        self.contexts: dict[tuple[bool, ...], Context] = {}  # by what a gradient is needed of
        layouts = [
            as_laid_out(spec.shape, role.role, op.spatial, channels_last)
            for spec, role in zip(results, op.results)
        ]
        self.shape, self.strides = layouts[0]
        made = [(*layout, TORCH[np.dtype(spec.dtype)]) for layout, spec in zip(layouts, results)]
        self.more = made[1:]
        self.run: Callable[..., None] = (
            op.bound(specs, options) if op.bound is not None else _Copying(op, specs, options, results)
        )
        self.quick: TensorCall | None = None
        if READER is not None and all(0 not in spec.shape for spec in (*specs.values(), *results)):
            arrays = [self.lies(op, argument, specs.get(argument.name)) for argument in op.arrays]
            with suppress(TypeError):  # not every operator takes addresses
                self.quick = TensorCall(READER, self.run, arrays, made)

    def lies(self, op: Operator, argument: Argument, spec: Spec | None) -> Any:
        """Shape in torch's order, dtype, whether it is channels_last and whether a filter, of an array."""
        if spec is None:
            return None
        last = self.channels_last and argument.role == "image"
        shape = move_first(spec.shape, op.spatial) if last else spec.shape
        return shape, np.dtype(spec.dtype), last, argument.role == "filter"


class _Copying:
    """What stands in for an operator that computes from arrays only: looks at addresses as arrays."""

    def __init__(
        self, op: Operator, specs: Mapping[str, Spec], options: dict[str, Any], results: Sequence[Spec]
    ) -> None:
        self.op, self.options = op, options
        self.specs = [specs.get(a.name) for a in op.arrays]
        self.results = results

    def __call__(self, *addresses: int) -> None:
        arrays = [None if spec is None else _array(at, spec) for at, spec in zip(addresses, self.specs)]
        outs = [_array(at, spec) for at, spec in zip(addresses[len(self.specs) :], self.results)]
        made = self.op.forward(*arrays, **self.options)
        for out, array in zip(outs, made if isinstance(made, tuple) else (made,)):
            out[...] = array


def _array(address: int, spec: Spec) -> Any:
    """View contiguous memory as an array."""
    dtype = np.dtype(spec.dtype)
    count = int(np.prod(spec.shape))
    if count == 0:
        return np.empty(spec.shape, dtype)
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, dtype).reshape(spec.shape)


def as_laid_out(
    shape: Sequence[int], role: str, spatial: int, channels_last: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides in torch's order of axes of a contiguous array in its layout."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= max(size, 1)
    steps.reverse()
    if role != "image" or not channels_last:
        return tuple(shape), tuple(steps)
    return tuple(move_first(shape, spatial)), tuple(move_first(steps, spatial))


def move_first(values: Sequence[int], spatial: int) -> tuple[int, ...]:
    """Move the last axis, that of channels, to where torch has it."""
    before = len(values) - spatial - 1
    return (*values[:before], values[-1], *values[before:-1])


def move_last(values: Sequence[int], spatial: int) -> tuple[int, ...]:
    """Move the axis of channels to the end."""
    before = len(values) - spatial - 1
    return (*values[:before], *values[before + 1 :], values[before])


def memory_format(x: torch.Tensor, spatial: int) -> torch.memory_format:
    """Return the format that results take over from an image: channels_last where it is nothing else."""
    if (
        spatial > 1
        and x.dim() == spatial + 2
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=FORMATS[spatial])
    ):
        return FORMATS[spatial]
    return torch.contiguous_format


class Handle:
    """An operator of the registry as torch sees it: remembered shapes, autograd, and the library's entry."""

    def __init__(self, op: Operator) -> None:
        self.op = op
        self.name = op.name
        self.options = tuple(o for o in op.options if o != "layout")
        self.bound: dict[Any, Bound] = {}
        self.positions = {n: i for i, n in enumerate([a.name for a in (*op.arrays, *op.results)])}
        self.images = tuple(a.role == "image" for a in op.arrays)
        self.format = FORMATS.get(op.spatial, torch.contiguous_format)
        self.kinds = tuple(a.dtype for a in op.arrays)
        self.saved: dict[tuple[bool, ...], tuple[tuple[str, ...], tuple[int, ...]]] = {}
        self.differentiable = tuple(a.name in op.gradients for a in op.arrays)
        self.record = _recorder(self, only_first=False)
        # The same where nobody asks for the other results, which then are no outputs that autograd wraps.
        self.record_first = _recorder(self, only_first=True)
        self.transformed: Any = _make_transformed(self)
        self.graded = op.graded
        self.library: Any = None  # the operator of torch.library, set there

    def bind(self, arrays: Sequence[torch.Tensor | None], options: Options, channels_last: bool) -> Bound:
        """Check shapes and options once; ValueError or TypeError where they do not fit."""
        op, spatial = self.op, self.op.spatial
        specs = {}
        for a, array in zip(op.arrays, arrays):
            if array is not None and array.dtype not in NUMPY:
                raise TypeError(
                    f"fastconv::{op.name}: {a.name} has dtype {array.dtype}, which is not computed with"
                )
            if array is not None:
                shape = (
                    move_last(array.shape, spatial)
                    if channels_last and a.role == "image"
                    else tuple(array.shape)
                )
                specs[a.name] = Spec(shape, NUMPY[array.dtype])
        given = self.named(options, channels_last)
        made = Bound(op, specs, given, channels_last, options)
        if len(self.bound) >= MOST_BOUND:
            self.bound.clear()
        return made

    def named(self, options: Options, channels_last: bool) -> dict[str, Any]:
        """Canonical options of the registry from the flat ones of the library, whose images are NCHW."""
        named = dict(zip(self.options, options))
        for option, kind in self.op.options.items():
            if kind == "layout":
                named[option] = LAYOUTS[self.op.spatial][channels_last]
            elif channels_last and self.moves(option, kind):
                named[option] = move_last(named[option], self.op.spatial)
        return named

    def moves(self, option: str, kind: str) -> bool:
        """Whether an option is in the layout of the images."""
        return kind == "image_shape"

    def flat(self, options: Mapping[str, Any]) -> Options:
        """Canonical options as the library takes them."""
        return tuple([options[option] for option in self.options])

    def saves(self, needed: tuple[bool, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Names and places, among arrays and results, of what the gradients that are needed read."""
        if needed not in self.saved:
            names: dict[str, None] = {}
            for argument, wanted in zip(self.op.arrays, needed):
                if wanted and argument.name in self.op.gradients:
                    names.update(dict.fromkeys(self.op.gradients[argument.name].saves))
            self.saved[needed] = tuple(names), tuple(self.positions[n] for n in names)
        return self.saved[needed]


def look_up(handle: Handle, arrays: Sequence[torch.Tensor | None], options: Options) -> Bound:
    """Return what was bound to these shapes and options, now or before."""
    x = arrays[0]
    assert x is not None
    channels_last = (
        not x.is_contiguous() and memory_format(x, handle.op.spatial) is not torch.contiguous_format
    )
    key = (channels_last, *[a if a is None else (a.shape, a.dtype) for a in arrays], options)
    bound = handle.bound.get(key)
    if bound is None:
        if any(a is not None and t is None and a.dtype != x.dtype for a, t in zip(arrays, handle.kinds)):
            raise TypeError(f"fastconv::{handle.name} takes tensors of one dtype")
        bound = handle.bind(arrays, options, channels_last)
        handle.bound[key] = bound
    return bound


def compute(handle: Handle, arrays: Sequence[torch.Tensor | None], options: Options) -> Any:
    """Compute on plain tensors, recording nothing; a tensor, or a tuple of them."""
    return run(handle, look_up(handle, arrays, options), arrays)


def run(handle: Handle, bound: Bound, arrays: Sequence[torch.Tensor | None]) -> Any:
    """Compute what is bound; arrays that are not in its layout are copied."""
    if bound.quick is not None:
        made = bound.quick.make(tuple(arrays))
        if made is not None:
            return made
    held, addresses = [], []  # copies live until they have been read
    for array, image in zip(arrays, handle.images):
        if array is None:
            addresses.append(0)
            continue
        if bound.channels_last and image:
            array = array.contiguous(memory_format=handle.format)
        elif not array.is_contiguous():
            array = array.contiguous()
        held.append(array)
        addresses.append(array.data_ptr())
    y = held[0].new_empty_strided(bound.shape, bound.strides)
    if not bound.more:
        bound.run(*addresses, y.data_ptr())
        return y
    more = [
        torch.empty_strided(shape, strides, dtype=dtype, device="cpu") for shape, strides, dtype in bound.more
    ]
    bound.run(*addresses, y.data_ptr(), *[a.data_ptr() for a in more])
    return (y, *more)


# --- Gradients ----------------------------------------------------------------------------------------------


def set_context(
    handle: Handle, ctx: Any, arrays: Sequence[Any], options: Options, made: Any, needed: Sequence[bool]
) -> None:
    """Save what the gradients that will be asked for read, and shapes."""
    both = (*arrays, *(made if isinstance(made, tuple) else (made,)))
    wanted = tuple(need and can for need, can in zip(needed, handle.differentiable))
    names, places = handle.saves(wanted)
    ctx.save_for_backward(*[both[place] for place in places])
    ctx.names, ctx.wanted, ctx.options = names, wanted, options
    ctx.shapes = [None if a is None else a.shape for a in arrays]
    ctx.set_materialize_grads(False)


def backward(handle: Handle, ctx: Any, grad: torch.Tensor | None) -> list[torch.Tensor | None]:
    """Gradients with respect to the arrays; rules call operators, which record if they are to."""
    if grad is None:
        return [None] * len(handle.op.arrays)
    shapes = {a.name: tuple(shape) for a, shape in zip(handle.op.arrays, ctx.shapes) if shape is not None}
    arrays = dict(zip(ctx.names, ctx.saved_tensors))
    seen = Call(arrays, shapes, handle.named(ctx.options, False))
    rules = handle.op.gradients
    return [
        rules[argument.name].rule(OPS, grad, seen) if wanted else None
        for argument, wanted in zip(handle.op.arrays, ctx.wanted)
    ]


class Context:
    """What a call keeps for its gradients: which tensors, and what is to be called with them.

    Most rules are one call of one operator.  They are found out by being run on stand-ins, once for each
    shape, so that no rule is run where only numbers are wanted.
    """

    __slots__ = ("names", "places", "seen", "steps", "wanted")

    def __init__(
        self, handle: Handle, arrays: Sequence[Any], options: Options, wanted: tuple[bool, ...]
    ) -> None:
        self.names, self.places = handle.saves(wanted)
        self.wanted = wanted
        stand_ins = {name: StandIn() for name in self.names}
        places: dict[Any, int] = {stand_in: i + 1 for i, stand_in in enumerate(stand_ins.values())}
        grad = StandIn()
        places[grad] = 0
        shapes = {
            a.name: tuple(array.shape) for a, array in zip(handle.op.arrays, arrays) if array is not None
        }
        self.seen = Call(stand_ins, shapes, handle.named(options, False))
        self.steps: list[Step | None] = [
            _one_call(handle.op.gradients[argument.name].rule, grad, self.seen, places) if want else None
            for argument, want in zip(handle.op.arrays, wanted)
        ]


class StandIn:
    """A tensor that a rule can do nothing with but pass it on."""


class Step:
    """A call of an operator on some of (gradient, saved tensors...), with its shapes bound by layout."""

    __slots__ = ("bounds", "handle", "options", "places")

    def __init__(self, handle: Handle, places: list[int | None], options: Options) -> None:
        self.handle, self.places, self.options = handle, places, options
        self.bounds: list[Bound] = []  # one for each layout that has come

    def run(self, held: Sequence[Any]) -> Any:
        """Compute, recording nothing."""
        arrays = tuple([None if place is None else held[place] for place in self.places])
        for bound in self.bounds:
            if bound.quick is not None and (made := bound.quick.make(arrays)) is not None:
                return made
        bound = look_up(self.handle, arrays, self.options)
        if bound not in self.bounds:
            self.bounds.append(bound)
        return run(self.handle, bound, arrays)


class _Recorder:
    """A framework that notes what a rule calls, and has nothing else."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any], StandIn]] = []

    def __call__(self, name: str, *arrays: Any, **options: Any) -> Any:
        self.calls.append((name, arrays, options, StandIn()))
        return self.calls[-1][-1]


def _one_call(rule: Any, grad: StandIn, seen: Call, places: Mapping[Any, int]) -> Step | None:
    """Return the one call that a rule consists of; None where it does more."""
    recorder = _Recorder()
    try:
        made = rule(recorder, grad, seen)
    except (AttributeError, TypeError):  # it does arithmetic
        return None
    if len(recorder.calls) != 1:
        return None
    name, arrays, options, result = recorder.calls[0]
    if made is not result or any(a is not None and a not in places for a in arrays):
        return None
    handle = HANDLES[name]
    return Step(handle, [None if a is None else places[a] for a in arrays], handle.flat(options))


def _recorder(handle: Handle, only_first: bool) -> Callable[..., Any]:
    """Return what computes ``(bound, *arrays)`` and records it for autograd."""
    several = len(handle.op.results) > 1
    returned = several and not only_first
    count = len(handle.op.arrays)

    def forward(ctx: Any, bound: Bound, *arrays: Any) -> Any:
        made = None if bound.quick is None else bound.quick.make(arrays)
        if made is None:
            made = run(handle, bound, arrays)
        needed = ctx.needs_input_grad
        context = bound.contexts.get(needed)
        if context is None:
            context = bound.contexts[needed] = Context(handle, arrays, bound.options, needed[1:])
        ctx.held = context
        if context.places:
            both = (*arrays, *made) if several else (*arrays, made)
            ctx.save_for_backward(*[both[place] for place in context.places])
        if returned:  # else the one result has a gradient whenever this is asked for
            ctx.set_materialize_grads(False)
            ctx.mark_non_differentiable(*made[1:])
            return made
        return made[0] if several else made

    def back(ctx: Any, grad: Any, *_: Any) -> Any:
        context = ctx.held
        if grad is None:
            return (None,) * (count + 1)
        held = (grad, *ctx.saved_tensors)
        made: list[Any] = [None]
        plain = not _grad_enabled() and unwatched() and is_plain(grad)
        for argument, want, step in zip(handle.op.arrays, context.wanted, context.steps):
            if not want:
                made.append(None)
            elif step is not None and plain:
                made.append(step.run(held))
            elif step is not None:
                arrays = [None if place is None else held[place] for place in step.places]
                made.append(call(step.handle, arrays, step.options))
            else:
                seen = context.seen._replace(arrays=dict(zip(context.names, held[1:])))
                made.append(handle.op.gradients[argument.name].rule(OPS, grad, seen))
        return tuple(made)

    body = {"forward": staticmethod(forward), "backward": staticmethod(back)}
    function = type(f"fastconv_{handle.name}", (torch.autograd.Function,), body)
    # The method of the base class leaves out questions that `unwatched` has answered.
    base: Any = super(torch.autograd.Function, function)
    apply: Callable[..., Any] = base.apply
    return apply


# --- One more batch axis ------------------------------------------------------------------------------------


def batched(
    handle: Handle, size: int, dims: Sequence[int | None], arrays: Sequence[Any], options: Options
) -> tuple[Any, Any]:
    """Rule for vmap: fold the axis into the batch where each image is computed by itself, else loop over it.

    Returns the results and, for each, that its axis 0 is the new one.
    """
    op, rank = handle.op, handle.op.spatial + 2
    moved = [a if d is None else a.movedim(d, 0) for a, d in zip(arrays, dims)]
    names = [a.name for a, d in zip(op.arrays, dims) if d is not None]
    ranks = {
        a.dim() - (d is not None)
        for a, d, image in zip(moved, dims, handle.images)
        if image and a is not None
    }
    if op.folds(names) and len(ranks) == 1:
        whole = ranks == {rank}  # images have a batch axis already
        made = call(
            handle, _fold(handle, moved, dims, size, whole), _fold_options(handle, options, size, whole)
        )
        several = made if isinstance(made, (tuple, list)) else (made,)
        out = tuple(m.unflatten(0, (size, m.shape[0] // size)) if whole else m for m in several)
    else:
        rows = []
        for i in range(size):
            made = call(handle, [a if d is None else a[i] for a, d in zip(moved, dims)], options)
            rows.append(made if isinstance(made, (tuple, list)) else (made,))
        out = tuple(torch.stack(column) for column in zip(*rows))
    return (out, (0,) * len(out)) if len(out) > 1 else (out[0], 0)


def _fold(
    handle: Handle, arrays: Sequence[Any], dims: Sequence[int | None], size: int, whole: bool
) -> list[Any]:
    folded = []
    for array, dim, image in zip(arrays, dims, handle.images):
        if array is not None and image:
            array = array.expand(size, *array.shape) if dim is None else array
            array = array.flatten(0, 1) if whole else array
        folded.append(array)
    return folded


def _fold_options(handle: Handle, options: Options, size: int, whole: bool) -> Options:
    """Shapes of images have more of them."""
    return tuple(
        ((size * value[0], *value[1:]) if whole else (size, *value))
        if handle.op.options[name] == "image_shape"
        else value
        for name, value in zip(handle.options, options)
    )


def _make_transformed(handle: Handle) -> type[torch.autograd.Function]:
    """The operator for torch.func: each transform takes its turn and calls it again below."""
    several = len(handle.op.results) > 1

    def forward(options: Options, *arrays: Any) -> Any:
        return call(handle, arrays, options)

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        set_context(handle, ctx, inputs[1:], inputs[0], output, ctx.needs_input_grad[1:])
        if several:
            ctx.mark_non_differentiable(*output[1:])

    def back(ctx: Any, grad: Any, *_: Any) -> Any:
        return (None, *backward(handle, ctx, grad))

    def vmap(info: Any, in_dims: Any, options: Options, *arrays: Any) -> Any:
        return batched(handle, info.batch_size, in_dims[1:], arrays, options)

    rules: dict[str, Any] = {"forward": forward, "setup_context": setup, "backward": back, "vmap": vmap}
    body: dict[str, Any] = {name: staticmethod(rule) for name, rule in rules.items()}
    return type(f"fastconv_{handle.name}", (torch.autograd.Function,), body)


def call(handle: Handle, arrays: Sequence[torch.Tensor | None], options: Options) -> Any:
    """Call an operator with canonical options: record a gradient if one is asked for."""
    if not unwatched() or not all(a is None or is_plain(a) for a in arrays):
        if is_transformed():
            return handle.transformed.apply(options, *arrays)
        return handle.library(*arrays, *options)
    bound = look_up(handle, arrays, options)
    if _grad_enabled() and any(a is not None and a.requires_grad for a in arrays):
        refuse_constants(handle, arrays)
        return handle.record(bound, *arrays)
    return run(handle, bound, arrays)


def refuse_constants(handle: Handle, arrays: Sequence[Any]) -> None:
    """RuntimeError where a gradient is asked for that there is none of."""
    for argument, array, can in zip(handle.op.arrays, arrays, handle.differentiable):
        if array is not None and array.requires_grad and not can:
            raise RuntimeError(
                f"fastconv::{handle.name} is not differentiable with respect to {argument.name}"
            )


class _Ops:
    """What the gradients' rules call."""

    xp: Any = torch

    def __call__(self, name: str, *arrays: Any, **options: Any) -> Any:
        handle = HANDLES[name]
        return call(handle, arrays, handle.flat(options))


OPS = _Ops()
HANDLES: dict[str, Handle] = {name: Handle(op) for name, op in REGISTRY.items()}
