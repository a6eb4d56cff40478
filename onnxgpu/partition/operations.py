"""Graph nodes as the `Operation`s that providers see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onnxgpu.dtypes import dtype_of
from onnxgpu.model_file import array_of, is_constant
from onnxgpu.provider import Operation, Subgraph, ValueInfo

if TYPE_CHECKING:
    import onnx_ir as ir


def operation_of(node: ir.Node, opset_imports: Mapping[str, int]) -> Operation:
    """`node` with its attributes parsed and what is known of its inputs and outputs."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = node.version if node.version is not None else opset_imports.get(domain, 1)
    return Operation(
        operator=node.op_type,
        inputs=tuple(info_of(value) for value in node.inputs),
        outputs=tuple(info_of(value) if value.name else None for value in node.outputs),
        domain=domain,
        version=version,
        name=node.name or "",
        attributes={name: _attribute(attribute) for name, attribute in node.attributes.items()},
    )


def info_of(value: ir.Value | None) -> ValueInfo | None:
    """What is known of `value`; None for an absent one."""
    import onnx_ir as ir

    if value is None:
        return None
    dtype = dtype_of(int(value.dtype)) if value.dtype is not None and int(value.dtype) else None
    shape = None if value.shape is None else tuple(d if isinstance(d, int) else getattr(d, "value", None) for d in value.shape)
    tensor = value.const_value if is_constant(value) else None
    constant = None if tensor is None else lambda: array_of(tensor)
    return ValueInfo(value.name or "", dtype, shape, constant, value.type is None or isinstance(value.type, ir.TensorType))


def _attribute(attribute: ir.Attr) -> Any:
    import onnx_ir as ir

    kind, value = attribute.type, attribute.value
    if kind == ir.AttributeType.TENSOR:
        return array_of(value)
    if kind == ir.AttributeType.GRAPH:
        return Subgraph(*(tuple(info for info in map(info_of, values) if info) for values in (value.inputs, value.outputs)))
    if kind in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
        return tuple(value)
    return value
