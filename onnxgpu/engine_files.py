"""Where the engines of a model of compiled segments lie that are not in the model itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxgpu.ep_context import OrtEpContextDataBuffer
from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.model_file.external_data import path_within


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """The engines beside one model.

    Attributes:
        folder: of the model; None if it has none.
        read: fills a buffer with the engine of a name, in place of a file.
        most_bytes: that `read` may fill.
        keep: they may be wanted again, to be written into another model.
    """

    folder: Path | None = None
    read: Callable[[str, OrtEpContextDataBuffer], None] | None = None
    most_bytes: int = 0
    keep: bool = False

    def content(self, location: str, what: str) -> memoryview:
        """The bytes of the engine that a model names `location`; a file is mapped.

        Args:
            location: a path from the model's folder, or whatever `read` understands.
            what: is read; for messages.

        Raises:
            NoSuchFile: there is no such file.
            InvalidArgument: it lies outside of the model's folder, or the model has no folder.
            Fail: `read` fails, or fills nothing.
        """
        if self.read is not None:
            return memoryview(_given(self.read, location, self.most_bytes, what))
        if self.folder is None:
            raise InvalidArgument(
                f"{what} lies in '{location}', but the model was not loaded from a file, so there is no folder to look in; give the "
                "model's path instead, or its folder by the entry ep.context_file_path, or SessionOptions.set_ep_context_data_read_func"
            )
        path = path_within(self.folder, location, what)
        return np.memmap(path, np.uint8, "r").data if path.stat().st_size else memoryview(b"")


def _given(read: Callable[[str, OrtEpContextDataBuffer], None], name: str, most_bytes: int, what: str) -> bytes:
    buffer = OrtEpContextDataBuffer(most_bytes)
    try:
        read(name, buffer)
        return buffer.finish()
    except Exception as error:
        raise Fail(f"Python EPContext data read callback failed: {type(error).__name__}: {error} (for '{name}', {what})") from error
