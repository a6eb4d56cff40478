"""What a session does with its model, as plain data: the providers, every node's place and reason, every transfer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxgpu.provider import ValueInfo, bytes_of
from onnxgpu.segment_provider import STAND_BY

if TYPE_CHECKING:
    from onnxgpu.execute import Program
    from onnxgpu.execute.record import Kind
    from onnxgpu.partition import Assignment
    from onnxgpu.plan import Plan, Step
    from onnxgpu.session import InferenceSession


def explanation(session: InferenceSession) -> dict[str, Any]:
    """Everything `onnxgpu explain` shows.

    Returns:
        `providers` (in use, in order), `unavailable` (name and cause), `nodes` (name, operator, provider, place,
        reason, `meanwhile` = who runs it while its segment has no engine,
        `not` = what earlier providers said), `transfers` (value, bytes, from, to; bytes are those of the last
        run, or what the declared shapes say; None where these are symbolic and nothing has run yet), `rewrites`,
        `counts` (nodes by provider).
    """
    values = _values(session)
    return {
        "model": str(session.model_path) if session.model_path else None,
        "providers": session.get_providers(),
        "unavailable": [{"provider": name, "cause": cause} for name, cause in session.unavailable_providers],
        "nodes": [_node(assignment, session.unavailable_providers) for assignment in session.placement.nodes()],
        "transfers": _transfers(session.plan, session.programs, values),
        "rewrites": str(session.rewrites),
        "counts": dict(Counter(assignment.provider.label for assignment in session.placement.nodes())),
    }


def _node(assignment: Assignment, unavailable: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    operation = assignment.operation
    return {
        "name": operation.name,
        "operator": f"{operation.domain}.{operation.operator}" if operation.domain else operation.operator,
        "inputs": [value.name if value else "" for value in operation.inputs],
        "outputs": [value.name if value else "" for value in operation.outputs],
        "provider": assignment.provider.label,
        "place": str(assignment.provider.place),
        "reason": assignment.why,
        "meanwhile": assignment.meanwhile or None,
        "not": [{"provider": name, "reason": "not available"} for name, _ in unavailable]
        + [{"provider": name, "reason": reason} for name, reason in assignment.refusals],
    }


def _values(session: InferenceSession) -> dict[str, ValueInfo]:
    known: dict[str, ValueInfo] = {}
    for assignment in session.placement.nodes():
        for value in (*assignment.operation.inputs, *assignment.operation.outputs):
            if value is not None:
                known.setdefault(value.name, value)
    return known


def _transfers(plan: Plan, programs: Sequence[Program], values: dict[str, ValueInfo]) -> list[dict[str, Any]]:
    """The rows of `plan` and its bodies; `programs` have run it, or parts of it."""
    kinds = {slot: kind for program in programs for slot, kind in program.recorded_kinds().items()}
    rows = [_transfer(plan, step, _bytes(plan, step, kinds, values)) for step in plan.transfers]
    for step in plan.steps:
        for wanted in (body for name, body in step.bodies.items() if name != STAND_BY):
            inner = [program for outer in programs for body, program in outer.bodies if body is wanted]
            rows += _transfers(wanted.plan, inner, values)
    return rows


def _bytes(plan: Plan, step: Step, kinds: Mapping[int, Kind], values: Mapping[str, ValueInfo]) -> int | None:
    kind = kinds.get(step.inputs[0])
    if kind is not None:
        return int(bytes_of(ValueInfo("", kind[1], kind[0])))
    info = values.get(plan.slots[step.inputs[0]].name)
    known = info is not None and info.shape is not None and all(isinstance(size, int) for size in info.shape)
    return bytes_of(info) if info is not None and known else None


def _transfer(plan: Plan, step: Step, size: int | None) -> dict[str, Any]:
    source, target = plan.slots[step.inputs[0]], plan.slots[step.outputs[0]]
    return {
        "value": source.name,
        "bytes": size,
        "from": str(source.place),
        "to": str(target.place),
        "producer": next((s.label for s in plan.steps if step.inputs[0] in s.outputs), "graph input"),
        "consumers": [s.label for s in plan.steps if step.outputs[0] in s.inputs] or ["graph output"],
    }
