"""Builds the emulated driver, the stand-ins for CUDA's libraries, and CuPy's runtime extension, once for each toolchain."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onnxgpu.providers.cuda.emulator.compiler import precompiled
from onnxgpu.providers.cuda.emulator.cupy_runtime import build_runtime, stubs_for
from onnxgpu.providers.cuda.emulator.toolchain import HERE, Toolchain, run

_OPTIONS = ("-std=c++17", "-O2", "-g1", "-w", "-fPIC")
_LIBRARIES_OF_CUDA = ("libcuda.so.1", "libcudart.so.13", "libnvrtc.so.13")
_FAST = ("-O3", "-march=native")
_NOT_SUPPORTED = 15


@dataclass(frozen=True)
class Built:
    """What was built: libraries to load before CuPy, the driver first, and CuPy's runtime extension."""

    libraries: tuple[Path, ...]
    runtime: Path


def build(tools: Toolchain) -> Built:
    """Build what is not there yet."""
    driver = tools.folder / "libonnxgpu_emulated.so"
    runtime = tools.folder / f"runtime{sysconfig.get_config_var('EXT_SUFFIX')}"
    aliases = tuple(tools.folder / name for name in _LIBRARIES_OF_CUDA)
    cublas_lt, cublas = tools.folder / "libcublasLt.so.13", tools.folder / "libcublas.so.13"
    with _locked(tools.folder):
        if not runtime.exists():
            with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
                headers = [pool.submit(precompiled, checked=False, with_cupy=flag) for flag in (True, False)]
                _build_driver(tools, driver, pool)
                for alias in aliases:
                    _build_alias(tools, driver, alias)
                _build_cublas_lt(tools, driver, cublas_lt)
                _build_cublas(tools, driver, cublas)
                build_runtime(tools, driver, runtime)
                for header in headers:
                    header.result()
    return Built((driver, *aliases, cublas_lt, cublas), runtime)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    import fcntl  # not on Windows, where the module is imported all the same

    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_driver(tools: Toolchain, target: Path, pool: ThreadPoolExecutor) -> None:
    sources = [*sorted((HERE / "device").glob("*.cpp")), *sorted((HERE / "driver").glob("*.cpp"))]
    sources += [HERE / "libraries" / name for name in ("thrust.cpp", "cudnn.cpp")]
    with tempfile.TemporaryDirectory(dir=tools.folder) as scratch:
        objects = [Path(scratch, f"{source.stem}_{source.parent.name}.o") for source in sources]
        commands = [[tools.compiler, *_OPTIONS, *tools.includes[1:], "-c", s, "-o", o] for s, o in zip(sources, objects, strict=True)]
        list(pool.map(run, commands))
        _link(tools, objects, target, f"-Wl,-soname,{target.name}")


def _build_alias(tools: Toolchain, driver: Path, target: Path) -> None:
    """A library with one of CUDA's names and nothing in it but the dependence on the driver."""
    empty = target.with_suffix(".c")
    empty.write_text("")
    _link(
        tools,
        ["-x", "c", empty, "-x", "none"],
        target,
        f"-Wl,-soname,{target.name}",
        "-Wl,--no-as-needed",
        driver,
        f"-Wl,-rpath,{driver.parent}",
    )
    empty.unlink()


def _build_cublas_lt(tools: Toolchain, driver: Path, target: Path) -> None:
    code = target.with_suffix(".o")
    run([tools.compiler, *_OPTIONS, *_FAST, *tools.includes[1:], "-c", HERE / "libraries" / "cublas_lt.cpp", "-o", code])
    _link(tools, [code], target, f"-Wl,-soname,{target.name}", driver, f"-Wl,-rpath,{driver.parent}")
    code.unlink()


def _build_cublas(tools: Toolchain, driver: Path, target: Path) -> None:
    """cuBLAS with the version node that CuPy's extension was linked with; what the stand-in lacks says that it is not supported."""
    extension = next((tools.cupy.parent / "cupy_backends" / "cuda" / "libs").glob("cublas*.so"))
    with tempfile.TemporaryDirectory(dir=tools.folder) as scratch:
        folder = Path(scratch)
        code, versions = folder / "cublas.o", folder / "versions"
        run([tools.compiler, *_OPTIONS, *_FAST, *tools.includes[1:], "-c", HERE / "libraries" / "cublas.cpp", "-o", code])
        stubs = stubs_for(tools, folder, extension, code, r"cublas\w+", _NOT_SUPPORTED)
        versions.write_text("libcublas.so.13 { global: cublas*; };\n")
        _link(
            tools,
            [code, stubs],
            target,
            f"-Wl,-soname,{target.name}",
            f"-Wl,--version-script,{versions}",
            driver,
            f"-Wl,-rpath,{driver.parent}",
        )


def _link(tools: Toolchain, inputs: Sequence[str | Path], target: Path, *options: str | Path) -> None:
    made = target.with_suffix(".new")
    run([tools.compiler, "-shared", "-fPIC", *inputs, "-o", made, *options, "-ldl"])
    made.replace(target)
