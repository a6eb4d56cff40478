"""A plan as text: one line a step, slots by name, places where they are not the host."""

from __future__ import annotations

from collections.abc import Sequence

from onnxgpu.plan.steps import ABSENT, DISCARD, Plan
from onnxgpu.provider import HOST


def plan_text(plan: Plan, indent: str = "") -> str:
    """The plan and the plans of its control-flow bodies."""
    lines = [f"{indent}plan {plan.name}({_names(plan, plan.inputs)}) -> ({_names(plan, plan.outputs)})"]
    if plan.constants:
        lines.append(f"{indent}  constants {_names(plan, tuple(plan.constants))}")
    for step in plan.steps:
        kind = "transfer" if step.is_transfer else step.operation.operator
        line = f"{indent}  {_names(plan, step.outputs)} = {kind}({_names(plan, step.inputs)}) on {step.provider.label}"
        if step.releases:
            line += f", frees {_names(plan, step.releases)}"
        lines.append(line)
        for name, body in step.bodies.items():
            lines.append(f"{indent}    {name}:")
            lines.append(plan_text(body.plan, indent + "      "))
    return "\n".join(lines)


def _names(plan: Plan, slots: Sequence[int]) -> str:
    return ", ".join(_name(plan, slot) for slot in slots)


def _name(plan: Plan, index: int) -> str:
    if index in (ABSENT, DISCARD):
        return "-"
    slot = plan.slots[index]
    return slot.name if slot.place == HOST else f"{slot.name}@{slot.place}"
