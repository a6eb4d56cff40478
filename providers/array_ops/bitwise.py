"""BitShift, BitwiseAnd, BitwiseOr, BitwiseXor and BitwiseNot."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import broadcast, like_first


@operator("BitShift", since=11, specs=broadcast)
def bit_shift(xp: Any, x: Array, y: Array, *, direction: str, out: Array = None) -> Array:
    """x shifted by y bits, by all of them where y is negative or too large. Spec: https://onnx.ai/onnx/operators/onnx__BitShift.html"""
    return (xp.left_shift if direction == "LEFT" else xp.right_shift)(x, y, out=out)


@operator("BitwiseAnd", since=18, specs=broadcast)
def bitwise_and(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """The bits set in both. Spec: https://onnx.ai/onnx/operators/onnx__BitwiseAnd.html"""
    return xp.bitwise_and(a, b, out=out)


@operator("BitwiseOr", since=18, specs=broadcast)
def bitwise_or(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """The bits set in either. Spec: https://onnx.ai/onnx/operators/onnx__BitwiseOr.html"""
    return xp.bitwise_or(a, b, out=out)


@operator("BitwiseXor", since=18, specs=broadcast)
def bitwise_xor(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """The bits set in just one. Spec: https://onnx.ai/onnx/operators/onnx__BitwiseXor.html"""
    return xp.bitwise_xor(a, b, out=out)


@operator("BitwiseNot", since=18, specs=like_first)
def bitwise_not(xp: Any, x: Array, *, out: Array = None) -> Array:
    """The bits not set. Spec: https://onnx.ai/onnx/operators/onnx__BitwiseNot.html"""
    return xp.invert(x, out=out)
