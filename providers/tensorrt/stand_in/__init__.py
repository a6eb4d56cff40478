"""A stand-in for the module `tensorrt`, which refuses what the real one lacks and runs segments on the emulated device."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from types import ModuleType

from onnxgpu.providers.tensorrt.stand_in import registry
from onnxgpu.providers.tensorrt.stand_in.order import forget_violations, violations
from onnxgpu.providers.tensorrt.stand_in.recording import Call, clear, keeping_arguments, recorded

__all__ = ["Call", "clear", "forget_violations", "install", "installed", "keeping_arguments", "recorded", "uninstall", "violations"]

NAMES = ("tensorrt", "tensorrt_bindings", "tensorrt_bindings.tensorrt")

_installed = ""


def install(version: str) -> ModuleType:
    """Let `import tensorrt` give the stand-in of a version, and return it.

    Args:
        version: `10.13` or `11.4`.

    Raises:
        ValueError: another version.
        RuntimeError: the real module, or the stand-in of another version, has been imported.
    """
    global _installed
    from onnxgpu.providers.tensorrt.stand_in.surface import api, module

    if _installed == version:
        return sys.modules["tensorrt"]
    if any(name in sys.modules for name in NAMES):
        there = f"the stand-in of {_installed}" if _installed else "the real module"
        raise RuntimeError(
            f"TensorRT {version} cannot be stood in for in this process: {there} is imported as `tensorrt`. Start another process."
        )
    loaded = api.load(version)
    for each in pkgutil.iter_modules(__path__, f"{__name__}."):
        import_module(each.name)
    made = module.make(module.surface_of(loaded, registry.implementations()))
    enums = {name: value for name, value in loaded.classes.items() if value.members}
    registry.use(loaded.version, {name: _attribute(made, name) for name in enums})
    sys.modules |= dict.fromkeys(NAMES, made)
    _installed = version
    return made


def _attribute(scope: object, path: str) -> object:
    for name in path.split("."):
        scope = getattr(scope, name)
    return scope


def installed() -> str:
    """The version that is stood in for, empty if none is."""
    return _installed


def uninstall() -> None:
    """Take the stand-in out of the imported modules again, for tests of several versions in one process."""
    global _installed
    if _installed:
        for name in NAMES:
            sys.modules.pop(name, None)
    _installed = ""
    clear()
