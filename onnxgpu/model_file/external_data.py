"""Tensor data that lies in other files: found safely, checked when the model is loaded, mapped on first use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onnxgpu.errors import Fail, InvalidArgument, InvalidGraph, NoSuchFile
from onnxgpu.model_file.supplied import FilesInMemory

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class ExternalPlace:
    """Where the data of an initializer lie: a file, as a path from the model's folder, and the bytes in it."""

    location: str
    offset: int
    length: int


class ExternalFiles:
    """The files next to one model that hold its external data.

    A location is a path relative to the model's folder. It may be a link only if it stays in that folder, or if it is a
    Hugging Face cache link (`snapshots/<revision>/name -> ../../blobs/<hash>`) within the model's own repository.

    Args:
        folder: absolute path of the model's folder; None if the model did not come from a file.
        in_memory: contents that are taken instead of files.
    """

    def __init__(self, folder: Path | None, in_memory: FilesInMemory | None = None) -> None:
        self._folder = folder
        self._in_memory = in_memory or FilesInMemory({})
        self._sizes: dict[str, int] = {}
        self._paths: dict[str, Path] = {}
        self._maps: dict[str, npt.NDArray[np.uint8]] = {}

    def check(self, tensor: onnx.TensorProto, expected: int) -> None:
        """Check that the `expected` bytes of `tensor` can be read.

        Raises:
            NoSuchFile: the file is not there.
            InvalidArgument: its path leaves the model's folder, or the model has no folder.
            InvalidGraph: the location, offset or length make no sense, or the file is too short.
            Fail: files in memory were given, and this one is not among them.
        """
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        if not location:
            raise InvalidGraph(f"tensor '{tensor.name}' has external data, but no location to find it at")
        offset = _number(tensor.name, entries, "offset", 0)
        length = _number(tensor.name, entries, "length", expected)
        size = self._size(tensor.name, location)
        where = f"external data of tensor '{tensor.name}' in '{self._paths.get(location, location)}'"
        if length != expected:
            raise InvalidGraph(f"{where}: shape and type need {expected} bytes, its length entry says {length}; export the model again")
        if offset + length > size:
            found = max(size - offset, 0)
            raise InvalidGraph(
                f"{where}: expected {length} bytes from offset {offset}, found {found} (the file has {size}); "
                "the file is truncated or belongs to another model"
            )

    def bytes_of(self, location: str, offset: int, length: int) -> npt.NDArray[np.uint8]:
        """A read-only view of a file that `check` has accepted; the file is mapped once for all of its tensors."""
        if length == 0:
            return np.empty(0, np.uint8)
        content = self._in_memory.get(location)
        if content is not None:
            return content[offset : offset + length]
        if location not in self._maps:
            self._maps[location] = np.memmap(self._paths[location], np.uint8, "r")
        return self._maps[location][offset : offset + length]

    def _size(self, tensor: str, location: str) -> int:
        content = self._in_memory.get(location)
        if content is not None:
            return content.size
        if self._in_memory.replaces_files:
            raise Fail(f"External file: {location} not found from the table user provided. Tensor '{tensor}' needs it; add it too")
        if location not in self._sizes:
            path = self._resolve(tensor, location)
            self._paths[location] = path
            self._sizes[location] = path.stat().st_size
        return self._sizes[location]

    def _resolve(self, tensor: str, location: str) -> Path:
        if self._folder is None:
            raise InvalidArgument(
                f"tensor '{tensor}' has external data in '{location}', but the model was not loaded from a file, "
                "so there is no folder to look in; give the model's path instead"
            )
        return path_within(self._folder, location, f"external data of tensor '{tensor}'")


def path_within(folder: Path, location: str, what: str) -> Path:
    """The file that `location` names, with all links resolved.

    Args:
        folder: the model's.
        location: as the model says it.
        what: lies there; for messages.

    Raises:
        NoSuchFile: it is not there.
        InvalidArgument: it lies outside of the model's folder.
    """
    if os.path.isabs(location) or Path(location).is_absolute() or ".." in location.replace("\\", "/").split("/"):
        raise InvalidArgument(f"{what}: '{location}' leaves the model's folder '{folder}'; refused")
    path = folder / location
    if "\0" in location or not path.is_file():
        raise NoSuchFile(f"{what} is not there: expected '{location}' in '{folder}'; put it beside the model")
    target = path.resolve()
    if not target.is_relative_to(folder.resolve()) and not _in_same_cache(folder, target):
        raise InvalidArgument(
            f"{what}: '{path}' is a link to '{target}', outside of the model's folder; refused: copy the file, or use a hard link"
        )
    return target


def _in_same_cache(folder: Path, target: Path) -> bool:
    """True if `folder` is in `<repository>/snapshots/<revision>` of a Hugging Face cache, and `target` in its blobs."""
    for snapshots in folder.parents:
        if snapshots.name == "snapshots":
            return target.parent == (snapshots.parent / "blobs").resolve()
    return False


def _number(tensor: str, entries: Mapping[str, str], key: str, default: int) -> int:
    text = entries.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise InvalidGraph(f"external data of tensor '{tensor}': {key} is '{text}', expected a number of bytes")
    return int(text)
