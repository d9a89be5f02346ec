"""Draws a Report with Matplotlib: speed-up bars and a roofline, one picture.  Called by cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from fastconv.bench.run import Report, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#1f6fb2", "#e08a1e", "#8a8a8a"
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}


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
    height = max(5.5, 1.8 + 0.34 * len(rows))
    figure = Figure(figsize=(15 if compared else 8, height), layout="constrained", dpi=110)
    if compared:
        bars, roof = figure.subplots(1, 2, width_ratios=[1.15, 1])
        _bars(bars, rows)
    else:
        roof = figure.subplots()
    _roofline(roof, report)
    threads = f"{report.threads} thread{'s' * (report.threads > 1)}"
    figure.suptitle(f"fastconv on {report.cpu}, {report.isa}, {threads}, {report.dtype} {report.layout}")
    figure.savefig(path)


def _bars(axes: Axes, rows: list[Row]) -> None:
    places = np.arange(len(rows))
    longest = 1.0
    for offset, ours, colour, label in [(-0.2, "call", ORANGE, "plain call"), (0.2, "plan", BLUE, "plan")]:
        for place, row in zip(places, rows):
            ratio = row.speedup(ours)
            if ratio is None:
                continue
            longest = max(longest, ratio)
            axes.barh(place + offset, ratio, height=0.38, color=colour)
            text = f" {ratio:.2f}  {row.best_peer()}"
            axes.text(ratio, place + offset, text, va="center", fontsize=7, bbox=PAPER)
        axes.barh(0, 0, color=colour, label=f"{label} over the best peer, which is named")
    plain = [(row.speedup("call", stateless=True), place - 0.2) for place, row in zip(places, rows)]
    marks = [(ratio, height) for ratio, height in plain if ratio is not None]
    if marks:
        ratios, heights = zip(*marks)
        longest = max(longest, *ratios)
        label = "plain call over the best peer that prepares no weights"
        axes.scatter(ratios, heights, s=22, marker="|", color="black", label=label, zorder=4)
    axes.axvline(1, color="black", linewidth=1, zorder=1.5)
    axes.set_yticks(places, [f"{row.layer.network}  {row.layer.describe()}" for row in rows], fontsize=8)
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
    ours = np.array([row.rate("plan") / 1e9 for row in rows])
    axes.set_xscale("log")
    axes.set_yscale("log")
    pairs = [(x, row.rate(peer) / 1e9) for x, row in zip(intensity, rows) if (peer := row.best_peer())]
    if pairs:
        there, theirs = zip(*pairs)
        axes.scatter(there, theirs, s=26, marker="D", color=GREY, label="best peer", zorder=3)
    axes.scatter(intensity, ours, s=34, color=BLUE, label="fastconv plan", zorder=4)
    span = float(intensity.min()) / 2, float(intensity.max()) * 2
    peak = report.peak
    top = peak.flops.get((report.isa, report.dtype)) if peak else None
    if peak is not None and top is not None:
        top *= report.threads / 1e9
        line = np.geomspace(span[0], span[1], 200)
        memory = peak.memory / 1e9
        axes.plot(line, np.minimum(top, line * memory), color="black", linewidth=1.4)
        axes.annotate(
            f"peak {top:.0f} GFLOP/s", (span[1], top), xytext=(-4, 4), textcoords="offset points", ha="right"
        )
        axes.plot([], [], color="black", linewidth=1.4, label=f"roof: memory {memory:.0f} GB/s, one core")
        l2 = peak.read.get(256 << 10)
        if l2:
            axes.plot(line, np.minimum(top, line * l2 / 1e9), color=GREY, linewidth=1, linestyle="--")
            axes.plot(
                [], [], color=GREY, linewidth=1, linestyle="--", label=f"L2 {l2 / 1e9:.0f} GB/s, one core"
            )
    axes.set_xlim(*span)
    axes.set_xlabel("operations per byte moved once (input, weights, output); warm caches")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(
        "Roofline (above the peak: algorithms with fewer multiplications than are counted)", fontsize=10
    )
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend(loc="lower right", fontsize=8)
