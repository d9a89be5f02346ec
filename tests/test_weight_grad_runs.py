"""Weight gradients as products of runs of channels, against the reference.

Shapes on and around what decides their form: tiles of 14 rows and of 4 vectors, groups that share a vector of
4, 8 or 16 lanes, kernel rows whose channels follow each other, few inputs that are lanes; blocks of 1024
pixels, parts of 512 channels, several images, every axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grad_cases import Data, both_dtypes, both_layouts, every_isa
from support import amid_nan, assert_within, isa, normal, to_layout

import fastconv
from fastconv import reference

# batch, channels, outputs, size, kernel, options
CASES: dict[str, tuple[int, int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    "4 groups of 16": (2, 64, 64, (7, 9), (3, 3), {"padding": 1, "groups": 4}),
    "4 groups of 14 to 15, a tile of rows": (2, 56, 60, (7, 9), (1, 3), {"padding": (0, 1), "groups": 4}),
    "3 groups of 15 to 33": (2, 45, 99, (7, 9), (3, 2), {"padding": 1, "groups": 3}),
    "9 groups of 4 to 8 in pairs, the last alone": (2, 36, 72, (6, 7), (3, 3), {"padding": 1, "groups": 9}),
    "13 groups of 3, four to a vector": (2, 39, 39, (6, 7), (3, 3), {"padding": 1, "groups": 13}),
    "21 groups of 2, eight to a vector": (2, 42, 42, (6, 7), (3, 3), {"padding": 1, "groups": 21}),
    "19 groups of 2 to 1, sixteen to a vector": (2, 38, 19, (6, 7), (3, 3), {"padding": 1, "groups": 19}),
    "2 groups of 3 to 65, five vectors": (1, 6, 130, (8, 9), (3, 3), {"groups": 2}),
    "6 groups of 32 to 8": (2, 192, 48, (9, 9), (5, 5), {"stride": 2, "groups": 6}),
    "3 to 16, pixels of outputs as they lie": (3, 3, 16, (9, 14), (3, 3), {"padding": 1}),
    "4 to 48, blocks of rows": (2, 4, 48, (51, 73), (3, 3), {"padding": 1, "stride": 2}),
    "inputs are lanes: 8 to 17, 5x5": (3, 8, 17, (9, 9), (5, 5), {"padding": 2}),
    "inputs are lanes: 31 to 17, 4x4 stride 4": (2, 31, 17, (17, 22), (4, 4), {"padding": 1, "stride": 4}),
    "inputs are lanes: 5 to 3 of 2 groups": (2, 10, 6, (8, 9), (3, 3), {"padding": 1, "groups": 2}),
    "inputs are lanes: 32 to 1, 8 groups, stride 4": (
        *(2, 256, 8, (9, 10), (3, 3)),
        {"padding": 1, "stride": 4, "groups": 8},
    ),
    "16 inputs, all columns follow each other": (2, 16, 24, (9, 8), (3, 3), {"padding": 1}),
    "15 inputs, which are less than a vector": (2, 15, 24, (9, 8), (3, 3), {"padding": 1}),
    "one input, 7x7": (2, 1, 20, (13, 12), (7, 7), {"padding": 3}),
    "strides beyond the kernel": (
        *(2, 12, 40, (14, 17), (2, 3)),
        {"stride": (3, 5), "padding": (1, 2), "groups": 4},
    ),
    "columns of taps that follow each other, a stride of one more": (
        *(2, 3, 20, (9, 19), (3, 3)),
        {"padding": 1, "stride": 4},
    ),
    "stride of rows beyond the kernel": (2, 12, 40, (14, 17), (2, 3), {"stride": (3, 1), "groups": 4}),
    "1x1 stride 3": (2, 48, 128, (11, 13), (1, 1), {"stride": 3, "groups": 4}),
    "dilation 2 by 3": (2, 24, 24, (11, 13), (3, 3), {"padding": 2, "dilation": (2, 3), "groups": 6}),
    "dilation 2, strides 7 and 2": (
        *(2, 24, 24, (19, 13), (3, 3)),
        {"dilation": 2, "stride": (7, 2), "groups": 6},
    ),
    "padding of four widths": (2, 12, 18, (6, 9), (4, 3), {"padding": ((0, 3), (2, 1)), "groups": 3}),
    "rows that see padding only": (1, 8, 8, (3, 5), (2, 2), {"padding": 4, "groups": 2}),
    "one pixel": (20, 12, 9, (1, 1), (3, 3), {"padding": 1, "groups": 3}),
    "fewer pixels than a vector": (3, 16, 16, (2, 3), (3, 3), {"padding": 1, "groups": 2}),
    "several images a block": (40, 12, 20, (7, 7), (3, 3), {"padding": 1, "groups": 4}),
    "blocks of rows": (1, 8, 16, (70, 61), (3, 3), {"padding": 1, "groups": 2}),
    "blocks of columns": (1, 4, 8, (2, 2200), (2, 3), {"padding": 1, "groups": 2}),
    "several parts of 4 groups, and of 2, side by side": (
        *(1, 650, 1170, (3, 6), (2, 3)),
        {"groups": 130, "dilation": (1, 2)},
    ),
    "several parts": (2, 1088, 1088, (4, 5), (1, 3), {"padding": (0, 1), "groups": 34}),
}
PAIRS, FOURS, LANES = (
    "9 groups of 4 to 8 in pairs, the last alone",
    "13 groups of 3, four to a vector",
    "inputs are lanes: 8 to 17, 5x5",
)
every_case = pytest.mark.parametrize("case", CASES)


def data_of(case: str, dtype: Any, layout: str = "NCHW") -> Data:
    batch, channels, outputs, size, kernel, options = CASES[case]
    return Data((channels, outputs, size, kernel, options), dtype, layout, batch)


@every_case
@both_layouts
@both_dtypes
@every_isa
def test_weight_grad(case: str, layout: str, dtype: Any, name: str) -> None:
    """Nothing around the arrays is read, and nothing of scratch that was not written."""
    data = data_of(case, dtype, layout)
    with isa(name):
        data.leave_nan_behind(algorithm="runs")
        clean = data.x, data.grad
        results = []
        for memory in ("contiguous", "rows", "steps"):
            data.x, data.grad = (amid_nan(a, memory) for a in clean)
            results.append(data.weight_grad(algorithm="runs"))
        data.x, data.grad = clean
        for result in results:
            data.check_weight_grad(result)


@every_case
@both_layouts
@every_isa
def test_whole_numbers(case: str, layout: str, name: str) -> None:
    """Their sums are exact: a single product that is wrong shows."""
    data = data_of(case, np.float32, layout)
    expected = data.whole_numbers()
    with isa(name):
        np.testing.assert_array_equal(data.weight_grad(algorithm="runs"), expected)


@pytest.mark.parametrize("layouts", [("NCHW", "NHWC"), ("NHWC", "NCHW")])
@pytest.mark.parametrize("case", [PAIRS, LANES])
def test_one_side_of_each_layout(case: str, layouts: tuple[str, str]) -> None:
    """x has planes, and grad_output pixels with all channels, or the other way round."""
    data = data_of(case, np.float32)
    expected = data.weight_grad(algorithm="direct")
    moved = [
        np.moveaxis(to_layout(a, layout), -1, 1) if layout == "NHWC" else a
        for a, layout in zip((data.x, data.grad), layouts, strict=True)
    ]
    data.x, data.grad = moved
    found = data.weight_grad(algorithm="runs")
    assert_within(found, expected, 1e-4 * np.abs(expected).max())


@both_layouts
@pytest.mark.parametrize("case", ["4 groups of 16", FOURS, LANES])
def test_what_is_not_finite(case: str, layout: str) -> None:
    """It reaches the weights that it reaches by definition, times padding too, and no other group's."""
    data = data_of(case, np.float32, layout)
    data.check_what_is_not_finite((0, 0, 0, 0), algorithm="runs")


@both_layouts
@pytest.mark.parametrize("case", ["several images a block", "blocks of rows", "several parts"])
def test_threads_do_not_change_bits(case: str, layout: str) -> None:
    data = data_of(case, np.float32, layout)
    data.check_threads(algorithm="runs")


@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
def test_volume(layout: str) -> None:
    """Kernels of several planes, of which padding is some."""
    x, grad = normal((2, 12, 5, 6, 7), np.float32, 1), normal((2, 20, 3, 6, 7), np.float32, 2)
    if layout == "NDHWC":
        x, grad = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, grad))
    how = {"weight_shape": (20, 3, 3, 3, 3), "padding": 1, "stride": (2, 1, 1), "groups": 4, "layout": layout}
    found = fastconv.conv3d_weight_grad(grad, x, algorithm="runs", **how)
    expected = reference.conv3d_weight_grad(grad, x, **how)
    largest = reference.conv3d_weight_grad(abs(grad), abs(x), **how)
    assert_within(found, expected, (grad.size + 2) * np.finfo(np.float32).eps * largest)


REFUSED: dict[str, tuple[int, int, int, dict[str, Any]]] = {
    "runs is for groups": (400, 400, 3, {}),
    "would not fit scratch": (4, 4, 2, {"dilation": 2**20, "padding": 2**19}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refuses(reason: str) -> None:
    channels, outputs, kernel, how = REFUSED[reason]
    x = normal((1, channels, 5, 5), np.float32, 1)
    shape = (outputs, channels, kernel, kernel)
    out = (x.shape[2] + 2 * how.get("padding", 0) - how.get("dilation", 1) * (kernel - 1) - 1) + 1
    grad = np.zeros((1, outputs, out, out), np.float32)
    with pytest.raises(ValueError, match=reason):
        fastconv.conv2d_weight_grad(grad, x, weight_shape=shape, algorithm="runs", **how)
