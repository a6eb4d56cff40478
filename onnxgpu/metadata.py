"""What a session tells of its model: inputs, outputs, and where the model comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeArg:
    """A graph input or output: its name, onnxruntime's type string, and its shape (ints, symbols, None)."""

    name: str
    type: str
    shape: list[int | str | None] | None

    def __str__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape!r})"


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The model file's own words about itself."""

    custom_metadata_map: dict[str, str]
    description: str
    domain: str
    graph_description: str
    graph_name: str
    producer_name: str
    version: int
