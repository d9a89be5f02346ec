"""Shows a Report: tables drawn by rich, Markdown for docs, a dictionary for programs.  For command.py."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from rich import box
from rich.console import Console
from rich.table import Table

from fastconv.bench.run import OURS, Report, Row
from fastconv.bench.summary import (
    RATIOS,
    Sum,
    bars,
    by_ratio,
    groups,
    headings,
    label,
    networks,
)  # fmt: skip
from fastconv.bench.summary import (
    as_dict as sum_as_dict,
)

MANY = 60
"""With more rows than this, docs get the best and the worst and fold the rest away."""


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
            "operators": report.operators,
            "threads": report.threads,
            "layouts": report.layouts,
            "dtype": report.dtype,
            "rounds": report.rounds,
        },
        "versions": report.versions,
        "absent": report.absent,
        "skipped": report.skipped,
        "rows": [_row_dict(row) for row in report.rows],
        "summary": [
            {"operator": operator, "threads": threads, "layout": layout}
            | {title: sum_as_dict(total) for title, total in (by_ratio(rows) | bars(rows)).items()}
            for (operator, threads, layout), rows in groups(report.rows).items()
        ],
    }


def _row_dict(row: Row) -> dict[str, Any]:
    return {
        "operator": row.task.operator.name,
        "threads": row.task.threads,
        "layout": row.task.layout,
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
        "scaling": row.scaling,
        **{heading: row.speedup(ours, stateless=stateless) for heading, (ours, stateless) in RATIOS.items()},
    }


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


def _ours(rows: Iterable[Row]) -> list[str]:
    """Those of fastconv's contenders that are there."""
    present = {name for row in rows for name in row.timings}
    return [name for name in OURS if name in present]


def table(report: Report, rows: Sequence[Row], peers: Peers) -> Table:
    """Draw the rows of one operator: fastconv's contenders, and every peer or the best one."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("layer", no_wrap=True)
    algorithms = any(row.algorithm for row in rows)
    if algorithms:
        drawn.add_column("algorithm", no_wrap=True)
    theirs = [name for name in report.peers if any(name in row.timings for row in rows)]
    for heading in (*(f"{name} ms" for name in _ours(rows)), "GFLOP/s", "peak"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for name in ["best peer ms"] if peers == "best" else theirs:
        drawn.add_column(name, justify="right", no_wrap=True)
    for heading in headings(rows):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for network, members in networks(rows).items():
        drawn.add_section()
        drawn.add_row(f"[bold]{network}[/bold]")
        for row in members:
            drawn.add_row(*_cells(report, rows, row, peers, theirs, algorithms))
    return drawn


def _cells(
    report: Report, rows: Sequence[Row], row: Row, peers: Peers, theirs: list[str], algorithms: bool
) -> list[str]:
    best = row.best_peer()

    def time_of(name: str, *, median: bool = True) -> str:
        if name not in row.timings:
            return "-"
        timing = row.timings[name]
        text = milliseconds(timing.best)
        text = f"[bold]{text}[/bold]" if name == best else text
        text += f" [dim]({milliseconds(timing.median)})[/dim]" if median else ""
        return f"[red]{text} WRONG[/red]" if name in row.wrong else text

    def ratio(ours: str, stateless: bool) -> str:
        value = row.speedup(ours, stateless=stateless)
        return "" if value is None else f"[{'green' if value >= 1 else 'red'}]{value:.2f}[/]"

    if peers == "best":
        times = [f"{time_of(best)} {best}" if best else "-"]
    else:
        times = [time_of(name, median=peers == "all, with medians") for name in theirs]
    share = row.share_of_peak(row.ours)
    return [
        f"  {label(report, row)}",
        *([row.algorithm or ""] if algorithms else []),
        *(time_of(name) for name in _ours(rows)),
        f"{row.rate(row.ours) / 1e9:.1f}",
        "?" if share is None else f"{share:.0%}",
        *times,
        *(ratio(*RATIOS[heading]) for heading in headings(rows)),
    ]


def markdown(report: Report, operator: str | None = None) -> str:
    """Write the summary and the rows in Markdown, for docs; of one operator, or of all."""
    parts = ["```", header(report), "```", ""]
    for name in report.operators if operator is None else [operator]:
        rows = [row for row in report.rows if row.task.operator.name == name]
        if len(report.operators) > 1 and operator is None:
            parts += [f"### {name}", ""]
        parts += [*_markdown_summary(rows), ""]
        if len(rows) > MANY:
            order = _worst_first(rows)
            parts += ["Worst rows:", "", *_markdown_rows(report, order[:15]), ""]
            parts += ["Best rows:", "", *_markdown_rows(report, order[:-11:-1]), ""]
            parts += [
                "<details><summary>All rows</summary>",
                "",
                *_markdown_rows(report, rows),
                "",
                "</details>",
            ]
        else:
            parts += _markdown_rows(report, rows)
        parts.append("")
    return "\n".join([*parts, "```", footer(report), "```", ""])


def _worst_first(rows: Sequence[Row]) -> list[Row]:
    """Sorted by the ratio that they are worst in."""

    def worst(row: Row) -> float:
        ratios = [row.speedup(RATIOS[title][0], stateless=RATIOS[title][1]) for title in RATIOS]
        return min((ratio for ratio in (ratios[0], ratios[2] or ratios[1]) if ratio), default=math.inf)

    return sorted(rows, key=worst)


def _markdown_rows(report: Report, rows: Sequence[Row]) -> list[str]:
    ratios, ours = headings(rows), _ours(rows)
    stateless = any(RATIOS[title][1] for title in ratios)
    names = ["layer", "algorithm", *(f"{name} ms" for name in ours), "of peak"]
    names += [*(["best plain peer ms"] if stateless else []), "best peer ms", *ratios]
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for row in rows:
        peers = ([row.best_peer(stateless=True)] if stateless else []) + [row.best_peer()]
        values = [row.speedup(RATIOS[name][0], stateless=RATIOS[name][1]) for name in ratios]
        share = row.share_of_peak(row.ours)
        cells = [
            f"{row.layer.network} {label(report, row)}",
            row.algorithm or "",
            *(milliseconds(row.timings[name].best) if name in row.timings else "" for name in ours),
            "" if share is None else f"{share:.0%}",
            *(f"{milliseconds(row.timings[name].best)} {name}" if name else "" for name in peers),
            *("" if ratio is None else f"{ratio:.2f}" for ratio in values),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _markdown_summary(rows: Sequence[Row]) -> list[str]:
    """A table of geometric means (rows behind / rows) by network, threads and layout."""
    ratios = headings(rows)
    lines = [
        "Times as fast, geometric mean (rows behind / rows; of these by more than 5%):",
        "",
        f"| network | threads | layout | {' | '.join(ratios)} |",
        f"|{'---|' * (3 + len(ratios))}",
    ]
    for (_, threads, layout), members in groups(rows).items():
        for network, own in {"**all**": list(members), **networks(members)}.items():
            sums = by_ratio(own)
            cells = [_mean(sums[title]) if title in sums else "" for title in ratios]
            lines.append(f"| {network} | {threads} | {layout} | {' | '.join(cells)} |")
    return lines


def _mean(total: Sum) -> str:
    behind = f"{total.behind} / {len(total.ratios)}"
    return f"{total.mean:.2f} ({behind}{f'; {total.well_behind}' if total.behind else ''})"


def write_markdown(report: Report, path: Path) -> None:
    """Write `markdown` to a file, or the part of each operator to its place in it."""
    parts = {operator: markdown(report, operator) for operator in report.operators}
    write_marked(path, parts, whole=markdown(report))


def write_marked(path: Path, parts: Mapping[str, str], whole: str | None = None) -> None:
    """Write parts of a page to their places in a file, or the file anew where it has none of them.

    A place lies between ``<!-- figures: NAME begin -->`` and ``<!-- figures: NAME end -->``, NAME being a key
    of `parts`; other places stay as they are.  A new file gets `whole`, or else all parts.
    """
    text = path.read_text() if path.exists() else ""
    found = False
    for name, part in parts.items():
        begin, end = (f"<!-- figures: {name} {side} -->" for side in ("begin", "end"))
        before, has_begin, rest = text.partition(begin)
        _, has_end, after = rest.partition(end)
        if has_begin and has_end:
            text, found = f"{before}{begin}\n{part}{end}{after}", True
    if not found:
        text = whole if whole is not None else "\n".join(parts.values())
    path.write_text(text)


def header(report: Report) -> str:
    """Name the machine and the settings."""
    cpus = "" if report.cpus is None else f" of CPU {', '.join(map(str, report.cpus))}"
    threads = ", ".join(map(str, report.threads))
    lines = [
        f"{report.cpu}, {report.isa}, {threads} thread{'s' * (report.threads != [1])}{cpus}, "
        f"{report.dtype} {' and '.join(report.layouts)}, {report.rounds} rounds",
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
        "ms: fastest call (median). call: plain arrays, a new result; plan: prepared weights, one result."
    ]
    if len(report.threads) > 1 or report.threads != [1]:
        lines.append(
            "alone: fastconv's plan, or call where there is none, with one thread in the same rounds."
        )
    lines += [
        "GFLOP/s and of peak: for the operations of the definition; above 100% the algorithm has fewer.",
        "call/plain: times as fast as the best peer that prepares no "
        "weights either; /best: as the best of all.",
    ]
    prepared = sorted(
        {n for row in report.rows for n, t in row.timings.items() if t.prepared and n not in OURS}
    )
    if prepared:
        lines.append(f"Weights are prepared by {', '.join(prepared)}.")
    for (operator, threads, layout), rows in groups(report.rows).items():
        lines += ["", f"{operator}, {threads} thread{'s' * (threads > 1)}, {layout}:"]
        lines += [f"  {_sentence(title, total)}" for title, total in (by_ratio(rows) | bars(rows)).items()]
    lines += ["", _agreement(report)]
    return "\n".join(lines)


def _sentence(title: str, total: Sum) -> str:
    worst, best = total.worst(1)[0], total.best(1)[0]
    below = "behind" if total.wanted == 1 else f"below {total.wanted:g}"
    return (
        f"{title}: {total.mean:.2f}x in the geometric mean, {total.behind} of {len(total.ratios)} {below} "
        f"({total.well_behind} by more than 5%), worst {worst.value:.2f}x ({_name(worst.row)}), "
        f"best {best.value:.2f}x ({_name(best.row)})"
    )


def _name(row: Row) -> str:
    return f"{row.layer.full_name} {row.layer.describe()}"


def _agreement(report: Report) -> str:
    against = {row.checked_against for row in report.rows} - {None}
    wrong = [f"{name} on {row.layer.full_name}" for row in report.rows for name in row.wrong]
    if wrong:
        return f"WRONG beyond rounding: {', '.join(wrong)}"
    if against:
        return f"Every result agrees with that of {', '.join(sorted(filter(None, against)))} within rounding."
    return "No peer is installed, so nothing was compared: pip install 'fastconv[peers]'"


def show(report: Report, console: Console) -> None:
    """Print it all, with as much of the peers as fits."""
    console.print(header(report), highlight=False, markup=False, soft_wrap=True)
    for operator in report.operators:
        rows = [row for row in report.rows if row.task.operator.name == operator]
        if len(report.operators) > 1:
            console.print(f"\n[bold]{operator}[/bold]")
        tables = [table(report, rows, peers) for peers in get_args(Peers)]
        unlimited = console.options.update(max_width=10_000)
        fitting = [
            drawn for drawn in tables if console.measure(drawn, options=unlimited).maximum <= console.width
        ]
        console.print((fitting or tables[-1:])[0])
    console.print(footer(report), highlight=False, markup=False, soft_wrap=True)
