"""Not, And, Or and Xor of booleans."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.elementwise import binary
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first


@operator("Not", specs=like_first, alone=True)
def logical_not(xp: Any, x: Array, *, out: Array = None) -> Array:
    """True where x is false. Spec: https://onnx.ai/onnx/operators/onnx__Not.html"""
    return xp.logical_not(x, out=out)


@binary("And")
def logical_and(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """True where both are. Spec: https://onnx.ai/onnx/operators/onnx__And.html"""
    return xp.logical_and(a, b, out=out)


@binary("Or")
def logical_or(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """True where either is. Spec: https://onnx.ai/onnx/operators/onnx__Or.html"""
    return xp.logical_or(a, b, out=out)


@binary("Xor")
def logical_xor(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """True where just one is. Spec: https://onnx.ai/onnx/operators/onnx__Xor.html"""
    return xp.logical_xor(a, b, out=out)
