"""Properties of convolution over random options and small shapes, with Hypothesis.

Where arrays hold small integers every algorithm that sums products is exact, so equalities are equalities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from support import (
    ALGORITHMS,
    DTYPES,
    ISAS,
    LAYOUTS,
    assert_conv2d,
    integers,
    isa,
    normal,
    supports,
    to_layout,
)

import fastconv
from fastconv import reference

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

SUMS_OF_PRODUCTS = [name for name in ALGORITHMS if name != "auto" and not name.startswith("winograd")]


@dataclass
class Problem:
    """Shapes and options of a convolution that is possible."""

    shape: tuple[int, int, int, int]
    outputs: int
    kernel: tuple[int, int]
    layout: str
    dtype: Any
    isa: str
    algorithm: str
    bias: bool
    seed: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return self.outputs, self.shape[1] // self.options["groups"], *self.kernel

    def arrays(self, make: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Input in NCHW, weights, bias."""
        bias = make((self.outputs,), self.dtype, self.seed + 2) if self.bias else None
        return (
            make(self.shape, self.dtype, self.seed),
            make(self.weight_shape, self.dtype, self.seed + 1),
            bias,
        )

    def conv(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, **options: Any
    ) -> np.ndarray:
        """The library's result in NCHW for an input in NCHW."""
        how = {"layout": self.layout, "algorithm": self.algorithm} | self.options | options
        with isa(self.isa):
            y = fastconv.conv2d(to_layout(x, how["layout"]), weight, bias, **how)
        return np.moveaxis(y, -1, 1) if how["layout"] == "NHWC" else y


@st.composite
def problems(draw: Any, exact: bool = False, linear: bool = False) -> Problem:
    """Everything conv2d can be asked: all options, shapes of a few pixels and now and then of some tiles."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 5]))
    depthwise = draw(st.booleans()) and groups > 1
    channels = groups * (1 if depthwise else draw(st.sampled_from([1, 2, 3, 4, 9])))
    outputs = groups * draw(st.sampled_from([1, 2, 3, 7, 13]))
    kernel = draw(st.sampled_from([(3, 3), (1, 1), (2, 3), (5, 4), (1, 6), (7, 2), (3, 3)]))
    stride, dilation = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in "sd")
    if draw(st.booleans()):
        stride = dilation = (1, 1)
    pads = st.integers(0, 5)
    padding = draw(
        st.one_of(
            st.sampled_from(["same", "same_lower", "valid"]),
            st.tuples(st.tuples(pads, pads), st.tuples(pads, pads)),
            pads,
        )
    )
    size = []
    for axis in range(2):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        added = 0 if padding == "valid" else reach
        if not isinstance(padding, str):
            added = 2 * padding if isinstance(padding, int) else sum(padding[axis])
        size.append(max(reach - added, 1) + draw(st.sampled_from([0, 1, 2, 5, 8, 17, 30])))
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if draw(st.integers(0, 3)) == 0:
        modes = ["replicate", "symmetric", "circular", "reflect", *([] if linear else ["constant"])]
        mode = draw(st.sampled_from(modes))
        amounts = reference.pad_amounts(padding, size, kernel, stride, dilation)
        reaches = {"reflect": [n - 1 for n in size], "symmetric": size, "circular": size}.get(mode, [99, 99])
        if all(max(pair) <= most for pair, most in zip(amounts, reaches)):
            options["padding_mode"] = mode
            if mode == "constant":
                options["padding_value"] = draw(st.sampled_from([-2, 0, 1, 3]))
    if not linear:
        activations = [None, "relu", "relu6", ("leaky_relu", 0.25)]
        options["activation"] = draw(st.sampled_from(activations))
    layout = draw(st.sampled_from(LAYOUTS))
    how = options | {"layout": layout}
    known = SUMS_OF_PRODUCTS if exact else ALGORITHMS
    names = [a for a in known if supports(a, (1, channels, *size), kernel, how)]
    return Problem(
        (draw(st.integers(1, 3)), channels, *size),
        outputs,
        kernel,
        layout,
        draw(st.sampled_from(DTYPES)),
        draw(st.sampled_from(ISAS)),
        draw(st.sampled_from(names)),
        not linear and draw(st.booleans()),
        draw(st.integers(0, 2**20)),
        options,
    )


@hypothesis.settings(max_examples=400)
@given(problems())
def test_the_reference_agrees(problem: Problem) -> None:
    """Within the derived bound, whatever the options."""
    x, weight, bias = problem.arrays(normal)
    y = problem.conv(x, weight, bias)
    assert_conv2d(y, x, weight, bias, algorithm=problem.algorithm, **problem.options)


@hypothesis.settings(max_examples=200)
@given(problems(exact=True))
def test_integers_are_exact(problem: Problem) -> None:
    x, weight, bias = problem.arrays(integers)
    np.testing.assert_array_equal(
        problem.conv(x, weight, bias), reference.conv2d(x, weight, bias, **problem.options)
    )


@hypothesis.settings(max_examples=100)
@given(problems(exact=True, linear=True), st.integers(-3, 3), st.integers(-3, 3))
def test_linear_in_x_and_in_weight(problem: Problem, a: int, b: int) -> None:
    x, weight, _ = problem.arrays(integers)
    x2, weight2 = (integers(array.shape, problem.dtype, problem.seed + 9) for array in (x, weight))
    y = problem.conv(x, weight)
    np.testing.assert_array_equal(problem.conv(a * x + b * x2, weight), a * y + b * problem.conv(x2, weight))
    np.testing.assert_array_equal(
        problem.conv(x, a * weight + b * weight2), a * y + b * problem.conv(x, weight2)
    )


@hypothesis.settings(max_examples=100)
@given(problems(exact=True), st.integers(0, 2), st.integers(0, 2))
def test_a_shifted_image_is_a_shifted_result(problem: Problem, down: int, right: int) -> None:
    """Shifts by a multiple of the stride; without padding, so that nothing but the shift changes."""
    x, weight, bias = problem.arrays(integers)
    stride = problem.options["stride"]
    how = {"padding": 0, "padding_mode": "zeros", "padding_value": 0}
    sizes = [
        max(n, d * (k - 1) + 1) for n, k, d in zip(x.shape[2:], problem.kernel, problem.options["dilation"])
    ]
    image = integers(
        (*x.shape[:2], sizes[0] + down * stride[0], sizes[1] + right * stride[1]), problem.dtype, problem.seed
    )
    whole = problem.conv(image, weight, bias, **how)
    part = problem.conv(image[:, :, down * stride[0] :, right * stride[1] :], weight, bias, **how)
    np.testing.assert_array_equal(part, whole[:, :, down:, right:])


@hypothesis.settings(max_examples=100)
@given(problems(exact=True))
def test_images_groups_and_outputs_do_not_see_each_other(problem: Problem) -> None:
    """Every image alone, every group alone, outputs in another order: parts of the same result."""
    x, weight, bias = problem.arrays(integers)
    y = problem.conv(x, weight, bias)
    for image in range(len(x)):
        np.testing.assert_array_equal(problem.conv(x[image : image + 1], weight, bias), y[image : image + 1])
    groups = problem.options["groups"]
    c, o = x.shape[1] // groups, len(weight) // groups
    for g in range(groups):
        out = slice(g * o, (g + 1) * o)
        b = None if bias is None else bias[out]
        alone = problem.conv(x[:, g * c : (g + 1) * c], weight[out], b, groups=1, algorithm="direct")
        np.testing.assert_array_equal(alone, y[:, out])
    if groups == 1:
        backward = problem.conv(x, weight[::-1], None if bias is None else bias[::-1])
        np.testing.assert_array_equal(backward[:, ::-1], y)


@hypothesis.settings(max_examples=100)
@given(problems(exact=True))
def test_layouts_and_padding_by_hand_agree(problem: Problem) -> None:
    """The other layout, and an image that was padded before, give the same."""
    x, weight, bias = problem.arrays(integers)
    y = problem.conv(x, weight, bias)
    other = LAYOUTS[problem.layout == LAYOUTS[0]]
    np.testing.assert_array_equal(problem.conv(x, weight, bias, layout=other), y)
    how = problem.options
    amounts = reference.pad_amounts(
        how["padding"], x.shape[2:], problem.kernel, how["stride"], how["dilation"]
    )
    padded = reference.pad(x, amounts, how.get("padding_mode", "zeros"), how.get("padding_value", 0))
    by_hand = problem.conv(
        padded.astype(problem.dtype), weight, bias, padding=0, padding_mode="zeros", padding_value=0
    )
    np.testing.assert_array_equal(by_hand, y)


@hypothesis.settings(max_examples=100)
@given(problems(exact=True, linear=True))
def test_turning_everything_around_turns_the_result_around(problem: Problem) -> None:
    """Image and kernel upside down and padding exchanged: the same numbers, with a stride of one."""
    x, weight, _ = problem.arrays(integers)
    how = problem.options
    amounts = reference.pad_amounts(
        how["padding"], x.shape[2:], problem.kernel, how["stride"], how["dilation"]
    )
    y = problem.conv(x, weight, stride=1, padding=amounts)
    turned = problem.conv(
        np.ascontiguousarray(x[:, :, ::-1, ::-1]),
        np.ascontiguousarray(weight[:, :, ::-1, ::-1]),
        stride=1,
        padding=tuple((after, before) for before, after in amounts),
    )
    np.testing.assert_array_equal(turned[:, :, ::-1, ::-1], y)
