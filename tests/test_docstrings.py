"""Every example in a docstring, and the first one of the README, runs and says what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import fastconv

MODULES = ["fastconv", *(module.name for module in pkgutil.walk_packages(fastconv.__path__, "fastconv."))]
README = Path(__file__).parents[1] / "README.md"


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


def test_examples_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    names = {"image": np.zeros((8, 9, 3), np.uint8)}
    for block in blocks:
        exec(block, names)
    assert names["y"].shape == (1, 64, 56, 56)
    assert names["edges"].shape == (8, 9, 3)
    assert "conv2d" in capsys.readouterr().out
