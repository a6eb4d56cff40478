"""Attention of ai.onnx and FlexAttention of ai.onnx.preview.

Scores and probabilities are computed in float32 (float64 for double inputs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.attention_core import (
    attention_scores,
    join_heads,
    positions_allowed,
    softcapped,
    softmax_over_keys,
    split_heads,
    weighted_values,
)
from onnxgpu.providers.array_ops.precision import accumulation_dtype, stored, widened
from onnxgpu.providers.array_ops.registry import operator


def _four_axes(xp: Any, x: Array, heads: int | None, what: str) -> Array:
    if len(x.shape) == 4:
        return x
    if heads is None:
        raise InvalidArgument(
            f"Attention: expected q_num_heads and kv_num_heads for inputs of rank 3, got none ({what} has shape {list(x.shape)})"
        )
    return split_heads(xp, x, heads, "Attention")


def _with_past(xp: Any, past: Array | None, new: Array) -> Array:
    return new if past is None else xp.concatenate((past, new), axis=2)


def _padded_mask(xp: Any, mask: Array, keys: int) -> Array:
    """A mask whose last axis covers all keys: those it does not name are left out."""
    missing = keys - mask.shape[-1]
    if missing <= 0:
        return mask
    fill = xp.full((*mask.shape[:-1], missing), False if mask.dtype == bool else -np.inf, dtype=mask.dtype)
    return xp.concatenate((mask, fill), axis=-1)


def _allowed(xp: Any, shape: Sequence[int], offset: Any, causal: int, left: int, right: int, lengths: Array | None) -> Array | None:
    """Which keys each query may see, by position; None for all."""
    _, _, queries, keys = shape
    allowed = None
    if causal or left >= 0 or right >= 0:
        allowed = positions_allowed(xp, queries, keys, offset, left, 0 if causal else right)
    if lengths is not None:
        filled = (xp.arange(keys) < lengths.reshape(-1, 1)).reshape(-1, 1, 1, keys)
        allowed = filled if allowed is None else allowed & filled
    return allowed


def _biased(xp: Any, scores: Array, mask: Array | None, allowed: Array | None) -> Array:
    if mask is not None and mask.dtype == bool:
        allowed, mask = mask if allowed is None else allowed & mask, None
    if mask is not None:
        scores = scores + widened(mask)
    return scores if allowed is None else xp.where(allowed, scores, xp.asarray(-np.inf, dtype=scores.dtype))


@operator("Attention", since=23)
def attention(
    xp: Any,
    q: Array,
    k: Array,
    v: Array,
    attn_mask: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    nonpad_kv_seqlen: Array = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """softmax(scale * q kᵀ + mask) v, with cached keys and values. Spec: https://onnx.ai/onnx/operators/onnx__Attention.html"""
    queries = _four_axes(xp, q, q_num_heads, "Q")
    keys = _with_past(xp, past_key, _four_axes(xp, k, kv_num_heads, "K"))
    values = _with_past(xp, past_value, _four_axes(xp, v, kv_num_heads, "V"))
    factor = 1 / math.sqrt(queries.shape[3]) if scale is None else scale
    scores = attention_scores(xp, widened(queries), widened(keys), factor, "Attention")
    shown = [scores]
    scores = softcapped(xp, scores, softcap)
    shown.append(scores)
    offset: Any = 0 if past_key is None else past_key.shape[2]
    if nonpad_kv_seqlen is not None and past_key is None:
        offset = nonpad_kv_seqlen - queries.shape[2]
    mask = None if attn_mask is None else _padded_mask(xp, attn_mask, keys.shape[2])
    allowed = _allowed(xp, scores.shape, offset, is_causal, left_window_size, right_window_size, nonpad_kv_seqlen)
    scores = _biased(xp, scores, mask, allowed)
    shown.append(scores)
    if softmax_precision is not None:
        scores = scores.astype(np.promote_types(scores.dtype, accumulation_dtype(dtype_of(softmax_precision))), copy=False)
    probabilities = softmax_over_keys(xp, scores)
    shown.append(probabilities)
    wide = widened(values)
    result = weighted_values(xp, probabilities.astype(wide.dtype, copy=False), wide)
    y = stored(xp, join_heads(xp, result) if len(q.shape) == 3 else result, q.dtype)
    scores_shown = stored(xp, shown[qk_matmul_output_mode], q.dtype) if output_count > 3 else None
    return (y, stored(xp, keys, k.dtype), stored(xp, values, v.dtype), scores_shown)[:output_count]


@operator("FlexAttention", domain="ai.onnx.preview")
class FlexAttention:
    """Attention whose scores and probabilities graph attributes may change.

    A class because its graph attributes are optional. Spec: ai.onnx.preview FlexAttention
    """

    input_names = ("q", "k", "v")
    required_inputs = 3

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp = xp
        self._scale: float | None = operation.attributes.get("scale")
        self._precision: int | None = operation.attributes.get("softmax_precision")

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(batch, heads, S, value size), of the queries' dtype."""
        q, _, v = inputs
        return (Spec((*q.shape[:3], v.shape[3]), q.dtype),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None = None) -> Sequence[Value]:
        """Attention without changes to its scores and probabilities."""
        result = self.launch_with_bodies(inputs, {})[0]
        return (stored(self._xp, result, result.dtype, outputs[0] if outputs else None),)

    def launch_with_bodies(self, inputs: Sequence[Value], bodies: Mapping[str, Callable[..., Any]]) -> Sequence[Value]:
        """Attention with `score_mod` and `prob_mod` as far as they are given."""
        xp, (q, k, v) = self._xp, inputs
        if not len(q.shape) == len(k.shape) == len(v.shape) == 4:
            raise InvalidArgument(f"FlexAttention: expected inputs of rank 4, got shapes {list(q.shape)}, {list(k.shape)}, {list(v.shape)}")
        scale = 1 / math.sqrt(q.shape[3]) if self._scale is None else self._scale
        scores = attention_scores(xp, widened(q), widened(k), scale, "FlexAttention")
        if self._precision is not None:
            scores = scores.astype(dtype_of(self._precision), copy=False)
        if "score_mod" in bodies:
            (scores,) = bodies["score_mod"](scores)
        probabilities = stored(xp, softmax_over_keys(xp, widened(scores)), scores.dtype)
        if "prob_mod" in bodies:
            (probabilities,) = bodies["prob_mod"](probabilities)
        values = widened(v)
        return (stored(xp, weighted_values(xp, probabilities.astype(values.dtype, copy=False), values), q.dtype),)
