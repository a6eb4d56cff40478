"""Operators written once for any array module with NumPy's interface: `def softmax(xp, x, *, axis)`."""

from importlib import import_module
from pkgutil import iter_modules

from onnxgpu.providers.array_ops.registry import REGISTRY

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["REGISTRY"]
