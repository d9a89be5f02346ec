"""fastconv for JAX: every operator of the registry as a function that `jit`, `grad` and `vmap` know.

Functions have the names and options of the NumPy ones, without ``out`` and ``algorithm``, and are made from
`fastconv.operators.REGISTRY` when they are first asked for.  Compiled programs reach the operators through
XLA's foreign function interface (fastconv/_xla.py), on the program's own buffers.

>>> import jax
>>> import jax.numpy as jnp
>>> import fastconv.jax
>>> x, weight = jnp.ones((1, 1, 4, 4)), jnp.ones((1, 1, 3, 3))
>>> loss = lambda weight: fastconv.jax.conv2d(x, weight, padding="same").sum()
>>> jax.jit(jax.grad(loss))(weight)
Array([[[[ 9., 12.,  9.],
         [12., 16., 12.],
         [ 9., 12.,  9.]]]], dtype=float32)
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from fastconv import _core, _xla
from fastconv.operators import Call, Operator, Spec, get
from fastconv.operators.adapter import module_attributes

# An operator's canonical options, hashable: what `jit` compiles a program for.
Options = tuple[tuple[str, Any], ...]
Arrays = Sequence[Any]


class _Jax:
    """What the rules of gradients are written in."""

    xp: Any = jnp

    def __call__(self, name: str, *arrays: Any, **options: Any) -> Any:
        return _differentiable(name)(tuple(options.items()), *arrays)


def _public(operator: Operator) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        arrays, options = operator.bind(*args, **kwargs)
        return _differentiable(operator.name)(tuple(options.items()), *_of_one_dtype(operator, arrays))

    return call


__getattr__, __dir__ = module_attributes(__name__, "JAX", _public)


def _of_one_dtype(operator: Operator, arrays: Mapping[str, Any]) -> list[Any]:
    """Refuse dtypes that the operator does not take, as jax.lax does, and convert weak types."""
    own = {argument.name: argument.dtype for argument in operator.arrays if argument.dtype is not None}
    values = {name: jnp.asarray(array) for name, array in arrays.items() if array is not None}
    floats = {name: array for name, array in values.items() if name not in own}
    dtypes = [array.dtype for array in sorted(floats.values(), key=lambda array: array.weak_type)]
    for name, array in floats.items():
        if array.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"{operator.name} does not accept {name} of dtype {array.dtype}: it takes float32 and "
                f"float64, cast with {name}.astype(jnp.float32)"
            )
        if array.weak_type:
            values[name] = array.astype(dtypes[0])
        elif array.dtype != dtypes[0]:
            raise TypeError(
                f"{operator.name} requires arguments of one dtype, got "
                + ", ".join(f"{n} of {a.dtype}" for n, a in floats.items())
            )
    for name, dtype in own.items():
        if name in values and values[name].dtype.kind != np.dtype(dtype).kind:
            raise TypeError(f"{operator.name} does not accept {name} of dtype {values[name].dtype}")
    for name in floats.keys() - operator.gradients.keys():
        values[name] = _constant(operator.name, name)(values[name])
    return [values.get(name) for name in arrays]


@cache
def _constant(operator: str, name: str) -> Callable[[Any], Any]:
    """Make the identity that cannot be differentiated: no gradient is better than a wrong one of zero."""
    identity = jax.custom_jvp(lambda array: array)

    def refuse(arrays: tuple[Any], tangents: tuple[Any]) -> NoReturn:
        raise NotImplementedError(f"{operator} cannot be differentiated with respect to {name}")

    identity.defjvp(refuse)
    made: Callable[[Any], Any] = identity
    return made


# --- Differentiation ------------------------------------------------------------------------------------


@jax.tree_util.register_pytree_node_class
class _Saved:
    """What a gradient needs of its call: arrays, and the shapes of all arguments."""

    def __init__(self, arrays: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
        self.arrays, self.shapes = arrays, shapes

    def tree_flatten(self) -> tuple[tuple[Any], Any]:
        return (self.arrays,), tuple(self.shapes.items())

    @classmethod
    def tree_unflatten(cls, shapes: Any, children: tuple[dict[str, Any]]) -> _Saved:
        return cls(children[0], dict(shapes))


@cache
def _differentiable(name: str) -> Callable[..., Any]:
    """Make the function ``(options, *arrays)`` of an operator, with its gradients."""
    operator = get(name)
    recorded = get(operator.graded or name)  # called instead where a gradient is asked for
    needed = {saved for gradient in recorded.gradients.values() for saved in gradient.saves}

    def primal(options: Options, *arrays: Any) -> Any:
        return _batchable(operator, options, arrays)

    def forward(options: Options, *arrays: Any) -> tuple[Any, _Saved]:
        results = _differentiable(recorded.name)(options, *arrays)
        every = results if isinstance(results, tuple) else (results,)
        values = dict(zip((a.name for a in (*recorded.arrays, *recorded.results)), (*arrays, *every)))
        shapes = {a.name: np.shape(x) for a, x in zip(recorded.arrays, arrays) if x is not None}
        saved = _Saved({key: values[key] for key in sorted(needed)}, shapes)
        return (every[0] if len(operator.results) == 1 else every), saved

    def backward(options: Options, saved: _Saved, gradients: Any) -> tuple[Any, ...]:
        gradient = gradients[0] if isinstance(gradients, tuple) else gradients
        call = Call(saved.arrays, saved.shapes, dict(options))
        return tuple(
            recorded.gradients[a.name].rule(_Jax(), gradient, call)
            if a.name in saved.shapes and a.name in recorded.gradients
            else None
            for a in recorded.arrays
        )

    for function in (primal, forward, backward):
        function.__name__ = function.__qualname__ = (
            name if function is primal else f"{name}_{function.__name__}"
        )
    differentiable = jax.custom_vjp(primal, nondiff_argnums=(0,))
    differentiable.defvjp(forward, backward)
    compiled: Callable[..., Any] = jax.jit(differentiable, static_argnums=0)
    return compiled


# --- Batching -------------------------------------------------------------------------------------------


def _batchable(operator: Operator, options: Options, arrays: Arrays) -> Any:
    """Call an operator so that `vmap` folds its axis into the batch, or loops where it cannot."""
    absent = tuple(i for i, array in enumerate(arrays) if array is None)

    def with_absent(present: Arrays) -> list[Any]:
        every = list(present)
        for position in absent:
            every.insert(position, None)
        return every

    def call(*present: Any) -> Any:
        return _compiled(operator, options, with_absent(present))

    def batched(size: int, in_batched: Sequence[bool], *present: Any) -> tuple[Any, Any]:
        mapped = [False if array is None else flag for array, flag in zip(arrays, with_absent(in_batched))]
        if operator.folds([a.name for a, flag in zip(operator.arrays, mapped) if flag]):
            results = _folded(operator, options, size, with_absent(present), mapped)
        else:
            results = _looped(operator, options, with_absent(present), mapped)
        return results, jax.tree.map(lambda _: True, results)

    batchable = custom_vmap(call)
    batchable.def_vmap(batched)
    return batchable(*(array for array in arrays if array is not None))


def _folded(operator: Operator, options: Options, size: int, arrays: Arrays, mapped: Sequence[bool]) -> Any:
    """One call for all of a mapped axis, which comes first: images with a batch have it times `size`."""
    images = [a.role == "image" for a in operator.arrays]
    first = images.index(True)
    rank = arrays[first].ndim - mapped[first]
    has_batch = rank == operator.spatial + 2

    def fold(array: Any, is_mapped: bool) -> Any:
        every = array if is_mapped else jnp.broadcast_to(array, (size, *array.shape))
        return every.reshape(-1, *every.shape[2:]) if has_batch else every

    def fold_option(name: str, value: Any) -> Any:
        if operator.options[name] != "image_shape":
            return value
        return (size * value[0], *value[1:]) if has_batch else (size, *value)

    folded = [fold(a, flag) if image else a for a, flag, image in zip(arrays, mapped, images)]
    results = _batchable(operator, tuple((key, fold_option(key, value)) for key, value in options), folded)
    return jax.tree.map(lambda y: y.reshape(size, -1, *y.shape[1:]) if has_batch else y, results)


def _looped(operator: Operator, options: Options, arrays: Arrays, mapped: Sequence[bool]) -> Any:
    """One call after the other."""

    def one(slices: Arrays) -> Any:
        rest = iter(slices)
        return _batchable(operator, options, [next(rest) if flag else a for a, flag in zip(arrays, mapped)])

    return jax.lax.map(one, [a for a, flag in zip(arrays, mapped) if flag])


# --- Compiled programs ----------------------------------------------------------------------------------


def _compiled(operator: Operator, options: Options, arrays: Arrays) -> Any:
    """Put a call into the program that is being traced; what does not fit together is refused here."""
    specs = {a.name: Spec(x.shape, x.dtype) for a, x in zip(operator.arrays, arrays) if x is not None}
    made = [
        jax.ShapeDtypeStruct(spec.shape, jax.dtypes.canonicalize_dtype(spec.dtype))
        for spec in operator.shape(specs, dict(options))
    ]
    description = _xla.describe(operator, dict(options), arrays, made)
    _xla.read(description.encode())
    results = made[0] if len(made) == 1 else tuple(made)
    present = [array for array in arrays if array is not None]
    if transport() == "ffi":
        return jax.ffi.ffi_call(_xla.TARGET, results, vmap_method="sequential")(*present, call=description)
    back = partial(_called_back, description.encode(), made)
    return jax.pure_callback(back, results, *present, vmap_method="sequential")


def _called_back(description: bytes, made: Sequence[jax.ShapeDtypeStruct], *arrays: Any) -> Any:
    """Do as the handler does, with arrays that JAX made of the buffers."""
    prepared = _xla.read(description)
    inputs = [np.ascontiguousarray(array) for array in arrays]
    outs = [np.empty(spec.shape, spec.dtype) for spec in made]
    addresses = [array.ctypes.data for array in inputs]
    for position in prepared.absent:
        addresses.insert(position, 0)
    prepared.compute(*addresses, *(out.ctypes.data for out in outs))
    return outs[0] if len(outs) == 1 else tuple(outs)


@cache
def transport() -> str:
    """Return how compiled programs reach fastconv, in this version of JAX.

    Returns
    -------
    str
        ``"ffi"``, or ``"callback"`` where XLA's foreign function interface is one that is not known here.
    """
    try:
        jax.devices("cpu")  # targets are looked at when there is a device, not before
        jax.ffi.register_ffi_target(_xla.TARGET, jax.ffi.pycapsule(_xla.ADDRESS), platform="cpu")
    except Exception:
        return "callback"
    return "ffi"


# Computations that nobody waits for may still be under way when the interpreter ends; JAX, imported first,
# lets go of its runtime after this.
atexit.register(_core.xla_close)
