"""Assign every node to a provider.

0. Compiled nodes: each goes to the provider that compiled it.
1. Hints: a node the caller pinned goes where the caller said.
2. Claims: in the user's order, the first provider that can run a node gets it. The list is an instruction. A split
   deals what one of them got among several.
3. Segments: neighbours that one provider compiles as a whole are put together; what is too small goes on in the list.
4. Shape arithmetic: small integer tensors computed from shapes stay on the host, where kernels want them.
5. Fewer copies: a node whose move to the host saves more in copies than it costs is moved (minimum cut).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from onnxgpu.dtypes import dtype_of, is_integer
from onnxgpu.engine_files import EngineFiles
from onnxgpu.errors import InvalidArgument, ModelRequiresCompilation, NotImplemented
from onnxgpu.model_file import is_constant, shapes_at
from onnxgpu.partition.context_nodes import assign_context, drop_engines, is_context
from onnxgpu.partition.copies import host_moves
from onnxgpu.partition.hints import Hint, Hints
from onnxgpu.partition.operations import info_of, operation_of
from onnxgpu.partition.placement import Assignment, PlacedSegment, Placement
from onnxgpu.partition.segments import groups, segment_of
from onnxgpu.partition.splitting import split
from onnxgpu.provider import HOST, Claim, Kernel, Operation, Provider, Refusal
from onnxgpu.segment_provider import Exclusions, Segment, SegmentProvider

if TYPE_CHECKING:
    import onnx_ir as ir

SMALL_SHAPE_TENSOR = 64
PINNED = "pinned by a hint"


def partition(
    model: ir.Model,
    providers: Sequence[Provider],
    hints: Hints | None = None,
    *,
    engines: EngineFiles | None = None,
    may_compile: bool = True,
) -> Placement:
    """Assign every node of `model`, nodes of control-flow bodies included.

    Args:
        model: a model whose functions are inlined; compiled nodes lose their engines, which their claims have.
        providers: in the caller's order of preference.
        hints: where the caller wants certain nodes, and how freely others may move.
        engines: where those of compiled nodes lie.
        may_compile: False: what no engine is there for, and its provider would compile, is refused.

    Raises:
        NotImplemented: no provider runs a node; names it and gives every provider's reason.
        ModelRequiresCompilation: a segment would have to be compiled, and must not be.
        OnnxGpuError: a compiled node cannot be run; see `context_nodes.assign_context`.
        InvalidArgument: a hard hint names a provider that is not in use or that refuses the node.
    """
    hints, engines = hints or Hints(), engines or EngineFiles()
    assignments = {node: _assign(operation_of(node, model.opset_imports), providers, hints, engines) for node in _nodes(model.graph)}
    if hints.split:
        assignments |= split(model.graph, assignments, providers, hints, _answer)
    drop_engines(assignments)
    compilers = {assignment.provider for assignment in assignments.values() if is_context(assignment.operation)}
    segments: list[PlacedSegment] = []
    for provider in providers:
        if provider in compilers:
            _leave_to_others(assignments, provider, providers, hints)
        elif isinstance(provider, SegmentProvider):
            inputs = [info for value in model.graph.inputs if (info := info_of(value)) is not None]
            provider.survey(inputs, partial(shapes_at, model))
            for graph in model.graphs():
                segments += _segments(graph, provider, assignments, providers, hints, may_compile)
    devices = {provider.place for provider in providers} - {HOST}
    if devices:
        _keep_shape_arithmetic_on_host(assignments, providers, hints)
        if hints.mode != "listed":
            for node in host_moves(assignments, providers, hints):
                assignments[node] = _on_host(assignments[node], providers, "moved to the host: it saves more in copies than it costs")
    return Placement(assignments, tuple(segments))


def _nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    from onnx_ir.traversal import RecursiveGraphIterator

    yield from RecursiveGraphIterator(graph)


def _assign(operation: Operation, providers: Sequence[Provider], hints: Hints, engines: EngineFiles) -> Assignment:
    pinned = hints.provider_for(operation)
    if is_context(operation):
        compiled = assign_context(operation, providers, engines)
        if pinned and pinned.hard and not pinned.names(compiled.provider):
            raise InvalidArgument(f"{operation} is pinned by the hint {str(pinned)!r}, but {compiled.reason}; remove the hint")
        return compiled
    refusals: list[tuple[str, str]] = []
    if pinned:
        assignment = _assign_pinned(operation, providers, pinned)
        if isinstance(assignment, Assignment):
            return assignment
        if pinned.hard:
            raise InvalidArgument(
                f"{operation} is pinned to {pinned.provider} by the hint {str(pinned)!r}, but {assignment}; make the hint soft or remove it"
            )
        refusals.append((pinned.provider, f"hinted, but {assignment}"))
    return _next_in_list(operation, providers, refusals)


def _next_in_list(operation: Operation, providers: Sequence[Provider], refusals: list[tuple[str, str]]) -> Assignment:
    """The first of `providers` that can run `operation`; `refusals` are of those before them."""
    for provider in providers:
        answer = _answer(provider, operation)
        if isinstance(answer, Claim):
            reason = "first in the list that can run it" if not refusals else "the next in the list that can run it"
            return Assignment(operation, provider, answer, reason, tuple(refusals))
        refusals.append((provider.label, answer.reason))
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refusals)
    types = ", ".join("-" if v is None else f"{v.name}: {v.dtype}" for v in operation.inputs)
    raise NotImplemented(
        f"Could not find an implementation for {operation.operator}({operation.version}) node with name '{operation.name}' "
        f"and inputs ({types}). {reasons}. Register the operator with a provider, or export the model without it"
    )


def _assign_pinned(operation: Operation, providers: Sequence[Provider], hint: Hint) -> Assignment | str:
    for provider in providers:
        if hint.names(provider):
            answer = _answer(provider, operation)
            return Assignment(operation, provider, answer, PINNED) if isinstance(answer, Claim) else answer.reason
    return f"{hint.provider} is not among this session's providers {[p.label for p in providers]}"


def _answer(provider: Provider, operation: Operation) -> Claim | Refusal:
    if isinstance(provider, SegmentProvider):
        return provider.supports(operation) or Claim(_never_built)
    return provider.claim(operation)


def _never_built() -> Kernel:
    raise AssertionError("a node within a segment has no kernel of its own")


def _segments(
    graph: ir.Graph,
    provider: SegmentProvider,
    assignments: dict[ir.Node, Assignment],
    providers: Sequence[Provider],
    hints: Hints,
    may_compile: bool,
) -> Iterator[PlacedSegment]:
    """The segments of `graph` that `provider` claims; nodes that are in none of them go to the providers behind it."""
    behind = providers[providers.index(provider) + 1 :]
    offers: dict[tuple[ir.Node, ...], tuple[Segment, Claim | Exclusions | Refusal]] = {}
    members = {node for node in graph if assignments[node].provider is provider and not is_context(assignments[node].operation)}
    if members and not may_compile:
        raise ModelRequiresCompilation(_must_not_compile(members, provider))
    while members:
        found = groups(graph, members)
        for nodes in found:
            if nodes not in offers:
                offers[nodes] = _offer(nodes, graph, provider, assignments)
        excluded = {nodes[i]: r for nodes in found if isinstance(a := offers[nodes][1], Exclusions) for i, r in a.reasons.items()}
        if not excluded:
            break
        for node, reason in excluded.items():
            assignments[node] = _demoted(assignments[node], reason, behind, hints)
        members -= set(excluded)
    for nodes in found if members else ():
        segment, answer = offers[nodes]
        if isinstance(answer, Claim):
            yield PlacedSegment(segment, nodes, provider, answer)
        elif isinstance(answer, Refusal):
            for node in nodes:
                assignments[node] = _demoted(assignments[node], answer.reason, behind, hints)


def _leave_to_others(assignments: dict[ir.Node, Assignment], provider: Provider, providers: Sequence[Provider], hints: Hints) -> None:
    """What `provider` did not compile when the model was made goes to the providers behind it, as it did then."""
    behind = providers[providers.index(provider) + 1 :]
    for node, assignment in assignments.items():
        if assignment.provider is provider and not is_context(assignment.operation):
            assignments[node] = _demoted(assignment, "the model holds all that it is to run of it, compiled", behind, hints)


def _must_not_compile(members: Collection[ir.Node], provider: Provider) -> str:
    first = next(iter(members))
    return (
        f"{provider.name} would have to compile {len(members)} nodes, {first.op_type} '{first.name or ''}' among them, and "
        "session.disable_model_compile is set; load a model that ModelCompiler made, or remove the entry"
    )


def _offer(
    nodes: Sequence[ir.Node], graph: ir.Graph, provider: SegmentProvider, assignments: Mapping[ir.Node, Assignment]
) -> tuple[Segment, Claim | Exclusions | Refusal]:
    name = f"{graph.name or 'graph'}:{nodes[0].name or nodes[0].op_type}"
    segment = segment_of(name, nodes, (assignments[node].operation for node in nodes))
    if not segment.outputs:
        return segment, Refusal("nothing reads what the segment gives")
    if len(nodes) < provider.least_nodes:
        return segment, Refusal(f"a segment of {len(nodes)} nodes is less than the {provider.least_nodes} it takes")
    return segment, provider.claim_segment(segment)


def _demoted(assignment: Assignment, reason: str, behind: Sequence[Provider], hints: Hints) -> Assignment:
    """The assignment to the next provider in the list, as no segment of the first has the node."""
    operation, name = assignment.operation, assignment.provider.label
    hint = hints.provider_for(operation)
    if hint is not None and hint.hard and assignment.reason == PINNED:
        raise InvalidArgument(f"{operation} is pinned to {name} by the hint {str(hint)!r}, but {reason}; make the hint soft or remove it")
    return _next_in_list(operation, behind, [*assignment.refusals, (name, reason)])


def _keep_shape_arithmetic_on_host(assignments: dict[ir.Node, Assignment], providers: Sequence[Provider], hints: Hints) -> None:
    """Small integer tensors that start at a Shape-like node (one that reads no data) are computed on the host."""
    shape_values: set[ir.Value] = set()
    for node, assignment in assignments.items():
        if hints.provider_for(assignment.operation) or isinstance(assignment.provider, SegmentProvider):
            continue
        inputs = [(i, value) for i, value in enumerate(node.inputs) if value is not None]
        reads_data = [value for i, value in inputs if i not in assignment.claim.shape_only_inputs]
        from_shapes = bool(inputs) and all(value in shape_values or is_constant(value) for value in reads_data)
        derived = from_shapes and (not reads_data or any(value in shape_values for value in reads_data))
        if not derived or not all(_is_small_integer(value) for value in node.outputs):
            continue
        if assignment.provider.place != HOST:
            moved = _on_host(assignment, providers, "shape arithmetic stays on the host")
            if moved is assignment:
                continue
            assignments[node] = moved
        shape_values.update(node.outputs)


def _is_small_integer(value: ir.Value) -> bool:
    if value.dtype is None or not is_integer(dtype_of(int(value.dtype))) or value.shape is None:
        return False
    count = 1
    for size in value.shape:
        if not isinstance(size, int):
            return False
        count *= size
    return count <= SMALL_SHAPE_TENSOR


def _on_host(assignment: Assignment, providers: Sequence[Provider], reason: str) -> Assignment:
    """The assignment to the first host provider that can run the operation; the same one if none can."""
    for provider in providers:
        if provider.place == HOST:
            answer = provider.claim(assignment.operation)
            if isinstance(answer, Claim):
                return replace(assignment, provider=provider, claim=answer, reason=reason)
    return assignment
