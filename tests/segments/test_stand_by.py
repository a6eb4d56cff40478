"""While a segment has no engine the next providers run its nodes; from the moment it has one, only that runs."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from onnxgpu.errors import OnnxGpuError
from onnxgpu.explain import explanation
from onnxgpu.session import InferenceSession
from tests.segments.providers import DEVICE_NAME, NAME, EvaluatorProvider, LateKernel, session

CPU, LOOPBACK = "CPUExecutionProvider", "LoopbackExecutionProvider"
CHAIN = """g (float[n,3] x) => (float[n,3] z) {
  a = Relu(x)
  b = Neg(a)
  c = Abs(b)
  d = Sin(c)
  z = Add(a, d)
}"""
NOT_FIRST_OR_LAST = "g (float[n,3] x) => (float[n,3] z) { a = Exp(x)\n b = Neg(a)\n c = Abs(b)\n z = Tanh(c) }"


@pytest.fixture(autouse=True)
def late(evaluator: type[EvaluatorProvider], monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines come when a test says so."""
    monkeypatch.setattr(evaluator, "late", True)


def x(rows: int = 2) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)


def right(made: InferenceSession, given: np.ndarray) -> None:
    expected = np.maximum(given, 0) + np.sin(np.maximum(given, 0))
    np.testing.assert_allclose(made.run(None, {"x": given})[0], expected, rtol=1e-6)


def kernel() -> LateKernel:
    (found,) = EvaluatorProvider.waiting
    return found


def test_the_body_runs_until_the_engine_is_there_and_never_again() -> None:
    made = session(CHAIN)
    for _ in range(4):
        right(made, x())
    assert kernel().engine.launches == 0
    kernel().finish((2, 3))
    for runs in range(1, 5):
        right(made, x())
        assert kernel().engine.launches == runs
    assert "stand_by" not in made.programs[0].sources()[0]


def test_nothing_is_asked_while_nothing_changes() -> None:
    made = session(CHAIN)
    right(made, x())
    asked = len(kernel().asked)
    for _ in range(3):
        right(made, x())
    assert len(kernel().asked) - asked <= 3, "the ordinary run asks once a run, and a fixed plan as often"
    kernel().finish((2, 3))
    right(made, x())
    asked = len(kernel().asked)
    for _ in range(5):
        right(made, x())
    assert len(kernel().asked) == asked, "with an engine nothing is asked any more"


def test_what_stood_by_goes_with_its_memory_once_it_is_never_needed_again() -> None:
    made = session(CHAIN, behind=[LOOPBACK])
    for _ in range(3):
        right(made, x())
    made.run(["z"], {"x": x()})
    ((_, program),) = made.programs[0].bodies
    body = weakref.ref(program)
    del program
    kernel().is_complete = True
    kernel().finish((2, 3))
    assert "stand_by:" in str(made.plan)
    for _ in range(3):
        right(made, x())
    assert "stand_by:" not in str(made.plan)
    assert "Segment" in str(made.plan)
    gc.collect()
    assert body() is None
    right(made, x())
    with pytest.raises(OnnxGpuError, match="Missing Input: x"):
        made.run(None, {"x": None})


def test_what_stood_by_goes_where_the_engine_is_there_before_the_first_run() -> None:
    made = session(CHAIN)
    kernel().is_complete = True
    kernel().finish((2, 3))
    assert "stand_by:" in str(made.plan)
    for _ in range(4):
        right(made, x())
        assert "stand_by:" not in str(made.plan)


def test_after_a_warm_up_nothing_is_left_to_draw_up() -> None:
    made = session(CHAIN)
    kernel().is_complete = True
    kernel().finish((2, 3))
    made.warm_up([{"x": x()}])
    (program,) = made.programs
    assert "stand_by:" not in str(made.plan)
    assert program.sources()
    right(made, x())
    assert made.programs == (program,)


def test_each_shape_changes_by_itself() -> None:
    made = session(CHAIN)
    for rows in (2, 5, 2, 5):
        right(made, x(rows))
    kernel().finish((5, 3))
    for rows in (2, 5, 2, 5):
        right(made, x(rows))
    assert kernel().engine.launches == 2
    kernel().finish((2, 3))
    for rows in (2, 5, 2, 5, 7):
        right(made, x(rows))
    assert kernel().engine.launches == 6


@pytest.mark.parametrize("behind", [[], [LOOPBACK]], ids=["host", "device"])
def test_a_segment_between_other_nodes(behind: list[str]) -> None:
    made = session(NOT_FIRST_OR_LAST, behind=behind)
    for ready in (False, True):
        if ready:
            kernel().finish((2, 3))
        for _ in range(3):
            np.testing.assert_allclose(made.run(None, {"x": x()})[0], np.tanh(np.exp(x())), rtol=1e-6)
    assert kernel().engine.launches == 3


@pytest.mark.parametrize("behind", [[LOOPBACK], []], ids=["the same device", "host"])
def test_values_stay_at_the_place_of_the_segment(behind: list[str]) -> None:
    made = session(CHAIN, first=DEVICE_NAME, behind=behind)
    assert [node["meanwhile"] for node in explanation(made)["nodes"]] == [(behind or [CPU])[0]] * 5
    assert [step.operation.operator for step in made.plan.steps] == ["transfer", "Segment", "transfer"]
    for ready in (False, True):
        if ready:
            kernel().finish((2, 3))
        for _ in range(3):
            right(made, x())


def test_inputs_that_a_segment_wants_on_the_host_are_there_for_the_stand_by_too(evaluator: type[EvaluatorProvider]) -> None:
    evaluator.operators = {"Relu", "Reshape", "Neg"}
    text = "g (float[n,3] x, int64[2] s) => (float[a,b] z) { e = Exp(x)\n a = Relu(e)\n b = Reshape(a, s)\n z = Neg(b) }"
    made = session(text, first=DEVICE_NAME, behind=[LOOPBACK])
    for ready in (False, True):
        if ready:
            kernel().finish((2, 3))
        for shape in ((3, 2), (1, 6), (3, 2)):
            result = made.run(None, {"x": x(), "s": np.array(shape, np.int64)})[0]
            np.testing.assert_allclose(result, -np.exp(x()).reshape(shape), rtol=1e-6)


def test_results_are_the_callers_own_before_and_after() -> None:
    made = session(CHAIN)
    results = []
    for rows in (2, 2, 2):
        results.append((made.run(None, {"x": x()})[0], x(rows)))
    kernel().finish((2, 3))
    for value in range(4):
        given = np.full((2, 3), value, np.float32)
        results.append((made.run(None, {"x": given})[0], given))
    for result, given in results:
        np.testing.assert_allclose(result, np.maximum(given, 0) + np.sin(np.maximum(given, 0)), rtol=1e-6)


def test_what_runs_meanwhile_is_shown() -> None:
    made = session(CHAIN, behind=[LOOPBACK])
    explained = explanation(made)
    assert [node["provider"] for node in explained["nodes"]] == [NAME] * 5
    assert [node["meanwhile"] for node in explained["nodes"]] == [LOOPBACK] * 5
    assert [node["reason"] for node in explained["nodes"]] == [f"first in the list that can run it; meanwhile on {LOOPBACK}"] * 5
    assert f"meanwhile on {LOOPBACK}" in str(made.placement)
    assert explained["transfers"] == [], "those of the stand-by are not what a run costs"
    assert "stand_by:" in str(made.plan)
    made.get_session_options().add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    (subgraph,) = made.get_provider_graph_assignment_info()
    assert (subgraph.ep_name, [node.op_type for node in subgraph.get_nodes()]) == (NAME, ["Relu", "Neg", "Abs", "Sin", "Add"])


def test_the_providers_behind_fuse_what_they_run_meanwhile() -> None:
    EvaluatorProvider.operators = {"Relu", "Sigmoid", "Mul"}
    made = session("g (float[n,3] x) => (float[n,3] z) { a = Relu(x)\n s = Sigmoid(a)\n z = Mul(a, s) }", level=99)
    assert "z = FusedElementwise(x)" in str(made.plan).split("stand_by:")[1]
    given, positive = x(), np.maximum(x(), 0)
    for _ in range(2):
        np.testing.assert_allclose(made.run(None, {"x": given})[0], positive / (1 + np.exp(-positive)), rtol=1e-6)


def test_a_node_that_only_the_segment_has_leaves_no_stand_by(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu.options import SessionOptions
    from tests.models import model

    settings = SessionOptions()
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    made = InferenceSession(model(CHAIN).SerializeToString(), settings, providers=[NAME])
    assert "has no stand-by, so runs wait until it is built" in caplog.text
    assert "runs wait until its segment is built" in str(made.placement)
    kernel().finish((2, 3))
    for _ in range(3):
        right(made, x())
    assert kernel().engine.launches == 3


def test_a_hint_for_the_segments_provider_does_not_bind_the_stand_by() -> None:
    made = session(CHAIN, placement=f"op:Relu={NAME}!")
    right(made, x())
    assert kernel().engine.launches == 0


def test_segments_in_bodies_change_too() -> None:
    text = """g (bool c, float[n,3] x) => (float[n,3] z) {
      e = Exp(x)
      z = If(c) <then_branch = t () => (float[n,3] p) { m = Neg(e)
        p = Abs(m) }, else_branch = e2 () => (float[n,3] q) { q = Sin(e) }>
    }"""
    made = session(text)
    for ready in (False, True):
        for found in EvaluatorProvider.waiting if ready else ():
            found.finish((2, 3))
        for chosen in (True, False, True, True, False):
            expected = np.exp(x()) if chosen else np.sin(np.exp(x()))
            np.testing.assert_allclose(made.run(None, {"c": np.array(chosen), "x": x()})[0], expected, rtol=1e-6)
    assert sum(found.engine.launches for found in EvaluatorProvider.waiting) == 5


def test_threads_meet_the_change() -> None:
    made = session(CHAIN)
    failures: list[BaseException] = []
    stop = threading.Event()

    def serve(rows: int) -> None:
        try:
            while not stop.is_set():
                right(made, x(rows))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=serve, args=(1 + number % 3,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for rows in (1, 2, 3):
        right(made, x(rows))
        kernel().finish((rows, 3))
    for rows in (1, 2, 3):
        right(made, x(rows))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert kernel().engine.launches > 0


def test_a_profile_records_who_runs_meanwhile() -> None:
    made = session(CHAIN)
    steps: list[str] = []
    made.run_observed({"x": x()}, lambda step, *_: steps.append(f"{step.operation.operator} {step.provider.name}"))
    assert steps == [*(f"{operator} {CPU}" for operator in ("Relu", "Neg", "Abs", "Sin", "Add")), f"Segment {NAME}"]
    kernel().finish((2, 3))
    steps.clear()
    made.run_observed({"x": x()}, lambda step, *_: steps.append(f"{step.operation.operator} {step.provider.name}"))
    assert steps == [f"Segment {NAME}"]


def test_memory_that_the_caller_gives_for_outputs_is_used_before_and_after() -> None:
    made = session(CHAIN)
    binding = made.io_binding()
    binding.bind_cpu_input("x", x())
    target = np.zeros((2, 3), np.float32)
    binding.bind_output("z", "cpu", 0, np.float32, (2, 3), target.ctypes.data)
    for ready in (False, True):
        if ready:
            kernel().finish((2, 3))
        for _ in range(3):
            target[...] = 0
            made.run_with_iobinding(binding)
            np.testing.assert_allclose(target, np.maximum(x(), 0) + np.sin(np.maximum(x(), 0)), rtol=1e-6)
