"""Which provider has which nodes, in onnxruntime's terms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxgpu.partition import Placement


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
    """The nodes of a placement; neighbours that one provider has are together."""
    return [
        OrtEpAssignedSubgraph(
            name, tuple(OrtEpAssignedNode(a.operation.name, a.operation.domain, a.operation.operator) for a in assignments)
        )
        for name, assignments in groupby(placement, lambda assignment: assignment.provider.name)
    ]
