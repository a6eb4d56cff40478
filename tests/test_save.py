"""The optimised model and ModelCompiler: what is written is standard ONNX, and gives the same in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxgpu
from onnxgpu.errors import Fail, InvalidArgument, NotImplemented
from onnxgpu.model_file.value_types import type_proto, type_text
from tests.models import model
from tests.random_graphs import random_graph
from tests.side_by_side import CPU, ort, outcome

N = 64
WEIGHT = np.random.default_rng(0).normal(size=(N, N)).astype(np.float32)
STANDARD = {"", "ai.onnx.ml"}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(product(), "m.onnx")


def product() -> onnx.ModelProto:
    """y = Erf(x @ w), with an Identity, an initializer that nothing uses, and metadata."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Identity", ["m"], ["i"]),
        helper.make_node("Erf", ["i"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", N])],
        [helper.make_tensor_value_info("y", 1, ["N", N])],
        [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(np.zeros(3, np.float32), "unused")],
        doc_string="about the graph",
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10)
    proto.doc_string, proto.producer_name, proto.domain, proto.model_version = "about", "maker", "d.o", 7
    proto.metadata_props.add(key="a", value="b")
    return proto


def here() -> list[str]:
    """The names in the current folder."""
    return sorted(path.name for path in Path().iterdir())


def saved(source: Any, path: str = "saved.onnx", *, level: int | None = None, **entries: str) -> onnx.ModelProto:
    """The optimised model that a session writes."""
    options = onnxgpu.SessionOptions()
    options.optimized_model_filepath = path
    if level is not None:
        options.graph_optimization_level = onnxgpu.GraphOptimizationLevel(level)
    for key, value in entries.items():
        options.add_session_config_entry(f"session.optimized_model_external_initializers_{key}", value)
    onnxgpu.InferenceSession(source, options, providers=CPU)
    return onnx.load(path, load_external_data=False)


def operators(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def domains(graph: onnx.GraphProto) -> set[str]:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    return {node.domain for node in graph.node}.union(*(domains(body) for body in inner))


def places(proto: onnx.ModelProto) -> dict[str, dict[str, str]]:
    return {tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in proto.graph.initializer}


def run(module: ModuleType, source: Any, feed: dict[str, Any]) -> list[Any]:
    outputs: list[Any] = module.InferenceSession(source, providers=CPU).run(None, feed)
    return outputs


def assert_close(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, np.ndarray) and b.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
        else:
            assert str(a) == str(b)


def test_the_saved_model_is_rewritten_and_keeps_what_it_says_of_itself() -> None:
    proto = saved("m.onnx")
    assert operators(proto) == ["MatMul", "Erf"]
    assert [tensor.name for tensor in proto.graph.initializer] == ["w"]
    assert {entry.domain for entry in proto.opset_import} == {""}
    assert (proto.doc_string, proto.producer_name, proto.domain, proto.model_version) == ("about", "maker", "d.o", 7)
    assert proto.graph.doc_string == "about the graph"
    meta = ort.InferenceSession("saved.onnx", providers=CPU).get_modelmeta()
    assert (meta.custom_metadata_map, meta.producer_name, meta.version) == ({"a": "b"}, "maker", 7)
    onnx.checker.check_model(proto, full_check=True)
    x = np.ones((2, N), np.float32)
    assert_close(run(ort, "saved.onnx", {"x": x}), run(ort, "m.onnx", {"x": x}))


VALUES = ",".join(str(i % 7 - 3) for i in range(64))
GELU = f"""g (float[2,8] x) => (float[2,8] y) <float[8,8] w = {{{VALUES}}}, float[8] b = {{1,2,3,4,5,6,7,8}}> {{
  m = MatMul (x, w)
  a = Add (m, b)
  s = Sigmoid (a)
  y = Mul (a, s)
}}"""
BODIES = """g (float[3] x, bool c, int64 n) => (float[3] y) {
  t = Constant <value = bool {1}> ()
  z = If (c) <then_branch = t () => (float[3] a) { k = Constant <value = float[3] {1, 2, 3}> ()
    a = Add (x, k) }, else_branch = e () => (float[3] b) { b = Neg (x) }>
  y = Loop (n, t, z) <body = l (int64 i, bool d, float[3] v) => (bool f, float[3] w) { f = Identity (d)
    w = Mul (v, x) }>
}"""
LOCAL_FUNCTION = """<ir_version: 9, opset_import: ["" : 18, "own" : 1]>
g (float[3] x) => (float[3] y) { y = own.twice (x) }
<domain: "own", opset_import: ["" : 18]>
twice (a) => (b) { b = Add (a, a) }"""
OLD = """<ir_version: 3, opset_import: ["" : 9]>
g (float[3] x, float[3] w) => (float[3] y) <float[3] w = {1, 2, 3}> {
  c = Constant <value = float[3] {1, 1, 1}> ()
  s = Add (x, w)
  y = Add (s, c)
}"""


@pytest.mark.parametrize(
    ("text", "feed"),
    [
        (GELU, {"x": np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)}),
        (BODIES, {"x": np.array([0.5, 1, 2], np.float32), "c": np.array(True), "n": np.array(3)}),
        (LOCAL_FUNCTION, {"x": np.ones(3, np.float32)}),
        (OLD, {"x": np.ones(3, np.float32)}),
    ],
    ids=["fused nodes", "bodies", "local function", "old ir version"],
)
@pytest.mark.parametrize("level", [0, 1, 99])
def test_saved_models_give_the_same_in_onnxruntime(text: str, feed: dict[str, Any], level: int) -> None:
    """What fusion made is not in the file, functions are inlined, and constants have become initializers."""
    proto = saved(model(text), level=level)
    assert domains(proto.graph) <= STANDARD
    assert not proto.functions
    assert_close(run(ort, "saved.onnx", feed), run(ort, model(text).SerializeToString(), feed))
    assert_close(run(onnxgpu, "saved.onnx", feed), run(ort, model(text).SerializeToString(), feed))


def test_the_demo_model() -> None:
    source = files("onnxgpu.demo") / "digits.onnx"
    saved(str(source), file_name="weights.bin", min_size_in_bytes="256")
    images = np.random.default_rng(1).random((3, 1, 8, 8), np.float32)
    assert_close(run(ort, "saved.onnx", {"images": images}), run(ort, str(source), {"images": images}))


@pytest.mark.parametrize("seed", range(0, 90, 3))
def test_random_graphs_give_the_same_in_onnxruntime(seed: int) -> None:
    graph = random_graph(seed)
    feed = {name: array.copy() for name, array in graph.feeds(np.random.default_rng(seed), 2).items()}
    try:
        expected = run(ort, graph.model.SerializeToString(), feed)
    except Exception as problem:
        pytest.skip(f"not a valid graph: {problem}")
    proto = saved(graph.model, file_name="weights.bin", min_size_in_bytes="16")
    assert domains(proto.graph) <= STANDARD
    for actual, wanted in zip(run(ort, "saved.onnx", feed), expected, strict=True):
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(actual, wanted, rtol=2e-4, atol=2e-4)
        else:
            np.testing.assert_array_equal(actual, wanted)


def test_types_of_maps_are_declared_again() -> None:
    source = model("g (float[2,2] x) => (float[2,2] y) { y = Neg (x) }")
    del source.graph.node[:]
    source.graph.node.append(helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[3, 4]))
    source.opset_import.add(domain="ai.onnx.ml", version=3)
    source.graph.output[0].type.CopyFrom(type_proto("seq(map(int64,tensor(float)))"))
    saved(source)
    x = np.ones((2, 2), np.float32)
    assert run(ort, "saved.onnx", {"x": x}) == run(ort, source.SerializeToString(), {"x": x})


@pytest.mark.parametrize("text", ["tensor(float)", "seq(tensor(string))", "optional(seq(tensor(int64)))", "map(string,tensor(float))"])
def test_types_are_read_as_they_are_spelled(text: str) -> None:
    assert type_text(type_proto(text)) == text


def test_a_text_that_is_no_type() -> None:
    with pytest.raises(ValueError, match="is no type"):
        type_proto("table(float)")


def test_free_dimension_overrides_are_visible() -> None:
    options = onnxgpu.SessionOptions()
    options.optimized_model_filepath = "saved.onnx"
    options.add_free_dimension_override_by_name("N", 4)
    onnxgpu.InferenceSession("m.onnx", options, providers=CPU)
    session = ort.InferenceSession("saved.onnx", providers=CPU)
    assert (session.get_inputs()[0].shape, session.get_outputs()[0].shape) == ([4, N], [4, N])


@pytest.mark.parametrize(("least", "external"), [(None, True), ("16384", True), ("16385", False), ("0", True)])
def test_external_initializers_by_configuration(least: str | None, external: bool) -> None:
    """As onnxruntime: from that size on, into a file beside the model."""
    Path("sub").mkdir()
    entries: dict[str, Any] = {"file_name": "weights.bin"} | ({} if least is None else {"min_size_in_bytes": least})
    proto = saved("m.onnx", "sub/saved.onnx", **entries)
    where = {"location": "weights.bin", "offset": "0", "length": str(WEIGHT.nbytes)}
    assert places(proto) == {"w": where if external else {}}
    assert Path("sub/weights.bin").exists() == external
    x = np.ones((1, N), np.float32)
    assert_close(run(ort, "sub/saved.onnx", {"x": x}), run(ort, "m.onnx", {"x": x}))
    options = ort.SessionOptions()
    options.optimized_model_filepath = "sub/theirs.onnx"
    for key, value in entries.items():
        options.add_session_config_entry(f"session.optimized_model_external_initializers_{key}", value)
    ort.InferenceSession("m.onnx", options, providers=CPU)
    assert places(onnx.load("sub/theirs.onnx", load_external_data=False)) == places(proto)


def test_models_above_the_limit_of_protobuf_get_a_file_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxgpu.model_file.saving.MOST_BYTES", 1000)
    assert places(saved("m.onnx"))["w"]["location"] == "saved.onnx.data"
    x = np.ones((1, N), np.float32)
    assert_close(run(ort, "saved.onnx", {"x": x}), run(ort, "m.onnx", {"x": x}))
    with pytest.raises(InvalidArgument, match="protobuf holds 2 GiB"):
        onnxgpu.ModelCompiler(onnxgpu.SessionOptions(), "m.onnx").compile_to_bytes()


@pytest.mark.slow
def test_a_model_of_more_than_two_gibibytes() -> None:
    """Two weights of 1.1 GB each, read through files of zeros that take no space."""
    size = 1_100_000_000 // 4
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", [name], [f"s{name}"], keepdims=0) for name in "ab"] + [helper.make_node("Add", ["sa", "sb"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", 1, [])],
    )
    for name in "ab":
        tensor = graph.initializer.add(name=name, data_type=1, dims=[size], data_location=onnx.TensorProto.EXTERNAL)
        for key, value in (("location", f"{name}.bin"), ("offset", "0"), ("length", str(size * 4))):
            tensor.external_data.add(key=key, value=value)
        with Path(f"{name}.bin").open("wb") as file:
            file.truncate(size * 4)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    Path("large.onnx").write_bytes(proto.SerializeToString())
    onnxgpu.ModelCompiler(onnxgpu.SessionOptions(), "large.onnx").compile_to_file("saved.onnx")
    assert {where["location"] for where in places(onnx.load("saved.onnx", load_external_data=False)).values()} == {"saved.onnx.data"}
    assert Path("saved.onnx.data").stat().st_size >= 2 * size * 4


@pytest.mark.parametrize("path", ["nowhere/saved.onnx", "folder", "folder/"])
def test_places_that_cannot_be_written(path: str) -> None:
    Path("folder").mkdir()
    with pytest.raises(InvalidArgument, match=r"open file .* failed|should not point to a folder"):
        saved("m.onnx", path)
    assert not any(Path("folder").iterdir())


@pytest.mark.parametrize("name", ["../w.bin", "sub/../../w.bin", "/w.bin", "saved.onnx"])
def test_external_files_stay_in_the_folder_of_the_model(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"within the model's folder|is the model's own"):
        saved("m.onnx", file_name=name)
    assert here() == ["m.onnx"]


def test_a_failed_write_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    saved("m.onnx")
    before = Path("saved.onnx").read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InvalidArgument, match="No space left on device"):
        saved("m.onnx")
    assert Path("saved.onnx").read_bytes() == before
    assert here() == ["m.onnx", "saved.onnx"]


def test_onnxruntimes_format_is_not_written() -> None:
    with pytest.raises(NotImplemented, match=r"does not write onnxruntime's \.ort format"):
        saved("m.onnx", "saved.ort")


def test_a_size_that_is_no_number() -> None:
    with pytest.raises(InvalidArgument, match="wants a number of bytes, got 'many'"):
        saved("m.onnx", file_name="w.bin", min_size_in_bytes="many")


def compiled(module: ModuleType, **arguments: Any) -> Any:
    """Operators, names of initializers with their places, and metadata of a model compiled to bytes."""
    level = arguments.pop("level", None)
    if level is not None:
        arguments["graph_optimization_level"] = getattr(module.GraphOptimizationLevel, level)
    proto = onnx.load_from_string(module.ModelCompiler(module.SessionOptions(), "m.onnx", **arguments).compile_to_bytes())
    return [operators(proto), places(proto), proto.producer_name, [(entry.key, entry.value) for entry in proto.metadata_props]]


def assert_compiles_alike(**arguments: Any) -> None:
    assert outcome(lambda module: compiled(module, **dict(arguments)), onnxgpu) == outcome(
        lambda module: compiled(module, **dict(arguments)), ort
    )


@pytest.mark.parametrize("level", [None, "ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL"])
def test_compiling_gives_what_onnxruntime_gives_on_the_cpu(level: str | None) -> None:
    assert_compiles_alike(level=level)
    assert_compiles_alike(level=level, embed_compiled_data_into_model=True)


@pytest.mark.parametrize("threshold", [None, 0, 16384, 16385])
def test_compiling_with_an_external_file(threshold: int | None) -> None:
    size = {} if threshold is None else {"external_initializers_size_threshold": threshold}
    assert_compiles_alike(external_initializers_file_path="w.bin", **size)


def test_compiled_files_run() -> None:
    compiler = onnxgpu.ModelCompiler(onnxgpu.SessionOptions(), "m.onnx", external_initializers_file_path="sub/w.bin")
    Path("out/sub").mkdir(parents=True)
    Path("sub").mkdir()
    compiler.compile_to_file("out/compiled.onnx")
    compiler.compile_to_file()
    chunks: list[bytes] = []
    compiler.compile_to_stream(chunks.append)
    x = np.ones((1, N), np.float32)
    for path in ("out/compiled.onnx", "m_ctx.onnx"):
        assert_close(run(ort, path, {"x": x}), run(ort, "m.onnx", {"x": x}))
    assert len(chunks) == 1


def test_compiling_twice_and_from_bytes() -> None:
    def both(module: ModuleType) -> Any:
        compiler = module.ModelCompiler(module.SessionOptions(), Path("m.onnx").read_bytes())
        compiler.compile_to_file("one.onnx")
        return [compiler.compile_to_file("two.onnx"), Path("one.onnx").exists(), len(onnx.load("two.onnx").graph.node)]

    assert outcome(both, onnxgpu) == outcome(both, ort)
    with pytest.raises(InvalidArgument, match="wants a path where the model was given as bytes"):
        onnxgpu.ModelCompiler(onnxgpu.SessionOptions(), Path("m.onnx").read_bytes()).compile_to_file()


def fail(*_: Any) -> Any:
    raise ValueError("boo")


def locate(module: ModuleType) -> Callable[..., Any]:
    def function(name: str, value: Any, before: Any) -> Any:
        return module.OrtExternalInitializerInfo("other.bin", 16, value.tensor_size_in_bytes()) if name == "w" else None

    return function


@pytest.mark.parametrize(
    "program",
    [
        lambda m: compiled(m, get_initializer_location_func=locate(m)),
        lambda m: compiled(m, get_initializer_location_func=fail),
        lambda m: compiled(m, get_initializer_location_func=lambda *_: 3),
        lambda m: compiled(m, get_initializer_location_func=locate(m), external_initializers_file_path="a"),
        lambda m: compiled(m, flags=m.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED),
        lambda m: compiled(m, flags="x"),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx", flags=3),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx", flags=2).compile_to_file("m.onnx"),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").compile_to_file("nowhere/m.onnx"),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").compile_to_file("."),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").compile_to_file(3),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").compile_to_stream(fail),
        lambda m: m.ModelCompiler(m.SessionOptions(), "no.onnx").compile_to_bytes(),
        lambda m: m.ModelCompiler(m.SessionOptions(), b"junk").compile_to_bytes(),
        lambda m: m.ModelCompiler(m.SessionOptions(), ""),
        lambda m: m.ModelCompiler(m.SessionOptions(), b""),
        lambda m: m.ModelCompiler(m.SessionOptions(), 3),
        lambda m: m.ModelCompiler(None, "m.onnx"),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").set_ep_context_binary_information("folder", "x"),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").set_ep_context_binary_information("folder/", "x"),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").set_ep_context_binary_information("", "x"),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").set_ep_context_binary_information("folder/", ""),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").set_ep_context_data_write_func(lambda *_: None),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").set_ep_context_data_write_func(None),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").set_ep_context_data_write_func(3),
        lambda m: m.ModelCompiler(m.SessionOptions(), "m.onnx").clear_ep_context_data_write_func(),
    ],
)
def test_arguments_of_the_compiler(program: Callable[[ModuleType], Any]) -> None:
    """The same result, or the same class of error."""
    theirs, expected = outcome(program, ort)
    ours, actual = outcome(program, onnxgpu)
    assert ours == theirs, (expected, actual)
    if ours == "gives" and isinstance(actual, list):
        assert actual == expected


def test_the_function_sees_where_an_initializer_lay() -> None:
    onnxgpu.ModelCompiler(onnxgpu.SessionOptions(), "m.onnx", external_initializers_file_path="w.bin").compile_to_file("outside.onnx")

    def seen(module: ModuleType) -> Any:
        places: list[Any] = []

        def function(name: str, value: Any, before: Any) -> Any:
            places.append((name, value.shape(), before and (before.filepath, before.file_offset, before.byte_size)))
            return before

        compiler = module.ModelCompiler(module.SessionOptions(), "outside.onnx", get_initializer_location_func=function)
        return [onnx.load_from_string(compiler.compile_to_bytes()).graph.initializer[0].external_data[0].value, *places]

    assert outcome(seen, onnxgpu) == outcome(seen, ort)


def test_a_flag_forbids_before_anything_is_written() -> None:
    compiler = onnxgpu.ModelCompiler(onnxgpu.SessionOptions(), "m.onnx", flags=3)
    with pytest.raises(Fail, match=r"Unable to compile any nodes.*none of .*CPUExecutionProvider"):
        compiler.compile_to_file("out.onnx")
    assert here() == ["m.onnx"]
