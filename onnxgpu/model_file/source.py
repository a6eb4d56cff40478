"""Where the bytes of a model come from, and what they are if they are not a model."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onnxgpu.errors import InvalidArgument, InvalidProtobuf, NoSuchFile, OnnxGpuError

if TYPE_CHECKING:
    import onnx

PARSING_FAILED = "Failed to load model because protobuf parsing failed."
_PROTOBUF_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of a model, open for reading, and the folder in which its external data may lie.

    `folder` is None for a model that came as bytes or as a `ModelProto`: such a model has no external data.
    """

    data: memoryview
    path: Path | None = None
    folder: Path | None = None
    file: io.FileIO | None = None

    @property
    def name(self) -> str:
        """The path, or what stands for it in messages."""
        return str(self.path) if self.path else "the model given as bytes"

    def release_pages(self) -> None:
        """Give back the memory of the pages read so far through the mapping; they can be read again."""
        mapping = self.data.obj
        if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)

    def read(self, offset: int, length: int) -> npt.NDArray[np.uint8]:
        """Bytes `offset…` as an aligned array of their own.

        The mapping is not used for this: a file that is rewritten while a session is alive must not change its weights
        (or end the process, as touching a mapped page of a truncated file does).
        """
        array = np.empty(length, np.uint8)
        if self.file is None:
            array[:] = np.frombuffer(self.data, np.uint8, length, offset)
            return array
        self.file.seek(offset)
        target = memoryview(array.data)
        while target:
            count = self.file.readinto(target)
            if not count:
                raise InvalidProtobuf(f"{PARSING_FAILED} {self.name} was truncated while it was read")
            target = target[count:]
        return array


@contextmanager
def opened(source: str | os.PathLike[str] | bytes | bytearray | memoryview | onnx.ModelProto) -> Iterator[Source]:
    """Open a path, bytes or a `ModelProto`; a file is mapped, not read.

    Raises:
        NoSuchFile: there is no such file.
        InvalidArgument: it is a directory, or empty.
        TypeError: `source` is none of the accepted types.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield Source(memoryview(source).cast("B"))
    elif isinstance(source, (str, os.PathLike)):
        with _mapped(source) as opened_source:
            yield opened_source
    elif type(source).__name__ == "ModelProto" and hasattr(source, "SerializeToString"):
        yield Source(memoryview(_serialized(source)))
    else:
        raise TypeError(f"Unable to load from type '{type(source)}'")


@contextmanager
def _mapped(path: str | os.PathLike[str]) -> Iterator[Source]:
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"Unable to load from type '{type(path)}' that stands for a path of bytes; give a str")
    if os.path.isdir(text):
        raise InvalidArgument(f"Load model from {text} failed: it is a directory, expected an .onnx file in it")
    try:
        file = open(text, "rb", buffering=0)  # noqa: SIM115
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoSuchFile(f"Load model from {text} failed:Load model {text} failed. File doesn't exist") from error
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"Load model from {text} failed: the file cannot be opened: {error}") from error
    absolute = Path(os.path.abspath(text))
    with file:
        if os.fstat(file.fileno()).st_size == 0:
            yield Source(memoryview(b""), Path(text), absolute.parent)
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping, memoryview(mapping) as data:
            yield Source(data, Path(text), absolute.parent, file)


def _serialized(model: Any) -> bytes:
    size = model.ByteSize()
    if size > _PROTOBUF_LIMIT:
        raise InvalidArgument(
            f"The ModelProto is {size} bytes, more than the 2 GiB that protobuf can serialize; "
            "save it with onnx.save(model, path, save_as_external_data=True) and load the path"
        )
    return bytes(model.SerializeToString())


def not_a_model(source: Source, cause: str) -> OnnxGpuError:
    """The error for bytes that are no ONNX protobuf: says what they look like, and what to do."""
    return InvalidProtobuf(f"{PARSING_FAILED} {source.name}: {_what_it_is(source.data) or cause}")


def _what_it_is(data: memoryview) -> str:
    head = bytes(data[:256])
    text = head.lstrip()
    if head[4:8] == b"ORTM":
        return "this is onnxruntime's own .ort format (flatbuffers); load the .onnx file it was made from"
    if text.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository"
    if text[:1] == b"{":
        return "this is JSON text; expected binary protobuf (onnx.load(path, format='json') reads JSON, save it as .onnx)"
    if text[:9].lower() == b"<!doctype" or text[:5].lower() == b"<html":
        return "this is an HTML page, most likely an error or login page saved in place of the download"
    if text[:2] == b"PK":
        return "this is a ZIP archive (as PyTorch's .pt files are); expected an ONNX file: unpack it or export it"
    if text[:1] == b"<" and b"ir_version" in head:
        return "this is ONNX text; expected binary protobuf (onnx.parser.parse_model(text) reads it, save it as .onnx)"
    if text.startswith((b"ir_version:", b"producer_name:", b"graph {")):
        return "this is protobuf text; expected binary protobuf (onnx.load(path, format='textproto') reads it, save it as .onnx)"
    return ""


def recognised(data: memoryview) -> bool:
    """True if the bytes are a known format that is not an ONNX protobuf (some of these parse as an empty protobuf)."""
    return bool(_what_it_is(data))
