"""Whole sessions on the device: right in every run, on every stream, with and without graphs, from and to other libraries' arrays."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import onnx.parser
import pytest

import onnxgpu as ort
from onnxgpu.errors import OutOfMemory

DIGITS = str(files("onnxgpu.demo") / "digits.onnx")
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CHAIN = """<ir_version: 10, opset_import: ["" : 21]> g (float[n,64] x) => (float[n,64] y, float[n,64] z) <float[64,64] w> {
    a = Softmax (x) b = MatMul (a, w) c = Sigmoid (b) y = Softmax (c) d = Neg (y) z = Softmax (d) }"""
LOOP = """<ir_version: 10, opset_import: ["" : 21]> g (int64 n, bool go, float[4,8] x) => (float[4,8] y) {
    y = Loop (n, go, x) <body = b (int64 i, bool c, float[4,8] v) => (bool c2, float[4,8] v2) {
        c2 = Identity (c) f = Cast <to = 1> (i) h = Add (v, f) v2 = Abs (h) }> }"""


def chain() -> onnx.ModelProto:
    made = onnx.parser.parse_model(CHAIN.replace(" <float[64,64] w>", ""))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.random.default_rng(0).random((64, 64), np.float32), "w"))
    return made


def feeds(seed: int, rows: int = 33) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((rows, 64)).astype(np.float32)}


@pytest.mark.parametrize(
    "options",
    [{}, {"enable_cuda_graph": 0}, {"enable_cuda_graph": 1}, {"do_copy_in_default_stream": 1}, {"gpu_mem_limit": 64 << 20}],
    ids=lambda options: next(iter(options), "plain"),
)
def test_every_run_is_right(options: dict[str, Any]) -> None:
    ours, reference = (ort.InferenceSession(chain(), providers=[p]) for p in ((CUDA, options), CPU))
    for seed in range(24):
        feed = feeds(seed, rows=33 + seed % 2)
        for found, expected in zip(ours.run(None, feed), reference.run(None, feed), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_network() -> None:
    ours, reference = (ort.InferenceSession(DIGITS, providers=[p]) for p in (CUDA, CPU))
    assert {a.provider.name for a in ours.placement.assignments.values()} == {CUDA}
    for seed in range(6):
        feed = {"images": np.random.default_rng(seed).random((8, 1, 8, 8), np.float32)}
        np.testing.assert_allclose(ours.run(None, feed)[0], reference.run(None, feed)[0], rtol=1e-3, atol=1e-4)


def test_a_loop() -> None:
    ours, reference = (ort.InferenceSession(onnx.parser.parse_model(LOOP), providers=[p]) for p in (CUDA, CPU))
    for seed in range(6):
        feed = {"n": np.int64(9), "go": np.bool_(True), "x": np.random.default_rng(seed).random((4, 8), np.float32)}
        np.testing.assert_allclose(ours.run(None, feed)[0], reference.run(None, feed)[0], rtol=1e-5)


def test_a_stream_of_the_users(cp: Any) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    ours, reference = (ort.InferenceSession(chain(), providers=[p]) for p in ((CUDA, {"user_compute_stream": stream}), CPU))
    with stream:
        x, y = cp.zeros((33, 64), np.float32), cp.zeros((33, 64), np.float32)
    binding = ours.io_binding()
    binding.bind_input("x", "cuda", 0, np.float32, x.shape, x.data.ptr)
    binding.bind_output("y", "cuda", 0, np.float32, y.shape, y.data.ptr)
    for seed in range(8):
        with stream:
            x.set(feeds(seed)["x"])
        ours.run_with_iobinding(binding)
        with stream:
            doubled = (y * 2).get()
        np.testing.assert_allclose(doubled, 2 * reference.run(["y"], feeds(seed))[0], rtol=1e-4, atol=1e-6)


def test_arrays_of_another_library_and_back(cp: Any) -> None:
    ours, reference = (ort.InferenceSession(chain(), providers=[p]) for p in (CUDA, CPU))
    for seed in range(8):
        x = cp.asarray(feeds(seed)["x"]) * 2
        binding = ours.io_binding()
        binding.bind_ortvalue_input("x", ort.OrtValue.from_dlpack(x))
        binding.bind_output("y", "cuda")
        ours.run_with_iobinding(binding)
        back = cp.from_dlpack(binding.get_outputs()[0]) + 1
        np.testing.assert_allclose(back.get(), reference.run(["y"], {"x": x.get()})[0] + 1, rtol=1e-4, atol=1e-6)


def test_too_little_memory() -> None:
    ours = ort.InferenceSession(chain(), providers=[(CUDA, {"gpu_mem_limit": 1 << 20})])
    with pytest.raises(OutOfMemory, match="does not suffice"):
        ours.run(None, feeds(0, rows=1 << 16))
    assert ours.run(None, feeds(0))[0].shape == (33, 64)


def test_another_device(cp: Any) -> None:
    if cp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one device")
    ours, reference = (ort.InferenceSession(chain(), providers=[p]) for p in ((CUDA, {"device_id": 1}), CPU))
    for seed in range(4):
        np.testing.assert_allclose(ours.run(None, feeds(seed))[0], reference.run(None, feeds(seed))[0], rtol=1e-4, atol=1e-6)
