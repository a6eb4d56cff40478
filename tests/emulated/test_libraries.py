"""Products by cuBLAS and by our own kernels: the same results, and the option between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu.errors import EPFail

MODEL = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["": 20]>
    network (float[N, 40] x) => (float[N, 12] y)
    <float[40, 12] w, float[12] b> { product = MatMul(x, w)  sum = Add(product, b)  y = Gelu(sum) }
""")


def model() -> bytes:
    """MatMul, a bias and Gelu, with constants."""
    rng = np.random.default_rng(1)
    made = onnx.ModelProto.FromString(MODEL.SerializeToString())
    for name, shape in (("w", (40, 12)), ("b", (12,))):
        made.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    return bytes(made.SerializeToString())


def launched(device: Any, options: dict[str, Any]) -> tuple[np.ndarray, dict[str, int]]:
    """The result for `options`, and what the driver counted in a run."""
    session = onnxgpu.InferenceSession(model(), providers=[("CUDAExecutionProvider", options)])
    feeds = {"x": np.random.default_rng(2).standard_normal((7, 40)).astype(np.float32)}
    session.run(None, feeds)
    device.counters(clear=True)
    (result,) = session.run(None, feeds)
    return result, device.counters()


def test_both_give_the_same(device: Any, cp: Any) -> None:
    """With cuBLAS one call and one kernel for what follows; without, the product takes the bias with it."""
    by_cublas, _ = launched(device, {"enable_cublas": True})
    own, counted = launched(device, {"enable_cublas": "0"})
    np.testing.assert_allclose(own, by_cublas, rtol=1e-4, atol=1e-4)
    assert counted["launches"] == 2


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, device: Any, cp: Any) -> None:
    """Asked for, it is an error; otherwise our own kernels run."""
    monkeypatch.setattr("onnxgpu.providers.cuda.libraries._cublas_problem", lambda: "not there")
    launched(device, {})
    with pytest.raises(EPFail, match="enable_cublas: cuBLAS cannot be loaded: not there"):
        launched(device, {"enable_cublas": True})
