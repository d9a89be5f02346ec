"""Dense weight gradients that leave out products with padding, tap by tap, against the reference.

Shapes on and around what decides that: 12 input channels of a part, 2% of padding; blocks of 600 pixels of
which some taps meet none; several images, parts and panels, every axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grad_cases import Data, both_dtypes, both_layouts, every_isa
from support import amid_nan, isa, normal, same_bits, threads, to_layout

import fastconv
from fastconv import reference

# batch, channels, outputs, size, kernel, options
CASES: dict[str, tuple[int, int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    "11 channels, one too few": (2, 11, 5, (6, 7), (3, 3), {"padding": 1}),
    "12 channels": (2, 12, 5, (6, 7), (3, 3), {"padding": 1}),
    "13 channels, 49 outputs": (2, 13, 49, (6, 7), (3, 3), {"padding": 1}),
    "several images a block": (5, 16, 33, (8, 8), (3, 3), {"padding": 1}),
    "1x7": (3, 20, 17, (17, 17), (1, 7), {"padding": (0, 3)}),
    "7x1": (3, 20, 17, (17, 17), (7, 1), {"padding": (3, 0)}),
    "4x4 stride 2": (2, 16, 32, (8, 8), (4, 4), {"padding": 1, "stride": 2}),
    "strides 3 and 2": (2, 14, 16, (13, 12), (5, 4), {"padding": 2, "stride": (3, 2)}),
    "taps that miss all pixels of a block": (
        1,
        12,
        8,
        (61, 40),
        (3, 3),
        {"padding": (20, 1), "dilation": (20, 1)},
    ),
    "taps that miss columns of a block": (
        1,
        12,
        8,
        (3, 1300),
        (1, 3),
        {"padding": (0, 500), "dilation": 500},
    ),
    "one pixel": (20, 12, 9, (1, 1), (3, 3), {"padding": 1}),
    "padding of four widths": (2, 15, 9, (7, 9), (4, 3), {"padding": ((0, 3), (2, 1))}),
    "two parts of channels": (2, 260, 16, (7, 7), (5, 5), {"padding": 2}),
    "two parts of outputs": (2, 16, 300, (7, 7), (3, 3), {"padding": 1}),
    "2 groups": (2, 32, 40, (7, 7), (3, 3), {"padding": 1, "groups": 2}),
    "8 groups that share vectors": (2, 40, 32, (7, 7), (3, 3), {"padding": 1, "groups": 8}),
    "roles exchanged": (2, 80, 12, (7, 7), (3, 3), {"padding": 1}),
    "more blocks than a chain": (40, 12, 8, (14, 15), (3, 3), {"padding": 1}),
}


def data_of(case: str, dtype: Any, layout: str) -> Data:
    batch, channels, outputs, size, kernel, options = CASES[case]
    return Data((channels, outputs, size, kernel, options), dtype, layout, batch)


@pytest.mark.parametrize("case", CASES)
@both_dtypes
@both_layouts
@every_isa
def test_against_the_reference(case: str, dtype: Any, layout: str, name: str) -> None:
    data = data_of(case, dtype, layout)
    with isa(name):
        data.check_weight_grad(data.weight_grad(algorithm="direct"))


@pytest.mark.parametrize("case", CASES)
@both_layouts
def test_every_product(case: str, layout: str) -> None:
    """Of whole numbers, so that sums are exact; memory around the arrays is no number."""
    data = data_of(case, np.float32, layout)
    data.x, data.grad = np.rint(2 * data.x), np.rint(2 * data.grad)
    expected = reference.conv2d_weight_grad(data.grad, data.x, weight_shape=data.weight.shape, **data.options)
    data.x, data.grad = amid_nan(data.x), amid_nan(data.grad)
    found = []
    for count in (1, 2, 3, 5):
        with threads(count):
            found.append(data.weight_grad(algorithm="direct"))
    np.testing.assert_array_equal(found[0], expected)
    assert all(same_bits(found[0], other) for other in found[1:])


@pytest.mark.parametrize("depth", [1, 2, 5])
@both_layouts
def test_depth(depth: int, layout: str) -> None:
    """Whole planes that a tap does not meet."""
    x = np.rint(2 * normal((2, 13, depth, 5, 6), np.float64))
    grad = np.rint(2 * normal((2, 7, depth, 5, 6), np.float64, 1))
    how: dict[str, Any] = {"weight_shape": (7, 13, 3, 3, 3), "padding": 1, "layout": "NCDHW"}
    if layout == "NHWC":
        how["layout"] = "NDHWC"
        x, grad = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, grad))
    found = fastconv.conv3d_weight_grad(grad, x, algorithm="direct", **how)
    np.testing.assert_array_equal(found, reference.conv3d_weight_grad(grad, x, **how))


@both_layouts
def test_outputs_that_a_stride_takes_far_apart(layout: str) -> None:
    """A band under all of them would be half a billion rows of zeros."""
    stride = 2**27
    x = to_layout(np.rint(2 * normal((2, 8, 1, 5), np.float32)), layout)
    grad = to_layout(np.rint(2 * normal((2, 12, 5, 5), np.float32, 1)), layout)
    middle = grad[:, 2:3] if layout == "NHWC" else grad[:, :, 2:3]
    how: dict[str, Any] = {"weight_shape": (12, 8, 1, 1), "layout": layout, "algorithm": "direct"}
    found = fastconv.conv2d_weight_grad(
        grad, x, stride=(stride, 1), padding=((2 * stride, 2 * stride), (0, 0)), **how
    )
    np.testing.assert_array_equal(found, fastconv.conv2d_weight_grad(middle, x, **how))
