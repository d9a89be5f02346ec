"""The PyTorch adapter's operators and functions, against NumPy's and torch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operator_cases import OPTIONS, kind_of, make

torch = pytest.importorskip("torch", reason="needs PyTorch")
F = torch.nn.functional

import fastconv.torch as ft  # noqa: E402
from fastconv.operators import REGISTRY  # noqa: E402
from fastconv.torch import faces, functional  # noqa: E402
from fastconv.torch.eager import HANDLES, call  # noqa: E402

# However small what is recorded: it is fastconv's, and not torch's, that is tested.
faces.RECORDED_FROM_PRODUCTS = faces.RECORDED_FROM_NUMBERS = 0

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
LAYOUT = {1: "NCL", 2: "NCHW", 3: "NCDHW"}
CASES = [
    pytest.param(name, number, batched, id=f"{name}-{number}-{'batch' if batched else 'one'}")
    for name, op in REGISTRY.items()
    for number in range(len(OPTIONS[kind_of(op)]))
    for batched in (True, False)
]
FIRST = [pytest.param(name, 1, True, id=name) for name in REGISTRY]


def case(name: str, number: int, batched: bool) -> tuple[Any, list[Any], tuple[Any, ...], Any]:
    """An operator with tensors, flat options, and what NumPy computes."""
    op, handle = REGISTRY[name], HANDLES[name]
    arrays, options = make(op, LAYOUT[op.spatial], batched, OPTIONS[kind_of(op)][number])
    wanted = op.forward(*arrays.values(), **options)
    tensors = [a if a is None else torch.from_numpy(np.array(a)) for a in arrays.values()]
    return handle, tensors, tuple(options[o] for o in handle.options), wanted


def recording(handle: Any, tensors: list[Any]) -> list[Any]:
    """Tensors of which those that can be differentiated ask for it."""
    return [
        t.clone().requires_grad_() if can and t is not None else t
        for t, can in zip(tensors, handle.differentiable)
    ]


def first(result: Any) -> Any:
    return result[0] if isinstance(result, (tuple, list)) else result


# --- Operators ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "number", "batched"), CASES)
def test_operators_compute_what_numpy_does(name: str, number: int, batched: bool) -> None:
    handle, tensors, options, wanted = case(name, number, batched)
    several = wanted if isinstance(wanted, tuple) else (wanted,)
    spatial = handle.op.spatial
    copies = [tensors]
    if spatial > 1 and batched:
        copies.append(
            [
                t.contiguous(memory_format=FORMATS[spatial]) if image and t is not None else t
                for t, image in zip(tensors, handle.images)
            ]
        )
        copies.append([None if t is None else torch.stack([t, t], -1)[..., 0] for t in tensors])
    for arrays in copies:
        for made in (call(handle, arrays, options), handle.library(*arrays, *options)):
            for a, b in zip(made if isinstance(made, (tuple, list)) else (made,), several):
                np.testing.assert_allclose(a.numpy(), b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "number", "batched"), CASES)
def test_gradients_and_their_gradients(name: str, number: int, batched: bool) -> None:
    handle, tensors, options, _ = case(name, number, batched)
    inputs = recording(handle, tensors)

    def function(*arrays: Any) -> Any:
        return first(call(handle, arrays, options))

    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize(("name", "number", "batched"), FIRST)
def test_torch_finds_nothing_wrong(name: str, number: int, batched: bool) -> None:
    handle, tensors, options, _ = case(name, number, batched)
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    if handle.op.spatial == 2:
        checks.append("test_aot_dispatch_dynamic")
    torch.library.opcheck(handle.library, (*recording(handle, tensors), *options), test_utils=checks)
    if handle.op.spatial == 2:
        last = [
            t.contiguous(memory_format=torch.channels_last) if image else t
            for t, image in zip(tensors, handle.images)
        ]
        torch.library.opcheck(handle.library, (*recording(handle, last), *options), test_utils=checks[:3])


@pytest.mark.parametrize(("name", "number", "batched"), FIRST)
def test_vmap(name: str, number: int, batched: bool) -> None:
    """Over every array by itself, and over all of them."""
    handle, tensors, options, _ = case(name, number, batched)
    given = [i for i, t in enumerate(tensors) if t is not None]
    for batch in [[i] for i in given] + [given]:
        stacked = [torch.stack([t, t.flip(0)]) if i in batch else t for i, t in enumerate(tensors)]
        dims = tuple(0 if i in batch else None for i in range(len(tensors)))
        made = torch.func.vmap(lambda *a: first(call(handle, a, options)), in_dims=dims)(*stacked)
        for index in range(2):
            alone = [t[index] if i in batch else t for i, t in enumerate(stacked)]
            torch.testing.assert_close(made[index], first(call(handle, alone, options)))


def test_a_second_map_and_a_batch_of_one_image() -> None:
    x, weight = torch.randn(2, 3, 4, 6, 6), torch.randn(5, 4, 3, 3)
    made = torch.func.vmap(torch.func.vmap(lambda image: ft.conv2d(image, weight)))(x)
    torch.testing.assert_close(made, torch.stack([F.conv2d(images, weight) for images in x]))


def test_gradients_of_each_sample() -> None:
    x, weight = torch.randn(3, 2, 6, 6, dtype=torch.float64), torch.randn(4, 2, 3, 3, dtype=torch.float64)

    def loss(weight: Any, image: Any, conv: Any) -> Any:
        return conv(image, weight, padding=1).square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0, None))
    torch.testing.assert_close(gradients(weight, x, ft.conv2d), gradients(weight, x, F.conv2d))
    hessian = torch.func.hessian(lambda s: loss(s * weight, s * x, ft.conv2d))(
        torch.tensor(2.0, dtype=torch.float64)
    )
    wanted = torch.func.hessian(lambda s: loss(s * weight, s * x, F.conv2d))(
        torch.tensor(2.0, dtype=torch.float64)
    )
    torch.testing.assert_close(hessian, wanted)


def test_constants_have_no_gradient() -> None:
    random = torch.rand(1, 2, 2, dtype=torch.float64, requires_grad=True)
    windows = {"kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1, "ceil_mode": False}
    with pytest.raises(RuntimeError, match="not differentiable with respect to random"):
        functional._ours("stochastic_pool2d_samples", (torch.ones(1, 4, 4), random), windows)


def test_saved_tensors_are_those_that_are_needed() -> None:
    """With frozen filters the input is not kept, as in transfer learning."""
    kept: list[Any] = []
    x, weight = torch.randn(1, 2, 6, 6, requires_grad=True), torch.randn(3, 2, 3, 3)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda t: t):
        ft.conv2d(x, weight)
    assert kept == [weight.shape]


def test_writing_to_what_a_gradient_needs_is_an_error() -> None:
    x, weight = torch.randn(1, 2, 6, 6), torch.randn(3, 2, 3, 3, requires_grad=True)
    y = ft.conv2d(x, weight)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# --- Functions ------------------------------------------------------------------------------------------

SIZES = {1: (11,), 2: (11, 10), 3: (7, 6, 8)}
POOLS: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "max_pool": [
        ((2,), {}),
        ((3, 2, 1), {}),
        (([3],), {"stride": [2], "ceil_mode": True}),
        ((2,), {"dilation": 2, "stride": 1, "return_indices": True}),
        ((3,), {"padding": 1, "return_indices": True, "stride": 2}),
    ],
    "avg_pool": [
        ((2,), {}),
        ((3, 2, 1), {}),
        ((3,), {"stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ],
    "lp_pool": [((2, 2), {}), ((4, 3, 2), {}), ((3, 2), {}), ((2, 2), {"ceil_mode": True, "stride": 3})],
    "adaptive_avg_pool": [((1,), {}), ((3,), {}), ((4,), {})],
    "adaptive_max_pool": [((1,), {}), ((3,), {"return_indices": True})],
}
CONVOLUTIONS: list[tuple[int, int, dict[str, Any]]] = [
    (3, 4, {}),
    (3, 4, {"stride": 2, "padding": 1}),
    (3, 4, {"padding": "same"}),
    (3, 4, {"padding": "same", "dilation": 2}),
    (3, 4, {"padding": "valid", "stride": [2]}),
    (4, 6, {"groups": 2, "padding": (1,)}),
    (4, 8, {"groups": 4, "dilation": 2, "padding": 2}),
]
FUNCTIONS = [
    pytest.param(f"{kind}{n}d", n, number, id=f"{kind}{n}d-{number}")
    for kind, cases in {"conv": CONVOLUTIONS, **POOLS}.items()
    for n in (1, 2, 3)
    for number in range(len(cases))
]


def arguments(
    name: str, spatial: int, number: int, shape: tuple[int, ...], dtype: Any
) -> tuple[list[Any], Any, Any]:
    """Tensors, and the rest of a call."""
    generator = torch.Generator().manual_seed(number)
    if name.startswith("conv"):
        channels, outputs, options = CONVOLUTIONS[number]
        weight = torch.randn(
            (outputs, channels // options.get("groups", 1)) + (3,) * spatial, generator=generator
        )
        x = torch.randn((*shape, channels, *SIZES[spatial]), generator=generator)
        tensors = [x, weight, torch.randn(outputs, generator=generator)]
        return [t.to(dtype) for t in tensors], (), options
    args, options = POOLS[name[: -len("2d")]][number]
    x = torch.randperm(int(np.prod((*shape, 3, *SIZES[spatial]))), generator=generator).to(dtype) / 64 + 0.5
    return [x.reshape(*shape, 3, *SIZES[spatial])], args, options


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "spatial", "number"), FUNCTIONS)
def test_functions_are_those_of_torch(name: str, spatial: int, number: int, dtype: Any) -> None:
    """Values, indices, gradients and strides; with gradients and without; in both layouts."""
    for shape in ((), (2,), (0,)):
        tensors, args, options = arguments(name, spatial, number, shape, dtype)
        versions = [tensors]
        if spatial > 1 and shape == (2,):
            versions.append([tensors[0].contiguous(memory_format=FORMATS[spatial]), *tensors[1:]])
            versions.append(
                [t.transpose(-1, -2).contiguous().transpose(-1, -2) for t in tensors[:2]] + tensors[2:]
            )
        for version in versions:
            with torch.no_grad():
                plain = getattr(ft, name)(*version, *args, **options)
                wanted = getattr(F, name)(*version, *args, **options)
            compare(plain, wanted)
            # In 3-D torch gives the layout up in some functions.
            if (
                spatial == 2
                and len(shape) == 1
                and version[0].is_contiguous(memory_format=torch.channels_last)
            ):
                assert first(plain).stride() == first(wanted).stride() or first(plain).numel() == 0
            elif version[0].is_contiguous(memory_format=FORMATS.get(spatial, torch.contiguous_format)):
                kept = FORMATS.get(spatial, torch.contiguous_format)
                assert first(plain).is_contiguous(memory_format=kept) or name.startswith("lp")
            inputs = [[t.detach().clone().requires_grad_() for t in version] for _ in range(2)]
            made = getattr(ft, name)(*inputs[0], *args, **options)
            theirs = getattr(F, name)(*inputs[1], *args, **options)
            compare(made, theirs)
            grad = torch.randn(first(theirs).shape, dtype=dtype, generator=torch.Generator().manual_seed(9))
            compare(
                torch.autograd.grad(first(made), inputs[0], grad),
                torch.autograd.grad(first(theirs), inputs[1], grad),
            )


def compare(made: Any, wanted: Any) -> None:
    """Both sum the same few hundred products of numbers of about 1, in orders of their own."""
    made, wanted = (v if isinstance(v, (tuple, list)) else (v,) for v in (made, wanted))
    assert len(made) == len(wanted)
    for a, b in zip(made, wanted):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if not a.is_floating_point():
            assert torch.equal(a, b)
        elif a.numel():
            bound = 64 * torch.finfo(a.dtype).eps * max(1.0, float(b.detach().abs().max()))
            torch.testing.assert_close(a, b, rtol=0, atol=bound)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_unpooling(spatial: int) -> None:
    x = torch.randn(2, 3, *SIZES[spatial], dtype=torch.float64)
    y, indices = getattr(F, f"max_pool{spatial}d")(x, 2, return_indices=True)
    ours, theirs = (getattr(module, f"max_unpool{spatial}d") for module in (ft, F))
    for options in ({}, {"output_size": x.shape}, {"output_size": x.shape[2:]}):
        compare(ours(y, indices, 2, **options), theirs(y, indices, 2, **options))
    inputs = [y.clone().requires_grad_() for _ in range(2)]
    for function, leaf in zip((ours, theirs), inputs):
        (function(leaf, indices, 2) ** 2).sum().backward()
    compare(inputs[0].grad, inputs[1].grad)
    with pytest.raises(RuntimeError):
        ours(y, indices + 10**6, 2)
    with pytest.raises((RuntimeError, ValueError)):
        ours(y, indices, 2, output_size=[100] * spatial)


def test_pools_that_torch_does_not_have() -> None:
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64).requires_grad_()
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    weight.requires_grad_()
    for how in ({}, {"stride": 1, "padding": 1}, {"stride": 2, "padding": (0, 1), "dilation": 2}):

        def ours(x: Any, weight: Any, how: Any = how) -> Any:
            return ft.weighted_avg_pool2d(x, weight, **how)

        def written_out(x: Any, weight: Any, how: Any = how) -> Any:
            planes = x.reshape(-1, 1, *x.shape[2:])
            how = {"stride": weight.shape, **how}
            sums = F.conv2d(torch.ones_like(planes[:1]), weight[None, None], **how)
            y = F.conv2d(planes, weight[None, None], **how) / sums
            return y.reshape(*x.shape[:2], *y.shape[2:])

        grad = torch.rand_like(ours(x, weight))
        for found, wanted in zip(
            torch.autograd.grad(ours(x, weight), (x, weight), grad),
            torch.autograd.grad(written_out(x, weight), (x, weight), grad),
        ):
            torch.testing.assert_close(found, wanted)
        assert torch.autograd.gradcheck(ours, (x, weight), fast_mode=True)
        assert torch.autograd.gradgradcheck(ours, (x, weight), fast_mode=True)
    assert torch.autograd.gradcheck(lambda x: ft.stochastic_pool2d(x, 2), (x,), fast_mode=True)
    drawn = [
        ft.stochastic_pool2d(x, 2, training=True, generator=torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    drawn[0].sum().backward()
    assert int((x.grad == 1).sum()) == drawn[0].numel()
    with pytest.raises(TypeError, match="float32"):
        ft.weighted_avg_pool2d(x.half(), weight)


# --- What is for torch ----------------------------------------------------------------------------------


class Tagged(torch.Tensor):  # type: ignore[misc, name-defined]
    """A subclass, which operators must keep."""


def test_what_is_not_ours_is_torchs() -> None:
    x, weight = torch.randn(1, 2, 6, 6), torch.randn(3, 2, 3, 3)
    for dtype in (torch.float16, torch.bfloat16, torch.complex64):
        made = ft.conv2d(x.to(dtype), weight.to(dtype))
        assert made.dtype == dtype
        assert torch.equal(made, F.conv2d(x.to(dtype), weight.to(dtype)))
    assert type(ft.conv2d(x.as_subclass(Tagged), weight)) is Tagged
    assert ft.conv2d(x.to("meta"), weight.to("meta")).device.type == "meta"
    assert torch.equal(ft.max_pool2d(x.bfloat16(), 2), F.max_pool2d(x.bfloat16(), 2))
    assert torch.equal(ft.conv2d(x.int(), weight.int()), F.conv2d(x.int(), weight.int()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ft.conv2d(x, weight).dtype == torch.bfloat16
    negative = torch._neg_view(x)
    torch.testing.assert_close(ft.conv2d(negative, weight), F.conv2d(-x, weight))
    torch.testing.assert_close(
        ft.conv2d(x.to_mkldnn(), weight, torch.zeros(3)).to_dense(), F.conv2d(x, weight)
    )
    made, slope = torch.func.jvp(lambda x: ft.conv2d(x, weight), (x,), (x,))
    torch.testing.assert_close(slope, made)
    traced = torch.jit.trace(lambda x: ft.conv2d(x, weight), (x,))
    torch.testing.assert_close(traced(x + 1), F.conv2d(x + 1, weight))
    with torch.device("meta"):
        assert ft.conv2d(x, weight).device.type == "cpu"
    torch.set_default_dtype(torch.float64)
    try:
        assert ft.conv2d(x, weight).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


X, W = torch.ones(1, 2, 6, 6), torch.ones(3, 2, 3, 3)
WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("conv2d", (X, torch.ones(3, 1, 3, 3)), {}),
    ("conv2d", (X, W, torch.ones(2)), {}),
    ("conv2d", (X, W.double()), {}),
    ("conv2d", (X, W, torch.ones(3).double()), {}),
    ("conv2d", (X[0, 0], W), {}),
    ("conv2d", (X, W[0]), {}),
    ("conv2d", (X, torch.ones(3, 2, 9, 9)), {}),
    ("conv2d", (X, W), {"stride": 0}),
    ("conv2d", (X, W), {"stride": (1, 1, 1)}),
    ("conv2d", (X, W), {"padding": -1}),
    ("conv2d", (X, W), {"padding": "some"}),
    ("conv2d", (X, W), {"padding": "same", "stride": 2}),
    ("conv2d", (X, W), {"dilation": 0}),
    ("conv2d", (X, W), {"groups": 2}),
    ("conv2d", (X, W), {"groups": 0}),
    ("conv2d", (X, W), {"stride": 1.5}),
    ("conv2d", (X, W), {"stride": "a"}),
    ("conv2d", (X, W.numpy()), {}),
    ("conv2d", (X.numpy(), W), {}),
    ("conv2d", (None, W), {}),
    ("max_pool2d", (X, 0), {}),
    ("max_pool2d", (X, 2), {"padding": 2}),
    ("max_pool2d", (X, 9), {}),
    ("max_pool2d", (X, (1, 2, 3)), {}),
    ("max_pool2d", (X, 2), {"stride": 0}),
    ("max_pool2d", (X[0, 0], 2), {}),
    ("max_pool2d", (X[:, :0], 2), {"padding": 2}),
    ("avg_pool2d", (X, 2), {"divisor_override": 0}),
    ("avg_pool2d", (X, 3), {"padding": 2}),
    ("avg_pool2d", (X, None), {}),
    ("adaptive_avg_pool2d", (X, (1, 2, 3)), {}),
    ("adaptive_avg_pool2d", (X, -1), {}),
    ("adaptive_max_pool2d", (X[..., :0], 2), {}),
    ("lp_pool2d", (X, 2, 0), {}),
    ("max_unpool2d", (X, X, 2), {}),
    ("max_unpool2d", (X, X[:, :1].long(), 2), {}),
    ("conv1d", (X, W), {}),
    ("conv3d", (X[None, None], W), {}),
]


@pytest.mark.parametrize(("name", "args", "options"), WRONG)
def test_errors_are_those_of_torch(name: str, args: Any, options: Any) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        getattr(F, name)(*args, **options)
    with pytest.raises(theirs.type) as ours:
        getattr(ft, name)(*args, **options)
    assert str(ours.value)[:8] == str(theirs.value)[:8]  # what follows may repeat the arguments


# --- Compilers ------------------------------------------------------------------------------------------


def network(ops: Any) -> Any:
    def run(x: Any, weight: Any, bias: Any) -> Any:
        y = torch.relu(ops.conv2d(x, weight, bias, padding=1))
        y = ops.max_pool2d(y, 2) + ops.avg_pool2d(y, 2)
        return ops.adaptive_avg_pool2d(ops.conv2d(y, weight, bias, padding="same"), 1).flatten(1)

    return run


@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"]
)
def test_compiled_in_one_graph(memory_format: Any) -> None:
    torch._dynamo.reset()
    leaves = [
        torch.randn(2, 3, 8, 8).contiguous(memory_format=memory_format),
        torch.randn(3, 3, 3, 3),
        torch.randn(3),
    ]
    ours = [t.detach().requires_grad_() for t in leaves]
    theirs = [t.detach().requires_grad_() for t in leaves]
    compiled = torch.compile(network(ft), fullgraph=True, backend="aot_eager")
    made, wanted = compiled(*ours), network(F)(*theirs)
    torch.testing.assert_close(made, wanted)
    made.square().sum().backward()
    wanted.square().sum().backward()
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*leaves), network(F)(*leaves))


def test_compiled_with_other_shapes() -> None:
    torch._dynamo.reset()
    weight, bias = torch.randn(3, 3, 3, 3), torch.randn(3)
    compiled = torch.compile(network(ft), fullgraph=True, dynamic=True, backend="aot_eager")
    for size in (8, 10, 12):
        x = torch.randn(size // 2, 3, size, size)
        torch.testing.assert_close(compiled(x, weight, bias), network(F)(x, weight, bias))


def test_exported() -> None:
    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool = ft.Conv2d(3, 4, 3), ft.MaxPool2d(2)

        def forward(self, x: Any) -> Any:
            return self.pool(self.conv(x))

    model, x = Net().eval(), torch.randn(2, 3, 8, 8)
    program = torch.export.export(model, (x,))
    assert "fastconv.conv2d" in str(program.graph)
    torch.testing.assert_close(program.module()(x), model(x))
