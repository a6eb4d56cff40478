"""Models of compiled segments: what is written, where, and what becomes of them when they are read."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxgpu
from onnxgpu import discovery
from onnxgpu.capi import onnxruntime_pybind11_state as state
from onnxgpu.context_model import writing
from onnxgpu.errors import EPFail, Fail, InvalidArgument, InvalidGraph, ModelRequiresCompilation, NoSuchFile, NotImplemented, OnnxGpuError
from onnxgpu.explain import explanation
from onnxgpu.model_file.wire import PAYLOAD_MINIMUM, without_payloads
from onnxgpu.session import InferenceSession
from tests.models import model
from tests.random_graphs import random_graph
from tests.segments.keeping import NAME, KeepingProvider
from tests.segments.providers import EvaluatorProvider
from tests.side_by_side import CPU, ort, outcome

PROVIDERS = [NAME, "CPUExecutionProvider"]
X = np.random.default_rng(0).standard_normal((3, 32)).astype(np.float32)


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The provider, known to sessions, in a folder with a model."""
    monkeypatch.setattr(KeepingProvider, "compiled", [])
    discovery.register("keeping", KeepingProvider)
    monkeypatch.chdir(tmp_path)
    onnx.save(mixed(), "m.onnx")
    yield
    discovery.unregister("keeping")


def mixed() -> onnx.ModelProto:
    """A segment, a node of another provider with a weight, and a segment: x @ w, Abs and Sub of u, Relu."""
    generator = np.random.default_rng(1)
    weight, offset = (generator.standard_normal(shape).astype(np.float32) for shape in ((32, 32), (32,)))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="product"),
        helper.make_node("Relu", ["m"], ["r"], name="relu"),
        helper.make_node("Sub", ["r", "u"], ["s"], name="sub"),
        helper.make_node("Neg", ["s"], ["n"], name="neg"),
        helper.make_node("Add", ["n", "s"], ["z"], name="add"),
        helper.make_node("Mul", ["z", "r"], ["y"], name="mul"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["rows", 32])],
        [helper.make_tensor_value_info("y", 1, ["rows", 32]), helper.make_tensor_value_info("s", 1, ["rows", 32])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(offset, "u")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def session(source: Any, providers: Any = PROVIDERS, **entries: str) -> InferenceSession:
    """A session; `ep__context_enable` is the entry `ep.context_enable`."""
    options = onnxgpu.SessionOptions()
    for key, value in entries.items():
        options.add_session_config_entry(key.replace("__", "."), value)
    return InferenceSession(source, options, providers=providers)


def saved(**entries: str) -> InferenceSession:
    return session("m.onnx", ep__context_enable="1", **entries)


def expected() -> list[np.ndarray]:
    return InferenceSession(mixed(), providers=["CPUExecutionProvider"]).run(None, {"x": X})


def check(made: InferenceSession) -> None:
    for actual, wanted in zip(made.run(None, {"x": X}), expected(), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)


def contexts(proto: onnx.ModelProto) -> list[dict[str, Any]]:
    """The attributes of the compiled nodes."""
    return [
        {a.name: helper.get_attribute_value(a) for a in node.attribute} | {"name": node.name}
        for node in proto.graph.node
        if node.op_type == "EPContext"
    ]


def here() -> set[str]:
    return {path.name for path in Path().iterdir()}


@pytest.mark.parametrize("embed", ["0", "1"])
def test_a_model_of_engines_runs_without_compiling_and_without_weights(embed: str) -> None:
    check(saved(ep__context_embed_mode=embed))
    proto = onnx.load("m_ctx.onnx")
    assert [(node.op_type, node.domain) for node in proto.graph.node] == [
        ("EPContext", "com.microsoft"),
        ("Sub", ""),
        ("EPContext", "com.microsoft"),
    ]
    assert [tensor.name for tensor in proto.graph.initializer] == ["u"]
    engines = {f"m_ctx_{NAME}_{number}.engine" for number in (0, 1)} if embed == "0" else set()
    assert here() == {"m.onnx", "m_ctx.onnx"} | engines
    Path("m.onnx").unlink()
    KeepingProvider.compiled.clear()
    made = session("m_ctx.onnx")
    check(made)
    assert KeepingProvider.compiled == []
    assert made.placement.providers() == (NAME, "CPUExecutionProvider")


def test_what_stands_by_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeepingProvider, "stands_by", True)
    made = saved()
    assert "stand_by:" in str(made.plan)
    check(made)
    proto = onnx.load("m_ctx.onnx")
    assert [tensor.name for tensor in proto.graph.initializer] == ["u"]
    assert not [a for node in proto.graph.node for a in node.attribute if a.HasField("g")]
    check(session("m_ctx.onnx"))


def test_nothing_stands_by_for_a_model_that_is_only_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeepingProvider, "stands_by", True)
    with monkeypatch.context() as patch:
        patch.delattr("onnxgpu.fuse.segments._placed_stand_by")
        onnxgpu.ModelCompiler(options_with(), "m.onnx").compile_to_file()
    check(session("m_ctx.onnx"))


def test_the_attributes_are_those_of_onnxruntimes_schema() -> None:
    saved(ep__context_embed_mode="1", ep__context_node_name_prefix="left_")
    proto = onnx.load("m_ctx.onnx")
    first, second = contexts(proto)
    schema = next(s for s in ort.capi.onnxruntime_pybind11_state.get_all_operator_schema() if s.name == "EPContext")
    assert set(first) - {"name"} <= set(schema.attributes)
    assert {key: first[key] for key in ("main_context", "embed_mode", "source", "ep_sdk_version", "hardware_architecture")} == {
        "main_context": 1,
        "embed_mode": 1,
        "source": NAME.encode(),
        "ep_sdk_version": b"1.0",
        "hardware_architecture": b"any",
    }
    assert first["onnx_model_filename"] == b"m.onnx"
    assert first["name"].encode() == first["partition_name"] == b"left_g:product"
    assert second["name"] == "left_g:neg"
    assert json.loads(first["notes"])["inputs"] == ["x"]
    onnx.checker.check_model(proto)
    assert {entry.domain: entry.version for entry in proto.opset_import} == {"": 21, "com.microsoft": 1}


def test_explain_says_why() -> None:
    saved()
    made = session("m_ctx.onnx", ["CPUExecutionProvider", NAME])
    first = explanation(made)["nodes"][0]
    assert (first["operator"], first["provider"]) == ("com.microsoft.EPContext", NAME)
    assert first["reason"] == f"compiled by {NAME} (version 1.0); nothing is compiled here"
    assert first["not"] == [{"provider": "CPUExecutionProvider", "reason": f"the node was compiled by {NAME}"}]


def test_what_was_left_to_others_stays_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that the provider refused within a segment is not compiled by the session that runs the model either."""
    monkeypatch.setattr(KeepingProvider, "excluded", ("Add",))
    check(saved())
    made = session("m_ctx.onnx", session__disable_model_compile="1")
    check(made)
    (add,) = [assignment for assignment in made.placement.nodes() if assignment.operation.operator == "Add"]
    assert add.provider.name == "CPUExecutionProvider"
    assert add.refusals == ((NAME, "the model holds all that it is to run of it, compiled"),)
    with pytest.raises(InvalidArgument, match="is pinned to KeepingExecutionProvider by the hint"):
        session("m_ctx.onnx", onnxgpu__placement=f"op:Add={NAME}!")


def test_a_model_in_another_folder_and_initializers_beside_it() -> None:
    Path("out").mkdir()
    saved(ep__context_file_path="out/n.onnx", ep__context_model_external_initializers_file_name="n.bin")
    assert {path.name for path in Path("out").iterdir()} == {"n.onnx", "n.bin", f"n_{NAME}_0.engine", f"n_{NAME}_1.engine"}
    shutil.move("out", "moved")
    check(session("moved/n.onnx"))


def test_a_model_of_bytes() -> None:
    session(Path("m.onnx").read_bytes(), ep__context_enable="1", ep__context_file_path="b.onnx", ep__context_embed_mode="1")
    check(session(Path("b.onnx").read_bytes()))
    saved()
    with pytest.raises(InvalidArgument, match=r"was not loaded from a file.*ep\.context_file_path"):
        session(Path("m_ctx.onnx").read_bytes())
    check(session(Path("m_ctx.onnx").read_bytes(), ep__context_file_path=str(Path("m_ctx.onnx").absolute())))
    check(session(Path("m_ctx.onnx").read_bytes(), session__model_external_initializers_file_folder_path="."))


def test_engines_by_functions() -> None:
    kept: dict[str, bytes] = {}
    compiler = onnxgpu.ModelCompiler(options_with(), "m.onnx")
    compiler.set_ep_context_data_write_func(lambda name, data: kept.update({name: data.read()}))
    content = compiler.compile_to_bytes()
    assert here() == {"m.onnx"} and list(kept) == [f"model_ctx_{NAME}_{number}.engine" for number in (0, 1)]

    def read(name: str, buffer: Any) -> None:
        buffer.allocate(len(kept[name]))
        buffer.write(kept[name])

    options = onnxgpu.SessionOptions()
    options.set_ep_context_data_read_func(read, 1 << 20)
    check(InferenceSession(content, options, providers=PROVIDERS))
    options.set_ep_context_data_read_func(read, 10)
    with pytest.raises(Fail, match=r"read callback failed: ValueError: .* and 0 to 10 may be allocated"):
        InferenceSession(content, options, providers=PROVIDERS)
    compiler.set_ep_context_data_write_func(fail)
    with pytest.raises(Fail, match="write callback failed: IndexError"):
        compiler.compile_to_bytes()


def fail(name: str, data: Any) -> None:
    raise IndexError(name)


def options_with(**entries: str) -> onnxgpu.SessionOptions:
    options = onnxgpu.SessionOptions()
    options.add_provider(NAME, {})
    for key, value in entries.items():
        options.add_session_config_entry(key.replace("__", "."), value)
    return options


@pytest.mark.parametrize("embed", [False, True])
def test_the_compiler_writes_files(embed: bool) -> None:
    flags = onnxgpu.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED | onnxgpu.OrtCompileApiFlags.ERROR_IF_OUTPUT_FILE_EXISTS
    compiler = onnxgpu.ModelCompiler(options_with(), "m.onnx", embed_compiled_data_into_model=embed, flags=flags)
    compiler.compile_to_file()
    assert len(here()) == (2 if embed else 4)
    check(session("m_ctx.onnx"))
    with pytest.raises(Fail, match="exists already"):
        compiler.compile_to_file()


def test_where_the_compilers_engines_go() -> None:
    compiler = onnxgpu.ModelCompiler(options_with(), "m.onnx")
    with pytest.raises(InvalidArgument, match=r"no folder for the engine.*set_ep_context_binary_information"):
        compiler.compile_to_bytes()
    compiler.set_ep_context_binary_information("engines/", "named.onnx")
    content = compiler.compile_to_bytes()
    assert {path.name for path in Path("engines").iterdir()} == {f"named_{NAME}_0.engine", f"named_{NAME}_1.engine"}
    check(session(content, ep__context_file_path="engines/m.onnx"))
    compiler.compile_to_file("here.onnx")
    assert contexts(onnx.load("here.onnx"))[0]["ep_cache_context"] == f"engines/named_{NAME}_0.engine".encode()
    check(session("here.onnx"))
    compiler.set_ep_context_binary_information("engines/../../", "named.onnx")
    with pytest.raises(InvalidArgument, match="outside of the model's folder"):
        compiler.compile_to_file("here.onnx")
    compiler.set_ep_context_binary_information("engines/", "named.onnx")
    Path("elsewhere").mkdir()
    with pytest.raises(InvalidArgument, match="outside of the model's folder"):
        compiler.compile_to_file("elsewhere/m.onnx")


def test_a_compiler_without_anything_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeepingProvider, "operators", ())
    onnxgpu.ModelCompiler(options_with(), "m.onnx").compile_to_file()
    assert [node.op_type for node in onnx.load("m_ctx.onnx").graph.node] == ["MatMul", "Relu", "Sub", "Neg", "Add", "Mul"]
    with pytest.raises(Fail, match="Unable to compile any nodes"):
        onnxgpu.ModelCompiler(options_with(), "m.onnx", flags=onnxgpu.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED).compile_to_file(
            "n.onnx"
        )
    assert here() == {"m.onnx", "m_ctx.onnx"}


def test_engines_from_files_to_the_model_and_back() -> None:
    """A model of engines is read and written again; nothing is compiled for it."""
    saved()
    KeepingProvider.compiled.clear()
    Path("one").mkdir()
    check(session("m_ctx.onnx", ep__context_enable="1", ep__context_file_path="one/file.onnx", ep__context_embed_mode="1"))
    assert [path.name for path in Path("one").iterdir()] == ["file.onnx"]
    check(session("one/file.onnx", ep__context_enable="1", ep__context_file_path="files.onnx"))
    check(session("files.onnx"))
    assert KeepingProvider.compiled == []
    assert contexts(onnx.load("files.onnx"))[0]["notes"] == contexts(onnx.load("m_ctx.onnx"))[0]["notes"]


def test_engines_too_large_for_a_model_go_beside_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(writing, "MOST_BYTES", writing._ROOM_FOR_THE_GRAPH + 4096)
    saved(ep__context_embed_mode="1")
    assert "more than protobuf holds: engines are written to files" in caplog.text
    assert [node["embed_mode"] for node in contexts(onnx.load("m_ctx.onnx"))] == [0, 0]
    check(session("m_ctx.onnx"))


def test_a_path_as_long_as_an_engine() -> None:
    saved()
    folder = Path(*("a" * 200 for _ in range(3)))
    folder.mkdir(parents=True)
    name = f"m_ctx_{NAME}_0.engine"
    Path(name).rename(folder / name)
    onnx.save(changed(onnx.load("m_ctx.onnx"), ep_cache_context=(folder / name).as_posix()), "m_ctx.onnx")
    check(session("m_ctx.onnx"))


def test_an_embedded_engine_is_not_parsed() -> None:
    """It is read when it is wanted, once, as weights are."""
    saved(ep__context_embed_mode="1")
    content = Path("m_ctx.onnx").read_bytes()
    (large, *_) = sorted((len(node["ep_cache_context"]) for node in contexts(onnx.load("m_ctx.onnx"))), reverse=True)
    assert large > PAYLOAD_MINIMUM
    assert len(without_payloads(memoryview(content), "elsewhere")) < len(content) - large + 200


def test_values_may_be_renamed() -> None:
    """The rewriter takes Identity away, so that a compiled node reads another value than the one its engine knows."""
    saved(ep__context_embed_mode="1")
    proto = onnx.load("m_ctx.onnx")
    proto.graph.node.insert(0, helper.make_node("Identity", ["x"], ["renamed"]))
    proto.graph.node[1].input[0] = "renamed"
    check(session(proto))


def changed(proto: onnx.ModelProto, **attributes: Any) -> onnx.ModelProto:
    """With other attributes of the first compiled node; None takes one away."""
    node = proto.graph.node[0]
    kept = [a for a in node.attribute if a.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attributes.items() if v is not None)])
    return proto


BAD: dict[str, tuple[dict[str, Any], type[OnnxGpuError], str]] = {
    "outside": ({"ep_cache_context": "../m.engine"}, InvalidArgument, "leaves the model's folder"),
    "absolute": ({"ep_cache_context": "/etc/passwd"}, InvalidArgument, "leaves the model's folder"),
    "missing": (
        {"ep_cache_context": "no.engine"},
        NoSuchFile,
        r"engine of com\.microsoft\.EPContext 'g:product' is not there.*put it",
    ),
    "foreign": ({"ep_cache_context": "m.onnx"}, EPFail, "cut off or belongs to another model"),
    "swapped": ({"ep_cache_context": "copy.engine"}, EPFail, "its SHA-256 is not the one"),
    "empty": ({"ep_cache_context": "empty.engine"}, EPFail, "is empty"),
    "no content": ({"ep_cache_context": None}, InvalidGraph, "has no attribute ep_cache_context"),
    "mode": ({"embed_mode": 3}, InvalidGraph, "embed_mode is 3"),
    "version": ({"ep_sdk_version": "0.9"}, EPFail, "was compiled by version 0.9 of its library, and here is 1.0"),
    "hardware": ({"hardware_architecture": "abacus"}, EPFail, "for KeepingExecutionProvider was compiled for abacus, and here is any"),
    "source": (
        {"source": "NobodyExecutionProvider"},
        NotImplemented,
        "by 'NobodyExecutionProvider' is not compatible.*Add Nobody",
    ),
    "secondary": ({"main_context": 0}, NotImplemented, "main_context=0"),
    "values": (
        {"notes": json.dumps({"sha256": "", "bytes": 1, "inputs": [], "outputs": [], "engine": {}})},
        InvalidGraph,
        "has 1 inputs, its engine has 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_models_that_are_refused(case: str) -> None:
    attributes, error, text = BAD[case]
    saved()
    engine = Path(f"m_ctx_{NAME}_0.engine").read_bytes()
    Path("copy.engine").write_bytes(engine[:-1] + bytes([engine[-1] ^ 1]))
    Path("empty.engine").touch()
    if case == "values":
        attributes = attributes | {"notes": notes_without_inputs()}
    onnx.save(changed(onnx.load("m_ctx.onnx"), **attributes), "bad.onnx")
    with pytest.raises(error, match=text):
        session("bad.onnx")


def notes_without_inputs() -> str:
    facts = json.loads(contexts(onnx.load("m_ctx.onnx"))[0]["notes"])
    return json.dumps(facts | {"inputs": []})


def test_an_embedded_engine_that_is_cut_off() -> None:
    saved(ep__context_embed_mode="1")
    proto = onnx.load("m_ctx.onnx")
    with pytest.raises(EPFail, match="cut off"):
        session(changed(proto, ep_cache_context=contexts(proto)[0]["ep_cache_context"][:-5]))


@pytest.mark.parametrize("embed", ["0", "1"])
def test_one_bit_is_enough(embed: str) -> None:
    """Whichever bit of an engine is another: it is not given to the provider."""
    saved(ep__context_embed_mode=embed)
    proto, path = onnx.load("m_ctx.onnx"), Path(f"m_ctx_{NAME}_0.engine")
    whole = path.read_bytes() if embed == "0" else contexts(proto)[0]["ep_cache_context"]
    chance = np.random.default_rng(int(embed))
    for position in chance.integers(0, 8 * len(whole), 40):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        if embed == "0":
            path.write_bytes(damaged)
        with pytest.raises(EPFail, match="its SHA-256 is not the one"):
            session("m_ctx.onnx" if embed == "0" else changed(proto, ep_cache_context=bytes(damaged)))


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_model_is_an_error_of_ours_or_runs(seed: int) -> None:
    saved(ep__context_embed_mode=str(seed % 2))
    content = bytearray(Path("m_ctx.onnx").read_bytes())
    chance = np.random.default_rng(seed)
    for position in chance.integers(0, len(content), 1 + seed % 3):
        content[position] = chance.integers(0, 256)
    Path("m_ctx.onnx").write_bytes(content)
    try:
        made = session("m_ctx.onnx")
    except OnnxGpuError:
        return
    made.get_inputs()


def test_a_link_out_of_the_folder_is_refused() -> None:
    saved()
    name = f"m_ctx_{NAME}_0.engine"
    Path("in").mkdir()
    for path in ("m_ctx.onnx", f"m_ctx_{NAME}_1.engine"):
        shutil.copy(path, "in")
    Path("in", name).symlink_to(Path(name).absolute())
    with pytest.raises(InvalidArgument, match="outside of the model's folder"):
        session("in/m_ctx.onnx")


def test_without_its_provider_the_model_does_not_run() -> None:
    saved()
    theirs, ours = (outcome(lambda m: m.InferenceSession("m_ctx.onnx", providers=CPU), module) for module in (ort, onnxgpu))
    assert ours[0] == theirs[0] == "NotImplemented"
    assert f"EPContext node generated by '{NAME}' is not compatible with any execution provider added to the session" in str(ours[1])


def test_nodes_as_onnxruntimes_tensorrt_provider_writes_them() -> None:
    """Four attributes, no source: the first provider that takes the engine has it, and nothing can be checked by the node."""
    saved()
    theirs = ("embed_mode", "ep_cache_context", "hardware_architecture", "onnx_model_filename")
    proto = onnx.load("m_ctx.onnx")
    for node in proto.graph.node:
        if node.op_type == "EPContext":
            kept = [a for a in node.attribute if a.name in theirs]
            del node.attribute[:]
            node.attribute.extend(kept)
    onnx.save(proto, "theirs.onnx")
    made = session("theirs.onnx", ["CPUExecutionProvider", NAME])
    check(made)
    first = next(iter(made.placement))
    assert first.reason == "the first in the list that takes the engine; nothing is compiled here"
    assert first.refusals == (("CPUExecutionProvider", "it runs no compiled nodes"),)


def test_an_engine_that_the_first_cannot_run_goes_to_the_next_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with two devices, of which the engine is for the second; or without a source, for a provider further down the list."""

    class OtherProvider(KeepingProvider):
        name = "OtherExecutionProvider"
        version = "2.0"

    discovery.register("other", OtherProvider)
    try:
        saved(ep__context_embed_mode="1")
        proto = onnx.load("m_ctx.onnx")
        for node in proto.graph.node:
            kept = [a for a in node.attribute if a.name != "source"]
            del node.attribute[:]
            node.attribute.extend(kept)
        made = session(proto, ["OtherExecutionProvider", *PROVIDERS])
        check(made)
        first = next(iter(made.placement))
        assert first.provider.name == NAME
        assert first.refusals == (("OtherExecutionProvider", "was compiled by version 1.0 of its library, and here is 2.0"),)
        with pytest.raises(EPFail, match=r"for OtherExecutionProvider was compiled by version 1\.0"):
            session(proto, ["OtherExecutionProvider", "CPUExecutionProvider"])
    finally:
        discovery.unregister("other")


def test_notes_of_others_are_left_alone() -> None:
    saved(ep__context_embed_mode="1")
    for notes in ("made on a Friday", "{}", '["x"]', '{"sha256": 3}'):
        check(session(changed(onnx.load("m_ctx.onnx"), notes=notes)))


SAVING = {
    "twice": {"ep__context_enable": "1", "ep__context_file_path": "m.onnx"},
    "folder": {"ep__context_enable": "1", "ep__context_file_path": "."},
    "no extension": {"ep__context_enable": "1", "ep__context_file_path": "name"},
    "nothing": {"ep__context_enable": "1"},
    "other value": {"ep__context_enable": "2"},
}


@pytest.mark.parametrize("case", SAVING)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_where_to_write_is_checked_as_onnxruntime_does(case: str, as_bytes: bool) -> None:
    source: Any = Path("m.onnx").read_bytes() if as_bytes else "m.onnx"

    def program(module: Any) -> Any:
        options = module.SessionOptions()
        for key, value in SAVING[case].items():
            options.add_session_config_entry(key.replace("__", "."), value)
        module.InferenceSession(source, options, providers=CPU)

    theirs, ours = outcome(program, ort), outcome(program, onnxgpu)
    assert ours[0] == theirs[0], (ours, theirs)
    assert here() == {"m.onnx"}


def test_compiling_can_be_forbidden() -> None:
    with pytest.raises(ModelRequiresCompilation, match=r"would have to compile 5 nodes.*load a model that ModelCompiler made"):
        session("m.onnx", session__disable_model_compile="1")
    saved()
    check(session("m_ctx.onnx", session__disable_model_compile="1"))
    session("m.onnx", ["CPUExecutionProvider"], session__disable_model_compile="1")


def test_a_provider_that_keeps_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvaluatorProvider, "operators", ("Relu",))
    others = ["EvaluatorExecutionProvider", "CPUExecutionProvider"]
    discovery.register("evaluator", EvaluatorProvider)
    try:
        with pytest.raises(Fail, match="EvaluatorExecutionProvider cannot keep in a model what it compiles"):
            session("m.onnx", others, ep__context_enable="1")
        saved(ep__context_embed_mode="1")
        with pytest.raises(NotImplemented, match="EvaluatorExecutionProvider reads no engines from models"):
            session(
                changed(onnx.load("m_ctx.onnx"), source="EvaluatorExecutionProvider"),
                ["EvaluatorExecutionProvider", "CPUExecutionProvider"],
            )
    finally:
        discovery.unregister("evaluator")


def test_options_of_a_provider_may_ask_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """As trt_dump_ep_context_model does: a folder is allowed, and a file that is there is replaced."""
    Path("out").mkdir()
    entries = {"ep.context_enable": "1", "ep.context_file_path": "out", "ep.context_embed_mode": "1"}
    monkeypatch.setattr(KeepingProvider, "context_entries", entries)
    for _ in range(2):
        session("m.onnx")
        assert [path.name for path in Path("out").iterdir()] == ["m_ctx.onnx"]
    session("m.onnx", ep__context_enable="0", ep__context_file_path="off.onnx")
    assert not Path("off.onnx").exists()
    made = session("m.onnx")
    Path("out/m_ctx.onnx").unlink()
    check(pickle.loads(pickle.dumps(made)))
    assert not Path("out/m_ctx.onnx").exists(), "a session that is unpickled writes no second model"


def test_entries_without_effect_are_told(caplog: pytest.LogCaptureFixture) -> None:
    saved(ep__share_ep_contexts="1")
    assert "ep.share_ep_contexts has no effect: each session has engines of its own" in caplog.text


def test_whether_engines_fit_can_be_asked_without_loading_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeepingProvider, "listed", True)
    saved()
    kinds = state.OrtCompiledModelCompatibility
    told = state.get_compatibility_info_from_model("m_ctx.onnx", NAME)
    assert told is not None and json.loads(told) == {"version": "1.0", "hardware": "any"}
    device = next(device for device in onnxgpu.get_ep_devices() if device.ep_name == NAME)
    cpu = next(device for device in onnxgpu.get_ep_devices() if device.ep_name == "CPUExecutionProvider")
    assert state.get_model_compatibility_for_ep_devices([device], told) == kinds.EP_SUPPORTED_OPTIMAL
    assert state.get_model_compatibility_for_ep_devices([device], told.replace("1.0", "2.0")) == kinds.EP_UNSUPPORTED
    for devices, text in (([cpu], told), ([device], "of another program"), ([device], "3")):
        assert state.get_model_compatibility_for_ep_devices(devices, text) == kinds.EP_NOT_APPLICABLE
    monkeypatch.setattr(KeepingProvider, "unavailable", classmethod(lambda cls: "away"))
    assert state.get_model_compatibility_for_ep_devices([device], told) == kinds.EP_UNSUPPORTED


def test_a_session_that_is_copied_writes_no_second_model() -> None:
    made = saved()
    for again in (copy.copy(made), pickle.loads(pickle.dumps(made))):
        check(again)
    with pytest.raises(Fail, match="exists already"):
        saved()


def test_the_optimised_model_of_one_has_its_engines() -> None:
    saved(ep__context_embed_mode="1")
    options = onnxgpu.SessionOptions()
    options.optimized_model_filepath = "optimised.onnx"
    InferenceSession("m_ctx.onnx", options, providers=PROVIDERS)
    check(session("optimised.onnx"))
    assert contexts(onnx.load("optimised.onnx")) == contexts(onnx.load("m_ctx.onnx"))


IN_A_BODY = """g (bool c, float[3,32] x) => (float[3,32] y) {
  a = Abs(x)
  y = If (c) <
    then_branch = then () => (float[3,32] t) { b = Relu(a) t = Mul(b, x) },
    else_branch = otherwise () => (float[3,32] e) { e = Neg(a) }
  >
}"""


def test_segments_in_bodies() -> None:
    onnx.save(model(IN_A_BODY), "m.onnx")
    saved(ep__context_embed_mode="1")
    made = session("m_ctx.onnx", session__disable_model_compile="1")
    for c in (True, False):
        (y,) = made.run(None, {"c": np.array(c), "x": X})
        np.testing.assert_array_equal(y, np.maximum(np.abs(X), 0) * X if c else -np.abs(X))


def test_nothing_is_made_where_there_is_no_folder() -> None:
    for embed in "01":
        with pytest.raises(InvalidArgument, match='open file "nowhere/'):
            saved(ep__context_file_path="nowhere/m.onnx", ep__context_embed_mode=embed)
    assert here() == {"m.onnx"}


@pytest.mark.parametrize("seed", range(0, 90, 3))
def test_random_graphs(seed: int) -> None:
    """Whatever the graph, and however its engines are kept: nothing is compiled again, and the outputs are the same."""
    graph = random_graph(seed)
    feeds = graph.feeds(np.random.default_rng(seed), 2)
    try:
        made = session(graph.model, ep__context_enable="1", ep__context_file_path="r.onnx", ep__context_embed_mode=str(seed % 2))
        wanted = made.run(None, feeds)
    except OnnxGpuError as problem:
        pytest.skip(f"not a valid graph: {problem}")
    assert Path("r.onnx").exists() == (NAME in made.placement.providers())
    if Path("r.onnx").exists():
        KeepingProvider.compiled.clear()
        actual = session("r.onnx").run(None, feeds)
        assert KeepingProvider.compiled == []
        for one, other in zip(actual, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_pinned_elsewhere() -> None:
    saved()
    with pytest.raises(InvalidArgument, match="is pinned by the hint"):
        session("m_ctx.onnx", onnxgpu__placement="op:EPContext=CPUExecutionProvider!")
    check(session("m_ctx.onnx", onnxgpu__placement="op:EPContext=CPUExecutionProvider"))
