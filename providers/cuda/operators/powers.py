"""Pow of any two numeric types: a generated kernel, between casts where the types differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.precision import accumulation_dtype, is_floating
from onnxgpu.providers.cuda.generated import MOST_AXES, can_broadcast, evaluate
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.operators.cast import converted
from onnxgpu.providers.cuda.registry import array_specs, operator


def _refusal(operation: Operation) -> str | None:
    ranks = [(0,) * len(value.shape) for value in operation.inputs if value is not None and value.shape is not None]
    is_known = len(ranks) == len(operation.inputs) and can_broadcast(ranks)
    return None if is_known else f"needs to know that its operands have at most {MOST_AXES} dimensions"


def _computing_dtype(x: np.dtype, y: np.dtype) -> np.dtype:
    """float64 for integers to powers that are none; float32 for narrow floats to powers of another type; otherwise x's."""
    if not is_floating(x):
        return np.dtype(np.float64) if is_floating(y) else x
    return x if x == y else accumulation_dtype(x)


@operator("Pow", since=7, specs=array_specs("Pow"), types=FLOAT_NAMES | {"int32", "int64"}, when=_refusal)
def power(xp: Any, x: Array, y: Array, *, out: Array = None) -> Array:
    """x to the power of y, in x's dtype; what becomes no integer is cut to one. Spec: https://onnx.ai/onnx/operators/onnx__Pow.html"""
    dtype, wide = x.dtype, _computing_dtype(x.dtype, y.dtype)
    base, exponent = (converted(xp, each, wide, True, "up") if each.dtype != wide else each for each in (x, y))
    if out is None:
        out = xp.empty(np.broadcast_shapes(x.shape, y.shape), dtype)
    result = out if wide == dtype else xp.empty(out.shape, wide)
    step = "IntegerPow" if not is_floating(wide) else "Pow" if is_floating(dtype) else "CutPow"
    evaluate((f"{step} 0 1",), [base, exponent], result)
    return out if result is out else converted(xp, result, dtype, True, "up", out)
