"""The registered operators in torch.library, as ``torch.ops.fastconv.*``: for compilers and transforms.

Each has a kernel for the CPU, a rule for tensors without memory, gradients and a rule for vmap, all made from
its entry in the registry.  Options are flat and images NCHW; that a tensor is channels_last is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fastconv.operators import Spec
from fastconv.torch.eager import HANDLES, Handle, backward, batched, compute, memory_format, set_context

__all__ = ["NAMESPACE"]

NAMESPACE = "fastconv"
TYPES = {
    "int": "SymInt",
    "int?": "SymInt?",
    "ints": "SymInt[]",
    "pads": "SymInt[]",
    "image_shape": "SymInt[]",
    "filter_shape": "SymInt[]",
    "float": "float",
    "bool": "bool",
}

_library = torch.library.Library(NAMESPACE, "DEF")


def _schema(handle: Handle) -> str:
    op = handle.op
    arrays = [f"Tensor{'?' if a.optional else ''} {a.name}" for a in op.arrays]
    options = [f"{TYPES[op.options[option]]} {option}" for option in handle.options]
    results = ", ".join(["Tensor"] * len(op.results))
    return f"{op.name}({', '.join(arrays + options)}) -> {f'({results})' if len(op.results) > 1 else results}"


def _split(handle: Handle, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Arrays, and options that can be remembered."""
    count = len(handle.op.arrays)
    return args[:count], tuple([tuple(o) if isinstance(o, (list, tuple)) else o for o in args[count:]])


def _fake(handle: Handle, args: tuple[Any, ...]) -> Any:
    """Results without memory: shapes by the registry's rule, strides as `compute` makes them."""
    op = handle.op
    arrays, options = _split(handle, args)
    specs = {a.name: Spec(tuple(x.shape), x.dtype) for a, x in zip(op.arrays, arrays) if x is not None}
    made = []
    for spec, argument in zip(op.shape(specs, handle.named(options, False)), op.results):
        dtype = torch.int64 if spec.dtype == np.int64 else spec.dtype
        kept = memory_format(arrays[0], op.spatial) if argument.role == "image" else torch.contiguous_format
        made.append(torch.empty(spec.shape, dtype=dtype, device=arrays[0].device, memory_format=kept))
    return tuple(made) if len(made) > 1 else made[0]


def _enter(handle: Handle) -> None:
    name = f"{NAMESPACE}::{handle.name}"
    _library.define(_schema(handle), tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides))

    def kernel(*args: Any) -> Any:
        arrays, options = _split(handle, args)
        return compute(handle, arrays, options)

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        arrays, options = _split(handle, inputs)
        set_context(handle, ctx, arrays, options, output, ctx.needs_input_grad[: len(arrays)])

    def back(ctx: Any, grad: Any, *_: Any) -> Any:
        return (*backward(handle, ctx, grad), *[None] * len(handle.options))

    def batch(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        arrays, options = _split(handle, args)
        return batched(handle, info.batch_size, in_dims[: len(arrays)], arrays, options)

    _library.impl(handle.name, kernel, "CPU")
    torch.library.register_fake(name, lambda *args: _fake(handle, args), lib=_library)
    torch.library.register_autograd(name, back, setup_context=setup, lib=_library)
    torch.library.register_vmap(name, batch, lib=_library)
    handle.library = getattr(getattr(torch.ops, NAMESPACE), handle.name).default


for _handle in HANDLES.values():
    _enter(_handle)
