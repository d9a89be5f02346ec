"""1x1 over few adjacent channels, several pixels to a vector, against the reference.

Channels that fit once, several times and not at all in vectors of 2 to 16 lanes, with and without a rest;
runs of fewer pixels than a vector has, of some vectors, of more than a task takes; every way pixels may lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import DTYPES, ISAS, amid_nan, assert_within, integers, isa, normal, same_bits, threads

import fastconv
from fastconv import reference

CHANNELS = [
    (1, 1),
    (1, 3),
    (2, 2),
    (3, 1),
    (3, 3),
    (3, 4),
    (4, 3),
    (5, 5),
    (6, 4),
    (7, 2),
    (8, 8),
    (16, 3),
    (3, 9),
]
SIZES = [(1, 1, 1), (1, 1, 5), (2, 3, 7), (1, 9, 23), (3, 40, 41), (1, 70, 130)]


def arrays(channels: tuple[int, int], size: tuple[int, int, int], dtype: Any) -> list[np.ndarray]:
    inputs, outputs = channels
    shapes = [(*size, inputs), (outputs, inputs, 1, 1), (outputs,)]
    return [normal(shape, dtype, seed) for seed, shape in enumerate(shapes)]


def check(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, **options: Any) -> np.ndarray:
    how: dict[str, Any] = {**options, "layout": "NHWC"}
    found = fastconv.conv2d(x, weight, bias, activation=("leaky_relu", 0.01), algorithm="grouped", **how)
    exact = reference.conv2d(x, weight, bias, **how)
    limit = reference.conv2d(abs(x), abs(weight), abs(bias), **how)
    limit *= (weight.shape[1] + 2) * np.finfo(x.dtype).eps
    assert_within(found, np.where(exact > 0, exact, 0.01 * exact), limit)
    return found


@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ISAS)
def test_sizes_and_strides(channels: tuple[int, int], dtype: Any, name: str) -> None:
    with isa(name):
        for size in SIZES:
            x, weight, bias = arrays(channels, size, dtype)
            for stride in (1, 2, (3, 1), (1, 5), 17):
                check(amid_nan(x), weight, bias, stride=stride)


@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (3, 1), (5, 4)], ids=str)
@pytest.mark.parametrize("name", ISAS)
def test_views(channels: tuple[int, int], name: str) -> None:
    """The same bits however the pixels lie."""
    x, weight, bias = arrays(channels, (2, 9, 67), np.float32)
    wide = np.zeros((*x.shape[:3], channels[0] + 1), np.float32)
    wide[..., :-1] = x
    far = np.zeros((*x.shape[:3], 40), np.float32)
    far[..., :: 40 // channels[0]][..., : channels[0]] = x
    with isa(name):
        expected = check(x, weight, bias)
        for view in (
            wide[..., :-1],
            far[..., :: 40 // channels[0]][..., : channels[0]],
            np.ascontiguousarray(x[:, ::-1])[:, ::-1],
            np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1],
            np.ascontiguousarray(x[..., ::-1])[..., ::-1],
            np.asfortranarray(x),
            np.ascontiguousarray(np.moveaxis(x, -1, 1)).transpose(0, 2, 3, 1),
            amid_nan(x, "rows"),
            amid_nan(x, "steps"),
        ):
            np.testing.assert_array_equal(view, x)
            assert same_bits(check(view, weight, bias), expected)
        same = np.broadcast_to(x[:1, :1, :1], x.shape)
        assert same_bits(check(same, weight, bias), check(same.copy(), weight, bias))
        for out in (
            np.full((2, 9, 67, channels[1] + 2), np.nan, np.float32)[..., 1:-1],
            np.full((2, channels[1], 9, 67), np.nan, np.float32).transpose(0, 2, 3, 1),
            np.full((2, 9, 67, channels[1]), np.nan, np.float32)[:, ::-1],
        ):
            fastconv.conv2d(
                x, weight, bias, activation=("leaky_relu", 0.01), layout="NHWC", algorithm="grouped", out=out
            )
            np.testing.assert_array_equal(out, expected)
            around = out.base
            assert around is not None
            assert np.isnan(around).sum() == around.size - out.size


@pytest.mark.parametrize("channels", [(3, 3), (4, 5)], ids=str)
def test_the_same_bits_for_any_number_of_threads(channels: tuple[int, int]) -> None:
    x, weight, bias = arrays(channels, (2, 300, 310), np.float32)
    found = []
    for count in (1, 2, 3, 5):
        with threads(count):
            found.append(check(x, weight, bias))
    assert all(same_bits(found[0], other) for other in found[1:])


def test_what_is_not_finite_stays_in_its_pixel() -> None:
    x, weight, bias = arrays((3, 3), (1, 5, 37), np.float32)
    x[0, 2, 11, 1], x[0, 4, 36, 2] = np.inf, np.nan
    found = fastconv.conv2d(x, weight, bias, layout="NHWC", algorithm="grouped")
    np.testing.assert_array_equal(
        np.isfinite(found), np.isfinite(reference.conv2d(x, weight, bias, layout="NHWC"))
    )
    assert (~np.isfinite(found)).sum() == 6


@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (3, 1), (5, 4), (8, 8)], ids=str)
def test_input_gradient(channels: tuple[int, int]) -> None:
    """Of whole numbers: a convolution of the same kind, which is exact."""
    grad = np.rint(2 * normal((2, 40, 41, channels[1]), np.float32))
    weight = np.rint(2 * normal((channels[1], channels[0], 1, 1), np.float32, 1))
    how: dict[str, Any] = {"input_shape": (2, 40, 41, channels[0]), "layout": "NHWC"}
    found = fastconv.conv2d_input_grad(grad, weight, **how)
    np.testing.assert_array_equal(found, reference.conv2d_input_grad(grad, weight, **how))


def fits(channels: tuple[int, int], step: int, dtype: Any, name: str) -> bool:
    """Say whether two pixels' outputs fit in a vector, and what they see in two."""
    lanes = {"avx512": 64, "avx2": 32, "neon": 16, "scalar": 16}[name] // np.dtype(dtype).itemsize
    seen = channels[0] * step
    return bool(seen <= lanes and min(lanes // channels[1], 2 * lanes // seen) >= 2)


@pytest.mark.parametrize("channels", CHANNELS[:-1], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ISAS)
def test_weight_gradient(channels: tuple[int, int], dtype: Any, name: str) -> None:
    """With strides, and more pixels than a block; and where channels are too many for it."""
    inputs, outputs = channels
    for size in SIZES:
        for stride in ((1, 1), (2, 2), (3, 1), (1, 3)):
            x = normal((*size, inputs), dtype)
            shape = tuple(-(-n // s) for n, s in zip(size, (1, *stride), strict=True))
            grad = normal((*shape, outputs), dtype, 1)
            how: dict[str, Any] = {
                "weight_shape": (outputs, inputs, 1, 1),
                "layout": "NHWC",
                "stride": stride,
            }
            with isa(name):
                if not fits(channels, stride[1] if shape[2] > 1 else 1, dtype, name):
                    with pytest.raises(ValueError, match="mixed needs fewer channels"):
                        fastconv.conv2d_weight_grad(grad, x, algorithm="mixed", **how)
                    continue
                found = fastconv.conv2d_weight_grad(amid_nan(grad), amid_nan(x), algorithm="mixed", **how)
            limit = reference.conv2d_weight_grad(abs(grad), abs(x), **how)
            limit *= np.prod(shape) * np.finfo(dtype).eps
            assert_within(found, reference.conv2d_weight_grad(grad, x, **how), limit)


def test_few_outputs_of_pixels_from_memory() -> None:
    """Beyond the caches of most machines: later pixels are asked for, and all are several tasks."""
    x, weight = integers((5, 1031, 67, 17), np.float32), integers((3, 17, 1, 1), np.float32, 1)
    assert x.nbytes > 20 << 20
    expected = np.einsum("nhwc,oc->nhwo", x, weight[..., 0, 0])
    for count in (1, 2, 3, 5):
        with threads(count):
            found = fastconv.conv2d(x, weight, algorithm="dot", layout="NHWC")
        np.testing.assert_array_equal(found, expected)


def test_weight_gradient_of_many_pixels() -> None:
    x, grad = normal((3, 200, 210, 3), np.float32), normal((3, 200, 210, 4), np.float32, 1)
    how: dict[str, Any] = {"weight_shape": (4, 3, 1, 1), "layout": "NHWC"}
    found = []
    for count in (1, 2, 3, 5):
        with threads(count):
            found.append(fastconv.conv2d_weight_grad(grad, x, algorithm="mixed", **how))
    assert all(same_bits(found[0], other) for other in found[1:])
    expected = reference.conv2d_weight_grad(grad, x, **how)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6 * np.sqrt(x.size / 3) * 4)


def test_weight_gradient_refuses() -> None:
    x, grad = normal((1, 5, 7, 3), np.float32), normal((1, 5, 7, 4), np.float32, 1)
    for kernel, padding, options, reason in (
        ((3, 3), 1, {}, "a kernel of one element"),
        ((1, 1), 0, {"layout": "NCHW"}, "adjacent channels"),
    ):
        how: dict[str, Any] = {"layout": "NHWC", "padding": padding, **options}
        channels = (4, 3) if how["layout"] == "NHWC" else (5, 5)
        with pytest.raises(ValueError, match=reason):
            fastconv.conv2d_weight_grad(
                grad if how["layout"] == "NHWC" else grad[..., :3],
                x,
                weight_shape=(*channels, *kernel),
                algorithm="mixed",
                **how,
            )
