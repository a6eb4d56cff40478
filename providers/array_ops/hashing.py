"""MurmurHash3: 32-bit hashes of numbers and strings.

Spec: onnxruntime's operator schemas, domain com.microsoft; the algorithm is MurmurHash3_x86_32 by Austin Appleby
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.registry import operator

UINT32 = np.dtype(np.uint32)
INT32 = np.dtype(np.int32)


def _rotated(x: Array, bits: int) -> Array:
    return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))


def _hashed(xp: Any, words: Array, byte_count: int, seed: int) -> Array:
    """The hash of each row of little-endian uint32 words, the last of them padded with zero bytes up from `byte_count`."""
    state = xp.full(words.shape[0], seed & 0xFFFFFFFF, dtype=UINT32)
    for place in range(words.shape[1]):
        state ^= _rotated(words[:, place] * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
        if place < byte_count // 4:
            state = _rotated(state, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    state ^= np.uint32(byte_count)
    state = (state ^ (state >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return state ^ (state >> np.uint32(16))


def _hashed_strings(strings: Array, seed: int) -> Array:
    """Hashes of the strings' UTF-8 bytes, computed together for strings of one length."""
    encoded = [text.encode() for text in strings.reshape(-1)]
    places: dict[int, list[int]] = {}
    for place, data in enumerate(encoded):
        places.setdefault(len(data), []).append(place)
    hashes = np.empty(len(encoded), UINT32)
    for byte_count, chosen in places.items():
        width = -(-byte_count // 4)
        joined = b"".join(encoded[place].ljust(width * 4, b"\0") for place in chosen)
        hashes[chosen] = _hashed(np, np.frombuffer(joined, "<u4").reshape(len(chosen), width), byte_count, seed)
    return hashes


def _specs(x: Array, *, positive: int = 1, **_: Any) -> Spec:
    return Spec(tuple(x.shape), UINT32 if positive else INT32)


@operator("MurmurHash3", domain="com.microsoft", specs=_specs)
def murmur_hash_3(xp: Any, x: Array, *, positive: int = 1, seed: int = 0, out: Array = None) -> Array:
    """A hash of each element's bytes, uint32, or int32 unless `positive`."""
    if x.dtype.kind == "O":
        hashes = xp.asarray(_hashed_strings(x, seed))
    else:
        flat = xp.ascontiguousarray(x).reshape(-1)
        hashes = _hashed(xp, flat.view(UINT32).reshape(flat.size, x.dtype.itemsize // 4), x.dtype.itemsize, seed)
    hashes = hashes.reshape(x.shape)
    result = hashes if positive else hashes.view(INT32)
    if out is None:
        return result
    out[...] = result
    return out
