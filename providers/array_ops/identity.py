"""Identity, onnxruntime's SampleOp, which is one, and Dropout, which is one unless the model is in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array, Value
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.seeds import next_seed


@operator("Identity", view=True)
@operator("SampleOp", domain="com.microsoft", view=True)
def identity(xp: Any, x: Value) -> Value:
    """x itself, of any type. Spec: https://onnx.ai/onnx/operators/onnx__Identity.html"""
    return x


@operator("Dropout", view=True)
def dropout_1(
    xp: Any, data: Array, *, ratio: float = 0.5, is_test: int = 0, consumed_inputs: Any = None, output_count: int = 1
) -> tuple[Array, ...]:
    """The data, and a mask of zeros in its dtype, as onnxruntime gives it. Spec: https://onnx.ai/onnx/operators/onnx__Dropout.html"""
    return (data, xp.zeros(data.shape, data.dtype))[:output_count]


@operator("Dropout", since=10, view=True)
def dropout_10(xp: Any, data: Array, *, ratio: float = 0.5, output_count: int = 1) -> tuple[Array, ...]:
    """The data, and a mask of False, as onnxruntime gives it. Spec: https://onnx.ai/onnx/operators/onnx__Dropout.html"""
    return (data, xp.zeros(data.shape, bool))[:output_count]


@operator("Dropout", since=12, view=True, host=("ratio", "training_mode"), deterministic=False)
def dropout(
    xp: Any, data: Array, ratio: Array = None, training_mode: Array = None, *, seed: int | None = None, output_count: int = 1
) -> tuple[Array, ...]:
    """The data and a mask that keeps all; in training a random part is zero, the rest scaled by 1 / (1 - ratio).

    With a seed the mask is that of ONNX's own test cases (NumPy's Mersenne twister). Spec: https://onnx.ai/onnx/operators/onnx__Dropout.html
    """
    share = 0.5 if ratio is None else float(ratio.reshape(-1)[0])
    if training_mode is None or not bool(training_mode.reshape(-1)[0]) or share == 0:
        return (data, xp.ones(data.shape, bool))[:output_count]
    seed = next_seed() if seed is None else seed
    keep = xp.random.RandomState(None if seed is None else seed % 2**32).random_sample(data.shape) >= share
    wide = data if data.dtype.itemsize >= 4 else data.astype(np.float32)
    scale = 1 / (1 - share) if share < 1 else 0.0
    return ((wide * keep * scale).astype(data.dtype), keep)[:output_count]
