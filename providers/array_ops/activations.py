"""Activation functions of one input, each computed in the output's memory where its formula allows."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.elementwise import aligned, at_least, at_most, in_pieces, unary
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import broadcast_shapes, like_first


@unary("Relu")
def relu(xp: Any, x: Array, *, out: Array = None) -> Array:
    """max(x, 0). Spec: https://onnx.ai/onnx/operators/onnx__Relu.html"""
    return at_least(xp, x, 0, out)


@unary("LeakyRelu")
@in_pieces
def leaky_relu(xp: Any, x: Array, out: Array, *, alpha: float = 0.009999999776482582) -> Array:
    """x where positive, alpha x elsewhere. Spec: https://onnx.ai/onnx/operators/onnx__LeakyRelu.html"""
    if alpha == 0:
        return at_least(xp, x, 0, out)
    scaled = xp.multiply(x, alpha)
    return (xp.maximum if alpha <= 1 else xp.minimum)(x, scaled, out=out)


def _prelu_specs(x: Array, slope: Array, **_: Any) -> Spec:
    shape = broadcast_shapes(tuple(x.shape), tuple(slope.shape))
    return Spec(shape, x.dtype, may_reuse=(0,) if shape == tuple(x.shape) else ())


@operator("PRelu", since=7, specs=_prelu_specs, alone=True)
def prelu(xp: Any, x: Array, slope: Array, *, out: Array = None) -> Array:
    """x where positive, slope x elsewhere. Spec: https://onnx.ai/onnx/operators/onnx__PRelu.html"""
    positive = at_least(xp, x, 0)
    negative = at_most(xp, x, 0)
    product = xp.multiply(negative, slope, out=out)
    return xp.add(product, positive, out=out)


@operator("PRelu", specs=like_first, alone=True)
def prelu_1(xp: Any, x: Array, slope: Array, *, consumed_inputs: Any = None, out: Array = None) -> Array:
    """As `prelu`, with one slope or one a channel (axis 1). Spec: https://onnx.ai/onnx/operators/onnx__PRelu.html"""
    return prelu(xp, x, aligned(slope, len(x.shape), 1 if len(x.shape) > 1 and len(slope.shape) == 1 else None), out=out)


@unary("Elu")
@in_pieces
def elu(xp: Any, x: Array, out: Array, *, alpha: float = 1.0) -> Array:
    """x where positive, alpha (exp(x) - 1) elsewhere. Spec: https://onnx.ai/onnx/operators/onnx__Elu.html"""
    positive = at_least(xp, x, 0)
    at_most(xp, x, 0, out)
    xp.exp(out, out=out)
    xp.subtract(out, 1, out=out)
    if alpha != 1:
        xp.multiply(out, alpha, out=out)
    return xp.add(out, positive, out=out)


@operator("Celu", since=12, specs=like_first, alone=True)
@in_pieces
def celu(xp: Any, x: Array, out: Array, *, alpha: float = 1.0) -> Array:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1)). Spec: https://onnx.ai/onnx/operators/onnx__Celu.html"""
    positive = at_least(xp, x, 0)
    xp.divide(x, alpha, out=out)
    xp.exp(out, out=out)
    xp.subtract(out, 1, out=out)
    xp.multiply(out, alpha, out=out)
    at_most(xp, out, 0, out)
    return xp.add(out, positive, out=out)


@in_pieces
def _selu(xp: Any, x: Array, out: Array, *, alpha: float, gamma: float) -> Array:
    elu(xp, x, out=out, alpha=alpha)
    return xp.multiply(out, gamma, out=out)


@operator("Selu", specs=like_first, alone=True)
def selu_1(
    xp: Any,
    x: Array,
    *,
    alpha: float = 1.673200011253357,
    gamma: float = 1.0506999492645264,
    consumed_inputs: Any = None,
    out: Array = None,
) -> Array:
    """gamma elu(x), with opset 1's shorter constants. Spec: https://onnx.ai/onnx/operators/onnx__Selu.html"""
    return _selu(xp, x, out=out, alpha=alpha, gamma=gamma)


@operator("Selu", since=6, specs=like_first, alone=True)
def selu(xp: Any, x: Array, *, alpha: float = 1.6732631921768188, gamma: float = 1.0507010221481323, out: Array = None) -> Array:
    """gamma elu(x). Spec: https://onnx.ai/onnx/operators/onnx__Selu.html"""
    return _selu(xp, x, out=out, alpha=alpha, gamma=gamma)


@operator("ThresholdedRelu", since=10, specs=like_first, alone=True)
@in_pieces
def thresholded_relu(xp: Any, x: Array, out: Array, *, alpha: float = 1.0) -> Array:
    """x above alpha, 0 elsewhere. Spec: https://onnx.ai/onnx/operators/onnx__ThresholdedRelu.html"""
    out[...] = xp.where(x > alpha, x, 0)
    return out


@unary("Sigmoid")
@in_pieces
def sigmoid(xp: Any, x: Array, out: Array) -> Array:
    """1 / (1 + exp(-x)); exp's overflow gives 0. Spec: https://onnx.ai/onnx/operators/onnx__Sigmoid.html"""
    xp.negative(x, out=out)
    xp.exp(out, out=out)
    xp.add(out, 1, out=out)
    return xp.reciprocal(out, out=out)


@unary("HardSigmoid")
@in_pieces
def hard_sigmoid(xp: Any, x: Array, out: Array, *, alpha: float = 0.20000000298023224, beta: float = 0.5) -> Array:
    """alpha x + beta, held in [0, 1]. Spec: https://onnx.ai/onnx/operators/onnx__HardSigmoid.html"""
    xp.multiply(x, alpha, out=out)
    xp.add(out, beta, out=out)
    return xp.clip(out, 0, 1, out=out)


@operator("HardSwish", since=14, specs=like_first, alone=True)
@in_pieces
def hard_swish(xp: Any, x: Array, out: Array) -> Array:
    """x (x / 6 + 1/2), the factor held in [0, 1]. Spec: https://onnx.ai/onnx/operators/onnx__HardSwish.html"""
    factor = xp.multiply(x, 1 / 6)
    xp.add(factor, 0.5, out=factor)
    xp.clip(factor, 0, 1, out=factor)
    return xp.multiply(factor, x, out=out)


@unary("Softplus")
@in_pieces
def softplus(xp: Any, x: Array, out: Array) -> Array:
    """log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|)). Spec: https://onnx.ai/onnx/operators/onnx__Softplus.html"""
    positive = at_least(xp, x, 0)
    xp.absolute(x, out=out)
    xp.negative(out, out=out)
    xp.exp(out, out=out)
    xp.add(out, 1, out=out)
    xp.log(out, out=out)
    return xp.add(out, positive, out=out)


@unary("Softsign")
@in_pieces
def softsign(xp: Any, x: Array, out: Array) -> Array:
    """x / (1 + |x|). Spec: https://onnx.ai/onnx/operators/onnx__Softsign.html"""
    size = xp.absolute(x)
    xp.add(size, 1, out=size)
    return xp.divide(x, size, out=out)


@operator("Mish", since=18, specs=like_first, alone=True)
@in_pieces
def mish(xp: Any, x: Array, out: Array) -> Array:
    """x tanh(log(1 + exp(x))). Spec: https://onnx.ai/onnx/operators/onnx__Mish.html

    With n = e (e + 2), e = exp(x), the factor is n / (n + 2); it is 1 in float64 from x = 20 on.
    """
    e = at_most(xp, x, 20)
    xp.exp(e, out=e)
    n = xp.add(e, 2)
    xp.multiply(n, e, out=n)
    xp.add(n, 2, out=e)
    xp.divide(n, e, out=n)
    return xp.multiply(n, x, out=out)


@operator("Swish", since=24, specs=like_first, alone=True)
@in_pieces
def swish(xp: Any, x: Array, out: Array, *, alpha: float = 1.0) -> Array:
    """x sigmoid(alpha x). Spec: https://onnx.ai/onnx/operators/onnx__Swish.html"""
    divisor = xp.multiply(x, -alpha)
    xp.exp(divisor, out=divisor)
    xp.add(divisor, 1, out=divisor)
    return xp.divide(x, divisor, out=out)


@operator("Shrink", since=9, specs=like_first, alone=True)
def shrink(xp: Any, x: Array, *, bias: float = 0.0, lambd: float = 0.5, out: Array = None) -> Array:
    """x + bias below -lambd, x - bias above lambd, 0 between. Spec: https://onnx.ai/onnx/operators/onnx__Shrink.html"""
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    out[...] = xp.where(x < -lambd, x + bias, xp.where(x > lambd, x - bias, 0))
    return out
