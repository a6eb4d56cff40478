"""nvmath's bindings of one library alone: its package imports those of all libraries, which takes longer than starting CuPy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from onnxgpu.log import logger

PACKAGES = ("nvmath", "nvmath.bindings")


def bindings(library: str) -> Any:
    """The module `nvmath.bindings.LIBRARY`, which has its own file and needs nothing of the packages above it.

    Where that does not work, or a program has imported nvmath already, it is imported as usual. A program that imports nvmath later gets
    all of it, with this same module in it.

    Args:
        library: such as `cublasLt`.

    Raises:
        ImportError: nvmath is not installed, or does not have it.
    """
    name = f"{PACKAGES[-1]}.{library}"
    if "nvmath" not in sys.modules:
        try:
            with _without_code():
                return import_module(name)
        except Exception as error:  # a release whose modules do need their packages
            logger.info("%s is imported with all of its package (%s: %s)", name, type(error).__name__, error)
    return import_module(name)


@contextmanager
def _without_code() -> Iterator[None]:
    """The packages are but folders in which modules are found; afterwards nobody has imported them."""
    try:
        for name in PACKAGES:
            spec = find_spec(name)
            if spec is None or spec.submodule_search_locations is None:
                raise ImportError(f"no package {name}")
            package = ModuleType(name)
            package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations)
            sys.modules[name] = package
        yield
    finally:
        for name in PACKAGES:
            sys.modules.pop(name, None)
