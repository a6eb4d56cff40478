"""Add, Sub, Mul, Div, Mod, Pow, Min, Max, Sum, Mean, and the signs: Neg, Abs, Sign, Reciprocal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxgpu.array_module import is_numpy
from onnxgpu.dtypes import is_integer
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.elementwise import binary, ignoring, is_narrow, unary
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import broadcast


@binary("Add")
def add(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Elementwise sum; integers wrap. Spec: https://onnx.ai/onnx/operators/onnx__Add.html"""
    return xp.add(a, b, out=out)


@binary("Sub")
def sub(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Elementwise difference; integers wrap. Spec: https://onnx.ai/onnx/operators/onnx__Sub.html"""
    return xp.subtract(a, b, out=out)


@binary("Mul")
def mul(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Elementwise product; integers wrap. Spec: https://onnx.ai/onnx/operators/onnx__Mul.html"""
    return xp.multiply(a, b, out=out)


@binary("Div")
def div(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Elementwise quotient; integers truncate towards zero. Spec: https://onnx.ai/onnx/operators/onnx__Div.html"""
    if a.dtype.kind not in "iu":
        return xp.divide(a, b, out=out)
    if a.dtype.kind == "i":
        a = a - xp.fmod(a, b)
    return xp.floor_divide(a, b, out=out)


@operator("Mod", since=10, specs=broadcast, alone=True)
def mod(xp: Any, a: Array, b: Array, *, fmod: int = 0, out: Array = None) -> Array:
    """Remainder with the divisor's sign, or with the dividend's (`fmod`). Spec: https://onnx.ai/onnx/operators/onnx__Mod.html"""
    return (xp.fmod if fmod else xp.remainder)(a, b, out=out)


def _power_specs(x: Array, y: Array | None = None, **_: Any) -> Spec:
    """Like `broadcast`, but the formulas read x again after the first pass over y."""
    spec = broadcast(x) if y is None else broadcast(x, y)
    return Spec(spec.shape, spec.dtype, tuple(i for i in spec.may_reuse if i == 0))


@binary("Pow", specs=_power_specs)
def pow(xp: Any, x: Array, y: Array, *, out: Array = None) -> Array:
    """x to the power of y, in x's dtype. Spec: https://onnx.ai/onnx/operators/onnx__Pow.html

    An integer to a fractional or negative power is computed in float64 and cut to an integer. Squares and cubes by
    a host constant are products.
    """
    if is_numpy(xp) and y.size == 1 and y.item() in (2, 3) and not (is_narrow(x.dtype) and y.item() == 3):
        return _small_power(xp, x, int(y.item()), np.broadcast_shapes(x.shape, y.shape), out)
    if is_integer(x.dtype) and not (is_integer(y.dtype) and (y.dtype.kind == "u" or bool((y >= 0).all()))):
        result = xp.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)
        return result if out is None else _assigned(out, result)
    if is_narrow(x.dtype):
        result = xp.power(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)
        return result if out is None else _assigned(out, result)
    return xp.power(x, y.astype(x.dtype, copy=False), out=out)


def _small_power(xp: Any, x: Array, exponent: int, shape: tuple[int, ...], out: Array) -> Array:
    x = xp.broadcast_to(x, shape)
    if exponent == 2:
        return xp.multiply(x, x, out=out)
    return xp.multiply(xp.multiply(x, x), x, out=out)


def _assigned(out: Array, result: Array) -> Array:
    out[...] = result
    return out


def _accumulated(xp: Any, function: Callable[..., Array], inputs: tuple[Array, ...], out: Array) -> Array:
    """function(function(first, second), third) …, in `out`; both first operands are read in the pass that first writes."""
    if out is None:
        spec = broadcast(*inputs)
        out = xp.empty(spec.shape, spec.dtype)
    first = inputs[0] if inputs[0].shape == out.shape else xp.broadcast_to(inputs[0], out.shape)
    if len(inputs) == 1:
        return _assigned(out, first)
    for other in inputs[1:]:
        first = function(first, other, out=out)
    return out


def variadic(name: str) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Register an operator of any number of operands; before opset 6 it may have `consumed_inputs`."""

    def register(function: Callable[..., Array]) -> Callable[..., Array]:
        operator(name, specs=broadcast, alone=True)(ignoring(function, "consumed_inputs"))
        operator(name, since=6, specs=broadcast, alone=True)(function)
        return function

    return register


@variadic("Min")
def minimum(xp: Any, *inputs: Array, out: Array = None) -> Array:
    """Elementwise least of all inputs; NaN wins. Spec: https://onnx.ai/onnx/operators/onnx__Min.html"""
    return _accumulated(xp, xp.minimum, inputs, out)


@variadic("Max")
def maximum(xp: Any, *inputs: Array, out: Array = None) -> Array:
    """Elementwise greatest of all inputs; NaN wins. Spec: https://onnx.ai/onnx/operators/onnx__Max.html"""
    return _accumulated(xp, xp.maximum, inputs, out)


@variadic("Sum")
def sum_of(xp: Any, *inputs: Array, out: Array = None) -> Array:
    """Elementwise sum of all inputs. Spec: https://onnx.ai/onnx/operators/onnx__Sum.html"""
    return _accumulated(xp, xp.add, inputs, out)


@variadic("Mean")
def mean(xp: Any, *inputs: Array, out: Array = None) -> Array:
    """Elementwise mean of all inputs, 16-bit floats through float32. Spec: https://onnx.ai/onnx/operators/onnx__Mean.html"""
    if is_narrow(inputs[0].dtype):
        total = mean(xp, *(x.astype(np.float32) for x in inputs))
        return total.astype(inputs[0].dtype) if out is None else _assigned(out, total)
    total = _accumulated(xp, xp.add, inputs, out)
    return xp.divide(total, len(inputs), out=total)


@unary("Neg")
def neg(xp: Any, x: Array, *, out: Array = None) -> Array:
    """-x. Spec: https://onnx.ai/onnx/operators/onnx__Neg.html"""
    return xp.negative(x, out=out)


@unary("Abs")
def absolute(xp: Any, x: Array, *, out: Array = None) -> Array:
    """|x|. Spec: https://onnx.ai/onnx/operators/onnx__Abs.html"""
    return xp.absolute(x, out=out)


@unary("Sign", since=9)
def sign(xp: Any, x: Array, *, out: Array = None) -> Array:
    """-1, 0 or 1; NaN stays. Spec: https://onnx.ai/onnx/operators/onnx__Sign.html"""
    return xp.sign(x, out=out)


@unary("Reciprocal")
def reciprocal(xp: Any, x: Array, *, out: Array = None) -> Array:
    """1 / x. Spec: https://onnx.ai/onnx/operators/onnx__Reciprocal.html"""
    return xp.reciprocal(x, out=out)
