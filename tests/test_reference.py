"""The reference, which defines everything, against what is not ours: SciPy, torch, finite differences."""

from __future__ import annotations

import doctest
import itertools
from typing import Any

import numpy as np
import pytest
from support import DTYPES, assert_within, integers, normal, seed_cases

from fastconv import reference

CONV = {1: reference.conv1d, 2: reference.conv2d, 3: reference.conv3d}
INPUT_GRAD = {1: reference.conv1d_input_grad, 2: reference.conv2d_input_grad, 3: reference.conv3d_input_grad}
WEIGHT_GRAD = {
    1: reference.conv1d_weight_grad,
    2: reference.conv2d_weight_grad,
    3: reference.conv3d_weight_grad,
}
BIAS_GRAD = {1: reference.conv1d_bias_grad, 2: reference.conv2d_bias_grad, 3: reference.conv3d_bias_grad}
SIZES = {1: (11,), 2: (7, 9), 3: (5, 4, 6)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}


def test_the_examples_in_the_docstrings() -> None:
    failed, attempted = doctest.testmod(reference)
    assert attempted > 20
    assert failed == 0


# --- Worked examples ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", seed_cases("conv1d", "conv2d"), ids=lambda case: case["name"])
def test_worked_examples(case: dict[str, Any], dtype: Any) -> None:
    rank = int(case["op"][4])
    x, weight = (
        np.array(case["x"], dtype)[np.newaxis],
        np.array(case["weight"], dtype)[np.newaxis, np.newaxis],
    )
    how = {name: case[name] for name in ("stride", "padding", "padding_mode") if name in case}
    y = CONV[rank](x, weight, **how)
    assert y.dtype == np.float64
    assert case["atol"] == 0
    np.testing.assert_array_equal(y[0], case["expected"])
    if case.get("padding_mode") == "replicate":
        np.testing.assert_array_equal(CONV[rank](x, weight, **how | {"padding_mode": "edge"}), y)
    if case.get("padding_mode") == "circular":
        np.testing.assert_array_equal(CONV[rank](x, weight, **how | {"padding_mode": "wrap"}), y)


def test_every_worked_example_of_a_convolution_is_used() -> None:
    """A new one of another kind must not go unnoticed."""
    assert len(seed_cases("conv1d")) == 5
    assert len(seed_cases("conv2d")) == 11
    assert not [case["name"] for case in seed_cases("conv3d", "conv_transpose2d")]


# --- The definition, letter by letter -----------------------------------------------------------------


def test_conv2d_is_the_formula_of_its_docstring() -> None:
    """Seven loops, in Python integers."""
    n, c, h, w, out, groups, kernel = 2, 4, 5, 6, 6, 2, (2, 3)
    stride, dilation, ((top, bottom), (left, right)) = (2, 1), (1, 2), ((1, 2), (0, 3))
    x, weight = integers((n, c, h, w), np.int64, 1), integers((out, c // groups, *kernel), np.int64, 2)
    bias = integers((out,), np.int64, 3)
    y = reference.conv2d(x, weight, bias, stride, ((top, bottom), (left, right)), dilation, groups)
    rows = (top + h + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    columns = (left + w + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    assert y.shape == (n, out, rows, columns)
    for image, o, p, q in itertools.product(range(n), range(out), range(rows), range(columns)):
        total = int(bias[o])
        for channel, i, j in itertools.product(range(c // groups), range(kernel[0]), range(kernel[1])):
            row, column = p * stride[0] + i * dilation[0] - top, q * stride[1] + j * dilation[1] - left
            if 0 <= row < h and 0 <= column < w:
                first = o // (out // groups) * (c // groups)
                total += int(weight[o, channel, i, j]) * int(x[image, first + channel, row, column])
        assert y[image, o, p, q] == total


def test_large_integers_are_exact() -> None:
    x, weight = np.array([[2**26 - 1, 2**26, 1]]), np.array([[[2**26, 2**26 - 1, -3]]])
    assert reference.conv1d(x, weight)[0, 0] == (2**26 - 1) * 2**26 * 2 - 3


@pytest.mark.parametrize("mode", reference.PADDING_MODES)
def test_padding_is_numpy_s(mode: str) -> None:
    """np.pad knows all of them under some name."""
    x = normal((2, 5, 6), np.float64, 1)
    names = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}
    for pads in (((2, 1), (0, 5)), ((4, 4), (3, 0)), ((0, 0), (0, 0))):
        how = {"constant_values": -2.5} if mode == "constant" else {}
        expected = np.pad(x, ((0, 0), *pads), names.get(mode, mode), **how)
        np.testing.assert_array_equal(reference.pad(x, pads, mode, -2.5), expected)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation"), list(itertools.product((1, 5, 8), (1, 2, 5), (1, 2, 3), (1, 2)))
)
def test_same_is_what_tensorflow_and_onnx_say(size: int, kernel: int, stride: int, dilation: int) -> None:
    """Ceil(size / stride) outputs from the least padding that gives them, the odd one where the name says."""
    reach, outputs = dilation * (kernel - 1) + 1, -(-size // stride)
    ((before, after),) = reference.pad_amounts("same", [size], [kernel], [stride], [dilation])
    assert (before + size + after - reach) // stride + 1 == outputs
    assert before <= after <= before + 1
    assert before + after == 0 or (before + size + after - 1 - reach) // stride + 1 < outputs
    assert reference.pad_amounts("same_lower", [size], [kernel], [stride], [dilation]) == ((after, before),)


def test_causal_outputs_do_not_see_the_future() -> None:
    weight = integers((3, 2, 4), np.float64, 1)
    x = integers((2, 12), np.float64, 2)
    y = reference.conv1d(x, weight, padding="causal", dilation=2)
    assert y.shape == (3, 12)
    for t in range(12):
        later = x.copy()
        later[:, t + 1 :] += 1
        np.testing.assert_array_equal(
            reference.conv1d(later, weight, padding="causal", dilation=2)[:, : t + 1], y[:, : t + 1]
        )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layouts_and_batches(rank: int) -> None:
    x, weight = normal((2, 4, *SIZES[rank]), np.float64, 1), normal((6, 2, *KERNELS[rank]), np.float64, 2)
    bias, how = normal((6,), np.float64, 3), {"padding": 1, "groups": 2, "stride": 2}
    y = CONV[rank](x, weight, bias, **how)
    last = reference.LAYOUTS[rank][1]
    y_last = CONV[rank](np.moveaxis(x, 1, -1), weight, bias, layout=last, **how)
    np.testing.assert_array_equal(np.moveaxis(y_last, -1, 1), y)
    np.testing.assert_array_equal(CONV[rank](x[1], weight, bias, **how), y[1])
    np.testing.assert_array_equal(
        CONV[rank](np.moveaxis(x[1], 0, -1), weight, bias, layout=last, **how), y_last[1]
    )
    assert CONV[rank](x[:0], weight, bias, **how).shape == (0, *y.shape[1:])


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (None, [-np.inf, -2, -0.0, 0, 3, 6, 9, np.inf, np.nan]),
        ("relu", [0, 0, 0, 0, 3, 6, 9, np.inf, np.nan]),
        ("relu6", [0, 0, 0, 0, 3, 6, 6, 6, np.nan]),
        (("leaky_relu", 0.25), [-np.inf, -0.5, 0, 0, 3, 6, 9, np.inf, np.nan]),
        (("leaky_relu", -1), [np.inf, 2, 0, 0, 3, 6, 9, np.inf, np.nan]),
    ],
    ids=str,
)
def test_activations(activation: Any, expected: list[float]) -> None:
    z = [-np.inf, -2, -0.0, 0, 3, 6, 9, np.inf, np.nan]
    np.testing.assert_array_equal(reference.activate(z, activation), expected)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", ("leaky_relu", 0.25)], ids=str)
def test_activation_gradients(activation: Any) -> None:
    """Central differences away from the corners, and zero at them."""
    z, step = np.array([-3.0, -0.5, 0.5, 2, 5.5, 6.5, 40]), 2.0**-10
    slope = (reference.activate(z + step, activation) - reference.activate(z - step, activation)) / (2 * step)
    grad = normal(z.shape, np.float64)
    # Slopes are multiples of 1/4 and steps a power of two, so the difference is exact but for its rounding.
    np.testing.assert_allclose(reference.activation_grad(grad, z, activation), grad * slope, rtol=1e-12)
    if activation in ("relu", "relu6"):
        assert reference.activation_grad(
            [1, 1], [0, 6 if activation == "relu6" else 0], activation
        ).tolist() == [0, 0]


# --- SciPy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_against_scipy(kernel: int, rank: int) -> None:
    """One channel: scipy.signal.correlate in its modes, exact for integers."""
    signal = pytest.importorskip("scipy.signal", reason="SciPy is not installed")
    x, weight = integers(SIZES[rank], np.float64, 1), integers((min(kernel, 4),) * rank, np.float64, 2)
    for mode, padding in (("valid", 0), ("full", kernel - 1)):
        y = CONV[rank](x[np.newaxis], weight[np.newaxis, np.newaxis], padding=padding)
        np.testing.assert_array_equal(y[0], signal.correlate(x, weight, mode, method="direct"))


@pytest.mark.parametrize(
    ("mode", "boundary"),
    [("replicate", "nearest"), ("reflect", "mirror"), ("symmetric", "reflect"), ("circular", "wrap")],
)
def test_borders_against_scipy(mode: str, boundary: str) -> None:
    """scipy.ndimage.correlate has the four modes that show pixels, under names of its own."""
    ndimage = pytest.importorskip("scipy.ndimage", reason="SciPy is not installed")
    x, weight = integers((9, 8), np.float64, 1), integers((5, 3), np.float64, 2)
    y = reference.conv2d(x[np.newaxis], weight[np.newaxis, np.newaxis], padding="same", padding_mode=mode)
    np.testing.assert_array_equal(y[0], ndimage.correlate(x, weight, mode=boundary))


# --- torch --------------------------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": 2, "dilation": 2},
    {"padding": 1, "groups": 2},
    {"padding": 1, "groups": 4, "stride": 3},
    {"padding": "same", "dilation": 2},
    {"padding": "valid", "stride": 2, "groups": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_against_torch(rank: int, options: dict[str, Any]) -> None:
    """Forward and all gradients, in float64; both sides are allowed the derived bound."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = normal((2, 4, *SIZES[rank]), np.float64, 1)
    weight = normal((8, 4 // options.get("groups", 1), *KERNELS[rank]), np.float64, 2)
    bias = normal((8,), np.float64, 3)
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, weight, bias)]
    theirs = getattr(torch.nn.functional, f"conv{rank}d")(*tensors, **options)
    grad = normal(tuple(theirs.shape), np.float64, 4)
    theirs.backward(torch.from_numpy(grad))
    y = CONV[rank](x, weight, bias, **options)
    assert_within(theirs.detach().numpy(), y, reference.error_bound(x, weight, bias, **options))
    wanted = [
        INPUT_GRAD[rank](grad, weight, input_shape=x.shape, **options),
        WEIGHT_GRAD[rank](grad, x, weight_shape=weight.shape, **options),
        BIAS_GRAD[rank](grad),
    ]
    # Gradients are sums of products too: the same bound, with the absolute values through the same function.
    magnitudes = [
        INPUT_GRAD[rank](abs(grad), abs(weight), input_shape=x.shape, **options),
        WEIGHT_GRAD[rank](abs(grad), abs(x), weight_shape=weight.shape, **options),
        BIAS_GRAD[rank](abs(grad)),
    ]
    depths = [weight.size // weight.shape[1], grad.size // grad.shape[1], grad.size // grad.shape[1]]
    for tensor, expected, magnitude, depth in zip(tensors, wanted, magnitudes, depths):
        assert_within(tensor.grad.numpy(), expected, depth * np.finfo(np.float64).eps * magnitude)


@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular"])
def test_padding_modes_against_torch(mode: str) -> None:
    """Of torch's three, forward and the gradient that folds the border back; integers, so exact."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x, weight = integers((2, 3, 6, 7), np.float64, 1), integers((4, 3, 3, 2), np.float64, 2)
    pads = ((2, 1), (3, 4))
    tensor = torch.from_numpy(x).requires_grad_()
    padded = torch.nn.functional.pad(tensor, (3, 4, 2, 1), mode=mode)
    theirs = torch.nn.functional.conv2d(padded, torch.from_numpy(weight), stride=(1, 2))
    how = {"padding": pads, "padding_mode": mode, "stride": (1, 2)}
    np.testing.assert_array_equal(reference.conv2d(x, weight, **how), theirs.detach().numpy())
    grad = integers(tuple(theirs.shape), np.float64, 3)
    theirs.backward(torch.from_numpy(grad))
    ours = reference.conv2d_input_grad(grad, weight, input_shape=x.shape, **how)
    np.testing.assert_array_equal(ours, tensor.grad.numpy())


# --- Gradients by differences -------------------------------------------------------------------------


def differences(function: Any, at: np.ndarray) -> np.ndarray:
    """Slope of a function that is linear in every single number of ``at``: exact for integers."""
    grad = np.empty_like(at)
    for place in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[place] += 1
        down[place] -= 1
        grad[place] = (function(up) - function(down)) / 2
    return grad


@pytest.mark.parametrize("mode", reference.PADDING_MODES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_gradients_by_central_differences(rank: int, mode: str) -> None:
    """Gradients of sum(grad * conv(x, weight, bias)), without rounding: everything is a small integer.

    A convolution is linear in x, in weight and in bias, so central differences have no error of their own.
    """
    size, kernel = {1: (7,), 2: (5, 4), 3: (3, 4, 3)}[rank], {1: (3,), 2: (2, 3), 3: (2, 2, 1)}[rank]
    how: dict[str, Any] = {
        "stride": (2, 1, 2)[:rank],
        "dilation": (1, 1, 1)[:rank],
        "groups": 2,
        "padding_mode": mode,
    }
    how["padding"] = ((1, 2), (2, 0), (0, 1))[:rank]
    forward = how | {"padding_value": 3}
    x, weight = integers((2, 4, *size), np.float64, 1), integers((2, 2, *kernel), np.float64, 2)
    bias = integers((2,), np.float64, 3)
    conv = CONV[rank]
    grad = integers(conv(x, weight, bias, **forward).shape, np.float64, 4)
    by_x = differences(lambda a: (grad * conv(a, weight, bias, **forward)).sum(), x)
    np.testing.assert_array_equal(INPUT_GRAD[rank](grad, weight, input_shape=x.shape, **how), by_x)
    by_weight = differences(lambda a: (grad * conv(x, a, bias, **forward)).sum(), weight)
    np.testing.assert_array_equal(WEIGHT_GRAD[rank](grad, x, weight_shape=weight.shape, **forward), by_weight)
    by_bias = differences(lambda a: (grad * conv(x, weight, a, **forward)).sum(), bias)
    np.testing.assert_array_equal(BIAS_GRAD[rank](grad), by_bias)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_gradients_in_the_other_layout_and_without_a_batch(rank: int) -> None:
    x, weight = normal((4, *SIZES[rank]), np.float64, 1), normal((6, 2, *KERNELS[rank]), np.float64, 2)
    how: dict[str, Any] = {"groups": 2, "padding": 1, "stride": 2}
    grad = normal(CONV[rank](x, weight, **how).shape, np.float64, 3)
    x_last, grad_last = np.moveaxis(x, 0, -1), np.moveaxis(grad, 0, -1)
    last = how | {"layout": reference.LAYOUTS[rank][1]}
    by_x = INPUT_GRAD[rank](grad, weight, input_shape=x.shape, **how)
    assert by_x.shape == x.shape
    by_x_last = INPUT_GRAD[rank](grad_last, weight, input_shape=x_last.shape, **last)
    np.testing.assert_array_equal(np.moveaxis(by_x_last, -1, 0), by_x)
    batched = INPUT_GRAD[rank](grad[np.newaxis], weight, input_shape=(1, *x.shape), **how)
    np.testing.assert_array_equal(batched, by_x[np.newaxis])
    by_weight = WEIGHT_GRAD[rank](grad, x, weight_shape=weight.shape, **how)
    np.testing.assert_array_equal(
        WEIGHT_GRAD[rank](grad_last, x_last, weight_shape=weight.shape, **last), by_weight
    )
    np.testing.assert_array_equal(BIAS_GRAD[rank](grad_last, layout=last["layout"]), BIAS_GRAD[rank](grad))


def test_gradients_through_an_activation() -> None:
    """activation_grad at the values before the activation, then the gradients of the convolution."""
    x, weight = normal((1, 2, 5, 5), np.float64, 1), normal((3, 2, 2, 2), np.float64, 2)
    activation, step = ("leaky_relu", 0.25), 2.0**-20
    z = reference.conv2d(x, weight)
    grad = reference.activation_grad(np.ones_like(z), z, activation)
    by_x = reference.conv2d_input_grad(grad, weight, input_shape=x.shape)
    assert abs(z).min() > 1e-3, "no value may change sides within a step"
    for place in ((0, 0, 0, 0), (0, 1, 2, 3), (0, 0, 4, 4)):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        y_up, y_down = (reference.conv2d(a, weight, activation=activation) for a in (up, down))
        rounding = 20 * np.finfo(np.float64).eps * abs(z).sum() / step
        assert abs((y_up - y_down).sum() / (2 * step) - by_x[place]) < rounding


# --- The bound ----------------------------------------------------------------------------------------


def test_the_bound_is_a_convolution_of_absolute_values() -> None:
    x, weight, bias = (
        normal((1, 3, 6, 6), np.float32, 1),
        normal((4, 3, 3, 3), np.float32, 2),
        normal((4,), seed=3),
    )
    bound = reference.error_bound(x, weight, bias, padding=1)
    magnitude = reference.conv2d(abs(x), abs(weight), abs(bias), padding=1)
    ratio = bound / (magnitude * np.finfo(np.float32).eps)
    depth = 3 * 3 * 3
    assert ratio.min() >= (depth + 1) / 2
    assert ratio.max() <= (depth + 4) / 2 * 1.001
    in_double = reference.error_bound(x, weight, bias, padding=1, dtype=np.float64)
    assert (in_double < bound * 1e-8).all()


def test_sums_in_any_order_keep_the_bound_and_a_wrong_term_does_not() -> None:
    x, weight = normal((16, 12, 12), np.float32, 1), normal((8, 16, 3, 3), np.float32, 2)
    expected, bound = reference.conv2d(x, weight), reference.error_bound(x, weight)
    terms = np.stack(
        [
            x[c, i : i + 10, j : j + 10] * weight[:, c, i, j, None, None]
            for c, i, j in itertools.product(range(16), range(3), range(3))
        ]
    )
    rng = np.random.default_rng(3)
    for _ in range(5):
        y = np.zeros(expected.shape, np.float32)
        for term in terms[rng.permutation(len(terms))]:
            y += term
        assert_within(y, expected, bound)
    with pytest.raises(AssertionError, match="elements are wrong"):
        assert_within(y - terms[70], expected, bound)


# --- Errors -------------------------------------------------------------------------------------------

X, WEIGHT = np.ones((1, 4, 6, 6)), np.ones((4, 4, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": np.ones((6, 6))}, "x has 2 axes"),
        ({"weight": np.ones((4, 3, 3))}, "weight has 3 axes"),
        ({"weight": np.ones((4, 3, 3, 3))}, "weight has 3 channels a group; x has 4"),
        ({"bias": np.ones(3)}, "bias has shape"),
        ({"groups": 3}, "groups=3"),
        ({"groups": 0}, "groups=0"),
        ({"stride": 0}, "stride is 0"),
        ({"dilation": (1, 1, 1)}, "dilation is"),
        ({"padding": -1}, "padding must not be negative"),
        ({"padding": (1, 2, 3)}, "padding is"),
        ({"padding": "causal"}, "padding is 'causal'"),
        ({"padding_mode": "mirror", "padding": 1}, "padding_mode is 'mirror'"),
        ({"padding_mode": "reflect", "padding": 6}, "reflect"),
        ({"weight": np.ones((4, 4, 7, 3))}, "weight: the kernel reaches over"),
        ({"layout": "NCW"}, "layout is 'NCW'"),
        ({"activation": "elu"}, "activation is 'elu'"),
        ({"x": np.ones((1, 4, 0, 6)), "padding": 3}, "only a batch may be empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_name_the_argument(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reference.conv2d(**{"x": X, "weight": WEIGHT} | arguments)


def test_gradients_check_the_shape_of_grad_output() -> None:
    with pytest.raises(ValueError, match="grad_output"):
        reference.conv2d_input_grad(np.ones((1, 4, 5, 4)), WEIGHT, input_shape=X.shape)
    with pytest.raises(ValueError, match="grad_output"):
        reference.conv2d_weight_grad(np.ones((1, 4, 4)), X, weight_shape=WEIGHT.shape, padding=1)
