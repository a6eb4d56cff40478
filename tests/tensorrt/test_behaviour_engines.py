"""The stand-in's engines give what the CPU gives: parsed, built, serialised, deserialised and run on the emulated device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from onnxgpu.demo import FOLDER
from tests.emulated import PLAIN
from tests.tensorrt.engines import Profile, Run, Trt, expected, model_of

DIGITS = Profile({"images": ((1, 1, 8, 8), (4, 1, 8, 8), (64, 1, 8, 8))})


def digits() -> tuple[onnx.ModelProto, np.ndarray]:
    with np.load(FOLDER / "digits.npz") as data:
        images = data["images"][:7].astype(np.float32)[:, None]
    return onnx.load(FOLDER / "digits.onnx"), images


@pytest.mark.parametrize("lazy", [False, True])
def test_digits(trt: Trt, emulated: Any, lazy: bool) -> None:
    emulated.configure(replace(PLAIN, lazy=lazy))
    model, images = digits()
    engine = trt.engine(model, DIGITS)
    assert [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)] == ["images", "scores"]
    assert tuple(engine.get_tensor_shape("images")) == (-1, 1, 8, 8)
    (scores,) = Run(trt, engine, {"images": images}).results()
    np.testing.assert_allclose(scores, expected(model, {"images": images})[0], rtol=1e-4, atol=1e-4)


def test_nothing_is_computed_before_the_stream_comes_to_it(trt: Trt, emulated: Any) -> None:
    emulated.configure(replace(PLAIN, lazy=True))
    model = model_of("g (float[4] x) => (float[4] y) { y = Neg (x) }")
    run = Run(trt, trt.engine(model), {"x": np.arange(4, dtype=np.float32)})
    run.inputs["x"].fill(5)
    run.cupy.cuda.Device().synchronize()
    other = run.cupy.cuda.Stream(non_blocking=True)
    assert run.launched()
    with other:
        early = run.outputs["y"].copy()
    other.synchronize()
    run.stream.synchronize()
    assert np.isnan(early.get()).all()  # never written: the emulated device fills new memory with NaN
    assert (run.outputs["y"].get() == -5).all()
