"""Whether there is a CUDA device here, and CuPy on it, imported when the first session needs it."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from onnxgpu import knobs
from onnxgpu.errors import EPFail, InvalidArgument
from onnxgpu.libraries import Library

_WHEELS = {"cupy-cuda12x": 12, "cupy-cuda13x": 13}
_OTHER_USERS = ("jax", "numba.cuda", "paddle", "pycuda.driver", "tensorflow")
_users_before = set[str]()
"""CuPy, if the program imported it before onnxgpu did."""

_NO_DRIVER = "no NVIDIA driver on this machine: install one, or run on a machine with a GPU"


def is_emulated() -> bool:
    """True if the CUDA provider is to run on the emulated device."""
    return bool(knobs.CUDA() == "emulated")


def unavailable() -> str | None:
    """Why there is no device to run on, in words; None if there is one. CuPy is not imported for this."""
    if is_emulated():
        from onnxgpu.providers.cuda.emulator.toolchain import missing

        return missing()
    return _driver_problem()


def library() -> str:
    """Whose arrays lie on the device: `cupy` or `pycuda`; neither is imported for this."""
    return str(knobs.CUDA_LIBRARY()) or ("pycuda" if find_spec("cupy") is None and find_spec("pycuda") is not None else "cupy")


def driver() -> Library:
    """The driver's library, or the emulated device in its place, for `onnxgpu doctor`."""
    if is_emulated():
        from onnxgpu.providers.cuda.emulator.toolchain import missing

        reason = missing()
        return Library("emulated device", "g++ on this machine" if reason is None else None, remedy=reason or "")
    reason = _driver_problem()
    return Library("libcuda.so.1", None if reason else "the system's", remedy=reason or _NO_DRIVER)


def has_other_users() -> bool:
    """True if this process has another library than onnxgpu that uses the device, or may do so."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return bool(_users_before) or any(name in sys.modules for name in _OTHER_USERS) or (cuda is not None and bool(cuda.is_initialized()))


@cache
def cupy() -> Any:
    """The module `cupy`, on the emulated device if that is asked for.

    Raises:
        EPFail: it cannot be imported, or finds no device.
    """
    if "cupy" in sys.modules:
        _users_before.add("cupy")
    settings = None
    if is_emulated():
        from onnxgpu.providers.cuda.emulator import Settings, install

        settings = Settings.parse(knobs.EMULATOR())
        install(settings if knobs.EMULATOR() else None)
    try:
        import cupy as module
    except Exception as error:
        raise EPFail(f"CuPy is installed but cannot be imported: {type(error).__name__}: {error}; run `onnxgpu doctor`") from error
    if settings is not None and settings.checked:
        module.cuda.set_allocator(None)  # each array an allocation of its own, so that the checker sees its bounds
    return module


def compiles_checked() -> bool:
    """True if kernels are compiled with checks now; a cache of compiled kernels has to tell the two apart."""
    emulator = sys.modules.get("onnxgpu.providers.cuda.emulator")
    device = emulator and emulator.installed()
    return bool(device and device.settings.checked)


def check_number(index: int, count: int) -> None:
    """Check that there is a device of this number.

    Raises:
        InvalidArgument: there are only `count`.
    """
    if not 0 <= index < count:
        raise InvalidArgument(f"option 'device_id' is {index}; this machine has {count} CUDA devices, counted from 0")


def device_count() -> int:
    """Devices that CuPy sees."""
    return int(cupy().cuda.runtime.getDeviceCount())


def _driver_problem() -> str | None:
    emulator = sys.modules.get("onnxgpu.providers.cuda.emulator")
    if emulator is not None and emulator.installed() is not None:
        return "this process has the emulated device, and so no other: set ONNXGPU_CUDA=emulated, or start a new process"
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return f"libcuda.so.1 not found ({_NO_DRIVER})"
    count = ctypes.c_int()
    code = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return f"the NVIDIA driver is installed but does not start: cuInit says {code}; `nvidia-smi` may tell more"
    if not count.value:
        return "the NVIDIA driver finds no GPU"
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    return _version_problem(version.value // 1000, version.value % 1000 // 10)


def _version_problem(major: int, minor: int) -> str | None:
    """Why the CuPy that is installed does not run on a driver for CUDA `major`.`minor`; CUDA's minor versions are compatible."""
    wheels = {name: needed for name, needed in _WHEELS.items() if _is_installed(name)}
    if len(wheels) > 1:
        return f"{' and '.join(wheels)} are both installed and overwrite each other: uninstall all of them, and install one again"
    for name, needed in wheels.items():
        if needed > major:
            wanted = f"onnxgpu[cuda{major}]" if f"cupy-cuda{major}x" in _WHEELS else f"a CuPy for CUDA {major}"
            return (
                f"the driver supports CUDA {major}.{minor}, and {name} needs CUDA {needed}: update the driver, "
                f"or `pip uninstall {name}` and `pip install {wanted}`"
            )
    return None


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
