"""Launches of which nothing changes from run to run, and what makes them again.

Where a provider can record, neighbours are recorded together and repeated with one call. Of those that cannot be, each is tried alone;
steps that wait, or read what differs between runs, stand between the recordings then. Of steps that are in no recording, the kernel may
have decided beforehand what to launch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from onnxgpu.execute.memory import StepMemory
from onnxgpu.plan.steps import ABSENT, Plan, Step
from onnxgpu.provider import Array, Kernel, Value, Work

Arguments = tuple[list[Any], list[Any], Any]
"""Inputs, outputs and workspace of a launch."""

FEWEST = 2
"""Steps that are worth a recording; a single one is if its kernel says that it `launches_many`."""


class RepeatableKernel(Kernel, Protocol):
    """A kernel that can decide beforehand what its `launch` does on arrays that are the same in every run."""

    def repeating(self, inputs: Sequence[Value], outputs: Sequence[Array], workspace: Array | None) -> Work | None:
        """What does the same as `launch` with these very arrays, whatever elements they then have; None: `launch` has to be called.

        It may be called within `Provider.launching`, as long as the arrays live; making it does nothing to them.
        """


def may_repeat(plan: Plan, memory: Sequence[StepMemory | None], skipped: frozenset[int]) -> frozenset[int]:
    """Positions of steps whose memory is known and whose provider records, or whose kernel decides beforehand."""
    return frozenset(
        position
        for position, (step, known) in enumerate(zip(plan.steps, memory, strict=True))
        if position not in skipped
        and (step.provider.recorded_with is not None or hasattr(step.kernel, "repeating"))
        and known is not None
        and not known.is_view
        and step.deterministic
        and not step.is_transfer
    )


def has_fixed_arrays(step: Step, made: frozenset[int]) -> bool:
    """True if every array of the step is the same in every run."""
    return all(slot in made for slot in step.outputs) and all(slot == ABSENT or slot in made for slot in step.inputs)


def recorded(
    steps: Sequence[Step],
    arguments: Mapping[int, Arguments],
    record: Callable[[Step, Work], Work | None],
    passed: Callable[[int], bool],
) -> dict[tuple[int, ...], Work]:
    """Positions that are recorded together → what repeats them.

    Args:
        steps: of the plan.
        arguments: position → what the step is launched with, of steps that may be repeated.
        record: gives what repeats work that begins with this step; None if it cannot be repeated.
        passed: True for a position that does not part its neighbours, since nothing is done there in a run.
    """
    works: dict[int, Work] = {position: partial(steps[position].kernel.launch, *given) for position, given in arguments.items()}

    def together(group: Sequence[int]) -> dict[tuple[int, ...], Work]:
        work = _all(tuple(works[position] for position in group))
        worth = len(group) >= FEWEST or getattr(steps[group[0]].kernel, "launches_many", False)
        repeat = record(steps[group[0]], work) if worth else None
        return {} if repeat is None else {tuple(group): repeat}

    found: dict[tuple[int, ...], Work] = {}
    for group in _neighbours(
        steps, [position in works and step.provider.recorded_with is not None for position, step in enumerate(steps)], passed
    ):
        whole = together(group)
        if whole or len(group) < FEWEST:
            found |= whole
            continue
        alone = {position for position in group if record(steps[position], works[position]) is not None}
        parts = _neighbours(steps, [position in alone for position in range(len(steps))], passed)
        for part in parts:
            found |= together(part)
    return found


def _neighbours(steps: Sequence[Step], chosen: Sequence[bool], passed: Callable[[int], bool]) -> list[list[int]]:
    """Positions of chosen steps that may be in one recording, between which nothing is done."""
    groups: list[list[int]] = [[]]
    for position, step in enumerate(steps):
        if chosen[position]:
            if groups[-1] and steps[groups[-1][-1]].provider.recorded_with is not step.provider.recorded_with:
                groups.append([])
            groups[-1].append(position)
        elif not passed(position) and groups[-1]:
            groups.append([])
    return [group for group in groups if group]


def decided(steps: Sequence[Step], arguments: Mapping[int, Arguments]) -> dict[tuple[int, ...], Work]:
    """Positions, each alone → what launches the step, of those whose kernel has decided that."""
    found: dict[tuple[int, ...], Work] = {}
    for position, given in arguments.items():
        repeating = getattr(steps[position].kernel, "repeating", None)
        repeat = None if repeating is None else repeating(*given)
        if repeat is not None:
            found[(position,)] = repeat
    return found


def _all(works: Sequence[Work]) -> Work:
    def work() -> None:
        for launch in works:
            launch()

    return work
