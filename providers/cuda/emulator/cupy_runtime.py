"""The one extension of CuPy that has to be built anew: `cupy_backends.cuda.api.runtime`, which has CUDA's runtime inside.

Its source is taken from CuPy's source distribution of the same version and compiled against the emulated driver. All other
extensions are those of the installed package.
"""

from __future__ import annotations

import re
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from onnxgpu.errors import EPFail
from onnxgpu.providers.cuda.emulator.toolchain import CUPY_VERSION, Toolchain, run

MODULE = "cupy_backends.cuda.api.runtime"
_NOT_SUPPORTED = 801
_CYTHON = (
    "-3", "--cplus", "-X", "c_api_binop_methods=True", "-X", "binding=False", "-X", "embedsignature=True",
    "-X", "freethreading_compatible=True",
)  # fmt: skip
_CONSTANTS = "CUPY_CUDA_VERSION=13020,CUPY_HIP_VERSION=0,CUPY_USE_CUDA_PYTHON=False,CUPY_CUFFT_STATIC=False,CUPY_CYTHON_VERSION=3.2.4"
_PROFILER = '#include <cuda_runtime_api.h>\nextern "C" { cudaError_t cudaProfilerStart(void); cudaError_t cudaProfilerStop(void); }\n'


def build_runtime(tools: Toolchain, driver: Path, target: Path) -> None:
    """Build the extension `target` against the emulated driver."""
    with tempfile.TemporaryDirectory(dir=tools.folder) as scratch:
        folder = Path(scratch)
        source = _source(folder)
        generated, code = folder / "runtime.cpp", folder / "runtime.o"
        run(
            [sys.executable, "-m", "cython", *_CYTHON, "-w", source, "-E", _CONSTANTS, "-o", generated, f"{MODULE.replace('.', '/')}.pyx"],
            source,
        )
        (folder / "cuda_profiler_api.h").write_text(_PROFILER)
        includes = (tools.cuda_include, folder, Path(sysconfig.get_paths()["include"]), source / "cupy_backends" / "cuda" / "api", source)
        run([tools.compiler, "-std=c++17", "-O1", "-w", "-fPIC", *(f"-I{path}" for path in includes), "-c", generated, "-o", code])
        stubs = stubs_for(tools, folder, code, driver, r"cuda\w+", _NOT_SUPPORTED)
        run([tools.compiler, "-shared", code, stubs, "-o", folder / "made.so", f"-Wl,-rpath,{driver.parent}", driver])
        (folder / "made.so").replace(target)


def stubs_for(tools: Toolchain, folder: Path, wanting: Path, having: Path, pattern: str, code: int) -> Path:
    """Compiled functions that return `code`, for what `wanting` calls and `having` does not define."""
    dynamic = ["-D"] if wanting.suffix == ".so" else []
    wanted = set(re.findall(rf"U ({pattern})", run(["nm", *dynamic, wanting])))
    defined = set(re.findall(rf"T ({pattern})", run(["nm", *(["-D"] if having.suffix == ".so" else []), having])))
    source = folder / "stubs.c"
    source.write_text("".join(f"int {name}() {{ return {code}; }}\n" for name in sorted(wanted - defined)))
    run([tools.compiler, "-x", "c", "-w", "-fPIC", "-c", source, "-o", folder / "stubs.o"])
    return folder / "stubs.o"


def _source(folder: Path) -> Path:
    """CuPy's sources, fetched from the package index that pip is set up for."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        "cupy",
        "--dest",
        str(folder),
        f"cupy=={CUPY_VERSION}",
    ]
    try:
        # pip asks the source for its metadata, which it gives without looking for CUDA when documentation is built.
        run(["env", "READTHEDOCS=True", *command])
    except EPFail as error:
        raise EPFail(
            f"the emulated device is built once from CuPy's source distribution {CUPY_VERSION}, which pip could not fetch. {error.message}"
        ) from error
    archive = next(folder.glob("cupy-*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / f"cupy-{CUPY_VERSION}"
