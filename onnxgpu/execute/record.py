"""What one run with given input shapes showed: the shape and dtype of every value, and who shares memory with whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxgpu.execute.loop import Frame, run_steps
from onnxgpu.execute.stand_by import Awaited, served
from onnxgpu.plan.steps import ABSENT, Plan, Step
from onnxgpu.provider import Value

STATIC_LIMIT_BYTES = 1 << 20
Kind = tuple[tuple[int, ...], Any]


def kind_of(value: Value) -> Kind | None:
    """Shape and dtype of a tensor; None for sequences, maps and absent values."""
    dtype = getattr(value, "dtype", None)
    return None if dtype is None else (tuple(value.shape), dtype)


@dataclass
class Record:
    """Gathered by an ordinary run.

    Attributes:
        kinds: slot → shape and dtype, for tensors.
        static: slot → value, for small host values that depend on nothing but constants, shapes and known inputs.
        dense: slots whose array fills its memory in C order.
        roots: slot → slots of the values whose memory it may lie in (itself, if it has memory of its own).
        apart: slots of values that could be views, and shared no memory with what they were made of.
        served: position → the step as it is from now on, of segments that have an engine for these shapes.
        awaited: the other segments.
    """

    kinds: dict[int, Kind] = field(default_factory=dict)
    static: dict[int, Value] = field(default_factory=dict)
    dense: set[int] = field(default_factory=set)
    roots: dict[int, frozenset[int]] = field(default_factory=dict)
    apart: set[int] = field(default_factory=set)
    served: dict[int, Step] = field(default_factory=dict)
    awaited: list[Awaited] = field(default_factory=list)


def record_run(
    plan: Plan, frame: Frame, volatile: set[int], known: Sequence[int] = (), between_steps: Callable[[], None] | None = None
) -> Record:
    """Run the whole plan over `frame` and record what it shows.

    Args:
        plan: what to run.
        frame: with inputs and constants filled in.
        volatile: positions of steps whose output shapes were seen to change under one signature.
        known: slots of inputs whose values are the same in every run with this signature; nobody else writes into them.
        between_steps: called between steps; may raise to end the run.
    """
    record = Record()
    for slot in (*plan.inputs, *plan.constants):
        _note(record, slot, frame[slot])
        record.roots[slot] = frozenset((slot,))
    record.static.update({slot: frame[slot] for slot in (*plan.constants, *known)})
    fixed_shapes = {slot for slot in (*plan.inputs, *plan.constants) if slot in record.kinds}
    positions = iter(range(len(plan.steps)))

    def observe(step: Step, inputs: Sequence[Value], results: Sequence[Value], start: int, end: int) -> None:
        if between_steps is not None:
            between_steps()
        position = next(positions)
        now, awaited = served(step, inputs) if _is_the_same_kind(step, record, fixed_shapes) else (step, None)
        if now is not step:
            record.served[position] = step = now
        if awaited is not None:
            record.awaited.append(awaited)
        static = position not in volatile and _is_static(step, record, fixed_shapes) and all(map(_is_small, results))
        for slot, value in zip(step.outputs, results, strict=False):
            _note(record, slot, value)
            shared = _sharing(step, inputs, value)
            record.roots[slot] = frozenset((slot,)).union(*(record.roots.get(s, ()) for s in shared)) if shared else frozenset((slot,))
            if slot in record.kinds and position not in volatile:
                fixed_shapes.add(slot)
            if static:
                record.static[slot] = value
            if step.view_of is not None and slot in record.kinds and not step.provider.shares_memory(inputs[step.view_of], value):
                record.apart.add(slot)

    run_steps(plan.steps, frame, observe)
    return record


def _note(record: Record, slot: int, value: Value) -> None:
    kind = kind_of(value)
    if kind is not None:
        record.kinds[slot] = kind
        if getattr(getattr(value, "flags", None), "c_contiguous", False):
            record.dense.add(slot)


def _is_the_same_kind(step: Step, record: Record, fixed_shapes: set[int]) -> bool:
    """True if in every run the inputs have these shapes, and those on the host these values, so that one engine serves them all."""
    return all(
        slot == ABSENT or slot in (record.static if index in step.host_inputs else fixed_shapes) for index, slot in enumerate(step.inputs)
    )


def _is_static(step: Step, record: Record, fixed_shapes: set[int]) -> bool:
    if not step.deterministic or step.bodies or step.is_transfer:
        return False
    for index, slot in enumerate(step.inputs):
        known = fixed_shapes if index in step.shape_only_inputs else record.static
        if slot and slot not in known:
            return False
    return True


def _is_small(value: Value) -> bool:
    return isinstance(value, np.ndarray) and value.nbytes <= STATIC_LIMIT_BYTES


def _sharing(step: Step, inputs: Sequence[Value], result: Value) -> tuple[int, ...]:
    """Slots of the inputs whose memory `result` may share, in this run or, by other strides or values, in another."""
    if step.bodies or kind_of(result) is None:
        return (*step.inputs, *step.outputs)
    shared = [] if step.view_of is None else [step.inputs[step.view_of]]
    for slot, value in zip(step.inputs, inputs, strict=True):
        if kind_of(value) is None:
            if value is not None:
                shared.append(slot)
        elif value is result or (not step.is_transfer and step.provider.shares_memory(value, result)):
            shared.append(slot)
    return tuple(shared)
