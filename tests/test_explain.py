"""What `explain` tells: every node with its provider and reason, every transfer with its bytes, as data and as text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from onnxgpu import InferenceSession, SessionOptions
from onnxgpu.explain import explanation, explanation_text
from tests.models import model, session

CPU, LOOPBACK = "CPUExecutionProvider", "LoopbackExecutionProvider"
PROVIDERS = [LOOPBACK, CPU]
SPLIT = "g (float[N,4] x) => (float[N,4] z) { [first] a = Neg(x)\n [second] b = Abs(a)\n [third] z = Neg(b) }"
HINT = "op:Abs=CPUExecutionProvider; mode=listed"
LOOP = """g (float[N,4] x) => (float[N,4] y) {
  n = Constant<value = int64 {2}>()
  t = Constant<value = bool {1}>()
  y = Loop<body = step (int64 i, bool c, float[N,4] a) => (bool d, float[N,4] b) { d = Identity(c)
    e = Neg(a)
    b = Abs(e) }>(n, t, x)
}"""


def split() -> InferenceSession:
    return session(SPLIT, PROVIDERS, placement=HINT)


def transfers(opened: InferenceSession) -> list[tuple[Any, ...]]:
    return [(row["value"], row["bytes"], row["from"], row["to"]) for row in explanation(opened)["transfers"]]


def test_nodes_and_reasons() -> None:
    explained = explanation(split())
    assert [(node["name"], node["operator"], node["provider"]) for node in explained["nodes"]] == [
        ("first", "Neg", LOOPBACK),
        ("second", "Abs", CPU),
        ("third", "Neg", LOOPBACK),
    ]
    assert [node["reason"] for node in explained["nodes"]] == [
        "first in the list that can run it",
        "pinned by a hint",
        "first in the list that can run it",
    ]
    assert explained["counts"] == {LOOPBACK: 2, CPU: 1}
    assert explained["providers"] == PROVIDERS
    assert explained["unavailable"] == []


def test_why_not_the_others() -> None:
    text = "g (string[2] x) => (string[2] y) { y = StringConcat(x, x) }"
    (node,) = explanation(session('<ir_version: 8, opset_import: ["" : 20]>\n' + text, PROVIDERS))["nodes"]
    assert node["provider"] == CPU
    assert [item["provider"] for item in node["not"]] == [LOOPBACK]
    assert node["not"][0]["reason"]


def test_bytes_of_transfers_are_those_of_the_last_run() -> None:
    opened = split()
    ends = [("x", "host", "loopback:0"), ("a", "loopback:0", "host"), ("b", "host", "loopback:0"), ("z", "loopback:0", "host")]
    for rows in (None, 1, 3, 3, 1):
        if rows is not None:
            opened.run(None, {"x": np.ones((rows, 4), np.float32)})
        assert transfers(opened) == [(value, rows and rows * 16, source, target) for value, source, target in ends]


def test_bytes_are_known_beforehand_where_shapes_are() -> None:
    options = SessionOptions()
    options.add_free_dimension_override_by_name("N", 2)
    options.add_session_config_entry("onnxgpu.placement", HINT)
    opened = InferenceSession(model(SPLIT), options, PROVIDERS)
    assert [row[1] for row in transfers(opened)] == [32] * 4


def test_a_run_for_some_outputs_tells_its_part() -> None:
    text = SPLIT.replace("(float[N,4] z)", "(float[N,4] z, float[N,4] b)")
    opened = session(text, PROVIDERS, placement=HINT)
    opened.run(["b"], {"x": np.ones((2, 4), np.float32)})
    assert {row[0]: row[1] for row in transfers(opened)} == {"x": 32, "a": 32, "b": 32, "z": None}


def test_transfers_inside_bodies() -> None:
    opened = session(LOOP, PROVIDERS, placement=HINT)
    inside = {"a": ("host", "loopback:0"), "e": ("loopback:0", "host")}
    for size in (None, 48):
        assert [row for row in transfers(opened) if row[0] in inside] == [(name, size, *ends) for name, ends in inside.items()]
        np.testing.assert_array_equal(opened.run(None, {"x": np.ones((3, 4), np.float32)})[0], 1)


def test_producers_and_consumers() -> None:
    rows = explanation(split())["transfers"]
    assert [(row["producer"], row["consumers"]) for row in rows] == [
        ("graph input", ["Neg 'first'"]),
        ("Neg 'first'", ["Abs 'second'"]),
        ("Abs 'second'", ["Neg 'third'"]),
        ("Neg 'third'", ["graph output"]),
    ]


def test_the_explanation_is_json() -> None:
    opened = split()
    opened.run(None, {"x": np.ones((2, 4), np.float32)})
    explained = explanation(opened)
    assert json.loads(json.dumps(explained)) == explained


def test_text() -> None:
    opened = split()
    text = explanation_text(explanation(opened), width=160)
    assert "transfers: 4 (4 of a size known only in the run)" in text
    assert f"nodes by provider: {LOOPBACK} 2, {CPU} 1" in text
    opened.run(None, {"x": np.ones((100, 4), np.float32)})
    text = explanation_text(explanation(opened), width=160)
    assert "transfers: 4, 6,400 bytes\n" in text
    row = next(line for line in text.splitlines() if "Abs 'second'" in line and "Neg 'first'" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["a", "1,600", "loopback:0", "host", "Neg 'first'", "Abs 'second'"]


@pytest.mark.parametrize("name", ["layer[0]/[/b]", "[bold]x", "ns:smile:x", "a\\[b]"])
def test_names_are_shown_as_they_are(name: str) -> None:
    """Names with brackets and colons are neither markup nor emoji."""
    made = model(SPLIT)
    made.graph.node[2].name = name
    assert name in explanation_text(explanation(InferenceSession(made, providers=[CPU])), width=200)
