"""Remove nodes whose output always equals an input, element for element."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import attribute, constant_array, constant_shape, dimensions, element_type, given


@node_rule("Identity")
def remove_identity(node: ir.Node, rewriting: Rewriting) -> str | None:
    """`Identity(x)` is x, unless it copies a graph input (or another graph's value) to a graph output."""
    source = given(node, 0)
    return None if source is None else rewriting.bypass(node, source)


@node_rule("Dropout")
def remove_dropout(node: ir.Node, rewriting: Rewriting) -> str | None:
    """Dropout in inference is its input; opset 1 and 6 train unless `is_test` is set, 12 and later if told so."""
    source = given(node, 0)
    version = rewriting.version(node)
    if source is None or any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    if version < 7 and not attribute(node, "is_test", 0):
        return None
    mode = given(node, 2)
    training = constant_array(mode)
    if mode is not None and (training is None or bool(training.any())):
        return None
    return rewriting.bypass(node, source)


@node_rule("Cast", "CastLike")
def remove_same_type_cast(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A cast to the type that the value has already."""
    source = given(node, 0)
    have = element_type(source)
    if node.op_type == "Cast":
        code = attribute(node, "to", 0)
        wanted = ir.DataType(code) if isinstance(code, int) and code else None
    else:
        wanted = element_type(given(node, 1))
    if source is None or have is None or have != wanted:
        return None
    return rewriting.bypass(node, source)


@node_rule("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Mean")
def remove_neutral_arithmetic(node: ir.Node, rewriting: Rewriting) -> str | None:
    """`x * 1`, `x / 1`, `x - 0`, integer `x + 0`, and Sum, Max, Min, Mean of one value.

    A floating-point `x + 0` turns -0 into 0 and stays, unless it is -0 that is added.
    """
    if len(node.inputs) == 1:
        source = given(node, 0)
        return None if source is None else rewriting.bypass(node, source)
    if node.op_type not in _NEUTRAL or len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if left is not None and _is_neutral(node.op_type, right) and _keeps_shape(left, right):
        return rewriting.bypass(node, left)
    if right is not None and node.op_type in ("Add", "Mul") and _is_neutral(node.op_type, left) and _keeps_shape(right, left):
        return rewriting.bypass(node, right)
    return None


_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}


def _is_neutral(operator: str, value: ir.Value | None) -> bool:
    if constant_shape(value) is None or any(size != 1 for size in constant_shape(value) or ()):
        return False
    array = constant_array(value)
    assert array is not None
    item = array.reshape(-1)[0]
    if array.dtype.kind == "f" and item == 0:
        return bool(np.signbit(item)) == (operator == "Add") and operator in ("Add", "Sub")
    return array.dtype.kind in "iuf" and bool(item == _NEUTRAL[operator])


def _keeps_shape(value: ir.Value, neutral: ir.Value | None) -> bool:
    """True if broadcasting against `neutral`, which has one element, does not raise the rank of `value`."""
    rank = len(constant_shape(neutral) or ())
    have = dimensions(value)
    return rank == 0 or (have is not None and rank <= len(have))
