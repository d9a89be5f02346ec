"""Convolutions of arrays that lie against unreadable pages; test_conv_algorithms.py runs it in a process."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
from conv_case import Case
from support import ALGORITHMS, DTYPES, LAYOUTS, normal, same_bits, to_layout

import fastconv
from fastconv import reference

CASES = [
    Case("3x3", 5, 9, (9, 26), padding=1),
    Case("3x3 valid", 4, 25, (6, 19), batch=2),
    Case("one vector of outputs, pixels a step apart", 3, 4, (6, 45), batch=2, stride=(1, 3)),
    Case("1x1 in place", 9, 13, (5, 5), (1, 1), batch=2),
    Case("1x1 whole panels", 16, 24, (6, 8), (1, 1)),
    Case("1x1 one pixel", 33, 17, (1, 1), (1, 1)),
    Case("7x7 stride 2", 3, 18, (23, 21), (7, 7), padding=3, stride=2),
    Case("dilation 2", 3, 7, (12, 19), padding=2, dilation=2),
    Case("1x1, three pixels after a vector", 9, 13, (1, 19), (1, 1), batch=2),
    Case("1x1, four pixels after a vector", 16, 12, (4, 5), (1, 1), batch=2),
    Case("deep", 300, 7, (3, 5), (1, 1)),
    Case("depthwise 3x3", 9, 9, (8, 17), groups=9, padding=1),
    Case("depthwise 5x5 stride 2", 10, 20, (11, 14), (5, 5), groups=10, padding=2, stride=2),
    Case("1x1, an image from memory, channels in two blocks", 2310, 40, (32, 32), (1, 1)),
    Case("1x1 of colours", 3, 4, (13, 11), (1, 1), batch=2),
    Case("1x1 of colours to one", 3, 1, (9, 14), (1, 1)),
    Case("1x1 of colours, stride 2", 4, 2, (9, 7), (1, 1), stride=2),
    Case("depthwise without borders", 32, 32, (8, 7), groups=32, batch=2),
    Case("depthwise 3x1 without borders", 32, 32, (8, 7), (3, 1), groups=32, batch=2, padding=(1, 0)),
    Case("depthwise 7x7", 16, 16, (7, 7), (7, 7), groups=16, padding=3),
    Case("depthwise planes of less than a vector", 16, 16, (2, 3), (5, 5), groups=16, padding=2, batch=3),
    Case("depthwise planes of a vector and some", 32, 32, (3, 6), (9, 7), groups=32, padding=(4, 3), batch=2),
    Case("depthwise planes of 12 channels", 12, 12, (3, 6), (9, 7), groups=12, padding=(4, 3)),
    Case("depthwise planes of few channels", 7, 7, (3, 3), (5, 5), groups=7, padding=2, batch=4),
    Case("depthwise narrow", 5, 5, (9, 3), groups=5, padding=1),
    Case("depthwise of whole rows", 40, 40, (7, 7), groups=40, padding=1),
    Case("depthwise of whole rows, several tiles", 40, 40, (37, 4), groups=40, padding=1, batch=2),
    Case("depthwise wide, stride 2", 33, 33, (9, 70), groups=33, padding=1, stride=2),
    Case("depthwise wide, stride 2, a pixel less than three vectors", 33, 33, (9, 47), groups=33, stride=2),
    Case("grouped", 12, 8, (9, 18), groups=4, padding=1),
    Case("depthwise narrow, stride 2", 5, 5, (11, 15), groups=5, padding=1, stride=2),
    Case("depthwise wide, stride 3", 3, 3, (10, 94), groups=3, padding=1, stride=3),
    Case("groups in blocks, nine taps at a time", 40, 40, (14, 15), groups=5, padding=1, batch=2),
    Case("groups in blocks, in cells", 40, 40, (14, 15), groups=5, padding=1, stride=2, batch=2),
    Case("groups in blocks, in cells without padding", 64, 64, (15, 22), groups=4, stride=2),
    Case("groups in blocks, the last with fewer", 80, 20, (9, 9), (5, 4), groups=5, padding=2, stride=2),
    Case("few outputs of groups, apart", 66, 4, (14, 13), (2, 3), groups=2, padding=1, stride=4),
    Case("few outputs of many inputs", 35, 3, (5, 9), padding=(2, 1), dilation=2, batch=2),
    Case("groups in blocks, apart", 80, 20, (21, 30), (2, 3), groups=5, padding=(1, 2), stride=(4, 5)),
    Case("groups in blocks, kernels as large as the image", 48, 48, (7, 7), (7, 7), groups=3, padding=3),
    Case("groups in blocks, 33 outputs", 32, 66, (5, 5), groups=2, padding=1, batch=5),
    Case("depthwise 7x7 stride 2, several tiles", 20, 20, (9, 33), (7, 7), groups=20, padding=3, stride=2),
    Case("depthwise of sums that slide", 40, 40, (9, 15), groups=40, padding=1, batch=2),
    Case("depthwise of sums that slide, without borders", 58, 58, (6, 13), groups=58),
    Case("depthwise of many channels", 200, 200, (5, 9), groups=200, padding=1),
    Case("depthwise, dilation 4, strips", 130, 130, (9, 75), groups=130, padding=4, dilation=4),
    # Blocks of whole vectors, and a last one of few channels, for 16 and 8 lanes.
    Case("97 groups of 3 to 1", 291, 97, (5, 5), groups=97, padding=1),
    Case("161 groups of 3 to 1", 483, 161, (5, 5), groups=161, padding=1),
    Case("65 channels, three times", 65, 195, (5, 5), groups=65, padding=1),
]
RUNS = [
    Case("four pixels", 40, 40, (2, 2), groups=8, padding=1),
    Case("five rows of three", 24, 36, (5, 3), groups=4, padding=1, batch=2),
    Case("a column", 3, 20, (7, 1), padding=1, stride=(2, 1)),
    Case("65 groups of 3 to 1", 195, 65, (3, 5), groups=65, padding=1),
]
DEPTHWISE = [
    Case("rows of 10", 5, 5, (9, 10), groups=5, padding=1),
    Case("rows of 16", 5, 5, (9, 16), (5, 5), groups=5, padding=2),
    Case("rows of 7 in pairs", 5, 5, (9, 7), groups=5, padding=1),
    Case("rows of 8 in pairs", 5, 5, (7, 8), (5, 5), groups=5, padding=2),
    Case("rows of 4 in pairs", 19, 19, (7, 4), groups=19, padding=1, batch=2),
    Case("stride 2", 19, 19, (9, 12), (5, 5), groups=19, padding=2, stride=2),
]
libc = ctypes.CDLL(None, use_errno=True)


class Fenced:
    """A copy of an array that ends where an unreadable page begins, or begins where one ends."""

    def __init__(self, array: np.ndarray, at_end: bool) -> None:
        page, size = mmap.PAGESIZE, array.nbytes
        room = -(-max(size, 1) // page) * page
        self.pages = mmap.mmap(-1, room + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        for fence in (start, start + page + room):
            if libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        offset = page + (room - size if at_end else 0)
        self.array = np.frombuffer(self.pages, array.dtype, array.size, offset).reshape(array.shape)
        self.array[...] = array


def check(case: Case, algorithm: str, dtype: Any, layout: str, at_end: bool) -> None:
    x, weight, bias = case.arrays(dtype)
    assert bias is not None
    x = to_layout(x, layout)
    how = {**case.options, "layout": layout, "algorithm": algorithm}
    expected = fastconv.conv2d(x, weight, bias, **how)
    fenced = [Fenced(a, at_end) for a in (x, weight, bias, np.zeros_like(expected))]
    fastconv.conv2d(*(f.array for f in fenced[:3]), **how, out=fenced[3].array)
    assert same_bits(fenced[3].array, expected)
    plan = fastconv.plan_conv2d(x.shape, weight, bias, **how)
    fenced[3].array[...] = 0
    plan(fenced[0].array, out=fenced[3].array)
    assert same_bits(fenced[3].array, plan(x))


def check_gradients(case: Case, dtype: Any, layout: str, at_end: bool) -> None:
    x, weight, _ = case.arrays(dtype)
    x, grad = to_layout(x, layout), np.ones(case.out_shape(layout), dtype)
    how: dict[str, Any] = {name: value for name, value in case.options.items() if name != "activation"}
    how["layout"] = layout
    of_x = fastconv.conv2d_input_grad(grad, weight, input_shape=x.shape, **how)
    of_weight = fastconv.conv2d_weight_grad(grad, x, weight_shape=weight.shape, **how)
    fenced = [Fenced(a, at_end) for a in (x, weight, grad, np.zeros_like(x), np.zeros_like(weight))]
    x, weight, grad, out_x, out_weight = (f.array for f in fenced)
    fastconv.conv2d_input_grad(grad, weight, input_shape=x.shape, out=out_x, **how)
    fastconv.conv2d_weight_grad(grad, x, weight_shape=weight.shape, out=out_weight, **how)
    assert same_bits(out_x, of_x)
    assert same_bits(out_weight, of_weight)
    if case.name.startswith("groups in blocks"):
        shape = to_layout(case.arrays(dtype)[0], layout).shape
        of_x = fastconv.conv2d_input_grad(grad, weight, input_shape=shape, algorithm="blocks", **how)
        fastconv.conv2d_input_grad(grad, weight, input_shape=shape, algorithm="blocks", out=out_x, **how)
        assert same_bits(out_x, of_x)


def check_runs(dtype: Any, layout: str, at_end: bool) -> None:
    """Weight gradients by runs and by rows, of planes of fewer pixels than a vector and of few channels, and
    those of depthwise."""
    beside = ("planes",) if layout == "NCHW" else ("pixels", "channels")
    for case, algorithms in [*((c, ("runs", "rows")) for c in RUNS), *((c, beside) for c in DEPTHWISE)]:
        x, weight, _ = case.arrays(dtype)
        x, grad = np.rint(to_layout(x, layout)), np.ones(case.out_shape(layout), dtype)
        how: dict[str, Any] = {name: value for name, value in case.options.items() if name != "activation"}
        how |= {"layout": layout, "weight_shape": weight.shape}
        expected = reference.conv2d_weight_grad(grad, x, **how)
        fenced = [Fenced(a, at_end) for a in (grad, x, np.zeros_like(weight))]
        grad, x, out = (f.array for f in fenced)
        for algorithm in algorithms:
            fastconv.conv2d_weight_grad(grad, x, out=out, algorithm=algorithm, **how)
            np.testing.assert_array_equal(out, expected)


def check_views(dtype: Any, at_end: bool) -> None:
    """Pixels that are read backwards, or twice: what comes next need not lie behind."""
    how: dict[str, Any] = {"weight_shape": (20, 20, 1, 1), "layout": "NHWC"}
    values = np.rint(normal((7, 9, 90, 20), dtype))
    images = Fenced(values, at_end).array
    one = Fenced(values[:1], at_end).array
    other = np.rint(normal((7, 9, 90, 20), dtype, 1))
    for view in (images[:, ::-1], images[::-1], images[:, :, ::-1], np.broadcast_to(one, other.shape)):
        for x, grad in ((view, other), (other, view)):
            found = fastconv.conv2d_weight_grad(grad, x, **how)
            np.testing.assert_array_equal(found, reference.conv2d_weight_grad(grad, x, **how))


def main() -> None:
    fastconv.conv2d(normal((1, 1, 4, 4)), normal((1, 1, 3, 3)))
    for case in CASES:
        for algorithm in ALGORITHMS:
            if not case.supports(algorithm):
                continue
            for dtype in DTYPES:
                for layout in LAYOUTS:
                    for at_end in (True, False):
                        where = "end" if at_end else "beginning"
                        print(f"{case.name}, {algorithm}, {dtype.__name__}, {layout}, {where}", flush=True)
                        check(case, algorithm, dtype, layout, at_end)
        for dtype in DTYPES:
            for layout in LAYOUTS:
                for at_end in (True, False):
                    where = "end" if at_end else "beginning"
                    print(f"gradients of {case.name}, {dtype.__name__}, {layout}, {where}", flush=True)
                    check_gradients(case, dtype, layout, at_end)
    for dtype in DTYPES:
        for layout in LAYOUTS:
            for at_end in (True, False):
                print(f"runs, {dtype.__name__}, {layout}, {'end' if at_end else 'beginning'}", flush=True)
                check_runs(dtype, layout, at_end)
    for dtype in DTYPES:
        for at_end in (True, False):
            print(f"views, {dtype.__name__}, {'end' if at_end else 'beginning'}", flush=True)
            check_views(dtype, at_end)
    print("done")
