"""convert and revert: whole models, what is fused in them, and what must not be."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")
nn, F = torch.nn, torch.nn.functional

import torch.nn.utils.prune as prune  # noqa: E402

import fastconv.torch as ft  # noqa: E402
from fastconv.torch import faces  # noqa: E402
from fastconv.torch.fusion import Region  # noqa: E402
from fastconv.torch.modules import OURS  # noqa: E402

# However small what is recorded: it is fastconv's, and not torch's, that is tested.
faces.RECORDED_FROM_PRODUCTS = faces.RECORDED_FROM_NUMBERS = 0


def norm(channels: int) -> Any:
    """A normalisation whose numbers are none of the special ones that a new one has."""
    layer = nn.BatchNorm2d(channels)
    generator = torch.Generator().manual_seed(channels)
    for t in (layer.weight.data, layer.bias.data, layer.running_mean):
        t.normal_(generator=generator)
    layer.running_var.uniform_(0.5, 2, generator=generator)
    return layer


def conv(inputs: int, outputs: int, size: int = 3, **options: Any) -> Any:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, **options)


class Residual(nn.Module):  # type: ignore[misc, name-defined]
    """As in ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride=stride), norm(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), norm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1:
            self.down = nn.Sequential(conv(inputs, outputs, 1, stride=stride), norm(outputs))

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.down is None else self.down(x)
        return self.relu(y)


class Inverted(nn.Module):  # type: ignore[misc, name-defined]
    """As in MobileNet."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(conv(channels, wide, 1), norm(wide), nn.ReLU6(inplace=True)),
            *(conv(wide, wide, groups=wide), norm(wide), nn.ReLU6()),
            *(conv(wide, channels, 1), norm(channels)),
        )

    def forward(self, x: Any) -> Any:
        return x + self.layers(x)


class Net(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), norm(8), nn.Hardtanh(0, 6), nn.MaxPool2d(3, 2, 1))
        self.body = nn.Sequential(Residual(8, 8, 1), Residual(8, 12, 2), Inverted(12, 20))
        self.plain, self.pool = (
            nn.Conv2d(12, 6, 3, padding="same", padding_mode="reflect"),
            nn.AdaptiveAvgPool2d(1),
        )
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        y = F.relu(self.plain(F.avg_pool2d(self.body(self.stem(x)), 2)))
        return self.head(self.drop(torch.flatten(self.pool(y), 1)))


def network() -> Any:
    torch.manual_seed(0)
    return Net()


def images(count: int = 2, size: int = 40) -> Any:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))


def twice(model: Any, x: Any) -> Any:
    """The first call traces and computes in the old way, the second in the new one."""
    with torch.no_grad():
        model(x)
        return model(x)


def plain(model: Any, x: Any) -> Any:
    with torch.no_grad():
        return ft.revert(copy.deepcopy(model))(x)


def close(made: Any, wanted: Any) -> None:
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5 * max(1.0, float(wanted.abs().max())))


def fused(model: Any) -> int:
    """Number of regions at work below a model."""
    regions = [m.__dict__.get("forward") for m in model.modules()]
    return sum(isinstance(r, Region) and r.traced is not None for r in regions)


# --- Layers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", OURS, ids=lambda c: c.__name__)
def test_every_layer_changes_its_class_and_back(theirs: Any) -> None:
    name = theirs.__name__
    args: tuple[Any, ...] = (
        (2, 3, 3) if name.startswith("Conv") else ((2, 2) if name.startswith("LP") else (2,))
    )
    layer = theirs(*args)
    state = copy.deepcopy(layer.state_dict())
    spatial = int(name[-2])
    x = torch.randn(2, 2, *[8] * spatial)
    given = [x]
    if "Unpool" in name:
        given = list(getattr(F, f"max_pool{spatial}d")(x, 2, return_indices=True))
    wanted = layer(*given)
    assert ft.convert(layer) is layer
    assert type(layer) is getattr(ft, name)
    assert isinstance(layer, theirs)
    assert layer.state_dict().keys() == state.keys()
    close(layer(*given).detach(), wanted.detach())
    with torch.no_grad():
        close(layer.eval()(*given), wanted)
    assert type(ft.revert(layer)) is theirs
    theirs(*args).load_state_dict(state)


def test_subclasses_are_left_alone() -> None:
    class Special(nn.Conv2d):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return super().forward(x) * 0

    model = ft.convert(nn.Sequential(Special(3, 4, 3), nn.Conv2d(4, 4, 3))).eval()
    assert type(model[0]) is Special
    assert type(model[1]) is ft.Conv2d
    x = images()
    close(twice(model, x), plain(model, x))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_modes(mode: str) -> None:
    layer = nn.Conv2d(3, 4, 3, padding=2, padding_mode=mode)
    x = images()
    wanted = layer(x)
    ft.convert(layer)
    close(layer(x).detach(), wanted.detach())
    close(twice(layer.eval(), x), wanted.detach())


# --- Models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_evaluation(dtype: Any, memory_format: Any) -> None:
    model = network().eval().to(dtype).to(memory_format=memory_format)
    state = list(model.state_dict())
    ft.convert(model)
    for count, size in ((2, 40), (1, 33), (2, 40), (3, 40), (1, 49), (5, 36)):
        x = images(count, size).to(dtype).contiguous(memory_format=memory_format)
        close(twice(model, x), plain(model, x))
    assert fused(model) == 1
    assert list(model.state_dict()) == state
    ft.revert(model)
    assert not any("forward" in m.__dict__ or type(m) in OURS.values() for m in model.modules())


def test_everything_is_fused_that_can_be() -> None:
    model = ft.convert(network().eval())
    twice(model, images())
    code = model.forward.traced[0].__self__.code
    assert code.count("fused") > 0
    assert code.count("add_in_place(") + code.count("add_in_place_1(") + code.count("add_in_place_2(") == 3
    assert "batch_norm" not in code
    assert "relu" not in code


def test_training_is_that_of_torch() -> None:
    """The same losses, step by step, and the same weights and statistics at the end."""
    ours, theirs = ft.convert(network().double()), network().double()
    x, labels = images(6).double(), torch.tensor([0, 1, 2, 3, 4, 0])
    for model in (ours, theirs):
        torch.manual_seed(1)
        optimizer = torch.optim.SGD(model.train().parameters(), 0.05, momentum=0.9)
        model.losses = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            model.losses.append(float(loss.detach()))
    assert ours.losses == pytest.approx(theirs.losses, rel=1e-9)
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values()):
        torch.testing.assert_close(a, b)
    close(twice(ours.eval(), x), theirs.eval()(x).detach())


def test_gradients_in_evaluation_mode() -> None:
    ours, theirs = ft.convert(network().eval().double()), network().eval().double()
    inputs = [images().double().requires_grad_() for _ in range(2)]
    for model, x in zip((ours, theirs), inputs):
        with torch.no_grad():
            model(x)
        model(x).square().sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a.grad, b.grad)


# --- What changes after a plan was made -----------------------------------------------------------------

CHANGES: dict[str, Callable[[Any], Any]] = {
    "a weight in place": lambda m: m.stem[0].weight.mul_(2),
    "a weight's data": lambda m: setattr(m.stem[0].weight, "data", m.stem[0].weight.data * 2),
    "another parameter": lambda m: setattr(m.stem[0], "weight", nn.Parameter(m.stem[0].weight.detach() * 2)),
    "a bias": lambda m: m.plain.bias.add_(1),
    "a bias less": lambda m: m.plain.register_parameter("bias", None),
    "running statistics": lambda m: m.body[0].bn1.running_mean.add_(1),
    "a normalisation's gain": lambda m: m.body[0].bn1.weight.mul_(3),
    "the whole state": lambda m: m.load_state_dict({k: v * 1.5 for k, v in m.state_dict().items()}),
    "a layer": lambda m: setattr(m.body[0], "bn2", nn.Identity()),
    "a stride": lambda m: setattr(m.plain, "stride", (2, 2)),
    "epsilon": lambda m: setattr(m.body[0].bn1, "eps", 0.5),
    "a layer in training": lambda m: m.body[0].bn1.train(),
    "a hook": lambda m: m.body[0].bn1.register_forward_hook(lambda _, args, y: y * 2),
    "a hook before": lambda m: m.body[0].register_forward_pre_hook(lambda _, args: (args[0] * 2,)),
    "a hook on the output": lambda m: m.register_forward_hook(lambda _, args, y: y + 1),
    "another dtype": lambda m: m.double().float(),
    "another layout": lambda m: m.to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_seen(change: str) -> None:
    model = ft.convert(network().eval())
    x = images()
    before = twice(model, x)
    with torch.no_grad():
        CHANGES[change](model)
    torch.manual_seed(0)
    with torch.no_grad():
        reference = copy.deepcopy(model)
        made = model(x)
        wanted = ft.revert(reference)(x)
    close(made, wanted)
    if "another" not in change or "parameter" in change:
        assert not torch.equal(made, before)
    if "training" not in change:
        close(twice(model, x), wanted)


def test_numbers_that_forward_reads() -> None:
    class Scaled(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.scale, self.use = conv(3, 4), 2.0, True

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return y * self.scale if self.use else y

    model, x = ft.convert(Scaled().eval()), images()
    twice(model, x)
    for name, value in (("scale", 3.0), ("use", False)):
        setattr(model, name, value)
        for _ in range(2):
            with torch.no_grad():
                close(model(x), plain(model, x))


def test_parametrised_weights() -> None:
    model = ft.convert(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval())
    x = images()
    twice(model, x)
    nn.utils.parametrizations.weight_norm(model[0])
    close(twice(model, x), plain(model, x))
    with torch.no_grad():
        model[0].parametrizations.weight.original0.mul_(3)
        close(twice(model, x), plain(model, x))
    layer = prune.l1_unstructured(ft.convert(nn.Conv2d(3, 4, 3)).eval(), "weight", 0.5)
    close(twice(layer, x), plain(layer, x))


def test_forward_in_training_forgets_what_was_prepared() -> None:
    """As an average of weights is often kept by way of .data, which no version counter sees."""
    layer, x = ft.convert(nn.Conv2d(3, 4, 3)).eval(), images()
    twice(layer, x)
    layer.weight.data.mul_(2)
    layer.train()(x)
    close(twice(layer.eval(), x), plain(layer, x))


# --- What must not be fused -----------------------------------------------------------------------------


class Twice(nn.Module):  # type: ignore[misc, name-defined]
    """Reads what is between a convolution and its normalisation once more."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = conv(3, 4), norm(4)

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        return self.bn(y) + y


class Same(Twice):
    """Reads it twice in one place."""

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        return y + y


class Shared(nn.Module):  # type: ignore[misc, name-defined]
    """One convolution with two normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = conv(3, 3), norm(3), nn.BatchNorm2d(3)

    def forward(self, x: Any) -> Any:
        return self.two(self.conv(self.one(self.conv(x))))


class Branching(Twice):
    """Decides by what it computes."""

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        return self.bn(y) if y.sum() > 0 else y


class Keeping(Twice):
    """Keeps what it has seen."""

    def forward(self, x: Any) -> Any:
        self.seen = self.conv(x)
        return self.bn(self.seen)


class Counting(Twice):
    """Computes something else at each call."""

    calls: list[int] = []  # noqa: RUF012

    def forward(self, x: Any) -> Any:
        self.calls.append(1)
        return self.bn(self.conv(x)) + len(self.calls)


class Constant(Twice):
    """Makes a tensor of its own."""

    def forward(self, x: Any) -> Any:
        return self.bn(self.conv(x)) + torch.ones(1) * self.bn.eps


class Statistics(Twice):
    """Normalises by the batch, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x: Any) -> Any:
        return self.bn(self.conv(x))


class Inputs(Twice):
    """Takes and returns more than tensors."""

    def forward(self, x: Any, scale: float = 2.0, *, more: bool = False) -> Any:
        y = F.relu(self.bn(self.conv(x)) * scale)
        return {"y": y, "sizes": (y.shape[0], 3)}


def test_a_forward_that_is_never_the_same_is_given_up() -> None:
    model, x = ft.convert(Inputs().eval()), images()
    for number in range(9):
        model.number = number
        twice(model, x)
    assert not fused(model)


@pytest.mark.parametrize("made", [Twice, Same, Shared, Branching, Keeping, Constant, Statistics])
def test_forwards_that_are_not_what_they_seem(made: Any) -> None:
    model = ft.convert(made().eval())
    for count in (1, 2, 3):
        x = images(count)
        with torch.no_grad():
            for _ in range(2):
                close(model(x), plain(model, x))
    if made is Keeping:
        assert model.seen.shape == (3, 4, 40, 40)


def test_a_forward_that_changes_by_itself_is_not_fused() -> None:
    model, x = ft.convert(Counting().eval()), images()
    with torch.no_grad():
        values = [float(model(x).mean()) for _ in range(4)]
    assert fused(model) == 0
    assert all(b > a for a, b in pairwise(values))


def test_what_forward_takes_and_returns() -> None:
    model, x = ft.convert(Inputs().eval()), images()
    with torch.no_grad():
        for args, kwargs in (
            ((x,), {}),
            ((x, 3.0), {}),
            ((), {"x": x, "scale": 1.0}),
            ((x,), {"more": True}),
        ):
            for _ in range(2):
                made, wanted = model(*args, **kwargs), ft.revert(copy.deepcopy(model))(*args, **kwargs)
                close(made["y"], wanted["y"])
                assert made["sizes"] == wanted["sizes"]


# --- Everything else ------------------------------------------------------------------------------------


def test_inputs_that_are_not_ours() -> None:
    model, x = ft.convert(network().eval()), images()
    twice(model, x)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
    with torch.no_grad(), pytest.raises(RuntimeError):
        model(x.double())
    with torch.no_grad(), pytest.raises(RuntimeError):
        model(x[:, :2])
    half = ft.convert(network().eval().bfloat16())
    assert twice(half, x.bfloat16()).dtype == torch.bfloat16
    strided = torch.randn(2, 3, 40, 80)[..., ::2]
    close(twice(model, strided), plain(model, strided))


def test_made_in_inference_mode() -> None:
    """Such tensors count no versions, so that nothing may be kept of them."""
    with torch.inference_mode():
        model, x = network().eval(), images()
        wanted = model(x)
        ft.convert(model)
        close(twice(model, x), wanted)
        model.stem[0].weight.mul_(2)
        close(model(x), ft.revert(copy.deepcopy(model))(x))


def test_in_inference_mode() -> None:
    model, x = ft.convert(network().eval()), images()
    with torch.inference_mode():
        model(x)
        made = model(x)
    close(made.clone(), plain(model, x))


def test_copies() -> None:
    model, x = ft.convert(network().eval()), images()
    wanted = twice(model, x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        close(twice(other, x), wanted)
        with torch.no_grad():
            other.stem[0].weight.zero_()
        assert not torch.equal(twice(other, x), wanted)
    assert torch.equal(twice(model, x), wanted)


def test_compiled_and_exported() -> None:
    torch._dynamo.reset()
    model, x = ft.convert(network().eval()), images()
    wanted = twice(model, x)
    with torch.no_grad():
        close(torch.compile(model, fullgraph=True, backend="aot_eager")(x), wanted)
    program = torch.export.export(model, (x,))
    assert "fastconv.conv2d" in str(program.graph)
    close(program.module()(x).detach(), wanted)


def test_from_several_threads() -> None:
    model, x = ft.convert(network().eval()), images()
    wanted = {count: plain(model, images(count)) for count in range(1, 7)}
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(3):
            for count, result in wanted.items():
                with torch.no_grad():
                    made = model(images(count))
                if not torch.allclose(made, result, rtol=1e-3, atol=1e-3):
                    wrong.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert x.shape == (2, 3, 40, 40)


def test_converting_twice_and_without_fusion() -> None:
    model, x = ft.convert(ft.convert(network().eval())), images()
    close(twice(model, x), plain(model, x))
    ft.convert(model, fuse=False)
    assert "forward" not in model.__dict__
    close(twice(model, x), plain(model, x))
