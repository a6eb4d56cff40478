"""Biases of attention scores by the distance between places: RelativePositionBias of T5, GatedRelativePositionBias of WavLM.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid
from onnxgpu.providers.array_ops.registry import operator

DOMAIN = "com.microsoft"
ABOVE_ROUNDING = 1 + 1e-9
"""A factor that keeps whole logarithms from being rounded, and then cut, to the number below."""


def relative_bias_spec(bias_table: Array, query_length: Array, key_length: Array, **_: Any) -> Spec:
    """(1, heads, query_length, key_length).

    Raises:
        InvalidArgument: the table has other than two axes.
    """
    if len(bias_table.shape) != 2:
        raise InvalidArgument(f"RelativePositionBias: expected a table (num_buckets, num_heads), got shape {list(bias_table.shape)}")
    lengths = (integer(each, "RelativePositionBias", "length") for each in (query_length, key_length))
    return Spec((1, bias_table.shape[1], *lengths), bias_table.dtype)


def bucket_counts(buckets: int, max_distance: int, is_bidirectional: int) -> tuple[int, int]:
    """How many buckets each direction has, and how many of them are for one distance.

    Raises:
        InvalidArgument: they are too few, or `max_distance` is within those of one distance.
    """
    each = buckets // 2 if is_bidirectional else buckets
    exact = each // 2
    if exact < 1 or max_distance <= exact:
        raise InvalidArgument(
            "RelativePositionBias: expected at least 2 buckets a direction and max_distance above half of them, "
            f"got {each} and {max_distance}"
        )
    return each, exact


def buckets_of(queries: int, keys: int, buckets: int, max_distance: int, is_bidirectional: int) -> np.ndarray:
    """The bucket of each pair of a query and a key, int64: one for each small distance, then ones that grow as a logarithm."""
    each, exact = bucket_counts(buckets, max_distance, is_bidirectional)
    distance = np.arange(keys) - np.arange(queries)[:, None]
    first = np.where(distance > 0, each, 0) if is_bidirectional else np.zeros_like(distance)
    distance = np.abs(distance) if is_bidirectional else np.maximum(-distance, 0)
    growth = np.log(np.maximum(distance, 1) / exact) / log(max_distance / exact) * (each - exact)
    large = np.minimum(exact + (growth * ABOVE_ROUNDING).astype(np.int64), each - 1)
    result: np.ndarray = first + np.where(distance < exact, distance, large)
    return result


@operator("RelativePositionBias", domain=DOMAIN, specs=relative_bias_spec, host=("query_length", "key_length"))
def relative_position_bias(
    xp: Any, bias_table: Array, query_length: Array, key_length: Array, *, max_distance: int, is_bidirectional: int = 0, out: Array = None
) -> Array:
    """The table's entry for the distance of each query and key; the table (num_buckets, num_heads) lies in memory by heads."""
    spec = relative_bias_spec(bias_table, query_length, key_length)
    by_head = bias_table.reshape(bias_table.shape[::-1])
    buckets = buckets_of(spec.shape[2], spec.shape[3], by_head.shape[1], max_distance, is_bidirectional)
    return stored(xp, by_head[:, xp.asarray(buckets)][None], bias_table.dtype, out)


def gated_bias_spec(query_layer: Array, query_bias: Array, rel_pos: Array, weight: Array, *_: Any, num_heads: int) -> Spec:
    """(batch, num_heads, length, length).

    Raises:
        InvalidArgument: shapes do not fit.
    """
    heads, length = rel_pos.shape[1:3]
    wanted = (length, num_heads * weight.shape[0])
    if len(query_layer.shape) != 3 or heads != num_heads or tuple(query_layer.shape[1:]) != wanted or weight.shape[1] % 2:
        raise InvalidArgument(
            f"GatedRelativePositionBias: expected a query (batch, {', '.join(map(str, wanted))}), biases of {num_heads} heads and weights "
            f"with an even last axis, got shapes {[list(x.shape) for x in (query_layer, rel_pos, weight)]}"
        )
    return Spec((query_layer.shape[0], heads, length, length), query_layer.dtype)


def is_packed(operation: Operation) -> str | None:
    """Why the node is not computed here."""
    packed = len(operation.inputs) > 6 and operation.inputs[6] is not None
    return "takes padded queries, not packed ones with a token_offset" if packed else None


@operator("GatedRelativePositionBias", domain=DOMAIN, specs=gated_bias_spec, when=is_packed)
def gated_relative_position_bias(
    xp: Any,
    query_layer: Array,
    query_bias: Array,
    rel_pos: Array,
    weight: Array,
    bias: Array,
    eco_a: Array,
    token_offset: Array = None,
    *,
    num_heads: int,
    out: Array = None,
) -> Array:
    """rel_pos times a gate of each query: u (r a - 1) + 2, with u and r the sigmoids of two halves of its projection, summed up."""
    batch, heads, length, _ = gated_bias_spec(query_layer, query_bias, rel_pos, weight, num_heads=num_heads).shape
    query = (widened(query_layer) + widened(query_bias)).reshape(batch, length, heads, -1).swapaxes(1, 2)
    projected = xp.matmul(query, widened(weight)) + widened(bias)
    gates = sigmoid(xp, projected.reshape(batch, heads, length, 2, -1).sum(axis=-1))
    gate = gates[..., :1] * (gates[..., 1:] * widened(eco_a) - 1) + 2
    return stored(xp, gate * widened(rel_pos), query_layer.dtype, out)
