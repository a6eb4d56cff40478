"""Matrix products, shared by this provider's own threads and not by those of the BLAS.

OpenBLAS, which NumPy's wheels carry, keeps its threads in step by spinning. On an idle machine that is as fast as handing the parts
to `threads.py`; where anything else wants a core, each barrier waits for the scheduler, and products become up to ten
times slower than on one thread (paired runs: 290 µs alone, 16 ms with one busy core of two). Spinning threads also take the cores from
the work between products. So a product is cut along its longer side, and each part runs with the BLAS's thread count at 1; the
count is put back afterwards, for it belongs to the whole process.

Where NumPy has another BLAS, whose thread count cannot be set this way, products are left to it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from math import prod

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.openblas import has_wide_kernels, thread_functions
from onnxgpu.providers.cpu.threads import share

FEW_MULTIPLICATIONS = 8192
"""Up to so many in a product no BLAS takes more than one thread."""
_SECONDS_A_MULTIPLICATION, _BY_WIDE_KERNELS = 2.3e-11, 1.2e-11
_MULTIPLE = 16
"""Parts begin at multiples of this many rows or columns, whole tiles of the BLAS's inner kernel."""

_lock = threading.Lock()
_users = 0
_before = 1


def can_limit_threads() -> bool:
    """True if the BLAS that NumPy uses takes its thread count from here."""
    return thread_functions() is not None


def matmul(a: Array, b: Array, out: Array) -> None:
    """out = a @ b for arrays of two or more axes; batch axes broadcast."""
    if thread_functions() is None:
        np.matmul(a, b, out=out)
        return
    with single_threaded():
        _shared(a, b, out)


def product_seconds(multiplications: int) -> float:
    """The time that so many take on one core, about."""
    return seconds_a_multiplication() * multiplications


@cache
def seconds_a_multiplication() -> float:
    """The time that one of many takes on one core, in float32, about."""
    return _BY_WIDE_KERNELS if has_wide_kernels() else _SECONDS_A_MULTIPLICATION


def _shared(a: Array, b: Array, out: Array) -> None:
    rows, columns = out.shape[-2:]
    seconds = product_seconds(out.size * a.shape[-1])
    batch = prod(out.shape[:-2])
    if batch > 1:
        if a.shape[:-2] == b.shape[:-2] == out.shape[:-2] and out.flags.c_contiguous:
            a, b, out = a.reshape(batch, *a.shape[-2:]), b.reshape(batch, *b.shape[-2:]), out.reshape(batch, rows, columns)
            share(lambda start, stop: np.matmul(a[start:stop], b[start:stop], out=out[start:stop]), batch, seconds=seconds)
        else:
            np.matmul(a, b, out=out)
        return
    across = columns >= rows

    def part(piece: slice) -> None:
        if across:
            np.matmul(a, b[..., piece], out=out[..., piece])
        else:
            np.matmul(a[..., piece, :], b, out=out[..., piece, :])

    share_pieces(part, columns if across else rows, seconds)


def share_pieces(function: Callable[[slice], None], length: int, seconds: float) -> None:
    """Call `function` with pieces of a product's rows or columns, of whole tiles of the BLAS's inner kernel; see `threads.share`."""
    count = max(1, length // _MULTIPLE)
    share(lambda start, stop: function(slice(start * _MULTIPLE, None if stop == count else stop * _MULTIPLE)), count, seconds=seconds)


class _SingleThreaded:
    """The context of `single_threaded`; it keeps nothing, so that one will do for all."""

    def __enter__(self) -> None:
        limit_threads()

    def __exit__(self, *_: object) -> None:
        restore_threads()


_SINGLE_THREADED = _SingleThreaded()


def single_threaded() -> AbstractContextManager[None]:
    """The BLAS works with one thread a call while any thread is in this context."""
    return _SINGLE_THREADED


def limit_threads() -> None:
    """The BLAS works with one thread a call until `restore_threads` was called as often."""
    global _users, _before
    functions = thread_functions()
    if functions is not None:
        with _lock:
            if _users == 0:
                _before = functions[0]()
                functions[1](1)
            _users += 1


def restore_threads() -> None:
    """The end of one `limit_threads`."""
    global _users
    functions = thread_functions()
    if functions is not None:
        with _lock:
            _users -= 1
            if _users == 0:
                functions[1](_before)


def _start_anew() -> None:
    """In a forked child no thread is in the middle of a product."""
    global _lock, _users
    functions = thread_functions() if _users else None
    _lock, _users = threading.Lock(), 0
    if functions is not None:
        functions[1](_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
