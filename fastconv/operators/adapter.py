"""What the adapters share: a module's functions made from the registry, each when it is first asked for.

Called by fastconv/jax.py and fastconv/autograd.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fastconv.operators.registry import REGISTRY, Operator

__all__ = ["module_attributes"]


def module_attributes(
    module: str, framework: str, make: Callable[[Operator], Callable[..., Any]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a module that has a function for every operator.

    Parameters
    ----------
    module : str
        Its name.
    framework : str
        Whose arrays the functions take, for their documentation.
    make : callable
        Makes the function of an operator.

    Returns
    -------
    getattr, dir : callable
        Operators that are registered later are found too.
    """

    @cache
    def function(name: str) -> Callable[..., Any]:
        operator = REGISTRY[name]
        made = make(operator)
        made.__name__ = made.__qualname__ = name
        made.__module__ = module
        made.__signature__ = operator.signature  # type: ignore[attr-defined]
        made.__doc__ = _document(operator, framework)
        return made

    def get_attribute(name: str) -> Any:
        if name not in REGISTRY:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return function(name)

    def list_attributes() -> list[str]:
        return sorted(REGISTRY)

    return get_attribute, list_attributes


def _document(operator: Operator, framework: str) -> str:
    """Say what the NumPy function of an operator says first, and where the rest is."""
    text = (getattr(operator.function, "__doc__", None) or operator.name).strip()
    differentiable = ", ".join(f"`{name}`" for name in operator.gradients)
    return (
        f"{text.splitlines()[0]}\n\n"
        f"Takes and returns {framework} arrays, and can be differentiated with respect to {differentiable}.  "
        f"Options are those of the NumPy function: see ``help(fastconv.{operator.name})``.\n"
    )
