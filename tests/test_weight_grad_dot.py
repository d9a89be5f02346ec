"""Weight gradients of 1x1 kernels as sums along pixels, against the reference.

Shapes on and around what decides their form: tiles of 12 x 2, 9 x 3, 6 x 4 and 5 x 5 sums, vectors of 4, 8
and 16 pixels with a rest, blocks of several images and of columns, parts of 64 channels, chains of 65536
pixels.  And of strided kernels whose x is copied in pieces, with columns and rows that no tap sees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grad_cases import Data, both_dtypes, both_layouts, every_isa
from support import amid_nan, assert_within, isa, normal, to_layout

import fastconv
from fastconv import reference

# batch, channels, outputs, size, groups
CASES: dict[str, tuple[int, int, int, tuple[int, int], int]] = {
    "one sum": (2, 1, 1, (3, 5), 1),
    "12 rows of 1 and of 2": (3, 13, 2, (4, 4), 1),
    "25 rows of 1": (2, 25, 1, (5, 7), 1),
    "9 rows of 3": (2, 10, 3, (3, 5), 1),
    "6 rows of 4": (2, 7, 4, (6, 8), 1),
    "5 rows of 5": (2, 11, 5, (7, 7), 1),
    "outputs are the rows, 6 of 6": (2, 6, 31, (5, 5), 1),
    "11 to 11": (2, 11, 11, (17, 1), 1),
    "fewer pixels than a vector": (9, 12, 8, (1, 3), 1),
    "one pixel of an image of two columns": (2, 5, 4, (1, 2), 1),
    "a vector": (2, 8, 8, (4, 4), 1),
    "a pixel less than two vectors": (2, 8, 8, (1, 31), 1),
    "a pixel more than two vectors": (2, 8, 8, (3, 11), 1),
    "three groups": (2, 15, 21, (5, 7), 3),
    "several images a block": (40, 9, 14, (13, 13), 1),
    "blocks of columns": (1, 70, 64, (61, 79), 1),
    "parts on both sides": (2, 130, 150, (5, 5), 1),
    "many inputs, parts of these": (1, 1500, 3, (3, 5), 1),
    "several chains": (3, 2, 3, (257, 300), 1),
}
every_case = pytest.mark.parametrize("case", CASES)


def data_of(case: str, dtype: Any, layout: str = "NCHW") -> Data:
    batch, channels, outputs, size, groups = CASES[case]
    return Data((channels, outputs, size, (1, 1), {"groups": groups}), dtype, layout, batch)


@every_case
@both_dtypes
@every_isa
def test_weight_grad(case: str, dtype: Any, name: str) -> None:
    """Nothing around the arrays is read, and nothing of scratch that was not written."""
    data = data_of(case, dtype)
    with isa(name):
        data.leave_nan_behind(algorithm="dot")
        data.x, data.grad = amid_nan(data.x), amid_nan(data.grad)
        data.check_weight_grad(data.weight_grad(algorithm="dot"))


@every_case
@every_isa
def test_whole_numbers(case: str, name: str) -> None:
    """Their sums are exact: a single product that is wrong shows."""
    data = data_of(case, np.float32)
    expected = data.whole_numbers()
    with isa(name):
        np.testing.assert_array_equal(data.weight_grad(algorithm="dot"), expected)


def test_channels_of_an_array_that_are_no_whole_one() -> None:
    x, grad = normal((3, 20, 6, 7), np.float32, 1)[:, 3:12], normal((3, 15, 6, 7), np.float32, 2)[:, 10:3:-1]
    expected = reference.conv2d_weight_grad(grad, x, weight_shape=(7, 9, 1, 1))
    found = fastconv.conv2d_weight_grad(grad, x, weight_shape=(7, 9, 1, 1), algorithm="dot")
    assert_within(found, expected, 1e-5 * np.abs(expected).max())


def test_volume() -> None:
    x, grad = normal((2, 5, 3, 4, 6), np.float64, 1), normal((2, 9, 3, 4, 6), np.float64, 2)
    expected = reference.conv3d_weight_grad(grad, x, weight_shape=(9, 5, 1, 1, 1))
    found = fastconv.conv3d_weight_grad(grad, x, weight_shape=(9, 5, 1, 1, 1), algorithm="dot")
    assert_within(found, expected, 1e-13 * np.abs(expected).max())


def test_what_is_not_finite() -> None:
    """It reaches the weights of its channel, and no others."""
    data = data_of("three groups", np.float32)
    data.check_what_is_not_finite((0, 1, 2, 3), algorithm="dot")


@pytest.mark.parametrize("case", ["several images a block", "blocks of columns", "several chains"])
def test_threads_do_not_change_bits(case: str) -> None:
    data = data_of(case, np.float32)
    data.check_threads(algorithm="dot")


def test_what_it_does_not_take() -> None:
    x, grad = np.ones((2, 4, 6, 6)), np.ones((2, 5, 6, 6))
    takes = {"weight_shape": (5, 4, 1, 1), "algorithm": "dot"}
    for bad in (
        {"grad": grad[:, :, ::2, ::2], "stride": 2},
        {"x": np.moveaxis(np.ones((2, 6, 6, 4)), -1, 1)},
        {"x": np.ones((2, 4, 6, 7))[..., :6]},
    ):
        g, a = bad.pop("grad", grad), bad.pop("x", x)
        with pytest.raises(ValueError, match="dot needs"):
            fastconv.conv2d_weight_grad(g, a, **takes, **bad)
    with pytest.raises(ValueError, match="dot needs"):
        fastconv.conv2d_weight_grad(grad, x, weight_shape=(5, 4, 3, 3), padding=1, algorithm="dot")


# batch, channels, outputs, size, kernel, options: more than half a megabyte of x, copied in pieces
PIECES: dict[str, tuple[int, int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    "2x2 stride 3": (4, 200, 17, (26, 35), (2, 2), {"stride": 3}),
    "3x3 stride 4, padding": (3, 192, 8, (33, 47), (3, 3), {"stride": 4, "padding": 1}),
    "3x2 strides 2 and 5, dilation 2": (
        *(3, 208, 9, (29, 47), (3, 2)),
        {"stride": (2, 5), "padding": (1, 2), "dilation": (1, 2)},
    ),
    "2x3 stride 5, four widths of padding": (
        *(3, 200, 9, (31, 41), (2, 3)),
        {"stride": 5, "padding": ((0, 3), (4, 1))},
    ),
    "16 groups, one output each": (2, 256, 16, (28, 29), (3, 3), {"stride": 3, "groups": 16}),
    "pixels of less than 4 vectors": (2, 40, 40, (71, 69), (2, 2), {"stride": 3, "groups": 2}),
}


@pytest.mark.parametrize("case", PIECES)
@both_layouts
@both_dtypes
@every_isa
def test_pieces(case: str, layout: str, dtype: Any, name: str) -> None:
    batch, channels, outputs, size, kernel, options = PIECES[case]
    data = Data((channels, outputs, size, kernel, options), dtype, layout, batch)
    with isa(name):
        data.leave_nan_behind(algorithm="direct")
        data.x, data.grad = amid_nan(data.x), amid_nan(data.grad)
        data.check_weight_grad(data.weight_grad(algorithm="direct"))


def test_pieces_of_rows_backwards() -> None:
    """What is asked for ahead lies before then."""
    x = normal((2, 200, 26, 35), np.float32, 1)[:, :, ::-1, ::-1]
    grad = normal((2, 17, 9, 12), np.float32, 2)
    expected = reference.conv2d_weight_grad(grad, x, weight_shape=(17, 200, 2, 2), stride=3)
    turned = np.moveaxis(to_layout(x, "NHWC"), -1, 1)
    found = fastconv.conv2d_weight_grad(
        grad, turned, weight_shape=(17, 200, 2, 2), stride=3, algorithm="direct"
    )
    assert_within(found, expected, 1e-4 * np.abs(expected).max())
