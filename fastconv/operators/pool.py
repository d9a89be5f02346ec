"""Pooling: maxima move gradients by index, averages are linear; what is made of these is in pool_curved.py.

Read through `fastconv.operators.REGISTRY`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import fastconv
from fastconv import _core
from fastconv.operators.registry import (
    Argument,
    Call,
    Framework,
    Gradient,
    Kind,
    Operator,
    Spec,
    each_axis,
    each_spatial,
    pairs,
    per_axis,
    read_pads,
    register,
    require_shape,
    spatial_sizes,
    whole,
    with_sizes,
)
from fastconv.pool_special import _unpooled_shape

X, Y, GRAD_OUTPUT = Argument("x", "image"), Argument("y", "image"), Argument("grad_output", "image")
GRAD_X, INDICES = Argument("grad_x", "image"), Argument("indices", "image", dtype=np.int64)
WINDOWS: dict[str, Kind] = {
    "kernel_size": "ints",
    "stride": "ints",
    "padding": "pads",
    "dilation": "ints",
    "ceil_mode": "bool",
    "layout": "layout",
}
AVERAGE: dict[str, Kind] = {**WINDOWS, "count_include_pad": "bool", "divisor_override": "int?"}
GRID: dict[str, Kind] = {"output_size": "ints", "layout": "layout"}
INPUT: dict[str, Kind] = {"input_shape": "image_shape"}


def windowed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a NumPy function take canonical padding."""

    def call(*arrays: Any, padding: Any, **options: Any) -> Any:
        return forward(*arrays, padding=pairs(padding), **options)

    return call


def give(option: str) -> Callable[[Mapping[str, Spec], Mapping[str, Any]], tuple[Spec, ...]]:
    """Shape rule of what is as large as an option says, of the dtype of the first array."""
    return lambda specs, options: (Spec(tuple(options[option]), next(iter(specs.values())).dtype),)


def moved(name: str, option: str) -> Callable[[Mapping[str, Spec], Mapping[str, Any]], tuple[Spec, ...]]:
    """Shape rule of what takes each of an array to its index, in what is as large as an option says."""

    def rule(specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
        require_shape(specs, "indices", specs[name].shape)
        return (Spec(tuple(options[option]), specs[name].dtype),)

    return rule


def back_through(shape: Any) -> Callable[[Mapping[str, Spec], Mapping[str, Any]], tuple[Spec, ...]]:
    """Shape rule of the gradient of what has a shape rule."""

    def rule(specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
        x = Spec(tuple(options["input_shape"]), specs["grad_output"].dtype)
        require_shape(specs, "grad_output", shape({"x": x}, options)[0].shape)
        return (x,)

    return rule


def like(name: str) -> Callable[[Mapping[str, Spec], Mapping[str, Any]], tuple[Spec, ...]]:
    """Shape rule of what is as large as an argument, of the dtype of the first array."""
    return lambda specs, options: (Spec(tuple(specs[name].shape), next(iter(specs.values())).dtype),)


def output_size(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int, *, ceil_mode: bool
) -> int:
    """Windows along an axis; in `ceil_mode` the last may end outside, but begins in x or before it."""
    room = size + before + after - (kernel - 1) * dilation - 1
    if room < 0 and not (ceil_mode and room + stride > 0):
        raise ValueError(f"kernel_size: {kernel} with dilation {dilation} is larger than the padded {size}")
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + before else count


class Pooling:
    """The operators of one number of axes."""

    def __init__(self, spatial: int) -> None:
        self.spatial = spatial
        self.enter = partial(enter, spatial)

    def named(self, kind: str, rest: str = "") -> str:
        """Name of one of these operators, as in max_pool2d_grad."""
        return f"{kind}{self.spatial}d{rest}"

    def function(self, kind: str, rest: str = "") -> Callable[..., Any]:
        """The NumPy function of that name."""
        found: Callable[..., Any] = getattr(fastconv, self.named(kind, rest))
        return found

    # --- Options ----------------------------------------------------------------------------------------

    def windows(
        self,
        shapes: Mapping[str, Any],
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        ceil_mode: bool,
        layout: str,
    ) -> dict[str, Any]:
        """Of every pooling with windows of one size."""
        kernel = per_axis(kernel_size, self.spatial, "kernel_size")
        stride = kernel if stride is None else per_axis(stride, self.spatial, "stride")
        dilation = per_axis(dilation, self.spatial, "dilation")
        sizes = spatial_sizes(shapes["x"], self.spatial, layout)
        pads = read_pads(padding, sizes, kernel, stride, dilation)
        for axis, (size, step) in enumerate(zip(kernel, dilation)):
            if max(pads[2 * axis : 2 * axis + 2]) > (size - 1) * step:
                raise ValueError(
                    f"padding {pads[2 * axis : 2 * axis + 2]} must be less than what kernel_size {size} with "
                    f"dilation {step} reaches over"
                )
        return {
            "kernel_size": kernel,
            "stride": stride,
            "padding": pads,
            "dilation": dilation,
            "ceil_mode": bool(ceil_mode),
            "layout": layout,
        }

    def average_options(
        self,
        shapes: Mapping[str, Any],
        kernel_size: Any,
        stride: Any,
        padding: Any,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: Any,
        dilation: Any,
        layout: str,
    ) -> dict[str, Any]:
        """Of averages."""
        return {
            **self.windows(shapes, kernel_size, stride, padding, dilation, ceil_mode, layout),
            "count_include_pad": bool(count_include_pad),
            "divisor_override": divisor_override,
        }

    def grid(self, shapes: Mapping[str, Any], output_size: Any, layout: str) -> dict[str, Any]:
        """Of adaptive windows."""
        sizes = spatial_sizes(shapes["x"], self.spatial, layout)
        wanted = each_axis(output_size, self.spatial, "output_size")
        made = tuple(n if w is None else whole(w, "output_size", 1) for n, w in zip(sizes, wanted))
        return {"output_size": made, "layout": layout}

    def unpooled(
        self,
        shapes: Mapping[str, Any],
        kernel_size: Any,
        stride: Any,
        padding: Any,
        output_size: Any,
        layout: str,
    ) -> dict[str, Any]:
        """Of unpooling: the shape to fill, and the layout."""
        x = Spec(tuple(shapes["x"]), None)
        shape = _unpooled_shape(self.spatial, x, kernel_size, stride, padding, output_size, layout)
        return {"output_shape": tuple(shape), "layout": layout}

    # --- Shapes -----------------------------------------------------------------------------------------

    def shape(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
        """Of windows of one size."""
        x, pads = specs["x"], options["padding"]
        sizes = spatial_sizes(x.shape, self.spatial, options["layout"])
        each = zip(
            sizes, options["kernel_size"], options["stride"], pads[::2], pads[1::2], options["dilation"]
        )
        made = [output_size(*axis, ceil_mode=options["ceil_mode"]) for axis in each]
        return (Spec(with_sizes(x.shape, None, made, options["layout"]), x.dtype),)

    def grid_shape(self, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
        """Of adaptive windows."""
        shape = specs["x"].shape
        spatial_sizes(shape, self.spatial, options["layout"])
        return (Spec(with_sizes(shape, None, options["output_size"], options["layout"]), specs["x"].dtype),)

    # --- Computing from addresses -----------------------------------------------------------------------

    def bound(
        self, kind: str, shape: Any, specs: Mapping[str, Spec], options: Mapping[str, Any]
    ) -> Callable[..., None]:
        """Of poolings and of the gradients of averages."""
        first = next(iter(specs.values()))
        x = Spec(options["input_shape"], first.dtype) if "input_shape" in options else first
        windows = None
        if "kernel_size" in options:
            kernel, stride, dilation = options["kernel_size"], options["stride"], options["dilation"]
            windows = (kernel, stride, pairs(options["padding"]), dilation, options["ceil_mode"])
        return _core.BoundPool(
            kind,
            self.spatial,
            x.shape,
            shape({"x": x}, options)[0].shape,
            windows,
            options["layout"],
            np.dtype(x.dtype),
            options.get("count_include_pad", False),
            options.get("divisor_override"),
            options.get("norm_type", 1.0),
        ).run

    def bound_move(
        self, kind: str, whole: str, specs: Mapping[str, Spec], options: Mapping[str, Any]
    ) -> Callable[..., None]:
        """Of what moves numbers by index to an array as large as the option `whole` says."""
        first, dtype = specs["indices"].shape, np.dtype(next(iter(specs.values())).dtype)
        layout = options["layout"]
        return _core.BoundPool(kind, self.spatial, options[whole], first, None, layout, dtype).run

    # --- Maxima -----------------------------------------------------------------------------------------

    def register_maxima(self) -> None:
        """Max pooling, with and without indices, adaptive or not; gradients go where the indices say."""
        for kind, options, canonical, shape in (
            ("max_pool", WINDOWS, self.windows, self.shape),
            ("adaptive_max_pool", GRID, self.grid, self.grid_shape),
        ):
            function = self.function(kind)
            with_indices = partial(function, return_indices=True)
            forward = windowed if kind == "max_pool" else lambda call: call
            self.enter(
                self.named(kind),
                (X,),
                (Y,),
                options,
                function,
                canonical,
                forward(function),
                shape,
                {"x": Gradient(("x",), partial(self.find_and_scatter, kind))},
                self.named(kind, "_with_indices"),
                partial(self.bound, "max", shape),
            )
            self.enter(
                self.named(kind, "_with_indices"),
                (X,),
                (Y, INDICES),
                options,
                with_indices,
                canonical,
                forward(with_indices),
                partial(and_indices, shape),
                {"x": Gradient(("indices",), self.scatter_rule)},
                bound=partial(self.bound, "max_indices", shape),
            )

    def find_and_scatter(self, kind: str, ops: Framework, grad: Any, call: Call) -> Any:
        """From y to x, looking for the largest once more."""
        _, indices = ops(self.named(kind, "_with_indices"), call.arrays["x"], **call.options)
        return self._scatter(ops, grad, indices, call.shapes["x"], call)

    def scatter_rule(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From y to x, by index."""
        return self._scatter(ops, grad, call.arrays["indices"], call.shapes["x"], call)

    def _scatter(self, ops: Framework, grad: Any, indices: Any, shape: Any, call: Call) -> Any:
        return ops(
            self.named("max_pool", "_grad"), grad, indices, input_shape=shape, layout=call.options["layout"]
        )

    def gather_rule(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From what was scattered to what it was."""
        return ops(
            self.named("max_unpool", "_grad"), grad, call.arrays["indices"], layout=call.options["layout"]
        )

    def scatter_back(self, ops: Framework, grad: Any, call: Call) -> Any:
        """From what was gathered to where it was."""
        return self._scatter(ops, grad, call.arrays["indices"], call.shapes["grad_output"], call)

    def scatter(
        self, grad_output: Any, indices: Any, *, input_shape: Any, layout: str, out: Any = None
    ) -> Any:
        """Add every number to the pixel that its index says: the gradient of max pooling."""
        return _core.move_by_index(self.spatial, grad_output, indices, input_shape, layout, out, True)

    def unpool(self, x: Any, indices: Any, *, output_shape: Any, layout: str, out: Any = None) -> Any:
        """Put every number where its index says."""
        return _core.move_by_index(self.spatial, x, indices, output_shape, layout, out, False)

    def gather(self, grad_output: Any, indices: Any, *, layout: str, out: Any = None) -> Any:
        """Fetch the number that lies at each index; 0 for an index of -1."""
        none = np.asarray(indices) == -1
        if not none.any():
            return _core.gather_by_index(self.spatial, grad_output, indices, layout, out)
        found = _core.gather_by_index(self.spatial, grad_output, np.where(none, 0, indices), layout, out)
        found[none] = 0
        return found

    def register_moves(self) -> None:
        """What moves numbers by index: scattering, unpooling and gathering, each other's gradients."""
        by_index: dict[str, Kind] = {"layout": "layout"}
        self.enter(
            self.named("max_pool", "_grad"),
            (GRAD_OUTPUT, INDICES),
            (GRAD_X,),
            {**INPUT, **by_index},
            self.scatter,
            lambda shapes, input_shape, layout: {"input_shape": tuple(input_shape), "layout": layout},
            self.scatter,
            moved("grad_output", "input_shape"),
            {"grad_output": Gradient(("indices",), self.gather_rule)},
            bound=partial(self.bound_move, "scatter", "input_shape"),
        )
        self.enter(
            self.named("max_unpool"),
            (X, INDICES),
            (Y,),
            {"output_shape": "image_shape", **by_index},
            self.function("max_unpool"),
            self.unpooled,
            self.unpool,
            moved("x", "output_shape"),
            {"x": Gradient(("indices",), self.gather_rule)},
            bound=partial(self.bound_move, "unpool", "output_shape"),
        )
        self.enter(
            self.named("max_unpool", "_grad"),
            (GRAD_OUTPUT, INDICES),
            (GRAD_X,),
            by_index,
            self.function("max_unpool", "_grad"),
            lambda shapes, layout: {"layout": layout},
            self.gather,
            like("indices"),
            {"grad_output": Gradient(("indices",), self.scatter_back)},
        )

    # --- Averages ---------------------------------------------------------------------------------------

    def register_averages(self) -> None:
        """Average pooling, adaptive or not; linear, as are its gradients."""
        plain, grid = self.function("avg_pool"), self.function("adaptive_avg_pool")
        plain_grad, grid_grad = (
            self.function("avg_pool", "_grad"),
            self.function("adaptive_avg_pool", "_grad"),
        )

        def grid_back(grad_output: Any, *, output_size: Any, **options: Any) -> Any:
            return grid_grad(grad_output, **options)

        self._register_linear(
            "avg_pool", AVERAGE, self.average_options, self.shape, windowed(plain), windowed(plain_grad)
        )
        self._register_linear("adaptive_avg_pool", GRID, self.grid, self.grid_shape, grid, grid_back)

    def _register_linear(
        self, kind: str, options: dict[str, Kind], canonical: Any, shape: Any, forward: Any, backward: Any
    ) -> None:
        name, grad = self.named(kind), self.named(kind, "_grad")

        def to_x(ops: Framework, g: Any, call: Call) -> Any:
            return ops(grad, g, input_shape=call.shapes["x"], **call.options)

        def to_grad_output(ops: Framework, g: Any, call: Call) -> Any:
            return ops(name, g, **{option: call.options[option] for option in options})

        def grad_options(shapes: Mapping[str, Any], *, input_shape: Any, **given: Any) -> dict[str, Any]:
            if kind == "adaptive_avg_pool":
                given["output_size"] = spatial_sizes(shapes["grad_output"], self.spatial, given["layout"])
            return {**canonical({"x": input_shape}, **given), "input_shape": tuple(input_shape)}

        self.enter(
            name,
            (X,),
            (Y,),
            options,
            self.function(kind),
            canonical,
            forward,
            shape,
            {"x": Gradient((), to_x)},
            bound=partial(self.bound, "avg", shape),
        )
        self.enter(
            grad,
            (GRAD_OUTPUT,),
            (GRAD_X,),
            {**INPUT, **options},
            self.function(kind, "_grad"),
            grad_options,
            backward,
            back_through(shape),
            {"grad_output": Gradient((), to_grad_output)},
            bound=partial(self.bound, "avg_grad", shape),
        )

    def sums(self, ops: Framework, x: Any, call: Call) -> Any:
        """Sums over the windows of a call."""
        return ops(
            self.named("avg_pool"), x, count_include_pad=True, divisor_override=1, **self._windows_of(call)
        )

    def collect(self, ops: Framework, grad: Any, call: Call) -> Any:
        """Give every pixel of x the sum of the numbers whose windows it is in."""
        return ops(
            self.named("avg_pool", "_grad"),
            grad,
            input_shape=call.shapes["x"],
            count_include_pad=True,
            divisor_override=1,
            **self._windows_of(call),
        )

    @staticmethod
    def _windows_of(call: Call) -> dict[str, Any]:
        return {option: call.options[option] for option in WINDOWS}


def and_indices(shape: Any, specs: Mapping[str, Spec], options: Mapping[str, Any]) -> tuple[Spec, ...]:
    """Shape rule of what has a shape rule, with indices."""
    (y,) = shape(specs, options)
    return y, Spec(y.shape, np.dtype(np.int64))


def enter(
    spatial: int,
    name: str,
    arrays: tuple[Argument, ...],
    results: tuple[Argument, ...],
    options: Mapping[str, Kind],
    function: Callable[..., Any],
    canonical: Callable[..., dict[str, Any]],
    forward: Callable[..., Any],
    shape: Callable[..., tuple[Spec, ...]],
    gradients: Mapping[str, Gradient],
    graded: str | None = None,
    bound: Callable[..., Any] | None = None,
) -> None:
    """Register an operator."""
    register(
        Operator(
            name,
            spatial,
            arrays,
            results,
            options,
            function,
            canonical,
            forward,
            shape,
            gradients,
            graded,
            bound,
        )
    )


for _spatial, _ in each_spatial():
    _pooling = Pooling(_spatial)
    _pooling.register_maxima()
    _pooling.register_moves()
    _pooling.register_averages()
