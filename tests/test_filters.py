"""fastconv.filters against SciPy, OpenCV and plain arithmetic, on a real photograph and at the edges."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import seed_cases

from fastconv import filters

ndimage = pytest.importorskip("scipy.ndimage", reason="SciPy is the reference of the filters")

NAMED: dict[str, Callable[..., np.ndarray]] = {
    "sobel": filters.sobel,
    "sharpen": filters.sharpen,
    "edges": filters.edges,
    "emboss": filters.emboss,
    "box_blur": filters.box_blur,
    "gaussian_blur": filters.gaussian_blur,
}
# What SciPy calls the modes; names that mean the same are checked against each other.
MODES = {
    "replicate": "nearest",
    "edge": "nearest",
    "zeros": "constant",
    "reflect": "mirror",
    "symmetric": "reflect",
    "circular": "grid-wrap",
    "wrap": "grid-wrap",
}
INTEGER_KERNELS = [name for name in filters.KERNELS if "blur" not in name]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """The colour photograph that scikit-image ships: 300 x 451 x 3, uint8."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-image has the photograph")
    image = pytest.importorskip("PIL.Image", reason="Pillow reads the photograph")
    with image.open(Path(spec.origin).parent / "data" / "chelsea.png") as file:
        pixels = np.array(file)
    assert pixels.shape == (300, 451, 3)
    assert pixels.dtype == np.uint8
    return pixels


def correlate(image: np.ndarray, kernel: np.ndarray, mode: str = "nearest", value: float = 0.0) -> np.ndarray:
    """Correlate each channel in float64."""
    if image.ndim == 3:
        return np.stack(
            [correlate(channel, kernel, mode, value) for channel in np.moveaxis(image, -1, 0)], -1
        )
    return ndimage.correlate(image.astype(np.float64), np.asarray(kernel, np.float64), mode=mode, cval=value)


def rounded(exact: np.ndarray) -> np.ndarray:
    """To uint8 as the filters promise: nearest, halves to even, limited."""
    return np.clip(np.rint(exact), 0, 255).astype(np.uint8)


def assert_close(got: np.ndarray, exact: np.ndarray, magnitude: np.ndarray, terms: int, dtype: Any) -> None:
    """Within terms * eps * sum|x||k| of the exact result, and half a step more where it is rounded."""
    bound = (terms + 2) * np.finfo(dtype).eps * magnitude
    if got.dtype == np.uint8:
        exact, bound = np.clip(exact, 0, 255), bound + 0.5
    error = abs(got.astype(np.float64) - exact)
    assert got.shape == exact.shape
    assert (error <= bound).all(), (
        f"error {error.max()}, {int((error > bound).sum())} pixels beyond the bound"
    )


# --- filter2d ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INTEGER_KERNELS)
def test_integer_kernels_are_exact_on_the_photograph(photo: np.ndarray, name: str) -> None:
    kernel = filters.KERNELS[name]
    np.testing.assert_array_equal(filters.filter2d(photo, kernel), rounded(correlate(photo, kernel)))


@pytest.mark.parametrize("name", INTEGER_KERNELS)
def test_integer_kernels_agree_with_opencv(photo: np.ndarray, name: str) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    kernel = filters.KERNELS[name]
    expected = cv2.filter2D(photo, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_array_equal(filters.filter2d(photo, kernel), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (1, 4), (4, 1), (2, 2), (5, 3), (6, 7), (15, 15)])
def test_any_kernel_size(photo: np.ndarray, shape: tuple[int, int], dtype: Any) -> None:
    kernel = np.random.default_rng(1).standard_normal(shape)
    image = photo.astype(dtype)
    work = np.float32 if dtype == np.uint8 else dtype
    got = filters.filter2d(image, kernel)
    assert got.dtype == dtype
    magnitude = correlate(image, abs(kernel))
    assert_close(got, correlate(image, kernel.astype(work)), magnitude, kernel.size, work)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (7, 5)])
def test_padding_modes(photo: np.ndarray, mode: str, shape: tuple[int, int]) -> None:
    kernel = np.random.default_rng(2).integers(-3, 4, shape)
    image = photo[:21, :34]
    got = filters.filter2d(image, kernel, mode)
    np.testing.assert_array_equal(got, rounded(correlate(image, kernel, MODES[mode])))


def test_constant_padding(photo: np.ndarray) -> None:
    kernel = filters.KERNELS["box_blur"] * 9
    image = photo[:20, :20] // 9
    got = filters.filter2d(image, kernel, "constant", padding_value=20)
    np.testing.assert_array_equal(got, rounded(correlate(image, kernel, "constant", 20)))
    assert (got != filters.filter2d(image, kernel, "zeros")).any()


@pytest.mark.parametrize("mode", ["replicate", "zeros", "symmetric", "reflect", "circular"])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1), (2, 2), (3, 4)])
def test_images_smaller_than_the_kernel(mode: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, size, np.uint8)
    kernel = np.random.default_rng(4).integers(-2, 3, (9, 7))
    if mode == "reflect":
        padded = np.pad(image.astype(float), ((4, 4), (3, 3)), "reflect")
        expected = correlate(padded, kernel, "nearest")[4:-4, 3:-3]
    else:
        expected = correlate(image, kernel, MODES[mode])
    np.testing.assert_array_equal(filters.filter2d(image, kernel, mode), rounded(expected))


def test_halves_are_rounded_to_even() -> None:
    image = np.array([[1, 3, 5, 7, 255]], np.uint8)
    np.testing.assert_array_equal(filters.filter2d(image, [[0.5]]), [[0, 2, 2, 4, 128]])


def test_uint8_is_limited_and_float_is_not() -> None:
    image = np.array([[0, 200]], np.uint8)
    np.testing.assert_array_equal(filters.filter2d(image, [[2]]), [[0, 255]])
    np.testing.assert_array_equal(filters.filter2d(image, [[-1]]), [[0, 0]])
    np.testing.assert_array_equal(filters.filter2d(image.astype(np.float32), [[-2]]), [[0, -400]])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_channels_are_filtered_one_by_one(channels: int) -> None:
    image = np.random.default_rng(5).integers(0, 256, (13, 17, channels), np.uint8)
    for function in NAMED.values():
        together = function(image)
        assert together.shape == image.shape
        for channel in range(channels):
            np.testing.assert_array_equal(together[..., channel], function(image[..., channel]))


@pytest.mark.parametrize("name", NAMED)
def test_bands_leave_no_seams(photo: np.ndarray, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = NAMED[name](photo)
    monkeypatch.setattr(filters, "_BAND_ELEMENTS", 7 * 451 * 3)
    banded = NAMED[name](photo)
    if name == "gaussian_blur":  # its weights are not exact, and another algorithm may round another way
        assert abs(banded.astype(int) - whole).max() <= 1
    else:
        np.testing.assert_array_equal(banded, whole)


def test_views_are_read_and_nothing_is_written(photo: np.ndarray) -> None:
    kernel = filters.KERNELS["emboss"]
    big_endian = photo.astype(">f4")
    for image in (photo[::-1, ::2], photo.transpose(1, 0, 2), photo[..., ::-1], big_endian):
        before = image.copy()
        image.flags.writeable = False
        got = filters.filter2d(image, kernel)
        exact = correlate(image, kernel)
        np.testing.assert_array_equal(got, rounded(exact) if image.dtype == np.uint8 else exact)
        assert got.flags.c_contiguous
        assert got.dtype.isnative
        np.testing.assert_array_equal(image, before)


def test_pillow_images_are_arrays_too(photo: np.ndarray) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    np.testing.assert_array_equal(filters.sharpen(image.fromarray(photo)), filters.sharpen(photo))


# --- Named filters -----------------------------------------------------------------------------------


def test_kernels_are_those_of_the_lectures() -> None:
    (case,) = seed_cases("kernels")
    for name in ("identity", "edge_cross", "edge_diagonal", "edge_full", "sharpen", "sobel_horizontal"):
        np.testing.assert_array_equal(filters.KERNELS[name], case[name])
    np.testing.assert_array_equal(filters.KERNELS["box_blur"], np.array(case["box_blur_over_9"]) / 9)
    np.testing.assert_array_equal(
        filters.KERNELS["gaussian_blur"], np.array(case["gaussian_blur_over_16"]) / 16
    )
    with pytest.raises(ValueError, match="read-only"):
        filters.KERNELS["identity"][0, 0] = 1


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("sharpen", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        ("edges", [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
        ("emboss", [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
    ],
)
def test_one_kernel_filters(photo: np.ndarray, name: str, kernel: list[list[int]]) -> None:
    np.testing.assert_array_equal(NAMED[name](photo), rounded(correlate(photo, np.array(kernel))))
    np.testing.assert_array_equal(
        NAMED[name](photo, "wrap"), rounded(correlate(photo, np.array(kernel), "wrap"))
    )


def test_sobel_is_the_length_of_the_gradient(photo: np.ndarray) -> None:
    gx = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    exact = np.hypot(correlate(photo, gx), correlate(photo, gx.T))
    np.testing.assert_array_equal(filters.sobel(photo), rounded(exact))
    assert exact.max() > 255
    real = filters.sobel(photo.astype(np.float64))
    np.testing.assert_allclose(real, exact, rtol=4 * np.finfo(np.float64).eps, atol=0)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 16])
def test_box_blur_is_the_exact_mean(photo: np.ndarray, size: int) -> None:
    sums = correlate(photo, np.ones((size, size)))
    np.testing.assert_array_equal(filters.box_blur(photo, size), rounded(sums / size**2))


def test_wide_box_blur_is_the_exact_mean(photo: np.ndarray) -> None:
    image = photo[:40, :50, 0]
    ones = np.ones(301)
    sums = ndimage.correlate1d(
        ndimage.correlate1d(image.astype(float), ones, 0, mode="nearest"), ones, 1, mode="nearest"
    )
    np.testing.assert_array_equal(filters.box_blur(image, 301), rounded(sums / 301**2))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0, 7.3])
def test_gaussian_blur_agrees_with_scipy(photo: np.ndarray, sigma: float, dtype: Any) -> None:
    image = photo.astype(dtype)
    work = np.float32 if dtype == np.uint8 else dtype
    exact = ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest", truncate=4.0)
    taps = 2 * int(4 * sigma + 0.5) + 1
    # Each pass rounds its weights and sums `taps` products of positive numbers.
    assert_close(filters.gaussian_blur(image, sigma), exact, exact, 2 * taps + 2, work)


def test_blurs_leave_an_even_image_alone() -> None:
    image = np.full((9, 9, 3), 201, np.uint8)
    np.testing.assert_array_equal(filters.box_blur(image, 5), image)
    np.testing.assert_array_equal(filters.gaussian_blur(image, 3), image)


# --- What is wrong -----------------------------------------------------------------------------------

IMAGE = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (np.zeros(4, np.uint8), ValueError, r"image must be HxW or HxWxC, got shape \(4,\)"),
        (np.zeros((1, 2, 3, 4), np.uint8), ValueError, "image must be HxW or HxWxC"),
        (np.zeros((0, 4), np.uint8), ValueError, "image must have at least one pixel"),
        (np.zeros((3, 4, 0), np.float32), ValueError, "image must have at least one pixel and channel"),
        (np.zeros((3, 4), np.uint16), TypeError, "image must be uint8, float32 or float64, got uint16"),
        (np.zeros((3, 4), np.bool_), TypeError, "got bool"),
        (np.zeros((3, 4), np.complex64), TypeError, "got complex64"),
    ],
)
@pytest.mark.parametrize("name", NAMED)
def test_wrong_images(name: str, image: np.ndarray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        NAMED[name](image)


@pytest.mark.parametrize(
    ("kernel", "error", "words"),
    [
        ([1, 2, 1], ValueError, r"kernel must be two-dimensional and not empty, got shape \(3,\)"),
        (np.zeros((0, 3)), ValueError, r"not empty, got shape \(0, 3\)"),
        ([[1, np.nan]], ValueError, "kernel must be finite"),
        ([[1j]], TypeError, "kernel must be real numbers, got dtype complex128"),
        ([["a"]], TypeError, "kernel must be real numbers"),
    ],
)
def test_wrong_kernels(kernel: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        filters.filter2d(IMAGE, kernel)


@pytest.mark.parametrize("name", NAMED)
def test_wrong_padding(name: str) -> None:
    with pytest.raises(ValueError, match="padding_mode must be one of"):
        NAMED[name](IMAGE, padding_mode="mirror")
    with pytest.raises(ValueError, match="padding_value is for padding_mode"):
        NAMED[name](IMAGE, padding_mode="replicate", padding_value=3)
    for value in (-1, 256, 0.5, float("nan")):
        with pytest.raises(ValueError, match="padding_value must be an integer from 0 to 255"):
            NAMED[name](IMAGE, padding_mode="constant", padding_value=value)


@pytest.mark.parametrize("size", [0, -3])
def test_wrong_size(size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be at least 1, got {size}"):
        filters.box_blur(IMAGE, size)


def test_size_must_be_an_integer() -> None:
    with pytest.raises(TypeError):
        filters.box_blur(IMAGE, 2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), 1e300])
def test_wrong_sigma(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must be above 0 and below"):
        filters.gaussian_blur(IMAGE, sigma)
