"""What moves numbers by index, weighted averages and samples, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pool_cases import LAYOUTS, function, image, sum_bound
from support import DTYPES, ISAS, Poisoned, amid_nan, assert_within, isa, normal, same_bits, threads

import fastconv
from fastconv import operators, reference_pool

# Strips of vectors: outputs that fill one or two, one less, one more; padding on either side, of rows alone.
# Lines: large windows, apart, by any stride; blocks of rows, of columns, of planes; 1-D and 3-D; windows that
# see nothing.
FOUND: list[Any] = [
    ((6, 32), 2, 2, 0, 1, False, 3),
    ((7, 31), 2, 2, 0, 1, True, 3),
    ((5, 35), 2, 2, 1, 1, False, 3),
    ((4, 17), 2, 1, 0, 1, False, 20),
    ((6, 16), 2, 1, [(1, 0), (0, 1)], 1, False, 3),
    ((9, 33), 3, 2, 0, 1, False, 3),
    ((9, 35), 3, 2, 1, 1, False, 3),
    ((8, 66), 3, 2, [(0, 1), (2, 0)], 1, True, 3),
    ((5, 70), 3, 1, 1, 1, False, 3),
    ((3, 18), 3, 1, [(0, 2), (0, 2)], 1, False, 3),
    ((90, 150), 3, 2, 1, 1, False, 1),
    ((60, 130), 2, 2, 0, 1, False, 2),
    ((13, 13), 5, 1, 2, 1, False, 37),
    ((13, 14), 9, 1, 4, 1, False, 17),
    ((70, 80), (7, 5), 1, (3, 2), 1, False, 2),
    ((30, 41), 3, 1, 2, 2, False, 5),
    ((29, 43), (3, 2), 2, (2, 1), (2, 3), True, 5),
    ((24, 50), (2, 1), (2, 2), 0, 1, False, 5),
    ((24, 50), (1, 3), (3, 3), (0, 1), 1, False, 5),
    ((31, 67), 4, 4, 1, 1, True, 5),
    ((22, 68), (5, 7), (1, 5), (2, 3), 1, False, 5),
    ((8, 40), 2, 3, 0, 1, True, 17),
    ((20000,), 5, 1, 2, 1, False, 1),
    ((40001,), 3, 2, 1, 1, False, 1),
    ((4, 9, 33), 2, 2, 0, 1, False, 3),
    ((5, 9, 34), 3, (1, 2, 2), 1, 1, False, 3),
    ((1, 3), (1, 2), 1, [(0, 0), (2, 2)], (1, 4), False, 3),
    ((3, 20), (2, 2), 1, [(2, 2), (1, 1)], (4, 1), False, 3),
]


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("finite", [True, False])
@pytest.mark.parametrize("case", range(len(FOUND)))
def test_indices_of_every_block(case: int, finite: bool, dtype: Any, name: str) -> None:
    """Whatever is among the numbers, also where a window has nothing else."""
    size, k, s, pad, d, ceil, planes = FOUND[case]
    spatial = len(size)
    layout = LAYOUTS[spatial][0]
    x = image(spatial, size, dtype, layout, planes, case)[:1]
    rng = np.random.default_rng(case)
    if not finite:
        x.flat[rng.integers(0, x.size, x.size // 4)] = -np.inf
        x[:, -1, ..., : size[-1] // 2] = -np.inf
        x.flat[rng.integers(0, x.size, 5)] = np.inf
        x.flat[rng.integers(0, x.size, 5)] = np.nan
    with isa(name):
        y, found = function("max_pool#", spatial)(
            amid_nan(x, ("contiguous", "rows")[case % 2]), k, s, pad, d, ceil, True
        )
    expected, indices = reference_pool.max_pool(x, k, s, pad, d, ceil, layout=layout)
    assert same_bits(y, expected)
    np.testing.assert_array_equal(found, indices)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [((3, 5), 1, (1, 2)), ((3, 4), 3, 1), ((2, 5), (1, 2), (1, 2))])
def test_nothing_of_other_columns_is_left_behind_the_last(window: Any, dtype: Any, name: str) -> None:
    """Rows in several blocks of columns, each smaller than those before, which padding is less than."""
    for width in (19998, 20000, 20014):
        x = -np.arange(width, dtype=dtype)[np.newaxis, np.newaxis, np.newaxis]
        with isa(name):
            y, found = fastconv.max_pool2d(x, *window, return_indices=True)
        expected, indices = reference_pool.max_pool(x, *window, layout="NCHW")
        assert same_bits(y, expected)
        np.testing.assert_array_equal(found, indices)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("window", [(2, 1), (2, 2), (3, 1), (3, 2), (4, 3), (5, 1), (5, 2), (7, 4)])
def test_one_nan_is_found_in_every_column(window: Any, padding: int, dtype: Any, name: str) -> None:
    """Alone among numbers, be it in the last columns, in a vector of their own or in none; and no NaN."""
    rows = window[0] + 2
    for width in (31, 32, 33, 34):
        x = image(2, (rows, width), dtype, "NCHW", 1)[:1].repeat(width + 1, 0)
        for column in range(width):
            x[column, 0, column % rows, column] = np.nan
        expected, indices = reference_pool.max_pool(x, *window, padding, layout="NCHW")
        for one, y, at in zip(x, expected, indices):
            with isa(name):
                got, found = fastconv.max_pool2d(one.copy(), *window, padding, return_indices=True)
            assert same_bits(got, y)
            np.testing.assert_array_equal(found, at)


# Input size, kernel, stride, padding, dilation, channels: windows side by side, of a vector of columns and of
# less, with pixels left over; windows that overlap, of few pixels and of many; planes larger than what zeros
# are written to at once; fewer and more channels than several vectors.
MOVES: list[Any] = [
    ((8, 8), 2, 2, 0, 1, 5),
    ((9, 35), 2, 2, 0, 1, 17),
    ((7, 66), 2, 2, 0, 1, 4),
    ((6, 64), (3, 2), (3, 2), 0, 1, 3),
    ((5, 7, 37), 2, 2, 0, 1, 16),
    ((4, 6, 8), 2, 2, 0, 1, 67),
    ((33,), 3, 3, 0, 1, 130),
    ((70,), 2, 2, 0, 1, 9),
    ((9, 26), 3, 2, 1, 1, 64),
    ((13, 13), 5, 1, 2, 1, 37),
    ((13, 13), 3, 1, 1, 1, 80),
    ((12, 40), 3, 1, 2, 2, 16),
    ((130, 150), 3, 2, 0, 1, 5),
    ((90, 150), 3, 1, 1, 1, 6),
    ((40, 3), (37, 2), 1, 0, 1, 21),
    ((1, 1), 1, 1, 0, 1, 19),
]


def indices_of(case: int, dtype: Any, layout: str, kind: str) -> Any:
    """Gradients, indices and the shape of what they go to: those of a pooling, but for some."""
    size, k, s, pad, d, channels = MOVES[case]
    x = image(len(size), size, dtype, layout, channels)
    y, indices = function("max_pool#", len(size))(x, k, s, pad, d, return_indices=True, layout=layout)
    rng = np.random.default_rng(case)
    anywhere = rng.integers(0, np.prod(size), y.shape)
    if kind == "strays":
        indices = np.where(rng.random(y.shape) < 0.02, anywhere, indices)
    elif kind == "none":
        indices = np.where(rng.random(y.shape) < 0.1, -1, indices)
    elif kind == "anywhere":
        indices = anywhere
    elif kind == "one":
        indices = np.full_like(indices, np.prod(size) - 1)
    return normal(y.shape, dtype, case), indices, x.shape


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["pooled", "strays", "none", "anywhere", "one"])
@pytest.mark.parametrize("case", range(len(MOVES)))
def test_any_indices(case: int, kind: str, dtype: Any, last: bool, name: str) -> None:
    """Whatever the first indices look like: gradients are added in the order of windows, exactly."""
    spatial = len(MOVES[case][0])
    layout = LAYOUTS[spatial][last]
    grad, indices, shape = indices_of(case, dtype, layout, kind)
    grad.flat[::7] = -0.0
    with isa(name):
        poisoned = Poisoned(shape, dtype)
        function("max_pool#_grad", spatial)(grad, indices, input_shape=shape, layout=layout, out=poisoned.out)
        poisoned.check()
        assert same_bits(poisoned.out, in_order(grad, indices, shape, layout, np.add.at))
        if kind == "none":
            return
        unpool = operators.get(f"max_unpool{spatial}d")
        got = unpool.forward(grad, indices, output_shape=shape, layout=layout)
        assert same_bits(got, in_order(grad, indices, shape, layout, np.ndarray.__setitem__))
        back = function("max_unpool#_grad", spatial)(got, indices, layout=layout)
        if kind == "pooled" and MOVES[case][1] == MOVES[case][2]:
            assert same_bits(back, grad)


def in_order(grad: Any, indices: Any, shape: Any, layout: str, move: Any) -> Any:
    """Planes of zeros to which one window after the other is added, or written."""
    last = layout.endswith("C")
    grad, indices = (np.moveaxis(a, -1, 1) if last else a for a in (grad, indices))
    planes = grad.shape[0] * grad.shape[1]
    made = np.zeros((planes, int(np.prod(shape)) // planes), grad.dtype)
    for plane, one, at in zip(made, grad.reshape(planes, -1), indices.reshape(planes, -1)):
        move(plane, at[at >= 0], one[at >= 0])
    made = made.reshape((shape[0], shape[-1], *shape[1:-1]) if last else shape)
    return np.ascontiguousarray(np.moveaxis(made, 1, -1)) if last else made


@pytest.mark.parametrize("layout", LAYOUTS[2])
def test_bits_of_moves_do_not_depend_on_threads(layout: str) -> None:
    size, channels = (56, 60), 70
    x = image(2, size, np.float32, layout, channels)
    for how in ((2, 2, 0), (3, 2, 1), (5, 1, 2)):
        y, found = fastconv.max_pool2d(x, *how, return_indices=True, layout=layout)
        results = []
        for count in (1, 2, 5):
            with threads(count):
                results.append(fastconv.max_pool2d_grad(y, found, input_shape=x.shape, layout=layout))
        assert all(same_bits(result, results[0]) for result in results)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize(("height", "width", "channels"), [(600, 602, 16), (434, 436, 28)])
def test_a_gradient_larger_than_the_caches(height: int, width: int, channels: int, name: str) -> None:
    """Pixels written past them, at an address of a whole vector and at another, if whole; an index astray."""
    x = normal((1, height, width, channels), np.float32, 1)
    grad = normal((1, height // 2, width // 2, channels), np.float32, 2)
    aside = np.empty(x.size + 1, np.float32)[1:].reshape(x.shape)
    with isa(name), threads(2):
        _, indices = fastconv.max_pool2d(x, 2, layout="NHWC", return_indices=True)
        for astray in (False, True):
            if astray:
                indices[0, 200, 7, 3] = 5
            expected = np.zeros((height * width, channels), np.float32)
            where = indices.reshape(-1, channels), np.arange(channels)
            np.add.at(expected, where, grad.reshape(-1, channels))
            for out in (None, aside):
                got = fastconv.max_pool2d_grad(grad, indices, 2, input_shape=x.shape, layout="NHWC", out=out)
                assert same_bits(got, expected.reshape(x.shape))


@pytest.mark.parametrize("layout", LAYOUTS[2])
@pytest.mark.parametrize("how", [(2, 2, 0), (3, 2, 1), (5, 1, 2)])
def test_an_index_outside_is_found_wherever_it_is(how: Any, layout: str) -> None:
    """Among those that are looked at first, among the last, and where a whole vector is right but for it."""
    x = image(2, (40, 70), np.float32, layout, 33)
    y, found = fastconv.max_pool2d(x, *how, return_indices=True, layout=layout)
    for at in (0, 1, found.size // 2, found.size - 1):
        for bad in (40 * 70, -2, 2**31, 2**32, 2**40 + 5, -(2**32), -(2**40)):
            wrong = found.copy()
            wrong.flat[at] = bad
            with pytest.raises(ValueError, match=f"indices: {bad} is outside a plane of 2800 pixels"):
                fastconv.max_pool2d_grad(y, wrong, input_shape=x.shape, layout=layout)
            with pytest.raises(ValueError, match=f"indices: {bad} is outside a plane of 2800 pixels"):
                fastconv.max_unpool2d_grad(x, wrong, layout=layout)


def test_odd_arguments_of_moves() -> None:
    y, found = fastconv.max_pool2d(normal((2, 3, 6, 6)), 2, return_indices=True)
    empty = fastconv.max_pool2d_grad(y[:0], found[:0], input_shape=(0, 3, 6, 6))
    assert empty.shape == (0, 3, 6, 6)
    for dtype in (np.int32, np.uint64, np.int8):
        with pytest.raises(TypeError, match="int64 is wanted"):
            fastconv.max_pool2d_grad(y, found.astype(dtype), input_shape=(2, 3, 6, 6))
    with pytest.raises(TypeError, match="grad_output has dtype float16"):
        fastconv.max_pool2d_grad(y.astype(np.float16), found, input_shape=(2, 3, 6, 6))
    with pytest.raises(ValueError, match="batch and channels"):
        fastconv.max_pool2d_grad(y, found, input_shape=(2, 4, 6, 6))
    with pytest.raises(ValueError, match="indices has shape"):
        fastconv.max_pool2d_grad(y, found[:1], input_shape=(2, 3, 6, 6))
    one = fastconv.max_pool2d_grad(y[..., :1, :1], found[..., :1, :1] * 0, input_shape=(2, 3, 1, 1))
    assert same_bits(one, y[..., :1, :1] + 0)
    apart = np.asfortranarray(found)
    assert same_bits(
        fastconv.max_pool2d_grad(np.asfortranarray(y), apart, input_shape=(2, 3, 6, 6)),
        fastconv.max_pool2d_grad(y, found, input_shape=(2, 3, 6, 6)),
    )


@pytest.mark.parametrize("layout", LAYOUTS[2])
def test_an_index_outside_leaves_out_as_it_is(layout: str) -> None:
    """Whatever else was right; and infinite sums stay infinite where they are divided."""
    x = image(2, (8, 8), np.float32, layout, 21)
    y, found = fastconv.max_pool2d(x, 2, return_indices=True, layout=layout)
    for bad in (-2, 64, 2**62, -(2**62)):
        wrong = found.copy()
        wrong.flat[wrong.size // 2] = bad
        out = np.full_like(x, 7)
        with pytest.raises(ValueError, match=f"indices: {bad} is outside a plane of 64 pixels"):
            fastconv.max_pool2d_grad(y, wrong, input_shape=x.shape, layout=layout, out=out)
        assert (out == 7).all()
        with pytest.raises(ValueError, match=f"indices: {bad} is outside"):
            fastconv.max_pool2d_grad(y, wrong, input_shape=x.shape, layout=layout)
    x[0].flat[5] = np.inf
    assert np.isinf(fastconv.avg_pool2d(x, 3, 1, 1, layout=layout)).any()
    assert not np.isnan(fastconv.avg_pool2d(x, 3, 1, 1, layout=layout)).any()


@pytest.mark.parametrize("layout", LAYOUTS[2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_unpool(dtype: Any, layout: str) -> None:
    x = image(2, (12, 18), dtype, layout)
    y, found = fastconv.max_pool2d(x, 2, return_indices=True, layout=layout)
    back = fastconv.max_unpool2d(y, found, 2, layout=layout)
    np.testing.assert_array_equal(back, reference_pool.max_unpool(y, found, x.shape, layout=layout))
    for size in (x.shape, x.shape[2:] if layout == "NCHW" else x.shape[1:3]):
        assert same_bits(fastconv.max_unpool2d(y, found, 2, output_size=size, layout=layout), back)
    grad = normal(x.shape, dtype, 4)
    got = fastconv.max_unpool2d_grad(grad, found, layout=layout)
    np.testing.assert_array_equal(got, reference_pool.max_unpool_grad(grad, found, layout=layout))
    found.flat[7] = 12 * 18
    with pytest.raises(ValueError, match="indices: 216 is outside a plane of 216 pixels"):
        fastconv.max_unpool2d(y, found, 2, layout=layout)
    with pytest.raises(ValueError, match="indices: 216"):
        fastconv.max_pool2d_grad(y, found, input_shape=x.shape, layout=layout)


def weight_terms(grad: Any, x: Any, y: Any, weight: Any, stride: Any, pad: Any, d: Any, layout: str) -> Any:
    """Sums of the magnitudes that the gradient of the weights adds up."""
    if layout == "NHWC":
        grad, x, y = (np.moveaxis(a, -1, 1) for a in (grad, x, y))
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    how = (weight.shape, weight.shape if stride is None else stride, pad, d)
    share = np.abs(grad) / reference_pool._weighted(np.ones_like(x), weight, *how)
    made = np.empty(weight.shape)
    for at in np.ndindex(*weight.shape):
        one = np.zeros(weight.shape)
        one[at] = 1
        seen, inside = (reference_pool._weighted(a, one, *how) for a in (np.abs(x), np.ones_like(x)))
        made[at] = np.sum(share * (seen + np.abs(y) * inside))
    return made


@pytest.mark.parametrize("layout", LAYOUTS[2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_and_stochastic(dtype: Any, layout: str) -> None:
    x = image(2, (11, 17), dtype, layout)
    weight = np.random.default_rng(2).random((3, 2)).astype(dtype) + dtype(0.1)
    for how in ((2, 1, 1), (None, [(1, 0), (0, 1)], 2), ((1, 3), "same", 1)):
        stride, pad, d = how
        options = {"dilation": d, "layout": layout}
        y = fastconv.weighted_avg_pool2d(x, weight, stride, pad, **options)
        expected = reference_pool.weighted_avg_pool2d(x, weight, stride, pad, **options)
        assert_within(y, expected, sum_bound(np.abs(x).max(), 12, dtype, expected))
        grad = normal(y.shape, dtype, 8)
        got = fastconv.weighted_avg_pool2d_grad(grad, weight, stride, pad, input_shape=x.shape, **options)
        want = reference_pool.weighted_avg_pool2d_grad(
            grad, weight, stride, pad, input_shape=x.shape, **options
        )
        assert_within(got, want, sum_bound(6 * np.abs(grad).max() * 12, 12, dtype, want))
        got = fastconv.weighted_avg_pool2d_weight_grad(grad, x, weight, stride, pad, **options)
        want = reference_pool.weighted_avg_pool2d_weight_grad(grad, x, weight, stride, pad, **options)
        terms = weight_terms(grad, x, y, weight, stride, pad, d, layout)
        assert_within(got, want, sum_bound(terms, grad.size, dtype, want))
        again = fastconv.weighted_avg_pool2d_weight_grad(grad, x, weight, stride, pad, y=y, **options)
        assert same_bits(got, again)
        x0 = np.maximum(x, 0)
        options["ceil_mode"] = True
        y = fastconv.stochastic_pool2d(x0, 3, stride, pad, **options)
        expected, _ = reference_pool.stochastic_pool2d(x0, 3, stride, pad, **options)
        assert_within(y, expected, sum_bound(expected, 18, dtype, expected))
        random = np.random.default_rng(6).random(y.shape)
        rng = np.random.default_rng(6)
        drawn, found = fastconv.stochastic_pool2d(
            x0, 3, stride, pad, training=True, rng=rng, return_indices=True, **options
        )
        expected, indices = reference_pool.stochastic_pool2d(x0, 3, stride, pad, random=random, **options)
        np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(found, indices)
        grad = normal(y.shape, dtype, 9)
        got = fastconv.stochastic_pool2d_grad(grad, found, input_shape=x.shape, layout=layout)
        assert_within(
            got, reference_pool.scatter(grad, indices, x.shape, layout=layout), 64 * np.finfo(dtype).eps
        )


def test_samples_have_the_right_probabilities() -> None:
    """A million draws from one window: each count within six standard deviations."""
    window = np.array([1.0, 0.0, 2.0, 5.0])
    x = np.broadcast_to(window.reshape(1, 1, 2, 2), (1, 1000, 2, 2)).repeat(1000, axis=0)
    _, found = fastconv.stochastic_pool2d(
        x, 2, training=True, rng=np.random.default_rng(0), return_indices=True
    )
    counts, p = np.bincount(found.ravel(), minlength=4), window / window.sum()
    assert (np.abs(counts - found.size * p) <= 6 * np.sqrt(found.size * p * (1 - p))).all()


def test_only_minus_infinity_has_an_index() -> None:
    x = np.full((1, 2, 5, 9), -np.inf, np.float32)
    y, found = fastconv.max_pool2d(x, 3, 2, 1, return_indices=True)
    expected, indices = reference_pool.max_pool(x, 3, 2, 1)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(found, indices)
