"""The autograd adapter: every operator against the registry's, differentiated twice, amid autograd.numpy."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from operator_cases import CASES, make

from fastconv import operators
from fastconv.operators import REGISTRY, Operator

autograd = pytest.importorskip("autograd", reason="needs autograd")
import autograd.numpy as anp  # noqa: E402
from autograd.test_util import check_grads  # noqa: E402

import fastconv.autograd as fa  # noqa: E402

X, WEIGHT = np.ones((2, 4, 6, 6)), np.ones((3, 4, 3, 3))


def smooth(op: Operator, options: dict[str, Any], arrays: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The first result as a function of the arrays that have a gradient, and those."""
    chosen = [name for name in op.gradients if arrays[name] is not None]

    def function(*values: Any) -> Any:
        made = fa._differentiable(op, tuple({**arrays, **dict(zip(chosen, values))}.values()), options)
        return made[0] if len(op.results) > 1 else made

    return function, [arrays[name] for name in chosen]


@pytest.mark.parametrize(("name", "layout", "batched", "given"), CASES)
def test_gradients_twice(name: str, layout: str, batched: bool, given: dict[str, Any]) -> None:
    op = operators.get(name)
    arrays, options = make(op, layout, batched, given)
    function, values = smooth(op, options, arrays)
    wanted = op.forward(*arrays.values(), **options)
    np.testing.assert_array_equal(function(*values), wanted[0] if isinstance(wanted, tuple) else wanted)
    np.random.seed(0)  # check_grads draws directions from it  # noqa: NPY002
    for position, value in enumerate(values):

        def along(v: Any, position: int = position) -> Any:
            return function(*values[:position], v, *values[position + 1 :])

        check_grads(along, modes=["rev"], order=2)(value)


def test_several_arguments_at_once() -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal(X.shape), rng.standard_normal(WEIGHT.shape), rng.standard_normal(3)

    def loss(x: Any, weight: Any, bias: Any) -> Any:
        y = anp.tanh(fa.conv2d(x, weight, bias, stride=2, padding=1))
        return anp.sum(fa.max_pool2d(y * y, 2) + anp.exp(fa.avg_pool2d(y, 2)))

    check_grads(lambda v: loss(*v), modes=["rev"], order=1)((x, weight, bias))
    both = autograd.grad(loss, (0, 2))(x, weight, bias)
    for position, gradient in zip((0, 2), both):
        np.testing.assert_array_equal(gradient, autograd.grad(loss, position)(x, weight, bias))


def test_what_came_with_indices_goes_back_where_it_was() -> None:
    rng = np.random.default_rng(0)
    x = rng.permutation(2 * 4 * 36).reshape(X.shape) * 0.1

    def there_and_back(x: Any) -> Any:
        y, indices = fa.max_pool2d_with_indices(x, 2)
        return fa.max_unpool2d(y, indices, 2)

    check_grads(there_and_back, modes=["rev"], order=2)(x)
    gradient = autograd.grad(lambda x: anp.sum(there_and_back(x)))(x)
    np.testing.assert_array_equal(gradient, there_and_back(x) != 0)


def test_hessian_of_a_layer() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 2, 4, 4)), rng.standard_normal((1, 2, 2, 2))
    hessian = autograd.hessian(lambda w: anp.sum(fa.conv2d(x, w) ** 2))(weight).reshape(8, 8)
    windows = (
        np.lib.stride_tricks.sliding_window_view(x[0], (2, 2), (1, 2)).transpose(1, 2, 0, 3, 4).reshape(9, 8)
    )
    np.testing.assert_allclose(hessian, 2 * windows.T @ windows, rtol=1e-12)


def test_gradients_have_the_dtype_of_what_they_are_of() -> None:
    x, weight = X.astype(np.float32), WEIGHT.astype(np.float32)
    scale = np.float64(2) * np.ones((2, 3, 4, 4))
    for gradient in autograd.grad(lambda x, w: anp.sum(scale * fa.conv2d(x, w)), (0, 1))(x, weight):
        assert gradient.dtype == np.float32


@pytest.mark.parametrize("differentiated", [False, True])
@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda x: fa.conv2d([[1.0]], WEIGHT), TypeError, "x must be an array, got list"),
        (lambda x: fa.conv2d(x, None), TypeError, "weight must be an array"),
        (lambda x: fa.conv2d(x, WEIGHT.astype(int)), TypeError, "int64"),
        (lambda x: fa.conv2d(x, WEIGHT.astype(np.float32)), TypeError, "float32"),
        (lambda x: fa.conv2d(x, WEIGHT[:, :3]), ValueError, "channels"),
        (lambda x: fa.conv2d(x, WEIGHT, stride=0), ValueError, "stride"),
        (lambda x: fa.conv2d(x, WEIGHT, out=x), TypeError, "out"),
        (lambda x: fa.max_pool2d(x, 7), ValueError, "kernel_size"),
        (lambda x: fa.stochastic_pool2d(-x, 2), ValueError, "negative"),
        (lambda x: fa.nothing_like_that(x), AttributeError, "nothing_like_that"),
    ],
)
def test_bad_input_is_refused_as_by_numpy(run: Any, error: Any, message: str, differentiated: bool) -> None:
    with pytest.raises(error, match=message):
        autograd.grad(lambda x: anp.sum(run(x)))(X) if differentiated else run(X)


def test_what_has_no_gradient_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = operators.get("conv2d")
    entry = {**vars(conv), "name": "fixed_conv2d", "gradients": {"x": conv.gradients["x"]}}
    entry.pop("signature", None)
    monkeypatch.setitem(REGISTRY, "fixed_conv2d", Operator(**entry))
    with pytest.raises(NotImplementedError, match=r"fixed_conv2d.*weight"):
        autograd.grad(lambda weight: anp.sum(fa.fixed_conv2d(X, weight)))(WEIGHT)


def test_a_new_entry_is_there_without_an_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {**vars(operators.get("conv2d")), "name": "another_conv2d"}
    entry.pop("signature", None)
    monkeypatch.setitem(REGISTRY, "another_conv2d", Operator(**entry))
    gradients = (
        autograd.grad(lambda w: anp.sum(conv(X, w, padding="same") ** 2))(WEIGHT)  # noqa: B023
        for conv in (fa.another_conv2d, fa.conv2d)
    )
    np.testing.assert_array_equal(*gradients)


def test_functions_introduce_themselves() -> None:
    assert set(dir(fa)) == set(REGISTRY)
    assert list(inspect.signature(fa.conv2d).parameters)[:3] == ["x", "weight", "bias"]
    assert "`x`, `weight`, `bias`" in (fa.conv2d.__doc__ or "")
    assert fa.conv2d is fa.conv2d
