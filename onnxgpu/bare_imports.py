"""Modules of large packages without the packages: their own code imports far more than what is asked for, and takes longer than all else.

`nvmath` imports the bindings of every library of NVIDIA's, and cuda-core; `openvino` imports its converter, with what reports its use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from onnxgpu.log import logger


def import_bare(name: str) -> Any:
    """The module of this name, whose packages' own code is not run; for a module that needs nothing of it.

    Where that does not work, or a program has imported the package already, it is imported as usual. A program that imports the package
    later gets all of it, with this same module in it.

    Args:
        name: such as `nvmath.bindings.cublasLt`.

    Raises:
        ImportError: it is not installed.
    """
    packages = [name[:position] for position, letter in enumerate(name) if letter == "."]
    if packages[0] not in sys.modules:
        try:
            with _without_code(packages):
                return import_module(name)
        except Exception as error:  # a release whose modules do need their packages
            logger.info("%s is imported with all of its package (%s: %s)", name, type(error).__name__, error)
    return import_module(name)


@contextmanager
def _without_code(packages: Sequence[str]) -> Iterator[None]:
    """The packages are but folders in which modules are found; afterwards nobody has imported them."""
    try:
        for name in packages:
            spec = find_spec(name)
            if spec is None or spec.submodule_search_locations is None:
                raise ImportError(f"no package {name}")
            package = ModuleType(name)
            package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations)
            sys.modules[name] = package
        yield
    finally:
        for name in packages:
            sys.modules.pop(name, None)
