"""The command `fastconv`: info, filter, bench, explain.  Reads arguments, calls the package, prints.

Whatever is wrong with what the user gave is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import fastconv
from fastconv import _core, filters
from fastconv._arguments import UsageError, import_error, integers, positive
from fastconv.bench import command
from fastconv.bench.networks import NETWORKS

KERNELS: dict[str, Callable[[argparse.Namespace], tuple[str, Callable[[Any], Any]]]] = {
    "sobel": lambda a: ("sobel", lambda x: filters.sobel(x, a.padding_mode)),
    "sharpen": lambda a: ("sharpen", lambda x: filters.sharpen(x, a.padding_mode)),
    "edges": lambda a: ("edges", lambda x: filters.edges(x, a.padding_mode)),
    "emboss": lambda a: ("emboss", lambda x: filters.emboss(x, a.padding_mode)),
    "box_blur": lambda a: (
        f"box_blur, size {a.size}",
        lambda x: filters.box_blur(x, a.size, a.padding_mode),
    ),
    "gaussian_blur": lambda a: (
        f"gaussian_blur, sigma {a.sigma:g}",
        lambda x: filters.gaussian_blur(x, a.sigma, a.padding_mode),
    ),
}
"""By the name that ``--kernel`` takes: from the arguments, a label and the filter."""


class Parser(argparse.ArgumentParser):
    """Prints one line instead of the usage where arguments are wrong."""

    def error(self, message: str) -> NoReturn:
        """Say it and leave."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; of this process if not given.

    Returns
    -------
    int
        0; 1 where a benchmark found a wrong result; 2 where what the user gave is wrong.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except UsageError as error:
        print(f"fastconv {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away: `fastconv info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def make_parser() -> Parser:
    """Describe all commands."""
    parser = Parser(prog="fastconv", description="Fast convolution on a CPU.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastconv {fastconv.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="CPU, instruction set, caches, threads, build")
    info.set_defaults(run=run_info)
    _add_filter(commands.add_parser("filter", help="filter a photograph (needs fastconv[image])"))
    command.add(commands.add_parser("bench", help="measure beside other libraries (needs fastconv[bench])"))
    _add_explain(commands.add_parser("explain", help="how a convolution would be computed, and why"))
    return parser


def _mib(size: int) -> str:
    return f"{size / 2**20:g} MiB" if size >= 2**20 else f"{size / 2**10:g} KiB"


def run_info(args: argparse.Namespace) -> int:
    """Print what this machine and this build are."""
    info = _core.info()
    wide = f"{info['wide_fmas']} multiply-adds a cycle (FASTCONV_WIDE_FMAS corrects)"
    lines = {
        "fastconv": info["version"],
        "cpu": info["cpu"],
        "isa": f"{info['isa']} (available: {', '.join(info['isas'])}; FASTCONV_ISA chooses)",
        **({"512 bits": wide} if info["isa"] == "avx512" else {}),
        "caches": f"L1 {_mib(info['l1'])}, L2 {_mib(info['l2'])}, L3 {_mib(info['l3'])}",
        "threads": f"{info['threads']} (default {info['default_threads']}; FASTCONV_NUM_THREADS chooses)",
        "compiler": info["compiler"],
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }
    for name, value in lines.items():
        print(f"{name:<10}{value}")
    return 0


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Filter a photograph of any size and mode; alpha is kept, EXIF orientation respected."
    )
    parser.add_argument("image", type=Path, help="any image that Pillow reads")
    parser.add_argument(
        "--kernel", required=True, metavar="NAME",
        help=f"{', '.join(KERNELS)}; or all, for a labelled contact sheet of a reduced picture",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, help="any image that Pillow writes")
    parser.add_argument("--size", type=positive, default=5, help="window of box_blur (default 5)")
    parser.add_argument("--sigma", type=float, default=2.0, help="of gaussian_blur, in pixels (default 2)")
    parser.add_argument("--padding-mode", default="replicate", help="what is outside (default replicate)")
    parser.set_defaults(run=run_filter)


def run_filter(args: argparse.Namespace) -> int:
    """Read, filter, write."""
    if args.kernel != "all" and args.kernel not in KERNELS:
        raise UsageError(f"unknown kernel {args.kernel!r}, known are {', '.join(KERNELS)}, all")
    try:
        from fastconv import _image
    except ModuleNotFoundError as error:
        raise import_error("filter", "Pillow", "image") from error
    try:
        photo = _image.load(args.image)
        start = time.perf_counter()
        if args.kernel == "all":
            small = _image.shrink(photo)
            made = [make(args) for make in KERNELS.values()]
            result = _image.contact_sheet(
                [("original", small), *((label, small.apply(change)) for label, change in made)]
            )
        else:
            result = photo.apply(KERNELS[args.kernel](args)[1])
        spent = time.perf_counter() - start
        lost = _image.save(result, args.output)
    except _image.ImageProblem as error:
        raise UsageError(str(error)) from error
    except MemoryError as error:
        raise UsageError(f"{args.image} with this kernel needs more memory than there is") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    if lost:
        print(f"fastconv filter: note: {lost}", file=sys.stderr)
    print(f"{args.output}: {args.kernel} of {photo.describe()}, {spent * 1e3:.1f} ms")
    return 0


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the plan of a convolution: a layer of a network (fastconv bench --list names them), "
        "or one described by the shapes of its arrays."
    )
    parser.add_argument("layer", nargs="?", help="such as resnet50.layer1.0.conv2")
    parser.add_argument("--batch", type=positive, default=1, help="of a named layer (default 1)")
    parser.add_argument("--input", type=integers, metavar="SHAPE", help="such as 1x64x56x56")
    parser.add_argument("--weight", type=integers, metavar="SHAPE", help="out, in / groups, height, width")
    parser.add_argument("--stride", type=integers, default=[1])
    parser.add_argument("--padding", default="0", help='a number, one per axis as 1,2, "same" or "valid"')
    parser.add_argument("--dilation", type=integers, default=[1])
    parser.add_argument("--groups", type=positive, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--layout", choices=["NCHW", "NHWC"], default="NCHW")
    parser.add_argument("--algorithm", default="auto")
    parser.set_defaults(run=run_explain)


def run_explain(args: argparse.Namespace) -> int:
    """Make the plan and let it explain itself."""
    options: dict[str, Any] = {"layout": args.layout, "algorithm": args.algorithm}
    if args.layer:
        layers = {layer.full_name: layer for network in NETWORKS.values() for layer in network}
        if args.layer not in layers:
            raise UsageError(f"unknown layer {args.layer!r}; fastconv bench --list prints them all")
        layer = layers[args.layer]
        _, channels, height, width = layer.x_shape
        first = (args.batch, channels, height, width)
        x_shape = first if args.layout == "NCHW" else (args.batch, height, width, channels)
        weight_shape: tuple[int, ...] = layer.weight_shape
        options |= {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        options |= {"groups": layer.groups}
    elif args.input and args.weight:
        x_shape, weight_shape = tuple(args.input), tuple(args.weight)
        per_axis = {"stride": args.stride, "dilation": args.dilation}
        options |= {name: values[0] if len(values) == 1 else values for name, values in per_axis.items()}
        options |= {"padding": _padding(args.padding), "groups": args.groups}
    else:
        raise UsageError("give the name of a layer, or both --input and --weight")
    try:
        weight = np.zeros(weight_shape, args.dtype)
        print(fastconv.plan_conv2d(x_shape, weight, **options).explain())
    except (ValueError, TypeError, MemoryError) as error:
        raise UsageError(str(error)) from error
    return 0


def _padding(text: str) -> Any:
    try:
        values = integers(text)
    except ValueError:
        return text
    return values[0] if len(values) == 1 else values


if __name__ == "__main__":
    sys.exit(main())
