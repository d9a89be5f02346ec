"""Layers: `torch.nn` classes whose forward is computed by fastconv.

Each is a subclass that adds no state, so that weights load into it and `isinstance` holds.  In evaluation
mode and without gradients a convolution keeps its weights prepared (prepared.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fastconv.torch import functional
from fastconv.torch.prepared import Prepared

__all__ = [
    "OURS",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]

_grad_enabled = torch.is_grad_enabled


class _Conv:
    """What the three convolutions share; `function` is the functional form."""

    function: Any
    _prepared: Prepared | None = None  # on the instance once made; not part of its state

    def _conv_forward(self: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        if self.padding_mode != "zeros":
            pads = self._reversed_padding_repeated_twice
            padded = nn.functional.pad(input, pads, mode=self.padding_mode)
            return type(self).function(padded, weight, bias, self.stride, 0, self.dilation, self.groups)
        return type(self).function(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def forward(self: Any, input: Tensor) -> Tensor:  # noqa: A002
        """Convolve; with prepared weights where nothing will change them."""
        if self.training or _grad_enabled():
            self.__dict__.pop("_prepared", None)
        else:
            prepared = self._prepared
            if prepared is None:
                prepared = self.__dict__["_prepared"] = Prepared(self)
            made = prepared(input)
            if made is not None:
                return made
        return self._conv_forward(input, self.weight, self.bias)

    def __getstate__(self: Any) -> dict[str, Any]:
        state: dict[str, Any] = self.__dict__.copy()
        state.pop("_prepared", None)
        return state


class Conv1d(_Conv, nn.Conv1d):
    """`torch.nn.Conv1d`, computed by fastconv."""

    function = staticmethod(functional.conv1d)


class Conv2d(_Conv, nn.Conv2d):
    """`torch.nn.Conv2d`, computed by fastconv."""

    function = staticmethod(functional.conv2d)


class Conv3d(_Conv, nn.Conv3d):
    """`torch.nn.Conv3d`, computed by fastconv."""

    function = staticmethod(functional.conv3d)


class _MaxPool:
    function: Any

    def forward(self: Any, input: Tensor) -> Any:  # noqa: A002
        """Pool."""
        return type(self).function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class MaxPool1d(_MaxPool, nn.MaxPool1d):
    """`torch.nn.MaxPool1d`, computed by fastconv."""

    function = staticmethod(functional.max_pool1d)


class MaxPool2d(_MaxPool, nn.MaxPool2d):
    """`torch.nn.MaxPool2d`, computed by fastconv."""

    function = staticmethod(functional.max_pool2d)


class MaxPool3d(_MaxPool, nn.MaxPool3d):
    """`torch.nn.MaxPool3d`, computed by fastconv."""

    function = staticmethod(functional.max_pool3d)


class AvgPool1d(nn.AvgPool1d):
    """`torch.nn.AvgPool1d`, computed by fastconv."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Pool."""
        return functional.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class _AvgPool:
    function: Any

    def forward(self: Any, input: Tensor) -> Tensor:  # noqa: A002
        """Pool."""
        made: Tensor = type(self).function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )
        return made


class AvgPool2d(_AvgPool, nn.AvgPool2d):
    """`torch.nn.AvgPool2d`, computed by fastconv."""

    function = staticmethod(functional.avg_pool2d)


class AvgPool3d(_AvgPool, nn.AvgPool3d):
    """`torch.nn.AvgPool3d`, computed by fastconv."""

    function = staticmethod(functional.avg_pool3d)


class _LPPool:
    function: Any

    def forward(self: Any, input: Tensor) -> Tensor:  # noqa: A002
        """Pool."""
        made: Tensor = type(self).function(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )
        return made


class LPPool1d(_LPPool, nn.LPPool1d):
    """`torch.nn.LPPool1d`, computed by fastconv for even norms."""

    function = staticmethod(functional.lp_pool1d)


class LPPool2d(_LPPool, nn.LPPool2d):
    """`torch.nn.LPPool2d`, computed by fastconv for even norms."""

    function = staticmethod(functional.lp_pool2d)


class LPPool3d(_LPPool, nn.LPPool3d):
    """`torch.nn.LPPool3d`, computed by fastconv for even norms."""

    function = staticmethod(functional.lp_pool3d)


class _AdaptiveAvgPool:
    function: Any

    def forward(self: Any, input: Tensor) -> Tensor:  # noqa: A002
        """Pool."""
        made: Tensor = type(self).function(input, self.output_size)
        return made


class AdaptiveAvgPool1d(_AdaptiveAvgPool, nn.AdaptiveAvgPool1d):
    """`torch.nn.AdaptiveAvgPool1d`, computed by fastconv."""

    function = staticmethod(functional.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool, nn.AdaptiveAvgPool2d):
    """`torch.nn.AdaptiveAvgPool2d`, computed by fastconv."""

    function = staticmethod(functional.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool, nn.AdaptiveAvgPool3d):
    """`torch.nn.AdaptiveAvgPool3d`, computed by fastconv."""

    function = staticmethod(functional.adaptive_avg_pool3d)


class _AdaptiveMaxPool:
    function: Any

    def forward(self: Any, input: Tensor) -> Any:  # noqa: A002
        """Pool."""
        return type(self).function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool, nn.AdaptiveMaxPool1d):
    """`torch.nn.AdaptiveMaxPool1d`, computed by fastconv."""

    function = staticmethod(functional.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool, nn.AdaptiveMaxPool2d):
    """`torch.nn.AdaptiveMaxPool2d`, computed by fastconv."""

    function = staticmethod(functional.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool, nn.AdaptiveMaxPool3d):
    """`torch.nn.AdaptiveMaxPool3d`, computed by fastconv."""

    function = staticmethod(functional.adaptive_max_pool3d)


class _MaxUnpool:
    function: Any

    def forward(self: Any, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:  # noqa: A002
        """Unpool."""
        made: Tensor = type(self).function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )
        return made


class MaxUnpool1d(_MaxUnpool, nn.MaxUnpool1d):
    """`torch.nn.MaxUnpool1d`, computed by fastconv."""

    function = staticmethod(functional.max_unpool1d)


class MaxUnpool2d(_MaxUnpool, nn.MaxUnpool2d):
    """`torch.nn.MaxUnpool2d`, computed by fastconv."""

    function = staticmethod(functional.max_unpool2d)


class MaxUnpool3d(_MaxUnpool, nn.MaxUnpool3d):
    """`torch.nn.MaxUnpool3d`, computed by fastconv."""

    function = staticmethod(functional.max_unpool3d)


# Each class of torch with ours.
OURS: dict[type[nn.Module], type[nn.Module]] = {
    getattr(nn, name): globals()[name] for name in __all__ if name != "OURS"
}
