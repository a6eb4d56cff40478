"""Convolutions that our own kernels compute in less time come before the libraries, which take the others."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnx.parser
import pytest

import onnxgpu as ort
from onnxgpu.dtypes import dtype_named
from onnxgpu.providers.cuda.libraries import found, own_convolutions
from tests.emulated import LIBRARIES_MISSING
from tests.emulated.test_libraries import random, reason

pytestmark = [pytest.mark.skipif(LIBRARIES_MISSING is not None, reason=str(LIBRARIES_MISSING)), pytest.mark.usefixtures("device")]
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
OURS = "; by onnxgpu's own kernel, where it is faster than a library's"
CONVOLUTION = "Conv <pads = [1,1,1,1]> (x, w)"


def model(x: str, w: np.ndarray, convolution: str = CONVOLUTION) -> bytes:
    kind = x.partition("[")[0]
    made = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g ({x} x) => ({kind}[N,M,H,W] y) {{ y = {convolution} }}')
    made.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    serialized: bytes = made.SerializeToString()
    return serialized


def session(*arguments: Any, **options: Any) -> ort.InferenceSession:
    return ort.InferenceSession(model(*arguments), providers=[(CUDA, options), CPU])


def results(made: ort.InferenceSession, x: np.ndarray) -> np.ndarray:
    return np.asarray([made.run(None, {"x": x})[0] for _ in range(4)][-1], np.float32)


def test_transformed_windows_that_fill_a_tile() -> None:
    w = random(64, 32, 3, 3)
    assert reason(session("float[1,32,12,12]", w)).endswith(OURS)
    assert reason(session("float[8,32,6,6]", w)).endswith(OURS)
    for few in ("float[1,32,6,6]", "float[3,32,6,6]"):
        assert reason(session(few, w)).endswith(f"; by cuBLASLt {found.cublas_lt().version}")
    for other in ("Conv <pads = [1,1,1,1], strides = [2,2]> (x, w)", "Conv <dilations = [2,2]> (x, w)"):
        assert reason(session("float[1,32,48,48]", w, other)).endswith(f"; by cuBLASLt {found.cublas_lt().version}")
    x = random(1, 32, 12, 12)
    expected = results(ort.InferenceSession(model("float[1,32,12,12]", w), providers=[CPU]), x)
    np.testing.assert_allclose(results(session("float[1,32,12,12]", w), x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_halves_that_take_few_products(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    w, shape = random(8, 16, 3, 3).astype(dtype_named(kind)), f"{kind}[2,16,7,7]"
    monkeypatch.setattr(own_convolutions, "_MOST_PRODUCTS", 2 * 8 * 49 * 16 * 9)
    assert reason(session(shape, w)).endswith(OURS)
    assert reason(session(shape, w, "Conv <pads = [1,1,1,1], strides = [2,2]> (x, w)")).endswith(OURS)
    single = random(8, 16, 1, 1).astype(w.dtype)
    assert reason(session(shape, single, "Conv <strides = [2,2]> (x, w)")).endswith(OURS)
    assert "; by cuBLASLt " in reason(session(shape, single, "Conv (x, w)"))
    monkeypatch.setattr(own_convolutions, "_MOST_PRODUCTS", 2 * 8 * 49 * 16 * 9 - 1)
    assert "; by cuDNN " in reason(session(shape, w))


@pytest.mark.parametrize(("sizes", "library_calls"), [((6, 12, 6), (1, 0, 1)), ((12, 6, 12), (0, 1, 0))])
def test_sizes_that_are_known_when_it_runs(sizes: Any, library_calls: Any, device: Any, caplog: pytest.LogCaptureFixture) -> None:
    w = random(64, 32, 3, 3)
    made = session("float[1,32,H,W]", w)
    reference = ort.InferenceSession(model("float[1,32,H,W]", w), providers=[CPU])
    assert reason(made).endswith(OURS)
    with caplog.at_level(logging.INFO, "onnxgpu"):
        for size, calls in zip(sizes, library_calls, strict=True):
            x = random(1, 32, size, size)
            np.testing.assert_allclose(results(made, x), results(reference, x), rtol=1e-4, atol=1e-4)
            device.counters(clear=True)
            made.run(None, {"x": x})
            assert device.counters()["library_calls"] == calls
    assert "is expected to take longer than a library's here; the next implementation runs it" in caplog.text


def test_options_come_before_what_is_faster() -> None:
    w, x = random(64, 32, 3, 3), "float[1,32,12,12]"
    assert reason(session(x, w, enable_cublas=0, enable_cudnn=0)).endswith("kernel: enable_cublas is off; enable_cudnn is off")
    assert reason(session(x, w, enable_cudnn=0)).endswith(OURS)
    assert reason(session(x, w, enable_cublas=1)).endswith(f"; by cuBLASLt {found.cublas_lt().version}")
    assert "; by cuDNN " in reason(session(x, w, enable_cudnn=1, enable_cublas=0))
    assert "; by cuDNN " in reason(session(x, w, CONVOLUTION, use_tf32=1))


def test_gpus_and_groups_for_which_nothing_was_measured() -> None:
    names = [own_convolutions.registry_for(capability, False).has("Conv", "") for capability in (75, 80, 90)]
    assert names == [False, True, True]
    w = random(8, 8, 3, 3, dtype="float16")
    assert "; by cuDNN " in reason(session("float16[1,16,7,7]", w, "Conv <group = 2> (x, w)"))
