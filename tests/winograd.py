"""What Winograd convolution F(m x m, 3 x 3) is, and how far its result may be from the sum of products.

Used by support.py for algorithms that trade multiplications for additions.  With B', G and A' the transforms
of an input tile d of (m + 2) x (m + 2) pixels, of a kernel g, and back, ::

    y = A' (sum over channels of (G g G') * (B' d B)) A
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv import reference

POINTS = {2: [0, 1, -1], 4: [0, Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)]}
"""Where the polynomials are multiplied; infinity is one more."""


def _times(a: list[Fraction], root: Fraction) -> list[Fraction]:
    """A polynomial times (x - root), coefficients from x^0 upward."""
    return [high - root * low for high, low in zip([Fraction(0), *a], [*a, Fraction(0)])]


def transforms(m: int) -> tuple[list[list[Fraction]], list[list[Fraction]], list[list[Fraction]]]:
    """B', G and A' by Toom and Cook, in fractions: m + 2 points, kernels of three taps, m outputs.

    The row of B' of a point p is M(x) / (x - p) with M the product of all (x - point); G has the powers of p
    divided by M(x) / (x - p) at p, and A' the powers of p.
    """
    points = [Fraction(p) for p in POINTS[m]]
    everything = [Fraction(1)]
    bt, g = [], []
    for point in points:
        everything = _times(everything, point)
        others = [Fraction(1)]
        for other in points:
            others = others if other == point else _times(others, other)
        at_point = sum(c * point**i for i, c in enumerate(others))
        bt.append([*others, Fraction(0)])
        g.append([point**i / at_point for i in range(3)])
    bt.append(everything)
    g.append([Fraction(0), Fraction(0), Fraction(1)])
    at = [[point**i for point in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    return bt, g, at


@lru_cache
def _absolute(m: int) -> list[np.ndarray]:
    return [np.abs(np.array(matrix, dtype=np.float64)) for matrix in transforms(m)]


def error_bound(
    m: int, x: np.ndarray, weight: np.ndarray, bias: Any, dtype: Any, options: dict[str, Any]
) -> np.ndarray:
    """Bound the rounding error of F(m x m, 3 x 3), for each output, in NCHW with a batch.

    Every step is a sum of products, so a result is off by at most gamma(n) of the same expression in absolute
    values, where n is the number of roundings that a number meets on its way (B. Barabasz, A. Anderson,
    K. M. Soodhalter and D. Gregg, Error Analysis and Improving the Accuracy of Winograd Convolution for Deep
    Neural Networks, ACM Transactions on Mathematical Software 46, 2020).  Without fused operations an input
    meets 3 in a line of B', a weight 5 in a line of G with rounded constants, and a product 4 in a line of
    A', each twice; in between comes the sum over channels, and afterwards bias and activation.
    """
    bt, g, at = _absolute(m)
    groups, slope = options.get("groups", 1), options.get("activation")
    outputs, channels = weight.shape[:2]
    size, kernel, ones = x.shape[2:], weight.shape[2:], (1, 1)
    pads = reference.pad_amounts(options.get("padding", 0), size, kernel, ones, ones)
    out = tuple(n + sum(p) - 2 for n, p in zip(size, pads))
    tiles = tuple(-(-n // m) for n in out)
    mode, value = options.get("padding_mode", "zeros"), abs(options.get("padding_value", 0))
    image = reference.pad(np.abs(x.astype(np.float64)), pads, mode, value)
    image = np.pad(image, [(0, 0), (0, 0), *((0, t * m - n) for t, n in zip(tiles, out))])
    d = sliding_window_view(image, (m + 2, m + 2), (2, 3))[:, :, ::m, ::m]
    v = (bt @ d @ bt.T).reshape(len(x), groups, channels, tiles[0] * tiles[1], -1)
    u = (g @ np.abs(weight.astype(np.float64)) @ g.T).reshape(groups, outputs // groups, channels, -1)
    # Points come first: a matrix product for each, as in the algorithm.
    products = np.moveaxis(u, -1, 0)[:, np.newaxis] @ np.moveaxis(v, -1, 0)
    products = np.moveaxis(products, 0, -1).reshape(len(x), outputs, *tiles, m + 2, m + 2)
    y = np.swapaxes(at @ products @ at.T, 3, 4).reshape(len(x), outputs, tiles[0] * m, tiles[1] * m)
    y = y[:, :, : out[0], : out[1]]
    if bias is not None:
        y = y + np.abs(np.asarray(bias, dtype=np.float64)).reshape(-1, 1, 1)
    n = channels + 2 * (3 + 5 + 4) + 4
    unit = float(np.finfo(dtype).eps) / 2
    gamma = n * unit / (1 - n * unit)
    steepest = max(1.0, abs(slope[1])) if isinstance(slope, tuple) else 1.0
    # Underflow, which the transforms make larger by less than all their entries, and the reference's error.
    entries = float(np.prod([matrix.sum() ** 2 for matrix in (bt, g, at)]))
    plain = reference.error_bound(x, weight, bias, dtype=np.float64, **options)
    largest = 1 + max(np.abs(x).max(initial=value), np.abs(weight).max())
    underflow = 2 * n * float(np.finfo(dtype).smallest_normal) * largest * entries
    return np.asarray(steepest * (gamma * y + underflow) + plain)
