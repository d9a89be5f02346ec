"""Gradients of convolution: what bad arguments get, and a good `out`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv

GRAD = np.ones((1, 4, 3, 3), np.float32)
WEIGHT = np.ones((4, 2, 3, 3), np.float32)
X = np.ones((1, 2, 5, 5), np.float32)
INPUT_ERRORS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "grad_output's shape": ({"grad_output": GRAD[:, :, 1:]}, ValueError, "grad_output has shape"),
    "grad_output without batch": ({"grad_output": GRAD[0]}, ValueError, "grad_output has shape"),
    "input_shape's rank": ({"input_shape": (2, 5)}, ValueError, "^input_shape must have 4 axes"),
    "groups of input_shape": ({"groups": 3}, ValueError, "channels of input_shape$"),
    "a kernel beyond input_shape": (
        *({"input_shape": (1, 2, 2, 5)}, ValueError, "but input_shape has 2 with padding"),
    ),
    "input_shape's channels": ({"input_shape": (1, 3, 5, 5)}, ValueError, "input_shape has 3 channels"),
    "input_shape no tuple": ({"input_shape": 5}, TypeError, "input_shape must be a tuple of integers"),
    "input_shape of floats": ({"input_shape": (1, 2, 5.0, 5)}, TypeError, "input_shape must be an integer"),
    "input_shape negative": ({"input_shape": (-1, 2, 5, 5)}, ValueError, "input_shape: batch size -1"),
    "weight's dtype": ({"weight": WEIGHT.astype(np.float64)}, TypeError, "weight has dtype float64"),
    "kernel": ({"input_shape": (1, 2, 2, 2)}, ValueError, "weight: kernel height 3"),
    "stride": ({"stride": 0}, ValueError, "stride must be at least 1"),
    "groups": ({"groups": 3}, ValueError, "groups=3 does not divide"),
    "algorithm": ({"algorithm": "magic"}, ValueError, "algorithm must be one of"),
    "algorithm that cannot": ({"algorithm": "depthwise"}, ValueError, "depthwise needs"),
    "layout": ({"layout": "HWC"}, ValueError, "layout must be"),
    "out's shape": ({"out": np.empty((1, 2, 5, 4), np.float32)}, ValueError, "out has shape"),
    "out's dtype": ({"out": np.empty((1, 2, 5, 5))}, TypeError, "out has dtype"),
    "out read-only": ({"out": np.broadcast_to(np.float32(0), (1, 2, 5, 5))}, ValueError, "read-only"),
}
WEIGHT_ERRORS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "grad_output's shape": ({"grad_output": GRAD[:, 1:]}, ValueError, "grad_output has shape"),
    "weight_shape's rank": ({"weight_shape": (4, 3, 3)}, ValueError, "weight_shape must have 4 axes"),
    "weight_shape's channels": (
        {"weight_shape": (4, 3, 3, 3)},
        ValueError,
        "weight_shape has 3 input channels",
    ),
    "weight_shape no tuple": ({"weight_shape": "4233"}, TypeError, "weight_shape must be a tuple"),
    "x's rank": ({"x": X[0, 0]}, ValueError, "x must have 4 axes"),
    "x's dtype": ({"x": X.astype(np.float64)}, TypeError, "x has dtype float64"),
    "x no float": ({"x": X.astype(int)}, TypeError, "x"),
    "padding": ({"padding": -1}, ValueError, "padding must not be negative"),
    "padding huge": ({"padding": 2**62}, ValueError, "padding"),
    "algorithm": ({"algorithm": "winograd9"}, ValueError, "algorithm must be one of"),
    "algorithm that cannot": ({"algorithm": "pointwise"}, ValueError, "cannot compute this gradient: "),
    "out": ({"out": np.empty((4, 2, 3, 2), np.float32)}, ValueError, "out has shape"),
}


@pytest.mark.parametrize("change", INPUT_ERRORS.values(), ids=INPUT_ERRORS.keys())
def test_input_grad_errors(change: Any) -> None:
    arguments = {"grad_output": GRAD, "weight": WEIGHT, "input_shape": (1, 2, 5, 5), **change[0]}
    with pytest.raises(change[1], match=change[2]):
        fastconv.conv2d_input_grad(**arguments)


@pytest.mark.parametrize("change", WEIGHT_ERRORS.values(), ids=WEIGHT_ERRORS.keys())
def test_weight_grad_errors(change: Any) -> None:
    arguments = {"grad_output": GRAD, "x": X, "weight_shape": WEIGHT.shape, **change[0]}
    with pytest.raises(change[1], match=change[2]):
        fastconv.conv2d_weight_grad(**arguments)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_by_name_takes_no_multiplier(layout: str, stride: int) -> None:
    """Whatever the stride, and however the arrays lie."""
    grad, weight = np.ones((1, 6, 4, 4), np.float32), np.ones((6, 1, 2, 2), np.float32)
    shape = (1, 3, 3 * stride + 2, 3 * stride + 2)
    if layout == "NHWC":
        grad, shape = np.ascontiguousarray(np.moveaxis(grad, 1, -1)), (*shape[:1], *shape[2:], 3)
    for array in (grad, np.repeat(grad, 2, -1)[..., ::2]):
        with pytest.raises(ValueError, match="cannot compute"):
            fastconv.conv2d_input_grad(
                array,
                weight,
                input_shape=shape,
                stride=stride,
                groups=3,
                layout=layout,
                algorithm="depthwise",
            )


def test_errors_leave_out_alone() -> None:
    out = np.full((1, 2, 5, 5), 7, np.float32)
    with pytest.raises(ValueError, match="cannot compute"):
        fastconv.conv2d_input_grad(GRAD, WEIGHT, input_shape=(1, 2, 5, 5), algorithm="depthwise", out=out)
    np.testing.assert_array_equal(out, 7)


def test_out_may_not_share_memory() -> None:
    memory = np.zeros(100, np.float32)
    grad, out = memory[:36].reshape(1, 4, 3, 3), memory[30:80].reshape(1, 2, 5, 5)
    with pytest.raises(ValueError, match="out shares memory with grad_output"):
        fastconv.conv2d_input_grad(grad, WEIGHT, input_shape=(1, 2, 5, 5), out=out)


def test_bias_grad_errors() -> None:
    with pytest.raises(ValueError, match="grad_output must have 4 axes"):
        fastconv.conv2d_bias_grad(GRAD[0, 0])
    with pytest.raises(ValueError, match="out has shape"):
        fastconv.conv2d_bias_grad(GRAD, out=np.empty(3, np.float32))
    with pytest.raises(ValueError, match="layout must be"):
        fastconv.conv2d_bias_grad(GRAD, layout="NCL")


def test_padding_whose_copy_would_not_fit() -> None:
    """Few outputs, but the rows of a block reach further than bytes can be counted."""
    x, weight = np.ones((9, 32, 9, 5), np.float32), np.ones((64, 1, 2, 1), np.float32)
    stride, before = 28823037615171175, 144115188075855863
    grad = np.ones((9, 64, (before + 9 - 2) // stride + 1, 5), np.float32)
    options: dict[str, Any] = {"stride": (stride, 1), "padding": [(before, 0), (0, 0)], "groups": 32}
    with pytest.raises(ValueError, match="padding: x with its padding,"):
        fastconv.conv2d_weight_grad(grad, x, weight_shape=weight.shape, **options)


def test_out_is_returned() -> None:
    out, of_weight = np.empty_like(X), np.empty_like(WEIGHT)
    assert fastconv.conv2d_input_grad(GRAD, WEIGHT, input_shape=X.shape, out=out) is out
    assert fastconv.conv2d_weight_grad(GRAD, X, weight_shape=WEIGHT.shape, out=of_weight) is of_weight
