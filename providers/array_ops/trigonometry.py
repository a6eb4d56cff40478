"""Sine, cosine and tangent, their hyperbolic forms and the inverses of all."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.elementwise import unary


@unary("Sin", since=7)
def sin(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Sine of x in radians. Spec: https://onnx.ai/onnx/operators/onnx__Sin.html"""
    return xp.sin(x, out=out)


@unary("Cos", since=7)
def cos(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Cosine of x in radians. Spec: https://onnx.ai/onnx/operators/onnx__Cos.html"""
    return xp.cos(x, out=out)


@unary("Tan", since=7)
def tan(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Tangent of x in radians. Spec: https://onnx.ai/onnx/operators/onnx__Tan.html"""
    return xp.tan(x, out=out)


@unary("Asin", since=7)
def asin(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Angle in radians whose sine is x; NaN outside [-1, 1]. Spec: https://onnx.ai/onnx/operators/onnx__Asin.html"""
    return xp.arcsin(x, out=out)


@unary("Acos", since=7)
def acos(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Angle in radians whose cosine is x; NaN outside [-1, 1]. Spec: https://onnx.ai/onnx/operators/onnx__Acos.html"""
    return xp.arccos(x, out=out)


@unary("Atan", since=7)
def atan(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Angle in radians whose tangent is x. Spec: https://onnx.ai/onnx/operators/onnx__Atan.html"""
    return xp.arctan(x, out=out)


@unary("Sinh", since=9)
def sinh(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Hyperbolic sine. Spec: https://onnx.ai/onnx/operators/onnx__Sinh.html"""
    return xp.sinh(x, out=out)


@unary("Cosh", since=9)
def cosh(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Hyperbolic cosine. Spec: https://onnx.ai/onnx/operators/onnx__Cosh.html"""
    return xp.cosh(x, out=out)


@unary("Tanh")
def tanh(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Hyperbolic tangent. Spec: https://onnx.ai/onnx/operators/onnx__Tanh.html"""
    return xp.tanh(x, out=out)


@unary("Asinh", since=9)
def asinh(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Inverse hyperbolic sine. Spec: https://onnx.ai/onnx/operators/onnx__Asinh.html"""
    return xp.arcsinh(x, out=out)


@unary("Acosh", since=9)
def acosh(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Inverse hyperbolic cosine; NaN below 1. Spec: https://onnx.ai/onnx/operators/onnx__Acosh.html"""
    return xp.arccosh(x, out=out)


@unary("Atanh", since=9)
def atanh(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Inverse hyperbolic tangent; NaN outside [-1, 1]. Spec: https://onnx.ai/onnx/operators/onnx__Atanh.html"""
    return xp.arctanh(x, out=out)
