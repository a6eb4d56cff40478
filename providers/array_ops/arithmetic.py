"""Add, Sub, Mul: placeholder for the family."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import broadcast


@operator("Add", since=7, specs=broadcast)
def add(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Elementwise sum. Spec: https://onnx.ai/onnx/operators/onnx__Add.html"""
    return xp.add(a, b, out=out)
