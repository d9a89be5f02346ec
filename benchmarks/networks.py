"""Whole networks in PyTorch as it is, channels_last, compiled, and converted to fastconv.

Run as `python benchmarks/networks.py [--networks resnet50,mobilenetv2,vgg16] [--batch 1,16] [--threads 1,2]`:
forward passes and steps of training.
All contenders are in one process and take turns; the fastest call of each counts.  Outputs and gradients are
first compared with float64.  `--profile` then shows where the time goes, by type of layer.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import models
import profiles
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor, nn

import fastconv
from fastconv.bench.contender import Job
from fastconv.bench.report import milliseconds, write_marked
from fastconv.bench.run import QUIET_SECONDS, Timing, check_threads, measure, pinned
from fastconv.bench.summary import geometric_mean

MODES = ("forward", "training")
OURS = "fastconv"
FACTOR = 16.0
"""How many times PyTorch's own error against float64 fastconv's may be.

Errors of layers add up linearly, to first order.  A fast algorithm's layer is within 10 times of direct
summation (docs/accuracy.md), so a whole network is;
the rest is for rectifiers that a rounding turns on or off.
"""

Prepared = tuple[nn.Module, Tensor]


def _channels_last(model: nn.Module, x: Tensor) -> Prepared:
    return model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)


def _compiled(model: nn.Module, x: Tensor) -> Prepared:
    return torch.compile(model, dynamic=False), x  # type: ignore[return-value]


def _converted(model: nn.Module, x: Tensor) -> Prepared:
    from fastconv.torch import convert

    return convert(model), x


CONTENDERS: dict[str, Callable[[nn.Module, Tensor], Prepared]] = {
    "torch": lambda model, x: (model, x),
    "torch NHWC": _channels_last,
    "torch compiled": _compiled,
    OURS: _converted,
    "fastconv NHWC": lambda model, x: _converted(*_channels_last(model, x)),
}
"""By heading of the column: what is done to a model in NCHW and its input, once."""


@dataclass(frozen=True)
class Setting:
    """One row."""

    network: str
    batch: int
    mode: str
    threads: int

    def describe(self) -> str:
        """All of it in a few words."""
        return (
            f"{self.network} {self.mode}, batch {self.batch}, {self.threads} thread{'s' * (self.threads > 1)}"
        )


@dataclass
class Result:
    """What was measured of it, seconds by contender, and who could not."""

    setting: Setting
    timings: dict[str, Timing] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def best(self, ours: bool) -> str | None:
        """Name the fastest of fastconv's contenders, or of PyTorch's."""
        names = [name for name in self.timings if name.startswith(OURS) == ours]
        return min(names, key=lambda name: self.timings[name].best, default=None)

    @property
    def speedup(self) -> float | None:
        """PyTorch's best time over fastconv's."""
        ours, theirs = self.best(True), self.best(False)
        if ours is None or theirs is None:
            return None
        return self.timings[theirs].best / self.timings[ours].best


def step_of(model: nn.Module, x: Tensor, mode: str) -> Callable[[], Any]:
    """Make what is timed: a forward pass, or a whole step of training on made-up labels."""
    if mode == "forward":
        model.eval()

        def forward() -> Tensor:
            with torch.inference_mode():
                result: Tensor = model(x)
                return result

        return forward
    model.train()
    labels = torch.arange(len(x)) % models.CLASSES
    # So slow that a thousand steps leave the weights where they were.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)

    def train() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return train


def set_threads(threads: int) -> None:
    """Limit both libraries; more threads than CPUs would wait for each other by turning round."""
    torch.set_num_threads(threads)
    fastconv.set_num_threads(threads)


def prepare(name: str, base: nn.Module, x: Tensor, mode: str) -> Prepared:
    """Give a contender its own copy of the model, in the mode in which it is used."""
    model = copy.deepcopy(base).train(mode == "training")
    return CONTENDERS[name](model, x)


def measure_setting(
    setting: Setting, base: nn.Module, size: int, contenders: Sequence[str], rounds: int, seconds: float
) -> Result:
    """Prepare every contender, and time them in turns."""
    result = Result(setting)
    torch.manual_seed(0)
    x = torch.randn(setting.batch, 3, size, size)
    torch._dynamo.reset()  # compiled code knows its number of threads
    set_threads(setting.threads)
    jobs: dict[str, Job] = {}
    for name in contenders:
        try:
            step = step_of(*prepare(name, base, x, setting.mode), setting.mode)
            step()
        except Exception as error:  # no compiler, say: the others are still measured
            result.failed[name] = str(error).strip().splitlines()[0]
            continue
        jobs[name] = Job(step, lambda y: y, before=lambda: set_threads(setting.threads))
        result.timings[name] = Timing(False)
    pause = QUIET_SECONDS if setting.threads > 1 else 0.0
    measure(jobs, result.timings, rounds, pause, seconds, patience=seconds / 4)
    return result


@dataclass(frozen=True)
class Agreement:
    """Relative error of a contender in the Euclidean norm, and what PyTorch's own is."""

    network: str
    contender: str
    what: str
    torch: float
    ours: float

    @property
    def holds(self) -> bool:
        """Whether the contender's is within `FACTOR` times PyTorch's."""
        return self.ours <= FACTOR * self.torch


def relative_error(got: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Norm of the difference over the norm of what is wanted, of all tensors as one."""
    difference = sum(float((g.double() - w).square().sum()) for g, w in zip(got, wanted))
    total = sum(float(w.square().sum()) for w in wanted)
    return float((difference / total) ** 0.5)


def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """What the network says, as in use."""
    with torch.no_grad():
        return [model.eval()(x)]


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Those of all parameters, as in a step of training."""
    nn.functional.cross_entropy(model.train()(x), torch.arange(len(x)) % models.CLASSES).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def agreements(network: str, base: nn.Module, size: int, contenders: Sequence[str]) -> list[Agreement]:
    """Compare fastconv's outputs with float64, and its gradients in float64 with PyTorch's.

    The gradients are compared in float64 because that of a rectifier jumps: in float32 a rounding turns one
    on or off now and then, and PyTorch's two layouts differ from each other by 1%.  The yardsticks are
    PyTorch's error in float32, and how far its layouts are apart in float64.
    """
    torch.manual_seed(1)
    x = torch.randn(2, 3, size, size)

    def copies(name: str, dtype: torch.dtype) -> Prepared:
        return CONTENDERS[name](copy.deepcopy(base).to(dtype), x.to(dtype))

    exact = outputs(*copies("torch", torch.float64)), gradients(*copies("torch", torch.float64))
    single, double = (torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64))
    output = max(relative_error(outputs(*copies("torch", torch.float32)), exact[0]), 4 * single)
    apart = relative_error(gradients(*copies("torch NHWC", torch.float64)), exact[1])
    gradient = max(apart, output / single * double)
    found = []
    for name in contenders:
        if not name.startswith(OURS):
            continue
        try:
            error = relative_error(outputs(*copies(name, torch.float32)), exact[0])
            found.append(Agreement(network, name, "outputs in float32", output, error))
            error = relative_error(gradients(*copies(name, torch.float64)), exact[1])
            found.append(Agreement(network, name, "gradients in float64", gradient, error))
        except Exception:  # it fails when it is measured, too, and is named there
            continue
    return found


def table(results: Sequence[Result], contenders: Sequence[str]) -> Table:
    """Draw the results."""
    drawn = Table("network", "batch", "threads", "mode", pad_edge=False)
    for name in contenders:
        drawn.add_column(f"{name} ms", justify="right")
    drawn.add_column("best/best", justify="right")
    for result in results:
        drawn.add_row(*_cells(result, contenders, bold=True))
    return drawn


def _cells(result: Result, contenders: Sequence[str], *, bold: bool = False) -> list[str]:
    setting, ratio = result.setting, result.speedup
    cells = [setting.network, str(setting.batch), str(setting.threads), setting.mode]
    for name in contenders:
        text = milliseconds(result.timings[name].best) if name in result.timings else "-"
        strong = bold and name in (result.best(True), result.best(False))
        cells.append(f"[bold]{text}[/bold]" if strong else text)
    return [*cells, "" if ratio is None else f"{ratio:.2f}"]


def sentences(results: Sequence[Result], found: Sequence[Agreement]) -> list[str]:
    """Sum up."""
    ratios = {result: ratio for result in map(_Key, results) if (ratio := result.result.speedup) is not None}
    lines = []
    if ratios:
        worst = min(ratios, key=lambda key: ratios[key])
        behind = sum(ratio < 1 for ratio in ratios.values())
        lines.append(
            f"best/best: PyTorch's best time over fastconv's best, {geometric_mean(ratios.values()):.2f} "
            f"in the geometric mean, {behind} of {len(ratios)} behind, worst {ratios[worst]:.2f} "
            f"({worst.result.setting.describe()})."
        )
    for a in found:
        verdict = "" if a.holds else f"  WRONG: more than {FACTOR:g} times"
        lines.append(
            f"relative error of {a.network}, {a.what}: torch {a.torch:.1e}, "
            f"{a.contender} {a.ours:.1e}{verdict}"
        )
    failures = {name: why for result in results for name, why in result.failed.items()}
    return lines + [f"without {name}: {why}" for name, why in failures.items()]


@dataclass(frozen=True, eq=False)
class _Key:
    """A result as a key."""

    result: Result


def markdown(results: Sequence[Result], found: Sequence[Agreement], contenders: Sequence[str]) -> str:
    """Write it all for docs."""
    names = ["network", "batch", "threads", "mode", *(f"{name} ms" for name in contenders), "best/best"]
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_cells(result, contenders))} |" for result in results]
    return "\n".join(["```", machine(), "```", "", *lines, "", "```", *sentences(results, found), "```", ""])


def machine() -> str:
    """Name it."""
    from fastconv import _core

    info = _core.info()
    return (
        f"{info['cpu']}, {info['isa']}, fastconv {fastconv.__version__}, torch {torch.__version__}, float32"
    )


def draw(results: Sequence[Result], contenders: Sequence[str], path: Path) -> None:
    """Draw every contender's speed over that of PyTorch as it is."""
    from matplotlib.figure import Figure

    colours = dict(zip(CONTENDERS, ["#8a8a8a", "#b8b8b8", "#5a5a5a", "#1f6fb2", "#6fb0e0"]))
    figure = Figure(
        figsize=(11, 1.6 + 0.16 * len(results) * (len(contenders) + 1)), layout="constrained", dpi=110
    )
    axes = figure.subplots()
    height = 0.85 / len(contenders)
    for number, name in enumerate(contenders):
        for place, result in enumerate(results):
            base = result.timings.get("torch") or next(iter(result.timings.values()), None)
            if name not in result.timings or base is None:
                continue
            speed = base.best / result.timings[name].best
            y = place + (number - (len(contenders) - 1) / 2) * height
            axes.barh(y, speed, height=0.95 * height, color=colours[name])
            axes.text(speed, y, f" {milliseconds(result.timings[name].best)} ms", va="center", fontsize=7)
        axes.barh(0, 0, color=colours[name], label=name)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(results)), [result.setting.describe() for result in results], fontsize=8)
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("times as fast as PyTorch as it is (fastest call of each)")
    axes.set_title(machine(), fontsize=9)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.03), ncols=len(contenders), fontsize=8, frameon=False
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def as_dict(results: Sequence[Result], found: Sequence[Agreement]) -> dict[str, Any]:
    """Turn it all into plain types."""
    return {
        "machine": machine(),
        "rows": [
            vars(result.setting)
            | {"failed": result.failed, "speedup": result.speedup}
            | {"seconds": {name: timing.best for name, timing in result.timings.items()}}
            for result in results
        ],
        "agreement": [vars(a) | {"holds": a.holds} for a in found],
    }


def make_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])

    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    def numbers(text: str) -> list[int]:
        return [int(number) for number in names(text)]

    parser.add_argument("--networks", type=names, default=list(models.NETWORKS))
    parser.add_argument("--batch", type=numbers, default=[1, 16])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--modes", type=names, default=list(MODES))
    parser.add_argument("--contenders", type=names, default=list(CONTENDERS))
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for a row, about; each runs at least once"
    )
    parser.add_argument("--no-check", action="store_true", help="do not compare with float64")
    parser.add_argument("--profile", action="store_true", help="where the time goes, by type of layer")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Leave with a line that says what is wrong."""
    for option, known in [("networks", models.NETWORKS), ("modes", MODES), ("contenders", CONTENDERS)]:
        for name in getattr(args, option):
            if name not in known:
                parser.error(f"--{option}: unknown name {name!r}, known are {', '.join(known)}")
    if min(args.batch + args.threads + [args.rounds, args.size]) < 1:
        parser.error("numbers must be at least 1")
    try:
        check_threads(max(args.threads))
    except ValueError as error:
        parser.error(str(error))


def main() -> int:
    """Measure and show."""
    parser = make_parser()
    args = parser.parse_args()
    check_arguments(parser, args)
    console = Console(width=None if sys.stdout.isatty() else 160)
    settings = [
        Setting(network, batch, mode, threads)
        for network in args.networks
        for batch in args.batch
        for mode in args.modes
        for threads in args.threads
    ]
    results: list[Result] = []
    found: list[Agreement] = []
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with (
        pinned(max(args.threads)),
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        bar = progress.add_task("", total=len(settings))
        set_threads(max(args.threads))
        bases: dict[str, nn.Module] = {}
        for setting in settings:
            progress.update(bar, description=setting.describe())
            if setting.network not in bases:
                bases = {setting.network: models.make(setting.network, args.size)}
                if not args.no_check:
                    found += agreements(setting.network, bases[setting.network], args.size, args.contenders)
            base = bases[setting.network]
            with pinned(setting.threads):
                results.append(
                    measure_setting(setting, base, args.size, args.contenders, args.rounds, args.seconds)
                )
                if args.profile:
                    progress.console.print(
                        profiles.profile(setting, base, args.size, args.contenders, prepare, step_of)
                    )
            progress.advance(bar)
    console.print(machine())
    console.print(table(results, args.contenders))
    for line in sentences(results, found):
        console.print(line, highlight=False)
    if args.json:
        args.json.write_text(json.dumps(as_dict(results, found), indent=1) + "\n")
    if args.markdown:
        write_marked(args.markdown, {"networks": markdown(results, found, args.contenders)})
    if args.plot:
        draw(results, args.contenders, args.plot)
    broken = any(name.startswith(OURS) for result in results for name in result.failed)
    return 1 if broken or not all(a.holds for a in found) else 0


if __name__ == "__main__":
    sys.exit(main())
