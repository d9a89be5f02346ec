"""Both gradients of convolution beside PyTorch's, in both layouts: `python benchmarks/gradients.py`.

Every row is one layer and one gradient.  fastconv computes it in NCHW and in NHWC; PyTorch's
`convolution_backward` does with contiguous and with channels_last tensors.  All four are timed in one process,
in rounds whose order turns, and the least time of each counts.  The two last columns are the better of
PyTorch's two over each of fastconv's two.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import fastconv

LAYOUTS = ("NCHW", "NHWC")
GRADIENTS = ("input", "weight")
BLOCK_SECONDS = 0.01
"""A contender is called again and again for about so long in each round."""


@dataclass(frozen=True)
class Case:
    """One layer; a pair where its kernel is not square."""

    network: str
    channels: int
    outputs: int
    size: int
    kernel: int | tuple[int, int]
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    batch: int = 1
    padded: bool = True

    @property
    def kernels(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.kernel if isinstance(self.kernel, tuple) else (self.kernel, self.kernel)

    @property
    def padding(self) -> tuple[int, int]:
        """What keeps the size of the plane at stride 1."""
        height, width = self.kernels
        return (self.dilation * (height // 2), self.dilation * (width // 2)) if self.padded else (0, 0)

    @property
    def out_sizes(self) -> tuple[int, int]:
        """Height and width of the output."""
        high, wide = (
            (self.size + 2 * pad - self.dilation * (kernel - 1) - 1) // self.stride + 1
            for pad, kernel in zip(self.padding, self.kernels, strict=True)
        )
        return high, wide

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Of input, weights and output, NCHW."""
        x = (self.batch, self.channels, self.size, self.size)
        weight = (self.outputs, self.channels // self.groups, *self.kernels)
        return x, weight, (self.batch, self.outputs, *self.out_sizes)

    @property
    def flops(self) -> float:
        """Of one gradient: as many as the forward's."""
        _, weight, y = self.shapes
        return 2.0 * math.prod(weight) * y[0] * y[2] * y[3]

    def describe(self) -> str:
        """Kernel, channels and plane in a few characters."""
        height, width = self.kernels
        text = f"{self.batch} x " if self.batch > 1 else ""
        depthwise = self.groups == self.channels == self.outputs > 1
        text += f"{'dw ' if depthwise else ''}{height}x{width}"
        text += f"/{self.stride}" if self.stride > 1 else ""
        text += f" d{self.dilation}" if self.dilation > 1 else ""
        text += f" {self.channels}" if depthwise else f" {self.channels}->{self.outputs}"
        text += f" g{self.groups}" if self.groups > 1 and not depthwise else ""
        return f"{text} {self.size}"


CASES = (
    Case("resnet50", 3, 64, 224, 7, 2),
    Case("resnet50", 64, 64, 56, 1),
    Case("resnet50", 64, 64, 56, 3),
    Case("resnet50", 64, 256, 56, 1),
    Case("resnet50", 256, 64, 56, 1),
    Case("resnet50", 256, 512, 56, 1, 2),
    Case("resnet50", 128, 128, 56, 3, 2),
    Case("resnet50", 128, 128, 28, 3),
    Case("resnet50", 256, 256, 28, 3, 2),
    Case("resnet50", 256, 256, 14, 3),
    Case("resnet50", 1024, 256, 14, 1),
    Case("resnet50", 512, 2048, 7, 1),
    Case("resnet50", 512, 512, 14, 3, 2),
    Case("resnet50", 512, 512, 7, 3),
    Case("resnet50", 2048, 512, 7, 1),
    Case("resnet50", 64, 64, 56, 3, batch=16),
    Case("resnet50", 256, 256, 14, 3, batch=16),
    Case("resnet50", 512, 512, 7, 3, batch=16),
    Case("resnet50", 256, 64, 56, 1, batch=16),
    Case("resnet50", 512, 2048, 7, 1, batch=64),
    Case("vgg16", 3, 64, 224, 3),
    Case("vgg16", 64, 64, 224, 3),
    Case("vgg16", 256, 256, 56, 3),
    Case("vgg16", 512, 512, 28, 3),
    Case("vgg16", 512, 512, 14, 3),
    Case("mobilenetv2", 32, 32, 112, 3, groups=32),
    Case("mobilenetv2", 96, 96, 112, 3, 2, groups=96),
    Case("mobilenetv2", 384, 384, 14, 3, groups=384),
    Case("mobilenetv2", 960, 960, 7, 3, groups=960),
    Case("mobilenetv2", 384, 384, 14, 3, groups=384, batch=16),
    Case("mobilenetv2", 192, 192, 28, 3, 2, groups=192, batch=16),
    Case("mobilenetv2", 96, 24, 56, 1),
    Case("mobilenetv2", 3, 32, 224, 3, 2),
    Case("mobilenetv3", 72, 72, 56, 5, 2, groups=72),
    Case("mobilenetv3", 120, 120, 28, 5, groups=120),
    Case("efficientnet", 240, 240, 28, 5, groups=240),
    Case("efficientnet", 672, 672, 14, 5, 2, groups=672),
    Case("efficientnet", 1152, 1152, 7, 5, groups=1152),
    Case("efficientnet", 40, 240, 28, 1),
    Case("convnext", 96, 96, 56, 7, groups=96),
    Case("convnext", 384, 384, 14, 7, groups=384),
    Case("convnext", 768, 768, 7, 7, groups=768),
    Case("convnext", 3, 96, 224, 4, 4, padded=False),
    Case("convnext", 96, 192, 56, 2, 2, padded=False),
    Case("resnext", 128, 128, 56, 3, groups=32),
    Case("resnext", 256, 256, 56, 3, 2, groups=32),
    Case("resnext", 512, 512, 14, 3, groups=32),
    Case("resnext", 1024, 1024, 7, 3, groups=32),
    Case("inception", 128, 192, 17, (1, 7)),
    Case("inception", 192, 192, 17, (7, 1)),
    Case("inception", 48, 64, 35, 5),
    Case("inception", 35, 77, 35, 3),
    Case("deeplab", 256, 256, 33, 3, dilation=6),
    Case("deeplab", 512, 512, 33, 3, dilation=2),
    Case("alexnet", 3, 64, 224, 11, 4),
    Case("alexnet", 64, 192, 27, 5),
    Case("unet", 64, 64, 256, 3),
    Case("unet", 128, 64, 256, 1),
    Case("odd", 3, 5, 1000, 3),
    Case("odd", 33, 65, 19, 3, 3),
    Case("odd", 17, 17, 61, 3, batch=3),
    Case("lenet", 1, 6, 28, 5, batch=64),
    Case("lenet", 6, 16, 14, 5, batch=64),
    Case("tiny", 8, 8, 8, 3),
    Case("tiny", 4, 4, 4, 1),
    Case("tiny", 32, 32, 8, 3, groups=32),
)


def torch_call(
    case: Case, arrays: list[np.ndarray[Any, Any]], gradient: str, last: bool
) -> Callable[[], Any]:
    """PyTorch's gradient of NCHW arrays, brought into the memory format first."""
    memory_format = torch.channels_last if last else torch.contiguous_format
    tensors = [torch.from_numpy(a).contiguous(memory_format=memory_format) for a in arrays]
    pair = [[value, value] for value in (case.stride, case.dilation)]
    mask = [gradient == "input", gradient == "weight", False]
    rest = (None, pair[0], list(case.padding), pair[1], False, [0, 0], case.groups, mask)

    def run() -> Any:
        with torch.inference_mode():
            return torch.ops.aten.convolution_backward(*tensors, *rest)

    return run


def fastconv_call(
    case: Case, arrays: list[np.ndarray[Any, Any]], gradient: str, layout: str
) -> Callable[[], Any]:
    """The same of fastconv."""
    grad, x, weight = arrays
    if layout == "NHWC":
        grad, x = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (grad, x))
    options = {
        "stride": case.stride,
        "padding": case.padding,
        "dilation": case.dilation,
        "groups": case.groups,
    }
    if gradient == "input":
        return lambda: fastconv.conv2d_input_grad(grad, weight, input_shape=x.shape, layout=layout, **options)
    return lambda: fastconv.conv2d_weight_grad(grad, x, weight_shape=weight.shape, layout=layout, **options)


def contenders(case: Case, gradient: str, dtype: str) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    rng = np.random.default_rng(0)
    x, weight, y = case.shapes
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in (y, x, weight)]
    return {
        "torch NCHW": torch_call(case, arrays, gradient, last=False),
        "torch NHWC": torch_call(case, arrays, gradient, last=True),
        **{layout: fastconv_call(case, arrays, gradient, layout) for layout in LAYOUTS},
    }


def measure(calls: dict[str, Callable[[], Any]], rounds: int, pause: float) -> dict[str, float]:
    """Least seconds of each call."""
    best = dict.fromkeys(calls, math.inf)
    names = list(calls)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            time.sleep(pause)
            calls[name]()
            repeats = max(1, min(200, int(BLOCK_SECONDS / best[name]))) if best[name] < math.inf else 1
            for _ in range(repeats):
                start = time.perf_counter()
                calls[name]()
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def selected(pattern: str, dtype: str) -> Iterator[tuple[Case, str]]:
    """Rows whose description matches."""
    for case in CASES:
        for gradient in GRADIENTS:
            if re.search(pattern, f"{case.network} {gradient} {case.describe()} {dtype}"):
                yield case, gradient


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Draw the table, and the summary of both layouts."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("layer", no_wrap=True)
    drawn.add_column("gradient")
    for heading in ("torch NCHW", "torch NHWC", *LAYOUTS, "GFLOP/s", *(f"{name} ratio" for name in LAYOUTS)):
        drawn.add_column(heading, justify="right", no_wrap=True)
    ratios: list[float] = []
    for row in rows:
        ms = row["seconds"]
        peer = min(ms["torch NCHW"], ms["torch NHWC"])
        cells = []
        for layout in LAYOUTS:
            ratio = peer / ms[layout]
            ratios.append(ratio)
            cells.append(f"{ratio:.2f}" if ratio >= 1 else f"[red]{ratio:.2f}[/red]")
        rate = row["flops"] / min(ms[layout] for layout in LAYOUTS) * 1e-9
        times = [f"{1e3 * ms[name]:.3g}" for name in ("torch NCHW", "torch NHWC", *LAYOUTS)]
        drawn.add_row(
            f"{row['network']} {row['description']}", row["gradient"], *times, f"{rate:.0f}", *cells
        )
    console.print(drawn)
    mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
    behind = sum(ratio < 1 for ratio in ratios)
    console.print(
        f"{mean:.2f} times PyTorch's better layout, geometric mean of {len(ratios)}; {behind} behind"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--filter", default="", help="a regular expression: network, gradient, layer")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th row, from the i-th on")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="write the rows to this file")
    arguments = parser.parse_args()
    if arguments.threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(arguments.threads)
    fastconv.set_num_threads(arguments.threads)
    part, parts = map(int, arguments.part.split("/"))
    console = Console()
    rows = []
    chosen = list(selected(arguments.filter, arguments.dtype))[part::parts]
    for case, gradient in track(chosen, "measuring", console=Console(stderr=True)):
        seconds = measure(
            contenders(case, gradient, arguments.dtype),
            arguments.rounds,
            0.003 if arguments.threads > 1 else 0.0,
        )
        rows.append(
            asdict(case)
            | {"description": case.describe(), "gradient": gradient, "flops": case.flops, "seconds": seconds}
        )
    show(rows, console)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file)


if __name__ == "__main__":
    main()
