"""The outcome of partitioning: which provider runs each node, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxgpu.provider import Claim, Operation, Provider

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class Assignment:
    """One node's provider, the reason, and what the providers before it in the list said."""

    operation: Operation
    provider: Provider
    claim: Claim
    reason: str
    refusals: tuple[tuple[str, str], ...] = ()

    @property
    def why(self) -> str:
        """The reason, and what its provider runs it with where that has several ways."""
        return f"{self.reason}; {self.claim.note}" if self.claim.note else self.reason


@dataclass(frozen=True)
class Placement:
    """Every node's assignment, nodes of control-flow bodies included, in graph order."""

    assignments: Mapping[ir.Node, Assignment]

    def __getitem__(self, node: ir.Node) -> Assignment:
        return self.assignments[node]

    def __iter__(self) -> Iterator[Assignment]:
        return iter(self.assignments.values())

    def providers(self) -> tuple[str, ...]:
        """Names of the providers in use."""
        return tuple(dict.fromkeys(assignment.provider.name for assignment in self))

    def __str__(self) -> str:
        lines = []
        for assignment in self:
            operation = assignment.operation
            lines.append(f"{operation.operator} {operation.name or '-'} -> {assignment.provider.name}: {assignment.why}")
            lines += [f"    not {name}: {reason}" for name, reason in assignment.refusals]
        return "\n".join(lines)
