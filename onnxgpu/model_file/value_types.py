"""TypeProto to `ValueType`, in onnxruntime's spelling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.dtypes import code_of, dtype_named, dtype_of, name_of
from onnxgpu.model_file.loaded import ValueType

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def value_type(info: onnx.ValueInfoProto) -> ValueType:
    """The type that `info` declares.

    Raises:
        NotImplemented: an element type that this version of ONNX does not have.
    """
    if info.type.WhichOneof("value") != "tensor_type" or not info.type.tensor_type.elem_type:
        return ValueType(info.name, type_text(info.type), None, None)
    tensor = info.type.tensor_type
    shape = tuple(_dimension(d) for d in tensor.shape.dim) if tensor.HasField("shape") else None
    return ValueType(info.name, type_text(info.type), shape, dtype_of(tensor.elem_type))


def value_type_of(value: ir.Value) -> ValueType:
    """The type that a value of the graph has by now, after type inference."""
    import onnx
    import onnx_ir as ir

    info = onnx.ValueInfoProto(name=value.name or "")
    if value.type is not None:
        ir.serde.serialize_type_into(info.type, value.type)
        if value.shape is not None:
            ir.serde.serialize_shape_into(info.type, value.shape)
    return value_type(info)


def tensor_value_type(tensor: onnx.TensorProto) -> ValueType:
    """The type of an initializer."""
    return ValueType(tensor.name, f"tensor({_element(tensor.data_type)})", tuple(tensor.dims), dtype_of(tensor.data_type))


def type_text(proto: onnx.TypeProto) -> str:
    """`tensor(float)`, `seq(tensor(int64))`, `map(int64,tensor(float))`, …; "" where the type is not set."""
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        return f"tensor({_element(proto.tensor_type.elem_type)})" if proto.tensor_type.elem_type else ""
    if kind == "sparse_tensor_type":
        return f"sparse_tensor({_element(proto.sparse_tensor_type.elem_type)})" if proto.sparse_tensor_type.elem_type else ""
    if kind == "sequence_type":
        return f"seq({type_text(proto.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({type_text(proto.optional_type.elem_type)})"
    if kind == "map_type":
        return f"map({_element(proto.map_type.key_type)},{type_text(proto.map_type.value_type)})"
    if kind == "opaque_type":
        return f"opaque({proto.opaque_type.domain},{proto.opaque_type.name})"
    return ""


def type_proto(text: str) -> onnx.TypeProto:
    """The type that `type_text` spells so.

    Raises:
        ValueError: nothing is spelled so.
    """
    import onnx

    kind, _, inner = text.removesuffix(")").partition("(")
    proto = onnx.TypeProto()
    if kind == "tensor":
        proto.tensor_type.elem_type = code_of(dtype_named(inner))
    elif kind == "sparse_tensor":
        proto.sparse_tensor_type.elem_type = code_of(dtype_named(inner))
    elif kind == "seq":
        proto.sequence_type.elem_type.CopyFrom(type_proto(inner))
    elif kind == "optional":
        proto.optional_type.elem_type.CopyFrom(type_proto(inner))
    elif kind == "map":
        key, _, value = inner.partition(",")
        proto.map_type.key_type = code_of(dtype_named(key))
        proto.map_type.value_type.CopyFrom(type_proto(value))
    elif kind == "opaque":
        proto.opaque_type.domain, _, proto.opaque_type.name = inner.partition(",")
    else:
        raise ValueError(f"{text!r} is no type")
    return proto


def has_map(proto: onnx.TypeProto) -> bool:
    """True if the type is a map or opaque, or contains one."""
    kind = proto.WhichOneof("value")
    if kind == "sequence_type":
        return has_map(proto.sequence_type.elem_type)
    if kind == "optional_type":
        return has_map(proto.optional_type.elem_type)
    return kind in ("map_type", "opaque_type")


def _element(code: int) -> str:
    dtype = dtype_of(code)
    return "string" if code_of(dtype) == 8 else name_of(dtype)


def _dimension(dimension: onnx.TensorShapeProto.Dimension) -> int | str | None:
    kind = dimension.WhichOneof("value")
    if kind == "dim_value":
        return dimension.dim_value if dimension.dim_value >= 0 else None
    return dimension.dim_param or None if kind == "dim_param" else None
