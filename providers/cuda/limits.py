"""Operators of `array_ops` that CuPy does not run as they stand, each with the reason; a kernel of our own takes it away again."""

from __future__ import annotations

from collections.abc import Callable

from onnxgpu.provider import Operation
from onnxgpu.providers.cuda.operators.elementwise import shift_refusal

_ALWAYS = {
    ("", "ImageDecoder"): "images are decoded on the host",
    ("ai.onnx.ml", "CategoryMapper"): "keys are looked up on the host",
    ("ai.onnx.ml", "LabelEncoder"): "keys are looked up on the host",
    ("ai.onnx.ml", "SVMClassifier"): "its votes are counted on the host",
    ("com.microsoft", "GatherPacked"): "distinct rows are found on the host",
}


_SOMETIMES: dict[tuple[str, str], Callable[[Operation], str | None]] = {
    ("", "BitShift"): shift_refusal,
}


def limit(operation: Operation) -> str | None:
    """Why CuPy does not run `operation`; None if nothing is known against it."""
    key = (operation.domain, operation.operator)
    check = _SOMETIMES.get(key)
    return check(operation) if check else _ALWAYS.get(key)
