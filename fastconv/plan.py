"""Plans: a convolution of fixed shape, its algorithm and its prepared weights, for many calls.

`_core.Plan` holds and runs them; the words around them, choosing by measurement and pickling are here.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import _core
from fastconv.conv import Activation, Padding, Sizes

__all__ = ["ConvPlan", "plan_conv1d", "plan_conv2d", "plan_conv3d"]

_measured: dict[tuple[Any, ...], str] = {}  # problem and state of the library to algorithm
_MOST_MEASURED = 10_000


class ConvPlan(_core.Plan):
    """A convolution prepared for inputs of one shape; made by `plan_conv1d`, `plan_conv2d`, `plan_conv3d`.

    ``plan(x, out=None)`` convolves `x`, which must have the plan's shape and dtype and may have any
    strides, and returns the result; `out` is as in `conv2d`.  A plan does not change: it may be called
    from several threads at once.  It keeps copies of `weight` and `bias`, and it can be pickled.

    Attributes
    ----------
    algorithm : str
        Name of the algorithm in use.
    isa : str
        Instruction set of the kernels in use.
    x_shape, out_shape : tuple of int
        Shapes that a call takes and returns.
    dtype : numpy.dtype
        Of `x`, weight and result.
    weight, bias : ndarray
        Read-only copies; bias is None where there is none.
    spatial : int
        1, 2 or 3.
    stride, dilation : tuple of int
        One number per axis.
    padding : tuple of (int, int)
        Before and after, per axis.
    groups : int
        Groups of channels.
    padding_mode, padding_value, layout, activation
        As they were given.
    flops : float
        Multiplications and additions of one call.
    prepared_bytes : int
        Memory of the prepared weights.
    """

    def explain(self) -> str:
        """Describe the algorithms that were weighed and the one that was taken.

        Returns
        -------
        str
            A line for the problem, then one per algorithm, the one in use marked with ``*``: predicted
            time on one core, error against exact arithmetic, scratch per thread, prepared weights and
            tile, or why it cannot.
        """
        x, y = ("x".join(map(str, shape)) for shape in (self.x_shape, self.out_shape))
        weight = "x".join(map(str, self.weight.shape))
        lines = [
            f"conv{self.spatial}d {self.dtype} {self.layout}: {x} by {weight} to {y}, "
            f"{self.flops / 1e6:.4g} MFLOP",
            f"stride {self.stride}, padding {self.padding} {self.padding_mode}, dilation {self.dilation}, "
            f"groups {self.groups}, {'bias' if self.bias is not None else 'no bias'}, "
            f"activation {self.activation}, {self.isa} kernels",
        ]
        if max(self.seen_every) > 1:
            every = "x".join(map(str, self.seen_every))
            lines.append(f"1 of {every} pixels is seen by some output; the others are left out")
        if self.met_kernel != self.weight.shape[2:]:
            met = "x".join(map(str, self.met_kernel))
            lines.append(f"{met} taps of the kernel meet the image in some output; the others are left out")
        for entry in self.candidates():
            mark = "*" if entry["name"] == self.algorithm else " "
            if entry["reason"] is not None:
                lines.append(f"{mark} {entry['name']:<10} cannot: {entry['reason']}")
                continue
            lines.append(
                f"{mark} {entry['name']:<10} {entry['seconds'] * 1e3:.4g} ms predicted, "
                f"error about {entry['error']:.1e} of max|y|, "
                f"scratch {entry['scratch'] / 1024:.4g} KiB, prepared {entry['prepared'] / 1024:.4g} KiB; "
                f"{entry['tile']}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"<ConvPlan {self.spatial}d {self.x_shape} -> {self.out_shape} {self.dtype} {self.layout}, "
            f"{self.algorithm} on {self.isa}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # By name, not "auto": a copy computes what the original computes, where it has the same kernels.
        return ConvPlan, (
            self.spatial,
            self.x_shape,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.padding_mode,
            self.padding_value,
            self.layout,
            self.activation,
            self.algorithm,
        )


def plan_conv2d(
    x_shape: Sequence[int],
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    padding_value: float = 0,
    layout: str = "NCHW",
    activation: Activation | None = None,
    algorithm: str = "auto",
    effort: str = "estimate",
) -> ConvPlan:
    """Prepare `conv2d` for inputs of one shape: choose the algorithm, transform the weights.

    Parameters
    ----------
    x_shape : sequence of int
        Shape of the inputs, in `layout`, with or without the batch axis.
    weight, bias, stride, padding, dilation, groups, padding_mode, padding_value, layout, activation
        As in `conv2d`.  The dtype of `weight` is that of the inputs.
    algorithm : str
        ``"auto"`` for the one with the lowest predicted time with prepared weights, or a name.
    effort : {"estimate", "measure"}
        ``"measure"`` runs every algorithm a few times with the present number of threads and takes the
        fastest: which one that is, and with it the last bits of results, may differ between runs.
        Within a process it is remembered: the next plan of the same problem with as many threads
        takes it without measuring.  It is ignored if `algorithm` is a name.

    Returns
    -------
    ConvPlan

    Raises
    ------
    TypeError, ValueError, MemoryError
        As in `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> weight = np.ones((8, 3, 3, 3), np.float32)
    >>> plan = fastconv.plan_conv2d((1, 3, 32, 32), weight, padding="same", activation="relu")
    >>> plan(np.ones((1, 3, 32, 32), np.float32)).shape
    (1, 8, 32, 32)
    >>> "* " + plan.algorithm in plan.explain()
    True
    """
    return _make(
        (
            2,
            x_shape,
            weight,
            bias,
            stride,
            padding,
            dilation,
            groups,
            padding_mode,
            padding_value,
            layout,
            activation,
            algorithm,
        ),
        effort,
    )


def plan_conv1d(
    x_shape: Sequence[int],
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    padding_value: float = 0,
    layout: str = "NCL",
    activation: Activation | None = None,
    algorithm: str = "auto",
    effort: str = "estimate",
) -> ConvPlan:
    """Prepare `conv1d` for inputs of one shape.

    Parameters
    ----------
    x_shape : sequence of int
        Shape of the inputs, in `layout`, with or without the batch axis.
    weight, bias, stride, padding, dilation, groups, padding_mode, padding_value, layout, activation
        As in `conv1d`.
    algorithm, effort : str
        As in `plan_conv2d`.

    Returns
    -------
    ConvPlan

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> plan = fastconv.plan_conv1d((1, 4, 100), np.ones((8, 4, 5)), padding="causal")
    >>> plan.out_shape
    (1, 8, 100)
    """
    return _make(
        (
            1,
            x_shape,
            weight,
            bias,
            stride,
            padding,
            dilation,
            groups,
            padding_mode,
            padding_value,
            layout,
            activation,
            algorithm,
        ),
        effort,
    )


def plan_conv3d(
    x_shape: Sequence[int],
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    padding_value: float = 0,
    layout: str = "NCDHW",
    activation: Activation | None = None,
    algorithm: str = "auto",
    effort: str = "estimate",
) -> ConvPlan:
    """Prepare `conv3d` for inputs of one shape.

    Parameters
    ----------
    x_shape : sequence of int
        Shape of the inputs, in `layout`, with or without the batch axis.
    weight, bias, stride, padding, dilation, groups, padding_mode, padding_value, layout, activation
        As in `conv3d`.
    algorithm, effort : str
        As in `plan_conv2d`.

    Returns
    -------
    ConvPlan

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> plan = fastconv.plan_conv3d((2, 8, 8, 8), np.ones((4, 2, 3, 3, 3)), padding=1)
    >>> plan.out_shape
    (4, 8, 8, 8)
    """
    return _make(
        (
            3,
            x_shape,
            weight,
            bias,
            stride,
            padding,
            dilation,
            groups,
            padding_mode,
            padding_value,
            layout,
            activation,
            algorithm,
        ),
        effort,
    )


def _make(arguments: tuple[Any, ...], effort: str) -> ConvPlan:
    if effort not in ("estimate", "measure"):
        raise ValueError(f'effort must be "estimate" or "measure", got {effort!r}')
    plan = ConvPlan(*arguments)
    if effort == "estimate" or arguments[-1] != "auto":
        return plan
    problem = (
        *(plan.isa, _core.get_num_threads(), _core.get_exact(), plan.dtype, plan.x_shape, plan.weight.shape),
        *(plan.stride, plan.padding, plan.dilation, plan.groups, plan.padding_mode, plan.layout),
        *(plan.bias is None, plan.activation),
    )
    name = _measured.get(problem)
    if name is not None:
        return plan if name == plan.algorithm else ConvPlan(*(*arguments[:-1], name))
    # Ones, not zeros or whatever memory holds: neither denormals nor NaN may slow an algorithm down.
    x = np.ones(plan.x_shape, plan.dtype)
    out = np.empty(plan.out_shape, plan.dtype)
    names = [entry["name"] for entry in plan.candidates() if entry["reason"] is None]
    plans = [ConvPlan(*(*arguments[:-1], name)) for name in names]
    best = min(plans, key=lambda candidate: _fastest(candidate, x, out))
    if len(_measured) >= _MOST_MEASURED:
        _measured.clear()
    _measured[problem] = best.algorithm
    return best


def _fastest(plan: ConvPlan, x: npt.NDArray[Any], out: npt.NDArray[Any], runs: int = 4) -> float:
    """Return the shortest of a few runs, in seconds; the first warms caches and threads up."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        plan(x, out)
        best = min(best, time.perf_counter() - start)
    return best
