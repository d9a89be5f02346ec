"""Channels, or pixels of one plane, that leave half of a vector empty go in half vectors, where a CPU starts
two multiply-adds of those for one of whole ones.  Elsewhere the same cases go in whole vectors: both are
tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conv_case import Case
from grad_cases import Data
from support import DTYPES, LAYOUTS, WIDTHS, isa
from tap_checks import check_threads, check_values, check_views, check_what_is_not_finite

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
every_isa = pytest.mark.parametrize("name", WIDTHS)
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def case(c: int, o: int, size: tuple[int, int], kernel: tuple[int, int], **how: Any) -> Case:
    name = f"{c} to {o}, {how.get('groups', 1)} groups, {size[0]}x{size[1]} by {kernel[0]}x{kernel[1]}"
    return Case(name, c, o, size, kernel, **how)


# Half vectors have 8 lanes in float32 and 4 in float64: one, three, five of them, filled, cut or just begun.
DENSE = [
    case(7, o, (6, 7), (3, 3), padding=1, batch=2)
    for o in (1, 3, 4, 5, 7, 8, 9, 11, 12, 17, 20, 21, 24, 25, 33, 40, 41)
] + [
    case(40, 24, (9, 11), (1, 1)),
    case(33, 24, (12, 10), (3, 3), stride=2, padding=1, batch=3),
    case(300, 20, (5, 9), (2, 2)),
    case(16, 48, (9, 8), (3, 3), padding=2, dilation=2, groups=2),
    case(30, 36, (8, 9), (5, 3), padding=(2, 1), groups=3, stride=(1, 2), batch=2),
]
# Groups of half a vector, of three halves, and several to a vector that the last of them leaves half empty.
GROUPED = [
    case(24, 24, (9, 15), (3, 3), padding=1, groups=3),
    case(24, 24, (9, 15), (3, 3), padding=1, groups=3, stride=2),
    case(56, 56, (7, 7), (5, 5), padding=2, groups=7, batch=2),
    case(16, 16, (6, 14), (3, 3), padding=1, groups=2),
    case(24, 24, (8, 9), (3, 3), padding=1, groups=6, dilation=2),
    case(12, 12, (8, 9), (3, 3), padding=1, groups=3),
    case(12, 12, (5, 7), (1, 1), groups=6),
    case(48, 48, (6, 15), (3, 3), padding=1, groups=2, stride=(2, 1)),
    case(10, 40, (6, 8), (3, 3), padding=1, groups=5),
    case(15, 72, (9, 9), (3, 1), padding=(1, 0), groups=3),
    case(20, 20, (31, 29), (3, 3), padding=1, groups=5),
]
PLANES = [case(c, o, size, (1, 1)) for c, o, size in [(16, 9, (1, 1)), (70, 33, (1, 4)), (9, 20, (2, 4))]] + [
    case(64, 40, (3, 3), (1, 1)),
    case(130, 70, (4, 5), (1, 1)),
    case(24, 24, (4, 6), (1, 1)),
    case(40, 24, (4, 6), (1, 1), batch=3),
    case(33, 30, (5, 8), (1, 1)),
    case(600, 150, (5, 8), (1, 1)),
    case(3, 12, (1, 33), (1, 1)),
]
each = {
    name: pytest.mark.parametrize("of", cases, ids=lambda of: of.name + f" n{of.batch}")
    for name, cases in {"dense": DENSE, "grouped": GROUPED, "planes": PLANES}.items()
}


@each["dense"]
@pytest.mark.parametrize("algorithm", ["direct", "taps"])
@each_layout
@both_dtypes
@every_isa
def test_dense(of: Case, algorithm: str, layout: str, dtype: Any, name: str) -> None:
    check_values(of, algorithm, name, dtype, layout)


@each["grouped"]
@each_layout
@both_dtypes
@every_isa
def test_grouped(of: Case, layout: str, dtype: Any, name: str) -> None:
    check_values(of, "grouped", name, dtype, layout)


@each["planes"]
@each_layout
@both_dtypes
@every_isa
def test_planes(of: Case, layout: str, dtype: Any, name: str) -> None:
    check_values(of, "im2col", name, dtype, layout)


@pytest.mark.parametrize("of", [*DENSE[-5:], *GROUPED, *PLANES], ids=lambda of: of.name + f" n{of.batch}")
@each_layout
@both_dtypes
@every_isa
def test_gradients(of: Case, layout: str, dtype: Any, name: str) -> None:
    options = {name: value for name, value in of.options.items() if name != "activation"}
    data = Data((of.channels, of.outputs, of.size, of.kernel, options), dtype, layout, batch=of.batch)
    with isa(name):
        data.leave_nan_behind()
        data.check_input_grad(data.input_grad())
        data.check_weight_grad(data.weight_grad())


@pytest.mark.parametrize("of", [DENSE[12], DENSE[-4], DENSE[-2]], ids=lambda of: of.name)
@pytest.mark.parametrize("algorithm", ["direct", "taps"])
@each_layout
@every_isa
def test_views(of: Case, algorithm: str, layout: str, name: str) -> None:
    check_views(of, algorithm, name, layout)


@pytest.mark.parametrize("of", [DENSE[12], DENSE[-1]], ids=lambda of: of.name)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@each_layout
def test_what_is_not_finite(of: Case, layout: str, value: float) -> None:
    check_what_is_not_finite(replace(of, batch=2), "direct", layout, value)


@pytest.mark.parametrize("of", [DENSE[-4], GROUPED[0], GROUPED[-1]], ids=lambda of: of.name)
@pytest.mark.parametrize("algorithm", ["direct", "grouped", "auto"])
@each_layout
def test_threads(of: Case, algorithm: str, layout: str) -> None:
    check_threads(of, algorithm, layout)
