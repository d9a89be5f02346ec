"""The convolutions of well-known networks, each distinct shape once: for run.py and `fastconv explain`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Layer:
    """One convolution of a network: square kernel, the same stride and padding on both axes.

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
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = False
    batch: int = 1
    count: int = 1

    @property
    def full_name(self) -> str:
        """Network and place, as ``--filter`` and ``--layer`` take it."""
        return f"{self.network}.{self.name}"

    @property
    def out_size(self) -> int:
        """Height and width of the output."""
        return (self.size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Shape of the input, NCHW."""
        return self.batch, self.in_channels, self.size, self.size

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weights, (out, in / groups, height, width)."""
        return self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """Shape of the output, NCHW."""
        return self.batch, self.out_channels, self.out_size, self.out_size

    @property
    def depth(self) -> int:
        """How many products make one output element."""
        return self.in_channels // self.groups * self.kernel**2

    @property
    def flops(self) -> int:
        """Multiplications and additions, those with padding counted, as is usual."""
        return 2 * self.depth * self.batch * self.out_channels * self.out_size**2

    @property
    def elements(self) -> int:
        """Elements of input, weights and output: what must be moved at least once."""
        moved = self.batch * (self.in_channels * self.size**2 + self.out_channels * self.out_size**2)
        return moved + self.out_channels * self.depth

    @property
    def depthwise(self) -> bool:
        """Whether every channel has filters of its own."""
        return self.groups == self.in_channels > 1

    def describe(self) -> str:
        """Kernel, channels and plane in a few characters.

        Examples
        --------
        >>> Layer("net", "conv1", 3, 64, size=224, kernel=7, stride=2, padding=3).describe()
        '7x7/2 3->64 224x224'
        >>> Layer("net", "conv2", 32, 32, size=112, kernel=3, padding=1, groups=32, batch=16).describe()
        '16 x dw 3x3 32 112x112'
        """
        kernel = f"{self.kernel}x{self.kernel}"
        if self.stride > 1:
            kernel += f"/{self.stride}"
        if self.dilation > 1:
            kernel += f" d{self.dilation}"
        channels = f"{self.in_channels}->{self.out_channels}"
        if self.depthwise and self.in_channels == self.out_channels:
            kernel, channels = f"dw {kernel}", str(self.in_channels)
        elif self.groups > 1:
            channels += f" g{self.groups}"
        batch = f"{self.batch} x " if self.batch > 1 else ""
        return f"{batch}{kernel} {channels} {self.size}x{self.size}"


@dataclass
class _Network:
    """Collects layers while a network is written down, following its channels and plane size."""

    name: str
    channels: int = 3
    size: int = 224
    bias: bool = False
    layers: dict[Layer, Layer] = field(default_factory=dict)

    def conv(
        self, name: str, out: int, kernel: int, stride: int = 1, groups: int = 1, *, branch: bool = False
    ) -> None:
        """Add a layer padded to keep the plane; a branch leaves channels and size as they were."""
        layer = Layer(
            self.name, name, self.channels, out, self.size, kernel, stride, kernel // 2, 1, groups, self.bias
        )
        shape = replace(layer, name="")
        first = self.layers.get(shape, replace(layer, count=0))
        self.layers[shape] = replace(first, count=first.count + 1)
        if not branch:
            self.channels, self.size = out, layer.out_size

    def pool(self) -> None:
        """Halve the plane."""
        self.size //= 2


def resnet50() -> list[Layer]:
    """ResNet-50 with the stride in the 3x3 of a block (He et al. 2015, as torchvision has it)."""
    net = _Network("resnet50")
    net.conv("conv1", 64, 7, 2)
    net.pool()
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            place = f"layer{stage}.{block}"
            if block == 0:
                net.conv(f"{place}.downsample", 4 * width, 1, stride, branch=True)
            net.conv(f"{place}.conv1", width, 1)
            net.conv(f"{place}.conv2", width, 3, stride)
            net.conv(f"{place}.conv3", 4 * width, 1)
    return list(net.layers.values())


def vgg16() -> list[Layer]:
    """VGG-16 (Simonyan and Zisserman 2014)."""
    net = _Network("vgg16", bias=True)
    for stage, (width, convs) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], start=1):
        for conv in range(1, convs + 1):
            net.conv(f"conv{stage}_{conv}", width, 3)
        net.pool()
    return list(net.layers.values())


def mobilenetv2() -> list[Layer]:
    """MobileNetV2, width 1 (Sandler et al. 2018)."""
    net = _Network("mobilenetv2")
    net.conv("conv1", 32, 3, 2)
    block = 0
    for expand, out, repeats, first_stride in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]:
        for repeat in range(repeats):
            block += 1
            hidden = net.channels * expand
            if expand > 1:
                net.conv(f"block{block}.expand", hidden, 1)
            net.conv(f"block{block}.depthwise", hidden, 3, first_stride if repeat == 0 else 1, groups=hidden)
            net.conv(f"block{block}.project", out, 1)
    net.conv("conv_last", 1280, 1)
    return list(net.layers.values())


NETWORKS: dict[str, Callable[[], list[Layer]]] = {
    "resnet50": resnet50,
    "vgg16": vgg16,
    "mobilenetv2": mobilenetv2,
}

QUICK = (
    "resnet50.conv1",
    "resnet50.layer1.0.downsample",
    "resnet50.layer1.0.conv2",
    "resnet50.layer3.1.conv1",
    "resnet50.layer3.1.conv2",
    "vgg16.conv3_2",
    "mobilenetv2.block1.depthwise",
    "mobilenetv2.block8.depthwise",
)
"""One layer of each kind, for ``--quick``."""


def select(
    networks: Iterable[str] = tuple(NETWORKS),
    pattern: str = "",
    batches: Iterable[int] = (1,),
    quick: bool = False,
) -> list[Layer]:
    """Pick the layers to measure.

    Parameters
    ----------
    networks : iterable of str
        Keys of `NETWORKS`.
    pattern : str
        A regular expression searched for in "network.name description".
    batches : iterable of int
        Batch sizes; each layer is taken once with each.
    quick : bool
        Only the layers of `QUICK`.

    Returns
    -------
    list of Layer

    Examples
    --------
    >>> [layer.full_name for layer in select(["vgg16"], "512->512")]
    ['vgg16.conv4_2', 'vgg16.conv5_1']
    """
    wanted = re.compile(pattern)
    return [
        replace(layer, batch=batch)
        for batch in batches
        for network in networks
        for layer in NETWORKS[network]()
        if wanted.search(f"{layer.full_name} {layer.describe()}") and (not quick or layer.full_name in QUICK)
    ]
