"""Importing a library without one that it imports and we do not need.

onnx-ir imports SymPy for arithmetic on symbolic dimensions that onnxgpu never does, and SymPy alone takes longer to
import than everything else together. While onnx-ir is being imported, a stand-in takes SymPy's place: it hands out
attributes that import the real one when they are called or compared with. Everybody else gets the real SymPy.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class DeferredAttribute:
    """Stands for one function or class of a module that is imported when it is first needed."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """What the real one gives."""
        return self._real()(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        """An attribute of the real one."""
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: Any) -> bool:
        return self._module in sys.modules and isinstance(instance, self._real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return self._module in sys.modules and issubclass(subclass, self._real())


class _StandIn(ModuleType):
    """Takes a module's place in `sys.modules`."""

    def __getattr__(self, name: str) -> Any:
        """A stand-in for the attribute."""
        if name.startswith("__"):
            raise AttributeError(name)
        return DeferredAttribute(self.__name__, name)


@contextmanager
def deferred(name: str) -> Iterator[None]:
    """Within the block, whoever imports the module `name` gets a stand-in, unless it is already imported."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = _StandIn(name)
    try:
        yield
    finally:
        del sys.modules[name]


def import_onnx_ir() -> None:
    """Import onnx-ir without SymPy."""
    if "onnx_ir" not in sys.modules:
        with deferred("sympy"):
            importlib.import_module("onnx_ir")
