"""GatherPacked of domain com.microsoft: rows of an embedding table that is packed in blocks, as GGUF files store weights.

A format has a fixed number of elements and bytes a block. Source: the block structures of GGML, whose type numbers
onnxruntime takes over; formats that look up vectors in a codebook (IQ2, IQ3) are not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_named, dtype_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import stored
from onnxgpu.providers.array_ops.registry import operator

_BFLOAT16 = 16
_NON_LINEAR_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


@dataclass(frozen=True, slots=True)
class Format:
    """One block format: `unpack(xp, blocks)` gives float32 (…, elements) for uint8 (…, size)."""

    name: str
    elements: int
    size: int
    unpack: Callable[[Any, Array], Array]


def _numbers(part: Array, dtype: Any) -> Array:
    """Bytes that are numbers of `dtype`, as float32."""
    return part.copy().view(dtype).astype(np.float32)


def _halves(blocks: Array, start: int) -> Array:
    """The float16 at byte `start` of each block, float32 with a last axis of one."""
    return _numbers(blocks[..., start : start + 2], np.float16)


def _nibbles(packed: Array) -> tuple[Array, Array]:
    return packed & 15, packed >> 4


def _joined(xp: Any, parts: tuple[Array, ...]) -> Array:
    return xp.concatenate(parts, axis=-1)


def _as_stored(dtype: np.dtype) -> Callable[[Any, Array], Array]:
    return lambda xp, blocks: _numbers(blocks, dtype)


def _q4_0(xp: Any, blocks: Array) -> Array:
    return (_joined(xp, _nibbles(blocks[..., 2:])).astype(np.float32) - 8) * _halves(blocks, 0)


def _q5_0(xp: Any, blocks: Array) -> Array:
    fifth = xp.unpackbits(blocks[..., 2:6], axis=-1, bitorder="little") << 4
    return ((_joined(xp, _nibbles(blocks[..., 6:])) | fifth).astype(np.float32) - 16) * _halves(blocks, 0)


def _q8_0(xp: Any, blocks: Array) -> Array:
    return _numbers(blocks[..., 2:], np.int8) * _halves(blocks, 0)


def _q2_0(xp: Any, blocks: Array) -> Array:
    pairs = blocks[..., 2:, None] >> xp.arange(0, 8, 2, dtype=np.uint8) & 3
    return (pairs.reshape(*blocks.shape[:-1], 64).astype(np.float32) - 1) * _halves(blocks, 0)


def _six_bit_scales(xp: Any, packed: Array) -> tuple[Array, Array]:
    """Eight scales and eight minima of six bits each from twelve bytes."""
    low, middle, high = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    scales = _joined(xp, (low & 63, high & 15 | low >> 6 << 4))
    minima = _joined(xp, (middle & 63, high >> 4 | middle >> 6 << 4))
    return scales.astype(np.float32)[..., None], minima.astype(np.float32)[..., None]


def _q5_k(xp: Any, blocks: Array) -> Array:
    scales, minima = _six_bit_scales(xp, blocks[..., 4:16])
    low = xp.stack(_nibbles(blocks[..., 48:].reshape(*blocks.shape[:-1], 4, 32)), axis=-2).reshape(*blocks.shape[:-1], 8, 32)
    fifth = blocks[..., None, 16:48] >> xp.arange(8, dtype=np.uint8)[:, None] & 1
    values = (low | fifth << 4).astype(np.float32)
    result = _halves(blocks, 0)[..., None] * scales * values - _halves(blocks, 2)[..., None] * minima
    return result.reshape(*blocks.shape[:-1], 256)


def _q6_k(xp: Any, blocks: Array) -> Array:
    shape = blocks.shape[:-1]
    low = xp.stack(_nibbles(blocks[..., :128].reshape(*shape, 2, 64)), axis=-2).reshape(*shape, 2, 4, 32)
    high = blocks[..., 128:192].reshape(*shape, 2, 1, 32) >> xp.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    values = (low | high << 4).astype(np.float32).reshape(*shape, 16, 16) - 32
    scales = _numbers(blocks[..., 192:208], np.int8)[..., None]
    return (_halves(blocks, 208)[..., None] * scales * values).reshape(*shape, 256)


def _levels(xp: Any, indices: Array) -> Array:
    return xp.asarray(_NON_LINEAR_LEVELS, dtype=np.float32)[indices]


def _iq4_nl(xp: Any, blocks: Array) -> Array:
    return _levels(xp, _joined(xp, _nibbles(blocks[..., 2:]))) * _halves(blocks, 0)


def _iq4_xs(xp: Any, blocks: Array) -> Array:
    shape = blocks.shape[:-1]
    low = xp.stack(_nibbles(blocks[..., 4:8]), axis=-1).reshape(*shape, 8)
    high = (blocks[..., 2:4, None] >> xp.arange(0, 8, 2, dtype=np.uint8) & 3).reshape(*shape, 8)
    scales = (low | high << 4).astype(np.float32)[..., None] - 32
    values = _levels(xp, _joined(xp, _nibbles(blocks[..., 8:].reshape(*shape, 8, 16))))
    return (_halves(blocks, 0)[..., None] * scales * values).reshape(*shape, 256)


FORMATS = {
    0: Format("F32", 1, 4, _as_stored(np.dtype(np.float32))),
    1: Format("F16", 1, 2, _as_stored(np.dtype(np.float16))),
    2: Format("Q4_0", 32, 18, _q4_0),
    6: Format("Q5_0", 32, 22, _q5_0),
    8: Format("Q8_0", 32, 34, _q8_0),
    13: Format("Q5_K", 256, 176, _q5_k),
    14: Format("Q6_K", 256, 210, _q6_k),
    20: Format("IQ4_NL", 32, 18, _iq4_nl),
    23: Format("IQ4_XS", 256, 136, _iq4_xs),
    30: Format("BF16", 1, 2, _as_stored(dtype_named("bfloat16"))),
    42: Format("Q2_0", 64, 18, _q2_0),
}


def _unknown_format(operation: Operation) -> str | None:
    packed_type, size = operation.attributes["packed_type"], operation.attributes["K"]
    found = FORMATS.get(packed_type)
    if found is None:
        return f"knows the packed types {', '.join(f'{number} ({f.name})' for number, f in FORMATS.items())}, not {packed_type}"
    if size < 1 or size % found.elements:
        return f"needs a K that is a positive multiple of {found.elements} for packed type {packed_type} ({found.name}), not {size}"
    return None


def _specs(data: Array, indices: Array, *, packed_type: int, K: int, output_dtype: int = _BFLOAT16) -> Spec:
    width = K // FORMATS[packed_type].elements * FORMATS[packed_type].size
    if len(data.shape) != 2 or data.shape[1] != width:
        raise InvalidArgument(
            f"GatherPacked: expected rows of {width} bytes for packed type {packed_type} ({FORMATS[packed_type].name}) and K = {K}, "
            f"got shape {braced(data.shape)}"
        )
    return Spec((*indices.shape, K), dtype_of(output_dtype))


@operator("GatherPacked", domain="com.microsoft", specs=_specs, types=frozenset({"uint8"}), when=_unknown_format)
def gather_packed(
    xp: Any, data: Array, indices: Array, *, packed_type: int, K: int, output_dtype: int = _BFLOAT16, out: Array = None
) -> Array:
    """The rows of a packed table [rows, bytes] at `indices`, unpacked to [..., K]; an index out of range means row 0.

    Spec: onnxruntime's ContribOperators.md and PackedWeightFormats.md
    """
    form = FORMATS[packed_type]
    rows = xp.where((indices >= 0) & (indices < data.shape[0]), indices, 0)
    blocks = data[rows].reshape(*indices.shape, K // form.elements, form.size)
    return stored(xp, form.unpack(xp, blocks).reshape(*indices.shape, K), dtype_of(output_dtype), out)
