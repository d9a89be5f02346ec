"""Pixels that no output sees are left out of x, and no result may show it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from support import (
    DTYPES,
    ISAS,
    LAYOUTS,
    Poisoned,
    amid_nan,
    assert_conv2d,
    assert_gradients,
    case_arrays,
    isa,
    normal,
    same_bits,
    seen,
    to_layout,
)

import fastconv
from fastconv import _core, reference

# channels, outputs, size, kernel, options, how much of x is left for dense problems
CASES: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], dict[str, Any], tuple[int, int]]] = {
    "1x1 stride 2": (24, 33, (15, 18), (1, 1), {"stride": 2}, (8, 9)),
    "1x1 stride (1, 3)": (17, 8, (6, 20), (1, 1), {"stride": (1, 3)}, (6, 7)),
    "1x1 stride 3, padded": (6, 10, (8, 9), (1, 1), {"stride": 3, "padding": ((1, 2), (2, 0))}, (2, 3)),
    "1x1 stride 2, the last column is no output": (6, 10, (8, 34), (1, 1), {"stride": 2}, (4, 17)),
    "3x1 stride 2": (9, 16, (21, 10), (3, 1), {"stride": 2, "padding": (1, 0)}, (21, 5)),
    "stride 2, dilation 2, Winograd": (
        40,
        48,
        (33, 33),
        (3, 3),
        {"stride": 2, "dilation": 2, "padding": 2},
        (17, 17),
    ),
    "the odd pixels": (20, 24, (16, 19), (3, 3), {"stride": 2, "dilation": 2, "padding": 1}, (8, 9)),
    "stride 4, dilation 6": (
        8,
        9,
        (29, 40),
        (3, 2),
        {"stride": 4, "dilation": 6, "padding": (5, 3)},
        (14, 20),
    ),
    "stride 6, dilation 4": (
        8,
        9,
        (29, 40),
        (2, 3),
        {"stride": 6, "dilation": 4, "padding": (5, 3)},
        (14, 20),
    ),
    "no common divisor": (8, 9, (14, 20), (3, 3), {"stride": 2, "dilation": 3, "padding": 2}, (14, 20)),
    "of one axis": (8, 9, (14, 21), (3, 3), {"stride": (2, 3), "dilation": 3, "padding": 2}, (14, 7)),
    "padding on one side": (
        8,
        9,
        (9, 9),
        (3, 3),
        {"stride": 2, "dilation": 2, "padding": ((5, 0), (0, 4))},
        (4, 5),
    ),
    "one pixel is left": (8, 9, (3, 2), (1, 1), {"stride": 5}, (1, 1)),
    "no pixel is seen": (3, 4, (1, 7), (1, 1), {"stride": 3, "padding": ((2, 0), (0, 0))}, (1, 3)),
    "no pixel is seen, behind the last": (
        3,
        4,
        (1, 7),
        (1, 1),
        {"stride": 3, "padding": ((2, 1), (0, 0))},
        (1, 3),
    ),
    "no pixel is seen, before the first": (
        3,
        4,
        (2, 7),
        (2, 1),
        {"stride": (4, 1), "dilation": (2, 1), "padding": ((7, 0), (0, 0))},
        (2, 7),
    ),
    "groups": (24, 16, (13, 15), (3, 3), {"stride": 2, "dilation": 2, "padding": 2, "groups": 4}, (7, 8)),
    "groups of one channel": (
        6,
        12,
        (13, 15),
        (3, 3),
        {"stride": 2, "dilation": 2, "padding": 2, "groups": 6},
        (7, 8),
    ),
    "wide planes": (
        5,
        5,
        (33, 65),
        (3, 3),
        {"stride": 2, "dilation": 2, "padding": 2, "groups": 5},
        (17, 33),
    ),
    "planes, kernels of 5": (
        5,
        5,
        (33, 70),
        (5, 5),
        {"stride": 2, "dilation": 2, "padding": 4, "groups": 5},
        (17, 35),
    ),
    "planes, 1x1": (20, 20, (28, 28), (1, 1), {"stride": 2, "groups": 20}, (14, 14)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
both_layouts = pytest.mark.parametrize("layout", LAYOUTS)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


@every_case
def test_what_is_left(case: Any) -> None:
    """What the bounds of these tests are made of is the same problem."""
    x, weight, _, options = case_arrays(case, np.float64, "NCHW")
    left, how = seen(x, case[3], {**options, "layout": "NHWC"})
    assert left.shape[2:] == case[5]
    how["layout"] = "NCHW"
    np.testing.assert_array_equal(
        reference.conv2d(left, weight, **how), reference.conv2d(x, weight, **options)
    )


@every_case
@both_layouts
@both_dtypes
@pytest.mark.parametrize("name", ISAS)
def test_forward(case: Any, layout: str, dtype: Any, name: str) -> None:
    """Calls and plans; what is left out is NaN, and may be."""
    x, weight, bias, options = case_arrays(case, dtype, layout)
    with isa(name):
        y = fastconv.conv2d(x, weight, bias, **options)
        assert_conv2d(y, x, weight, bias, **options)
        spoilt = np.full_like(x, np.nan)
        used = fastconv.conv2d_input_grad(
            np.ones_like(y), np.ones_like(weight), input_shape=x.shape, **options
        )
        spoilt[used != 0] = x[used != 0]
        assert_conv2d(fastconv.conv2d(spoilt, weight, bias, **options), x, weight, bias, **options)
        for algorithm in ("auto", "direct", "im2col", "dot"):
            plan = fastconv.plan_conv2d(x.shape, weight, bias, algorithm=algorithm, **options)
            z = plan(x)
            assert_conv2d(z, x, weight, bias, **options)
            assert same_bits(z, fastconv.conv2d(x, weight, bias, algorithm=plan.algorithm, **options))
            assert same_bits(z, pickle.loads(pickle.dumps(plan))(x))
            for view in (
                amid_nan(x, "steps"),
                amid_nan(x, "rows"),
                x[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1],
            ):
                target = Poisoned(y.shape, dtype, "reversed")
                assert_conv2d(plan(view, out=target.out), x, weight, bias, **options)
                target.check()


def test_winograd_of_what_is_left() -> None:
    """A stride and a dilation of 2 are none."""
    x, weight, bias, options = case_arrays(CASES["stride 2, dilation 2, Winograd"], np.float32, "NCHW")
    plan = fastconv.plan_conv2d(x.shape, weight, bias, algorithm="winograd4", **options)
    assert plan.algorithm == "winograd4"
    assert plan.seen_every == (2, 2)
    assert "1 of 2x2 pixels is seen" in plan.explain()
    with pytest.raises(ValueError, match="winograd4"):
        fastconv.conv2d(x, weight, algorithm="winograd4", stride=2, dilation=3)


def test_settled_algorithms_have_the_bits_of_calls() -> None:
    """The algorithm is settled for the problem that is left: here Winograd, which all of x does not allow."""
    x, weight, _, options = case_arrays(CASES["stride 2, dilation 2, Winograd"], np.float32, "NCHW")
    how = (options["stride"], options["padding"], options["dilation"], 1, "NCHW", x.dtype)
    expected = fastconv.conv2d(x, weight, **options)
    found = np.empty_like(expected)
    bound = _core.BoundConv("forward", 2, x.shape, weight.shape, False, *how)
    bound.run(*(a.ctypes.data for a in (x, weight)), 0, found.ctypes.data)
    assert fastconv.plan_conv2d(x.shape, weight, **options).algorithm == "winograd4"
    assert same_bits(found, expected)


@every_case
@both_layouts
@both_dtypes
@pytest.mark.parametrize("name", ISAS)
def test_gradients(case: Any, layout: str, dtype: Any, name: str) -> None:
    x, weight, _, options = case_arrays(case, dtype, layout)
    with isa(name):
        assert_gradients(x, weight, **options)


@both_layouts
def test_strides_that_reach_beyond_any_array(layout: str) -> None:
    """One pixel is seen, and the stride of a broadcast array times 2**62 is never formed."""
    x = np.broadcast_to(np.float32(3), to_layout(np.empty((2, 5, 4, 6), bool), layout).shape)
    weight = normal((7, 5, 1, 1))
    assert_conv2d(
        fastconv.conv2d(x, weight, stride=2**62, layout=layout), x, weight, stride=2**62, layout=layout
    )
