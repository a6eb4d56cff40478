"""Tensors of a model file: checked against their shape and type, and held once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import InvalidGraph
from onnxgpu.model_file.external_data import ExternalFiles, ExternalPlace
from onnxgpu.model_file.names import all_graphs
from onnxgpu.model_file.source import Source

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_EXTERNAL = 1
_STRING = 8
_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}
"""Element types of less than a byte."""

_TYPED_FIELDS = {1: "float_data", 7: "int64_data", 8: "string_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"} | {
    14: "float_data",
    15: "double_data",
}
"""The repeated field that holds an element type's values where raw_data does not; for all others it is int32_data."""


EXTERNAL_PLACE = "onnxgpu.external_place"
"""Key in `ir.Value.meta`: a tensor that was read from an external file, and its place there."""


def external_place(value: ir.Value) -> ExternalPlace | None:
    """Where the data of an initializer lie outside of the model file it was read from; None for those inside, and for new ones."""
    tensor, place = value.meta.get(EXTERNAL_PLACE, (None, None))
    return place if tensor is not None and tensor is value.const_value else None


def tensors_of(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every dense tensor in `graph` and its subgraphs, with where it is in words."""
    for inner in all_graphs(graph):
        for tensor in inner.initializer:
            yield f"initializer '{tensor.name}'", tensor
        for node in inner.node:
            for attribute in node.attribute:
                where = f"attribute '{attribute.name}' of {node.op_type} node '{node.name}'"
                if attribute.HasField("t"):
                    yield where, attribute.t
                for tensor in attribute.tensors:
                    yield where, tensor


def check_tensors(graph: onnx.GraphProto, payload_location: str, files: ExternalFiles) -> None:
    """Check that every tensor has exactly the data that its shape and type need.

    Raises:
        InvalidGraph: one has not; says how much was expected and found.
        NotImplemented: an element type that ONNX does not have.
        NoSuchFile, InvalidArgument: external data that cannot be read, see `ExternalFiles.check`.
    """
    for where, tensor in tensors_of(graph):
        count = _element_count(where, tensor)
        if tensor.data_location != _EXTERNAL:
            _check_inside(where, tensor, count)
            continue
        if tensor.data_type == _STRING:
            raise InvalidGraph(f"{where}: strings cannot be external data")
        expected = byte_count(tensor.data_type, count)
        entries = {e.key: e.value for e in tensor.external_data}
        if entries.get("location") != payload_location:
            files.check(tensor, expected)
        elif int(entries["length"]) != expected:
            raise InvalidGraph(_mismatch(where, tensor, f"{expected} bytes", f"{entries['length']} bytes"))


def byte_count(data_type: int, count: int) -> int:
    """Bytes that `count` elements take in a file; elements of less than a byte are packed."""
    return math.ceil(count * _BITS[data_type] / 8) if data_type in _BITS else count * dtype_of(data_type).itemsize


def _element_count(where: str, tensor: onnx.TensorProto) -> int:
    if tensor.data_type == 0:
        raise InvalidGraph(f"{where} has no element type (data_type is UNDEFINED)")
    dtype_of(tensor.data_type)
    if any(d < 0 for d in tensor.dims):
        raise InvalidGraph(f"{where} has a negative dimension in shape {list(tensor.dims)}")
    return math.prod(tensor.dims)


def _check_inside(where: str, tensor: onnx.TensorProto, count: int) -> None:
    if tensor.HasField("raw_data"):
        if tensor.data_type == _STRING:
            raise InvalidGraph(f"{where}: strings must be in string_data, not in raw_data")
        expected, found, unit = byte_count(tensor.data_type, count), len(tensor.raw_data), "bytes"
    else:
        field = _TYPED_FIELDS.get(tensor.data_type, "int32_data")
        per_word = 8 // _BITS[tensor.data_type] if tensor.data_type in _BITS else 1
        expected = math.ceil(count / per_word) * (2 if tensor.data_type in (14, 15) else 1)
        found, unit = len(getattr(tensor, field)), f"values in {field}"
    if expected != found:
        raise InvalidGraph(_mismatch(where, tensor, f"{expected} {unit}", str(found)))


def _mismatch(where: str, tensor: onnx.TensorProto, expected: str, found: str) -> str:
    dtype = dtype_of(tensor.data_type)
    return f"{where} with shape {list(tensor.dims)} and type {dtype} needs {expected}, found {found}; the file is damaged"


def hold(model: ir.Model, source: Source, payload_location: str, files: ExternalFiles) -> None:
    """Give every tensor of `model` memory of its own, or a mapped file for external data; no protobuf is kept."""
    import onnx_ir as ir

    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None:
                value.const_value = _held(tensor, source, payload_location, files)
                if isinstance(tensor, ir.ExternalTensor) and not str(tensor.location).startswith(payload_location):
                    place = ExternalPlace(str(tensor.location), tensor.offset or 0, byte_count(int(tensor.dtype), tensor.size))
                    value.meta[EXTERNAL_PLACE] = (value.const_value, place)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR:
                    node.attributes[name] = ir.AttrTensor(name, _held(attribute.as_tensor(), source, payload_location, files))


def is_constant(value: ir.Value | None) -> bool:
    """True for an initializer that the caller cannot override."""
    return value is not None and value.is_initializer() and not value.is_graph_input() and value.const_value is not None


def array_of(tensor: ir.TensorProtocol) -> np.ndarray:
    """The elements of `tensor` as the rest of the program wants them: one element an item, strings as `str`.

    The array may be a view of a mapped file or of memory that others read: never write into it.
    """
    array = tensor.numpy()
    if int(tensor.dtype) != _STRING:
        return np.asarray(array)
    decoded = np.empty(array.size, object)
    decoded[:] = [s.decode("utf-8", "surrogateescape") if isinstance(s, bytes) else s for s in array.ravel().tolist()]
    return decoded.reshape(array.shape)


def _held(tensor: ir.TensorProtocol, source: Source, payload_location: str, files: ExternalFiles) -> ir.TensorProtocol:
    import onnx_ir as ir

    if isinstance(tensor, ir.ExternalTensor):
        location, offset, count = str(tensor.location), tensor.offset or 0, byte_count(int(tensor.dtype), tensor.size)
        if location == payload_location:
            return _tensor_of(source.read(offset, count), tensor)

        def mapped() -> ir.TensorProtocol:
            return _tensor_of(files.bytes_of(location, offset, count), tensor)

        return ir.LazyTensor(mapped, tensor.dtype, tensor.shape, cache=True, name=tensor.name)
    if isinstance(tensor, ir.TensorProtoTensor):
        array = np.array(tensor.numpy(), dtype=dtype_of(int(tensor.dtype)))
        array.flags.writeable = False
        return ir.Tensor(array, tensor.dtype, shape=tensor.shape, name=tensor.name)
    if isinstance(tensor, ir.StringTensor):
        texts = np.empty(tensor.size, object)
        texts[:] = tensor.string_data()
        return ir.StringTensor(texts.reshape(tensor.shape.numpy()), shape=tensor.shape, name=tensor.name)
    return tensor


def _tensor_of(data: npt.NDArray[np.uint8], like: ir.TensorProtocol) -> ir.TensorProtocol:
    import onnx_ir as ir

    if int(like.dtype) in _BITS:
        return ir.PackedTensor(data, like.dtype, shape=tuple(like.shape.numpy()), name=like.name)
    dtype = dtype_of(int(like.dtype))
    array = np.frombuffer(data, dtype.newbyteorder("<")).reshape(like.shape.numpy())
    if array.size and not array.flags.aligned:
        array = array.copy()
    array = array.astype(dtype, copy=False)
    array.flags.writeable = False
    return ir.Tensor(array, like.dtype, shape=ir.Shape(like.shape.numpy()), name=like.name)
