"""What the tests share: data, memory with guards around it, and the comparison with the reference.

Imported by every test module; conftest.py has the fixtures.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import winograd

import fastconv
from fastconv import _core, reference

HERE = Path(__file__).parent
DTYPES = (np.float32, np.float64)
LAYOUTS = ("NCHW", "NHWC")
ISAS: tuple[str, ...] = _core.available_isas()
"""What this machine has, the best last."""
WIDTHS: tuple[str, ...] = ISAS + (f"avx512:{3 - _core.info()['wide_fmas']}",) * ("avx512" in ISAS)
"""And its AVX-512 as CPUs use it that start the other number of 512-bit multiply-adds in a cycle."""
ALGORITHMS: tuple[str, ...] = (*_core.algorithms(), "auto")


def seen(
    x: np.ndarray, kernel: tuple[int, ...], options: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Leave out the rows and columns of x, in NCHW, that no output sees; with the options for the rest."""
    given = [np.ravel(options.get(name, 1)).tolist() for name in ("stride", "dilation")]
    strides, dilations = ([*axis, *axis][:2] for axis in given)
    pads = list(reference.pad_amounts(options.get("padding", 0), x.shape[2:], kernel, strides, dilations))
    planes = options.get("layout", "NCHW") == "NCHW"
    columns_stay = planes and (options.get("groups", 1) == x.shape[1] or kernel[1] == 1)
    if options.get("padding_mode", "zeros") != "zeros":
        return x, dict(options)
    steps = zip(kernel, strides, dilations, x.shape[2:], pads)
    for axis, (k, s, d, size, (before, after)) in enumerate(steps):
        every = s if k == 1 else math.gcd(s, d)
        first, reach = -before % every, (size + before + after - d * (k - 1) - 1) // s * s + d * (k - 1)
        if first >= size or reach < before or (axis == 1 and columns_stay):
            continue
        strides[axis], dilations[axis] = s // every, max(d // every, 1)
        x = x.take(range(first, min(size, reach - before + 1), every), 2 + axis)
        pads[axis] = (-(-before // every), reach // every + 1 - -(-before // every) - x.shape[2 + axis])
    return x, options | {"stride": tuple(strides), "dilation": tuple(dilations), "padding": tuple(pads)}


def supports(
    algorithm: str, shape: tuple[int, ...], kernel: tuple[int, int], options: dict[str, Any]
) -> bool:
    """Say which algorithm can compute which problem, x of this NCHW shape: by rule, without asking."""
    groups, channels = options.get("groups", 1), shape[1]
    _, left = seen(np.broadcast_to(np.float32(0), shape), tuple(kernel), options)
    strides, dilations = ([*np.ravel(left.get(name, 1)).tolist()] * 2 for name in ("stride", "dilation"))
    rules = {
        "direct": True,
        "im2col": True,
        "depthwise": groups == channels,
        "dot": True,
        "taps": True,
        "grouped": groups > 1 or channels <= 16,
        "winograd2": winograd.supports(2, tuple(kernel), strides[:2], dilations[:2]),
        "winograd4": winograd.supports(4, tuple(kernel), strides[:2], dilations[:2]),
        "auto": True,
    }
    return rules[algorithm]


def seed_cases(*ops: str) -> list[dict[str, Any]]:
    """Worked examples from lecture notes, those of some operators."""
    return [case for case in json.loads((HERE / "data" / "seed_cases.json").read_text()) if case["op"] in ops]


# --- Data ---------------------------------------------------------------------------------------------


def normal(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Gaussian numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def integers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0, most: int = 4) -> np.ndarray:
    """Small whole numbers, whose sums of products are exact in every dtype and order."""
    return np.random.default_rng(seed).integers(-most, most, shape, endpoint=True).astype(dtype)


def to_layout(nchw: np.ndarray, layout: str) -> np.ndarray:
    """Bring (N, C, H, W), or (C, H, W), to contiguous memory of a layout."""
    return np.ascontiguousarray(np.moveaxis(nchw, -3, -1) if layout == "NHWC" else nchw)


def from_layout(array: np.ndarray, layout: str) -> np.ndarray:
    return np.moveaxis(array, -1, -3) if layout == "NHWC" else array


# --- Memory -------------------------------------------------------------------------------------------


def amid_nan(array: np.ndarray, memory: str = "contiguous") -> np.ndarray:
    """Copy of an array with NaN on all sides: whoever reads over an edge has NaN in the result.

    ``"contiguous"`` has them before and after, ``"rows"`` around every axis, ``"steps"`` between elements.
    """
    view, _ = _within(array.shape, array.dtype, np.nan, memory)
    view[...] = array
    return view


class Poisoned:
    """An output full of NaN, inside a larger array full of a guard.

    ``memory`` as for `amid_nan`, or ``"reversed"``: all strides negative.
    """

    GUARD = -(2.0**100)

    def __init__(self, shape: tuple[int, ...], dtype: Any, memory: str = "contiguous") -> None:
        self.out, self.owner = _within(shape, dtype, self.GUARD, memory)
        self.out[...] = np.nan
        inside, self.outside = _within(shape, np.bool_, True, memory)
        inside[...] = False

    def check(self) -> None:
        """Nothing around the output was written."""
        touched = np.flatnonzero(self.owner[self.outside] != self.GUARD)
        assert touched.size == 0, f"{touched.size} elements around out were written, first {touched[0]}"


def check_depthwise(x: np.ndarray, weight: np.ndarray, memory: str = "contiguous", **how: Any) -> None:
    """Of whole numbers, with a bias: the reference's result, NaN around x, guards around the output."""
    bias = integers((len(weight),), weight.dtype, 3)
    expected = reference.conv2d(x, weight, bias, **how)
    poisoned = Poisoned(expected.shape, x.dtype, memory)
    fastconv.conv2d(amid_nan(x, memory), weight, bias, algorithm="depthwise", out=poisoned.out, **how)
    poisoned.check()
    np.testing.assert_array_equal(poisoned.out, expected)


def _within(shape: tuple[int, ...], dtype: Any, fill: Any, memory: str) -> tuple[np.ndarray, np.ndarray]:
    """A view of a shape inside a larger array, and that array."""
    margin = 70  # more than a panel of vectors
    if memory in ("contiguous", "reversed"):
        owner = np.full(int(np.prod(shape)) + 2 * margin, fill, dtype)
        view = owner[margin : len(owner) - margin].reshape(shape)
        return (view[(slice(None, None, -1),) * len(shape)] if memory == "reversed" else view), owner
    if memory == "rows":
        owner = np.full((*(n + 2 for n in shape[:-1]), shape[-1] + 2 * margin), fill, dtype)
        return owner[(*(slice(1, n + 1) for n in shape[:-1]), slice(margin, margin + shape[-1]))], owner
    assert memory == "steps"
    owner = np.full(tuple(2 * n + 1 for n in shape), fill, dtype)
    return owner[tuple(slice(1, 2 * n, 2) for n in shape)], owner


# --- Comparison ---------------------------------------------------------------------------------------


def assert_within(y: np.ndarray, expected: np.ndarray, bound: np.ndarray | float) -> None:
    """Every element within its bound; NaN and infinity where the expected values have them, only there."""
    assert y.shape == expected.shape, f"shape {y.shape}, expected {expected.shape}"
    finite = np.isfinite(expected)
    same = np.array_equal(np.where(finite, 0, y), np.where(finite, 0, expected), equal_nan=True)
    assert same, "NaN or infinity in the wrong places"
    error = np.abs(np.where(finite, y, 0).astype(np.float64) - np.where(finite, expected, 0))
    bad = ~(error <= np.where(finite, bound, 0))
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise AssertionError(
            f"{bad.sum()} of {bad.size} elements are wrong, the first at {first}: {y[first]!r}, expected "
            f"{expected[first]!r} within {np.broadcast_to(bound, bad.shape)[first]:.3g}"
        )


def error_bound(
    x: Any, weight: Any, bias: Any = None, *, algorithm: str = "auto", **options: Any
) -> np.ndarray:
    """How far a result may be from the reference's; for "auto", that of any algorithm it may have taken."""
    x, weight = np.asarray(x), np.asarray(weight)
    native = x.dtype.newbyteorder("=")
    bound = reference.error_bound(x, weight, bias, dtype=native, **options)
    layout = options.pop("layout", "NCHW")
    nchw = from_layout(x if x.ndim == 4 else x[np.newaxis], layout)
    for name, m in (("winograd2", 2), ("winograd4", 4)):
        taken = algorithm == name or (algorithm == "auto" and not _core.get_exact())
        if taken and supports(name, nchw.shape, weight.shape[2:], {**options, "layout": layout}):
            some, left = seen(nchw, weight.shape[2:], {**options, "layout": layout})
            left["layout"] = "NCHW"
            larger = winograd.error_bound(m, some, weight, bias, native, left)
            bound = np.maximum(bound, to_layout(larger if x.ndim == 4 else larger[0], layout))
    return bound


def assert_conv2d(y: np.ndarray, x: Any, weight: Any, bias: Any = None, **options: Any) -> None:
    """Assert that y is what the reference makes of the same arguments, in x's dtype, within its bound."""
    bound = error_bound(x, weight, bias, **options)
    options.pop("algorithm", None)
    expected = reference.conv2d(x, weight, bias, **options)
    native = np.asarray(x).dtype.newbyteorder("=")
    assert type(y) is np.ndarray
    assert y.dtype == native, f"dtype {y.dtype}, expected {native}"
    assert y.dtype.isnative
    assert_within(y, expected, bound)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Say whether two arrays are equal in dtype, shape and every bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- State of the library -----------------------------------------------------------------------------


@contextmanager
def isa(name: str) -> Iterator[None]:
    """Use the kernels of an instruction set, one of `WIDTHS`."""
    kernels, _, wide_fmas = name.partition(":")
    before, width = _core.use_isa(kernels), _core.info()["wide_fmas"]
    _core.use_wide_fmas(int(wide_fmas or width))
    try:
        yield
    finally:
        _core.use_isa(before)
        _core.use_wide_fmas(width)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use a number of threads."""
    before = fastconv.get_num_threads()
    fastconv.set_num_threads(count)
    try:
        yield
    finally:
        fastconv.set_num_threads(before)


Finished = subprocess.CompletedProcess[str]


# For code that forks: the child's exit code, or words where it does not end.
WAIT_FOR_CHILD = """
import os, time
def wait(pid):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "the child hangs"
"""


def run_python(code: str, *args: str, timeout: float = 120, **environment: str) -> Finished:
    """Run code in a new interpreter that sees no variables of the library but those given."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("FASTCONV_") and k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code, *args]
    environment = {**env, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), **environment}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )


# --- Problems of which parts are left out ---------------------------------------------------------------


def case_arrays(
    case: Any, dtype: Any, layout: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Three images, filters, biases and options of (channels, outputs, size, kernel, options, ...)."""
    channels, outputs, size, kernel, options, *_ = case
    x = to_layout(normal((3, channels, *size), dtype, 1), layout)
    weight = normal((outputs, channels // options.get("groups", 1), *kernel), dtype, 2)
    return x, weight, normal((outputs,), dtype, 3), {**options, "layout": layout}


def assert_gradients(x: np.ndarray, weight: np.ndarray, **options: Any) -> None:
    """Assert that both gradients are the reference's, and write nothing else, even amid NaN."""
    grad = normal(reference.conv2d(x, weight, **options).shape, x.dtype, 4)
    eps = np.finfo(x.dtype).eps
    expected = reference.conv2d_weight_grad(grad, x, weight_shape=weight.shape, **options)
    size = reference.conv2d_weight_grad(abs(grad), abs(x), weight_shape=weight.shape, **options)
    # Winograd may have been chosen, whose error goes with the largest value.
    bound = (grad.size + 2) * eps * size + 100 * eps * abs(expected).max()
    for view in (x, amid_nan(x, "steps")):
        found = fastconv.conv2d_weight_grad(grad, view, weight_shape=weight.shape, **options)
        assert_within(found, expected, bound)
    expected = reference.conv2d_input_grad(grad, weight, input_shape=x.shape, **options)
    size = reference.conv2d_input_grad(abs(grad), abs(weight), input_shape=x.shape, **options)
    for algorithm in ("auto", "direct"):
        target = Poisoned(x.shape, x.dtype, "rows")
        how = {"out": target.out, "algorithm": algorithm, "input_shape": x.shape, **options}
        found = fastconv.conv2d_input_grad(grad, weight, **how)
        target.check()
        assert_within(found, expected, (weight.size + 2) * eps * size + 100 * eps * abs(expected).max())
