"""fastconv: convolution on CPUs, as fast as they go, on NumPy arrays."""

from fastconv._core import info as _info
from fastconv.conv import conv1d, conv2d, conv3d, depthwise_conv2d
from fastconv.plan import ConvPlan, plan_conv1d, plan_conv2d, plan_conv3d
from fastconv.runtime import (
    clear_scratch,
    get_include,
    get_num_threads,
    set_exact,
    set_num_threads,
    show_config,
)

__version__: str = _info()["version"]

__all__ = [
    "ConvPlan",
    "__version__",
    "clear_scratch",
    "conv1d",
    "conv2d",
    "conv3d",
    "depthwise_conv2d",
    "get_include",
    "get_num_threads",
    "plan_conv1d",
    "plan_conv2d",
    "plan_conv3d",
    "set_exact",
    "set_num_threads",
    "show_config",
]
