"""Gated layers of recent language models: GatedRMSNorm, GatedAdd, EngramGate and ScaledSiLU.

Spec: onnxruntime's operator schemas, domain com.microsoft
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.branches import FLOATS
from onnxgpu.providers.array_ops.normalization import scaled_by_root_mean_square
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first

_DOMAIN = "com.microsoft"
_LEAST_DOT = 1e-6


def _rounded(x: Array, dtype: np.dtype) -> Array:
    """`x` as numbers of `dtype`, in the accumulation dtype still."""
    return widened(x.astype(dtype, copy=False))


@operator("GatedRMSNorm", domain=_DOMAIN, specs=like_first, types=FLOATS)
def gated_rms_norm(
    xp: Any, x: Array, scale: Array, gate: Array, *, activation: str = "silu", epsilon: float = 1e-5, out: Array = None
) -> Array:
    """x over the root mean square of each C elements, times scale (C) and the activation of gate: sigmoid, or silu (also named swish)."""
    if activation not in ("silu", "swish", "sigmoid"):
        raise InvalidArgument(f"GatedRMSNorm: expected activation 'silu', 'swish' or 'sigmoid', got {activation!r}")
    if len(scale.shape) != 1 or not scale.size or not x.shape or x.shape[-1] % scale.size or tuple(gate.shape) != tuple(x.shape):
        raise InvalidArgument(
            f"GatedRMSNorm: expected X and gate of one shape (…, H * C) and a scale (C), "
            f"got {list(x.shape)}, {list(gate.shape)} and {list(scale.shape)}"
        )
    groups = widened(x).reshape(*x.shape[:-1], -1, scale.size)
    normed = (scaled_by_root_mean_square(xp, groups, (len(groups.shape) - 1,), epsilon)[0] * widened(scale)).reshape(x.shape)
    z = widened(gate)
    factor = sigmoid(xp, z)
    return stored(xp, normed * (factor if activation == "sigmoid" else z * factor), x.dtype, out)


@operator("GatedAdd", domain=_DOMAIN, specs=like_first, types=FLOATS)
def gated_add(xp: Any, x: Array, y: Array, gate: Array, gate_weight: Array = None, *, out: Array = None) -> Array:
    """x + y · gate with one gate a row (…, 1), or x + y · sigmoid(gate · gate_weight) with gate (…, K) and gate_weight (K, 1).

    Each step is rounded to x's type.
    """
    rows = tuple(x.shape[:-1])
    if tuple(y.shape) != tuple(x.shape) or tuple(gate.shape[:-1]) != rows or (gate_weight is None and tuple(gate.shape) != (*rows, 1)):
        raise InvalidArgument(
            f"GatedAdd: expected X and Y of one shape (…, C) and a gate (…, 1), or (…, K) with gate_weight, "
            f"got {list(x.shape)}, {list(y.shape)} and {list(gate.shape)}"
        )
    factor = widened(gate)
    if gate_weight is not None:
        projected = _rounded(xp.matmul(factor, widened(gate_weight)), x.dtype)
        factor = _rounded(sigmoid(xp, projected), x.dtype)
    return stored(xp, widened(x) + _rounded(widened(y) * factor, x.dtype), x.dtype, out)


def _engram_specs(key: Array, *_: Any, output_count: int = 1, **__: Any) -> tuple[Spec, ...]:
    return (Spec(tuple(key.shape), key.dtype),) * output_count


def _normed(xp: Any, x: Array, scale: Array, epsilon: float) -> Array:
    return scaled_by_root_mean_square(xp, x, (len(x.shape) - 1,), epsilon)[0] * widened(scale)


@operator("EngramGate", domain=_DOMAIN, specs=_engram_specs, types=FLOATS)
def engram_gate(
    xp: Any,
    key: Array,
    query: Array,
    value: Array,
    key_norm_scale: Array,
    query_norm_scale: Array,
    conv_norm_scale: Array = None,
    *,
    epsilon: float = 1e-5,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """value (B, S, H) gated by how well the normed key and query (B, S, C, H) agree; also that normed by conv_norm_scale (C, H)."""
    if len(key.shape) != 4 or tuple(query.shape) != tuple(key.shape) or tuple(value.shape) != (*key.shape[:2], key.shape[3]):
        raise InvalidArgument(
            f"EngramGate: expected key and query of one shape (B, S, C, H) and value (B, S, H), "
            f"got {list(key.shape)}, {list(query.shape)} and {list(value.shape)}"
        )
    if output_count > 1 and conv_norm_scale is None:
        raise InvalidArgument("EngramGate: expected conv_norm_scale, which gated_value_normed needs, got none")
    normed = _normed(xp, widened(key), key_norm_scale, epsilon) * _normed(xp, widened(query), query_norm_scale, epsilon)
    dot = xp.sum(normed, axis=-1, keepdims=True) * np.float32(1 / math.sqrt(key.shape[3]))
    gate = sigmoid(xp, xp.sign(dot) * xp.sqrt(xp.maximum(xp.abs(dot), _LEAST_DOT)))
    gated = gate * widened(value)[:, :, None]
    if output_count == 1:
        return (stored(xp, gated, key.dtype, out),)
    places = out or (None, None)
    return stored(xp, gated, key.dtype, places[0]), stored(xp, _normed(xp, gated, conv_norm_scale, epsilon), key.dtype, places[1])


@operator("ScaledSiLU", domain=_DOMAIN, specs=like_first, types=FLOATS)
def scaled_silu(xp: Any, x: Array, scale: Array = None, *, alpha: float = 1.0, out: Array = None) -> Array:
    """z · sigmoid(z) with z = scale · x (alpha without a scale); each step is rounded to x's type."""
    wide = widened(x)
    factor = wide.dtype.type(alpha) if scale is None else widened(scale).astype(wide.dtype, copy=False).reshape(())
    z = _rounded(wide * factor, x.dtype)
    return stored(xp, z * _rounded(sigmoid(xp, z), x.dtype), x.dtype, out)
