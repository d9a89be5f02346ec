"""A convolution with its weights prepared, and what follows it folded in, for evaluation without gradients.

Made by modules.py for one layer and by fusion.py for a layer with its batch normalisation and activation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from fastconv import _core
from fastconv.plan import ConvPlan
from fastconv.torch.eager import FORMATS, LAYOUTS, as_laid_out, move_last
from fastconv.torch.modes import DTYPES, TYPES, is_plain, unwatched

__all__ = ["Prepared"]

MOST_PLANS = 4  # shapes that weights are kept prepared for; more forget the oldest

# What runs a plan from address to address, and shape and strides of its result.
Made = tuple[Callable[[int, int], None], tuple[int, ...], tuple[int, ...]]

_strided = torch.strided
_is_compiling = torch.compiler.is_compiling


class _Steps:
    """How many steps optimizers have taken: fused ones write to parameters and count no version."""

    taken = 0

    @classmethod
    def count(cls, *_: Any) -> None:
        """Note one."""
        if not _is_compiling():
            cls.taken += 1


register_optimizer_step_post_hook(_Steps.count)


class Prepared:
    """A convolution as ``conv``, then ``norm`` if any, then ``activation`` if any, with plans by shape.

    A call returns the result, or None where the layers must be run one by one: when somebody watches, or the
    input is nothing that a plan takes.  Plans are made anew when a tensor that went into them was written to
    (its version counter) or replaced (its address), an optimizer took a step, or the layer was called in
    training mode or with gradients.
    """

    def __init__(self, conv: Any, norm: Any = None, activation: str | None = None) -> None:
        self.conv, self.norm, self.activation = conv, norm, activation
        self.spatial = len(conv.kernel_size)
        self.format = FORMATS.get(self.spatial)
        # Replaced together: a plan of weights that were, made meanwhile by another thread, goes with them.
        self.held: tuple[Any, dict[Any, Made]] = (None, {})

    def __call__(self, x: Tensor) -> Tensor | None:
        """Convolve."""
        if not unwatched() or not (type(x) in TYPES and x.is_cpu and x.layout is _strided and not x.is_neg()):
            return None
        if self.norm is not None and x.dim() != self.spatial + 2:  # batches only, or what it takes for one
            return None
        state = self.read_state()
        if state is None:
            return None
        held, plans = self.held
        if state != held:
            plans = {}
            self.held = (state, plans)
        last = False
        if not x.is_contiguous():
            last = self.format is not None and x.is_contiguous(memory_format=self.format)
            if not last:
                x = x.contiguous()
        key = (x.shape, x.dtype, last)
        made = plans.get(key)
        if made is None:
            made = self.prepare(x, last)
            if made is None:
                return None
            if len(plans) >= MOST_PLANS:
                plans.pop(next(iter(plans)), None)
            plans[key] = made
        run, shape, strides = made
        y = x.new_empty_strided(shape, strides)
        run(x.data_ptr(), y.data_ptr())
        return y

    def read_state(self) -> Any:
        """All that goes into a plan, tensors by address and version; None where that is not known."""
        conv = self.conv
        if conv._parameters.get("weight") is None:  # computed from other parameters at each call
            return None
        tensors = self.tensors()
        # Training writes to means and variances without counting a version, to their count with one.
        if self.norm is not None and (count := self.norm._buffers.get("num_batches_tracked")) is not None:
            tensors.append(count)
        try:
            state: list[Any] = [(t.data_ptr(), t._version) for t in tensors]
        except RuntimeError:  # made in inference mode, or without memory: changes cannot be seen
            return None
        mark = conv._prepared  # taken off by a call in training
        if mark is None:
            mark = conv.__dict__.setdefault("_prepared", Prepared(conv))
        state += conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode, _core.get_exact()
        state += mark, _Steps.taken
        if self.norm is not None:
            state.append(self.norm.eps)
        return state

    def tensors(self) -> list[Tensor]:
        """Everything that goes into a plan."""
        parameters = self.conv._parameters
        found = [parameters["weight"], parameters["bias"]]
        if self.norm is not None:
            norm = self.norm
            found += [*norm._parameters.values(), norm._buffers["running_mean"], norm._buffers["running_var"]]
        return [t for t in found if t is not None]

    def prepare(self, x: Tensor, last: bool) -> Made | None:
        """Fold, and make a plan; None where the layers do not fit x, for torch to say so."""
        conv = self.conv
        if x.dtype not in DTYPES or x.dim() not in (self.spatial + 1, self.spatial + 2):
            return None
        if any(not is_plain(t) or t.dtype != x.dtype for t in self.tensors()):
            return None
        weight, bias = conv.weight.detach(), conv.bias
        bias = None if bias is None else bias.detach()
        if self.norm is not None:
            weight, bias = fold(weight, bias, self.norm)
        padding = conv.padding
        if isinstance(padding, str):
            totals = [
                d * (k - 1) if padding == "same" else 0 for d, k in zip(conv.dilation, conv.kernel_size)
            ]
            padding = tuple((total // 2, total - total // 2) for total in totals)
        shape = move_last(x.shape, self.spatial) if last else tuple(x.shape)
        try:
            plan = ConvPlan(
                self.spatial,
                shape,
                weight.numpy(),
                None if bias is None else bias.numpy(),
                conv.stride,
                padding,
                conv.dilation,
                conv.groups,
                conv.padding_mode,
                0,
                LAYOUTS[self.spatial][last],
                self.activation,
                "auto",
            )
        except (ValueError, TypeError):
            return None
        return (plan.run, *as_laid_out(plan.out_shape, "image", self.spatial, last))


def fold(weight: Tensor, bias: Tensor | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Fold batch normalisation in evaluation mode into filters and bias, in float64."""
    parameters, buffers = norm._parameters, norm._buffers
    mean, var = buffers["running_mean"], buffers["running_var"]
    assert mean is not None
    assert var is not None
    scale = (var.detach().double() + norm.eps).rsqrt()
    if (gain := parameters["weight"]) is not None:
        scale = scale * gain.detach().double()
    offset = -mean.double() if bias is None else bias.double() - mean.double()
    offset = offset * scale
    if (shift := parameters["bias"]) is not None:
        offset = offset + shift.detach().double()
    each = (-1,) + (1,) * (weight.dim() - 1)
    dtype = weight.dtype
    return (weight.double() * scale.reshape(each)).to(dtype), offset.to(dtype)
