"""Builds and runs peak.c: what one core of this machine can do.  For run.py; needs a C compiler."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path


class PeakUnknown(RuntimeError):
    """The program cannot be built or run here; the text says why."""


@dataclass
class Peak:
    """What the program printed.

    Attributes
    ----------
    flops : dict
        Operations per second of one core by (ISA, dtype).
    read : dict
        Bytes per second read by one core, by the size of what is read over and over.
    """

    flops: dict[tuple[str, str], float] = field(default_factory=dict)
    read: dict[int, float] = field(default_factory=dict)

    @property
    def memory(self) -> float:
        """Bytes per second from memory: the largest size measured."""
        return self.read[max(self.read)]


class PeakProgram:
    """The built program; runs on the CPUs that this process may use."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def measure(self, *case: str) -> Peak:
        """Run it, whole or for one (ISA, dtype) only."""
        try:
            done = subprocess.run([self._path, *case], capture_output=True, text=True, check=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise PeakUnknown(f"peak.c was built but does not run: {error}") from error
        peak = Peak()
        for line in done.stdout.splitlines():
            match line.split():
                case ["flops", isa, dtype, rate]:
                    peak.flops[isa, dtype] = float(rate)
                case ["read", size, rate]:
                    peak.read[int(size)] = float(rate)
        return peak


@contextmanager
def peak_program() -> Iterator[PeakProgram]:
    """Build peak.c in a temporary folder.

    Raises
    ------
    PeakUnknown
        Where there is no C compiler, or it fails.
    """
    compiler = shlex.split(os.environ.get("CC", ""))
    compiler = compiler or [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]
    if not compiler:
        raise PeakUnknown("no C compiler found (cc, gcc or clang; $CC names another)")
    with tempfile.TemporaryDirectory() as folder, as_file(files("fastconv.bench") / "peak.c") as source:
        program = Path(folder) / "peak"
        try:
            subprocess.run(
                [*compiler, "-O2", str(source), "-o", str(program)],
                capture_output=True, text=True, check=True, timeout=60,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            last = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
            raise PeakUnknown(f"peak.c cannot be built with {shlex.join(compiler)}: {last}") from error
        yield PeakProgram(program)
