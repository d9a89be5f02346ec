"""ResNet-50, MobileNetV2 and VGG-16 in PyTorch, written out from their papers: for networks.py.

Weights are random, scaled to keep the variance (He et al. 2015, "Delving deep into rectifiers").  Dropout is
left out, so that two runs of a training step can be compared.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 1000


def conv_norm(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Make a convolution that keeps the plane, and its normalisation."""
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, added to the input (He et al. 2015, "Deep residual learning")."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            *conv_norm(channels, width, 1),
            nn.ReLU(inplace=True),
            *conv_norm(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *conv_norm(width, out, 1),
        )
        same = stride == 1 and channels == out
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(channels, out, 1, stride))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block."""
        return self.relu(self.body(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    """Make ResNet-50."""
    layers: list[nn.Module] = [*conv_norm(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, 2 if stage > 0 and block == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


class InvertedResidual(nn.Module):
    """1x1 up, 3x3 depthwise, 1x1 down, added to the input where the shapes agree (Sandler et al. 2018)."""

    def __init__(self, channels: int, out: int, expand: int, stride: int) -> None:
        super().__init__()
        hidden = channels * expand
        up = [*conv_norm(channels, hidden, 1), nn.ReLU6(inplace=True)] if expand > 1 else []
        depthwise = [*conv_norm(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(inplace=True)]
        self.body = nn.Sequential(*up, *depthwise, *conv_norm(hidden, out, 1))
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def mobilenetv2() -> nn.Module:
    """Make MobileNetV2 of width 1."""
    layers: list[nn.Module] = [*conv_norm(3, 32, 3, 2), nn.ReLU6(inplace=True)]
    channels = 32
    for expand, out, repeats, stride in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]:
        for repeat in range(repeats):
            layers.append(InvertedResidual(channels, out, expand, stride if repeat == 0 else 1))
            channels = out
    layers += [*conv_norm(channels, 1280, 1), nn.ReLU6(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES))


def vgg16() -> nn.Module:
    """Make VGG-16 (Simonyan and Zisserman 2014)."""
    layers: list[nn.Module] = []
    channels = 3
    for width, convs in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(convs):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    head = [nn.Linear(512 * 49, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 4096), nn.ReLU(inplace=True)]
    # 224x224 images arrive at 7x7; others are brought to it, as in torchvision.
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *head, nn.Linear(4096, CLASSES))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": resnet50,
    "mobilenetv2": mobilenetv2,
    "vgg16": vgg16,
}


def make(name: str, size: int = 224) -> nn.Module:
    """Make a network with random weights and the running statistics that they give to random images.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    size : int
        Height and width of those images.

    Returns
    -------
    torch.nn.Module
        In training mode.
    """
    torch.manual_seed(2024)
    model = NETWORKS[name]()
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.1, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            module.momentum = 1.0  # the statistics of the one batch below
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if norms:
        with torch.no_grad():
            model(torch.randn(2, 3, size, size))
    for norm in norms:
        norm.momentum = 0.1
    return model
