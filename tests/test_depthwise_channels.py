"""Depthwise with channels as lanes: vectors aligned from the second on, rows that are a tile, pixel pairs.

Data are whole numbers, so that sums are exact and results have to be those of the reference bit by bit.
"""

from __future__ import annotations

from itertools import cycle, product
from typing import Any

import numpy as np
import pytest
from support import DTYPES, ISAS, LAYOUTS, Poisoned, amid_nan, integers, isa, same_bits, threads, to_layout

import fastconv
from fastconv import reference

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
every_isa = pytest.mark.parametrize("name", ISAS)
LINE = 64  # bytes: of the widest vector, too


def apart(array: np.ndarray, elements: int, fill: float = np.nan) -> np.ndarray:
    """Copy that begins so many elements after a line, with what it is filled with on both sides."""
    memory = np.full(array.size + 3 * LINE, fill, array.dtype)
    first = -memory.ctypes.data % LINE // array.itemsize + LINE + elements
    view = memory[first : first + array.size].reshape(array.shape)
    view[...] = array
    return view


# Kernel, options, size: rows of a tile of 14, one of 7 and 8, several strips, and a step of two.
ALIGNED: list[tuple[int, dict[str, Any], tuple[int, int]]] = [
    (3, {"padding": 1}, (5, 14)),
    (3, {"padding": 1, "stride": 2}, (6, 15)),
    (5, {"padding": 2}, (4, 19)),
    (3, {"padding": 2, "dilation": 2}, (5, 33)),
    (1, {"stride": 2}, (5, 7)),
]


@pytest.mark.parametrize("activation", [None, "relu"])
@both_dtypes
@every_isa
def test_vectors_that_begin_anywhere(dtype: Any, activation: Any, name: str) -> None:
    """From 12 vectors of channels on the second begins in the first: with every step between, and last ones
    that are whole, that begin in the one before, and that are also the second."""
    itemsize = np.dtype(dtype).itemsize
    steps = cycle(range(1, LINE // itemsize))
    for channels in (96, 176, 192, 193, 200, 208, 400):
        for size, options, image in ALIGNED:
            how: dict[str, Any] = {**options, "groups": channels, "activation": activation, "layout": "NHWC"}
            x = integers((2, *image, channels), dtype, 1)
            weight, bias = integers((channels, 1, size, size), dtype, 2), integers((channels,), dtype, 3)
            expected = reference.conv2d(x, weight, bias, **how)
            for step in (0, next(steps), next(steps)):
                poisoned = Poisoned(expected.shape, dtype)
                with isa(name):
                    found = fastconv.conv2d(
                        apart(x, step), weight, bias, algorithm="depthwise", out=poisoned.out, **how
                    )
                poisoned.check()
                np.testing.assert_array_equal(found, expected)


def test_where_vectors_begin_changes_no_bit() -> None:
    x = np.random.default_rng(1).standard_normal((4, 13, 13, 256)).astype(np.float32)
    weight = np.random.default_rng(2).standard_normal((256, 1, 5, 5)).astype(np.float32)
    how: dict[str, Any] = {"padding": 2, "groups": 256, "layout": "NHWC", "algorithm": "depthwise"}
    expected = fastconv.conv2d(apart(x, 0), weight, **how)
    for step in range(1, 16):
        assert same_bits(fastconv.conv2d(apart(x, step), weight, **how), expected)
    with threads(3):
        assert same_bits(fastconv.conv2d(apart(x, 4), weight, **how), expected)


# Padding along rows and columns: what slides down an image sees a column of padding at most, and any rows.
SLIDING = [(0, 0), (1, 1), (3, 1), (1, 0), (1, 2)]


@both_dtypes
@every_isa
def test_sums_that_slide_down(dtype: Any, name: str) -> None:
    """Filters of 3x3 beside NaN, of every width of a strip and several beside each other, with and without
    padding: from two rows of outputs on, of channels that are whole vectors or not."""
    sliding, count = 0, cycle((16, 17, 58, 96, 193, 208))
    sizes = [(h, w) for h in (2, 3, 5, 19) for w in (4, 5, 6, 7, 8, 9, 11, 16, 23)]
    for at, ((high, wide), padding) in enumerate(product(sizes, SLIDING)):
        channels = next(count)
        how: dict[str, Any] = {"padding": padding, "groups": channels, "layout": "NHWC"}
        how["activation"] = "relu" if at % 3 == 0 else None
        image = (high + 2 - 2 * padding[0], wide + 2 - 2 * padding[1])
        if min(image) < 1:
            continue
        x = integers((2, *image, channels), dtype, 1)
        weight = integers((channels, 1, 3, 3), dtype, 2)
        bias = integers((channels,), dtype, 3) if at % 2 else None
        expected = reference.conv2d(x, weight, bias, **how)
        poisoned = Poisoned(expected.shape, dtype)
        with isa(name):
            plan = fastconv.plan_conv2d(x.shape, weight, algorithm="depthwise", **how)
            sliding += "sums sliding down" in plan.explain()
            fastconv.conv2d(amid_nan(x), weight, bias, algorithm="depthwise", out=poisoned.out, **how)
        poisoned.check()
        np.testing.assert_array_equal(poisoned.out, expected)
    assert name != "avx512" or sliding > 50  # others have too few registers


def test_sums_that_slide_down_are_those_of_any_threads() -> None:
    """And of a part of the image: what it begins with, or ends with, changes no bit."""
    x = np.random.default_rng(1).standard_normal((2, 37, 30, 200)).astype(np.float32)
    weight = np.random.default_rng(2).standard_normal((200, 1, 3, 3)).astype(np.float32)
    how: dict[str, Any] = {"padding": 0, "groups": 200, "layout": "NHWC", "algorithm": "depthwise"}
    expected = fastconv.conv2d(x, weight, **how)
    with threads(3):
        assert same_bits(fastconv.conv2d(x, weight, **how), expected)
    for first, rows, cols in ((0, 3, 30), (5, 4, 9), (11, 26, 13)):
        part = np.ascontiguousarray(x[:, first : first + rows, :cols])
        found = fastconv.conv2d(part, weight, **how)
        assert same_bits(found, np.ascontiguousarray(expected[:, first : first + rows - 2, : cols - 2]))


def test_results_past_the_caches() -> None:
    """Written so only where their vectors are aligned, whatever those of x are."""
    x = integers((4, 64, 64, 256), np.float32, 1)
    weight = integers((256, 1, 3, 3), np.float32, 2)
    how: dict[str, Any] = {"padding": 1, "groups": 256, "layout": "NHWC"}
    expected = fastconv.conv2d(x, weight, algorithm="im2col", **how)
    for x_step, y_step in ((0, 0), (4, 0), (4, 4), (0, 4)):
        out = apart(np.zeros_like(expected), y_step)
        fastconv.conv2d(apart(x, x_step), weight, algorithm="depthwise", out=out, **how)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [5, 7])
@both_dtypes
@every_isa
def test_rows_that_are_one_tile(kernel: int, layout: str, dtype: Any, name: str) -> None:
    """Of 7 and 8 columns and those beside them, padded alike on both sides and not; one image and several."""
    half = kernel // 2
    pads = [(half, half), (half - 1, half + 1), (half + 1, half - 1), (half, half - 1)]
    with isa(name):
        for width in (6, 7, 8, 9):
            for height in (1, 2, 7, 8):
                for batch, before_after in zip((1, 2, 5, 9), pads, strict=True):
                    for columns in {before_after, pads[0]}:
                        x = integers((batch, 40, height, width), dtype, 1)
                        weight = integers((40, 1, kernel, kernel), dtype, 2)
                        how: dict[str, Any] = {
                            "padding": ((half, half), columns),
                            "groups": 40,
                            "layout": layout,
                        }
                        x = to_layout(x, layout)
                        expected = reference.conv2d(x, weight, **how)
                        poisoned = Poisoned(expected.shape, dtype)
                        fastconv.conv2d(amid_nan(x), weight, algorithm="depthwise", out=poisoned.out, **how)
                        poisoned.check()
                        np.testing.assert_array_equal(poisoned.out, expected)


# Rows of the kernel, their stride and dilation, padding before and after.
ROWS: list[tuple[int, int, int, tuple[int, int]]] = [
    (3, 2, 1, (1, 1)),
    (2, 1, 1, (0, 1)),
    (5, 2, 1, (2, 1)),
    (3, 3, 2, (3, 0)),
    (4, 2, 3, (4, 5)),
    (1, 1, 1, (0, 0)),
]


@pytest.mark.parametrize("kernel", [3, 5, 7])
@both_dtypes
@every_isa
def test_input_grad_by_pairs(kernel: int, dtype: Any, name: str) -> None:
    """Rows of one pair, of 3 to 5, of 7 and 8, of several tiles and some; less than a vector of channels,
    one, some more; padding of every width, and more than the kernel has."""
    channels, rows = cycle([3, 16, 8, 17, 40, 1, 2]), cycle(ROWS)
    with isa(name):
        for width in (*range(1, 20), 27, 28, 29, 30, 43, 57):
            for pad in range(kernel + 2):
                count = next(channels)
                high, down, dilation, above = next(rows)
                columns = (pad, max(0, kernel - 1 - pad))
                if width + sum(columns) < kernel:
                    continue
                shape = (2, high + 4, width, count)
                weight = integers((count, 1, high, kernel), dtype, 1)
                how: dict[str, Any] = {
                    "stride": (down, 2),
                    "padding": (above, columns),
                    "dilation": (dilation, 1),
                    "groups": count,
                    "layout": "NHWC",
                }
                if shape[1] + sum(above) < (high - 1) * dilation + 1:
                    continue
                like = reference.conv2d(np.zeros(shape, dtype), weight, **how)
                grad = integers(like.shape, dtype, 2)
                expected = reference.conv2d_input_grad(grad, weight, input_shape=shape, **how)
                poisoned = Poisoned(shape, dtype)
                fastconv.conv2d_input_grad(
                    amid_nan(grad), weight, input_shape=shape, algorithm="depthwise", out=poisoned.out, **how
                )
                poisoned.check()
                np.testing.assert_array_equal(poisoned.out, expected)


@pytest.mark.parametrize("memory", ["rows", "contiguous"])
@every_isa
def test_input_grad_by_pairs_in_tasks_of_rows(memory: str, name: str) -> None:
    """Many rows, and rows of both arrays that do not follow each other; larger than the caches, written past
    them where it is aligned."""
    weight = integers((48, 1, 3, 3), np.float32, 1)
    how: dict[str, Any] = {"stride": 2, "padding": 1, "groups": 48, "layout": "NHWC"}
    shape = (2, 301, 150, 48)
    grad = integers((2, 151, 75, 48), np.float32, 2)
    expected = reference.conv2d_input_grad(grad, weight, input_shape=shape, **how)
    with isa(name):
        poisoned = Poisoned(shape, np.float32, memory)
        fastconv.conv2d_input_grad(
            amid_nan(grad, memory), weight, input_shape=shape, out=poisoned.out, algorithm="depthwise", **how
        )
        poisoned.check()
        np.testing.assert_array_equal(poisoned.out, expected)
        out = apart(np.zeros(shape, np.float32), 0)
        with threads(3):
            fastconv.conv2d_input_grad(grad, weight, input_shape=shape, out=out, algorithm="depthwise", **how)
        np.testing.assert_array_equal(out, expected)
