"""The error of every algorithm against exact arithmetic, as explain() and docs/accuracy.md have it.

Run as a program, prints the tables of that page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import fastconv

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
KINDS = ("Gaussian", "positive", "ReLU")
CHANNELS = (3, 16, 64, 128, 256, 512, 1024, 2048)
DENSE = ("direct", "dot", "im2col", "taps", "winograd2", "winograd4")
SPARSE = ("depthwise", "grouped")
OTHER = {
    "5x5": ("winograd2", (5, 5)),
    "3x1": ("winograd4", (3, 1)),
    "1x5": ("winograd4", (1, 5)),
    "1x7": ("winograd4", (1, 7)),
}
"""Winograd's kernels beside 3x3, and which algorithm computes them."""
WIDER = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps


def operands(kind: str, x_shape: Any, weight_shape: Any, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Draw numbers around zero, numbers above zero, or what a layer behind a ReLU sees."""
    rng = np.random.default_rng(5)
    if kind == "positive":
        return rng.random(x_shape).astype(dtype), rng.random(weight_shape).astype(dtype)
    x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    return (np.maximum(x, 0) if kind == "ReLU" else x).astype(dtype), weight.astype(dtype)


def exact(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    """Convolve in the next wider type, padded to the same size."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    outputs, depth, *sides = weight.shape
    image = np.pad(x[0].astype(wide), [(0, 0), *((side // 2, side // 2) for side in sides)])
    windows = sliding_window_view(image, tuple(sides), (1, 2))
    windows = windows.reshape(groups, depth, *x.shape[2:], sides[0] * sides[1])
    columns = np.moveaxis(windows, 1, 3).reshape(groups, x.shape[2] * x.shape[3], -1)
    y = weight.astype(wide).reshape(groups, outputs // groups, -1) @ np.swapaxes(columns, 1, 2)
    return y.reshape(1, outputs, *x.shape[2:])


def measure(
    kind: str, channels: int, algorithms: Any, dtype: Any, groups: int = 1, sides: tuple[int, int] = (3, 3)
) -> dict[str, tuple[float, float]]:
    """Return max|error| / max|y| of each algorithm, and what explain() says of it."""
    shape = (1, channels, 15, 22)
    x, weight = operands(kind, shape, (16 * max(1, groups // 16), channels // groups, *sides), dtype)
    how = {"padding": tuple(side // 2 for side in sides), "groups": groups}
    y = exact(x, weight, groups)
    found = {c["name"]: c for c in fastconv.plan_conv2d(shape, weight, **how).candidates()}
    result = {}
    for name in algorithms:
        error = np.abs(fastconv.conv2d(x, weight, algorithm=name, **how) - y).max() / np.abs(y).max()
        result[name] = (float(error), found[name]["error"])
    return result


def documented(heading: str) -> dict[tuple[str, int], dict[str, float]]:
    """Read the table below a heading of the page: (kind, number) to {algorithm: error}."""
    lines = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    names = rows[0][2:]
    return {(r[0], int(r[1])): dict(zip(names, map(float, r[2:]))) for r in rows[2:] if re.match(r"\d", r[1])}


def agree(measured: dict[str, tuple[float, float]], row: dict[str, float]) -> None:
    """Require what explain() says and, on the instruction set of the page, what the page says."""
    same = fastconv.plan_conv2d((1, 1, 8, 8), np.ones((1, 1, 3, 3))).isa == "avx512"
    for name, (error, said) in measured.items():
        assert not same or error <= 1.25 * row[name], f"{name}: {error:.2e}, documented {row[name]:.2e}"
        assert error <= said, f"{name}: {error:.2e}, explain() says {said:.2e}"


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_dense_float32(kind: str, channels: int) -> None:
    measured = measure(kind, channels, DENSE, np.float32)
    agree(measured, documented("Dense, float32")[kind, channels])
    for name in ("winograd2", "winograd4"):
        assert measured[name][0] < 1e-5


def others(kind: str, channels: int) -> dict[str, tuple[float, float]]:
    """Measure Winograd's other kernels."""
    return {
        f"{name}, {by}": measure(kind, channels, [by], np.float32, sides=sides)[by]
        for name, (by, sides) in OTHER.items()
    }


@pytest.mark.parametrize("channels", CHANNELS[:-1])
@pytest.mark.parametrize("kind", KINDS)
def test_other_kernels_of_winograd(kind: str, channels: int) -> None:
    measured = others(kind, channels)
    agree(measured, documented("Other kernels of Winograd, float32")[kind, channels])
    assert max(error for error, _ in measured.values()) < 1e-5


@pytest.mark.skipif(not WIDER, reason="no type wider than float64 here")
@pytest.mark.parametrize("channels", [3, 64, 512])
@pytest.mark.parametrize("kind", KINDS)
def test_dense_float64(kind: str, channels: int) -> None:
    agree(measure(kind, channels, DENSE, np.float64), documented("Dense, float64")[kind, channels])


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_depthwise_and_grouped(kind: str, side: int) -> None:
    row = documented("Depthwise and grouped, float32")[kind, side]
    agree(measure(kind, 64, ["depthwise"], np.float32, 64, (side, side)), row)
    agree(measure(kind, 64, ["grouped"], np.float32, 16, (side, side)), row)


def test_auto_takes_nothing_above_the_limit_and_exact_takes_no_winograd() -> None:
    """As set_exact() and the page promise."""
    weight = np.zeros((64, 64, 3, 3), np.float32)
    plan = fastconv.plan_conv2d((1, 64, 56, 56), weight, padding=1)
    entry = {c["name"]: c for c in plan.candidates()}[plan.algorithm]
    assert plan.algorithm == "winograd4"
    assert entry["error"] < 1e-5
    assert f"{entry['error']:.1e} of max|y|" in plan.explain()
    fastconv.set_exact(True)
    try:
        assert not fastconv.plan_conv2d((1, 64, 56, 56), weight, padding=1).algorithm.startswith("winograd")
    finally:
        fastconv.set_exact(False)


def table(heading: str, first: str, names: Any, rows: Any) -> None:
    """Print one table of the page."""
    print(f"## {heading}\n\n| data | {first} | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for kind, number, measured in rows:
        print(f"| {kind} | {number} | {' | '.join(f'{measured[name][0]:.1e}' for name in names)} |")
    print()


if __name__ == "__main__":
    f32, f64 = np.float32, np.float64
    for heading, dtype, numbers in (("float32", f32, CHANNELS), ("float64", f64, (3, 64, 512))):
        dense = ((k, c, measure(k, c, DENSE, dtype)) for k in KINDS for c in numbers)
        table(f"Dense, {heading}", "channels", DENSE, dense)
    rest = ((k, c, others(k, c)) for k in KINDS for c in CHANNELS[:-1])
    names = [f"{name}, {by}" for name, (by, _) in OTHER.items()]
    table("Other kernels of Winograd, float32", "channels", names, rest)
    sparse = (
        (k, s, measure(k, 64, ["depthwise"], f32, 64, (s, s)) | measure(k, 64, ["grouped"], f32, 16, (s, s)))
        for k in KINDS
        for s in (3, 5, 7)
    )
    table("Depthwise and grouped, float32", "kernel", SPARSE, sparse)
