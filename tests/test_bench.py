"""fastconv.bench: the tables of layers, every peer's adapter, and that a wrong result is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastconv import reference
from fastconv.bench import layers, peak, peers
from fastconv.bench.run import PATIENCE, Timing, check, make_tensors, measure, pinned, run, run_layer

LAYER = layers.Layer("test", "plain", 6, 8, size=9, kernel=3, padding=1)
VARIETY = [
    LAYER,
    replace(LAYER, kernel=1, padding=0),
    replace(LAYER, stride=2, bias=True, batch=3),
    replace(LAYER, groups=2, bias=True),
    replace(LAYER, out_channels=6, groups=6, stride=2, batch=2),
    replace(LAYER, dilation=2, padding=2),
    replace(LAYER, kernel=5, padding=2, size=7),
]


@pytest.fixture(autouse=True)
def _same_cpus() -> Iterator[None]:
    """Nothing may leave this process on fewer CPUs."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    if before is not None:
        assert os.sched_getaffinity(0) == before


# Published: He et al. count 3.8 to 4.1, Simonyan and Zisserman 15.3 and Sandler et al. 0.3 billion
# multiply-adds, fully connected layers aside.
@pytest.mark.parametrize(
    ("network", "shapes", "convolutions", "macs"),
    [("resnet50", 23, 53, 4.087e9), ("vgg16", 9, 13, 15.347e9), ("mobilenetv2", 30, 52, 0.2995e9)],
)
def test_networks(network: str, shapes: int, convolutions: int, macs: float) -> None:
    table = layers.NETWORKS[network]()
    assert len(table) == shapes
    assert len({replace(layer, name="", count=1) for layer in table}) == shapes
    assert len({layer.full_name for layer in table}) == shapes
    assert sum(layer.count for layer in table) == convolutions
    assert sum(layer.count * layer.flops for layer in table) / 2 == pytest.approx(macs, rel=1e-3)


def test_quick_layers_exist() -> None:
    assert len(layers.select(quick=True)) == len(layers.QUICK)
    assert {layer.full_name for layer in layers.select(quick=True)} == set(layers.QUICK)


@pytest.mark.parametrize("layer", VARIETY, ids=lambda layer: layer.describe())
def test_output_shape_is_the_reference_s(layer: layers.Layer) -> None:
    tensors = make_tensors(layer, "float32")
    y = reference.conv2d(
        tensors.x, tensors.weight, stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
        groups=layer.groups,
    )  # fmt: skip
    assert y.shape == layer.y_shape
    assert layer.elements == tensors.x.size + tensors.weight.size + y.size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", VARIETY, ids=lambda layer: layer.describe())
@pytest.mark.parametrize("name", ["call", "plan", "call NHWC", "plan NHWC", *peers.PEERS])
def test_adapters_compute_the_layer(name: str, layer: layers.Layer, dtype: str) -> None:
    if name in peers.PEERS:
        with pinned(1):
            found, absent = peers.find([name], threads=1)
        if absent:
            pytest.skip(f"{name}: {absent[name]}")
        (peer,) = found
    else:
        layout = "NHWC" if "NHWC" in name else "NCHW"
        peer = peers.Fastconv(layout, 1, prepared=name.startswith("plan"))
    reason = peer.refuse(layer, dtype)
    if reason is not None:
        assert isinstance(reason, str)
        return
    tensors = make_tensors(layer, dtype)
    job = peer.prepare(layer, tensors)
    for _ in range(2):
        got = job.output(job.run())
        names = ("stride", "padding", "dilation", "groups")
        options: dict[str, Any] = {name: getattr(layer, name) for name in names}
        expected = reference.conv2d(tensors.x, tensors.weight, tensors.bias, **options)
        bias = None if tensors.bias is None else abs(tensors.bias)
        magnitude = reference.conv2d(abs(tensors.x), abs(tensors.weight), bias, **options)
        bound = (layer.depth + 2) * np.finfo(dtype).eps * magnitude.max()
        assert got.shape == expected.shape
        assert got.dtype == dtype
        assert abs(got - expected).max() <= bound


class Fake:
    """A peer that computes with the reference, and adds a constant."""

    prepared = False
    version = "1"

    def __init__(self, name: str, wrong_by: float = 0.0) -> None:
        self.name = name
        self.wrong_by = wrong_by

    def refuse(self, layer: layers.Layer, dtype: str) -> str | None:
        return "too tall" if layer.size > 100 else None

    def prepare(self, layer: layers.Layer, tensors: peers.Tensors) -> peers.Job:
        y = reference.conv2d(
            tensors.x, tensors.weight, tensors.bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )
        return peers.Job(lambda: y + self.wrong_by, lambda result: result)


def test_a_wrong_result_is_noticed() -> None:
    contenders = [Fake("right"), Fake("wrong", 1e-3)]
    row = run_layer(LAYER, contenders, "float32", "NCHW", 1, 1, lambda: None)
    assert row.checked_against == "right"
    assert row.wrong == ["wrong"]
    row = run_layer(LAYER, contenders[::-1], "float32", "NCHW", 1, 1, lambda: None)
    assert set(row.wrong) == {"call", "plan", "right"}


def test_a_peer_that_fails_or_refuses_is_left_out() -> None:
    class Broken(Fake):
        def prepare(self, layer: layers.Layer, tensors: peers.Tensors) -> peers.Job:
            raise RuntimeError("out of order")

    row = run_layer(LAYER, [Broken("broken")], "float32", "NCHW", 1, 1, lambda: None)
    assert row.refused == {"broken": "failed: out of order"}
    assert row.timings.keys() == {"call", "plan"}
    assert row.best_peer() is None
    assert row.speedup("plan") is None
    row = run_layer(replace(LAYER, size=101), [Fake("short")], "float32", "NCHW", 1, 1, lambda: None)
    assert row.refused == {"short": "too tall"}


def test_an_algorithm_is_named_or_the_layer_skipped() -> None:
    dense, each = LAYER, replace(LAYER, out_channels=6, groups=6)
    report = run([dense, each], algorithm="depthwise", rounds=1)
    assert report.skipped.keys() == {"test.plain"}
    assert "depthwise" in report.skipped["test.plain"]
    assert [(row.layer, row.algorithm) for row in report.rows] == [(each, "depthwise")]


def test_best_peer_with_and_without_preparation() -> None:
    row = run_layer(LAYER, [Fake("a"), Fake("b")], "float32", "NCHW", 1, 1, lambda: 5e9)
    row.timings = {
        "call": Timing(False, [4.0, 2.0]),
        "plan": Timing(True, [1.0, 3.0]),
        "a": Timing(False, [6.0]),
        "b": Timing(True, [3.0]),
    }
    assert (row.best_peer(), row.best_peer(stateless=True)) == ("b", "a")
    assert row.speedup("call", stateless=True) == 3.0
    assert row.speedup("call") == 1.5
    row.timings["b"].seconds = [0.5]  # more than ten times as fast: a is no match
    assert row.best_peer(stateless=True) is None
    row.timings["b"].seconds = [3.0]
    assert row.speedup("plan") == 3.0
    assert row.timings["call"].median == 3.0
    assert row.share_of_peak("plan") == LAYER.flops / 5e9


def test_rounds_interleave_and_slow_contenders_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    now = [0.0]
    cost = {"a": 0.03, "b": 0.03, "slow": 2 * PATIENCE}

    def job(name: str) -> peers.Job:
        def run() -> None:
            order.append(name)
            now[0] += cost[name]

        return peers.Job(run, np.asarray)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    timings = {name: Timing(False) for name in cost}
    ticks: list[int] = []
    measure({name: job(name) for name in cost}, timings, 3, tick=lambda: ticks.append(len(order)))
    assert order == ["a", "b", "slow", *"aabb", *"bbaa", *"aabb"]  # each block begins with an untimed call
    assert len(ticks) == 3
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {"a": 3, "b": 3, "slow": 1}
    assert timings["slow"].best == pytest.approx(2 * PATIENCE)


def test_check_without_peers_compares_nothing() -> None:
    row = run_layer(LAYER, [], "float64", "NHWC", 1, 1, lambda: None)
    assert row.checked_against is None
    check(row, {}, [], make_tensors(LAYER, "float64"))
    assert row.wrong == []


def test_threads_are_put_back() -> None:
    import fastconv

    before = fastconv.get_num_threads()
    report = run([LAYER], threads=1, rounds=1)
    assert fastconv.get_num_threads() == before
    assert report.threads == 1
    assert report.cpus is None or len(report.cpus) == 1
    assert report.peak is not None or report.peak_unknown


def test_peak_program() -> None:
    try:
        with peak.peak_program() as program:
            whole, one = program.measure(), program.measure("scalar", "float64")
    except peak.PeakUnknown as error:
        pytest.skip(f"the peak cannot be measured here: {error}")
    assert one.flops.keys() == {("scalar", "float64")}
    assert one.read == {}
    assert ("scalar", "float32") in whole.flops
    assert all(1e7 < rate < 1e13 for rate in whole.flops.values())
    assert whole.memory == whole.read[256 << 20]
    assert 1e7 < whole.memory < 1e13


def test_peak_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    with pytest.raises(peak.PeakUnknown, match="no-such-compiler"), peak.peak_program():
        pass
    report = run([LAYER], rounds=1)
    assert report.peak is None
    assert report.rows[0].share_of_peak("plan") is None
    assert "no-such-compiler" in str(report.peak_unknown)
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(peak.PeakUnknown, match="no C compiler found"), peak.peak_program():
        pass
