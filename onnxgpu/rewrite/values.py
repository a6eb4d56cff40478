"""What can be read off a value or a node: constants, dimensions, attributes, labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnxgpu.model_file import array_of, is_constant

Dimension = int | str | None
"""A size, a symbol (the same symbol is the same size, as ONNX defines it), or None: unknown."""


def constant_array(value: ir.Value | None) -> np.ndarray | None:
    """The array of a constant (never write into it), strings as `str` objects; None if `value` is not constant."""
    if value is None or not is_constant(value) or value.const_value is None:
        return None
    return array_of(value.const_value)


def constant_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of a constant, without reading its data."""
    if value is None or not is_constant(value) or value.const_value is None:
        return None
    return tuple(value.const_value.shape.numpy())


def integers(value: ir.Value | None) -> list[int] | None:
    """The elements of a constant integer vector or scalar."""
    array = constant_array(value)
    return [int(item) for item in array.reshape(-1)] if array is not None and array.dtype.kind in "iu" else None


def dimensions(value: ir.Value | None) -> tuple[Dimension, ...] | None:
    """What is known of a value's shape; None if not even the rank."""
    if value is None or value.shape is None:
        return None
    return tuple(size if isinstance(size, int) else size.value for size in value.shape)


def element_type(value: ir.Value | None) -> ir.DataType | None:
    """The element type of a tensor value; None if unknown or not a tensor."""
    return value.dtype if value is not None and isinstance(value.type, ir.TensorType) else None


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """The value of an attribute, or `default`."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def given(node: ir.Node, index: int) -> ir.Value | None:
    """Input `index`, None if left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def only_reader(value: ir.Value) -> ir.Node | None:
    """The one node that reads `value`, if it is read once and is not a graph output."""
    uses = value.uses()
    return next(iter(uses)).node if len(uses) == 1 and not value.is_graph_output() else None


def read_only_here(value: ir.Value, node: ir.Node) -> bool:
    """True if `node` alone reads `value`, once and in the same graph, and nobody outside sees it."""
    return only_reader(value) is node and value.graph is node.graph


def labelled(value: ir.Value) -> str:
    """How a value is called in reports."""
    return f"'{value.name}'"


def described(node: ir.Node) -> str:
    """How a node is called in reports: its operator, and its name or its first output's."""
    name = node.name or next((value.name for value in node.outputs if value.name), "")
    domain = f"{node.domain}." if node.domain else ""
    return f"{domain}{node.op_type} '{name}'"
