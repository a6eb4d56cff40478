"""Operators of `array_ops` that CuPy does not run as they stand, each with the reason; a kernel of our own takes it away again."""

from __future__ import annotations

from collections.abc import Callable

from onnxgpu.provider import Operation
from onnxgpu.providers.cuda.operators.elementwise import shift_refusal

_ALWAYS = {
    ("", "ImageDecoder"): "images are decoded on the host",
    ("", "TfIdfVectorizer"): "n-grams are looked up on the host",
    ("ai.onnx.ml", "CategoryMapper"): "keys are looked up on the host",
    ("ai.onnx.ml", "LabelEncoder"): "keys are looked up on the host",
    ("ai.onnx.ml", "SVMClassifier"): "its votes are counted on the host",
    ("com.microsoft", "GatherPacked"): "distinct rows are found on the host",
}


def _random(operation: Operation) -> str | None:
    is_training = len(operation.inputs) > 2 and operation.inputs[2] is not None
    return "random numbers need cuRAND, which CuPy loads and onnxgpu does not install" if is_training else None


def _mod(operation: Operation) -> str | None:
    value = operation.inputs[0]
    is_float = value is not None and value.dtype is not None and value.dtype.kind == "f"
    return "CuPy's remainder of infinities is not ONNX's" if is_float and not operation.attributes.get("fmod", 0) else None


_SOMETIMES: dict[tuple[str, str], Callable[[Operation], str | None]] = {
    ("", "BitShift"): shift_refusal,
    ("", "Dropout"): _random,
    ("", "Mod"): _mod,
}


def limit(operation: Operation) -> str | None:
    """Why CuPy does not run `operation`; None if nothing is known against it."""
    key = (operation.domain, operation.operator)
    check = _SOMETIMES.get(key)
    return check(operation) if check else _ALWAYS.get(key)
