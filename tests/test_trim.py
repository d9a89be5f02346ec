"""Taps that meet nothing but padding are left out of the kernel, and no result may show it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from support import (
    DTYPES,
    ISAS,
    LAYOUTS,
    amid_nan,
    assert_conv2d,
    assert_gradients,
    assert_within,
    case_arrays,
    error_bound,
    isa,
    normal,
    same_bits,
)

import fastconv
from fastconv import _core, reference

# channels, outputs, size, kernel, options, the part of the kernel that meets pixels
CASES: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], dict[str, Any], tuple[int, int]]] = {
    "one pixel": (20, 33, (1, 1), (3, 3), {"padding": 1}, (1, 1)),
    "one pixel, even kernel": (5, 7, (1, 1), (4, 4), {"padding": 2}, (2, 2)),
    "one column": (17, 24, (17, 1), (3, 3), {"padding": 1}, (3, 1)),
    "one row, Winograd for what is left": (40, 48, (1, 30), (3, 3), {"padding": 1}, (1, 3)),
    "a kernel larger than the image": (12, 12, (7, 6), (31, 31), {"padding": 15, "groups": 12}, (13, 11)),
    "dilation beyond the image": (16, 8, (33, 20), (3, 3), {"padding": 36, "dilation": 36}, (1, 1)),
    "dilation beyond it on one axis": (6, 8, (8, 25), (3, 3), {"padding": 12, "dilation": 12}, (1, 3)),
    "padding on one side": (8, 9, (2, 2), (5, 5), {"padding": ((3, 0), (0, 4))}, (2, 2)),
    "stride over the image": (8, 9, (1, 3), (7, 3), {"stride": (2, 1), "padding": (6, 1)}, (7, 3)),
    "stride from one tap to another": (8, 9, (1, 9), (5, 3), {"stride": 4, "padding": (2, 1)}, (1, 3)),
    "groups": (12, 20, (2, 1), (5, 3), {"padding": (2, 1), "groups": 4, "activation": "relu"}, (3, 1)),
    "groups, channels as lanes": (24, 24, (17, 1), (3, 3), {"padding": 1, "groups": 3}, (3, 1)),
    "every tap meets a pixel": (8, 9, (2, 2), (3, 3), {"padding": 1}, (3, 3)),
    "dilation beyond image and padding": (
        6,
        8,
        (5, 4),
        (2, 2),
        {"padding": ((0, 4), (0, 0)), "dilation": (5, 1)},
        (2, 2),
    ),
    "no tap meets a pixel": (3, 4, (1, 1), (2, 2), {"padding": ((5, 0), (5, 0)), "stride": 3}, (1, 1)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
both_layouts = pytest.mark.parametrize("layout", LAYOUTS)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


@every_case
@both_layouts
@both_dtypes
@pytest.mark.parametrize("name", ISAS)
def test_forward(case: Any, layout: str, dtype: Any, name: str) -> None:
    """Calls and plans, by choice and with algorithms that can and cannot do what is left."""
    x, weight, bias, options = case_arrays(case, dtype, layout)
    with isa(name):
        assert_conv2d(fastconv.conv2d(x, weight, bias, **options), x, weight, bias, **options)
        for algorithm in ("auto", "direct", "im2col", "dot"):
            plan = fastconv.plan_conv2d(x.shape, weight, bias, algorithm=algorithm, **options)
            assert plan.met_kernel == case[5]
            assert ("of the kernel meet" in plan.explain()) == (case[5] != case[3])
            y = plan(x)
            assert_conv2d(y, x, weight, bias, **options)
            assert same_bits(y, fastconv.conv2d(x, weight, bias, algorithm=plan.algorithm, **options))
            assert_conv2d(plan(amid_nan(x, "steps")), x, weight, bias, **options)
            assert same_bits(y, pickle.loads(pickle.dumps(plan))(x))


@both_layouts
def test_an_algorithm_that_needs_the_whole_kernel(layout: str) -> None:
    x, weight, bias, options = case_arrays(CASES["one pixel"], np.float32, layout)
    plan = fastconv.plan_conv2d(x.shape, weight, bias, algorithm="winograd2", **options)
    assert plan.algorithm == "winograd2"
    assert plan.met_kernel == (3, 3)
    assert_conv2d(plan(x), x, weight, bias, **options)


@every_case
@both_layouts
@both_dtypes
@pytest.mark.parametrize("name", ISAS)
def test_gradients(case: Any, layout: str, dtype: Any, name: str) -> None:
    x, weight, _, options = case_arrays(case, dtype, layout)
    options.pop("activation", None)
    with isa(name):
        assert_gradients(x, weight, **options)


@every_case
@both_layouts
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("value", [np.inf, np.nan])
@np.errstate(invalid="ignore")
def test_weights_that_are_not_finite(case: Any, layout: str, value: float, last: bool) -> None:
    """Times padding they are no number: such taps stay, be it for one weight, the last."""
    x, weight, bias, options = case_arrays(case, np.float32, layout)
    fastconv.set_exact(True)  # Winograd's sums of weights would carry it further
    weight[-1 if last else 2, -1, -1, -1] = value
    if not last:
        weight[1, 0, 0, 0] = value
    expected = reference.conv2d(x, weight, bias, **options)
    for y in (
        fastconv.conv2d(x, weight, bias, **options),
        fastconv.plan_conv2d(x.shape, weight, bias, **options)(x),
    ):
        bound = error_bound(x, np.nan_to_num(weight, posinf=0), bias, **options)
        assert_within(y, expected, bound)


@every_case
@both_layouts
@pytest.mark.parametrize("channel", [1, -1])
@np.errstate(invalid="ignore")
def test_a_gradient_that_is_not_finite(case: Any, layout: str, channel: int) -> None:
    """Times padding it is no number, in the gradient of every weight that meets padding."""
    x, weight, _, options = case_arrays(case, np.float32, layout)
    options.pop("activation", None)
    grad = normal(reference.conv2d(x, weight, **options).shape, np.float32, 4)
    from_first = grad if layout == "NCHW" else np.moveaxis(grad, -1, 1)
    from_first[0, channel] = np.inf
    fastconv.set_exact(True)
    found = fastconv.conv2d_weight_grad(grad, x, weight_shape=weight.shape, **options)
    expected = reference.conv2d_weight_grad(grad, x, weight_shape=weight.shape, **options)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))


@both_dtypes
def test_one_and_three_axes(dtype: Any) -> None:
    x, weight = normal((2, 6, 5), dtype, 1), normal((7, 6, 31), dtype, 2)
    bound = reference.conv1d(abs(x), abs(weight), padding=15) * weight[0].size * np.finfo(dtype).eps
    plan = fastconv.plan_conv1d(x.shape, weight, padding=15)
    assert plan.met_kernel == (9,)
    for y in (plan(x), fastconv.conv1d(x, weight, padding=15)):
        assert_within(y, reference.conv1d(x, weight, padding=15), bound)
    x, weight = normal((2, 6, 1, 4, 2), dtype, 1), normal((7, 6, 3, 3, 5), dtype, 2)
    padding = (1, 0, 2)
    bound = reference.conv3d(abs(x), abs(weight), padding=padding) * weight[0].size * np.finfo(dtype).eps
    plan = fastconv.plan_conv3d(x.shape, weight, padding=padding)
    assert plan.met_kernel == (1, 3, 3)
    for y in (plan(x), fastconv.conv3d(x, weight, padding=padding)):
        assert_within(y, reference.conv3d(x, weight, padding=padding), bound)


@both_dtypes
@pytest.mark.parametrize(
    ("channels", "outputs", "size", "stride"),
    [(128, 96, 2, 2), (128, 96, 1, 1), (64, 64, 4, 1), (24, 16, 2, 1)],
)
def test_calls_bound_to_shapes_weigh_taps_as_others_do(
    channels: int, outputs: int, size: int, stride: int, dtype: Any
) -> None:
    """Whether copying the taps that are left pays or not: the same algorithm, and the same bits."""
    x, weight = normal((2, channels, size, size), dtype, 1), normal((outputs, channels, 7, 7), dtype, 2)
    how: dict[str, Any] = {"stride": stride, "padding": 3, "dilation": 1, "groups": 1}
    expected = fastconv.conv2d(x, weight, **how)
    y = np.empty_like(expected)
    shapes = (x.shape, weight.shape, False)
    bound = _core.BoundConv("forward", 2, *shapes, *how.values(), "NCHW", np.dtype(dtype))
    bound.run(x.ctypes.data, weight.ctypes.data, 0, y.ctypes.data)
    assert same_bits(y, expected)
    assert_within(y, reference.conv2d(x, weight, **how), error_bound(x, weight, **how))
