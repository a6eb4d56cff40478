"""What a caller gets of a run's values: memory of its own, in C order, that it may write into."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from onnxgpu.execute.record import Record
from onnxgpu.plan.steps import Plan
from onnxgpu.provider import Array, Provider, Spec, Value

Form = Callable[[Value], Value] | None


def forms(plan: Plan, record: Record, *, is_body: bool, settled: Collection[int] = ()) -> list[Form]:
    """What is done to each output before the caller gets it; None: it is handed out as it is.

    No output shares memory with what the caller or the session holds, nor with another output. A control-flow kernel takes
    outputs that lie in the inputs of its body, but no memory twice.

    Args:
        plan: whose outputs.
        record: what a run showed.
        is_body: the outputs go to a control-flow kernel.
        settled: slots that lie in memory of their own, made for this run.
    """
    taken = record.static.keys() | (frozenset() if is_body else frozenset(plan.inputs))
    found: list[Form] = []
    for slot in plan.outputs:
        roots = record.roots.get(slot, frozenset())
        if slot in record.static or not taken.isdisjoint(roots):
            found.append(copying(plan, slot))
        else:
            found.append(None if is_body or slot in settled else ordering(plan, slot))
        taken |= roots
    return found


def hand_out(values: Sequence[Value], how: Sequence[Form]) -> list[Value]:
    """The values, each in its form."""
    return [value if form is None else form(value) for value, form in zip(values, how, strict=True)]


def copying(plan: Plan, slot: int) -> Callable[[Value], Value]:
    """A function that copies the values of `slot` at the place where they lie."""
    holder = plan.holder(slot)
    if holder is None:
        return copied

    def copied_there(value: Value) -> Value:
        return _each(value, lambda array: _copied_by(holder, array))

    return copied_there


def ordering(plan: Plan, slot: int) -> Callable[[Value], Value]:
    """A function that makes the values of `slot` dense in C order, at the place where they lie."""
    holder = plan.holder(slot)
    if holder is None:
        return in_order

    def in_order_there(value: Value) -> Value:
        return _each(value, lambda array: array if _is_in_order(array) else _copied_by(holder, array))

    return in_order_there


def copying_into(plan: Plan, slot: int) -> Callable[[Array, Array], object]:
    """A function that copies the second array, a value of `slot`, into the first, memory where that lies."""
    holder = plan.holder(slot)
    return np.copyto if holder is None else holder.copy_into


def _each(value: Value, function: Callable[[Array], Array]) -> Value:
    """`function` of an array, or of each in a sequence; what is neither stays as it is."""
    if isinstance(value, list):
        return [_each(item, function) for item in value]
    return function(value) if hasattr(value, "dtype") else value


def _is_in_order(array: Array) -> bool:
    return bool(array.flags.c_contiguous) and getattr(array.flags, "writeable", True)


def _copied_by(holder: Provider, array: Array) -> Array:
    copy = holder.allocate(Spec(tuple(array.shape), array.dtype))
    holder.copy_into(copy, array)
    return copy


def copied(value: Value) -> Value:
    """A copy, down to the arrays of a sequence; a scalar becomes an array."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.array(value)
    return [copied(item) for item in value] if isinstance(value, list) else value


def in_order(value: Value) -> Value:
    """The value as an array in C order that can be written into (a view may be neither, a scalar is none)."""
    if isinstance(value, np.ndarray):
        return value if value.flags.c_contiguous and value.flags.writeable else value.copy()
    if isinstance(value, np.generic):
        return np.asarray(value)
    return [in_order(item) for item in value] if isinstance(value, list) else value
