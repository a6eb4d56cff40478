"""Three rules that remove useless transfers.

`remove_back_and_forth`: a copy of a value that is already at the place it goes to — copied there before, or having
come from there — is not made again. `go_directly`: what one device has from another through the host comes without it where
the two reach each other. `upload_constants`: a copy of a constant is made once, when the plan is made.
"""

from __future__ import annotations

from dataclasses import replace

from onnxgpu.plan.draft import Draft, transfer_operation
from onnxgpu.plan.steps import Step
from onnxgpu.plan.transfer import TransferKernel
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


def go_directly(draft: Draft) -> None:
    """Copy from device to device where the one that a value goes to reaches the other."""
    downloads: dict[int, Step] = {}
    steps = []
    for step in draft.steps:
        if isinstance(step.kernel, TransferKernel):
            download = downloads.get(step.inputs[0])
            if step.kernel.to_host:
                downloads[step.outputs[0]] = step
            elif download is not None and step.provider.reaches(download.provider):
                kernel = TransferKernel(step.provider, origin=download.provider)
                operation = transfer_operation(*(draft.slots[slot] for slot in (download.inputs[0], step.outputs[0])))
                step = replace(step, operation=operation, kernel=kernel, inputs=download.inputs)
        steps.append(step)
    draft.steps = steps


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
