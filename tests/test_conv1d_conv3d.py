"""conv1d, conv3d and depthwise_conv2d: the same door as conv2d with other numbers of axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import (
    DTYPES,
    ISAS,
    Poisoned,
    amid_nan,
    assert_within,
    integers,
    isa,
    normal,
    same_bits,
    seed_cases,
)

import fastconv
from fastconv import reference

CONV = {1: fastconv.conv1d, 3: fastconv.conv3d}
REFERENCE = {1: reference.conv1d, 3: reference.conv3d}
PLAN = {1: fastconv.plan_conv1d, 3: fastconv.plan_conv3d}
SIZES = {1: (37,), 3: (5, 6, 11)}
KERNELS = {1: (4,), 3: (2, 3, 3)}


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", seed_cases("conv1d"), ids=lambda case: case["name"])
def test_worked_examples(case: dict[str, Any], dtype: Any) -> None:
    x, weight = np.array([case["x"]], dtype), np.array([[case["weight"]]], dtype)
    how = {name: case[name] for name in ("stride", "padding", "padding_mode") if name in case}
    y = fastconv.conv1d(x, weight, **how)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[0], case["expected"])
    np.testing.assert_array_equal(fastconv.conv1d(x.T, weight, layout="NLC", **how)[:, 0], case["expected"])


OPTIONS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "dilation": 2},
    {"padding": "same_lower", "stride": 3},
    {"groups": 3, "padding": 2},
    {"groups": 6, "padding": 1},
    {"groups": 6, "stride": 2, "padding": "same", "activation": "relu6"},
    {"padding": 3, "padding_mode": "symmetric", "activation": "relu"},
    {"padding": 2, "padding_mode": "constant", "padding_value": -1.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rank", [1, 3])
def test_options(rank: int, options: dict[str, Any]) -> None:
    """Every algorithm that takes the problem, on every instruction set, in both layouts and dtypes."""
    groups = options.get("groups", 1)
    for dtype in DTYPES:
        x, weight = (
            normal((2, 6, *SIZES[rank]), dtype, 1),
            normal((12, 6 // groups, *KERNELS[rank]), dtype, 2),
        )
        bias = normal((12,), dtype, 3)
        expected = REFERENCE[rank](x, weight, bias, **options)
        bound = reference.error_bound(x, weight, bias, **options)
        for layout in reference.LAYOUTS[rank]:
            last = layout == reference.LAYOUTS[rank][1]
            image = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
            plan = PLAN[rank](image.shape, weight, bias, layout=layout, **options)
            names = [c["name"] for c in plan.candidates() if c["reason"] is None]
            assert {"direct", "im2col"} <= set(names)
            for algorithm in names:
                poisoned = Poisoned(plan.out_shape, dtype)
                for name in ISAS:
                    with isa(name):
                        y = CONV[rank](
                            *(amid_nan(image), weight, bias),
                            layout=layout,
                            algorithm=algorithm,
                            out=poisoned.out,
                            **options,
                        )
                    poisoned.check()
                    assert_within(np.moveaxis(y, -1, 1) if last else y, expected, bound)
            y = CONV[rank](image, weight, bias, layout=layout, algorithm=plan.algorithm, **options)
            assert same_bits(plan(image), y)


@pytest.mark.parametrize("rank", [1, 3])
def test_without_a_batch_and_with_an_empty_one(rank: int) -> None:
    x, weight = integers((2, 3, *SIZES[rank]), np.float32, 1), integers((4, 3, *KERNELS[rank]), np.float32, 2)
    y = CONV[rank](x, weight)
    np.testing.assert_array_equal(CONV[rank](x[1], weight), y[1])
    assert CONV[rank](x[:0], weight).shape == (0, *y.shape[1:])
    last = reference.LAYOUTS[rank][1]
    one = CONV[rank](np.moveaxis(x[1], 0, -1), weight, layout=last)
    np.testing.assert_array_equal(np.moveaxis(one, -1, 0), y[1])


# channels, groups, size, kernel, options: depthwise planes and groups in blocks, of several depths.
DEEP: dict[str, tuple[int, int, tuple[int, int, int], tuple[int, int, int], dict[str, Any]]] = {
    "narrow planes": (5, 5, (4, 9, 15), (1, 3, 3), {"stride": (1, 2, 2), "padding": (0, 1, 1)}),
    "wide planes": (5, 5, (3, 9, 50), (1, 3, 3), {"stride": (1, 3, 3), "padding": (0, 1, 1)}),
    "groups": (64, 4, (5, 9, 8), (3, 3, 3), {"dilation": (2, 1, 1), "padding": (1, 1, 1)}),
    "groups, depths apart": (64, 4, (8, 9, 8), (2, 3, 3), {"stride": (3, 1, 1), "padding": (2, 1, 1)}),
    "strides": (8, 2, (7, 8, 9), (3, 3, 2), {"stride": (3, 3, 2), "padding": (1, 0, 1)}),
    "strides beyond the kernel": (6, 1, (7, 8, 9), (2, 2, 2), {"stride": (3, 3, 4)}),
    "strides, one group": (6, 1, (7, 8, 9), (2, 4, 3), {"stride": (2, 3, 2), "padding": (1, 2, 0)}),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@pytest.mark.parametrize("case", DEEP.values(), ids=DEEP.keys())
def test_several_depths(case: Any, layout: str, name: str, dtype: Any) -> None:
    """Whole numbers, so that every algorithm's result is exact: forward and both gradients."""
    channels, groups, size, kernel, options = case
    x = integers((2, channels, *size), dtype, 1)
    x = x if layout == "NCDHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    weight = integers((channels, channels // groups, *kernel), dtype, 2)
    how = {**options, "groups": groups, "layout": layout}
    expected = reference.conv3d(x, weight, **how)
    grad = integers(expected.shape, dtype, 3)
    near = (grad, weight), {"input_shape": x.shape}
    of_weight = (grad, x), {"weight_shape": weight.shape}
    fastconv.set_exact(True)
    with isa(name):
        for algorithm in ("auto", "grouped", *["depthwise"] * (groups == channels)):
            np.testing.assert_array_equal(fastconv.conv3d(x, weight, algorithm=algorithm, **how), expected)
        phases = "rows" if layout == "NCDHW" and options.get("stride", (1,))[-1] > 1 else "phases"
        for function, (arrays, more) in (("input", near), ("weight", of_weight)):
            wanted = getattr(reference, f"conv3d_{function}_grad")(*arrays, **more, **how)
            for algorithm in ("auto", *[phases] * (function == "input")):
                found = getattr(fastconv, f"conv3d_{function}_grad")(
                    *arrays, **more, algorithm=algorithm, **how
                )
                np.testing.assert_array_equal(found, wanted)
        depth = layout.index("D")
        between = np.full_like(x.repeat(2, depth), np.nan)  # a depth of another array after each
        out = between[(slice(None),) * depth + (slice(None, None, 2),)]
        fastconv.conv3d_input_grad(grad, weight, input_shape=x.shape, algorithm=phases, out=out, **how)
        np.testing.assert_array_equal(
            out, reference.conv3d_input_grad(grad, weight, input_shape=x.shape, **how)
        )
        assert np.isnan(between).sum() == x.size


@pytest.mark.parametrize("dilation", [1, 3])
def test_causal(dilation: int) -> None:
    x, weight = integers((2, 3, 20), np.float32, 1), integers((4, 3, 3), np.float32, 2)
    y = fastconv.conv1d(x, weight, padding="causal", dilation=dilation)
    assert y.shape == (2, 4, 20)
    np.testing.assert_array_equal(y, reference.conv1d(x, weight, padding="causal", dilation=dilation))


def test_errors_speak_of_their_own_rank() -> None:
    weight = np.ones((4, 3, 3))
    with pytest.raises(ValueError, match=r"x.*3 axes \(NCL\).*conv1d"):
        fastconv.conv1d(np.ones((1, 3, 8, 8)), weight)
    with pytest.raises(ValueError, match=r"weight.*3 axes.*conv1d"):
        fastconv.conv1d(np.ones((3, 8)), np.ones((4, 3, 3, 3)))
    with pytest.raises(ValueError, match=r"layout.*NCL.*NLC.*NCHW"):
        fastconv.conv1d(np.ones((3, 8)), weight, layout="NCHW")
    with pytest.raises(ValueError, match=r"layout.*NCDHW.*NDHWC"):
        fastconv.conv3d(np.ones((3, 8, 8, 8)), np.ones((4, 3, 3, 3, 3)), layout="NHWC")
    with pytest.raises(ValueError, match=r"stride.*3"):
        fastconv.conv3d(np.ones((3, 8, 8, 8)), np.ones((4, 3, 3, 3, 3)), stride=(1, 1))
    with pytest.raises(ValueError, match=r"weight.*depth.*3.*2"):
        fastconv.conv3d(np.ones((3, 2, 8, 8)), np.ones((4, 3, 3, 3, 3)))
    with pytest.raises(ValueError, match=r"padding.*causal"):
        fastconv.conv3d(np.ones((3, 8, 8, 8)), np.ones((4, 3, 3, 3, 3)), padding="causal")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_depthwise_conv2d(layout: str) -> None:
    """As conv2d with a group for every channel, also where there is one channel."""
    for channels, multiplier in ((5, 1), (4, 3), (1, 2)):
        shape = (2, channels, 7, 9) if layout == "NCHW" else (2, 7, 9, channels)
        x, weight = normal(shape, seed=1), normal((channels * multiplier, 1, 3, 3), seed=2)
        y = fastconv.depthwise_conv2d(x, weight, padding=1, layout=layout)
        assert same_bits(y, fastconv.conv2d(x, weight, padding=1, groups=channels, layout=layout))
        with pytest.raises(ValueError, match="weight"):
            fastconv.depthwise_conv2d(x, np.ones((channels, 2, 3, 3), np.float32), layout=layout)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "groups", "side"), [(33, 33, 3), (32, 4, 3), (20, 1, 3), (128, 128, 1)])
def test_outputs_that_see_nothing_but_padding_in_depth(
    channels: int, groups: int, side: int, stride: int, before: int, layout: str, name: str, dtype: Any
) -> None:
    """Kernels of one depth, which read no other image, nor what lies behind x."""
    x = normal((4, channels, 1, 8, 8), dtype, 1)
    weight = normal((channels, channels // groups, 1, side, side), dtype, 2)
    if layout == "NDHWC":
        x = np.moveaxis(x, 1, -1)
    around = np.full(2 * x.size, 7, dtype)
    around[: x.size] = x.ravel()
    x = around[: x.size].reshape(x.shape)
    padding = ((before, 1), (side // 2,) * 2, (side // 2,) * 2)
    how: dict[str, Any] = {"stride": (1, stride, stride), "padding": padding}
    how |= {"groups": groups, "layout": layout}
    expected = reference.conv3d(x, weight, **how)
    g = normal(expected.shape, dtype, 3)
    eps = np.finfo(dtype).eps
    fastconv.set_exact(True)  # sums of the products themselves
    with isa(name):
        made = [
            fastconv.conv3d(x, weight, **how),
            fastconv.conv3d_weight_grad(g, x, weight_shape=weight.shape, **how),
            fastconv.conv3d_input_grad(g, weight, input_shape=x.shape, **how),
        ]
    near = [
        (reference.conv3d, (x, weight), {}, weight[0].size),
        (reference.conv3d_weight_grad, (g, x), {"weight_shape": weight.shape}, g.size // channels),
        (reference.conv3d_input_grad, (g, weight), {"input_shape": x.shape}, weight[0].size),
    ]
    for y, (function, arrays, more, terms) in zip(made, near):
        bound = (terms + 1) * eps * function(*[abs(a) for a in arrays], **more, **how)
        assert_within(y, function(*arrays, **more, **how), bound)
