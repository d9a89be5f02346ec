"""Image filters on HxW and HxWxC arrays, uint8 and float: for people with photographs, and `fastconv filter`.

Every filter is a correlation, as in OpenCV and SciPy: the kernel is laid on the image unflipped, its centre
(row h // 2, column w // 2) on the pixel computed.  The result has the image's shape and dtype.  uint8 images
are computed in float32 (exactly, where the kernel's entries are integers), rounded to nearest with halves to
even, and limited to 0..255; float images are neither rounded nor limited.  All channels are treated alike.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv.conv import depthwise_conv2d
from fastconv.padding import check_mode, pad

__all__ = [
    "KERNELS",
    "box_blur",
    "edges",
    "emboss",
    "filter2d",
    "gaussian_blur",
    "sharpen",
    "sobel",
]

_Array = NDArray[Any]


def _frozen(rows: Sequence[Sequence[float]], divisor: float = 1.0) -> NDArray[np.float64]:
    kernel = np.array(rows, np.float64) / divisor
    kernel.flags.writeable = False
    return kernel


KERNELS: Mapping[str, NDArray[np.float64]] = MappingProxyType(
    {
        "identity": _frozen([[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
        "sharpen": _frozen([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        "edge_cross": _frozen([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]),
        "edge_diagonal": _frozen([[1, 0, -1], [0, 0, 0], [-1, 0, 1]]),
        "edge_full": _frozen([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
        "emboss": _frozen([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
        "sobel_horizontal": _frozen([[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
        "sobel_vertical": _frozen([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]),
        "box_blur": _frozen([[1, 1, 1], [1, 1, 1], [1, 1, 1]], 9),
        "gaussian_blur": _frozen([[1, 2, 1], [2, 4, 2], [1, 2, 1]], 16),
    }
)
"""The 3x3 kernels that textbooks name, for `filter2d`; read-only."""

_GREATEST_SIGMA = 1e6
# Elements of a band: large enough to keep all threads busy, small enough that a photograph of any size needs
# little memory beside itself.
_BAND_ELEMENTS = 1 << 21


def filter2d(
    image: ArrayLike, kernel: ArrayLike, padding_mode: str = "replicate", *, padding_value: float = 0.0
) -> _Array:
    """Correlate an image with a kernel.

    Parameters
    ----------
    image : array_like
        HxW or HxWxC; uint8, float32 or float64.
    kernel : array_like
        Two-dimensional, of any size, even ones too.
    padding_mode : str
        What lies outside the image: ``"replicate"`` (or ``"edge"``) the nearest pixel, ``"zeros"``,
        ``"constant"`` with `padding_value`, ``"reflect"`` (without repeating the border pixel),
        ``"symmetric"`` (repeating it), ``"circular"`` (or ``"wrap"``).
    padding_value : float
        For ``"constant"`` only; 0 to 255 for a uint8 image.

    Returns
    -------
    ndarray
        Of the image's shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import filters
    >>> image = np.array([[10, 10, 10], [10, 90, 10], [10, 10, 10]], np.uint8)
    >>> filters.filter2d(image, [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    array([[ 50, 130,  50],
           [130, 130, 130],
           [ 50, 130,  50]], dtype=uint8)
    """
    taps = np.asarray(kernel)
    if taps.ndim != 2 or taps.size == 0:
        raise ValueError(f"kernel must be two-dimensional and not empty, got shape {taps.shape}")
    if taps.dtype.kind not in "buif":
        raise TypeError(f"kernel must be real numbers, got dtype {taps.dtype}")
    if not np.isfinite(taps).all():
        raise ValueError("kernel must be finite, got inf or nan")
    return _run(image, [taps[None]], padding_mode, padding_value)


def sobel(image: ArrayLike, padding_mode: str = "replicate", *, padding_value: float = 0.0) -> _Array:
    """Length of the gradient, channel by channel.

    ``sqrt(gx**2 + gy**2)`` of the responses to ``[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]`` and its transpose,
    neither scaled nor averaged over channels: a uint8 image is limited at 255, where the full range would
    reach 1443.

    Parameters
    ----------
    image, padding_mode, padding_value
        As for `filter2d`.

    Returns
    -------
    ndarray
        Of the image's shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import filters
    >>> filters.sobel(np.array([[0, 0, 30, 30]] * 2, np.uint8))
    array([[  0, 120, 120,   0],
           [  0, 120, 120,   0]], dtype=uint8)
    """
    gx = -KERNELS["sobel_horizontal"]

    def length(planes: _Array) -> _Array:
        pairs = planes.reshape(-1, 2, *planes.shape[1:])
        pairs *= pairs
        squares = pairs[:, 0]
        squares += pairs[:, 1]
        return np.sqrt(squares, out=squares)

    return _run(image, [np.stack([gx, gx.T])], padding_mode, padding_value, length)


def sharpen(image: ArrayLike, padding_mode: str = "replicate", *, padding_value: float = 0.0) -> _Array:
    """Add to each pixel its difference from the four neighbours: ``[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]``.

    Parameters
    ----------
    image, padding_mode, padding_value
        As for `filter2d`.

    Returns
    -------
    ndarray
        Of the image's shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import filters
    >>> filters.sharpen(np.array([[100, 100, 130, 130]], np.uint8))
    array([[100,  70, 160, 130]], dtype=uint8)
    """
    return _run(image, [KERNELS["sharpen"][None]], padding_mode, padding_value)


def edges(image: ArrayLike, padding_mode: str = "replicate", *, padding_value: float = 0.0) -> _Array:
    """Difference from all eight neighbours: ``[[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]``.

    Parameters
    ----------
    image, padding_mode, padding_value
        As for `filter2d`.

    Returns
    -------
    ndarray
        Of the image's shape and dtype; of a uint8 image only the bright side of an edge is seen, the other is
        limited to 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import filters
    >>> filters.edges(np.array([[100, 100, 130, 130]], np.uint8))
    array([[ 0,  0, 90,  0]], dtype=uint8)
    """
    return _run(image, [KERNELS["edge_full"][None]], padding_mode, padding_value)


def emboss(image: ArrayLike, padding_mode: str = "replicate", *, padding_value: float = 0.0) -> _Array:
    """Light from one corner: ``[[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]``, which leaves even areas as they are.

    Parameters
    ----------
    image, padding_mode, padding_value
        As for `filter2d`.

    Returns
    -------
    ndarray
        Of the image's shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import filters
    >>> filters.emboss(np.array([[100, 100, 120, 120]], np.uint8))
    array([[100, 160, 180, 120]], dtype=uint8)
    """
    return _run(image, [KERNELS["emboss"][None]], padding_mode, padding_value)


def box_blur(
    image: ArrayLike, size: int = 3, padding_mode: str = "replicate", *, padding_value: float = 0.0
) -> _Array:
    """Mean of a square window.

    Parameters
    ----------
    image, padding_mode, padding_value
        As for `filter2d`.
    size : int
        Side of the window, 1 or more; an even one reaches one pixel further up and left.

    Returns
    -------
    ndarray
        Of the image's shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import filters
    >>> filters.box_blur(np.array([[0, 0, 90, 0, 0]], np.uint8), size=3)
    array([[ 0, 30, 30, 30,  0]], dtype=uint8)
    """
    side = operator.index(size)
    if side < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    ones = np.ones((1, 1, side))
    # The sum of a uint8 window is an integer that float32 holds and its quotient rounds right up to 128x128.
    wide = np.asarray(image).dtype == np.uint8 and side > 128

    def mean(planes: _Array) -> _Array:
        planes /= planes.dtype.type(side * side)
        return planes

    return _run(image, [ones, ones.transpose(0, 2, 1)], padding_mode, padding_value, mean, wide=wide)


def gaussian_blur(
    image: ArrayLike, sigma: float = 1.0, padding_mode: str = "replicate", *, padding_value: float = 0.0
) -> _Array:
    """Blur with a Gaussian bell, rows first and then columns.

    The weights ``exp(-i**2 / (2 * sigma**2))`` for ``|i| <= int(4 * sigma + 0.5)``, divided by their sum.

    Parameters
    ----------
    image, padding_mode, padding_value
        As for `filter2d`.
    sigma : float
        Standard deviation in pixels.

    Returns
    -------
    ndarray
        Of the image's shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import filters
    >>> filters.gaussian_blur(np.array([[0, 0, 100, 0, 0]], np.uint8), sigma=0.5)
    array([[ 0, 11, 79, 11,  0]], dtype=uint8)
    """
    if not 0 < sigma < _GREATEST_SIGMA:
        raise ValueError(f"sigma must be above 0 and below {_GREATEST_SIGMA:g}, got {sigma}")
    radius = int(4 * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    row = (bell / bell.sum())[None, None]
    return _run(image, [row, row.transpose(0, 2, 1)], padding_mode, padding_value)


def _checked(image: ArrayLike) -> _Array:
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3):
        raise ValueError(f"image must be HxW or HxWxC, got shape {pixels.shape}")
    if pixels.size == 0:
        raise ValueError(f"image must have at least one pixel and channel, got shape {pixels.shape}")
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.float32, np.float64):
        raise TypeError(
            f"image must be uint8, float32 or float64, got {pixels.dtype}; "
            "image.astype(numpy.float32) casts it"
        )
    return pixels


def _padded(pixels: _Array, rows: int, columns: int, mode: str, value: float) -> _Array:
    """Surround the image for a kernel of so many rows and columns."""
    check_mode(mode, value)
    if pixels.dtype == np.uint8 and not (0 <= value <= 255 and value == math.floor(value)):
        raise ValueError(f"padding_value must be an integer from 0 to 255 for a uint8 image, got {value}")
    widths = [(size // 2, size - 1 - size // 2) for size in (rows, columns)] + [(0, 0)] * (pixels.ndim - 2)
    return pad(pixels, widths, "constant" if mode == "zeros" else mode, value)


def _run(
    image: ArrayLike,
    stages: Sequence[_Array],
    padding_mode: str,
    padding_value: float,
    finish: Callable[[_Array], _Array] = lambda planes: planes,
    *,
    wide: bool = False,
) -> _Array:
    """Correlate every channel with stage after stage, in bands of rows.

    A stage is an array (kernels, rows, columns): each channel becomes so many channels.  `finish` makes them
    one again and may scale them.  `wide` computes uint8 in float64.
    """
    pixels = _checked(image)
    real = pixels.dtype.newbyteorder("=")
    limited = real == np.uint8
    if limited:
        real = np.dtype(np.float64 if wide else np.float32)
    rows, columns = (1 + sum(stage.shape[axis] - 1 for stage in stages) for axis in (1, 2))
    around = _padded(pixels, rows, columns, padding_mode, padding_value)
    out = np.empty(pixels.shape, pixels.dtype.newbyteorder("="))
    height = pixels.shape[0]
    band = max(rows, _BAND_ELEMENTS // (out.size // height))
    for first in range(0, height, band):
        last = min(first + band, height)
        block = around[first : last + rows - 1]
        planes = np.array(block[None] if block.ndim == 2 else block.transpose(2, 0, 1), real, order="C")
        for stage in stages:
            weight = np.tile(stage, (len(planes), 1, 1))[:, None].astype(real)
            planes = depthwise_conv2d(planes, weight)
        planes = finish(planes)
        if limited:
            planes = np.clip(np.rint(planes, out=planes), 0, 255, out=planes)
        out[first:last] = planes[0] if block.ndim == 2 else planes.transpose(1, 2, 0)
    return out
