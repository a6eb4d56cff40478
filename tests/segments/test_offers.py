"""What the partitioner offers to a provider of segments, and what becomes of its answers."""

from __future__ import annotations

import numpy as np
import pytest

from onnxgpu.errors import InvalidArgument
from onnxgpu.explain import explanation
from tests.segments.providers import NAME, EvaluatorProvider, session

CHAIN = """g (float[2,3] x) => (float[2,3] z) {
  a = Relu(x)
  b = Neg(a)
  c = Abs(b)
  d = Sin(c)
  z = Add(a, d)
}"""
X = np.array([[-1.0, 0.5, 2.0], [3.0, -4.0, 0.25]], np.float32)
EXPECTED = np.maximum(X, 0) + np.sin(np.maximum(X, 0))


pytestmark = pytest.mark.usefixtures("evaluator")


def names(provider: str, made: object) -> list[str]:
    """Operators of the nodes that a provider has."""
    return [a.operation.operator for a in made.placement.nodes() if a.provider.name == provider]  # type: ignore[attr-defined]


def test_the_whole_graph_is_one_step() -> None:
    made = session(CHAIN)
    assert [step.operation.operator for step in made.plan.steps] == ["Segment"]
    assert names(NAME, made) == ["Relu", "Neg", "Abs", "Sin", "Add"]
    for _ in range(3):
        np.testing.assert_allclose(made.run(None, {"x": X})[0], EXPECTED, rtol=1e-6)


def test_a_segment_does_not_span_what_another_provider_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvaluatorProvider, "operators", {"Relu", "Neg", "Sin", "Add"})
    made = session(CHAIN)
    assert [[o.operator for o in segment.operations] for segment in EvaluatorProvider.offered] == [["Relu", "Neg"], ["Sin", "Add"]]
    assert [value.name for value in EvaluatorProvider.offered[0].outputs] == ["a", "b"]
    assert [value.name for value in EvaluatorProvider.offered[1].inputs] == ["c", "a"]
    np.testing.assert_allclose(made.run(None, {"x": X})[0], EXPECTED, rtol=1e-6)


def test_excluded_nodes_go_on_and_the_rest_is_offered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvaluatorProvider, "excluded", {"Abs"})
    made = session(CHAIN)
    assert [len(segment.operations) for segment in EvaluatorProvider.offered] == [5, 2, 2]
    (absolute,) = (a for a in made.placement.nodes() if a.operation.operator == "Abs")
    assert absolute.provider.name == "CPUExecutionProvider"
    assert absolute.refusals == ((NAME, "Abs is too much"),)
    np.testing.assert_allclose(made.run(None, {"x": X})[0], EXPECTED, rtol=1e-6)


def test_a_refused_segment_goes_to_the_next_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvaluatorProvider, "refusal", "not today")
    made = session(CHAIN)
    assert made.placement.providers() == ("CPUExecutionProvider",)
    assert all((NAME, "not today") in assignment.refusals for assignment in made.placement)
    np.testing.assert_allclose(made.run(None, {"x": X})[0], EXPECTED, rtol=1e-6)


def test_a_segment_that_is_too_small_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvaluatorProvider, "operators", {"Relu", "Neg", "Sin"})
    made = session(CHAIN, least_nodes=2)
    assert [len(segment.operations) for segment in EvaluatorProvider.offered] == [2]
    (sine,) = (a for a in made.placement.nodes() if a.operation.operator == "Sin")
    assert sine.refusals == ((NAME, "a segment of 1 nodes is less than the 2 it takes"),)


def test_nodes_that_nothing_reads_are_no_segment() -> None:
    made = session("g (float[2,3] x) => (float[2,3] z) { z = Exp(x)\n a = Relu(x)\n b = Neg(a) }")
    assert not EvaluatorProvider.offered
    assert {reason for a in made.placement.nodes() for _, reason in a.refusals} == {"no Exp here", "nothing reads what the segment gives"}
    np.testing.assert_allclose(made.run(None, {"x": X})[0], np.exp(X), rtol=1e-6)


def test_a_hard_hint_that_no_segment_keeps_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EvaluatorProvider, "refusal", "not today")
    with pytest.raises(InvalidArgument, match=r"Relu.*is pinned to EvaluatorExecutionProvider .* but not today; make the hint soft"):
        session(CHAIN, placement=f"op:Relu={NAME}!")


def test_weights_are_constants_of_the_segment_and_not_its_inputs() -> None:
    made = session("g (float[2,3] x) => (float[2,3] z) { w = Constant<value = float[3] {1,2,3}>()\n y = Add(x, w)\n z = Relu(y) }", level=1)
    (segment,) = EvaluatorProvider.offered
    assert [value.name for value in segment.inputs] == ["x"]
    np.testing.assert_array_equal(made.run(None, {"x": X})[0], np.maximum(X + np.array([1, 2, 3], np.float32), 0))


def test_bodies_have_segments_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a body reads from outside is an input of its segment; the graph outside gives it although no node there reads it."""
    text = """g (bool c, float[2,3] x) => (float[2,3] z) {
      a = Relu(x)
      z = If(c) <then_branch = t () => (float[2,3] p) { m = Neg(a)
        p = Abs(m) }, else_branch = e () => (float[2,3] q) { q = Sin(a) }>
    }"""
    made = session(text)
    assert sorted(len(segment.operations) for segment in EvaluatorProvider.offered) == [1, 1, 2]
    for chosen in (True, False, True):
        expected = np.maximum(X, 0) if chosen else np.sin(np.maximum(X, 0))
        np.testing.assert_allclose(made.run(None, {"c": np.array(chosen), "x": X})[0], expected, rtol=1e-6)


def test_explanations_and_assignments_name_the_models_nodes() -> None:
    made = session(CHAIN)
    explained = explanation(made)
    assert [node["operator"] for node in explained["nodes"]] == ["Relu", "Neg", "Abs", "Sin", "Add"]
    assert explained["counts"] == {NAME: 5}
    made.get_session_options().add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    (subgraph,) = made.get_provider_graph_assignment_info()
    assert (subgraph.ep_name, [node.op_type for node in subgraph.get_nodes()]) == (NAME, ["Relu", "Neg", "Abs", "Sin", "Add"])
