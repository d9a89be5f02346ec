"""What the process can be asked and told: configuration, scratch memory, exact mode, the C headers."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ALGORITHMS, ISAS, normal, run_python, same_bits, threads

import fastconv
from fastconv import _core


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    config = fastconv.show_config("dicts")
    assert config is not None
    assert config["version"] == fastconv.__version__
    assert config["isa"] in config["isas"]
    assert config["isas"] == ISAS
    assert ISAS[0] == "scalar"
    assert config["threads"] == fastconv.get_num_threads()
    assert config["algorithms"] == ALGORITHMS[:-1]
    assert {"direct", "im2col", "depthwise", "grouped"} <= set(ALGORITHMS)
    assert 2**12 <= config["l1"] <= config["l2"]
    assert fastconv.show_config() is None
    printed = capsys.readouterr().out
    for key in config:
        assert key in printed
    with pytest.raises(ValueError, match=r"mode.*json"):
        fastconv.show_config("json")


def test_config_follows_the_settings() -> None:
    with threads(3):
        fastconv.set_exact(True)
        config = fastconv.show_config("dicts")
    assert config is not None
    assert config["threads"] == 3
    assert config["exact"] is True


def test_clear_scratch() -> None:
    """Memory comes with use, goes when told, comes again; threads of others, such as JAX's, keep theirs."""
    x, weight = normal((1, 64, 60, 60), seed=1), normal((64, 64, 3, 3), seed=2)
    with threads(2):
        fastconv.clear_scratch()
        others = _core.scratch_held()
        expected = fastconv.conv2d(x, weight)
        assert _core.scratch_held() > others
        fastconv.clear_scratch()
        assert _core.scratch_held() == others
        assert same_bits(fastconv.conv2d(x, weight), expected)
        fastconv.clear_scratch()
        fastconv.clear_scratch()
        assert _core.scratch_held() == others


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in ("depthwise", "grouped")])
def test_scratch_is_bounded_by_the_cache_not_by_the_image(algorithm: str) -> None:
    """An image of 16 times the pixels asks for no more: no matrix of the whole image is ever made."""
    weight = normal((32, 32, 3, 3), seed=2)
    held = []
    for size in (128, 512):
        x = np.zeros((1, 32, size, size), np.float32)
        with threads(1):
            fastconv.clear_scratch()
            fastconv.conv2d(x, weight, padding=1, algorithm=algorithm)
            held.append(_core.scratch_held())
    assert held[1] <= max(2 * held[0], 4 * 2**20)
    fastconv.clear_scratch()


X, WEIGHT = np.ones((1, 8, 200, 200), np.float32), np.ones((8, 8, 1, 1), np.float32)  # to a result of 1.2 MiB


def test_memory_of_a_result_that_nobody_holds_is_used_again() -> None:
    fastconv.clear_scratch()
    address = fastconv.conv2d(X, WEIGHT).ctypes.data
    assert fastconv.conv2d(X, WEIGHT).ctypes.data == address
    assert fastconv.avg_pool2d(X, 3, stride=1, padding=1).ctypes.data == address
    assert fastconv.conv2d_input_grad(X, WEIGHT, input_shape=X.shape).ctypes.data == address
    held = _core.results_held()
    assert held == X.nbytes
    fastconv.clear_scratch()
    assert _core.results_held() == 0


HOLDS: list[Callable[[Any], Any]] = [
    lambda y: y,
    lambda y: y[0, 3:5, ::2],
    memoryview,
    lambda y: y.reshape(-1).base,
]


@pytest.mark.parametrize("hold", HOLDS)
def test_memory_of_a_result_that_somebody_holds_is_left_alone(hold: Callable[[Any], Any]) -> None:
    fastconv.clear_scratch()
    held = hold(fastconv.conv2d(X, WEIGHT))
    before = np.array(held)
    other = fastconv.conv2d(2 * X, WEIGHT)
    assert not np.shares_memory(np.asarray(held), other)
    assert np.array_equal(np.asarray(held), before)
    fastconv.clear_scratch()
    assert np.array_equal(np.asarray(held), before)
    assert (other == 16).all()


def result_of(nbytes: int) -> np.ndarray:
    """A result of so many bytes: ones."""
    return fastconv.conv2d(np.ones((1, 1, 1, nbytes // 4), np.float32), np.ones((1, 1, 1, 1), np.float32))


MIB = 1 << 20


def memory_of(y: np.ndarray) -> int:
    """Where the memory of a result begins: where in its page the result does depends on its input."""
    return int(np.asarray(y.base).ctypes.data)


def test_results_begin_on_a_cache_line_each_time() -> None:
    """New memory, which begins anywhere, used again, and used again for a little less."""
    for nbytes in (MIB, MIB + 4, 36 * MIB):
        fastconv.clear_scratch()
        places = []
        for less in (0, 0, 4, 0):
            y = result_of(nbytes - less)
            assert y.ctypes.data % 64 == 0
            places.append(memory_of(y))
            assert (y == 1).all()
            del y
        assert places == places[:1] * 4
    fastconv.clear_scratch()


@pytest.mark.parametrize("offset", [0, 4, 64, 1000, 1024, 2048, 3100, 4092])
def test_results_begin_elsewhere_in_a_page_than_their_input(offset: int) -> None:
    """A quarter of a kilobyte on, up to a line, wherever that is: else loads would wait for stores."""
    fastconv.clear_scratch()
    memory = np.ones(X.nbytes + 2 * 4096, np.uint8)
    start = -memory.ctypes.data % 4096 + offset
    x = memory[start : start + X.nbytes].view(np.float32).reshape(X.shape)
    x[...] = X
    for result in (
        lambda: fastconv.conv2d(x, WEIGHT),
        lambda: fastconv.plan_conv2d(x.shape, WEIGHT)(x),
        lambda: fastconv.conv2d_input_grad(x, WEIGHT, input_shape=x.shape),
        lambda: fastconv.max_pool2d(x, 3, stride=1, padding=1),
    ):
        y = result()
        assert y.ctypes.data % 64 == 0
        assert 256 - 64 < (y.ctypes.data - x.ctypes.data) % 4096 <= 256
        base = np.asarray(y.base)
        assert base.ctypes.data <= y.ctypes.data
        assert y.ctypes.data + y.nbytes <= base.ctypes.data + base.nbytes
    fastconv.clear_scratch()


def test_memory_of_results_is_used_for_others_of_about_its_size() -> None:
    """The smallest that suffices: a byte less does not, and one much larger is left for larger results."""
    fastconv.clear_scratch()
    large, small = result_of(6 * MIB), result_of(5 * MIB)
    places = memory_of(large), memory_of(small)
    del large, small
    other = result_of(5 * MIB - 64)
    assert memory_of(other) == places[1]
    another = result_of(5 * MIB - 64)
    assert memory_of(another) == places[0]
    del other, another
    assert memory_of(result_of(6 * MIB + 4)) not in places
    assert memory_of(result_of(3 * MIB)) not in places
    assert _core.results_held() == (6 + 5 + 6 + 3) * MIB + 4
    fastconv.clear_scratch()


def test_the_memory_that_was_last_used_longest_ago_is_forgotten() -> None:
    """Of more results than are kept, each larger than those before, so that none has another's memory."""
    fastconv.clear_scratch()
    sizes = [MIB + i * MIB // 8 for i in range(19)]
    for nbytes in sizes[:18]:
        assert (result_of(nbytes) == 1).all()
    assert _core.results_held() == sum(sizes[2:18])
    result_of(sizes[2])
    result_of(sizes[18])
    assert _core.results_held() == sizes[2] + sum(sizes[4:])
    fastconv.clear_scratch()


def test_memory_of_results_is_bounded() -> None:
    """The oldest is forgotten; what is larger than the bound is never kept, nothing where it is 0."""
    program = """
import numpy as np, fastconv
from fastconv import _core
weight = np.ones((4, 4, 1, 1), np.float32)
for width in (300, 500, 700, 900, 1100, 300):
    y = fastconv.conv2d(np.ones((1, 4, 300, width), np.float32), weight)
    assert (y == 4).all()
    del y
    print(_core.results_held())
"""
    for bound in (0, 3_000_000, 1 << 30):
        done = run_python(program, FASTCONV_RESULT_MEMORY=str(bound))
        assert done.returncode == 0, done.stderr
        held = [int(line) for line in done.stdout.split()]
        assert max(held) <= bound
        assert (held[-1] > 0) == (bound > 0)
    assert held[-1] == held[-2] == 4 * 4 * 300 * (300 + 500 + 700 + 900 + 1100)


@pytest.mark.parametrize("text", ["-1", "many", "1e9", str(2**62)])
def test_bound_of_the_memory_of_results_must_be_a_number(text: str) -> None:
    done = run_python("import fastconv", FASTCONV_RESULT_MEMORY=text)
    assert done.returncode != 0
    assert "ImportError: FASTCONV_RESULT_MEMORY" in done.stderr
    assert text in done.stderr


@pytest.mark.parametrize("exact", [1, 0.0, "yes", None])
def test_exact_is_a_bool(exact: object) -> None:
    with pytest.raises(TypeError, match="exact"):
        fastconv.set_exact(exact)  # type: ignore[arg-type]


def test_get_include() -> None:
    assert os.path.isabs(fastconv.get_include())
    assert (Path(fastconv.get_include()) / "fastconv.h").is_file()


def test_everything_public_has_a_docstring_and_is_listed() -> None:
    assert len(set(fastconv.__all__)) == len(fastconv.__all__)
    for name in fastconv.__all__:
        value = getattr(fastconv, name)
        if callable(value):
            assert value.__doc__, name
            if not isinstance(value, type):
                assert "Examples\n" in value.__doc__, name


def test_importing_needs_numpy_alone() -> None:
    """No framework, plotting or image library comes along."""
    code = """
import sys, fastconv
heavy = {"torch", "jax", "scipy", "matplotlib", "PIL", "cv2", "onnxruntime", "rich", "skimage"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_calls_leave_nothing_behind() -> None:
    """Neither objects nor references, whether a call succeeds or fails."""
    x, weight = normal((1, 1, 400, 3), seed=1), normal((500, 1, 3, 3), seed=2)  # no small, shared integers
    out = np.empty((1, 500, 398, 1), np.float32)

    def use() -> None:
        fastconv.conv2d(x, weight, out=out)
        plan = fastconv.plan_conv2d(x.shape, weight, padding=300)
        assert plan.out_shape == (1, 500, 998, 601)
        for wrong in (
            {"out": weight},
            {"padding": -1},
            {"stride": "2"},
            {"algorithm": "none"},
            {"groups": 2**70},
        ):
            with contextlib.suppress(ValueError, TypeError):
                fastconv.conv2d(x, weight, **wrong)
                raise AssertionError(f"{wrong} was taken")

    def state() -> tuple[int, ...]:
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        return held, sys.getrefcount(x), sys.getrefcount(weight), sys.getrefcount(out)

    tracemalloc.start()
    try:
        for _ in range(100):
            use()
        states = [state()]
        for _ in range(3):
            for _ in range(300):
                use()
            states.append(state())
    finally:
        tracemalloc.stop()
    assert len({references[1:] for references in states}) == 1
    # What a round leaves behind, it leaves in each of the three runs; caches of others grow in one.
    grown = min(after[0] - before[0] for before, after in itertools.pairwise(states))
    assert grown < 300 * 16, "not even half of the smallest object for every round"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_plans_give_their_memory_back() -> None:
    """A hundred plans, one after another, of some 2 MB each."""
    weight = normal((256, 256, 3, 3), seed=1)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for algorithm in ("im2col", "direct", "auto"):
        fastconv.plan_conv2d((1, 256, 14, 14), weight, padding=1, algorithm=algorithm)
        before = resident()
        for _ in range(33):
            fastconv.plan_conv2d((1, 256, 14, 14), weight, padding=1, algorithm=algorithm)
        assert resident() - before < 10 * weight.nbytes
