"""onnxruntime's `.onnx_adapter` file: the flatbuffer of onnxruntime/lora/adapter_format/adapter_schema.fbs.

    table Parameter { name: string; dims: [int64]; data_type: int32; raw_data: [uint8] (aligned to 8); }
    table Adapter { format_version: int; adapter_version: int; model_version: int; parameters: [Parameter]; }
    root_type Adapter; file_identifier "TORT";

A table begins with the distance back to its vtable, which has the place of each field in it; strings, vectors and tables are
found through unsigned 32-bit distances forward. All numbers are little-endian. Source: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from onnxgpu.dtypes import dtype_of

IDENTIFIER = b"TORT"
FORMAT_VERSION = 1
MOST_BYTES = 2**31 - 1

ELEMENT_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 16})
"""ONNX element types that a parameter may have: the integers of 8 to 64 bits, float16, bfloat16, float and double."""

_ALIGNMENT = 8
_ADAPTER_VTABLE = struct.pack("<6H", 12, 20, 4, 8, 12, 16)
_PARAMETER_VTABLE = struct.pack("<6H", 12, 20, 4, 8, 12, 16)
"""Bytes of the vtable and of the table, then the place of each of the four fields in the table."""
_TABLE_BYTES = 20


@dataclass(frozen=True)
class AdapterFile:
    """What an adapter file holds.

    Attributes:
        adapter_version: a number of its author's.
        model_version: the version of the model it is for.
        parameters: by name.
        format_version: of the file.
    """

    adapter_version: int
    model_version: int
    parameters: Mapping[str, np.ndarray]
    format_version: int = FORMAT_VERSION


class NotAnAdapter(ValueError):
    """The bytes are not a valid adapter file."""


def encoded(adapter: AdapterFile, element_types: Mapping[str, int]) -> bytes:
    """The bytes of the file.

    Args:
        adapter: what to write.
        element_types: ONNX element type of each parameter.

    Raises:
        ValueError: more than 2 GiB, which a flatbuffer cannot hold.
    """
    size = sum(array.nbytes for array in adapter.parameters.values())
    if size > MOST_BYTES:
        raise ValueError(f"an adapter file holds at most 2 GiB, the parameters have {size} bytes")
    count = len(adapter.parameters)
    out = bytearray(8)
    out += _ADAPTER_VTABLE
    root = len(out)
    struct.pack_into("<I4s", out, 0, root, IDENTIFIER)
    out += struct.pack("<iiiiI", root - 8, adapter.format_version, adapter.adapter_version, adapter.model_version, 4)
    out += struct.pack(f"<{count + 1}I", count, *([0] * count))
    vtable = len(out)
    out += _PARAMETER_VTABLE
    first = root + _TABLE_BYTES + 4  # behind the table lies the vector of parameters: how many, then the distance to each
    for index, (name, array) in enumerate(adapter.parameters.items()):
        _point(out, first + 4 * index, len(out))
        _append_parameter(out, vtable, name, array, element_types[name])
    return bytes(out)


def _append_parameter(out: bytearray, vtable: int, name: str, array: np.ndarray, element_type: int) -> None:
    table = len(out)
    out += struct.pack("<iIIiI", table - vtable, 0, 0, element_type, 0)
    _point(out, table + 4, len(out))
    text = name.encode()
    out += struct.pack("<I", len(text)) + text + b"\0"
    _append_vector(out, table + 8, array.ndim, struct.pack(f"<{array.ndim}q", *array.shape))
    _append_vector(out, table + 16, array.nbytes, array.tobytes())
    out += bytes(-len(out) % 4)


def _append_vector(out: bytearray, reference: int, count: int, content: bytes) -> None:
    """A vector whose elements begin at a multiple of 8 bytes."""
    out += bytes(-(len(out) + 4) % _ALIGNMENT)
    _point(out, reference, len(out))
    out += struct.pack("<I", count) + content


def _point(out: bytearray, reference: int, target: int) -> None:
    struct.pack_into("<I", out, reference, target - reference)


def decoded(data: memoryview) -> AdapterFile:
    """The adapter in `data`; its parameters are read-only views.

    Raises:
        NotAnAdapter: the bytes are none, or damaged; says what was found wrong.
    """
    if len(data) < 8 or bytes(data[4:8]) != IDENTIFIER:
        raise NotAnAdapter("The buffer does not appear to be a valid lora parameter format")
    try:
        adapter = _decoded(data)
    except (struct.error, UnicodeDecodeError, NotAnAdapter) as error:
        raise NotAnAdapter(f"The buffer fails lora adapter format verification: {error}") from None
    if adapter.format_version != FORMAT_VERSION:
        raise NotAnAdapter(f"Unsupported lora format version: {adapter.format_version}, expected {FORMAT_VERSION}")
    return adapter


def _decoded(data: memoryview) -> AdapterFile:
    root = Table.root(data)
    parameters = dict(_parameter(Table(data, position)) for position in root.tables(3))
    return AdapterFile(root.integer(1), root.integer(2), parameters, root.integer(0))


def _parameter(table: Table) -> tuple[str, np.ndarray]:
    name = bytes(table.vector(0, 1)).decode()
    element_type = table.integer(2)
    if element_type not in ELEMENT_TYPES:
        raise NotAnAdapter(f"Lora Param '{name}': data_type '{element_type}' is not a supported LoRA parameter type")
    shape = np.frombuffer(table.vector(1, 8), "<i8").tolist()
    if not shape or min(shape) < 0:
        raise NotAnAdapter(f"Lora Param '{name}': dims is missing or empty, or negative: {shape}")
    dtype, content = dtype_of(element_type), table.vector(3, 1)
    expected = dtype.itemsize * math.prod(shape)
    if expected != len(content):
        raise NotAnAdapter(f"Lora Param '{name}' with shape {shape} and type {dtype} needs {expected} bytes, found {len(content)}")
    array = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
    array.flags.writeable = False
    return name, array


class Table:
    """A table of any flatbuffer, at `position` of `data`; the methods raise `NotAnAdapter` or struct.error where the bytes are none.

    Args:
        data: the whole file.
        position: where the table begins; `root` gives that of the first.
    """

    def __init__(self, data: memoryview, position: int) -> None:
        self._data, self._position = data, position
        self._vtable = position - _number(data, "<i", position)
        self._vtable_bytes = _number(data, "<H", self._vtable)

    @classmethod
    def root(cls, data: memoryview) -> Table:
        """The table that the file is."""
        return cls(data, _number(data, "<I", 0))

    def integer(self, field: int) -> int:
        """A 32-bit integer; 0 if it is not there."""
        position = self._field(field)
        return 0 if position is None else _number(self._data, "<i", position)

    def vector(self, field: int, item_bytes: int) -> memoryview:
        """The bytes of a vector or string; empty if it is not there."""
        position = self._field(field)
        if position is None:
            return self._data[:0]
        start = position + _number(self._data, "<I", position)
        end = start + 4 + _number(self._data, "<I", start) * item_bytes
        if end > len(self._data):
            raise NotAnAdapter(f"a vector ends at byte {end}, the file at {len(self._data)}")
        return self._data[start + 4 : end]

    def tables(self, field: int) -> Iterator[int]:
        """The positions of a vector's tables."""
        content = self.vector(field, 4)
        position = self._field(field)
        if position is None:
            return
        start = position + _number(self._data, "<I", position) + 4
        for index, (distance,) in enumerate(struct.iter_unpack("<I", content)):
            yield start + 4 * index + distance

    def _field(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._vtable_bytes:
            return None
        offset = _number(self._data, "<H", self._vtable + entry)
        return self._position + offset if offset else None


def _number(data: memoryview, form: str, position: int) -> int:
    if position < 0:
        raise NotAnAdapter(f"a field lies before the file, at {position}")
    value: int = struct.unpack_from(form, data, position)[0]
    return value
