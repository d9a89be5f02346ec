"""Where the time of a network goes, by type of layer, for each contender: `--profile` of networks.py."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

REPEATS = 3


def kind(module: nn.Module) -> str:
    """Name a layer's type, convolutions by kernel, stride and groups."""
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        stride = "" if module.stride == (1, 1) else f"/{module.stride[0]}"
        grouped = module.groups > 1
        depthwise = grouped and module.groups == module.in_channels
        which = "depthwise " if depthwise else "grouped " if grouped else ""
        return f"{which}conv {height}x{width}{stride}"
    for base in (nn.BatchNorm2d, nn.ReLU6, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear):
        if isinstance(module, base):
            return base.__name__
    return type(module).__name__


def by_layer(model: nn.Module, x: Tensor, step: Callable[[], Any]) -> dict[str, float]:
    """Seconds of the forward pass by type of layer, and of the rest of a step; the least of a few."""
    started: dict[nn.Module, float] = {}
    spent: dict[str, float] = {}
    handles = []

    def begin(module: nn.Module, _: Any) -> None:
        started[module] = time.perf_counter()

    def end(module: nn.Module, _: Any, __: Any) -> None:
        spent[kind(module)] += time.perf_counter() - started[module]

    for module in model.modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    best: dict[str, float] = {}
    try:
        for _ in range(REPEATS + 1):
            spent = defaultdict(float)
            start = time.perf_counter()
            step()
            whole = time.perf_counter() - start
            spent["all else"] = whole - sum(spent.values())
            best = {name: min(best.get(name, value), value) for name, value in spent.items()}
    finally:
        for handle in handles:
            handle.remove()
    return best


def by_operator(step: Callable[[], Any]) -> dict[str, float]:
    """Seconds of a step of training by operator of PyTorch, forward and backward; the least of a few."""
    step()
    best: dict[str, float] = {}
    for _ in range(REPEATS):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            step()
        for event in profiler.key_averages():
            best[event.key] = min(best.get(event.key, float("inf")), event.self_cpu_time_total * 1e-6)
    return best


def profile(
    setting: Any,
    base: nn.Module,
    size: int,
    contenders: Sequence[str],
    prepare: Callable[..., tuple[nn.Module, Tensor]],
    step_of: Callable[..., Callable[[], Any]],
) -> Table:
    """Tabulate milliseconds by type of layer, or of a training step by operator; not of compiled code."""
    columns: dict[str, dict[str, float]] = {}
    torch.manual_seed(0)
    x = torch.randn(setting.batch, 3, size, size)
    for name in contenders:
        if "compiled" in name:
            continue
        model, own = prepare(name, base, x, setting.mode)
        step = step_of(model, own, setting.mode)
        columns[name] = by_layer(model, own, step) if setting.mode == "forward" else by_operator(step)
    totals: dict[str, float] = defaultdict(float)
    for seconds in columns.values():
        for what, value in seconds.items():
            totals[what] = max(totals[what], value)
    drawn = Table("layer" if setting.mode == "forward" else "operator", pad_edge=False)
    drawn.title = setting.describe()
    if setting.mode == "forward":
        drawn.caption = "watched layers are computed one by one: nothing is fused"
    for name in columns:
        drawn.add_column(f"{name} ms", justify="right")
    least = 2e-3 * sum(totals.values())
    for what in sorted(totals, key=lambda key: -totals[key]):
        if totals[what] >= least:
            cells = [f"{seconds[what] * 1e3:.2f}" if what in seconds else "-" for seconds in columns.values()]
            drawn.add_row(what, *cells)
    return drawn
