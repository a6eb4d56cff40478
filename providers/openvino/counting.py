"""Which int64 values of a segment fit int32, in which OpenVINO holds them: sizes, positions, constants, and what is made of these.

Each value gets a bound of its magnitude, from what makes it. What reads or gives int64 values without such a bound goes to the next
provider; only where an operator takes indices or a shape may they be any, since one beyond int32 is out of range there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Operation, ValueInfo
from onnxgpu.segment_provider import Segment

MOST = 2**31 - 1
LARGEST_SIZE = 2**24
"""What a dimension that is not known is taken to be at most."""

SMALL = 64
"""Elements of a vector that can be a shape: what is computed from sizes alone in such a vector is sizes again."""

_RANGES = {"bool": 1, "int8": 128, "uint8": 255, "int32": 2**31}

_INDICES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("ConstantOfShape", "Shape", "Size"), (0,)),
    **dict.fromkeys(("CumSum", "Expand", "Gather", "GatherElements", "GatherND", "OneHot", "Pad", "Reshape"), (1,)),
    **dict.fromkeys(("ScatterElements", "ScatterND", "Split", "Squeeze", "Tile", "Trilu", "Unsqueeze"), (1,)),
    "Resize": (3,),
}
"""Operator → inputs whose values beyond int32 are out of range anyway, or do not matter."""

_MOVING: Mapping[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice", "Split"), (0,)),
    **dict.fromkeys(("Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Abs", "Neg", "ReduceMax", "ReduceMin", "Div", "Cast"), (0,)),
    **dict.fromkeys(("Compress", "Dropout", "Relu"), (0,)),
    **dict.fromkeys(("Clip", "Concat", "Max", "Min"), None),
    "Mod": (1,),
    "Pad": (0, 2),
    "Range": (0, 1),
    "ScatterElements": (0, 2),
    "ScatterND": (0, 2),
    "Where": (1, 2),
}
"""Operator → inputs, none of whose magnitudes a result exceeds; None: all."""


def uncounted(segment: Segment) -> dict[int, str]:
    """The operations of `segment` that read or give int64 values of which it is not known that they fit: index → the reason."""
    bounds: dict[str, float] = {}
    sizes: set[str] = set()
    leaving = {value.name for value in segment.outputs}
    found: dict[int, str] = {}
    for index, operation in enumerate(segment.operations):
        read = [_bound(value, bounds) for value in operation.inputs]
        given = _given(operation, read)
        if _gives_sizes(operation, sizes):
            sizes.update(value.name for value in operation.outputs if value is not None)
            given = min(given, LARGEST_SIZE) if all(map(_is_shape, operation.outputs)) else given
        wide = [v for i, v in enumerate(operation.inputs) if v is not None and read[i] > MOST and not _may_be_any(operation, i)]
        if given > MOST:
            wide += [v for v in operation.outputs if v is not None and (v.name in leaving or operation.operator not in _MOVING)]
        if doubtful := [value for value in wide if _is_wide(value)]:
            found[index] = f"OpenVINO holds int64 in int32, and it is not known that '{doubtful[0].name}' fits"
        bounds.update((value.name, given) for value in operation.outputs if value is not None)
    return found


def _may_be_any(operation: Operation, index: int) -> bool:
    """True for indices, and for the end of a slice that is given as the largest number."""
    value = operation.inputs[index]
    is_end = operation.operator == "Slice" and value is not None and value.constant is not None
    return is_end or index in _INDICES.get(operation.operator, ())


def _is_wide(value: ValueInfo) -> bool:
    return value.dtype is not None and name_of(value.dtype) == "int64"


def _bound(value: ValueInfo | None, bounds: Mapping[str, float]) -> float:
    """The largest magnitude that a value may have; infinite if it is not known."""
    if value is None or value.dtype is None:
        return 0
    if value.constant is not None:
        array = value.constant()
        return float(np.abs(array.astype(np.float64)).max(initial=0)) if array.dtype.kind in "biu" else math.inf
    return min(bounds.get(value.name, math.inf), _RANGES.get(name_of(value.dtype), math.inf))


def _given(operation: Operation, read: Sequence[float]) -> float:
    """The largest magnitude of what an operation gives."""
    operator = operation.operator
    if operator in _MOVING:
        chosen = _MOVING[operator]
        return max((bound for i, bound in enumerate(read) if chosen is None or i in chosen), default=0)
    rule = _RULES.get(operator)
    return rule(operation, read) if rule else math.inf


def _gives_sizes(operation: Operation, sizes: Collection[str]) -> bool:
    """True for what comes from shapes and constants alone."""
    if operation.operator in ("Shape", "Size"):
        return True
    read = [value.name for value in operation.inputs if value is not None and value.constant is None]
    return operation.operator in {*_MOVING, *_RULES} and bool(read) and all(name in sizes for name in read)


def _is_shape(value: ValueInfo | None) -> bool:
    if value is None:
        return True
    return value.shape is not None and len(value.shape) < 2 and all(isinstance(size, int) and size <= SMALL for size in value.shape)


def _size(value: ValueInfo | None) -> float:
    """The largest dimension."""
    if value is None or value.shape is None:
        return LARGEST_SIZE
    return max((size if isinstance(size, int) else LARGEST_SIZE for size in value.shape), default=1)


def _elements(value: ValueInfo | None) -> float:
    if value is None or value.shape is None:
        return math.inf
    return math.prod(size if isinstance(size, int) else LARGEST_SIZE for size in value.shape)


def _filled(operation: Operation, read: Sequence[float]) -> float:
    value = operation.attributes.get("value", 0)
    return float(np.abs(np.asarray(value, np.float64)).max(initial=0))


_RULES: Mapping[str, Callable[[Operation, Sequence[float]], float]] = {
    "Add": lambda operation, read: sum(read),
    "ArgMax": lambda operation, read: _size(operation.inputs[0]),
    "ArgMin": lambda operation, read: _size(operation.inputs[0]),
    "ConstantOfShape": _filled,
    "CumSum": lambda operation, read: read[0] * _size(operation.inputs[0]),
    "Mul": lambda operation, read: math.prod(read) if min(read, default=0) else 0,
    "NonZero": lambda operation, read: _size(operation.inputs[0]),
    "ReduceProd": lambda operation, read: math.inf if read[0] > MOST else max(read[0], 1) ** min(_elements(operation.inputs[0]), SMALL),
    "ReduceSum": lambda operation, read: read[0] * _elements(operation.inputs[0]),
    "Shape": lambda operation, read: _size(operation.inputs[0]),
    "Size": lambda operation, read: _elements(operation.inputs[0]),
    "Sub": lambda operation, read: sum(read),
    "Sum": lambda operation, read: sum(read),
}
