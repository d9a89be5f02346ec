"""Pooling and its gradients, fastconv's and PyTorch's in both memory formats: for operators.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from fastconv.bench.contender import FastconvBase, Job, Tensors, TorchBase, from_layout, to_layout
from fastconv.bench.layers import Pool

What = Literal["result", "indices", "gradient"]
"""What a pooling is asked for; indices come with the result, and are those of maxima."""
NORM = 2.0
"""Of the norms measured."""


class FastconvPool(FastconvBase):
    """fastconv's pooling, forward or backward."""

    def __init__(self, layout: str, threads: int, *, what: What = "result", name: str = "call") -> None:
        super().__init__(name, layout, threads, prepared=False)
        self._what = what

    def refuse(self, layer: Pool, dtype: str) -> str | None:
        """Refuse nothing."""
        return None

    def prepare(self, layer: Pool, tensors: Tensors) -> Job:
        """A gradient of a maximum gets the indices, of a norm the result: they are at hand in training."""
        back = from_layout(self.layout)
        if self._what == "indices":
            return Job(self._indices(layer, tensors), lambda results: back(results[1]), before=self.before)
        make = self._gradient if self._what == "gradient" else self._forward
        return Job(make(layer, tensors), back, before=self.before)

    def _indices(self, layer: Pool, tensors: Tensors) -> Callable[[], Any]:
        f, layout, x = self.fastconv, self.layout, to_layout(tensors.x, self.layout)
        if layer.adaptive:
            return lambda: f.adaptive_max_pool2d(x, layer.kernel, return_indices=True, layout=layout)
        window = (layer.kernel, layer.stride, layer.padding, layer.dilation, False, True)
        return lambda: f.max_pool2d(x, *window, layout=layout)

    def _forward(self, layer: Pool, tensors: Tensors) -> Callable[[], Any]:
        f, layout, x = self.fastconv, self.layout, to_layout(tensors.x, self.layout)
        kernel, window = layer.kernel, (layer.kernel, layer.stride)
        options: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation, "layout": layout}
        match layer.kind:
            case "max":
                return lambda: f.max_pool2d(x, *window, **options)
            case "avg":
                return lambda: f.avg_pool2d(x, *window, **options)
            case "lp":
                return lambda: f.lp_pool2d(x, NORM, *window, **options)
            case "adaptive max":
                return lambda: f.adaptive_max_pool2d(x, kernel, layout=layout)
            case _:
                return lambda: f.adaptive_avg_pool2d(x, kernel, layout=layout)

    def _gradient(self, layer: Pool, tensors: Tensors) -> Callable[[], Any]:
        f, layout, x = self.fastconv, self.layout, to_layout(tensors.x, self.layout)
        grad, shape = to_layout(tensors.grad, layout), x.shape
        window = (layer.kernel, layer.stride)
        options: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation, "layout": layout}
        match layer.kind:
            case "max":
                _, indices = f.max_pool2d(x, *window, return_indices=True, **options)
                return lambda: f.max_pool2d_grad(grad, indices, input_shape=shape, layout=layout)
            case "adaptive max":
                _, indices = f.adaptive_max_pool2d(x, layer.kernel, return_indices=True, layout=layout)
                return lambda: f.adaptive_max_pool2d_grad(grad, indices, input_shape=shape, layout=layout)
            case "avg":
                return lambda: f.avg_pool2d_grad(grad, *window, input_shape=shape, **options)
            case "lp":
                y = f.lp_pool2d(x, NORM, *window, **options)
                return lambda: f.lp_pool2d_grad(grad, x, NORM, *window, y=y, **options)
            case _:
                return lambda: f.adaptive_avg_pool2d_grad(grad, input_shape=shape, layout=layout)


class TorchPool(TorchBase):
    """PyTorch's pooling; its gradients by the operators that autograd calls, the norm's by autograd."""

    def __init__(self, threads: int, *, channels_last: bool = False, what: What = "result") -> None:
        super().__init__(threads, channels_last=channels_last)
        self._what = what

    def refuse(self, layer: Pool, dtype: str) -> str | None:
        """Its norms and averages have neither dilation nor, of the norms, padding."""
        if layer.kind != "max" and layer.dilation != (1, 1):
            return f"has no dilation in {layer.kind} pooling"
        return "has no padding in lp pooling" if layer.kind == "lp" and layer.padding != (0, 0) else None

    def prepare(self, layer: Pool, tensors: Tensors) -> Job:
        """Bring the operands into the memory format."""
        x = self.tensor(tensors.x)
        if self._what == "gradient":
            return self._gradient(layer, x, self.tensor(tensors.grad))
        return self._indices(layer, x) if self._what == "indices" else self._forward(layer, x)

    def _indices(self, layer: Pool, x: Any) -> Job:
        f = self.torch.nn.functional
        if layer.adaptive:
            job = self.job(f.adaptive_max_pool2d, x, layer.kernel, True)
        else:
            window = (layer.kernel, layer.stride, layer.padding, layer.dilation, False, True)
            job = self.job(f.max_pool2d, x, *window)
        return replace(job, output=lambda results: results[1].contiguous().numpy())

    def _forward(self, layer: Pool, x: Any) -> Job:
        f, window = self.torch.nn.functional, (layer.kernel, layer.stride)
        match layer.kind:
            case "max":
                return self.job(f.max_pool2d, x, *window, layer.padding, layer.dilation)
            case "avg":
                return self.job(f.avg_pool2d, x, *window, layer.padding)
            case "lp":
                return self.job(f.lp_pool2d, x, NORM, *window)
            case "adaptive max":
                return self.job(f.adaptive_max_pool2d, x, layer.kernel)
            case _:
                return self.job(f.adaptive_avg_pool2d, x, layer.kernel)

    def _gradient(self, layer: Pool, x: Any, grad: Any) -> Job:
        f, aten = self.torch.nn.functional, self.torch.ops.aten
        window = (list(layer.kernel), list(layer.stride), list(layer.padding))
        match layer.kind:
            case "max":
                options = (*window, list(layer.dilation), False)
                _, indices = f.max_pool2d(x, *options, return_indices=True)
                return self.job(aten.max_pool2d_with_indices_backward, grad, x, *options, indices)
            case "adaptive max":
                _, indices = f.adaptive_max_pool2d(x, layer.kernel, return_indices=True)
                return self.job(aten.adaptive_max_pool2d_backward, grad, x, indices)
            case "avg":
                return self.job(aten.avg_pool2d_backward, grad, x, *window, False, True, None)
            case "lp":
                x = x.requires_grad_()
                y = f.lp_pool2d(x, NORM, layer.kernel, layer.stride)
                gradient = self.torch.autograd.grad
                return Job(
                    lambda: gradient(y, x, grad, retain_graph=True),
                    lambda results: results[0].contiguous().numpy(),
                    before=self.before,
                )
            case _:
                return self.job(aten._adaptive_avg_pool2d_backward, grad, x)
