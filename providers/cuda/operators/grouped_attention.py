"""GroupQueryAttention of onnxruntime: rotary embeddings, the caches, and attention over them.

Quantised caches, those that slide, and scores as an output are left to `array_ops`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.grouped_attention import query_key_value
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.array_ops.kv_cache import Step, appended, step_of
from onnxgpu.providers.cuda.attention import Attend, Seen, largest_head
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.operators.attention import attention_operator, one_type
from onnxgpu.providers.cuda.operators.rotary import in_heads, rotated
from onnxgpu.providers.cuda.registry import array_specs

_NAME = "GroupQueryAttention"
_MS = "com.microsoft"
_SPECS = array_specs(_NAME, domain=_MS)


def _refusal(operation: Operation) -> str | None:
    attributes, inputs = operation.attributes, [*operation.inputs, *(None,) * 17]
    if len(operation.outputs) > 3 or any(inputs[14:16]):
        return "gives no scores, and has no norms of queries and keys"
    kinds = (attributes.get("k_quant_type", "NONE"), attributes.get("v_quant_type", "NONE"))
    if attributes.get("sliding_window_cache") or kinds != ("NONE", "NONE"):
        return "has no caches that slide or are quantised"
    query, heads = inputs[0], attributes["num_heads"]
    width = None if query is None or query.shape is None else query.shape[2]
    if query is None or query.dtype is None or not isinstance(width, int):
        return "needs to know the size of a head"
    size = width // (heads if inputs[1] is not None else heads + 2 * attributes["kv_num_heads"])
    if size > largest_head(query.dtype):
        return f"takes heads of up to {largest_head(query.dtype)} features"
    return one_type(operation, (0, 1, 2, 3, 4, 7, 8, 10, 11))


@attention_operator(
    _NAME,
    domain=_MS,
    specs=_SPECS,
    types=FLOAT_NAMES,
    host=("seqlens_k", "total_sequence_length", "query_seqlens"),
    when=_refusal,
)
def group_query_attention(
    attend: Attend,
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
    k_scale: Array = None,
    v_scale: Array = None,
    q_norm_weight: Array = None,
    k_norm_weight: Array = None,
    query_seqlens: Array = None,
    *,
    causal: int = 1,
    do_rotary: int = 0,
    k_norm_epsilon: float | None = None,
    k_quant_type: str = "NONE",
    kv_cache_bit_width: int = 8,
    kv_num_heads: int,
    local_window_size: int = -1,
    num_heads: int,
    q_norm_epsilon: float | None = None,
    qk_norm_epsilon: float = 1e-6,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float | None = None,
    sliding_window_cache: int = 0,
    smooth_softmax: int = -1,
    softcap: float = 0.0,
    v_quant_type: str = "NONE",
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Outputs (batch, S, heads * D) and the caches. Spec: onnxruntime's ContribOperators.md"""
    given = list(out) if isinstance(out, tuple) else [out]
    given += [None] * (3 - len(given))
    q, k, v = query_key_value(xp, query, key, value, num_heads, kv_num_heads, _NAME)
    step = step_of(_NAME, np.asarray(seqlens_k).astype(np.int64) + 1, q.shape[2], query_seqlens)
    total = integer(total_sequence_length, _NAME, "total_sequence_length")
    if attention_bias is not None and (attention_bias.ndim != 4 or attention_bias.shape[3] != total):
        raise InvalidArgument(f"{_NAME}: expected attention_bias for {total} keys, got shape {list(attention_bias.shape)}")
    if do_rotary:
        places = _places(xp, step, position_ids, is_prompt=total == step.length and query_seqlens is None)
        q, k = (_turned(xp, x, cos_cache, sin_cache, places, rotary_interleaved) for x in (q, k))
    room = max(total, 0 if past_key is None else past_key.shape[2])
    caches = [
        appended(xp, past, new, step, room, place) for past, new, place in zip((past_key, past_value), (k, v), given[1:], strict=True)
    ]
    result = xp.empty((*query.shape[:2], num_heads * q.shape[3]), query.dtype) if given[0] is None else given[0]
    seen = Seen(
        attention_bias,
        start=int(step.past[0]) if step.in_line else xp.asarray(step.past),
        lengths=None if (step.total == total).all() else xp.asarray(step.total),
        left=local_window_size - 1 if local_window_size > 0 else -1,
        right=0 if causal else -1,
        sink=head_sink if head_sink is not None else 0.0 if smooth_softmax > 0 else None,
        cap=softcap,
    )
    keys, values = (cache[:, :, :total] for cache in caches)
    attend(xp, q, keys, values, in_heads(result, num_heads), scale or 1 / math.sqrt(q.shape[3]), seen)
    return (result, *caches)[:output_count]


def _places(xp: Any, step: Step, position_ids: Array | None, *, is_prompt: bool) -> Array:
    """Positions for the rotary embedding, (batch, S), or the first of all. Of a prompt's `position_ids` only the first is read."""
    if position_ids is None:
        return xp.asarray(step.past[:1] if step.in_line else step.query_positions())
    return (position_ids.reshape(-1)[:1] if is_prompt else position_ids).astype(np.int64, copy=False)


def _turned(xp: Any, x: Array, cosines: Array, sines: Array, places: Array, interleaved: int) -> Array:
    result = xp.empty(x.shape, x.dtype)
    rotated(xp, x, cosines, sines, places, interleaved, result)
    return result
