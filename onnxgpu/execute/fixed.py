"""A plan for one signature (the shapes and dtypes of its inputs), with everything known beforehand done beforehand.

Steps whose results depend on shapes and constants alone are not run again; outputs lie in an arena at fixed offsets;
views of the arena are made once. What is left is a Python function without a decision in it (`source.py`). If a value
turns out to have another shape than the recorded one, the run goes on in the ordinary loop from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

from onnxgpu.computed_once import computed_once
from onnxgpu.errors import OutOfMemory
from onnxgpu.execute.loop import Frame, byte_spec, pausing, run_steps, step_error
from onnxgpu.execute.memory import Layout, StepMemory, lay_out, step_memory
from onnxgpu.execute.record import Record, kind_of
from onnxgpu.execute.replay import Arguments, decided, has_fixed_arrays, may_repeat, recorded
from onnxgpu.execute.source import Source, Variant, write_source
from onnxgpu.execute.stand_by import with_served
from onnxgpu.plan.steps import ABSENT, DISCARD, Plan, Step
from onnxgpu.plan.transfer import TransferKernel
from onnxgpu.provider import HOST, Array, Place, Provider, Spec, Value, Work

PLAIN = Variant()

_NEW, _LAUNCHED, _DECIDED, _RECORDED = range(4)
"""Of a context: not run yet, run once, its kernels have decided, and nothing more is to be prepared."""

_SAME_ARRAYS = 2
"""Runs with the very same inputs, and memory for outputs, as the one before, after which it pays to count on them."""


@dataclass(frozen=True)
class FixedPlan:
    """What all runs with one signature share.

    Attributes:
        plan: what is run.
        record: shapes, dtypes and values that a run of the loop recorded.
        memory: of each step; None where it is asked for anew in every run, and for steps that are skipped.
        layout: where outputs and workspaces lie in the arenas.
        skipped: positions of steps whose results are known.
        is_body: the outputs go to a control-flow kernel.
        recorded: the plan as it was recorded, whose steps take other shapes than these too.
        sources: the functions written so far, by the slots that are made beforehand.
    """

    plan: Plan
    record: Record
    memory: tuple[StepMemory | None, ...]
    layout: Layout
    skipped: frozenset[int]
    is_body: bool
    recorded: Plan
    sources: dict[tuple[frozenset[int], Variant], Source] = field(default_factory=dict)

    @computed_once
    def fresh_slots(self) -> frozenset[int]:
        """Slots whose memory is known beforehand and new in every run: the caller gets it."""
        return frozenset(
            slot
            for step, memory in zip(self.plan.steps, self.memory, strict=True)
            if memory is not None
            for slot in step.outputs[: len(memory.specs)]
            if slot != DISCARD and slot not in self.layout.offsets and slot not in self.record.static
        )

    @computed_once
    def transferred_slots(self) -> frozenset[int]:
        """Slots of tensors that a transfer copies: it can copy them into memory that the caller gives."""
        slots = (step.outputs[0] for step in self.plan.steps if step.is_transfer)
        return frozenset(slot for slot in slots if slot in self.record.kinds and slot not in self.record.static)

    @computed_once
    def later_slots(self) -> frozenset[int]:
        """Slots of tensors on their way to the caller alone, so that one wait at the end is enough for all of them."""
        if self.is_body:
            return frozenset()
        read = {slot for step in self.plan.steps for slot in step.inputs}
        counts = Counter(self.plan.outputs)
        to_host = (step.outputs[0] for step in self.plan.steps if isinstance(step.kernel, TransferKernel) and step.kernel.to_host)
        return frozenset(slot for slot in to_host if slot in self.transferred_slots and slot not in read and counts[slot] == 1)

    @computed_once
    def settling(self) -> tuple[Provider, ...]:
        """Providers that `later_slots` come from."""
        found = {id(step.provider): step.provider for step in self.plan.steps if step.outputs[0] in self.later_slots}
        return tuple(found.values())

    @computed_once
    def left_on_devices(self) -> tuple[int, ...]:
        """Positions of inputs that lie on devices."""
        slots = self.plan.slots
        return tuple(p for p, slot in enumerate(self.plan.inputs) if slots[slot].place != HOST and slot in self.record.kinds)

    def written_on_devices(self, given: Mapping[int, Array]) -> tuple[int, ...]:
        """Positions of outputs that are written into given memory on devices."""
        outputs, slots = self.plan.outputs, self.plan.slots
        return tuple(p for p in given if outputs[p] in self.fresh_slots and slots[outputs[p]].place != HOST)

    @computed_once
    def repeatable(self) -> frozenset[int]:
        """Positions of steps whose launches may be the same in every run."""
        return may_repeat(self.plan, self.memory, self.skipped)

    @computed_once
    def recording(self) -> tuple[Provider, ...]:
        """Providers that may record some of them, one for each kind of recording."""
        providers = [self.plan.steps[position].provider for position in self.repeatable]
        return tuple({p.recorded_with: p for p in providers if p.recorded_with is not None}.values())

    def is_passed(self, position: int, made: frozenset[int]) -> bool:
        """True if a run does nothing at this position, given that the arrays of the slots `made` are there."""
        step, memory = self.plan.steps[position], self.memory[position]
        is_made = all(slot == DISCARD or slot in made for slot in step.outputs)
        return position in self.skipped or ((memory is None or memory.is_view) and is_made)

    def is_ahead(self, step: Step, made: frozenset[int]) -> bool:
        """True for a copy of an input into memory that waits for it from the start of the run; a body is run again at once."""
        return step.is_transfer and not self.is_body and step.inputs[0] in self.plan.inputs and step.outputs[0] in made

    @computed_once
    def is_inlined(self) -> bool:
        """True if nothing is launched: every step is calls, or is skipped."""
        return all(
            position in self.skipped or (memory is not None and memory.calls is not None) for position, memory in enumerate(self.memory)
        )

    def source(self, made: frozenset[int], variant: Variant) -> Source:
        """The function for contexts that make the arrays of the slots `made` beforehand."""
        if (made, variant) not in self.sources:
            self.sources[made, variant] = write_source(self, made, variant)
        return self.sources[made, variant]


@dataclass(frozen=True, slots=True)
class Changed:
    """A run in which step `position` gave another shape than recorded, and its outputs all the same."""

    position: int
    outputs: list[Value]


def fix(plan: Plan, record: Record, *, is_body: bool) -> FixedPlan:
    """Draw up the plan for the recorded shapes."""
    recorded, plan = plan, with_served(plan, record.served)
    skipped = frozenset(p for p, step in enumerate(plan.steps) if all(slot == DISCARD or slot in record.static for slot in step.outputs))
    memory = tuple(None if p in skipped else step_memory(step, record) for p, step in enumerate(plan.steps))
    return FixedPlan(plan, record, memory, lay_out(plan, record, memory), skipped, is_body, recorded)


class Context:
    """Memory and functions for one run at a time; a program keeps a pool of them.

    Args:
        fixed: the plan it runs.
        bound: slot → array of inputs, and memory for outputs, that every run is given, and the arenas of a context that runs when this
            one does not.

    Attributes:
        fixed: the plan it runs.
    """

    def __init__(self, fixed: FixedPlan, bound: tuple[Mapping[int, Array], Mapping[Place, Array]] | None = None) -> None:
        self.fixed = fixed
        arrays, arenas = bound or ({}, {place: _arena(fixed, place, size) for place, size in fixed.layout.sizes.items()})
        self._arenas = arenas
        self._arrays: dict[int, Any] = dict(fixed.record.static) | dict(arrays)
        self._may_bind = bound is None and bool(fixed.repeatable) and not fixed.is_body
        self._last: tuple[Sequence[Value], Mapping[int, Array] | None] | None = None
        self._same = 0
        self._bound: tuple[Context, dict[int, Array] | None] | None = None
        for position, (step, memory) in enumerate(zip(fixed.plan.steps, fixed.memory, strict=True)):
            if memory is not None and not memory.is_view:
                self._lay_outputs(position, step, memory)
            elif position not in fixed.skipped and step.view_of is not None:
                self._make_view(step, step.view_of)
        self._made = frozenset(self._arrays)
        self._functions: dict[Variant, Callable[..., Any]] = {}
        self._repeats: dict[tuple[int, ...], Callable[[], Any]] = {}
        self._plain_variant, self._plain = PLAIN, self._function(PLAIN)
        self._settling = fixed.settling
        self._stage = _NEW if fixed.repeatable else _RECORDED

    def _view(self, place: Place, offset: int, spec: Spec) -> Any:
        return self.fixed.layout.owners[place].view(self._arenas[place], offset, spec)

    def _lay_outputs(self, position: int, step: Step, memory: StepMemory) -> None:
        """Make the arrays of the step's outputs that lie in the arena."""
        for slot, spec in zip(step.outputs, memory.specs, strict=False):
            if slot in self.fixed.layout.offsets:
                self._arrays[slot] = self._view(step.provider.place, self.fixed.layout.offsets[slot], spec)

    def _make_view(self, step: Step, viewed: int) -> None:
        """Make a view step's results once, if they are indeed views of memory that stays where it is."""
        source = step.inputs[viewed]
        if any(slot not in (ABSENT, source) and slot not in self.fixed.record.static for slot in step.inputs):
            return
        if source not in self._arrays or not step.deterministic:
            return
        results = step.kernel.launch([self._arrays.get(slot) for slot in step.inputs], None, None)
        views = [(slot, value) for slot, value in zip(step.outputs, results, strict=False) if slot != DISCARD]
        kinds = self.fixed.record.kinds
        if all(kinds.get(slot) == kind_of(value) and step.provider.shares_memory(self._arrays[source], value) for slot, value in views):
            self._arrays.update(views)

    def _function(self, variant: Variant) -> Callable[..., Any]:
        if variant not in self._functions:
            source = self.fixed.source(self._made, variant)
            steps, workspaces = self.fixed.plan.steps, self.fixed.layout.workspaces
            values = source.shared | {f"v{slot}": self._arrays[slot] for slot in source.slots}
            for name, (position, offset, spec) in source.scratch.items():
                values[name] = self._view(steps[position].provider.place, workspaces[position] + offset, spec)
            for position in source.workspaces:
                memory = self.fixed.memory[position]
                assert memory is not None
                values[f"w{position}"] = self._view(steps[position].provider.place, workspaces[position], byte_spec(memory.workspace))
            values |= {name: self._repeats[group] for name, group in source.repeats.items()}
            for name, (position, slots) in source.resumes.items():
                values[name] = partial(_resume, self.fixed.recorded, self._arrays, position, slots)
            self._functions[variant] = source.make(*map(values.__getitem__, source.names))
        return self._functions[variant]

    def run(
        self, inputs: Sequence[Value], between_steps: Callable[[], None] | None = None, given: Mapping[int, Array] | None = None
    ) -> list[Value] | Changed:
        """The plan's outputs as they are handed out; `Changed` if a step gave another shape than recorded.

        Args:
            inputs: of the recorded kinds.
            between_steps: called between steps; may raise to end the run.
            given: position of an output → memory for it, dense, of the recorded kind, and apart from all else.
        """
        if self._may_bind:
            bound = self._bound_to(inputs, given)
            if bound is not None:
                context, others = bound
                return context.run(inputs, between_steps, others)
        if self._stage != _RECORDED:
            self._repeat_when_due()
        if between_steps is None and not given:
            variant, function = self._plain_variant, self._plain
        else:
            variant = Variant(between_steps is not None, tuple(given or ()), self._plain_variant.repeated)
            function = self._function(variant)
        try:
            outputs: list[Value] | Changed = (
                function(between_steps, *inputs, *given.values()) if given else function(between_steps, *inputs)
            )
            if self._settling and variant.is_later:
                for provider in self._settling:
                    provider.settle()
            return outputs
        except Exception as error:
            position = self._position(variant, error.__traceback__)
            if position is None:
                raise
            raise step_error(self.fixed.plan.steps[position], error) from error

    def _bound_to(self, inputs: Sequence[Value], given: Mapping[int, Array] | None) -> tuple[Context, dict[int, Array] | None] | None:
        """For a caller who gives the very same arrays time and again: a context that counts on where those on devices lie.

        With it comes the memory for outputs that it still has to be given.
        """
        if not given and not self.fixed.left_on_devices:
            return None
        if self._last is None or inputs is not self._last[0] or given is not self._last[1]:
            self._last, self._same, self._bound = (inputs, given), 0, None
            return None
        self._same += 1
        if self._bound is None and self._same >= _SAME_ARRAYS:
            plan, given = self.fixed.plan, given or {}
            written = self.fixed.written_on_devices(given)
            arrays = {plan.inputs[position]: inputs[position] for position in self.fixed.left_on_devices}
            arrays |= {plan.outputs[position]: given[position] for position in written}
            if not arrays:
                return None
            others = {position: array for position, array in given.items() if position not in written}
            self._bound = Context(self.fixed, (arrays, self._arenas)), others or None
        return self._bound

    def _repeat_when_due(self) -> None:
        """In the second run of this context, everything that it repeats was launched and compiled before.

        Where providers may not record then, but perhaps later, kernels decide until then what they launch.
        """
        if self._stage == _NEW:
            self._stage = _LAUNCHED
            return
        recorders: dict[object, Callable[[Work], Work | None]] = {}
        for provider in self.fixed.recording:
            recorder = provider.recorder()
            if recorder is None:
                recorders.clear()
                break
            recorders[provider.recorded_with] = recorder
        may_record = len(recorders) == len(self.fixed.recording)
        if self._stage == _DECIDED and not may_record:
            return
        self._stage = _RECORDED if may_record else _DECIDED
        steps, groups = self.fixed.plan.steps, dict[tuple[int, ...], Work]()
        left = {p: self._launch_arguments(p) for p in sorted(self.fixed.repeatable) if has_fixed_arrays(steps[p], self._made)}
        if recorders:
            groups = recorded(steps, left, lambda step, work: recorders[step.provider.recorded_with](work), self._parts_nothing)
        for position in (position for group in groups for position in group):
            del left[position]
        self._repeats = groups | decided(steps, left)
        if self._repeats:
            self._plain_variant = Variant(repeated=tuple(self._repeats))
            self._plain = self._function(self._plain_variant)

    def _parts_nothing(self, position: int) -> bool:
        """True for a position at which nothing is done in a run, or which is done before all others."""
        return self.fixed.is_passed(position, self._made) or self.fixed.is_ahead(self.fixed.plan.steps[position], self._made)

    def _launch_arguments(self, position: int) -> Arguments:
        """What a step is launched with whose arrays are the same in every run."""
        step, memory = self.fixed.plan.steps[position], self.fixed.memory[position]
        assert memory is not None
        workspace = None
        if memory.workspace:
            workspace = self._view(step.provider.place, self.fixed.layout.workspaces[position], byte_spec(memory.workspace))
        return [self._arrays.get(slot) for slot in step.inputs], [self._arrays[slot] for slot in step.outputs], workspace

    def _position(self, variant: Variant, trace: TracebackType | None) -> int | None:
        """The step whose call raised, told by the line of the function."""
        inside = trace.tb_next if trace else None
        return None if inside is None else self.fixed.source(self._made, variant).positions[inside.tb_lineno - 1]


def _arena(fixed: FixedPlan, place: Place, size: int) -> Array:
    """The memory of a plan at one place.

    Raises:
        OutOfMemory: there is too little; says how much the plan needs, and about which batch would fit.
    """
    owner = fixed.layout.owners[place]
    try:
        return owner.allocate(byte_spec(size))
    except OutOfMemory as error:
        raise OutOfMemory(f"{error.message}. {_need(fixed, place, size, owner.memory_available())}") from error


def _need(fixed: FixedPlan, place: Place, size: int, available: int | None) -> str:
    plan, kinds = fixed.plan, fixed.record.kinds
    inputs = [(plan.slots[slot].name, list(kinds[slot][0])) for slot in plan.inputs if slot in kinds]
    constants = sum(array.nbytes for slot, array in plan.constants.items() if plan.slots[slot].place == place)
    text = f"The plan for inputs {', '.join(f'{name} {shape}' for name, shape in inputs)} needs {size:,} bytes at once on {place}"
    text += f", beside {constants:,} bytes of constants"
    batches = {shape[0] for _, shape in inputs if shape}
    if available is not None and len(batches) == 1 and (batch := batches.pop()) > 1:
        text += f"; about {batch * available // size} of {batch} (the inputs' first dimension) would fit"
    return text


def _resume(
    plan: Plan, arrays: Mapping[int, Value], position: int, slots: Sequence[int], between_steps: Callable[[], None] | None, *values: Value
) -> Changed:
    """Go on in the loop behind the step at `position`, with the values that `slots` have by then."""
    frame: Frame = [None] * len(plan.slots)
    for slot, value in (*arrays.items(), *zip(slots, values, strict=True)):
        frame[slot] = value
    run_steps(plan.steps[position + 1 :], frame, pausing(between_steps))
    return Changed(position, [frame[slot] for slot in plan.outputs])
