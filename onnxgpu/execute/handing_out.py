"""What a caller gets of a run's values: memory of its own, in C order, that it may write into."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from onnxgpu.execute.record import Record
from onnxgpu.plan.steps import Plan
from onnxgpu.provider import Value

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
            found.append(copied)
        else:
            found.append(None if is_body or slot in settled else in_order)
        taken |= roots
    return found


def hand_out(values: Sequence[Value], how: Sequence[Form]) -> list[Value]:
    """The values, each in its form."""
    return [value if form is None else form(value) for value, form in zip(values, how, strict=True)]


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
