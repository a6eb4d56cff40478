"""Which provider has which nodes, in onnxruntime's terms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxgpu.partition import Assignment, Placement


@dataclass(frozen=True, slots=True)
class OrtEpAssignedNode:
    """A node of the graph.

    Attributes:
        name: as in the model; may be empty.
        domain: of its operator; empty for ONNX's own.
        op_type: its operator.
    """

    name: str
    domain: str
    op_type: str


@dataclass(frozen=True, slots=True)
class OrtEpAssignedSubgraph:
    """Nodes that one provider has.

    Attributes:
        ep_name: the provider.
    """

    ep_name: str
    _nodes: tuple[OrtEpAssignedNode, ...] = ()

    def get_nodes(self) -> list[OrtEpAssignedNode]:
        """Its nodes, in graph order."""
        return list(self._nodes)


def assigned_subgraphs(placement: Placement) -> list[OrtEpAssignedSubgraph]:
    """The nodes of a placement; a segment's are together, and neighbours that one provider of operators has."""
    return [
        OrtEpAssignedSubgraph(name, tuple(_node(member) for a in assignments for member in a.members or (a,)))
        for (name, _), assignments in groupby(placement, lambda a: (a.provider.label, id(a) if a.members else 0))
    ]


def _node(assignment: Assignment) -> OrtEpAssignedNode:
    operation = assignment.operation
    return OrtEpAssignedNode(operation.name, operation.domain, operation.operator)
