"""Convolution and its gradients, which are convolutions: each one's gradients are the other two.

Read through `fastconv.operators.REGISTRY`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import fastconv
from fastconv import _core
from fastconv.operators.registry import (
    Argument,
    Call,
    Framework,
    Gradient,
    Kind,
    Operator,
    Spec,
    channels_of,
    each_spatial,
    pairs,
    per_axis,
    read_pads,
    register,
    require_shape,
    spatial_sizes,
    whole,
    with_sizes,
)

WINDOWS: dict[str, Kind] = {
    "stride": "ints",
    "padding": "pads",
    "dilation": "ints",
    "groups": "int",
    "layout": "layout",
}
GRAD_OUTPUT, X = Argument("grad_output", "image"), Argument("x", "image")
WEIGHT, BIAS = Argument("weight", "filter"), Argument("bias", "channel", optional=True)


class Convolution:
    """The four operators of one number of axes: y = conv(x, weight) + bias and its three gradients."""

    def __init__(self, spatial: int) -> None:
        self.spatial = spatial
        self.name = f"conv{spatial}d"
        self.conv = getattr(fastconv, self.name)
        self.input_grad = getattr(fastconv, f"{self.name}_input_grad")
        self.weight_grad = getattr(fastconv, f"{self.name}_weight_grad")
        self.bias_grad = getattr(fastconv, f"{self.name}_bias_grad")

    def register(self) -> None:
        """Enter the four."""
        self._register_forward()
        self._register_gradients()

    def _register_forward(self) -> None:
        register(
            Operator(
                name=self.name,
                spatial=self.spatial,
                arrays=(X, WEIGHT, BIAS),
                results=(Argument("y", "image"),),
                options=WINDOWS,
                function=self.conv,
                canonical=self.options,
                forward=self.forward,
                shape=self.shape,
                gradients={
                    "x": Gradient(("weight",), self.to_x),
                    "weight": Gradient(("x",), self.to_weight),
                    "bias": Gradient((), self.to_bias),
                },
                bound=self.bound,
            )
        )

    def _register_gradients(self) -> None:
        register(
            Operator(
                name=f"{self.name}_input_grad",
                spatial=self.spatial,
                arrays=(GRAD_OUTPUT, WEIGHT),
                results=(Argument("grad_x", "image"),),
                options={"input_shape": "image_shape", **WINDOWS},
                function=self.input_grad,
                canonical=self.input_grad_options,
                forward=self.input_grad_forward,
                shape=self.input_grad_shape,
                gradients={
                    "grad_output": Gradient(("weight",), self.along_x),
                    "weight": Gradient(("grad_output",), self.input_grad_to_weight),
                },
                bound=self.input_grad_bound,
            )
        )
        register(
            Operator(
                name=f"{self.name}_weight_grad",
                spatial=self.spatial,
                arrays=(GRAD_OUTPUT, X),
                results=(Argument("grad_weight", "filter"),),
                options={"weight_shape": "filter_shape", **WINDOWS},
                function=self.weight_grad,
                canonical=self.weight_grad_options,
                forward=self.weight_grad_forward,
                shape=self.weight_grad_shape,
                gradients={
                    "grad_output": Gradient(("x",), self.along_weight),
                    "x": Gradient(("grad_output",), self.weight_grad_to_x),
                },
                bound=self.weight_grad_bound,
            )
        )
        register(
            Operator(
                name=f"{self.name}_bias_grad",
                spatial=self.spatial,
                arrays=(GRAD_OUTPUT,),
                results=(Argument("grad_bias", "channel"),),
                options={"layout": "layout"},
                function=self.bias_grad,
                canonical=lambda shapes, layout: {"layout": layout},
                forward=self.bias_grad,
                shape=self.bias_grad_shape,
                gradients={"grad_output": Gradient((), self.spread)},
                bound=self.bias_grad_bound,
            )
        )

    # --- Options ----------------------------------------------------------------------------------------

    def _windows(
        self, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int, layout: str
    ) -> dict[str, Any]:
        """Canonical options from the shapes of x and weight."""
        stride, groups = per_axis(stride, self.spatial, "stride"), whole(groups, "groups", 1)
        dilation = per_axis(dilation, self.spatial, "dilation")
        sizes = spatial_sizes(x, self.spatial, layout)
        pads = read_pads(padding, sizes, tuple(weight[2:]), stride, dilation)
        return {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups, "layout": layout}

    def options(
        self, shapes: Mapping[str, Any], stride: Any, padding: Any, dilation: Any, groups: int, layout: str
    ) -> dict[str, Any]:
        """Of the convolution."""
        return self._windows(shapes["x"], shapes["weight"], stride, padding, dilation, groups, layout)

    def input_grad_options(
        self,
        shapes: Mapping[str, Any],
        input_shape: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        layout: str,
    ) -> dict[str, Any]:
        """Of the gradient with respect to x."""
        rest = self._windows(input_shape, shapes["weight"], stride, padding, dilation, groups, layout)
        return {"input_shape": tuple(input_shape), **rest}

    def weight_grad_options(
        self,
        shapes: Mapping[str, Any],
        weight_shape: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        layout: str,
    ) -> dict[str, Any]:
        """Of the gradient with respect to weight."""
        rest = self._windows(shapes["x"], weight_shape, stride, padding, dilation, groups, layout)
        return {"weight_shape": tuple(weight_shape), **rest}

    # --- Computing --------------------------------------------------------------------------------------

    def forward(
        self, x: Any, weight: Any, bias: Any = None, *, padding: Any, out: Any = None, **options: Any
    ) -> Any:
        """Convolve."""
        return self.conv(x, weight, bias, padding=pairs(padding), out=out, **options)

    def input_grad_forward(
        self, grad_output: Any, weight: Any, *, padding: Any, out: Any = None, **options: Any
    ) -> Any:
        """Differentiate with respect to x."""
        return self.input_grad(grad_output, weight, padding=pairs(padding), out=out, **options)

    def weight_grad_forward(
        self, grad_output: Any, x: Any, *, padding: Any, out: Any = None, **options: Any
    ) -> Any:
        """Differentiate with respect to weight."""
        return self.weight_grad(grad_output, x, padding=pairs(padding), out=out, **options)

    # --- Computing from addresses -----------------------------------------------------------------------

    def bound(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> Callable[..., None]:
        """Convolve."""
        return self._bound("forward", specs["x"], specs["weight"].shape, "bias" in specs, options)

    def input_grad_bound(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> Callable[..., None]:
        """Differentiate with respect to x."""
        like_x = Spec(options["input_shape"], specs["grad_output"].dtype)
        return self._bound("input_grad", like_x, specs["weight"].shape, False, options)

    def weight_grad_bound(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> Callable[..., None]:
        """Differentiate with respect to weight."""
        return self._bound("weight_grad", specs["x"], options["weight_shape"], False, options)

    def bias_grad_bound(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> Callable[..., None]:
        """Differentiate with respect to bias, of any convolution with such an output."""
        grad, layout = specs["grad_output"], options["layout"]
        channels = channels_of(grad.shape, self.spatial, layout)
        each = {
            "stride": 1,
            "padding": (0, 0) * self.spatial,
            "dilation": 1,
            "groups": channels,
            "layout": layout,
        }
        return self._bound("bias_grad", grad, (channels, 1) + (1,) * self.spatial, False, each)

    def _bound(
        self, kind: str, x: Spec, weight: tuple[int, ...], has_bias: bool, options: Mapping[str, Any]
    ) -> Callable[..., None]:
        stride, dilation, groups = options["stride"], options["dilation"], options["groups"]
        pads, layout, dtype = pairs(options["padding"]), options["layout"], np.dtype(x.dtype)
        conv = _core.BoundConv(
            kind, self.spatial, x.shape, weight, has_bias, stride, pads, dilation, groups, layout, dtype
        )
        return conv.run

    # --- Shapes -----------------------------------------------------------------------------------------

    def shape(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
        """Of y."""
        x, weight, layout = specs["x"], specs["weight"], options["layout"]
        if len(weight.shape) != self.spatial + 2:
            raise ValueError(f"weight must have {self.spatial + 2} axes, got shape {tuple(weight.shape)}")
        sizes = spatial_sizes(x.shape, self.spatial, layout)
        channels = channels_of(x.shape, self.spatial, layout)
        if channels != weight.shape[1] * options["groups"]:
            raise ValueError(
                f"weight of shape {tuple(weight.shape)} with groups={options['groups']} does not fit the "
                f"{channels} channels of x"
            )
        if weight.shape[0] % options["groups"]:
            raise ValueError(
                f"groups={options['groups']} does not divide the {weight.shape[0]} filters of weight"
            )
        if "bias" in specs and tuple(specs["bias"].shape) != (weight.shape[0],):
            raise ValueError(f"bias must have shape ({weight.shape[0]},), got {tuple(specs['bias'].shape)}")
        made = []
        for axis in range(self.spatial):
            before, after = options["padding"][2 * axis : 2 * axis + 2]
            reach = (weight.shape[2 + axis] - 1) * options["dilation"][axis] + 1
            room = sizes[axis] + before + after - reach
            if room < 0:
                raise ValueError(
                    f"weight: a kernel of shape {tuple(weight.shape[2:])} is larger than the padded x"
                )
            made.append(room // options["stride"][axis] + 1)
        return (Spec(with_sizes(x.shape, weight.shape[0], made, layout), x.dtype),)

    def input_grad_shape(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
        """Of grad_x."""
        x = Spec(tuple(options["input_shape"]), specs["grad_output"].dtype)
        require_shape(specs, "grad_output", self.shape({**specs, "x": x}, options)[0].shape)
        return (x,)

    def weight_grad_shape(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
        """Of grad_weight."""
        weight = Spec(tuple(options["weight_shape"]), specs["grad_output"].dtype)
        require_shape(specs, "grad_output", self.shape({**specs, "weight": weight}, options)[0].shape)
        return (weight,)

    def bias_grad_shape(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
        """Of the bias."""
        grad = specs["grad_output"]
        spatial_sizes(grad.shape, self.spatial, options["layout"])
        return (Spec((channels_of(grad.shape, self.spatial, options["layout"]),), grad.dtype),)

    # --- Gradients: all of these are linear in each of their arrays -------------------------------------

    def to_x(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From y to x."""
        return ops(
            f"{self.name}_input_grad",
            grad,
            call.arrays["weight"],
            input_shape=call.shapes["x"],
            **windows(call),
        )

    def to_weight(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From y to weight."""
        return ops(
            f"{self.name}_weight_grad",
            grad,
            call.arrays["x"],
            weight_shape=call.shapes["weight"],
            **windows(call),
        )

    def to_bias(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From y to bias."""
        return ops(f"{self.name}_bias_grad", grad, layout=call.options["layout"])

    def along_x(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From grad_x to grad_output."""
        return ops(self.name, grad, call.arrays["weight"], None, **windows(call))

    def input_grad_to_weight(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From grad_x to weight."""
        shape = call.shapes["weight"]
        return ops(
            f"{self.name}_weight_grad", call.arrays["grad_output"], grad, weight_shape=shape, **windows(call)
        )

    def along_weight(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From grad_weight to grad_output."""
        return ops(self.name, call.arrays["x"], grad, None, **windows(call))

    def weight_grad_to_x(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From grad_weight to x."""
        shape = call.shapes["x"]
        return ops(
            f"{self.name}_input_grad", call.arrays["grad_output"], grad, input_shape=shape, **windows(call)
        )

    def spread(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From grad_bias to grad_output: every pixel of a channel counts alike."""
        shape = call.shapes["grad_output"]
        column = [1] * len(shape)
        column[-1 if call.options["layout"][-1] == "C" else -self.spatial - 1] = -1
        return ops.xp.broadcast_to(ops.xp.reshape(grad, tuple(column)), shape)


def windows(call: Call) -> dict[str, Any]:
    """The options that a convolution and its gradients have in common."""
    return {option: call.options[option] for option in WINDOWS}


for _spatial, _ in each_spatial():
    Convolution(_spatial).register()
