"""Measures layers: every contender in one process, in interleaved rounds, checked against a peer.

The machine may change its speed while this runs, so only ratios within a row are to be trusted: a round times
every contender, the order turns from round to round, and the peak is measured before and after each layer.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from fastconv.bench.layers import Layer
from fastconv.bench.peak import Peak, PeakProgram, PeakUnknown, peak_program
from fastconv.bench.peers import Fastconv, Job, Peer, Tensors, find

BLOCK_SECONDS = 0.02
"""A contender is called again and again for about so long in each round."""
MOST_CALLS = 200
"""But not more often than this."""
PATIENCE = 0.5
"""A contender slower than this is timed once, in the first round only."""
OUT_OF_REACH = 10.0
"""A peer without preparation that takes so many times as long as the fastest peer is not compared with."""
QUIET_SECONDS = 0.003
"""Pause before each block where there are several threads: the last contender's workers spin for a while."""


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
    algorithm : str
        What fastconv's plan took.
    timings : dict
        By contender; "call" and "plan" are fastconv's.
    refused : dict
        Why a peer has no timing.
    wrong : list of str
        Contenders whose result is further from the first peer's than rounding allows.
    checked_against : str or None
        That peer.
    peak : float or None
        Operations per second of all threads, measured around this row.
    """

    layer: Layer
    algorithm: str | None = None
    timings: dict[str, Timing] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    checked_against: str | None = None
    peak: float | None = None

    def best_peer(self, *, stateless: bool = False) -> str | None:
        """Name the fastest peer, or the fastest of those that prepare no weights.

        A peer without preparation is none to compare with where it is out of reach of the fastest: it has no
        such operator, and a ratio of hundreds says nothing.
        """
        theirs = {name: timing for name, timing in self.timings.items() if name not in ("call", "plan")}
        best = min(theirs, key=lambda name: theirs[name].best, default=None)
        if best is None or not stateless:
            return best
        reach = OUT_OF_REACH * theirs[best].best
        plain = [name for name, t in theirs.items() if not t.prepared and t.best < reach]
        return min(plain, key=lambda name: theirs[name].best, default=None)

    def speedup(self, ours: str, *, stateless: bool = False) -> float | None:
        """Time of the best peer over ours: above 1 we are faster."""
        peer = self.best_peer(stateless=stateless)
        return None if peer is None else self.timings[peer].best / self.timings[ours].best

    def rate(self, name: str) -> float:
        """Operations per second of a contender's fastest call."""
        return self.layer.flops / self.timings[name].best

    def share_of_peak(self, name: str) -> float | None:
        """That, as a part of what the machine can do."""
        return None if self.peak is None else self.rate(name) / self.peak


@dataclass
class Report:
    """All rows, and the machine that they hold for."""

    cpu: str
    isa: str
    caches: tuple[int, int, int]
    threads: int
    cpus: list[int] | None
    dtype: str
    layout: str
    rounds: int
    peak: Peak | None
    peak_unknown: str | None
    versions: dict[str, str]
    absent: dict[str, str]
    peers: list[str]
    skipped: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)


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


def make_tensors(layer: Layer, dtype: str) -> Tensors:
    """Gaussian operands, the same at every run."""
    rng = np.random.default_rng(2024)
    real = np.dtype(dtype)
    x = rng.standard_normal(layer.x_shape).astype(real)
    weight = (rng.standard_normal(layer.weight_shape) / np.sqrt(layer.depth)).astype(real)
    bias = rng.standard_normal(layer.out_channels).astype(real) if layer.bias else None
    return Tensors(x, weight, bias)


def rounding_bound(layer: Layer, tensors: Tensors, peer: Peer) -> float:
    """How far two correct results may be apart: each is within depth * eps * sum|x||w| of the exact one.

    Direct summation keeps to that element by element, fast algorithms to its largest value only; a mistake is
    larger than either.
    """
    bias = None if tensors.bias is None else abs(tensors.bias)
    magnitude = peer.prepare(layer, Tensors(abs(tensors.x), abs(tensors.weight), bias))
    eps = float(np.finfo(tensors.x.dtype).eps)
    return 2.0 * (layer.depth + 2) * eps * float(magnitude.output(magnitude.run()).max())


def measure(
    jobs: dict[str, Job],
    timings: dict[str, Timing],
    rounds: int,
    pause: float = 0.0,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Fill `timings` with interleaved calls of `jobs`, each run before; `tick` is called after each round."""
    clock = time.perf_counter
    calls = {}
    for name, job in jobs.items():
        start = clock()
        job.run()
        spent = clock() - start
        calls[name] = max(1, min(MOST_CALLS, int(BLOCK_SECONDS / max(spent, 1e-9))))
        if spent > PATIENCE:
            timings[name].seconds.append(spent)
    names = [name for name in jobs if not timings[name].seconds]
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            run, seconds = jobs[name].run, timings[name].seconds
            time.sleep(pause)
            run()  # fetches its own data again after the others
            for _ in range(calls[name]):
                start = clock()
                run()
                seconds.append(clock() - start)
        tick()


def run_layer(
    layer: Layer,
    peers: Sequence[Peer],
    dtype: str,
    layout: str,
    threads: int,
    rounds: int,
    peak: Callable[[], float | None],
    tick: Callable[[], None] = lambda: None,
    algorithm: str = "auto",
) -> Row:
    """Prepare every contender, check the results, measure.

    Raises
    ------
    Skipped
        Where the algorithm cannot compute this layer.
    """
    contenders: list[Peer] = [
        Fastconv(layout, threads, prepared=prepared, algorithm=algorithm) for prepared in (False, True)
    ]
    if reason := contenders[0].refuse(layer, dtype):
        raise Skipped(reason)
    tensors = make_tensors(layer, dtype)
    row = Row(layer)
    jobs: dict[str, Job] = {}
    for contender in [*contenders, *peers]:
        reason = contender.refuse(layer, dtype)
        if reason is None:
            try:
                jobs[contender.name] = contender.prepare(layer, tensors)
            except Exception as error:
                if contender in contenders:
                    raise
                reason = f"failed: {error}"  # a peer that cannot is left out and named
        if reason is None:
            row.timings[contender.name] = Timing(contender.prepared)
        else:
            row.refused[contender.name] = reason
    row.algorithm = jobs["plan"].algorithm
    check(row, jobs, [peer for peer in peers if peer.name in jobs], tensors)
    before = peak()
    enabled = gc.isenabled()
    gc.disable()
    try:
        measure(jobs, row.timings, rounds, QUIET_SECONDS if threads > 1 else 0.0, tick)
    finally:
        if enabled:
            gc.enable()
    after = peak()
    if before is not None and after is not None:
        row.peak = threads * max(before, after)
    return row


def check(row: Row, jobs: dict[str, Job], peers: Sequence[Peer], tensors: Tensors) -> None:
    """Run every job once, and compare the results with the first peer's."""
    results = {name: job.output(job.run()) for name, job in jobs.items()}
    if not peers:
        return
    row.checked_against = peers[0].name
    wanted = results[peers[0].name].astype(np.float64)
    bound = rounding_bound(row.layer, tensors, peers[0])
    for name, got in results.items():
        if got.shape != wanted.shape or not (abs(got - wanted) <= bound).all():
            row.wrong.append(name)


def run(
    layers: Sequence[Layer],
    *,
    peers: Sequence[str] = (),
    dtype: str = "float32",
    layout: str = "NCHW",
    threads: int = 1,
    rounds: int = 10,
    algorithm: str = "auto",
    start: Callable[[Layer], None] = lambda layer: None,
    tick: Callable[[], None] = lambda: None,
) -> Report:
    """Measure layers beside peers.

    Parameters
    ----------
    layers : sequence of Layer
        What to measure.
    peers : sequence of str
        Keys of `peers.PEERS`; those not installed are named in the report.
    dtype : {"float32", "float64"}
        Of every operand.
    layout : {"NCHW", "NHWC"}
        Of fastconv's arrays; peers keep their own.
    threads : int
        For every contender, on as many CPUs.
    rounds : int
        How often the contenders take turns.
    algorithm : str
        Of fastconv; layers that it cannot compute are skipped and named in the report.
    start, tick : callable
        Called before each layer and after each round of it.

    Returns
    -------
    Report
    """
    import fastconv
    from fastconv import _core

    threads_before = fastconv.get_num_threads()
    with pinned(threads) as cpus, ExitStack() as stack:
        stack.callback(fastconv.set_num_threads, threads_before)
        # Only now: libraries that start threads when they are imported start them on these CPUs.
        found, absent = find(peers, threads)
        info = _core.info()
        program = whole = unknown = None
        try:
            program = stack.enter_context(peak_program())
            whole = program.measure()
        except PeakUnknown as error:
            program, unknown = None, str(error)
        versions = {"fastconv": fastconv.__version__, "numpy": np.__version__}
        report = Report(
            cpu=info["cpu"],
            isa=info["isa"],
            caches=(info["l1"], info["l2"], info["l3"]),
            threads=threads,
            cpus=cpus,
            dtype=dtype,
            layout=layout,
            rounds=rounds,
            peak=whole,
            peak_unknown=unknown,
            versions=versions | {peer.name: peer.version for peer in found},
            absent=absent,
            peers=[peer.name for peer in found],
        )
        peak = _peak_now(program, info["isa"], dtype)
        for layer in layers:
            start(layer)
            try:
                row = run_layer(layer, found, dtype, layout, threads, rounds, peak, tick, algorithm)
            except Skipped as reason:
                report.skipped[layer.full_name] = str(reason)
            else:
                report.rows.append(row)
        return report


def _peak_now(program: PeakProgram | None, isa: str, dtype: str) -> Callable[[], float | None]:
    """Make a function that measures the peak of one core in a few milliseconds."""
    return lambda: None if program is None else program.measure(isa, dtype).flops.get((isa, dtype))
