"""Blocks of groups: tiles whose outputs do not all see all taps, and filters that are packed in one move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_case import Case
from grad_cases import Data
from support import DTYPES, LAYOUTS, WIDTHS, isa, to_layout

import fastconv
from fastconv import reference

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
every_isa = pytest.mark.parametrize("name", WIDTHS)
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def case(groups: int, c: int, o: int, size: tuple[int, int], kernel: tuple[int, int], **how: Any) -> Case:
    name = f"{groups} groups of {c} to {o}, {size[0]}x{size[1]} by {kernel[0]}x{kernel[1]}"
    return Case(name, groups * c, groups * o, size, kernel, groups=groups, **how)


# Tiles of rows and of images, the last of them cut; all columns see a tap, some, or none; kernels beyond
# the image.
CASES = [
    case(3, 16, 16, (7, 7), (7, 7), padding=3),
    case(3, 16, 16, (5, 5), (3, 3), padding=1, batch=9),
    case(4, 16, 33, (3, 5), (9, 9), padding=4, batch=3),
    case(4, 8, 8, (8, 8), (7, 7), padding=3, batch=2),
    case(9, 4, 4, (9, 11), (5, 5), padding=2, stride=2, batch=2),
    case(3, 24, 20, (6, 17), (5, 4), padding=(4, 3), dilation=2),
    case(5, 16, 16, (3, 3), (3, 3), padding=5, batch=4),
    case(6, 12, 2, (7, 30), (3, 9), padding=(1, 4), stride=(1, 2)),
    case(2, 17, 17, (13, 9), (2, 5), padding=((0, 1), (4, 0)), batch=2),
    case(8, 16, 4, (1, 140), (1, 9), padding=(0, 4)),
    case(17, 3, 5, (6, 6), (5, 5), padding=2, batch=2),
    case(4, 8, 8, (14, 14), (3, 3), padding=1, stride=2, batch=9),
    case(5, 16, 16, (15, 23), (3, 3), padding=(2, 1), stride=2),
    case(3, 16, 16, (13, 14), (3, 3), padding=((0, 1), (1, 2)), dilation=2, stride=2),
    case(9, 4, 4, (17, 20), (3, 3), stride=2, batch=2),
    case(17, 5, 2, (22, 18), (3, 3), padding=1, stride=(1, 2), batch=2),
    case(3, 12, 24, (12, 11), (3, 3), padding=2, batch=2),
]
each_case = pytest.mark.parametrize("of", CASES, ids=lambda of: of.name)


@each_case
@each_layout
@both_dtypes
@every_isa
def test_forward(of: Case, layout: str, dtype: Any, name: str) -> None:
    """Of whole numbers every sum is exact, whatever is left out of it."""
    x, weight, _ = of.arrays(dtype)
    x, weight = to_layout(np.rint(4 * x), layout), np.rint(4 * weight)
    how = {**of.options, "layout": layout}
    expected = reference.conv2d(x, weight, **how)
    with isa(name):
        plan = fastconv.plan_conv2d(x.shape, weight, algorithm="grouped", **how)
        if of is CASES[0] and layout == "NCHW" and dtype is np.float32:
            assert "in blocks with" in plan.explain()
        np.testing.assert_array_equal(plan(x), expected)
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, algorithm="grouped", **how), expected)


def check_input_grad(data: Data, name: str) -> None:
    """Of whole numbers, so that sums are exact."""
    data.weight, data.grad = np.rint(4 * data.weight), np.rint(4 * data.grad)
    expected = reference.conv2d_input_grad(data.grad, data.weight, input_shape=data.x.shape, **data.options)
    with isa(name):
        np.testing.assert_array_equal(data.input_grad(algorithm="blocks"), expected)


@each_case
@each_layout
@both_dtypes
@every_isa
def test_input_grad(of: Case, layout: str, dtype: Any, name: str) -> None:
    options = {name: value for name, value in of.options.items() if name != "activation"}
    data = Data((of.channels, of.outputs, of.size, of.kernel, options), dtype, layout, batch=of.batch)
    check_input_grad(data, name)


PADDINGS = [0, 1, 2, 3, ((1, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 4), (1, 4)), ((0, 3), (2, 5))]


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("channels", [(3, 16, 16), (5, 8, 8), (9, 4, 3), (17, 3, 2), (33, 2, 1), (2, 24, 33)])
@each_layout
@both_dtypes
@every_isa
def test_cells_of_pixels(padding: Any, channels: Any, layout: str, dtype: Any, name: str) -> None:
    """3x3 with a stride of 2: cells that are cut, tiles of each width, outputs that are not there."""
    groups, c, o = channels
    for height, width in ((7, 7), (8, 8), (5, 9), (6, 13), (3, 14), (9, 17), (4, 22), (2, 31)):
        padded = np.array([height, width]) + np.broadcast_to(padding, (2, 2)).sum(axis=1)
        if padded.min() < 3:
            continue
        options = {"groups": groups, "padding": padding, "stride": 2}
        data = Data((groups * c, groups * o, (height, width), (3, 3), options), dtype, layout)
        check_input_grad(data, name)


@each_layout
@every_isa
def test_cells_of_several_blocks_of_rows(layout: str, name: str) -> None:
    data = Data((64, 64, (57, 120), (3, 3), {"groups": 8, "padding": 1, "stride": 2}), np.float32, layout)
    check_input_grad(data, name)


@each_layout
@every_isa
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite(value: float, layout: str, name: str) -> None:
    """A weight that is not finite meets padding all the same, as in the definition."""
    of = CASES[0]
    x, weight, _ = of.arrays(np.float32)
    weight[20, 3, 0, 6] = value
    x = to_layout(x, layout)
    how = {**of.options, "layout": layout}
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, weight, **how)
        with isa(name):
            found = fastconv.conv2d(x, weight, algorithm="grouped", **how)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))


VIEWS = {
    "rows apart": lambda a: np.concatenate([a, a], axis=-1)[..., : a.shape[-1]],
    "columns apart": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "columns backwards": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "channels backwards": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "channels apart": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "rows broadcast": lambda a: np.broadcast_to(a[:, :, :1], a.shape),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("of", [CASES[1], CASES[4], CASES[7], CASES[8]], ids=lambda of: of.name)
@every_isa
def test_views_of_planes(of: Case, view: str, name: str) -> None:
    """Planes are turned as they lie in memory, wherever rows, columns and channels are."""
    x, weight, _ = of.arrays(np.float32)
    x, weight = VIEWS[view](np.rint(4 * x)), np.rint(4 * weight)
    expected = reference.conv2d(x, weight, **of.options)
    grad = VIEWS[view](expected.astype(np.float32))
    options = {name: value for name, value in of.options.items() if name != "activation"}
    with isa(name):
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, algorithm="grouped", **of.options), expected)
        found = fastconv.conv2d_input_grad(grad, weight, input_shape=x.shape, algorithm="blocks", **options)
    expected = reference.conv2d_input_grad(grad, weight, input_shape=x.shape, **options)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("width", [3, 4, 5, 6, 7, 8, 13, 16])
@pytest.mark.parametrize(("groups", "channels"), [(1, 16), (2, 8), (4, 4), (8, 2), (3, 8), (5, 4), (3, 12)])
@every_isa
def test_a_row_alone(width: int, groups: int, channels: int, activation: str | None, name: str) -> None:
    """Rows of outputs that are odd in number leave one to a tile of its own; last units have fewer groups."""
    how = {"padding": 1, "groups": 2 * groups - (groups > 1)}
    x, weight, bias = case(how["groups"], channels, channels, (5, width), (3, 3)).arrays(np.float32)
    x, weight, bias = np.rint(4 * x), np.rint(4 * weight), np.rint(4 * bias)
    for layout in LAYOUTS:
        images = to_layout(x, layout)
        expected = reference.conv2d(images, weight, bias, layout=layout, activation=activation, **how)
        with isa(name):
            found = fastconv.conv2d(
                images, weight, bias, algorithm="grouped", layout=layout, activation=activation, **how
            )
            of = {"input_shape": images.shape, "layout": layout, **how}
            grad = fastconv.conv2d_input_grad(expected.astype(np.float32), weight, algorithm="blocks", **of)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(grad, reference.conv2d_input_grad(expected, weight, **of))
