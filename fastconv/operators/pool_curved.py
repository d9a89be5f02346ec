"""Poolings that are not linear: Lp norms, element by element of sums, and stochastic pooling.

Read through `fastconv.operators.REGISTRY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fastconv import _core
from fastconv.operators.pool import (
    GRAD_OUTPUT,
    GRAD_X,
    INDICES,
    WINDOWS,
    Pooling,
    X,
    Y,
    and_indices,
    windowed,
)
from fastconv.operators.registry import Argument, Call, Framework, Gradient, Kind, Spec, each_spatial, pairs

RANDOM = Argument("random", "image", dtype=np.float64)
NORM: dict[str, Kind] = {"norm_type": "float", **WINDOWS}


class CurvedPooling(Pooling):
    """The operators of one number of axes."""

    def norm_options(
        self,
        shapes: Mapping[str, Any],
        norm_type: float,
        kernel_size: Any,
        stride: Any,
        ceil_mode: bool,
        padding: Any,
        dilation: Any,
        layout: str,
    ) -> dict[str, Any]:
        """Of Lp norms and their gradients."""
        rest = self.windows(shapes, kernel_size, stride, padding, dilation, ceil_mode, layout)
        return {"norm_type": _core.norm_order(norm_type), **rest}

    # --- Lp norms: grad_x = s(x) * collect(grad * t(y)), s(x) = sign(x) |x|^(p - 1), t(y) = y^(1 - p) ------

    def register_norms(self) -> None:
        """Lp pooling and its gradient, which is differentiated element by element."""
        self.enter(
            self.named("lp_pool"),
            (X,),
            (Y,),
            NORM,
            self.function("lp_pool"),
            self.norm_options,
            windowed(self.function("lp_pool")),
            self.shape,
            {"x": Gradient(("x", "y"), self.norm_to_x)},
            bound=partial(self.bound, "lp", self.shape),
        )
        self.enter(
            self.named("lp_pool", "_grad"),
            (GRAD_OUTPUT, X, Y),
            (GRAD_X,),
            NORM,
            self.function("lp_pool", "_grad"),
            self.norm_options,
            self.norm_grad,
            lambda specs, options: (Spec(tuple(specs["x"].shape), specs["x"].dtype),),
            {
                "grad_output": Gradient(("x", "y"), self.norm_grad_to_grad_output),
                "x": Gradient(("grad_output", "x", "y"), self.norm_grad_to_x),
                "y": Gradient(("grad_output", "x", "y"), self.norm_grad_to_y),
            },
        )

    def norm_grad(self, grad_output: Any, x: Any, y: Any, *, padding: Any, **options: Any) -> Any:
        """The NumPy function, whose y is a keyword."""
        return self.function("lp_pool", "_grad")(grad_output, x, y=y, padding=pairs(padding), **options)

    def norm_to_x(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From y to x."""
        return ops(self.named("lp_pool", "_grad"), grad, call.arrays["x"], call.arrays["y"], **call.options)

    def norm_grad_to_grad_output(self, ops: Framework, grad: Any, call: Call) -> Any:
        """Sums of grad * s(x), times t(y)."""
        x, y, p = call.arrays["x"], call.arrays["y"], call.options["norm_type"]
        slope = ops.xp.sign(x) * power(ops, ops.xp.abs(x), p - 1)
        return self.sums(ops, grad * slope, call) * power(ops, y, 1 - p)

    def norm_grad_to_x(self, ops: Framework, grad: Any, call: Call) -> Any:
        """Grad * s'(x) * collect(grad_output * t(y))."""
        x, y, p = call.arrays["x"], call.arrays["y"], call.options["norm_type"]
        bend = (p - 1) * power(ops, ops.xp.abs(x), p - 2)
        return grad * bend * self.collect(ops, call.arrays["grad_output"] * power(ops, y, 1 - p), call)

    def norm_grad_to_y(self, ops: Framework, grad: Any, call: Call) -> Any:
        """Sums of grad * s(x), times grad_output * t'(y)."""
        x, y, p = call.arrays["x"], call.arrays["y"], call.options["norm_type"]
        slope = ops.xp.sign(x) * power(ops, ops.xp.abs(x), p - 1)
        return self.sums(ops, grad * slope, call) * call.arrays["grad_output"] * ((1 - p) * power(ops, y, -p))

    # --- Stochastic pooling: the expected value is Q / S, the sums of x ** 2 and of x ---------------------

    def register_stochastic(self) -> None:
        """Expected values, and samples drawn by numbers that are an argument."""
        name, function = self.named("stochastic_pool"), self.function("stochastic_pool")
        self.enter(
            name,
            (X,),
            (Y,),
            WINDOWS,
            function,
            self.windows,
            windowed(function),
            self.shape,
            {"x": Gradient(("x", "y"), self.expected_to_x)},
        )
        self.enter(
            f"{name}_samples",
            (X, RANDOM),
            (Y, INDICES),
            WINDOWS,
            stochastic_pool2d_samples,
            self.windows,
            windowed(stochastic_pool2d_samples),
            partial(and_indices, self.shape),
            {"x": Gradient(("indices",), self.scatter_rule)},
        )

    def expected_to_x(self, ops: Framework, grad: Any, call: Call) -> Any:
        """2 x collect(grad / S) - collect(grad * y / S), where S is not 0."""
        x, y = call.arrays["x"], call.arrays["y"]
        total = self.sums(ops, x, call)
        share = ops.xp.where(total > 0, grad / ops.xp.where(total > 0, total, 1.0 + 0 * total), 0 * grad)
        return 2 * x * self.collect(ops, share, call) - self.collect(ops, share * y, call)


def stochastic_pool2d_samples(
    x: Any,
    random: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
    out: Any = None,
) -> Any:
    """Draw a pixel of each window: ``stochastic_pool2d(training=True)`` with the numbers given.

    `random` has the shape of the result, float64, in [0, 1).  Returns the pixels and their indices.
    """
    x, numbers = np.asarray(x), np.asarray(random, np.float64)
    if x.dtype.kind == "f" and not np.all(x >= 0):
        raise ValueError("x must not be negative or NaN for stochastic_pool2d: probabilities are made of it")

    def draw(shape: tuple[int, ...]) -> Any:
        if numbers.shape != shape:
            raise ValueError(f"random has shape {numbers.shape}; the result has {shape}")
        return numbers

    return _core.sampled_pool(x, kernel_size, stride, padding, dilation, ceil_mode, draw, layout, out)


def power(ops: Framework, base: Any, exponent: float) -> Any:
    """Powers of what is not negative; 0 where the base is 0, so that no slope there is infinite."""
    safe = ops.xp.where(base > 0, base, 1.0 + 0 * base)
    return ops.xp.where(base > 0, safe**exponent, 0 * base)


for _spatial, _ in each_spatial():
    _pooling = CurvedPooling(_spatial)
    _pooling.register_norms()
    if _spatial == 2:
        _pooling.register_stochastic()
