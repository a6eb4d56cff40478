"""The elements of small integer tensors computed from shapes, as far as they can be told before the model runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxgpu.rewrite.values import attribute, constant_array, constant_shape, dimensions, element_type, given, integers

_ELEMENT_LIMIT = 256
_DEPTH_LIMIT = 60
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)

Memo = dict[int, "np.ndarray | None"]


def known_elements(value: ir.Value) -> np.ndarray | None:
    """The elements of `value`: an object array of int, of symbols (`str`) and of None for what is unknown.

    None if nothing is known, not even the shape, or if `value` is no integer or boolean tensor.
    """
    return _elements(value, {}, 0)


def _elements(value: ir.Value | None, memo: Memo, depth: int) -> np.ndarray | None:
    if value is None or depth > _DEPTH_LIMIT:
        return None
    key = id(value)
    if key not in memo:
        memo[key] = _compute(value, memo, depth)
    return memo[key]


def _compute(value: ir.Value, memo: Memo, depth: int) -> np.ndarray | None:
    shape = constant_shape(value)
    if shape is not None:
        if int(np.prod(shape)) > _ELEMENT_LIMIT or element_type(value) not in (*_INTEGERS, ir.DataType.BOOL, None):
            return None
        array = constant_array(value)
        return array.astype(object) if array is not None and array.dtype.kind in "iub" else None
    node = value.producer()
    if node is None or node.domain or value.index() != 0:
        return None
    if node.op_type in ("Shape", "Size"):
        return _of_shape(node)
    function = _FUNCTIONS.get(node.op_type)
    if function is None:
        return None
    inputs = [_elements(item, memo, depth + 1) for item in node.inputs]
    if not inputs or inputs[0] is None:
        return None
    try:
        result = function(node, inputs)
    except (IndexError, ValueError, TypeError, ZeroDivisionError):
        # An invalid node: the operator itself reports it when the model runs.
        return None
    return result if result is not None and result.size <= _ELEMENT_LIMIT else None


def _of_shape(node: ir.Node) -> np.ndarray | None:
    sizes = dimensions(given(node, 0))
    if sizes is None:
        return None
    if node.op_type == "Size":
        known = [size for size in sizes if isinstance(size, int)]
        return _objects(int(np.prod(known, dtype=object)) if len(known) == len(sizes) else None)
    return _objects(list(sizes)[attribute(node, "start", 0) : attribute(node, "end", None)])


def _objects(items: object) -> np.ndarray:
    return np.array(items, dtype=object)


def _gather(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    indices = integers(given(node, 1))
    shape = constant_shape(given(node, 1))
    data = inputs[0]
    if indices is None or shape is None or data is None or data.ndim != 1:
        return None
    return _objects([data[index] for index in indices]).reshape(shape)


def _slice(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    data = inputs[0]
    if data is None or data.ndim != 1:
        return None
    if len(inputs) > 1:
        bounds = [integers(given(node, index)) for index in (1, 2)]
        steps = integers(given(node, 4)) if given(node, 4) is not None else [1]
    else:
        bounds, steps = [list(attribute(node, "starts", ())), list(attribute(node, "ends", ()))], [1]
    if any(bound is None or len(bound) != 1 for bound in bounds) or steps is None or steps[0] <= 0:
        return None
    start, end = (bound[0] for bound in bounds if bound is not None)
    return data[start : end : steps[0]]


def _squeeze(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    return inputs[0].reshape(()) if inputs[0] is not None and inputs[0].shape == (1,) else None


def _unsqueeze(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    axes = integers(given(node, 1)) or list(attribute(node, "axes", ()))
    return inputs[0].reshape(1) if inputs[0] is not None and inputs[0].ndim == 0 and len(axes) == 1 else None


def _reshape(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    target = integers(given(node, 1))
    return inputs[0].reshape(target) if inputs[0] is not None and target is not None and 0 not in target else None


def _concat(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    parts: list[np.ndarray] = []
    for value, part in zip(node.inputs, inputs, strict=True):
        if part is None:
            shape = dimensions(value)
            if shape is None or len(shape) != 1 or not isinstance(shape[0], int):
                return None
            part = np.full(shape[0], None, dtype=object)
        parts.append(part)
    return np.concatenate(parts) if all(part.ndim == 1 for part in parts) else None


def _same(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    return inputs[0]


def _cast(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    return inputs[0] if attribute(node, "to", 0) in (ir.DataType.INT64, ir.DataType.INT32) else None


def _elementwise(function: Callable[..., int | bool | None]) -> Callable[[ir.Node, list[np.ndarray | None]], np.ndarray | None]:
    def apply(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
        if any(item is None for item in inputs):
            return None
        results = np.frompyfunc(function, len(inputs), 1)(*inputs)
        return np.asarray(results, dtype=object)

    return apply


def _known(*items: object) -> bool:
    return all(isinstance(item, int) for item in items)


def _divide(left: int, right: int) -> int | None:
    """ONNX's integer division truncates."""
    if not _known(left, right) or right == 0:
        return None
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _equal(left: int | str | None, right: int | str | None) -> bool | None:
    """A size is never negative, whatever symbol stands for it."""
    if _known(left, right):
        return left == right
    numbers = [item for item in (left, right) if isinstance(item, int)]
    symbols = [item for item in (left, right) if isinstance(item, str)]
    return False if len(numbers) == len(symbols) == 1 and numbers[0] < 0 else None


def _where(condition: bool | None, left: object, right: object) -> object:
    return (left if condition else right) if condition is not None else None


_FUNCTIONS: dict[str, Callable[[ir.Node, list[np.ndarray | None]], np.ndarray | None]] = {
    "Gather": _gather,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Concat": _concat,
    "Identity": _same,
    "Cast": _cast,
    "Add": _elementwise(lambda a, b: a + b if _known(a, b) else None),
    "Sub": _elementwise(lambda a, b: a - b if _known(a, b) else None),
    "Mul": _elementwise(lambda a, b: a * b if _known(a, b) else None),
    "Div": _elementwise(_divide),
    "Equal": _elementwise(_equal),
    "Where": _elementwise(_where),  # type: ignore[arg-type]
}
