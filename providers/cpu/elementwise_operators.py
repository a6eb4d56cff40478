"""What an elementwise chain is made of: one short function an operator, each working on one block.

A function takes the output block first and then its operands, arrays of the block's shape or scalars; the output may
be one of the operands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.gelu import erf, gelu, gelu_tanh
from onnxgpu.providers.cpu.threads import scratch

BlockFunction = Callable[..., Any]
OPERATORS: dict[str, tuple[BlockFunction, int]] = {}
"""Name → (function, number of operands)."""


def _temporary(like: Array) -> Array:
    return scratch(like.size, like.dtype, slot=5).reshape(like.shape)


def _ufunc(name: str, function: Any) -> None:
    def call(out: Array, *values: Array) -> None:
        function(*values, out=out)

    OPERATORS[name] = (call, function.nin)


_UFUNCS: dict[str, Any] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Min": np.minimum,
    "Max": np.maximum,
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Sin": np.sin,
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}
for _name, _function in _UFUNCS.items():
    _ufunc(_name, _function)


def _register(name: str, operands: int) -> Callable[[BlockFunction], BlockFunction]:
    def register(function: BlockFunction) -> BlockFunction:
        OPERATORS[name] = (function, operands)
        return function

    return register


@_register("Clip", 3)
def clip(out: Array, x: Array, low: Any, high: Any) -> None:
    """min(max(x, low), high)."""
    np.clip(x, low, high, out=out)


@_register("Relu", 1)
def relu(out: Array, x: Array) -> None:
    """max(x, 0); NumPy's clip is twice as fast as its maximum with a scalar."""
    np.clip(x, x.dtype.type(0), x.dtype.type(np.inf), out=out)


@_register("LeakyRelu", 2)
def leaky_relu(out: Array, x: Array, alpha: Any) -> None:
    """x where x ≥ 0, alpha·x elsewhere."""
    scaled = _temporary(out)
    np.multiply(x, alpha, out=scaled)
    np.copyto(scaled, x, where=x >= 0)
    out[...] = scaled


@_register("Sigmoid", 1)
def sigmoid(out: Array, x: Array) -> None:
    """1/(1 + exp(-x))."""
    one = x.dtype.type(1)
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, one, out=out)
    np.divide(one, out, out=out)


@_register("Silu", 1)
def silu(out: Array, x: Array) -> None:
    """x/(1 + exp(-x))."""
    divisor = _temporary(out)
    np.negative(x, out=divisor)
    np.exp(divisor, out=divisor)
    np.add(divisor, x.dtype.type(1), out=divisor)
    np.divide(x, divisor, out=out)


@_register("HardSigmoid", 3)
def hard_sigmoid(out: Array, x: Array, alpha: Any, beta: Any) -> None:
    """alpha·x + beta, kept between 0 and 1."""
    np.multiply(x, alpha, out=out)
    np.add(out, beta, out=out)
    np.clip(out, x.dtype.type(0), x.dtype.type(1), out=out)


@_register("HardSwish", 1)
def hard_swish(out: Array, x: Array) -> None:
    """x·(x/6 + 1/2 kept between 0 and 1)."""
    gate = _temporary(out)
    hard_sigmoid(gate, x, x.dtype.type(1 / 6), x.dtype.type(0.5))
    np.multiply(x, gate, out=out)


@_register("Softplus", 1)
def softplus(out: Array, x: Array) -> None:
    """log(1 + exp(x))."""
    np.logaddexp(x, x.dtype.type(0), out=out)


@_register("Square", 1)
def square(out: Array, x: Array) -> None:
    """x·x."""
    np.square(x, out=out)


@_register("Erf", 1)
def erf_block(out: Array, x: Array) -> None:
    """The error function, in float32."""
    erf(x, out)


@_register("Gelu", 1)
def gelu_block(out: Array, x: Array) -> None:
    """x·Φ(x), in float32."""
    gelu(x, out)


@_register("GeluTanh", 1)
def gelu_tanh_block(out: Array, x: Array) -> None:
    """The tanh form of Gelu."""
    gelu_tanh(x, out)


@_register("QuickGelu", 2)
def quick_gelu(out: Array, x: Array, alpha: Any) -> None:
    """x/(1 + exp(-alpha·x))."""
    divisor = _temporary(out)
    np.multiply(x, -alpha, out=divisor)
    np.exp(divisor, out=divisor)
    np.add(divisor, x.dtype.type(1), out=divisor)
    np.divide(x, divisor, out=out)
