"""Draws a Report with Matplotlib: the speed-up of every row and a roofline, one picture.  For command.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from fastconv.bench.run import Report, Row
from fastconv.bench.summary import geometric_mean, label, networks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#1f6fb2", "#e08a1e", "#8a8a8a"
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
MANY = 60
"""More rows than this get a point each, by network, instead of bars."""


def suffixes() -> list[str]:
    """Endings of the formats that Matplotlib draws."""
    return sorted(f".{name}" for name in Figure().canvas.get_supported_filetypes())


def draw(report: Report, path: Path) -> None:
    """Write the picture in the format that the name of the file ends with.

    Parameters
    ----------
    report : Report
        With at least one row.
    path : pathlib.Path
        Where to; an existing file is replaced.
    """
    rows = report.rows
    compared = any(row.best_peer() for row in rows)
    many = len(rows) > MANY
    height = 9.0 if many else max(5.5, 1.8 + 0.34 * len(rows))
    figure = Figure(figsize=(15 if compared else 8, height), layout="constrained", dpi=110)
    if compared:
        left, roof = figure.subplots(1, 2, width_ratios=[1.15, 1])
        if many:
            _points(left, rows)
        else:
            _bars(left, report)
    else:
        roof = figure.subplots()
    _roofline(roof, report)
    threads = f"{' and '.join(map(str, report.threads))} thread{'s' * (report.threads != [1])}"
    figure.suptitle(
        f"fastconv {', '.join(report.operators)} on {report.cpu}, {report.isa}, {threads}, {report.dtype} "
        f"{' and '.join(report.layouts)}",
        fontsize=11,
    )
    figure.savefig(path)


def _points(axes: Axes, rows: Sequence[Row]) -> None:
    """A point for each row, a line of them for each network, and its geometric mean."""
    groups = networks([row for row in rows if row.best_peer()])
    rng = np.random.default_rng(0)
    for place, members in enumerate(groups.values()):
        found = [row.speedup(row.ours) for row in members]
        ratios = np.array([ratio for ratio in found if ratio is not None])
        colours = np.where(ratios < 1, ORANGE, BLUE)
        axes.scatter(
            ratios,
            place + rng.uniform(-0.28, 0.28, len(ratios)),
            s=9,
            c=colours.tolist(),
            alpha=0.75,
            zorder=3,
        )
        mean, behind = geometric_mean(ratios), int((ratios < 1).sum())
        axes.plot([mean, mean], [place - 0.4, place + 0.4], color="black", linewidth=2.2, zorder=4)
        text = f"{mean:.2f}, {behind} of {len(ratios)} behind"
        axes.annotate(
            text,
            (1.005, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    axes.axvline(1, color="black", linewidth=1, zorder=1.5)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32, 64]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(groups)), list(groups), fontsize=9)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlabel("times as fast as the best peer (fastest call of each), one point a row")
    axes.set_title("Speed-up; bars and figures: geometric means; orange: behind", fontsize=10)
    axes.grid(True, axis="x", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _bars(axes: Axes, report: Report) -> None:
    rows = report.rows
    places = np.arange(len(rows))
    longest = 1.0
    plans = any("plan" in row.timings for row in rows)
    kinds = [(-0.2, "call", ORANGE, "plain call"), (0.2, "plan", BLUE, "plan")]
    for offset, ours, colour, text in kinds if plans else [(0.0, "call", ORANGE, "call")]:
        for place, row in zip(places, rows):
            ratio = row.speedup(ours)
            if ratio is None:
                continue
            longest = max(longest, ratio)
            axes.barh(place + offset, ratio, height=0.38 if plans else 0.7, color=colour)
            words = f" {ratio:.2f}  {row.best_peer()}"
            axes.text(ratio, place + offset, words, va="center", fontsize=7, bbox=PAPER)
        axes.barh(0, 0, color=colour, label=f"{text} over the best peer, which is named")
    plain = [(row.speedup("call", stateless=True), place - 0.2) for place, row in zip(places, rows)]
    marks = [(ratio, height) for ratio, height in plain if ratio is not None]
    if marks and plans:
        ratios, heights = zip(*marks)
        longest = max(longest, *ratios)
        text = "plain call over the best peer that prepares no weights"
        axes.scatter(ratios, heights, s=22, marker="|", color="black", label=text, zorder=4)
    axes.axvline(1, color="black", linewidth=1, zorder=1.5)
    axes.set_yticks(places, [f"{row.layer.network}  {label(report, row)}" for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, longest * 1.25)
    axes.set_xlabel("times as fast (fastest call of each)")
    axes.set_title("Speed-up")
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.04), fontsize=8, frameon=False
        )
    axes.spines[["top", "right"]].set_visible(False)


def _roofline(axes: Axes, report: Report) -> None:
    rows = report.rows
    bytes_each = np.dtype(report.dtype).itemsize
    intensity = np.array([row.layer.flops / (row.layer.elements * bytes_each) for row in rows])
    ours = np.array([row.rate(row.ours) / 1e9 for row in rows])
    size = 10 if len(rows) > MANY else 34
    axes.set_xscale("log")
    axes.set_yscale("log")
    pairs = [(x, row.rate(peer) / 1e9) for x, row in zip(intensity, rows) if (peer := row.best_peer())]
    if pairs:
        there, theirs = zip(*pairs)
        axes.scatter(there, theirs, s=0.8 * size, marker="D", color=GREY, label="best peer", zorder=3)
    axes.scatter(intensity, ours, s=size, color=BLUE, label="fastconv", zorder=4)
    span = float(intensity.min()) / 2, float(intensity.max()) * 2
    peak = report.peak
    top = peak.flops.get((report.isa, report.dtype)) if peak else None
    if peak is not None and top is not None:
        line = np.geomspace(span[0], span[1], 200)
        memory = peak.memory / 1e9
        for threads in report.threads:
            roof = top * threads / 1e9
            axes.plot(line, np.minimum(roof, line * memory), color="black", linewidth=1.4)
            axes.annotate(
                f"peak of {threads}: {roof:.0f} GFLOP/s", (span[1], roof), xytext=(-4, 4),
                textcoords="offset points", ha="right",
            )  # fmt: skip
        axes.plot([], [], color="black", linewidth=1.4, label=f"roof: memory {memory:.0f} GB/s, one core")
        l2 = peak.read.get(256 << 10)
        if l2:
            axes.plot(line, np.minimum(roof, line * l2 / 1e9), color=GREY, linewidth=1, linestyle="--")
            axes.plot(
                [], [], color=GREY, linewidth=1, linestyle="--", label=f"L2 {l2 / 1e9:.0f} GB/s, one core"
            )
    axes.set_xlim(*span)
    axes.set_xlabel("operations per byte moved once (operands, result); warm caches")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(
        "Roofline (above the peak: algorithms with fewer multiplications than are counted)", fontsize=10
    )
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend(loc="lower right", fontsize=8)
