"""Builds fastconv: a static library per instruction set and dtype, one for the rest of the C, one extension.

Everything that is not a compiler's business (name, version, requirements) is in pyproject.toml.
Compiling needs gcc or clang; flags are fixed here and never depend on the machine that builds.
"""

import os
import platform
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError
from setuptools.modified import newer_group

COMMON_FLAGS = ["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread", "-g0"]
BASE_FLAGS = [*COMMON_FLAGS, "-O2"]
# The vectors are written out by hand: the compiler's own vectorising only gets in their way.  Results
# must be the same whatever the compiler fuses, so it may fuse nothing by itself.
KERNEL_FLAGS = [
    *COMMON_FLAGS,
    "-O3",
    "-fno-tree-vectorize",
    "-fno-tree-slp-vectorize",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
]
# Keeping values from one iteration to the next, or hoisting all of a tile's broadcasts, costs more
# registers than there are.
GCC_KERNEL_FLAGS = ["-fno-predictive-commoning", "-fno-schedule-insns"]
ISA_FLAGS = {
    "x86": {
        "avx2": ["-mavx2", "-mfma"],
        "avx512": ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx2", "-mfma"],
    },
    "arm64": {"neon": []},
    "other": {},
}
HEADERS = sorted(glob("src_c/**/*.h", recursive=True) + glob("src_c/**/*.inc", recursive=True))
BASE_SOURCES = sorted(source for folder in ("base", "conv", "pool") for source in glob(f"src_c/{folder}/*.c"))
# The stable ABI has no free-threaded build, and only CPython has its speed.
LIMITED_API = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def single_architecture() -> None:
    """On macOS, build for the machine at hand: a universal Python would ask for two in one run."""
    if sys.platform == "darwin" and sysconfig.get_platform().endswith("universal2"):
        machine = platform.machine()
        os.environ.setdefault("ARCHFLAGS", f"-arch {machine}")
        version = sysconfig.get_platform().split("-")[1]
        os.environ.setdefault("_PYTHON_HOST_PLATFORM", f"macosx-{version}-{machine}")


def target() -> str:
    """Return the family of CPU that is compiled for, which need not be the one that compiles."""
    machine = sysconfig.get_platform().rpartition("-")[2].lower()
    if machine in {"x86_64", "amd64"}:
        return "x86"
    return "arm64" if machine in {"arm64", "aarch64"} else "other"


def c_libraries() -> list[tuple[str, dict[str, list]]]:
    """Return build_clib's list: each ISA has flags of its own, each dtype is compiled beside the other."""
    isas = ISA_FLAGS[target()]
    common = {"include_dirs": ["src_c"], "obj_deps": {"": [*HEADERS, "setup.py"]}}
    base = {
        "sources": BASE_SOURCES,
        "cflags": BASE_FLAGS,
        "macros": [("_GNU_SOURCE", None), *((f"FC_HAVE_{isa.upper()}", None) for isa in isas)],
    }
    libraries = [("fastconv_base", {**common, **base})]
    for isa, flags in {"scalar": [], **isas}.items():
        kernels = {"sources": [f"src_c/isa/{isa}.c"], "cflags": [*KERNEL_FLAGS, *flags]}
        for dtype, is_f64 in (("f32", "0"), ("f64", "1")):
            macros = {"macros": [("FC_F64", is_f64)]}
            libraries.append((f"fastconv_{isa}_{dtype}", {**common, **kernels, **macros}))
    return libraries


def require_gcc_or_clang(compiler) -> bool:
    """Raise CompileError for any other compiler; return whether it is gcc."""
    command = getattr(compiler, "compiler", None)
    if compiler.compiler_type not in {"unix", "mingw32"} or not command:
        raise CompileError(
            f"fastconv needs gcc or clang to compile; {compiler.compiler_type} is not supported"
        )
    try:
        probe = subprocess.run(
            [*command, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        raise CompileError(
            f"fastconv needs gcc or clang to compile; {command[0]} failed: {reason}"
        ) from error
    if "__GNUC__" not in probe.stdout:
        raise CompileError(f"fastconv needs gcc or clang to compile; {command[0]} is neither")
    return "__clang__" not in probe.stdout


class BuildLibraries(build_clib):
    """Compiles the sources of all libraries at the same time: kernels are one big file each."""

    def objects(self, name: str, sources: list[str]) -> list[str]:
        return self.compiler.object_filenames(sources, output_dir=os.path.join(self.build_temp, name))

    def build_libraries(self, libraries) -> None:
        is_gcc = require_gcc_or_clang(self.compiler)
        stale = []
        for name, info in libraries:
            if is_gcc and info["sources"][0].startswith("src_c/isa/"):
                info["cflags"] = [*info["cflags"], *GCC_KERNEL_FLAGS]
            for source in info["sources"]:
                (compiled,) = self.objects(name, [source])
                self.mkpath(os.path.dirname(compiled))
                if self.force or newer_group([source, *info["obj_deps"][""]], compiled):
                    stale.append((name, source, info))
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        # The kernels come last in the list and take longest.
        with ThreadPoolExecutor(cpus) as pool:
            list(pool.map(lambda job: self.compile(*job), reversed(stale)))
        for name, info in libraries:
            archive = self.compiler.library_filename(name, output_dir=self.build_clib)
            Path(archive).unlink(missing_ok=True)  # the archiver only adds: a removed source would stay
            objects = self.objects(name, info["sources"])
            self.compiler.create_static_lib(objects, name, output_dir=self.build_clib)

    def compile(self, name: str, source: str, info: dict) -> None:
        start = time.time()
        (compiled,) = self.compiler.compile(
            [source],
            output_dir=os.path.join(self.build_temp, name),
            macros=info["macros"],
            include_dirs=info["include_dirs"],
            extra_postargs=info["cflags"],
        )
        # An object is as old as what was read: a header saved meanwhile makes it stale.
        os.utime(compiled, (start, start))


class BuildExtension(build_ext):
    """Builds the libraries first, also for `build_ext --inplace`, and compiles the version in."""

    def run(self) -> None:
        self.run_command("build_clib")
        super().run()

    def build_extension(self, ext) -> None:
        ext.define_macros.append(("FC_VERSION", f'"{self.distribution.get_version()}"'))
        super().build_extension(ext)


class BuildPython(build_py):
    """Adds the public C headers, which get_include() points at, to the package."""

    def _public_headers(self) -> list[tuple[str, str]]:
        folder = os.path.join(self.build_lib, "fastconv", "include")
        return [(os.path.join(folder, os.path.basename(h)), h) for h in sorted(glob("src_c/include/*.h"))]

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for built, header in self._public_headers():
                self.mkpath(os.path.dirname(built))
                self.copy_file(header, built)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return super().get_outputs(include_bytecode) + [built for built, _ in self._public_headers()]

    def get_output_mapping(self) -> dict[str, str]:
        return {**super().get_output_mapping(), **dict(self._public_headers())}


class Wheel(bdist_wheel):
    """Tags the wheel with the oldest Python that the stable ABI was limited to."""

    def finalize_options(self) -> None:
        if LIMITED_API:
            self.py_limited_api = "cp311"
        super().finalize_options()


single_architecture()
setup(
    libraries=c_libraries(),
    ext_modules=[
        Extension(
            "fastconv._core",
            ["fastconv/_core.pyx"],
            include_dirs=["src_c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else [],
            py_limited_api=LIMITED_API,
            extra_compile_args=["-O2", "-g0", "-fvisibility=hidden"],
            extra_link_args=["-pthread", "-lm"],
            depends=[*HEADERS, *BASE_SOURCES, *glob("src_c/isa/*.c"), "pyproject.toml", "setup.py"],
        )
    ],
    cmdclass={
        "build_clib": BuildLibraries,
        "build_ext": BuildExtension,
        "build_py": BuildPython,
        "bdist_wheel": Wheel,
    },
)
