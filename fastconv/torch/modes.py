"""Whether a call may take the shortest way: plain CPU tensors, and nobody who watches the dispatcher.

Asked by eager.py at every call, so each question is one call into torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

__all__ = ["DTYPES", "TYPES", "is_computable", "is_plain", "is_transformed", "unwatched"]

DTYPES = frozenset({torch.float32, torch.float64})
TYPES = frozenset({torch.Tensor, torch.nn.Parameter})

_C: Any = torch._C
_strided = torch.strided
try:
    _dispatch_modes = _C._len_torch_dispatch_stack
    _function_mode = _C._is_torch_function_mode_enabled
    _transforms = _C._functorch.peek_interpreter_stack
    _tracing = _C._get_tracing_state
    _autocast = _C._is_any_autocast_enabled
    _level: Any = forward_ad
    _level._current_level  # noqa: B018
except AttributeError:  # another torch: every call goes through torch.library
    _dispatch_modes = None

_is_compiling = torch.compiler.is_compiling


def unwatched() -> bool:
    """Return whether a call here and now has no witness: no compiler, tracer, transform, mode or autocast."""
    return (
        not _is_compiling()
        and _dispatch_modes is not None
        and not _dispatch_modes()
        and _transforms() is None
        and not _function_mode()
        and _tracing() is None
        and not _autocast()
        and _level._current_level < 0
    )


def is_transformed() -> bool:
    """Return whether a transform of torch.func is at work, outside of a compiler."""
    return not _is_compiling() and _C._functorch.peek_interpreter_stack() is not None


def is_plain(tensor: torch.Tensor) -> bool:
    """Return whether a tensor can be read at its address: dense, on the CPU, of no subclass."""
    return type(tensor) in TYPES and tensor.is_cpu and tensor.layout is _strided and not tensor.is_neg()


def is_computable(*tensors: Any) -> bool:
    """Return whether the operators take these tensors, or what stands for them while something is traced.

    Where not (another device or dtype, sparse, quantized, of a subclass, under autocast, or with tangents)
    torch's own operator is to be called.
    """
    if (
        torch.is_autocast_enabled("cpu")
        or forward_ad._current_level >= 0
        or _C._get_tracing_state() is not None
    ):
        return False
    first = None
    for tensor in tensors:
        if tensor is None:
            continue
        if (
            not isinstance(tensor, torch.Tensor)
            or tensor.device.type != "cpu"
            or tensor.layout != torch.strided
        ):
            return False
        if type(tensor) not in TYPES and not _stands_for_a_tensor(tensor):
            return False
        if tensor.dtype not in DTYPES or (first is not None and tensor.dtype != first):
            return False
        first = tensor.dtype
    return True


def _stands_for_a_tensor(tensor: torch.Tensor) -> bool:
    """Whether a subclass is one of torch's own, made while tracing."""
    return type(tensor).__module__.startswith("torch._subclasses")
