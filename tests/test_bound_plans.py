"""Plans for inputs and outputs that lie on a device, as text."""

from __future__ import annotations

import pytest

from onnxgpu.plan import bound
from onnxgpu.plan.check import check_plan
from onnxgpu.provider import HOST, Place
from onnxgpu.providers.cpu.provider import CPUProvider
from onnxgpu.providers.loopback.provider import LoopbackProvider
from tests.models import session

LOOPBACK = ["LoopbackExecutionProvider", "CPUExecutionProvider"]
THERE, ELSEWHERE = Place("loopback", 0), Place("loopback", 1)
PROVIDERS = (LoopbackProvider(), LoopbackProvider({"device_id": 1}), CPUProvider())


def text_of(text: str, inputs: dict[int, Place], outputs: dict[int, Place], placement: str = "") -> str:
    plan = session(text, LOOPBACK, placement=f"{placement};mode=listed").plan
    before = str(plan)
    made = bound(plan, inputs, outputs, PROVIDERS)
    check_plan(made)
    assert str(plan) == before, "a plan is immutable"
    return str(made)


CHAIN = "g (float[2] x) => (float[2] z) { y = Relu(x)\n z = Neg(y) }"


def test_nothing_is_copied_where_all_lies_on_the_device() -> None:
    assert text_of(CHAIN, {0: THERE}, {0: THERE}) == (
        "plan g(x@loopback:0) -> (z@loopback:0)\n"
        "  y@loopback:0 = Relu(x@loopback:0) on LoopbackExecutionProvider, frees x@loopback:0\n"
        "  z@loopback:0 = Neg(y@loopback:0) on LoopbackExecutionProvider, frees y@loopback:0"
    )


def test_an_input_on_the_device_goes_home_for_a_reader_on_the_host() -> None:
    assert text_of(CHAIN, {0: THERE}, {}, "op:Relu=CPUExecutionProvider") == (
        "plan g(x@loopback:0) -> (z)\n"
        "  x = transfer(x@loopback:0) on LoopbackExecutionProvider, frees x@loopback:0\n"
        "  y = Relu(x) on CPUExecutionProvider, frees x\n"
        "  y@loopback:0 = transfer(y) on LoopbackExecutionProvider, frees y\n"
        "  z@loopback:0 = Neg(y@loopback:0) on LoopbackExecutionProvider, frees y@loopback:0\n"
        "  z = transfer(z@loopback:0) on LoopbackExecutionProvider, frees z@loopback:0"
    )


def test_an_output_of_the_host_goes_to_the_device_where_it_is_wanted() -> None:
    assert text_of(CHAIN, {}, {0: THERE}, "op:Neg=CPUExecutionProvider").splitlines()[-2:] == [
        "  z = Neg(y) on CPUExecutionProvider, frees y",
        "  z@loopback:0 = transfer(z) on LoopbackExecutionProvider, frees z",
    ]


def test_between_two_devices_it_goes_through_the_host() -> None:
    assert text_of(CHAIN, {0: ELSEWHERE}, {0: ELSEWHERE}) == (
        "plan g(x@loopback:1) -> (z@loopback:1)\n"
        "  x = transfer(x@loopback:1) on LoopbackExecutionProvider, frees x@loopback:1\n"
        "  x@loopback:0 = transfer(x) on LoopbackExecutionProvider, frees x\n"
        "  y@loopback:0 = Relu(x@loopback:0) on LoopbackExecutionProvider, frees x@loopback:0\n"
        "  z@loopback:0 = Neg(y@loopback:0) on LoopbackExecutionProvider, frees y@loopback:0\n"
        "  z = transfer(z@loopback:0) on LoopbackExecutionProvider, frees z@loopback:0\n"
        "  z@loopback:1 = transfer(z) on LoopbackExecutionProvider, frees z"
    )


def test_between_two_devices_that_reach_each_other_it_goes_directly() -> None:
    peers = {"peers": True}
    plan = session(CHAIN, [("LoopbackExecutionProvider", peers), "CPUExecutionProvider"], placement="mode=listed").plan
    providers = (plan.steps[0].provider, LoopbackProvider({"device_id": 1, **peers}), CPUProvider())
    made = bound(plan, {0: ELSEWHERE}, {0: ELSEWHERE}, providers)
    check_plan(made)
    assert str(made) == (
        "plan g(x@loopback:1) -> (z@loopback:1)\n"
        "  x@loopback:0 = transfer(x@loopback:1) on LoopbackExecutionProvider, frees x@loopback:1\n"
        "  y@loopback:0 = Relu(x@loopback:0) on LoopbackExecutionProvider, frees x@loopback:0\n"
        "  z@loopback:0 = Neg(y@loopback:0) on LoopbackExecutionProvider, frees y@loopback:0\n"
        "  z@loopback:1 = transfer(z@loopback:0) on LoopbackExecutionProvider, frees z@loopback:0"
    )


def test_an_output_that_is_read_on_the_host_too_is_copied_for_that_reader() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x)\n z = Neg(y) }"
    assert text_of(text, {0: THERE}, {0: THERE}, "op:Neg=CPUExecutionProvider") == (
        "plan g(x@loopback:0) -> (y@loopback:0, z)\n"
        "  y@loopback:0 = Relu(x@loopback:0) on LoopbackExecutionProvider, frees x@loopback:0\n"
        "  y = transfer(y@loopback:0) on LoopbackExecutionProvider\n"
        "  z = Neg(y) on CPUExecutionProvider, frees y"
    )


def test_who_reads_only_a_shape_needs_no_copy() -> None:
    text = "g (float[N] x) => (int64[1] n) { n = Shape(x) }"
    assert text_of(text, {0: THERE}, {}, "op:Shape=CPUExecutionProvider") == (
        "plan g(x@loopback:0) -> (n)\n  n = Shape(x@loopback:0) on CPUExecutionProvider, frees x@loopback:0"
    )


def test_an_input_that_is_an_output() -> None:
    text = "g (float[2] x) => (float[2] x, float[2] y) { y = Relu(x) }"
    assert text_of(text, {0: THERE}, {0: THERE}).splitlines()[0] == "plan g(x@loopback:0) -> (x@loopback:0, y)"
    assert "x = transfer(x@loopback:0)" in text_of(text, {0: THERE}, {})


def test_a_constant_output_is_uploaded_when_the_plan_is_made() -> None:
    text = "g (float[2] x) => (float[2] w, float[2] y) <float[2] w = {1.0, 2.0}> { y = Relu(x) }"
    found = text_of(text, {0: THERE}, {0: THERE, 1: THERE})
    assert "constants w@loopback:0" in found
    assert "transfer" not in found


@pytest.mark.parametrize("places", [{}, {0: HOST}], ids=str)
def test_on_the_host_the_plan_stays_as_it_is(places: dict[int, Place]) -> None:
    plan = session(CHAIN, LOOPBACK, placement="mode=listed").plan
    assert str(bound(plan, places, places, PROVIDERS)) == str(plan)
