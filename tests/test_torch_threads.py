"""Jobs on torch's threads: the same bits, no second pool, numbers that differ, fork, many callers."""

from __future__ import annotations

import os

import pytest
from support import WAIT_FOR_CHILD, run_python

pytest.importorskip("torch", reason="needs PyTorch")

# Three threads, on however few CPUs: what torch's have computed is what one thread computes.
SETTING = (
    WAIT_FOR_CHILD
    + """
import os, sys, threading, time, numpy as np, torch
torch.set_num_threads(3)
if sys.argv[1:] == ["torch first"]:
    torch.randn(300, 300) @ torch.randn(300, 300)
    torch.rand(1 << 20).exp_()
import fastconv, fastconv.torch as ft
from fastconv.torch.threads import share_threads
fastconv.set_num_threads(3)
torch.manual_seed(0)
x, w = torch.randn(2, 32, 40, 40), torch.randn(48, 32, 3, 3)
conv = lambda: ft.conv2d(x, w, padding=1).numpy().tobytes()

def names():
    return [open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task")]
"""
)
SHARED = SETTING + "if not share_threads(): print('not shared'); sys.exit()\n"

on_linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(code: str, *args: str) -> None:
    """Run in an interpreter of its own; skip where torch has threads that cannot be used."""
    done = run_python(code, *args)
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("not shared"):
        pytest.skip("this PyTorch has another runtime for its threads")


@on_linux
def test_no_workers_of_our_own_are_started() -> None:
    run(
        SHARED
        + """
torch.rand(1 << 20).exp_()
before = len(names())
assert before >= 3
shared = conv()
assert len(names()) == before, names()
fastconv.set_num_threads(1)
assert conv() == shared
fastconv.set_num_threads(2)  # another number than torch's
assert conv() == shared
assert len(names()) == before + 1, names()
"""
    )


@on_linux
def test_numpy_arrays_are_computed_there_too_and_scratch_is_given_back() -> None:
    run(
        SHARED
        + """
from fastconv import _core
torch.rand(1 << 20).exp_()
before = len(names())
assert fastconv.conv2d(x.numpy(), w.numpy(), padding=1).tobytes() == conv()
assert len(names()) == before
assert _core.scratch_held() > 0
_core.clear_scratch()
assert _core.scratch_held() == 0, _core.scratch_held()
"""
    )


def test_gradients_have_the_same_bits() -> None:
    run(
        SHARED
        + """
def gradients():
    a, b = x.clone().requires_grad_(), w.clone().requires_grad_()
    ft.conv2d(a, b, padding=1).square().sum().backward()
    return a.grad.numpy().tobytes(), b.grad.numpy().tobytes()
expected = gradients()
fastconv.set_num_threads(1)
assert gradients() == expected
"""
    )


def test_many_callers_at_once() -> None:
    run(
        SHARED
        + """
expected, wrong = conv(), []
def work():
    for _ in range(30):
        if conv() != expected:
            wrong.append(1)
workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers: worker.start()
for _ in range(30):
    torch.rand(1 << 18).exp_()
for worker in workers: worker.join()
assert not wrong
"""
    )


@fork_only
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("first", ["torch first", "fastconv first", "neither"])
def test_the_child_of_a_fork_has_its_own(first: str) -> None:
    """Torch's threads do not exist there, and its runtime would wait for them."""
    run(
        SHARED
        + """
expected = conv() if sys.argv[1] == "fastconv first" else None
pid = os.fork()
if pid == 0:
    made = conv()
    fastconv.set_num_threads(1)
    os._exit(0 if conv() == made and expected in (None, made) else 3)
assert wait(pid) == 0
assert expected in (None, conv())
""",
        first,
    )
