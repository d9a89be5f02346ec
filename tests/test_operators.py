"""The registry: shape rules against what is computed, gradients and theirs against central differences."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from operator_cases import CASES, kind_of, make, specs_of

import fastconv
from fastconv import operators
from fastconv.operators import REGISTRY, Call, NumPy, Operator, Spec


def results_of(op: Operator, arrays: dict[str, Any], options: dict[str, Any]) -> tuple[Any, ...]:
    made = op.forward(*arrays.values(), **options)
    return made if isinstance(made, tuple) else (made,)


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
        assert any(part in name for part in ("unpool", "lp_pool", "stochastic", "weighted"))
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
    others = {"depthwise_conv2d", "stochastic_pool2d_grad", "weighted_avg_pool2d_weight_grad"}
    assert missing == by_index | others


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


@pytest.mark.parametrize(
    ("name", "layout", "batched", "given"),
    [
        case
        for case in CASES
        if (op := operators.get(case.values[0])).bound
        and (
            "input_shape" in op.options
            or "weight_shape" in op.options
            or "indices" in {array.name for array in op.arrays}
        )
    ],
)
def test_gradients_and_indices_of_other_shapes_are_refused(
    name: str, layout: str, batched: bool, given: dict[str, Any]
) -> None:
    """What computes from addresses reads as much as the others say: the shape rule sees to it."""
    op = operators.get(name)
    arrays, options = make(op, layout, batched, given)
    whole = specs_of(arrays)
    for array in {"grad_output", "indices"} & whole.keys():
        for axis, size in enumerate(whole[array].shape):
            shape = list(whole[array].shape)
            shape[axis] = size + 1
            with pytest.raises(ValueError, match=r"shape|channels"):
                op.shape({**whole, array: Spec(tuple(shape), whole[array].dtype)}, options)
