"""What happens to a model between two evaluations, options of other types, calls that were made before."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from support import run_python

torch = pytest.importorskip("torch", reason="needs PyTorch")
F, nn = torch.nn.functional, torch.nn

import fastconv.torch as ft  # noqa: E402
from fastconv.torch import faces  # noqa: E402

# However small what is recorded: it is fastconv's, and not torch's, that is tested.
faces.RECORDED_FROM_PRODUCTS = faces.RECORDED_FROM_NUMBERS = 0


def pair(model: Any) -> tuple[Any, Any]:
    """A model in evaluation mode, and a converted copy."""
    return model.eval(), ft.convert(copy.deepcopy(model.eval()))


def network(**norm: Any) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, **norm), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.ReLU6()
    )


def image(*shape: int) -> Any:
    return torch.randn(*(shape or (2, 3, 9, 8)), generator=torch.Generator().manual_seed(1))


def assert_same(ours: Any, theirs: Any) -> None:
    """Sums of at most 585 products: 1e-5 of the largest value is 84 roundings; errors grow like a root."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.detach().abs().max()))


def evaluate(ours: Any, theirs: Any, x: Any) -> None:
    with torch.no_grad():
        for _ in range(2):
            assert_same(ours(x), theirs(x))


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}])
def test_statistics_that_training_gathered(options: dict[str, Any]) -> None:
    """Torch writes to them without counting a version."""
    theirs, ours = pair(network(**options))
    x = image()
    for _ in range(3):
        evaluate(ours, theirs, x)
        for model in (theirs, ours):
            model.train()
            model(3 * x + 1)
            model.eval()


def test_statistics_of_a_normalisation_called_by_itself() -> None:
    theirs, ours = pair(network())
    evaluate(ours, theirs, image())
    for model in (theirs, ours):
        model[1].train()(image(2, 8, 5, 5) + 3)
        model.eval()
    evaluate(ours, theirs, image())


@pytest.mark.parametrize("how", [{"fused": True}, {"foreach": True}, {}], ids=["fused", "foreach", "each"])
def test_steps_of_an_optimizer_are_seen(how: dict[str, Any]) -> None:
    """Also after an evaluation between the gradients and the step; a fused step counts no version."""
    theirs, ours = pair(network())
    optimizers = [torch.optim.SGD(model.parameters(), 0.1, **how) for model in (theirs, ours)]
    x = image()
    for _ in range(2):
        for model in (theirs, ours):
            model.zero_grad()
            model(x).square().mean().backward()
        evaluate(ours, theirs, x)
        for optimizer in optimizers:
            optimizer.step()
        evaluate(ours, theirs, x)


def test_data_written_to_is_seen_after_a_call_with_gradients() -> None:
    theirs, ours = pair(network())
    evaluate(ours, theirs, image())
    for model in (theirs, ours):
        model[0].weight.data.mul_(2)
        model(image())
    evaluate(ours, theirs, image())


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_forward_of_a_layer_s_own(layer: int, when: str) -> None:
    theirs, ours = pair(network())
    if when == "after":
        evaluate(ours, theirs, image())
    for model in (theirs, ours):
        own = model[layer].forward
        model[layer].forward = lambda t, own=own: own(t) * 2 + 1
    evaluate(ours, theirs, image())
    for model in (theirs, ours):
        del model[layer].forward
    evaluate(ours, theirs, image())


def test_another_class() -> None:
    class Shifted(nn.BatchNorm2d):
        def forward(self, t: Any) -> Any:
            return super().forward(t) + 1

    theirs, ours = pair(network())
    evaluate(ours, theirs, image())
    for model in (theirs, ours):
        model[1].__class__ = Shifted
    evaluate(ours, theirs, image())


def test_one_image_without_a_batch_where_the_normalisation_wants_one() -> None:
    """To BatchNorm1d the channels of one image are a batch, and its pixels channels."""
    torch.manual_seed(0)
    theirs, ours = pair(nn.Sequential(nn.Conv1d(3, 6, 3, padding=1), nn.BatchNorm1d(6)))
    for model in (theirs, ours):
        model[1].running_mean.copy_(torch.arange(6.0))
    evaluate(ours, theirs, image(2, 3, 6))
    evaluate(ours, theirs, image(3, 6))
    theirs, ours = pair(network())
    evaluate(ours, theirs, image())
    with torch.no_grad(), pytest.raises(ValueError, match="expected 4D input"):
        ours(image(3, 9, 8))


# --- Options --------------------------------------------------------------------------------------------


WRONG_TYPES = [
    (F.conv2d, {"stride": 1}, {"stride": True}),
    (F.conv2d, {"padding": 1}, {"padding": True}),
    (F.conv2d, {"padding": (1, 0)}, {"padding": (True, False)}),
    (F.conv2d, {"groups": 1}, {"groups": True}),
    (F.conv2d, {"dilation": 1}, {"dilation": 1.0}),
    (F.max_pool2d, {"kernel_size": 2}, {"kernel_size": 2.0}),
    (F.max_pool2d, {"kernel_size": 2, "ceil_mode": True}, {"kernel_size": 2, "ceil_mode": 1}),
    (F.max_pool2d, {"kernel_size": 2, "ceil_mode": False}, {"kernel_size": 2, "ceil_mode": None}),
    (F.avg_pool2d, {"kernel_size": (2, 2)}, {"kernel_size": (2.0, 2)}),
    (F.avg_pool2d, {"kernel_size": 2, "count_include_pad": True}, {"kernel_size": 2, "count_include_pad": 1}),
    (F.avg_pool2d, {"kernel_size": 2, "divisor_override": 1}, {"kernel_size": 2, "divisor_override": True}),
    (F.adaptive_avg_pool2d, {"output_size": 2}, {"output_size": 2.0}),
    (F.adaptive_max_pool2d, {"output_size": (2, None)}, {"output_size": None}),
    (F.lp_pool2d, {"norm_type": 2, "kernel_size": 2}, {"norm_type": 2, "kernel_size": 2, "ceil_mode": None}),
]


@pytest.mark.parametrize(("theirs", "right", "wrong"), WRONG_TYPES)
@pytest.mark.parametrize("order", ["right first", "wrong first"])
def test_options_that_are_equal_but_of_another_type(theirs: Any, right: Any, wrong: Any, order: str) -> None:
    """What compares equal is remembered as the same by a dict."""
    ours = getattr(ft, theirs.__name__)
    x = image(1, 2, 7 if order == "right first" else 6, 5)  # a shape that no other case has
    arrays = (x, torch.ones(2, 2, 3, 3)) if theirs is F.conv2d else (x,)
    for options in (right, wrong) if order == "right first" else (wrong, right, wrong):
        if options is right:
            assert_same(ours(*arrays, **options), theirs(*arrays, **options))
        else:
            with pytest.raises(TypeError):
                theirs(*arrays, **options)
            with pytest.raises(TypeError):
                ours(*arrays, **options)


def test_options_that_are_tensors() -> None:
    """They may have another value at the next call."""
    x, weight, stride = image(1, 2, 9, 9), torch.ones(2, 2, 3, 3), torch.tensor(2)
    assert_same(ft.conv2d(x, weight, stride=stride), F.conv2d(x, weight, stride=2))
    stride.fill_(1)
    assert_same(ft.conv2d(x, weight, stride=stride), F.conv2d(x, weight))


def test_no_channels_and_no_groups() -> None:
    with pytest.raises(RuntimeError, match="non-positive groups"):
        ft.conv2d(torch.empty(2, 0, 5, 5), torch.empty(4, 1, 3, 3), groups=0)


# --- Calls that were made before --------------------------------------------------------------------------


def test_small_calls_are_recorded_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its recording takes less time than ours; from a size on the layer counts for more."""
    monkeypatch.setattr(faces, "RECORDED_FROM_PRODUCTS", 50_000)
    monkeypatch.setattr(faces, "RECORDED_FROM_NUMBERS", 5_000)

    def recorded(function: Any, *arrays: Any, **options: Any) -> list[str]:
        """Who recorded the first call, and one that was made before."""
        names = []
        for _ in range(2):
            leaves = [a.clone().requires_grad_() for a in arrays]
            names.append(type(function(*leaves, **options).grad_fn).__name__)
        return names

    theirs, ours = ["ConvolutionBackward0"] * 2, ["fastconv_conv2dBackward"] * 2
    assert recorded(ft.conv2d, image(1, 4, 7, 11), torch.ones(4, 4, 3, 3)) == theirs
    assert recorded(ft.conv2d, image(1, 4, 37, 23), torch.ones(4, 4, 3, 3)) == ours
    assert recorded(ft.avg_pool2d, image(1, 4, 7, 11), kernel_size=2) == ["AvgPool2DBackward0"] * 2
    assert recorded(ft.avg_pool2d, image(1, 4, 37, 43), kernel_size=2) == ["fastconv_avg_pool2dBackward"] * 2
    # A power's slope at 0 is not torch's.
    lp = recorded(ft.lp_pool2d, image(1, 4, 7, 11), norm_type=2.0, kernel_size=2)
    assert lp == ["fastconv_lp_pool2dBackward"] * 2


def test_many_calls_of_the_same_shapes() -> None:
    """More than are found without Python: each has its own result, whatever came before."""
    x = image(1, 2, 13, 12)
    for _ in range(3):
        for size in range(1, 12):
            assert_same(ft.avg_pool2d(x, size), F.avg_pool2d(x, size))
            assert_same(ft.adaptive_avg_pool2d(x, size), F.adaptive_avg_pool2d(x, size))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_shape_in_every_form(dtype: Any) -> None:
    """A call that was made before is found by what the tensor is now."""
    base, weight = image(2, 4, 6, 7).to(dtype), image(4, 4, 3, 3).to(dtype)
    forms = [
        base,
        base.contiguous(memory_format=torch.channels_last),
        base.transpose(2, 3).contiguous().transpose(2, 3),
        base[:1].expand(2, 4, 6, 7),
        torch._neg_view(base),
        torch.cat([base, base], 1)[:, :4],
        torch.cat([base.flatten()[:1], base.flatten()])[1:].view(base.shape),
        nn.Parameter(base.clone()),
        base.clone().requires_grad_(),
        base.double() if dtype == torch.float32 else base.float(),
    ]
    for _ in range(2):
        for x in forms:
            last = weight.contiguous(memory_format=torch.channels_last)
            for w in [w.to(x.dtype) for w in (weight, last, torch._neg_view(weight))]:
                for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
                    with mode():
                        made, wanted = ft.conv2d(x, w), F.conv2d(x, w)
                        pooled, expected = ft.max_pool2d(x, 2), F.max_pool2d(x, 2)
                    assert_same(made, wanted)
                    assert torch.equal(pooled, expected)
                    assert made.requires_grad == wanted.requires_grad == pooled.requires_grad
                    assert made.is_inference() == wanted.is_inference()


def test_one_channel_and_one_pixel_lie_in_both_layouts() -> None:
    for shape in [(2, 1, 5, 6), (2, 3, 1, 1), (1, 1, 1, 1)]:
        x, weight = image(*shape), image(4, shape[1], 1, 1)
        for form in (x, x.contiguous(memory_format=torch.channels_last)):
            made, wanted = ft.conv2d(form, weight), F.conv2d(form, weight)
            assert_same(made, wanted)
            assert made.shape == wanted.shape


def test_a_tensor_of_zeros_without_memory() -> None:
    """Torch makes them where a gradient is known to vanish."""
    zeros = torch._efficientzerotensor((1, 2, 6, 6))
    weight = torch.ones(2, 2, 3, 3)
    for _ in range(2):
        ft.conv2d(torch.ones(1, 2, 6, 6), weight)
        assert not ft.conv2d(zeros, weight).any()
        assert not ft.avg_pool2d(zeros, 2).any()


def test_many_threads_that_begin_at_once() -> None:
    """Each finds the model untraced: one traces it, and nobody waits for another, nor for itself."""
    code = """
import sys, threading, torch, fastconv.torch as ft
from torch import nn
sys.setswitchinterval(1e-6)
torch.set_num_threads(1)

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.relu(self.b(self.c(x)))

x, wrong = torch.randn(1, 4, 6, 6), []
for _ in range(8):
    model = nn.Sequential(Block(), nn.Sequential(Block(), Block()), Block()).eval()
    with torch.no_grad():
        wanted = model(x)
    ft.convert(model)
    gate = threading.Barrier(12)
    def work():
        gate.wait()
        with torch.no_grad():
            for _ in range(4):
                if not torch.allclose(model(x), wanted, atol=1e-4):
                    wrong.append(1)
    threads = [threading.Thread(target=work, daemon=True) for _ in range(12)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "they wait for each other"
assert not wrong
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("outputs", "channels", "kernel", "groups"),
    [(5, 1, (3, 3), 1), (17, 3, (1, 7), 1), (16, 16, (3, 3), 1), (34, 34, (5, 2), 2), (70, 65, (3, 3), 1)],
)
def test_filters_in_channels_last(
    outputs: int, channels: int, kernel: tuple[int, int], groups: int, dtype: Any
) -> None:
    """As a model that was moved to that format keeps them: values, gradients, and nothing is changed."""
    for shape, memory_format, ours, theirs in (
        ((), torch.channels_last, ft.conv2d, F.conv2d),
        ((2,), torch.channels_last_3d, ft.conv3d, F.conv3d),
    ):
        weight = image(outputs, channels // groups, *shape, *kernel).to(dtype)
        weight = weight.contiguous(memory_format=memory_format).requires_grad_()
        x = image(2, channels, *shape, 9, 11).to(dtype)
        for form in (x, x.contiguous(memory_format=memory_format)):
            before = weight.detach().clone()
            for _ in range(2):
                with torch.no_grad():
                    assert_same(ours(form, weight, groups=groups), theirs(form, weight, groups=groups))
                inputs = (form.detach().clone().requires_grad_(), weight)
                made = ours(*inputs, groups=groups)
                wanted = theirs(*inputs, groups=groups)
                grad = image(*wanted.shape).to(dtype)
                for a, b in zip(
                    torch.autograd.grad(made, inputs, grad), torch.autograd.grad(wanted, inputs, grad)
                ):
                    assert_same(a, b)
            assert torch.equal(weight, before)


def test_what_torch_records_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small recorded calls are torch's, with all that it must know and as if it had been called itself."""
    monkeypatch.setattr(faces, "RECORDED_FROM_PRODUCTS", 10**9)
    monkeypatch.setattr(faces, "RECORDED_FROM_NUMBERS", 10**9)
    x, weight, bias = image(2, 4, 7, 19), image(6, 4, 3, 3), image(6)
    calls: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("conv2d", [x, weight], {}),
        ("conv2d", [x, weight, bias], {}),
        ("conv2d", [x, weight, None, 2], {}),
        ("conv2d", [x, weight, bias], {"padding": (1, 0), "dilation": 2}),
        ("conv2d", [x, image(6, 2, 3, 3)], {"groups": 2}),
        ("conv2d", [x, weight], {"padding": "same"}),
        ("max_pool2d", [x, 2], {}),
        ("max_pool2d", [x, 3], {"padding": 1}),
        ("max_pool2d", [x, 2], {"ceil_mode": True}),
        ("max_pool2d", [x, 2], {"return_indices": True}),
        ("avg_pool2d", [x, 2], {}),
        ("avg_pool2d", [x, 3], {"padding": 1, "count_include_pad": False}),
        ("avg_pool2d", [x, 3], {"divisor_override": 5}),
        ("avg_pool1d", [x[0], 3], {"padding": 1}),
        ("adaptive_avg_pool2d", [x, (None, 3)], {}),
        ("adaptive_max_pool2d", [x, 3], {"return_indices": True}),
    ]
    for name, arguments, options in calls:
        inputs = [a.clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments]
        leaves = [a for a in inputs if isinstance(a, torch.Tensor)]
        for _ in range(3):
            made, wanted = getattr(ft, name)(*inputs, **options), getattr(F, name)(*inputs, **options)
            if options.get("return_indices"):
                assert torch.equal(made[1], wanted[1])
                made, wanted = made[0], wanted[0]
            assert torch.equal(made, wanted)
            assert made.grad_fn.name() == wanted.grad_fn.name()  # torch's own
            grad = image(*wanted.shape)
            for a, b in zip(
                torch.autograd.grad(made, leaves, grad), torch.autograd.grad(wanted, leaves, grad)
            ):
                assert torch.equal(a, b)
