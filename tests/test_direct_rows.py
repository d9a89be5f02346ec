"""Direct convolution of much padding, and tap by tap, which leaves it out, against the reference.

Every form of reading x (lines of channels in place, bands whose channels or pixels are adjacent), blocks of k
and of rows, taps that meet nothing but padding for some rows, or for all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import (
    DTYPES,
    LAYOUTS,
    WIDTHS,
    amid_nan,
    assert_within,
    isa,
    normal,
    same_bits,
    threads,
    to_layout,
)

import fastconv
from fastconv import reference

both = pytest.mark.parametrize("algorithm", ["direct", "taps"])

# batch, channels, outputs, size, kernel, options
CASES: dict[str, tuple[int, int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    "rows of 6": (2, 7, 9, (8, 6), (3, 3), {"padding": 1}),
    "rows of 5": (2, 7, 9, (8, 5), (3, 3), {"padding": 1}),
    "rows of 3, dilated by 2": (2, 7, 9, (9, 3), (3, 3), {"padding": 2, "dilation": 2}),
    "channels in lines": (3, 24, 33, (9, 8), (3, 3), {"padding": 1}),
    "channels in lines, 7x1": (2, 40, 20, (17, 17), (7, 1), {"padding": (3, 0)}),
    "channels in lines, several blocks of k": (1, 300, 40, (9, 8), (5, 5), {"padding": 2}),
    "few channels, 7x7 stride 2, of four rows": (4, 8, 50, (4, 20), (7, 7), {"padding": 3, "stride": 2}),
    "7x1 dilated by 3": (2, 16, 40, (15, 14), (7, 1), {"padding": (9, 0), "dilation": 3}),
    "taps that miss all rows of a block": (1, 30, 17, (70, 40), (3, 3), {"padding": 30, "dilation": 30}),
    "outputs over padding alone": (1, 26, 17, (5, 9), (3, 3), {"padding": ((7, 6), (1, 1))}),
    "outputs over padding alone, bands": (1, 5, 17, (5, 9), (3, 3), {"padding": ((7, 6), (1, 1))}),
    "4x4 stride 2": (2, 26, 32, (16, 16), (4, 4), {"padding": 1, "stride": 2}),
    "stride 3": (2, 25, 16, (13, 22), (5, 4), {"padding": 2, "stride": 3}),
    "padding below": (2, 25, 16, (9, 9), (4, 3), {"padding": ((0, 3), (0, 0))}),
    "padding above": (2, 6, 16, (9, 9), (4, 3), {"padding": ((3, 0), (0, 0))}),
    "kernel deeper than a panel": (1, 2, 17, (60, 12), (61, 45), {"padding": (30, 22)}),
    "2 groups": (2, 52, 34, (8, 9), (3, 3), {"padding": 1, "groups": 2}),
    "images in one block": (20, 24, 8, (6, 6), (3, 3), {"padding": 1}),
    "one vector, rows of 14": (2, 5, 4, (6, 14), (3, 3), {"padding": 1}),
    "one vector, rows of 29 stride 2": (3, 3, 4, (9, 58), (3, 3), {"padding": 1, "stride": 2}),
    "one vector, rows of 10 and no padding": (2, 3, 4, (7, 12), (2, 3), {}),
    "one vector, dilated by 2": (1, 6, 4, (9, 40), (3, 3), {"padding": 2, "dilation": 2}),
    "one vector, several blocks of k": (1, 140, 4, (5, 12), (3, 3), {"padding": 1}),
    "one vector, blocks of columns": (1, 2, 4, (3, 1101), (3, 3), {"padding": 1}),
    "one vector, 3 groups of stride 3": (2, 6, 12, (7, 62), (3, 2), {"padding": 1, "stride": 3, "groups": 3}),
    "borders apart": (1, 3, 5, (70, 66), (3, 3), {"padding": 1}),
    "borders apart, stride 2": (2, 3, 20, (140, 130), (3, 3), {"padding": 1, "stride": 2}),
    "borders apart, uneven": (2, 4, 4, (60, 90), (3, 4), {"padding": ((0, 1), (2, 1))}),
    "borders apart, 2 groups": (1, 6, 34, (80, 95), (3, 2), {"padding": (2, 1), "dilation": 2, "groups": 2}),
    "borders apart, stride 3 of 4x4": (3, 2, 17, (104, 200), (4, 4), {"padding": (1, 2), "stride": 3}),
    "borders apart, one row": (1, 3, 4, (1, 2100), (1, 5), {"padding": (0, 2)}),
    "blocks of rows": (1, 24, 8, (300, 12), (9, 3), {"padding": (60, 1), "dilation": (15, 1)}),
}


def arrays(case: str, dtype: Any, layout: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    batch, channels, outputs, size, kernel, options = CASES[case]
    x = to_layout(normal((batch, channels, *size), dtype), layout)
    weight = normal((outputs, channels // options.get("groups", 1), *kernel), dtype, 1)
    return x, weight, normal((outputs,), dtype, 2), {**options, "layout": layout}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", WIDTHS)
@both
def test_against_the_reference(case: str, dtype: Any, layout: str, name: str, algorithm: str) -> None:
    x, weight, bias, how = arrays(case, dtype, layout)
    expected = reference.conv2d(x, weight, bias, **how)
    terms = weight[0].size + 1
    limit = terms * np.finfo(dtype).eps * reference.conv2d(abs(x), abs(weight), abs(bias), **how)
    with isa(name):
        found = fastconv.conv2d(x, weight, bias, algorithm=algorithm, **how)
        assert_within(found, expected, limit)
        plan = fastconv.plan_conv2d(x.shape, weight, bias, algorithm=algorithm, **how)
        assert same_bits(plan(x), found)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", LAYOUTS)
@both
def test_every_product(case: str, layout: str, algorithm: str) -> None:
    """Of whole numbers, so that sums are exact; memory around and between the elements is no number."""
    x, weight, bias, how = arrays(case, np.float32, layout)
    x, weight, bias = np.rint(2 * x), np.rint(2 * weight), np.rint(2 * bias)
    expected = np.maximum(reference.conv2d(x, weight, bias, **how), 0)
    for memory in ("contiguous", "rows", "steps"):
        for count in (1, 2, 3, 5):
            with threads(count):
                found = fastconv.conv2d(
                    amid_nan(x, memory), weight, bias, activation="relu", algorithm=algorithm, **how
                )
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("case", ["rows of 6", "channels in lines", "channels in lines, several blocks of k"])
@pytest.mark.parametrize("layout", LAYOUTS)
@both
@np.errstate(invalid="ignore")
def test_infinity_meets_padding(case: str, layout: str, planned: bool, algorithm: str) -> None:
    """A weight that is infinite, times padding, is no number, though such products may be left out else."""
    x, weight, _, how = arrays(case, np.float32, layout)
    weight[3, 2, 0, 1] = np.inf
    expected = reference.conv2d(x, weight, **how)
    if planned:
        found = fastconv.plan_conv2d(x.shape, weight, algorithm=algorithm, **how)(x)
    else:
        found = fastconv.conv2d(x, weight, algorithm=algorithm, **how)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.isnan(found).any()


@pytest.mark.parametrize("channels", [5, 26])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@both
def test_depth(channels: int, depth: int, layout: str, algorithm: str) -> None:
    """Planes and rows that a tap does not meet."""
    x = np.rint(2 * normal((2, channels, depth, 7, 8), np.float32))
    x = x if layout == "NCDHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    weight = np.rint(2 * normal((17, channels, 3, 3, 3), np.float32, 1))
    how: dict[str, Any] = {"padding": 1, "layout": layout}
    found = fastconv.conv3d(x, weight, algorithm=algorithm, **how)
    np.testing.assert_array_equal(found, reference.conv3d(x, weight, **how))
