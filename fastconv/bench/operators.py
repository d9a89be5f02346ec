"""The operators that are measured: layers, operands, contenders; and how layers are picked.  For run.py.

To measure another one, add its adapters in a file of their own and a line to `OPERATORS`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastconv.bench.contender import Entry, Peer, Tensors
from fastconv.bench.gradients import FastconvGradient, TorchGradient, Which
from fastconv.bench.layers import Case, Layer, Pool
from fastconv.bench.networks import NETWORKS, POOLINGS, QUICK
from fastconv.bench.peers import PEERS, Fastconv
from fastconv.bench.pooling import FastconvPool, TorchPool, What

MOST_FLOPS = 8e9
MOST_BYTES = 256 << 20
"""What one row of a batch may have under ``--all``: operations, and bytes of float32 operands and result."""


@dataclass(frozen=True)
class Operator:
    """One kind of computation.

    Attributes
    ----------
    name : str
        As ``--operator`` takes it.
    layers : mapping of str to sequence of Case
        By network.
    tensors : callable
        Makes the operands of a layer and a dtype.
    depth : callable
        How many terms make one element of the result: what its rounding grows with.
    ours : callable
        Makes fastconv's contenders for a layout, a number of threads and an algorithm.
    peers : mapping of str to Entry
        The others that compute it.
    """

    name: str
    layers: Mapping[str, Sequence[Any]]
    tensors: Callable[[Any, str], Tensors]
    depth: Callable[[Any], int]
    ours: Callable[[str, int, str], list[Peer[Any]]]
    peers: Mapping[str, Entry]

    @property
    def has_weights(self) -> bool:
        """Whether its layers are convolutions."""
        return self.layers is NETWORKS


@dataclass(frozen=True)
class Task:
    """One row to measure."""

    operator: Operator
    layer: Any
    threads: int = 1
    layout: str = "NCHW"


def _gaussian(shape: Sequence[int], dtype: str, seed: int, scale: float = 1.0) -> Any:
    """Random numbers, the same at every run."""
    real = np.float64 if dtype == "float64" else np.float32
    return np.random.default_rng(seed).standard_normal(shape, real) * real(scale)


def conv_tensors(layer: Layer, dtype: str) -> Tensors:
    """Gaussian operands of a convolution, weights scaled to keep the variance."""
    bias = _gaussian((layer.out_channels,), dtype, 3) if layer.bias else None
    weight = _gaussian(layer.weight_shape, dtype, 2, layer.depth**-0.5)
    return Tensors(_gaussian(layer.x_shape, dtype, 1), weight, bias)


def conv_grad_tensors(layer: Layer, dtype: str) -> Tensors:
    """Those, and the gradient with respect to the output."""
    return replace(conv_tensors(layer, dtype), grad=_gaussian(layer.y_shape, dtype, 4))


def pool_tensors(layer: Pool, dtype: str) -> Tensors:
    """A Gaussian image."""
    return Tensors(_gaussian(layer.x_shape, dtype, 1))


def pool_grad_tensors(layer: Pool, dtype: str) -> Tensors:
    """That, and the gradient with respect to the output."""
    return Tensors(_gaussian(layer.x_shape, dtype, 1), grad=_gaussian(layer.y_shape, dtype, 4))


def _forward(layout: str, threads: int, algorithm: str) -> list[Peer[Any]]:
    ours: list[Peer[Any]] = [
        Fastconv(layout, threads, prepared=prepared, algorithm=algorithm) for prepared in (False, True)
    ]
    if threads > 1:
        ours.append(Fastconv(layout, 1, prepared=True, algorithm=algorithm, name="alone"))
    return ours


def _on(threads: int) -> dict[str, int]:
    """Names of the contenders of an operator that has no plans, with their threads."""
    return {"call": threads} | ({"alone": 1} if threads > 1 else {})


def _gradient(which: Which) -> Callable[[str, int, str], list[Peer[Any]]]:
    return lambda layout, threads, algorithm: [
        FastconvGradient(which, layout, n, algorithm=algorithm, name=name) for name, n in _on(threads).items()
    ]


def _pool(what: What) -> Callable[[str, int, str], list[Peer[Any]]]:
    return lambda layout, threads, algorithm: [
        FastconvPool(layout, n, what=what, name=name) for name, n in _on(threads).items()
    ]


def _torch(make: Callable[..., Peer[Any]]) -> dict[str, Entry]:
    return {
        "torch": Entry("torch", (), lambda threads: make(threads)),
        "torch-nhwc": Entry("torch", (), lambda threads: make(threads, channels_last=True)),
    }


def _conv_gradient(name: str, which: Which, depth: Callable[[Layer], int]) -> Operator:
    peers = _torch(lambda threads, **options: TorchGradient(which, threads, **options))
    return Operator(name, NETWORKS, conv_grad_tensors, depth, _gradient(which), peers)


def _pooling(
    name: str,
    what: What,
    tensors: Callable[[Pool, str], Tensors],
    layers: Mapping[str, Sequence[Pool]] = POOLINGS,
) -> Operator:
    peers = _torch(lambda threads, **options: TorchPool(threads, what=what, **options))
    return Operator(name, layers, tensors, lambda layer: layer.depth, _pool(what), peers)


def _pixels(layer: Layer) -> int:
    return layer.batch * layer.out_size[0] * layer.out_size[1]


_MAXIMA = {
    network: maxima
    for network, pools in POOLINGS.items()
    if (maxima := tuple(pool for pool in pools if "max" in pool.kind))
}

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator("forward", NETWORKS, conv_tensors, lambda layer: layer.depth, _forward, PEERS),
        _conv_gradient("input_grad", "input", lambda layer: layer.out_channels // layer.groups * layer.taps),
        _conv_gradient("weight_grad", "weight", _pixels),
        _conv_gradient("bias_grad", "bias", _pixels),
        _pooling("pool", "result", pool_tensors),
        _pooling("pool_indices", "indices", pool_tensors, _MAXIMA),
        _pooling("pool_grad", "gradient", pool_grad_tensors),
    )
}
"""By the name that ``--operator`` takes."""


def _shape(layer: Any) -> Any:
    """What makes two layers the same to measure: neither where they are from, nor the bias."""
    plain = {"bias": False} if isinstance(layer, Layer) else {}
    return replace(layer, network="", name="", count=1, **plain)


def select(
    operator: Operator,
    networks: Iterable[str],
    pattern: str = "",
    batches: Iterable[int] = (1,),
    *,
    quick: bool = False,
    distinct: bool = False,
    limited: bool = False,
) -> tuple[list[Any], list[Any]]:
    """Pick the layers to measure.

    Parameters
    ----------
    operator : Operator
        Whose layers.
    networks : iterable of str
        Names of networks; those without such layers have none.
    pattern : str
        A regular expression searched for in "network.name description".
    batches : iterable of int
        Batch sizes; each layer is taken once with each.
    quick : bool
        Only the layers of `QUICK`.
    distinct : bool
        A shape that several networks have only once, as the first one's.
    limited : bool
        Leave out batches beyond `MOST_FLOPS` or `MOST_BYTES`.

    Returns
    -------
    chosen, too_large : list of Case

    Examples
    --------
    >>> [layer.full_name for layer in select(OPERATORS["forward"], ["vgg16"], "512->512")[0]]
    ['vgg16.conv4_2', 'vgg16.conv5_1']
    """
    wanted = re.compile(pattern)
    chosen: list[Any] = []
    too_large: list[Any] = []
    seen: set[Any] = set()
    for batch in batches:
        for network in networks:
            for one in operator.layers.get(network, ()):
                layer = replace(one, batch=batch)
                if not wanted.search(f"{layer.full_name} {layer.describe()}"):
                    continue
                if quick and layer.full_name not in QUICK:
                    continue
                if distinct and _shape(layer) in seen:
                    continue
                seen.add(_shape(layer))
                large = limited and batch > 1 and _is_large(layer)
                (too_large if large else chosen).append(layer)
    return chosen, too_large


def _is_large(layer: Case) -> bool:
    return layer.flops > MOST_FLOPS or layer.elements * 4 > MOST_BYTES


def sample(tasks: Sequence[Task], size: int) -> list[Task]:
    """Pick some at random, the same ones every time, in their order.

    Examples
    --------
    >>> tasks = [Task(OPERATORS["pool"], None, threads) for threads in range(9)]
    >>> [task.threads for task in sample(tasks, 3)] == [task.threads for task in sample(tasks, 3)]
    True
    >>> len(sample(tasks, 100))
    9
    """
    if size >= len(tasks):
        return list(tasks)
    places = random.Random(2024).sample(range(len(tasks)), size)
    return [tasks[place] for place in sorted(places)]
