"""Evaluation of whole regions of a model: convolutions with normalisation, activation and residual sums.

convert.py puts a `Region` in front of a model's forward.  At its first evaluation without gradients the
region is traced symbolically, which proves for every convolution who reads its result; where only a
normalisation, then only an activation does, the three become one prepared call.  A region whose forward
cannot be traced is given up for those below it, down to single layers, which are never wrong.  What a trace
cannot see is checked:

- before every call: that no layer was replaced, hooked, given another class or forward, or put into training,
  that no number that forward may read has changed;
- at the first call: that the region computes what its layers compute one by one.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as hooks
from torch.utils import _pytree as pytree

from fastconv.torch.modes import unwatched
from fastconv.torch.modules import OURS, Conv1d, Conv2d, Conv3d
from fastconv.torch.prepared import Prepared

__all__ = ["Region"]

NORMS: dict[type[nn.Module], type[nn.Module]] = {
    Conv1d: nn.BatchNorm1d,
    Conv2d: nn.BatchNorm2d,
    Conv3d: nn.BatchNorm3d,
}
LAYERS = frozenset(OURS.values())
RELU = {torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_}
# What does nothing in evaluation mode.
NOTHING = {nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d}
ADD = {operator.add, operator.iadd, torch.add}
SCALARS = (bool, int, float, str, type(None), torch.dtype)
NOT_READ = frozenset(nn.Module().__dict__)
# The largest difference, over the largest value, that folding in another order explains; see Region.verify.
TOLERANCE = 1e-3
# A region that keeps changing is given up after so many.
MOST_TRACES = 4

_grad_enabled = torch.is_grad_enabled


_ONE_TRACE = threading.Lock()  # a trace patches torch.nn.Module, and moves regions, while it lasts


class Unsound(Exception):
    """A region cannot be proved to be what its graph says."""


class _Tracer(fx.Tracer):
    """Goes into everything but torch's layers and ours.

    While it traces, every call of any module asks it what to do: those of other threads are let through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _is_leaf(m)


class Region:
    """What stands in for the forward of a module: its graph where that holds, else the module's own."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self.traced: tuple[Callable[..., Any], Guard] | None = None  # replaced as one: threads may be calling
        self.traces = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}  # the graph is made anew where it is needed

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])  # type: ignore[misc]

    @property
    def __code__(self) -> Any:  # which torch.export asks a forward for
        forward: Any = type(self.root).forward
        return forward.__code__

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The module's own forward, whose signature this has."""
        forward: Callable[..., Any] = type(self.root).forward.__get__(self.root)
        return forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the region."""
        if self.root.training or _grad_enabled() or not unwatched():
            return self.__wrapped__(*args, **kwargs)
        traced = self.traced
        if traced is None or not traced[1].holds():
            return self.begin(args, kwargs)
        return traced[0](*args, **kwargs)

    def begin(self, args: Any, kwargs: Any) -> Any:
        """Trace, and compute in both ways; or give the region up for those below."""
        wanted = self.__wrapped__(*args, **kwargs)
        # Who finds another at it, or itself within a trace, computes layer by layer this time: a trace goes
        # through forwards that lead back here.
        if _ONE_TRACE.acquire(blocking=False):
            try:
                if self.traced is None or not self.traced[1].holds():
                    self.traced = self.prove(args, kwargs, wanted)
            finally:
                _ONE_TRACE.release()
        return wanted

    def prove(self, args: Any, kwargs: Any, wanted: Any) -> tuple[Callable[..., Any], Guard] | None:
        """Return a graph that makes what is wanted, and what must stay as it is for that."""
        if not _is_quiet(self.root):
            return None
        self.traces += 1
        try:
            if self.traces > MOST_TRACES:
                raise Unsound
            graph = trace(self.root)
            guard = Guard(self.root)
            if not agree(graph(*args, **kwargs), wanted):
                raise Unsound
        except Exception:  # whatever a user's forward raises when it is given symbols
            self.give_up()
            return None
        return graph, guard

    def give_up(self) -> None:
        """Let each child be a region of its own."""
        detach(self.root)
        for child in self.root.children():
            attach(child)


def attach(module: nn.Module) -> None:
    """Put a region in front of a module's forward, if there is anything below it to fuse."""
    if type(module) not in NORMS and any(type(m) in NORMS for m in module.modules()):
        module.__dict__.setdefault("forward", Region(module))


def detach(module: nn.Module) -> None:
    """Give a module its own forward back."""
    if isinstance(module.__dict__.get("forward"), Region):
        del module.__dict__["forward"]


# --- What must stay as it was when a region was traced ---------------------------------------------------


class Guard:
    """The state of a region's modules that a trace takes for granted."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        modules = tuple(root.modules())
        self.below = [(m, type(m), m.__dict__) for m in modules if m is not root]
        owners = [m for m in modules if not _is_leaf(m)]
        self.children = [(m._modules, tuple(m._modules.values())) for m in owners]
        numbers = [(m.__dict__, [k for k, v in m.__dict__.items() if _is_number(k, v)]) for m in owners]
        self.numbers = [(have, k, have[k]) for have, names in numbers for k in names]

    def holds(self) -> bool:
        """Return whether nothing has changed."""
        return (
            not _is_loud(self.root)
            and not any(
                have["training"]
                or have["_forward_hooks"]
                or have["_forward_pre_hooks"]
                or "forward" in have
                or type(m) is not kind
                for m, kind, have in self.below
            )
            and not hooks._global_forward_hooks
            and not hooks._global_forward_pre_hooks
            and all(tuple(have.values()) == had for have, had in self.children)
            and all(have.get(name) == had for have, name, had in self.numbers)
        )


def _is_loud(m: nn.Module) -> bool:
    """Whether a module trains, has somebody to tell of its calls, or a forward of its own."""
    own = m.__dict__.get("forward")
    return (
        m.training
        or bool(m._forward_hooks)
        or bool(m._forward_pre_hooks)
        or not (own is None or isinstance(own, Region))
    )


def _is_quiet(root: nn.Module) -> bool:
    return not any(map(_is_loud, root.modules()))


def _is_leaf(m: nn.Module) -> bool:
    return fx.Tracer().is_leaf_module(m, "") or type(m) in LAYERS


def _is_number(name: str, value: Any) -> bool:
    """Whether forward may have read an attribute and decided by it."""
    if name in NOT_READ:
        return False
    if isinstance(value, tuple):
        return all(isinstance(item, SCALARS) for item in value)
    return isinstance(value, SCALARS)


def agree(made: Any, wanted: Any) -> bool:
    """Return whether two results are the same but for rounding."""
    (ours, how), (theirs, as_well) = pytree.tree_flatten(made), pytree.tree_flatten(wanted)
    if how != as_well:
        return False
    for a, b in zip(ours, theirs):
        if not isinstance(a, Tensor) or not isinstance(b, Tensor):
            if a != b:
                return False
        elif a.shape != b.shape or a.dtype != b.dtype or a.stride() != b.stride():
            return False
        elif a.is_floating_point():
            size = b.nan_to_num(0, 0, 0).abs().max() if b.numel() else 0
            if not torch.allclose(a, b, rtol=0, atol=TOLERANCE * float(size), equal_nan=True):
                return False
        elif not torch.equal(a, b):
            return False
    return True


# --- Tracing --------------------------------------------------------------------------------------------


def trace(root: nn.Module) -> Callable[..., Any]:
    """Return a function that computes what `root` does in evaluation mode, with convolutions fused."""
    for m in root.modules():
        if m is not root:
            detach(m)
    owners = [m for m in root.modules() if not _is_leaf(m)]
    before = [(m.__dict__, dict(m.__dict__)) for m in owners]
    kept = False
    try:
        graph = _Tracer().trace(root)
    finally:
        for now, state in before:
            kept = _put_back(now, state) or kept
    if kept:
        raise Unsound  # forward keeps something of its input
    modules = dict(root.named_modules())
    for node in list(graph.nodes):
        if node.op == "call_module" and type(modules[node.target]) in NORMS:
            _fuse(graph, node, modules)
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in ADD:
            _fuse_sum(graph, node, modules)
    for node in list(graph.nodes):
        _resolve(graph, node, root, modules)
    graph.eliminate_dead_code()
    graph.lint()
    code = fx.GraphModule({}, graph)
    forward: Callable[..., Any] = code.forward
    return forward


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Undo what a traced forward did to its module's attributes; return whether it did anything."""
    changed = [k for k in {**now, **before} if now.get(k, now) is not before.get(k, now)]
    for k in changed:
        if k in before:
            now[k] = before[k]
        else:
            del now[k]
    return bool(changed)


def _only_reader(node: fx.Node) -> fx.Node | None:
    """The one node that reads the result of another, once."""
    if len(node.users) != 1:
        return None
    (reader,) = node.users
    return reader if sum(argument is node for argument in reader.all_input_nodes) == 1 else None


def _fuse(graph: fx.Graph, node: fx.Node, modules: dict[str, nn.Module]) -> None:
    """Replace a convolution and what follows it by one call."""
    conv = modules[str(node.target)]
    if len(node.args) != 1 or node.kwargs:
        return
    layers: list[Callable[[Tensor], Tensor]] = [conv]
    end, norm, activation = node, None, None
    reader = _only_reader(end)
    if reader is not None and _is_norm(reader, conv, modules):
        norm = modules[str(reader.target)]
        layers.append(norm)
        end, reader = reader, _only_reader(reader)
    if reader is not None and (activation := _activation(reader, modules)) is not None:
        layers.append(nn.functional.relu if activation == "relu" else nn.functional.relu6)
        end = reader
    prepared = Prepared(conv, norm, activation)

    def fused(x: Tensor) -> Tensor:
        made = prepared(x)
        if made is None:
            made = x
            for layer in layers:
                made = layer(made)
        return made

    with graph.inserting_before(node):
        whole = graph.call_function(fused, node.args)
    end.replace_all_uses_with(whole)
    whole.meta["fresh"] = True
    while end is not node:  # from the last to the first
        before = end.all_input_nodes[0]
        graph.erase_node(end)
        end = before
    graph.erase_node(node)


def _is_norm(node: fx.Node, conv: nn.Module, modules: dict[str, nn.Module]) -> bool:
    """Whether a node is a normalisation by fixed numbers, as wide as the convolution before it."""
    if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return False
    norm = modules[str(node.target)]
    return (
        type(norm) is NORMS[type(conv)]
        and norm._buffers.get("running_mean") is not None
        and norm._buffers.get("running_var") is not None
        and norm.num_features == conv.out_channels
    )


def _activation(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """The activation that a node applies to its one input, if kernels have it."""
    if node.op == "call_module":
        layer = modules[str(node.target)]
        if type(layer) is nn.ReLU:
            return "relu"
        if type(layer) is nn.ReLU6 or (
            type(layer) is nn.Hardtanh and (layer.min_val, layer.max_val) == (0, 6)
        ):
            return "relu6"
        return None
    if node.op == "call_function" and len(node.all_input_nodes) == 1 and len(node.args) == 1:
        if node.target in RELU:
            return "relu"
        return "relu6" if node.target is nn.functional.relu6 else None
    if node.op == "call_method" and node.target in ("relu", "relu_") and len(node.args) == 1:
        return "relu"
    return None


def _fuse_sum(graph: fx.Graph, node: fx.Node, modules: dict[str, nn.Module]) -> None:
    """Add to the result of a convolution in its own memory, if nobody else reads that; ReLU there too."""
    if len(node.args) != 2 or node.kwargs or not all(isinstance(a, fx.Node) for a in node.args):
        return
    fresh = [
        a for a in node.args if isinstance(a, fx.Node) and a.meta.get("fresh") and _only_reader(a) is node
    ]
    if not fresh:
        return
    made = fresh[-1]
    (other,) = [a for a in node.args if a is not made] or [None]
    if other is None:
        return
    reader, end = _only_reader(node), node
    relu = reader is not None and _activation(reader, modules) == "relu"
    if relu and reader is not None:
        end = reader

    def add_in_place(y: Tensor, other: Any) -> Tensor:
        if type(other) is Tensor and other.shape == y.shape and other.dtype == y.dtype:
            y = y.add_(other)
        else:
            y = y + other
        return y.relu_() if relu else y

    with graph.inserting_before(node):
        whole = graph.call_function(add_in_place, (made, other))
    end.replace_all_uses_with(whole)
    if end is not node:
        graph.erase_node(end)
    graph.erase_node(node)


def _resolve(graph: fx.Graph, node: fx.Node, root: nn.Module, modules: dict[str, nn.Module]) -> None:
    """Let a node hold its module, or its attribute's owner: no name is looked up at a call."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        if type(module) in NOTHING and len(node.args) == 1 and not node.kwargs:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
            return

        def layer(*args: Any, **kwargs: Any) -> Any:
            return module(*args, **kwargs)

        with graph.inserting_before(node):
            new = graph.call_function(layer, node.args, node.kwargs)
    elif node.op == "get_attr":
        path = str(node.target)
        if "_tensor_constant" in path:
            raise Unsound  # made by forward: it may be another one at the next call
        owner_path, _, name = path.rpartition(".")
        owner = root.get_submodule(owner_path)

        def attribute() -> Any:
            return getattr(owner, name)

        with graph.inserting_before(node):
            new = graph.call_function(attribute)
    else:
        return
    node.replace_all_uses_with(new)
    graph.erase_node(node)
