"""Gradients of convolution: against the reference, central differences, each other, and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grad_cases import (
    CASES,
    INPUT_METHODS,
    METHODS,
    TAPS_PIXELS,
    Data,
    both_dtypes,
    both_layouts,
    every_case,
    every_isa,
)
from support import LAYOUTS, Poisoned, amid_nan, assert_within, isa, normal, same_bits, threads, to_layout

import fastconv
from fastconv import reference

# --- Against the reference ----------------------------------------------------------------------------


@every_case
@both_layouts
@both_dtypes
@every_isa
def test_input_grad(case: Any, layout: str, dtype: Any, name: str) -> None:
    """Exact algorithms meet the bound of a plain sum; the choice between all of them is looked at below."""
    data = Data(case, dtype, layout)
    fastconv.set_exact(True)
    with isa(name):
        for algorithm in (*INPUT_METHODS, *["taps"] * bool(np.prod(case[2]) <= TAPS_PIXELS)):
            data.check_input_grad(data.input_grad(algorithm=algorithm))


# A case that each method computes, in the layout named where only one will do.
INPUT_METHOD_CASES = [
    ("planes", "depthwise stride 2, rows in pairs", "NCHW"),
    ("planes", "depthwise planes, stride 3, five vectors of a phase", "NCHW"),
    ("planes", "depthwise planes, stride 4, large kernel in two strips", "NCHW"),
    ("planes", "depthwise planes, strides 3 and 2", "NCHW"),
    ("lanes", "depthwise", "NCHW"),
    ("lanes", "depthwise, 33 channels of 7x7", "NHWC"),
    ("lanes", "depthwise stride 2, an odd plane", "NCHW"),
    ("blocks", "8 groups of 4, stride 2", "NCHW"),
    ("blocks", "5 groups of 16 to 4 in blocks, stride 3", "NHWC"),
    ("blocks", "5 groups of 16 to 4 in blocks, stride 3", "NCHW"),
    ("blocks", "9 groups of 3 to 17 in blocks, stride beyond the kernel", "NHWC"),
    ("blocks", "9 groups of 3 to 17 in blocks, stride beyond the kernel", "NCHW"),
    ("blocks", "17 groups of 17 to 2 in blocks, dilation 2 by 3", "NHWC"),
    ("strided", "depthwise 5x5 stride 2", "NHWC"),
    ("multiplied", "depthwise times 2, stride (3, 2)", "NCHW"),
    ("patches", "patches of 2x3, more pixels than a panel", "NHWC"),
    ("pixels", "1x1, 4 pixels", "NHWC"),
    ("pixels", "1x1, 18 pixels of many weights", "NHWC"),
    ("pixels", "1x1 of one pixel, several panels", "NCHW"),
    ("exchanged", "1x1, 49 pixels, 25 to 33", "NHWC"),
    ("exchanged", "1x1, 4 pixels", "NCHW"),
    ("exchanged", "1x1, an image turned round in parts", "NCHW"),
    ("dense", "8 groups of 4, stride 2", "NCHW"),
    ("rows", "dilation (3, 2), stride 2", "NCHW"),
    ("phases", "dilation (3, 2), stride 2", "NHWC"),
    ("phases", "3x3, 48 to 40, Winograd", "NCHW"),
]


@pytest.mark.parametrize(("method", "case", "layout"), INPUT_METHOD_CASES)
@both_dtypes
@every_isa
def test_input_grad_by_method(method: str, case: str, layout: str, dtype: Any, name: str) -> None:
    fastconv.set_exact(True)
    with isa(name):
        data = Data(CASES[case], dtype, layout)
        data.check_input_grad(data.input_grad(algorithm=method))


@every_case
@both_layouts
@both_dtypes
def test_input_grad_by_methods_that_support_it(case: Any, layout: str, dtype: Any) -> None:
    """Every method, also where it is not the fastest; others say whose needs are not met."""
    data = Data(case, dtype, layout)
    fastconv.set_exact(True)
    for method in (
        "planes",
        "lanes",
        "blocks",
        "strided",
        "multiplied",
        "patches",
        "pixels",
        "exchanged",
        "dense",
        "rows",
        "phases",
    ):
        try:
            result = data.input_grad(algorithm=method)
        except ValueError as error:
            assert f'algorithm="{method}" cannot compute this gradient' in str(error)  # noqa: PT017
        else:
            data.check_input_grad(result)


@pytest.mark.parametrize("batch", [1, 3])
@both_layouts
def test_input_grad_by_taps_in_rounds_and_passes(layout: str, batch: int) -> None:
    """More sums of images than scratch holds, and more filters than are turned at a time."""
    options = {"padding": 1, "stride": 3, "groups": 8}
    data = Data((8 * 17, 8 * 100, (39, 38), (7, 7), options), np.float32, layout, batch)
    data.leave_nan_behind()
    data.weight, data.grad = np.rint(2 * data.weight), np.rint(2 * data.grad)
    expected = reference.conv2d_input_grad(data.grad, data.weight, input_shape=data.x.shape, **data.options)
    np.testing.assert_array_equal(data.input_grad(algorithm="taps"), expected)


def test_input_grad_by_taps_refuses() -> None:
    grad, weight = normal((1, 3, 91, 91), np.float32), normal((3, 2, 1, 1), np.float32)
    with pytest.raises(ValueError, match="smaller images"):
        fastconv.conv2d_input_grad(grad, weight, input_shape=(1, 2, 91, 91), algorithm="taps")
    padded = normal((1, 1, 402, 402), np.float32)
    with pytest.raises(ValueError, match="less padding"):
        fastconv.conv2d_input_grad(
            padded, weight[:1, :1], input_shape=(1, 1, 2, 2), padding=200, algorithm="taps"
        )
    none = fastconv.conv2d_input_grad(
        np.zeros((0, 3, 4, 4)), np.ones((3, 2, 2, 2)), input_shape=(0, 2, 5, 5), algorithm="taps"
    )
    assert none.shape == (0, 2, 5, 5)


def test_input_grad_by_taps_of_deep_images() -> None:
    """The longest axis of the outputs is the depth; channels of an array that is no whole one."""
    weight = normal((5, 3, 3, 2, 2), np.float64, 2)
    for stride in (1, (2, 1, 1)):
        shape = reference.conv3d(normal((2, 3, 9, 3, 2), np.float64), weight, stride=stride, padding=1).shape
        grad = normal((shape[0], 8, *shape[2:]), np.float64, 3)[:, 1:6]
        expected = reference.conv3d_input_grad(
            grad, weight, input_shape=(2, 3, 9, 3, 2), stride=stride, padding=1
        )
        how = {"stride": stride, "padding": 1, "algorithm": "taps"}
        result = fastconv.conv3d_input_grad(grad, weight, input_shape=(2, 3, 9, 3, 2), **how)
        assert_within(result, expected, 1e-13 * np.abs(expected).max())


def pixels_takes(case: Any) -> bool:
    """Depthwise, and every output sees a pixel."""
    channels, outputs, size, kernel, options = case
    padding = options.get("padding", 0)
    near = isinstance(padding, int) and padding < min(*kernel, *size)
    return channels == outputs == options.get("groups", 1) and max(kernel) <= 7 and near


def takes_runs(data: Data) -> bool:
    """Groups, or few channels, and kernels that do not reach too far."""
    try:
        data.weight_grad(algorithm="runs")
    except ValueError as error:
        if "runs is for groups" in str(error) or "would not fit scratch" in str(error):
            return False
        raise
    return True


@every_case
@both_layouts
@both_dtypes
@every_isa
def test_weight_grad(case: Any, layout: str, dtype: Any, name: str) -> None:
    data = Data(case, dtype, layout)
    fastconv.set_exact(True)
    with isa(name):
        pointwise = case[3] == (1, 1) and "padding" not in case[4]
        channels = bool(case[0] / case[4].get("groups", 1) * np.prod(case[3]) <= 2048)
        pixels = layout == "NHWC" and pixels_takes(case)
        for algorithm in (
            *METHODS, *["channels"] * channels, *["pointwise"] * pointwise, *["pixels"] * pixels,
            *["runs"] * takes_runs(data),
        ):  # fmt: skip
            data.leave_nan_behind(algorithm=algorithm)
            data.check_weight_grad(data.weight_grad(algorithm=algorithm))


@both_layouts
def test_input_grad_with_winograd(layout: str) -> None:
    """The documented error of Winograd, 1e-5 of the largest value, with all its algorithms."""
    data = Data(CASES["3x3, 48 to 40, Winograd"], np.float32, layout)
    expected = reference.conv2d_input_grad(data.grad, data.weight, input_shape=data.x.shape, **data.options)
    for algorithm in ("auto", "winograd2", "winograd4"):
        assert_within(data.input_grad(algorithm=algorithm), expected, 1e-5 * np.abs(expected).max())


# batch, channels, outputs, size, padding, dilation: tiles of 4 x 4 whole and cut, one block of them and many,
# channels on and around vectors and the blocks of 64, more tiles than one chain of sums takes, phases of one
# length and of two.
WINOGRAD_CASES = {
    "one tile": (1, 3, 5, (4, 4), 1, 1),
    "tiles cut on both axes": (2, 17, 33, (9, 14), 1, 1),
    "valid, one row of tiles": (1, 16, 32, (6, 31), 0, 1),
    "padding 3": (1, 8, 8, (5, 7), 3, 1),
    "65 to 129": (1, 65, 129, (14, 14), 1, 1),
    "64 to 64, several blocks": (2, 64, 64, (33, 30), 1, 1),
    "270 to 130, one block": (1, 270, 130, (8, 8), 1, 1),
    "several chains": (1, 2, 3, (150, 130), 1, 1),
    "dilation 2": (2, 17, 33, (33, 34), 2, 2),
    "dilation 3, valid": (1, 16, 32, (54, 60), 0, 3),
    "dilation 2, other padding": (1, 8, 8, (40, 35), 5, 2),
}


@pytest.mark.parametrize("case", WINOGRAD_CASES.values(), ids=WINOGRAD_CASES.keys())
@both_layouts
@both_dtypes
@every_isa
def test_weight_grad_with_winograd(case: Any, layout: str, dtype: Any, name: str) -> None:
    """The documented error, 1e-5 of the largest value in float32, for data of both signs and of one."""
    batch, channels, outputs, size, padding, dilation = case
    data = Data(
        (channels, outputs, size, (3, 3), {"padding": padding, "dilation": dilation}), dtype, layout, batch
    )
    for signed in (True, False):
        if not signed:
            data.x, data.grad = abs(data.x), abs(data.grad)
        expected = reference.conv2d_weight_grad(
            data.grad, data.x, weight_shape=data.weight.shape, **data.options
        )
        limit = 1e-5 * np.finfo(dtype).eps / np.finfo(np.float32).eps * np.abs(expected).max()
        with isa(name):
            assert_within(data.weight_grad(algorithm="winograd4"), expected, limit)


def test_weight_grad_with_winograd_refuses() -> None:
    options = {"weight_shape": (4, 2, 3, 3), "algorithm": "winograd4"}
    grad = normal((1, 4, 3, 3), np.float32)
    with pytest.raises(ValueError, match="stride 1"):
        fastconv.conv2d_weight_grad(grad, normal((1, 2, 7, 7), np.float32), stride=2, **options)
    with pytest.raises(ValueError, match="a sixteenth"):
        fastconv.conv2d_weight_grad(grad, normal((1, 2, 7, 7), np.float32), dilation=2, **options)
    fastconv.set_exact(True)
    with pytest.raises(ValueError, match="exact"):
        fastconv.conv2d_weight_grad(grad, normal((1, 2, 5, 5), np.float32), **options)


# More than a cache holds, so that groups share their blocks of pixels where channels are adjacent.
MANY_PIXELS = {
    "9 groups of 4": (36, 36, (100, 91), (3, 3), {"groups": 9, "padding": 1}),
    "11 groups of 3 to 5, stride 2": (33, 55, (120, 121), (3, 2), {"groups": 11, "padding": 1, "stride": 2}),
    "3 groups of 16 to 17": (48, 51, (90, 91), (1, 3), {"groups": 3, "padding": (0, 1)}),
    "2 groups of 24 to 3, roles exchanged": (48, 6, (90, 91), (2, 2), {"groups": 2}),
}


@pytest.mark.parametrize("case", MANY_PIXELS.values(), ids=MANY_PIXELS.keys())
@both_layouts
@every_isa
def test_weight_grad_of_groups_from_memory(case: Any, layout: str, name: str) -> None:
    """Of whole numbers, so that sums are exact and a single pixel that is wrong shows."""
    data = Data(case, np.float32, layout, 1)
    data.x, data.grad = np.rint(2 * data.x), np.rint(2 * data.grad)
    expected = reference.conv2d_weight_grad(data.grad, data.x, weight_shape=data.weight.shape, **data.options)
    with isa(name):
        np.testing.assert_array_equal(data.weight_grad(algorithm="direct"), expected)


@both_layouts
def test_input_grad_of_more_filters_than_a_cache_holds(layout: str) -> None:
    """Filters of 8 MB are turned round a block of input channels at a time."""
    for options in ({"padding": 1}, {"padding": 1, "stride": (2, 1)}):
        data = Data((300, 400, (4, 5), (3, 3), options), np.float64, layout, batch=1)
        fastconv.set_exact(True)
        for algorithm in (*INPUT_METHODS, "phases"):
            data.check_input_grad(data.input_grad(algorithm=algorithm))


@both_dtypes
@both_layouts
@pytest.mark.parametrize(
    "shape", [(3, 5, 4, 6), (1, 70, 9, 11), (2, 3, 40, 50), (4, 130, 1, 1), (1, 1, 300, 333)]
)
def test_bias_grad(shape: tuple[int, ...], layout: str, dtype: Any) -> None:
    grad = to_layout(normal(shape, dtype), layout)
    result = fastconv.conv2d_bias_grad(grad, layout=layout)
    terms = grad.size // shape[1]
    limit = terms * np.finfo(dtype).eps * reference.conv2d_bias_grad(abs(grad), layout=layout)
    assert result.dtype == dtype
    assert_within(result, reference.conv2d_bias_grad(grad, layout=layout), limit)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_other_ranks(rank: int, last: bool) -> None:
    """1-D and 3-D, with every option at once; small whole numbers, so that results are exact."""
    rng = np.random.default_rng(0)
    size, kernel = ((23,), (5,)) if rank == 1 else ((5, 9, 8), (3, 2, 3))
    layout = {1: ("NCL", "NLC"), 3: ("NCDHW", "NDHWC")}[rank][last]
    options = {"stride": 2, "padding": [(1, 2)] * rank, "dilation": 2, "groups": 2, "layout": layout}
    shape = (2, *size, 6) if last else (2, 6, *size)
    x = rng.integers(-3, 4, shape).astype(np.float32)
    weight = rng.integers(-3, 4, (4, 3, *kernel)).astype(np.float32)
    y = getattr(reference, f"conv{rank}d")(x, weight, **options)
    grad = rng.integers(-3, 4, y.shape).astype(np.float32)

    def check(kind: str, *args: Any, **more: Any) -> None:
        function = f"conv{rank}d_{kind}_grad"
        result = getattr(fastconv, function)(*args, **more)
        np.testing.assert_array_equal(result, getattr(reference, function)(*args, **more))

    check("input", grad, weight, input_shape=shape, **options)
    check("weight", grad, x, weight_shape=weight.shape, **options)
    check("bias", grad, layout=layout)


@both_layouts
@every_isa
def test_depthwise_planes_before_the_image(layout: str, name: str) -> None:
    """The one output plane is over padding: no pixel has a gradient."""
    x, weight = np.ones((1, 20, 1, 3, 5), np.float32), normal((20, 1, 1, 1, 1), np.float32, 2)
    options: dict[str, Any] = {"stride": 5, "padding": ((1, 0), 0, 0), "groups": 20}
    if layout == "NHWC":
        x, options["layout"] = np.ascontiguousarray(np.moveaxis(x, 1, -1)), "NDHWC"
    grad = normal(reference.conv3d(x, weight, **options).shape, np.float32, 3)
    with isa(name):
        for algorithm in ("auto", "depthwise"):
            found = fastconv.conv3d_input_grad(
                grad, weight, input_shape=x.shape, algorithm=algorithm, **options
            )
            np.testing.assert_array_equal(found, np.zeros_like(x))


# --- Against other definitions ------------------------------------------------------------------------

DIFFERENCES = (
    "3x3 stride 2",
    "dilation (3, 2), stride 2",
    "2 groups",
    "depthwise times 3",
    "same_lower, stride 3",
)


@pytest.mark.parametrize("name", DIFFERENCES)
@both_layouts
def test_central_differences(name: str, layout: str) -> None:
    """<conv(x + h e) - conv(x - h e), grad> / 2h is exact for a linear map but for rounding.

    With h = 1, values below 10 and at most 1e4 terms, rounding is below 1e4 * 1e4 * 2.2e-16 * 10 < 1e-6.
    """
    data = Data(CASES[name], np.float64, layout, batch=1)
    rng = np.random.default_rng(4)

    def slope(array: np.ndarray, place: tuple[int, ...]) -> float:
        before = array[place]
        results = []
        for step in (1, -1):
            array[place] = before + step
            results.append(fastconv.conv2d(data.x, data.weight, **data.options))
        array[place] = before
        return float(((results[0] - results[1]) * data.grad).sum() / 2)

    for array, gradient in ((data.x, data.input_grad()), (data.weight, data.weight_grad())):
        for _ in range(12):
            place = tuple(int(rng.integers(n)) for n in array.shape)
            assert abs(slope(array, place) - gradient[place]) < 1e-6


def test_adjointness() -> None:
    """<conv(x), y> = <x, input_grad(y)> = <w, weight_grad(y)>: whole numbers, so equality is exact."""
    hypothesis = pytest.importorskip("hypothesis", reason="the option space is searched by Hypothesis")
    from hypothesis import strategies as st

    def per_axis(low: int, high: int) -> Any:
        return st.tuples(st.integers(low, high), st.integers(low, high))

    @hypothesis.settings(max_examples=150)
    @hypothesis.given(
        st.integers(0, 3),
        st.integers(1, 4),
        st.integers(1, 6),
        st.integers(1, 9),
        per_axis(1, 20),
        per_axis(1, 5),
        per_axis(1, 5),
        per_axis(1, 3),
        st.one_of(st.just("same"), st.tuples(per_axis(0, 4), per_axis(0, 4))),
        st.sampled_from(LAYOUTS),
        st.sampled_from(METHODS),
        st.integers(0, 2**32 - 1),
    )
    def check(
        batch: int,
        groups: int,
        ins: int,
        outs: int,
        size: Any,
        kernel: Any,
        stride: Any,
        dilation: Any,
        padding: Any,
        layout: str,
        method: str,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "layout": layout}
        x = to_layout(rng.integers(-4, 5, (batch, groups * ins, *size)).astype(np.float64), layout)
        weight = rng.integers(-4, 5, (groups * outs, ins, *kernel)).astype(np.float64)
        try:
            y = fastconv.conv2d(x, weight, algorithm="direct", **how)
        except ValueError:
            hypothesis.reject()
        grad = rng.integers(-4, 5, y.shape).astype(np.float64)
        fastconv.set_exact(True)
        grad_x = fastconv.conv2d_input_grad(grad, weight, input_shape=x.shape, **how)
        grad_w = fastconv.conv2d_weight_grad(grad, x, weight_shape=weight.shape, algorithm=method, **how)
        assert (y * grad).sum() == (x * grad_x).sum() == (weight * grad_w).sum()

    check()


@every_case
def test_against_torch(case: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the second opinion")
    outputs, options = case[1], case[4]
    if isinstance(options.get("padding"), str) or max(np.ravel(options.get("stride", 1))) > 2**31:
        pytest.skip("PyTorch's function takes neither words nor such strides")
    padding = options.get("padding", 0)
    pads = np.broadcast_to(padding if np.ndim(padding) == 2 else np.reshape(padding, (-1, 1)), (2, 2))
    if (pads[:, 0] != pads[:, 1]).any() or max(np.ravel(options.get("dilation", 1))) > 2**31:
        pytest.skip("PyTorch's function takes symmetric padding only")
    data = Data(case, np.float64)
    pair = {
        name: [int(v) for v in np.broadcast_to(options.get(name, 1), 2)] for name in ("stride", "dilation")
    }
    arrays = [torch.from_numpy(a) for a in (data.grad, data.x, data.weight)]
    expected = torch.ops.aten.convolution_backward(
        *arrays,
        [outputs],
        pair["stride"],
        [int(p) for p in pads[:, 0]],
        pair["dilation"],
        False,
        [0, 0],
        options.get("groups", 1),
        [True, True, True],
    )
    eps = 2 * np.finfo(np.float64).eps  # both may be off
    largest = [
        reference.conv2d_input_grad(
            abs(data.grad), abs(data.weight), input_shape=data.x.shape, **data.options
        ),
        reference.conv2d_weight_grad(
            abs(data.grad), abs(data.x), weight_shape=data.weight.shape, **data.options
        ),
        reference.conv2d_bias_grad(abs(data.grad)),
    ]
    fastconv.set_exact(True)
    results = data.input_grad(), data.weight_grad(), fastconv.conv2d_bias_grad(data.grad)
    for result, other, most in zip(results, expected, largest, strict=True):
        terms = data.grad.size + data.weight.size
        assert_within(result, other.numpy(), terms * eps * most)


# --- Promises -----------------------------------------------------------------------------------------

SAME_BITS = {
    "dense": (64, 64, (56, 56), (3, 3), {"padding": 1}),
    "stride": (24, 40, (57, 61), (3, 3), {"padding": 1, "stride": 2}),
    "pointwise": (96, 64, (30, 31), (1, 1), {}),
    "one pixel": (500, 300, (1, 1), (1, 1), {}),
    "pointwise in parts": (400, 300, (15, 14), (1, 1), {}),
    "patches": (3, 40, (160, 140), (4, 4), {"stride": 4}),
    "pointwise in chunks of pixels": (24, 40, (90, 61), (1, 1), {}),
    "depthwise": (40, 40, (61, 67), (3, 3), {"padding": 1, "groups": 40}),
    "depthwise stride": (24, 24, (61, 66), (5, 5), {"padding": 2, "groups": 24, "stride": 2}),
    "two depthwise channels": (2, 2, (301, 300), (3, 3), {"padding": 1, "groups": 2}),
    "grouped": (64, 64, (31, 30), (3, 3), {"padding": 1, "groups": 16}),
    "few weights, many pixels": (3, 8, (200, 210), (3, 3), {"padding": 1}),
}


@pytest.mark.parametrize("case", SAME_BITS.values(), ids=SAME_BITS.keys())
@both_layouts
def test_same_bits_for_any_number_of_threads(case: Any, layout: str) -> None:
    data = Data(case, np.float32, layout, batch=3)
    results = []
    for count in (1, 2, 3, 5):
        with threads(count):
            bias = fastconv.conv2d_bias_grad(data.grad, layout=layout)
            results.append((data.input_grad(), data.weight_grad(), bias))
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(results[0], other, strict=True))


@every_case
@both_layouts
@every_isa
def test_nothing_outside_is_read_or_written(case: Any, layout: str, name: str) -> None:
    """Outputs between guards, full of NaN before; inputs between NaN."""
    data = Data(case, np.float32, layout)
    fastconv.set_exact(True)
    for memory in ("contiguous", "rows", "steps", "reversed"):
        with isa(name):
            data.leave_nan_behind()
            grad_x, grad_w = (Poisoned(a.shape, np.float32, memory) for a in (data.x, data.weight))
            clean = data.x, data.weight, data.grad
            data.x, data.weight, data.grad = (amid_nan(a, memory) for a in clean)
            data.input_grad(out=grad_x.out)
            data.weight_grad(out=grad_w.out)
            data.x, data.weight, data.grad = clean
            bias = Poisoned(data.weight.shape[:1], np.float32, memory)
            fastconv.conv2d_bias_grad(amid_nan(data.grad, memory), layout=layout, out=bias.out)
        for poisoned in (grad_x, grad_w, bias):
            poisoned.check()
            assert not np.isnan(poisoned.out).any()
        data.check_input_grad(grad_x.out)
        data.check_weight_grad(grad_w.out)


@both_layouts
@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("method", METHODS)
def test_nan_reaches_only_the_weights_that_see_it(method: str, groups: int, layout: str) -> None:
    """A NaN in the last column is under the last kernel column alone where padding is absent."""
    x = np.ones((1, 8, 6, 13), np.float32)
    x[:, :, :, -1] = np.nan
    grad = np.ones((1, 8, 4, 11), np.float32)
    shape = (8, 8 // groups, 3, 3)
    result = fastconv.conv2d_weight_grad(
        to_layout(grad, layout),
        to_layout(x, layout),
        weight_shape=shape,
        groups=groups,
        layout=layout,
        algorithm=method,
    )
    assert np.isnan(result[..., 2]).all()
    np.testing.assert_array_equal(result[..., :2], 44)


@both_layouts
@every_isa
@np.errstate(invalid="ignore")
def test_what_is_not_finite_where_roles_are_exchanged(layout: str, name: str) -> None:
    """Few outputs of many channels: x and grad_output exchange their roles, but not what they meet."""
    shape = (2, 40, 2, 3)
    for padding, in_x in ((0, True), (1, True), (1, False)):
        x = normal((1, 40, 5, 9), np.float32, 1)
        grad = normal((1, 2, 4 + 2 * padding, 7 + 2 * padding), np.float32)
        (x if in_x else grad)[0, 1, 0, -1] = np.inf
        x, grad = to_layout(x, layout), to_layout(grad, layout)
        how = {"weight_shape": shape, "padding": padding, "layout": layout}
        expected = reference.conv2d_weight_grad(grad, x, **how)
        with isa(name):
            found = fastconv.conv2d_weight_grad(grad, x, algorithm="direct", **how)
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        assert np.isfinite(found).any()


# --- Arguments ----------------------------------------------------------------------------------------


@both_layouts
def test_empty_batch(layout: str) -> None:
    data = Data(CASES["3x3"], np.float32, layout, batch=0)
    assert data.input_grad().shape == data.x.shape
    np.testing.assert_array_equal(data.weight_grad(out=np.full(data.weight.shape, 7, np.float32)), 0)
    np.testing.assert_array_equal(fastconv.conv2d_bias_grad(data.grad, layout=layout), np.zeros(8))


@both_layouts
def test_without_a_batch(layout: str) -> None:
    data = Data(CASES["3x3 stride 2"], np.float64, layout, batch=1)
    grads = data.input_grad(), data.weight_grad()
    data.x, data.grad = data.x[0], data.grad[0]
    np.testing.assert_array_equal(data.input_grad(), grads[0][0])
    np.testing.assert_array_equal(data.weight_grad(), grads[1])
    assert fastconv.conv2d_bias_grad(data.grad, layout=layout).shape == (12,)


@pytest.mark.parametrize("method", ["auto", "dot", "grouped", "im2col", "winograd2", "winograd4", "rows"])
@pytest.mark.parametrize("groups", [1, 64])
def test_outputs_over_padding_alone_without_scratch(method: str, groups: int) -> None:
    """No phase is left to compute, and no memory to ask for."""
    fastconv.clear_scratch()
    found = fastconv.conv2d_input_grad(
        np.ones((2, 2 * groups, 2, 2), np.float32),
        np.ones((2 * groups, 1, 1, 1), np.float32),
        input_shape=(2, groups, 1, 1),
        stride=2,
        padding=1,
        groups=groups,
        algorithm=method,
    )
    np.testing.assert_array_equal(found, np.zeros((2, groups, 1, 1), np.float32))
