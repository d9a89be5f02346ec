"""How often `algorithm="auto"` is right: random layers, every algorithm timed, the choice compared.

Run as `python benchmarks/choice.py [--operator forward] [--layers 300] [--seed 0] [--json out.json]`; prints
the share of layers on which the chosen algorithm is within 10% of the fastest, and the worst choices.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

import fastconv
from fastconv.bench.contender import Tensors
from fastconv.bench.gradients import FastconvGradient, Which
from fastconv.bench.layers import Layer, pair
from fastconv.bench.operators import conv_grad_tensors, conv_tensors
from fastconv.bench.peers import Fastconv
from fastconv.bench.report import milliseconds
from fastconv.bench.run import Timing, measure, pinned

CLOSE = 1.1
MOST_FLOPS = 2e9
"""Larger ones take seconds."""
ROUND_SECONDS = 4e-3
"""For each algorithm in each round."""
SHARED = ("direct", "im2col", "dot", "taps", "depthwise", "grouped", "winograd2", "winograd4")
GRADIENTS = {
    "input": (
        "planes", "lanes", "blocks", "strided", "multiplied", "patches", "pixels", "exchanged", "dense",
        "rows", *SHARED,
    ),
    "weight": (
        "pointwise", "direct", "rows", "planes", "channels", "pixels", "mixed", "runs", "dot", "winograd4",
    ),
}  # fmt: skip
"""The names that a gradient takes."""


@dataclass(frozen=True)
class Case:
    """A layer, and how its arrays are."""

    layer: Layer
    layout: str
    dtype: str


@dataclass(frozen=True)
class Choice:
    """What was chosen of it, and seconds by algorithm."""

    case: Case
    chosen: str
    seconds: dict[str, float]

    @property
    def loss(self) -> float:
        """Time of the chosen algorithm over that of the fastest."""
        return self.seconds[self.chosen] / min(self.seconds.values())

    def describe(self) -> str:
        """All of it in a line."""
        times = ", ".join(
            f"{name} {milliseconds(s)}" for name, s in sorted(self.seconds.items(), key=lambda p: p[1])
        )
        case = f"{self.case.layer.describe()} {self.case.layout} {self.case.dtype}"
        return f"{self.loss:5.2f}  {self.chosen:<10} {times} ms  {case}"


def random_case(rng: random.Random) -> Case:
    """Return one layer as people use them: sizes log-uniform, kernels and strides by their frequency."""
    kind = rng.choices(("dense", "depthwise", "grouped"), (6, 2, 2))[0]
    side = rng.choices((1, 2, 3, 4, 5, 7, 11), (5, 1, 8, 1, 2, 2, 1))[0]
    kernel = rng.choice((pair(side),) * 6 + ((1, side), (side, 1)))
    dilation = rng.choices((1, 2), (6, 1))[0]
    stride = rng.choices((1, 2, 3), (7, 3, 1))[0]
    size = max(round(2 ** rng.uniform(0, 7.5)), max(kernel) * dilation)
    channels, out_channels = (round(2 ** rng.uniform(0, 9.3)) for _ in range(2))
    groups = 1
    if kind == "depthwise":
        groups = channels = out_channels = max(2, channels)
    elif kind == "grouped":
        groups = rng.choice((2, 4, 8, 16, 32))
        channels, out_channels = (groups * max(1, c // groups) for c in (channels, out_channels))
    batch = rng.choices((1, 2, 4, 16), (8, 1, 1, 1))[0]
    kept = tuple((k - 1) * dilation // 2 for k in kernel)
    padding = rng.choice(((0, 0), kept))
    layer = Layer(
        "random", kind, channels, out_channels, pair(size), kernel, pair(stride), padding, pair(dilation),
        groups, batch=batch,
    )  # fmt: skip
    return Case(layer, rng.choice(("NCHW", "NHWC")), rng.choices(("float32", "float64"), (4, 1))[0])


def random_cases(count: int, seed: int) -> Iterator[Case]:
    """Yield so many that are not too large."""
    rng = random.Random(seed)
    while count:
        case = random_case(rng)
        if case.layer.flops <= MOST_FLOPS:
            yield case
            count -= 1


def forward(case: Case, tensors: Tensors, prepared: bool) -> tuple[str, dict[str, Any]]:
    """Return the choice, and the jobs of all algorithms that can compute the layer."""
    layer = case.layer
    n, c, h, w = layer.x_shape
    shape = (n, h, w, c) if case.layout == "NHWC" else (n, c, h, w)
    options: dict[str, Any] = {
        name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")
    }
    plan = fastconv.plan_conv2d(shape, np.asarray(tensors.weight), **options, layout=case.layout)
    candidates = [entry for entry in plan.candidates() if entry["reason"] is None]
    chosen = min(candidates, key=lambda entry: entry["seconds" if prepared else "call_seconds"])["name"]
    names = [entry["name"] for entry in candidates]
    return chosen, {
        name: Fastconv(case.layout, 1, prepared=prepared, algorithm=name).prepare(layer, tensors)
        for name in names
    }


def gradient(which: Which, case: Case, tensors: Tensors) -> tuple[str, dict[str, Any]]:
    """Return "auto", whose choice a gradient does not tell, and its job beside the others'."""
    jobs = {}
    for name in ("auto", *GRADIENTS[which]):
        ours = FastconvGradient(which, case.layout, 1, algorithm=name)
        if ours.refuse(case.layer, case.dtype) is None:
            jobs[name] = ours.prepare(case.layer, tensors)
    return "auto", jobs


def choose(case: Case, operator: str, rounds: int, prepared: bool) -> Choice:
    """Time every algorithm that can compute the layer."""
    if operator == "forward":
        chosen, jobs = forward(case, conv_tensors(case.layer, case.dtype), prepared)
    else:
        which: Which = "input" if operator == "input_grad" else "weight"
        chosen, jobs = gradient(which, case, conv_grad_tensors(case.layer, case.dtype))
    timings = {name: Timing(prepared) for name in jobs}
    measure(jobs, timings, rounds, budget=ROUND_SECONDS * rounds * len(jobs))
    return Choice(case, chosen, {name: timing.best for name, timing in timings.items()})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operator", choices=("forward", "input_grad", "weight_grad"), default="forward")
    parser.add_argument("--layers", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prepared", action="store_true", help="plans rather than calls, forward only")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cases = track(
        random_cases(arguments.layers, arguments.seed),
        "measuring",
        arguments.layers,
        console=Console(stderr=True),
    )
    with pinned(1):
        choices = [choose(case, arguments.operator, arguments.rounds, arguments.prepared) for case in cases]
    choices.sort(key=lambda choice: -choice.loss)
    for choice in choices[:25]:
        print(choice.describe())
    good = sum(choice.loss <= CLOSE for choice in choices)
    share = f"{100 * good / len(choices):.1f}%"
    print(f"{good} of {len(choices)} layers within 10% of the fastest algorithm ({share})")
    if arguments.json:
        rows = [asdict(choice) | {"loss": choice.loss} for choice in choices]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
