"""1x1 convolutions of planes with a few pixels after the last whole vector, which are sums along channels.

Data are whole numbers, so that sums are exact and results have to be those of the reference bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import DTYPES, ISAS, Poisoned, amid_nan, integers, isa, normal, same_bits, threads

import fastconv
from fastconv import reference

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
every_isa = pytest.mark.parametrize("name", ISAS)
# Vectors have 4, 8 or 16 lanes.  Last pixels in one row and in several, rows of one pixel, one row.
SIZES = [(1, 19), (20, 1), (3, 6), (4, 5), (7, 5), (2, 33), (67, 1), (17, 4), (10, 10), (3, 11), (23, 3)]


def check(x: np.ndarray, weight: np.ndarray, how: dict[str, Any]) -> None:
    """Compare contiguous arrays and views of each kind with the reference, after images of NaN."""
    bias = integers((len(weight),), x.dtype, 3)
    expected = reference.conv2d(x, weight, bias, **how)
    for algorithm in ("auto", "im2col"):
        for memory in ("contiguous", "rows", "steps", "columns"):
            columns = memory == "columns"  # a pixel is beside the one below it
            image = amid_nan(x.swapaxes(2, 3)).swapaxes(2, 3) if columns else amid_nan(x, memory)
            poisoned = Poisoned(expected.shape, x.dtype, "reversed" if columns else memory)
            fastconv.conv2d(np.full_like(image, np.nan), weight, bias, algorithm=algorithm, **how)
            fastconv.conv2d(image, weight, bias, algorithm=algorithm, out=poisoned.out, **how)
            poisoned.check()
            np.testing.assert_array_equal(poisoned.out, expected, err_msg=f"{algorithm}, {memory}")


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@both_dtypes
@every_isa
def test_last_pixels(size: tuple[int, int], dtype: Any, name: str) -> None:
    """Of one image, of a few and of as many as may be taken together; of groups; of vectors of channels."""
    shapes = [(1, 33, 37, 1), (3, 20, 13, 1), (17, 16, 9, 1), (2, 24, 36, 3), (1, 1, 5, 1), (5, 6, 6, 6)]
    for batch, channels, outputs, groups in shapes:
        x = integers((batch, channels, *size), dtype, 1)
        weight = integers((outputs, channels // groups, 1, 1), dtype, 2)
        activation = "relu" if channels % 2 else ("leaky_relu", 0.5)
        with isa(name):
            check(x, weight, {"groups": groups, "activation": activation})


@pytest.mark.parametrize("size", [(4, 5), (3, 17)], ids=lambda s: f"{s[0]}x{s[1]}")
@both_dtypes
@every_isa
def test_last_pixels_of_many_channels(size: tuple[int, int], dtype: Any, name: str) -> None:
    """More than are packed at a time: each part adds to those before it."""
    x, weight = integers((2, 3001, *size), dtype, 1), integers((7, 3001, 1, 1), dtype, 2)
    with isa(name):
        check(x, weight, {"activation": "relu"})


@pytest.mark.parametrize("algorithm", ["auto", "im2col"])
@every_isa
def test_last_pixels_of_depths(algorithm: str, name: str) -> None:
    """Images of several depths: adjacent ones, in steps, and depths before rows."""
    for size in ((2, 2, 5), (3, 1, 17), (5, 4, 5)):
        x, weight = integers((2, 30, *size), np.float32, 1), integers((20, 30, 1, 1, 1), np.float32, 2)
        expected = reference.conv3d(x, weight)
        turned = np.ascontiguousarray(x.swapaxes(2, 3)).swapaxes(2, 3)
        cut = np.pad(x, [(0, 0), (0, 0), (0, 0), (0, 1), (0, 0)], constant_values=np.nan)[:, :, :, :-1]
        with isa(name):
            for image in (x, turned, cut, amid_nan(x.reshape(60, *size), "steps").reshape(x.shape)):
                np.testing.assert_array_equal(fastconv.conv3d(image, weight, algorithm=algorithm), expected)


@pytest.mark.parametrize("size", [(4, 5), (3, 17), (7, 5)], ids=lambda s: f"{s[0]}x{s[1]}")
@every_isa
def test_last_pixels_do_not_depend_on_threads_or_memory(size: tuple[int, int], name: str) -> None:
    x, weight = normal((6, 45, *size), np.float32, 1), normal((38, 45, 1, 1), np.float32, 2)
    with isa(name):
        expected = fastconv.conv2d(x, weight)
        for count in (1, 2, 5):
            with threads(count):
                for image in (x, amid_nan(x, "rows"), x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)):
                    assert same_bits(fastconv.conv2d(image, weight), expected)
