"""Denormal numbers as zero on the calling thread: the control register that NumPy's and the BLAS's inner loops run under.

The C library's `fegetenv` and `fesetenv` read and write it; where it lies in `fenv_t` is known for Linux on x86-64 (glibc and
musl, <bits/fenv.h>: MXCSR at byte 28) and on AArch64 (FPCR at byte 0).
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any

_PLACES = {"x86_64": (28, 0x8040), "aarch64": (0, 1 << 24)}
"""Machine → offset of the register in `fenv_t`, and its bits (x86-64: flush-to-zero and denormals-are-zero; AArch64: FZ)."""
_FENV_BYTES = 64


def can_flush() -> bool:
    """True if `flush` has an effect on this machine."""
    return _functions() is not None


def flush(on: bool) -> bool:
    """Treat denormals as zero on this thread, or not; returns what held before."""
    functions = _functions()
    if functions is None:
        return False
    get, put, offset, bits = functions
    environment = (ctypes.c_uint8 * _FENV_BYTES)()
    get(environment)
    register = ctypes.c_uint32.from_buffer(environment, offset)
    before = register.value & bits == bits
    if before != on:
        register.value = register.value | bits if on else register.value & ~bits
        put(environment)
    return before


@cache
def _functions() -> tuple[Any, Any, int, int] | None:
    place = _PLACES.get(platform.machine())
    if place is None or not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.PyDLL(None)
        return library.fegetenv, library.fesetenv, *place
    except (OSError, AttributeError):
        return None
