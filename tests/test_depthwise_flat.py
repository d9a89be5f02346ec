"""Depthwise planes, narrow ones by whole rows and wide ones with a stride of 2, against the reference.

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
# Rows of one vector to those of several tiles of four, of two rows to a vector and of more, whole and not.
HEIGHTS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 26, 33, 70)
# Columns and rows of the kernel, dilation of columns, padding before and after columns and rows: as much of
# columns as keeps the width.
KERNELS: dict[str, tuple[tuple[int, int], int, tuple[int, int], tuple[int, int]]] = {
    "3x3": ((3, 3), 1, (1, 1), (1, 1)),
    "3x3, rows without padding": ((3, 3), 1, (1, 1), (0, 0)),
    "3x3, padding of four widths": ((3, 3), 1, (2, 0), (0, 2)),
    "3x3, dilated columns": ((3, 3), 2, (2, 2), (2, 1)),
    "5x5": ((5, 5), 1, (2, 2), (2, 2)),
    "5x5, padding of four widths": ((5, 5), 1, (1, 3), (4, 1)),
    "1x3": ((1, 3), 1, (1, 1), (0, 0)),
    "4x1": ((4, 1), 1, (0, 0), (3, 2)),
    "8x2": ((8, 2), 1, (0, 1), (7, 7)),
    "3x16, more than the width": ((3, 16), 1, (8, 7), (1, 1)),
}


def is_flat(shape: tuple[int, ...], weight: np.ndarray, how: dict[str, Any]) -> bool:
    return "rows together" in fastconv.plan_conv2d(shape, weight, algorithm="depthwise", **how).explain()


@pytest.mark.parametrize("kernel", KERNELS)
@both_dtypes
@every_isa
def test_planes(kernel: str, dtype: Any, name: str) -> None:
    size, dilation, columns, rows = KERNELS[kernel]
    counts = cycle([40, 33, 51])
    flat = 0
    with isa(name):
        for width in range(1, 9):
            for height in HEIGHTS:
                if height + sum(rows) < size[0]:
                    continue
                channels = next(counts)
                x = integers((2, channels, height, width), dtype, 1)
                weight = integers((channels, 1, *size), dtype, 2)
                how: dict[str, Any] = {
                    "padding": (rows, columns),
                    "dilation": (1, dilation),
                    "groups": channels,
                }
                check_depthwise(x, weight, **how)
                flat += is_flat(x.shape, weight, how)
    if name == "avx512" and dtype is np.float32:
        assert flat >= 10


@pytest.mark.parametrize("memory", ["rows", "steps"])
@every_isa
def test_views_of_the_same_layout(memory: str, name: str) -> None:
    """Rows, or pixels, that do not follow each other go another way."""
    with isa(name):
        for height, width in ((7, 7), (4, 4), (17, 2)):
            x, weight = (
                integers((2, 40, height, width), np.float32, 1),
                integers((40, 1, 3, 3), np.float32, 2),
            )
            check_depthwise(x, weight, memory, padding=1, groups=40)


@both_dtypes
def test_activation_bias_and_what_is_not_finite(dtype: Any) -> None:
    for height, width in ((7, 7), (9, 4), (33, 3)):
        x, weight = integers((2, 40, height, width), dtype, 1), integers((40, 1, 3, 3), dtype, 2)
        how: dict[str, Any] = {"padding": 1, "groups": 40}
        for activation in ("relu", "relu6", ("leaky_relu", 0.5)):
            expected = reference.conv2d(x, weight, activation=activation, **how)
            found = fastconv.conv2d(x, weight, activation=activation, algorithm="depthwise", **how)
            np.testing.assert_array_equal(found, expected)
        # Infinity meets zeros of the padding, and a pixel its neighbours in the plane only.
        weight[3, 0, 0, 0], weight[5, 0, 2, 1] = np.inf, np.nan
        x[1, 7, 0, 0], x[0, 9, height - 1, width - 1] = np.inf, np.nan
        with np.errstate(invalid="ignore"):
            expected = reference.conv2d(x, weight, **how)
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, algorithm="depthwise", **how), expected)


def test_tasks_of_some_rows_and_any_number_of_threads() -> None:
    """More rows than one task has: those above and below a task's are inside x."""
    for height, width in ((9001, 7), (7003, 4)):
        x, weight = integers((1, 3, height, width), np.float32, 1), integers((3, 1, 3, 3), np.float32, 2)
        how: dict[str, Any] = {"padding": 1, "groups": 3}
        # Of registers with fewer lanes other ways are taken, which have to agree all the same.
        assert is_flat(x.shape, weight, how) == (fastconv.show_config("dicts")["isa"] == "avx512")
        check_depthwise(x, weight, **how)
        results = []
        for count in (1, 2, 3):
            with threads(count):
                results.append(fastconv.conv2d(x, weight, algorithm="depthwise", **how))
        assert all(same_bits(results[0], other) for other in results[1:])


def test_planes_of_a_volume() -> None:
    x, weight = integers((1, 40, 5, 7, 7), np.float32, 1), integers((40, 1, 1, 3, 3), np.float32, 2)
    how: dict[str, Any] = {"padding": (0, 1, 1), "groups": 40}
    found = fastconv.conv3d(x, weight, algorithm="depthwise", **how)
    np.testing.assert_array_equal(found, reference.conv3d(x, weight, **how))


# Outputs of a vector of any ISA and one more or less, of a strip of vectors and one more.
TWOS_WIDTHS = (9, 16, 17, 31, 32, 33, 34, 35, 63, 64, 65, 97, 255, 258)


@pytest.mark.parametrize("kernel", [3, 5])
@both_dtypes
@every_isa
def test_wide_planes_with_a_stride_of_2(kernel: int, dtype: Any, name: str) -> None:
    pads = cycle([(1, 1), (0, 2), (kernel - 1, 0), (kernel // 2, kernel // 2), (kernel + 2, kernel)])
    heights = cycle([7, 8, 1, 3, 16, 21, 40])
    in_place = 0
    with isa(name):
        for width in TWOS_WIDTHS:
            for _ in range(3):
                height, padding = next(heights), (next(pads), next(pads))
                if height + sum(padding[0]) < kernel:
                    continue
                x, weight = (
                    integers((2, 33, height, width), dtype, 1),
                    integers((33, 1, kernel, kernel), dtype, 2),
                )
                how: dict[str, Any] = {"padding": padding, "stride": 2, "groups": 33}
                check_depthwise(x, weight, **how)
                plan = fastconv.plan_conv2d(x.shape, weight, algorithm="depthwise", **how)
                in_place += "a stride apart" in plan.explain()
    if name == "avx512":
        assert in_place >= 10


def test_wide_planes_from_memory() -> None:
    """More than may be in cache, with later rows asked for: also those of the last plane, which has none."""
    x, weight = integers((1, 40, 512, 1001), np.float32, 1), integers((40, 1, 3, 3), np.float32, 2)
    check_depthwise(x, weight, padding=1, stride=2, groups=40)
