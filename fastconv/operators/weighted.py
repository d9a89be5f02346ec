"""Weighted average pooling, linear in x.  Its weights are constants: nothing is differentiated by them.

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
    per_axis,
    read_pads,
    spatial_sizes,
    with_sizes,
)


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
    options = {option: call.options[option] for option in ("stride", "padding", "dilation", "layout")}
    return ops("weighted_avg_pool2d", grad, call.arrays["weight"], **options)


def _register() -> None:
    weight = Argument("weight", "window")
    options: dict[str, Kind] = {"stride": "ints", "padding": "pads", "dilation": "ints", "layout": "layout"}
    enter(
        2,
        "weighted_avg_pool2d",
        (X, weight),
        (Y,),
        options,
        fastconv.weighted_avg_pool2d,
        _options,
        windowed(fastconv.weighted_avg_pool2d),
        _shape,
        {"x": Gradient(("weight",), _to_x)},
    )
    enter(
        2,
        "weighted_avg_pool2d_grad",
        (GRAD_OUTPUT, weight),
        (GRAD_X,),
        {**INPUT, **options},
        fastconv.weighted_avg_pool2d_grad,
        _grad_options,
        windowed(fastconv.weighted_avg_pool2d_grad),
        give("input_shape"),
        {"grad_output": Gradient(("weight",), _to_grad_output)},
    )


_register()
