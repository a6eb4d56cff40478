"""What an audit found, as data, as text, and as the table that a provider reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnxgpu.providers.tensorrt.precision.table import table_of


@dataclass(frozen=True)
class NodeAudit:
    """One node.

    Attributes:
        name: the node's; that of its first output if it has none.
        operator: without its domain.
        lowest: the least finite number of its results in float32.
        highest: the greatest.
        error_before: of its results in the small type, relative to the largest element, by the rules alone; infinite where they are not
            finite, None where there is nothing to compare.
        error_after: the same with the nodes in float32 that the audit keeps there.
        computes_in: "float32" or the small type.
        reason: why it is float32; "" otherwise.
    """

    name: str
    operator: str
    lowest: float
    highest: float
    error_before: float | None
    error_after: float | None
    computes_in: str
    reason: str


@dataclass(frozen=True)
class AuditReport:
    """What was found.

    Attributes:
        small: the small type.
        bound: the largest error that an output may have.
        error_before: the largest error of an output by the rules alone.
        error_after: the same with `float32`.
        runs: how many versions of the model were tried.
        nodes: in graph order.
        float32: the nodes that stay in float32 beyond the rules → why.
    """

    small: str
    bound: float
    error_before: float
    error_after: float
    runs: int
    nodes: tuple[NodeAudit, ...]
    float32: Mapping[str, str]

    @property
    def is_met(self) -> bool:
        """True if the outputs are within the bound."""
        return self.error_after <= self.bound

    def to_json(self) -> dict[str, Any]:
        """Plain data that JSON has (infinite errors as the text "inf"); also what `trt_precision_table` reads."""
        details = {**asdict(self), "nodes": [_finite(asdict(node)) for node in self.nodes]}
        kept = details.pop("float32")
        return table_of(kept, **_finite(details), is_met=self.is_met)

    def save(self, path: Path) -> None:
        """Write the table."""
        path.write_text(json.dumps(self.to_json(), indent=1), "utf-8")

    def __str__(self) -> str:
        state = "within" if self.is_met else "NOT within"
        lines = [
            f"{self.small}: error of the outputs {self.error_before:.1e} by the rules, {self.error_after:.1e} after the audit, "
            f"{state} the bound {self.bound:.1e}; {len(self.float32)} more nodes in float32, {self.runs} versions tried",
            f"{'error before':>12} {'after':>9} {'lowest':>10} {'highest':>10} type      node",
        ]
        lines += [_line(node) for node in self.nodes]
        return "\n".join(lines)


def _line(node: NodeAudit) -> str:
    before, after = ("-" if error is None else f"{error:.1e}" for error in (node.error_before, node.error_after))
    reason = f": {node.reason}" if node.reason else ""
    return f"{before:>12} {after:>9} {node.lowest:>10.3g} {node.highest:>10.3g} {node.computes_in:<9} {node.operator} '{node.name}'{reason}"


def _finite(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in data.items()}
