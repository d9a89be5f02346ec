"""Types of the extension: what conv.py, plan.py, runtime.py and the tests call."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

EACH_CHANNEL: Final[object]

_Result: TypeAlias = npt.NDArray[Any]

class _Info(TypedDict):
    version: str
    compiler: str
    cpu: str
    isa: str
    isas: tuple[str, ...]
    wide_fmas: int
    l1: int
    l2: int
    l3: int
    threads: int
    default_threads: int

def conv(
    spatial: int,
    x: object,
    weight: object,
    bias: object,
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    padding_mode: str,
    padding_value: float,
    layout: str,
    activation: object,
    algorithm: str,
    out: npt.NDArray[Any] | None,
) -> npt.NDArray[Any]: ...
def conv_input_grad(
    spatial: int,
    grad_output: object,
    weight: object,
    input_shape: Sequence[int],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    layout: str,
    algorithm: str,
    out: npt.NDArray[Any] | None,
) -> npt.NDArray[Any]: ...
def conv_weight_grad(
    spatial: int,
    grad_output: object,
    x: object,
    weight_shape: Sequence[int],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    layout: str,
    algorithm: str,
    out: npt.NDArray[Any] | None,
) -> npt.NDArray[Any]: ...
def conv_bias_grad(
    spatial: int, grad_output: object, layout: str, out: npt.NDArray[Any] | None
) -> npt.NDArray[Any]: ...

@disjoint_base
class Plan:
    def __new__(
        cls,
        spatial: int,
        x_shape: Sequence[int],
        weight: object,
        bias: object,
        stride: object,
        padding: object,
        dilation: object,
        groups: object,
        padding_mode: str,
        padding_value: float,
        layout: str,
        activation: object,
        algorithm: str,
    ) -> Self: ...
    def __call__(self, x: object, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]: ...
    def run(self, x: int, y: int) -> None: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def spatial(self) -> int: ...
    @property
    def stride(self) -> tuple[int, ...]: ...
    @property
    def padding(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def dilation(self) -> tuple[int, ...]: ...
    @property
    def groups(self) -> int: ...
    @property
    def padding_mode(self) -> str: ...
    @property
    def padding_value(self) -> float: ...
    @property
    def layout(self) -> str: ...
    @property
    def activation(self) -> str | tuple[str, float] | None: ...
    @property
    def weight(self) -> npt.NDArray[Any]: ...
    @property
    def bias(self) -> npt.NDArray[Any] | None: ...
    @property
    def x_shape(self) -> tuple[int, ...]: ...
    @property
    def out_shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def flops(self) -> float: ...
    @property
    def met_kernel(self) -> tuple[int, ...]: ...
    @property
    def seen_every(self) -> tuple[int, ...]: ...
    @property
    def prepared_bytes(self) -> int: ...
    def candidates(self) -> list[dict[str, Any]]: ...

def xla_entry(function: Callable[[int], int]) -> int: ...
def xla_close() -> None: ...

@disjoint_base
class BoundConv:
    def __new__(
        cls,
        kind: str,
        spatial: int,
        x_shape: Sequence[int],
        weight_shape: Sequence[int],
        has_bias: bool,
        stride: object,
        padding: object,
        dilation: object,
        groups: int,
        layout: str,
        dtype: np.dtype[Any],
    ) -> Self: ...
    def run(self, a: int, b: int, c: int = 0, d: int = 0) -> None: ...

@disjoint_base
class BoundPool:
    def __new__(
        cls,
        kind: str,
        spatial: int,
        x_shape: Sequence[int],
        out_shape: Sequence[int],
        windows: tuple[Any, ...] | None,
        layout: str,
        dtype: np.dtype[Any],
        count_include_pad: bool = False,
        divisor_override: int | None = None,
        norm_type: float = 1.0,
    ) -> Self: ...
    def run(self, a: int, b: int, c: int = 0) -> None: ...

def max_pool(
    spatial: int,
    x: object,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
    return_indices: object,
    layout: str,
    out: _Result | None,
    adaptive: bool,
) -> Any: ...
def avg_pool(
    spatial: int,
    x: object,
    kernel_size: object,
    stride: object,
    padding: object,
    ceil_mode: object,
    count_include_pad: object,
    divisor_override: object,
    dilation: object,
    layout: str,
    out: _Result | None,
    adaptive: bool,
) -> _Result: ...
def avg_pool_grad(
    spatial: int,
    grad_output: object,
    input_shape: object,
    kernel_size: object,
    stride: object,
    padding: object,
    ceil_mode: object,
    count_include_pad: object,
    divisor_override: object,
    dilation: object,
    layout: str,
    out: _Result | None,
    adaptive: bool,
) -> _Result: ...
def lp_pool(
    spatial: int,
    x: object,
    norm_type: object,
    kernel_size: object,
    stride: object,
    ceil_mode: object,
    padding: object,
    dilation: object,
    layout: str,
    out: _Result | None,
) -> _Result: ...
def norm_order(norm_type: object) -> float: ...
def move_by_index(
    spatial: int, source: object, indices: object, shape: object, layout: str, out: _Result | None, add: bool
) -> _Result: ...
def channels_last(layout: object, spatial: int) -> bool: ...
def gather_by_index(
    spatial: int, source: object, indices: object, layout: str, out: _Result | None
) -> _Result: ...
def sampled_pool(
    x: object,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
    random: Callable[[tuple[int, ...]], _Result],
    layout: str,
    out: _Result | None,
) -> tuple[_Result, _Result]: ...
def set_num_threads(count: int) -> None: ...
def get_num_threads() -> int: ...
def set_exact(exact: bool) -> None: ...
def get_exact() -> bool: ...
def clear_scratch() -> None: ...
def scratch_held() -> int: ...
def clear_results() -> None: ...
def results_held() -> int: ...
def lend_threads(fork: int, count: int) -> None: ...
def available_isas() -> tuple[str, ...]: ...
def use_isa(name: str) -> str: ...
def use_wide_fmas(count: int) -> int: ...
def algorithms() -> tuple[str, ...]: ...
def info() -> _Info: ...
def alike(a: object, b: object) -> bool: ...

@disjoint_base
class TensorReader:
    def __init__(
        self,
        capsule: object,
        tensor_type: type,
        parameter_type: type,
        questions: tuple[Callable[[], object], ...],
        levels: object,
        grad_enabled: Callable[[], bool],
        allocate: Callable[..., object],
    ) -> None: ...
    def unwatched(self) -> bool: ...

@disjoint_base
class TensorCall:
    def __init__(
        self,
        reader: TensorReader,
        run: object,
        arrays: Sequence[tuple[Sequence[int], npt.DTypeLike, bool, bool] | None],
        results: Sequence[tuple[tuple[int, ...], tuple[int, ...], object]],
    ) -> None: ...
    def make(self, tensors: tuple[Any, ...]) -> Any: ...

@disjoint_base
class TensorCalls:
    def __init__(
        self, reader: TensorReader, record: Callable[..., object], theirs: Callable[..., object]
    ) -> None: ...
    def remember(self, call: TensorCall, given: tuple[object, ...]) -> None: ...
    def remember_recorded(
        self, call: TensorCall, given: tuple[object, ...], bound: object, rest: tuple[object, ...]
    ) -> None: ...
    def call(self, tensors: tuple[Any, ...], given: tuple[object, ...]) -> Any: ...
