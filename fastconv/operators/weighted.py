"""Weighted average pooling, linear in x; by its weights it is differentiated through convolutions.

Read through `fastconv.operators.REGISTRY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fastconv
from fastconv.operators.pool import GRAD_OUTPUT, GRAD_X, INPUT, X, Y, enter, give, output_size, windowed
from fastconv.operators.registry import (
    Argument,
    Call,
    Framework,
    Gradient,
    Kind,
    Spec,
    channels_of,
    per_axis,
    read_pads,
    spatial_sizes,
    with_sizes,
)

WINDOWS: dict[str, Kind] = {"stride": "ints", "padding": "pads", "dilation": "ints", "layout": "layout"}


def _options(
    shapes: Mapping[str, Any], stride: Any, padding: Any, dilation: Any, layout: str
) -> dict[str, Any]:
    kernel = tuple(shapes["weight"])
    stride = kernel if stride is None else per_axis(stride, 2, "stride")
    dilation = per_axis(dilation, 2, "dilation")
    pads = read_pads(padding, spatial_sizes(shapes["x"], 2, layout), kernel, stride, dilation)
    return {"stride": stride, "padding": pads, "dilation": dilation, "layout": layout}


def _grad_options(
    shapes: Mapping[str, Any], input_shape: Any, stride: Any, padding: Any, dilation: Any, layout: str
) -> dict[str, Any]:
    like_x = {"x": input_shape, "weight": shapes["weight"]}
    return {"input_shape": tuple(input_shape), **_options(like_x, stride, padding, dilation, layout)}


def _shape(specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
    x, pads = specs["x"], options["padding"]
    sizes = spatial_sizes(x.shape, 2, options["layout"])
    each = zip(sizes, specs["weight"].shape, options["stride"], pads[::2], pads[1::2], options["dilation"])
    made = [output_size(*axis, ceil_mode=False) for axis in each]
    return (Spec(with_sizes(x.shape, None, made, options["layout"]), x.dtype),)


def _to_x(ops: Framework, grad: Any, call: Call) -> Any:
    weight = call.arrays["weight"]
    return ops("weighted_avg_pool2d_grad", grad, weight, input_shape=call.shapes["x"], **call.options)


def _to_grad_output(ops: Framework, grad: Any, call: Call) -> Any:
    options = {option: call.options[option] for option in WINDOWS}
    return ops("weighted_avg_pool2d", grad, call.arrays["weight"], **options)


def _to_weight(ops: Framework, grad: Any, call: Call) -> Any:
    """From y to weight."""
    return _slope(ops, grad, call.arrays["x"], call.arrays["y"], call)


def _grad_to_weight(ops: Framework, grad: Any, call: Call) -> Any:
    """From grad_x to weight: grad and grad_output are as x and the gradient of y, for both are linear."""
    options = {option: call.options[option] for option in WINDOWS}
    y = ops("weighted_avg_pool2d", grad, call.arrays["weight"], **options)
    return _slope(ops, call.arrays["grad_output"], grad, y, call)


def _slope(ops: Framework, grad: Any, x: Any, y: Any, call: Call) -> Any:
    """Sum of grad / S * (x - y) over the windows that see x through a weight; S is the sum of theirs."""
    weight, layout = call.arrays["weight"], call.options["layout"]
    kernel, channels = tuple(weight.shape), channels_of(x.shape, 2, layout)
    how = {option: call.options[option] for option in WINDOWS}
    ones = ops.xp.ones_like(x)
    one = ones[:1] if len(x.shape) == 4 else ones
    one = one[..., :1] if layout == "NHWC" else one[..., :1, :, :]
    sums = ops("conv2d", one, ops.xp.reshape(weight, (1, 1, *kernel)), None, groups=1, **how)
    each = {"weight_shape": (channels, 1, *kernel), "groups": channels, **how}
    share = grad / sums
    seen = ops("conv2d_weight_grad", share, x, **each) - ops("conv2d_weight_grad", share * y, ones, **each)
    return ops.xp.reshape(ops.xp.sum(seen, 0), kernel)


def _register() -> None:
    weight = Argument("weight", "window")
    enter(
        2,
        "weighted_avg_pool2d",
        (X, weight),
        (Y,),
        WINDOWS,
        fastconv.weighted_avg_pool2d,
        _options,
        windowed(fastconv.weighted_avg_pool2d),
        _shape,
        {"x": Gradient(("weight",), _to_x), "weight": Gradient(("x", "weight", "y"), _to_weight)},
    )
    enter(
        2,
        "weighted_avg_pool2d_grad",
        (GRAD_OUTPUT, weight),
        (GRAD_X,),
        {**INPUT, **WINDOWS},
        fastconv.weighted_avg_pool2d_grad,
        _grad_options,
        windowed(fastconv.weighted_avg_pool2d_grad),
        give("input_shape"),
        {
            "grad_output": Gradient(("weight",), _to_grad_output),
            "weight": Gradient(("grad_output", "weight"), _grad_to_weight),
        },
    )


_register()
