"""The command `fastconv bench`: reads its arguments, picks the rows, shows and saves.  For cli.py."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fastconv._arguments import (
    UsageError,
    check_writable,
    import_error,
    integers,
    names,
    positive,
    positive_real,
)
from fastconv.bench.layers import Case
from fastconv.bench.networks import NETWORKS, POOLINGS, SHORT
from fastconv.bench.operators import MOST_BYTES, MOST_FLOPS, OPERATORS, Task, sample, select
from fastconv.bench.peers import PEERS

if TYPE_CHECKING:
    from fastconv.bench.run import Report

ALL_BATCHES = [1, 16, 64]
ALL_SECONDS = 0.6
"""For a row under ``--all``."""
SLOW_PEERS = ("scipy", "opencv")
"""Left out under ``--all`` where peers are not named: one takes seconds where others take microseconds."""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Measure the layers of known networks beside every installed peer, in one process.  Without options: "
        f"the forward convolutions of {', '.join(SHORT)}, batch 1, one thread."
    )
    networks, peers, operators = list(NETWORKS | POOLINGS), list(PEERS), list(OPERATORS)
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--operator", type=names(operators), default=["forward"], metavar="NAMES",
        help=f"of {','.join(operators)} (default forward)",
    )  # fmt: skip
    what.add_argument(
        "--all", action="store_true",
        help=f"every network, each shape once, batch {','.join(map(str, ALL_BATCHES))} (of these, rows up to "
        f"{MOST_FLOPS / 1e9:g} GFLOP and {MOST_BYTES >> 20} MiB), threads 1,2, {ALL_SECONDS:g} seconds a row",
    )  # fmt: skip
    what.add_argument("--networks", type=names(networks), metavar="NAMES", help=f"of {','.join(networks)}")
    what.add_argument("--filter", default="", metavar="REGEX", help="only layers whose name or shape matches")
    what.add_argument("--quick", action="store_true", help="one layer of each kind, few rounds")
    what.add_argument("--sample", type=positive, metavar="N", help="only so many rows, the same every time")
    what.add_argument("--list", action="store_true", help="print the layers and measure nothing")
    how = parser.add_argument_group("how")
    how.add_argument("--batch", type=integers, help="batch sizes, as 1,16 (default 1)")
    how.add_argument("--threads", type=integers, help="of every contender, as 1,2 (default 1)")
    how.add_argument("--rounds", type=positive, help="of every contender (default 10, quick 4)")
    how.add_argument(
        "--seconds", type=positive_real, help="for a row; at least three rounds are made (default unlimited)"
    )
    how.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    how.add_argument(
        "--layout", type=names(["NCHW", "NHWC"]), default=["NCHW"],
        help="of fastconv's arrays: NCHW, NHWC or NCHW,NHWC (default NCHW)",
    )  # fmt: skip
    how.add_argument("--algorithm", default="auto", metavar="NAME", help="of fastconv (default auto)")
    how.add_argument(
        "--peers", type=names(peers), metavar="NAMES", help=f"of {','.join(peers)} (default those installed)"
    )
    out = parser.add_argument_group("what is written")
    out.add_argument("--json", metavar="FILE", help="everything measured; - for stdout")
    out.add_argument(
        "--markdown", type=Path, metavar="FILE",
        help="the tables for docs, between the marks of the operators if the file has them",
    )  # fmt: skip
    out.add_argument("--plot", type=Path, metavar="FILE", help="speed-up and roofline")
    parser.set_defaults(run=run_bench)


def run_bench(args: argparse.Namespace) -> int:
    """Measure, show, save."""
    from fastconv.bench.run import TooManyThreads, check_threads, run

    tasks = _tasks(args)
    budget = args.seconds or (ALL_SECONDS if args.all else None)
    rounds = args.rounds or (4 if args.quick else 10)
    peers = args.peers
    if peers is None:
        peers = [name for name in PEERS if not (args.all and name in SLOW_PEERS)]
    if args.list:
        _print_layers([task.layer for task in tasks])
        return 0
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from fastconv.bench import report as reports
    except ModuleNotFoundError as error:
        raise import_error("bench", "rich", "bench") from error
    _check_outputs(args)
    try:
        check_threads(max(task.threads for task in tasks))
    except TooManyThreads as error:
        raise UsageError(str(error)) from error
    minutes = estimate(tasks, peers, rounds, budget) / 60
    if minutes > 2:
        print(
            f"{len(tasks)} rows, about {minutes:.0f} minutes; --sample N takes some of them", file=sys.stderr
        )
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("starting the peers", total=len(tasks), completed=-1)

        def start(task: Task) -> None:
            progress.update(bar, advance=1, description=f"{task.layer.network} {task.layer.describe()}")

        result = run(
            tasks,
            peers=peers,
            dtype=args.dtype,
            rounds=rounds,
            algorithm=args.algorithm,
            budget=budget,
            start=start,
        )
    if not result.rows:
        raise UsageError(f"no layer can be computed: {next(iter(result.skipped.values()))}")
    out = sys.stderr if args.json == "-" else sys.stdout
    reports.show(result, Console(file=out, width=None if out.isatty() else 200))
    _save(args, result, out)
    return 1 if any(row.wrong for row in result.rows) else 0


def estimate(tasks: Sequence[Task], peers: Sequence[str], rounds: int, budget: float | None) -> float:
    """Guess the seconds that measuring will take, within a factor of two or so.

    Each contender of a row is made, runs some four times before the rounds and once in each of three or more;
    60 GFLOP/s and 5 GB/s are what a core does in the mean over contenders.
    """
    total = 5.0
    for task in tasks:
        contenders = len([name for name in peers if name in task.operator.peers]) + (
            3 if task.threads > 1 else 2
        )
        call = max(task.layer.flops / 60e9, task.layer.elements * 4 / 5e9) / task.threads
        block = 0.02 * contenders * rounds if budget is None else budget
        total += 0.15 + max(block, 3 * call * contenders) + 4 * call * contenders
    return total


def _print_layers(layers: Sequence[Case]) -> None:
    for layer in dict.fromkeys(layers):
        print(f"{layer.full_name:<32}{layer.describe():<32}{layer.flops / 1e9:8.3f} GFLOP")


def _tasks(args: argparse.Namespace) -> list[Task]:
    """Every row that the arguments ask for."""
    batches = args.batch or (ALL_BATCHES if args.all else [1])
    threads = args.threads or (_threads_of_all() if args.all else [1])
    for option, values in [("--batch", batches), ("--threads", threads)]:
        if min(values) < 1:
            raise UsageError(f"{option} must be at least 1, got {min(values)}")
    every = list(NETWORKS | POOLINGS)
    tasks: list[Task] = []
    large = 0
    for name in args.operator:
        operator = OPERATORS[name]
        short = [network for network in SHORT if network in operator.layers]
        networks = args.networks or (every if args.all or not operator.has_weights else short)
        try:
            layers, left_out = select(
                operator,
                networks,
                args.filter,
                batches,
                quick=args.quick,
                distinct=args.all,
                limited=args.all,
            )
        except re.error as error:
            raise UsageError(f"--filter is no regular expression: {error}") from error
        large += len(left_out)
        tasks += [Task(operator, x, n, layout) for x in layers for n in threads for layout in args.layout]
    if not tasks:
        raise UsageError("no layer matches; --list prints them all")
    if large:
        print(
            f"left out {large} layers: a batch above {MOST_FLOPS / 1e9:g} GFLOP or {MOST_BYTES >> 20} MiB",
            file=sys.stderr,
        )
    return sample(tasks, args.sample) if args.sample else tasks


def _threads_of_all() -> list[int]:
    """One thread and two, where there are two CPUs."""
    from fastconv.bench.run import TooManyThreads, check_threads

    try:
        check_threads(2)
    except TooManyThreads:
        return [1]
    return [1, 2]


def _check_outputs(args: argparse.Namespace) -> None:
    """Find out before minutes are spent measuring."""
    if args.plot:
        try:
            from fastconv.bench import plot
        except ModuleNotFoundError as error:
            raise import_error("--plot", "Matplotlib", "bench") from error
        check_writable(args.plot, plot.suffixes())
    if args.json and args.json != "-":
        check_writable(Path(args.json))
    if args.markdown:
        check_writable(args.markdown)


def _save(args: argparse.Namespace, result: Report, out: TextIO) -> None:
    """Write the files that were asked for."""
    from fastconv.bench import report as reports

    if args.json:
        text = json.dumps(reports.as_dict(result), indent=1)
        if args.json == "-":
            print(text)
        else:
            Path(args.json).write_text(text + "\n")
            print(f"written: {args.json}", file=out)
    if args.markdown:
        reports.write_markdown(result, args.markdown)
        print(f"written: {args.markdown}", file=out)
    if args.plot:
        from fastconv.bench import plot

        plot.draw(result, args.plot)
        print(f"drawn: {args.plot}", file=out)
