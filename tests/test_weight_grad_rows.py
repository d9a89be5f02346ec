"""Weight gradients as sums along rows of pixels, of tiles of outputs by taps, against the reference.

Shapes on and around what decides their form: tiles of 9 taps by 1 to 3 outputs, 6 by 4 and 5 by 5 (8 by 1,
6 by 2 and 4 by 3 where registers are few), vectors of 4, 8 and 16 pixels with a rest, rows of one or several
blocks, blocks of images, parts of 512 pairs of input and tap, groups whose adjacent channels are turned
together, strides whose columns lie apart, chains of 65536 pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grad_cases import Data, both_dtypes, both_layouts, every_isa
from support import amid_nan, assert_within, isa, normal

import fastconv
from fastconv import reference

# batch, channels, outputs, size, kernel, options
CASES: dict[str, tuple[int, int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    "9 taps of 1": (2, 1, 1, (7, 9), (3, 3), {"padding": 1}),
    "10 taps of 2": (2, 1, 2, (7, 9), (2, 5), {"padding": 1}),
    "8 taps of 3": (2, 2, 3, (6, 16), (2, 2), {}),
    "7 taps of 4": (2, 1, 4, (5, 23), (1, 7), {"padding": (0, 3)}),
    "6 taps of 4": (2, 3, 4, (5, 17), (2, 1), {}),
    "11 taps of 5": (2, 1, 5, (14, 15), (11, 1), {"padding": (5, 0)}),
    "27 taps of 32": (1, 3, 32, (9, 33), (3, 3), {"padding": 1}),
    "25 taps of 6, a pixel less than two vectors": (2, 1, 6, (6, 31), (5, 5), {"padding": 2}),
    "one tap": (2, 4, 7, (5, 18), (1, 1), {}),
    "one tap of every second pixel": (2, 4, 7, (6, 37), (1, 1), {"stride": 2}),
    "one pixel": (3, 2, 5, (3, 3), (3, 3), {}),
    "rows shorter than a vector": (3, 3, 5, (5, 3), (3, 3), {"padding": 1}),
    "stride 2": (2, 3, 7, (11, 37), (3, 3), {"padding": 1, "stride": 2}),
    "stride 3, more than the kernel": (2, 3, 6, (14, 40), (2, 2), {"stride": 3}),
    "stride 4, 4x4": (2, 3, 6, (16, 72), (4, 4), {"stride": 4}),
    "stride 5 of columns": (2, 2, 6, (9, 90), (3, 4), {"stride": (1, 5), "padding": (1, 2)}),
    "dilation": (2, 3, 6, (13, 22), (3, 3), {"dilation": (2, 3), "padding": (2, 3)}),
    "dilation and stride": (2, 2, 6, (15, 43), (3, 3), {"dilation": 2, "stride": 2, "padding": 2}),
    "more padding than taps": (2, 2, 6, (4, 7), (3, 3), {"padding": 4}),
    "blocks of images": (70, 2, 5, (6, 6), (3, 3), {"padding": 1}),
    "blocks of rows": (2, 3, 6, (83, 40), (3, 3), {"padding": 1}),
    "blocks of rows, a wide stride": (1, 2, 6, (170, 100), (7, 7), {"padding": 3, "stride": 2}),
    "blocks of columns": (1, 2, 5, (3, 4200), (3, 3), {"padding": 1}),
    "parts of inputs": (2, 70, 3, (6, 20), (3, 3), {"padding": 1}),
    "parts of outputs": (1, 3, 150, (12, 30), (7, 7), {"padding": 3}),
    "parts of both": (1, 66, 70, (5, 17), (3, 3), {"padding": 1}),
    "3 groups of 8": (2, 24, 24, (12, 35), (3, 3), {"padding": 1, "groups": 3}),
    "35 groups of 1 to 2": (2, 35, 70, (6, 18), (3, 3), {"padding": 1, "groups": 35}),
    "19 groups of 8, parts of groups": (1, 152, 152, (6, 17), (3, 3), {"padding": 1, "groups": 19}),
    "9 groups of 2 to 1": (2, 18, 9, (6, 18), (3, 2), {"padding": 1, "groups": 9}),
    "wide groups, whose blocks shrink": (
        *(1, 48, 48, (60, 70), (3, 3)),
        {"padding": 1, "stride": 2, "groups": 6},
    ),
    "several chains": (2, 1, 2, (210, 320), (2, 2), {}),
}
every_case = pytest.mark.parametrize("case", CASES)


def data_of(case: str, dtype: Any, layout: str = "NCHW") -> Data:
    batch, *problem = CASES[case]
    return Data(tuple(problem), dtype, layout, batch)


@every_case
@both_layouts
@both_dtypes
@every_isa
def test_weight_grad(case: str, layout: str, dtype: Any, name: str) -> None:
    """Nothing around the arrays is read, and nothing of scratch that was not written."""
    data = data_of(case, dtype, layout)
    with isa(name):
        data.leave_nan_behind(algorithm="rows")
        data.x, data.grad = amid_nan(data.x), amid_nan(data.grad)
        data.check_weight_grad(data.weight_grad(algorithm="rows"))


@every_case
@both_layouts
@every_isa
def test_whole_numbers(case: str, layout: str, name: str) -> None:
    data = data_of(case, np.float32, layout)
    expected = data.whole_numbers()
    with isa(name):
        np.testing.assert_array_equal(data.weight_grad(algorithm="rows"), expected)


@every_isa
@both_layouts
def test_every_width(layout: str, name: str) -> None:
    """One pixel less than vectors, as many, one more; strides that divide the width or do not."""
    for stride in (1, 2, 3, 4):
        for width in (*range(3, 20), *range(stride * 16, stride * 16 + 2 * stride), 65):
            options = {"stride": (1, stride), "padding": (0, 1)}
            data = Data((2, 3, (3, width), (2, 3), options), np.float32, layout, 1)
            expected = data.whole_numbers()
            with isa(name):
                np.testing.assert_array_equal(data.weight_grad(algorithm="rows"), expected)


@pytest.mark.parametrize("memory", ["rows", "steps", "reversed"])
def test_views(memory: str) -> None:
    for case in ("27 taps of 32", "stride 2", "blocks of rows", "blocks of images", "3 groups of 8"):
        data = data_of(case, np.float32)
        data.x, data.grad = amid_nan(data.x, memory), amid_nan(data.grad, memory)
        data.check_weight_grad(data.weight_grad(algorithm="rows"))


def test_volume() -> None:
    x, grad = normal((2, 3, 6, 7, 18), np.float64, 1), normal((2, 6, 4, 7, 9), np.float64, 2)
    how: dict[str, Any] = {"stride": (1, 1, 2), "padding": (0, 1, 1), "weight_shape": (6, 3, 3, 3, 3)}
    expected = reference.conv3d_weight_grad(grad, x, **how)
    found = fastconv.conv3d_weight_grad(grad, x, algorithm="rows", **how)
    assert_within(found, expected, 1e-13 * np.abs(expected).max())


@both_layouts
def test_what_is_not_finite(layout: str) -> None:
    """It reaches the weights that meet it, and no others."""
    data = data_of("3 groups of 8", np.float32, layout)
    data.check_what_is_not_finite((0, 1, 2, 3), algorithm="rows")


@both_layouts
@pytest.mark.parametrize("case", ["blocks of rows", "parts of both", "3 groups of 8", "several chains"])
def test_threads_do_not_change_bits(case: str, layout: str) -> None:
    data = data_of(case, np.float32, layout)
    data.check_threads(algorithm="rows")
