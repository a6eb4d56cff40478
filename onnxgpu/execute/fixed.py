"""A plan for one signature (the shapes and dtypes of its inputs), with everything known beforehand done beforehand.

Steps whose results depend on shapes and constants alone are not run again; outputs lie in an arena at fixed offsets;
views of the arena are made once. What is left of a step is its kernel, a list of arrays, and the few values that
differ between runs. If a value turns out to have another shape than the recorded one, the run goes on in the ordinary
loop from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from onnxgpu.execute.loop import Frame, byte_spec, new_memory, pausing, run_steps, step_error
from onnxgpu.execute.memory import Layout, StepMemory, discarded_key, lay_out
from onnxgpu.execute.record import Record, kind_of
from onnxgpu.plan.steps import DISCARD, Plan, Step
from onnxgpu.provider import Place, Spec, Value


@dataclass(frozen=True)
class FixedPlan:
    """What all runs with one signature share."""

    plan: Plan
    record: Record
    memory: tuple[StepMemory | None, ...]
    layout: Layout
    skipped: frozenset[int]


def fix(plan: Plan, record: Record) -> FixedPlan:
    """Draw up the plan for the recorded shapes."""
    skipped = frozenset(p for p, step in enumerate(plan.steps) if all(slot == DISCARD or slot in record.static for slot in step.outputs))
    memory = tuple(None if p in skipped else _step_memory(step, record) for p, step in enumerate(plan.steps))
    return FixedPlan(plan, record, memory, lay_out(plan, record, memory), skipped)


def _step_memory(step: Step, record: Record) -> StepMemory | None:
    inputs: list[Any] = []
    for index, slot in enumerate(step.inputs):
        if slot == 0:
            inputs.append(None)
        elif slot in record.static:
            inputs.append(record.static[slot])
        elif index in step.host_inputs or slot not in record.kinds:
            return None
        else:
            inputs.append(Spec(*record.kinds[slot]))
    specs = step.kernel.outputs(inputs)
    if specs is None or any(
        slot != DISCARD and record.kinds.get(slot) != (s.shape, s.dtype) for slot, s in zip(step.outputs, specs, strict=False)
    ):
        return None
    return StepMemory(tuple(specs), step.kernel.workspace(inputs))


@dataclass(slots=True)
class _Launch:
    """What is left to do for one step.

    `expected` are the kinds of what it stores, for a step whose memory is not fixed: that is asked for anew in every run.
    """

    position: int
    step: Step
    launch: Any
    arrays: list[Any]
    patches: tuple[tuple[int, int], ...]
    outputs: list[Any] | None
    fresh: tuple[tuple[int, Spec], ...]
    workspace: Any
    stores: tuple[tuple[int, int], ...]
    expected: tuple[Any, ...] | None
    releases: tuple[int, ...]


class Context:
    """Memory and prepared steps for one run at a time; a session keeps a pool of them."""

    def __init__(self, fixed: FixedPlan) -> None:
        self._fixed = fixed
        self._arenas = {place: fixed.layout.owners[place].allocate(byte_spec(size)) for place, size in fixed.layout.sizes.items()}
        self._template: Frame = [None] * len(fixed.plan.slots)
        self._preset: set[int] = {0}
        for slot, value in fixed.record.static.items():
            self._preset.add(slot)
            self._template[slot] = value
        self._launches = [
            prepared
            for position, step in enumerate(fixed.plan.steps)
            if position not in fixed.skipped and (prepared := self._prepare(position, step, fixed.memory[position])) is not None
        ]

    def _arena_view(self, place: Place, offset: int, spec: Spec) -> Any:
        return self._fixed.layout.owners[place].view(self._arenas[place], offset, spec)

    def _prepare(self, position: int, step: Step, memory: StepMemory | None) -> _Launch | None:
        place, layout, record = step.provider.place, self._fixed.layout, self._fixed.record
        arrays = [self._template[slot] for slot in step.inputs]
        patches = tuple((i, slot) for i, slot in enumerate(step.inputs) if slot not in self._preset)
        if step.view_of is not None and memory is None and not patches and self._make_view(step, arrays):
            return None
        outputs: list[Any] | None = None
        fresh: list[tuple[int, Spec]] = []
        stores = []
        workspace = None
        for index, slot in enumerate(step.outputs):
            if slot != DISCARD and slot not in self._preset:
                stores.append((index, slot))
        if memory is not None:
            outputs = [None] * len(memory.specs)
            for index, spec in enumerate(memory.specs):
                slot = step.outputs[index] if index < len(step.outputs) else DISCARD
                offset = layout.offsets.get(slot if slot != DISCARD else discarded_key(position, index))
                if offset is None:
                    fresh.append((index, spec))
                    continue
                outputs[index] = self._arena_view(place, offset, spec)
                if slot != DISCARD:
                    self._template[slot] = outputs[index]
                    self._preset.add(slot)
                    stores.remove((index, slot))
            if memory.workspace:
                workspace = self._arena_view(place, layout.workspaces[position], byte_spec(memory.workspace))
        expected = None if memory is not None else tuple(record.kinds.get(slot) for _, slot in stores)
        releases = tuple(slot for slot in step.releases if slot not in self._preset)
        return _Launch(
            position,
            step,
            step.kernel.launch,
            arrays,
            patches,
            outputs,
            tuple(fresh),
            workspace,
            tuple(stores),
            expected,
            releases,
        )

    def _make_view(self, step: Step, arrays: Sequence[Any]) -> bool:
        """Make a view step's results once, if they are indeed views of memory that stays where it is."""
        source = step.inputs[step.view_of or 0]
        if any(slot and slot != source and slot not in self._fixed.record.static for slot in step.inputs) or not step.deterministic:
            return False
        results = step.kernel.launch(arrays, None, None)
        views = [(slot, value) for slot, value in zip(step.outputs, results, strict=False) if slot != DISCARD]
        kinds = self._fixed.record.kinds
        if not all(
            kinds.get(slot) == kind_of(value) and step.provider.shares_memory(arrays[step.view_of or 0], value) for slot, value in views
        ):
            return False
        for slot, value in views:
            self._template[slot] = value
            self._preset.add(slot)
        return True

    def run(self, inputs: Sequence[Value], between_steps: Callable[[], None] | None = None) -> tuple[list[Value], int | None]:
        """The plan's outputs, and the position of the step that gave another shape than recorded, if one did."""
        plan = self._fixed.plan
        frame = self._template.copy()
        for slot, value in zip(plan.inputs, inputs, strict=True):
            frame[slot] = value
        changed = None
        for launch in self._launches:
            if between_steps is not None:
                between_steps()
            if self._run_step(launch, frame):
                changed = launch.position
                run_steps(plan.steps[changed + 1 :], frame, pausing(between_steps))
                break
        return [frame[slot] for slot in plan.outputs], changed

    def _run_step(self, item: _Launch, frame: Frame) -> bool:
        """Run one step; True if an output has another shape than recorded."""
        arrays, outputs, workspace = item.arrays, item.outputs, item.workspace
        for index, slot in item.patches:
            arrays[index] = frame[slot]
        try:
            if item.expected is not None:
                outputs, workspace = new_memory(item.step.kernel, item.step.provider, arrays)
            else:
                for index, spec in item.fresh:
                    outputs[index] = item.step.provider.allocate(spec)  # type: ignore[index]
            results = item.launch(arrays, outputs, workspace)
        except Exception as error:
            raise step_error(item.step, error) from error
        for index, slot in item.stores:
            frame[slot] = results[index]
        differs = item.expected is not None and any(
            kind is not None and kind_of(results[index]) != kind for (index, _), kind in zip(item.stores, item.expected, strict=True)
        )
        if item.patches:
            for index, _ in item.patches:
                arrays[index] = None
        for index, _ in item.fresh:
            outputs[index] = None  # type: ignore[index]
        for slot in item.releases:
            frame[slot] = None
        return differs
