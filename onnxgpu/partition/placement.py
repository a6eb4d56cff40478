"""The outcome of partitioning: which provider runs each node, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxgpu.provider import Claim, Operation, Provider
from onnxgpu.segment_provider import Segment

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class Assignment:
    """One node's provider, the reason, and what the providers before it in the list said.

    Attributes:
        members: the assignments of the nodes that a segment replaced, in graph order; empty for a node of the model.
        meanwhile: for such a node, the provider that runs it while the segment has no engine; empty if none does.
        is_stand_by: it is that other provider's assignment.
    """

    operation: Operation
    provider: Provider
    claim: Claim
    reason: str
    refusals: tuple[tuple[str, str], ...] = ()
    members: tuple[Assignment, ...] = ()
    meanwhile: str = ""
    is_stand_by: bool = False

    @property
    def why(self) -> str:
        """The reason, what its provider runs it with where that has several ways, and who runs it meanwhile."""
        meanwhile = f"meanwhile on {self.meanwhile}" if self.meanwhile else ""
        return "; ".join(filter(None, (self.reason, self.claim.note, meanwhile)))


@dataclass(frozen=True, slots=True)
class PlacedSegment:
    """Nodes that `provider` runs as one step, and how."""

    segment: Segment
    nodes: tuple[ir.Node, ...]
    provider: Provider
    claim: Claim


@dataclass(frozen=True)
class Placement:
    """Every node's assignment, nodes of control-flow bodies included, in graph order.

    Attributes:
        assignments: of the graph's nodes, those included that others run while a segment has no engine; iteration leaves these out.
        segments: which of them run as one step; empty once each of these is a node.
    """

    assignments: Mapping[ir.Node, Assignment]
    segments: tuple[PlacedSegment, ...] = ()

    def __getitem__(self, node: ir.Node) -> Assignment:
        return self.assignments[node]

    def __iter__(self) -> Iterator[Assignment]:
        return (assignment for assignment in self.assignments.values() if not assignment.is_stand_by)

    def nodes(self) -> Iterator[Assignment]:
        """The assignments of the model's nodes: those within segments instead of the segments'."""
        for assignment in self:
            yield from assignment.members or (assignment,)

    def providers(self) -> tuple[str, ...]:
        """Names of the providers in use."""
        return tuple(dict.fromkeys(assignment.provider.label for assignment in self.assignments.values()))

    def __str__(self) -> str:
        lines = []
        for assignment in self.nodes():
            operation = assignment.operation
            lines.append(f"{operation.operator} {operation.name or '-'} -> {assignment.provider.label}: {assignment.why}")
            lines += [f"    not {name}: {reason}" for name, reason in assignment.refusals]
        return "\n".join(lines)
