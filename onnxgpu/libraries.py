"""Looking for shared libraries and Python packages, and telling where they were found."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Library:
    """A library a provider looks for: what was found where, or what is missing and how to get it."""

    name: str
    found: str | None
    version: str | None = None
    needed: bool = True
    remedy: str = ""


def shared_library(name: str, *, remedy: str, needed: bool = True) -> Library:
    """A shared library, looked for as the dynamic loader does.

    Args:
        name: its file name, `libcuda.so.1`.
        remedy: what to do if it is missing.
        needed: whether the provider cannot do without.
    """
    try:
        handle = ctypes.CDLL(name)
    except OSError:
        return Library(name, None, needed=needed, remedy=remedy)
    return Library(name, getattr(handle, "_name", name), needed=needed)


def python_package(module: str, distributions: tuple[str, ...], *, remedy: str, needed: bool = True) -> Library:
    """A Python package, found without importing it.

    Args:
        module: its import name.
        distributions: the distributions that may provide it.
        remedy: what to do if it is missing.
        needed: whether the provider cannot do without.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return Library(module, None, needed=needed, remedy=remedy)
    return Library(module, spec.origin, _version(distributions), needed)


def _version(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def first_missing(libraries: tuple[Library, ...]) -> str | None:
    """What to tell of the first needed library that was not found; None if all are there."""
    for library in libraries:
        if library.needed and library.found is None:
            return f"{library.name} not found ({library.remedy})"
    return None
