"""Small models that are fused, and what is needed to compare the results with and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, numpy_helper

import onnxgpu
from onnxgpu.fuse import expanded, fuse
from onnxgpu.model_file import infer_types, load
from onnxgpu.partition import parse_hints, partition
from onnxgpu.providers.cpu.provider import CPUProvider
from onnxgpu.providers.reference.provider import ReferenceProvider
from tests import models

Feeds = Mapping[str, np.ndarray]
TOLERANCES = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-5, "int32": 0.0}


def model(text: str, opset: int = 18, *, half: bool = False) -> onnx.ModelProto:
    """The model in ONNX text, at `opset`; `half` turns every float into a float16, constants rounded."""
    made = models.model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')
    if half:
        for value in (*made.graph.input, *made.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        for tensor in made.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    return made


@dataclass(frozen=True)
class Fused:
    """A fused graph: its operators in order, and the standard model it expands to."""

    operators: tuple[str, ...]
    standard: onnx.ModelProto


def fused(made: onnx.ModelProto, placement: str = "", level: int = 2) -> Fused:
    """`made`, placed on the host's providers and fused, but not rewritten."""
    loaded = load(made.SerializeToString(), known_domains=frozenset()).model
    infer_types(loaded)
    placed = fuse(loaded, partition(loaded, [CPUProvider(), ReferenceProvider()], parse_hints(placement)), level=level)
    return Fused(tuple(assignment.operation.operator for assignment in placed), ir.to_proto(expanded(loaded)))


def by_onnxgpu(made: onnx.ModelProto, feeds: Feeds, level: int, providers: Sequence[str] = ("CPUExecutionProvider",)) -> list[Any]:
    """The outputs of a third run, which is a fixed one."""
    options = onnxgpu.SessionOptions()
    options.graph_optimization_level = onnxgpu.GraphOptimizationLevel(level)
    session = onnxgpu.InferenceSession(made.SerializeToString(), options, providers=list(providers))
    return [session.run(None, feeds) for _ in range(3)][-1]


def by_onnxruntime(made: onnx.ModelProto, feeds: Feeds) -> list[Any]:
    """The outputs of onnxruntime, which changes nothing either."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return list(onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds))


def assert_close(found: Sequence[Any], wanted: Sequence[Any]) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        tolerance = TOLERANCES[str(b.dtype)]
        np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), tolerance, tolerance)


def feeds_of(made: onnx.ModelProto, batch: int = 2) -> dict[str, np.ndarray]:
    """Normal numbers; whole ones for integer inputs; every symbolic dimension is `batch`."""
    generator = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for value in made.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value or batch for d in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        scale = 1 if dtype.kind == "f" else 50
        found[value.name] = np.asarray(generator.standard_normal(shape) * scale).astype(dtype)
    return found
