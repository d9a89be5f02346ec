"""The vector vocabulary of each instruction set against plain C: builds and runs test_simd.c.

An instruction set that this CPU lacks is emulated where a tool for that is installed, else skipped.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SIMD = HERE.parents[1] / "src_c" / "simd"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", f"-I{SIMD}"]
CC = shlex.split(os.environ.get("CC", "cc"))
AVX2 = ["-mavx2", "-mfma"]
AVX512 = ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", *AVX2]
EMULATED_AVX512 = [*AVX2, "-Wno-psabi", "-include", str(HERE / "test_simd_simde.h")]
LACKS_ISA = 77
X86 = platform.machine().lower() in {"x86_64", "amd64"}
ARM64 = platform.machine().lower() in {"aarch64", "arm64"}


def check(
    isa: str, flags: list[str], folder: Path, compiler: list[str] = CC, runner: tuple[str, ...] = ()
) -> None:
    """Build and run the test for one instruction set."""
    for tool in (compiler[0], *runner):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    program = str(folder / f"test_simd_{isa}")
    source = [str(HERE / "test_simd.c"), f"-DFC_TEST_ISA={isa}", "-o", program, "-lm"]
    built = subprocess.run([*compiler, *FLAGS, *flags, *source], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([*runner, program], capture_output=True, text=True, check=False, timeout=300)
    if ran.returncode == LACKS_ISA:
        pytest.skip(f"this CPU has no {isa}")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{isa}: ")


def test_scalar(tmp_path: Path) -> None:
    check("scalar", ["-O2"], tmp_path)


@pytest.mark.skipif(not X86, reason="AVX2 is of x86-64")
def test_avx2(tmp_path: Path) -> None:
    check("avx2", ["-O2", *AVX2], tmp_path)


@pytest.mark.skipif(not X86, reason="AVX-512 is of x86-64")
def test_avx512(tmp_path: Path) -> None:
    check("avx512", ["-O2", *AVX512], tmp_path)


@pytest.mark.skipif(not X86, reason="AVX-512 is of x86-64")
def test_avx512_emulated(tmp_path: Path) -> None:
    if not Path("/usr/include/simde/x86/avx512.h").exists():
        pytest.skip("SIMDe's headers are not installed")
    check("avx512", ["-O2", *EMULATED_AVX512], tmp_path)


@pytest.mark.skipif(not ARM64, reason="NEON is of AArch64")
def test_neon(tmp_path: Path) -> None:
    check("neon", ["-O2"], tmp_path)


@pytest.mark.parametrize("isa", ["neon", "scalar"])
def test_aarch64_emulated(isa: str, tmp_path: Path) -> None:
    check(isa, ["-O2"], tmp_path, compiler=["aarch64-linux-gnu-gcc", "-static"], runner=("qemu-aarch64",))
