"""GroupQueryAttention: attention with fewer key-value heads than query heads, over a cache.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.attention_core import (
    attention_scores,
    join_heads,
    softcapped,
    softmax_over_keys,
    split_heads,
    weighted_values,
)
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.array_ops.kv_cache import (
    Seen,
    Step,
    appended,
    dequantized,
    evicted,
    quantized,
    staged_positions,
    step_of,
    whole_cache_positions,
)
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.rotary import rotated

_NAME = "GroupQueryAttention"


def query_key_value(
    xp: Any, query: Array, key: Array | None, value: Array | None, heads: int, kv_heads: int, name: str
) -> tuple[Array, Array, Array]:
    """Each as (batch, heads, S, D); packed one behind the other in the query where the key is left out."""
    if key is None or value is None:
        size = query.shape[2] // (heads + 2 * kv_heads)
        first, second = heads * size, (heads + kv_heads) * size
        query, key, value = query[..., :first], query[..., first:second], query[..., second:]
    return split_heads(xp, query, heads, name), split_heads(xp, key, kv_heads, name), split_heads(xp, value, kv_heads, name)


def turned(xp: Any, x: Array, cosines: Array, sines: Array, interleaved: int) -> Array:
    """`x` (batch, heads, S, D) turned by the angles of each position (batch, S, half)."""
    result = rotated(xp, xp.transpose(x, (0, 2, 1, 3)), cosines, sines, interleaved)
    return stored(xp, xp.transpose(result, (0, 2, 1, 3)), x.dtype)


def _room(total: int, past: Array | None, sliding: int) -> int:
    length = 0 if past is None else int(past.shape[2])
    return length if sliding else max(total, length)


def _specs(
    query: Array,
    key: Array = None,
    value: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    seqlens_k: Array = None,
    total_sequence_length: Array = None,
    *_: Array,
    num_heads: int,
    kv_num_heads: int,
    kv_cache_bit_width: int,
    k_quant_type: str,
    v_quant_type: str,
    sliding_window_cache: int,
    output_count: int,
    **__: Any,
) -> Sequence[Spec]:
    total = integer(total_sequence_length, _NAME, "total_sequence_length")
    batch, length, width = query.shape
    size = width // (num_heads if key is not None else num_heads + 2 * kv_num_heads)
    specs = [Spec((batch, length, num_heads * size), query.dtype)]
    for position, past, quant_type in ((3, past_key, k_quant_type), (4, past_value, v_quant_type)):
        dtype = query.dtype if past is None else past.dtype
        stored_size = size // 2 if quant_type != "NONE" and kv_cache_bit_width == 4 else size
        shape = (batch, kv_num_heads, _room(total, past, sliding_window_cache), stored_size)
        reusable = (position,) if past is not None and tuple(past.shape) == shape else ()
        specs.append(Spec(shape, dtype, may_reuse=reusable))
    specs.append(Spec((batch, num_heads, length, total), query.dtype))
    return specs[:output_count]


def _refused(operation: Operation) -> str | None:
    given, inputs = operation.attributes, operation.inputs
    if any(value is not None for value in inputs[14:16]):
        return "with q_norm_weight and k_norm_weight is not implemented"
    sliding, window = given.get("sliding_window_cache", 0), given.get("local_window_size", -1)
    if sliding and (window < 1 or len(inputs) < 5 or inputs[3] is None or len(operation.outputs) > 3):
        return "with sliding_window_cache needs local_window_size and past_key, and gives no output_qk"
    return None


@operator(_NAME, domain="com.microsoft", specs=_specs, host=("seqlens_k", "total_sequence_length", "query_seqlens"), when=_refused)
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
    """Outputs (batch, S, heads * D), the caches, and the scores or their softmax (batch, heads, S, total)."""
    outputs = list(out) if isinstance(out, tuple) else [out]
    outputs += [None] * (4 - len(outputs))
    q, k, v = query_key_value(xp, query, key, value, num_heads, kv_num_heads, _NAME)
    step = step_of(_NAME, np.asarray(seqlens_k).astype(np.int64) + 1, q.shape[2], query_seqlens)
    total = integer(total_sequence_length, _NAME, "total_sequence_length")
    if do_rotary:
        places = _places(xp, step, position_ids, total == step.length and query_seqlens is None)
        q, k = (turned(xp, x, cos_cache[places], sin_cache[places], rotary_interleaved) for x in (q, k))
    scales = (k_scale if k_quant_type != "NONE" else None, v_scale if v_quant_type != "NONE" else None)
    new = [x if s is None else quantized(xp, widened(x), s, kv_cache_bit_width) for x, s in zip((k, v), scales, strict=True)]
    if sliding_window_cache:
        seen = _slid(xp, (past_key, past_value), new, step, local_window_size, outputs)
    else:
        room = _room(total, past_key, 0)
        caches = zip((past_key, past_value), new, outputs[1:3], strict=True)
        outputs[1:3] = [appended(xp, past, added, step, room, given) for past, added, given in caches]
        seen = Seen(outputs[1][:, :, :total], outputs[2][:, :, :total], whole_cache_positions(step, total))
    keys, values = (
        widened(x) if s is None else dequantized(xp, x, s, kv_cache_bit_width)
        for x, s in zip((seen.keys, seen.values), scales, strict=True)
    )
    scores = attention_scores(xp, widened(q), keys, scale or 1 / math.sqrt(q.shape[3]), _NAME)
    scores = softcapped(xp, scores, softcap)
    if attention_bias is not None:
        scores = scores + _at_positions(xp, widened(attention_bias), seen.positions, total)
    allowed = _allowed(step, seen.positions, local_window_size, causal)
    scores = xp.where(xp.asarray(allowed), scores, xp.asarray(-np.inf, dtype=scores.dtype))
    sink = None if head_sink is None else widened(head_sink).reshape(1, -1, 1, 1)
    if sink is None and smooth_softmax > 0:
        sink = xp.zeros((1, 1, 1, 1), scores.dtype)
    probabilities = softmax_over_keys(xp, scores, sink)
    outputs[0] = stored(xp, join_heads(xp, weighted_values(xp, probabilities, values)), query.dtype, outputs[0])
    if output_count > 3:
        shown = probabilities if qk_output == 2 else xp.where(xp.asarray(allowed), scores, xp.zeros((), scores.dtype))
        outputs[3] = stored(xp, shown, query.dtype, outputs[3])
    return tuple(outputs[:output_count])


def _slid(xp: Any, past: tuple[Array, Array], new: Sequence[Array], step: Step, window: int, outputs: list[Array | None]) -> Seen:
    """Keys and values over windowed caches, whose state after the step is put into `outputs`."""
    capacity = past[0].shape[2]
    if capacity < window:
        raise InvalidArgument(f"{_NAME}: expected a cache of at least local_window_size = {window} places, got {capacity}")
    staged = [xp.concatenate(pair, axis=2) for pair in zip(past, new, strict=True)]
    for index, cache in enumerate(staged, 1):
        outputs[index] = stored(xp, evicted(xp, cache, step, capacity, window), cache.dtype, outputs[index])
    return Seen(staged[0], staged[1], staged_positions(step, capacity, window))


def _allowed(step: Step, positions: np.ndarray, window: int, causal: int) -> np.ndarray:
    """Which key each query sees: (batch, 1, S, M)."""
    keys, queries = positions[:, None, None], step.query_positions()[:, None, :, None]
    allowed: np.ndarray = np.broadcast_to(keys >= 0, (len(keys), 1, step.length, keys.shape[3]))
    if causal:
        allowed = allowed & (keys <= queries)
    return allowed & (queries - keys < window) if window > 0 else allowed


def _places(xp: Any, step: Step, position_ids: Array | None, prompt: bool) -> Array:
    """Positions for the rotary embedding, (batch, S). Of a prompt's `position_ids` only the first is read, as in onnxruntime."""
    if position_ids is None:
        return xp.asarray(step.query_positions())
    first = position_ids.reshape(-1)[:1, None]
    return xp.broadcast_to(first + xp.arange(step.length), (len(step.past), step.length)) if prompt else position_ids


def _at_positions(xp: Any, bias: Array, positions: np.ndarray, total: int) -> Array:
    """The bias (batch or 1, heads or 1, S, total) of each key's position: (batch, heads or 1, S, M)."""
    if len(bias.shape) != 4 or bias.shape[3] != total:
        raise InvalidArgument(f"{_NAME}: expected attention_bias for {total} keys, got shape {list(bias.shape)}")
    if ((positions < 0) | (positions == np.arange(positions.shape[1]))).all():
        return bias
    index = xp.asarray(np.clip(positions, 0, bias.shape[3] - 1))[:, None, None]
    whole = xp.broadcast_to(bias, (positions.shape[0], *bias.shape[1:]))
    return xp.take_along_axis(whole, xp.broadcast_to(index, (*whole.shape[:3], positions.shape[1])), axis=3)
