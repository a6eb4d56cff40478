"""Memory of the library that the host may read."""

from __future__ import annotations

from typing import Any

from onnxgpu.providers.tensorrt.stand_in.element_types import data_type
from onnxgpu.providers.tensorrt.stand_in.registry import implements


@implements("IHostMemory")
class HostMemory:
    """Bytes, with Python's buffer protocol.

    Args:
        content: the bytes.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content

    @property
    def nbytes(self) -> int:
        """How many there are."""
        return len(self.content)

    @property
    def dtype(self) -> Any:
        """Of the elements: bytes."""
        return data_type("INT8")

    def __len__(self) -> int:
        return len(self.content)

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self.content)
