"""CUDA serves segments of TensorRT's until their engines are there: on the same device, with and without graphs, without a copy."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import onnxgpu
from onnxgpu.errors import EPFail
from onnxgpu.explain import explanation
from onnxgpu.providers.segments import builds, child_process
from onnxgpu.providers.tensorrt import build as build_module
from onnxgpu.providers.tensorrt import compiler, stand_in
from onnxgpu.session import InferenceSession
from onnxgpu.waiting import wait_for
from onnxgpu.warm_up import engine_builds
from tests.models import perceptron
from tests.tensorrt.sessions import CPU, CUDA, TENSORRT, check, rows, session, steps

pytestmark = pytest.mark.usefixtures("tensorrt")

BRANCHES = """g (float[n,8] x) => (float[n,8] y, float[n,8] p) {
  a = Relu (x)
  b = Erf (a)
  c = Add (a, b)
  p = Sigmoid (c)
  y = Mul (c, p)
}"""


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Engines are built when it is set."""
    opened, real = threading.Event(), build_module.build

    def build(request: Any, report: Any) -> bytes:
        while not opened.wait(0.01):
            assert report("waiting for the test", 1, 2)
        return real(request, report)

    monkeypatch.setattr(compiler, "build", build)
    return opened


def engines_launched() -> int:
    return sum(call.member == "execute_async_v3" for call in stand_in.recorded())


def finish(made: InferenceSession, gate: threading.Event) -> None:
    gate.set()
    found = list(engine_builds(made.plan))
    assert found
    assert wait_for(found)
    assert [build.error for build in found] == [None] * len(found)


@pytest.mark.parametrize("graphs", [False, True], ids=["launches", "graphs"])
@pytest.mark.parametrize("proto", [perceptron(3), perceptron(), BRANCHES], ids=["fixed", "bucket", "two segments"])
def test_cuda_serves_meanwhile(proto: Any, graphs: bool, gate: threading.Event) -> None:
    options: dict[str, Any] = {"trt_op_types_to_exclude": "Erf"} if proto is BRANCHES else {}
    behind: Any = [(CUDA, {"enable_cuda_graph": graphs}), CPU]
    made = session(proto, behind=behind, trt_build_in_background=True, trt_cuda_graph_enable=graphs, **options)
    x = rows(3, 8) if proto is BRANCHES else rows(3)
    assert {node["meanwhile"] for node in explanation(made)["nodes"] if node["provider"] == TENSORRT} == {CUDA}
    assert [step for step in steps(made) if step.startswith("transfer")] == ["transfer Tensorrt"] * (3 if proto is BRANCHES else 2)
    check(made, proto, {"x": x}, runs=5)
    assert engines_launched() == 0
    finish(made, gate)
    check(made, proto, {"x": x}, runs=5)
    assert engines_launched() > 0


def test_arrays_of_the_device_stay_there_before_and_after(gate: threading.Event) -> None:
    made = session(perceptron(3), trt_build_in_background=True)
    x = onnxgpu.OrtValue.ortvalue_from_numpy(rows(3), "cuda", 0)
    target = onnxgpu.OrtValue.ortvalue_from_shape_and_type([3, 64], np.float32, "cuda", 0)
    expected = made.run(None, {"x": rows(3)})[0]
    for ready in (False, True):
        if ready:
            finish(made, gate)
        for _ in range(4):
            binding = made.io_binding()
            binding.bind_ortvalue_input("x", x)
            binding.bind_ortvalue_output("y", target)
            made.run_with_iobinding(binding)
            np.testing.assert_allclose(target.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert engines_launched() > 0


def test_what_stood_by_leaves_the_device(gate: threading.Event) -> None:
    made = session(perceptron(3), trt_build_in_background=True)
    check(made, perceptron(3), {"x": rows(3)}, runs=3)
    weights = [weakref.ref(array) for array in made.programs[0].bodies[0][1].plan.constants.values()]
    assert len(weights) == 2
    finish(made, gate)
    check(made, perceptron(3), {"x": rows(3)}, runs=3)
    gc.collect()
    assert all(array() is None for array in weights)


def test_threads_meet_the_change(gate: threading.Event) -> None:
    made = session(perceptron(), trt_build_in_background=True)
    failures: list[BaseException] = []

    def serve(count: int) -> None:
        try:
            for _ in range(6):
                check(made, perceptron(), {"x": rows(count)})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=serve, args=(count,)) for count in (2, 5, 7)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert not failures
    finish(made, gate)
    assert len(list(engine_builds(made.plan))) == 2, "one for 2 rows, one for 5 to 8"


def test_a_session_that_is_gone_leaves_no_build(gate: threading.Event) -> None:
    made = session(perceptron(), trt_build_in_background=True)
    check(made, perceptron(), {"x": rows(3)})
    (thread,) = builds._running
    del made
    thread.join(20)
    assert not thread.is_alive()


def test_a_crash_of_the_builder_is_an_error_and_cuda_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(child_process, "_BOOTSTRAP", "import os; os.write(2, b'double free'); os.abort()")
    with pytest.raises(EPFail, match=r"the process that built .* was ended by SIGABRT; the last that it wrote:\n    double free"):
        session(perceptron(3), trt_build_in_process=True)
    made = session(perceptron(3), trt_build_in_process=True, trt_build_in_background=True)
    check(made, perceptron(3), {"x": rows(3)}, runs=3)
    with pytest.raises(EPFail, match="was ended by SIGABRT"):
        made.warm_up()
    check(made, perceptron(3), {"x": rows(3)}, runs=3)
    assert "was ended by SIGABRT" in caplog.text
    assert engines_launched() == 0
