"""Loading good models: sources, types, metadata, weights, and the forms that are brought into standard form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxgpu.model_file import array_of, load, wire
from onnxgpu.model_file.loaded import LoadedModel

HEADER = '<ir_version: 10, opset_import: ["" : 18]>\n'


def parsed(text: str, header: str = HEADER) -> onnx.ModelProto:
    return onnx.parser.parse_model(header + text)


def operators(loaded: LoadedModel) -> list[str]:
    return [node.op_type for node in loaded.model.graph]


def weight(loaded: LoadedModel, name: str) -> np.ndarray:
    tensor = loaded.model.graph.initializers[name].const_value
    assert tensor is not None
    return array_of(tensor)


def run_in_onnxruntime(model: onnx.ModelProto | ir.Model, feeds: dict[str, Any]) -> list[Any]:
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    return list(onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds))


def with_weight(array: np.ndarray) -> onnx.ModelProto:
    model = parsed("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    model.graph.initializer.append(numpy_helper.from_array(array, "w"))
    return model


def test_path_bytes_and_proto_give_the_same(tmp_path: Path) -> None:
    model = with_weight(np.arange(5000, dtype="f"))
    onnx.save(model, tmp_path / "m.onnx")
    before = model.SerializeToString()
    sources: list[Any] = [tmp_path / "m.onnx", str(tmp_path / "m.onnx"), before, bytearray(before), memoryview(before), model]
    for source in sources:
        loaded = load(source)
        np.testing.assert_array_equal(weight(loaded, "w"), np.arange(5000, dtype="f"))
        assert loaded.path == (Path(source) if isinstance(source, (str, Path)) else None)
    assert model.SerializeToString() == before


def test_values_metadata_and_opsets() -> None:
    model = parsed(
        "g (float[N,3] x, float[3,2] w) => (float[N,2] z) <float[3,2] w = {1,2,3,4,5,6}> { z = MatMul(x, w) }",
        '<ir_version: 10, opset_import: ["" : 18, "unused.domain" : 7], producer_name: "p", model_version: 7, domain: "d">',
    )
    model.metadata_props.add(key="k", value="v")
    model.doc_string, model.graph.doc_string = "doc", "gdoc"
    loaded = load(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for ours, theirs in (
        (loaded.inputs, session.get_inputs()),
        (loaded.outputs, session.get_outputs()),
        (loaded.overridable_initializers, session.get_overridable_initializers()),
    ):
        assert [(v.name, v.type, list(v.shape or ())) for v in ours] == [(v.name, v.type, v.shape) for v in theirs]
    assert loaded.inputs[0].dtype == np.float32
    meta = session.get_modelmeta()
    for name in ("custom_metadata_map", "description", "domain", "graph_description", "graph_name", "producer_name", "version"):
        assert getattr(loaded.metadata, name) == getattr(meta, name)
    assert loaded.opset_imports == {"": 18, "unused.domain": 7}


def test_initializers_that_are_inputs_of_an_old_model() -> None:
    model = parsed(
        "g (float[2] x, float[2] w) => (float[2] z) <float[2] w = {1,2}> { z = Add(x, w) }", '<ir_version: 3, opset_import: ["" : 8]>'
    )
    loaded = load(model)
    assert [v.name for v in loaded.inputs] == ["x"]
    assert [v.name for v in loaded.overridable_initializers] == ["w"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seq(tensor(int64))", "seq(tensor(int64))"),
        ("seq(map(int64, tensor(float)))", "seq(map(int64,tensor(float)))"),
        ("map(string, tensor(double))", "map(string,tensor(double))"),
        ("optional(seq(float))", "optional(seq(tensor(float)))"),
        ("optional(tensor(bfloat16))", "optional(tensor(bfloat16))"),
        ("sparse_tensor(float[3])", "sparse_tensor(float)"),
        ("string[2]", "tensor(string)"),
        ("float16[]", "tensor(float16)"),
        ("float8e4m3fn[2]", "tensor(float8e4m3fn)"),
        ("int4[2]", "tensor(int4)"),
    ],
)
def test_type_strings(text: str, expected: str) -> None:
    model = parsed("g (float[2] unused) => (float[2] y) { y = Relu(unused) }")
    spelled = text.replace("tensor(", "(") if text.startswith(("seq", "map", "optional")) else text
    model.graph.input.append(helper.make_value_info("x", type_proto(spelled)))
    loaded = load(model)
    assert loaded.inputs[1].type == expected
    assert (loaded.inputs[1].dtype is None) == (not expected.startswith("tensor"))


def type_proto(text: str) -> onnx.TypeProto:
    text = text.strip()
    kind, _, rest = text.partition("(")
    inner = rest.removesuffix(")")
    if kind == "seq":
        return helper.make_sequence_type_proto(type_proto(inner))
    if kind == "optional":
        return helper.make_optional_type_proto(type_proto(inner))
    if kind == "map":
        key, _, value = inner.partition(",")
        return helper.make_map_type_proto(TensorProto.DataType.Value(key.upper()), type_proto(value))
    if kind == "sparse_tensor":
        return helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [3])
    element = (inner if kind == "" else text).partition("[")[0].upper()
    return helper.make_tensor_type_proto(TensorProto.DataType.Value(element), [2])


def test_zip_map_classifier() -> None:
    """The output type that scikit-learn classifiers have by default, which onnx-ir cannot hold."""
    zip_map = helper.make_node("ZipMap", ["x"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    graph = helper.make_graph(
        [zip_map],
        "g",
        [helper.make_tensor_value_info("x", 1, [None, 2])],
        [helper.make_value_info("z", type_proto("seq(map(int64,(float)))"))],
    )
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)]))
    assert loaded.outputs[0].type == "seq(map(int64,tensor(float)))"
    assert loaded.model.graph.outputs[0].type is None


def test_missing_output_type_is_inferred() -> None:
    output = load(parsed("g (float[N,2] x) => (y) { y = Transpose(x) }")).outputs[0]
    assert (output.type, output.shape) == ("tensor(float)", (2, "N"))
    assert output.dtype == np.float32


def test_negative_and_empty_dimensions_are_unknown() -> None:
    model = parsed("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = ""
    loaded = load(model)
    assert loaded.inputs[0].shape == (None, None)


def test_sorts_unsorted_graphs_with_captured_values() -> None:
    model = parsed(
        """g (bool b, float[2] x) => (float[2] z) {
            z = If(b) <then_branch = t () => (float[2] y) { y = Relu(w) }, else_branch = e () => (float[2] q) { q = Relu(x) }>
            w = Abs(x)
        }"""
    )
    loaded = load(model)
    assert operators(loaded) == ["Abs", "If"]
    feeds = {"b": np.array(True), "x": np.array([-1, 2], "f")}
    np.testing.assert_array_equal(run_in_onnxruntime(loaded.model, feeds)[0], [1, 2])


def test_shadowed_names_become_unique() -> None:
    """The body's `x` is its own loop variable; the branch's `y` is not the outer `y`."""
    model = parsed(
        """g (bool b, float[2] x) => (float[2] z) <int64 n = {2}, bool c = {1}> {
            y = Abs(x)
            l = Loop(n, c, x) <body = t (int64 i, bool c1, float[2] x) => (bool c2, float[2] s) { c2 = Identity(c1) s = Add(x, y) }>
            z = If(b) <then_branch = t () => (float[2] y) { y = Neg(l) }, else_branch = e () => (float[2] q) { q = Neg(y) }>
        }"""
    )
    loaded = load(model)
    graphs = list(loaded.model.graphs())
    names = [v.name for g in graphs for v in (*g.inputs, *(o for n in g for o in n.outputs))]
    assert len(names) == len(set(names))
    feeds = {"b": np.array(True), "x": np.array([-1, 2], "f")}
    np.testing.assert_array_equal(run_in_onnxruntime(loaded.model, feeds)[0], [-1, -6])


def test_subgraph_may_return_an_outer_value() -> None:
    model = parsed(
        """g (bool b, float[2] x) => (float[2] z) {
            z = If(b) <then_branch = t () => (float[2] x) {}, else_branch = e () => (float[2] q) { q = Relu(x) }>
        }"""
    )
    x = np.array([-1, 2], "f")
    np.testing.assert_array_equal(run_in_onnxruntime(load(model).model, {"b": np.array(True), "x": x})[0], x)


def test_long_spelling_of_the_default_domain() -> None:
    model = parsed("g (float[2] x) => (float[2] y) { y = ai.onnx.Relu(x) }", '<ir_version: 10, opset_import: ["ai.onnx" : 18]>')
    loaded = load(model)
    assert [(n.domain, n.op_type) for n in loaded.model.graph] == [("", "Relu")]
    assert loaded.opset_imports == {"": 18}


@pytest.mark.parametrize("flat", [True, False])
def test_sparse_initializer_becomes_dense(flat: bool) -> None:
    model = parsed("g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
    values = numpy_helper.from_array(np.array([5, 7], "f"), "w")
    indices = np.array([1, 5], "int64") if flat else np.array([[0, 1], [1, 2]], "int64")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(indices, "i"), [2, 3]))
    np.testing.assert_array_equal(weight(load(model), "w"), [[0, 5, 0], [0, 0, 7]])


def test_sparse_constant_becomes_dense() -> None:
    values, indices = (numpy_helper.from_array(a, "w") for a in (np.array([5], "f"), np.array([1], "int64")))
    node = helper.make_node("Constant", [], ["y"], sparse_value=helper.make_sparse_tensor(values, indices, [3]))
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", 1, [3])])
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))
    constant = next(iter(loaded.model.graph)).attributes["value"].as_tensor()
    np.testing.assert_array_equal(array_of(constant), [0, 5, 0])


@pytest.mark.parametrize("size", [3, 4000])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("code", [code for code in range(1, 27) if code not in (TensorProto.STRING, TensorProto.FLOAT8E8M0)])
def test_every_element_type(code: int, raw: bool, size: int) -> None:
    """Small tensors go through protobuf, large ones around it; typed fields and raw bytes give the same."""
    dtype = helper.tensor_dtype_to_np_dtype(code)
    values = (np.arange(size) % 2).astype(dtype)
    if raw:
        tensor = numpy_helper.from_array(values, "w")
        tensor.data_type = code
    else:
        tensor = helper.make_tensor("w", code, [size], (np.arange(size) % 2).astype("f"))
    model = parsed("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    model.graph.initializer.append(tensor)
    array = weight(load(model), "w")
    assert array.dtype == dtype
    assert array.shape == (size,)
    np.testing.assert_array_equal(array.astype("c8"), np.arange(size) % 2)


def test_powers_of_two() -> None:
    """The type that has no zero."""
    import ml_dtypes

    values = np.array([1, 4, 0.5] * 1000).astype(ml_dtypes.float8_e8m0fnu)
    np.testing.assert_array_equal(weight(load(with_weight(values)), "w").astype("f"), values.astype("f"))


def test_strings() -> None:
    array = weight(load(with_weight(np.array([["a", "é"], ["", "b\0"]], object))), "w")
    assert array.dtype == object
    assert array.tolist() == [["a", "é"], ["", "b\0"]]


def test_large_tensors_everywhere() -> None:
    """Payloads are left out of parsing in initializers, attributes and subgraphs alike."""
    large = numpy_helper.from_array(np.arange(3000, dtype="f"), "k")
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=large), helper.make_node("Add", ["c", "w"], ["t"])],
        "t",
        [],
        [helper.make_tensor_value_info("t", 1, [3000])],
        [numpy_helper.from_array(np.full(3000, 2, "f"), "w")],
    )
    node = helper.make_node("If", ["b"], ["z"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("b", 9, [])], [helper.make_tensor_value_info("z", 1, [3000])])
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))
    np.testing.assert_array_equal(run_in_onnxruntime(loaded.model, {"b": np.array(True)})[0], np.arange(3000) + 2)


def test_weights_are_read_only_aligned_and_outlive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(with_weight(np.arange(5000, dtype="f")), path)
    array = weight(load(path), "w")
    path.write_bytes(b"")
    assert array.flags.aligned
    assert not array.flags.writeable
    assert array[-1] == 4999


def test_memory_of_a_large_model(tmp_path: Path) -> None:
    """Loading takes less than 1.3 times the file."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    path = tmp_path / "m.onnx"
    onnx.save(with_weight(np.zeros(30_000_000, "f")), path)
    script = (
        "import onnx, onnx_ir, onnx.shape_inference, sys\nfrom onnxgpu.model_file import load\n"
        "peak = lambda: next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
        "before = peak()\nloaded = load(sys.argv[1])\nprint((peak() - before) / 120e3)"
    )
    ratio = float(subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout)
    assert ratio < 1.3


def test_importing_the_stage_is_light() -> None:
    script = "import sys, onnxgpu.model_file; print([m for m in ('onnx', 'onnx_ir', 'google.protobuf') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_known_operators_and_domains() -> None:
    model = parsed("g (float[2] x) => (float[2] y) { y = mine.Twice(x) }", '<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>')
    assert operators(load(model, known_domains={"mine"})) == ["Twice"]
    assert operators(load(model, known_operators={("mine", "Twice")})) == ["Twice"]


def test_contrib_domain_without_import() -> None:
    loaded = load(parsed("g (float[2] x) => (float[2] y) { y = com.microsoft.Gelu(x) }"))
    assert loaded.opset_imports["com.microsoft"] == 1


def test_newer_ir_version_warns(caplog: pytest.LogCaptureFixture) -> None:
    load(parsed("g (float[2] x) => (float[2] y) { y = Relu(x) }", '<ir_version: 99, opset_import: ["" : 18]>'))
    assert "IR version 99" in caplog.text


def test_long_lists_of_numbers_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forest lists millions of nodes in attributes, which protobuf does not pack."""
    trees = onnx.helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", nodes_nodeids=list(range(5000)))
    trees.attribute.extend([onnx.helper.make_attribute("nodes_values", [0.5] * 5000), onnx.helper.make_attribute("modes", ["LEAF"] * 5000)])
    data = onnx.ModelProto(graph=onnx.GraphProto(node=[trees])).SerializeToString()
    read, real = [], wire._field

    def counted(data: memoryview, position: int, end: int) -> wire.Field:
        read.append(position)
        return real(data, position, end)

    monkeypatch.setattr(wire, "_field", counted)
    assert wire.without_payloads(memoryview(data), "payload") == data
    assert 0 < len(read) < 20
