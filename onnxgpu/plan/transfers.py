"""Two rules that remove useless transfers.

`remove_back_and_forth`: a copy of a value that is already at the place it goes to — copied there before, or having
come from there — is not made again. `upload_constants`: a copy of a constant is made once, when the plan is made.
"""

from __future__ import annotations

from onnxgpu.plan.draft import Draft
from onnxgpu.provider import HOST, Place


def remove_back_and_forth(draft: Draft) -> None:
    """Make each copy of a value to a place once, and none back to a place that has it."""
    original: dict[int, int] = {}
    at_place: dict[tuple[int, Place], int] = {}
    aliases: dict[int, int] = {}
    kept = []
    for step in draft.steps:
        if not step.is_transfer:
            kept.append(step)
            continue
        source, target = aliases.get(step.inputs[0], step.inputs[0]), step.outputs[0]
        root = original.get(source, source)
        at_place.setdefault((root, draft.slots[root].place), root)
        key = (root, draft.slots[target].place)
        if key in at_place:
            aliases[target] = at_place[key]
        else:
            at_place[key] = target
            original[target] = root
            kept.append(step)
    draft.steps = kept
    draft.rename(aliases)


def upload_constants(draft: Draft) -> None:
    """Turn transfers of constants into constants at the other place."""
    kept = []
    for step in draft.steps:
        if step.is_transfer and step.inputs[0] in draft.constants:
            constant = draft.constants[step.inputs[0]]
            to_host = draft.slots[step.outputs[0]].place == HOST
            draft.constants[step.outputs[0]] = (step.provider.download if to_host else step.provider.upload_constant)(constant)
        else:
            kept.append(step)
    draft.steps = kept


def remove_unread(draft: Draft) -> None:
    """Drop transfers whose result nobody reads."""
    read = set(draft.outputs)
    kept = []
    for step in reversed(draft.steps):
        if step.is_transfer and step.outputs[0] not in read:
            continue
        read.update(step.inputs)
        kept.append(step)
    draft.steps = kept[::-1]
