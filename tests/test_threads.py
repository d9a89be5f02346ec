"""Threads: the same bits for every number of them, many callers at once, fork, exit, and the environment."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from conv_case import Case
from support import (
    ALGORITHMS,
    DTYPES,
    ISAS,
    LAYOUTS,
    WAIT_FOR_CHILD,
    normal,
    run_python,
    same_bits,
    threads,
    to_layout,
)

import fastconv
from fastconv import _core

COUNTS = (1, 2, 3, 5)
CASES = [
    Case("3x3", 24, 40, (45, 50), padding=1),
    Case("3x3 on a batch of small planes", 32, 48, (7, 7), batch=13, padding=1, activation="relu"),
    Case("1x1", 64, 96, (30, 31), (1, 1)),
    Case("deep", 600, 33, (10, 9), (1, 1)),
    Case("many outputs of one pixel", 256, 1000, (1, 1), (1, 1)),
    Case("stride 2", 16, 24, (61, 60), (5, 5), stride=2, padding=2),
    Case("depthwise", 40, 40, (40, 41), groups=40, padding=1),
    Case("depthwise stride 2", 33, 66, (41, 40), (5, 5), groups=33, padding=2, stride=2),
    Case("grouped", 32, 48, (30, 33), groups=8, padding=1),
    Case("two groups", 64, 64, (20, 21), groups=2, padding=1),
]

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.mark.parametrize(
    ("case", "algorithm"),
    [
        pytest.param(case, algorithm, id=f"{case.name}-{algorithm}")
        for case in CASES
        for algorithm in ALGORITHMS
        if case.supports(algorithm)
    ],
)
def test_same_bits_for_every_number_of_threads(case: Case, algorithm: str) -> None:
    for dtype in DTYPES:
        x, weight, bias = case.arrays(dtype)
        for layout in LAYOUTS:
            image = to_layout(x, layout)
            results = []
            for count in COUNTS:
                with threads(count):
                    y = fastconv.conv2d(
                        image, weight, bias, layout=layout, algorithm=algorithm, **case.options
                    )
                    again = fastconv.conv2d(
                        image, weight, bias, layout=layout, algorithm=algorithm, **case.options
                    )
                assert same_bits(y, again), "two runs differ"
                results.append(y)
            for count, y in zip(COUNTS, results):
                assert same_bits(y, results[0]), f"{count} threads, {layout}, {dtype.__name__}"
            case.check(results[0], layout, algorithm)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_choice_does_not_depend_on_the_number_of_threads(case: Case) -> None:
    x, weight, bias = case.arrays(np.float32)
    found = set()
    for count in COUNTS:
        with threads(count):
            plan = fastconv.plan_conv2d(x.shape, weight, bias, **case.options)
        able = [c for c in plan.candidates() if not c["reason"]]
        prices = tuple((c["name"], c["seconds"], c["call_seconds"]) for c in able)
        found.add((plan.algorithm, prices))
    assert len(found) == 1


# Of several threads Winograd cuts images into other blocks; each may transform the weights itself.
WINOGRAD_CASES = [
    Case("two blocks", 48, 64, (20, 21), padding=1, activation="relu"),
    Case("blocks of rows", 64, 80, (29, 30), padding=1),
    Case("chunks of channels", 300, 40, (19, 18), padding=1),
    Case("images", 33, 64, (14, 14), batch=5, padding=1),
    Case("dilated", 40, 48, (33, 32), padding=3, dilation=3),
    Case("long taps", 40, 64, (17, 18), (1, 7), padding=(0, 3)),
    Case("few tiles", 96, 96, (8, 8), padding=1),
]


@pytest.mark.parametrize(
    ("case", "algorithm"),
    [
        pytest.param(case, algorithm, id=f"{case.name}-{algorithm}")
        for case in WINOGRAD_CASES
        for algorithm in ("winograd2", "winograd4")
        if case.supports(algorithm)
    ],
)
def test_winograd_of_several_threads_has_the_bits_of_one(case: Case, algorithm: str) -> None:
    x, weight, bias = case.arrays(np.float32)
    for layout in LAYOUTS:
        image = to_layout(x, layout)
        plan = fastconv.plan_conv2d(
            image.shape, weight, bias, layout=layout, algorithm=algorithm, **case.options
        )
        with threads(1):
            alone = plan(image)
        case.check(alone, layout, algorithm)
        for count in COUNTS:
            with threads(count):
                call = fastconv.conv2d(
                    image, weight, bias, layout=layout, algorithm=algorithm, **case.options
                )
                assert same_bits(call, alone), f"a call, {count} threads, {layout}"
                assert same_bits(plan(image), alone), f"a plan, {count} threads, {layout}"


# Several tasks: each of several threads may turn or pack the weights itself, or have narrower panels.
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("case", "algorithm"),
    [
        (Case("strided", 64, 128, (32, 30), (4, 4), stride=2, padding=1), "taps"),
        (Case("two passes of one panel", 48, 300, (15, 14), padding=1), "taps"),
        (Case("strided", 24, 64, (57, 56), padding=1, stride=2), "direct"),
        (Case("two passes", 40, 300, (28, 29), padding=1), "direct"),
        (Case("patches", 3, 96, (128, 112), (8, 8), stride=8), "direct"),
        (Case("winograd", 64, 80, (29, 30), padding=1), "winograd4"),
        (Case("winograd of few tiles", 200, 136, (12, 13), padding=1), "winograd2"),
        (Case("1x1", 96, 128, (28, 28), (1, 1)), "auto"),
        (Case("depthwise", 96, 96, (40, 41), (5, 5), groups=96, padding=2), "auto"),
        (Case("grouped", 64, 64, (40, 41), groups=16, padding=1), "auto"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_large_gradients_have_the_bits_of_one_thread(case: Case, algorithm: str, layout: str) -> None:
    x, weight, _ = case.arrays(np.float32)
    image = to_layout(x, layout)
    options = {name: value for name, value in case.options.items() if name != "activation"}
    shape = fastconv.conv2d(image, weight, layout=layout, **options).shape
    grad = normal(shape, np.float32, 3)
    results = []
    for count in COUNTS:
        with threads(count):
            inputs = fastconv.conv2d_input_grad(
                grad, weight, input_shape=image.shape, layout=layout, algorithm=algorithm, **options
            )
            weights = fastconv.conv2d_weight_grad(
                grad, image, weight_shape=weight.shape, layout=layout, **options
            )
        results.append((inputs, weights))
    for count, (inputs, weights) in zip(COUNTS, results, strict=True):
        assert same_bits(inputs, results[0][0]), f"input gradient, {count} threads"
        assert same_bits(weights, results[0][1]), f"weight gradient, {count} threads"


def test_many_callers_at_once() -> None:
    """Each with problems of its own, small and large, and numbers of threads that change meanwhile."""
    jobs = []
    for index, case in enumerate(CASES):
        x, weight, bias = case.arrays(DTYPES[index % 2])
        jobs.append((x, weight, bias, case.options))
        jobs.append((x[:, :, :1, :1], weight[:, :, :1, :1], bias, {"groups": case.groups}))
    expected = [fastconv.conv2d(x, weight, bias, **how) for x, weight, bias, how in jobs]
    wrong: list[str] = []

    def work(seed: int) -> None:
        for index in np.random.default_rng(seed).permutation(len(jobs) * 3) % len(jobs):
            x, weight, bias, how = jobs[index]
            if not same_bits(fastconv.conv2d(x, weight, bias, **how), expected[index]):
                wrong.append(f"caller {seed}, job {index}")
            if seed % 4 == 0:
                fastconv.set_num_threads(1 + index % 4)
            if seed % 4 == 1:
                fastconv.clear_scratch()

    callers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(120)
    assert not any(caller.is_alive() for caller in callers), "a caller hangs"
    assert not wrong


def test_callers_that_come_and_go() -> None:
    """A thread's scratch memory goes with the thread."""
    x, weight = normal((1, 16, 30, 30), seed=1), normal((16, 16, 3, 3), seed=2)
    expected = fastconv.conv2d(x, weight)

    def rounds(count: int) -> int:
        for _ in range(count):
            with ThreadPoolExecutor(4) as pool:
                for y in pool.map(lambda _: fastconv.conv2d(x, weight), range(8)):
                    assert same_bits(y, expected)
        return int(_core.scratch_held())

    after_few, after_many = rounds(3), rounds(20)
    assert after_many <= after_few + 8 * 2**20


def test_set_and_get() -> None:
    fastconv.set_num_threads(3)
    assert fastconv.get_num_threads() == 3
    fastconv.set_num_threads(np.int64(2))
    assert fastconv.get_num_threads() == 2
    for wrong, kind in ((0, ValueError), (-1, ValueError), (2**40, ValueError), (2**70, ValueError)):
        with pytest.raises(kind, match="count"):
            fastconv.set_num_threads(wrong)
    for wrong in (1.0, "2", None, True):
        with pytest.raises(TypeError, match="count"):
            fastconv.set_num_threads(wrong)  # type: ignore[arg-type]
    assert fastconv.get_num_threads() == 2


def test_a_number_of_threads_far_beyond_the_cpus() -> None:
    x, weight = normal((4, 32, 40, 40), seed=1), normal((32, 32, 3, 3), seed=2)
    with threads(1):
        expected = fastconv.conv2d(x, weight)
    with threads(200):
        assert same_bits(fastconv.conv2d(x, weight), expected)
    with threads(2):
        assert same_bits(fastconv.conv2d(x, weight), expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_small_problems_start_no_thread() -> None:
    """In a process that has done nothing else."""
    code = """
import os, numpy as np
count = lambda: len(os.listdir("/proc/self/task"))
import fastconv
fastconv.set_num_threads(4)
before = count()
fastconv.conv2d(np.ones((1, 3, 8, 8)), np.ones((4, 3, 3, 3)))
assert count() == before, "a small convolution started threads"
fastconv.conv2d(np.ones((1, 64, 80, 80)), np.ones((64, 64, 3, 3)))
assert count() == before + 3, (before, count())
"""
    done = run_python(code, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr


# --- fork and exit ------------------------------------------------------------------------------------

LARGE = """
import os, sys, threading, time, numpy as np, fastconv
rng = np.random.default_rng(1)
x, w = rng.standard_normal((2, 32, 40, 40)), rng.standard_normal((48, 32, 3, 3))
conv = lambda: fastconv.conv2d(x, w, padding=1).tobytes()
fastconv.set_num_threads(3)
"""

FORK = (
    WAIT_FOR_CHILD
    + """
def child():
    if conv() != expected:
        os._exit(3)
    fastconv.set_num_threads(2)
    os._exit(0 if conv() == expected and fastconv.get_num_threads() == 2 else 4)
"""
)

fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@fork_only
def test_after_fork() -> None:
    """The child computes with threads of its own, and its child again; the parent goes on as before."""
    code = (
        LARGE
        + "expected = conv()\n"
        + FORK
        + """
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        grandchild = os.fork()
        if grandchild == 0:
            child()
        if wait(grandchild) != 0:
            os._exit(5)
        child()
    assert wait(pid) == 0
    assert conv() == expected
"""
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@fork_only
def test_fork_while_other_threads_compute() -> None:
    """Whatever the pool was doing at that moment, the child is whole."""
    code = (
        LARGE
        + "expected = conv()\n"
        + FORK
        + """
going = True
def work():
    while going:
        assert conv() == expected
workers = [threading.Thread(target=work) for _ in range(3)]
for worker in workers:
    worker.start()
outcomes = []
for _ in range(12):
    pid = os.fork()
    if pid == 0:
        child()
    outcomes.append(wait(pid))
going = False
for worker in workers:
    worker.join()
assert outcomes == [0] * 12, outcomes
"""
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_exit_while_threads_compute() -> None:
    """The interpreter goes down under a daemon thread that is inside the library."""
    code = (
        LARGE
        + """
def work():
    while True:
        conv()
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
"""
    )
    for _ in range(3):
        done = run_python(code, timeout=60)
        assert done.returncode == 0, (done.returncode, done.stderr)


def test_exit_with_an_idle_pool() -> None:
    start = time.monotonic()
    done = run_python(LARGE + "conv()\n", timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert time.monotonic() - start < 50


# --- Where workers run --------------------------------------------------------------------------------

PAUSES = """
def calls():
    for _ in range(10):
        time.sleep(0.001)
        assert conv() == expected

def workers():
    tasks = [int(task) for task in os.listdir("/proc/self/task")]
    return [task for task in tasks if open(f"/proc/{os.getpid()}/task/{task}/comm").read() == "fastconv\\n"]

def soon(condition):
    for _ in range(2000):
        if condition():
            return True
        time.sleep(0.005)

expected = conv()
assert soon(lambda: len(workers()) == 2), "a thread that starts names itself"
"""


def test_an_idle_pool_takes_no_time() -> None:
    """After calls that were over before some workers had begun, too."""
    code = """
import random
small = np.ones((1, 16, 16, 16)), np.ones((16, 16, 3, 3))
fastconv.set_num_threads(4)

def calls(seed):
    chance = random.Random(seed)
    for _ in range(200):
        fastconv.conv2d(*((x, w) if chance.random() < 0.3 else small), padding=1)
        time.sleep(chance.random() * 0.003)

callers = [threading.Thread(target=calls, args=(seed,)) for seed in range(3)]
for caller in callers: caller.start()
for caller in callers: caller.join()
time.sleep(0.05)
before = time.process_time()
time.sleep(0.3)
assert time.process_time() - before < 0.1
"""
    done = run_python(LARGE + code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds threads in /proc")
def test_workers_keep_their_cpus() -> None:
    """A worker that is woken is kept off its waker's CPU for a moment only.

    With three threads on two CPUs nobody spins: sleep, call and wake-up meet in every order.
    """
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one CPU: no worker can be moved")
    code = """
def stay_on(cpus):
    for _ in range(20):
        calls()
        for worker in workers():
            assert soon(lambda: os.sched_getaffinity(worker) == cpus), (os.sched_getaffinity(worker), cpus)

every = os.sched_getaffinity(0)
stay_on(every)
for worker in workers():
    os.sched_setaffinity(worker, [min(every)])
stay_on({min(every)})
"""
    done = run_python(LARGE + PAUSES + code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds threads in /proc")
def test_workers_on_one_cpu() -> None:
    cpu = min(os.sched_getaffinity(0))
    done = run_python(
        f"import os; os.sched_setaffinity(0, [{cpu}])" + LARGE + PAUSES + "calls()\n", timeout=60
    )
    assert done.returncode == 0, done.stderr


# --- The environment ----------------------------------------------------------------------------------

PRINT_THREADS = "import fastconv; print(fastconv.get_num_threads())"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASTCONV_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "5"}, "5"),
        ({"FASTCONV_NUM_THREADS": "2", "OMP_NUM_THREADS": "7"}, "2"),
        ({"FASTCONV_NUM_THREADS": "1"}, "1"),
        ({"OMP_NUM_THREADS": "4,2"}, "4"),
    ],
    ids=str,
)
def test_number_of_threads_from_the_environment(environment: dict[str, str], expected: str) -> None:
    done = run_python(PRINT_THREADS, **environment)
    assert done.stdout.strip() == expected, done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_number_of_threads_from_the_affinity() -> None:
    cpu = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{cpu}]); {PRINT_THREADS}"
    assert run_python(code).stdout.strip() == "1"


@pytest.mark.parametrize("name", ISAS)
def test_an_instruction_set_from_the_environment(name: str) -> None:
    code = """
import numpy as np, fastconv
print(fastconv.show_config("dicts")["isa"], fastconv.plan_conv2d((1, 1, 9, 9), np.ones((1, 1, 3, 3))).isa)
print(int(fastconv.conv2d(np.ones((1, 2, 9, 9)), np.ones((1, 2, 3, 3))).sum()))
"""
    done = run_python(code, FASTCONV_ISA=name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name, name, str(18 * 49)]


@pytest.mark.parametrize(
    "name", [n for n in ("scalar", "avx2", "avx512", "neon", "sse9", "AVX2 ") if n not in ISAS]
)
def test_an_instruction_set_that_is_not_there(name: str) -> None:
    """An ImportError that says what was asked for and what this CPU has; it does not fall back."""
    done = run_python("import fastconv; print('imported')", FASTCONV_ISA=name)
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert name in last
    for present in ISAS:
        assert present in last


@pytest.mark.parametrize("count", [1, 2])
def test_wide_multiply_adds_from_the_environment(count: int) -> None:
    code = "import fastconv; print(fastconv.show_config('dicts')['wide_fmas'])"
    assert run_python(code, FASTCONV_WIDE_FMAS=str(count)).stdout.strip() == str(count)
    assert run_python(code, FASTCONV_WIDE_FMAS="0").stdout == run_python(code).stdout


@pytest.mark.parametrize("text", ["3", "-1", "", "two", "1.0"])
def test_wide_multiply_adds_that_no_cpu_has(text: str) -> None:
    done = run_python("import fastconv; print('imported')", FASTCONV_WIDE_FMAS=text)
    assert (done.returncode, done.stdout) == (1, "")
    wanted = "FASTCONV_WIDE_FMAS must be 1 or 2, or 0 for what the CPU says"
    assert f"ImportError: {wanted}, got {text!r}" in done.stderr


def test_no_instruction_set_named_means_the_best() -> None:
    code = "import fastconv; print(fastconv.show_config('dicts')['isa'])"
    done: Any = run_python(code, FASTCONV_ISA="")
    assert done.stdout.strip() == run_python(code).stdout.strip()
    assert done.stdout.strip() == ISAS[-1]
