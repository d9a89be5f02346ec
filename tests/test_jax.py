"""The JAX adapter: every operator under jit, grad and vmap, against the registry's and against jax.lax."""

from __future__ import annotations

import ctypes
import importlib
import inspect
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from operator_cases import CASES, make
from support import run_python

from fastconv import operators
from fastconv.operators import REGISTRY, Operator

jax = pytest.importorskip("jax", reason="needs jax")
import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import fastconv.jax as fj  # noqa: E402
from fastconv import _xla  # noqa: E402

RNG = np.random.default_rng(0)
# One case of each operator in each layout, with a batch and without; what each is called with goes round.
EACH = {
    (name, layout, batched): (name, layout, batched, given)
    for number, (name, layout, batched, given) in enumerate(case.values for case in CASES)
    if number % 3 == 0 or given.get("padding") == "same"
}.values()
ONE = {name: (name, layout, batched, given) for name, layout, batched, given in EACH if batched}.values()

# Channels first with a batch, channels last without.
HALF = [case for case in EACH if (case[1][-1] == "C") != case[2]]


def case_ids(cases: Any) -> list[str]:
    return [f"{name}-{layout}-{'batch' if batched else 'one'}" for name, layout, batched, _ in cases]


@pytest.fixture
def x64() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(params=["ffi", "callback"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways from a compiled program to an operator."""
    monkeypatch.setattr(fj, "transport", lambda: request.param)
    jax.clear_caches()
    yield request.param
    jax.clear_caches()


def example(name: str, layout: str, batched: bool, given: dict[str, Any], dtype: Any = np.float64) -> Any:
    """An operator with arrays of a dtype and canonical options."""
    op = operators.get(name)
    arrays, options = make(op, layout, batched, given)
    own = {a.name for a in op.arrays if a.dtype is not None}
    return op, [a if a is None or n in own else a.astype(dtype) for n, a in arrays.items()], options


def call(op: Operator, options: dict[str, Any], *arrays: Any) -> Any:
    """The adapter's function of an operator, with canonical options."""
    return fj._differentiable(op.name)(tuple(options.items()), *arrays)


def as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def smooth(op: Operator, options: dict[str, Any], arrays: list[Any]) -> tuple[Any, list[Any]]:
    """The first result as a function of the arrays that have a gradient, and those."""
    chosen = [i for i, a in enumerate(op.arrays) if a.name in op.gradients and arrays[i] is not None]

    def function(*values: Any) -> Any:
        every = list(arrays)
        for position, value in zip(chosen, values):
            every[position] = value
        return as_tuple(call(op, options, *every))[0]

    return function, [jnp.asarray(arrays[i]) for i in chosen]


# --- Values and gradients of every operator -------------------------------------------------------------


@pytest.mark.parametrize("case", EACH, ids=case_ids(EACH))
def test_compiled_results_have_the_bits_of_numpy(case: Any) -> None:
    op, arrays, options = example(*case, dtype=np.float32)
    wanted = as_tuple(op.forward(*arrays, **options))
    eager = partial(call, op, options)
    for run in (eager, jax.jit(eager)):
        made = as_tuple(run(*arrays))
        assert len(made) == len(wanted)
        for a, b in zip(made, wanted):
            assert a.dtype == (np.float32 if b.dtype == np.float32 else np.int32)
            np.testing.assert_array_equal(np.asarray(a), b)


@pytest.mark.parametrize("case", ONE, ids=case_ids(ONE))
@pytest.mark.usefixtures("x64")
def test_gradients_twice(case: Any) -> None:
    op, arrays, options = example(*case)
    function, values = smooth(op, options, arrays)
    check_grads(function, values, order=2, modes=["rev"], atol=1e-5, rtol=1e-5, eps=1e-6)


@pytest.mark.parametrize("case", HALF, ids=case_ids(HALF))
@pytest.mark.usefixtures("x64")
def test_vmap_is_a_loop(case: Any) -> None:
    op, arrays, options = example(*case)
    there = [i for i, a in enumerate(arrays) if a is not None]
    for mapped in [[i] for i in there] + [there]:
        stacks = [np.stack([a, np.roll(a, 1), a]) if i in mapped else a for i, a in enumerate(arrays)]
        axes = [0 if i in mapped else None for i in range(len(arrays))]
        made = as_tuple(jax.vmap(partial(call, op, options), axes)(*stacks))
        each = [[a[k] if i in mapped else a for i, a in enumerate(stacks)] for k in range(3)]
        for result, *rows in zip(made, *(as_tuple(op.forward(*row, **options)) for row in each)):
            np.testing.assert_allclose(result, np.stack(rows), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", ONE, ids=case_ids(ONE))
@pytest.mark.usefixtures("x64")
def test_vmap_of_gradients_is_a_loop(case: Any) -> None:
    op, arrays, options = example(*case)
    function, values = smooth(op, options, arrays)
    weights = RNG.standard_normal(jax.eval_shape(function, *values).shape)
    gradient = jax.grad(lambda *v: jnp.vdot(function(*v), weights), tuple(range(len(values))))
    stacks = [jnp.stack([v, v[::-1] if v.ndim < 3 else v, 0.5 * v]) for v in values]
    made = jax.jit(jax.vmap(gradient))(*stacks)
    for k in range(3):
        for a, b in zip(made, gradient(*(s[k] for s in stacks))):
            np.testing.assert_allclose(a[k], b, rtol=1e-10, atol=1e-10)


def test_nested_vmap_folds_twice() -> None:
    x, weight = (
        RNG.standard_normal((2, 3, 4, 5, 6)).astype("f"),
        RNG.standard_normal((7, 4, 3, 3)).astype("f"),
    )
    conv = partial(fj.conv2d, padding=1)
    made = jax.vmap(jax.vmap(conv, (0, None)), (0, None))(x, weight)
    np.testing.assert_array_equal(made, conv(x.reshape(6, 4, 5, 6), weight).reshape(2, 3, 7, 5, 6))
    text = str(jax.make_jaxpr(jax.vmap(jax.vmap(conv, (0, None)), (0, None)))(x, weight))
    assert "scan" not in text


# --- Against jax.lax ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1}, {"groups": 2, "dilation": 2, "padding": "same"}]
)
@pytest.mark.usefixtures("x64")
def test_convolution_is_that_of_lax(options: dict[str, Any]) -> None:
    groups = options.get("groups", 1)
    x, weight = RNG.standard_normal((2, 4, 9, 8)), RNG.standard_normal((6, 4 // groups, 3, 3))
    stride, dilation, padding = (
        options.get("stride", 1),
        options.get("dilation", 1),
        options.get("padding", 0),
    )

    def peer(x: Any, weight: Any) -> Any:
        pads = "SAME" if padding == "same" else [(padding, padding)] * 2
        return jax.lax.conv_general_dilated(
            x, weight, (stride, stride), pads, rhs_dilation=(dilation, dilation), feature_group_count=groups
        )

    ours = partial(fj.conv2d, **options)
    np.testing.assert_allclose(jax.jit(ours)(x, weight), peer(x, weight), rtol=1e-12, atol=1e-12)
    for a, b in zip(*(jax.grad(lambda *v: (f(*v) ** 3).sum(), (0, 1))(x, weight) for f in (ours, peer))):  # noqa: B023
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-9)


def test_max_pooling_is_that_of_lax() -> None:
    x = RNG.standard_normal((2, 3, 9, 8)).astype(np.float32)

    def peer(x: Any) -> Any:
        pads = ((0, 0), (0, 0), (1, 1), (1, 1))
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 3, 3), (1, 1, 2, 2), pads)

    def ours(x: Any) -> Any:
        return fj.max_pool2d(x, 3, stride=2, padding=1)

    np.testing.assert_array_equal(jax.jit(ours)(x), peer(x))
    for a, b in zip(*(jax.jit(jax.grad(lambda v: (f(v) ** 2).sum()))(x) for f in (ours, peer))):  # noqa: B023
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_average_pooling_is_that_of_lax() -> None:
    x = RNG.integers(-8, 8, (2, 3, 9, 8)).astype(np.float32)
    sums = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, 2, 4), (1, 1, 2, 2), "VALID")
    np.testing.assert_array_equal(fj.avg_pool2d(x, (2, 4), stride=2), sums / 8)


# --- Dtypes and bad input -------------------------------------------------------------------------------

X, WEIGHT = jnp.ones((2, 4, 6, 6)), jnp.ones((3, 4, 3, 3))


def test_dtypes_are_those_of_jax() -> None:
    assert fj.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))).dtype == np.float32
    weak = jnp.full((3, 4, 3, 3), 1.0)
    assert weak.weak_type
    assert not fj.conv2d(X, weak).weak_type
    assert fj.max_pool2d_with_indices(X, 2)[1].dtype == np.int32


@pytest.mark.usefixtures("x64")
def test_double_precision_is_kept() -> None:
    x, weight = jnp.ones((2, 4, 6, 6)), jnp.ones((3, 4, 3, 3))
    assert fj.conv2d(x, weight).dtype == np.float64
    assert fj.conv2d(x.astype(np.float32), jnp.full((3, 4, 3, 3), 1.0)).dtype == np.float32
    assert fj.max_pool2d_with_indices(x, 2)[1].dtype == np.int64
    with pytest.raises(TypeError, match="one dtype, got x of float64, weight of float32"):
        fj.conv2d(x, weight.astype(np.float32))


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: fj.conv2d([[1.0]], WEIGHT), TypeError, "x must be an array, got list"),
        (lambda: fj.conv2d(X, None), TypeError, "weight must be an array, got NoneType"),
        (lambda: fj.conv2d(X), TypeError, "weight"),
        (lambda: fj.conv2d(X, WEIGHT, out=np.ones(3)), TypeError, "out"),
        (lambda: fj.conv2d(X.astype(int), WEIGHT), TypeError, "x of dtype int32: it takes float32"),
        (lambda: fj.conv2d(X, WEIGHT.astype(jnp.bfloat16)), TypeError, "weight of dtype bfloat16"),
        (lambda: fj.conv2d(X + 0j, WEIGHT), TypeError, "complex64"),
        (lambda: fj.conv2d(X[0, 0], WEIGHT), ValueError, "axes"),
        (lambda: fj.conv2d(X, WEIGHT[:, :3]), ValueError, "channels"),
        (lambda: fj.conv2d(X, WEIGHT[0]), ValueError, "weight must have 4 axes"),
        (lambda: fj.conv2d(X, WEIGHT, jnp.ones(4)), ValueError, "bias"),
        (lambda: fj.conv2d(X, jnp.ones((3, 4, 9, 9))), ValueError, "larger"),
        (lambda: fj.conv2d(X, WEIGHT, stride=0), ValueError, "stride"),
        (lambda: fj.conv2d(X, WEIGHT, padding=2**62), (ValueError, MemoryError), "padding"),
        (lambda: fj.conv2d(X, WEIGHT, padding="full"), ValueError, "full"),
        (lambda: fj.conv2d(X, WEIGHT, layout="CHWN"), ValueError, "layout"),
        (lambda: fj.conv2d_input_grad(X, WEIGHT, input_shape=(2, 4, 6, 6)), ValueError, "grad_output"),
        (lambda: fj.conv2d_weight_grad(X, X, weight_shape=(4, 4, 3, 3)), ValueError, "grad_output"),
        (lambda: fj.max_pool2d(X, 0), ValueError, "kernel_size"),
        (lambda: fj.max_pool2d(X, 2, padding=2), ValueError, "padding"),
        (lambda: fj.max_unpool2d(X, X, 2), TypeError, "indices of dtype float32"),
        (lambda: fj.lp_pool2d(X, -1.0, 2), ValueError, "norm_type"),
        (lambda: fj.no_such_operator, AttributeError, "no_such_operator"),
    ],
)
def test_bad_input_is_refused_while_tracing(run: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        jax.eval_shape(run)  # traces, and computes nothing


def test_options_are_static() -> None:
    with pytest.raises(TypeError, match="traced"):
        jax.jit(lambda stride: fj.conv2d(X, WEIGHT, stride=stride))(2)


def test_forward_mode_says_that_it_is_not_there() -> None:
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: fj.conv2d(x, WEIGHT), (X,), (X,))


def test_what_has_no_gradient_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = operators.get("conv2d")
    entry = {**vars(conv), "name": "fixed_conv2d", "gradients": {"x": conv.gradients["x"]}}
    entry.pop("signature", None)
    monkeypatch.setitem(REGISTRY, "fixed_conv2d", Operator(**entry))
    with pytest.raises(NotImplementedError, match=r"fixed_conv2d.*weight"):
        jax.grad(lambda weight: fj.fixed_conv2d(X, weight).sum())(WEIGHT)
    assert jax.grad(lambda x: fj.fixed_conv2d(x, WEIGHT).sum())(X).shape == X.shape


@pytest.mark.parametrize("jit", [jax.jit, lambda f: f])
def test_what_only_the_numbers_show_is_an_error_of_the_program(jit: Any, transport: str) -> None:
    with pytest.raises(jax.errors.JaxRuntimeError, match="must not be negative"):
        jax.block_until_ready(jit(lambda x: fj.stochastic_pool2d(x, 2))(-X))
    np.testing.assert_array_equal(fj.max_pool2d(X, 2), np.ones((2, 4, 3, 3)))


# --- The registry ---------------------------------------------------------------------------------------


def test_a_new_entry_is_there_without_an_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = operators.get("conv2d")
    changed = {**vars(conv), "name": "another_conv2d", "bound": None}
    changed.pop("signature", None)
    monkeypatch.setitem(REGISTRY, "another_conv2d", Operator(**changed))
    assert "another_conv2d" in dir(fj)
    gradient = jax.jit(jax.grad(lambda w: (fj.another_conv2d(X, w, padding="same") ** 2).sum()))(WEIGHT)
    wanted = jax.grad(lambda w: (fj.conv2d(X, w, padding="same") ** 2).sum())(WEIGHT)
    np.testing.assert_array_equal(gradient, wanted)


def test_functions_introduce_themselves() -> None:
    assert set(dir(fj)) == set(REGISTRY)
    assert list(inspect.signature(fj.conv2d).parameters)[:3] == ["x", "weight", "bias"]
    assert "`x`, `weight`, `bias`" in (fj.conv2d.__doc__ or "")
    assert fj.conv2d is fj.conv2d


# --- The way there --------------------------------------------------------------------------------------


def test_the_interface_of_xla_is_used() -> None:
    assert fj.transport() == "ffi"


def test_both_ways_compute_the_same(transport: str) -> None:
    def loss(x: Any, weight: Any, bias: Any) -> Any:
        y, _ = fj.max_pool2d_with_indices(fj.conv2d(x, weight, bias, padding=1), 2)
        return (fj.lp_pool2d(y, 2.0, 2) ** 2).sum()

    bias = jnp.arange(3.0)
    made = jax.jit(jax.grad(loss, (0, 1, 2)))(X, WEIGHT, bias)
    assert np.all(np.isfinite(np.asarray(made[1])))
    wanted = jax.grad(lambda *a: loss(*a), (0, 1, 2))(X, WEIGHT, bias)
    for a, b in zip(made, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_empty_arrays(transport: str) -> None:
    assert fj.conv2d(jnp.ones((0, 4, 6, 6)), WEIGHT).shape == (0, 3, 4, 4)
    assert fj.max_pool2d_with_indices(jnp.ones((0, 4, 6, 6)), 2)[1].shape == (0, 4, 3, 3)
    gradient = jax.grad(lambda w: fj.conv2d(jnp.ones((0, 4, 6, 6)), w).sum())(WEIGHT)
    np.testing.assert_array_equal(gradient, np.zeros(WEIGHT.shape))


def test_a_description_says_all() -> None:
    op, arrays, options = example("lp_pool2d", "NCHW", True, {"norm_type": 2.5, "kernel_size": 2}, np.float32)
    wanted = op.forward(*arrays, **options)
    text = _xla.describe(op, options, arrays, [wanted])
    prepared = _xla.read(text.encode())
    made = np.empty_like(wanted)
    prepared.compute(arrays[0].ctypes.data, made.ctypes.data)
    np.testing.assert_array_equal(made, wanted)


def test_shorter_indices_are_converted_beside_the_program() -> None:
    op, (grad, indices), options = example("max_pool2d_grad", "NCHW", True, {"kernel_size": 2}, np.float32)
    wanted = op.forward(grad, indices, **options)
    short = indices.astype(np.int32)
    prepared = _xla.read(_xla.describe(op, options, [grad, short], [wanted]).encode())
    made, before = np.full_like(wanted, 7), (grad.copy(), short.copy())
    prepared.compute(grad.ctypes.data, short.ctypes.data, made.ctypes.data)
    np.testing.assert_array_equal(made, wanted)
    np.testing.assert_array_equal(grad, before[0])
    np.testing.assert_array_equal(short, before[1])


SOAK = """
import sys, threading, jax, jax.numpy as jnp, numpy as np
import fastconv.jax as fj
fj.transport = lambda way=sys.argv[1]: way
fj.transport() == "callback" or fj.jax.ffi.register_ffi_target(
    fj._xla.TARGET, fj.jax.ffi.pycapsule(fj._xla.ADDRESS), platform="cpu")
x, weight = jnp.ones((8, 16, 96, 96)), jnp.ones((16, 16, 3, 3)) / 144

@jax.jit
def deep(x, weight):
    for _ in range(4):
        x = fj.max_pool2d(fj.conv2d(x, weight, padding="same"), 3, stride=1, padding=1)
    return (x * x).sum()

@jax.jit
def tiny(x):
    return fj.conv2d(x, jnp.ones((1, 1, 2, 2))) + 1

def work():
    for _ in range(3):
        jax.grad(deep, (0, 1))(x, weight)[0].block_until_ready()
    y = jnp.ones((1, 1, 4, 4))
    for _ in range(300):
        tiny(y)  # nobody waits for these
    np.asarray(tiny(y))

threads = [threading.Thread(target=work) for _ in range(2)]
[t.start() for t in threads]
work()
[t.join() for t in threads]
for _ in range(4):
    deep(x, weight)  # still under way when the interpreter ends
print("done")
"""


@pytest.mark.parametrize("way", ["ffi", "callback"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_nothing_waits_for_ever(way: str, threads: str) -> None:
    """Large arrays, many calls that nobody waits for, several Python threads, an exit amid work."""
    done = run_python(SOAK, way, FASTCONV_NUM_THREADS=threads, timeout=110)
    assert done.stdout == "done\n", done.stderr
    assert done.returncode == 0, done.stderr


LAYOUT = r"""
#include <stdio.h>
#include "xla/ffi/api/c_api.h"
#define WORD(name, type, field) printf("%s %zu\n", #name, offsetof(type, field) / 8)
int main(void) {
    WORD(FRAME_SIZE, XLA_FFI_CallFrame, struct_size);
    WORD(FRAME_EXTENSION, XLA_FFI_CallFrame, extension_start);
    WORD(FRAME_API, XLA_FFI_CallFrame, api);
    WORD(FRAME_ARG_COUNT, XLA_FFI_CallFrame, args.size);
    WORD(FRAME_ARGS, XLA_FFI_CallFrame, args.args);
    WORD(FRAME_RET_COUNT, XLA_FFI_CallFrame, rets.size);
    WORD(FRAME_RETS, XLA_FFI_CallFrame, rets.rets);
    WORD(FRAME_ATTRS, XLA_FFI_CallFrame, attrs.attrs);
    printf("FRAME_WORDS %d\n", XLA_FFI_CallFrame_STRUCT_SIZE / 8);
    WORD(BUFFER_DATA, XLA_FFI_Buffer, data);
    printf("SPAN_WORDS %zu\n", sizeof(XLA_FFI_ByteSpan) / 8);
    WORD(EXTENSION_TYPE, XLA_FFI_Extension_Base, type);
    WORD(EXTENSION_NEXT, XLA_FFI_Extension_Base, next);
    WORD(EXTENSION_METADATA, XLA_FFI_Metadata_Extension, metadata);
    WORD(METADATA_VERSION, XLA_FFI_Metadata, api_version.major_version);
    WORD(METADATA_TRAITS, XLA_FFI_Metadata, traits);
    WORD(API_VERSION, XLA_FFI_Api, api_version.major_version);
    WORD(API_ERROR_CREATE, XLA_FFI_Api, XLA_FFI_Error_Create);
    printf("METADATA_EXTENSION %d\n", XLA_FFI_Extension_Metadata);
    printf("MAJOR_VERSION %d\n", XLA_FFI_API_MAJOR);
    printf("INVALID_ARGUMENT %d\n", XLA_FFI_Error_Code_INVALID_ARGUMENT);
    printf("RESOURCE_EXHAUSTED %d\n", XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_words_are_those_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "layout.c").write_text(LAYOUT)
    command = ["cc", "-I", jax.ffi.include_dir(), "layout.c", "-o", "layout"]
    subprocess.run(command, cwd=tmp_path, check=True)
    lines = subprocess.run(
        [tmp_path / "layout"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {name: getattr(_xla, name) for name, _ in map(str.split, lines)} == {
        name: int(value) for name, value in map(str.split, lines)
    }


class Runtime:
    """What XLA shows a handler when it asks for its version."""

    def __init__(self, major: int, words: int = _xla.FRAME_WORDS) -> None:
        self.messages: list[bytes] = []

        @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_xla.ErrorCreateArgs))
        def create(arguments: Any) -> int:
            self.messages.append(arguments.contents.message)
            return 77

        self.create = create
        self.metadata = (ctypes.c_int64 * 6)()
        address = ctypes.addressof
        self.extension = (ctypes.c_int64 * 4)(32, _xla.METADATA_EXTENSION, 0, address(self.metadata))
        self.api = (ctypes.c_int64 * 7)(
            56, 0, 24, 0, major | 9 << 32, 0, ctypes.cast(create, ctypes.c_void_p).value
        )
        self.frame = (ctypes.c_int64 * _xla.FRAME_WORDS)(
            8 * words, address(self.extension), address(self.api)
        )

    def ask(self) -> int:
        return _xla._handle(ctypes.addressof(self.frame))


def test_a_later_minor_version_is_answered() -> None:
    runtime = Runtime(0)
    assert runtime.ask() == 0
    assert runtime.metadata[_xla.METADATA_VERSION] == 9 << 32


@pytest.mark.parametrize(("major", "words"), [(1, _xla.FRAME_WORDS), (0, _xla.FRAME_WORDS - 1)])
def test_another_interface_is_refused(major: int, words: int) -> None:
    runtime = Runtime(major, words)
    assert runtime.ask() == 77
    assert b"is not known to fastconv" in runtime.messages[0]


def test_without_the_interface_python_is_called_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("incompatible")

    monkeypatch.setattr(jax.ffi, "register_ffi_target", refuse)
    assert fj.transport.__wrapped__() == "callback"


def test_who_asks_without_an_interface_is_answered_by_the_first_version() -> None:
    runtime = Runtime(0)
    runtime.frame[_xla.FRAME_API] = 0
    assert runtime.ask() == 0
    assert runtime.metadata[_xla.METADATA_VERSION] == 1 << 32
    runtime.frame[_xla.FRAME_SIZE] = 8
    runtime.metadata[_xla.METADATA_VERSION] = 0
    assert runtime.ask() == 0
    assert runtime.metadata[_xla.METADATA_VERSION] == 0


KEPT = """
import sys, jax, jax.numpy as jnp
import fastconv.jax as fj
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
if len(sys.argv) > 2:  # programs made here would be others
    fj.conv3d(jnp.ones((1, 1, 3, 3, 3)), jnp.ones((1, 1, 2, 2, 2)))
gradient = jax.grad(lambda x: (fj.lp_pool2d(x, 2.5, 2, padding=1) ** 3).sum())
print(jax.jit(gradient)(jnp.arange(1.0, 17).reshape(1, 4, 4)))
"""


def test_programs_kept_on_disk_run_in_another_process(tmp_path: Path) -> None:
    first, second = (run_python(KEPT, str(tmp_path), *more) for more in ((), ("more",)))
    assert first.returncode == 0, first.stderr
    assert any(tmp_path.iterdir())
    assert second.stdout == first.stdout, second.stderr


def test_programs_can_be_exported() -> None:
    pytest.importorskip("flatbuffers", reason="needs flatbuffers")
    export = importlib.import_module("jax.export")
    checks = [export.DisabledSafetyCheck.custom_call(_xla.TARGET)]
    exported = export.export(jax.jit(fj.conv2d), disabled_checks=checks)(X, WEIGHT)
    restored = export.deserialize(exported.serialize())
    np.testing.assert_array_equal(restored.call(X, WEIGHT), fj.conv2d(X, WEIGHT))
