"""Let equal nodes be one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import onnx_ir as ir

from onnxgpu.rewrite.constants import RANDOM
from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.rule import graph_rule
from onnxgpu.rewrite.values import described

_DOMAINS = ("", "ai.onnx.ml")
"""Whether an operator of another domain is a function of its inputs is not known."""

_TENSOR_LIMIT = 64
_LIST_LIMIT = 1024


@graph_rule
def merge_common_subexpressions(graph: ir.Graph, rewriting: Rewriting) -> list[str]:
    """A node with the operator, inputs and attributes of an earlier one of the same graph gives way to it."""
    seen: dict[Hashable, ir.Node] = {}
    texts: list[str] = []
    for node in tuple(graph):
        key = _key(node)
        if key is None:
            continue
        first = seen.setdefault(key, node)
        if first is not node and _merge(first, node, rewriting):
            texts.append(f"{described(node)} is {described(first)}")
    return texts


def _merge(first: ir.Node, node: ir.Node, rewriting: Rewriting) -> bool:
    pairs = [(mine, theirs) for mine, theirs in zip(node.outputs, first.outputs, strict=True) if mine.uses() or mine.is_graph_output()]
    if not pairs or any(not theirs.name for _, theirs in pairs):
        return False
    changed = any(mine.uses() for mine, _ in pairs)
    unused = [rewriting.replace(mine, theirs) for mine, theirs in pairs]
    if all(unused):
        rewriting.remove(node)
    return changed or all(unused)


def _key(node: ir.Node) -> Hashable | None:
    if node.domain not in _DOMAINS or node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.inputs) > 2):
        return None
    attributes = []
    for name in sorted(node.attributes):
        value = _attribute_key(node.attributes[name])
        if value is None:
            return None
        attributes.append((name, value))
    inputs = tuple(None if value is None else id(value) for value in node.inputs)
    return (node.domain, node.op_type, node.overload, node.version, len(node.outputs), inputs, tuple(attributes))


def _attribute_key(attribute: ir.Attr) -> Hashable | None:
    """Equal for equal attributes (`repr` tells 0.0 from -0.0); None for graphs, large tensors and lists, and what else has no value."""
    if attribute.is_ref() or attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return None
    if attribute.type is ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        if tensor.size > _TENSOR_LIMIT or tensor.dtype.is_string():
            return None
        return (tensor.dtype, tuple(tensor.shape), tensor.tobytes())
    if isinstance(attribute.value, Sequence) and len(attribute.value) > _LIST_LIMIT:
        return None
    simple = (
        ir.AttributeType.FLOAT,
        ir.AttributeType.INT,
        ir.AttributeType.STRING,
        ir.AttributeType.FLOATS,
        ir.AttributeType.INTS,
        ir.AttributeType.STRINGS,
    )
    return (attribute.type, repr(attribute.value)) if attribute.type in simple else None
