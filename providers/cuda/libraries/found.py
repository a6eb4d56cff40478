"""Which of NVIDIA's libraries can be used in this process, in which version, or what is wrong; each is looked for once."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from onnxgpu.bare_imports import import_bare
from onnxgpu.libraries import Library
from onnxgpu.providers.cuda.device import cupy, is_emulated

INSTALL = "pip install onnxgpu-gpu"
_CUDNN_MAJOR = 9
_INSTALL_EMULATOR = 'pip install "onnxgpu[emulator]"'


@dataclass(frozen=True, slots=True)
class Found:
    """A library, loaded, or the reason why it cannot be used.

    Attributes:
        name: as its vendor writes it.
        problem: what is wrong, and what to do; None if it can be used.
        module: the Python module that calls it.
        version: the library's own.
    """

    name: str
    problem: str | None = None
    module: Any = None
    version: str = ""


@cache
def cublas_lt() -> Found:
    """cuBLASLt, called through nvmath's bindings."""
    name = "cuBLASLt"
    runtime = int(cupy().cuda.runtime.runtimeGetVersion()) // 1000
    try:
        module = import_bare("nvmath.bindings.cublasLt")
    except ImportError as error:
        return Found(name, f"the package nvmath-python cannot be imported ({error}): {remedy()}")
    try:
        number = int(module.get_version())
    except Exception as error:  # the bindings load the library now, and raise classes of their own
        return Found(name, f"libcublasLt of CUDA {runtime} cannot be loaded ({type(error).__name__}: {error}): {remedy()}")
    version = _dotted(number, 10000)
    if number // 10000 != runtime:
        return Found(name, f"found version {version}, but CuPy is made for CUDA {runtime}: {remedy()}", version=version)
    return Found(name, None, module, version)


@cache
def cudnn() -> Found:
    """cuDNN, called through its front end; on the emulated device its graphs are interpreted, and no back end may be there."""
    name = "cuDNN"
    cupy()
    try:
        module = import_module("cudnn")
    except ImportError as error:
        return Found(name, f"the package nvidia-cudnn-frontend cannot be imported ({error}): {remedy()}")
    if is_emulated():
        return Found(name, None, module, f"graphs of front end {module.__version__}, interpreted")
    try:
        number = int(module.backend_version())
    except Exception as error:  # the front end loads the library now
        return Found(name, f"libcudnn.so.9 cannot be loaded ({type(error).__name__}: {error}): {remedy()}")
    version = _dotted(number, 10000)
    if number // 10000 != _CUDNN_MAJOR:
        return Found(name, f"found version {version}, and onnxgpu is made for {_CUDNN_MAJOR}: {remedy()}", version=version)
    return Found(name, None, module, version)


def shared_libraries() -> tuple[Library, ...]:
    """NVIDIA's libraries where the bindings would load them from, for `onnxgpu doctor`; this loads them."""
    return (_shared("cublasLt", "cublasLtGetVersion", 10000), _shared("cudnn", "cudnnGetVersion", 10000))


def _shared(name: str, version_function: str, major: int) -> Library:
    if is_emulated():
        return Library(f"lib{name}", "the emulated device's stand-in", needed=False)
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        loaded = load_nvidia_dynamic_lib(name)
    except Exception as error:  # not installed, or not found, which its classes tell apart and nothing here needs to
        return Library(f"lib{name}", None, needed=False, remedy=f"{INSTALL} ({type(error).__name__})")
    function = getattr(ctypes.CDLL(loaded.abs_path), version_function, None)
    if function is None:
        return Library(f"lib{name}", None, needed=False, remedy=f"{loaded.abs_path} is not NVIDIA's: {INSTALL}")
    function.restype = ctypes.c_size_t
    return Library(f"lib{name}", loaded.abs_path, _dotted(function(), major), needed=False)


def _dotted(number: int, major: int) -> str:
    return f"{number // major}.{number % major // 100}.{number % 100}"


def remedy() -> str:
    """How to install what is missing."""
    return _INSTALL_EMULATOR if is_emulated() else INSTALL
