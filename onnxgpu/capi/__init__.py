"""Module names that programs written for onnxruntime import from: the same objects as `onnxgpu`'s own."""

from importlib import import_module
from types import ModuleType

_SUBMODULES = frozenset({"_pybind_state", "onnxruntime_inference_collection", "onnxruntime_pybind11_state", "onnxruntime_validation"})


def __getattr__(name: str) -> ModuleType:
    if name not in _SUBMODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
