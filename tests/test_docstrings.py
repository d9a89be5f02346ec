"""Every example in a docstring runs and says what it says; those of pages are in test_docs.py."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import fastconv

MODULES = ["fastconv", *(module.name for module in pkgutil.walk_packages(fastconv.__path__, "fastconv."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] == "fastconv":
            raise
        pytest.skip(f"{name} needs {error.name}")
    failed, _ = doctest.testmod(module)
    assert failed == 0
