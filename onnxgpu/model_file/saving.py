"""A graph, written as a standard ONNX file that any engine loads; large initializers may go to a file beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnxgpu.atomic_file import whole_file
from onnxgpu.errors import InvalidArgument
from onnxgpu.log import logger
from onnxgpu.model_file.context_nodes import engines_as_text
from onnxgpu.model_file.external_data import ExternalPlace
from onnxgpu.model_file.loaded import LoadedModel, ValueType
from onnxgpu.model_file.value_types import type_proto

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

MOST_BYTES = 2**31 - 1
"""What protobuf can hold."""

LEAST_EXTERNAL_BYTES = 1024
"""onnxruntime's threshold for external initializers."""

_ALIGNMENT = 64
_FIRST_IR_WITHOUT_INPUTS = 4
"""The first IR version in which an initializer need not be a graph input."""

Placing = Callable[["ir.Value"], ExternalPlace | None]
"""Where to put an initializer; None: into the model."""


def save(
    loaded: LoadedModel,
    path: str | os.PathLike[str],
    *,
    external_file: str = "",
    least_bytes: int = LEAST_EXTERNAL_BYTES,
    place: Placing | None = None,
) -> None:
    """Write the model to `path`; each file appears whole or not at all.

    Args:
        loaded: the model; what rewriting left is standard ONNX. It is not changed.
        path: of the model.
        external_file: for large initializers, a path from the model's folder; "": they go into the model, unless it would have
            more than 2 GiB: then into `NAME.data`, and the log says so.
        least_bytes: from which size on an initializer is large.
        place: says instead where each initializer lies, and has written it there.

    Raises:
        InvalidArgument: a file cannot be written, or `external_file` is no path within the model's folder, or the model itself.
    """
    target = Path(path)
    if target.is_dir() or str(path).endswith(("/", os.sep)):
        raise InvalidArgument(f"context_file_path should not point to a folder. '{path}' is one; give the path of a file")
    if external_file and target.parent / external_file == target:
        raise InvalidArgument(f"the external initializers file '{external_file}' is the model's own; give it another name")
    if place is None and not external_file:
        external_file = _needed_external_file(loaded, target)
    content = serialized(loaded, external_file=external_file, least_bytes=least_bytes, place=place, folder=target.parent)
    _write(target, lambda file: file.write(content))


def serialized(
    loaded: LoadedModel,
    *,
    external_file: str = "",
    least_bytes: int = LEAST_EXTERNAL_BYTES,
    place: Placing | None = None,
    folder: Path = Path(),
) -> bytes:
    """The bytes of the model; arguments as of `save`, `folder` is the model's.

    Raises:
        InvalidArgument: they would be more than 2 GiB, the external file cannot be written, or is no path within the model's folder.
    """
    if Path(external_file).is_absolute() or ".." in Path(external_file).parts:
        raise InvalidArgument(f"the external initializers file '{external_file}' has to be a path within the model's folder")
    written = list(initializers(loaded.model))
    if place is None:
        places = _places(written, external_file, least_bytes)
        if places:
            _write(folder / external_file, lambda file: _write_data(file, places))
    else:
        places = {value: where for value in written if (where := place(value)) is not None}
    size = sum(_nbytes(value) for value in written if value not in places)
    if size > MOST_BYTES:
        raise InvalidArgument(
            f"the model would have {size} bytes of initializers, and protobuf holds 2 GiB; put them into an external file"
        )
    data: bytes = _proto(loaded, set(written), places).SerializeToString()
    return data


def initializers(model: ir.Model) -> Iterator[ir.Value]:
    """The initializers that are written: those of all graphs, without the ones that nothing uses."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None and (value.uses() or value.is_graph_input() or value.is_graph_output()):
                yield value


def _nbytes(value: ir.Value) -> int:
    return 0 if value.const_value is None else value.const_value.nbytes


def _needed_external_file(loaded: LoadedModel, target: Path) -> str:
    size = sum(map(_nbytes, initializers(loaded.model)))
    if size <= MOST_BYTES:
        return ""
    name = f"{target.name}.data"
    logger.warning("the initializers have %d bytes, more than protobuf holds: they are written to '%s', beside the model", size, name)
    return name


def _places(values: Iterable[ir.Value], external_file: str, least_bytes: int) -> dict[ir.Value, ExternalPlace]:
    """The large initializers, with their places in the file.

    Short vectors of integers stay in the model: ONNX's shape inference reads them, and refuses models that have them elsewhere.
    """
    places: dict[ir.Value, ExternalPlace] = {}
    end = 0
    for value in values if external_file else ():
        size = _nbytes(value)
        if size >= least_bytes and value.const_value is not None and _may_be_external(value.const_value):
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            places[value] = ExternalPlace(Path(external_file).as_posix(), start, size)
            end = start + size
    return places


def _may_be_external(tensor: ir.TensorProtocol) -> bool:
    import onnx_ir as ir

    if tensor.dtype in (ir.DataType.INT32, ir.DataType.INT64):
        return len(tensor.shape) > 1 or tensor.nbytes >= LEAST_EXTERNAL_BYTES
    return tensor.dtype != ir.DataType.STRING


def _write_data(file: BinaryIO, places: Mapping[ir.Value, ExternalPlace]) -> None:
    for value, place in places.items():
        assert value.const_value is not None
        file.write(bytes(place.offset - file.tell()))
        file.write(value.const_value.tobytes())


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    try:
        with whole_file(path) as file:
            write(file)
    except OSError as error:
        raise InvalidArgument(f'open file "{path}" failed: {error.strerror or error}') from error


def _proto(loaded: LoadedModel, written: Set[ir.Value], places: Mapping[ir.Value, ExternalPlace]) -> onnx.ModelProto:
    import onnx_ir as ir

    copy = loaded.model.clone()
    for original, graph in zip(loaded.model.graphs(), copy.graphs(), strict=True):
        for name, value in original.initializers.items():
            if value not in written:
                del graph.initializers[name]
            elif value in places and value.const_value is not None:
                graph.initializers[name].const_value = _reference(value.const_value, places[value], name)
    if any(not value.is_graph_input() for value in initializers(copy)):
        copy.ir_version = max(copy.ir_version, _FIRST_IR_WITHOUT_INPUTS)
    used = {node.domain for graph in copy.graphs() for node in graph} | {""}
    for domain in set(copy.opset_imports) - used:
        del copy.opset_imports[domain]
    proto: onnx.ModelProto = ir.to_proto(copy)
    engines_as_text(proto)
    _declare(proto.graph.input, (*loaded.inputs, *loaded.overridable_initializers))
    _declare(proto.graph.output, loaded.outputs)
    return proto


def _reference(tensor: ir.TensorProtocol, place: ExternalPlace, name: str) -> ir.ExternalTensor:
    import onnx_ir as ir

    shape = ir.Shape(tensor.shape.numpy())
    return ir.ExternalTensor(place.location, place.offset, place.length, tensor.dtype, shape=shape, name=name)


def _declare(infos: Iterable[onnx.ValueInfoProto], types: Iterable[ValueType]) -> None:
    """Declare the types that onnx-ir cannot hold: maps, and sequences of them."""
    declared = {kind.name: kind.type for kind in types}
    for info in infos:
        text = declared.get(info.name, "")
        if not info.HasField("type") and text:
            info.type.CopyFrom(type_proto(text))
