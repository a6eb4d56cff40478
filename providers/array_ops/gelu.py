"""Gelu and onnxruntime's forms of it: FastGelu, BiasGelu and QuickGelu.

Both forms are x sigmoid(2u) = x / (1 + exp(-2u)), with tanh(u) = erf(x / √2) in the exact one and u a cubic in the
approximate one. The quotient keeps its relative precision where 1 + erf would cancel.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.activations import swish
from onnxgpu.providers.array_ops.elementwise import in_pieces
from onnxgpu.providers.array_ops.exponential import ERF_ARGUMENT, ERF_SATURATION, erf_argument, erf_of_floats
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import broadcast, like_first

_EXACT_EXPONENT = tuple(-2 * sqrt(0.5) * c * 0.5**k for k, c in enumerate(ERF_ARGUMENT))
_TANH_EXPONENT = (-2 * sqrt(2 / pi), -2 * sqrt(2 / pi) * 0.044715)


@operator("Gelu", since=20, specs=like_first)
def gelu(xp: Any, x: Array, *, approximate: str = "none", out: Array = None) -> Array:
    """x Φ(x), Φ the normal distribution or its tanh approximation. Spec: https://onnx.ai/onnx/operators/onnx__Gelu.html"""
    return (fast_gelu_of if approximate == "tanh" else gelu_of)(xp, x, out=out)


@in_pieces
def gelu_of(xp: Any, x: Array, out: Array) -> Array:
    """x (1 + erf(x / √2)) / 2 of one piece."""
    if x.dtype == np.float64:
        factor = erf_of_floats(xp, x * sqrt(0.5))
        factor += 1
        factor *= 0.5
        return xp.multiply(x, factor, out=out)
    return _times_sigmoid(xp, x, erf_argument(xp, x, _EXACT_EXPONENT, 2 * ERF_SATURATION), out)


@in_pieces
def fast_gelu_of(xp: Any, x: Array, out: Array) -> Array:
    """x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2 of one piece."""
    return _times_sigmoid(xp, x, erf_argument(xp, x, _TANH_EXPONENT, np.inf), out)


def _times_sigmoid(xp: Any, x: Array, negated: Array, out: Array) -> Array:
    """x / (1 + exp(negated)); overwrites `negated`."""
    xp.exp(negated, out=negated)
    xp.add(negated, 1, out=negated)
    return xp.divide(x, negated, out=out)


@operator("Gelu", domain="com.microsoft", specs=like_first)
def gelu_microsoft(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Exact Gelu. Spec: onnxruntime's ContribOperators.md, com.microsoft.Gelu"""
    return gelu_of(xp, x, out=out)


@operator("QuickGelu", domain="com.microsoft", specs=like_first)
def quick_gelu(xp: Any, x: Array, *, alpha: float = 1.7020000219345093, out: Array = None) -> Array:
    """x sigmoid(alpha x). Spec: onnxruntime's ContribOperators.md, com.microsoft.QuickGelu"""
    return swish(xp, x, alpha=alpha, out=out)


@operator("FastGelu", domain="com.microsoft", specs=like_first)
def fast_gelu(xp: Any, x: Array, bias: Array = None, *, out: Array = None) -> Array:
    """Approximate Gelu of x, or of x + bias. Spec: onnxruntime's ContribOperators.md, com.microsoft.FastGelu"""
    return fast_gelu_of(xp, x if bias is None else xp.add(x, bias, out=out), out=out)


@operator("BiasGelu", domain="com.microsoft", specs=broadcast)
def bias_gelu(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Exact Gelu of a + b. Spec: onnxruntime's ContribOperators.md, com.microsoft.BiasGelu"""
    return gelu_of(xp, xp.add(a, b, out=out), out=out)
