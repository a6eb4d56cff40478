"""A forest of decision trees as index arrays, walked level by level for all rows and trees at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument, InvalidGraph
from onnxgpu.provider import Array

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
"""Comparisons in the order of their codes in TreeEnsemble."""

LEAF = -1
_ACCEPTED = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 1]], bool)
"""For each mode but BRANCH_MEMBER: true of a value that is less, equal, greater, not a number."""

_LEVELS_AT_ONCE = 2
_KEPT_FROM = 1.5
"""After how many levels finished walks are counted (a leaf is its own child), and how many fewer are worth a copy."""

_COMPARISONS = ("less_equal", "less", "greater_equal", "greater", "equal", "not_equal")
_NOT_EQUAL = MODES.index("BRANCH_NEQ")
"""The one comparison that holds for NaN, which stands in the place of a leaf's split."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of all trees, NumPy arrays of one length; a child is a position in them.

    Attributes:
        mode: index into `MODES`, or LEAF.
        feature, split: what is compared with what.
        true, false: the children; anything for a leaf.
        missing: NaN goes to the true child.
    """

    mode: np.ndarray
    feature: np.ndarray
    split: np.ndarray
    true: np.ndarray
    false: np.ndarray
    missing: np.ndarray


def without_members(nodes: Nodes, members: Sequence[np.ndarray]) -> Nodes:
    """The same nodes with each BRANCH_MEMBER as a chain of BRANCH_EQ; `members` has the values of each, in order of the nodes."""
    places = np.flatnonzero(nodes.mode == MODES.index("BRANCH_MEMBER"))
    if len(places) != len(members):
        raise InvalidGraph(f"TreeEnsemble: expected a set of membership_values for each of {len(places)} nodes, got {len(members)}")
    columns = {name: getattr(nodes, name).tolist() for name in Nodes.__slots__}
    equal = MODES.index("BRANCH_EQ")
    for place, values in zip(places.tolist(), members, strict=True):
        columns["mode"][place] = equal
        columns["split"][place] = values[0] if len(values) else np.nan
        last, otherwise = place, columns["false"][place]
        for value in values[1:]:
            for column in columns.values():
                column.append(column[place])
            new = len(columns["mode"]) - 1
            columns["split"][new], columns["false"][new], columns["false"][last] = value, otherwise, new
            last = new
    return Nodes(**{name: np.array(column, getattr(nodes, name).dtype) for name, column in columns.items()})


def tree_of_nodes(nodes: Nodes, roots: np.ndarray) -> np.ndarray:
    """Which tree each node is in, -1 for a node that no root leads to.

    Raises:
        InvalidGraph: a node leads back to itself.
    """
    trees = np.full(len(nodes.mode), -1)
    trees[roots] = np.arange(len(roots))
    frontier, visits = roots, 0
    for _ in range(len(nodes.mode) + 1):
        visits += len(frontier)
        if visits > len(nodes.mode):  # in trees every node is reached once; only what is no tree pays for the sorting
            frontier = np.unique(frontier)
        frontier = frontier[nodes.mode[frontier] != LEAF]
        if not len(frontier):
            return trees
        for children in (nodes.true, nodes.false):
            trees[children[frontier]] = trees[frontier]
        frontier = np.concatenate([nodes.true[frontier], nodes.false[frontier]])
    raise InvalidGraph("a tree of the ensemble has a node that leads back to itself; export the model again")


def laid_out(nodes: Nodes, roots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order of the nodes in which the roots come first and the children of each lie side by side, the false one first.

    Returns:
        the nodes' positions in that order, and for each where its children are in it; LEAF for a leaf.
    """
    branches = np.flatnonzero(nodes.mode != LEAF)
    children = np.stack([nodes.false[branches], nodes.true[branches]], axis=1).reshape(-1)
    order = np.concatenate([roots, children])
    first_child = np.full(len(nodes.mode), LEAF, np.int64)
    first_child[branches] = len(roots) + 2 * np.arange(len(branches))
    return order, first_child[order]


def accepted_outcomes(nodes: Nodes, order: np.ndarray) -> np.ndarray:
    """For the nodes in `order` [n,4]: whether a value that is less, equal, greater, or not a number goes to the true child."""
    leaf = nodes.mode[order] == LEAF
    accepted: np.ndarray = _ACCEPTED[np.where(leaf, 0, nodes.mode[order])] & ~leaf[:, None]
    accepted[:, 3] |= nodes.missing[order].astype(bool) & ~leaf
    return accepted


def feature_count(nodes: Nodes) -> int:
    """How many features the trees ask for."""
    return int(nodes.feature[nodes.mode != LEAF].max(initial=-1)) + 1


def check_width(x: Array, features: int) -> None:
    """Raise InvalidArgument if rows `x` [N,F] have fewer than these."""
    if x.shape[1] < features:
        raise InvalidArgument(f"the trees ask for {features} features, the input has {x.shape[1]}")


class Forest:
    """Trees laid out for walking, in an array module's memory.

    The children of a node lie side by side, so that one number leads to both, and what a step reads of a node is one
    record of 16 bytes (24 in float64): a forest is larger than the caches, and each record that is read costs one miss.

    Args:
        xp: the array module.
        nodes: without BRANCH_MEMBER.
        roots: positions of the trees' first nodes.
        dtype: floating point type in which features and splits are compared.
        labels: what `labels` gives for each leaf, one whole number a node.
    """

    def __init__(self, xp: Any, nodes: Nodes, roots: np.ndarray, dtype: np.dtype, labels: np.ndarray) -> None:
        branches = np.flatnonzero(nodes.mode != LEAF)
        order, child = laid_out(nodes, roots)
        leaf = child == LEAF
        child[leaf] = np.flatnonzero(leaf)
        modes = np.unique(nodes.mode[branches])
        self._xp, self._dtype = xp, dtype
        self._compare = getattr(xp, _COMPARISONS[modes[0] if len(modes) else 0]) if len(modes) < 2 and _NOT_EQUAL not in modes else None
        self._reads_missing = bool(nodes.missing[branches].any())
        self._accepted: Any = None
        if self._compare is None or self._reads_missing:
            self._accepted = xp.asarray(accepted_outcomes(nodes, order).reshape(-1))
        split = np.where(leaf, np.nan, nodes.split[order]).astype(dtype)
        self._records = xp.asarray(_records(split, np.where(leaf, 0, nodes.feature[order]), child))
        self._labels = xp.asarray(labels[order].astype(np.int32))
        self.feature_count = feature_count(nodes)

    def labels(self, x: Array, first: int, last: int) -> Array:
        """The label of the leaf that each row of `x` [N,F] reaches in the trees from `first` up to `last`: [T,N].

        Raises:
            InvalidArgument: the trees ask for a feature that `x` does not have.
        """
        check_width(x, self.feature_count)
        count, width = x.shape
        xp = self._xp
        values = xp.ascontiguousarray(x, dtype=self._dtype).reshape(-1)
        compare = None if self._reads_missing and bool(xp.isnan(values).any()) else self._compare
        node = xp.repeat(xp.arange(first, last, dtype=np.intp), count)
        start = xp.tile(xp.arange(count, dtype=np.intp) * width, last - first)
        reached, place = node, None
        while node.size:
            for _ in range(_LEVELS_AT_ONCE):
                before = node
                node = self._step(values, node, start, compare)
            going = xp.flatnonzero(node != before)
            if _KEPT_FROM * going.size < node.size:
                if place is None:
                    reached = node
                else:
                    reached[place] = node
                place = going if place is None else place.take(going)
                node, start = node.take(going), start.take(going)
        return self._labels.take(reached).reshape(last - first, count)

    def _step(self, values: Array, node: Array, start: Array, compare: Any) -> Array:
        """The child that each walk goes on to; a leaf's is the leaf."""
        record = self._records.take(node, axis=0)
        split, feature, child = _fields(record, self._dtype)
        value = values.take(feature + start)
        if compare is not None:
            return child + compare(value, split)
        outcome = 3 - 3 * (value < split).astype(np.intp) - 2 * (value == split) - (value > split)
        return child + self._accepted.take(4 * node + outcome)


def _records(split: np.ndarray, feature: np.ndarray, child: np.ndarray) -> np.ndarray:
    """Columns as records of int64: the split and the feature (together in one where the split is float32), and the child."""
    columns = 2 if split.dtype == np.float32 else 3
    records = np.empty((len(split), columns), np.int64)
    records.view(split.dtype)[:, 0] = split
    if columns == 2:
        records.view(np.int32)[:, 1] = feature
    else:
        records[:, 1] = feature
    records[:, -1] = child
    return records


def _fields(record: Array, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """Split, feature and child of records."""
    feature = record.view(np.int32)[:, 1] if dtype == np.float32 else record[:, 1]
    return record.view(dtype)[:, 0], feature, record[:, -1]
