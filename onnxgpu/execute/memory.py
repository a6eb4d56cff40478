"""Which outputs of a recorded plan lie in the arena, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxgpu.execute.record import Record
from onnxgpu.plan.arena import Buffer, assign_offsets
from onnxgpu.plan.steps import DISCARD, Plan, Step
from onnxgpu.provider import Place, Provider, Spec

FOREVER = 1 << 60


@dataclass(frozen=True)
class StepMemory:
    """One step's outputs whose specs are fixed, and its workspace; None for a step that is asked anew in every run."""

    specs: tuple[Spec, ...]
    workspace: int


@dataclass(frozen=True)
class Layout:
    """Offsets in each place's arena.

    Attributes:
        offsets: slot → offset, for outputs that lie in the arena (a discarded output's key is `discarded_key`).
        workspaces: step position → offset.
        sizes: place → bytes.
        owners: place → the provider that allocates there.
    """

    offsets: dict[int, int]
    workspaces: dict[int, int]
    sizes: dict[Place, int]
    owners: dict[Place, Provider]


def lay_out(plan: Plan, record: Record, memory: Sequence[StepMemory | None]) -> Layout:
    """Place every fixed output that no plan output may share memory with, reusing memory whose value is dead."""
    last = _last_uses(plan, record)
    returned = frozenset().union(*(record.roots.get(slot, frozenset()) for slot in plan.outputs))
    buffers: dict[Place, list[Buffer]] = {}
    keys: dict[Place, list[tuple[str, int]]] = {}
    merged: dict[int, int] = {}
    first: dict[int, int] = {}
    sizes: dict[int, int] = {}
    places: dict[int, Place] = {}
    owners: dict[Place, Provider] = {}
    for position, (step, fixed) in enumerate(zip(plan.steps, memory, strict=True)):
        if fixed is None:
            continue
        owners.setdefault(step.provider.place, step.provider)
        if fixed.workspace:
            keys.setdefault(step.provider.place, []).append(("workspace", position))
            buffers.setdefault(step.provider.place, []).append(Buffer(fixed.workspace, position, position))
        own: set[int] = set()
        for index, (slot, spec) in enumerate(zip(step.outputs, fixed.specs, strict=False)):
            if slot in returned or spec.dtype.hasobject:
                continue
            taken = None if slot == DISCARD else _reusable(step, spec, position, record, merged, first, last, sizes)
            if taken is None or taken in own:
                key = slot if slot != DISCARD else discarded_key(position, index)
                first[key], sizes[key], places[key] = position, spec.nbytes, step.provider.place
                last[key] = max(last.get(key, position), position)
            else:
                own.add(taken)
                merged[slot] = taken
                last[taken] = max(last.get(slot, position), position)
    for key, place in places.items():
        keys.setdefault(place, []).append(("slot", key))
        buffers.setdefault(place, []).append(Buffer(sizes[key], first[key], last[key]))
    offsets: dict[int, int] = {}
    workspaces: dict[int, int] = {}
    totals: dict[Place, int] = {}
    for place, wanted in buffers.items():
        positions, totals[place] = assign_offsets(wanted)
        for (kind, key), offset in zip(keys[place], positions, strict=True):
            (offsets if kind == "slot" else workspaces)[key] = offset
    offsets |= {slot: offsets[owner] for slot, owner in merged.items()}
    return Layout(offsets, workspaces, totals, owners)


def discarded_key(position: int, index: int) -> int:
    """What stands for a slot where step `position` discards output `index`: below 0, and different for each."""
    return -1 - (position << 16) - index


def _last_uses(plan: Plan, record: Record) -> dict[int, int]:
    """The last step that reads the memory of each slot, through any value that may share it."""
    last: dict[int, int] = {}
    for position, step in enumerate(plan.steps):
        for slot in (*step.inputs, *step.outputs):
            for root in record.roots.get(slot, ()):
                last[root] = position
    for slot in plan.outputs:
        for root in record.roots.get(slot, ()):
            last[root] = FOREVER
    return last


def _reusable(
    step: Step,
    spec: Spec,
    position: int,
    record: Record,
    merged: dict[int, int],
    first: dict[int, int],
    last: dict[int, int],
    sizes: dict[int, int],
) -> int | None:
    """The buffer of an input that dies here and whose memory the output may take over."""
    owned = [frozenset(merged.get(root, root) for root in record.roots.get(slot, ())) for slot in step.inputs]
    for index in spec.may_reuse:
        if index >= len(owned) or len(owned[index]) != 1 or step.inputs[index] not in record.dense:
            continue
        (buffer,) = owned[index]
        others = [o for slot, o in zip(step.inputs, owned, strict=True) if slot != step.inputs[index]]
        if buffer in first and last[buffer] == position and sizes[buffer] == spec.nbytes and not any(buffer in o for o in others):
            return buffer
    return None
