"""DecoderMaskedMultiHeadAttention: one new token that attends to a cache, which beams may share.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.attention_core import attention_scores, join_heads, softmax_over_keys, split_heads, weighted_values
from onnxgpu.providers.array_ops.host_values import braced, integer
from onnxgpu.providers.array_ops.kv_cache import of_beams
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator

_NAME = "DecoderMaskedMultiHeadAttention"


@dataclass(frozen=True, slots=True)
class _Heads:
    """The new token in heads (batch, heads, 1, D); no key or value where the cache of another sequence is attended to."""

    query: Array
    key: Array | None
    value: Array | None


def _heads(xp: Any, query: Array, key: Array | None, value: Array | None, bias: Array | None, heads: int) -> _Heads:
    parts = [query, key, value]
    if key is None:
        size = query.shape[2] // 3
        parts = [query[:, :, :size], query[:, :, size : 2 * size], query[:, :, 2 * size :]]
    elif len(key.shape) == 4:
        parts = [query, None, None]
    if bias is not None:
        width, offset = parts[0].shape[2], 0
        for index, part in enumerate(parts):
            if part is not None:
                offset = index * width
                parts[index] = widened(part) + widened(bias[offset : offset + part.shape[2]])
    q, k, v = (None if part is None else split_heads(xp, part, heads, _NAME) for part in parts)
    return _Heads(q, k, v)


def _past_length(past_key: Array, past_sequence_length: Array | None, share_buffer: int) -> int:
    """How many places of the cache are taken.

    Raises:
        InvalidArgument: a shared cache without its length, or without room for one more.
    """
    if not share_buffer:
        return int(past_key.shape[2])
    if past_sequence_length is None:
        raise InvalidArgument(f"{_NAME}: expected past_sequence_length with past_present_share_buffer, which the node leaves out")
    length = integer(past_sequence_length, _NAME, "past_sequence_length")
    if not 0 <= length < past_key.shape[2]:
        raise InvalidArgument(f"{_NAME}: expected past_sequence_length below the cache's {past_key.shape[2]} places, got {length}")
    return length


def _specs(
    query: Array,
    key: Array = None,
    value: Array = None,
    mask_index: Array = None,
    attention_bias: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    past_sequence_length: Array = None,
    *_: Array,
    num_heads: int,
    output_count: int,
    past_present_share_buffer: int,
    **__: Any,
) -> Sequence[Spec]:
    if len(query.shape) != 3 or query.shape[1] != 1:
        raise InvalidArgument(f"{_NAME}: expected one token, query (batch, 1, hidden), got {braced(query.shape)}")
    batch, _length, width = query.shape
    across = key is not None and len(key.shape) == 4
    if key is None:
        width //= 3
    total = key.shape[2] if across and key is not None else 1
    size = width if value is None else value.shape[2] if len(value.shape) == 3 else value.shape[1] * value.shape[3]
    result = [Spec((batch, 1, size), query.dtype)]
    for position, past, hidden in ((5, past_key, width), (6, past_value, size)):
        if past is None:
            result.append(Spec((batch, num_heads, 1, hidden // num_heads), query.dtype))
            continue
        taken = _past_length(past, past_sequence_length, past_present_share_buffer)
        total = taken + 1
        room = past.shape[2] if past_present_share_buffer else total
        reusable = (position,) if past_present_share_buffer else ()
        result.append(Spec((*past.shape[:2], room, past.shape[3]), query.dtype, may_reuse=reusable))
    result.append(Spec((batch, num_heads, 1, total), query.dtype))
    if across and output_count == 2:
        raise InvalidArgument(f"{_NAME}: expected no present_key for keys that are a cache already")
    return result[:output_count]


@operator(_NAME, domain="com.microsoft", specs=_specs, host=("past_sequence_length", "beam_width"))
def decoder_masked_multi_head_attention(
    xp: Any,
    query: Array,
    key: Array = None,
    value: Array = None,
    mask_index: Array = None,
    attention_bias: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    past_sequence_length: Array = None,
    beam_width: Array = None,
    cache_indirection: Array = None,
    bias: Array = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    output_qk: int = 0,
    past_present_share_buffer: int = 0,
    scale: float | None = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Attention of one token to the cache and itself, or to the keys and values of another sequence (rank 4)."""
    outputs = list(out) if isinstance(out, tuple) else [out]
    outputs += [None] * (4 - len(outputs))
    new = _heads(xp, query, key, value, bias, num_heads)
    if new.key is None or new.value is None:
        keys, values = key, value
    else:
        taken = 0 if past_key is None else _past_length(past_key, past_sequence_length, past_present_share_buffer)
        caches = []
        for index, (past, added) in enumerate(((past_key, new.key), (past_value, new.value)), 1):
            caches.append(_extended(xp, past, stored(xp, added, query.dtype), taken, past_present_share_buffer, outputs[index]))
        keys, values = (cache[:, :, : taken + 1] for cache in caches)
        outputs[1:3] = caches
        if cache_indirection is not None and taken:
            keys, values = (of_beams(xp, cache, cache_indirection, taken) for cache in (keys, values))
    scores = attention_scores(xp, widened(new.query), widened(keys), scale or 1 / math.sqrt(new.query.shape[3]), _NAME)
    if mask_index is not None:
        scores = scores + xp.where(mask_index != 0, 0, scores.dtype.type(mask_filter_value))[:, None, None]
    if attention_bias is not None:
        scores = scores + widened(attention_bias)
    result = join_heads(xp, weighted_values(xp, softmax_over_keys(xp, scores), widened(values)))
    outputs[0] = stored(xp, result, query.dtype, outputs[0])
    outputs[3] = stored(xp, scores, query.dtype, outputs[3])
    return tuple(outputs[:output_count])


def _extended(xp: Any, past: Array | None, added: Array, taken: int, share_buffer: int, out: Array | None) -> Array:
    """The cache with the new token behind the `taken` places; `out` may be the past's own memory."""
    if past is None:
        return stored(xp, added, added.dtype, out)
    if not share_buffer:
        return stored(xp, xp.concatenate((past, added), axis=2), added.dtype, out)
    cache = stored(xp, past, past.dtype, past.copy() if out is None else out)
    cache[:, :, taken : taken + 1] = added
    return cache
