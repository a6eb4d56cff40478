"""What the trees of an ensemble give together: leaves' weights, summed or compared over the trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.ml_forest import Forest, Nodes, tree_of_nodes

_WALKED_AT_ONCE = 1 << 14
"""Pairs of row and tree that are walked together, so that their state stays in a cache."""

_ROWS_WALKED_AT_ONCE = 1 << 10
"""Rows that go through a few trees together, so that the trees stay in a cache while they do."""

NEUTRAL = {"MIN": np.inf, "MAX": -np.inf}
"""What changes no aggregate; 0 for sums."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of leaves, one entry each: position of the node, target or class, weight."""

    node: np.ndarray
    target: np.ndarray
    weight: np.ndarray


class Ensemble:
    """Trees whose leaves have weights for targets.

    Args:
        xp: the array module.
        nodes, roots: see `Forest`.
        weights: of the leaves.
        targets: how many there are.
        dtype: that of the rows, if it is known; then the forest is laid out at once, and `nodes` are kept no longer.
    """

    def __init__(self, xp: Any, nodes: Nodes, roots: np.ndarray, weights: Weights, targets: int, dtype: np.dtype | None) -> None:
        self.xp, self._roots = xp, roots
        self._nodes: Nodes | None = nodes
        self._forests: dict[np.dtype, Any] = {}
        self._tables: dict[tuple[str, np.dtype], Array] = {}
        self.tree_count = len(roots)
        trees = tree_of_nodes(nodes, roots)
        leaves = np.flatnonzero((trees >= 0) & (nodes.mode < 0))
        row = np.zeros(len(nodes.mode), np.intp)
        row[leaves] = np.arange(len(leaves))
        kept = np.isin(weights.node, leaves)
        self._weights = Weights(row[weights.node[kept]], weights.target[kept], weights.weight[kept])
        self._row = row
        self.has: np.ndarray = np.zeros((len(leaves), targets), bool)
        self.has[self._weights.node, self._weights.target] = True
        self._read_targets(trees[leaves])
        if dtype is not None:
            self.forest(dtype)
            self._nodes = None

    def _read_targets(self, tree: np.ndarray) -> None:
        """Find out whether every leaf of a tree has the same targets, and whether each tree has only one."""
        some: np.ndarray = np.zeros((self.tree_count, self.has.shape[1]), bool)
        lacking: np.ndarray = np.zeros_like(some)
        np.logical_or.at(some, tree, self.has)
        np.logical_or.at(lacking, tree, ~self.has)
        self.same_everywhere = None if (some & lacking).any() else self.xp.asarray(some.max(axis=0, keepdims=True))
        single = some.shape[1] > 1 and bool((some.sum(axis=1) <= 1).all())
        self.target_of_tree = some.argmax(axis=1) if single else None

    def totals(self, x: Array, function: str) -> tuple[Array, Array]:
        """Aggregate over the trees.

        Args:
            x: rows [N,F] of float32 or float64.
            function: SUM, AVERAGE (the sum, not divided yet), MIN or MAX.

        Returns:
            Scores [N,K] of the dtype of `x`, 0 where no leaf has a weight; and whether one has, [N,K] or [1,K].
        """
        xp, targets = self.xp, self.has.shape[1]
        scores = xp.full((x.shape[0], targets), NEUTRAL.get(function, 0), x.dtype)
        has = xp.zeros((x.shape[0], targets), bool) if self.same_everywhere is None else self.same_everywhere
        forest, width = self.forest(x.dtype), 1 if self.target_of_tree is not None else targets
        rows_at_once = max(1, min(x.shape[0], _ROWS_WALKED_AT_ONCE // width))
        trees_at_once = max(1, _WALKED_AT_ONCE // (rows_at_once * width))
        for start in range(0, x.shape[0], rows_at_once):
            part = slice(start, start + rows_at_once)
            for first in range(0, self.tree_count, trees_at_once):
                last = min(first + trees_at_once, self.tree_count)
                leaves = forest.labels(x[part], first, last)
                self._aggregate(leaves, first, function, scores[part])
                if self.same_everywhere is None:
                    has[part] |= self.table("HAS", x.dtype)[leaves].any(axis=0)
        return (scores if function in ("SUM", "AVERAGE") else xp.where(has, scores, 0)), has

    def _aggregate(self, leaves: Array, first: int, function: str, out: Array) -> None:
        """Add what the leaves [T,N] of the trees from `first` on give to `out` [N,K]."""
        xp, table = self.xp, self.table(function, out.dtype)
        combine = {"MIN": xp.minimum, "MAX": xp.maximum}.get(function, xp.add)
        if self.target_of_tree is None:
            combine(out, _reduced(xp, table[leaves], function), out=out)
            return
        targets = self.target_of_tree[first : first + len(leaves)]
        for target in np.unique(targets).tolist():
            given = table[:, target][leaves[xp.asarray(np.flatnonzero(targets == target))]]
            out[:, target] = combine(out[:, target], _reduced(xp, given, function))

    def forest(self, dtype: np.dtype) -> Any:
        """The trees laid out for rows of `dtype`.

        Raises:
            InvalidArgument: the rows were declared with another.
        """
        if dtype not in self._forests:
            if self._nodes is None:
                raise InvalidArgument(f"expected rows of {next(iter(self._forests))}, as the model says, got {dtype}")
            self._forests[dtype] = self.make_forest(self._nodes, self._roots, dtype, self._row)
        return self._forests[dtype]

    def make_forest(self, nodes: Nodes, roots: np.ndarray, dtype: np.dtype, labels: np.ndarray) -> Any:
        """See `Forest`."""
        return Forest(self.xp, nodes, roots, dtype, labels)

    def table(self, function: str, dtype: np.dtype) -> Array:
        """Weights of the leaves [L,K]; what is not there is the function's neutral element."""
        key = (function, dtype)
        if key not in self._tables:
            self._tables[key] = self.xp.asarray(self.has if function == "HAS" else self._weight_table(function, dtype))
        return self._tables[key]

    def _weight_table(self, function: str, dtype: np.dtype) -> np.ndarray:
        table = np.full(self.has.shape, NEUTRAL.get(function, 0), dtype)
        combine = {"MIN": np.minimum, "MAX": np.maximum}.get(function, np.add)
        combine.at(table, (self._weights.node, self._weights.target), self._weights.weight.astype(dtype))
        return table


def _reduced(xp: Any, given: Array, function: str) -> Array:
    """What all trees (the first axis) give together."""
    reduce = {"MIN": xp.min, "MAX": xp.max}.get(function, xp.sum)
    return reduce(given, axis=0)
