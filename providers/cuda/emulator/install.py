"""Puts the emulated device under CuPy: libraries loaded under CUDA's names, and CuPy's runtime found in its own place."""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from onnxgpu.errors import EPFail
from onnxgpu.providers.cuda.emulator.build import build
from onnxgpu.providers.cuda.emulator.compiler import CompileError, compile_source
from onnxgpu.providers.cuda.emulator.cupy_runtime import MODULE
from onnxgpu.providers.cuda.emulator.settings import Settings
from onnxgpu.providers.cuda.emulator.toolchain import toolchain

_COUNTERS = [
    "launches",
    "library_calls",
    "graph_launches",
    "copies_to_device",
    "copies_to_host",
    "copies_on_device",
    "copies_between_devices",
    "bytes_to_device",
    "bytes_to_host",
    "bytes_on_device",
    "bytes_between_devices",
    "memsets",
    "synchronizations",
    "allocations",
    "releases",
]
_REAL = ("libcuda.so", "libcudart.so", "libnvrtc.so", "libcublas.so", "libcublasLt.so", "libcudnn.so")
_TEXTS = ctypes.POINTER(ctypes.c_char_p)
_COMPILE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, _TEXTS, ctypes.c_int, _TEXTS
)  # fmt: skip

_device: EmulatedDevice | None = None


class EmulatedDevice:
    """The emulated device of this process: its settings and what happened on it.

    Args:
        libraries: CUDA's stand-ins, the driver first; they stay loaded.
        settings: how it behaves.
    """

    def __init__(self, libraries: Sequence[ctypes.CDLL], settings: Settings) -> None:
        self._libraries = tuple(libraries)
        driver = self._driver = libraries[0]
        driver.emulated_memory_used.restype = driver.emulated_memory_peak.restype = ctypes.c_size_t
        driver.emulated_message.restype = ctypes.c_char_p
        driver.emulated_configure.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int]
        driver.emulated_set_compiled.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, _TEXTS]
        self._compile = _COMPILE(self._compile_program)
        driver.emulated_set_compiler(self._compile)
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Behave so from now on; functions that were taken from a module before stay checked, or not, as they were."""
        was_checked = getattr(self, "settings", settings).checked
        self.settings = settings
        if was_checked != settings.checked and "cupy" in sys.modules:
            sys.modules["cupy"].clear_memo()  # CuPy keeps modules by their source, and these are compiled otherwise now
        values = (settings.lazy, settings.devices, settings.capability, settings.memory, settings.schedule, settings.peers)
        self._driver.emulated_configure(*values)

    def counters(self, *, clear: bool = False) -> dict[str, int]:
        """Launches, copies and bytes by direction, allocations, synchronisations; since the start or the last clearing."""
        values = (ctypes.c_uint64 * len(_COUNTERS))()
        self._driver.emulated_counters(values, clear)
        return dict(zip(_COUNTERS, values, strict=True))

    def memory_used(self, device: int = 0) -> int:
        """Bytes of device memory in use."""
        return int(self._driver.emulated_memory_used(device))

    def memory_peak(self, device: int = 0, *, reset: bool = False) -> int:
        """The most bytes of device memory that were in use at once."""
        return int(self._driver.emulated_memory_peak(device, reset))

    def forget_error(self) -> None:
        """Go on after a faulted kernel, which a GPU cannot."""
        self._driver.emulated_forget_error()

    @property
    def library(self) -> ctypes.CDLL:
        """The driver, with the functions that the stand-ins of CUDA's libraries add to it."""
        return self._driver

    @property
    def message(self) -> str:
        """What the last error was about."""
        text: bytes = self._driver.emulated_message()
        return text.decode()

    def _compile_program(
        self, program: Any, source: bytes, name: bytes, option_count: int, options: Any, expression_count: int, expressions: Any
    ) -> int:
        given = [options[i].decode() for i in range(option_count)]
        wanted = [expressions[i].decode() for i in range(expression_count)]
        try:
            compiled = compile_source(source.decode(), name=name.decode(), options=given, expressions=wanted, checked=self.settings.checked)
        except CompileError as error:
            self._answer(program, "", str(error), ())
            return 0
        except Exception:  # nothing may pass through the C code that calls this
            self._answer(program, "", traceback.format_exc(), ())
            return 0
        self._answer(program, compiled.image, "", compiled.lowered)
        return 1

    def _answer(self, program: Any, image: str, log: str, lowered: Sequence[str]) -> None:
        names = (ctypes.c_char_p * max(1, len(lowered)))(*(text.encode() for text in lowered))
        self._driver.emulated_set_compiled(program, image.encode(), log.encode(), len(lowered), names)


def installed() -> EmulatedDevice | None:
    """The emulated device of this process, if there is one."""
    return _device


def install(settings: Settings | None = None) -> EmulatedDevice:
    """Make `cupy` run on the emulated device; a second call changes its settings.

    The first call on a machine builds it (about half a minute).

    Raises:
        EPFail: a tool is missing, or CuPy or one of CUDA's libraries is in this process already.
    """
    global _device
    if _device is not None:
        if settings is not None:
            _device.configure(settings)
        return _device
    _refuse_if_too_late()
    built = build(toolchain())
    # CuPy keeps compiled kernels on disk, where those of a GPU and of the emulated device must not meet.
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
    os.environ.setdefault("CUPY_ACCELERATORS", "")
    libraries = [ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL) for path in built.libraries]
    sys.meta_path.insert(0, _RuntimeFinder(built.runtime))
    _device = EmulatedDevice(libraries, settings or Settings())
    return _device


def _refuse_if_too_late() -> None:
    if MODULE in sys.modules:
        raise EPFail(
            "cupy was imported before the emulated device was installed; choose it (ONNXGPU_CUDA=emulated) before anything imports cupy"
        )
    mapped = Path("/proc/self/maps").read_text()
    real = [name for name in _REAL if f"/{name}" in mapped]
    if real:
        raise EPFail(f"the emulated device cannot share a process with CUDA's own libraries; loaded are {', '.join(real)}")


class _RuntimeFinder(MetaPathFinder):
    """Finds CuPy's runtime extension where it was built for the emulated device."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if name != MODULE:
            return None
        loader = importlib.machinery.ExtensionFileLoader(name, self._path)
        return importlib.util.spec_from_file_location(name, self._path, loader=loader)
