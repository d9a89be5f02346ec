"""Blocks of channels: tiles that load an input once for all that see it, planes that are turned whole.

Data are whole numbers, so that sums are exact and results have to be those of the reference bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, product
from typing import Any

import numpy as np
import pytest
from support import DTYPES, ISAS, LAYOUTS, Poisoned, amid_nan, from_layout, integers, isa, threads, to_layout

import fastconv
from fastconv import reference

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
every_isa = pytest.mark.parametrize("name", ISAS)


def in_blocks(x: np.ndarray, weight: np.ndarray, how: dict[str, Any]) -> bool:
    plan = fastconv.plan_conv2d(x.shape, weight, algorithm="depthwise", **how)
    return "in blocks with" in plan.explain()


def check(x: np.ndarray, weight: np.ndarray, how: dict[str, Any], memory: str = "contiguous") -> int:
    """Compare layouts with the reference, after an image of NaN went the same way; count those in blocks."""
    bias = integers((len(weight),), weight.dtype, 3)
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, weight, bias, **how)
    blocks = 0
    for layout in LAYOUTS:
        image = amid_nan(to_layout(x, layout), memory)
        options = {**how, "layout": layout, "algorithm": "depthwise"}
        poisoned = Poisoned(to_layout(expected, layout).shape, x.dtype, memory)
        fastconv.conv2d(np.full_like(image, np.nan), weight, bias, **options)
        fastconv.conv2d(image, weight, bias, out=poisoned.out, **options)
        poisoned.check()
        np.testing.assert_array_equal(from_layout(poisoned.out, layout), expected)
        blocks += in_blocks(image, weight, {**how, "layout": layout})
    return blocks


# Tiles of 4 to 8 columns by rows or by images, of all columns of a filter and at borders of some; steps of
# one or two taps from output to output, of taps that are adjacent and that are not; more rows of a filter
# than see the image.
STEPS = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 2), (3, 1)]


@pytest.mark.parametrize("steps", STEPS, ids=lambda s: f"stride {s[0]}, dilation {s[1]}")
@pytest.mark.parametrize("kernel", [3, 5, 7])
@both_dtypes
@every_isa
def test_tiles_of_rows(kernel: int, steps: tuple[int, int], dtype: Any, name: str) -> None:
    stride, dilation = steps
    reach = (kernel - 1) * dilation
    heights, channels, batches = cycle([7, 3, 9, 5]), cycle([16, 21, 40, 5, 33]), cycle([1, 5, 2])
    # As much before and after as for "same", one less, and as much as an output that sees a pixel can reach.
    pads = cycle([(reach // 2, reach // 2), (reach, 0), (0, reach), (reach // 2, reach // 2 - 1)])
    blocks = 0
    with isa(name):
        for columns in (4, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 8, 9, 12, 17):
            c, padding = next(channels), next(pads)
            width = (columns - 1) * stride + 1 + reach - sum(padding)
            x = integers((next(batches), c, next(heights), width), dtype, columns)
            how = {
                "stride": (1, stride),
                "dilation": (1, dilation),
                "groups": c,
                "padding": ((next(heights), 4), padding),
            }
            blocks += check(x, integers((c, 1, 7, kernel), dtype, kernel), how)
    assert blocks > 0


def planes() -> Iterator[tuple[int, int, int, int, Any]]:
    """Channels, outputs of each, size, padding: rows of one pixel, shorter and longer than a vector."""
    channels = cycle([16, 1, 8, 17, 4, 15, 32, 3, 50])
    pads = cycle([((4, 4), (4, 4)), ((0, 5), (3, 0)), ((5, 0), (0, 6)), ((2, 1), (0, 0)), ((1, 2), (8, 1))])
    for rows, columns in product((1, 2, 3, 5, 8), (1, 2, 3, 4, 7, 9, 16)):
        (top, bottom), sides = next(pads)
        yield next(channels), 1, rows, columns, ((max(top, 9 - rows - bottom), bottom), sides)
    for multiplier in (2, 3, 20):
        yield 7, multiplier, 4, 5, ((4, 4), (3, 5))


@pytest.mark.parametrize("memory", ["contiguous", "rows", "steps"])
@both_dtypes
@every_isa
def test_planes_with_their_borders(memory: str, dtype: Any, name: str) -> None:
    blocks = 0
    batches = cycle([1, 2, 9])
    with isa(name):
        for c, multiplier, rows, columns, padding in planes():
            kernel = 9, min(5, columns + sum(padding[1]))
            x = integers((next(batches), c, rows, columns), dtype, rows)
            weight = integers((c * multiplier, 1, *kernel), dtype, columns)
            blocks += check(x, weight, {"groups": c, "padding": padding}, memory)
    assert blocks > 0


@both_dtypes
@every_isa
def test_strides_apart(dtype: Any, name: str) -> None:
    """Rows, columns or both are copied for each output by themselves, fewer than there are or more."""
    blocks = 0
    with isa(name):
        for size, kernel, stride, padding in (
            ((13, 4), (2, 3), (4, 1), (1, 1)),
            ((9, 7), (2, 3), (5, 2), ((1, 3), (2, 2))),
            ((5, 3), (3, 2), (1, 3), (1, 2)),
            ((4, 5), (2, 2), (3, 3), (2, 2)),
            ((6, 2), (3, 2), (2, 7), (1, 0)),
        ):
            x, weight = integers((9, 32, *size), dtype, 1), integers((32, 1, *kernel), dtype, 2)
            blocks += check(x, weight, {"groups": 32, "stride": stride, "padding": padding})
    assert blocks > 0


@pytest.mark.parametrize("kernel", [(2, 3, 3), (3, 7, 5), (3, 5, 7), (3, 3, 4)])
@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@both_dtypes
@every_isa
def test_depths(kernel: tuple[int, int, int], layout: str, dtype: Any, name: str) -> None:
    """Each depth has its own inputs and weights, the first and last see padding; several rows and one."""
    for size, stride in (((4, 5, 6), 1), ((3, 9, 11), 2), ((4, 1, 16), 1)):
        x, weight = integers((2, 40, *size), dtype, 1), integers((40, 1, *kernel), dtype, 2)
        how: dict[str, Any] = {
            "padding": tuple(k // 2 for k in kernel),
            "stride": (1, stride, stride),
            "groups": 40,
        }
        expected = reference.conv3d(x, weight, **how)
        image = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "NDHWC" else x
        with isa(name):
            y = fastconv.conv3d(image, weight, layout=layout, algorithm="depthwise", **how)
        np.testing.assert_array_equal(np.moveaxis(y, -1, 1) if layout == "NDHWC" else y, expected)


@both_dtypes
@every_isa
def test_views(dtype: Any, name: str) -> None:
    """Pixels and channels in other orders, backwards, several at one place: results are those of a copy."""
    shape = (2, 19, 5, 6)
    how: dict[str, Any] = {"groups": 19, "padding": (4, 3), "algorithm": "depthwise"}
    weight = integers((19, 1, 9, 5), dtype, 1)
    views = [
        integers(tuple(np.take(shape, order)), dtype, 2).transpose(np.argsort(order))
        for order in ((0, 2, 3, 1), (0, 1, 3, 2), (1, 0, 2, 3), (3, 2, 1, 0), (2, 0, 1, 3))
    ]
    x = integers(shape, dtype, 3)
    views += [x[:, :, ::-1], x[..., ::-1], x[:, ::-1], x[:, :, ::-1, ::-1], x[::-1]]
    for axis in range(4):
        views.append(np.broadcast_to(x.take([0], axis), shape))
    views += [np.broadcast_to(x[:, :, :1, :1], shape), np.broadcast_to(x[:1, :1], shape)]
    with isa(name):
        for view in views:
            expected = reference.conv2d(view, weight, groups=19, padding=(4, 3))
            np.testing.assert_array_equal(fastconv.conv2d(view, weight, **how), expected)
            last = np.moveaxis(view, 1, -1)
            np.testing.assert_array_equal(
                np.moveaxis(fastconv.conv2d(last, weight, layout="NHWC", **how), -1, 1), expected
            )


@every_isa
def test_blocks_of_rows_and_columns(name: str) -> None:
    """Of images too large for one block: some have one border, some none; as many threads as there may be."""
    for size, kernel, stride in (((90, 41), (9, 7), 1), ((9, 1200), (9, 15), 2), ((70, 66), (13, 5), 2)):
        x, weight = integers((2, 18, *size), np.float32, 1), integers((18, 1, *kernel), np.float32, 2)
        how: dict[str, Any] = {"groups": 18, "padding": tuple(k // 2 for k in kernel), "stride": stride}
        for count in (1, 3):
            with isa(name), threads(count):
                check(x, weight, how)
