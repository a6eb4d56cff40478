"""onnxruntime's attention operators of domain com.microsoft: Attention, MultiHeadAttention and GroupQueryAttention.

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
    softcapped,
    softmax_over_keys,
    split_heads,
    weighted_values,
)
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.rotary import rotated

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


def _separate(xp: Any, query: Array, key: Array | None, value: Array | None, num_heads: int) -> tuple[Array, Array, Array]:
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


@operator("MultiHeadAttention", domain="com.microsoft")
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
    *,
    mask_filter_value: float = _MASKED,
    num_heads: int,
    scale: float | None = None,
    unidirectional: int = 0,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """Attention of projected queries, keys and values in any of onnxruntime's layouts."""
    q, k, v = _separate(xp, query, key, value, num_heads)
    if bias is not None:
        q, k, v = _with_bias(q, k, v, bias, num_heads, key is not None and len(key.shape) == 4)
    offset = 0
    if past_key is not None:
        offset = past_key.shape[2]
        k, v = xp.concatenate((past_key, k), axis=2), xp.concatenate((past_value, v), axis=2)
    batch, keys = q.shape[0], k.shape[2]
    padding = None if key_padding_mask is None else padding_bias(xp, key_padding_mask, batch, keys, mask_filter_value, "MultiHeadAttention")
    result, scores = _attend(xp, q, k, v, scale, (padding, attention_bias), unidirectional, offset, "MultiHeadAttention")
    dtype = query.dtype
    y = stored(xp, result, dtype)
    return (y, stored(xp, k, dtype), stored(xp, v, dtype), stored(xp, scores, dtype))[:output_count] if output_count > 1 else (y,)


def _with_bias(q: Array, k: Array, v: Array, bias: Array, heads: int, query_only: bool) -> tuple[Array, Array, Array]:
    """The projections' biases, packed one after the other; keys that come in heads already have theirs."""
    wide, size = widened(bias), heads * q.shape[3]
    parts = (wide[:size], wide[size : 2 * size], wide[2 * size :])
    biased = [x + part.reshape(1, heads, 1, -1) for x, part in zip((q, k, v), parts, strict=True)]
    return (biased[0], k, v) if query_only else (biased[0], biased[1], biased[2])


def _quantized_cache(operation: Operation) -> str | None:
    for attribute in ("k_quant_type", "v_quant_type"):
        if operation.attributes.get(attribute, "NONE") != "NONE":
            return f"with a quantised cache ({attribute}) is not implemented"
    if len(operation.outputs) > 3 or operation.attributes.get("sliding_window_cache"):
        return "with output_qk or sliding_window_cache is not implemented"
    return None


def _cached(xp: Any, past: Array | None, new: Array, starts: np.ndarray, size: int) -> Array:
    """The cache (batch, heads, size, D) with `new` written at each sequence's start."""
    cache = xp.zeros((*new.shape[:2], size, new.shape[3]), new.dtype)
    for index, start in enumerate(starts):
        if past is not None and start:
            cache[index, :, :start] = past[index, :, :start]
        cache[index, :, start : start + new.shape[2]] = new[index, :, : size - start]
    return cache


@operator("GroupQueryAttention", domain="com.microsoft", host=("seqlens_k", "total_sequence_length"), when=_quantized_cache)
def group_query_attention(
    xp: Any,
    query: Array,
    key: Array = None,
    value: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    seqlens_k: Array = None,
    total_sequence_length: Array = None,
    cos_cache: Array = None,
    sin_cache: Array = None,
    position_ids: Array = None,
    attention_bias: Array = None,
    head_sink: Array = None,
    *,
    causal: int = 1,
    do_rotary: int = 0,
    k_quant_type: str = "NONE",
    kv_num_heads: int,
    local_window_size: int = -1,
    num_heads: int,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float | None = None,
    sliding_window_cache: int = 0,
    smooth_softmax: int = -1,
    softcap: float = 0.0,
    v_quant_type: str = "NONE",
    output_count: int = 1,
) -> tuple[Array, ...]:
    """Causal attention with fewer key-value heads and a cache in which each sequence has a length of its own."""
    if key is None:
        size = query.shape[2] // (num_heads + 2 * kv_num_heads)
        first, second = num_heads * size, (num_heads + kv_num_heads) * size
        query, key, value = query[..., :first], query[..., first:second], query[..., second:]
    q = split_heads(xp, query, num_heads, "GroupQueryAttention")
    k, v = (split_heads(xp, x, kv_num_heads, "GroupQueryAttention") for x in (key, value))
    length, total = q.shape[2], int(np.asarray(total_sequence_length).reshape(-1)[0])
    lengths = np.asarray(seqlens_k).reshape(-1).astype(np.int64) + 1
    starts = np.zeros_like(lengths) if length == total else lengths - length
    if do_rotary:
        places = xp.asarray(starts)[:, None] + xp.arange(length) if position_ids is None else position_ids
        q, k = (_turned(xp, x, cos_cache[places], sin_cache[places], rotary_interleaved) for x in (q, k))
    size = max(total, 0 if past_key is None else past_key.shape[2])
    keys, values = _cached(xp, past_key, k, starts, size), _cached(xp, past_value, v, starts, size)
    scores = attention_scores(xp, widened(q), widened(keys[:, :, :total]), scale or 1 / math.sqrt(q.shape[3]), "GroupQueryAttention")
    scores = softcapped(xp, scores, softcap)
    if attention_bias is not None:
        scores = scores + widened(attention_bias)
    window = local_window_size - 1 if local_window_size > 0 else -1
    allowed = positions_allowed(xp, length, total, xp.asarray(starts), window, 0 if causal else -1)
    scores = xp.where(allowed, scores, xp.asarray(-np.inf, dtype=scores.dtype))
    sink = None if head_sink is None else widened(head_sink).reshape(1, -1, 1, 1)
    if sink is None and smooth_softmax > 0:
        sink = xp.zeros((1, 1, 1, 1), scores.dtype)
    result = weighted_values(xp, softmax_over_keys(xp, scores, sink), widened(values[:, :, :total]))
    return (stored(xp, join_heads(xp, result), query.dtype), keys, values)[:output_count]


def _turned(xp: Any, x: Array, cosines: Array, sines: Array, interleaved: int) -> Array:
    turned = rotated(xp, xp.transpose(x, (0, 2, 1, 3)), cosines, sines, interleaved)
    return stored(xp, xp.transpose(turned, (0, 2, 1, 3)), x.dtype)
