"""One convolution to be tested; conv_cases.py lists those of every algorithm."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from support import assert_within, error_bound, from_layout, normal, to_layout
from support import supports as supported

from fastconv import reference


@dataclass(frozen=True)
class Case:
    """One convolution; ``name`` says what about it is worth a test."""

    name: str
    channels: int
    outputs: int
    size: tuple[int, int]
    kernel: tuple[int, int] = (3, 3)
    batch: int = 1
    groups: int = 1
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    bias: bool = True
    activation: Any = None
    options: dict[str, Any] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = ("stride", "padding", "dilation", "groups", "activation")
        object.__setattr__(self, "options", {name: getattr(self, name) for name in names})

    def arrays(self, dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Input in NCHW, weights and bias."""
        x = normal((self.batch, self.channels, *self.size), dtype, 1)
        weight = normal((self.outputs, self.channels // self.groups, *self.kernel), dtype, 2)
        return x, weight, normal((self.outputs,), dtype, 3) if self.bias else None

    def supports(self, algorithm: str) -> bool:
        return supported(algorithm, (self.batch, self.channels, *self.size), self.kernel, self.options)

    @lru_cache(maxsize=2)  # noqa: B019  cases live as long as the suite
    def expected(self, dtype: Any) -> np.ndarray:
        """What the reference computes, in NCHW."""
        x, weight, bias = self.arrays(dtype)
        return reference.conv2d(x, weight, bias, **self.options)

    @lru_cache(maxsize=4)  # noqa: B019
    def bound(self, dtype: Any, winograd: bool) -> np.ndarray:
        x, weight, bias = self.arrays(dtype)
        return error_bound(x, weight, bias, algorithm="auto" if winograd else "direct", **self.options)

    def out_shape(self, layout: str) -> tuple[int, ...]:
        return to_layout(self.expected(np.float32), layout).shape

    def check(self, y: np.ndarray, layout: str, algorithm: str) -> None:
        """Assert that y is the result, within the bound of the algorithm."""
        dtype = y.dtype.type
        bound = self.bound(dtype, algorithm == "auto" or algorithm.startswith("winograd"))
        assert_within(from_layout(y, layout), self.expected(dtype), bound)
