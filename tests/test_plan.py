"""plan_conv2d: the bits of a direct call, pickling, what explain() says, and inputs that do not fit."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from support import (
    ALGORITHMS,
    DTYPES,
    ISAS,
    LAYOUTS,
    WIDTHS,
    Poisoned,
    amid_nan,
    assert_conv2d,
    isa,
    normal,
    run_python,
    same_bits,
    supports,
    threads,
    to_layout,
)

import fastconv
from fastconv import plan as plan_module

PROBLEMS: list[tuple[str, tuple[int, int, int, int], tuple[int, ...], dict[str, Any]]] = [
    ("3x3", (2, 12, 15, 17), (20, 12, 3, 3), {"padding": 1, "activation": "relu"}),
    ("1x1", (3, 40, 7, 7), (30, 40, 1, 1), {}),
    ("5x5 stride 2", (1, 3, 21, 22), (9, 3, 5, 5), {"padding": "same", "stride": 2}),
    ("depthwise", (2, 17, 9, 20), (17, 1, 3, 3), {"groups": 17, "padding": 1, "activation": "relu6"}),
    ("grouped", (1, 16, 9, 10), (24, 4, 3, 3), {"groups": 4, "dilation": 2, "padding": ((2, 1), (0, 3))}),
    ("grouped in blocks", (2, 80, 9, 10), (20, 16, 5, 5), {"groups": 5, "stride": 2, "padding": 2}),
    ("reflected", (2, 5, 8, 9), (6, 5, 3, 2), {"padding": 2, "padding_mode": "reflect"}),
]
problems = pytest.mark.parametrize(
    ("x_shape", "weight_shape", "options"), [p[1:] for p in PROBLEMS], ids=[p[0] for p in PROBLEMS]
)


def make(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], layout: str = "NCHW", dtype: Any = np.float32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, weight = normal(x_shape, dtype, 1), normal(weight_shape, dtype, 2)
    return to_layout(x, layout), weight, normal(weight_shape[:1], dtype, 3)


@problems
@pytest.mark.parametrize("name", ISAS)
def test_same_bits_as_a_direct_call(
    x_shape: Any, weight_shape: Any, options: dict[str, Any], name: str
) -> None:
    """With the same algorithm, in every layout and dtype, though the plan prepared its weights."""
    for layout in LAYOUTS:
        for dtype in DTYPES:
            x, weight, bias = make(x_shape, weight_shape, layout, dtype)
            for algorithm in ALGORITHMS:
                if not supports(algorithm, x_shape, weight_shape[2:], options | {"layout": layout}):
                    continue
                how = options | {"layout": layout, "algorithm": algorithm}
                with isa(name):
                    plan = fastconv.plan_conv2d(x.shape, weight, bias, **how)
                    y = plan(x)
                    direct = fastconv.conv2d(x, weight, bias, **how | {"algorithm": plan.algorithm})
                assert algorithm in ("auto", plan.algorithm)
                assert same_bits(y, direct), f"{algorithm}, {layout}, {dtype.__name__}"
                assert_conv2d(y, x, weight, bias, **how)
                assert plan.out_shape == y.shape
                assert plan.x_shape == x.shape
                assert plan.dtype == dtype


@problems
def test_pickling(x_shape: Any, weight_shape: Any, options: dict[str, Any]) -> None:
    x, weight, bias = make(x_shape, weight_shape)
    for algorithm in ALGORITHMS:
        if supports(algorithm, x_shape, weight_shape[2:], options):
            plan = fastconv.plan_conv2d(x_shape, weight, bias, algorithm=algorithm, **options)
            for again in (pickle.loads(pickle.dumps(plan)), copy.copy(plan), copy.deepcopy(plan)):
                assert again.algorithm == plan.algorithm
                assert again.explain() == plan.explain()
                assert same_bits(again(x), plan(x))


def test_pickling_into_another_process() -> None:
    x, weight, bias = make((2, 12, 15, 17), (20, 12, 3, 3))
    plan = fastconv.plan_conv2d(x.shape, weight, bias, padding=1, activation=("leaky_relu", 0.1))
    code = "import sys, pickle; plan, x = pickle.loads(bytes.fromhex(sys.argv[1])); "
    code += "print(plan(x).tobytes().hex())"
    done = run_python(code, pickle.dumps((plan, x[:, :, ::-1])).hex(), FASTCONV_ISA=plan.isa)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == plan(x[:, :, ::-1]).tobytes().hex()


@problems
def test_explain_names_every_candidate(x_shape: Any, weight_shape: Any, options: dict[str, Any]) -> None:
    plan = fastconv.plan_conv2d(x_shape, np.ones(weight_shape), **options)
    text = plan.explain()
    lines = text.splitlines()
    for algorithm in ALGORITHMS:
        if algorithm == "auto":
            continue
        (line,) = (line for line in lines if line[2:].split(" ")[0] == algorithm)
        possible = supports(algorithm, x_shape, weight_shape[2:], options)
        assert ("cannot" in line) is not possible
        assert line.startswith("*") is (algorithm == plan.algorithm)
        if possible:
            assert "ms" in line
    assert "float64" in text
    assert "x".join(map(str, weight_shape)) in text
    assert plan.algorithm in repr(plan)


def test_the_cheapest_prediction_is_taken() -> None:
    """Auto is the least of the predicted times that explain() shows."""
    for _, x_shape, weight_shape, options in PROBLEMS:
        plan = fastconv.plan_conv2d(x_shape, np.ones(weight_shape, np.float32), **options)
        seconds = {c["name"]: c["seconds"] for c in plan.candidates() if c["reason"] is None}
        assert seconds[plan.algorithm] == min(seconds.values())


@pytest.mark.parametrize("name", WIDTHS)
def test_a_choice_that_is_remembered_is_the_cheapest_candidate(name: str) -> None:
    """More problems than a thread remembers, each asked for twice, in two orders."""
    rng = np.random.default_rng(3)
    problems = []
    for _ in range(150):
        channels, outputs, size = (int(n) for n in 2 ** rng.uniform((0, 0, 3), (6, 6, 5)))
        weight = (outputs, channels, *rng.integers(1, 4, 2))
        problems.append(((1, channels, size, size), weight, int(rng.integers(1, 3))))
    with isa(name):
        for shape, weight, stride in (*problems, *reversed(problems)):
            plan = fastconv.plan_conv2d(shape, np.ones(weight, np.float32), stride=stride)
            seconds = {c["name"]: c["seconds"] for c in plan.candidates() if c["reason"] is None}
            assert seconds[plan.algorithm] == min(seconds.values())


def test_a_plan_keeps_copies() -> None:
    """What happens to the arrays afterwards does not reach a plan."""
    for algorithm in ALGORITHMS:
        for x_shape, weight_shape, groups in (
            ((1, 6, 9, 9), (12, 3, 3, 3), 2),
            ((1, 6, 9, 9), (6, 1, 3, 3), 6),
        ):
            how = {"groups": groups, "padding": 1}
            if not supports(algorithm, x_shape, weight_shape[2:], how):
                continue
            x, weight, bias = make(x_shape, weight_shape)
            plan = fastconv.plan_conv2d(x_shape, weight, bias, algorithm=algorithm, **how)
            expected = plan(x)
            weight[...] = np.nan
            bias[...] = np.nan
            assert same_bits(plan(x), expected)
            with pytest.raises(ValueError, match="read-only"):
                plan.weight[0] = 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_and_outputs_of_any_strides(layout: str) -> None:
    x, weight, bias = make((2, 12, 15, 17), (20, 12, 3, 3), layout)
    for algorithm in ("direct", "im2col", "auto"):
        plan = fastconv.plan_conv2d(x.shape, weight, bias, padding=1, layout=layout, algorithm=algorithm)
        expected = plan(x)
        for memory in ("contiguous", "rows", "steps"):
            poisoned = Poisoned(plan.out_shape, np.float32, memory)
            assert plan(amid_nan(x, memory), poisoned.out) is poisoned.out
            poisoned.check()
            assert same_bits(np.ascontiguousarray(poisoned.out), expected)
        assert same_bits(plan(x.astype(x.dtype.newbyteorder("S"))), expected)


def test_without_a_batch_and_with_an_empty_one() -> None:
    x, weight, bias = make((2, 12, 15, 17), (20, 12, 3, 3))
    plan = fastconv.plan_conv2d(x.shape[1:], weight, bias, algorithm="im2col")
    assert same_bits(plan(x[1]), fastconv.conv2d(x[1], weight, bias, algorithm="im2col"))
    assert fastconv.plan_conv2d((0, *x.shape[1:]), weight)(x[:0]).shape == (0, 20, 13, 15)


def test_one_plan_in_many_threads() -> None:
    x, weight, bias = make((1, 16, 28, 28), (24, 16, 3, 3))
    plan = fastconv.plan_conv2d(x.shape, weight, bias, padding=1)
    images = [normal(x.shape, seed=seed) for seed in range(40)]
    expected = [plan(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for y, e in zip(pool.map(plan, images), expected):
            assert same_bits(y, e)


@pytest.mark.parametrize(
    ("kind", "words", "x"),
    [
        (ValueError, ("x", "(1, 4, 8, 7)", "(1, 4, 8, 8)"), np.ones((1, 4, 8, 7), np.float32)),
        (ValueError, ("x", "(2, 4, 8, 8)", "(1, 4, 8, 8)"), np.ones((2, 4, 8, 8), np.float32)),
        (ValueError, ("x", "(4, 8, 8)", "(1, 4, 8, 8)"), np.ones((4, 8, 8), np.float32)),
        (ValueError, ("x", "()", "(1, 4, 8, 8)"), np.float32(1)),
        (TypeError, ("x", "float64", "float32"), np.ones((1, 4, 8, 8))),
        (TypeError, ("x", "int64"), np.ones((1, 4, 8, 8), np.int64)),
        (TypeError, ("x", "list"), [1.0]),
        (TypeError, ("x", "NoneType"), None),
    ],
)
def test_an_input_that_does_not_fit(kind: type[Exception], words: tuple[str, ...], x: Any) -> None:
    plan = fastconv.plan_conv2d((1, 4, 8, 8), np.ones((3, 4, 3, 3), np.float32))
    out = np.full(plan.out_shape, 7, np.float32)
    with pytest.raises(kind) as raised:
        plan(x, out=out)
    for word in words:
        assert word in str(raised.value)
    assert (out == 7).all()


def test_an_out_that_does_not_fit() -> None:
    plan = fastconv.plan_conv2d((1, 3, 8, 8), np.ones((3, 3, 3, 3), np.float32), padding=1)
    x = normal((1, 3, 8, 8))
    before = x.copy()
    with pytest.raises(ValueError, match=r"out.*\(1, 3, 8, 7\).*\(1, 3, 8, 8\)"):
        plan(x, out=np.empty((1, 3, 8, 7), np.float32))
    with pytest.raises(TypeError, match=r"out.*float64.*float32"):
        plan(x, out=np.empty((1, 3, 8, 8)))
    with pytest.raises(ValueError, match=r"out.*x"):
        plan(x, out=x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("x_shape", [None, 8, "1488", (1, 4, 8.0, 8), (1, 4, None, 8)], ids=str)
def test_a_shape_that_is_none(x_shape: Any) -> None:
    with pytest.raises(TypeError, match="x_shape"):
        fastconv.plan_conv2d(x_shape, np.ones((3, 4, 3, 3)))


@pytest.mark.parametrize(
    ("x_shape", "words"),
    [
        ((1, 4, -8, 8), "-8"),
        ((-1, 4, 8, 8), "-1"),
        ((1, 4, 2**62, 8), "64"),
        ((1, 4, 2**70, 8), "64"),
        ((4, 8), "4 axes"),
        ((1, 1, 1, 4, 8, 8), "4 axes"),
    ],
    ids=str,
)
def test_a_shape_of_wrong_numbers(x_shape: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fastconv.plan_conv2d(x_shape, np.ones((3, 4, 3, 3)))


def test_choosing_by_measurement() -> None:
    x, weight, bias = make((1, 12, 15, 17), (20, 12, 3, 3))
    plan = fastconv.plan_conv2d(x.shape, weight, bias, padding=1, effort="measure")
    assert plan.algorithm in ALGORITHMS
    assert_conv2d(plan(x), x, weight, bias, padding=1)
    with pytest.raises(ValueError, match=r"effort.*guess"):
        fastconv.plan_conv2d(x.shape, weight, effort="guess")


def test_measurements_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same problem is measured once; another shape, option or number of threads is another problem."""
    timed: list[str] = []
    fastest = plan_module._fastest

    def timing(plan: fastconv.ConvPlan, *given: Any) -> float:
        timed.append(plan.algorithm)
        return fastest(plan, *given)

    monkeypatch.setattr(plan_module, "_measured", {})
    monkeypatch.setattr(plan_module, "_fastest", timing)
    weight = normal((4, 4, 3, 3))

    def measure(size: int = 12, **options: Any) -> tuple[str, bool]:
        timed.clear()
        made = fastconv.plan_conv2d((1, 4, size, size), weight, effort="measure", **options)
        return made.algorithm, bool(timed)

    name, measured = measure()
    assert measured
    assert measure() == (name, False)
    for options in ({"size": 13}, {"padding": 1}, {"activation": "relu"}, {"layout": "NHWC", "size": 4}):
        assert measure(**options)[1], options
    with threads(fastconv.get_num_threads() + 1):
        assert measure()[1]
    assert not measure()[1]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_plan_runs_between_addresses(layout: str) -> None:
    shape = (2, 3, 9, 8) if layout == "NCHW" else (2, 9, 8, 3)
    x, weight = normal(shape), normal((5, 3, 3, 3), seed=1)
    plan = fastconv.plan_conv2d(
        shape, weight, None, 2, 1, padding_mode="reflect", layout=layout, activation="relu"
    )
    y = np.full(plan.out_shape, np.nan, np.float32)
    plan.run(x.ctypes.data, y.ctypes.data)
    assert np.array_equal(y, plan(x))
