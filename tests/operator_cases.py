"""Cases of every registered operator: arrays and options; for test_operators and the adapters."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from fastconv import operators
from fastconv.operators import REGISTRY, Operator, Spec

LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 6)}

# Arguments as a user gives them, of every kind of operator; each is tried in both layouts, with and
# without batch.  Convolutions also have channels and outputs.
CONVOLUTIONS: list[dict[str, Any]] = [
    {"channels": 2, "outputs": 3},
    {"channels": 2, "outputs": 3, "padding": 1, "stride": 2},
    {"channels": 4, "outputs": 2, "padding": "same", "stride": 3, "groups": 2},
    {"channels": 3, "outputs": 6, "padding": "same_lower", "groups": 3, "dilation": 2},
    {"channels": 2, "outputs": 2, "padding": "valid", "kernel": 1, "stride": 2},
    {"channels": 1, "outputs": 2, "padding": "pairs", "dilation": 2},
    {"channels": 2, "outputs": 2, "padding": "each", "stride": "each"},
]
WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    {"kernel_size": 3, "stride": 1, "dilation": 2, "padding": "same"},
    {"kernel_size": 2, "stride": "each", "padding": "pairs"},
]
AVERAGES = [
    *WINDOWS,
    {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False, "ceil_mode": True},
    {"kernel_size": 2, "divisor_override": 3, "padding": 1},
]
NORMS = [{"norm_type": p, **w} for p, w in itertools.product((1, 2, 3, 2.5), WINDOWS)]
GRIDS: list[dict[str, Any]] = [
    {"output_size": 1},
    {"output_size": 2},
    {"output_size": 3},
    {"output_size": None},
]
WEIGHTED: list[dict[str, Any]] = [
    {},
    {"stride": 1, "padding": 1},
    {"stride": 2, "padding": "same", "dilation": 2},
]
# No pixel is in two windows: several values for one pixel have no slope.
APART: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 2, "padding": 1},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
]


def expand(spatial: int, options: dict[str, Any]) -> dict[str, Any]:
    """Write out what depends on the number of axes."""
    words = {
        "pairs": tuple((axis % 2, 1) for axis in range(spatial)),
        "each": tuple(1 + axis % 2 for axis in range(spatial)),
    }
    return {
        name: words.get(value, value) if isinstance(value, str) else value for name, value in options.items()
    }


def image(
    rng: np.random.Generator, channels: int, spatial: int, layout: str, batched: bool, low: float = 0.3
) -> Any:
    """Distinct numbers a hundredth and more apart, away from zero: no maximum changes hands nearby."""
    one = (*SIZES[spatial], channels) if layout[-1] == "C" else (channels, *SIZES[spatial])
    shape = (2, *one) if batched else one
    count = int(np.prod(shape))
    return (rng.permutation(count) * 0.01 + low).reshape(shape) * rng.choice([-1, 1], shape)


# By the operator's name without axes; one that is not here has no tests, which is an error.
OPTIONS = {
    "conv": CONVOLUTIONS,
    "max_pool": WINDOWS,
    "max_unpool": APART,
    "avg_pool": AVERAGES,
    "lp_pool": NORMS,
    "weighted_avg_pool": WEIGHTED,
    "stochastic_pool": WINDOWS,
    "adaptive_avg_pool": GRIDS,
    "adaptive_max_pool": GRIDS,
}


def make(
    op: Operator, layout: str, batched: bool, given: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and canonical options of an operator; a gradient's come of the operator that it belongs to."""
    kind, rest = op.name.split(f"{op.spatial}d")
    forward = operators.get(f"{kind}{op.spatial}d")
    arrays, options = make_forward(
        forward, kind, layout, batched, {"layout": layout, **expand(op.spatial, given)}
    )
    if rest in ("", "_with_indices"):
        return arrays, options
    rng, x = np.random.default_rng(2), arrays["x"]
    if kind == "max_pool":
        arrays["indices"] = operators.get(f"{forward.name}_with_indices").forward(x, **options)[1]
    y = forward.forward(*[arrays[a.name] for a in forward.arrays], **options)
    extra = {"y": y, "grad_output": rng.standard_normal(y.shape), "random": rng.random(y.shape)}
    arrays = {**arrays, **extra}
    options = {**options, "input_shape": x.shape, "weight_shape": np.shape(arrays.get("weight"))}
    return {a.name: arrays[a.name] for a in op.arrays}, {option: options[option] for option in op.options}


def make_forward(
    forward: Operator, kind: str, layout: str, batched: bool, given: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    rng, spatial = np.random.default_rng(0), forward.spatial
    channels, outputs, kernel = given.pop("channels", 2), given.pop("outputs", 2), given.pop("kernel", 3)
    x = image(rng, channels, spatial, layout, batched)
    if kind == "conv":
        weight = rng.standard_normal((outputs, channels // given.get("groups", 1)) + (kernel,) * spatial)
        return forward.bind(x, weight, rng.standard_normal(outputs), **given)
    if kind == "weighted_avg_pool":
        return forward.bind(x, rng.uniform(0.5, 2, (2, 3)), **given)
    if kind == "max_unpool":
        pool = operators.get(f"max_pool{spatial}d_with_indices")
        arrays, options = pool.bind(x, **given)
        y, indices = pool.forward(*arrays.values(), **options)
        given.pop("ceil_mode", None)
        return forward.bind(y, indices, **given, output_size=x.shape)
    return forward.bind(np.abs(x) if kind == "stochastic_pool" else x, **given)


def specs_of(arrays: dict[str, Any]) -> dict[str, Spec]:
    return {name: Spec(a.shape, a.dtype) for name, a in arrays.items() if a is not None}


def kind_of(op: Operator) -> str:
    """Name without axes, as in OPTIONS."""
    return op.name.split(f"{op.spatial}d")[0]


# Name, layout, whether there is a batch, and arguments.
CASES = [
    pytest.param(name, layout, batched, given, id=f"{name}-{layout}-{'batch' if batched else 'one'}-{number}")
    for name, op in REGISTRY.items()
    for layout in LAYOUTS[op.spatial]
    for batched in (True, False)
    for number, given in enumerate(OPTIONS[kind_of(op)])
]
