"""Segments that OpenVINO compiles while the session serves: a real engine behind the machinery that all providers of segments share."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu.errors import EPFail
from onnxgpu.explain import explanation
from onnxgpu.providers.openvino import engine
from onnxgpu.providers.segments import builds
from onnxgpu.session import InferenceSession
from onnxgpu.warm_up import engine_builds
from tests.models import model

pytest.importorskip("openvino")

NAME, CPU, LOOPBACK = "OpenVINOExecutionProvider", "CPUExecutionProvider", "LoopbackExecutionProvider"
CHAIN = "g (float[n,8] x) => (float[n,8] z) { a = Sigmoid(x)\n b = Mul(a, x)\n z = Softmax(b) }"


def session(proto: onnx.ModelProto, behind: tuple[str, ...] = (CPU,), **options: Any) -> InferenceSession:
    settings = {"build_in_background": "1", **{key: str(value) for key, value in options.items()}}
    return InferenceSession(proto.SerializeToString(), providers=[(NAME, settings), *behind])


def right(made: InferenceSession, rows: int = 3) -> None:
    x = np.random.default_rng(rows).standard_normal((rows, 8)).astype(np.float32)
    b = x / (1 + np.exp(-x))
    e = np.exp(b - b.max(axis=1, keepdims=True))
    np.testing.assert_allclose(made.run(None, {"x": x})[0], e / e.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Compiling goes on when it is set."""
    opened, real = threading.Event(), engine.compiled

    def compiled(*arguments: Any) -> Any:
        assert opened.wait(30)
        return real(*arguments)

    monkeypatch.setattr(engine, "compiled", compiled)
    return opened


@pytest.mark.parametrize("behind", [(CPU,), (LOOPBACK, CPU)], ids=["cpu", "device"])
def test_the_next_provider_serves_until_openvino_has_compiled(gate: threading.Event, behind: tuple[str, ...]) -> None:
    made = session(model(CHAIN), behind)
    assert [node["meanwhile"] for node in explanation(made)["nodes"]] == [behind[0]] * 3
    for rows in (3, 3, 3, 5):
        right(made, rows)
    gate.set()
    made.warm_up([{"x": np.zeros((3, 8), np.float32)}])
    for rows in (3, 3, 5, 1, 0):
        right(made, rows)
    assert [step.operation.operator for step in made.plan.steps if not step.is_transfer] == ["Segment"]
    assert "stand_by:" not in str(made.plan), "OpenVINO's engine is for all shapes"
    assert "launch_Segment" in made.programs[0].sources()[0]


def test_what_cannot_be_converted_goes_to_the_next_provider() -> None:
    made = session(model("g (float[2,4,4] x) => (float[2] y) { a = Relu(x)\n b = Det(a)\n y = Relu(b) }"))
    assert [a.provider.name for a in made.placement.nodes()] == [NAME, CPU, NAME]
    made.warm_up()
    x = np.random.default_rng(0).standard_normal((2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(made.run(None, {"x": x})[0], np.maximum(np.linalg.det(np.maximum(x, 0)), 0), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_compiled_stays_where_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no primitive")

    monkeypatch.setattr(engine, "compiled", refuse)
    made = session(model(CHAIN))
    for _ in range(3):
        right(made)
    with pytest.raises(EPFail, match="segment 'g:Sigmoid' of 3 nodes could not be built: no primitive"):
        made.warm_up([{"x": np.zeros((3, 8), np.float32)}])
    right(made)


def test_a_session_that_is_gone_leaves_no_thread(gate: threading.Event) -> None:
    made = session(model(CHAIN))
    right(made)
    (build,) = engine_builds(made.plan)
    thread = build._thread  # type: ignore[attr-defined]
    del made, build
    gc.collect()
    gate.set()
    thread.join(30)
    assert not thread.is_alive()
    assert not builds._running


def test_the_cache_works_in_the_background_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session(model(CHAIN), cache_dir=tmp_path).warm_up()
    assert len(list(tmp_path.glob("*.engine"))) == 1

    def never(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(engine, "compiled", never)
    made = session(model(CHAIN), cache_dir=tmp_path)
    made.warm_up([{"x": np.zeros((3, 8), np.float32)}])
    right(made)


def test_a_session_is_slower_to_start_only_by_converting(gate: threading.Event) -> None:
    """Nothing is compiled until the session is made: here it never is."""
    made = session(model(CHAIN))
    assert [build.is_done for build in engine_builds(made.plan)] == [False]
    gate.set()
    options = onnxgpu.SessionOptions()
    options.add_session_config_entry("onnxgpu.warm_up", "1")
    ready = InferenceSession(model(CHAIN).SerializeToString(), options, providers=[(NAME, {"build_in_background": "1"}), CPU])
    assert [build.is_done for build in engine_builds(ready.plan)] == [True]
