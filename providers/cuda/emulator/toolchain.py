"""The compiler, NVIDIA's headers and the folder for what is built, each found or named as missing."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from onnxgpu.errors import EPFail
from onnxgpu.providers.cuda.cache import cache_folder

HERE = Path(__file__).parent
CUPY_VERSION = "14.2.0"
_INSTALL = 'pip install "onnxgpu[emulator]"'


@dataclass(frozen=True)
class Toolchain:
    """Where the tools are.

    Attributes:
        compiler: g++.
        cuda_include: NVIDIA's headers of the runtime, the driver and NVRTC.
        cupy: the folder of the package `cupy`.
        folder: for what is built; it names everything that it depends on, so that nothing in it gets stale.
    """

    compiler: str
    cuda_include: Path
    cupy: Path
    folder: Path

    @property
    def cupy_include(self) -> Path:
        """Headers that CuPy's kernels include."""
        return self.cupy / "_core" / "include"

    @property
    def includes(self) -> tuple[str, ...]:
        """Options for the include folders of everything that is built here."""
        core = self.cupy_include / "cupy" / "_cccl"
        folders = (HERE / "include", self.cuda_include, core / "libcudacxx", core / "thrust", core / "cub", self.cupy_include)
        return tuple(f"-I{folder}" for folder in folders)


def missing() -> str | None:
    """Why the emulated device cannot be built on this machine, in words; None if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"the emulated device runs on Linux on x86-64, this is {sys.platform} on {platform.machine()}"
    if shutil.which("g++") is None:
        return "the emulated device compiles kernels with g++, which is not on PATH: install it (Debian: apt-get install g++)"
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return "the emulated device needs Python's C headers (Debian: apt-get install python3-dev)"
    try:
        found = version("cupy-cuda13x")
    except PackageNotFoundError:
        return f"the emulated device needs cupy-cuda13x {CUPY_VERSION}: {_INSTALL}"
    if found != CUPY_VERSION:
        return f"the emulated device is made for cupy-cuda13x {CUPY_VERSION}, found {found}: {_INSTALL}"
    if find_spec("Cython") is None:
        return f"the emulated device needs cython: {_INSTALL}"
    if cuda_include() is None:
        return f"NVIDIA's headers cuda.h, cuda_fp16.h and nvrtc.h were not found: {_INSTALL}"
    return None


@cache
def toolchain() -> Toolchain:
    """The tools of this machine.

    Raises:
        EPFail: one is missing.
    """
    reason = missing()
    if reason is not None:
        raise EPFail(reason)
    compiler, include, cupy = shutil.which("g++"), cuda_include(), find_spec("cupy")
    assert compiler is not None and include is not None and cupy is not None and cupy.origin is not None
    folder = cache_folder() / "emulator" / _fingerprint(compiler)
    folder.mkdir(parents=True, exist_ok=True)
    return Toolchain(compiler, include, Path(cupy.origin).parent, folder)


def run(command: Sequence[str | os.PathLike[str]], folder: Path | None = None) -> str:
    """What a command prints.

    Raises:
        EPFail: it failed; with the end of what it printed.
    """
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode:
        words = " ".join(map(str, command))
        raise EPFail(f"building the emulated device failed: {words}\n{(finished.stdout + finished.stderr)[-4000:]}")
    return finished.stdout


def cuda_include() -> Path | None:
    """NVIDIA's headers, as the packages of CUDA 13 install them."""
    spec = find_spec("nvidia")
    roots = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for folder in (root / "cu13" / "include" for root in roots):
        if all((folder / name).exists() for name in ("cuda.h", "cuda_fp16.h", "nvrtc.h", "crt/host_defines.h")):
            return folder
    return None


def _fingerprint(compiler: str) -> str:
    """Names the sources of this folder, the compiler, the processor, Python and the packages that are built against."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*")):
        if path.suffix in (".h", ".cpp") or path.name in ("build.py", "cupy_runtime.py"):
            digest.update(path.read_bytes())
    facts = [run([compiler, "-march=native", "-Q", "--help=target"]), run([compiler, "--version"]), sys.version, sysconfig.get_platform()]
    facts += [version(name) for name in ("cupy-cuda13x", "nvidia-cuda-runtime", "nvidia-cuda-nvrtc")]
    digest.update("\n".join(facts).encode())
    return digest.hexdigest()[:16]
