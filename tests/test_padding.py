"""Padding of other kinds than zeros around large images: borders from strips, the rest in place.

Small images, copied with their padding, are in test_conv.py; a copy takes 1 MiB at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import (
    LAYOUTS,
    Poisoned,
    amid_nan,
    assert_conv2d,
    assert_within,
    normal,
    same_bits,
    threads,
    to_layout,
)

import fastconv
from fastconv import _core, reference

MODES = ("constant", "replicate", "reflect", "symmetric", "circular")
# Shapes of x and weight, and options.  Every x has more than 1 MiB an image.
LARGE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((1, 6, 210, 230), (5, 6, 3, 3), {"padding": 1}),
    "no core along the width": ((1, 90, 3001, 2), (3, 90, 3, 3), {"padding": ((0, 2), (1, 1))}),
    "lopsided": ((2, 3, 330, 300), (4, 3, 4, 5), {"padding": ((7, 0), (0, 9))}),
    "stride steps over the core's first rows": (
        (1, 4, 300, 260),
        (3, 4, 5, 3),
        {"padding": ((4, 6), (5, 2)), "stride": (3, 4)},
    ),
    "dilation": ((1, 5, 240, 260), (3, 5, 3, 3), {"padding": 12, "dilation": (12, 7)}),
    "depthwise": ((1, 6, 220, 230), (12, 1, 5, 5), {"padding": 2, "groups": 6}),
    "groups": ((2, 8, 190, 200), (6, 4, 3, 3), {"padding": (3, 1), "groups": 2, "stride": 2}),
    "a border strip of several copies": ((1, 33, 9, 3000), (2, 33, 5, 3), {"padding": (3, 8)}),
    "one row": ((1, 4, 1, 80000), (3, 4, 1, 5), {"padding": (0, 3)}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", LARGE)
def test_large_images(case: str, mode: str, layout: str) -> None:
    """As the reference, writing nothing but the output, the same bits on one thread and three."""
    x_shape, weight_shape, options = LARGE[case]
    x = amid_nan(to_layout(normal(x_shape), layout))
    weight, bias = normal(weight_shape, seed=1), normal(weight_shape[:1], seed=2)
    options = options | {"padding_mode": mode, "layout": layout, "activation": "relu"}
    options |= {"padding_value": 0.7} if mode == "constant" else {}
    expected = fastconv.conv2d(x, weight, bias, **options)
    assert_conv2d(expected, x, weight, bias, **options)
    target = Poisoned(expected.shape, x.dtype, "rows")
    with threads(3):
        fastconv.conv2d(x, weight, bias, out=target.out, **options)
    target.check()
    assert same_bits(np.ascontiguousarray(target.out), expected)
    plan = fastconv.plan_conv2d(x.shape, weight, bias, **options)
    assert_conv2d(plan(x), x, weight, bias, **options)


@pytest.mark.parametrize("algorithm", _core.algorithms())
def test_algorithms(algorithm: str) -> None:
    """A named algorithm computes the core and whatever borders it can."""
    groups = 4 if algorithm in ("depthwise", "grouped") else 1
    x, weight = normal((1, 4, 270, 300), np.float64), normal((4, 4 // groups, 3, 3), np.float64, seed=1)
    options: dict[str, Any] = {"padding": (5, 2), "padding_mode": "reflect", "groups": groups}
    y = fastconv.conv2d(x, weight, algorithm=algorithm, **options)
    assert_conv2d(y, x, weight, algorithm=algorithm, **options)
    assert fastconv.plan_conv2d(x.shape, weight, algorithm=algorithm, **options).algorithm == algorithm


@pytest.mark.parametrize("mode", MODES)
def test_one_and_three_axes(mode: str) -> None:
    """The same for signals and volumes."""
    value = {"padding_value": -1.5} if mode == "constant" else {}
    for function, define, x_shape, weight_shape, padding in (
        (fastconv.conv1d, reference.conv1d, (2, 3, 100_000), (4, 3, 7), 5),
        (fastconv.conv3d, reference.conv3d, (1, 4, 22, 60, 62), (3, 4, 3, 2, 3), (2, 1, 3)),
    ):
        x, weight = normal(x_shape), normal(weight_shape, seed=1)
        y = function(x, weight, padding=padding, padding_mode=mode, **value)
        expected = define(x, weight, padding=padding, padding_mode=mode, **value)
        depth = int(np.prod(weight_shape[1:]))
        bound = (
            depth
            * np.finfo(np.float32).eps
            * define(
                np.abs(x),
                np.abs(weight),
                padding=padding,
                padding_mode=mode,
                **{k: abs(v) for k, v in value.items()},
            )
        )
        assert_within(y, expected, bound)


def test_memory_does_not_grow_with_the_image() -> None:
    """Beside the output, a call holds no more for sixteen times the pixels."""
    weight = normal((1, 1, 5, 5))
    held = []
    for side in (1000, 4000):
        x = np.zeros((1, 1, side, side), np.float32)
        fastconv.clear_scratch()
        fastconv.conv2d(x, weight, padding="same", padding_mode="symmetric")
        held.append(_core.scratch_held())
    assert held[1] <= 4 * held[0]
    assert max(held) < 4 << 20
