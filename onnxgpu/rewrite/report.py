"""What a rewrite did, as a value that prints as text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One application of one rule: which rule, and which nodes or values in words."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


@dataclass(frozen=True, slots=True)
class RewriteReport:
    """What a rewrite did to a model.

    Attributes:
        level: the optimisation level it ran at.
        nodes_before, nodes_after: nodes of the graph and of all its subgraphs.
        sweeps: how often the rules went over the graph until none applied.
        changes: every change, in order.
    """

    level: int
    nodes_before: int
    nodes_after: int
    sweeps: int
    changes: tuple[Change, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How often each rule applied, most frequent first."""
        return dict(Counter(change.rule for change in self.changes).most_common())

    def __str__(self) -> str:
        nodes = f"{self.nodes_before} -> {self.nodes_after} nodes"
        head = f"rewrite at level {self.level}: {nodes}, {len(self.changes)} changes in {self.sweeps} sweeps"
        width = max((len(rule) for rule in self.counts), default=0)
        rules = [f"  {rule:<{width}}  {count}" for rule, count in self.counts.items()]
        return "\n".join([head, *rules, *(f"    {change}" for change in self.changes)])
