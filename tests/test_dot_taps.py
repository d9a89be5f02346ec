"""Dot tap by tap: few outputs of many inputs, whatever stride, dilation and kernel, against the reference.

Rows of one output, of fewer than a tile has, of a tile, of one more; channels around a vector; tiles across
rows and images; what is read in place, turned, and turned because groups share sets of the cache; several
passes over the channels, several blocks of columns; padding beyond every side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tap_checks
from conv_case import Case
from support import DTYPES, ISAS, LAYOUTS, Poisoned, amid_nan, integers, isa, to_layout

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
    Case("rows apart, dilation", 64, 2, (24, 23), (2, 3), stride=(5, 1), dilation=(2, 1), padding=1, batch=2),
    Case("images in pairs, the last alone", 24, 2, (4, 5), padding=1, batch=17),
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



def by_name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_against_reference(case: Case, name: str, dtype: Any, layout: str) -> None:
    plan = tap_checks.check_values(case, "dot", name, dtype, layout)
    if name == "avx512" and not case.name.startswith("one output"):  # whose taps are the whole image
        with isa(name):
            assert "tap by tap" in plan.explain()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", [CASES[2], CASES[10], CASES[19]], ids=by_name)
def test_views(case: Case, name: str, layout: str) -> None:
    tap_checks.check_views(case, "dot", name, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [CASES[2], CASES[10], CASES[19], CASES[20]], ids=by_name)
def test_the_same_bits_for_any_number_of_threads(case: Case, layout: str) -> None:
    tap_checks.check_threads(case, "dot", layout)


@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("value", [1.0, float("nan"), float("inf")])
def test_depths(name: str, layout: str, value: float) -> None:
    tap_checks.check_depths("dot", name, layout, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [CASES[2], CASES[9], CASES[14], CASES[19]], ids=by_name)
def test_what_is_not_finite(case: Case, layout: str, value: float) -> None:
    tap_checks.check_what_is_not_finite(case, "dot", layout, value)


@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@pytest.mark.parametrize("name", ISAS)
def test_depths_of_several_images(name: str, layout: str) -> None:
    """Tiles inside each plane, of which the last tap sees padding behind the last."""
    x, weight = integers((20, 24, 4, 3, 10)), integers((2, 24, 3, 1, 3), seed=1)
    how: dict[str, Any] = {"stride": (2, 1, 1), "padding": ((0, 2), (0, 0), (0, 0))}
    image = amid_nan(x if layout == "NCDHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1)))
    with isa(name):
        y = fastconv.conv3d(image, weight, layout=layout, algorithm="dot", **how)
    y = y if layout == "NCDHW" else np.moveaxis(y, -1, 1)
    np.testing.assert_array_equal(y, reference.conv3d(x, weight, **how))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_image_beyond_the_last_is_written(layout: str) -> None:
    case = next(case for case in CASES if case.name == "images in pairs, the last alone")
    x, weight, bias = case.arrays(np.float32)
    target = Poisoned(case.out_shape(layout), np.float32)
    fastconv.conv2d(
        to_layout(x, layout), weight, bias, out=target.out, algorithm="dot", layout=layout, **case.options
    )
    target.check()
    assert np.isfinite(target.out).all()
