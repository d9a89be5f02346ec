"""Measures rows: every contender in one process, in interleaved rounds, checked against a peer.

The machine may change its speed while this runs, so only ratios within a row are to be trusted: a round times
every contender, the order turns from round to round, and the peak is measured before and after each row.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv.bench.contender import Job, Peer, Tensors, find
from fastconv.bench.operators import Operator, Task
from fastconv.bench.peak import Peak, PeakProgram, PeakUnknown, peak_program

BLOCK_SECONDS = 0.02
"""A contender is called again and again for about so long in each round."""
MOST_CALLS = 200
"""But not more often than this."""
FEWEST_ROUNDS = 3
"""A row that has used up its time still gets so many."""
PATIENCE = 0.5
"""A contender slower than this is timed before the rounds only."""
OUT_OF_REACH = 10.0
"""A peer without preparation that takes so many times as long as the fastest peer is not compared with."""
QUIET_SECONDS = 0.003
"""Pause before each block where there are several threads: the last contender's workers spin for a while."""
TRANSFORMS = 64
"""Roundings of the transforms of fast algorithms, in eps of the largest sum of magnitudes."""
OURS = ("call", "plan", "alone")
"""fastconv's contenders; "alone" is the last of the others with one thread, in rows that have several."""


class TooManyThreads(ValueError):
    """More threads asked for than this process has CPUs."""


class Skipped(ValueError):
    """The algorithm asked for cannot compute a layer."""


@dataclass
class Timing:
    """Seconds of every timed call of one contender."""

    prepared: bool
    seconds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The fastest call."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


@dataclass
class Row:
    """One layer measured.

    Attributes
    ----------
    task : Task
        The operator, the layer, the threads and the layout of fastconv's arrays.
    algorithm : str
        What fastconv's plan took.
    timings : dict
        By contender; those of `OURS` are fastconv's.
    refused : dict
        Why a peer has no timing.
    wrong : list of str
        Contenders whose result is further from the first peer's than rounding allows.
    checked_against : str or None
        That peer.
    peak : float or None
        Operations per second of all threads, measured around this row.
    """

    task: Task
    algorithm: str | None = None
    timings: dict[str, Timing] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    checked_against: str | None = None
    peak: float | None = None

    @property
    def layer(self) -> Any:
        """What was computed."""
        return self.task.layer

    @property
    def ours(self) -> str:
        """Whichever of fastconv's contenders is its best: the plan, where there is one."""
        return "plan" if "plan" in self.timings else "call"

    def best_peer(self, *, stateless: bool = False) -> str | None:
        """Name the fastest peer, or the fastest of those that prepare no weights.

        A peer without preparation is none to compare with where it is out of reach of the fastest: it has no
        such operator, and a ratio of hundreds says nothing.
        """
        theirs = {name: timing for name, timing in self.timings.items() if name not in OURS}
        best = min(theirs, key=lambda name: theirs[name].best, default=None)
        if best is None or not stateless:
            return best
        reach = OUT_OF_REACH * theirs[best].best
        plain = [name for name, t in theirs.items() if not t.prepared and t.best < reach]
        return min(plain, key=lambda name: theirs[name].best, default=None)

    def speedup(self, ours: str, *, stateless: bool = False) -> float | None:
        """Time of the best peer over ours: above 1 we are faster."""
        peer = self.best_peer(stateless=stateless)
        if peer is None or ours not in self.timings:
            return None
        return self.timings[peer].best / self.timings[ours].best

    @property
    def scaling(self) -> float | None:
        """Fastconv's time with one thread over that with the row's, where it has several."""
        alone = self.timings.get("alone")
        return None if alone is None else alone.best / self.timings[self.ours].best

    def rate(self, name: str) -> float:
        """Operations per second of a contender's fastest call."""
        return float(self.layer.flops) / self.timings[name].best

    def share_of_peak(self, name: str) -> float | None:
        """That, as a part of what the machine can do."""
        return None if self.peak is None else self.rate(name) / self.peak


@dataclass
class Report:
    """All rows, and the machine that they hold for."""

    cpu: str
    isa: str
    caches: tuple[int, int, int]
    cpus: list[int] | None
    dtype: str
    rounds: int
    peak: Peak | None
    peak_unknown: str | None
    versions: dict[str, str]
    absent: dict[str, str] = field(default_factory=dict)
    peers: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @property
    def threads(self) -> list[int]:
        """Numbers of threads among the rows."""
        return sorted({row.task.threads for row in self.rows})

    @property
    def layouts(self) -> list[str]:
        """Layouts of fastconv's arrays among the rows."""
        return sorted({row.task.layout for row in self.rows})

    @property
    def operators(self) -> list[str]:
        """Operators among the rows, in the order in which they were measured."""
        return list(dict.fromkeys(row.task.operator.name for row in self.rows))


def check_threads(threads: int) -> None:
    """Find out whether there is a CPU for each thread.

    Raises
    ------
    TooManyThreads
        Where this process may not use so many.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads > cpus:
        raise TooManyThreads(f"threads must be at most {cpus}, the CPUs of this process, got {threads}")


@contextmanager
def pinned(threads: int) -> Iterator[list[int] | None]:
    """Let this process use as many CPUs as threads, the last ones it may use; undone at the end."""
    check_threads(threads)
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    cpus = sorted(allowed)[-threads:]
    os.sched_setaffinity(0, cpus)
    try:
        yield cpus
    finally:
        os.sched_setaffinity(0, allowed)


def rounding_bound(operator: Operator, layer: Any, tensors: Tensors, peer: Peer[Any]) -> float:
    """How far two correct results may be apart.

    Each is within depth * eps * sum|x||w| of the exact one, and all but surely within a few times
    sqrt(depth) * eps * sum|x||w| (Higham and Mary 2019, "A new approach to probabilistic rounding error
    analysis").  Direct summation keeps to that element by element, fast algorithms to its largest value only,
    and their transforms cost some tens of eps more whatever the depth.  A mistake is larger than all that.
    """
    magnitude = peer.prepare(layer, tensors.magnitudes())
    depth = float(operator.depth(layer))
    eps = float(np.finfo(tensors.x.dtype).eps)
    terms: float = min(depth, 8 * depth**0.5) + TRANSFORMS
    magnitude.before()
    return 2.0 * terms * eps * float(abs(magnitude.output(magnitude.run())).max())


def _seconds(job: Job) -> float:
    """Time one call."""
    start = time.perf_counter()
    job.run()
    return time.perf_counter() - start


def measure(
    jobs: dict[str, Job],
    timings: dict[str, Timing],
    rounds: int,
    pause: float = 0.0,
    budget: float | None = None,
    patience: float = PATIENCE,
) -> None:
    """Fill `timings` with interleaved calls of `jobs`, each run before.

    Parameters
    ----------
    jobs, timings : dict
        By contender.
    rounds : int
        How often they take turns.
    pause : float
        Seconds to wait before each block of calls.
    budget : float, optional
        Seconds for everything: blocks are shortened to fit, and rounds beyond the fewest left out.
    patience : float
        Seconds; a contender that takes longer is timed before the rounds only.
    """
    clock = time.perf_counter
    end = float("inf") if budget is None else clock() + budget
    block = BLOCK_SECONDS if budget is None else min(BLOCK_SECONDS, budget / (rounds * len(jobs)))
    calls, warmed = {}, set()
    for name, job in jobs.items():
        job.before()
        spent = _seconds(job)
        if spent > patience:  # once more: the process may have been asleep
            spent = min(spent, _seconds(job))
        calls[name] = max(1, min(MOST_CALLS, int(block / max(spent, 1e-9))))
        if spent < BLOCK_SECONDS:
            warmed.add(name)
        if spent > patience:
            timings[name].seconds.append(spent)
    names = [name for name in jobs if not timings[name].seconds]
    for turn in range(rounds if names else 0):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            run, seconds = jobs[name].run, timings[name].seconds
            jobs[name].before()
            time.sleep(pause)
            if name in warmed:  # fetches its own data again after the others; a long call hardly notices
                run()
            for _ in range(calls[name]):
                start = clock()
                run()
                seconds.append(clock() - start)
        if turn + 1 >= FEWEST_ROUNDS and clock() > end:
            break


def run_task(
    task: Task,
    peers: Sequence[Peer[Any]],
    dtype: str,
    rounds: int,
    peak: Callable[[], float | None],
    algorithm: str = "auto",
    budget: float | None = None,
) -> Row:
    """Prepare every contender, check the results, measure.

    Raises
    ------
    Skipped
        Where the algorithm cannot compute this layer.
    """
    layer, operator = task.layer, task.operator
    ours = operator.ours(task.layout, task.threads, algorithm)
    if reason := ours[0].refuse(layer, dtype):
        raise Skipped(reason)
    tensors = operator.tensors(layer, dtype)
    row = Row(task)
    jobs: dict[str, Job] = {}
    for contender in [*ours, *peers]:
        reason = contender.refuse(layer, dtype)
        if reason is None:
            try:
                jobs[contender.name] = contender.prepare(layer, tensors)
            except Exception as error:
                if contender in ours:
                    raise
                reason = f"failed: {error}"  # a peer that cannot is left out and named
        if reason is None:
            row.timings[contender.name] = Timing(contender.prepared)
        else:
            row.refused[contender.name] = reason
    row.algorithm = jobs[row.ours].algorithm
    check(row, jobs, [peer for peer in peers if peer.name in jobs], tensors)
    before = peak()
    enabled = gc.isenabled()
    gc.disable()
    try:
        measure(jobs, row.timings, rounds, QUIET_SECONDS if task.threads > 1 else 0.0, budget)
    finally:
        if enabled:
            gc.enable()
    after = peak()
    if before is not None and after is not None:
        row.peak = task.threads * max(before, after)
    return row


def check(row: Row, jobs: dict[str, Job], peers: Sequence[Peer[Any]], tensors: Tensors) -> None:
    """Run every job once, and compare the results with the first peer's."""
    results = {}
    for name, job in jobs.items():
        job.before()
        results[name] = job.output(job.run())
    if not peers:
        return
    row.checked_against = peers[0].name
    wanted = results[peers[0].name].astype(np.float64)
    bound = rounding_bound(row.task.operator, row.layer, tensors, peers[0])
    for name, got in results.items():
        if got.shape != wanted.shape or not (abs(got - wanted) <= bound).all():
            row.wrong.append(name)


def run(
    tasks: Sequence[Task],
    *,
    peers: Sequence[str] = (),
    dtype: str = "float32",
    rounds: int = 10,
    algorithm: str = "auto",
    budget: float | None = None,
    start: Callable[[Task], None] = lambda task: None,
) -> Report:
    """Measure layers beside peers.

    Parameters
    ----------
    tasks : sequence of Task
        What to measure.
    peers : sequence of str
        Names of peers; those not installed are named in the report.
    dtype : {"float32", "float64"}
        Of every operand.
    rounds : int
        How often the contenders take turns.
    algorithm : str
        Of fastconv; layers that it cannot compute are skipped and named in the report.
    budget : float, optional
        Seconds to measure one row.
    start : callable
        Called before each row.

    Returns
    -------
    Report
    """
    import fastconv

    threads_before = fastconv.get_num_threads()
    with pinned(max((task.threads for task in tasks), default=1)) as cpus, ExitStack() as stack:
        stack.callback(fastconv.set_num_threads, threads_before)
        # Only now: libraries that start threads when they are imported start them on these CPUs.
        contenders = _Peers(peers)
        for task in tasks:
            contenders.of(task)
        report, program = _report(stack, dtype, rounds, cpus)
        report.absent, report.peers = contenders.absent, contenders.names
        report.versions |= contenders.versions
        peak = _peak_now(program, report.isa, dtype)
        for task in tasks:
            start(task)
            try:
                with pinned(task.threads):
                    found = contenders.of(task)
                    row = run_task(task, found, dtype, rounds, peak, algorithm, budget)
            except Skipped as reason:
                report.skipped[task.layer.full_name] = str(reason)
            else:
                report.rows.append(row)
        return report


class _Peers:
    """The adapters of each operator and number of threads, made once."""

    def __init__(self, names: Sequence[str]) -> None:
        self._wanted = names
        self._found: dict[tuple[str, int], list[Peer[Any]]] = {}
        self.absent: dict[str, str] = {}
        self.names: list[str] = []
        self.versions: dict[str, str] = {}

    def of(self, task: Task) -> list[Peer[Any]]:
        """Those of a row."""
        key = task.operator.name, task.threads
        if key not in self._found:
            self._found[key], absent = find(task.operator.peers, self._wanted, task.threads)
            self.absent |= absent
            for peer in self._found[key]:
                self.versions[peer.name] = peer.version
            self.names = list(self.versions)
        return self._found[key]


def _report(
    stack: ExitStack, dtype: str, rounds: int, cpus: list[int] | None
) -> tuple[Report, PeakProgram | None]:
    """Begin a report with what is known of the machine, and build the program that measures its peak."""
    import fastconv
    from fastconv import _core

    info = _core.info()
    program = whole = unknown = None
    try:
        program = stack.enter_context(peak_program())
        whole = program.measure()
    except PeakUnknown as error:
        program, unknown = None, str(error)
    report = Report(
        cpu=info["cpu"],
        isa=info["isa"],
        caches=(info["l1"], info["l2"], info["l3"]),
        cpus=cpus,
        dtype=dtype,
        rounds=rounds,
        peak=whole,
        peak_unknown=unknown,
        versions={"fastconv": fastconv.__version__, "numpy": np.__version__},
    )
    return report, program


def _peak_now(program: PeakProgram | None, isa: str, dtype: str) -> Callable[[], float | None]:
    """Make a function that measures the peak of one core in a few milliseconds."""
    return lambda: None if program is None else program.measure(isa, dtype).flops.get((isa, dtype))
