"""Fixtures and settings of the whole suite; helpers to import are in support.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import fastconv
from fastconv import _core

try:
    from hypothesis import settings
except ImportError:
    pass
else:
    # The same examples in every run; HYPOTHESIS_PROFILE=explore looks for new ones.
    settings.register_profile("suite", deadline=None, derandomize=True, database=None)
    settings.register_profile("explore", deadline=None, max_examples=2000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_report_header() -> str:
    isas = ", ".join(_core.available_isas())
    return f"fastconv: {fastconv.__file__}, instruction sets {isas}, {fastconv.get_num_threads()} thread(s)"


@pytest.fixture(autouse=True)
def _state() -> Iterator[None]:
    """Put the library's settings back after every test."""
    count, best = fastconv.get_num_threads(), _core.use_isa(_core.available_isas()[0])
    _core.use_isa(best)
    yield
    fastconv.set_num_threads(count)
    fastconv.set_exact(False)
    _core.use_isa(best)
