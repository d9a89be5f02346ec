"""The convolutions and poolings of well-known networks, each written down from its paper, each shape once.

`NETWORKS` and `POOLINGS` are the tables; operators.py picks from them.  Left out are layers that are no
convolution (fully connected) and transposed ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fastconv.bench.layers import Layer, Pair, Pool, pair


@dataclass
class _Network:
    """Collects layers while a network is written down, following its channels and plane size."""

    name: str
    channels: int = 3
    size: int = 224
    bias: bool = False
    layers: dict[Layer, Layer] = field(default_factory=dict)
    pools: dict[Pool, Pool] = field(default_factory=dict)

    def conv(
        self,
        name: str,
        out: int,
        kernel: int | Pair,
        stride: int = 1,
        groups: int = 1,
        *,
        padding: int | None = None,
        dilation: int = 1,
        branch: bool = False,
    ) -> None:
        """Add a layer, padded to keep the plane if not told otherwise; a branch leaves channels and size."""
        k = pair(kernel)
        around = (
            (dilation * (k[0] - 1) // 2, dilation * (k[1] - 1) // 2) if padding is None else pair(padding)
        )
        layer = Layer(
            self.name, name, self.channels, out, pair(self.size), k, pair(stride), around, pair(dilation),
            groups, self.bias,
        )  # fmt: skip
        shape = replace(layer, name="")
        first = self.layers.get(shape, replace(layer, count=0))
        self.layers[shape] = replace(first, count=first.count + 1)
        if not branch:
            self.channels, self.size = out, layer.out_size[0]

    def chain(self, name: str, *steps: tuple[int, int | Pair]) -> None:
        """Add a branch of several layers (outputs, kernel), one after the other."""
        channels = self.channels
        for number, (out, kernel) in enumerate(steps, start=1):
            self.conv(f"{name}_{number}", out, kernel)
        self.channels = channels

    def squeeze(self, name: str, hidden: int) -> None:
        """Squeeze and excitation (Hu et al. 2017): the plane's average through two 1x1 layers."""
        size, channels = self.size, self.channels
        self.pool(f"{name}.squeeze", "global")
        self.conv(f"{name}.reduce", hidden, 1)
        self.conv(f"{name}.excite", channels, 1)
        self.size = size

    def pool(
        self,
        name: str,
        kind: str = "max",
        kernel: int = 2,
        stride: int = 2,
        padding: int = 0,
        *,
        dilation: int = 1,
        branch: bool = False,
    ) -> None:
        """Add a pooling; "global" leaves one pixel."""
        if kind == "global":
            kernel = stride = 1
        pool = Pool(
            self.name, name, kind, self.channels, pair(self.size), pair(kernel), pair(stride), pair(padding),
            pair(dilation),
        )  # fmt: skip
        shape = replace(pool, name="")
        first = self.pools.get(shape, replace(pool, count=0))
        self.pools[shape] = replace(first, count=first.count + 1)
        if not branch:
            self.size = pool.out_size[0]


def _bottlenecks(net: _Network, width: int, groups: int) -> None:
    """The stem and the four stages that ResNet-50 and ResNeXt-50 share."""
    net.conv("conv1", 64, 7, 2)
    net.pool("maxpool", "max", 3, 2, 1)
    for stage, blocks in enumerate([3, 4, 6, 3], start=1):
        inner, outer = width << (stage - 1), 256 << (stage - 1)
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            place = f"layer{stage}.{block}"
            if block == 0:
                net.conv(f"{place}.downsample", outer, 1, stride, branch=True)
            net.conv(f"{place}.conv1", inner, 1)
            net.conv(f"{place}.conv2", inner, 3, stride, groups)
            net.conv(f"{place}.conv3", outer, 1)
    net.pool("avgpool", "global")


def resnet50() -> _Network:
    """ResNet-50 with the stride in the 3x3 of a block (He et al. 2015, as torchvision has it)."""
    net = _Network("resnet50")
    _bottlenecks(net, 64, 1)
    return net


def resnext50() -> _Network:
    """ResNeXt-50 32x4d: 32 groups, 4 channels each in the first stage (Xie et al. 2016)."""
    net = _Network("resnext50")
    _bottlenecks(net, 128, 32)
    return net


def vgg16() -> _Network:
    """VGG-16 (Simonyan and Zisserman 2014)."""
    net = _Network("vgg16", bias=True)
    for stage, (width, convs) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], start=1):
        for conv in range(1, convs + 1):
            net.conv(f"conv{stage}_{conv}", width, 3)
        net.pool(f"pool{stage}")
    return net


def alexnet() -> _Network:
    """AlexNet on one device (Krizhevsky 2014, "One weird trick", as torchvision has it)."""
    net = _Network("alexnet", bias=True)
    net.conv("conv1", 64, 11, 4, padding=2)
    net.pool("pool1", "max", 3)
    net.conv("conv2", 192, 5)
    net.pool("pool2", "max", 3)
    for number, out in enumerate([384, 256, 256], start=3):
        net.conv(f"conv{number}", out, 3)
    net.pool("pool5", "max", 3)
    return net


def mobilenetv2() -> _Network:
    """MobileNetV2, width 1 (Sandler et al. 2018, table 2)."""
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
    net.pool("avgpool", "global")
    return net


def mobilenetv3() -> _Network:
    """MobileNetV3-Large (Howard et al. 2019, table 1); squeezed channels as its authors round them."""
    net = _Network("mobilenetv3")
    net.conv("conv1", 16, 3, 2)
    rows = [  # kernel, hidden, out, squeezed or 0, stride
        (3, 16, 16, 0, 1),
        (3, 64, 24, 0, 2),
        (3, 72, 24, 0, 1),
        (5, 72, 40, 24, 2),
        (5, 120, 40, 32, 1),
        (5, 120, 40, 32, 1),
        (3, 240, 80, 0, 2),
        (3, 200, 80, 0, 1),
        (3, 184, 80, 0, 1),
        (3, 184, 80, 0, 1),
        (3, 480, 112, 120, 1),
        (3, 672, 112, 168, 1),
        (5, 672, 160, 168, 2),
        (5, 960, 160, 240, 1),
        (5, 960, 160, 240, 1),
    ]
    for block, (kernel, hidden, out, squeezed, stride) in enumerate(rows, start=1):
        if hidden != net.channels:
            net.conv(f"block{block}.expand", hidden, 1)
        net.conv(f"block{block}.depthwise", hidden, kernel, stride, groups=hidden)
        if squeezed:
            net.squeeze(f"block{block}", squeezed)
        net.conv(f"block{block}.project", out, 1)
    net.conv("conv_last", 960, 1)
    net.pool("avgpool", "global")
    net.conv("head", 1280, 1)
    return net


def efficientnet() -> _Network:
    """EfficientNet-B0 (Tan and Le 2019, table 1), squeezing to a quarter of a block's input."""
    net = _Network("efficientnet")
    net.conv("conv1", 32, 3, 2)
    block = 0
    for expand, kernel, out, repeats, first_stride in [
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    ]:
        for repeat in range(repeats):
            block += 1
            squeezed, hidden = net.channels // 4, net.channels * expand
            if expand > 1:
                net.conv(f"block{block}.expand", hidden, 1)
            stride = first_stride if repeat == 0 else 1
            net.conv(f"block{block}.depthwise", hidden, kernel, stride, groups=hidden)
            net.squeeze(f"block{block}", squeezed)
            net.conv(f"block{block}.project", out, 1)
    net.conv("conv_last", 1280, 1)
    net.pool("avgpool", "global")
    return net


def convnext() -> _Network:
    """ConvNeXt-T (Liu et al. 2022): 7x7 depthwise, its two linear layers as the 1x1 convolutions they are."""
    net = _Network("convnext", bias=True)
    net.conv("stem", 96, 4, 4, padding=0)
    for stage, (width, blocks) in enumerate([(96, 3), (192, 3), (384, 9), (768, 3)], start=1):
        if stage > 1:
            net.conv(f"downsample{stage}", width, 2, 2, padding=0)
        for block in range(blocks):
            net.conv(f"stage{stage}.{block}.depthwise", width, 7, groups=width)
            net.conv(f"stage{stage}.{block}.expand", 4 * width, 1)
            net.conv(f"stage{stage}.{block}.project", width, 1)
    net.pool("avgpool", "global")
    return net


def inceptionv3() -> _Network:
    """Inception-v3 on 299x299 without the auxiliary head (Szegedy et al. 2015, as torchvision has it)."""
    net = _Network("inceptionv3", size=299)
    net.conv("conv1a", 32, 3, 2, padding=0)
    net.conv("conv2a", 32, 3, padding=0)
    net.conv("conv2b", 64, 3)
    net.pool("maxpool1", "max", 3)
    net.conv("conv3b", 80, 1)
    net.conv("conv4a", 192, 3, padding=0)
    net.pool("maxpool2", "max", 3)
    for number, pooled in enumerate([32, 64, 64], start=1):
        place = f"a{number}"
        net.chain(f"{place}.1x1", (64, 1))
        net.chain(f"{place}.5x5", (48, 1), (64, 5))
        net.chain(f"{place}.3x3", (64, 1), (96, 3), (96, 3))
        net.pool(f"{place}.pool", "avg", 3, 1, 1)
        net.chain(f"{place}.pool", (pooled, 1))
        net.channels = 224 + pooled
    _inception_reduce(net, "b", [], [(64, 1), (96, 3)], (384, 96))
    for number, width in enumerate([128, 160, 160, 192], start=1):
        place, row, column = f"c{number}", (1, 7), (7, 1)
        net.chain(f"{place}.1x1", (192, 1))
        net.chain(f"{place}.7x7", (width, 1), (width, row), (192, column))
        deep: list[tuple[int, int | Pair]] = [(width, 1), (width, column), (width, row), (width, column)]
        net.chain(f"{place}.7x7double", *deep, (192, row))
        net.pool(f"{place}.pool", "avg", 3, 1, 1)
        net.chain(f"{place}.pool", (192, 1))
    _inception_reduce(net, "d", [(192, 1)], [(192, 1), (192, (1, 7)), (192, (7, 1))], (320, 192))
    for number in (1, 2):
        place, row, column = f"e{number}", (1, 3), (3, 1)
        net.chain(f"{place}.1x1", (320, 1))
        for name, steps in [("3x3", [(384, 1)]), ("3x3double", [(448, 1), (384, 3)])]:
            channels = net.channels
            for step, (out, kernel) in enumerate(steps, start=1):
                net.conv(f"{place}.{name}_{step}", out, kernel)
            net.conv(f"{place}.{name}_row", 384, row, branch=True)
            net.conv(f"{place}.{name}_column", 384, column, branch=True)
            net.channels = channels
        net.pool(f"{place}.pool", "avg", 3, 1, 1)
        net.chain(f"{place}.pool", (192, 1))
        net.channels = 2048
    net.pool("avgpool", "global")
    return net


def _inception_reduce(
    net: _Network,
    place: str,
    first: list[tuple[int, int | Pair]],
    second: list[tuple[int, int | Pair]],
    ends: Pair,
) -> None:
    """Two branches that end with a 3x3 of stride 2, beside a pooling."""
    channels, size = net.channels, net.size
    for name, steps, end in [("3x3", first, ends[0]), ("double", second, ends[1])]:
        net.channels = channels
        for step, (out, kernel) in enumerate(steps, start=1):
            net.conv(f"{place}.{name}_{step}", out, kernel)
        net.conv(f"{place}.{name}_end", end, 3, 2, padding=0, branch=True)
    net.channels, net.size = channels, size
    net.pool(f"{place}.pool", "max", 3)
    net.channels = channels + sum(ends)


def deeplabv3() -> _Network:
    """The dilated layers of DeepLabV3 on ResNet-50, 513x513 input (Chen et al. 2017).

    Output stride 16: the last stage with its multi-grid (rates 2, 4, 8), pyramid pooling with rates 6, 12, 18
    and the 24 of its ablation; and the dilated stage 3 of output stride 8.
    """
    net = _Network("deeplabv3", channels=512, size=33)
    for rate in (2, 4, 8):
        net.conv(f"layer4.rate{rate}", 512, 3, dilation=rate, branch=True)
    net.channels = 2048
    net.conv("aspp.1x1", 256, 1, branch=True)
    for rate in (6, 12, 18, 24):
        net.conv(f"aspp.rate{rate}", 256, 3, dilation=rate, branch=True)
    net.pool("aspp.image", "global")
    net.conv("aspp.image", 256, 1)
    net.channels, net.size = 5 * 256, 33
    net.conv("aspp.project", 256, 1)
    net.conv("head", 256, 3)
    net.bias = True
    net.conv("classes", 21, 1)
    net.bias, net.channels, net.size = False, 256, 65
    net.conv("layer3.rate2", 256, 3, dilation=2)
    return net


def unet() -> _Network:
    """U-Net (Ronneberger et al. 2015) on 256x256, padded, as used today; and its published first layers.

    The published one takes 572x572 and pads nothing.  The transposed layers are left out.
    """
    net = _Network("unet", channels=1, size=572, bias=True)
    net.conv("published1_1", 64, 3, padding=0)
    net.conv("published1_2", 64, 3, padding=0)
    net.pool("published_pool1")
    net.channels, net.size = 3, 256
    for depth, width in enumerate([64, 128, 256, 512, 1024], start=1):
        if depth > 1:
            net.pool(f"pool{depth - 1}")
        net.conv(f"down{depth}_1", width, 3)
        net.conv(f"down{depth}_2", width, 3)
    for depth, width in enumerate([512, 256, 128, 64], start=1):
        net.channels, net.size = 2 * width, 2 * net.size
        net.conv(f"up{depth}_1", width, 3)
        net.conv(f"up{depth}_2", width, 3)
    net.conv("classes", 2, 1)
    return net


def dcgan() -> _Network:
    """The discriminator of DCGAN on 64x64 (Radford et al. 2015)."""
    net = _Network("dcgan", size=64)
    for number, out in enumerate([64, 128, 256, 512], start=1):
        net.conv(f"conv{number}", out, 4, 2, padding=1)
    net.conv("conv5", 1, 4, padding=0)
    return net


def tiny() -> _Network:
    """Small layers, where the call itself takes most of the time: LeNet-5, CIFAR's ResNet-20, smaller."""
    net = _Network("tiny", channels=8, size=8)
    net.conv("smallest3x3", 8, 3)
    net.channels, net.size = 16, 4
    net.conv("smallest1x1", 16, 1)
    net.channels, net.size = 1, 32
    net.conv("lenet1", 6, 5, padding=0)
    net.pool("lenet1")
    net.conv("lenet2", 16, 5, padding=0)
    net.pool("lenet2")
    net.channels, net.size = 1, 28
    net.conv("digits", 16, 3)
    net.channels, net.size = 3, 32
    for stage, width in enumerate([16, 32, 64], start=1):
        net.conv(f"cifar{stage}_1", width, 3, 1 if stage == 1 else 2)
        net.conv(f"cifar{stage}_2", width, 3)
    net.pool("cifar", "global")
    return net


def other() -> _Network:
    """What the networks lack: odd channels and strides, norms, overlapping, dilated, adaptive windows."""
    net = _Network("other", channels=3, size=1000)
    net.conv("few_channels", 5, 3)
    net.channels, net.size = 35, 35
    net.conv("odd_channels", 77, 3)
    net.channels, net.size = 33, 19
    net.conv("odd_stride", 65, 3, 3)
    net.channels, net.size = 17, 61
    net.conv("odd_plane", 17, 3)
    net.channels, net.size = 64, 56
    net.conv("multiplier", 128, 3, groups=64, branch=True)
    net.conv("pairs", 64, 3, groups=32, branch=True)
    net.channels, net.size = 64, 112
    net.pool("max_overlap", "max", 3, 1, 1, branch=True)
    net.pool("max_dilated", "max", 3, 1, 1, dilation=2, branch=True)
    net.pool("avg_halve", "avg", 2, 2, branch=True)
    net.pool("avg_overlap", "avg", 3, 1, 1, branch=True)
    net.pool("avg_stride", "avg", 3, 2, 1, branch=True)
    net.pool("lp_stride", "lp", 3, 2, branch=True)
    net.pool("lp_halve", "lp", 2, 2, branch=True)
    net.channels, net.size = 512, 13  # the pyramid of YOLOv3-SPP
    for kernel in (5, 9, 13):
        net.pool(f"pyramid{kernel}", "max", kernel, 1, kernel // 2, branch=True)
    net.channels, net.size = 256, 24
    net.pool("adaptive7", "adaptive", 7, branch=True)
    net.pool("adaptive_max6", "adaptive max", 6, branch=True)
    net.channels, net.size = 8, 8
    net.pool("smallest_max", branch=True)
    net.pool("smallest_avg", "avg", branch=True)
    return net


_TABLES: tuple[Callable[[], _Network], ...] = (
    resnet50,
    vgg16,
    mobilenetv2,
    mobilenetv3,
    efficientnet,
    convnext,
    resnext50,
    inceptionv3,
    deeplabv3,
    unet,
    alexnet,
    dcgan,
    tiny,
    other,
)

NETWORKS: dict[str, tuple[Layer, ...]] = {
    net.name: tuple(net.layers.values()) for net in (make() for make in _TABLES) if net.layers
}
"""The convolutions of each network, each distinct shape once."""

POOLINGS: dict[str, tuple[Pool, ...]] = {
    net.name: tuple(net.pools.values()) for net in (make() for make in _TABLES) if net.pools
}
"""The poolings of each network, each distinct shape once."""

SHORT = ("resnet50", "vgg16", "mobilenetv2")
"""The networks that `fastconv bench` takes where none are named."""

QUICK = (
    "resnet50.conv1",
    "resnet50.layer1.0.downsample",
    "resnet50.layer1.0.conv2",
    "resnet50.layer3.1.conv1",
    "resnet50.layer3.1.conv2",
    "vgg16.conv3_2",
    "mobilenetv2.block1.depthwise",
    "mobilenetv2.block8.depthwise",
    "resnet50.maxpool",
    "resnet50.avgpool",
    "inceptionv3.a1.pool",
)
"""One layer of each kind, for ``--quick``."""
