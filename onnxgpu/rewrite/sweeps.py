"""Apply rules to every node and graph until none applies any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxgpu.rewrite.captures import link_captured_outputs
from onnxgpu.rewrite.editing import Rewriting, bodies
from onnxgpu.rewrite.report import Change, RewriteReport
from onnxgpu.rewrite.rule import GraphRule, NodeRule
from onnxgpu.rewrite.rules import rules_of

if TYPE_CHECKING:
    from onnxgpu.rewrite import Evaluate

SWEEP_LIMIT = 20
"""Every rule shrinks the graph or brings a node into its final form, so few sweeps suffice; a bound all the same."""


def run_rules(model: ir.Model, level: int, evaluate: Evaluate, fold_limit_bytes: int, disabled: Collection[str]) -> RewriteReport:
    """Apply the rules of `level` to `model` in place; see `onnxgpu.rewrite.rewrite`."""
    before = _node_count(model)
    rules = rules_of(level, disabled)
    changes: list[Change] = []
    sweeps = 0
    if rules:
        rewriting = Rewriting(model, evaluate, fold_limit_bytes)
        link_captured_outputs(model, rewriting)
        table = _by_operator(rules)
        graph_rules = [rule for rule in rules if isinstance(rule, GraphRule)]
        while sweeps < SWEEP_LIMIT:
            sweeps += 1
            found = [*_sweep_nodes(model.graph, table, rewriting), *_sweep_graphs(model, graph_rules, rewriting)]
            changes += found
            if not found:
                break
    return RewriteReport(level, before, _node_count(model), sweeps, tuple(changes))


class _Table:
    """Which node rules to try on a node, in order."""

    def __init__(self, rules: Sequence[NodeRule]) -> None:
        self._general = tuple(rule for rule in rules if not rule.operators)
        operators = {operator for rule in rules for operator in rule.operators}
        self._special = {operator: tuple(r for r in rules if not r.operators or operator in r.operators) for operator in operators}

    def rules_for(self, node: ir.Node) -> tuple[NodeRule, ...]:
        return self._general if node.domain else self._special.get(node.op_type, self._general)


def _by_operator(rules: Sequence[NodeRule | GraphRule]) -> _Table:
    return _Table([rule for rule in rules if isinstance(rule, NodeRule)])


def _sweep_nodes(graph: ir.Graph, table: _Table, rewriting: Rewriting) -> Iterator[Change]:
    for node in tuple(graph):
        for rule in table.rules_for(node):
            if node.graph is not graph:
                break
            rewriting.rule = rule.name
            what = rule.apply(node, rewriting)
            if what is not None:
                yield Change(rule.name, what)
        if node.graph is graph:
            for body in bodies(node):
                yield from _sweep_nodes(body, table, rewriting)


def _sweep_graphs(model: ir.Model, rules: Sequence[GraphRule], rewriting: Rewriting) -> Iterator[Change]:
    for rule in rules:
        rewriting.rule = rule.name
        for graph in _inner_first(model.graph):
            yield from (Change(rule.name, what) for what in rule.apply(graph, rewriting))


def _inner_first(graph: ir.Graph) -> list[ir.Graph]:
    graphs = [inner for node in graph for body in bodies(node) for inner in _inner_first(body)]
    return [*graphs, graph]


def _node_count(model: ir.Model) -> int:
    return sum(1 for _ in model.graph.all_nodes())
