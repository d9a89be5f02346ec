"""What the commands of `fastconv` share: types of arguments, and the one error they raise.  For cli.py."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path


class UsageError(Exception):
    """What the user gave cannot be done; the text is one line that says why."""


def positive(text: str) -> int:
    """Read a number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def positive_real(text: str) -> float:
    """Read a number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def integers(text: str) -> list[int]:
    """Read numbers separated by commas or by x."""
    return [int(part) for part in re.split(r"[,x]", text)]


def names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Make what reads names separated by commas."""

    def split(text: str) -> list[str]:
        given = [name for name in text.split(",") if name]
        for name in given:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown name {name!r}, known are {', '.join(known)}")
        return given

    return split


def import_error(command: str, module: str, extra: str) -> UsageError:
    """Say which extra has a module that is missing."""
    return UsageError(f"{command} needs {module}: pip install 'fastconv[{extra}]'")


def check_writable(path: Path, suffixes: Sequence[str] = ()) -> None:
    """Raise UsageError where a file cannot be written, or its name has no known suffix."""
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"cannot draw {path}: its name must end with one of {' '.join(suffixes)}")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: {'it is a folder' if path.is_dir() else 'permission denied'}")
