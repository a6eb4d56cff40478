"""Compiled segments in models: OpenVINO's own engines, in a process that has neither the model nor its weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxgpu
from onnxgpu.errors import EPFail
from onnxgpu.providers.openvino import engine
from onnxgpu.session import InferenceSession
from tests.context_models import attributes, changed
from tests.models import model, perceptron
from tests.openvino.test_provider import NAME, PROVIDERS

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def options(**entries: str) -> onnxgpu.SessionOptions:
    made = onnxgpu.SessionOptions()
    for key, value in entries.items():
        made.add_session_config_entry(key.replace("__", "."), value)
    return made


def saved(proto: onnx.ModelProto, embed: str = "0", **settings: str) -> None:
    """`m_ctx.onnx`, made of a model that is gone then."""
    onnx.save(proto, "m.onnx")
    providers: Any = [(NAME, settings), "CPUExecutionProvider"]
    InferenceSession("m.onnx", options(ep__context_enable="1", ep__context_embed_mode=embed), providers=providers)
    Path("m.onnx").unlink()


def loaded(source: Any = "m_ctx.onnx", **settings: str) -> InferenceSession:
    providers: Any = [(NAME, settings), "CPUExecutionProvider"]
    return InferenceSession(source, options(session__disable_model_compile="1"), providers=providers)


def expected(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return InferenceSession(proto, providers=["CPUExecutionProvider"]).run(None, feeds)


def assert_right(made: InferenceSession, proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    for actual, wanted in zip(made.run(None, feeds), expected(proto, feeds), strict=True):
        assert actual.dtype == wanted.dtype
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)


PROGRAM = """
import sys
import numpy as np
import onnxgpu
session = onnxgpu.InferenceSession("m_ctx.onnx", providers=["OpenVINOExecutionProvider", "CPUExecutionProvider"])
np.save("y.npy", session.run(None, {"x": np.load("x.npy")})[0])
print(*(step.operation.operator for step in session.plan.steps))
"""


@pytest.mark.parametrize("embed", ["0", "1"])
def test_a_process_of_its_own(embed: str) -> None:
    saved(perceptron(5), embed)
    x = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    np.save("x.npy", x)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["EPContext"]
    np.testing.assert_allclose(np.load("y.npy"), expected(perceptron(5), {"x": x})[0], rtol=1e-5, atol=1e-6)
    assert Path("m_ctx.onnx").stat().st_size < 4000 or embed == "1"


@pytest.mark.parametrize("rows", [5, "n"], ids=["fixed", "dynamic"])
def test_shapes(rows: int | str) -> None:
    saved(perceptron(rows))
    made = loaded()
    for count in (5, 5, 5) if rows == 5 else (5, 1, 5, 17, 5, 0, 1):
        x = np.random.default_rng(count).standard_normal((count, 64)).astype(np.float32)
        assert_right(made, perceptron(rows), {"x": x})


MIXED = model(
    """g (float[n,4] x, float[n,4] u, int32[n] k) => (float[n,4] y, float[n,4] same, int64[2] sizes, float[n,4] last) {
      a = Relu(x)
      same = Identity(u)
      sizes = Shape(a)
      b, indices = TopK <axis = 1> (a, four)
      y = Add(b, u)
      last = Neg(y)
    }"""
)
MIXED.graph.initializer.append(onnx.numpy_helper.from_array(np.array([4], np.int64), "four"))


@pytest.mark.parametrize("level", [0, 99])
def test_segments_and_others_with_outputs_that_are_inputs_and_inputs_that_nobody_reads(level: int) -> None:
    onnx.save(MIXED, "m.onnx")
    settings = options(ep__context_enable="1", ep__context_embed_mode="1")
    settings.graph_optimization_level = onnxgpu.GraphOptimizationLevel(level)
    feeds = {name: np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32) for name in ("x", "u")}
    feeds["k"] = np.arange(3, dtype=np.int32)
    made = InferenceSession("m.onnx", settings, providers=PROVIDERS)
    assert_right(made, MIXED, feeds)
    operators = [node.op_type for node in onnx.load("m_ctx.onnx").graph.node]
    assert "TopK" in operators and operators.count("EPContext") >= 2
    again = loaded()
    for _ in range(3):
        assert_right(again, MIXED, feeds)


def test_an_engine_of_which_nothing_is_told() -> None:
    """As one that another program wrote: outputs are copied, since one of them may be an input."""
    onnx.save(MIXED, "m.onnx")
    settings = options(ep__context_enable="1", ep__context_embed_mode="1")
    settings.graph_optimization_level = onnxgpu.GraphOptimizationLevel(0)
    InferenceSession("m.onnx", settings, providers=PROVIDERS)
    proto = onnx.load("m_ctx.onnx")
    for node in proto.graph.node:
        told = [a for a in node.attribute if node.op_type != "EPContext" or a.name in ("embed_mode", "ep_cache_context", "source")]
        del node.attribute[:]
        node.attribute.extend(told)
    feeds = {name: np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32) for name in ("x", "u")}
    feeds["k"] = np.arange(3, dtype=np.int32)
    made = loaded(proto)
    for _ in range(3):
        assert_right(made, MIXED, feeds)


def test_an_engine_of_another_version_or_for_other_hardware_is_refused() -> None:
    saved(perceptron(5), embed="1")
    told = attributes(onnx.load("m_ctx.onnx"))
    assert told["ep_sdk_version"].decode() == engine.version()
    with pytest.raises(EPFail, match=r"was compiled by version 2023\.1 of its library, and here is 20.*ModelCompiler"):
        loaded(changed(ep_sdk_version="2023.1"))
    with pytest.raises(EPFail, match="was compiled for CPU sparc, and here is CPU "):
        loaded(changed(hardware_architecture="CPU sparc"))
    loaded(changed(ep_sdk_version=".".join(engine.version().split(".")[:2])))


def test_what_is_no_engine_is_refused() -> None:
    saved(perceptron(5), embed="1")
    whole = attributes(onnx.load("m_ctx.onnx"))["ep_cache_context"]
    for content in (b"junk" * 100, whole[: len(whole) // 2], b"\0" * 10, whole.replace(b"ov=20", b"ov=19")):
        with pytest.raises(EPFail, match=r"the engine 'perceptron:.*' for OpenVINO is not taken by OpenVINO 20"):
            loaded(changed(ep_cache_context=content, notes=""))


def test_an_engine_of_another_node_is_refused() -> None:
    saved(perceptron(5), embed="1")
    proto = changed(notes="")
    proto.graph.node[0].output.append("z")
    proto.graph.value_info.append(helper.make_tensor_value_info("z", 1, [5, 64]))
    with pytest.raises(EPFail, match="and its node declares"):
        loaded(proto)


def test_numbers_are_those_of_the_options_that_it_was_compiled_with(caplog: pytest.LogCaptureFixture) -> None:
    saved(perceptron(5), embed="1", precision="BF16")
    x = np.random.default_rng(5).standard_normal((5, 64)).astype(np.float32)
    rough = InferenceSession(perceptron(5), providers=[(NAME, {"precision": "BF16"})]).run(None, {"x": x})[0]
    made = loaded()
    np.testing.assert_array_equal(made.run(None, {"x": x})[0], rough)
    assert "keeps the settings that it was compiled with" in caplog.text
    assert json.loads(json.loads(attributes(onnx.load("m_ctx.onnx"))["notes"])["engine"]["settings"])["INFERENCE_PRECISION_HINT"] == "bf16"


@pytest.mark.parametrize("notes", [{"settings": "[]"}, {"settings": "{"}, {"passed": "{"}, {"passed": '{"0": 7}'}, {"passed": '{"5": 0}'}])
def test_notes_that_make_no_sense_are_refused(notes: dict[str, str]) -> None:
    saved(perceptron(5), embed="1")
    facts = json.loads(attributes(onnx.load("m_ctx.onnx"))["notes"])
    with pytest.raises(EPFail, match=r"are damaged|passes"):
        loaded(changed(notes=json.dumps(facts | {"engine": facts["engine"] | notes})))


def test_a_setting_that_is_none_of_numbers_is_not_taken_from_a_model(tmp_path: Path) -> None:
    saved(perceptron(5), embed="1")
    facts = json.loads(attributes(onnx.load("m_ctx.onnx"))["notes"])
    facts["engine"]["settings"] = json.dumps({"CACHE_DIR": str(tmp_path / "anywhere")})
    loaded(changed(notes=json.dumps(facts)))
    assert not (tmp_path / "anywhere").exists()


def test_engines_that_are_compiled_in_the_background_are_waited_for() -> None:
    saved(perceptron(5), build_in_background="1")
    assert_right(loaded(), perceptron(5), {"x": np.ones((5, 64), np.float32)})


def test_the_compiler() -> None:
    onnx.save(perceptron("n"), "m.onnx")
    settings = onnxgpu.SessionOptions()
    settings.add_provider(NAME, {})
    settings.add_free_dimension_override_by_name("n", 7)
    content = onnxgpu.ModelCompiler(settings, "m.onnx", embed_compiled_data_into_model=True, flags=1).compile_to_bytes()
    assert [node.op_type for node in onnx.load_from_string(content).graph.node] == ["EPContext"]
    made = loaded(content)
    assert made.get_inputs()[0].shape == [7, 64]
    assert_right(made, perceptron(7), {"x": np.ones((7, 64), np.float32)})
