"""Pooling and its gradients against the reference, torch, central differences, and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pool_cases import LAYOUTS, function, image, sum_bound
from support import DTYPES, ISAS, Poisoned, amid_nan, assert_within, isa, normal, same_bits, threads

import fastconv
from fastconv import reference_pool

# kernel_size, stride, padding, dilation, ceil_mode; one entry per axis where they differ
CASES = {
    1: [
        ((19,), 3, 2, 1, 1, False),
        ((40,), 5, 1, (2,), 2, False),
        ((7,), 2, 3, 0, 1, True),
        ((33,), 20, 7, [(3, 9)], 1, True),
        ((70,), 64, None, 0, 1, True),
    ],
    2: [
        ((9, 26), 3, 2, 1, 1, False),
        ((8, 35), 2, None, 0, 1, False),
        ((7, 7), 3, 1, 1, 1, False),
        ((13, 18), (2, 3), (3, 1), [(1, 0), (0, 2)], 1, True),
        ((12, 19), 3, 2, 2, 2, True),
        ((11, 40), (1, 5), (2, 3), 0, (1, 3), False),
        ((5, 6), 5, 1, "same", 1, False),
        ((6, 31), 4, 3, "same_lower", 1, False),
        ((40, 3), (37, 2), 1, 0, 1, False),
        ((1, 1), 3, 1, 1, 1, False),
        ((1, 1), 2, 1, 1, 2, False),
    ],
    3: [
        ((4, 5, 17), 2, None, 0, 1, False),
        ((6, 7, 9), 3, 2, 1, 1, True),
        ((5, 4, 8), (1, 3, 2), 1, [0, (2, 1), 1], (1, 1, 2), False),
    ],
}


def combinations() -> list[Any]:
    return [
        pytest.param(
            spatial, index, name, dtype, layout, id=f"{spatial}d-{index}-{name}-{dtype.__name__}-{layout}"
        )
        for spatial, cases in CASES.items()
        for index in range(len(cases))
        for name in ISAS
        for dtype in DTYPES
        for layout in LAYOUTS[spatial]
    ]


@pytest.mark.parametrize(("spatial", "index", "name", "dtype", "layout"), combinations())
def test_against_reference(spatial: int, index: int, name: str, dtype: Any, layout: str) -> None:
    """Every operator and gradient; amid NaN, so that what is read outside x shows."""
    size, k, s, pad, d, ceil = CASES[spatial][index]
    x = image(spatial, size, dtype, layout)
    inside = amid_nan(x, ("contiguous", "rows", "steps")[index % 3])
    how = {"layout": layout}
    count = int(np.prod(k)) if np.iterable(k) else k**spatial
    with isa(name):
        y, found = function("max_pool#", spatial)(inside, k, s, pad, d, ceil, True, **how)
        expected, indices = reference_pool.max_pool(x, k, s, pad, d, ceil, **how)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(found, indices)
        assert found.dtype == np.int64
        poisoned = Poisoned(y.shape, dtype, ("contiguous", "rows", "reversed")[index % 3])
        assert (
            function("max_pool#", spatial)(inside, k, s, pad, d, ceil, **how, out=poisoned.out)
            is poisoned.out
        )
        poisoned.check()
        np.testing.assert_array_equal(poisoned.out, expected)
        grad = normal(y.shape, dtype, 5)
        got = function("max_pool#_grad", spatial)(grad, found, input_shape=x.shape, **how)
        want = reference_pool.scatter(grad, indices, x.shape, **how)
        assert_within(
            got,
            want,
            sum_bound(reference_pool.scatter(np.abs(grad), indices, x.shape, **how), count, dtype, want),
        )
        again = function("max_pool#_grad", spatial)(grad, inside, k, s, pad, d, ceil, **how)
        assert same_bits(again, got)
        for options in ((True, None), (False, None), (True, 5)):
            y = function("avg_pool#", spatial)(inside, k, s, pad, ceil, *options, dilation=d, **how)
            expected = reference_pool.avg_pool(x, k, s, pad, ceil, *options, dilation=d, **how)
            terms = reference_pool.avg_pool(np.abs(x), k, s, pad, ceil, *options, dilation=d, **how)
            assert_within(y, expected, sum_bound(terms, count, dtype, expected))
            rest = {"input_shape": x.shape, "dilation": d, **how}
            got = function("avg_pool#_grad", spatial)(amid_nan(grad), k, s, pad, ceil, *options, **rest)
            want = reference_pool.avg_pool_grad(grad, k, s, pad, ceil, *options, **rest)
            terms = reference_pool.avg_pool_grad(np.abs(grad), k, s, pad, ceil, *options, **rest)
            assert_within(got, want, sum_bound(terms, count, dtype, want))
        for p in (1, 2, 3.5):
            rest = {"padding": pad, "dilation": d, **how}
            y = function("lp_pool#", spatial)(inside, p, k, s, ceil, **rest)
            expected = reference_pool.lp_pool(x, p, k, s, ceil, **rest)
            assert_within(y, expected, sum_bound(expected, count, dtype, expected))
            got = function("lp_pool#_grad", spatial)(grad, x, p, k, s, ceil, **rest)
            want = reference_pool.lp_pool_grad(grad, x, p, k, s, ceil, **rest)
            terms = reference_pool.lp_pool_grad(np.abs(grad), x, p, k, s, ceil, **rest)
            # y, off by (count + 8) eps at most, is raised to the power 1 - p.
            assert_within(got, want, 3 * (1 + abs(1 - p)) * sum_bound(terms, count, dtype, want))


# Widths around one and two vectors of every instruction set, planes that fill no vector, one, and one more:
# tiles of planes, rows in registers, lines, also of several vectors, and planes that are one window.
WAYS = [
    ((7, 7), 3, 1, 1, 1, False),
    ((7, 8), 2, None, 0, 1, False),
    ((5, 15), 3, 2, 1, 1, True),
    ((6, 16), (2, 4), None, 0, 1, False),
    ((4, 17), 3, 1, 1, 1, False),
    ((9, 31), 5, 3, 1, 1, False),
    ((4, 32), 2, None, 0, 1, False),
    ((3, 32), 3, 1, 1, 1, False),
    ((5, 33), 3, 2, 1, 1, False),
    ((13, 56), 5, 3, 2, 1, True),
    ((9, 70), (3, 4), (2, 4), 0, 2, False),
    ((40, 45), 4, None, 0, 1, False),
    ((3, 29), (3, 29), None, 0, 1, False),
    ((6, 150), 2, None, 0, 1, False),
    ((5, 141), 3, 2, 1, 1, True),
    ((7, 133), 5, 2, 2, 1, False),
    ((4, 90), 3, 1, 1, 2, False),
    ((1, 66), (1, 2), 2, 0, 1, False),
    # Narrow windows in registers: an output beyond whole vectors, whole ones, a tap in the next one, cut
    ((5, 35), 2, None, 0, 1, False),
    ((6, 35), 3, 2, 1, 1, False),
    ((5, 35), 3, 1, 1, 1, False),
    ((4, 64), (3, 2), 2, 0, 1, False),
    ((5, 65), 3, 2, 0, 1, False),
    ((3, 36), 2, 1, 1, 1, False),
    ((5, 40), 3, 1, 0, 1, False),
    ((9, 67), (4, 3), (1, 2), (2, 1), (2, 1), True),
]


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("planes", [1, 8, 16, 17, 67])
@pytest.mark.parametrize("case", range(len(WAYS)))
def test_every_way_of_filling_lanes(case: int, planes: int, dtype: Any, name: str) -> None:
    size, k, s, pad, d, ceil = WAYS[case]
    x = image(2, size, dtype, "NCHW", planes)[:1]
    inside = amid_nan(x, ("contiguous", "rows")[case % 2])
    count = int(np.prod(k))
    with isa(name):
        y, found = fastconv.max_pool2d(inside, k, s, pad, d, ceil, True)
        expected, indices = reference_pool.max_pool(x, k, s, pad, d, ceil)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(found, indices)
        poisoned = Poisoned(y.shape, dtype)
        fastconv.max_pool2d(inside, k, s, pad, d, ceil, out=poisoned.out)
        poisoned.check()
        np.testing.assert_array_equal(poisoned.out, expected)
        poisoned = Poisoned(y.shape, dtype)
        fastconv.lp_pool2d(inside, 2, k, s, ceil, padding=pad, dilation=d, out=poisoned.out)
        poisoned.check()
        expected = reference_pool.lp_pool(x, 2, k, s, ceil, padding=pad, dilation=d)
        assert_within(poisoned.out, expected, sum_bound(expected, count, dtype, expected))
        grad = normal(y.shape, dtype, 5)
        for include in (True, False):
            poisoned = Poisoned(y.shape, dtype)
            y = fastconv.avg_pool2d(inside, k, s, pad, ceil, include, dilation=d, out=poisoned.out)
            poisoned.check()
            expected = reference_pool.avg_pool(x, k, s, pad, ceil, include, dilation=d)
            terms = reference_pool.avg_pool(np.abs(x), k, s, pad, ceil, include, dilation=d)
            assert_within(y, expected, sum_bound(terms, count, dtype, expected))
            poisoned = Poisoned(x.shape, dtype)
            rest = {"input_shape": x.shape, "dilation": d}
            got = fastconv.avg_pool2d_grad(amid_nan(grad), k, s, pad, ceil, include, out=poisoned.out, **rest)
            poisoned.check()
            want = reference_pool.avg_pool_grad(grad, k, s, pad, ceil, include, **rest)
            terms = reference_pool.avg_pool_grad(np.abs(grad), k, s, pad, ceil, include, **rest)
            assert_within(got, want, sum_bound(terms, count, dtype, want))


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("output", [1, 3, 4, 7, "mixed"], ids=str)
def test_adaptive(output: Any, last: bool, spatial: int, name: str) -> None:
    layout = LAYOUTS[spatial][last]
    size = (12, 28, 21)[:spatial] if spatial < 3 else (4, 6, 21)
    output = (None, 5, 2)[:spatial] if output == "mixed" else output
    for dtype in DTYPES:
        x = image(spatial, size, dtype, layout, 19 if last else 0)
        with isa(name):
            y, found = function("adaptive_max_pool#", spatial)(amid_nan(x), output, True, layout=layout)
            expected, indices = reference_pool.adaptive_max_pool(x, output, layout=layout)
            np.testing.assert_array_equal(y, expected)
            np.testing.assert_array_equal(found, indices)
            np.testing.assert_array_equal(
                function("adaptive_max_pool#", spatial)(x, output, layout=layout), expected
            )
            y = function("adaptive_avg_pool#", spatial)(amid_nan(x), output, layout=layout)
            expected = reference_pool.adaptive_avg_pool(x, output, layout=layout)
            terms = reference_pool.adaptive_avg_pool(np.abs(x), output, layout=layout)
            assert_within(y, expected, sum_bound(terms, int(np.prod(size)), dtype, expected))
            grad = normal(y.shape, dtype, 3)
            sizes = y.shape[1:-1] if last else y.shape[2:]
            got = function("adaptive_avg_pool#_grad", spatial)(grad, input_shape=x.shape, layout=layout)
            want = reference_pool.adaptive_avg_pool_grad(grad, sizes, input_shape=x.shape, layout=layout)
            terms = reference_pool.adaptive_avg_pool_grad(
                np.abs(grad), sizes, input_shape=x.shape, layout=layout
            )
            assert_within(got, want, sum_bound(terms, 64, dtype, want))
            got = function("adaptive_max_pool#_grad", spatial)(grad, x, layout=layout)
            assert same_bits(
                got, function("max_pool#_grad", spatial)(grad, found, input_shape=x.shape, layout=layout)
            )


@pytest.mark.parametrize("code", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
@pytest.mark.parametrize("layout", LAYOUTS[2])
def test_max_of_integers(layout: str, code: str) -> None:
    info = np.iinfo(code)
    rng = np.random.default_rng(1)
    x = rng.integers(info.min, info.max, (2, 13, 21, 18), code, endpoint=True)
    x[0] = x[0] // 2 * 0 + info.min  # a window of the least has an index too
    for how in ((3, 2, 1), (2, None, 0), ((2, 5), 1, "same", 2)):
        y, found = fastconv.max_pool2d(x, *how, return_indices=True, layout=layout)
        expected, indices = reference_pool.max_pool(x, *how, layout=layout)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(found, indices)
        np.testing.assert_array_equal(fastconv.max_pool2d(x, *how, layout=layout), expected)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("layout", LAYOUTS[2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_wins_and_stays_where_it_belongs(dtype: Any, layout: str, name: str) -> None:
    rng = np.random.default_rng(3)
    x = image(2, (14, 33), dtype, layout)
    x.flat[rng.integers(0, x.size, 9)] = np.nan
    x.flat[rng.integers(0, x.size, 9)] = -np.inf
    with isa(name):
        for how in ((3, 2, 1), (2, 2, 0), (3, 1, 1), ((4, 5), 3, 0)):
            y, found = fastconv.max_pool2d(x, *how, return_indices=True, layout=layout)
            expected, indices = reference_pool.max_pool(x, *how, layout=layout)
            np.testing.assert_array_equal(y, expected)
            np.testing.assert_array_equal(found, indices)
            np.testing.assert_array_equal(fastconv.max_pool2d(x, *how, layout=layout), expected)
            for p in (1, 2):
                np.testing.assert_array_equal(
                    np.isnan(fastconv.lp_pool2d(x, p, how[0], how[1], padding=how[2], layout=layout)),
                    np.isnan(reference_pool.lp_pool(x, p, how[0], how[1], padding=how[2], layout=layout)),
                )


@pytest.mark.parametrize("where", ["contiguous", "rows", "steps"])
@pytest.mark.parametrize("shape", [(3, 1, 13, 35), (1, 1, 7, 70), (3, 37, 1, 1), (1, 20, 1, 1)], ids=str)
def test_one_channel_and_one_pixel_are_alike_in_both_layouts(shape: Any, where: str) -> None:
    first = image(2, shape[2:], np.float32, "NCHW", shape[1])[: shape[0]]
    first = np.concatenate([first, first + 1])[: shape[0]]
    planes = amid_nan(first, where)
    channels = amid_nan(np.ascontiguousarray(np.moveaxis(first, 1, -1)), where)
    grad = normal(fastconv.avg_pool2d(first, 3, 1, 1).shape, np.float32, 2)
    last = np.ascontiguousarray(np.moveaxis(grad, 1, -1))
    for k, s, pad in ((3, 2, 1), (3, 1, 1), (2, 2, "same"), (1, 1, 0)):
        y, found = fastconv.max_pool2d(planes, k, s, pad, return_indices=True)
        also, indices = fastconv.max_pool2d(channels, k, s, pad, return_indices=True, layout="NHWC")
        assert same_bits(np.moveaxis(also, -1, 1), y)
        np.testing.assert_array_equal(np.moveaxis(indices, -1, 1), found)
        np.testing.assert_array_equal(fastconv.max_pool2d(first, k, s, pad), y)
        back = fastconv.max_pool2d_grad(also, indices, input_shape=channels.shape, layout="NHWC")
        assert same_bits(
            np.moveaxis(back, -1, 1), fastconv.max_pool2d_grad(y, found, input_shape=planes.shape)
        )
    mean, mean_grad = reference_pool.avg_pool, reference_pool.avg_pool_grad
    rest = {"input_shape": channels.shape, "layout": "NHWC"}
    for pooled, expected, terms in (
        (
            fastconv.avg_pool2d(channels, 3, 1, 1, layout="NHWC"),
            mean(first, 3, 1, 1),
            mean(np.abs(first), 3, 1, 1),
        ),
        (
            fastconv.avg_pool2d_grad(last, 3, 1, 1, **rest),
            mean_grad(grad, 3, 1, 1, input_shape=first.shape),
            mean_grad(np.abs(grad), 3, 1, 1, input_shape=first.shape),
        ),
        (
            fastconv.adaptive_avg_pool2d(channels, 1, layout="NHWC"),
            reference_pool.adaptive_avg_pool(first, 1),
            reference_pool.adaptive_avg_pool(np.abs(first), 1),
        ),
    ):
        bound = sum_bound(terms, shape[2] * shape[3] + 9, np.float32, expected)
        assert_within(np.moveaxis(pooled, -1, 1), expected, bound)
    bound = sum_bound(mean(np.abs(first), 3, 1, 1), 9, np.float32, mean(first, 3, 1, 1))
    assert_within(fastconv.avg_pool2d(planes, 3, 1, 1), mean(first, 3, 1, 1), bound)


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (
            lambda x: fastconv.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            lambda g, x: fastconv.avg_pool2d_grad(g, 3, 2, 1, count_include_pad=False, input_shape=x.shape),
        ),
        (
            lambda x: fastconv.lp_pool2d(x, 3, 3, 2, padding=1),
            lambda g, x: fastconv.lp_pool2d_grad(g, x, 3, 3, 2, padding=1),
        ),
        (lambda x: fastconv.max_pool2d(x, 3, 2, 1), lambda g, x: fastconv.max_pool2d_grad(g, x, 3, 2, 1)),
        (
            lambda x: fastconv.adaptive_avg_pool2d(x, 3),
            lambda g, x: fastconv.adaptive_avg_pool2d_grad(g, input_shape=x.shape),
        ),
        (
            lambda x: fastconv.stochastic_pool2d(x, 3, 2),
            lambda g, x: fastconv.stochastic_pool2d_grad(g, x, 3, 2),
        ),
        (
            lambda x: fastconv.weighted_avg_pool2d(x, np.arange(1.0, 7).reshape(2, 3), 2),
            lambda g, x: fastconv.weighted_avg_pool2d_grad(
                g, np.arange(1.0, 7).reshape(2, 3), 2, input_shape=x.shape
            ),
        ),
    ],
    ids=["avg", "lp", "max", "adaptive", "stochastic", "weighted"],
)
def test_central_differences(forward: Any, backward: Any) -> None:
    """<dy, g> for a small step along each pixel; values far enough apart that no maximum changes."""
    x = np.random.default_rng(0).permutation(2 * 7 * 8).reshape(1, 2, 7, 8) / 10 + 0.5
    grad = normal(forward(x).shape, np.float64, 1)
    got, step = backward(grad, x), 1e-5
    for pixel in np.ndindex(x.shape):
        near = np.zeros_like(x)
        near[pixel] = step
        slope = float(np.sum((forward(x + near) - forward(x - near)) * grad)) / (2 * step)
        assert abs(slope - got[pixel]) <= 1e-7 * max(1, abs(slope)), pixel


@pytest.mark.parametrize("layout", LAYOUTS[2])
def test_bits_do_not_depend_on_threads(layout: str) -> None:
    channels = 200
    x = normal((2, channels, 57, 61) if layout == "NCHW" else (2, 57, 61, channels), np.float32)
    grad = normal(fastconv.max_pool2d(x, 3, 2, 1, layout=layout).shape, np.float32, 1)
    calls = [
        lambda: fastconv.max_pool2d(x, 3, 2, 1, return_indices=True, layout=layout)[1],
        lambda: fastconv.avg_pool2d(x, 3, 1, 1, layout=layout),
        lambda: fastconv.lp_pool2d(x, 2, 3, layout=layout),
        lambda: fastconv.adaptive_avg_pool2d(x, 1, layout=layout),
        lambda: fastconv.adaptive_avg_pool2d(x, 5, layout=layout),
        lambda: fastconv.avg_pool2d_grad(
            grad, 3, 2, 1, count_include_pad=False, input_shape=x.shape, layout=layout
        ),
        lambda: fastconv.max_pool2d_grad(grad, x, 3, 2, 1, layout=layout),
    ]
    for call in calls:
        with threads(1):
            expected = call()
        for count in (2, 3, 5):
            with threads(count):
                assert same_bits(call(), expected)


# --- torch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("k", "s", "p"), [(3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 1), (5, 2, 2)])
def test_against_torch(k: int, s: int, p: int, ceil_mode: bool, spatial: int) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = image(spatial, (13, 12, 9)[:spatial], np.float64, "NCHW", 3)
    x.flat[5] = x.flat[6] = np.nan
    t = torch.from_numpy(x)
    y, found = getattr(functional, f"max_pool{spatial}d")(
        t, k, s, p, ceil_mode=ceil_mode, return_indices=True
    )
    ours, indices = function("max_pool#", spatial)(t, k, s, p, 1, ceil_mode, True)
    np.testing.assert_array_equal(ours, y.numpy())
    np.testing.assert_array_equal(indices, found.numpy())
    x = np.nan_to_num(x)
    t = torch.from_numpy(x).requires_grad_()
    for include in (True, False):
        y = getattr(functional, f"avg_pool{spatial}d")(t, k, s, p, ceil_mode, include)
        ours = function("avg_pool#", spatial)(x, k, s, p, ceil_mode, include)
        np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-13, atol=1e-14)
        grad = normal(ours.shape, np.float64, 2)
        (want,) = torch.autograd.grad(y, t, torch.from_numpy(grad))
        got = function("avg_pool#_grad", spatial)(grad, k, s, p, ceil_mode, include, input_shape=x.shape)
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-13, atol=1e-14)
    y = getattr(functional, f"max_pool{spatial}d")(t, k, s, p, ceil_mode=ceil_mode)
    grad = normal(tuple(y.shape), np.float64, 2)
    (want,) = torch.autograd.grad(y, t, torch.from_numpy(grad))
    got = function("max_pool#_grad", spatial)(grad, x, k, s, p, 1, ceil_mode)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-13, atol=1e-14)
    if not ceil_mode:
        y = getattr(functional, f"lp_pool{spatial}d")(t, 2, k, s)
        np.testing.assert_allclose(function("lp_pool#", spatial)(x, 2, k, s), y.detach().numpy(), rtol=1e-13)
        (want,) = torch.autograd.grad(y, t, torch.ones_like(y))
        got = function("lp_pool#_grad", spatial)(np.ones(y.shape), x, 2, k, s)
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_adaptive_and_unpool_against_torch(spatial: int) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = image(spatial, (13, 12, 9)[:spatial], np.float64, "NCHW", 3)
    t = torch.from_numpy(x).requires_grad_()
    for output in (1, 4, 5):
        y, found = getattr(functional, f"adaptive_max_pool{spatial}d")(t, output, return_indices=True)
        ours, indices = function("adaptive_max_pool#", spatial)(x, output, True)
        np.testing.assert_array_equal(ours, y.detach().numpy())
        np.testing.assert_array_equal(indices, found.numpy())
        y = getattr(functional, f"adaptive_avg_pool{spatial}d")(t, output)
        np.testing.assert_allclose(
            function("adaptive_avg_pool#", spatial)(x, output), y.detach().numpy(), rtol=1e-12, atol=1e-14
        )
        (want,) = torch.autograd.grad(y, t, torch.ones_like(y))
        got = function("adaptive_avg_pool#_grad", spatial)(np.ones(y.shape), input_shape=x.shape)
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-12, atol=1e-14)
    t = torch.from_numpy(image(spatial, (12, 14, 8)[:spatial], np.float64, "NCHW", 3))
    y, found = getattr(functional, f"max_pool{spatial}d")(t, 2, return_indices=True)
    want = getattr(functional, f"max_unpool{spatial}d")(y, found, 2)
    np.testing.assert_array_equal(
        function("max_unpool#", spatial)(y.detach().numpy(), found.numpy(), 2), want.detach().numpy()
    )


# --- The whole option space ---------------------------------------------------------------------------


def test_any_options() -> None:
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies

    @hypothesis.given(st.data())
    @hypothesis.settings(max_examples=150)
    def check(data: Any) -> None:
        spatial = data.draw(st.integers(1, 3))
        layout = data.draw(st.sampled_from(LAYOUTS[spatial]))
        dtype = data.draw(st.sampled_from(DTYPES))

        def each(low: int, high: int) -> list[int]:
            return [data.draw(st.integers(low, high)) for _ in range(spatial)]

        size, k, s, d = each(1, 20), each(1, 5), each(1, 4), each(1, 3)
        pad = [tuple(data.draw(st.integers(0, (a - 1) * b)) for _ in range(2)) for a, b in zip(k, d)]
        ceil, batched = data.draw(st.booleans()), data.draw(st.booleans())
        x = image(spatial, tuple(size), dtype, layout, data.draw(st.integers(1, 18)))
        x = x if batched else x[0]
        with isa(data.draw(st.sampled_from(ISAS))):
            try:
                y, found = function("max_pool#", spatial)(x, k, s, pad, d, ceil, True, layout=layout)
            except ValueError as error:
                assert "reaches over" in str(error)  # noqa: PT017
                padded = [n + sum(p) for n, p in zip(size, pad)]
                slack = [step - 1 if ceil else 0 for step in s]
                assert any(n + more < (a - 1) * b + 1 for n, a, b, more in zip(padded, k, d, slack))
                return
            expected, indices = reference_pool.max_pool(x, k, s, pad, d, ceil, layout=layout)
            np.testing.assert_array_equal(y, expected)
            np.testing.assert_array_equal(found, indices)
            include = data.draw(st.booleans())
            average = function("avg_pool#", spatial)(x, k, s, pad, ceil, include, dilation=d, layout=layout)
            grad = normal(average.shape, dtype, 1)
            back = function("avg_pool#_grad", spatial)(
                grad, k, s, pad, ceil, include, input_shape=x.shape, dilation=d, layout=layout
            )
            # The gradient of a linear function is its adjoint: <pool(x), g> = <x, grad(g)>.
            one, other = np.vdot(average.astype(np.float64), grad), np.vdot(x.astype(np.float64), back)
            terms = (
                np.vdot(np.abs(average), np.abs(grad))
                + np.vdot(np.abs(x), np.abs(back))
                + np.abs(x).max() * np.abs(grad).sum()
            )
            assert abs(one - other) <= (int(np.prod(k)) + 10) * float(np.finfo(dtype).eps) * terms

    check()


# --- What is refused ----------------------------------------------------------------------------------


X = np.zeros((1, 2, 6, 6), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fastconv.max_pool2d(X, 0), ValueError, "kernel_size must be at least 1, got 0 for height"),
        (lambda: fastconv.max_pool2d(X, (2, 2, 2)), ValueError, "kernel_size must be one integer or 2"),
        (lambda: fastconv.max_pool2d(X, 2.0), TypeError, "kernel_size must be an integer, got float 2.0"),
        (lambda: fastconv.max_pool2d(X, 2, 0), ValueError, "stride must be at least 1"),
        (
            lambda: fastconv.max_pool2d(X, 2, padding=2),
            ValueError,
            r"padding \(2, 2\) for height must be less",
        ),
        (lambda: fastconv.max_pool2d(X, 2, padding=-1), ValueError, "padding must not be negative"),
        (
            lambda: fastconv.max_pool2d(X, 7),
            ValueError,
            "kernel_size 7 with dilation 1 reaches over 7 pixels of height",
        ),
        (lambda: fastconv.max_pool2d(X, 2, dilation=2**62), ValueError, "dilation"),
        (lambda: fastconv.max_pool2d(X, 2, ceil_mode=1), TypeError, "ceil_mode must be a bool, got int 1"),
        (lambda: fastconv.max_pool2d(X, 2, return_indices=None), TypeError, "return_indices must be a bool"),
        (lambda: fastconv.max_pool2d(X, 2, layout="NLC"), ValueError, 'layout must be "NCHW" or "NHWC"'),
        (lambda: fastconv.max_unpool2d(X, X.astype(int), 2, layout=""), ValueError, "layout must be"),
        (lambda: fastconv.adaptive_avg_pool2d_grad(X, input_shape=3, layout=2), TypeError, "layout must be"),
        (lambda: fastconv.max_pool2d(X[0, 0], 2), ValueError, "x must have 4 axes"),
        (lambda: fastconv.max_pool2d(X.astype(bool), 2), TypeError, "x has dtype bool"),
        (lambda: fastconv.max_pool2d([[1.0]], 2), TypeError, "x must be an array"),
        (lambda: fastconv.max_pool2d(X[:, :0], 2), ValueError, "x has 0 channels"),
        (lambda: fastconv.max_pool2d(X[..., :0], 2), ValueError, "x has width 0"),
        (lambda: fastconv.max_pool2d(X, 2, out=X[..., :3, :3]), ValueError, "out shares memory with x"),
        (
            lambda: fastconv.max_pool2d(X, 2, out=np.zeros((1, 2, 3, 4), np.float32)),
            ValueError,
            "out has shape",
        ),
        (lambda: fastconv.max_pool2d(X, 2, out=np.zeros((1, 2, 3, 3))), TypeError, "out has dtype float64"),
        (
            lambda: fastconv.avg_pool2d(X.astype(int), 2),
            TypeError,
            r"x has dtype int64.*x.astype\(np.float32\)",
        ),
        (
            lambda: fastconv.avg_pool2d(X, 2, divisor_override=0),
            ValueError,
            "divisor_override must be at least 1",
        ),
        (
            lambda: fastconv.avg_pool2d(X, 2, count_include_pad="no"),
            TypeError,
            "count_include_pad must be a bool",
        ),
        (lambda: fastconv.lp_pool2d(X, 0, 2), ValueError, "norm_type must be positive and finite, got 0"),
        (lambda: fastconv.lp_pool2d(X, "2", 2), TypeError, "norm_type must be a number"),
        (lambda: fastconv.adaptive_avg_pool2d(X, 0), ValueError, "output_size must be at least 1"),
        (
            lambda: fastconv.adaptive_avg_pool2d(X, (1, 2, 3)),
            ValueError,
            "output_size must be one integer or 2",
        ),
        (lambda: fastconv.adaptive_avg_pool2d(X, 2**62), ValueError, "output_size"),
        (lambda: fastconv.max_pool2d_grad(X, X.astype(np.int64)), TypeError, "input_shape is needed"),
        (
            lambda: fastconv.max_pool2d_grad(X, X.astype(np.int32), input_shape=X.shape),
            TypeError,
            "indices has dtype int32",
        ),
        (
            lambda: fastconv.max_pool2d_grad(X, X[..., 1:].astype(int), input_shape=X.shape),
            ValueError,
            "indices has shape",
        ),
        (
            lambda: fastconv.max_pool2d_grad(X, X.astype(int), input_shape=(1, 3, 6, 6)),
            ValueError,
            "grad_output has",
        ),
        (lambda: fastconv.avg_pool2d_grad(X, 2, input_shape=X.shape), ValueError, "grad_output has shape"),
        (lambda: fastconv.avg_pool2d_grad(X, 2, input_shape=7), TypeError, "input_shape must be a tuple"),
        (
            lambda: fastconv.weighted_avg_pool2d(X, np.array([[1, -1]], np.float32)),
            ValueError,
            "weight: the weights of",
        ),
        (lambda: fastconv.stochastic_pool2d(X - 1, 2), ValueError, "x must not be negative"),
        (lambda: fastconv.stochastic_pool2d(X, 2, return_indices=True), ValueError, "return_indices"),
        (
            lambda: fastconv.stochastic_pool2d(X, 2, training=True, rng=0),
            TypeError,
            "rng must be a numpy.random.Generator",
        ),
    ],
)
def test_errors_name_the_argument(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_empty_batch_and_odd_memory() -> None:
    assert fastconv.max_pool2d(X[:0], 2).shape == (0, 2, 3, 3)
    assert fastconv.avg_pool2d(X[:0], 2).shape == (0, 2, 3, 3)
    x = normal((1, 2, 6, 8))
    expected = fastconv.max_pool2d(x, 2)
    assert same_bits(fastconv.max_pool2d(x.astype(">f4"), 2), expected)
    assert same_bits(fastconv.max_pool2d(np.asfortranarray(x), 2), expected)
    assert same_bits(fastconv.max_pool2d(x[..., ::-1], 2), np.ascontiguousarray(expected[..., ::-1]))
    x.flags.writeable = False
    assert same_bits(fastconv.max_pool2d(x, 2), expected)
