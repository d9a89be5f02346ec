"""Every algorithm x instruction set x dtype x layout against the reference, at shapes around the tiles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import winograd
from conv_case import Case
from conv_cases import CASES, winograd_cases
from support import (
    ALGORITHMS,
    DTYPES,
    ISAS,
    LAYOUTS,
    WIDTHS,
    Poisoned,
    amid_nan,
    assert_conv2d,
    assert_within,
    error_bound,
    from_layout,
    isa,
    normal,
    run_python,
    same_bits,
    threads,
    to_layout,
)

import fastconv
from fastconv import reference

MEMORY = ("contiguous", "contiguous", "rows", "steps")


def combinations() -> list[Any]:
    return [
        pytest.param(
            *(index, algorithm, name, dtype, layout),
            id=f"{case.name}-{algorithm}-{name}-{dtype.__name__}-{layout}",
        )
        for index, case in enumerate(CASES)
        for dtype in DTYPES
        for algorithm in ALGORITHMS
        if case.supports(algorithm)
        for name in ISAS
        for layout in LAYOUTS
    ]


def call(case: Case, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, **how: Any) -> np.ndarray:
    return fastconv.conv2d(x, weight, bias, **case.options, **how)


@pytest.mark.parametrize(("index", "algorithm", "name", "dtype", "layout"), combinations())
def test_against_reference(index: int, algorithm: str, name: str, dtype: Any, layout: str) -> None:
    """Within the derived bound; all of out written, nothing around it, no input read beyond its ends.

    The same call with an image of NaN goes first, so that whatever scratch memory still holds is poison.
    """
    case = CASES[index]
    x, weight, bias = case.arrays(dtype)
    memory = MEMORY[index % len(MEMORY)]
    image = amid_nan(to_layout(x, layout), memory)
    weight = amid_nan(weight)
    bias = None if bias is None else amid_nan(bias)
    poisoned = Poisoned(case.out_shape(layout), dtype, memory)
    with isa(name):
        call(case, np.full_like(image, np.nan), weight, bias, layout=layout, algorithm=algorithm)
        y = call(case, image, weight, bias, layout=layout, algorithm=algorithm, out=poisoned.out)
    assert y is poisoned.out
    poisoned.check()
    case.check(y, layout, algorithm)


SUM_OF_PRODUCTS = ("direct", "im2col", "depthwise", "dot", "grouped", "taps")
LOCAL = [
    Case("3x3", 5, 9, (9, 26), padding=1, batch=2),
    Case("1x1", 20, 13, (7, 7), (1, 1), batch=3),
    Case("5x5 stride 2", 3, 6, (13, 34), (5, 5), padding=2, stride=2),
    Case("dilation 3", 3, 6, (12, 19), padding=3, dilation=3),
    Case("depthwise 3x3", 9, 9, (12, 35), groups=9, padding=1),
    Case("depthwise 5x5 stride 2", 17, 34, (11, 20), (5, 5), groups=17, padding=2, stride=2),
    Case("grouped", 12, 8, (9, 18), groups=4, padding=1),
    Case("grouped in blocks", 64, 16, (9, 9), (5, 5), groups=4, padding=1, stride=2),
    Case("few outputs", 34, 4, (5, 7), groups=2, padding=2, stride=2),
]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize(
    ("case", "algorithm"),
    [
        pytest.param(case, algorithm, id=f"{case.name}-{algorithm}")
        for case in LOCAL
        for algorithm in SUM_OF_PRODUCTS
        if algorithm in ALGORITHMS and case.supports(algorithm)
    ],
)
def test_nan_and_infinity_stay_where_they_belong(case: Case, algorithm: str, name: str, value: float) -> None:
    """One pixel reaches exactly the outputs whose window has it: no lane, row or image mixes with another."""
    for seed, dtype in enumerate(DTYPES):
        x, weight, bias = case.arrays(dtype)
        pixels = np.random.default_rng(seed).integers(0, x.size, 6)
        for pixel, layout in zip(pixels, LAYOUTS * 3):
            spoilt = x.copy()
            spoilt.flat[pixel] = value
            expected = reference.conv2d(spoilt, weight, bias, **case.options)
            with isa(name):
                y = call(case, to_layout(spoilt, layout), weight, bias, layout=layout, algorithm=algorithm)
            assert not np.isfinite(expected).all()
            assert_within(from_layout(y, layout), expected, case.bound(dtype, False))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize(
    ("case", "algorithm"),
    [
        pytest.param(case, algorithm, id=f"{case.name}-{algorithm}")
        for case in [
            *LOCAL,
            Case("planes of 7x7", 37, 37, (7, 7), groups=37, padding=1, batch=3),
            Case("planes of 56x56", 3, 3, (56, 56), groups=3, padding=1, batch=2),
            Case("pairs that share a vector", 20, 20, (9, 15), groups=10, padding=1),
            Case("groups of vectors", 64, 32, (8, 9), groups=2, padding=(0, 2)),
            Case("groups in blocks", 64, 16, (9, 9), (5, 5), groups=4, padding=(2, 4), stride=2),
        ]
        for algorithm in ("depthwise", "grouped")
        if algorithm in ALGORITHMS and case.supports(algorithm)
    ],
)
def test_padding_times_a_weight_that_is_not_finite(
    case: Case, algorithm: str, name: str, value: float
) -> None:
    """Zeros of the padding are multiplied as the reference does it, in every plane, layout and plan."""
    for seed, dtype in enumerate(DTYPES):
        x, weight, bias = case.arrays(dtype)
        weight.flat[np.random.default_rng(seed).integers(0, weight.size, 2)] = value
        with np.errstate(invalid="ignore"):
            expected = reference.conv2d(x, weight, bias, **case.options)
        assert np.isnan(expected).any()
        for layout in LAYOUTS:
            image = to_layout(x, layout)
            with isa(name):
                y = call(case, image, weight, bias, layout=layout, algorithm=algorithm)
                plan = fastconv.plan_conv2d(
                    image.shape, weight, bias, layout=layout, algorithm=algorithm, **case.options
                )
                assert_within(from_layout(plan(image), layout), expected, case.bound(dtype, False))
            assert_within(from_layout(y, layout), expected, case.bound(dtype, False))


# Channels as lanes and pixels as lanes, in place, copied and in blocks; 1 x 1 of one channel and of several.
EACH_WEIGHT = [
    ("depthwise", Case("planes", 5, 5, (7, 9), (2, 3), groups=5, padding=(1, 2))),
    ("depthwise", Case("planes, stride 3", 3, 3, (9, 40), (3, 2), groups=3, padding=1, stride=3)),
    ("depthwise", Case("blocks", 19, 19, (4, 5), (7, 9), groups=19, padding=(3, 4))),
    ("grouped", Case("rows", 6, 4, (9, 33), (2, 3), groups=2, padding=(1, 2))),
    ("grouped", Case("channels", 12, 48, (6, 17), (3, 2), groups=3, padding=1)),
    ("grouped", Case("groups in blocks", 80, 20, (9, 9), (5, 4), groups=5, padding=4, stride=2)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("deep", [False, True], ids=["2-D", "3-D"])
@pytest.mark.parametrize(("algorithm", "case"), EACH_WEIGHT, ids=lambda value: getattr(value, "name", value))
@np.errstate(invalid="ignore")
def test_padding_times_each_weight(algorithm: str, case: Case, deep: bool, name: str, layout: str) -> None:
    """Each tap of the last output channel in turn, the very last weight too: NaN where it should be."""
    x, weight, bias = case.arrays(np.float32)
    groups, pads = case.groups, [case.padding] * 2 if isinstance(case.padding, int) else case.padding
    how: dict[str, Any] = {"groups": groups, "stride": case.stride, "padding": tuple(pads)}
    conv, definition = fastconv.conv2d, reference.conv2d
    if deep:  # the taps of two depths, one of which meets padding
        conv, definition = fastconv.conv3d, reference.conv3d
        x, weight = np.stack([x, x, x], 2), np.stack([weight, weight[..., ::-1]], 2)
        how |= {"stride": (1, case.stride, case.stride), "padding": (1, *pads)}
        layout = {"NCHW": "NCDHW", "NHWC": "NDHWC"}[layout]
    image = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout.endswith("C") else x
    taps = int(np.prod(weight.shape[2:]))
    for tap in range(taps):
        spoilt = weight.copy()
        spoilt[-1, -1].flat[tap] = np.inf
        expected = definition(x, spoilt, bias, **how)
        with isa(name):
            y = conv(image, spoilt, bias, layout=layout, algorithm=algorithm, **how)
        found = np.moveaxis(y, -1, 1) if layout.endswith("C") else y
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))


def fitting_weight(algorithm: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Weights for six channels that an algorithm can use, and the options to go with them."""
    groups = 6 if algorithm == "depthwise" else 2
    return normal((12, 6 // groups, 3, 3), np.float64, 7), {"groups": groups, "padding": 1}


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("activation", ["relu", "relu6", ("leaky_relu", 0.25), ("leaky_relu", -1.5)], ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_activations(algorithm: str, activation: Any, name: str) -> None:
    """Every activation in every algorithm, with values on all sides of its corners; NaN stays NaN."""
    weight, how = fitting_weight(algorithm)
    x = normal((2, 6, 9, 11), np.float64, 4)
    how["activation"] = activation
    for dtype in DTYPES:
        for layout in LAYOUTS:
            image, w = to_layout(x.astype(dtype), layout), weight.astype(dtype)
            with isa(name):
                y = fastconv.conv2d(image, w, layout=layout, algorithm=algorithm, **how)
                assert_conv2d(y, image, w, layout=layout, algorithm=algorithm, **how)
                y = fastconv.conv2d(np.full_like(image, np.nan), w, layout=layout, algorithm=algorithm, **how)
            assert np.isnan(y).all()


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_strides_of_x_and_out_do_not_change_a_bit(algorithm: str, name: str) -> None:
    """A slice, a reversed or a transposed view is the same image, also where one takes all of its scratch."""
    x = normal((3, 6, 28, 27), np.float32, 6)
    weight, how = fitting_weight(algorithm)
    weight = weight.astype(np.float32)
    how["algorithm"] = algorithm
    check_strides(x, weight, how, name)


# Planes of vectors and up to four pixels more, in one block and in several, weights in one part and in two;
# and one of a single pixel more than the vectors of every ISA.
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("algorithm", ["im2col", "auto"])
@pytest.mark.parametrize(
    "shape",
    [(1, 300, 160, 7, 7), (1, 2500, 70, 7, 7), (3, 40, 200, 17, 17), (2, 90, 24, 5, 10), (1, 70, 70, 25, 25)],
)
def test_strides_do_not_change_a_bit_of_pixels_after_the_last_vector(
    shape: tuple[int, ...], algorithm: str, name: str
) -> None:
    batch, channels, outputs, height, width = shape
    x = normal((batch, channels, height, width), np.float32, 6)
    weight = normal((outputs, channels, 1, 1), np.float32, 7)
    check_strides(x, weight, {"algorithm": algorithm, "bias": normal((outputs,), np.float32, 8)}, name)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("batch", [2, 9])
def test_strides_do_not_change_a_bit_of_groups_in_blocks(batch: int, name: str) -> None:
    """Rows of one image, and of several at a time, whose outputs do not follow each other."""
    x, weight = normal((batch, 128, 3, 7), np.float32, 6), normal((32, 16, 5, 3), np.float32, 7)
    how: dict[str, Any] = {"algorithm": "grouped", "groups": 8, "padding": (2, 1)}
    layouts = []
    with isa(name):
        for layout in LAYOUTS:
            plan = fastconv.plan_conv2d(to_layout(x, layout).shape, weight, layout=layout, **how)
            layouts += [layout] * ("in blocks with" in plan.explain())
    assert "NCHW" in layouts
    check_strides(x, weight, how, name, layouts)


def check_strides(
    x: np.ndarray, weight: np.ndarray, how: dict[str, Any], name: str, layouts: Sequence[str] = LAYOUTS
) -> None:
    """Assert that views with other strides, as x or as out, have the bits of contiguous arrays."""
    for layout in layouts:
        image = to_layout(x, layout)
        with isa(name):
            expected = fastconv.conv2d(image, weight, layout=layout, **how)
            for memory in ("rows", "steps", "reversed"):
                poisoned = Poisoned(expected.shape, np.float32, memory)
                view = Poisoned(image.shape, np.float32, memory).out
                view[...] = image
                fastconv.conv2d(view, weight, layout=layout, out=poisoned.out, **how)
                poisoned.check()
                assert same_bits(np.ascontiguousarray(poisoned.out), expected), f"{layout}, {memory}"
                assert same_bits(fastconv.conv2d(view, weight, layout=layout, **how), expected)
            fastconv.clear_scratch()
            foreign = np.asfortranarray(image)
            turned = np.empty_like(expected, order="F")
            fastconv.conv2d(image, weight, layout=layout, out=turned, **how)
            assert same_bits(np.ascontiguousarray(turned), expected)
            assert same_bits(fastconv.conv2d(foreign, weight, layout=layout, **how), expected)


winograd_only = pytest.mark.skipif("winograd4" not in ALGORITHMS, reason="no Winograd in this build")


@winograd_only
@pytest.mark.parametrize(("m", "taps"), winograd.FORMS)
def test_the_transforms_that_bound_winograd_s_error_are_winograd_s(m: int, taps: int) -> None:
    """In fractions, one dimension: A' ((G g) * (B' d)) is the convolution, for every unit d and g."""
    bt, g, at = winograd.transforms(m, taps)
    for pixel in range(m + taps - 1):
        for tap in range(taps):
            products = [gi[tap] * bi[pixel] for gi, bi in zip(g, bt)]
            for output in range(m):
                total = sum(a * p for a, p in zip(at[output], products))
                assert total == (1 if output + tap == pixel else 0)


@winograd_only
def test_a_pair_of_outputs_between_padding_takes_three_products() -> None:
    bt, g, at = (np.array(matrix) for matrix in winograd.PAIR)
    for d in np.eye(4)[1:3]:
        for w in np.eye(3):
            assert np.array_equal(at @ ((g @ w) * (bt @ d)), np.correlate(d, w))


@winograd_only
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("case", winograd_cases(), ids=lambda case: case.name)
def test_winograd_tiles(case: Case, name: str, layout: str) -> None:
    """Every form, tiles whole and cut, phases of one length and of two, one chunk of channels and more."""
    for dtype in DTYPES:
        x, weight, bias = case.arrays(dtype)
        image = to_layout(x, layout)
        for algorithm in filter(case.supports, ("winograd2", "winograd4")):
            with isa(name):
                poisoned = Poisoned(case.out_shape(layout), dtype)
                how = {"layout": layout, "algorithm": algorithm, **case.options}
                fastconv.conv2d(amid_nan(image), amid_nan(weight), bias, out=poisoned.out, **how)
                plan = fastconv.plan_conv2d(image.shape, weight, bias, **how)
                poisoned.check()
                case.check(poisoned.out, layout, algorithm)
                assert same_bits(plan(image), np.ascontiguousarray(poisoned.out))
                with threads(3):
                    assert same_bits(plan(image), np.ascontiguousarray(poisoned.out))


@winograd_only
@pytest.mark.parametrize("axis", [0, 1], ids=["height", "width"])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_winograd_between_any_padding(dilation: int, axis: int) -> None:
    """Planes of up to three outputs a phase with every padding: which taps meet only zeros."""
    pads = range(2 * dilation + 2)
    weight = normal((3, 2, 3, 3), np.float32, 2)
    for size, before, after in product(range(1, 2 * dilation + 6), pads, pads):
        if size + before + after <= 2 * dilation:
            continue
        x = normal((1, 2, size, 4) if axis == 0 else (1, 2, 4, size), np.float32, size)
        options = {
            "padding": ((before, after), (1, 1)) if axis == 0 else ((1, 1), (before, after)),
            "dilation": (dilation, 1) if axis == 0 else (1, dilation),
        }
        expected = reference.conv2d(x, weight, **options)
        bound = error_bound(x, weight, **options)
        for name in ISAS:
            with isa(name):
                for algorithm in ("winograd2", "winograd4"):
                    y = fastconv.conv2d(x, weight, algorithm=algorithm, **options)
                    assert_within(y, expected, bound)


@winograd_only
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"stride": 2}, "stride 1"),
        ({"dilation": 25, "padding": 25}, "dilation of at most 24"),
        ({"kernel": (1, 1)}, "larger than 1x1"),
        ({"kernel": (4, 3)}, "taps"),
        ({"kernel": (7, 7), "padding": 3}, "taps"),
    ],
)
@pytest.mark.parametrize("algorithm", ["winograd2", "winograd4"])
def test_winograd_declines(algorithm: str, options: dict[str, Any], why: str) -> None:
    kernel = options.get("kernel", (3, 3))
    how = {name: value for name, value in options.items() if name != "kernel"}
    x, weight = np.ones((1, 2, 9, 9), np.float32), np.ones((3, 2, *kernel), np.float32)
    with pytest.raises(ValueError, match=why):
        fastconv.conv2d(x, weight, algorithm=algorithm, **how)


@winograd_only
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("channels", [16, 64, 256, 512])
@pytest.mark.parametrize("algorithm", ["winograd2", "winograd4"])
def test_winograd_s_error_is_below_a_hundred_thousandth(algorithm: str, channels: int, name: str) -> None:
    """As promised of what "auto" may take: below 1e-5 of the largest output, for Gaussian data in float32."""
    x, weight = normal((1, channels, 15, 14), np.float32, 8), normal((24, channels, 3, 3), np.float32, 9)
    expected = reference.conv2d(x, weight, padding=1)
    with isa(name):
        y = fastconv.conv2d(x, weight, padding=1, algorithm=algorithm)
    assert_within(y, expected, 1e-5 * np.abs(expected).max())


@winograd_only
def test_exact_mode_turns_winograd_off() -> None:
    x, weight = normal((1, 64, 56, 56), np.float32, 1), normal((64, 64, 3, 3), np.float32, 2)
    fast = fastconv.conv2d(x, weight, padding=1)
    fastconv.set_exact(True)
    exact = fastconv.conv2d(x, weight, padding=1)
    assert_conv2d(exact, x, weight, padding=1)
    assert not fastconv.plan_conv2d(x.shape, weight, padding=1).algorithm.startswith("winograd")
    for algorithm in ("winograd2", "winograd4"):
        with pytest.raises(ValueError, match="exact"):
            fastconv.conv2d(x, weight, padding=1, algorithm=algorithm)
    fastconv.set_exact(False)
    assert same_bits(fastconv.conv2d(x, weight, padding=1), fast)


@pytest.mark.parametrize("size", [(9, 9), (20, 20), (56, 57)])
@pytest.mark.parametrize("name", ISAS)
def test_one_channel_broadcast_to_all(size: tuple[int, int], name: str) -> None:
    """Channels that all lie at one place are those of a copy, also where x is multiplied where it lies."""
    one, weight = normal((2, 1, *size), np.float32, 1), normal((15, 4, 1, 1), np.float32, 2)
    x = np.broadcast_to(one, (2, 4, *size))
    turned = np.ascontiguousarray(weight.swapaxes(0, 1))
    with isa(name):
        for algorithm in ("auto", "im2col"):
            found = fastconv.conv2d(x, weight, algorithm=algorithm)
            assert same_bits(found, fastconv.conv2d(x.copy(), weight, algorithm=algorithm))
            shape = (2, 15, *size)
            grad = fastconv.conv2d_input_grad(x, turned, input_shape=shape, algorithm=algorithm)
            np.testing.assert_allclose(grad, found, rtol=0, atol=1e-5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
@pytest.mark.parametrize("name", WIDTHS)
def test_no_byte_beyond_an_array_is_touched(name: str) -> None:
    """Arrays that end, or begin, at a page that cannot be read: a process that reads on is killed."""
    kernels, _, wide = name.partition(":")
    settings = {"FASTCONV_ISA": kernels, "FASTCONV_WIDE_FMAS": wide or "0", "FASTCONV_NUM_THREADS": "1"}
    done = run_python("import guard_pages; guard_pages.main()", **settings)
    where = done.stdout.rstrip().rpartition("\n")[2]
    assert done.returncode == 0, f"exit code {done.returncode} in {where}: {done.stderr[-1500:]}"
    assert done.stdout.endswith("done\n")
