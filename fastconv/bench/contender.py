"""What a contender of the benchmark is, and how those installed are found: for the adapters and run.py."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fastconv.bench.layers import Case

Array = np.ndarray[Any, Any]
L = TypeVar("L", bound=Case, contravariant=True)


def _none() -> Array:
    return np.empty(0, np.float32)


@dataclass(frozen=True)
class Tensors:
    """The operands of one row, contiguous, channels first; no bias is None, and what has no place is empty.

    `grad` is the gradient with respect to the output.
    """

    x: Array
    weight: Array = field(default_factory=_none)
    bias: Array | None = None
    grad: Array = field(default_factory=_none)

    def magnitudes(self) -> Tensors:
        """The same without signs."""
        bias = None if self.bias is None else abs(self.bias)
        return Tensors(abs(self.x), abs(self.weight), bias, abs(self.grad))


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Job:
    """One row ready to be timed by one contender.

    Attributes
    ----------
    run : callable
        What is timed.
    output : callable
        ``output(run())`` is the result as an array, channels first.
    algorithm : str or None
        How it is computed, where that is known.
    before : callable
        Called before each block of calls, untimed: sets what is global to a library.
    """

    run: Callable[[], Any]
    output: Callable[[Any], Array]
    algorithm: str | None = None
    before: Callable[[], None] = _nothing


class Peer(Protocol[L]):
    """What an adapter is.

    Attributes
    ----------
    name : str
        Heading of its column.
    prepared : bool
        Whether weights are transformed before the clock starts; else each call gets them plain.
    version : str
        The library's.
    """

    name: str
    prepared: bool
    version: str

    def refuse(self, layer: L, dtype: str) -> str | None:
        """Say why it cannot compute this layer, or None."""

    def prepare(self, layer: L, tensors: Tensors) -> Job:
        """Do all that need not be done again for each input."""


class Entry(NamedTuple):
    """How a peer is found: its module, what else the adapter imports, how to make it for so many threads."""

    module: str
    needs: tuple[str, ...]
    make: Callable[[int], Peer[Any]]


def find(
    peers: Mapping[str, Entry], names: Sequence[str], threads: int
) -> tuple[list[Peer[Any]], dict[str, str]]:
    """Make an adapter of each peer that can be imported.

    Parameters
    ----------
    peers : mapping of str to Entry
        Those that compute the operator.
    names : sequence of str
        Those wanted; names that `peers` lacks are passed over.
    threads : int
        How many threads each may use.

    Returns
    -------
    found : list of Peer
    absent : dict
        Why each other one is left out.
    """
    found: list[Peer[Any]] = []
    absent: dict[str, str] = {}
    for name in names:
        if name not in peers:
            continue
        entry = peers[name]
        missing = [
            wanted for wanted in (entry.module, *entry.needs) if importlib.util.find_spec(wanted) is None
        ]
        if missing:
            absent[name] = f"not installed ({', '.join(missing)})"
            continue
        try:
            found.append(entry.make(threads))
        except Exception as error:  # a broken installation of a peer is no reason to stop
            absent[name] = f"does not import: {error}"
    return found, absent


def to_layout(array: Array, layout: str) -> Array:
    """Bring an array, channels first, into a layout, contiguous."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if layout == "NHWC" else array


def from_layout(layout: str) -> Callable[[Array], Array]:
    """Make what brings a result back to channels first."""
    return (lambda y: y.transpose(0, 3, 1, 2)) if layout == "NHWC" else (lambda y: y)


class FastconvBase:
    """What fastconv's adapters share: the layout of their arrays and the number of threads."""

    def __init__(self, name: str, layout: str, threads: int, *, prepared: bool) -> None:
        import fastconv

        self.fastconv = fastconv
        self.layout = layout
        self.name = name
        self.prepared = prepared
        self.version = fastconv.__version__
        self._threads = threads

    def before(self) -> None:
        """Set the threads of the process."""
        self.fastconv.set_num_threads(self._threads)


class TorchBase:
    """What PyTorch's adapters share: inference mode, one of its two memory formats, the threads."""

    prepared = False

    def __init__(self, threads: int, *, channels_last: bool = False) -> None:
        import torch

        self.torch = torch
        self.name = "torch NHWC" if channels_last else "torch"
        self.version = torch.__version__
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._threads = threads

    def before(self) -> None:
        """Set the threads of the process."""
        self.torch.set_num_threads(self._threads)

    def tensor(self, array: Array) -> Any:
        """Bring an array into the memory format."""
        return self.torch.from_numpy(array).contiguous(memory_format=self._format)

    def job(self, function: Callable[..., Any], *args: Any) -> Job:
        """Time a call of a function without recording for gradients."""
        inference = self.torch.inference_mode

        def run() -> Any:
            with inference():
                return function(*args)

        return Job(run, lambda y: y.contiguous().numpy(), before=self.before)
