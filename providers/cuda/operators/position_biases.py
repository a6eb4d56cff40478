"""RelativePositionBias and GatedRelativePositionBias of onnxruntime."""

from __future__ import annotations

from math import log
from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.position_biases import (
    ABOVE_ROUNDING,
    DOMAIN,
    bucket_counts,
    gated_bias_spec,
    is_packed,
    relative_bias_spec,
)
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, MOST_BLOCKS, THREADS, Template, blocks_for, dense, whole_warps
from onnxgpu.providers.cuda.products import structure
from onnxgpu.providers.cuda.registry import operator

RELATIVE = Template("position_biases.cu", "relative_bias<{T}>", "pps", T=FLOATS)
GATED = Template("position_biases.cu", "gated_bias<{T}>", "ppppppps", T=FLOATS)


@operator("RelativePositionBias", domain=DOMAIN, specs=relative_bias_spec, host=("query_length", "key_length"), types=FLOAT_NAMES)
def relative_position_bias(
    xp: Any, bias_table: Array, query_length: Array, key_length: Array, *, max_distance: int, is_bidirectional: int = 0, out: Array = None
) -> Array:
    """The table's entry for the distance of each query and key. Spec: onnxruntime's ContribOperators.md"""
    spec = relative_bias_spec(bias_table, query_length, key_length)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    buckets = bias_table.shape[0]
    each, exact = bucket_counts(buckets, max_distance, is_bidirectional)
    growth = (each - exact) / log(max_distance / exact) * ABOVE_ROUNDING
    layout = structure(*spec.shape[1:], buckets, each, exact, int(bool(is_bidirectional)), growth)
    pairs = spec.shape[2] * spec.shape[3]
    RELATIVE.instance(T=spec.dtype).launch(blocks_for(pairs), THREADS, dense(xp, bias_table), result, layout)
    return result


@operator("GatedRelativePositionBias", domain=DOMAIN, specs=gated_bias_spec, types=FLOAT_NAMES, when=is_packed)
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
    """rel_pos times a gate of each query. Spec: onnxruntime's ContribOperators.md"""
    spec = gated_bias_spec(query_layer, query_bias, rel_pos, weight, num_heads=num_heads)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    batch, heads, length, _ = spec.shape
    size, width = weight.shape
    rows, arrays = batch * heads * length, (dense(xp, x) for x in (query_layer, query_bias, rel_pos, weight, bias, eco_a))
    threads = whole_warps(max(length, size * width), 256)
    GATED.instance(T=spec.dtype).launch(min(rows, MOST_BLOCKS), threads, *arrays, result, structure(rows, heads, length, size, width))
    return result
