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
_KEPT_FROM = 1.25
"""After how many levels finished walks are counted (a leaf is its own child), and how many fewer are worth a copy."""

_COMPARISONS = ("less_equal", "less", "greater_equal", "greater", "equal", "not_equal")


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


class Forest:
    """Trees laid out for walking, in an array module's memory.

    Args:
        xp: the array module.
        nodes: without BRANCH_MEMBER.
        roots: positions of the trees' first nodes.
        dtype: floating point type in which features and splits are compared.
    """

    def __init__(self, xp: Any, nodes: Nodes, roots: np.ndarray, dtype: np.dtype) -> None:
        leaf = nodes.mode == LEAF
        own = np.arange(len(leaf))
        children = np.stack([np.where(leaf, own, nodes.false), np.where(leaf, own, nodes.true)], axis=1)
        accepted = _ACCEPTED[np.where(leaf, 0, nodes.mode)]
        accepted[:, 3] |= nodes.missing.astype(bool)
        modes = np.unique(nodes.mode[~leaf])
        uniform = len(modes) < 2 and not nodes.missing[~leaf].any()
        self._xp, self._dtype = xp, dtype
        self._compare = getattr(xp, _COMPARISONS[modes[0] if len(modes) else 0]) if uniform else None
        self._features = xp.asarray(np.where(leaf, 0, nodes.feature).astype(np.intp))
        self._splits = xp.asarray(nodes.split.astype(dtype))
        self._children, self._branch = xp.asarray(children.astype(np.intp).reshape(-1)), xp.asarray(~leaf)
        self._accepted = xp.asarray(accepted.reshape(-1))
        self._roots = xp.asarray(roots.astype(np.intp))
        self.tree_count = len(roots)
        self.feature_count = int(nodes.feature[~leaf].max(initial=-1)) + 1

    def leaves(self, x: Array) -> Array:
        """The leaf that each row of `x` [N,F] reaches in each tree: positions [T,N].

        Raises:
            InvalidArgument: the trees ask for a feature that `x` does not have.
        """
        count, width = x.shape
        if width < self.feature_count:
            raise InvalidArgument(f"the trees ask for {self.feature_count} features, the input has {width}")
        xp = self._xp
        values = xp.ascontiguousarray(x, dtype=self._dtype).reshape(-1)
        node = xp.repeat(self._roots, count)
        start = xp.tile(xp.arange(count, dtype=np.intp) * width, self.tree_count)
        reached, place = node, None
        while True:
            going = xp.flatnonzero(self._branch.take(node))
            if not going.size:
                break
            if _KEPT_FROM * going.size < node.size:
                if place is None:
                    reached = node
                else:
                    reached[place] = node
                place = going if place is None else place.take(going)
                node, start = node.take(going), start.take(going)
            for _ in range(_LEVELS_AT_ONCE):
                node = self._step(values, node, start)
        if place is None:
            reached = node
        else:
            reached[place] = node
        return reached.reshape(self.tree_count, count)

    def _step(self, values: Array, node: Array, start: Array) -> Array:
        feature = self._features.take(node)
        feature += start
        value, split = values.take(feature), self._splits.take(node)
        if self._compare is not None:
            true = self._compare(value, split)
        else:
            outcome = 3 - 3 * (value < split).astype(np.intp) - 2 * (value == split) - (value > split)
            true = self._accepted.take(4 * node + outcome)
        child = node + node
        child += true
        return self._children.take(child)
