"""Placed graph to plan: kernels, slots, transfers, last uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from onnxgpu.errors import OnnxGpuError, RuntimeException
from onnxgpu.model_file import array_of, is_constant
from onnxgpu.partition.placement import Assignment, Placement
from onnxgpu.plan.draft import Draft
from onnxgpu.plan.steps import ABSENT, DISCARD, BodyCall, Plan, Step
from onnxgpu.plan.transfers import go_directly, remove_back_and_forth, remove_unread, upload_constants
from onnxgpu.provider import HOST, Kernel, Place, Provider
from onnxgpu.segment_provider import STAND_BY, ChangingKernel

if TYPE_CHECKING:
    import onnx_ir as ir


def make_plan(
    graph: ir.Graph, placement: Placement, providers: Sequence[Provider], output_places: Mapping[str, Place] | None = None
) -> Plan:
    """The plan of a model's main graph.

    Args:
        graph: every node of it is in `placement`.
        placement: who runs what.
        providers: those of the session; transfers go through them.
        output_places: where the caller wants outputs that it does not want on the host.
    """
    places = [(output_places or {}).get(value.name or "", HOST) for value in graph.outputs]
    return _Planner(graph, placement, providers).plan((), [HOST] * len(graph.inputs), (), places)


class _Planner:
    """Plans one graph; makes another planner for each control-flow body."""

    def __init__(self, graph: ir.Graph, placement: Placement, providers: Sequence[Provider]) -> None:
        self.graph, self.placement, self.providers = graph, placement, providers
        self.draft = Draft(graph.name or "graph")
        self.slots: dict[ir.Value, int] = {}

    def plan(
        self, captures: Sequence[ir.Value], input_places: Sequence[Place], capture_places: Sequence[Place], output_places: Sequence[Place]
    ) -> Plan:
        """The finished plan; `captures` are outer values handed in behind the graph's own inputs."""
        for value, place in zip((*self.graph.inputs, *captures), (*input_places, *capture_places), strict=True):
            self.slots[value] = self.draft.slot(value.name or "", place)
            self.draft.inputs.append(self.slots[value])
        for node in self.graph:
            self._add(node, self.placement[node])
        for value, place in zip(self.graph.outputs, output_places, strict=True):
            self.draft.outputs.append(self.draft.bring(self._slot(value), place, self.providers))
        remove_back_and_forth(self.draft)
        go_directly(self.draft)
        upload_constants(self.draft)
        remove_unread(self.draft)
        finished = self.draft.finish()
        stepless = {finished.slots[slot].place for slot in finished.outputs} - {step.provider.place for step in finished.steps}
        return replace(finished, holders=tuple(p for p in self.providers if p.place in stepless)) if stepless - {HOST} else finished

    def _slot(self, value: ir.Value | None) -> int:
        if value is None:
            return ABSENT
        if value not in self.slots:
            assert value.const_value is not None, f"{value.name} is read before it is produced"
            self.slots[value] = self.draft.slot(value.name or "", HOST)
            self.draft.constants[self.slots[value]] = array_of(value.const_value)
        return self.slots[value]

    def _add(self, node: ir.Node, assignment: Assignment) -> None:
        claim, provider = assignment.claim, assignment.provider
        kernel = _build(assignment)
        inputs = []
        for index, value in enumerate(node.inputs):
            if index in claim.absorbed_inputs:
                inputs.append(ABSENT)
            elif index in claim.shape_only_inputs:
                inputs.append(self._slot(value))
            else:
                inputs.append(self.draft.bring(self._slot(value), HOST if index in claim.host_inputs else provider.place, self.providers))
        bodies = {}
        for name, graph in _graph_attributes(node):
            body, captured = self._body(graph, assignment, name)
            bodies[name] = BodyCall(body, tuple(range(len(inputs), len(inputs) + len(captured))))
            inputs += captured
        outputs = []
        for index, value in enumerate(node.outputs):
            if not value.name and not value.uses():
                outputs.append(DISCARD)
                continue
            place = HOST if index in claim.host_outputs else provider.place
            self.slots[value] = self.draft.slot(value.name or "", place)
            outputs.append(self.slots[value])
        step = Step(
            assignment.operation,
            provider,
            kernel,
            tuple(inputs),
            tuple(outputs),
            claim.host_inputs,
            claim.shape_only_inputs,
            claim.view_of,
            claim.deterministic,
            bodies=bodies,
        )
        self.draft.steps.append(step)

    def _body(self, graph: ir.Graph, assignment: Assignment, attribute: str) -> tuple[Plan, list[int]]:
        """The body's plan, and the slots that hold what it captures, at the places where the body reads them; strings stay on the host."""
        place = assignment.provider.place
        captured = _captures(graph)
        slots = [self.draft.bring(self._slot(value), HOST if _is_text(value) else place, self.providers) for value in captured]
        host = assignment.claim.body_host.get(attribute, ((), ()))
        inputs = [HOST if i in host[0] else place for i in range(len(graph.inputs))]
        outputs = [HOST if i in host[1] else place for i in range(len(graph.outputs))]
        planner = _Planner(graph, self.placement, self.providers)
        return planner.plan(captured, inputs, [self.draft.slots[slot].place for slot in slots], outputs), slots


def _build(assignment: Assignment) -> Kernel:
    """The kernel; what its constructor raises is told with the node."""
    try:
        return assignment.claim.build()
    except OnnxGpuError as error:
        raise error.within(f"{assignment.operation} on {assignment.provider.label}") from error
    except Exception as error:
        raise RuntimeException(
            f"{assignment.operation} could not be prepared by {assignment.provider.label}: {type(error).__name__}: {error}. "
            "Place the node on another provider with a placement hint, and report the model"
        ) from error


def _graph_attributes(node: ir.Node) -> list[tuple[str, ir.Graph]]:
    import onnx_ir as ir

    return [(name, attribute.as_graph()) for name, attribute in node.attributes.items() if attribute.type == ir.AttributeType.GRAPH]


def _is_text(value: ir.Value) -> bool:
    import onnx_ir as ir

    return value.dtype == ir.DataType.STRING


def _captures(graph: ir.Graph) -> list[ir.Value]:
    """Outer values that `graph` or a graph inside it reads, constants excepted, in order of first use."""
    inside: set[ir.Value] = set()
    found: dict[ir.Value, None] = {}

    def walk(part: ir.Graph) -> None:
        inside.update(part.inputs, part.initializers.values())
        for node in part:
            for value in node.inputs:
                if value is not None and value not in inside:
                    found[value] = None
            for _, body in _graph_attributes(node):
                walk(body)
            inside.update(node.outputs)
        for value in part.outputs:
            if value not in inside:
                found[value] = None

    walk(graph)
    return [value for value in found if not is_constant(value)]


def settled(plan: Plan) -> Plan:
    """`plan` without what stands by for segments that need it no more; itself, if there is none."""
    steps = tuple(_settled(step) for step in plan.steps)
    return plan if all(new is old for new, old in zip(steps, plan.steps, strict=True)) else replace(plan, steps=steps)


def _settled(step: Step) -> Step:
    if STAND_BY in step.bodies:
        return replace(step, bodies={}) if cast(ChangingKernel, step.kernel).is_complete else step
    plans = {name: settled(body.plan) for name, body in step.bodies.items()}
    if all(plans[name] is body.plan for name, body in step.bodies.items()):
        return step
    return replace(step, bodies={name: replace(body, plan=plans[name]) for name, body in step.bodies.items()})


def pruned(plan: Plan, outputs: Sequence[int]) -> Plan:
    """The part of `plan` that computes the outputs with these positions.

    Args:
        plan: the whole plan.
        outputs: positions in `plan.outputs`, in the order wanted.
    """
    draft = Draft(plan.name, list(plan.slots), [], list(plan.inputs), [plan.outputs[i] for i in outputs], dict(plan.constants))
    needed = set(draft.outputs)
    for step in reversed(plan.steps):
        if needed.intersection(step.outputs):
            needed.update(step.inputs)
            draft.steps.append(replace(step, releases=()))
    draft.steps.reverse()
    return draft.finish()
