"""Optional values: what they hold, or None."""

from __future__ import annotations

from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Value
from onnxgpu.providers.array_ops.registry import operator


@operator("Optional", since=15, view=True)
def optional(xp: Any, value: Value = None, *, type: Any = None) -> Value:
    """An optional that holds `value`, or nothing. Spec: https://onnx.ai/onnx/operators/onnx__Optional.html"""
    return value


@operator("OptionalHasElement", since=15)
def optional_has_element(xp: Any, value: Value = None) -> Array:
    """Whether an optional holds something, bool, shape []; a tensor or a sequence does.

    Spec: https://onnx.ai/onnx/operators/onnx__OptionalHasElement.html
    """
    return xp.asarray(value is not None)


@operator("OptionalGetElement", since=15, view=True)
def optional_get_element(xp: Any, value: Value) -> Value:
    """What an optional holds; a tensor or a sequence is itself. Spec: https://onnx.ai/onnx/operators/onnx__OptionalGetElement.html"""
    if value is None:
        raise InvalidArgument(
            "OptionalGetElement: expected an optional with an element, got an empty one; test it with OptionalHasElement before"
        )
    return value
