"""Tap by tap, over the outputs that meet a pixel through each, against the reference.

Outputs around one to five vectors; channels around a block of those that take one tap after the other; pixels
and weights that a task packs for at once and more; blocks of images, rows and columns; taps that few outputs
meet, or none.
"""

from __future__ import annotations

from typing import Any

import pytest
import tap_checks
from conv_case import Case
from support import DTYPES, ISAS, LAYOUTS

CASES = [
    Case("a vector and one, 9x9 on 7x7", 20, 17, (7, 7), (9, 9), padding=4),
    Case("two vectors, strides", 65, 32, (9, 12), (3, 4), stride=(2, 3), padding=(2, 1), batch=3),
    Case("three vectors, a block of channels and one", 257, 48, (4, 5), (3, 2), padding=1),
    Case("four vectors less one", 33, 63, (6, 5), (5, 3), padding=(2, 1), batch=2),
    Case("five vectors, three blocks of channels", 130, 65, (6, 7), (7, 7), padding=3),
    Case("weights too many to pack at once", 64, 64, (11, 11), (11, 11), padding=5),
    Case("several blocks of rows", 9, 40, (37, 31), (5, 5), padding=2),
    Case("several blocks of images", 12, 65, (7, 5), padding=1, batch=23),
    Case("pixels that a task packs for, and one row more", 5, 18, (33, 16), padding=1),
    Case("blocks of columns", 3, 4, (2, 1100), (1, 7), padding=(0, 3)),
    Case("dilation that meets padding alone at corners", 18, 24, (9, 10), dilation=4, padding=4, batch=2),
    Case("mostly padding", 40, 7, (4, 5), (7, 7), dilation=2, padding=6, batch=2),
    Case("padding alone, at a side", 24, 9, (4, 4), (2, 2), stride=2, padding=3),
    Case("groups", 36, 69, (6, 7), groups=3, padding=1, batch=2),
    Case("groups of one", 5, 10, (5, 4), (5, 5), groups=5, padding=2),
    Case("one pixel", 70, 21, (1, 1), (3, 3), padding=1, batch=2),
    Case("no padding", 8, 8, (6, 6)),
]



def by_name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_against_reference(case: Case, name: str, dtype: Any, layout: str) -> None:
    plan = tap_checks.check_values(case, "taps", name, dtype, layout)
    assert plan.algorithm == "taps"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", [CASES[1], CASES[3], CASES[13]], ids=by_name)
def test_views(case: Case, name: str, layout: str) -> None:
    tap_checks.check_views(case, "taps", name, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[6], CASES[13]], ids=by_name)
def test_the_same_bits_for_any_number_of_threads(case: Case, layout: str) -> None:
    tap_checks.check_threads(case, "taps", layout)


@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("value", [1.0, float("nan"), float("inf")])
def test_depths(name: str, layout: str, value: float) -> None:
    tap_checks.check_depths("taps", name, layout, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[11], CASES[13]], ids=by_name)
def test_what_is_not_finite(case: Case, layout: str, value: float) -> None:
    tap_checks.check_what_is_not_finite(case, "taps", layout, value)
