"""Generators of examples, one function an operator or a family; importing this package registers them all."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from tests.schemas.examples import GENERATORS

__all__ = ["GENERATORS"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
