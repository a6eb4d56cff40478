"""onnxruntime's Attention and MultiHeadAttention of domain com.microsoft.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.attention_core import (
    attention_scores,
    join_heads,
    positions_allowed,
    softmax_over_keys,
    split_heads,
    weighted_values,
)
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.array_ops.kv_cache import of_beams
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator

_MASKED = -10000.0


def padding_bias(xp: Any, mask: Array, batch: int, keys: int, masked: float, name: str) -> Array:
    """A padding mask as numbers to add to the scores: lengths (batch,), ends and starts (2 * batch,), or 0/1 for each key.

    Raises:
        InvalidArgument: the mask has none of these shapes.
    """
    shape, places = tuple(mask.shape), xp.arange(keys)
    if shape == (batch,):
        seen = (places < mask[:, None])[:, None, None]
    elif shape == (2 * batch,):
        seen = ((places < mask[:batch, None]) & (places >= mask[batch:, None]))[:, None, None]
    elif shape == (3 * batch + 2,):
        seen = (places < mask[:batch, None])[:, None, None]
    elif len(shape) == 2 and shape[0] in (1, batch) and shape[1] == keys:
        seen = (mask != 0)[:, None, None]
    elif len(shape) == 3 and shape[0] in (1, batch) and shape[2] == keys:
        seen = (mask != 0)[:, None]
    else:
        raise InvalidArgument(f"{name}: expected a mask for batch {batch} and {keys} keys, got shape {list(shape)}")
    return xp.where(seen, np.float32(0), np.float32(masked))


def _attend(
    xp: Any, q: Array, k: Array, v: Array, scale: float | None, bias: Sequence[Array | None], causal: int, offset: int, name: str
) -> tuple[Array, Array]:
    """Joined heads (batch, S, heads * D) and the biased scores."""
    scores = attention_scores(xp, widened(q), widened(k), scale or 1 / math.sqrt(q.shape[3]), name)
    for term in bias:
        if term is not None:
            scores = scores + widened(term)
    if causal:
        allowed = positions_allowed(xp, q.shape[2], k.shape[2], offset, -1, 0)
        scores = xp.where(allowed, scores, xp.asarray(-np.inf, dtype=scores.dtype))
    return join_heads(xp, weighted_values(xp, softmax_over_keys(xp, scores), widened(v))), scores


def _unsupported(operation: Operation) -> str | None:
    for attribute in ("do_rotary", "past_present_share_buffer"):
        if operation.attributes.get(attribute):
            return f"with {attribute} is not implemented"
    return None


@operator("Attention", domain="com.microsoft", when=_unsupported)
def packed_attention(
    xp: Any,
    x: Array,
    weights: Array,
    bias: Array = None,
    mask_index: Array = None,
    past: Array = None,
    attention_bias: Array = None,
    past_sequence_length: Array = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = _MASKED,
    num_heads: int,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: Sequence[int] | None = None,
    rotary_embedding_dim: int = 0,
    scale: float | None = None,
    unidirectional: int = 0,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """Self-attention from the layer's input and the packed weights of its three projections."""
    projected = xp.matmul(widened(x), widened(weights))
    if bias is not None:
        projected = projected + widened(bias)
    first, second = (qkv_hidden_sizes or (projected.shape[2] // 3,) * 2)[:2]
    parts = (projected[..., :first], projected[..., first : first + second], projected[..., first + second :])
    q, k, v = (split_heads(xp, part, num_heads, "Attention") for part in parts)
    offset = 0
    if past is not None:
        offset = past.shape[3]
        k, v = xp.concatenate((widened(past[0]), k), axis=2), xp.concatenate((widened(past[1]), v), axis=2)
    padding = None if mask_index is None else padding_bias(xp, mask_index, x.shape[0], k.shape[2], mask_filter_value, "Attention")
    result, _ = _attend(xp, q, k, v, scale, (padding, attention_bias), unidirectional, offset, "Attention")
    y = stored(xp, result, x.dtype)
    return (y,) if output_count == 1 else (y, stored(xp, xp.stack((k, v)), x.dtype))


def separate(xp: Any, query: Array, key: Array | None, value: Array | None, num_heads: int) -> tuple[Array, Array, Array]:
    """Query, key and value as (batch, heads, length, D), from any of the layouts that MultiHeadAttention takes."""
    if key is None:
        if len(query.shape) != 5:
            raise InvalidArgument(
                f"MultiHeadAttention: expected packed (batch, length, heads, 3, size) where key is left out, got {list(query.shape)}"
            )
        q, k, v = (xp.transpose(query[:, :, :, i], (0, 2, 1, 3)) for i in range(3))
        return q, k, v
    q = split_heads(xp, query, num_heads, "MultiHeadAttention")
    if value is None:
        if len(key.shape) != 5:
            raise InvalidArgument(
                f"MultiHeadAttention: expected packed (batch, length, heads, 2, size) where value is left out, got {list(key.shape)}"
            )
        return q, xp.transpose(key[:, :, :, 0], (0, 2, 1, 3)), xp.transpose(key[:, :, :, 1], (0, 2, 1, 3))
    k = key if len(key.shape) == 4 else split_heads(xp, key, num_heads, "MultiHeadAttention")
    return q, k, value if len(value.shape) == 4 else split_heads(xp, value, num_heads, "MultiHeadAttention")


@operator("MultiHeadAttention", domain="com.microsoft", host=("past_sequence_length",))
def multi_head_attention(
    xp: Any,
    query: Array,
    key: Array = None,
    value: Array = None,
    bias: Array = None,
    key_padding_mask: Array = None,
    attention_bias: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    past_sequence_length: Array = None,
    cache_indirection: Array = None,
    *,
    mask_filter_value: float = _MASKED,
    num_heads: int,
    scale: float | None = None,
    unidirectional: int = 0,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """Attention of projected queries, keys and values in any of onnxruntime's layouts."""
    q, k, v = separate(xp, query, key, value, num_heads)
    if bias is not None:
        q, k, v = with_bias(q, k, v, bias, num_heads, key is not None and len(key.shape) == 4)
    offset = 0
    present = (k, v)
    if past_key is not None and past_sequence_length is not None:
        offset = integer(past_sequence_length, "MultiHeadAttention", "past_sequence_length")
        total = offset + k.shape[2]
        present = (_written(past_key, k, offset), _written(past_value, v, offset))
        k, v = (cache[:, :, :total] for cache in present)
        if cache_indirection is not None and q.shape[2] == 1:
            k, v = (of_beams(xp, cache, cache_indirection, offset) for cache in (k, v))
    elif past_key is not None:
        offset = past_key.shape[2]
        present = k, v = xp.concatenate((past_key, k), axis=2), xp.concatenate((past_value, v), axis=2)
    batch, keys = q.shape[0], k.shape[2]
    padding = None if key_padding_mask is None else padding_bias(xp, key_padding_mask, batch, keys, mask_filter_value, "MultiHeadAttention")
    result, scores = _attend(xp, q, k, v, scale, (padding, attention_bias), unidirectional, offset, "MultiHeadAttention")
    dtype = query.dtype
    y = stored(xp, result, dtype)
    return (y, *(stored(xp, x, dtype) for x in (*present, scores)))[:output_count] if output_count > 1 else (y,)


def _written(cache: Array, new: Array, start: int) -> Array:
    """A copy of the cache with `new` at its places from `start` on.

    Raises:
        InvalidArgument: there is no room for it.
    """
    stop = start + new.shape[2]
    if not 0 <= start <= stop <= cache.shape[2]:
        raise InvalidArgument(f"MultiHeadAttention: expected room for places {start} to {stop}, got a cache of {cache.shape[2]}")
    cache = cache.copy()
    cache[:, :, start:stop] = new
    return cache


def with_bias(q: Array, k: Array, v: Array, bias: Array, heads: int, query_only: bool) -> tuple[Array, Array, Array]:
    """The projections' biases, packed one after the other; keys that come in heads already have theirs."""
    wide, size = widened(bias), heads * q.shape[3]
    parts = (wide[:size], wide[size : 2 * size], wide[2 * size :])
    biased = [x + part.reshape(1, heads, 1, -1) for x, part in zip((q, k, v), parts, strict=True)]
    return (biased[0], k, v) if query_only else (biased[0], biased[1], biased[2])
