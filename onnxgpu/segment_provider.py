"""What a provider is that compiles whole parts of a graph, and what the partitioner exchanges with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxgpu.provider import Claim, Operation, Provider, Refusal, ValueInfo


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a graph that one provider compiles and runs as a whole; no path leaves it and comes back.

    Attributes:
        name: for messages; two segments of a model differ in it.
        operations: in graph order; constants are among their inputs (`ValueInfo.constant`), graph attributes never.
        inputs: the values read from outside that are not constant, in order of first use.
        outputs: the values read outside.
    """

    name: str
    operations: tuple[Operation, ...]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]

    def __str__(self) -> str:
        return f"segment '{self.name}' of {len(self.operations)} nodes"


@dataclass(frozen=True, slots=True)
class Exclusions:
    """A provider's no to some operations of a segment: index in `Segment.operations` → the reason. The rest is offered again."""

    reasons: Mapping[int, str]


class SegmentProvider(Provider):
    """Base of providers that compile whole parts of a graph.

    The partitioner asks `supports` of every operation, puts neighbours together into the largest segments that can run as
    one step, and offers each to `claim_segment`. What is refused there goes to the next provider in the list.
    """

    def supports(self, operation: Operation) -> Refusal | None:
        """Why `operation` cannot be in a segment of this provider, as far as that is known without the segment."""
        raise NotImplementedError

    def claim_segment(self, segment: Segment) -> Claim | Exclusions | Refusal:
        """Say whether this provider runs `segment`, and how; indices in a claim are those of its inputs and outputs."""
        raise NotImplementedError

    @property
    def least_nodes(self) -> int:
        """How many nodes a segment has at least."""
        return 1

    def claim(self, operation: Operation) -> Claim | Refusal:
        """No: a node alone, outside of the partitioner, is for providers of operators."""
        return Refusal(f"{self.name} runs segments, not single nodes")
