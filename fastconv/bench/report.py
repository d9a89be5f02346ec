"""Shows a Report: a table for people (drawn by rich), a dictionary for programs.  Called by cli.py."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Literal, get_args

from rich import box
from rich.console import Console
from rich.table import Table

from fastconv.bench.run import Report, Row

OURS = ("call", "plan")


def geometric_mean(values: Iterable[float]) -> float:
    """Mean of ratios: n values give the n-th root of their product.

    Examples
    --------
    >>> geometric_mean([0.5, 2.0, 8.0])
    2.0
    """
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs))


def as_dict(report: Report) -> dict[str, Any]:
    """Turn a report into what ``--json`` writes: plain types, seconds, operations and bytes per second."""
    peak = report.peak
    return {
        "machine": {
            "cpu": report.cpu,
            "isa": report.isa,
            "l1_l2_l3_bytes": list(report.caches),
            "cpus": report.cpus,
            "peak_flops": {f"{isa} {dtype}": rate for (isa, dtype), rate in peak.flops.items()}
            if peak
            else None,
            "read_bytes_per_second": {str(size): rate for size, rate in peak.read.items()} if peak else None,
            "peak_unknown": report.peak_unknown,
        },
        "settings": {
            "threads": report.threads,
            "dtype": report.dtype,
            "layout": report.layout,
            "rounds": report.rounds,
        },
        "versions": report.versions,
        "absent": report.absent,
        "skipped": report.skipped,
        "rows": [_row_dict(row) for row in report.rows],
        "summary": summary(report.rows),
    }


def _row_dict(row: Row) -> dict[str, Any]:
    return {
        "layer": asdict(row.layer) | {"description": row.layer.describe(), "flops": row.layer.flops},
        "contenders": {
            name: {
                "prepared": timing.prepared,
                "calls": len(timing.seconds),
                "min_seconds": timing.best,
                "median_seconds": timing.median,
                "flops_per_second": row.rate(name),
                "share_of_peak": row.share_of_peak(name),
            }
            for name, timing in row.timings.items()
        },
        "algorithm": row.algorithm,
        "refused": row.refused,
        "checked_against": row.checked_against,
        "wrong": row.wrong,
        "peak_flops": row.peak,
        "best_peer": row.best_peer(),
        "best_stateless_peer": row.best_peer(stateless=True),
        **{heading: row.speedup(ours, stateless=stateless) for heading, (ours, stateless) in RATIOS.items()},
    }


RATIOS = {"call/plain": ("call", True), "call/best": ("call", False), "plan/best": ("plan", False)}
"""Headings of the speed-ups: which of ours, and whether only peers that prepare no weights count."""


def summary(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Geometric mean, worst row and rows behind, of each of `RATIOS`."""
    rows = list(rows)
    result = {}
    for title, (ours, stateless) in RATIOS.items():
        ratios = {row.layer: ratio for row in rows if (ratio := row.speedup(ours, stateless=stateless))}
        if ratios:
            worst = min(ratios, key=lambda layer: ratios[layer])
            result[title] = {
                "geometric_mean": geometric_mean(ratios.values()),
                "rows": len(ratios),
                "behind": sum(ratio < 1 for ratio in ratios.values()),
                "worst": ratios[worst],
                "worst_layer": f"{worst.full_name} {worst.describe()}",
            }
    return result


def milliseconds(seconds: float) -> str:
    """Three significant digits.

    Examples
    --------
    >>> milliseconds(0.0123456), milliseconds(1.234e-5), milliseconds(1.5)
    ('12.3', '0.0123', '1500')
    """
    value = seconds * 1e3
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{min(digits, 4)}f}"


Peers = Literal["all, with medians", "all", "best"]


def table(report: Report, peers: Peers) -> Table:
    """Draw the rows: fastconv's two, and every peer or the best one."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("layer", no_wrap=True)
    drawn.add_column("algorithm", no_wrap=True)
    for heading in ("call ms", "plan ms", "GFLOP/s", "peak"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for name in ["best peer ms"] if peers == "best" else report.peers:
        drawn.add_column(name, justify="right", no_wrap=True)
    for heading in _ratios(report.rows):
        drawn.add_column(heading, justify="right", no_wrap=True)
    network = None
    for row in report.rows:
        if row.layer.network != network:
            network = row.layer.network
            drawn.add_section()
            drawn.add_row(f"[bold]{network}[/bold]")
        drawn.add_row(*_cells(row, report, peers))
    return drawn


def _ratios(rows: Iterable[Row]) -> list[str]:
    """Headings of those speed-ups that at least one row has."""
    return list(summary(rows))


def _cells(row: Row, report: Report, peers: Peers) -> list[str]:
    best = row.best_peer()

    def time_of(name: str, *, median: bool = True) -> str:
        timing = row.timings[name]
        text = milliseconds(timing.best)
        text = f"[bold]{text}[/bold]" if name == best else text
        text += f" [dim]({milliseconds(timing.median)})[/dim]" if median else ""
        return f"[red]{text} WRONG[/red]" if name in row.wrong else text

    def ratio(ours: str, stateless: bool) -> str:
        value = row.speedup(ours, stateless=stateless)
        return "" if value is None else f"[{'green' if value >= 1 else 'red'}]{value:.2f}[/]"

    if peers == "best":
        theirs = [f"{time_of(best)} {best}" if best else "-"]
    else:
        median = peers == "all, with medians"
        theirs = [time_of(name, median=median) if name in row.timings else "-" for name in report.peers]
    share = row.share_of_peak("plan")
    return [
        f"  {row.layer.describe()}",
        row.algorithm or "",
        time_of("call"),
        time_of("plan"),
        f"{row.rate('plan') / 1e9:.1f}",
        "?" if share is None else f"{share:.0%}",
        *theirs,
        *(ratio(*RATIOS[heading]) for heading in _ratios(report.rows)),
    ]


def markdown(report: Report) -> str:
    """Write the rows as a Markdown table, for a README."""
    headings = _ratios(report.rows)
    lines = [
        "| layer | algorithm | call ms | plan ms | plan, of peak | best plain peer ms | best peer ms "
        f"| {' | '.join(headings)} |",
        f"|{'---|' * (7 + len(headings))}",
    ]
    for row in report.rows:
        plain, best = row.best_peer(stateless=True), row.best_peer()
        times = [f"{milliseconds(row.timings[name].best)} {name}" if name else "" for name in (plain, best)]
        ratios = [row.speedup(RATIOS[name][0], stateless=RATIOS[name][1]) for name in headings]
        share = row.share_of_peak("plan")
        cells = [
            f"{row.layer.network} {row.layer.describe()}",
            row.algorithm or "",
            *(milliseconds(row.timings[name].best) for name in OURS),
            "" if share is None else f"{share:.0%}",
            *times,
            *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(["```", header(report), "```", "", *lines, "", "```", footer(report), "```", ""])


def header(report: Report) -> str:
    """Name the machine and the settings."""
    cpus = "" if report.cpus is None else f" on CPU {', '.join(map(str, report.cpus))}"
    lines = [
        f"{report.cpu}, {report.isa}, {report.threads} thread{'s' * (report.threads > 1)}{cpus}, "
        f"{report.dtype} {report.layout}, {report.rounds} rounds",
        ", ".join(f"{name} {version}" for name, version in report.versions.items()),
    ]
    rate = report.peak.flops.get((report.isa, report.dtype)) if report.peak else None
    if rate is not None and report.peak is not None:
        lines.append(
            f"peak of one core {rate / 1e9:.1f} GFLOP/s, "
            f"memory read {report.peak.memory / 1e9:.1f} GB/s (peak.c)"
        )
    else:
        why = report.peak_unknown or f"peak.c knows no {report.isa}"
        lines.append(f"share of peak unknown: {why}")
    lines += [f"without {name}: {why}" for name, why in report.absent.items()]
    if report.skipped:
        name, why = next(iter(report.skipped.items()))
        lines.append(f"skipped {len(report.skipped)} layers, {name} and like it: {why}")
    return "\n".join(lines)


def footer(report: Report) -> str:
    """Say what the columns mean and sum them up."""
    lines = [
        "ms: fastest call (median). call: fastconv.conv2d on plain arrays; "
        "plan: prepared weights, fixed output.",
        "GFLOP/s and peak are the plan's, for the operations of the definition: above 100% the algorithm "
        "has fewer.",
        "call/plain: times as fast as the best peer that prepares no "
        "weights either; /best: as the best of all.",
    ]
    prepared = sorted(
        {n for row in report.rows for n, t in row.timings.items() if t.prepared and n not in OURS}
    )
    if prepared:
        lines.append(f"Weights are prepared by {', '.join(prepared)}.")
    for title, numbers in summary(report.rows).items():
        lines.append(
            f"{title}: {numbers['geometric_mean']:.2f}x in the geometric mean, {numbers['behind']} of "
            f"{numbers['rows']} rows behind, worst {numbers['worst']:.2f}x ({numbers['worst_layer']})"
        )
    against = {row.checked_against for row in report.rows} - {None}
    wrong = [f"{name} on {row.layer.full_name}" for row in report.rows for name in row.wrong]
    if wrong:
        lines.append(f"WRONG beyond rounding: {', '.join(wrong)}")
    elif against:
        lines.append(
            f"Every result agrees with that of {', '.join(sorted(filter(None, against)))} within rounding."
        )
    else:
        lines.append("No peer is installed, so nothing was compared: pip install 'fastconv[peers]'")
    return "\n".join(lines)


def show(report: Report, console: Console) -> None:
    """Print it all, with as much of the peers as fits."""
    console.print(header(report), highlight=False, markup=False, soft_wrap=True)
    tables = [table(report, peers) for peers in get_args(Peers)]
    unlimited = console.options.update(max_width=10_000)
    fitting = [
        drawn for drawn in tables if console.measure(drawn, options=unlimited).maximum <= console.width
    ]
    console.print((fitting or tables[-1:])[0])
    console.print(footer(report), highlight=False, markup=False, soft_wrap=True)
