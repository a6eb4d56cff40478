"""Launches that a provider records once and repeats with one call, where nothing about them changes from run to run.

Each step that might be repeated is tried alone; neighbours that can be are recorded together. Steps that cannot (they wait, or read
what differs between runs) stand between the recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnxgpu.execute.memory import StepMemory
from onnxgpu.plan.steps import ABSENT, Plan, Step
from onnxgpu.provider import Provider, Work

FEWEST = 2
"""Steps that are worth a recording."""


def may_repeat(plan: Plan, memory: Sequence[StepMemory | None], skipped: frozenset[int]) -> frozenset[int]:
    """Positions of steps whose provider records and whose memory is known."""
    return frozenset(
        position
        for position, (step, known) in enumerate(zip(plan.steps, memory, strict=True))
        if position not in skipped
        and type(step.provider).recorder is not Provider.recorder
        and known is not None
        and not known.is_view
        and step.deterministic
        and not step.is_transfer
        and not step.bodies
    )


def has_fixed_arrays(step: Step, made: frozenset[int]) -> bool:
    """True if every array of the step is the same in every run."""
    return all(slot in made for slot in step.outputs) and all(slot == ABSENT or slot in made for slot in step.inputs)


def recorded(
    steps: Sequence[Step], works: Mapping[int, Work], record: Callable[[Step, Work], Work | None], passed: Callable[[int], bool]
) -> dict[tuple[int, ...], Work]:
    """Positions that are recorded together → what repeats them.

    Args:
        steps: of the plan.
        works: position → the launch, of steps that may be repeated.
        record: gives what repeats work with this step's provider; None if it cannot be repeated.
        passed: True for a position that does not part its neighbours, since nothing is done there in a run.
    """
    if len(works) < FEWEST:
        return {}
    groups: list[list[int]] = [[]]
    for position, step in enumerate(steps):
        if position in works and record(step, works[position]) is not None:
            if groups[-1] and steps[groups[-1][-1]].provider is not step.provider:
                groups.append([])
            groups[-1].append(position)
        elif not passed(position) and groups[-1]:
            groups.append([])
    found = {}
    for group in groups:
        if len(group) >= FEWEST:
            repeat = record(steps[group[0]], _all(tuple(works[position] for position in group)))
            if repeat is not None:
                found[tuple(group)] = repeat
    return found


def _all(works: Sequence[Work]) -> Work:
    def work() -> None:
        for launch in works:
            launch()

    return work
