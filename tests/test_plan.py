"""The plan as text: steps, transfers, last uses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxgpu.plan.arena import ALIGNMENT, Buffer, assign_offsets
from onnxgpu.plan.check import check_plan
from tests.models import session

LOOPBACK = ["LoopbackExecutionProvider", "CPUExecutionProvider"]


def plan_text(text: str, placement: str, providers: list[str] | None = None) -> str:
    return str(session(text, providers or LOOPBACK, placement=f"{placement};mode=listed").plan)


def test_values_are_freed_after_their_last_use() -> None:
    text = "g (float[2] x) => (float[2] z) { y = Relu(x)\n a = Neg(y)\n z = Add(a, y) }"
    assert str(session(text, ["CPUExecutionProvider"]).plan) == (
        "plan g(x) -> (z)\n"
        "  y = Relu(x) on CPUExecutionProvider, frees x\n"
        "  a = Neg(y) on CPUExecutionProvider\n"
        "  z = Add(a, y) on CPUExecutionProvider, frees y, a"
    )


def test_transfers_are_steps() -> None:
    text = "g (float[2] x) => (float[2] z) { y = Relu(x)\n z = Neg(y) }"
    assert plan_text(text, "op:Neg=CPUExecutionProvider") == (
        "plan g(x) -> (z)\n"
        "  x@loopback:0 = transfer(x) on LoopbackExecutionProvider, frees x\n"
        "  y@loopback:0 = Relu(x@loopback:0) on LoopbackExecutionProvider, frees x@loopback:0\n"
        "  y = transfer(y@loopback:0) on LoopbackExecutionProvider, frees y@loopback:0\n"
        "  z = Neg(y) on CPUExecutionProvider, frees y"
    )


def test_a_value_is_copied_once_however_many_read_it() -> None:
    text = "g (float[2] x) => (float[2] a, float[2] b) { y = Relu(x)\n a = Neg(y)\n b = Abs(y) }"
    found = plan_text(text, "op:Neg=CPUExecutionProvider;op:Abs=CPUExecutionProvider")
    assert found.count("y = transfer") == 1


def test_a_value_is_not_copied_back_to_where_it_came_from() -> None:
    """Both devices read x: it goes up once to each, and its host copy is used for the host reader."""
    text = "g (float[2] x) => (float[2] a, float[2] b, float[2] c) { a = Relu(x)\n b = Neg(x)\n c = Relu(x) }"
    found = plan_text(text, "op:Neg=CPUExecutionProvider")
    assert found.count("x@loopback:0 = transfer(x)") == 1
    assert "Neg(x)" in found


def test_constants_are_uploaded_when_the_plan_is_made() -> None:
    text = "g (float[2] x) => (float[2] z) <float[2] w = {1.0, 2.0}> { z = Add(x, w) }"
    found = plan_text(text, "op:None=CPUExecutionProvider")
    assert "constants w@loopback:0" in found
    assert "transfer(w)" not in found


def test_two_devices_of_one_kind_are_two_places() -> None:
    text = "g (float[2] x) => (float[2] z) { y = Relu(x)\n z = Neg(y) }"
    second = [("LoopbackExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]
    assert "y@loopback:1" in str(session(text, second, placement="mode=listed").plan)


def test_a_loop_body_has_its_own_plan() -> None:
    text = """g (int64 n, bool c, float[2] x, float[2] w) => (float[2] z) {
      z = Loop (n, c, x) <body = b (int64 i, bool k, float[2] v) => (bool k2, float[2] v2) { k2 = Identity(k)\n v2 = Add(v, w) }>
    }"""
    assert str(session(text, ["CPUExecutionProvider"]).plan) == (
        "plan g(n, c, x, w) -> (z)\n"
        "  z = Loop(n, c, x, w) on CPUExecutionProvider, frees n, c, x, w\n"
        "    body:\n"
        "      plan b(i, k, v, w) -> (k2, v2)\n"
        "        k2 = Identity(k) on CPUExecutionProvider, frees k\n"
        "        v2 = Add(v, w) on CPUExecutionProvider, frees v, w"
    )


def test_the_checker_sees_a_value_read_after_it_was_freed() -> None:
    plan = session("g (float[2] x) => (float[2] z) { y = Relu(x)\n z = Neg(y) }", ["CPUExecutionProvider"]).plan
    y = plan.steps[0].outputs[0]
    broken = replace(plan, steps=(replace(plan.steps[0], releases=(y,)), plan.steps[1]))
    with pytest.raises(AssertionError, match=r"reads 'y'.*already freed"):
        check_plan(broken)


def test_the_checker_sees_a_value_at_the_wrong_place() -> None:
    plan = session("g (float[2] x) => (float[2] z) { z = Relu(x) }", LOOPBACK, placement="mode=listed").plan
    relu = next(step for step in plan.steps if not step.is_transfer)
    broken = replace(plan, steps=tuple(replace(s, inputs=plan.inputs if s is relu else s.inputs, releases=()) for s in plan.steps))
    with pytest.raises(AssertionError, match=r"reads 'x'.*at host"):
        check_plan(broken)


def test_buffers_alive_together_do_not_overlap() -> None:
    buffers = [Buffer(100, 0, 2), Buffer(200, 1, 3), Buffer(100, 3, 4), Buffer(50, 2, 2), Buffer(0, 0, 4)]
    offsets, total = assign_offsets(buffers)
    for i, first in enumerate(buffers):
        assert offsets[i] + first.nbytes <= total
        for j, second in enumerate(buffers[:i]):
            if first.first <= second.last and second.first <= first.last and first.nbytes and second.nbytes:
                assert offsets[i] + first.nbytes <= offsets[j] or offsets[j] + second.nbytes <= offsets[i]
    assert total < sum(b.nbytes for b in buffers) + 5 * ALIGNMENT
