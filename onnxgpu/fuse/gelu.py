"""Gelu, written out by exporters: x·½·(1+erf(x/√2)), and its tanh form."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.fuse.fusion import Fusion, constants_fit, other_input, scalar, sole_reader_named

if TYPE_CHECKING:
    import onnx_ir as ir

GELU_VERSION = 20


def gelu_of_erf(node: ir.Node) -> Fusion | None:
    """Erf(x/√2) + 1, times ½ and x in either order.

    Args:
        node: an Erf.
    """
    if node.op_type != "Erf" or node.inputs[0] is None:
        return None
    scaled = node.inputs[0].producer()
    x = _scaled_by(scaled, math.sqrt(0.5)) if scaled is not None else None
    plus_one = sole_reader_named(node.outputs[0], "Add")
    if (
        scaled is None
        or x is None
        or sole_reader_named(scaled.outputs[0], "Erf") is None
        or plus_one is None
        or not _is(other_input(plus_one, node.outputs[0]), 1.0)
    ):
        return None
    return _with_half_and_x((scaled, node, plus_one), x, {"approximate": "none"})


def gelu_of_tanh(node: ir.Node) -> Fusion | None:
    """Tanh(√(2/π)·(x + 0.044715·x³)) + 1, times ½ and x in either order.

    Args:
        node: a Tanh.
    """
    if node.op_type != "Tanh" or node.inputs[0] is None:
        return None
    outer = node.inputs[0].producer()
    total = _scaled_by(outer, math.sqrt(2 / math.pi)) if outer is not None else None
    add = total.producer() if total is not None else None
    plus_one = sole_reader_named(node.outputs[0], "Add")
    if outer is None or add is None or add.op_type != "Add" or plus_one is None or not _is(other_input(plus_one, node.outputs[0]), 1.0):
        return None
    for x, cubic in ((add.inputs[0], add.inputs[1]), (add.inputs[1], add.inputs[0])):
        inner = cubic.producer() if cubic is not None else None
        cube = _scaled_by(inner, 0.044715) if inner is not None else None
        power = cube.producer() if cube is not None else None
        if (
            x is None
            or inner is None
            or power is None
            or power.op_type != "Pow"
            or power.inputs[0] is not x
            or not _is(power.inputs[1], 3.0)
        ):
            continue
        chain = (power, inner, add, outer, node, plus_one)
        if all(sole_reader_named(first.outputs[0], second.op_type) is second for first, second in pairwise(chain)):
            return _with_half_and_x(chain, x, {"approximate": "tanh"})
    return None


def _with_half_and_x(chain: tuple[ir.Node, ...], x: ir.Value, attributes: dict[str, str]) -> Fusion | None:
    """The two multiplications behind `chain`, by ½ and by x; one of them may be x·½ from beside the chain."""
    last = chain[-1]
    first = sole_reader_named(last.outputs[0], "Mul")
    if first is None:
        return None
    factor = other_input(first, last.outputs[0])
    half_of_x = _scaled_by(factor.producer(), 0.5) if factor is not None and factor.producer() is not None else None
    if half_of_x is x and factor is not None and sole_reader_named(factor, "Mul") is first:
        producer = factor.producer()
        assert producer is not None
        return _gelu((producer, *chain, first), x, attributes)
    second = sole_reader_named(first.outputs[0], "Mul")
    if second is None:
        return None
    other = other_input(second, first.outputs[0])
    if (_is(factor, 0.5) and other is x) or (factor is x and _is(other, 0.5)):
        return _gelu((*chain, first, second), x, attributes)
    return None


def _gelu(nodes: tuple[ir.Node, ...], x: ir.Value, attributes: dict[str, str]) -> Fusion | None:
    return Fusion(nodes, "Gelu", (x,), attributes, domain="", version=GELU_VERSION) if constants_fit(nodes, x) else None


def _scaled_by(node: ir.Node | None, factor: float) -> ir.Value | None:
    """What `node` multiplies by `factor` (or divides by its inverse), if it does."""
    if node is None or node.op_type not in ("Mul", "Div") or len(node.inputs) != 2:
        return None
    first, second = node.inputs
    if node.op_type == "Div":
        return first if _is(second, 1 / factor) else None
    if _is(second, factor):
        return first
    return second if _is(first, factor) else None


def _is(value: ir.Value | None, expected: float) -> bool:
    """True if `value` is the constant `expected`, in the precision of its element type."""
    found = scalar(value)
    if found is None or value is None or value.const_value is None:
        return False
    rounded = np.asarray(expected).astype(value.const_value.numpy().dtype)
    return found == float(rounded) or math.isclose(found, expected, rel_tol=1e-6)
