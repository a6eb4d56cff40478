"""A segment as TensorRT's network: the parser reads the model's text from memory, and large weights where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.errors import EPFail
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.tensorrt.library import major, tensorrt, version
from onnxgpu.providers.tensorrt.messages import Told, made, trt_logger

if TYPE_CHECKING:
    import onnx

MOST_EMBEDDED_BYTES = 2_000_000_000
"""A model in one piece is less than this: protobuf ends at 2 GiB."""

OF_NO_NODE = -1
"""The position that the parser gives where it found fault with no node in particular."""

UNKNOWN = -1
"""How TensorRT writes a dimension that is not known beforehand."""


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """An input of a network.

    Attributes:
        name: as in the model.
        shape: `UNKNOWN` where it differs from run to run.
        is_shape_tensor: its values decide shapes, so that TensorRT reads it on the host.
    """

    name: str
    shape: tuple[int, ...]
    is_shape_tensor: bool

    @property
    def is_dynamic(self) -> bool:
        """True if a profile has to say how large it gets."""
        return UNKNOWN in self.shape


class Network:
    """A parsed network, with all that it refers to: its builder, the parser and the weights.

    Args:
        model: the segment.
        told: hears TensorRT meanwhile.

    Raises:
        ParserRefusal: the parser does not take the model.
    """

    def __init__(self, model: CutModel, told: Told) -> None:
        trt = tensorrt()
        self.builder = made(trt.Builder)
        self.definition = empty_network(self.builder)
        self._parser = trt.OnnxParser(self.definition, trt_logger())
        self._model = model
        if not parse(self._parser, model):
            raise ParserRefusal(errors_of(self._parser), told)

    def inputs(self) -> list[NetworkInput]:
        """The inputs that the network kept, in order."""
        tensors = [self.definition.get_input(index) for index in range(self.definition.num_inputs)]
        return [NetworkInput(tensor.name, tuple(tensor.shape), bool(tensor.is_shape_tensor)) for tensor in tensors]


def empty_network(builder: Any) -> Any:
    """An `INetworkDefinition` whose types are those of the model; from TensorRT 11 on there is no other kind."""
    strongly_typed = 1 << int(tensorrt().NetworkDefinitionCreationFlag.STRONGLY_TYPED) if major() < 11 else 0
    return builder.create_network(strongly_typed)


class ParserRefusal(EPFail):
    """TensorRT's parser does not take a model.

    Attributes:
        reasons: position of a node → the parser's words.
    """

    def __init__(self, reasons: dict[int, str], told: Told) -> None:
        super().__init__(f"TensorRT's parser does not take the segment: {'; '.join(reasons.values()) or told.reason()}")
        self.reasons = reasons


def parse(parser: Any, model: CutModel) -> bool:
    """Read `model`; weights by reference where this version of the parser can, so that they may have more than 2 GB."""
    if not model.weights or not takes_references(parser):
        return bool(parser.parse(embedded(model)))
    return (
        bool(parser.load_model_proto(model.proto.SerializeToString()))
        and all(parser.load_initializer(name, array.ctypes.data, array.nbytes) for name, array in model.weights.items())
        and bool(parser.parse_model_proto())
    )


def takes_references(parser: Any) -> bool:
    """Whether a parser, or one that refits, or the class, reads weights where they lie: from TensorRT 10.13 on."""
    return hasattr(parser, "load_initializer")


def excess(model: CutModel) -> str | None:
    """Why no parser of this version can be given the model; None if one can."""
    size = total_bytes(model)
    if size <= MOST_EMBEDDED_BYTES or takes_references(tensorrt().OnnxParser):
        return None
    return (
        f"a segment has {size:,} bytes of weights, and the parser of TensorRT {version()} takes no more than {MOST_EMBEDDED_BYTES:,} "
        "in one model: use TensorRT 10.13 or later"
    )


def embedded(model: CutModel) -> bytes:
    """The model in one piece.

    Raises:
        EPFail: it is too large for that.
    """
    import onnx

    if (reason := excess(model)) is not None:
        raise EPFail(reason)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        array = model.weights.get(tensor.name)
        if array is not None:
            _embed(tensor, array)
    content: bytes = proto.SerializeToString()
    return content


def total_bytes(model: CutModel) -> int:
    """Bytes of the weights that lie beside the model."""
    return sum(array.nbytes for array in model.weights.values())


def errors_of(parser: Any) -> dict[int, str]:
    """What the parser said: position of the node, or `OF_NO_NODE` → its words."""
    reasons: dict[int, list[str]] = {}
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        reasons.setdefault(int(error.node()), []).append(f"{error.desc()} ({error.code().name})")
    return {node: "; ".join(dict.fromkeys(words)) for node, words in reasons.items()}


def _embed(tensor: onnx.TensorProto, array: np.ndarray) -> None:
    from onnx import TensorProto

    tensor.ClearField("data_location")
    assert tensor.data_location == TensorProto.DEFAULT
    tensor.raw_data = array.tobytes()
