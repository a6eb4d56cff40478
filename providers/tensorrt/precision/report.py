"""What a segment computes in, node by node, as data and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class NodePrecision:
    """One node.

    Attributes:
        name: the node's; that of its first output if it has none.
        operator: without its domain.
        computes_in: "float32", "float16", "bfloat16", "int8", or "unchanged" where the node has no float32 values.
        reason: why it is float32; "" otherwise.
    """

    name: str
    operator: str
    computes_in: str
    reason: str = ""


@dataclass(frozen=True)
class ChangedWeight:
    """A constant in a small type.

    Attributes:
        name: in the model that came.
        type: the small type.
        elements: how many.
        flushed: how many became 0.
        largest: the largest finite magnitude.
    """

    name: str
    type: str
    elements: int
    flushed: int
    largest: float


@dataclass(frozen=True)
class PrecisionReport:
    """What was done to a segment.

    Attributes:
        nodes: in graph order.
        weights: constants that became small.
        masks: constants that were clamped.
        casts: casts that were put in.
        missing: why products and convolutions have no form in the small type → how many of them.
        quantized: names of the nodes that compute in int8 by a calibration.
        not_quantized: products and convolutions that do not → why.
    """

    nodes: tuple[NodePrecision, ...] = ()
    weights: tuple[ChangedWeight, ...] = ()
    masks: tuple[str, ...] = ()
    casts: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    quantized: tuple[str, ...] = ()
    not_quantized: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        counts = Counter(node.computes_in for node in self.nodes)
        lines = [", ".join(f"{count} nodes in {name}" for name, count in sorted(counts.items())) + f"; {self.casts} casts"]
        reasons = Counter((node.operator, node.reason) for node in self.nodes if node.computes_in == "float32")
        lines += [f"  float32: {count} {operator}: {reason}" for (operator, reason), count in sorted(reasons.items())]
        flushed = [weight for weight in self.weights if weight.flushed]
        lines += [f"  {weight.flushed} of {weight.elements} elements of '{weight.name}' became 0 in {weight.type}" for weight in flushed]
        lines += [f"  mask '{name}' was clamped" for name in self.masks]
        lines += [f"  '{name}' is not in int8: {reason}" for name, reason in self.not_quantized.items()]
        return "\n".join(lines)
