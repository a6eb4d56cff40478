"""The OpenBLAS that NumPy's wheels carry: its thread count, and which of its kernels it uses."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")
_WIDE = ("SkylakeX", "Cooperlake", "Sapphirerapids", "Zen4", "Zen5")
"""Processors whose kernels compute with vectors of 512 bits, by OpenBLAS's names."""


@cache
def thread_functions() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """What reads and sets the thread count of the OpenBLAS that is loaded in this process; None if there is none or more than one."""
    get, set_count = _function("get_num_threads"), _function("set_num_threads")
    return None if get is None or set_count is None else (get, set_count)


@cache
def has_wide_kernels() -> bool:
    """True if OpenBLAS says that it computes with vectors of 512 bits; OPENBLAS_CORETYPE may have told it which kernels to use."""
    name = _function("get_corename")
    if name is None:
        return False
    name.restype = ctypes.c_char_p
    return bytes(name()).decode().casefold() in map(str.casefold, _WIDE)


def _function(name: str) -> Any:
    library = _library()
    names = (f"{prefix}_{name}{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES)
    return next((getattr(library, n) for n in names if hasattr(library, n)), None)


@cache
def _library() -> ctypes.PyDLL | None:
    """The one OpenBLAS that is loaded."""
    libraries = _loaded_libraries()
    return ctypes.PyDLL(libraries[0]) if len(libraries) == 1 else None


def _loaded_libraries() -> list[str]:
    """OpenBLAS libraries that NumPy loaded: those in its own wheel, or else those mapped into the process."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    mapped = {line.split(maxsplit=5)[5] for line in lines if "openblas" in line.rpartition("/")[2]}
    own = {path for path in mapped if "numpy" in Path(path).parent.name}
    return sorted(own or mapped)
