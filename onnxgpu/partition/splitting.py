"""Deals the nodes of one provider among several of them, as those of GPUs are, so that each holds about the same bytes of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from onnxgpu.errors import InvalidArgument
from onnxgpu.model_file import is_constant
from onnxgpu.partition.hints import Hints, is_called
from onnxgpu.partition.placement import Assignment
from onnxgpu.provider import Claim, Operation, Provider, Refusal

if TYPE_CHECKING:
    import onnx_ir as ir

Answer = Callable[[Provider, Operation], Claim | Refusal]


def split(
    graph: ir.Graph, assignments: Mapping[ir.Node, Assignment], providers: Sequence[Provider], hints: Hints, answer: Answer
) -> dict[ir.Node, Assignment]:
    """New assignments of nodes that go to another of the providers that `hints.split` names than to the first.

    Nodes are dealt in the order of the graph, so that few values pass from one device to the next, and those without weights stay with the
    one before. The bodies of a node go where it goes, and nodes that a hint speaks of stay where they are.

    Args:
        graph: the model's main graph.
        assignments: of all its nodes, those of bodies included.
        providers: of the session.
        hints: with the names, in order.
        answer: what a provider says of an operation.

    Raises:
        InvalidArgument: a name is none of the session's providers.
    """
    chosen = [_named(name, providers) for name in hints.split]
    dealt = [node for node in graph if assignments[node].provider is chosen[0] and not hints.provider_for(assignments[node].operation)]
    seen: set[ir.Value] = set()
    sizes = [sum(_bytes(inner, seen) for inner in _with_bodies(node)) for node in dealt]
    total, before, target = sum(sizes), 0, chosen[0]
    found: dict[ir.Node, Assignment] = {}
    for node, size in zip(dealt, sizes, strict=True):
        if size:
            target = chosen[(2 * before + size) * len(chosen) // (2 * total)]  # where the middle of the node's weights is
            before += size
        for inner in _with_bodies(node) if target is not chosen[0] else ():
            assignment = assignments[inner]
            if assignment.provider is not chosen[0] or hints.provider_for(assignment.operation):
                continue
            claim = answer(target, assignment.operation)
            if isinstance(claim, Claim):
                found[inner] = replace(assignment, provider=target, claim=claim, reason="the split gives it this part of the weights")
    return found


def _named(name: str, providers: Sequence[Provider]) -> Provider:
    found = next((provider for provider in providers if is_called(provider, name)), None)
    if found is None:
        labels = [provider.label for provider in providers]
        raise InvalidArgument(f"the placement hint split={name} names none of this session's providers {labels}")
    return found


def _with_bodies(node: ir.Node) -> Iterator[ir.Node]:
    import onnx_ir as ir
    from onnx_ir.traversal import RecursiveGraphIterator

    yield node
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield from RecursiveGraphIterator(attribute.as_graph())


def _bytes(node: ir.Node, seen: set[ir.Value]) -> int:
    """Of the constants that the node reads, and none before it."""
    new = {value for value in node.inputs if value is not None and value not in seen and is_constant(value)}
    seen |= new
    return sum(value.const_value.nbytes for value in new if value.const_value is not None)
