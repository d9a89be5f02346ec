"""fastconv.bench: the tables of layers, every peer's adapter, and that a wrong result is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import reference
from fastconv.bench import command, contender, layers, networks, operators, peak, peers, summary
from fastconv.bench.operators import OPERATORS, Task
from fastconv.bench.run import PATIENCE, Row, Timing, check, measure, pinned, run, run_task

FORWARD = OPERATORS["forward"]
LAYER = layers.Layer("test", "plain", 6, 8, (9, 9), (3, 3), padding=(1, 1))
VARIETY = [
    LAYER,
    replace(LAYER, kernel=(1, 1), padding=(0, 0)),
    replace(LAYER, stride=(2, 2), bias=True, batch=3),
    replace(LAYER, groups=2, bias=True),
    replace(LAYER, out_channels=6, groups=6, stride=(2, 2), batch=2),
    replace(LAYER, dilation=(2, 2), padding=(2, 2)),
    replace(LAYER, kernel=(5, 5), padding=(2, 2), size=(7, 7)),
    replace(LAYER, kernel=(1, 7), padding=(0, 3), size=(8, 11)),
    replace(LAYER, kernel=(7, 1), padding=(3, 0), stride=(2, 1), out_channels=6, groups=6),
    replace(LAYER, kernel=(4, 2), padding=(1, 0), dilation=(1, 2), size=(6, 13)),
]
POOL = layers.Pool("test", "plain", "max", 6, (9, 11), (3, 3), (2, 2), (1, 1))
POOLS = [
    POOL,
    replace(POOL, kernel=(2, 3), stride=(1, 2), padding=(0, 1), batch=2),
    replace(POOL, dilation=(2, 2), stride=(1, 1)),
    replace(POOL, kind="avg"),
    replace(POOL, kind="lp", padding=(0, 0)),
    replace(POOL, kind="global", kernel=(1, 1)),
    replace(POOL, kind="adaptive", kernel=(4, 5), batch=2),
    replace(POOL, kind="adaptive max", kernel=(4, 5)),
]


@pytest.fixture(autouse=True)
def _same_cpus() -> Iterator[None]:
    """Nothing may leave this process on fewer CPUs."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    if before is not None:
        assert os.sched_getaffinity(0) == before


# Published, in billions of multiply-adds with fully connected layers aside: He et al. count 3.8 to 4.1,
# Simonyan and Zisserman 15.3, Sandler et al. 0.3, Howard et al. 0.219, Tan and Le 0.39, Liu et al. 4.5, Xie
# et al. 4.2, Szegedy et al. 5, Krizhevsky (one column) 0.66.
@pytest.mark.parametrize(
    ("network", "shapes", "convolutions", "macs"),
    [
        ("resnet50", 23, 53, 4.087e9),
        ("vgg16", 9, 13, 15.347e9),
        ("mobilenetv2", 30, 52, 0.2995e9),
        ("mobilenetv3", 45, 63, 0.2153e9),
        ("efficientnet", 46, 81, 0.3845e9),
        ("convnext", 16, 58, 4.455e9),
        ("resnext50", 24, 53, 4.228e9),
        ("inceptionv3", 43, 94, 5.711e9),
        ("alexnet", 5, 5, 0.6556e9),
    ],
)
def test_networks(network: str, shapes: int, convolutions: int, macs: float) -> None:
    table = networks.NETWORKS[network]
    assert len(table) == shapes
    assert sum(layer.count for layer in table) == convolutions
    assert sum(layer.count * layer.flops for layer in table) / 2 == pytest.approx(macs, rel=1e-3)


@pytest.mark.parametrize("tables", [networks.NETWORKS, networks.POOLINGS], ids=["convolutions", "poolings"])
def test_every_shape_of_a_network_is_there_once_and_has_its_own_name(tables: dict[str, Any]) -> None:
    for name, table in tables.items():
        assert len({replace(layer, name="", count=1) for layer in table}) == len(table)
        assert len({layer.full_name for layer in table}) == len(table)
        for layer in table:
            assert layer.network == name
            assert min(layer.out_size) >= 1
            assert layer.flops > 0


def test_kinds_of_layers_that_no_table_may_lack() -> None:
    every = [layer for table in networks.NETWORKS.values() for layer in table]
    assert {(1, 7), (7, 1), (11, 11), (4, 4), (7, 7)} <= {layer.kernel for layer in every}
    assert {6, 12, 18, 24} <= {layer.dilation[0] for layer in every}
    assert any(layer.kernel == (7, 7) and layer.depthwise for layer in every)
    assert any(layer.groups == 32 and not layer.depthwise for layer in every)
    assert {pool.kind for table in networks.POOLINGS.values() for pool in table} == {
        "max", "avg", "lp", "global", "adaptive", "adaptive max"
    }  # fmt: skip


def test_quick_layers_exist() -> None:
    found = [
        layer.full_name
        for operator in (FORWARD, OPERATORS["pool"])
        for layer in operators.select(operator, operator.layers, quick=True)[0]
    ]
    assert sorted(found) == sorted(networks.QUICK)


def test_select_takes_shapes_once_and_leaves_out_large_batches() -> None:
    twice, _ = operators.select(FORWARD, ["resnet50", "deeplabv3", "resnext50"], r"3->64 224x224")
    once, _ = operators.select(
        FORWARD, ["resnet50", "deeplabv3", "resnext50"], r"3->64 224x224", distinct=True
    )
    assert [layer.network for layer in twice] == ["resnet50", "resnext50"]
    assert [layer.network for layer in once] == ["resnet50"]
    chosen, large = operators.select(FORWARD, ["vgg16"], "conv1", [1, 64], limited=True)
    assert [(layer.name, layer.batch) for layer in chosen] == [("conv1_1", 1), ("conv1_2", 1)]
    assert [(layer.name, layer.batch) for layer in large] == [("conv1_1", 64), ("conv1_2", 64)]


@pytest.mark.parametrize("layer", VARIETY, ids=lambda layer: layer.describe())
def test_output_shape_is_the_reference_s(layer: layers.Layer) -> None:
    tensors = operators.conv_tensors(layer, "float32")
    y = reference.conv2d(
        tensors.x, tensors.weight, stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
        groups=layer.groups,
    )  # fmt: skip
    assert y.shape == layer.y_shape
    assert layer.elements == tensors.x.size + tensors.weight.size + y.size


def adapter(operator: operators.Operator, name: str) -> contender.Peer[Any]:
    """One of fastconv's, as "plan NHWC", or a peer by its name; the test is skipped where that is absent."""
    ours, _, layout = name.partition(" ")
    if ours in ("call", "plan"):
        return next(peer for peer in operator.ours(layout or "NCHW", 1, "auto") if peer.name == ours)
    with pinned(1):
        found, absent = contender.find(operator.peers, [name], threads=1)
    if absent:
        pytest.skip(f"{name}: {absent[name]}")
    (peer,) = found
    return peer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", VARIETY, ids=lambda layer: layer.describe())
@pytest.mark.parametrize("name", ["call", "plan", "call NHWC", "plan NHWC", *peers.PEERS])
def test_adapters_compute_the_layer(name: str, layer: layers.Layer, dtype: str) -> None:
    peer = adapter(FORWARD, name)
    reason = peer.refuse(layer, dtype)
    if reason is not None:
        assert isinstance(reason, str)
        return
    tensors = operators.conv_tensors(layer, dtype)
    job = peer.prepare(layer, tensors)
    for _ in range(2):
        job.before()
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


GRADIENTS = {
    "input_grad": lambda t, layer, options: reference.conv2d_input_grad(
        t.grad, t.weight, input_shape=layer.x_shape, **options
    ),
    "weight_grad": lambda t, layer, options: reference.conv2d_weight_grad(
        t.grad, t.x, weight_shape=layer.weight_shape, **options
    ),
    "bias_grad": lambda t, layer, options: t.grad.astype(np.float64).sum((0, 2, 3)),
}


@pytest.mark.parametrize("layer", VARIETY, ids=lambda layer: layer.describe())
@pytest.mark.parametrize("name", ["call", "call NHWC", "torch", "torch-nhwc"])
@pytest.mark.parametrize("which", GRADIENTS)
def test_gradient_adapters_compute_the_gradient(which: str, name: str, layer: layers.Layer) -> None:
    operator = OPERATORS[which]
    tensors = operator.tensors(layer, "float64")
    peer = adapter(operator, name)
    assert peer.refuse(layer, "float64") is None
    job = peer.prepare(layer, tensors)
    job.before()
    got = job.output(job.run())
    options = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
    expected = GRADIENTS[which](tensors, layer, options)
    magnitude = GRADIENTS[which](tensors.magnitudes(), layer, options).max()
    assert got.shape == expected.shape
    assert abs(got - expected).max() <= (operator.depth(layer) + 2) * np.finfo(np.float64).eps * magnitude


@pytest.mark.parametrize("layer", POOLS, ids=lambda layer: layer.describe())
@pytest.mark.parametrize("which", ["pool", "pool_indices", "pool_grad"])
def test_pooling_adapters_agree(which: str, layer: layers.Pool) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    operator = OPERATORS[which]
    if which == "pool_indices" and "max" not in layer.kind:
        return
    tensors = operator.tensors(layer, "float64")
    results = {}
    for name in ("call", "call NHWC", "torch", "torch-nhwc"):
        job = adapter(operator, name).prepare(layer, tensors)
        job.before()
        results[name] = job.output(job.run())
    for got in results.values():
        assert got.shape == (layer.x_shape if which == "pool_grad" else layer.y_shape)
        bound = (layer.depth + 2) * np.finfo(np.float64).eps * abs(results["torch"]).max()
        assert abs(got - results["torch"]).max() <= bound


def test_what_torch_lacks_is_refused() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    peer = adapter(OPERATORS["pool"], "torch")
    assert "dilation" in str(peer.refuse(replace(POOL, kind="avg", dilation=(2, 2)), "float32"))
    assert "padding" in str(peer.refuse(replace(POOL, kind="lp"), "float32"))
    assert peer.refuse(POOL, "float32") is None


def task(layer: Any = LAYER, **options: Any) -> Task:
    return Task(FORWARD, layer, **options)


class Fake:
    """A peer that computes with the reference, and adds a constant."""

    prepared = False
    version = "1"

    def __init__(self, name: str, wrong_by: float = 0.0) -> None:
        self.name = name
        self.wrong_by = wrong_by

    def refuse(self, layer: layers.Layer, dtype: str) -> str | None:
        return "too tall" if layer.size[0] > 100 else None

    def prepare(self, layer: layers.Layer, tensors: contender.Tensors) -> contender.Job:
        y = reference.conv2d(
            tensors.x, tensors.weight, tensors.bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )
        return contender.Job(lambda: y + self.wrong_by, lambda result: result)


def test_a_wrong_result_is_noticed() -> None:
    contenders = [Fake("right"), Fake("wrong", 1e-3)]
    row = run_task(task(), contenders, "float32", 1, lambda: None)
    assert row.checked_against == "right"
    assert row.wrong == ["wrong"]
    row = run_task(task(), contenders[::-1], "float32", 1, lambda: None)
    assert set(row.wrong) == {"call", "plan", "right"}


def test_a_peer_that_fails_or_refuses_is_left_out() -> None:
    class Broken(Fake):
        def prepare(self, layer: layers.Layer, tensors: contender.Tensors) -> contender.Job:
            raise RuntimeError("out of order")

    row = run_task(task(), [Broken("broken")], "float32", 1, lambda: None)
    assert row.refused == {"broken": "failed: out of order"}
    assert row.timings.keys() == {"call", "plan"}
    assert row.best_peer() is None
    assert row.speedup("plan") is None
    row = run_task(task(replace(LAYER, size=(101, 9))), [Fake("short")], "float32", 1, lambda: None)
    assert row.refused == {"short": "too tall"}


def test_an_algorithm_is_named_or_the_layer_skipped() -> None:
    dense, each = LAYER, replace(LAYER, name="each", out_channels=6, groups=6)
    report = run([task(dense), task(each)], algorithm="depthwise", rounds=1)
    assert report.skipped.keys() == {"test.plain"}
    assert "depthwise" in report.skipped["test.plain"]
    assert [(row.layer, row.algorithm) for row in report.rows] == [(each, "depthwise")]


def test_best_peer_with_and_without_preparation() -> None:
    row = run_task(task(), [Fake("a"), Fake("b")], "float32", 1, lambda: 5e9)
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
    cost = {"a": 0.015, "b": 0.03, "slow": 2 * PATIENCE}

    def job(name: str) -> contender.Job:
        def run() -> None:
            order.append(name)
            now[0] += cost[name]

        return contender.Job(run, np.asarray)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    timings = {name: Timing(False) for name in cost}
    measure({name: job(name) for name in cost}, timings, 3)
    # A short call is first made untimed in each block.
    assert order == ["a", "b", "slow", "slow", *"aab", *"baa", *"aab"]
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {"a": 3, "b": 3, "slow": 1}
    assert timings["slow"].best == pytest.approx(2 * PATIENCE)


def test_check_without_peers_compares_nothing() -> None:
    row = run_task(task(layout="NHWC"), [], "float64", 1, lambda: None)
    assert row.checked_against is None
    check(row, {}, [], operators.conv_tensors(LAYER, "float64"))
    assert row.wrong == []


def test_a_budget_ends_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def work() -> None:
        now[0] += 0.1

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    for budget, rounds in [(None, 10), (0.55, 5), (0.01, 3)]:  # 0.1 seconds a round, one call before
        timings = {"a": Timing(False)}
        measure({"a": contender.Job(work, np.asarray)}, timings, 10, budget=budget)
        assert len(timings["a"].seconds) == rounds


def test_what_is_global_is_set_before_each_block() -> None:
    order: list[str] = []
    jobs = {
        name: contender.Job(
            lambda name=name: order.append(name), np.asarray, before=lambda: order.append("set")
        )
        for name in "ab"
    }
    measure(jobs, {name: Timing(False) for name in "ab"}, 2)
    blocks = "".join(name if name != "set" else " " for name in order).split()
    assert [set(block) for block in blocks] == [{"a"}, {"b"}, {"a"}, {"b"}, {"b"}, {"a"}]


def made_row(operator: str, layer: Any, *, threads: int = 1, **seconds: float) -> Row:
    """A row with these times; plan, and peers whose names begin with p, have prepared weights."""
    row = Row(Task(OPERATORS[operator], layer, threads))
    row.timings = {name: Timing(name.startswith("p"), [value]) for name, value in seconds.items()}
    return row


def test_summary_counts_what_is_behind() -> None:
    dense = replace(LAYER, in_channels=32, out_channels=32, size=(14, 14))
    rows = [
        made_row("forward", dense, call=2.0, plan=1.0, torch=4.0, peer=3.0),
        made_row("forward", LAYER, call=1.0, plan=1.0, torch=0.98, peer=0.5),
    ]
    sums = summary.by_ratio(rows)
    assert list(sums) == ["call/plain", "call/best", "plan/best"]
    assert [ratio.value for ratio in sums["call/plain"].ratios] == [2.0, 0.98]
    assert (sums["call/plain"].behind, sums["call/plain"].well_behind) == (1, 0)
    assert (sums["plan/best"].behind, sums["plan/best"].well_behind) == (1, 1)
    assert sums["plan/best"].mean == pytest.approx((3.0 * 0.5) ** 0.5)
    assert sums["plan/best"].worst(1)[0].row is rows[1]
    assert sums["plan/best"].best(1)[0].row is rows[0]
    bars = summary.bars(rows)
    assert [len(total.ratios) for total in bars.values()] == [1, 1]
    assert [total.behind for total in bars.values()] == [0, 0]


def test_gradients_have_one_ratio_and_threads_a_scaling() -> None:
    large = replace(LAYER, in_channels=512, out_channels=512, size=(28, 28))
    rows = [
        made_row("input_grad", large, threads=2, call=1.0, alone=1.7, torch=3.0),
        made_row("input_grad", LAYER, threads=2, call=1.0, alone=0.9, torch=3.0),
    ]
    assert summary.headings(rows) == ["call/best"]
    large_bar, small_bar = summary.bars(rows).values()
    assert (large_bar.wanted, large_bar.mean, large_bar.behind) == (1.8, pytest.approx(1.7), 1)
    assert (small_bar.wanted, small_bar.mean, small_bar.behind) == (1.0, pytest.approx(0.9), 1)


def test_markdown_goes_between_the_marks(tmp_path: Path) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    from fastconv.bench.report import write_markdown

    report = run([task(), Task(OPERATORS["pool"], POOL)], rounds=1)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: forward begin -->\nold\n<!-- figures: forward end -->\nafter\n")
    for _ in range(2):
        write_markdown(report, page)
        text = page.read_text()
        assert text.startswith("before\n<!-- figures: forward begin -->\n")
        assert text.endswith("<!-- figures: forward end -->\nafter\n")
        assert "old" not in text
        assert "test 3x3 6->8 9x9" in text
        assert "max 3x3/2" not in text
    whole = tmp_path / "whole.md"
    write_markdown(report, whole)
    assert "### forward" in whole.read_text()
    assert "### pool\n" in whole.read_text()


def test_estimate_grows_with_the_work() -> None:
    one = command.estimate([task()], ["torch"], 10, None)
    assert command.estimate([task()] * 100, ["torch"], 10, None) > 2 * one
    assert command.estimate([task()] * 100, ["torch"], 10, 0.1) < command.estimate(
        [task()] * 100, ["torch"], 10, None
    )


def test_threads_are_put_back() -> None:
    import fastconv

    before = fastconv.get_num_threads()
    report = run([task()], rounds=1)
    assert fastconv.get_num_threads() == before
    assert report.threads == [1]
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
    report = run([task()], rounds=1)
    assert report.peak is None
    assert report.rows[0].share_of_peak("plan") is None
    assert "no-such-compiler" in str(report.peak_unknown)
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(peak.PeakUnknown, match="no C compiler found"), peak.peak_program():
        pass
