"""Shapes of an engine's tensors for given input shapes, by onnxgpu's own stages: declare, fold what is constant then, infer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx

from onnxgpu.loading import evaluator
from onnxgpu.model_file import infer_types, load
from onnxgpu.rewrite import rewrite

if TYPE_CHECKING:
    from onnxgpu.provider import Provider

Shape = tuple[int, ...]

_MOST_CONSTANT = 1024
"""Elements; larger constants decide no shapes, and are not looked at."""

_MOST_REMEMBERED = 64
_REWRITES = 1
"""The level that folds constants and removes what has no effect."""


def host_providers() -> list[Provider]:
    """Those that every machine has, fresh."""
    from onnxgpu.discovery import providers

    return [provider() for provider in providers().values() if provider.fallback or provider.last_resort]


class Shapes:
    """Infers the shapes of one model; remembers what it found.

    Args:
        model: its initializers may be without data where they have many elements.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = _outline(model)
        self._providers = host_providers()
        self._remembered: dict[object, dict[str, Shape | None]] = {}

    def of(self, shapes: Mapping[str, Shape], values: Mapping[str, np.ndarray]) -> Mapping[str, Shape | None]:
        """Every value's shape that is left in the graph, -1 where a size is not known before the engine runs; None: the rank is not.

        Args:
            shapes: of all inputs.
            values: of the inputs that are shape tensors.

        Raises:
            OnnxGpuError: the shapes do not go together.
        """
        key = (tuple(sorted(shapes.items())), tuple((name, value.tobytes()) for name, value in sorted(values.items())))
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = self._inferred(shapes, values)
        return found

    def _inferred(self, shapes: Mapping[str, Shape], values: Mapping[str, np.ndarray]) -> dict[str, Shape | None]:
        proto = onnx.ModelProto()
        proto.CopyFrom(self._model)
        inputs = list(proto.graph.input)
        del proto.graph.input[:]
        for info in inputs:
            if info.name in values:
                proto.graph.initializer.append(onnx.numpy_helper.from_array(values[info.name], info.name))
                continue
            if info.name in shapes:
                code = info.type.tensor_type.elem_type
                info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, code, shapes[info.name]))
            proto.graph.input.append(info)
        loaded = load(proto)
        infer_types(loaded.model)
        rewrite(loaded.model, level=_REWRITES, evaluate=evaluator(loaded.model, self._providers, lambda: None))
        infer_types(loaded.model)
        graph = loaded.model.graph
        everything = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs), *graph.outputs]
        return {value.name or "": _shape(value.shape) for value in everything}


def _shape(shape: Iterable[object] | None) -> Shape | None:
    return None if shape is None else tuple(size if isinstance(size, int) else -1 for size in shape)


def _may_decide(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location != onnx.TensorProto.EXTERNAL and prod(tensor.dims) <= _MOST_CONSTANT


def _outline(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large constants as inputs, and without the types that were inferred for other shapes."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    del proto.graph.value_info[:]
    kept = [tensor for tensor in proto.graph.initializer if _may_decide(tensor)]
    large = [tensor for tensor in proto.graph.initializer if not _may_decide(tensor)]
    names = {tensor.name for tensor in proto.graph.initializer}
    inputs = [info for info in proto.graph.input if info.name not in names]
    del proto.graph.initializer[:]
    del proto.graph.input[:]
    proto.graph.initializer.extend(kept)
    proto.graph.input.extend(inputs)
    proto.graph.input.extend(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in large)
    for info in proto.graph.output:
        if info.type.tensor_type.HasField("shape"):
            info.type.tensor_type.ClearField("shape")
    return proto
