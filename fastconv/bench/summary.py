"""Sums up measured rows: ratios, geometric means, rows behind, and the bars that the rows are held to.

For report.py, which prints it, and plot.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastconv.bench.layers import Layer
from fastconv.bench.run import Report, Row

RATIOS = {"call/plain": ("call", True), "call/best": ("call", False), "plan/best": ("plan", False)}
"""Headings of the speed-ups: which of ours, and whether only peers that prepare no weights count."""

CLOSE = 0.95
"""The fastest calls of one and the same program differ by some percent from run to run."""


def geometric_mean(values: Iterable[float]) -> float:
    """Mean of ratios: n values give the n-th root of their product.

    Examples
    --------
    >>> geometric_mean([0.5, 2.0, 8.0])
    2.0
    """
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs))


@dataclass(frozen=True)
class Ratio:
    """One row's value of something that should be large."""

    value: float
    row: Row


@dataclass(frozen=True)
class Sum:
    """What many such values come to; `wanted` is what none should be below."""

    ratios: tuple[Ratio, ...]
    wanted: float = 1.0

    @property
    def mean(self) -> float:
        """Geometric."""
        return geometric_mean(ratio.value for ratio in self.ratios)

    @property
    def behind(self) -> int:
        """How many are below what is wanted."""
        return sum(ratio.value < self.wanted for ratio in self.ratios)

    @property
    def well_behind(self) -> int:
        """How many are so by more than the figures move from run to run."""
        return sum(ratio.value < CLOSE * self.wanted for ratio in self.ratios)

    def worst(self, count: int) -> list[Ratio]:
        """The smallest, beginning with it."""
        return sorted(self.ratios, key=lambda ratio: ratio.value)[:count]

    def best(self, count: int) -> list[Ratio]:
        """The largest, beginning with it."""
        return sorted(self.ratios, key=lambda ratio: -ratio.value)[:count]


def headings(rows: Iterable[Row]) -> list[str]:
    """Those of `RATIOS` that at least one row has and that say something new.

    Where no peer prepares weights, the best plain peer is the best of all.
    """
    rows = list(rows)
    prepared = any(t.prepared for row in rows for t in row.timings.values())
    return [
        title
        for title, (ours, stateless) in RATIOS.items()
        if (prepared or not stateless) and any(row.speedup(ours, stateless=stateless) for row in rows)
    ]


def collect(rows: Iterable[Row], value: Callable[[Row], float | None], wanted: float = 1.0) -> Sum | None:
    """Sum up what `value` says of each row, if it says anything."""
    pairs = [(value(row), row) for row in rows]
    ratios = tuple(Ratio(number, row) for number, row in pairs if number is not None)
    return Sum(ratios, wanted) if ratios else None


def by_ratio(rows: Sequence[Row]) -> dict[str, Sum]:
    """Every speed-up, summed up."""
    sums = {
        title: collect(rows, lambda row, key=RATIOS[title]: row.speedup(key[0], stateless=key[1]))  # type: ignore[misc]
        for title in headings(rows)
    }
    return {title: total for title, total in sums.items() if total}


def groups(rows: Iterable[Row]) -> dict[tuple[str, int, str], list[Row]]:
    """Rows that are summed up together: of one operator, number of threads and layout."""
    result: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        key = row.task.operator.name, row.task.threads, row.task.layout
        result.setdefault(key, []).append(row)
    return result


def networks(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each network, in order."""
    result: dict[str, list[Row]] = {}
    for row in rows:
        result.setdefault(row.layer.network, []).append(row)
    return result


def is_dense3x3(row: Row) -> bool:
    """Whether the bar for such layers holds: 3x3, stride 1, at least 32 channels, planes of 14x14 or more."""
    layer = row.layer
    return (
        isinstance(layer, Layer)
        and row.task.operator.name == "forward"
        and (layer.kernel, layer.stride, layer.dilation, layer.groups) == ((3, 3), (1, 1), (1, 1), 1)
        and min(layer.in_channels, layer.out_channels) >= 32
        and min(layer.out_size) >= 14
    )


def bars(rows: Sequence[Row]) -> dict[str, Sum]:
    """What the issues of this project ask of some rows more than of others."""
    dense = [row for row in rows if is_dense3x3(row)]
    large = [row for row in rows if row.layer.flops > 1e8]
    small = [row for row in rows if row.layer.flops <= 1e8]
    scaling: Callable[[Row], float | None] = lambda row: row.scaling  # noqa: E731
    sums = {
        "3x3, stride 1, 32 channels, 14x14 and up, call/plain": collect(
            dense, lambda row: row.speedup("call", stateless=True), 1.5
        ),
        "the same rows, plan/best": collect(dense, lambda row: row.speedup("plan"), 1.5),
        "threads over one thread, above 0.1 GFLOP": collect(large, scaling, 1.8),
        "threads over one thread, up to 0.1 GFLOP": collect(small, scaling, 1.0),
    }
    return {title: total for title, total in sums.items() if total}


def as_dict(total: Sum) -> dict[str, Any]:
    """Plain types, for ``--json``."""
    worst = total.worst(1)[0]
    return {
        "geometric_mean": total.mean,
        "rows": len(total.ratios),
        "wanted": total.wanted,
        "behind": total.behind,
        "behind_by_5_percent": total.well_behind,
        "worst": worst.value,
        "worst_layer": f"{worst.row.layer.full_name} {worst.row.layer.describe()}",
    }


def label(report: Report, row: Row) -> str:
    """Describe a row's layer, and what else tells it from other rows of the report."""
    extra = []
    if len(report.layouts) > 1:
        extra.append(row.task.layout)
    if len(report.threads) > 1:
        extra.append(f"{row.task.threads} thread{'s' * (row.task.threads > 1)}")
    text: str = row.layer.describe()
    return ", ".join([text, *extra])
