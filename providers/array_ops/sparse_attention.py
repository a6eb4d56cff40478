"""SparseAttention: causal attention over a cache, of which each query sees only some blocks of keys.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.attention_core import attention_scores, join_heads, softmax_over_keys, weighted_values
from onnxgpu.providers.array_ops.grouped_attention import query_key_value, turned
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.array_ops.kv_cache import put, step_of
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator

_NAME = "SparseAttention"


def _block_masks(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Which block of keys each block of queries sees, (layouts, blocks, blocks), from its compressed rows."""
    blocks = rows.shape[1] - 1
    masks = np.zeros((len(rows), blocks, blocks), bool)
    for mask, starts, places in zip(masks, rows, columns, strict=True):
        mask[np.repeat(np.arange(blocks), np.diff(starts)), places[: starts[-1]]] = True
    return masks


def _specs(
    query: Array,
    key: Array = None,
    value: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    *_: Array,
    num_heads: int,
    kv_num_heads: int,
    output_count: int,
    **__: Any,
) -> Sequence[Spec]:
    batch, length, width = query.shape
    size = width // (num_heads if key is not None else num_heads + 2 * kv_num_heads)
    caches = [Spec(tuple(x.shape), x.dtype, may_reuse=(i,)) for i, x in ((3, past_key), (4, past_value))]
    return [Spec((batch, length, num_heads * size), query.dtype), *caches][:output_count]


@operator(
    _NAME,
    domain="com.microsoft",
    specs=_specs,
    host=("block_row_indices", "block_col_indices", "total_sequence_length", "key_total_sequence_lengths"),
)
def sparse_attention(
    xp: Any,
    query: Array,
    key: Array = None,
    value: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    block_row_indices: Array = None,
    block_col_indices: Array = None,
    total_sequence_length: Array = None,
    key_total_sequence_lengths: Array = None,
    cos_cache: Array = None,
    sin_cache: Array = None,
    *,
    do_rotary: int = 0,
    kv_num_heads: int,
    num_heads: int,
    rotary_interleaved: int = 0,
    scale: float | None = None,
    sparse_block_size: int,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Layouts of blocks go round the heads: head h has layout h modulo their number."""
    outputs = list(out) if isinstance(out, tuple) else [out]
    outputs += [None] * (3 - len(outputs))
    q, k, v = query_key_value(xp, query, key, value, num_heads, kv_num_heads, _NAME)
    step = step_of(_NAME, key_total_sequence_lengths, q.shape[2], None)
    positions = step.query_positions()
    if do_rotary:
        places = xp.asarray(positions)
        q, k = (turned(xp, x, cos_cache[places], sin_cache[places], rotary_interleaved) for x in (q, k))
    total = integer(total_sequence_length, _NAME, "total_sequence_length")
    masks = _block_masks(np.asarray(block_row_indices), np.asarray(block_col_indices))
    if num_heads % len(masks) or total > min(masks.shape[1] * sparse_block_size, past_key.shape[2]):
        raise InvalidArgument(
            f"{_NAME}: expected layouts whose number divides the {num_heads} heads, and blocks and a cache for {total} tokens, got "
            f"{len(masks)} layouts of {masks.shape[1]} blocks and {past_key.shape[2]} places"
        )
    caches = zip((past_key, past_value), (k, v), outputs[1:], strict=True)
    outputs[1:] = [put(xp, stored(xp, past, past.dtype, past.copy() if given is None else given), new, step) for past, new, given in caches]
    keys, values = (widened(cache[:, :, :total]) for cache in outputs[1:])
    scores = attention_scores(xp, widened(q), keys, scale or 1 / math.sqrt(q.shape[3]), _NAME)
    every = np.arange(total)
    blocks = np.minimum(positions // sparse_block_size, masks.shape[1] - 1)
    seen = masks[:, blocks[:, :, None], every // sparse_block_size]
    seen &= (every <= positions[:, :, None]) & (every < step.total[:, None, None])
    allowed = np.tile(np.moveaxis(seen, 0, 1), (1, num_heads // len(masks), 1, 1))
    scores = xp.where(xp.asarray(allowed), scores, xp.asarray(-np.inf, dtype=scores.dtype))
    result = join_heads(xp, weighted_values(xp, softmax_over_keys(xp, scores), values))
    outputs[0] = stored(xp, result, query.dtype, outputs[0])
    return tuple(outputs[:output_count])
