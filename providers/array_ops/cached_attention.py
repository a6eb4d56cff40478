"""DecoderAttention: fairseq's attention layer of a decoder, to itself or to an encoder's output, with a cache.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.attention_core import attention_scores, join_heads, softmax_over_keys, split_heads, weighted_values
from onnxgpu.providers.array_ops.control_flow import truth
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator

_NAME = "DecoderAttention"


@operator(_NAME, domain="com.microsoft", host=("static_kv", "use_past", "has_layer_state", "has_key_padding_mask"))
def decoder_attention(
    xp: Any,
    query: Array,
    key: Array,
    q_weight: Array,
    kv_weight: Array,
    bias: Array,
    key_padding_mask: Array = None,
    key_cache: Array = None,
    value_cache: Array = None,
    static_kv: Array = None,
    use_past: Array = None,
    has_layer_state: Array = None,
    has_key_padding_mask: Array = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """Queries (length, batch, hidden) attend to themselves or, with `static_kv`, to the keys; a cache goes before or instead."""
    if any(flag is None for flag in (static_kv, use_past, has_layer_state, has_key_padding_mask)):
        raise InvalidArgument(f"{_NAME}: expected static_kv, use_past, has_layer_state and has_key_padding_mask")
    across, past, masked = (truth(flag, _NAME) for flag in (static_kv, use_past, has_key_padding_mask))
    past = past and truth(has_layer_state, _NAME)
    width = q_weight.shape[1]
    q = _projected(xp, query, q_weight, bias[:width], num_heads)
    if past and (key_cache is None or value_cache is None):
        raise InvalidArgument(f"{_NAME}: expected key_cache and value_cache with use_past")
    if past and across:
        k, v = widened(key_cache), widened(value_cache)
    else:
        source = key if across else query
        k = _projected(xp, source, kv_weight[:, :width], bias[width : 2 * width], num_heads)
        v = _projected(xp, source, kv_weight[:, width:], bias[2 * width :], num_heads)
        if past:
            k, v = xp.concatenate((widened(key_cache), k), axis=2), xp.concatenate((widened(value_cache), v), axis=2)
    scores = attention_scores(xp, q, k, 1 / math.sqrt(q.shape[3]), _NAME)
    if masked and key_padding_mask is not None:
        if tuple(key_padding_mask.shape) != (k.shape[0], k.shape[2]):
            raise InvalidArgument(
                f"{_NAME}: expected key_padding_mask ({k.shape[0]}, {k.shape[2]}), got shape {list(key_padding_mask.shape)}"
            )
        scores = xp.where(key_padding_mask[:, None, None], np.float32(mask_filter_value), scores)
    result = xp.swapaxes(join_heads(xp, weighted_values(xp, softmax_over_keys(xp, scores), v)), 0, 1)
    return tuple(stored(xp, value, query.dtype) for value in (result, k, v))[:output_count]


def _projected(xp: Any, x: Array, weight: Array, bias: Array, heads: int) -> Array:
    """(length, batch, hidden) through a layer, in heads: (batch, heads, length, D)."""
    projected = xp.matmul(widened(x), widened(weight)) + widened(bias)
    return split_heads(xp, xp.swapaxes(projected, 0, 1), heads, _NAME)
