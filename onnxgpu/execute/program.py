"""A plan, ready to be called from many threads.

The first call with a given signature runs the ordinary loop and records it; from the second on, contexts with a fixed
plan serve it. Nothing returned to the caller lies in an arena.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from onnxgpu.execute.bodies import BodyKernel, ControlKernel
from onnxgpu.execute.fixed import Context, FixedPlan, fix
from onnxgpu.execute.loop import Observer, new_frame, pausing, run_steps
from onnxgpu.execute.record import Kind, Record, kind_of, record_run
from onnxgpu.plan.steps import Plan, Step
from onnxgpu.provider import Value

MOST_SIGNATURES = 16
MOST_IDLE_CONTEXTS = 2

_outermost = threading.local()
"""`between_steps` or `observer` of the run that this thread is in, for the bodies of its control flow."""


@dataclass
class _Signature:
    """One signature's record, its fixed plan once it was seen twice, and contexts nobody uses now.

    `unsteady`: the shapes inside keep changing although the inputs' do not, so that a fixed plan does not pay.
    """

    record: Record
    fixed: FixedPlan | None = None
    idle: list[Context] = field(default_factory=list)
    unsteady: bool = False


class Program:
    """Runs a plan.

    Args:
        plan: its control-flow bodies become programs of their own.
        is_body: the outputs go to a control-flow kernel and may share memory with the inputs.

    Attributes:
        plan: the plan, its control-flow kernels with their bodies.
        bodies: each body of the plan's steps with its program.
    """

    def __init__(self, plan: Plan, *, is_body: bool = False) -> None:
        self._is_body = is_body
        self.bodies = tuple((body, Program(body.plan, is_body=True)) for step in plan.steps for body in step.bodies.values())
        programs = {id(body): program for body, program in self.bodies}
        self.plan = replace(plan, steps=tuple(_with_bodies(step, programs) for step in plan.steps))
        self._signatures: OrderedDict[Any, _Signature] = OrderedDict()
        self._volatile: set[int] = set()
        self._lock = threading.Lock()

    def __call__(self, inputs: Sequence[Value], between_steps: Callable[[], None] | None = None) -> list[Value]:
        """The outputs for these inputs; both in the order of the plan.

        Args:
            inputs: one value for each input of the plan.
            between_steps: called between steps; may raise to end the run.
        """
        if self._is_body:
            observer = getattr(_outermost, "observer", None)
            if observer is not None:
                return self._looped(inputs, observer)
            between_steps = getattr(_outermost, "between_steps", None)
        elif between_steps is not None:
            return self._interruptible(inputs, between_steps)
        return self._run(inputs, between_steps)

    def _interruptible(self, inputs: Sequence[Value], between_steps: Callable[[], None]) -> list[Value]:
        """A run whose bodies, too, call `between_steps`."""
        before = getattr(_outermost, "between_steps", None)
        _outermost.between_steps = between_steps
        try:
            return self._run(inputs, between_steps)
        finally:
            _outermost.between_steps = before

    def _run(self, inputs: Sequence[Value], between_steps: Callable[[], None] | None) -> list[Value]:
        key = tuple([kind_of(value) for value in inputs])
        with self._lock:
            known = self._signatures.get(key)
            context = known.idle.pop() if known and known.idle else None
            if known:
                self._signatures.move_to_end(key)
        if known is None:
            return self._first_run(key, inputs, between_steps)
        if known.unsteady:
            return self._looped(inputs, pausing(between_steps))
        if context is None:
            if known.fixed is None:
                known.fixed = fix(self.plan, known.record)
            context = Context(known.fixed)
        outputs, changed = context.run(inputs, between_steps)
        with self._lock:
            if changed is not None:
                known.unsteady = changed in self._volatile
                self._volatile.add(changed)
                if not known.unsteady:
                    self._signatures.pop(key, None)
            elif len(known.idle) < MOST_IDLE_CONTEXTS:
                known.idle.append(context)
        return [_copied(value) for value in outputs] if changed is not None else self._handed_out(known.record, outputs)

    def recorded_kinds(self) -> dict[int, Kind]:
        """Slot → shape and dtype of its tensor, in the run with the signature that was used last; empty before the first run."""
        with self._lock:
            return dict(next(reversed(self._signatures.values())).record.kinds) if self._signatures else {}

    def observed(self, inputs: Sequence[Value], observer: Observer) -> list[Value]:
        """As a call, in the ordinary loop, telling `observer` of every step, those of bodies included."""
        before = getattr(_outermost, "observer", None)
        _outermost.observer = observer
        try:
            return self._looped(inputs, observer)
        finally:
            _outermost.observer = before

    def _looped(self, inputs: Sequence[Value], observer: Observer | None) -> list[Value]:
        frame = new_frame(self.plan, inputs)
        run_steps(self.plan.steps, frame, observer)
        return [_copied(frame[slot]) for slot in self.plan.outputs]

    def _first_run(self, key: Any, inputs: Sequence[Value], between_steps: Callable[[], None] | None) -> list[Value]:
        frame = new_frame(self.plan, inputs)
        record = record_run(self.plan, frame, self._volatile, between_steps)
        with self._lock:
            self._signatures[key] = _Signature(record)
            while len(self._signatures) > MOST_SIGNATURES:
                self._signatures.popitem(last=False)
        return self._handed_out(record, [frame[slot] for slot in self.plan.outputs])

    def _handed_out(self, record: Record, outputs: list[Value]) -> list[Value]:
        """Outputs that the caller may write into; a control-flow kernel gets them as they are, but no memory twice."""
        if self._is_body:
            return _unshared(self.plan, record, frozenset(), outputs)
        return [_in_order(value) for value in _unshared(self.plan, record, frozenset(self.plan.inputs), outputs)]


def _with_bodies(step: Step, programs: Mapping[int, Program]) -> Step:
    """A control-flow step with its bodies' programs, found by the identity of the `BodyCall`; any other step as it is."""
    if not step.bodies:
        return step
    calls = {name: (programs[id(body)], body.captures) for name, body in step.bodies.items()}
    return replace(step, kernel=BodyKernel(cast(ControlKernel, step.kernel), len(step.operation.inputs), calls))


def _unshared(plan: Plan, record: Record, held: frozenset[int], outputs: list[Value]) -> list[Value]:
    """Outputs that share memory with nothing the caller (`held`) or the session holds, and not with one another."""
    taken = held | record.static.keys()
    for position, slot in enumerate(plan.outputs):
        roots = record.roots.get(slot, frozenset())
        if slot in record.static or not taken.isdisjoint(roots):
            outputs[position] = _copied(outputs[position])
        taken |= roots
    return outputs


def _copied(value: Value) -> Value:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _in_order(value: Value) -> Value:
    """The value as an array in C order that can be written into (a view may be neither)."""
    if isinstance(value, np.ndarray):
        return value if value.flags.c_contiguous and value.flags.writeable else value.copy()
    return [_in_order(item) for item in value] if isinstance(value, list) else value
