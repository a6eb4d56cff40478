"""The rules a plan keeps; a plan that breaks one is a defect of onnxgpu, and the text shows where."""

from __future__ import annotations

from onnxgpu.plan.steps import ABSENT, DISCARD, Plan, Step
from onnxgpu.plan.transfer import TransferKernel
from onnxgpu.provider import HOST

NEIGHBOURS = 2


def check_plan(plan: Plan) -> None:
    """Check that every slot is written before it is read and not read after it is freed, at the place its reader wants.

    Raises:
        AssertionError: a rule is broken; shows the step and its neighbours.
    """
    live = {ABSENT, *plan.inputs, *plan.constants}
    freed: set[int] = set()
    for position, step in enumerate(plan.steps):
        for index, slot in enumerate(step.inputs):
            _rule(
                slot in live,
                plan,
                position,
                f"reads {_name(plan, slot)}, which is {'already freed' if slot in freed else 'not yet written'}",
            )
            _rule(_place_fits(plan, step, index, slot), plan, position, f"reads {_name(plan, slot)} at {plan.slots[slot].place}")
        for slot in step.outputs:
            _rule(slot == DISCARD or slot not in live, plan, position, f"writes {_name(plan, slot)} a second time")
        if step.is_transfer:
            ends = {plan.slots[step.inputs[0]].place, plan.slots[step.outputs[0]].place}
            direct = isinstance(step.kernel, TransferKernel) and step.kernel.origin is not None
            _rule(
                len(ends) == 2 and (HOST in ends) != direct,
                plan,
                position,
                "is a transfer with other ends than its kernel has",
            )
        live.update(step.outputs)
        for slot in step.releases:
            _rule(slot in live and slot not in plan.outputs, plan, position, f"frees {_name(plan, slot)}, which is not its to free")
        live.difference_update(step.releases)
        freed.update(step.releases)
        for body in step.bodies.values():
            check_plan(body.plan)
            for slot in body.captures:
                _rule(0 <= slot < len(step.inputs), plan, position, "hands its body an input it does not have")
    for slot in plan.outputs:
        _rule(slot in live, plan, len(plan.steps) - 1, f"is the last step, and output {_name(plan, slot)} was never written")


def _place_fits(plan: Plan, step: Step, index: int, slot: int) -> bool:
    if slot == ABSENT or step.is_transfer or step.bodies or index in step.shape_only_inputs:
        return True
    return plan.slots[slot].place == (HOST if index in step.host_inputs else step.provider.place)


def _name(plan: Plan, slot: int) -> str:
    return f"{plan.slots[slot].name!r} (slot {slot})"


def _rule(holds: bool, plan: Plan, position: int, problem: str) -> None:
    if holds:
        return
    lines = str(plan).splitlines()
    around = "\n".join(
        line
        for line in lines
        if any(s.operation.operator in line for s in plan.steps[max(0, position - NEIGHBOURS) : position + NEIGHBOURS + 1])
    )
    step = plan.steps[position].label if plan.steps else "the empty plan"
    raise AssertionError(f"plan {plan.name}: step {position}, {step}, {problem}\n{around}")
