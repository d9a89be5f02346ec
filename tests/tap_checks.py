"""Checks of convolutions that go tap by tap, by an algorithm.  Used by test_taps.py and test_dot_taps.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from conv_case import Case
from support import amid_nan, assert_within, from_layout, isa, normal, same_bits, threads, to_layout

import fastconv
from fastconv import reference
from fastconv.plan import ConvPlan


def check_values(case: Case, algorithm: str, name: str, dtype: Any, layout: str) -> ConvPlan:
    """Compare calls and plans with the reference; scratch has held NaN, and x and weights lie amid it."""
    case = replace(case, activation=("leaky_relu", 0.25))
    x, weight, bias = case.arrays(dtype)
    image, how = amid_nan(to_layout(x, layout)), _options(case, algorithm, layout)
    with isa(name):
        fastconv.conv2d(np.full_like(image, np.nan), weight, bias, **how)
        y = fastconv.conv2d(image, amid_nan(weight), bias, **how)
        plan = fastconv.plan_conv2d(image.shape, weight, bias, **how)
        assert same_bits(plan(image), y)
    assert_within(from_layout(y, layout), case.expected(dtype), case.bound(dtype, False))
    return plan


def check_views(case: Case, algorithm: str, name: str, layout: str) -> None:
    """The same bits however x and y lie."""
    x, weight, bias = case.arrays(np.float32)
    image, how = to_layout(x, layout), _options(case, algorithm, layout)
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


def check_threads(case: Case, algorithm: str, layout: str) -> None:
    case = replace(case, batch=9)
    x, weight, bias = case.arrays(np.float32)
    image, how = to_layout(x, layout), _options(case, algorithm, layout)
    found = []
    for count in (1, 2, 3, 5):
        with threads(count):
            found.append(fastconv.conv2d(image, weight, bias, **how))
    assert all(same_bits(found[0], other) for other in found[1:])


def check_depths(algorithm: str, name: str, layout: str, value: float) -> None:
    """Planes that are padding, weights that are not finite, whose products with it are no numbers."""
    x, weight = normal((2, 34, 3, 5, 9), np.float32), normal((2, 17, 2, 3, 3), np.float32, 1)
    weight[0, 3, 1, 2, 0] = weight[1, 16, 0, 0, 2] = value
    how: dict[str, Any] = {"stride": (2, 1, 2), "padding": (1, 2, 1), "dilation": (2, 1, 1), "groups": 2}
    image = x if layout == "NCDHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    with isa(name), np.errstate(invalid="ignore"):
        y = fastconv.conv3d(image, weight, layout=layout, algorithm=algorithm, **how)
        expected = reference.conv3d(x, weight, **how)
        limit = reference.conv3d(abs(x), abs(weight), **how) * (17 * 18 + 2) * np.finfo(np.float32).eps
    y = y if layout == "NCDHW" else np.moveaxis(y, -1, 1)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
    finite = np.isfinite(expected)
    assert_within(y[finite], expected[finite], limit[finite])


def check_what_is_not_finite(case: Case, algorithm: str, layout: str, value: float) -> None:
    """A pixel reaches the outputs that see it; a weight those that it is multiplied for, with padding too."""
    x, weight, bias = case.arrays(np.float32)
    how = _options(case, algorithm, layout)
    pixel, tap, last = x.copy(), weight.copy(), weight.copy()
    pixel.flat[x.size // 3] = value
    tap.flat[weight.size // 2 + 1] = last.flat[-1] = value
    with np.errstate(invalid="ignore"):
        for a, w in ((pixel, weight), (x, tap), (x, last)):
            image = to_layout(a, layout)
            plan = fastconv.plan_conv2d(image.shape, w, bias, **how)
            expected = reference.conv2d(a, w, bias, **case.options)
            for y in (fastconv.conv2d(image, w, bias, **how), plan(image)):
                found = from_layout(y, layout)
                np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
                np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))


def _options(case: Case, algorithm: str, layout: str) -> dict[str, Any]:
    return {**case.options, "layout": layout, "algorithm": algorithm}
