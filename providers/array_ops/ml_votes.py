"""What the trees of an ensemble give together: leaves' weights, summed or compared over the trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.ml_forest import Forest, Nodes, tree_of_nodes

_WALKED_AT_ONCE = 1 << 15
"""Pairs of row and tree that are walked together, so that their state stays in a cache."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of leaves, one entry each: position of the node, target or class, weight."""

    node: np.ndarray
    target: np.ndarray
    weight: np.ndarray


class Ensemble:
    """Trees whose leaves have weights for targets; float32 or float64, as the rows are."""

    def __init__(self, xp: Any, nodes: Nodes, roots: np.ndarray, weights: Weights, targets: int) -> None:
        self._xp, self._nodes, self._roots = xp, nodes, roots
        self._forests: dict[np.dtype, Forest] = {}
        self._tables: dict[tuple[str, np.dtype], Array] = {}
        self.tree_count = len(roots)
        trees = tree_of_nodes(nodes, roots)
        leaves = np.flatnonzero((trees >= 0) & (nodes.mode < 0))
        row = np.zeros(len(nodes.mode), np.intp)
        row[leaves] = np.arange(len(leaves))
        kept = np.isin(weights.node, leaves)
        self._weights = Weights(row[weights.node[kept]], weights.target[kept], weights.weight[kept])
        self._row = xp.asarray(row)
        self._has: np.ndarray = np.zeros((len(leaves), targets), bool)
        self._has[self._weights.node, self._weights.target] = True
        self._read_targets(trees[leaves])

    def _read_targets(self, tree: np.ndarray) -> None:
        """Find out whether every leaf of a tree has the same targets, and whether each tree has only one."""
        some: np.ndarray = np.zeros((self.tree_count, self._has.shape[1]), bool)
        lacking: np.ndarray = np.zeros_like(some)
        np.logical_or.at(some, tree, self._has)
        np.logical_or.at(lacking, tree, ~self._has)
        self._same_everywhere = None if (some & lacking).any() else self._xp.asarray(some.max(axis=0, keepdims=True))
        single = some.shape[1] > 1 and bool((some.sum(axis=1) <= 1).all())
        self._groups = [np.flatnonzero(column) for column in some.T] if single else None

    def totals(self, x: Array, function: str) -> tuple[Array, Array]:
        """Aggregate over the trees.

        Args:
            x: rows [N,F] of float32 or float64.
            function: SUM, AVERAGE (the sum, not divided yet), MIN or MAX.

        Returns:
            Scores [N,K] of the dtype of `x`, 0 where no leaf has a weight; and whether one has, [N,K] or [1,K].
        """
        xp, targets = self._xp, self._has.shape[1]
        scores = xp.zeros((x.shape[0], targets), x.dtype)
        has = xp.zeros((x.shape[0], targets), bool) if self._same_everywhere is None else self._same_everywhere
        forest, width = self._forest(x.dtype), 1 if self._groups is not None else targets
        step = max(1, _WALKED_AT_ONCE // max(self.tree_count * width, 1))
        for start in range(0, x.shape[0], step):
            rows = self._row[forest.leaves(x[start : start + step])]
            self._aggregate(rows, function, scores[start : start + step])
            if self._same_everywhere is None:
                has[start : start + step] = self._table("HAS", x.dtype)[rows].any(axis=0)
        return (scores if function in ("SUM", "AVERAGE") else xp.where(has, scores, 0)), has

    def _aggregate(self, rows: Array, function: str, out: Array) -> None:
        table = self._table(function, out.dtype)
        reduce = {"MIN": self._xp.min, "MAX": self._xp.max}.get(function, self._xp.sum)
        if self._groups is None:
            out[...] = reduce(table[rows], axis=0)
            return
        for target, trees in enumerate(self._groups):
            if len(trees):
                out[:, target] = reduce(table[:, target][rows[trees]], axis=0)

    def _forest(self, dtype: np.dtype) -> Forest:
        if dtype not in self._forests:
            self._forests[dtype] = Forest(self._xp, self._nodes, self._roots, dtype)
        return self._forests[dtype]

    def _table(self, function: str, dtype: np.dtype) -> Array:
        """Weights of the leaves [L,K]; what is not there is the function's neutral element."""
        key = (function, dtype)
        if key not in self._tables:
            self._tables[key] = self._xp.asarray(self._has if function == "HAS" else self._weight_table(function, dtype))
        return self._tables[key]

    def _weight_table(self, function: str, dtype: np.dtype) -> np.ndarray:
        neutral = {"MIN": np.inf, "MAX": -np.inf}.get(function, 0)
        table = np.full(self._has.shape, neutral, dtype)
        combine = {"MIN": np.minimum, "MAX": np.maximum}.get(function, np.add)
        combine.at(table, (self._weights.node, self._weights.target), self._weights.weight.astype(dtype))
        return table
