"""Constants on a device, one copy for all sessions of the process that hold the same.

Arrays are found by dtype, shape and a sample of their bytes, and are the same if their elements are: those of the one that is there
are fetched and compared, so that nothing rests on a hash. A session holds what it uses; what nobody holds is freed.
"""

from __future__ import annotations

import threading
import weakref
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

SMALLEST_SHARED = 4096
"""Bytes; comparing costs more than a copy of less."""
_SAMPLES = 64
_PIECE = 4 << 20

_Key = tuple[int, str, tuple[int, ...], int]
_held: weakref.WeakValueDictionary[_Key, Any] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def shared(array: np.ndarray, device: int, upload: Callable[[np.ndarray], Any], download: Callable[[Any], np.ndarray]) -> Any:
    """An array of CuPy with the elements of `array`, which nobody writes into.

    Args:
        array: dense, on the host.
        device: its number.
        upload: makes an array on the device; afterwards every stream may read it.
        download: fetches a one-dimensional array of bytes.
    """
    if array.nbytes < SMALLEST_SHARED or not array.flags.c_contiguous:
        return upload(array)
    data = array.reshape(-1).view(np.uint8)
    key = device, array.dtype.name, array.shape, _fingerprint(data)
    with _lock:
        found = _held.get(key)
        if found is not None and _is_same(data, found, download):
            return found
        made = upload(array)
        _held[key] = made
        return made


def _fingerprint(data: np.ndarray) -> int:
    step = max(1, data.size // _SAMPLES)
    return zlib.crc32(np.ascontiguousarray(data[::step]).tobytes(), data.size)


def _is_same(data: np.ndarray, found: Any, download: Callable[[Any], np.ndarray]) -> bool:
    there = found.reshape(-1).view(np.uint8)
    pieces = range(0, data.size, _PIECE)
    return all(np.array_equal(download(there[start : start + _PIECE]), data[start : start + _PIECE]) for start in pieces)
