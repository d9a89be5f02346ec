"""Depthwise planes whose rows end in a vector that is half empty or less, and those parted by a stride of 2
with kernels of 5x5, against the reference.

Data are whole numbers, so that sums are exact and results have to be those of the reference bit by bit.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest
from support import DTYPES, ISAS, check_depthwise, integers, isa, same_bits, threads

import fastconv
from fastconv import reference

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
every_isa = pytest.mark.parametrize("name", ISAS)
# Ends of one lane, of half a vector and of one lane more, after a pair of vectors, after one, and after none.
WIDTHS = {np.float32: (17, 19, 24, 25, 33, 40, 41, 49, 56, 57), np.float64: (9, 12, 13, 17, 20, 21, 28, 29)}
# Tiles of 14, 8 and 7 rows, of others, and of a few that are computed again.
HEIGHTS = (7, 8, 14, 16, 19, 3, 1, 26)
# Rows and columns of the kernel, dilation.
KERNELS = (
    ((3, 3), (1, 1)), ((5, 5), (1, 1)), ((7, 7), (1, 1)),
    ((3, 3), (2, 2)), ((1, 4), (1, 3)), ((6, 2), (1, 1)),
)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@both_dtypes
@every_isa
def test_rows_that_end_in_half_a_vector(
    kernel: tuple[tuple[int, int], tuple[int, int]], dtype: Any, name: str
) -> None:
    size, dilation = kernel
    reach = [(k - 1) * d for k, d in zip(size, dilation, strict=True)]
    pads = cycle([tuple((r // 2, r - r // 2) for r in reach), tuple((0, r) for r in reach)])
    heights = cycle(HEIGHTS)
    with isa(name):
        for width in WIDTHS[dtype]:
            for _ in range(3):
                x = integers((2, 5, next(heights), width), dtype, 1)
                weight = integers((5, 1, *size), dtype, 2)
                for activation in (None, "relu"):
                    how = {"dilation": dilation, "groups": 5, "activation": activation}
                    check_depthwise(x, weight, padding=next(pads), **how)


@both_dtypes
def test_any_number_of_threads_and_other_views(dtype: Any) -> None:
    x, weight = integers((3, 40, 19, 19), dtype, 1), integers((40, 1, 5, 5), dtype, 2)
    how: dict[str, Any] = {"padding": 2, "groups": 40}
    for memory in ("rows", "steps"):
        check_depthwise(x, weight, memory, **how)
    results = []
    for count in (1, 2, 3):
        with threads(count):
            results.append(fastconv.conv2d(x, weight, algorithm="depthwise", **how))
    assert all(same_bits(results[0], other) for other in results[1:])


@both_dtypes
def test_padding_adds_no_product(dtype: Any) -> None:
    """What is not finite in the weights meets padding in the last, half empty vector of a row."""
    x, weight = integers((1, 4, 9, 19), dtype, 1), integers((4, 1, 3, 3), dtype, 2)
    weight[1, 0, 0, 2], weight[2, 0, 2, 0], x[0, 3, 8, 18] = np.inf, np.nan, np.inf
    how: dict[str, Any] = {"padding": 1, "groups": 4}
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, weight, **how)
    np.testing.assert_array_equal(fastconv.conv2d(x, weight, algorithm="depthwise", **how), expected)


# Rows of whole tiles of eight and of four, of one or the other and some again, and of less than four.
FIVES_HEIGHTS = (1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 16, 20)


@pytest.mark.parametrize("apart", [False, True], ids=["side by side", "two apart"])
@both_dtypes
@every_isa
def test_columns_parted_by_a_stride_of_2(apart: bool, dtype: Any, name: str) -> None:
    widths = cycle([33, 34, 38, 63, 64, 67, 140, 290])
    pads = cycle([(2, 2), (0, 1), (4, 0), (3, 3)])
    in_place = 0
    with isa(name):
        for rows in FIVES_HEIGHTS:
            for activation in (None, "relu6"):
                columns = next(pads)
                pad = ((2, 2), (2 * columns[0], 2 * columns[1]) if apart else columns)
                height = rows if apart else 2 * rows - 1
                x = integers((2, 33, height, next(widths)), dtype, 1)
                weight = integers((33, 1, 5, 5), dtype, 2)
                how: dict[str, Any] = {
                    "padding": pad,
                    "stride": (1 if apart else 2, 2),
                    "dilation": (1, 2 if apart else 1),
                    "groups": 33,
                }
                check_depthwise(x, weight, activation=activation, **how)
                plan = fastconv.plan_conv2d(x.shape, weight, algorithm="depthwise", **how)
                in_place += "a stride apart" in plan.explain()
    if name == "avx512" and dtype is np.float32 and not apart:
        assert in_place >= 8


@both_dtypes
@every_isa
def test_rows_of_padding_above_seven_rows(dtype: Any, name: str) -> None:
    """A plane of seven rows leaves vectors of padding out only where it begins as a tile of it does."""
    with isa(name):
        for height in (6, 7, 8):
            for kernel, rows in ((5, (2, 2)), (5, (4, 0)), (5, (0, 4)), (5, (1, 3)), (5, (2, 4)), (5, (2, 0)),
                                 (3, (1, 1)), (3, (2, 0)), (3, (0, 2)), (3, (1, 2))):  # fmt: skip
                x = integers((2, 40, height, 7), dtype, 1)
                weight = integers((40, 1, kernel, kernel), dtype, 2)
                check_depthwise(x, weight, padding=(rows, (kernel // 2, kernel // 2)), groups=40)
