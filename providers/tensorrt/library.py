"""The module `tensorrt`, or the stand-in that is asked for in its place, and what of it is here."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from onnxgpu import knobs
from onnxgpu.errors import EPFail
from onnxgpu.libraries import Library
from onnxgpu.providers.cuda import device

MAJORS = (10, 11)
"""The versions whose API this provider knows."""

FIRST = (10, 1)
"""The oldest of them: 10.0 has no `supports_model_v2`, no sizes of device memory for a profile, and a budget for weights of its own."""

_MODULES = ("tensorrt", "tensorrt_bindings")
"""NVIDIA's package, and the bindings alone, which it imports and which are a distribution of their own."""

_LIBRARIES = "tensorrt_libs"

_REMEDY = "pip install 'onnxgpu-gpu[tensorrt]', or NVIDIA's own packages of TensorRT 10 or 11"


def tensorrt() -> Any:
    """The module, imported when it is first needed.

    Raises:
        EPFail: it cannot be used; says why, and what to do.
    """
    module, reason = _stand_in(knobs.TENSORRT()) if knobs.TENSORRT() else _real()
    if module is None:
        raise EPFail(f"TensorRT cannot be used: {reason}")
    return module


def problem() -> str | None:
    """Why TensorRT cannot be used here, in words; None if it can."""
    return (_stand_in(knobs.TENSORRT()) if knobs.TENSORRT() else _real())[1]


def version() -> str:
    """TensorRT's version with its build, `11.4.0.106`."""
    return str(tensorrt().__version__)


def major() -> int:
    """The first number of the version."""
    return _major(tensorrt())


def found() -> Library:
    """What there is of TensorRT, for `onnxgpu doctor`; its libraries are loaded only where there is a device to use them on."""
    if knobs.TENSORRT():
        module, reason = _stand_in(knobs.TENSORRT())
        return Library("tensorrt", module and "the stand-in", module and str(module.__version__), remedy=reason or "")
    if device.unavailable() is not None and not any(name in sys.modules for name in _MODULES):
        places = [spec.origin for name in _MODULES if (spec := find_spec(name)) is not None and spec.origin is not None]
        return Library("tensorrt", places[0] if places else None, remedy=_REMEDY)
    module, reason = _real()
    return Library("tensorrt", module and str(module.__file__), module and str(module.__version__), remedy=reason or "")


def _stand_in(wanted: str) -> tuple[Any, str | None]:
    if not device.is_emulated():
        return None, f"ONNXGPU_TENSORRT={wanted} is the stand-in, which runs on the emulated device: set ONNXGPU_CUDA=emulated too"
    from onnxgpu.providers.tensorrt import stand_in

    try:
        return stand_in.install(wanted), None
    except RuntimeError as error:
        return None, str(error)


@cache
def _real() -> tuple[Any, str | None]:
    """The installed module and None, or None and the reason."""
    if device.is_emulated():
        return None, "the device is emulated, where TensorRT itself cannot run: set ONNXGPU_TENSORRT=11.4 (or 10.13) for its stand-in"
    answers = [_imported(name) for name in _MODULES if find_spec(name) is not None]
    usable = [module for module, _ in answers if module is not None]
    if usable:
        return usable[0], None
    return None, answers[0][1] if answers else f"neither package {' nor '.join(_MODULES)} is installed ({_REMEDY})"


def _imported(name: str) -> tuple[Any, str | None]:
    try:
        if name == _MODULES[1] and find_spec(_LIBRARIES) is not None:
            import_module(_LIBRARIES)  # loads them, so that the bindings find them
        module = import_module(name)
    except Exception as error:
        return None, f"the package {name} is installed but cannot be imported: {type(error).__name__}: {error}. {_advice(error)}"
    if not hasattr(module, "Builder"):
        return None, f"the package {name} has no Builder: it is an empty one, of type stubs or of a failed installation ({_REMEDY})"
    if _major(module) not in MAJORS or _first_two(module) < FIRST:
        known = f"{' and '.join(map(str, MAJORS))}, from {'.'.join(map(str, FIRST))} on"
        return None, f"TensorRT {module.__version__} is installed, and onnxgpu knows {known} ({_REMEDY})"
    return module, None


def _advice(error: Exception) -> str:
    if "libnv" in str(error):
        return "Its libraries are a package of their own, tensorrt-cu13-libs or tensorrt-cu12-libs, of the same version"
    return "Reinstall it: " + _REMEDY


def _major(module: Any) -> int:
    return _first_two(module)[0]


def _first_two(module: Any) -> tuple[int, int]:
    first, second = str(module.__version__).split(".")[:2]
    return int(first), int(second)
