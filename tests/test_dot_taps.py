"""Dot tap by tap: few outputs of many inputs, whatever stride, dilation and kernel, against the reference.

Rows of one output, of fewer than a tile has, of a tile, of one more; channels around a vector; tiles across
rows and images; what is read in place, turned, and turned because groups share sets of the cache; several
passes over the channels, several blocks of columns; padding beyond every side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conv_case import Case
from support import (
    DTYPES,
    ISAS,
    LAYOUTS,
    amid_nan,
    assert_within,
    from_layout,
    isa,
    normal,
    same_bits,
    threads,
    to_layout,
)

import fastconv
from fastconv import reference

CASES = [
    Case("rows of one", 40, 1, (9, 3), padding=(1, 0), batch=2),
    Case("rows of two, two rows to a tile and a rest", 33, 2, (7, 6), stride=(1, 3), padding=1),
    Case("rows of three, across images", 31, 3, (5, 5), (3, 3), stride=2, padding=1, batch=5),
    Case("rows of seven", 32, 4, (9, 7), padding=1),
    Case("rows of a tile", 17, 5, (6, 8), padding=1, batch=2),
    Case("rows of a tile and one", 16, 3, (4, 9), padding=1),
    Case("rows of three tiles less one", 65, 1, (3, 23), (1, 3), padding=(0, 1)),
    Case("one output", 64, 2, (3, 3), (5, 5), padding=1, batch=3),
    Case("one output of groups", 96, 9, (3, 3), (5, 5), groups=3, padding=1, batch=11),
    Case("stride beyond the kernel", 64, 4, (15, 14), (2, 2), groups=4, stride=3),
    Case("stride beyond the kernel, padding", 64, 2, (14, 13), groups=2, stride=(4, 3), padding=1, batch=3),
    Case("dilation beyond the stride", 50, 1, (17, 16), (4, 3), stride=2, dilation=4, padding=4, batch=2),
    Case("mostly padding", 40, 3, (4, 5), (7, 7), dilation=2, padding=6, batch=2),
    Case("padding alone, at a side", 24, 2, (4, 4), (2, 2), stride=2, padding=3),
    Case("many outputs", 48, 24, (9, 9), (3, 3), padding=1),
    Case("groups of few", 64, 8, (9, 10), groups=4, padding=1),
    Case("an odd number of groups", 105, 10, (8, 9), (3, 2), groups=5, padding=1, batch=2),
    Case("groups that share sets of the cache", 512, 64, (9, 11), groups=16, padding=1, stride=(1, 2)),
    Case("several passes", 300, 2, (40, 37), (3, 3), padding=1),
    Case("blocks of columns", 160, 1, (7, 420), (5, 3), padding=2, stride=(1, 1)),
]


def options_of(case: Case, layout: str) -> dict[str, Any]:
    return {**case.options, "layout": layout, "algorithm": "dot"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_against_reference(case: Case, name: str, dtype: Any, layout: str) -> None:
    case = replace(case, activation=("leaky_relu", 0.25))
    x, weight, bias = case.arrays(dtype)
    image = amid_nan(to_layout(x, layout))
    how = options_of(case, layout)
    with isa(name):
        fastconv.conv2d(np.full_like(image, np.nan), weight, bias, **how)  # what scratch holds is poison
        y = fastconv.conv2d(image, amid_nan(weight), bias, **how)
        plan = fastconv.plan_conv2d(image.shape, weight, bias, **how)
        assert same_bits(plan(image), y)
        if name == "avx512" and not case.name.startswith("one output"):  # whose taps are the whole image
            assert "tap by tap" in plan.explain()
    assert_within(from_layout(y, layout), case.expected(dtype), case.bound(dtype, False))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", [CASES[2], CASES[10], CASES[17]], ids=lambda case: case.name)
def test_views(case: Case, name: str, layout: str) -> None:
    """The same bits however x and y lie."""
    x, weight, bias = case.arrays(np.float32)
    image, how = to_layout(x, layout), options_of(case, layout)
    other = image.transpose(0, 3, 1, 2) if layout == "NHWC" else image.transpose(0, 2, 3, 1)
    back = (0, 2, 3, 1) if layout == "NHWC" else (0, 3, 1, 2)
    with isa(name):
        expected = fastconv.conv2d(image, weight, bias, **how)
        for view in (
            np.ascontiguousarray(other).transpose(back),
            np.ascontiguousarray(image[:, ::-1])[:, ::-1],
            np.ascontiguousarray(image[..., ::-1])[..., ::-1],
            amid_nan(image, "rows"),
            amid_nan(image, "steps"),
        ):
            np.testing.assert_array_equal(view, image)
            assert same_bits(fastconv.conv2d(view, weight, bias, **how), expected)
        shape = expected.shape
        out = np.full((*shape[:-1], 2 * shape[-1] + 1), np.nan, np.float32)
        fastconv.conv2d(image, weight, bias, out=out[..., 1::2], **how)
        np.testing.assert_array_equal(out[..., 1::2], expected)
        assert np.isnan(out[..., ::2]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [CASES[2], CASES[10], CASES[17], CASES[18]], ids=lambda case: case.name)
def test_the_same_bits_for_any_number_of_threads(case: Case, layout: str) -> None:
    case = replace(case, batch=9)
    x, weight, bias = case.arrays(np.float32)
    found = []
    for count in (1, 2, 3, 5):
        with threads(count):
            found.append(fastconv.conv2d(to_layout(x, layout), weight, bias, **options_of(case, layout)))
    assert all(same_bits(found[0], other) for other in found[1:])


@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("value", [1.0, np.nan, np.inf])
def test_depths(name: str, layout: str, value: float) -> None:
    """Planes that are padding, weights that are not finite, whose products with it are no numbers."""
    x, weight = normal((2, 34, 3, 5, 9), np.float32), normal((2, 17, 2, 3, 3), np.float32, 1)
    weight[0, 3, 1, 2, 0] = weight[1, 16, 0, 0, 2] = value
    how: dict[str, Any] = {"stride": (2, 1, 2), "padding": (1, 2, 1), "dilation": (2, 1, 1), "groups": 2}
    image = x if layout == "NCDHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    with isa(name), np.errstate(invalid="ignore"):
        y = fastconv.conv3d(image, weight, layout=layout, algorithm="dot", **how)
        expected = reference.conv3d(x, weight, **how)
        limit = reference.conv3d(abs(x), abs(weight), **how) * (17 * 18 + 2) * np.finfo(np.float32).eps
    y = y if layout == "NCDHW" else np.moveaxis(y, -1, 1)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
    finite = np.isfinite(expected)
    assert_within(y[finite], expected[finite], limit[finite])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [CASES[2], CASES[9], CASES[12], CASES[17]], ids=lambda case: case.name)
def test_what_is_not_finite(case: Case, layout: str, value: float) -> None:
    """A pixel reaches the outputs that see it; a weight those that it is multiplied for, with padding too."""
    x, weight, bias = case.arrays(np.float32)
    image, how = to_layout(x, layout), options_of(case, layout)
    pixel, tap = x.copy(), weight.copy()
    pixel.flat[x.size // 3] = value
    tap.flat[weight.size // 2 + 1] = value
    with np.errstate(invalid="ignore"):
        for a, w in ((pixel, weight), (x, tap)):
            found = from_layout(fastconv.conv2d(to_layout(a, layout), w, bias, **how), layout)
            expected = reference.conv2d(a, w, bias, **case.options)
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
            np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    assert image.shape[0] == case.batch
