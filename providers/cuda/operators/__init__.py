"""Operators with CUDA kernels of our own, a file a family; all are registered when the package is imported."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
