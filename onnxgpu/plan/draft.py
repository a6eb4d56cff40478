"""A plan being drawn up: slots and steps that may still change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from onnxgpu.plan.steps import ABSENT, DISCARD, Plan, Slot, Step
from onnxgpu.plan.transfer import TransferKernel
from onnxgpu.provider import HOST, Array, Operation, Place, Provider


@dataclass
class Draft:
    """The mutable form of a `Plan`; `finish` makes it one."""

    name: str
    slots: list[Slot] = field(default_factory=lambda: [Slot("absent"), Slot("discard")])
    steps: list[Step] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    constants: dict[int, Array] = field(default_factory=dict)

    def slot(self, name: str, place: Place) -> int:
        """A new slot."""
        self.slots.append(Slot(name, place))
        return len(self.slots) - 1

    def bring(self, slot: int, place: Place, holders: Sequence[Provider]) -> int:
        """A slot with the same value at `place`; adds the transfer steps, through the host between two devices."""
        source = self.slots[slot]
        if slot == ABSENT or source.place == place:
            return slot
        if source.place != HOST and place != HOST:
            return self.bring(self.bring(slot, HOST, holders), place, holders)
        provider = next(p for p in holders if p.place == (source.place if place == HOST else place))
        target = self.slot(source.name, place)
        operation = transfer_operation(source, self.slots[target])
        self.steps.append(Step(operation, provider, TransferKernel(provider, to_host=place == HOST), (slot,), (target,), is_transfer=True))
        return target

    def rename(self, aliases: dict[int, int]) -> None:
        """Read slot `aliases[s]` wherever `s` was read."""

        def real(slot: int) -> int:
            while slot in aliases:
                slot = aliases[slot]
            return slot

        self.steps = [replace(step, inputs=tuple(map(real, step.inputs))) for step in self.steps]
        self.outputs = [real(slot) for slot in self.outputs]

    def finish(self) -> Plan:
        """The plan, with last uses filled in."""
        steps = _with_releases(self.steps, set(self.outputs) | set(self.constants) | {ABSENT, DISCARD})
        read = {slot for step in steps for slot in step.inputs} | set(self.outputs)
        constants = {slot: array for slot, array in self.constants.items() if slot in read}
        return Plan(self.name, tuple(self.slots), steps, tuple(self.inputs), tuple(self.outputs), constants)


def transfer_operation(source: Slot, target: Slot) -> Operation:
    """What messages and profiles call the copy of a value from one place to another."""
    return Operation("transfer", (None,), (None,), domain="onnxgpu", name=f"{source.name}: {source.place} to {target.place}")


def _with_releases(steps: Sequence[Step], kept: set[int]) -> tuple[Step, ...]:
    """Each step with the slots that no later step reads."""
    finished: list[Step] = []
    live = set(kept)
    for step in reversed(steps):
        last = sorted({slot for slot in (*step.inputs, *step.outputs) if slot not in live})
        live.update(last)
        finished.append(replace(step, releases=tuple(last)))
    return tuple(reversed(finished))
