"""Ways to compute a gradient: tasks of rows and of groups, every width of planes, views, padding left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grad_cases import Data, both_dtypes, every_isa
from support import Poisoned, amid_nan, isa, normal, same_bits, to_layout

import fastconv
from fastconv import reference

# Rows of several tasks: of all phases at once, and row by row; kernel, options.
PLANE_ROWS = [
    ((3, 3), {"stride": 2, "padding": 1}),
    ((3, 3), {"stride": 3, "padding": (1, 0)}),
    ((4, 6), {"stride": (3, 2), "padding": (3, 1)}),
    ((5, 3), {"stride": (1, 4), "padding": (4, 2)}),
]


@pytest.mark.parametrize(("kernel", "options"), PLANE_ROWS)
@both_dtypes
@every_isa
def test_input_grad_by_planes_in_tasks_of_rows(kernel: Any, options: Any, dtype: Any, name: str) -> None:
    """Planes larger than a task, of whole numbers, so that sums are exact."""
    data = Data((3, 3, (810, 65), kernel, {"groups": 3, **options}), dtype, batch=1)
    data.weight, data.grad = np.rint(2 * data.weight), np.rint(2 * data.grad)
    expected = reference.conv2d_input_grad(data.grad, data.weight, input_shape=data.x.shape, **data.options)
    with isa(name):
        np.testing.assert_array_equal(data.input_grad(algorithm="planes"), expected)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (1, 5), (2, 15), (13, 8)])
@pytest.mark.parametrize("stride", [2, 3, 4])
@every_isa
def test_input_grad_by_planes_of_any_width(stride: int, kernel: Any, name: str) -> None:
    """Where the last outputs are among lanes: one less than a vector, as many, one more, for each edge."""
    several = stride * 48  # columns of three vectors of 16 for each phase
    for width in (*range(max(kernel[1], 7), 40), *range(several - 3, several + 2 * stride + 18, stride - 1)):
        half = kernel[1] // 2
        for padding in (0, (kernel[0] // 2, half), (0, kernel[1] - 1), ((0, 0), (max(half - 1, 0), 0))):
            options = {"groups": 2, "stride": stride, "padding": padding}
            data = Data((2, 2, (kernel[0] + 5, width), kernel, options), np.float32, batch=1)
            data.weight, data.grad = np.rint(2 * data.weight), np.rint(2 * data.grad)
            expected = reference.conv2d_input_grad(
                data.grad, data.weight, input_shape=data.x.shape, **data.options
            )
            with isa(name):
                np.testing.assert_array_equal(data.input_grad(algorithm="planes"), expected)


@every_isa
@pytest.mark.parametrize(
    ("method", "layout"),
    [("blocks", "NCHW"), ("blocks", "NHWC"), ("lanes", "NCHW"), ("lanes", "NHWC"), ("planes", "NCHW")],
)
def test_strides_do_not_change_a_bit_of_an_input_grad(method: str, layout: str, name: str) -> None:
    """Small images, several at a time; the rows of one do not follow each other."""
    options = {"stride": 3 if method == "blocks" else 2, "padding": 2}
    channels, outputs, groups = (80, 20, 5) if method == "blocks" else (20, 20, 20)
    case = channels, outputs, (7, 9), (5, 4), {**options, "groups": groups}
    data = Data(case, np.float32, layout, batch=19)
    with isa(name):
        expected = data.input_grad(algorithm=method)
        for memory in ("rows", *["steps", "reversed"] * (method != "planes")):  # planes needs adjacent pixels
            poisoned = Poisoned(data.x.shape, np.float32, memory)
            grad = data.grad
            data.grad = amid_nan(grad, memory if memory != "reversed" else "rows")
            data.input_grad(algorithm=method, out=poisoned.out)
            data.grad = grad
            poisoned.check()
            assert same_bits(np.ascontiguousarray(poisoned.out), expected), memory


@pytest.mark.parametrize(
    "case",
    [
        (64, 9, (191, 41), (3, 3), {"padding": 1, "stride": 2}),
        (40, 32, (70, 67), (3, 4), {"padding": 1, "stride": (1, 3), "groups": 8}),
        (64, 32, (70, 67), (2, 3), {"stride": (3, 2), "groups": 8}),
        (32, 64, (34, 40), (3, 3), {"padding": 1, "stride": (1, 3), "groups": 4}),
    ],
    ids=["one group", "groups", "groups, rows left out", "groups, prepared"],
)
@both_dtypes
@every_isa
def test_input_grad_by_rows_in_several_tasks(case: Any, dtype: Any, name: str) -> None:
    """Some rows, or groups, of an image each, whether their filters are prepared together or not."""
    data = Data(case, dtype)
    data.weight, data.grad = np.rint(2 * data.weight), np.rint(2 * data.grad)
    expected = reference.conv2d_input_grad(data.grad, data.weight, input_shape=data.x.shape, **data.options)
    fastconv.set_exact(True)
    with isa(name):
        np.testing.assert_array_equal(data.input_grad(algorithm="rows"), expected)


@every_isa
@pytest.mark.parametrize("where", ["x", "corner of grad_output", "middle of grad_output"])
@pytest.mark.parametrize(
    ("method", "layout"), [("pixels", "NHWC"), ("planes", "NCHW"), ("direct", "NHWC"), ("direct", "NCHW")]
)
@np.errstate(invalid="ignore")
def test_what_is_not_finite_where_padding_is_left_out(
    method: str, layout: str, where: str, name: str
) -> None:
    """Infinity times padding is no number, though no product with padding is made otherwise."""
    groups = 1 if method == "direct" else 20
    x, grad = normal((2, 20, 6, 9), np.float32, 1), normal((2, 20, 6, 9), np.float32)
    if where == "x":
        x[1, 7, 3, 4] = np.inf
    else:
        row = 0 if where.startswith("corner") else 4
        grad[1, 7, row, row] = np.inf
    x, grad = to_layout(x, layout), to_layout(grad, layout)
    shape = (20, 20 // groups, 3, 3)
    how: dict[str, Any] = {"weight_shape": shape, "padding": 1, "groups": groups, "layout": layout}
    expected = reference.conv2d_weight_grad(grad, x, **how)
    with isa(name):
        found = fastconv.conv2d_weight_grad(grad, x, algorithm=method, **how)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    assert np.isfinite(found).any()
    assert not np.isfinite(found).all()
