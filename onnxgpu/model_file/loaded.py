"""What loading a model file gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.metadata import ModelMetadata

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class ValueType:
    """The declared type of a graph input, output or initializer.

    Attributes:
        name: the value's name.
        type: onnxruntime's spelling, `tensor(float)` or `seq(map(int64,tensor(float)))`; "" where nothing is declared.
        shape: an int, a symbol or None (unknown) for each dimension; None for an unknown rank and for non-tensors.
        dtype: the NumPy dtype of a dense tensor, else None.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...] | None
    dtype: np.dtype | None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checked model: functions inlined, nodes in topological order, each weight in memory at most once.

    Attributes:
        model: the graph. Weights inside the file are in arrays of their own; external data is mapped on first use.
        inputs: the graph inputs that have no initializer.
        outputs: the graph outputs.
        overridable_initializers: the graph inputs that have an initializer as their default.
        path: where the model was read from, or None.
        metadata: what the producer wrote about the model.
        opset_imports: version of each domain that is imported; "" is ai.onnx.
    """

    model: ir.Model
    inputs: tuple[ValueType, ...]
    outputs: tuple[ValueType, ...]
    overridable_initializers: tuple[ValueType, ...]
    path: Path | None
    metadata: ModelMetadata
    opset_imports: Mapping[str, int]
