"""The three sides: onnxgpu in a whole session, onnxruntime, and `onnx.reference`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

import onnxgpu
from onnxgpu.dtypes import code_of, dtype_named, dtype_of, is_extended, is_integer
from tests.schemas.examples import Example, feeds_of, model_of
from tests.schemas.not_comparable import SAME_MEANING

CPU = "CPUExecutionProvider"
Side = Callable[[onnx.defs.OpSchema, Example], Sequence[Any]]


def ours(schema: onnx.defs.OpSchema, example: Example) -> Sequence[Sequence[Any]]:
    """The outputs of two runs: the first records, the second is fixed. The reference provider is left out.

    Raises:
        OnnxGpuError: the session or the run was refused.
    """
    model = with_output_types(model_of(schema, example))
    with mock.patch.dict(os.environ, ONNXGPU_PROVIDERS_DISABLED="reference"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = onnxgpu.InferenceSession(model.SerializeToString(), providers=[CPU])
        return [session.run(None, feeds_of(example)) for _ in range(2)]


def ort(schema: onnx.defs.OpSchema, example: Example) -> Sequence[Any]:
    """The outputs of onnxruntime. What its Python API cannot pass, extended element types, goes in and out by other types."""
    older = SAME_MEANING.get((schema.name, schema.since_version))
    schema = schema if older is None else onnx.defs.get_schema(schema.name, older, schema.domain)
    model = with_output_types(model_of(schema, example, lambda dtype: not is_extended(dtype)))
    widened = _widen_outputs(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
    names = {value.name for value in session.get_inputs()}
    results = session.run(None, {name: value for name, value in feeds_of(example).items() if name in names})
    with np.errstate(all="ignore"):
        return [r.astype(widened[o.name]) if o.name in widened else r for o, r in zip(model.graph.output, results, strict=True)]


def reference(schema: onnx.defs.OpSchema, example: Example) -> Sequence[Any]:
    """The outputs of `onnx.reference`."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = ReferenceEvaluator(with_output_types(model_of(schema, example))).run(None, feeds_of(example))
    return [np.asarray(r) if isinstance(r, np.generic) else r for r in results]


def with_output_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types of its outputs as ONNX infers them, but without their shapes."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:
        return model
    for value in inferred.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    return inferred


def output_dtypes(schema: onnx.defs.OpSchema, example: Example) -> list[np.dtype | None]:
    """The element types of the outputs as the schema or ONNX's inference says; None where they are no tensors, or not known."""
    formal = {f"y{i}": sorted(parameter.types) for i, parameter in enumerate(schema.outputs)}
    dtypes: list[np.dtype | None] = []
    for value in with_output_types(model_of(schema, example)).graph.output:
        code, types = value.type.tensor_type.elem_type, formal.get(value.name, [])
        only = types[0] if len(types) == 1 and types[0].startswith("tensor(") else None
        dtypes.append(dtype_of(code) if code else dtype_named(only[7:-1]) if only else None)
    return dtypes


def _widen_outputs(model: onnx.ModelProto) -> dict[str, np.dtype]:
    """Cast outputs of extended types to float or int8, which hold them exactly; gives their names and own types."""
    widened = {}
    for value in model.graph.output:
        code = value.type.tensor_type.elem_type
        if code and is_extended(dtype_of(code)):
            dtype = dtype_of(code)
            wide = code_of(np.dtype(np.int8 if is_integer(dtype) else np.float32))
            name, value.name = value.name, f"{value.name}_wide"
            model.graph.node.append(helper.make_node("Cast", [name], [value.name], to=wide))
            value.type.tensor_type.elem_type = wide
            widened[value.name] = dtype
    return widened
