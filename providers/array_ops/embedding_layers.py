"""EmbedLayerNormalization of domain com.microsoft: the first layer of BERT as onnxruntime fuses it."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.normalization import standardized
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator


@operator("EmbedLayerNormalization", domain="com.microsoft")
def embed_layer_normalization(
    xp: Any,
    input_ids: Array,
    segment_ids: Array = None,
    word_embedding: Array = None,
    position_embedding: Array = None,
    segment_embedding: Array = None,
    gamma: Array = None,
    beta: Array = None,
    mask: Array = None,
    position_ids: Array = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """Word, position and segment embeddings summed and normalised; also the length of each sequence, and the sum.

    Ids are (batch, S), embeddings (count, hidden). Spec: onnxruntime's ContribOperators.md
    """
    if len(input_ids.shape) != 2:
        raise InvalidArgument(f"EmbedLayerNormalization: expected input_ids of shape (batch, length), got {list(input_ids.shape)}")
    positions = xp.arange(input_ids.shape[1])[None] if position_ids is None else position_ids
    total = widened(word_embedding)[input_ids] + widened(position_embedding)[positions]
    if segment_ids is not None:
        total = total + widened(segment_embedding)[segment_ids]
    result = standardized(xp, total, (2,), epsilon)[0] * widened(gamma) + widened(beta)
    dtype = word_embedding.dtype
    lengths = xp.zeros(input_ids.shape[0], np.int32) if mask is None else xp.sum(mask, axis=1).astype(np.int32)
    return (stored(xp, result, dtype), lengths, stored(xp, total, dtype))[:output_count]
