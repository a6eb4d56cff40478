"""The plan for inputs that lie at other places already, and outputs that are wanted at other places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnxgpu.plan.draft import Draft
from onnxgpu.plan.steps import Plan, Step
from onnxgpu.plan.transfers import go_directly, remove_back_and_forth, remove_unread, upload_constants
from onnxgpu.provider import Place, Provider


def bound(plan: Plan, inputs: Mapping[int, Place], outputs: Mapping[int, Place], providers: Sequence[Provider]) -> Plan:
    """`plan` without the copies that become needless, and with those that become necessary.

    Args:
        plan: the plan for inputs and outputs on the host.
        inputs: position of an input → where it lies.
        outputs: position of an output → where it is wanted.
        providers: those through which the places are reached.
    """
    draft = Draft(plan.name, list(plan.slots), [], list(plan.inputs), list(plan.outputs), dict(plan.constants))
    steps = plan.steps
    homes: dict[int, int] = {}
    for position, place in inputs.items():
        slot = plan.inputs[position]
        draft.inputs[position] = draft.slot(plan.slots[slot].name, place)
        steps = tuple(_reading_shape_from(step, slot, draft.inputs[position]) for step in steps)
        homes[slot] = draft.bring(draft.inputs[position], plan.slots[slot].place, providers)
    draft.steps += steps
    draft.rename(homes)
    for position, place in outputs.items():
        draft.outputs[position] = draft.bring(draft.outputs[position], place, providers)
    remove_back_and_forth(draft)
    go_directly(draft)
    upload_constants(draft)
    remove_unread(draft)
    places = (*inputs.values(), *outputs.values())
    return replace(draft.finish(), holders=tuple(provider for provider in providers if provider.place in places))


def _reading_shape_from(step: Step, slot: int, other: int) -> Step:
    """The step, with the inputs of which it reads only the shape taken from `other`, wherever that is."""
    if slot not in step.inputs or not step.shape_only_inputs:
        return step
    return replace(step, inputs=tuple(other if s == slot and i in step.shape_only_inputs else s for i, s in enumerate(step.inputs)))
