"""Which nodes of a session run on CUDA, and why the others do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

CUDA = "CUDAExecutionProvider"
PROVIDERS = [CUDA, "CPUExecutionProvider"]
STRINGS = "strings stay on the host"


@dataclass(frozen=True)
class Whereabouts:
    """Where the nodes of a session are, those of control-flow bodies included.

    Attributes:
        on_cuda: how many are on CUDA.
        on_host: how many belong to the host, by reason: strings, arithmetic on shapes, and what is there to save copies.
        refused: how many CUDA does not run, by operator and reason.
    """

    on_cuda: int = 0
    on_host: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def wholly_on_cuda(self) -> bool:
        """Whether CUDA runs all that does not belong to the host."""
        return not self.refused


def whereabouts(session: Any) -> Whereabouts:
    """Where the nodes of a session are that has CUDA first."""
    on_cuda, on_host, refused = 0, Counter[str](), Counter[str]()
    for assignment in session.placement.assignments.values():
        refusal = dict(assignment.refusals).get(CUDA)
        if assignment.provider.name == CUDA:
            on_cuda += 1
        elif refusal in (None, STRINGS):
            on_host[refusal or assignment.reason] += 1
        else:
            refused[f"{name_of(assignment.operation)}: {refusal}"] += 1
    return Whereabouts(on_cuda, on_host, refused)


def name_of(operation: Any) -> str:
    """Operator with its domain, if that is not ai.onnx."""
    return f"{operation.domain}.{operation.operator}" if operation.domain else str(operation.operator)
