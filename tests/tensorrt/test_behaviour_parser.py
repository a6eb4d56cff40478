"""What the stand-in's parser takes and refuses, in TensorRT's words, and how it groups the nodes of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.tensorrt.engines import TWICE, Run, Trt, model_of, twice

EXTERNAL = onnx.TensorProto.EXTERNAL


def parser_of(trt: Trt) -> tuple[Any, Any]:
    network = trt.Builder(trt.logger).create_network()
    return network, trt.OnnxParser(network, trt.logger)


def told(trt: Trt, model: onnx.ModelProto) -> list[tuple[int, str, str]]:
    """Node, operator and description of each error."""
    _, parser = parser_of(trt)
    assert not parser.parse(model.SerializeToString())
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return [(error.node(), error.node_operator(), error.desc()) for error in errors]


def test_a_network(trt: Trt) -> None:
    network, parser = parser_of(trt)
    text = "g (float[n,3] x, int64[2] s) => (float[a,b] y) { t = Relu (x)\n  y = Reshape (t, s) }"
    assert parser.parse(model_of(text).SerializeToString())
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    assert [(each.name, tuple(each.shape), each.dtype.name) for each in inputs] == [("x", (-1, 3), "FLOAT"), ("s", (2,), "INT64")]
    assert [each.is_shape_tensor for each in inputs] == [False, True]
    assert [each.location.name for each in inputs] == ["DEVICE", "HOST"]
    assert inputs[0].get_dimension_name(0) == "n"
    assert network.num_layers == 2 and network.get_layer(1).num_inputs == 2
    assert ("WARNING", "Make sure input s has Int64 binding.") in trt.lines
    assert network.get_output(0).name == "y" and network.get_output(0).is_network_output and network.get_output(1) is None
    assert parser.get_layer_output_tensor(network.get_layer(0).name, 0).name == "t"


@pytest.mark.parametrize(
    ("text", "node", "words"),
    [
        ("g (double[2] x) => (double[2] y) { y = Neg (x) }", -1, "Failed to convert ONNX date type"),
        ("g (string[2] x) => (string[2] y) { y = Identity (x) }", -1, "Failed to convert ONNX date type"),
        ("g (uint16[2] x) => (uint16[2] y) { y = Identity (x) }", -1, "Failed to convert ONNX date type"),
        ("g (bool[2] x) => (bool[2] y) { y = Concat <axis = 0> (x)\n z = Relu (y) }", 1, "Found invalid input type of BOOL"),
        ("g (float[2] x) => (double[2] y) { y = Cast <to = 11> (x) }", 0, "Unsupported data type for the Cast operator!"),
        ("g (float[2,2] x) => (float y) { y = Det (x) }", 0, "Plugin not found, are the plugin name, version, and namespace correct?"),
        ("g (float[2,2] x, int64[1] a) => (float[n,m] y) { y = ReduceSum (x, a) }", 0, "ReduceSum: `axes` must be an initializer."),
        ("g (float[1,1,4,4] x) => (y, i) { y, i = MaxPool <kernel_shape = [2,2]> (x) }", 0, "indices output in MaxPool"),
        ("g (float[1,1,4,4] x) => (y) { y = MaxPool <kernel_shape = [2,2], dilations = [2,2]> (x) }", 0, "dilations other than 1"),
        ("g (float[n,4] x) => (y) { y = EyeLike (x) }", 0, "`input` must have static dimensions"),
        ("g (float[4] x) => (y) { y = Add (x, k) }", 0, "Node input was not registered."),
        ("g (float[4] x) => (y) <int64[1] k = {2}> { y, i = TopK <sorted = 0> (x, k) }", 0, "TopK: `sorted` must be 1."),
        ("g (float[4] x) => (y) <int64[1] k = {4000}> { y, i = TopK (x, k) }", 0, "K values of 3840"),
        ("g (float[4] x) => (y) <float s = {1.0}, uint8 z = {3}> { y = QuantizeLinear (x, s, z) }", 0, "non-zero zero point"),
        ("g (float[1,1,4,4] x, float[4] s) => (y) { y = Resize (x, , s) }", 0, "`scales` must be an initializer."),
        ("g (float a, float b, float c) => (y) { y = Range (a, b, c) }", -1, "must be of type INT32 or INT64"),
    ],
)
def test_refusals(trt: Trt, text: str, node: int, words: str) -> None:
    found = told(trt, model_of(text))
    assert any(number == node and words in description for number, _, description in found), found
    assert trt.errors()


def test_an_error_tells_its_node(trt: Trt) -> None:
    _, parser = parser_of(trt)
    model = model_of("g (float[2,2] x) => (float y) { t = Relu (x)\n y = Det (t) }")
    model.graph.node[1].name = "determinant"
    assert not parser.parse(model.SerializeToString())
    error = parser.get_error(0)
    assert (error.node(), error.node_name(), error.node_operator()) == (1, "determinant", "Det")
    assert error.code() == trt.ErrorCode.UNSUPPORTED_NODE and error.local_function_stack_size() == 0
    assert str(error).startswith("In node 1 with name: determinant and operator: Det ")
    parser.clear_errors()
    assert parser.num_errors == 0 and parser.get_error(0) is None


def test_no_model(trt: Trt) -> None:
    _, parser = parser_of(trt)
    assert not parser.parse(b"\xff\xff\xff")
    assert parser.get_error(0).code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED
    assert not parser.parse_from_file("/nowhere/model.onnx")


def test_operators_by_version(trt: Trt) -> None:
    _, parser = parser_of(trt)
    assert parser.supports_operator("Conv") and not parser.supports_operator("Unique")
    assert parser.supports_operator("Swish") == (trt.version == "11.4")
    from onnxgpu.providers.tensorrt.stand_in.operators import operators

    assert len(operators()) == (150 if trt.version == "10.13" else 155)


def groups(trt: Trt, model: onnx.ModelProto) -> tuple[bool, list[tuple[list[int], bool]]]:
    _, parser = parser_of(trt)
    answer = parser.supports_model_v2(model.SerializeToString())
    return answer, [(parser.get_subgraph_nodes(i), parser.is_subgraph_supported(i)) for i in range(parser.num_subgraphs)]


def test_a_supported_model_is_one_group(trt: Trt) -> None:
    model = model_of("g (float[4] x) => (float[4] y) { a = Relu (x)\n b = Neg (a)\n y = Exp (b) }")
    assert groups(trt, model) == (True, [([0, 1, 2], True)])


def test_an_unsupported_node_parts_the_groups(trt: Trt) -> None:
    model = model_of("g (float[2,2] x) => (y) { a = Relu (x)\n b = Neg (a)\n c = Det (b)\n y = Exp (c) }")
    assert groups(trt, model) == (False, [([0, 1], False), ([3], False)])


def test_readers_of_a_refused_input_are_left_out(trt: Trt) -> None:
    model = model_of("g (float[2] x, double[2] d) => (y, z) { a = Relu (x)\n z = Neg (d)\n y = Exp (a) }")
    assert groups(trt, model) == (False, [([0], False), ([2], False)])


def test_one_error_at_a_time(trt: Trt) -> None:
    """As NVIDIA's parser does: the groups are cut at the last node with an error alone, so that callers have to ask again."""
    model = model_of("g (float[2,2] x) => (y) { a = Det (x)\n b = Relu (x)\n c = Unique (b)\n y = Exp (c) }")
    assert groups(trt, model) == (False, [([0, 1], False), ([3], False)])


def referenced(array: np.ndarray) -> onnx.ModelProto:
    model = model_of("g (float[2,8] x) => (float[2,8] y) { y = Add (x, w) }")
    model.graph.initializer.append(onnx.TensorProto(name="w", data_type=1, dims=array.shape, data_location=EXTERNAL))
    return model


def test_weights_by_reference(trt: Trt) -> None:
    weights = np.arange(16, dtype=np.float32).reshape(2, 8)
    network, parser = parser_of(trt)
    assert parser.load_model_proto(referenced(weights).SerializeToString())
    assert not parser.load_initializer("v", weights.ctypes.data, weights.nbytes)
    assert not parser.load_initializer("w", weights.ctypes.data, weights.nbytes - 4)
    assert "64 bytes, 60" in parser.get_error(1).desc()
    assert parser.load_initializer("w", weights.ctypes.data, weights.nbytes)
    assert parser.parse_model_proto() and network.num_layers == 1


def test_weights_that_nobody_gave(trt: Trt) -> None:
    network, parser = parser_of(trt)
    assert parser.load_model_proto(referenced(np.zeros((2, 8))).SerializeToString())
    assert not parser.parse_model_proto() and network.num_layers == 0
    assert "Failed to import initializer: w" in parser.get_error(0).desc()


def test_weights_in_files(trt: Trt, tmp_path: Any) -> None:
    weights = np.arange(16, dtype=np.float32).reshape(2, 8)
    (tmp_path / "w.bin").write_bytes(b"....." + weights.tobytes())
    model = referenced(weights)
    for key, value in (("location", "w.bin"), ("offset", "5"), ("length", "64")):
        model.graph.initializer[0].external_data.add(key=key, value=value)
    onnx.save(model, tmp_path / "m.onnx")
    network, parser = parser_of(trt)
    assert parser.parse_from_file(str(tmp_path / "m.onnx")) and network.num_layers == 1
    _, parser = parser_of(trt)
    assert not parser.parse(model.SerializeToString(), str(tmp_path / "elsewhere" / "m.onnx"))


def test_plugins_bring_operators(trt: Trt, tmp_path: Any) -> None:
    library = tmp_path / "plugin.so"
    library.write_text(TWICE)
    model = twice()
    assert told(trt, model)[0][2].startswith("Plugin not found")
    assert trt.get_plugin_registry().load_library(str(tmp_path / "missing.so")) is None
    handle = trt.get_plugin_registry().load_library(str(library))
    x = np.array([1, 2], np.float32)
    assert Run(trt, trt.engine(model), {"x": x}).results()[0].tolist() == [2, 4]
    network, parser = parser_of(trt)
    assert parser.parse(model.SerializeToString()) and network.num_layers == 1
    trt.get_plugin_registry().deregister_library(handle)
    assert told(trt, model)


def test_an_output_that_is_an_input(trt: Trt) -> None:
    model = model_of("g (float[2] x) => (float[2] x, float[2] y) { y = Neg (x) }")
    engine = trt.engine(model)
    assert (trt.names(engine, "INPUT"), trt.names(engine, "OUTPUT")) == (["__x"], ["x", "y"])
    x, y = Run(trt, engine, {"__x": np.array([1, 2], np.float32)}).results()
    assert x.tolist() == [1, 2] and y.tolist() == [-1, -2]


def test_outputs_are_marked_and_unmarked(trt: Trt) -> None:
    builder, network, parser = trt.parsed(model_of("g (float[2] x) => (float[2] y) { t = Exp (x)\n y = Neg (t) }"))
    network.mark_output(parser.get_layer_output_tensor(network.get_layer(0).name, 0))
    network.unmark_output(network.get_output(0))
    engine = trt.runtime.deserialize_cuda_engine(builder.build_serialized_network(network, builder.create_builder_config()))
    assert trt.names(engine, "OUTPUT") == ["t"]
    assert Run(trt, engine, {"x": np.zeros(2, np.float32)}).results()[0].tolist() == [1, 1]


def test_the_parsers_own_version(trt: Trt) -> None:
    assert trt.get_nv_onnx_parser_version() == 100
