"""Engines out of models that have no weights of their own: these come from the ONNX model that the engine was built from."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxgpu
from onnxgpu.errors import EPFail, InvalidArgument, NoSuchFile
from onnxgpu.providers.segments.cache import head_of
from onnxgpu.session import InferenceSession
from tests.models import perceptron
from tests.tensorrt.sessions import CPU, CUDA, TENSORRT, check, rows, session

HEAD = len(head_of(b""))
"""Of a file of the engine cache: what is before the engine."""


@pytest.fixture
def weightless(tensorrt: ModuleType, tmp_path: Path) -> onnx.ModelProto:
    """As onnxruntime writes it: an engine of the perceptron without weights, and the name of the file that has them."""
    session(
        perceptron(2), trt_weight_stripped_engine_enable=True, trt_engine_cache_enable=True, trt_engine_cache_path=str(tmp_path / "cache")
    )
    (file,) = (tmp_path / "cache").glob("*.engine")
    node = helper.make_node(
        "EPContext",
        ["x"],
        ["y"],
        domain="com.microsoft",
        main_context=1,
        embed_mode=1,
        ep_cache_context=file.read_bytes()[HEAD:],
        source=TENSORRT,
        onnx_model_filename="perceptron.onnx",
    )
    ends = [helper.make_tensor_value_info(name, 1, [2, 64]) for name in "xy"]
    graph = helper.make_graph([node], "kept", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("com.microsoft", 1)], ir_version=10)


def loaded(proto: onnx.ModelProto, **options: Any) -> InferenceSession:
    given = {"trt_weight_stripped_engine_enable": True, **options}
    return onnxgpu.InferenceSession(proto.SerializeToString(), providers=[(TENSORRT, given), CUDA, CPU])


def test_weights_of_a_file(weightless: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(perceptron(2), tmp_path / "perceptron.onnx")
    check(loaded(weightless, trt_onnx_model_folder_path=str(tmp_path)), perceptron(2), {"x": rows(2)}, runs=2)


def test_weights_of_bytes(weightless: onnx.ModelProto) -> None:
    content = np.frombuffer(perceptron(2).SerializeToString(), np.uint8)
    options = {"trt_onnx_bytestream": content.ctypes.data, "trt_onnx_bytestream_size": content.nbytes}
    check(loaded(weightless, **options), perceptron(2), {"x": rows(2)}, runs=2)


@pytest.mark.parametrize("tells_length", [True, False])
def test_weights_of_bytes_with_external_data(weightless: onnx.ModelProto, tells_length: bool) -> None:
    proto = perceptron(2)
    data = b""
    for tensor in proto.graph.initializer:
        places = {"location": "data", "offset": len(data)} | ({"length": len(tensor.raw_data)} if tells_length else {})
        for key, value in places.items():
            tensor.external_data.add(key=key, value=str(value))
        data += tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
    content, weights = np.frombuffer(proto.SerializeToString(), np.uint8), np.frombuffer(data, np.uint8)
    options = {
        "trt_onnx_bytestream": content.ctypes.data,
        "trt_onnx_bytestream_size": content.nbytes,
        "trt_external_data_bytestream": weights.ctypes.data,
        "trt_external_data_bytestream_size": weights.nbytes,
    }
    check(loaded(weightless, **options), perceptron(2), {"x": rows(2)}, runs=2)
    with pytest.raises(InvalidArgument, match="'trt_external_data_bytestream_size' is 100, and initializer 'w0' ends at 16384"):
        loaded(weightless, **options | {"trt_external_data_bytestream_size": 100})


def test_weights_that_are_nowhere(weightless: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(EPFail, match="has no weights, and nothing says where they are: give trt_onnx_model_folder_path"):
        loaded(weightless)
    with pytest.raises(NoSuchFile, match=r"perceptron\.onnx', which has the weights .* is not there"):
        loaded(weightless, trt_onnx_model_folder_path=str(tmp_path / "elsewhere"))
    (attribute,) = [a for a in weightless.graph.node[0].attribute if a.name == "onnx_model_filename"]
    attribute.s = b"../perceptron.onnx"
    with pytest.raises(InvalidArgument, match=r"names its model '\.\./perceptron\.onnx', which is no file in trt_onnx_model_folder_path"):
        loaded(weightless, trt_onnx_model_folder_path=str(tmp_path / "cache"))


def test_weights_of_another_model(weightless: onnx.ModelProto, tmp_path: Path) -> None:
    other = perceptron(2)
    for tensor in other.graph.initializer:
        tensor.name = f"other_{tensor.name}"
    onnx.save(other, tmp_path / "perceptron.onnx")
    with pytest.raises(EPFail, match="TensorRT does not take the weights for"):
        loaded(weightless, trt_onnx_model_folder_path=str(tmp_path))
