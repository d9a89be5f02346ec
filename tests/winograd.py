"""What Winograd's convolutions are, and how far their results may be from the sum of products.

Used by support.py for algorithms that trade multiplications for additions.  Along each axis F(m, r) makes m
outputs of r taps.  With B', G and A' the transforms of an input tile d, of a kernel g, and back, each along
its own axis, ::

    y = A' (sum over channels of (G g G') * (B' d B)) A
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv import reference

PAIRS = {
    4: [Fraction(1)],
    6: [Fraction(3, 4), Fraction(3, 2)],
    8: [Fraction(5, 8), Fraction(1), Fraction(2)],
    10: [Fraction(3, 8), Fraction(7, 8), Fraction(5, 4), Fraction(2)],
}
"""Where the polynomials are multiplied: here, at the negatives, at 0 and infinity; so many points in all."""

FORMS = [(2, 3), (4, 3), (2, 5), (4, 5), (4, 7)]
"""Outputs and taps of F(m, r)."""

MOST_DILATION = 24


def supports(m: int, kernel: tuple[int, ...], stride: list[int], dilation: list[int]) -> bool:
    """Say which kernels there is a form for, with m outputs per tile."""
    long = [(k, d) for k, d in zip(kernel, dilation) if k > 1]
    taps = {3, 5} if m == 2 else {3} if len(long) == 2 else {3, 5, 7}
    return bool(long) and set(stride) == {1} and all(k in taps and d <= MOST_DILATION for k, d in long)


def _times(a: list[Fraction], root: Fraction) -> list[Fraction]:
    """A polynomial times (x - root), coefficients from x^0 upward."""
    return [high - root * low for high, low in zip([Fraction(0), *a], [*a, Fraction(0)])]


Matrix = list[list[Fraction]]


def transforms(m: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """B', G and A' by Toom and Cook, in fractions: m + taps - 1 points.

    The row of B' of a point p is M(x) / (x - p) with M the product of all (x - point); G has the powers of p
    divided by M(x) / (x - p) at p, and A' the powers of p.
    """
    points = [Fraction(0), *(sign * p for p in PAIRS[m + taps - 1] for sign in (1, -1))]
    everything = [Fraction(1)]
    bt, g = [], []
    for point in points:
        everything = _times(everything, point)
        others = [Fraction(1)]
        for other in points:
            others = others if other == point else _times(others, other)
        at_point = sum(c * point**i for i, c in enumerate(others))
        bt.append([*others, Fraction(0)])
        g.append([point**i / at_point for i in range(taps)])
    bt.append(everything)
    g.append([Fraction(int(i == taps - 1)) for i in range(taps)])
    at = [[point**i for point in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    return bt, g, at


PAIR = (
    [[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]],
    [[1, -1, 0], [0, 1, 0], [0, -1, 1]],
    [[0, 1, 1], [1, 1, 0]],
)
"""Two outputs of three taps that meet two pixels between padding: three products."""


@lru_cache
def _absolute(m: int, taps: int) -> list[np.ndarray]:
    if taps == 1:
        return [np.eye(1)] * 3
    matrices = zip(transforms(m, taps), PAIR)
    if (m, taps) == (2, 3):
        # A phase of two pixels has a form of its own: what bounds either bounds both.
        wide = [np.zeros((7, 4)), np.zeros((7, 3)), np.zeros((2, 7))]
        for whole, (matrix, pair) in zip(wide, matrices):
            first, second = np.abs(np.array(matrix, float)), np.abs(np.array(pair, float))
            whole[: first.shape[0], : first.shape[1]] = first
            whole[-second.shape[0] :, -second.shape[1] :] = second
        return wide
    return [np.abs(np.array(matrix, dtype=np.float64)) for matrix, _ in matrices]


def _roundings(m: int, taps: int) -> int:
    """How many a number meets at most, in a line of B', one of G with rounded constants and one of A'."""
    pairs = (m + taps - 3) // 2
    return 0 if taps == 1 else (pairs + 3) + (taps + 3) + (pairs + 3)


def _tiles(
    image: np.ndarray, out: list[int], m: list[int], taps: tuple[int, ...], matrices: Any, u: Any
) -> np.ndarray:
    """Bound one phase: y from its image in absolute values and the transformed weights."""
    tiles = [-(-n // k) for n, k in zip(out, m)]
    groups = len(u)
    image = np.pad(image, [(0, 0), (0, 0), *((0, t * k - n) for t, k, n in zip(tiles, m, out))])
    sides = tuple(k + r - 1 for k, r in zip(m, taps))
    d = sliding_window_view(image, sides, (2, 3))[:, :, :: m[0], :: m[1]]
    (bt0, _, at0), (bt1, _, at1) = matrices
    v = (bt0 @ d @ bt1.T).reshape(len(image), groups, -1, tiles[0] * tiles[1], bt0.shape[0] * bt1.shape[0])
    # Points come first: a matrix product for each, as in the algorithm.
    products = np.moveaxis(u, -1, 0)[:, np.newaxis] @ np.moveaxis(v, -1, 0)
    products = np.moveaxis(products, 0, -1).reshape(len(image), -1, *tiles, bt0.shape[0], bt1.shape[0])
    y = np.swapaxes(at0 @ products @ at1.T, 3, 4).reshape(len(image), -1, tiles[0] * m[0], tiles[1] * m[1])
    return y[:, :, : out[0], : out[1]]


def error_bound(
    m: int, x: np.ndarray, weight: np.ndarray, bias: Any, dtype: Any, options: dict[str, Any]
) -> np.ndarray:
    """Bound the rounding error with m outputs per tile and axis, for each output, in NCHW with a batch.

    Every step is a sum of products, so a result is off by at most gamma(n) of the same expression in absolute
    values, where n is the number of roundings that a number meets on its way (B. Barabasz, A. Anderson,
    K. M. Soodhalter and D. Gregg, Error Analysis and Improving the Accuracy of Winograd Convolution for Deep
    Neural Networks, ACM Transactions on Mathematical Software 46, 2020): those of the transforms along each
    axis, without fused operations; in between the sum over channels, and afterwards bias and activation.
    """
    groups, slope = options.get("groups", 1), options.get("activation")
    outputs, channels = weight.shape[:2]
    size, kernel = x.shape[2:], weight.shape[2:]
    dilation = [int(d) for d in np.broadcast_to(options.get("dilation", 1), 2)]
    pads = reference.pad_amounts(options.get("padding", 0), size, kernel, (1, 1), tuple(dilation))
    out = [n + sum(p) - (k - 1) * d for n, p, k, d in zip(size, pads, kernel, dilation)]
    ms = [1 if k == 1 else m for k in kernel]
    matrices = [_absolute(*form) for form in zip(ms, kernel)]
    mode, value = options.get("padding_mode", "zeros"), abs(options.get("padding_value", 0))
    image = reference.pad(np.abs(x.astype(np.float64)), pads, mode, value)
    g0, g1 = (matrix[1] for matrix in matrices)
    u = (g0 @ np.abs(weight.astype(np.float64)) @ g1.T).reshape(groups, outputs // groups, channels, -1)
    y = np.zeros((len(x), outputs, *out))
    for first in product(*(range(min(d, n)) if k > 1 else [0] for d, n, k in zip(dilation, out, kernel))):
        steps = [slice(f, None, d if k > 1 else 1) for f, d, k in zip(first, dilation, kernel)]
        phase = y[:, :, steps[0], steps[1]]
        reach = [n + k - 1 for n, k in zip(phase.shape[2:], kernel)]
        seen = image[:, :, steps[0], steps[1]][:, :, : reach[0], : reach[1]]
        phase[...] = _tiles(seen, list(phase.shape[2:]), ms, kernel, matrices, u)
    if bias is not None:
        y = y + np.abs(np.asarray(bias, dtype=np.float64)).reshape(-1, 1, 1)
    n = channels + sum(_roundings(*form) for form in zip(ms, kernel)) + 4
    unit = float(np.finfo(dtype).eps) / 2
    gamma = n * unit / (1 - n * unit)
    steepest = max(1.0, abs(slope[1])) if isinstance(slope, tuple) else 1.0
    # Underflow, which the transforms make larger by less than all their entries, and the reference's error.
    entries = float(np.prod([matrix.sum() for axis in matrices for matrix in axis]))
    plain = reference.error_bound(x, weight, bias, dtype=np.float64, **options)
    largest = 1 + max(np.abs(x).max(initial=value), np.abs(weight).max())
    underflow = 2 * n * float(np.finfo(dtype).smallest_normal) * largest * entries
    return np.asarray(steepest * (gamma * y + underflow) + plain)
