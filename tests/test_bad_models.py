"""Models that must not load: what is wrong is named, with the type of error onnxruntime's users catch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxgpu.errors import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile, NotImplemented, OnnxGpuError
from onnxgpu.model_file import infer_types, load
from onnxgpu.model_file.names import all_graphs
from tests.test_model_file import parsed

PARSING_FAILED = "Failed to load model because protobuf parsing failed."
GOOD = "g (float[2] x) => (float[2] y) { y = Relu(x) }"


def good_bytes() -> bytes:
    return bytes(parsed(GOOD).SerializeToString())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"garbage that is no protobuf", PARSING_FAILED),
        (b"\xff" * 300, "the number before byte 10 does not end"),
        (good_bytes()[:-5], "truncated"),
        (b"\x08\x0a\x3a", "truncated"),
        (b"\x18\x00\x00\x00ORTM" + bytes(100), "ort format.*load the .onnx file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "HTML page"),
        (b'{"irVersion": "10"}', "JSON text; expected binary protobuf"),
        (b'<ir_version: 10, opset_import: ["" : 18]>\ng (float[2] x)', "ONNX text.*onnx.parser.parse_model"),
        (b"ir_version: 10\ngraph {\n}\n", "protobuf text.*textproto"),
        (b"PK\x03\x04" + bytes(30), "ZIP archive"),
    ],
)
def test_bytes_that_are_no_model(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidProtobuf, match=words) as caught:
        load(data)
    assert caught.value.message.startswith(PARSING_FAILED)
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(InvalidProtobuf, match=r"m\.onnx.*" + words if words != PARSING_FAILED else "m.onnx"):
        load(tmp_path / "m.onnx")


def test_deeply_nested_message() -> None:
    payload = b""
    for _ in range(300):
        payload += bytes(600)
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            size, length = len(payload), b""
            while size > 127:
                length, size = length + bytes([size & 127 | 128]), size >> 7
            payload = tag + length + bytes([size]) + payload
        if len(payload) > 500_000:
            break
    with pytest.raises(InvalidProtobuf):
        load(b"\x08\x0a\x3a" + payload)


def test_every_truncation_is_an_error_of_ours() -> None:
    model = parsed("g (float[2] x) => (float[2] y) { y = Add(x, w) }")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(300, "f"), "w"))
    data = model.SerializeToString()
    for end in range(0, len(data), 7):
        with pytest.raises(OnnxGpuError):
            load(data[:end])


def test_random_damage_is_an_error_of_ours() -> None:
    """Damaged models load or raise an error of the tree; nothing else comes out."""
    model = parsed("g (float[300] x) => (float[300] y) { a = Add(x, w) y = Softmax <axis = 0> (a) }")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(300, "f"), "w"))
    data = np.frombuffer(model.SerializeToString(), np.uint8)
    random = np.random.default_rng(0)
    header = np.concatenate([np.arange(0, 110), np.arange(len(data) - 150, len(data))])
    for _ in range(300):
        damaged = data.copy()
        damaged[random.choice(header, 3)] = random.integers(0, 256, 3)
        with contextlib.suppress(OnnxGpuError):
            infer_types(load(damaged.tobytes()).model)


def test_empty_sources(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    for source in (b"", tmp_path / "m.onnx", onnx.ModelProto()):
        with pytest.raises(InvalidArgument, match=r"^.ONNXRuntimeError. : 2 : INVALID_ARGUMENT : No graph was found in the protobuf\.$"):
            load(source)


@pytest.mark.parametrize("source", [1, None, ["m.onnx"], onnx.GraphProto()])
def test_sources_of_the_wrong_type(source: Any) -> None:
    with pytest.raises(TypeError) as caught:
        load(source)
    assert str(caught.value) == f"Unable to load from type '{type(source)}'"


def test_missing_file() -> None:
    with pytest.raises(NoSuchFile) as caught:
        load("nope.onnx")
    expected = "[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model from nope.onnx failed:Load model nope.onnx failed. File doesn't exist"
    assert str(caught.value) == expected


def test_directory_and_unreadable_names(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"it is a directory, expected an \.onnx file"):
        load(tmp_path)
    with pytest.raises(InvalidArgument, match="cannot be opened"):
        load("m\0.onnx")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NoSuchFile):
        load(tmp_path / "file" / "m.onnx")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(good_bytes())
    (tmp_path / "m.onnx").chmod(0)
    with pytest.raises(InvalidArgument, match=r"cannot be opened: .*Permission"):
        load(tmp_path / "m.onnx")


GRAPHS = {
    "dangling input": (
        "g (float[2] x) => (float[2] z) { [n] z = Add(x, q) }",
        "Node input 'q' is not a graph input, initializer, or output.*Add node 'n'",
    ),
    "dangling input in a subgraph": (
        """g (bool b, float[2] x) => (float[2] z) {
            z = If(b) <then_branch = t () => (float[2] p) { p = Relu(q) }, else_branch = e () => (float[2] q) { q = Relu(x) }>
        }""",
        "Node input 'q' is not .*Relu node that gives 'p'",
    ),
    "cycle": (
        "g (float[2] x) => (float[2] z) { [m] a = Add(x, b) [n] b = Relu(a) z = Abs(b) }",
        "not acyclic: Add node 'm' <- Relu node 'n' <- Add node 'm'",
    ),
    "own output": ("g (float[2] x) => (float[2] z) { z = Add(x, z) }", "not acyclic: .*'z'"),
    "cycle through a subgraph": (
        """g (bool b, float[2] x) => (float[2] z) {
            [i] z = If(b) <then_branch = t () => (float[2] p) { p = Relu(w) }, else_branch = e () => (float[2] q) { q = Relu(x) }>
            [w] w = Abs(z)
        }""",
        "not acyclic: If node 'i' <- Abs node 'w' <- If node 'i'",
    ),
    "value given twice": (
        "g (float[2] x) => (float[2] z) { [m] z = Relu(x) [n] z = Abs(x) }",
        r"Duplicate definition of name \(z\).*'n'.*'m'",
    ),
    "output given twice by one node": ("g (float[2] x) => (float[2] z) { z, z = Dropout(x) }", r"Duplicate definition of name \(z\)"),
    "input overwritten": ("g (float[2] x) => (float[2] z) { x = Relu(x) z = Abs(x) }", r"Duplicate definition of name \(x\).*graph input"),
    "input twice": (
        "g (float[2] x, float[2] x) => (float[2] z) { z = Abs(x) }",
        r"Duplicate definition of name \(x\): it is a graph input twice",
    ),
    "initializer twice": (
        "g (float[2] x) => (float[2] z) <float[2] w = {1,2}, float[2] w = {1,2}> { z = Add(x, w) }",
        r"Duplicate definition of name \(w\): it is an initializer twice",
    ),
    "initializer overwritten": ("g (float[2] x) => (float[2] z) <float[2] w = {1,2}> { w = Relu(x) z = Abs(w) }", r"Duplicate .*\(w\)"),
    "output never given": ("g (float[2] x) => (float[2] z) { y = Abs(x) }", r"Graph output \(z\) does not exist in the graph"),
    "subgraph output never given": (
        """g (bool b, float[2] x) => (float[2] z) {
            z = If(b) <then_branch = t () => (float[2] p) { q = Relu(x) }, else_branch = e () => (float[2] q) { q = Relu(x) }>
        }""",
        r"Graph output \(p\) does not exist in the graph: no node of graph 't'",
    ),
    "too few inputs": ("g (float[2] x) => (float[2] y) { y = Add(x) }", r"input size 1 not in range \[min=2, max=2\]"),
    "too many inputs": ("g (float[2] x) => (float[2] y) { y = Relu(x, x) }", r"schema\(::Relu:14\) has input size 2 not in range"),
    "too many outputs": ("g (float[2] x) => (float[2] y) { y, w = Relu(x) }", "output size 2 not in range"),
    "attribute of the wrong type": (
        "g (float[2] x) => (float[2] y) { y = Softmax <axis = 1.5> (x) }",
        "axis'. Expected: 'INT', actual: 'FLOAT'",
    ),
    "unknown attribute": (
        "g (float[2] x) => (float[2] y) { y = Softmax <foo = 1> (x) }",
        "Unrecognized attribute: foo for operator Softmax",
    ),
    "missing attribute": ("g (float[2] x) => (float[2] y) { y = Cast(x) }", "Required attribute 'to' is missing"),
    "mistyped operator": (
        "g (float[2] x) => (float[2] y) { y = Relo(x) }",
        "No Op registered for Relo with domain_version of 18: .*did you mean Relu",
    ),
    "operator of a newer opset": ("g (float[2] x) => (float[2] y) { y = Gelu(x) }", "Gelu exists since opset 20; export"),
    "operator of another domain": ("g (float[2] x) => (float[2] y) { y = Normalizer(x) }", "operator of domain 'ai.onnx.ml'"),
    "domain without opset": ("g (float[2] x) => (float[2] y) { y = ai.onnx.ml.Normalizer(x) }", "No opset import for domain 'ai.onnx.ml'"),
    "unknown operator in a subgraph": (
        """g (bool b, float[2] x) => (float[2] z) {
            z = If(b) <then_branch = t () => (float[2] p) { p = Nope(x) }, else_branch = e () => (float[2] q) { q = Relu(x) }>
        }""",
        r'In Node, \("", Nope, "", -1\)',
    ),
    "initializer with too few values": (
        "g (float[2] x) => (float[2] z) <float[3] w = {1,2}> { z = Add(x, w) }",
        r"initializer 'w' with shape \[3\] and type float32 needs 3 values in float_data, found 2",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_invalid_graph(name: str) -> None:
    text, words = GRAPHS[name]
    with pytest.raises(InvalidGraph, match=words):
        load(parsed(text))


def test_unknown_operator_has_the_text_of_onnxruntime() -> None:
    with pytest.raises(InvalidGraph) as caught:
        load(parsed("g (float[2] x) => (float[2] y) { y = NoSuchOp(x) }"))
    expected = (
        '[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is an invalid model. In Node, ("", NoSuchOp, "", -1) : ("x": tensor(float),) -> '
        '("y": tensor(float),) , Error No Op registered for NoSuchOp with domain_version of 18'
    )
    assert str(caught.value).startswith(expected)


def test_deprecated_operator() -> None:
    header = '<ir_version: 10, opset_import: ["" : 10]>\n'
    with pytest.raises(InvalidGraph, match="Op registered for Upsample is deprecated in domain_version of 10"):
        load(parsed("g (float[1,1,2,2] x, float[4] s) => (y) { y = Upsample(x, s) }", header))


def test_unknown_domain() -> None:
    header = '<ir_version: 10, opset_import: ["" : 18, "foo" : 1]>\n'
    with pytest.raises(
        Fail, match=r"foo:Bar\(1\) is not a registered function/op: foo.Bar node 'n'; known domains are ai.onnx,.*register the operator"
    ):
        load(parsed("g (float[2] x) => (float[2] y) { [n] y = foo.Bar(x) }", header))


@pytest.mark.parametrize(("domain", "version"), [("", 99), ("ai.onnx.ml", 6)])
def test_opset_from_the_future(domain: str, version: int) -> None:
    node = helper.make_node("Normalizer" if domain else "Relu", ["x"], ["y"], domain=domain)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, [2])], [helper.make_tensor_value_info("y", 1, [2])])
    with pytest.raises(NotImplemented, match=f"opset {version} of domain '{domain or 'ai.onnx'}', the newest known here is "):
        load(helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, version)], ir_version=10))


def test_unused_opset_from_the_future_is_tolerated() -> None:
    load(parsed(GOOD, '<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 99]>'))


def test_one_domain_in_two_versions() -> None:
    with pytest.raises(InvalidGraph, match=r"domain 'ai\.onnx' is imported as opset 18 and as opset 17"):
        load(parsed(GOOD, '<ir_version: 10, opset_import: ["" : 18, "ai.onnx" : 17]>'))


def test_missing_opset_and_ir_version() -> None:
    model = parsed(GOOD)
    model.ClearField("opset_import")
    with pytest.raises(Fail, match="Missing opset in the model"):
        load(model)
    model = parsed(GOOD)
    model.ClearField("ir_version")
    with pytest.raises(Fail, match="Missing model IR version"):
        load(model)


def test_ir_version_2_is_opset_1() -> None:
    model = parsed(GOOD, '<ir_version: 2, opset_import: ["" : 1]>')
    model.ClearField("opset_import")
    assert load(model).opset_imports == {"": 1}


def tensor(**fields: Any) -> onnx.TensorProto:
    proto = TensorProto(name="w")
    for name, value in fields.items():
        getattr(proto, name).extend(value) if isinstance(value, (list, tuple)) else setattr(proto, name, value)
    return proto


TENSORS: dict[str, tuple[onnx.TensorProto, type[Exception], str]] = {
    "short raw data": (
        tensor(data_type=1, dims=[3], raw_data=bytes(8)),
        InvalidGraph,
        r"'w' with shape \[3\] and type float32 needs 12 bytes, found 8",
    ),
    "short large raw data": (tensor(data_type=1, dims=[1000], raw_data=bytes(3996)), InvalidGraph, "needs 4000 bytes, found 3996 bytes"),
    "long raw data": (tensor(data_type=1, dims=[3], raw_data=bytes(16)), InvalidGraph, "needs 12 bytes, found 16"),
    "no data": (tensor(data_type=1, dims=[3]), InvalidGraph, "needs 3 values in float_data, found 0"),
    "data of another type": (tensor(data_type=7, dims=[2], float_data=[1.0, 2.0]), InvalidGraph, "needs 2 values in int64_data, found 0"),
    "large data of another type": (tensor(data_type=7, dims=[900], float_data=[1.0] * 900), InvalidGraph, "values in int64_data, found 0"),
    "no element type": (tensor(dims=[3], raw_data=bytes(12)), InvalidGraph, "no element type"),
    "unknown element type": (tensor(data_type=99, dims=[3], raw_data=bytes(12)), NotImplemented, "element type 99"),
    "negative dimension": (tensor(data_type=1, dims=[-3], raw_data=bytes(12)), InvalidGraph, r"negative dimension in shape \[-3\]"),
    "impossible size": (tensor(data_type=1, dims=[2**40, 2**40], raw_data=bytes(12)), InvalidGraph, "found 12"),
    "raw strings": (tensor(data_type=8, dims=[3], raw_data=bytes(12)), InvalidGraph, "strings must be in string_data"),
    "short packed data": (tensor(data_type=22, dims=[5], raw_data=bytes(2)), InvalidGraph, "needs 3 bytes, found 2"),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("as_attribute", [False, True])
def test_tensors_that_do_not_match_their_data(name: str, as_attribute: bool) -> None:
    proto, error, words = TENSORS[name]
    model = parsed(GOOD)
    if as_attribute:
        model.graph.node.append(helper.make_node("Constant", [], ["c"], name="k", value=proto))
        words = words.replace("'w' with", "'value' of Constant node 'k' with")
    else:
        model.graph.initializer.append(proto)
    with pytest.raises(error, match=words):
        load(model)


def test_nameless_initializer() -> None:
    model = parsed(GOOD)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3), ""))
    with pytest.raises(InvalidGraph, match="without a name"):
        load(model)


def sparse(values: np.ndarray, indices: np.ndarray, shape: list[int]) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(numpy_helper.from_array(values, "w"), numpy_helper.from_array(indices, "i"), shape)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: sparse(np.ones(1, "f"), np.array([9]), [2, 3]), InvalidGraph, r"'w': an index lies outside of shape \[2, 3\]"),
        (lambda: sparse(np.ones(1, "f"), np.array([[0, 3]]), [2, 3]), InvalidGraph, "an index lies outside"),
        (lambda: sparse(np.ones(1, "f"), np.array([-1]), [2, 3]), InvalidGraph, "an index lies outside"),
        (lambda: sparse(np.ones(2, "f"), np.array([1]), [2, 3]), InvalidGraph, r"2 values need indices of shape \[2\], found \[1\]"),
        (lambda: sparse(np.ones(1, "f"), np.array([1]), [1 << 20, 1 << 20]), NotImplemented, "more than the limit"),
        (lambda: sparse(np.ones(1, "f"), np.array([1]), [-2, -3]), InvalidGraph, "cannot be used"),
    ],
)
def test_sparse_tensors(make: Callable[[], onnx.SparseTensorProto], error: type[Exception], words: str) -> None:
    model = parsed("g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
    model.graph.sparse_initializer.append(make())
    with pytest.raises(error, match=words):
        load(model)


def test_walking_graphs_is_outer_before_inner() -> None:
    text = GRAPHS["cycle through a subgraph"][0]
    assert [graph.name for graph in all_graphs(parsed(text).graph)] == ["g", "t", "e"]
