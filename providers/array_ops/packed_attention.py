"""Attention over packed tokens: sequences of any lengths one behind the other, without padding.

RemovePadding packs and RestorePadding unpacks; PackedAttention and PackedMultiHeadAttention work in between. `token_offset`
(batch, length) has the places of all tokens in the padded batch, then those of the padding.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.attention_core import attention_scores, join_heads, softmax_over_keys, split_heads, weighted_values
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator

_INT32 = np.dtype(np.int32)


def _removed_specs(x: Array, sequence_token_count: Array, *, output_count: int) -> Sequence[Spec]:
    if len(x.shape) != 3 or sequence_token_count.shape != (x.shape[0],):
        raise InvalidArgument(
            f"RemovePadding: expected input (batch, length, hidden) and a count for each sequence, "
            f"got {braced(x.shape)} and {braced(sequence_token_count.shape)}"
        )
    tokens = int(np.asarray(sequence_token_count).sum())
    batch, length, hidden = x.shape
    offsets, lengths = Spec((batch, length), _INT32), Spec((batch + 1,), _INT32)
    return [Spec((tokens, hidden), x.dtype), offsets, lengths, Spec((1,), _INT32)][:output_count]


@operator("RemovePadding", domain="com.microsoft", specs=_removed_specs, host=("sequence_token_count",))
def remove_padding(xp: Any, x: Array, sequence_token_count: Array, *, output_count: int = 4, out: Any = None) -> tuple[Array, ...]:
    """The tokens, their places with those of the padding behind, where sequences begin, and the greatest length."""
    counts = np.asarray(sequence_token_count).astype(np.int64)
    batch, length, hidden = x.shape
    if (counts < 0).any() or (counts > length).any():
        raise InvalidArgument(f"RemovePadding: expected counts from 0 to {length}, got {counts.tolist()}")
    padded = (np.arange(length) >= counts[:, None]).reshape(-1)
    offsets = np.argsort(padded, kind="stable")
    bounds = np.concatenate(([0], np.cumsum(counts)))
    tokens = x.reshape(batch * length, hidden)[xp.asarray(offsets[: bounds[-1]])]
    values = (tokens, offsets.reshape(batch, length), bounds, np.array([counts.max(initial=0)]))[:output_count]
    outs = out if isinstance(out, tuple) else (out,) * output_count
    dtypes = (x.dtype, _INT32, _INT32, _INT32)
    return tuple(stored(xp, xp.asarray(value), dtype, o) for value, dtype, o in zip(values, dtypes, outs, strict=False))


def _restored_specs(x: Array, token_offset: Array) -> Spec:
    return Spec((*token_offset.shape, x.shape[1]), x.dtype)


@operator("RestorePadding", domain="com.microsoft", specs=_restored_specs)
def restore_padding(xp: Any, x: Array, token_offset: Array, *, out: Array = None) -> Array:
    """The padded batch, zeros where there are no tokens."""
    result = xp.empty((*token_offset.shape, x.shape[1]), x.dtype) if out is None else out
    result[...] = 0
    result.reshape(-1, x.shape[1])[token_offset.reshape(-1)[: x.shape[0]]] = x
    return result


def _attended(
    xp: Any, q: Array, k: Array, v: Array, heads: int, scale: float | None, places: tuple[Array, Array], bias: Array | None, name: str
) -> Array:
    """Attention of tokens (count, heads * D) within their sequences: (count, heads * V)."""
    token_offset, bounds = places
    batch, length = token_offset.shape
    taken = token_offset.reshape(-1)[: q.shape[0]]

    def spread(x: Array) -> Array:
        padded = xp.zeros((batch * length, x.shape[1]), x.dtype)
        padded[taken] = x
        return split_heads(xp, padded.reshape(batch, length, -1), heads, name)

    padded_q, padded_k, padded_v = (spread(widened(x)) for x in (q, k, v))
    scores = attention_scores(xp, padded_q, padded_k, scale or 1 / math.sqrt(padded_q.shape[3]), name)
    if bias is not None:
        scores = scores + widened(bias)
    seen = xp.arange(length) < (bounds[1:] - bounds[:-1])[:, None]
    scores = xp.where(seen[:, None, None], scores, xp.asarray(-np.inf, scores.dtype))
    result = join_heads(xp, weighted_values(xp, softmax_over_keys(xp, scores), padded_v))
    return result.reshape(batch * length, -1)[taken]


def _attention_specs(x: Array, weights: Array, *_: Array, qkv_hidden_sizes: Sequence[int] | None, **__: Any) -> Spec:
    width = qkv_hidden_sizes[2] if qkv_hidden_sizes else weights.shape[1] // 3
    return Spec((x.shape[0], width), x.dtype)


@operator("PackedAttention", domain="com.microsoft", specs=_attention_specs)
def packed_self_attention(
    xp: Any,
    x: Array,
    weights: Array,
    bias: Array,
    token_offset: Array,
    cumulative_sequence_length: Array,
    attention_bias: Array = None,
    *,
    num_heads: int,
    qkv_hidden_sizes: Sequence[int] | None = None,
    scale: float | None = None,
    out: Array = None,
) -> Array:
    """Self-attention of tokens (count, hidden) from the packed weights of its three projections."""
    projected = xp.matmul(widened(x), widened(weights)) + widened(bias)
    first, second = (qkv_hidden_sizes or (projected.shape[1] // 3,) * 2)[:2]
    parts = (projected[:, :first], projected[:, first : first + second], projected[:, first + second :])
    places = (token_offset, cumulative_sequence_length)
    return stored(xp, _attended(xp, *parts, num_heads, scale, places, attention_bias, "PackedAttention"), x.dtype, out)


def _multi_head_specs(query: Array, key: Array = None, value: Array = None, *_: Array, num_heads: int, **__: Any) -> Spec:
    width = num_heads * query.shape[3] if value is None else value.shape[1]
    return Spec((query.shape[0], width), query.dtype)


@operator("PackedMultiHeadAttention", domain="com.microsoft", specs=_multi_head_specs)
def packed_multi_head_attention(
    xp: Any,
    query: Array,
    key: Array = None,
    value: Array = None,
    bias: Array = None,
    token_offset: Array = None,
    cumulative_sequence_length: Array = None,
    attention_bias: Array = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float | None = None,
    out: Array = None,
) -> Array:
    """Attention of projected tokens (count, hidden), or of all three packed, (count, heads, 3, D)."""
    if token_offset is None or cumulative_sequence_length is None or (key is None) != (value is None):
        raise InvalidArgument("PackedMultiHeadAttention: expected token_offset, cumulative_sequence_length, and key and value or neither")
    if key is None or value is None:
        parts = [query[:, :, i].reshape(query.shape[0], -1) for i in range(3)]
    else:
        parts = [query, key, value]
    if bias is not None:
        bounds = np.cumsum([0, *(part.shape[1] for part in parts)])
        parts = [widened(part) + widened(bias[start:stop]) for part, start, stop in zip(parts, bounds[:-1], bounds[1:], strict=True)]
    q, k, v = parts
    places = (token_offset, cumulative_sequence_length)
    result = _attended(xp, q, k, v, num_heads, scale, places, attention_bias, "PackedMultiHeadAttention")
    return stored(xp, result, query.dtype, out)
