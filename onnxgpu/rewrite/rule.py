"""What a rule is.

    @node_rule("Identity")
    def remove_identity(node, rewriting) -> str | None: ...

A node rule looks at one node of the operators it names, changes the graph through `Rewriting`, and says in words what it
changed; None: it does not apply. A graph rule looks at one graph (bodies of control flow come one by one, inner ones
first) and gives a text for each change. The name of a rule is the name of its function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting

NodeEdit = Callable[[ir.Node, Rewriting], str | None]
GraphEdit = Callable[[ir.Graph, Rewriting], list[str]]


@dataclass(frozen=True, slots=True)
class NodeRule:
    """A rule for nodes of ai.onnx operators; without operators it is tried on every node of every domain."""

    name: str
    operators: frozenset[str]
    apply: NodeEdit


@dataclass(frozen=True, slots=True)
class GraphRule:
    """A rule for a graph as a whole."""

    name: str
    apply: GraphEdit


def node_rule(*operators: str) -> Callable[[NodeEdit], NodeRule]:
    """Make the decorated function a rule for these ai.onnx operators, or for all nodes."""
    return lambda edit: NodeRule(edit.__name__, frozenset(operators), edit)


def graph_rule(edit: GraphEdit) -> GraphRule:
    """Make the decorated function a rule for whole graphs."""
    return GraphRule(edit.__name__, edit)
