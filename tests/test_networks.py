"""benchmarks/networks.py: the networks are those of fastconv.bench, and what it says is right."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastconv.bench.layers import pair
from fastconv.bench.networks import NETWORKS, POOLINGS
from fastconv.bench.run import Timing

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("rich", reason="rich is not installed")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """The benchmark sets them for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not BENCHMARKS.is_dir():
        pytest.skip("the benchmarks are not here")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(getattr(request, "param", "networks"))


# With the classifier: 25.6, 3.5 and 138.4 million, as published.
@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet50", 25_557_032), ("mobilenetv2", 3_504_872), ("vgg16", 138_357_544)]
)
@pytest.mark.parametrize("script", ["models"], indirect=True)
def test_models_have_the_layers_of_the_tables(script: ModuleType, name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = script.NETWORKS[name]()
    assert sum(p.numel() for p in model.parameters()) == parameters
    found: Counter[Any] = Counter()

    def note(module: Any, inputs: Any, output: Any) -> None:
        if isinstance(module, torch.nn.Conv2d):
            options = (module.kernel_size, module.stride, module.padding, module.groups)
        elif isinstance(module, torch.nn.MaxPool2d):
            options = ("max", pair(module.kernel_size), pair(module.stride), pair(module.padding))
        else:
            return
        found[(*options, tuple(inputs[0].shape), tuple(output.shape))] += 1

    for module in model.modules():
        module.register_forward_hook(note)
    model(torch.empty(2, 3, 224, 224, device="meta"))
    expected: Counter[Any] = Counter()
    for layer in NETWORKS[name]:
        shapes = ((2, *layer.x_shape[1:]), (2, *layer.y_shape[1:]))
        expected[(layer.kernel, layer.stride, layer.padding, layer.groups, *shapes)] += layer.count
    for pool in POOLINGS[name]:
        if pool.kind == "max":
            shapes = ((2, *pool.x_shape[1:]), (2, *pool.y_shape[1:]))
            expected[("max", pool.kernel, pool.stride, pool.padding, *shapes)] += pool.count
    assert found == expected


def test_agreement_notices_a_wrong_gradient(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(5)
    )
    model(torch.ones(1, 3, 8, 8))

    def wrong(model: Any, x: Any) -> Any:
        next(iter(model.parameters())).register_hook(lambda grad: grad * (1 + 1e-6))
        return model, x

    contenders = {"fastconv": lambda model, x: (model, x), "fastconv wrong": wrong}
    monkeypatch.setattr(script, "CONTENDERS", script.CONTENDERS | contenders)
    found = script.agreements("small", model, 8, ["torch", *contenders])
    assert {(a.contender, a.what, a.holds) for a in found} == {
        ("fastconv", "outputs in float32", True),
        ("fastconv", "gradients in float64", True),
        ("fastconv wrong", "outputs in float32", True),
        ("fastconv wrong", "gradients in float64", False),
    }


@pytest.mark.parametrize("mode", ["forward", "training"])
def test_contenders_are_measured_and_failures_named(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str
) -> None:
    def broken(model: Any, x: Any) -> Any:
        raise RuntimeError("out of order\nsecond line")

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(5))
    model(torch.ones(1, 3, 8, 8))
    before = [p.detach().clone() for p in model.parameters()]
    contenders = {"fastconv": lambda model, x: (model, x), "fastconv NHWC": broken}
    monkeypatch.setattr(script, "CONTENDERS", script.CONTENDERS | contenders)
    setting = script.Setting("small", 2, mode, 1)
    result = script.measure_setting(setting, model, 8, ["torch", *contenders], rounds=2, seconds=0.01)
    assert result.timings.keys() == {"torch", "fastconv"}
    assert result.failed == {"fastconv NHWC": "out of order"}
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before))
    assert "small | 2 | 1" in script.markdown([result], [], ["torch", *contenders])
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    script.draw([result], ["torch", "fastconv"], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_best_of_each_side(script: ModuleType) -> None:
    result = script.Result(script.Setting("n", 1, "forward", 1))
    assert result.speedup is None
    seconds = {"torch": 4.0, "torch compiled": 3.0, "fastconv": 2.0, "fastconv NHWC": 1.5}
    result.timings = {name: Timing(False, [value, 9.0]) for name, value in seconds.items()}
    assert (result.best(True), result.best(False)) == ("fastconv NHWC", "torch compiled")
    assert result.speedup == 2.0


@pytest.mark.parametrize("script", ["profiles"], indirect=True)
def test_profile_names_kinds_of_layers(script: ModuleType) -> None:
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, 2, groups=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, (1, 3), groups=2)
    )
    x = torch.ones(2, 4, 9, 9)
    seconds = script.by_layer(model, x, lambda: model(x))
    kinds = {"depthwise conv 3x3/2", "BatchNorm2d", "ReLU", "grouped conv 1x3", "all else"}
    assert seconds.keys() == kinds
    assert not model[0]._forward_hooks
