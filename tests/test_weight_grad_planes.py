"""Weight gradients of depthwise filters from planes where they lie, against the reference.

Shapes on and around what the kernel takes at once: vectors of 4, 8 and 16 lanes, strips of 8 of them, 8
rows, blocks of rows, groups of kernel rows that share rows of x, kernels cut into columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grad_cases import Data, both_dtypes, every_isa
from support import amid_nan, assert_within, isa, normal, threads

import fastconv
from fastconv import reference

# channels, outputs, size, kernel, options
CASES: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    "rows of a vector": (3, 3, (9, 16), (3, 3), {"padding": 1}),
    "rows of a vector and one": (3, 3, (8, 17), (3, 3), {"padding": 1}),
    "unpadded, vectors inside": (2, 2, (17, 66), (3, 3), {}),
    "a strip of 16 lanes and one": (1, 1, (5, 129), (3, 3), {"padding": 1}),
    "three strips of 4 lanes": (2, 2, (4, 70), (2, 2), {}),
    "one pixel": (5, 5, (1, 1), (3, 3), {"padding": 1}),
    "one column": (4, 4, (21, 1), (5, 1), {"padding": (2, 0)}),
    "one row": (4, 4, (1, 67), (1, 7), {"padding": (0, 3)}),
    "fewer rows than a kernel has": (3, 3, (3, 20), (7, 7), {"padding": 3}),
    "1x1": (3, 3, (6, 19), (1, 1), {}),
    "2x2": (3, 3, (6, 19), (2, 2), {"padding": ((1, 0), (0, 1))}),
    "4x4": (3, 3, (12, 35), (4, 4), {"padding": 2}),
    "5x5": (3, 3, (12, 35), (5, 5), {"padding": 2}),
    "6x6": (3, 3, (12, 35), (6, 6), {"padding": 2}),
    "7x7": (3, 3, (12, 35), (7, 7), {"padding": 3}),
    "9x9": (2, 2, (12, 35), (9, 9), {"padding": 4}),
    "12x12, padding of four widths": (2, 2, (14, 37), (12, 12), {"padding": ((0, 7), (11, 3))}),
    "dilation 3 by 2": (3, 3, (19, 41), (3, 5), {"dilation": (3, 2)}),
    "dilation 2, stride (3, 1)": (3, 3, (29, 41), (4, 3), {"dilation": 2, "stride": (3, 1)}),
    "dilation (2, 1), stride (4, 2)": (3, 3, (29, 41), (5, 3), {"dilation": (2, 1), "stride": (4, 2)}),
    "stride 2": (3, 3, (15, 34), (3, 3), {"padding": 1, "stride": 2}),
    "stride 2, vectors inside": (2, 2, (11, 133), (4, 4), {"stride": 2}),
    "5x5 stride 2": (3, 3, (14, 67), (5, 5), {"padding": 2, "stride": 2}),
    "7x7 stride 2": (3, 3, (14, 67), (7, 7), {"padding": 3, "stride": 2}),
    "8x8 stride 2": (3, 3, (14, 67), (8, 8), {"padding": 3, "stride": 2}),
    "stride 3": (3, 3, (16, 107), (3, 3), {"padding": 1, "stride": 3}),
    "7x7 stride 3": (3, 3, (16, 107), (7, 7), {"padding": 3, "stride": 3}),
    "stride 4": (3, 3, (17, 139), (4, 4), {"padding": 1, "stride": 4}),
    "7x7 stride 4": (3, 3, (17, 139), (7, 7), {"padding": 3, "stride": 4}),
    "stride 4 beyond the kernel": (3, 3, (17, 71), (2, 3), {"stride": 4}),
    "strides 1 and 2": (3, 3, (9, 35), (5, 3), {"padding": 1, "stride": (1, 2)}),
    "strides 5 and 1": (3, 3, (23, 35), (7, 3), {"padding": 1, "stride": (5, 1)}),
    "times 3, parts that begin amid a group": (20, 60, (6, 40), (3, 3), {"padding": 1}),
    "times 40": (2, 80, (6, 18), (3, 3), {"padding": 1, "stride": 2}),
    "narrow, two rows of 7 a vector": (5, 5, (14, 14), (3, 3), {"padding": 1, "stride": 2}),
    "narrow, a row of 14 a vector": (3, 3, (29, 28), (3, 3), {"padding": 1, "stride": 2}),
    "narrow, 15 columns": (3, 3, (15, 15), (5, 5), {"padding": 2}),
    "narrow, 16 columns to 8": (3, 3, (17, 16), (7, 5), {"padding": (3, 2), "stride": 2}),
    "narrow, 31 columns to 16": (3, 3, (40, 31), (7, 7), {"padding": 3, "stride": 2}),
    "narrow, 3 columns to 3 and many rows": (3, 3, (61, 3), (8, 3), {"padding": (7, 1)}),
    "narrow, 7 columns to 4, stride 3 by 2": (4, 4, (20, 7), (5, 3), {"padding": (2, 1), "stride": (3, 2)}),
    "narrow, stride 4, padding of four widths": (
        *(3, 3, (22, 23), (4, 7)),
        {"padding": ((1, 3), (6, 0)), "stride": 4},
    ),
    "narrow, dilation 3 by 2": (3, 3, (15, 13), (3, 3), {"dilation": (3, 2)}),
    "narrow, times 3": (20, 60, (9, 7), (3, 3), {"padding": 1}),
    "narrow, two rows of 8 a vector, 9 rows": (5, 5, (9, 8), (3, 3), {"padding": 1}),
    "narrow, two rows of 7, one of them below": (5, 5, (7, 7), (3, 3), {"padding": 1}),
    "narrow, two rows of 4, 5x5": (4, 4, (8, 4), (5, 5), {"padding": 2}),
    "narrow, two rows of 6, 5x5, 9 rows": (4, 4, (9, 6), (5, 5), {"padding": 2}),
    "narrow, two rows of 3, fewer rows than 5x5": (4, 4, (3, 3), (5, 5), {"padding": 2}),
    "narrow, a row of 10": (5, 5, (10, 10), (3, 3), {"padding": 1}),
    "narrow, a row of 8 and one": (5, 5, (7, 9), (5, 5), {"padding": 2}),
    "narrow, 18 columns to 16, unpadded": (3, 3, (6, 18), (3, 3), {}),
    "narrow, 9 columns to 7, unpadded": (3, 3, (6, 9), (3, 3), {}),
    "narrow, 3x3, padding of four widths": (3, 3, (6, 10), (3, 3), {"padding": ((0, 2), (2, 1))}),
    "narrow, 5x5, padding of four widths": (3, 3, (6, 11), (5, 5), {"padding": ((4, 1), (1, 4))}),
    "narrow, two rows of 7, padding above": (3, 3, (6, 7), (3, 3), {"padding": ((2, 0), (1, 1))}),
    "narrow, two rows of 7, padding to the right": (3, 3, (6, 7), (3, 3), {"padding": ((1, 1), (0, 2))}),
    "narrow, several blocks of rows": (2, 2, (1500, 12), (3, 3), {"padding": 1}),
    "narrow, several blocks of rows in pairs": (2, 2, (2501, 7), (5, 5), {"padding": 2}),
    "several blocks of rows": (2, 2, (700, 30), (3, 3), {"padding": 1}),
    "narrow, from memory": (620, 620, (59, 16), (3, 3), {"padding": 1}),
    "narrow, from memory, in pairs": (620, 620, (119, 8), (3, 3), {"padding": 1}),
    "several blocks of rows, stride 2": (1, 1, (1100, 31), (5, 5), {"padding": 2, "stride": 2}),
    "many channels: parts of several planes": (70, 70, (5, 9), (3, 3), {"padding": 1}),
}


def data_of(case: str, dtype: Any) -> Data:
    channels, outputs, size, kernel, options = CASES[case]
    return Data((channels, outputs, size, kernel, {**options, "groups": channels}), dtype)


@pytest.mark.parametrize("case", CASES)
@both_dtypes
@every_isa
def test_weight_grad(case: str, dtype: Any, name: str) -> None:
    """Nothing around the rows is read, and nothing of scratch that was not written."""
    data = data_of(case, dtype)
    with isa(name):
        data.leave_nan_behind(algorithm="planes")
        clean = data.x, data.grad
        results = [data.weight_grad(algorithm="planes")]  # amid NaN another method may compute it again
        for memory in ("contiguous", "rows"):  # two short rows make a vector where they follow each other
            data.x, data.grad = (amid_nan(a, memory) for a in clean)
            results.append(data.weight_grad(algorithm="planes"))
        data.x, data.grad = clean
        for result in results:
            data.check_weight_grad(result)


@pytest.mark.parametrize("width", [7, 10])
@pytest.mark.parametrize("row", [0, 4, 8])
@every_isa
def test_what_is_not_finite_in_narrow_planes(row: int, width: int, name: str) -> None:
    """It reaches the weights that it reaches by definition, though rows beyond the edge are zeros."""
    data = Data((3, 3, (9, width), (3, 3), {"padding": 1, "groups": 3}), np.float32)
    with isa(name):
        data.check_what_is_not_finite((1, 1, row, width - 1), algorithm="planes")
        data.check_what_is_not_finite((1, 1, row, 0), algorithm="planes")


def test_a_stride_of_rows_beyond_all() -> None:
    """It is left to other methods."""
    x, grad = normal((1, 4, 9, 40), np.float32, 1), normal((1, 4, 1, 40), np.float32, 2)
    how = {"weight_shape": (4, 1, 3, 3), "padding": 1, "stride": (2**62, 1), "groups": 4}
    largest = reference.conv2d_weight_grad(abs(grad), abs(x), **how)
    found = fastconv.conv2d_weight_grad(grad, x, **how)
    expected = reference.conv2d_weight_grad(grad, x, **how)
    assert_within(found, expected, (grad.size + 2) * np.finfo(np.float32).eps * largest)


def test_planes_of_a_volume() -> None:
    """Kernels of one plane in 3-D: outputs of every depth, which a stride may skip."""
    x, grad = normal((2, 5, 7, 9, 20), np.float32, 1), normal((2, 5, 3, 9, 20), np.float32, 2)
    how = {"weight_shape": (5, 1, 1, 3, 3), "padding": (0, 1, 1), "stride": (3, 1, 1), "groups": 5}
    found = fastconv.conv3d_weight_grad(grad, x, algorithm="planes", **how)
    expected = reference.conv3d_weight_grad(grad, x, **how)
    largest = reference.conv3d_weight_grad(abs(grad), abs(x), **how)
    assert_within(found, expected, (grad.size + 2) * np.finfo(np.float32).eps * largest)


@pytest.mark.parametrize(
    "case",
    [
        "times 3, parts that begin amid a group",
        "several blocks of rows",
        "narrow, several blocks of rows in pairs",
        "narrow, a row of 10",
    ],
)
def test_threads_do_not_change_bits(case: str) -> None:
    data = data_of(case, np.float32)
    results = []
    for count in (1, 2, 3):
        with threads(count):
            results.append(data.weight_grad(algorithm="planes").tobytes())
    assert len(set(results)) == 1


REFUSED = {
    "depthwise": {"groups": 2},
    "adjacent": {"layout": "NHWC"},
    "strides to 4": {"stride": 5},
    "strides of rows to 16": {"stride": (17, 1)},
    "of more than 1 no dilation": {"stride": 2, "dilation": 2},
    "less padding than taps": {"padding": 3},
    "of dilated ones none": {"padding": 1, "dilation": 2},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refuses(reason: str) -> None:
    how: dict[str, Any] = {"groups": 4, "layout": "NCHW", **REFUSED[reason]}
    shape = (1, 9, 9, 4) if how["layout"] == "NHWC" else (1, 4, 9, 9)
    x, weight = normal(shape, np.float32), normal((4, 4 // how["groups"], 3, 3), np.float32)
    grad = fastconv.conv2d(x, weight, **how)
    with pytest.raises(ValueError, match=f'"planes" cannot compute this gradient: .*{reason}'):
        fastconv.conv2d_weight_grad(grad, x, weight_shape=weight.shape, algorithm="planes", **how)


def test_refuses_sums_that_would_not_fit_scratch() -> None:
    x, kernel = normal((1, 2, 1, 300_000), np.float32), 299_990
    grad = normal((1, 2, 1, 11), np.float32)
    with pytest.raises(ValueError, match='"planes" cannot compute this gradient: the sums of a plane'):
        fastconv.conv2d_weight_grad(grad, x, weight_shape=(2, 1, 1, kernel), groups=2, algorithm="planes")
