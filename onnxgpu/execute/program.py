"""A plan, ready to be called from many threads.

The first call with a given signature runs the ordinary loop and records it; from the second on, contexts with a fixed
plan serve it. Nothing returned to the caller lies in an arena.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import cast

import numpy as np

from onnxgpu.errors import InvalidArgument, OutOfMemory
from onnxgpu.execute.bodies import BodyKernel, ControlKernel
from onnxgpu.execute.fixed import Changed, Context, FixedPlan, fix
from onnxgpu.execute.handing_out import copying, copying_into, forms, hand_out
from onnxgpu.execute.loop import Observer, new_frame, pausing, run_steps
from onnxgpu.execute.record import Kind, Record, kind_of, record_run
from onnxgpu.execute.signatures import Key, Signatures
from onnxgpu.execute.stand_by import StandByKernel, has_changed
from onnxgpu.plan.steps import Plan, Step
from onnxgpu.provider import Array, Place, Provider, Value
from onnxgpu.segment_provider import STAND_BY, ChangingKernel

MOST_SIGNATURES = 16
MOST_IDLE_CONTEXTS = 2

_outermost = threading.local()
"""`between_steps` or `observer` of the run that this thread is in, for the bodies of its control flow."""


@dataclass
class _Signature:
    """One signature's record, its fixed plan once it was seen twice, and contexts nobody uses now.

    Attributes:
        record: of its first run.
        last_used: the number of the run that used it last.
        unsteady: the shapes inside keep changing although the inputs' do not, so that a fixed plan does not pay.
        is_inlined: its fixed plan launches no kernel.
        idle: a deque, which threads take from and give back to without a lock; what is too much falls out of its other end.
    """

    record: Record
    last_used: int
    fixed: FixedPlan | None = None
    idle: deque[Context] = field(default_factory=lambda: deque(maxlen=MOST_IDLE_CONTEXTS))
    unsteady: bool = False
    is_inlined: bool = False


class Given(dict[int, Array]):
    """Position of an output → memory for it, to be given to many runs with the same inputs.

    Attributes:
        decided: a plan and inputs, and what of the memory the plan writes into directly.
    """

    decided: tuple[FixedPlan, Sequence[Value], dict[int, Array]] | None = None


class Program:
    """Runs a plan.

    Threads share it without a lock, so that a forked child never finds one held: every change of what they share is one
    operation on a dict, a set or a deque, and of two threads that do the same work at once, either result will do.

    Args:
        plan: its control-flow bodies become programs of their own.
        is_body: the outputs go to a control-flow kernel and may share memory with the inputs.
        one_signature: the caller makes sure that every run's inputs have the same shapes and dtypes.
        on_change: called when a run finds that a segment has an engine for its shapes, the first time with each signature.

    Attributes:
        plan: the plan, its control-flow kernels with their bodies.
        bodies: each body of the plan's steps with its program.
    """

    def __init__(
        self, plan: Plan, *, is_body: bool = False, one_signature: bool = False, on_change: Callable[[], None] | None = None
    ) -> None:
        self._is_body, self._on_change = is_body, on_change
        bodies = (body for step in plan.steps for body in step.bodies.values())
        self.bodies = tuple((body, Program(body.plan, is_body=True, on_change=on_change)) for body in bodies)
        programs = {id(body): program for body, program in self.bodies}
        self.plan = replace(plan, steps=tuple(_with_bodies(step, programs) for step in plan.steps))
        self._devices = () if is_body else _launching(plan)
        self._naming = Signatures(self.plan, one_kind=one_signature, by_values=not is_body)
        self._signatures: dict[Key, _Signature] = {}
        self._volatile: set[int] = set()
        self._runs = count()

    def __call__(
        self,
        inputs: Sequence[Value],
        between_steps: Callable[[], None] | None = None,
        given: Mapping[int, Array] | None = None,
        around: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> list[Value]:
        """The outputs for these inputs; both in the order of the plan.

        Args:
            inputs: one value for each input of the plan.
            between_steps: called between steps; may raise to end the run.
            given: position of an output → memory for it, at the output's place, of its shape and dtype; the output is then that
                very array. It is written by the operator that computes the output where that is possible, otherwise copied to.
            around: a context to be in while kernels are launched; a fixed plan of nothing but inlined calls runs without it.

        Raises:
            InvalidArgument: the memory given for an output has another shape or dtype than the output.
            OutOfMemory: there is too little, also without what is kept for runs with other shapes.
        """
        try:
            return self._called(inputs, between_steps, given, around)
        except OutOfMemory:
            if self._is_body or not self._let_go():
                raise
        return self._called(inputs, between_steps, given, around)

    def _let_go(self) -> bool:
        """Give up the contexts that nobody uses now, and the memory that they hold; False if there are none."""
        kept = [known for known in tuple(self._signatures.values()) if known.idle]
        for known in kept:
            known.idle.clear()
        in_bodies = [program._let_go() for _, program in self.bodies]
        return bool(kept) or any(in_bodies)

    def _called(
        self,
        inputs: Sequence[Value],
        between_steps: Callable[[], None] | None,
        given: Mapping[int, Array] | None,
        around: Callable[[], AbstractContextManager[None]] | None,
    ) -> list[Value]:
        if self._is_body:
            observer = getattr(_outermost, "observer", None)
            if observer is not None:
                return self._looped(inputs, observer)
            between_steps = getattr(_outermost, "between_steps", None)
        elif between_steps is not None:
            return self._interruptible(inputs, between_steps, given)
        if self._devices:
            return self._on_devices(partial(self._run, inputs, None, given, around))
        return self._run(inputs, between_steps, given, around)

    def _on_devices(self, run: Callable[[], list[Value]]) -> list[Value]:
        """What `run` gives, with the devices of the plan ready for launches; outputs that stay there are complete."""
        with ExitStack() as stack:
            for device in self._devices:
                stack.enter_context(device.launching())
            outputs = run()
            left_at = {self.plan.slots[slot].place for slot in self.plan.outputs}
            for device in self._devices:
                if device.place in left_at:
                    device.completed()
            return outputs

    def _interruptible(self, inputs: Sequence[Value], between_steps: Callable[[], None], given: Mapping[int, Array] | None) -> list[Value]:
        """A run whose bodies, too, call `between_steps`."""
        before = getattr(_outermost, "between_steps", None)
        _outermost.between_steps = between_steps
        try:
            return self._on_devices(partial(self._run, inputs, between_steps, given))
        finally:
            _outermost.between_steps = before

    def _run(
        self,
        inputs: Sequence[Value],
        between_steps: Callable[[], None] | None,
        given: Mapping[int, Array] | None,
        around: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> list[Value]:
        key = self._naming.of(inputs)
        known = self._signatures.get(key)
        if known is not None and known.record.awaited and has_changed(known.record.awaited):
            self._signatures.pop(key, None)
            known = None
        if around is not None and (known is None or not known.is_inlined):
            with around():
                return self._run(inputs, between_steps, given)
        if known is None:
            outputs = self._first_run(inputs, between_steps)
        elif known.unsteady:
            outputs = self._looped(inputs, pausing(between_steps))
        else:
            known.last_used = next(self._runs)
            context: Context | None
            try:
                context = known.idle.pop()
            except IndexError:
                context = None
            if context is None:
                context = self._new_context(known)
            direct = self._direct(context.fixed, inputs, given) if given else None
            result = context.run(inputs, between_steps, direct)
            if isinstance(result, Changed):
                self._note_change(key, known, result.position)
                outputs = self._copies(result.outputs)
            else:
                known.idle.append(context)
                outputs = result
        return outputs if given is None else self._filled(outputs, given)

    def _new_context(self, known: _Signature) -> Context:
        if known.fixed is None:
            known.fixed = fix(self.plan, known.record, is_body=self._is_body)
            known.is_inlined = known.fixed.is_inlined
        return Context(known.fixed)

    def _note_change(self, key: Key, known: _Signature, position: int) -> None:
        """A step gave another shape than recorded: record anew, or, if it did so before, run this signature in the loop."""
        known.unsteady = position in self._volatile
        self._volatile.add(position)
        if not known.unsteady:
            self._signatures.pop(key, None)

    def _direct(self, fixed: FixedPlan, inputs: Sequence[Value], given: Mapping[int, Array]) -> dict[int, Array]:
        """Of the memory given for outputs, what the fixed plan can write or copy into: dense, of the right kind, apart from all else."""
        if isinstance(given, Given) and given.decided is not None and given.decided[0] is fixed and given.decided[1] is inputs:
            return given.decided[2]
        direct: dict[int, Array] = {}
        for position, array in given.items():
            slot = self.plan.outputs[position]
            others = [*self._at_place_of(slot, self.plan.inputs, inputs), *self._others(position, given)]
            if (
                slot in fixed.record.kinds
                and slot not in [self.plan.outputs[p] for p in direct]
                and kind_of(array) == fixed.record.kinds[slot]
                and array.flags.c_contiguous
                and not any(_may_share(self.plan.holder(slot), array, other) for other in others)
            ):
                direct[position] = array
        if isinstance(given, Given):
            given.decided = fixed, inputs, direct
        return direct

    def _at_place_of(self, slot: int, slots: Sequence[int], values: Sequence[Value]) -> list[Value]:
        """Those of the values that lie at the same place as `slot`."""
        place = self.plan.slots[slot].place
        return [value for other, value in zip(slots, values, strict=True) if self.plan.slots[other].place == place]

    def _others(self, position: int, given: Mapping[int, Array]) -> list[Array]:
        """The memory given for other outputs at the same place."""
        others = [other for other in given if other != position]
        outputs = self.plan.outputs
        return self._at_place_of(outputs[position], [outputs[other] for other in others], [given[other] for other in others])

    def _filled(self, outputs: list[Value], given: Mapping[int, Array]) -> list[Value]:
        """The outputs, in the memory given for them."""
        for position, array in given.items():
            value = outputs[position]
            if value is not array:
                if kind_of(value) != kind_of(array):
                    name = self.plan.slots[self.plan.outputs[position]].name
                    raise InvalidArgument(
                        f"output {name} is {_shown(value)}, but the memory given for it is {_shown(array)}; "
                        "give memory of that shape and type, or none"
                    )
                copying_into(self.plan, self.plan.outputs[position])(array, value)
                outputs[position] = array
        return outputs

    def recorded_kinds(self) -> dict[int, Kind]:
        """Slot → shape and dtype of its tensor, in the run with the signature that was used last; empty before the first run."""
        newest = max(tuple(self._signatures.values()), key=_last_used, default=None)
        return {} if newest is None else dict(newest.record.kinds)

    def sources(self) -> tuple[str, ...]:
        """The functions that signatures seen twice or more are run by, as Python text (see `onnxgpu.execute.source`)."""
        fixed = [known.fixed for known in tuple(self._signatures.values()) if known.fixed is not None]
        return tuple(source.text for plan in fixed for source in tuple(plan.sources.values()))

    def observed(self, inputs: Sequence[Value], observer: Observer, given: Mapping[int, Array] | None = None) -> list[Value]:
        """As a call, in the ordinary loop, telling `observer` of every step, those of bodies included."""
        before = getattr(_outermost, "observer", None)
        _outermost.observer = observer
        try:
            outputs = self._on_devices(partial(self._looped, inputs, observer))
            return outputs if given is None else self._filled(outputs, given)
        finally:
            _outermost.observer = before

    def _looped(self, inputs: Sequence[Value], observer: Observer | None) -> list[Value]:
        frame = new_frame(self.plan, inputs)
        run_steps(self.plan.steps, frame, observer)
        return self._copies([frame[slot] for slot in self.plan.outputs])

    def _copies(self, outputs: Sequence[Value]) -> list[Value]:
        return hand_out(outputs, [copying(self.plan, slot) for slot in self.plan.outputs])

    def _first_run(self, inputs: Sequence[Value], between_steps: Callable[[], None] | None) -> list[Value]:
        run = next(self._runs)
        if self._naming.are_too_many(inputs, tuple(self._signatures), run):
            self._signatures.clear()
        inputs, known, key = self._naming.fix(inputs)
        frame = new_frame(self.plan, inputs)
        record = record_run(self.plan, frame, self._volatile, known, between_steps)
        self._signatures[key] = _Signature(record, run)
        if record.served and self._on_change is not None:
            self._on_change()
        while len(kept := tuple(self._signatures.items())) > MOST_SIGNATURES:  # another thread may clear them meanwhile
            self._signatures.pop(min(kept, key=lambda item: item[1].last_used)[0], None)
        return hand_out([frame[slot] for slot in self.plan.outputs], forms(self.plan, record, is_body=self._is_body))


def _launching(plan: Plan) -> tuple[Provider, ...]:
    """The providers that want to know of a run, one a place, in the order in which they are told: those that compute come last.

    Bodies are included.
    """
    steps = tuple(_all_steps(plan))
    computing = [step.provider for step in steps if not step.is_transfer]
    found: dict[Place, Provider] = {}
    for provider in (*computing, *(step.provider for step in steps), *plan.holders):
        if type(provider).launching is not Provider.launching:
            found.setdefault(provider.place, provider)
    return tuple(found.values())[::-1]


def _all_steps(plan: Plan) -> Iterator[Step]:
    for step in plan.steps:
        yield step
        for body in step.bodies.values():
            yield from _all_steps(body.plan)


def _with_bodies(step: Step, programs: Mapping[int, Program]) -> Step:
    """A step with its bodies' programs, found by the identity of the `BodyCall`; one without bodies as it is."""
    if not step.bodies:
        return step
    if STAND_BY in step.bodies:
        return replace(step, kernel=StandByKernel(cast(ChangingKernel, step.kernel), step.provider, programs[id(step.bodies[STAND_BY])]))
    calls = {name: (programs[id(body)], body.captures) for name, body in step.bodies.items()}
    return replace(step, kernel=BodyKernel(cast(ControlKernel, step.kernel), len(step.operation.inputs), calls))


def _last_used(known: _Signature) -> int:
    return known.last_used


def _may_share(holder: Provider | None, array: Array, other: Value) -> bool:
    """True unless the two, at the same place, are tensors known to lie apart."""
    if kind_of(other) is None:
        return other is not None
    return np.may_share_memory(array, other) if holder is None else holder.shares_memory(array, other)


def _shown(value: Value) -> str:
    kind = kind_of(value)
    return f"a {type(value).__name__}" if kind is None else f"{kind[1]}{list(kind[0])}"
