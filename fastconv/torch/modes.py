"""Whether a call may take the shortest way: plain CPU tensors, and nobody who watches the dispatcher.

Asked by eager.py at every call, so each question is one call into torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from fastconv._core import TensorReader

__all__ = ["DTYPES", "READER", "TYPES", "is_computable", "is_plain", "is_transformed", "unwatched"]

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
QUESTIONS: tuple[Any, ...] = ()
if _dispatch_modes is not None:
    QUESTIONS = (_dispatch_modes, _function_mode, _transforms, _tracing, _autocast)


def unwatched() -> bool:
    """Return whether a call here and now has no witness: no compiler, tracer, transform, mode or autocast."""
    if _is_compiling() or _dispatch_modes is None:
        return False
    if READER is not None:
        return READER.unwatched()
    return not any(question() for question in QUESTIONS) and _level._current_level < 0


def _reader() -> TensorReader | None:
    """Make what looks at tensors without Python; None where this torch has not what it takes."""
    if _dispatch_modes is None:
        return None
    try:
        capsule = torch.Tensor.__dlpack_c_exchange_api__
        grad_enabled, allocate = torch.is_grad_enabled, _allocator()
        return TensorReader(
            capsule, torch.Tensor, torch.nn.Parameter, QUESTIONS, _level, grad_enabled, allocate
        )
    except (AttributeError, ValueError):
        return None


def _allocator() -> Any:
    """What makes a tensor of a shape, strides and a dtype: as compiled code does, if that is there."""
    try:
        return _C._dynamo.guards._empty_strided_cpu
    except AttributeError:
        return lambda shape, strides, dtype: torch.empty_strided(shape, strides, dtype=dtype, device="cpu")


def is_transformed() -> bool:
    """Return whether a transform of torch.func is at work, outside of a compiler."""
    return not _is_compiling() and _C._functorch.peek_interpreter_stack() is not None


def is_plain(tensor: torch.Tensor) -> bool:
    """Return whether a tensor can be read at its address: dense, on the CPU, of no subclass, not negated."""
    return (
        type(tensor) in TYPES
        and tensor.is_cpu
        and tensor.layout is _strided
        and not tensor.is_neg()
        and not tensor._is_zerotensor()
    )


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


READER = _reader()
