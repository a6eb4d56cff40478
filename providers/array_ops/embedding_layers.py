"""The first layer of BERT as onnxruntime fuses it: EmbedLayerNormalization and QEmbedLayerNormalization of domain com.microsoft."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.normalization import standardized
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.quantized_layers import dequantized
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


@operator("QEmbedLayerNormalization", domain="com.microsoft")
def quantized_embed_layer_normalization(
    xp: Any,
    input_ids: Array,
    segment_ids: Array = None,
    word_embedding: Array = None,
    position_embedding: Array = None,
    segment_embedding: Array = None,
    gamma: Array = None,
    beta: Array = None,
    mask: Array = None,
    word_scale: Array = None,
    position_scale: Array = None,
    segment_scale: Array = None,
    gamma_scale: Array = None,
    beta_scale: Array = None,
    word_zero_point: Array = None,
    position_zero_point: Array = None,
    segment_zero_point: Array = None,
    gamma_zero_point: Array = None,
    beta_zero_point: Array = None,
    *,
    epsilon: float = 1e-12,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """`embed_layer_normalization` of tables in 8 bits, of which only the rows that are looked up are dequantised."""
    if len(input_ids.shape) != 2:
        raise InvalidArgument(f"QEmbedLayerNormalization: expected input_ids of shape (batch, length), got {list(input_ids.shape)}")
    total = dequantized(word_embedding[input_ids], word_scale, word_zero_point)
    total = total + dequantized(position_embedding[: input_ids.shape[1]], position_scale, position_zero_point)
    if segment_ids is not None:
        total = total + dequantized(segment_embedding[segment_ids], segment_scale, segment_zero_point)
    scaled = standardized(xp, total, (2,), epsilon)[0] * dequantized(gamma, gamma_scale, gamma_zero_point)
    lengths = xp.zeros(input_ids.shape[0], np.int32) if mask is None else xp.sum(mask, axis=1).astype(np.int32)
    return (scaled + dequantized(beta, beta_scale, beta_zero_point), lengths)[:output_count]
