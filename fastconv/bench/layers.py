"""What is measured: `Layer`, one convolution, and `Pool`, one pooling; for run.py and `fastconv explain`.

networks.py has the tables of them; `select` in operators.py picks from those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Pair = tuple[int, int]
Shape = tuple[int, int, int, int]


def pair(value: int | Pair) -> Pair:
    """Give both axes their number.

    Examples
    --------
    >>> pair(3), pair((1, 7))
    ((3, 3), (1, 7))
    """
    return (value, value) if isinstance(value, int) else value


def _by(numbers: Pair) -> str:
    return f"{numbers[0]}x{numbers[1]}"


def _short(numbers: Pair) -> str:
    """One number where both are the same."""
    return str(numbers[0]) if numbers[0] == numbers[1] else _by(numbers)


def _out_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    first, second = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    )
    return first, second


class Case(Protocol):
    """What the rest of the benchmark asks of a layer, whatever it computes.

    Attributes
    ----------
    network, name : str
        The network and the place of the first such layer in it.
    batch : int
        Images.
    full_name : str
        Network and place, as ``--filter`` and ``--layer`` take it.
    flops : int
        Operations of its definition.
    elements : int
        Elements of its operands and its result: what must be moved at least once.
    """

    @property
    def network(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def batch(self) -> int: ...  # noqa: D102
    @property
    def full_name(self) -> str: ...  # noqa: D102
    @property
    def flops(self) -> int: ...  # noqa: D102
    @property
    def elements(self) -> int: ...  # noqa: D102

    def describe(self) -> str:
        """Kernel, channels and plane in a few characters."""


@dataclass(frozen=True)
class Layer:
    """One convolution of a network, padded alike before and after.

    Attributes
    ----------
    network, name : str
        The network and the place of the first such layer in it.
    count : int
        How many layers of the network have this shape.
    """

    network: str
    name: str
    in_channels: int
    out_channels: int
    size: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False
    batch: int = 1
    count: int = 1

    @property
    def full_name(self) -> str:
        """Network and place, as ``--filter`` and ``--layer`` take it."""
        return f"{self.network}.{self.name}"

    @property
    def out_size(self) -> Pair:
        """Height and width of the output."""
        return _out_size(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def x_shape(self) -> Shape:
        """Shape of the input, NCHW."""
        return self.batch, self.in_channels, *self.size

    @property
    def weight_shape(self) -> Shape:
        """Shape of the weights, (out, in / groups, height, width)."""
        return self.out_channels, self.in_channels // self.groups, *self.kernel

    @property
    def y_shape(self) -> Shape:
        """Shape of the output, NCHW."""
        return self.batch, self.out_channels, *self.out_size

    @property
    def depth(self) -> int:
        """How many products make one output element."""
        return self.in_channels // self.groups * self.taps

    @property
    def flops(self) -> int:
        """Multiplications and additions, those with padding counted, as is usual; of a gradient the same."""
        height, width = self.out_size
        return 2 * self.depth * self.batch * self.out_channels * height * width

    @property
    def elements(self) -> int:
        """Elements of input, weights and output: what must be moved at least once."""
        pixels, out_pixels = self.size[0] * self.size[1], self.out_size[0] * self.out_size[1]
        moved = self.batch * (self.in_channels * pixels + self.out_channels * out_pixels)
        return moved + self.out_channels * self.depth

    @property
    def depthwise(self) -> bool:
        """Whether every channel has filters of its own."""
        return self.groups == self.in_channels > 1

    def describe(self) -> str:
        """Kernel, channels and plane in a few characters.

        Examples
        --------
        >>> Layer("net", "conv1", 3, 64, (224, 224), (7, 7), (2, 2), (3, 3)).describe()
        '7x7/2 3->64 224x224'
        >>> Layer("net", "conv2", 32, 32, (112, 112), (3, 3), padding=(1, 1), groups=32, batch=16).describe()
        '16 x dw 3x3 32 112x112'
        >>> Layer("net", "conv3", 48, 64, (35, 35), (5, 5)).describe()  # not padded to keep the plane
        '5x5 48->64 35x35 p0'
        """
        kernel = _by(self.kernel)
        if self.stride != (1, 1):
            kernel += f"/{_short(self.stride)}"
        if self.dilation != (1, 1):
            kernel += f" d{_short(self.dilation)}"
        channels = f"{self.in_channels}->{self.out_channels}"
        if self.depthwise and self.in_channels == self.out_channels:
            kernel, channels = f"dw {kernel}", str(self.in_channels)
        elif self.groups > 1:
            channels += f" g{self.groups}"
        batch = f"{self.batch} x " if self.batch > 1 else ""
        kept = all(2 * p == d * (k - 1) for p, d, k in zip(self.padding, self.dilation, self.kernel))
        padding = "" if kept else f" p{_short(self.padding)}"
        return f"{batch}{kernel} {channels} {_by(self.size)}{padding}"


@dataclass(frozen=True)
class Pool:
    """One pooling of a network.

    Attributes
    ----------
    network, name : str
        The network and the place of the first such layer in it.
    kind : str
        "max", "avg", "lp" (the L2 norm), "global" (the average of the plane), "adaptive" (average) or
        "adaptive max"; the kernel of the last two is the size of the output.
    count : int
        How many layers of the network have this shape.
    """

    network: str
    name: str
    kind: str
    channels: int
    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    batch: int = 1
    count: int = 1

    @property
    def full_name(self) -> str:
        """Network and place, as ``--filter`` takes it."""
        return f"{self.network}.{self.name}"

    @property
    def adaptive(self) -> bool:
        """Whether the windows follow from the size of the output."""
        return self.kind in ("global", "adaptive", "adaptive max")

    @property
    def out_size(self) -> Pair:
        """Height and width of the output."""
        if self.adaptive:
            return self.kernel
        return _out_size(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def x_shape(self) -> Shape:
        """Shape of the input, NCHW."""
        return self.batch, self.channels, *self.size

    @property
    def y_shape(self) -> Shape:
        """Shape of the output, NCHW."""
        return self.batch, self.channels, *self.out_size

    @property
    def depth(self) -> int:
        """How many elements make one of the output; where windows differ, the most."""
        if not self.adaptive:
            return self.kernel[0] * self.kernel[1]
        height, width = (-(-n // out) + (n % out > 0) for n, out in zip(self.size, self.kernel))
        return height * width

    @property
    def flops(self) -> int:
        """One operation for every element of every window."""
        height, width = self.out_size
        return self.batch * self.channels * height * width * self.depth

    @property
    def elements(self) -> int:
        """Elements of input and output."""
        pixels, out_pixels = self.size[0] * self.size[1], self.out_size[0] * self.out_size[1]
        return self.batch * self.channels * (pixels + out_pixels)

    def describe(self) -> str:
        """Kind, window, channels and plane in a few characters.

        Examples
        --------
        >>> Pool("net", "pool", "max", 64, (112, 112), (3, 3), (2, 2), (1, 1)).describe()
        'max 3x3/2 64 112x112'
        >>> Pool("net", "pool", "global", 2048, (7, 7), (1, 1), (1, 1), batch=16).describe()
        '16 x global 2048 7x7'
        >>> Pool("net", "pool", "adaptive", 256, (13, 13), (6, 6), (1, 1)).describe()
        'adaptive to 6x6 256 13x13'
        """
        batch = f"{self.batch} x " if self.batch > 1 else ""
        end = f"{self.channels} {_by(self.size)}"
        if self.kind == "global":
            return f"{batch}global {end}"
        if self.adaptive:
            return f"{batch}{self.kind} to {_by(self.kernel)} {end}"
        stride = "" if self.stride == (1, 1) else f"/{_short(self.stride)}"
        dilation = "" if self.dilation == (1, 1) else f" d{_short(self.dilation)}"
        return f"{batch}{self.kind} {_by(self.kernel)}{stride}{dilation} {end}"
