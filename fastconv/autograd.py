"""fastconv for autograd: every operator of the registry as a primitive that autograd differentiates.

Functions have the names and options of the NumPy ones, without ``out`` and ``algorithm``, and are made from
`fastconv.operators.REGISTRY` when they are first asked for.  They go together with those of `autograd.numpy`.

>>> import autograd
>>> import autograd.numpy as np
>>> import fastconv.autograd
>>> x, weight = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
>>> loss = lambda weight: np.sum(fastconv.autograd.conv2d(x, weight, padding="same"))
>>> autograd.grad(loss)(weight)
array([[[[ 9., 12.,  9.],
         [12., 16., 12.],
         [ 9., 12.,  9.]]]])
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp_argnums, primitive
from autograd.tracer import getval, isbox

from fastconv.operators import Argument, Call, Operator, get
from fastconv.operators.adapter import module_attributes


class _Autograd:
    """What the rules of gradients are written in."""

    xp: Any = anp

    def __call__(self, name: str, *arrays: Any, **options: Any) -> Any:
        return _differentiable(get(name), arrays, options)


def _public(operator: Operator) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        arrays, options = operator.bind(*args, **kwargs)
        return _differentiable(operator, tuple(arrays.values()), options)

    return call


__getattr__, __dir__ = module_attributes(__name__, "NumPy", _public)


def _differentiable(operator: Operator, arrays: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call an operator, or the one that makes its gradient cheap if autograd is watching."""
    arrays = tuple(_constant(operator, a, array) for a, array in zip(operator.arrays, arrays))
    if operator.graded is None or not any(map(isbox, arrays)):
        return _primitive(operator.name)(*arrays, **options)
    results = _primitive(operator.graded)(*arrays, **options)
    return results[0] if len(operator.results) == 1 else results


def _constant(operator: Operator, argument: Argument, array: Any) -> Any:
    """Take what has no gradient for a constant: indices are one; for the rest, none is better than zero."""
    if argument.name in operator.gradients or not isbox(array):
        return array
    if argument.dtype is None:
        raise NotImplementedError(
            f"{operator.name} cannot be differentiated with respect to {argument.name}"
        )
    return getval(array)


@cache
def _primitive(name: str) -> Callable[..., Any]:
    """Make autograd's primitive of an operator; several results are a tuple."""
    operator = get(name)
    names = [a.name for a in operator.arrays]

    def forward(*arrays: Any, **options: Any) -> Any:
        return operator.forward(*arrays, **options)

    def gradients(
        positions: tuple[int, ...], result: Any, arrays: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        shapes = {key: np.shape(x) for key, x in zip(names, arrays) if x is not None}
        results = result if len(operator.results) > 1 else (result,)
        values = dict(zip((*names, *(a.name for a in operator.results)), (*arrays, *results)))
        call = Call(values, shapes, options)

        def backward(grad: Any) -> tuple[Any, ...]:
            first = grad[0] if len(operator.results) > 1 else grad
            if first.dtype != results[0].dtype:  # autograd promotes: a float32 loss times a float64 is one
                first = first.astype(results[0].dtype)
            return tuple(operator.gradients[names[i]].rule(_Autograd(), first, call) for i in positions)

        return backward

    forward.__name__ = forward.__qualname__ = name
    made: Callable[..., Any] = primitive(forward)
    defvjp_argnums(made, gradients)
    return made
