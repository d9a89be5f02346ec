"""Weight gradients of depthwise filters over adjacent channels, whose columns may slide through registers.

Shapes on and around what slides: kernels of 3 to 7 columns, and of more, that step by one or two taps; tiles
of 3 lines by 4 taps and of 2 by 7; vectors of 4, 8 and 16 channels; rows shorter than a kernel; one column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grad_cases import Data, both_dtypes, every_isa
from support import amid_nan, isa

# channels, size, kernel, options
CASES: dict[str, tuple[int, tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    **{
        f"{k}x{k} stride {stride}": (21, (9, 19), (k, k), {"padding": k // 2, "stride": stride})
        for k in (1, 2, 3, 4, 5, 6, 7)
        for stride in (1, 2, 3)
    },
    "16 channels": (16, (8, 9), (3, 3), {"padding": 1}),
    "17 channels": (17, (8, 9), (3, 3), {"padding": 1}),
    "70 channels, one column": (70, (8, 1), (3, 3), {"padding": 1}),
    "one column of outputs, stride 2": (9, (8, 2), (3, 3), {"padding": 1, "stride": 2}),
    "unpadded": (9, (8, 17), (5, 5), {}),
    "two columns under seven": (9, (8, 2), (7, 7), {"padding": 3}),
    "padding of four widths": (9, (7, 12), (5, 7), {"padding": ((4, 1), (6, 2))}),
    "padding of four widths, stride 2": (9, (9, 12), (3, 5), {"padding": ((0, 2), (3, 4)), "stride": 2}),
    "columns that are left out at the end": (9, (9, 12), (3, 3), {"stride": 2}),
    "1x9": (9, (3, 30), (1, 9), {"padding": (0, 4)}),
    "3x12, stride 2": (9, (5, 40), (3, 12), {"padding": (1, 5), "stride": (1, 2)}),
    "4x3": (9, (9, 12), (4, 3), {"padding": 1}),
    "dilation 2, stride 2": (9, (9, 17), (3, 3), {"padding": 2, "dilation": 2, "stride": 2}),
    "dilation 2, stride 4": (9, (9, 27), (3, 3), {"padding": 2, "dilation": 2, "stride": 4}),
    "dilation 3, stride 3, odd padding": (
        *(9, (9, 27), (3, 3)),
        {"padding": ((1, 1), (5, 4)), "dilation": 3, "stride": 3},
    ),
    "dilation 2, stride 1": (9, (9, 17), (3, 3), {"padding": 2, "dilation": 2}),
    "blocks of columns": (5, (3, 600), (3, 5), {"padding": (1, 2)}),
    "blocks of columns, stride 2": (5, (3, 1203), (3, 3), {"padding": 1, "stride": 2}),
    "blocks of rows": (150, (60, 20), (3, 3), {"padding": 1}),
}


def data_of(case: str, dtype: Any) -> Data:
    channels, size, kernel, options = CASES[case]
    return Data((channels, channels, size, kernel, {**options, "groups": channels}), dtype, "NHWC")


@pytest.mark.parametrize("method", ["pixels", "channels"])
@pytest.mark.parametrize("case", CASES)
@both_dtypes
@every_isa
def test_weight_grad(case: str, method: str, dtype: Any, name: str) -> None:
    """Nothing beside the pixels is read, and nothing of scratch that was not written."""
    if method == "pixels" and max(CASES[case][2]) > 7:
        pytest.skip("pixels takes kernels of 7x7 at most")
    data = data_of(case, dtype)
    with isa(name):
        data.leave_nan_behind(algorithm=method)
        clean = data.x, data.grad
        results = [data.weight_grad(algorithm=method)]  # amid NaN another method may compute it again
        for memory in ("contiguous", "rows"):
            data.x, data.grad = (amid_nan(a, memory) for a in clean)
            results.append(data.weight_grad(algorithm=method))
        data.x, data.grad = clean
        for result in results:
            data.check_weight_grad(result)


@pytest.mark.parametrize("column", [0, 1, 8, 17, 18])
@pytest.mark.parametrize("case", ["3x3 stride 1", "3x3 stride 2", "5x5 stride 1", "5x5 stride 2"])
@every_isa
def test_what_is_not_finite(case: str, column: int, name: str) -> None:
    data = data_of(case, np.float32)
    with isa(name):
        data.check_what_is_not_finite((1, 3, min(column, data.grad.shape[2] - 1), 7), algorithm="pixels")


@pytest.mark.parametrize("case", ["3x3 stride 1", "blocks of columns", "blocks of rows"])
def test_threads_do_not_change_bits(case: str) -> None:
    data_of(case, np.float32).check_threads(algorithm="pixels")
