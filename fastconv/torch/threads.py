"""One pool of threads for torch and fastconv: jobs run on the threads of torch's OpenMP.

They spin for milliseconds after each parallel region of torch, so that workers of our own would wait for the
CPUs.  Called once, by the package.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from fastconv import _core

__all__ = ["share_threads"]

NAMES = ("GOMP_parallel", "omp_get_max_threads")


def share_threads() -> bool:
    """Let jobs run on torch's threads wherever both libraries are set to the same number of them.

    False, and fastconv keeps to its own, where torch was built with another runtime than GNU's or LLVM's.
    """
    if not torch.backends.openmp.is_available():
        return False
    binary: Any = torch._C
    try:
        library = ctypes.CDLL(binary.__file__)  # which names are looked up in, and all that it depends on
        found = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in NAMES]
    except (AttributeError, OSError, ValueError):
        return False
    _core.lend_threads(*[address or 0 for address in found])
    return True
