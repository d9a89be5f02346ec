"""Pooling that no network of fastconv bench has, beside PyTorch in both layouts and a copy of as many bytes.

1-D and 3-D, integers, norms, unpooling; what networks have is measured by `fastconv bench --operator pool`.

Run as `python benchmarks/pooling.py [--only max] [--threads 1] [--rounds 7] [--json out.json]`.  Every row
is measured in both layouts of fastconv, interleaved with PyTorch, and the minimum is kept.  The ratio is the
time of PyTorch in its better layout over ours; `copy` is ours over that of `numpy.copyto` moving the bytes
that the row reads and writes.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import fastconv
from fastconv.bench.contender import Job
from fastconv.bench.run import Timing, measure, pinned
from fastconv.bench.summary import geometric_mean

L2 = 2 << 20
functional, aten = torch.nn.functional, torch.ops.aten
Calls = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Row:
    """One operator on one shape, given as (batch, channels, *size)."""

    kind: str
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """What the table prints."""
        size = "x".join(map(str, self.shape))
        options = " ".join(f"{short(name)}{value}" for name, value in self.options.items())
        return f"{self.kind} {size} {options}" + ("" if self.dtype == "float32" else f" {self.dtype}")

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.shape) - 2


def short(name: str) -> str:
    """Return an option's name as the table prints it."""
    return {"kernel_size": "k", "stride": "s", "padding": "p", "dilation": "d", "output_size": "out "}.get(
        name, name + "="
    )


def windows(k: Any, s: Any, p: Any = 0, **more: Any) -> dict[str, Any]:
    """Return the options of ordinary windows."""
    return {"kernel_size": k, "stride": s, **({"padding": p} if p else {}), **more}


def to(output_size: Any) -> dict[str, Any]:
    """Return the options of adaptive windows."""
    return {"output_size": output_size}


BIG, MIDDLE, SMALL = (1, 64, 112, 112), (1, 256, 28, 28), (1, 512, 14, 14)
ROWS = [
    Row("max", BIG, windows(3, 2, 1)),
    Row("max", BIG, windows(2, 2)),
    Row("max", BIG, windows(3, 1, 1)),
    Row("max", MIDDLE, windows(3, 2, 1)),
    Row("max", SMALL, windows(3, 1, 1)),
    Row("max", (16, 64, 112, 112), windows(3, 2, 1)),
    Row("max", (64, 256, 13, 13), windows(3, 2)),
    Row("max", (1, 3, 1024, 1024), windows(2, 2)),
    Row("max", (1, 17, 55, 55), windows(3, 2, ceil_mode=True)),
    Row("max", (1, 512, 13, 13), windows(13, 1, 6)),
    Row("max", (1, 512, 13, 13), windows(5, 1, 2)),
    Row("max", (1, 3, 224, 224), windows(7, 4, 3)),
    Row("max", (1, 64, 56, 56), windows(5, 3, 1)),
    Row("max", (1, 64, 56, 56), windows(3, 3)),
    Row("max", (1, 64, 56, 56), windows(4, 4)),
    Row("max", (1, 64, 56, 56), windows(3, 1, 1, dilation=2)),
    Row("max", (4, 2048, 7, 7), windows(2, 2)),
    Row("max", (1, 1, 8, 8), windows(2, 2)),
    Row("max", BIG, windows(3, 2, 1), "float64"),
    Row("max", BIG, windows(2, 2), "uint8"),
    Row("max", (1, 64, 56, 56), windows(3, 2, 1), "uint8"),
    Row("max", (16, 64, 4000), windows(4, 4)),
    Row("max", (1, 32, 16, 56, 56), windows(3, 2, 1)),
    Row("max", (1, 64, 8, 28, 28), windows(2, 2)),
    Row("max_indices", BIG, windows(3, 2, 1)),
    Row("max_indices", BIG, windows(2, 2)),
    Row("max_indices", MIDDLE, windows(3, 1, 1)),
    Row("max_indices", SMALL, windows(2, 2)),
    Row("max_indices", (4, 64, 56, 56), windows(3, 3)),
    Row("max_indices", (64, 256, 7, 7), windows(3, 2, 1)),
    Row("max_indices", BIG, windows(3, 2, 1), "float64"),
    Row("max_indices", (1, 3, 224, 224), windows(7, 4, 3)),
    Row("max_indices", (1, 32, 16, 28, 28), windows(2, 2)),
    Row("avg", BIG, windows(3, 1, 1)),
    Row("avg", BIG, windows(2, 2)),
    Row("avg", BIG, windows(3, 2, 1, count_include_pad=False)),
    Row("avg", (1, 64, 56, 56), windows(5, 3, 1)),
    Row("avg", (1, 64, 56, 56), windows(4, 4)),
    Row("avg", (1, 288, 35, 35), windows(3, 1, 1)),
    Row("avg", (16, 2048, 8, 8), windows(3, 1, 1)),
    Row("avg", (64, 17, 14, 14), windows(2, 2)),
    Row("avg", (1, 3, 1024, 1024), windows(8, 8)),
    Row("avg", (1, 1, 8, 8), windows(2, 2)),
    Row("avg", BIG, windows(3, 1, 1), "float64"),
    Row("avg", (16, 64, 4000), windows(5, 2, 2)),
    Row("avg", (1, 32, 16, 56, 56), windows(2, 2)),
    Row("avg", (1, 2048, 7, 7), windows(7, 1)),
    Row("lp2", BIG, windows(3, 2)),
    Row("lp2", BIG, windows(2, 2)),
    Row("lp3", (1, 64, 56, 56), windows(3, 2)),
    Row("adaptive_avg", (1, 2048, 7, 7), to(1)),
    Row("adaptive_avg", (64, 512, 7, 7), to(1)),
    Row("adaptive_avg", (1, 1280, 7, 7), to(1), "float64"),
    Row("adaptive_avg", (1, 64, 112, 112), to(1)),
    Row("adaptive_avg", (1, 512, 14, 14), to(7)),
    Row("adaptive_avg", (1, 256, 13, 13), to(6)),
    Row("adaptive_avg", (1, 256, 60, 60), to(7)),
    Row("adaptive_max", (1, 2048, 7, 7), to(1)),
    Row("adaptive_max", (1, 256, 13, 13), to(6)),
    Row("adaptive_max", (1, 64, 56, 56), to(7)),
    Row("unpool", (1, 64, 112, 112), windows(2, 2)),
    Row("unpool", (16, 64, 28, 28), windows(2, 2)),
    Row("max_grad", BIG, windows(3, 2, 1)),
    Row("max_grad", BIG, windows(2, 2)),
    Row("max_grad", MIDDLE, windows(3, 1, 1)),
    Row("max_grad", (16, 64, 56, 56), windows(3, 2, 1)),
    Row("max_grad", (64, 256, 7, 7), windows(2, 2)),
    Row("max_grad", (1, 3, 1024, 1024), windows(2, 2)),
    Row("max_grad", BIG, windows(2, 2), "float64"),
    Row("max_grad", (1, 32, 16, 28, 28), windows(2, 2)),
    Row("max_grad", (1, 1, 8, 8), windows(2, 2)),
    Row("avg_grad", BIG, windows(3, 1, 1)),
    Row("avg_grad", BIG, windows(2, 2)),
    Row("avg_grad", BIG, windows(3, 2, 1)),
    Row("avg_grad", (1, 64, 56, 56), windows(5, 3, 1)),
    Row("avg_grad", (16, 2048, 8, 8), windows(3, 1, 1)),
    Row("avg_grad", (1, 64, 56, 56), windows(4, 4)),
    Row("avg_grad", BIG, windows(3, 2, 1, count_include_pad=False)),
    Row("avg_grad", (1, 32, 16, 28, 28), windows(2, 2)),
    Row("avg_grad", BIG, windows(2, 2), "float64"),
    Row("avg_grad", (16, 64, 4000), windows(5, 2, 2)),
    Row("lp2_grad", (1, 64, 56, 56), windows(3, 2)),
    Row("adaptive_avg_grad", (1, 2048, 7, 7), to(1)),
    Row("adaptive_avg_grad", (64, 512, 7, 7), to(1)),
    Row("adaptive_avg_grad", (1, 256, 13, 13), to(6)),
    Row("adaptive_max_grad", (1, 256, 13, 13), to(6)),
]


def our_layouts(rank: int) -> tuple[str, str]:
    """Return channels first and channels last."""
    return (("NCL", "NLC"), ("NCHW", "NHWC"), ("NCDHW", "NDHWC"))[rank - 1]


def data_of(row: Row) -> np.ndarray:
    """Return the input, channels first."""
    rng = np.random.default_rng(0)
    if np.dtype(row.dtype).kind in "iu":
        return rng.integers(0, 200, row.shape, row.dtype)
    return rng.standard_normal(row.shape).astype(row.dtype)


def ours(row: Row, x: np.ndarray, layout: str) -> tuple[Callable[[], Any], int]:
    """Return our call and the bytes that it reads and writes."""
    base, gradient, _ = row.kind.partition("_grad")
    how, rank = {**row.options, "layout": layout}, row.rank
    indices = base == "max_indices"
    order = int(base[2:]) if base.startswith("lp") else 0
    name = {"max_indices": "max_pool", "unpool": "max_pool"}.get(base, "lp_pool" if order else f"{base}_pool")
    forward = getattr(fastconv, f"{name}{rank}d")
    if order:
        return_value = forward(x, order, **how)
        if not gradient:
            return lambda: forward(x, order, **how), x.nbytes + return_value.nbytes
        grad, backward = np.ones_like(return_value), getattr(fastconv, f"{name}{rank}d_grad")
        return lambda: backward(grad, x, order, **how, y=return_value), 2 * x.nbytes + 2 * grad.nbytes
    if base in ("unpool", "max", "adaptive_max") and (gradient or base == "unpool"):
        y, found = forward(x, **how, return_indices=True)
        if base == "unpool":
            unpool = getattr(fastconv, f"max_unpool{rank}d")
            return lambda: unpool(y, found, **how), y.nbytes + found.nbytes + x.nbytes
        backward = getattr(fastconv, f"max_pool{rank}d_grad")
        return (
            lambda: backward(y, found, input_shape=x.shape, layout=layout),
            y.nbytes + found.nbytes + x.nbytes,
        )
    if gradient:
        y = forward(x, **how)
        backward = getattr(fastconv, f"{name}{rank}d_grad")
        rest = {key: value for key, value in how.items() if key != "output_size"}
        return lambda: backward(y, input_shape=x.shape, **rest), y.nbytes + x.nbytes
    if indices:
        y, found = forward(x, **how, return_indices=True)
        return lambda: forward(x, **how, return_indices=True), x.nbytes + y.nbytes + found.nbytes
    y = forward(x, **how)
    return lambda: forward(x, **how), x.nbytes + y.nbytes


def theirs(row: Row, x: torch.Tensor) -> Callable[[], Any]:
    """Return PyTorch's call without the recording of gradients."""
    base, gradient, _ = row.kind.partition("_grad")
    rank, how = row.rank, dict(row.options)
    if base.startswith("lp"):
        forward = getattr(functional, f"lp_pool{rank}d")
        if not gradient:
            return lambda: forward(x, int(base[2:]), **how)
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = forward(leaf, int(base[2:]), **how)
        grad = torch.ones_like(y)
        return lambda: torch.autograd.grad(y, leaf, grad, retain_graph=True)
    if base in ("max", "max_indices", "adaptive_max", "unpool"):
        adaptive = base == "adaptive_max"
        forward = getattr(functional, f"{'adaptive_' if adaptive else ''}max_pool{rank}d")
        if base == "unpool":
            y, found = forward(x, **how, return_indices=True)
            return lambda: getattr(functional, f"max_unpool{rank}d")(y, found, **how)
        if not gradient:
            return lambda: forward(x, **how, return_indices=base == "max_indices")
        y, found = forward(x, **how, return_indices=True)
        if adaptive:
            return lambda: getattr(aten, f"adaptive_max_pool{rank}d_backward")(y, x, found)
        k, s, p = ([how.get(key, 0)] * rank for key in ("kernel_size", "stride", "padding"))
        backward = getattr(aten, f"max_pool{rank}d_with_indices_backward")
        return lambda: backward(y, x, k, s, p, [1] * rank, False, found)
    forward = getattr(functional, f"{base}_pool{rank}d")
    if not gradient:
        return lambda: forward(x, **how)
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = forward(leaf, **how)
    grad = y.detach().clone(memory_format=torch.preserve_format)
    if base == "avg" and rank == 2:
        k, s, p = ([how.get(key, 0)] * 2 for key in ("kernel_size", "stride", "padding"))
        include = how.get("count_include_pad", True)
        return lambda: aten.avg_pool2d_backward(grad, x, k, s, p, False, include, None)
    return lambda: torch.autograd.grad(y, leaf, grad, retain_graph=True)


def calls_of(row: Row) -> tuple[Calls, dict[str, int]]:
    """Return every call of a row, and the bytes of ours."""
    x = data_of(row)
    calls: Calls = {}
    nbytes: dict[str, int] = {}
    for layout in our_layouts(row.rank):
        array = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout.endswith("C") else x
        calls[layout], nbytes[layout] = ours(row, array, layout)
    formats = [torch.contiguous_format]
    if row.rank > 1:
        formats.append(torch.channels_last if row.rank == 2 else torch.channels_last_3d)
    for number, memory_format in enumerate(formats):
        tensor = torch.from_numpy(x).clone().contiguous(memory_format=memory_format)
        try:
            call = theirs(row, tensor)
            call()
        except (RuntimeError, NotImplementedError):  # no such kernel
            continue
        calls[f"torch {our_layouts(row.rank)[number]}"] = call
    half = max(nbytes.values()) // 2
    source, target = np.ones(half, np.uint8), np.ones(half, np.uint8)
    calls["copy"] = lambda: np.copyto(target, source)
    return calls, nbytes


def seconds_of(calls: Calls, rounds: int) -> dict[str, float]:
    """Return the least seconds of each call over interleaved rounds."""
    timings = {name: Timing(False) for name in calls}
    jobs = {name: Job(call, np.asarray) for name, call in calls.items()}
    measure(jobs, timings, rounds, budget=0.05 * rounds)
    return {name: timing.best for name, timing in timings.items()}


def run(rows: list[Row], rounds: int) -> list[dict[str, Any]]:
    """Measure rows."""
    results = []
    for row in track(rows, "measuring", console=Console(stderr=True), transient=True):
        calls, nbytes = calls_of(row)
        seconds = seconds_of(calls, rounds)
        peer = min((s for name, s in seconds.items() if name.startswith("torch")), default=math.nan)
        for layout in our_layouts(row.rank):
            results.append(
                {
                    "name": row.name,
                    "layout": layout,
                    "ms": seconds[layout] * 1e3,
                    "torch": [s * 1e3 for name, s in seconds.items() if name.startswith("torch")],
                    "ratio": peer / seconds[layout],
                    "copy": seconds[layout] / seconds["copy"],
                    "bytes": nbytes[layout],
                }
            )
    return results


def table_of(results: list[dict[str, Any]]) -> Table:
    """Return the results as a table, the worst first."""
    table = Table()
    for heading in ("row", "layout", "ms", "torch", "torch last", "ratio", "MB", "x copy"):
        table.add_column(heading, justify="left" if heading in ("row", "layout") else "right")
    for r in sorted(results, key=lambda r: r["ratio"]):
        peers = [f"{ms:.4f}" for ms in r["torch"]] + [""] * (2 - len(r["torch"]))
        style = "red" if r["ratio"] < 1 else "yellow" if r["bytes"] > L2 and r["copy"] > 1.5 else None
        table.add_row(
            r["name"],
            r["layout"],
            f"{r['ms']:.4f}",
            *peers,
            f"{r['ratio']:.2f}",
            f"{r['bytes'] / 1e6:.2f}",
            f"{r['copy']:.2f}",
            style=style,
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name begins so")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    fastconv.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(True)
    rows = [row for row in ROWS if row.name.startswith(arguments.only)]
    with pinned(arguments.threads):
        results = run(rows, arguments.rounds)
    console = Console(width=130)
    console.print(table_of(results))
    ratios = [r["ratio"] for r in results if not math.isnan(r["ratio"])]
    behind = sum(ratio < 1 for ratio in ratios)
    memory = [r["copy"] for r in results if r["bytes"] > L2]
    mean = geometric_mean(ratios)
    console.print(f"{len(ratios)} rows, geometric mean {mean:.2f}, {behind} behind")
    if memory:
        console.print(f"{sum(c > 1.5 for c in memory)} of {len(memory)} rows beyond L2 above 1.5 copies")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
