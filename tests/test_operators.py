"""The registry: shape rules against what is computed, gradients and theirs against central differences."""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import operators
from fastconv.operators import REGISTRY, Call, NumPy, Operator, Spec

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


def results_of(op: Operator, arrays: dict[str, Any], options: dict[str, Any]) -> tuple[Any, ...]:
    made = op.forward(*arrays.values(), **options)
    return made if isinstance(made, tuple) else (made,)


def kind_of(op: Operator) -> str:
    return op.name.split(f"{op.spatial}d")[0]


CASES = [
    pytest.param(name, layout, batched, given, id=f"{name}-{layout}-{'batch' if batched else 'one'}-{number}")
    for name, op in REGISTRY.items()
    for layout in LAYOUTS[op.spatial]
    for batched in (True, False)
    for number, given in enumerate(OPTIONS[kind_of(op)])
]


@pytest.mark.parametrize(("name", "layout", "batched", "given"), CASES)
def test_shapes_are_those_computed(name: str, layout: str, batched: bool, given: dict[str, Any]) -> None:
    op = operators.get(name)
    arrays, options = make(op, layout, batched, given)
    assert set(options) == set(op.options)
    hash(tuple(options.items()))
    made = results_of(op, arrays, options)
    ruled = op.shape(specs_of(arrays), options)
    assert [(spec.shape, np.dtype(spec.dtype)) for spec in ruled] == [(a.shape, a.dtype) for a in made]
    assert len(made) == len(op.results)


@pytest.mark.parametrize(("name", "layout", "batched", "given"), CASES)
def test_from_addresses_the_same_is_computed(
    name: str, layout: str, batched: bool, given: dict[str, Any]
) -> None:
    op = operators.get(name)
    if op.bound is None:
        pytest.skip("computes from arrays only")
    for dtype in (np.float64, np.float32):
        arrays, options = make(op, layout, batched, given)
        floats = [a for a, value in arrays.items() if value is not None and value.dtype == np.float64]
        arrays.update({a: arrays[a].astype(dtype) for a in floats})
        arrays = {a: value if value is None else np.ascontiguousarray(value) for a, value in arrays.items()}
        wanted = results_of(op, arrays, options)
        made = tuple(np.full_like(a, 77) for a in wanted)
        inputs = [0 if a is None else a.ctypes.data for a in arrays.values()]
        op.bound(specs_of(arrays), options)(*inputs, *(a.ctypes.data for a in made))
        assert all(np.array_equal(a, b) for a, b in zip(made, wanted))


class Watched(NumPy):
    """NumPy, but every operator that a rule calls must be registered, and called with canonical options."""

    def __call__(self, name: str, *arrays: Any, **options: Any) -> Any:
        op = operators.get(name)
        assert set(options) == set(op.options)
        assert len(arrays) == len(op.arrays)
        return super().__call__(name, *arrays, **options)


def rule_of(op: Operator, wanted: str, arrays: dict[str, Any], options: dict[str, Any], grad: Any) -> Any:
    """What a gradient's rule makes, with nothing at hand but what it says that it saves."""
    made = dict(zip([r.name for r in op.results], results_of(op, arrays, options)))
    gradient = op.gradients[wanted]
    saved = {name: {**arrays, **made}[name] for name in gradient.saves}
    shapes = {n: a.shape for n, a in arrays.items() if a is not None}
    return gradient.rule(Watched(), grad, Call(saved, shapes, options))


@pytest.mark.parametrize(("name", "layout", "batched", "given"), CASES)
def test_gradients_are_slopes(name: str, layout: str, batched: bool, given: dict[str, Any]) -> None:
    """Along a random direction; gradients of gradients are entries of their own and tested as such."""
    op = operators.get(name)
    arrays, options = make(op, layout, batched, given)
    y = results_of(op, arrays, options)[0]
    rng = np.random.default_rng(1)
    grad = rng.standard_normal(y.shape)
    for wanted in op.gradients:
        if arrays[wanted] is None:
            continue
        found = rule_of(op, wanted, arrays, options, grad)
        assert found.shape == arrays[wanted].shape
        assert found.dtype == np.float64
        direction = rng.standard_normal(found.shape)
        step = 1e-5
        ends = [
            results_of(op, {**arrays, wanted: arrays[wanted] + sign * step * direction}, options)[0]
            for sign in (1, -1)
        ]
        slope = np.vdot(grad, ends[0] - ends[1]) / (2 * step)
        # Errors of rounding over the step; and where it is not linear, the third derivative times its square.
        terms = np.abs(grad).ravel() @ np.abs(y).ravel() + np.abs(found).ravel() @ np.abs(direction).ravel()
        curved = 100 if kind_of(op) in ("lp_pool", "stochastic_pool") else 1
        assert abs(slope - np.vdot(found, direction)) <= curved * 1e-9 * (1 + terms)


def test_every_operator_that_is_named_is_there() -> None:
    for op in REGISTRY.values():
        assert op.graded is None or op.graded in REGISTRY
        names = {a.name for a in op.arrays} | {r.name for r in op.results}
        for wanted, gradient in op.gradients.items():
            assert wanted in {a.name for a in op.arrays}
            assert set(gradient.saves) <= names
        if op.graded is not None:
            graded = operators.get(op.graded)
            assert (graded.arrays, dict(graded.options)) == (op.arrays, dict(op.options))
            assert graded.results[0] == op.results[0]


def test_every_public_function_that_can_be_differentiated_is_registered() -> None:
    missing = {
        name
        for name in fastconv.__all__
        if inspect.isfunction(getattr(fastconv, name))
        and any(part in name for part in ("conv", "pool"))
        and not name.startswith("plan_")
        and name not in REGISTRY
    }
    # A spelling of conv2d; gradients that are max_pool's by index, or made of other operators.
    by_index = {f"adaptive_max_pool{n}d_grad" for n in (1, 2, 3)}
    assert missing == by_index | {"depthwise_conv2d", "stochastic_pool2d_grad"}


def test_signatures_are_those_of_the_functions() -> None:
    assert str(operators.get("conv2d").signature) == (
        "(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout='NCHW')"
    )
    for op in REGISTRY.values():
        parameters = op.signature.parameters
        assert all(a.name in parameters for a in op.arrays)
        assert "out" not in parameters


def test_a_gradient_where_a_window_has_no_pixel() -> None:
    """Dilation can step over the whole of a row; such a window has no index and gets no gradient."""
    x = np.arange(1.0, 4.0).reshape(1, 1, 3)
    op = operators.get("max_pool1d_with_indices")
    arrays, options = op.bind(x, 2, stride=1, padding=4, dilation=5)
    _, indices = op.forward(*arrays.values(), **options)
    assert (indices == -1).any()
    back = rule_of(op, "x", arrays, options, np.ones(indices.shape))
    gather = operators.get("max_unpool1d_grad").forward(back, indices, layout="NCL")
    assert gather.shape == indices.shape
    assert np.all(gather[indices == -1] == 0)


def test_shape_rules_refuse_what_does_not_fit() -> None:
    spec = {"x": Spec((1, 3, 4, 4), np.float32), "weight": Spec((2, 2, 3, 3), np.float32)}
    options = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "layout": "NCHW"}
    with pytest.raises(ValueError, match="channels"):
        operators.get("conv2d").shape(spec, options)
    spec["weight"] = Spec((2, 3, 5, 5), np.float32)
    with pytest.raises(ValueError, match="larger"):
        operators.get("conv2d").shape(spec, options)
    with pytest.raises(ValueError, match="axes"):
        operators.get("max_pool2d").bind(np.zeros((2, 2)), 2)
    spec["weight"] = Spec((2, 1, 3, 3), np.float32)
    with pytest.raises(ValueError, match="divide"):
        operators.get("conv2d").shape(spec, {**options, "groups": 3})
    spec |= {"weight": Spec((2, 3, 3, 3), np.float32), "bias": Spec((3,), np.float32)}
    with pytest.raises(ValueError, match="bias"):
        operators.get("conv2d").shape(spec, options)
    with pytest.raises(ValueError, match="already"):
        operators.register(operators.get("conv2d"))


@pytest.mark.parametrize(
    ("name", "given", "error", "message"),
    [
        ("conv2d", {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
        ("conv2d", {"stride": 1.5}, TypeError, "stride must be an integer, got float"),
        ("conv2d", {"stride": (1, 2, 3)}, ValueError, "stride"),
        ("conv2d", {"dilation": (1, -1)}, ValueError, "dilation"),
        ("conv2d", {"groups": 0}, ValueError, "groups"),
        ("conv2d", {"groups": True}, TypeError, "groups"),
        ("conv2d", {"padding": -1}, ValueError, "padding"),
        ("conv2d", {"padding": ((0, 1, 2), 0)}, ValueError, "padding"),
        ("conv2d", {"padding": "sane"}, ValueError, "sane"),
        ("conv2d", {"padding": "same", "stride": 0}, ValueError, "stride"),
        ("conv2d", {"layout": "NWHC"}, ValueError, "layout must be one of NCHW, NHWC, got 'NWHC'"),
        ("max_pool2d", {"kernel_size": 0}, ValueError, "kernel_size"),
        ("max_pool2d", {"kernel_size": "two"}, TypeError, "kernel_size"),
        ("max_pool2d", {"kernel_size": 2, "padding": 2}, ValueError, "padding"),
        ("adaptive_avg_pool2d", {"output_size": (2, 0)}, ValueError, "output_size"),
    ],
)
def test_options_are_refused_before_anything_is_computed(
    name: str, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    arrays = [np.ones((1, 2, 5, 5)), np.ones((2, 2, 3, 3))][: 2 if name == "conv2d" else 1]
    with pytest.raises(error, match=re.escape(message)):
        operators.get(name).bind(*arrays, **given)


def test_options_of_numpy_become_plain() -> None:
    _, options = operators.get("avg_pool2d").bind(np.ones((1, 2, 5, 5)), np.int64(2), np.array([1, 2]))
    assert (options["kernel_size"], options["stride"]) == ((2, 2), (1, 2))
    assert all(type(n) is int for n in (*options["kernel_size"], *options["stride"]))
