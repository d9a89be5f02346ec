"""Gradients of convolution to test: shapes on and around the tiles, data, and how far a result may be off.

Imported by test_grad.py and test_grad_methods.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import DTYPES, ISAS, LAYOUTS, assert_within, normal, threads, to_layout

import fastconv
from fastconv import reference

both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
both_layouts = pytest.mark.parametrize("layout", LAYOUTS)
every_isa = pytest.mark.parametrize("name", ISAS)
METHODS = ("auto", "direct", "rows")
INPUT_METHODS = ("auto", "direct")
TAPS_PIXELS = 8192  # of an image, at most

# channels, outputs, size, kernel, options: shapes on and around the tiles, and every option.
CASES: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    "1x1": (7, 9, (5, 6), (1, 1), {}),
    "1x1, 49 pixels, 25 to 33": (25, 33, (7, 7), (1, 1), {}),
    "1x1, a tile of 9 and a panel of 48": (48, 9, (6, 8), (1, 1), {}),
    "1x1, one more of each": (49, 10, (3, 17), (1, 1), {}),
    "1x1, copied rows and lanes": (131, 150, (6, 7), (1, 1), {}),
    "1x1, several parts and blocks": (530, 390, (9, 13), (1, 1), {}),
    "1x1, more pixels than a chain": (3, 5, (150, 160), (1, 1), {}),
    "1x1, more pixels than a chain, exchanged": (5, 3, (150, 160), (1, 1), {}),
    "1x1 of one pixel": (20, 33, (1, 1), (1, 1), {}),
    "1x1 of one pixel, several panels": (150, 40, (1, 1), (1, 1), {}),
    "1x1, few pixels, more outputs than a panel is deep": (20, 1030, (3, 3), (1, 1), {}),
    "1x1, 4 pixels": (33, 40, (1, 2), (1, 1), {}),
    "1x1, 6 pixels": (33, 40, (1, 3), (1, 1), {}),
    "1x1, 18 pixels of many weights": (513, 520, (3, 3), (1, 1), {}),
    "1x1, 20 pixels of many weights": (520, 513, (1, 10), (1, 1), {}),
    "1x1, an image turned round in parts": (600, 300, (15, 16), (1, 1), {}),
    "1x1 stride 2": (6, 10, (15, 18), (1, 1), {"stride": 2}),
    "1x1 stride 3 by 2, padded": (6, 10, (8, 7), (1, 1), {"stride": (3, 2), "padding": (1, 2)}),
    "3x3": (5, 8, (9, 17), (3, 3), {"padding": 1}),
    "3x3 valid, 17 to 24": (17, 24, (8, 11), (3, 3), {}),
    "3x3, 48 to 40, Winograd": (48, 40, (15, 14), (3, 3), {"padding": 1}),
    "3x3 stride 2": (8, 12, (17, 33), (3, 3), {"stride": 2, "padding": 1}),
    "3x3 stride 2, even size": (8, 12, (16, 34), (3, 3), {"stride": 2, "padding": 1}),
    "3x3 stride (2, 1)": (4, 6, (13, 21), (3, 3), {"stride": (2, 1), "padding": 1}),
    "3x3 stride (1, 3)": (4, 6, (13, 21), (3, 3), {"stride": (1, 3), "padding": 1}),
    "3x3 stride 4": (4, 6, (13, 22), (3, 3), {"stride": 4, "padding": 1}),
    "3x3 stride 5, beyond the kernel": (4, 6, (13, 24), (3, 3), {"stride": 5}),
    # Rows, whose price is lowered for groups of few channels, beside blocks.
    "16 groups of 1 to 16, 5x5 stride (1, 4)": (
        16,
        256,
        (54, 16),
        (5, 5),
        {"stride": (1, 4), "padding": 2, "groups": 16},
    ),
    "32 groups of 8 to 32, 1x5 stride (1, 2)": (
        256,
        1024,
        (16, 10),
        (1, 5),
        {"stride": (1, 2), "padding": ((0, 2), (0, 1)), "groups": 32},
    ),
    "stride larger than the image": (4, 6, (5, 6), (3, 3), {"stride": 7, "padding": 1}),
    "stride 2**62": (3, 9, (4, 9), (2, 2), {"stride": 2**62}),
    "7x7 stride 2, first layer": (3, 16, (29, 32), (7, 7), {"stride": 2, "padding": 3}),
    "patches of 4x4": (3, 20, (12, 28), (4, 4), {"stride": 4}),
    "patches of 2x3, more pixels than a panel": (1, 17, (22, 60), (2, 3), {"stride": (2, 3)}),
    "patches of 16x16": (3, 33, (48, 32), (16, 16), {"stride": 16}),
    "patches of 1x2": (2, 5, (5, 34), (1, 2), {"stride": (1, 2)}),
    "patches that leave pixels": (3, 8, (13, 18), (4, 4), {"stride": 4}),
    "11x11 stride 4": (3, 5, (47, 43), (11, 11), {"stride": 4, "padding": 2}),
    "same, stride 2": (5, 8, (14, 15), (3, 3), {"stride": 2, "padding": "same"}),
    "same_lower, stride 3": (5, 8, (14, 15), (4, 2), {"stride": 3, "padding": "same_lower"}),
    "padding of four widths": (4, 5, (6, 9), (3, 3), {"padding": ((0, 2), (3, 1))}),
    "padding beyond the kernel": (3, 8, (6, 7), (3, 3), {"padding": 5}),
    "padding beyond the kernel, stride 2": (3, 8, (6, 7), (3, 3), {"padding": 5, "stride": 2}),
    "dilation 2": (6, 7, (14, 20), (3, 3), {"padding": 2, "dilation": 2}),
    "dilation (3, 2), stride 2": (6, 7, (14, 20), (3, 3), {"padding": 2, "dilation": (3, 2), "stride": 2}),
    "dilation 2, stride 2: phases without taps": (4, 5, (13, 16), (3, 3), {"dilation": 2, "stride": 2}),
    "dilation 4, stride 6": (4, 5, (23, 26), (3, 3), {"dilation": 4, "stride": 6, "padding": 3}),
    "dilation that only touches padding": (5, 9, (5, 5), (3, 3), {"padding": 20, "dilation": 20}),
    "dilation of a 1x1 kernel": (4, 6, (7, 9), (1, 1), {"dilation": 2**62}),
    "windows that miss the end": (4, 6, (10, 11), (3, 3), {"stride": 4}),
    "one pixel": (7, 9, (1, 1), (3, 3), {"padding": 1}),
    "one row": (5, 6, (1, 70), (1, 5), {"padding": (0, 2)}),
    "one column": (5, 6, (70, 1), (5, 1), {"padding": (2, 0)}),
    "2 groups": (6, 10, (9, 12), (3, 3), {"groups": 2, "padding": 1}),
    "4 groups, 1x1": (32, 24, (7, 9), (1, 1), {"groups": 4}),
    "5 groups of 16 to 4 in blocks, stride 3": (
        80,
        20,
        (22, 19),
        (7, 4),
        {"groups": 5, "stride": 3, "padding": 2},
    ),
    "9 groups of 3 to 17 in blocks, stride beyond the kernel": (
        *(27, 153, (9, 17), (1, 3)),
        {"groups": 9, "stride": (2, 4), "padding": 1},
    ),
    "17 groups of 17 to 2 in blocks, dilation 2 by 3": (
        *(289, 34, (13, 11), (3, 3)),
        {"groups": 17, "stride": 2, "dilation": (2, 3), "padding": 3},
    ),
    "8 groups of 4, stride 2": (32, 32, (13, 18), (3, 3), {"groups": 8, "stride": 2, "padding": 1}),
    "3 groups of 5 to 1": (15, 3, (6, 8), (2, 3), {"groups": 3}),
    "depthwise": (9, 9, (13, 17), (3, 3), {"groups": 9, "padding": 1}),
    "depthwise, 33 channels of 7x7": (33, 33, (7, 7), (3, 3), {"groups": 33, "padding": 1}),
    "depthwise stride 2": (8, 8, (14, 33), (3, 3), {"groups": 8, "stride": 2, "padding": 1}),
    "depthwise stride 2, rows in pairs": (9, 9, (14, 14), (3, 3), {"groups": 9, "stride": 2, "padding": 1}),
    "depthwise stride 2, an odd plane": (9, 9, (15, 7), (3, 3), {"groups": 9, "stride": 2, "padding": 1}),
    "depthwise stride 2, unpadded": (5, 5, (9, 35), (3, 3), {"groups": 5, "stride": 2}),
    "depthwise 5x5 stride 2": (9, 9, (14, 14), (5, 5), {"groups": 9, "stride": 2, "padding": 2}),
    "depthwise 5x5 stride 2, padding of four widths": (
        3,
        3,
        (11, 67),
        (5, 5),
        {"groups": 3, "stride": 2, "padding": ((0, 3), (1, 4))},
    ),
    "depthwise stride 2, blocks of rows": (2, 2, (130, 70), (3, 3), {"groups": 2, "stride": 2, "padding": 1}),
    "depthwise 5x5": (17, 17, (12, 15), (5, 5), {"groups": 17, "padding": 2}),
    "depthwise 7x7, dilation 2": (5, 5, (19, 24), (7, 7), {"groups": 5, "dilation": 2, "padding": 6}),
    "depthwise, two columns of blocks": (3, 3, (3, 520), (3, 3), {"groups": 3, "padding": 1}),
    "depthwise, several blocks of rows": (18, 18, (37, 40), (3, 3), {"groups": 18, "padding": (2, 0)}),
    "depthwise, two parts of strips": (257, 257, (5, 6), (3, 3), {"groups": 257, "padding": 1}),
    "20 groups of 3: five to a vector": (60, 60, (9, 10), (3, 3), {"groups": 20, "padding": 1}),
    "5 groups of 16: one to a vector": (80, 80, (6, 7), (3, 3), {"groups": 5, "padding": 1, "stride": 2}),
    "3 groups of 17: a vector and one more": (51, 51, (6, 7), (3, 3), {"groups": 3, "padding": 1}),
    "3 groups of 40 to 20": (120, 60, (5, 4), (3, 3), {"groups": 3, "padding": 1}),
    "9 groups of 2 to 6": (18, 54, (8, 9), (3, 3), {"groups": 9, "padding": ((0, 2), (1, 0))}),
    "depthwise, a strip and a lane, many rows": (17, 17, (40, 30), (3, 2), {"groups": 17, "padding": 1}),
    "depthwise, two blocks of columns, a row each": (16, 16, (3, 259), (2, 3), {"groups": 16, "padding": 1}),
    "depthwise 7x7 stride 3": (20, 20, (16, 13), (7, 7), {"groups": 20, "stride": 3, "padding": 3}),
    "depthwise, rows of a vector of 16": (17, 17, (3, 16), (3, 3), {"groups": 17, "padding": 1}),
    "depthwise, rows of a vector and one more": (16, 16, (3, 17), (3, 3), {"groups": 16, "padding": 1}),
    "depthwise, outputs without pixels": (8, 8, (1, 9), (2, 3), {"groups": 8, "dilation": 3, "padding": 2}),
    "depthwise planes, stride 3, five vectors of a phase": (
        3,
        3,
        (10, 3 * 65 + 2),
        (3, 3),
        {"groups": 3, "stride": 3, "padding": 1},
    ),
    "depthwise planes, stride 4, large kernel in two strips": (
        2,
        2,
        (11, 4 * 256 + 5),
        (13, 21),
        {"groups": 2, "stride": 4, "padding": ((6, 3), (2, 9))},
    ),
    "depthwise planes, strides 3 and 2": (
        5,
        5,
        (14, 37),
        (4, 6),
        {"groups": 5, "stride": (3, 2), "padding": (3, 1)},
    ),
    "depthwise planes, 2x2 stride 2, rows of one more": (6, 6, (15, 17), (2, 2), {"groups": 6, "stride": 2}),
    "depthwise planes, 4x4 stride 4, four rows of one more a vector": (
        6,
        6,
        (19, 15),
        (4, 4),
        {"groups": 6, "stride": 4, "padding": (1, 2)},
    ),
    "depthwise planes, 4x4 stride 2, tall": (4, 4, (70, 5), (4, 4), {"groups": 4, "stride": 2, "padding": 1}),
    "depthwise planes, padding beyond the kernel": (
        4,
        4,
        (9, 34),
        (3, 3),
        {"groups": 4, "stride": 2, "padding": ((5, 4), (7, 40))},
    ),
    "depthwise lanes, stride 3": (20, 20, (13, 14), (5, 4), {"groups": 20, "stride": 3, "padding": (2, 1)}),
    "depthwise lanes, stride beyond the kernel": (17, 17, (9, 11), (2, 1), {"groups": 17, "stride": 4}),
    "depthwise lanes, stride 2**62": (17, 17, (9, 11), (3, 2), {"groups": 17, "stride": 2**62}),
    "depthwise lanes, stride 9 of 5": (17, 17, (5, 7), (3, 2), {"groups": 17, "stride": 9, "padding": 6}),
    "depthwise lanes, strides 4 and 2": (
        16,
        16,
        (11, 7),
        (3, 7),
        {"groups": 16, "stride": (4, 2), "padding": 3},
    ),
    "depthwise lanes, dilation 2, stride 4": (
        24,
        24,
        (14, 9),
        (3, 4),
        {"groups": 24, "stride": 4, "dilation": (2, 3), "padding": ((0, 2), (4, 1))},
    ),
    "depthwise lanes, taps of a phase apart": (
        16,
        16,
        (14, 17),
        (4, 5),
        {"groups": 16, "stride": (3, 2), "dilation": (2, 3), "padding": (3, 5)},
    ),
    "depthwise lanes, 4x4": (33, 33, (4, 4), (5, 3), {"groups": 33, "padding": (2, 1)}),
    "depthwise lanes, one row": (16, 16, (1, 67), (1, 9), {"groups": 16, "stride": 3, "padding": (0, 4)}),
    "depthwise lanes, 9x7 stride 2": (
        18,
        18,
        (17, 21),
        (9, 7),
        {"groups": 18, "stride": 2, "padding": (4, 3)},
    ),
    "depthwise lanes, 15x15 stride 2": (
        16,
        16,
        (19, 16),
        (15, 15),
        {"groups": 16, "stride": 2, "padding": 7},
    ),
    "depthwise lanes, blocks of rows": (16, 16, (80, 70), (4, 4), {"groups": 16, "stride": 3, "padding": 1}),
    "depthwise times 3": (7, 21, (9, 10), (3, 3), {"groups": 7, "padding": 1}),
    "depthwise times 2, stride (3, 2)": (
        9,
        18,
        (11, 16),
        (3, 2),
        {"groups": 9, "stride": (3, 2), "padding": 1},
    ),
    "depthwise, one column amid padding": (
        3,
        6,
        (9, 1),
        (5, 1),
        {"groups": 3, "stride": (1, 3), "padding": ((4, 0), (3, 0)), "dilation": 2},
    ),
    "depthwise, one row amid padding": (
        4,
        4,
        (1, 11),
        (1, 2),
        {"groups": 4, "stride": (2, 1), "padding": ((3, 4), (1, 0))},
    ),
    "5 groups of 3 to 5: the last of fewer groups": (15, 25, (7, 9), (3, 3), {"groups": 5, "padding": 1}),
    "roles exchanged, 33 to 2": (33, 2, (9, 12), (3, 3), {"padding": (1, 2)}),
    "roles exchanged, 3 groups of 17 to 3": (51, 9, (8, 9), (2, 3), {"groups": 3, "dilation": (1, 2)}),
    "roles exchanged, 5 groups of 5 to 1": (25, 5, (8, 9), (3, 2), {"groups": 5, "padding": 1}),
    "roles exchanged, columns left out": (20, 3, (13, 17), (5, 1), {"stride": (1, 3), "padding": (2, 0)}),
    "roles exchanged, two parts": (64, 24, (4, 4), (7, 7), {"padding": 3}),
    "taps: 4 pixels of 3 panels": (145, 20, (2, 2), (3, 3), {"padding": 1}),
    "taps: rows of 14 and 15 to a vector": (16, 20, (5, 15), (2, 2), {"padding": (0, 1)}),
    "taps: kernels of 1 to 4 wide": (19, 7, (6, 9), (1, 4), {"padding": (0, 2), "stride": (1, 2)}),
    "taps: 2 groups of 17, 1x3": (34, 10, (6, 9), (1, 3), {"groups": 2, "padding": (0, 1)}),
    "taps: 1x2 of 33 channels": (33, 6, (5, 8), (1, 2), {}),
    "taps that meet nothing": (18, 6, (1, 9), (5, 3), {"padding": (2, 1)}),
    "rows left out": (6, 24, (13, 9), (1, 5), {"stride": 3}),
    "rows left out, few channels by phases": (4, 32, (30, 17), (3, 3), {"stride": (4, 1)}),
    "columns left out": (6, 24, (9, 14), (5, 1), {"stride": 4, "padding": (2, 0)}),
    "256 to 64: pixels that share cache sets": (256, 64, (4, 5), (3, 3), {"padding": 1}),
    "an output that sees padding only": (3, 6, (3, 2), (1, 1), {"stride": 5, "padding": ((1, 0), (0, 0))}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def bound(kind: str, grad: np.ndarray, other: np.ndarray, shape: Any, dtype: Any, options: Any) -> np.ndarray:
    """How far a gradient may be off, Winograd aside: (terms + 2) * eps * sum of |product|."""
    if kind == "input":
        terms = other.shape[0] * np.prod(other.shape[2:])
        largest = reference.conv2d_input_grad(abs(grad), abs(other), input_shape=shape, **options)
    else:
        terms = grad.size
        largest = reference.conv2d_weight_grad(abs(grad), abs(other), weight_shape=shape, **options)
    return (terms + 2) * np.finfo(dtype).eps * largest


class Data:
    """Arrays of a case, and what the reference makes of them."""

    def __init__(self, case: Any, dtype: Any, layout: str = "NCHW", batch: int = 2) -> None:
        channels, outputs, size, kernel, options = case
        self.dtype, self.options = dtype, {**options, "layout": layout}
        self.x = to_layout(normal((batch, channels, *size), dtype, 1), layout)
        self.weight = normal((outputs, channels // options.get("groups", 1), *kernel), dtype, 2)
        self.grad = normal(reference.conv2d(self.x, self.weight, **self.options).shape, dtype, 3)

    def input_grad(self, **more: Any) -> np.ndarray:
        return fastconv.conv2d_input_grad(
            self.grad, self.weight, input_shape=self.x.shape, **self.options, **more
        )

    def weight_grad(self, **more: Any) -> np.ndarray:
        return fastconv.conv2d_weight_grad(
            self.grad, self.x, weight_shape=self.weight.shape, **self.options, **more
        )

    def leave_nan_behind(self, **more: Any) -> None:
        """Fill scratch memory with NaN, so that whoever reads what it has not written shows it."""
        clean = self.x, self.weight, self.grad
        self.x, self.weight, self.grad = (np.full_like(a, np.nan) for a in clean)
        self.weight_grad(**more)
        self.input_grad()
        self.x, self.weight, self.grad = clean

    def check_input_grad(self, grad: np.ndarray) -> None:
        shape = self.x.shape
        expected = reference.conv2d_input_grad(self.grad, self.weight, input_shape=shape, **self.options)
        assert grad.dtype == self.dtype
        assert_within(grad, expected, bound("input", self.grad, self.weight, shape, self.dtype, self.options))

    def check_weight_grad(self, grad: np.ndarray) -> None:
        shape = self.weight.shape
        expected = reference.conv2d_weight_grad(self.grad, self.x, weight_shape=shape, **self.options)
        assert grad.dtype == self.dtype
        assert_within(grad, expected, bound("weight", self.grad, self.x, shape, self.dtype, self.options))

    def whole_numbers(self) -> np.ndarray:
        """Make the arrays whole numbers, whose sums are exact so that a wrong product shows, and return the
        weight gradient."""
        self.x, self.grad = np.rint(2 * self.x), np.rint(2 * self.grad)
        shape = self.weight.shape
        return reference.conv2d_weight_grad(self.grad, self.x, weight_shape=shape, **self.options)

    def check_what_is_not_finite(self, at: tuple[int, ...], **more: Any) -> None:
        """It reaches the weights that it reaches by definition, and no others."""
        for array, value in ((self.grad, np.inf), (self.x, np.nan)):
            kept = array[at]
            array[at] = value
            with np.errstate(invalid="ignore"):
                expected = reference.conv2d_weight_grad(
                    self.grad, self.x, weight_shape=self.weight.shape, **self.options
                )
            np.testing.assert_array_equal(np.isfinite(self.weight_grad(**more)), np.isfinite(expected))
            array[at] = kept

    def check_threads(self, **more: Any) -> None:
        """The weight gradient has the same bits for any number of threads."""
        results = []
        for count in (1, 2, 3, 5):
            with threads(count):
                results.append(self.weight_grad(**more).tobytes())
        assert len(set(results)) == 1
