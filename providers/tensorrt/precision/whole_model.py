"""A whole model as a segment's model, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.model_file.operation_proto import CutModel, add_constant

if TYPE_CHECKING:
    import onnx


def cut_of(model: onnx.ModelProto) -> CutModel:
    """`model` with its constants as initializers, and the large ones beside it.

    Args:
        model: with its data loaded; not changed.
    """
    import onnx
    from onnx import numpy_helper

    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    weights: dict[str, np.ndarray] = {}
    initializers, nodes = list(model.graph.initializer), []
    for node in model.graph.node:
        value = _value_of(node)
        if value is None:
            nodes.append(node)
        else:
            initializers.append(numpy_helper.from_array(value, node.output[0]))
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(nodes)
    for tensor in initializers:
        if tensor.data_type == onnx.TensorProto.STRING:
            proto.graph.initializer.add().CopyFrom(tensor)
        else:
            add_constant(proto.graph, weights, tensor.name, numpy_helper.to_array(tensor))
    return CutModel(proto, weights)


def rewritten(model: onnx.ModelProto | bytes | str) -> CutModel:
    """A whole model as a session cuts its segments: loaded, rewritten, its constants folded.

    Args:
        model: or its bytes, or its path.

    Raises:
        OnnxGpuError: it cannot be loaded.
    """
    import tempfile
    from pathlib import Path

    import onnx

    from onnxgpu.options import SessionOptions
    from onnxgpu.session import InferenceSession

    with tempfile.TemporaryDirectory() as folder:
        options = SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "rewritten.onnx")
        InferenceSession(
            model.SerializeToString() if isinstance(model, onnx.ModelProto) else model, options, providers=["CPUExecutionProvider"]
        )
        return cut_of(onnx.load(options.optimized_model_filepath))


def joined(model: CutModel) -> onnx.ModelProto:
    """The model with all weights inside.

    Raises:
        ValueError: it is larger than the 2 GB that protobuf holds.
    """
    import onnx
    from onnx import numpy_helper

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in model.weights:
            tensor.CopyFrom(numpy_helper.from_array(model.weights[tensor.name], tensor.name))
    return proto


def _value_of(node: onnx.NodeProto) -> np.ndarray | None:
    """The elements that a `Constant` node gives; None for other nodes, and for strings and sparse tensors."""
    from onnx import numpy_helper

    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    for held in node.attribute:
        if held.name == "value" and held.t.data_type != 8:
            return np.asarray(numpy_helper.to_array(held.t))
        if held.name in ("value_float", "value_floats"):
            return np.array(held.f if held.name == "value_float" else list(held.floats), np.float32)
        if held.name in ("value_int", "value_ints"):
            return np.array(held.i if held.name == "value_int" else list(held.ints), np.int64)
    return None
