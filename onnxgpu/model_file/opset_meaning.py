"""Whether an operator means the same at two opset versions, so that a node may move from one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

CHANGED_IN_SILENCE = {
    ("Concat", 4),
    ("GroupNormalization", 21),
    ("Resize", 11),
    ("RoiAlign", 16),
    ("Split", 18),
}
"""Operators, and the version that changed what they compute although a schema before and after looks compatible."""


def means_the_same(node: onnx.NodeProto, written: int, target: int) -> bool:
    """True if `node`, written for opset `written` of its domain, computes the same at opset `target`.

    It does if the version is the same operator set version, or if only element types, optional inputs and attributes
    with defaults were added between the two and the node uses none of them.
    """
    import onnx

    try:
        before = onnx.defs.get_schema(node.op_type, written, node.domain)
        after = onnx.defs.get_schema(node.op_type, target, node.domain)
    except onnx.defs.SchemaError:
        return False
    if before.since_version == after.since_version:
        return True
    if before.deprecated or after.deprecated:
        return False
    older, newer = sorted((before, after), key=lambda schema: schema.since_version)
    if not node.domain and any(n == node.op_type and older.since_version < v <= newer.since_version for n, v in CHANGED_IN_SILENCE):
        return False
    return _only_grew(older, newer) and _within(node, older)


def _only_grew(older: onnx.defs.OpSchema, newer: onnx.defs.OpSchema) -> bool:
    for name, attribute in older.attributes.items():
        kept = newer.attributes.get(name)
        if kept is None or kept.type != attribute.type or kept.default_value != attribute.default_value:
            return False
        if kept.required and not attribute.required:
            return False
    if any(attribute.required and name not in older.attributes for name, attribute in newer.attributes.items()):
        return False
    inputs, more_inputs = ([i.option for i in schema.inputs] for schema in (older, newer))
    outputs, more_outputs = ([o.option for o in schema.outputs] for schema in (older, newer))
    return inputs == more_inputs[: len(inputs)] and newer.min_input == older.min_input and outputs == more_outputs


def _within(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> bool:
    return len(node.input) <= schema.max_input and all(a.name in schema.attributes for a in node.attribute)
