"""The registry of differentiable operators, from which the PyTorch, JAX and autograd adapters are made.

Each entry says once what an operator takes and returns, how large its results are and how it is
differentiated; gradients are made of registered operators, so that they can be differentiated in turn.
"""

from fastconv.operators import conv as _conv
from fastconv.operators import pool as _pool
from fastconv.operators import pool_curved as _pool_curved
from fastconv.operators import weighted as _weighted
from fastconv.operators.registry import (
    REGISTRY,
    Argument,
    Call,
    Framework,
    Gradient,
    Kind,
    NumPy,
    Operator,
    Spec,
    get,
    register,
)

__all__ = [
    "REGISTRY",
    "Argument",
    "Call",
    "Framework",
    "Gradient",
    "Kind",
    "NumPy",
    "Operator",
    "Spec",
    "get",
    "register",
]

del _conv, _pool, _pool_curved, _weighted  # imported for what they register
