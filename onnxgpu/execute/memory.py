"""Which outputs of a recorded plan lie in the arena, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onnxgpu.execute.record import Record
from onnxgpu.plan.arena import Buffer, aligned, assign_offsets
from onnxgpu.plan.steps import ABSENT, DISCARD, Plan, Step
from onnxgpu.provider import Call, Place, Provider, Spec, Value

FOREVER = 1 << 60


@dataclass(frozen=True)
class StepMemory:
    """One step's outputs whose specs are fixed; None for a step that is asked anew in every run.

    Attributes:
        inputs: what the kernel was asked with: a value where it is known, a spec where it is not.
        specs: of the outputs.
        workspace: bytes.
        calls: what is called in place of `launch`, if the kernel says so.
        scratch: the specs that stand for scratch memory in `calls`, and their offsets in the workspace.
        is_view: the outputs take no memory: they are views of an input, of recorded shapes, which the only call returns.
    """

    inputs: tuple[Value, ...]
    specs: tuple[Spec, ...]
    workspace: int
    calls: tuple[Call, ...] | None = None
    scratch: tuple[tuple[Spec, int], ...] = ()
    is_view: bool = False


def step_memory(step: Step, record: Record) -> StepMemory | None:
    """What the step's kernel says of its memory, asked with what the record knows of its inputs."""
    inputs: list[Value] = []
    for index, slot in enumerate(step.inputs):
        if slot == ABSENT:
            inputs.append(None)
        elif slot in record.static:
            inputs.append(record.static[slot])
        elif index in step.host_inputs or slot not in record.kinds:
            return None
        else:
            inputs.append(Spec(*record.kinds[slot]))
    specs = step.kernel.outputs(inputs)
    inlined: Callable[..., Sequence[Call] | None] | None = getattr(step.kernel, "calls", None)
    if specs is None and inlined is not None and _is_view(step, record):
        calls = inlined(inputs, None)
        return None if calls is None else StepMemory(tuple(inputs), (), 0, tuple(calls), is_view=True)
    if specs is None and getattr(step.kernel, "copies", False) and _is_view(step, record) and step.outputs[0] in record.apart:
        return StepMemory(tuple(inputs), (Spec(*record.kinds[step.outputs[0]]),), 0)
    if specs is None or any(
        slot != DISCARD and record.kinds.get(slot) != (s.shape, s.dtype) for slot, s in zip(step.outputs, specs, strict=False)
    ):
        return None
    outputs = tuple(replace(spec) for spec in specs)
    calls = None if inlined is None else inlined(inputs, outputs)
    if calls is None:
        return StepMemory(tuple(inputs), outputs, step.kernel.workspace(inputs))
    known = {id(value) for value in (*inputs, *outputs)}
    wanted = {id(a): a for _, arguments in calls for a in arguments if isinstance(a, Spec) and id(a) not in known}
    scratch, size = [], 0
    for spec in wanted.values():
        scratch.append((spec, size))
        size += aligned(spec.nbytes)
    return StepMemory(tuple(inputs), outputs, size, tuple(calls), tuple(scratch))


def _is_view(step: Step, record: Record) -> bool:
    """True if the outputs are views of one tensor that depend on nothing but its shape and what is the same in every run."""
    if step.view_of is None or not step.deterministic or step.inputs[step.view_of] not in record.kinds:
        return False
    return all(slot == ABSENT or i == step.view_of or slot in record.static for i, slot in enumerate(step.inputs))


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


@dataclass(eq=False)
class _Piece:
    """Memory in which one value lies, or several one after the other, from step `first` to step `last`."""

    place: Place
    nbytes: int
    first: int
    last: int


def lay_out(plan: Plan, record: Record, memory: Sequence[StepMemory | None]) -> Layout:
    """Place every fixed output that no plan output may share memory with, reusing memory whose value is dead."""
    last = _last_uses(plan, record)
    returned = frozenset().union(*(record.roots.get(slot, frozenset()) for slot in plan.outputs))
    pieces: dict[int, _Piece] = {}
    workspaces: dict[int, _Piece] = {}
    owners: dict[Place, Provider] = {}
    for position, (step, fixed) in enumerate(zip(plan.steps, memory, strict=True)):
        if fixed is None:
            continue
        place = step.provider.place
        owners.setdefault(place, step.provider)
        if fixed.workspace:
            workspaces[position] = _Piece(place, fixed.workspace, position, position)
        reused: list[_Piece] = []
        for index, (slot, spec) in enumerate(zip(step.outputs, fixed.specs, strict=False)):
            if slot in returned or spec.dtype.hasobject:
                continue
            if slot == DISCARD:
                pieces[discarded_key(position, index)] = _Piece(place, spec.nbytes, position, position)
                continue
            until = max(last.get(slot, position), position)
            piece = _reusable(step, spec, position, record, pieces)
            if piece is None or piece in reused:
                waits_from_the_start = step.is_transfer and step.inputs[0] in plan.inputs
                piece = _Piece(place, spec.nbytes, 0 if waits_from_the_start else position, until)
            else:
                reused.append(piece)
                piece.last = until
            pieces[slot] = piece
    offsets: dict[_Piece, int] = {}
    sizes: dict[Place, int] = {}
    for place in owners:
        here = [piece for piece in dict.fromkeys((*workspaces.values(), *pieces.values())) if piece.place == place]
        if here:
            assigned, sizes[place] = assign_offsets([Buffer(piece.nbytes, piece.first, piece.last) for piece in here])
            offsets.update(zip(here, assigned, strict=True))
    return Layout(
        {slot: offsets[piece] for slot, piece in pieces.items()},
        {position: offsets[piece] for position, piece in workspaces.items()},
        sizes,
        owners,
    )


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


def _reusable(step: Step, spec: Spec, position: int, record: Record, pieces: dict[int, _Piece]) -> _Piece | None:
    """The memory of an input that dies here, which the output may take over; memory that is not the arena's has no piece."""
    lies_in = [{pieces.get(root) for root in record.roots.get(slot, ())} for slot in step.inputs]
    for index in spec.may_reuse:
        if index >= len(lies_in) or len(lies_in[index]) != 1 or step.inputs[index] not in record.dense:
            continue
        (piece,) = lies_in[index]
        others = [memory for slot, memory in zip(step.inputs, lies_in, strict=True) if slot != step.inputs[index]]
        if piece is not None and piece.last == position and piece.nbytes == spec.nbytes and not any(piece in memory for memory in others):
            return piece
    return None
