"""The gradients of convolution, fastconv's and PyTorch's in both memory formats: for operators.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from fastconv.bench.contender import FastconvBase, Job, Tensors, TorchBase, from_layout, to_layout
from fastconv.bench.layers import Layer

Which = Literal["input", "weight", "bias"]
BIAS = 2


class FastconvGradient(FastconvBase):
    """`fastconv.conv2d_input_grad`, `conv2d_weight_grad` or `conv2d_bias_grad`."""

    def __init__(
        self, which: Which, layout: str, threads: int, *, algorithm: str = "auto", name: str = "call"
    ) -> None:
        super().__init__(name, layout, threads, prepared=False)
        self._which = which
        self._algorithm = algorithm

    def _call(self, layer: Layer, tensors: Tensors) -> Callable[[], Any]:
        functions, layout = self.fastconv, self.layout
        grad = to_layout(tensors.grad, layout)
        if self._which == "bias":
            return lambda: functions.conv2d_bias_grad(grad, layout=layout)
        options: dict[str, Any] = {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
            "groups": layer.groups,
            "layout": layout,
            "algorithm": self._algorithm,
        }
        x, weight = to_layout(tensors.x, layout), tensors.weight
        if self._which == "input":
            return lambda: functions.conv2d_input_grad(grad, weight, input_shape=x.shape, **options)
        return lambda: functions.conv2d_weight_grad(grad, x, weight_shape=weight.shape, **options)

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """Refuse what the algorithm cannot compute: tried on zeros."""
        if self._algorithm == "auto" or self._which == "bias":
            return None
        zeros = [np.zeros(shape, dtype) for shape in (layer.x_shape, layer.weight_shape, layer.y_shape)]
        try:
            self._call(layer, Tensors(zeros[0], zeros[1], grad=zeros[2]))()
        except ValueError as error:
            return str(error)
        return None

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """A call makes its own result."""
        back = from_layout(self.layout) if self._which == "input" else lambda result: result
        return Job(self._call(layer, tensors), back, before=self.before)


class TorchGradient(TorchBase):
    """`convolution_backward` of PyTorch, asked for one of its three results."""

    def __init__(self, which: Which, threads: int, *, channels_last: bool = False) -> None:
        super().__init__(threads, channels_last=channels_last)
        self._place = ("input", "weight", "bias").index(which)

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """Refuse nothing."""
        return None

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """Bring the operands into the memory format."""
        operands = [self.tensor(array) for array in (tensors.grad, tensors.x, tensors.weight)]
        place = self._place
        if place == BIAS:  # the other would compute the weight's gradient too, and throw it away
            return self.job(self.torch.sum, operands[0], (0, 2, 3))
        job = self.job(
            self.torch.ops.aten.convolution_backward,
            *operands,
            [layer.out_channels],
            list(layer.stride),
            list(layer.padding),
            list(layer.dilation),
            False,
            [0, 0],
            layer.groups,
            [place == number for number in range(3)],
        )
        return replace(job, output=lambda results: results[place].contiguous().numpy())
