"""Bounds of Clip that bound nothing, such as 3.4e38: without them the node has a form in small types."""

from __future__ import annotations

import numpy as np

from onnxgpu.model_file.operation_proto import CutModel

_BEYOND = float(np.finfo(np.float32).max)


def without_idle_bounds(model: CutModel) -> CutModel:
    """The model with no bound of Clip at or beyond the largest float32 number; the model itself if it has none.

    A Clip that is not given a bound takes the largest number of its type, so nothing but infinite elements comes out otherwise.
    """
    import onnx
    from onnx import numpy_helper

    others = {*model.weights, *(value.name for value in model.proto.graph.input)}
    scalars = {tensor.name: tensor for tensor in model.proto.graph.initializer if tensor.name not in others}
    idle = {
        (index, position)
        for index, node in enumerate(model.proto.graph.node)
        if node.op_type == "Clip" and node.domain in ("", "ai.onnx")
        for position in range(1, len(node.input))
        if (tensor := scalars.get(node.input[position])) is not None and _is_idle(numpy_helper.to_array(tensor), position)
    }
    if not idle:
        return model
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for index, position in idle:
        proto.graph.node[index].input[position] = ""
    return CutModel(proto, model.weights)


def _is_idle(bound: np.ndarray, position: int) -> bool:
    """True if the least (position 1) or the largest (2) number allowed is none that float32 leaves."""
    if bound.dtype != np.float32 or bound.size != 1:
        return False
    number = float(bound.reshape(-1)[0])
    return number <= -_BEYOND if position == 1 else number >= _BEYOND
