"""fastconv for PyTorch: functions, layers, and whole models converted in place.

The functions have the names and signatures of `torch.nn.functional`, the layers those of `torch.nn`; both can
be differentiated (twice, too), compiled, exported and transformed by `torch.func`.  What fastconv does not
compute goes to torch's own operator: other devices and dtypes, sparse and quantized tensors, subclasses,
autocast, forward-mode differentiation.  See docs/torch.md.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "fastconv.torch needs PyTorch: pip install 'fastconv[torch]'", name="torch"
    ) from None

from fastconv.torch import functional as _functional
from fastconv.torch import modules as _modules
from fastconv.torch.convert import convert, revert
from fastconv.torch.functional import *  # noqa: F403
from fastconv.torch.modules import *  # noqa: F403
from fastconv.torch.threads import share_threads as _share_threads

_share_threads()

__all__ = [
    "convert",
    "revert",
    *_functional.__all__,
    *(name for name in _modules.__all__ if name != "OURS"),
]
