"""The CUDA provider through whole sessions on the emulated device."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from typing import Any

import ml_dtypes
import numpy as np
import onnx.parser
import pytest

import onnxgpu as ort
from onnxgpu.errors import DeviceReset, InvalidArgument, OutOfMemory
from tests.emulated import PLAIN

DIGITS = str(files("onnxgpu.demo") / "digits.onnx")
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def images(count: int, seed: int = 0) -> dict[str, Any]:
    return {"images": np.random.default_rng(seed).random((count, 1, 8, 8), np.float32)}


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')


@pytest.mark.usefixtures("device")
class TestSession:
    def test_a_network_runs_wholly_on_the_device(self) -> None:
        session = ort.InferenceSession(DIGITS, providers=[CUDA, CPU])
        reference = ort.InferenceSession(DIGITS, providers=[CPU])
        assert {a.provider.name for a in session.placement.assignments.values()} == {CUDA}
        assert [str(step.operation.operator) for step in session.plan.transfers] == ["transfer", "transfer"]
        for count in (4, 4, 1, 4):
            (scores,) = session.run(None, images(count))
            np.testing.assert_allclose(scores, reference.run(None, images(count))[0], rtol=1e-4, atol=1e-5)

    def test_a_run_copies_its_inputs_and_outputs_and_nothing_else(self, device: Any) -> None:
        session = ort.InferenceSession(DIGITS, providers=[CUDA, CPU])
        for _ in range(3):
            session.run(None, images(2))
        device.counters(clear=True)
        session.run(None, images(2))
        counted = device.counters()
        assert (counted["copies_to_device"], counted["copies_to_host"]) == (1, 1)
        assert (counted["bytes_to_device"], counted["bytes_to_host"]) == (2 * 64 * 4, 2 * 10 * 4)
        assert counted["allocations"] == 0
        assert counted["launches"] + counted["library_calls"] + counted["graph_launches"] > 0

    def test_constants_are_uploaded_once(self, device: Any) -> None:
        device.counters(clear=True)
        session = ort.InferenceSession(DIGITS, providers=[CUDA, CPU])
        uploaded = device.counters(clear=True)["bytes_to_device"]
        session.run(None, images(1))
        assert uploaded > device.counters()["bytes_to_device"]

    @pytest.mark.parametrize("lazy", [False, True])
    @pytest.mark.parametrize("schedule", [0, 1, 7])
    def test_any_order_of_threads_and_streams_gives_the_same(self, device: Any, lazy: bool, schedule: int) -> None:
        device.configure(replace(PLAIN, lazy=lazy, schedule=schedule))
        expected = ort.InferenceSession(DIGITS, providers=[CPU]).run(None, images(3))[0]
        session = ort.InferenceSession(DIGITS, providers=[CUDA, CPU])
        for _ in range(3):
            np.testing.assert_allclose(session.run(None, images(3))[0], expected, rtol=1e-4, atol=1e-5)

    def test_a_second_device(self, cp: Any) -> None:
        session = ort.InferenceSession(DIGITS, providers=[(CUDA, {"device_id": 1}), CPU])
        assert {str(step.provider.place) for step in session.plan.steps} == {"cuda:1"}
        session.run(None, images(1))
        with pytest.raises(InvalidArgument, match="has 2 CUDA devices"):
            ort.InferenceSession(DIGITS, providers=[(CUDA, {"device_id": 2}), CPU])

    def test_bfloat16(self) -> None:
        session = ort.InferenceSession(
            model("g (float[4] x) => (float[4] y) { h = Cast <to = 16> (x) d = Add (h, h) y = Cast <to = 1> (d) }"), providers=[CUDA, CPU]
        )
        assert {a.provider.name for a in session.placement.assignments.values()} == {CUDA}
        np.testing.assert_array_equal(session.run(None, {"x": np.arange(4, dtype=np.float32)})[0], np.arange(4) * 2)

    def test_what_stays_on_the_host_says_why(self) -> None:
        options = ort.SessionOptions()
        options.add_session_config_entry("onnxgpu.placement", "mode=listed")
        text = "g (float[4] x) => (float[4] y) { h = Cast <to = 8> (x) c = Cast <to = 1> (h) y = Neg (c) }"
        session = ort.InferenceSession(model(text), options, providers=[CUDA, CPU])
        reasons = {a.operation.outputs[0].name: a for a in session.placement.assignments.values() if a.operation.outputs[0]}
        assert reasons["y"].provider.name == CUDA
        assert dict(reasons["h"].refusals)[CUDA] == "strings stay on the host"

    def test_strings_that_a_body_on_the_device_reads(self) -> None:
        text = """g (bool c, string[n] s, float[2] x) => (float[2] y) {
            y = If (c) <then_branch = a () => (float[2] v) { n = Shape (s) f = Cast <to = 1> (n) v = Mul (x, f) },
                        else_branch = b () => (float[2] w) { w = Neg (x) }> }"""
        options = ort.SessionOptions()
        options.add_session_config_entry("onnxgpu.placement", "mode=listed")
        session = ort.InferenceSession(model(text), options, providers=[CUDA, CPU])
        assert {a.provider.name for a in session.placement if a.operation.operator == "If"} == {CUDA}
        for value in (True, False, True):
            feeds = {"c": np.bool_(value), "s": np.array(["a", "b"], object), "x": np.array([1, 2], np.float32)}
            np.testing.assert_array_equal(session.run(None, feeds)[0], [2, 4] if value else [-1, -2])

    def test_bodies_that_give_constants_alone(self) -> None:
        text = """g (bool c) => (float[2] y) {
            y = If (c) <then_branch = a () => (float[2] v) { v = Constant <value_floats = [1.0, 2.0]> () },
                        else_branch = b () => (float[2] w) { w = Constant <value_floats = [3.0, 4.0]> () }> }"""
        options = ort.SessionOptions()
        options.add_session_config_entry("onnxgpu.placement", "mode=listed")
        session = ort.InferenceSession(model(text), options, providers=[CUDA, CPU])
        for value in (True, False, True):
            np.testing.assert_array_equal(session.run(None, {"c": np.bool_(value)})[0], [1, 2] if value else [3, 4])

    def test_narrow_types_stay_on_the_device(self, device: Any) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        text = """g (float[2,3] x) => (float[3,4] y, float8e4m3fn[3,2] t) {
            h = Cast <to = 17> (x) t = Transpose (h) c = Concat <axis = 1> (t, t) y = Cast <to = 1> (c) }"""
        session = ort.InferenceSession(model(text), options, providers=[CUDA, CPU])
        assert {a.provider.name for a in session.placement.assignments.values()} == {CUDA}
        x = np.array([[0.3, -1.7, 500], [1, 2, 3]], np.float32)
        held = np.clip(x, -448, 448).astype(ml_dtypes.float8_e4m3fn)
        for _ in range(3):
            device.counters(clear=True)
            y, t = session.run(None, {"x": x})
            assert (device.counters()["copies_to_device"], device.counters()["copies_to_host"]) == (1, 2)
            np.testing.assert_array_equal(y, np.concatenate([held.T, held.T], axis=1).astype(np.float32))
            assert t.dtype == held.dtype and t.tobytes() == held.T.tobytes()

    def test_an_operator_without_a_kernel_for_a_narrow_type_says_so(self) -> None:
        options = ort.SessionOptions()
        options.add_session_config_entry("onnxgpu.placement", "mode=listed")
        text = "g (float8e4m3fn[4] x) => (bool[4] y) { y = IsNaN (x) }"
        session = ort.InferenceSession(model(text), options, providers=[CUDA, CPU])
        (assignment,) = session.placement.assignments.values()
        assert dict(assignment.refusals)[CUDA] == "has no kernel for float8e4m3fn, of which CuPy has no arrays"

    def test_too_large_a_tensor(self, device: Any) -> None:
        session = ort.InferenceSession(model("g (float[n] x) => (float[n] y) { y = Neg (x) }"), providers=[CUDA, CPU])
        device.configure(replace(PLAIN, memory=1 << 20))
        with pytest.raises(OutOfMemory, match="does not suffice"):
            session.run(None, {"x": np.zeros(1 << 20, np.float32)})

    def test_a_faulted_device_says_so(self, cp: Any, device: Any) -> None:
        session = ort.InferenceSession(model("g (float[4] x) => (float[4] y) { y = Neg (x) }"), providers=[CUDA, CPU])
        kernel = cp.RawKernel('extern "C" __global__ void trap() { __trap(); }', "trap")
        device.configure(replace(PLAIN, lazy=True))  # the kernel runs when the session's copy waits for it
        kernel((1,), (1,), ())
        with pytest.raises(DeviceReset, match="start a new one"):
            session.run(None, {"x": np.zeros(4, np.float32)})


def test_the_device_is_chosen_by_a_knob() -> None:
    """In a process of its own, where the provider makes the device itself."""
    program = f"""
import onnxgpu, numpy
print(onnxgpu.get_available_providers()[0], onnxgpu.get_device())
session = onnxgpu.InferenceSession({DIGITS!r})
print(session.get_providers(), session.run(None, {{"images": numpy.zeros((1, 1, 8, 8), numpy.float32)}})[0].shape)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines() == [f"{CUDA} GPU", f"['{CUDA}', '{CPU}'] (1, 10)"]


def test_cupy_that_was_imported_too_early_is_refused() -> None:
    program = """
import cupy, onnxgpu
onnxgpu.InferenceSession(onnxgpu.__path__[0] + "/demo/digits.onnx", providers=["CUDAExecutionProvider"])
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "before anything imports cupy" in finished.stderr
