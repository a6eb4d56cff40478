"""Type inference: everything that can be known, contradictions named, weights left alone."""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from onnxgpu.errors import Fail, InvalidGraph
from onnxgpu.model_file import infer_types, load
from tests.cases import Case
from tests.cases.contrib_layers import CASES
from tests.cases.oracles import expected_outputs, model_of
from tests.test_model_file import parsed

CONTRIB = '<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1, "mine" : 1]>\n'


def inferred(model: onnx.ModelProto) -> dict[str, str]:
    """Value name to dtype and shape, of all graphs."""
    loaded = load(model, known_domains={"com.microsoft", "mine"})
    infer_types(loaded.model)
    values = [o for graph in loaded.model.graphs() for node in graph for o in node.outputs]
    return {v.name or "": f"{v.dtype}{v.shape}" for v in values}


def test_shape_arithmetic_is_followed() -> None:
    types = inferred(
        parsed(
            """g (float[N,3,4] x) => (y) <int64[1] zero = {0}, int64[1] rest = {-1}> {
                s = Shape(x) n = Gather(s, zero) t = Concat <axis = 0> (n, rest) r = Reshape(x, t) y = Relu(r)
            }"""
        )
    )
    assert types["t"] == "INT64[2]"
    assert types["y"] == "FLOAT[N,None]"


def test_subgraphs() -> None:
    types = inferred(
        parsed(
            """g (float[2] x, bool b) => (z, l, w, o) <int64 n = {2}, bool c = {1}, float[5,2] s = {0,0,0,0,0,0,0,0,0,0}> {
                z = If(b) <then_branch = t () => (y) { y = Relu(x) }, else_branch = e () => (q) { q = Abs(x) }>
                l = Loop(n, c, x) <body = k (int64 i, bool c0, float[2] u) => (bool c2, v) { c2 = Identity(c0) v = Neg(u) }>
                w, o = Scan <num_scan_inputs = 1, body = m (p, r) => (p2, r2) { p2 = Add(p, r) r2 = Abs(p2) }> (x, s)
            }"""
        )
    )
    assert {types[n] for n in ("z", "y", "q", "v", "w", "p2", "r2")} == {"FLOAT[2]"}
    assert types["o"] == "FLOAT[5,2]"


def test_custom_operators_do_not_stop_inference() -> None:
    types = inferred(
        parsed(
            """g (float[B,S,8] x, float[8] w, float[8,5] v) => (y, k, q) {
                a = com.microsoft.Gelu(x)
                n, m, i, sum = com.microsoft.SkipLayerNormalization(a, x, w)
                t = SimplifiedLayerNormalization(sum, w)
                f = com.microsoft.FusedMatMul(t, v)
                y = Relu(f)
                u = com.microsoft.MatMulNBits <K = 8, N = 7, bits = 4, block_size = 16> (n, p, p)
                k = Relu(u)
                h = com.microsoft.FusedMatMul <transB = 1> (a, x)
                q = Softmax(h)
            }""".replace("float[8,5] v", "float[8,5] v, uint8[9] p"),
            CONTRIB,
        )
    )
    assert types["t"] == "FLOAT[B,S,8]"
    assert types["y"] == "FLOAT[B,S,5]"
    assert types["k"] == "FLOAT[B,S,7]"
    assert types["q"] == "FLOAT[B,S,S]"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_types_behind_layers_of_onnxruntime(case: Case) -> None:
    """Element types are right, and so are the dimensions that are known; those of RelativePositionBias are values of inputs."""
    loaded = load(model_of(case), known_domains={"com.microsoft"})
    infer_types(loaded.model)
    for output, expected in zip(loaded.model.graph.outputs, expected_outputs(case), strict=True):
        assert output.dtype is not None and output.dtype.numpy() == expected.dtype
        assert output.shape is not None and len(output.shape) == expected.ndim
        known = [wanted for wanted, size in zip(expected.shape, output.shape, strict=True) if isinstance(size, int)]
        assert known == [size for size in output.shape if isinstance(size, int)]


def test_unknown_operators_use_declared_types() -> None:
    types = inferred(
        parsed("g (float[2] x) => (y, z) <float[3] a> { a = mine.Op(x) y = Relu(a) b = mine.Op(x) c = Relu(b) z = Abs(x) }", CONTRIB)
    )
    assert types["y"] == "FLOAT[3]"
    assert types["c"] == "NoneNone"
    assert types["z"] == "FLOAT[2]"


def test_contradicting_shapes() -> None:
    with pytest.raises(
        Fail, match=r"Node \(sum\) Op \(Add\) \[ShapeInferenceError\] Incompatible dimensions.*x: FLOAT\[2\], y: FLOAT\[3\]"
    ):
        inferred(parsed("g (float[2] x, float[3] y) => (z) { [sum] z = Add(x, y) }"))


def test_contradicting_shapes_behind_a_custom_operator() -> None:
    with pytest.raises(Fail, match=r"Node \(sum\) Op \(Add\)"):
        inferred(parsed("g (float[2] x, float[3] y) => (z) { a = com.microsoft.Gelu(x) b = mine.Op(x) [sum] z = Add(a, y) }", CONTRIB))


def test_contradicting_shapes_in_a_subgraph() -> None:
    with pytest.raises(Fail, match=r"Node \(inner\) Op \(Add\).*gives y"):
        inferred(
            parsed(
                """g (float[2] x, float[3] w, bool b) => (z) {
                    z = If(b) <then_branch = t () => (y) { [inner] y = Add(x, w) }, else_branch = e () => (q) { q = Abs(x) }>
                }"""
            )
        )


def test_declared_element_type_contradicts() -> None:
    with pytest.raises(
        InvalidGraph, match=r"Type \(tensor\(int64\)\) of output arg \(z\) of node \(r\) does not match expected type \(tensor\(float\)\)"
    ):
        inferred(parsed("g (float[2] x) => (int64[2] z) { [r] z = Relu(x) }"))


@pytest.mark.parametrize("declared", ["float[3]", "float[2,2]"])
def test_stale_declared_shapes_are_replaced_with_a_warning(declared: str, caplog: pytest.LogCaptureFixture) -> None:
    types = inferred(parsed(f"g (float[2] x) => ({declared} z) <{declared} y> {{ y = Relu(x) z = Abs(y) }}"))
    assert types == {"y": "FLOAT[2]", "z": "FLOAT[2]"}
    assert "Relu" in caplog.text


def test_declared_shape_fills_what_cannot_be_inferred() -> None:
    types = inferred(parsed("g (float[2] x, int64[2] s) => (z) <float[N,7] y> { y = Reshape(x, s) z = Abs(y) }"))
    assert types["z"] == "FLOAT[N,7]"


def test_sequences_and_optionals() -> None:
    loaded = load(
        parsed("g (float[2] x) => (y, n) { s = SequenceConstruct(x, x) y = ConcatFromSequence <axis = 0> (s) n = SequenceLength(s) }")
    )
    infer_types(loaded.model)
    assert isinstance(next(iter(loaded.model.graph)).outputs[0].type, ir.SequenceType)
    assert loaded.outputs[1].type == "tensor(int64)"


def test_free_dimension_override_spreads() -> None:
    loaded = load(parsed("g (float[N,2] x) => (float[N,2] y) <float[N,2] r> { r = Relu(x) y = Abs(r) }"))
    loaded.model.graph.inputs[0].shape = ir.Shape([5, 2])
    infer_types(loaded.model)
    assert str(loaded.model.graph.outputs[0].shape) == "[5,2]"


def resnet_sized() -> onnx.ModelProto:
    nodes, weights, x = [], [], "x"
    for i in range(53):
        weights.append(numpy_helper.from_array(np.zeros((16, 16, 3, 3), "f"), f"w{i}"))
        weights += [numpy_helper.from_array(np.ones(16, "f"), f"{n}{i}") for n in "sbmv"]
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[1] * 4))
        nodes.append(helper.make_node("BatchNormalization", [f"c{i}", *(f"{n}{i}" for n in "sbmv")], [f"n{i}"]))
        nodes.append(helper.make_node("Relu", [f"n{i}"], [f"r{i}"]))
        x = f"r{i}"
    inputs, outputs = [helper.make_tensor_value_info("x", 1, ["N", 16, 32, 32])], [helper.make_tensor_value_info(x, 1, None)]
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, weights), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )


def test_fast_and_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(resnet_sized()).model
    seen: list[int] = []
    infer = onnx.shape_inference.infer_shapes

    def observed(proto: onnx.ModelProto, **options: bool) -> onnx.ModelProto:
        seen.append(proto.ByteSize())
        return infer(proto, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", observed)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        infer_types(model)
        seconds.append(time.process_time() - start)
    assert str(model.graph.outputs[0].shape) == "[N,16,32,32]"
    assert max(seen) < 100_000
    assert min(seconds) < 0.05


MAPS = '<ir_version: 10, opset_import: ["" : 20, "ai.onnx.ml" : 3]>\n'


@pytest.mark.parametrize("value_type", [onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE])
def test_operators_on_maps_do_not_end_the_process(value_type: int) -> None:
    """ONNX's inference reads the type of a map that is no longer there."""
    model = onnx.parser.parse_model(
        MAPS + 'g (float x, float z) => (y, w) { v = ai.onnx.ml.DictVectorizer <string_vocabulary = ["a", "b"]> (x) y = Neg(v) '
        'c = ai.onnx.ml.CastMap <cast_to = "TO_FLOAT"> (z) w = Neg(c) }'
    )
    for info, key_type in zip(model.graph.input, (onnx.TensorProto.STRING, onnx.TensorProto.INT64), strict=True):
        info.type.Clear()
        info.type.map_type.key_type = key_type
        info.type.map_type.value_type.tensor_type.elem_type = value_type
    assert inferred(model)["y"].startswith("FLOAT" if value_type == onnx.TensorProto.FLOAT else "DOUBLE")


def test_untyped_input_of_regex_full_match() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20, "mine" : 1]> g (string[3] x) => (z) { y = mine.Trim(x) '
        'm = RegexFullMatch <pattern = "a+"> (y) z = Not(m) }'
    )
    assert inferred(model)["z"].startswith("BOOL")


def test_types_that_only_the_schema_tells() -> None:
    """ONNX's inference has nothing for these operators; behind them it goes on."""
    model = parsed(
        """g (float[N, 3] x) => (y) {
            a = ai.onnx.ml.Scaler <offset = [0.0], scale = [2.0]> (x)
            b = ai.onnx.ml.Normalizer <norm = "L2"> (a)
            c = Exp (b)
            m = Less (b, c)
            y = Not (m)
        }"""
    )
    model.opset_import.add(domain="ai.onnx.ml", version=1)
    types = inferred(model)
    assert [types[name].partition("[")[0] for name in "abcmy"] == ["FLOATNone", "FLOATNone", "FLOATNone", "BOOLNone", "BOOLNone"]
