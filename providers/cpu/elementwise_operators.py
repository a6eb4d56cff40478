"""What an elementwise expression is made of: functions that write one block, and operators composed of them.

A block function takes its operands, arrays or 0-d arrays that broadcast to the block, and then the block it writes to, which
may be one of the operands. All by position: NumPy takes a tenth longer for a keyword.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.gelu import erf, gelu
from onnxgpu.providers.cpu.threads import scratch

BlockFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Primitive:
    """One block function.

    Attributes:
        name: what it computes.
        function: see the module's docstring.
        operands: how many.
        small: what takes the place of `function` for a few elements.
    """

    name: str
    function: BlockFunction
    operands: int
    small: BlockFunction | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One primitive applied to operands: other nodes, inputs, or constants."""

    primitive: Primitive
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """An input of an expression."""

    index: int


Operand = Node | Input | float

PRIMITIVES: dict[str, Primitive] = {}
COMPOSITES: dict[str, tuple[Callable[..., Operand], int]] = {}
"""Name → (function from operands to the node that has the result, number of operands)."""

for _name, _function in {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
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
    "Square": np.square,
    "Tanh": np.tanh,
    "LogAddExp": np.logaddexp,
}.items():
    PRIMITIVES[_name] = Primitive(_name, _function, _function.nin)
PRIMITIVES["Clip"] = Primitive("Clip", np.ndarray.clip, 3)


def _primitive(name: str, operands: int) -> Callable[[BlockFunction], BlockFunction]:
    def register(function: BlockFunction) -> BlockFunction:
        PRIMITIVES[name] = Primitive(name, function, operands)
        return function

    return register


@_primitive("Max", 2)
def maximum(a: Array, b: Array, out: Array) -> None:
    """max(a, b); NumPy wants the output by keyword."""
    np.maximum(a, b, out=out)


@_primitive("Min", 2)
def minimum(a: Array, b: Array, out: Array) -> None:
    """min(a, b); NumPy wants the output by keyword."""
    np.minimum(a, b, out=out)


@_primitive("Copy", 1)
def copy(x: Array, out: Array) -> None:
    """x, broadcast."""
    out[...] = x


@_primitive("LeakyRelu", 2)
def leaky_relu(x: Array, alpha: Array, out: Array) -> None:
    """x where x ≥ 0, alpha·x elsewhere."""
    scaled = scratch(out.size, out.dtype, slot=5).reshape(out.shape)
    np.multiply(x, alpha, scaled)
    np.copyto(scaled, x, where=x >= 0)
    np.copyto(out, scaled)


def not_negative(x: Array, zero: Array, infinity: Array, out: Array) -> None:
    """max(x, zero)."""
    np.maximum(x, zero, out=out)


_NOT_NEGATIVE = Primitive("Relu", np.ndarray.clip, 3, small=not_negative)
"""NumPy's clip is twice as fast as its maximum with a scalar, but its call takes twice as long."""

PRIMITIVES["Erf"] = Primitive("Erf", erf, 1)
PRIMITIVES["Gelu"] = Primitive("Gelu", gelu, 1)


def apply(name: str, *operands: Operand) -> Node:
    """The node that applies a primitive."""
    return Node(PRIMITIVES[name], operands)


def _composite(name: str, operands: int) -> Callable[[Callable[..., Operand]], Callable[..., Operand]]:
    def register(function: Callable[..., Operand]) -> Callable[..., Operand]:
        COMPOSITES[name] = function, operands
        return function

    return register


@_composite("Relu", 1)
def relu(x: Operand) -> Operand:
    """max(x, 0)."""
    return Node(_NOT_NEGATIVE, (x, 0.0, np.inf))


@_composite("Sigmoid", 1)
def sigmoid(x: Operand) -> Operand:
    """1/(1 + exp(-x))."""
    return apply("Div", 1.0, apply("Add", apply("Exp", apply("Neg", x)), 1.0))


@_composite("Silu", 1)
def silu(x: Operand) -> Operand:
    """x/(1 + exp(-x))."""
    return apply("Div", x, apply("Add", apply("Exp", apply("Neg", x)), 1.0))


@_composite("GeluTanh", 1)
def gelu_tanh(x: Operand) -> Operand:
    """x/2·(1 + tanh(u)) as x/(1 + exp(-2u)), u = √(2/π)·(x + 0.044715·x³)."""
    scale = -2 * math.sqrt(2 / math.pi)
    factor = apply("Add", apply("Mul", apply("Square", x), 0.044715 * scale), scale)
    return apply("Div", x, apply("Add", apply("Exp", apply("Mul", factor, x)), 1.0))


@_composite("QuickGelu", 2)
def quick_gelu(x: Operand, alpha: Operand) -> Operand:
    """x/(1 + exp(-alpha·x))."""
    return apply("Div", x, apply("Add", apply("Exp", apply("Neg", apply("Mul", x, alpha))), 1.0))


@_composite("HardSigmoid", 3)
def hard_sigmoid(x: Operand, alpha: Operand, beta: Operand) -> Operand:
    """alpha·x + beta, kept between 0 and 1."""
    return apply("Clip", apply("Add", apply("Mul", x, alpha), beta), 0.0, 1.0)


@_composite("HardSwish", 1)
def hard_swish(x: Operand) -> Operand:
    """x·(x/6 + 1/2 kept between 0 and 1)."""
    return apply("Mul", x, hard_sigmoid(x, 1 / 6, 0.5))


@_composite("Softplus", 1)
def softplus(x: Operand) -> Operand:
    """log(1 + exp(x))."""
    return apply("LogAddExp", x, 0.0)


def elementwise_operators() -> frozenset[str]:
    """The operators that may stand in an expression."""
    return frozenset(PRIMITIVES) | frozenset(COMPOSITES)
