"""Images, functions and bounds that the tests of pooling share."""

from __future__ import annotations

from typing import Any

import numpy as np
from support import normal

import fastconv

LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def image(
    spatial: int, size: tuple[int, ...], dtype: Any, layout: str, channels: int = 0, seed: int = 0
) -> Any:
    """Numbers with ties among them; more channels than a few vectors where channels are lanes."""
    last = layout.endswith("C")
    channels = channels or (37 if last else 3)
    shape = (2, *size, channels) if last else (2, channels, *size)
    return (np.round(normal(shape, np.float64, seed) * 4) / 4).astype(dtype)


def function(name: str, spatial: int) -> Any:
    return getattr(fastconv, name.replace("#", f"{spatial}d"))


def sum_bound(terms: Any, count: int, dtype: Any, y: Any) -> Any:
    """Rounding of a sum of `count` terms, whose absolute values add up to `terms`, and of what follows it."""
    eps = float(np.finfo(dtype).eps)
    return (count + 8) * eps * (np.abs(terms) + np.abs(y)) + float(np.finfo(dtype).tiny)
