"""Initializers that the program gives in place of the model's, and external files that it holds in memory."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import Fail
from onnxgpu.log import logger
from onnxgpu.supplied import SuppliedData

if TYPE_CHECKING:
    import onnx


_EXTERNAL = 1


class FilesInMemory:
    """External data by location; a location is compared without `./` and doubled slashes.

    Args:
        files: contents that the program gave.
    """

    def __init__(self, files: Mapping[str, np.ndarray]) -> None:
        self._files = {posixpath.normpath(name): content for name, content in files.items()}
        self.replaces_files = bool(files)

    def add(self, location: str, content: np.ndarray) -> None:
        """Keep `content`, one-dimensional uint8, as the file at `location`."""
        self._files[location] = content

    def get(self, location: str) -> np.ndarray | None:
        """The file at `location`, or None."""
        return self._files.get(location if location in self._files else posixpath.normpath(location))


def supply(graph: onnx.GraphProto, supplied: SuppliedData, location: str, files: FilesInMemory) -> None:
    """Point the initializers that `supplied` replaces to its arrays, as files in memory named `location/…`.

    Raises:
        Fail: an external initializer does not exist or is not external, or an array has another type or shape.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for name, array in supplied.external_initializers.items():
        if name not in tensors:
            raise Fail(f"Failed to find existing initializer with name {name}. The model has {len(tensors)} initializers")
        if tensors[name].data_location != _EXTERNAL or _is_inside(tensors[name], location):
            raise Fail(f"Trying to replace non-external initializer with external data: '{name}' lies in the model itself")
        _replace(tensors[name], array, location, files)
    for name, array in supplied.initializers.items():
        if name in tensors:
            _replace(tensors[name], array, location, files)
        else:
            logger.warning("add_initializer: the model has no initializer '%s'; the value is not used", name)


def _is_inside(tensor: onnx.TensorProto, location: str) -> bool:
    return any(entry.key == "location" and entry.value == location for entry in tensor.external_data)


def _replace(tensor: onnx.TensorProto, array: np.ndarray, location: str, files: FilesInMemory) -> None:
    if tuple(tensor.dims) != array.shape:
        raise Fail(
            f"Replacement tensor's dimensions do not match. Initializer '{tensor.name}' has {list(tensor.dims)}, got {list(array.shape)}"
        )
    dtype = dtype_of(tensor.data_type)
    if array.dtype != dtype or dtype.kind == "O":
        raise Fail(f"Replacement tensor's data type does not match. Initializer '{tensor.name}' is {dtype}, got {array.dtype}")
    import onnx

    content = _bytes_of(tensor.data_type, array)
    own_location = f"{location}/{tensor.name}"
    files.add(own_location, content)
    name, dims, data_type = tensor.name, list(tensor.dims), tensor.data_type
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.data_location = name, data_type, onnx.TensorProto.EXTERNAL
    tensor.dims.extend(dims)
    for key, value in (("location", own_location), ("offset", "0"), ("length", str(content.size))):
        tensor.external_data.add(key=key, value=value)


def _bytes_of(data_type: int, array: np.ndarray) -> np.ndarray:
    """The bytes of `array` as a file holds them; those of an array in C order are not copied."""
    import onnx_ir as ir

    if ir.DataType(data_type).bitwidth < 8:
        return np.frombuffer(ir.Tensor(array, ir.DataType(data_type)).tobytes(), np.uint8)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
