"""TreeEnsembleRegressor, TreeEnsembleClassifier and TreeEnsemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from onnxgpu.errors import InvalidGraph
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.ml_forest import LEAF, MODES, Nodes, without_members
from onnxgpu.providers.array_ops.ml_scores import DOMAIN, FLOAT, TRANSFORMS, chosen_labels, class_labels, rows_of, transformed, two_scores
from onnxgpu.providers.array_ops.ml_votes import Ensemble, Weights
from onnxgpu.providers.array_ops.registry import operator

AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


def _numbers(attributes: Mapping[str, Any], name: str) -> np.ndarray:
    """A list of floats that may be given as a tensor instead."""
    tensor: np.ndarray | None = attributes.get(f"{name}_as_tensor")
    numbers: np.ndarray = np.array(attributes.get(name, ()), FLOAT) if tensor is None else tensor.reshape(-1)
    return numbers


def _integers(attributes: Mapping[str, Any], name: str) -> np.ndarray:
    return np.array(attributes.get(name, ()), np.int64)


class _Finder:
    """Positions of nodes that are named by a tree and a number."""

    def __init__(self, trees: np.ndarray, numbers: np.ndarray) -> None:
        self._span = int(numbers.max(initial=0)) + 1
        keys = trees * self._span + numbers
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        if len(keys) and (np.diff(self._keys) == 0).any():
            raise InvalidGraph("two nodes of one tree have the same number in nodes_nodeids")

    def __call__(self, trees: np.ndarray, numbers: np.ndarray, what: str) -> np.ndarray:
        """The position of each node.

        Raises:
            InvalidGraph: there is no such node; `what` says who asked for it.
        """
        keys = trees * self._span + numbers
        place = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        unknown = (self._keys[place] != keys) | (numbers < 0) | (numbers >= self._span) if len(self._keys) else np.ones(len(keys), bool)
        if unknown.any():
            at = int(np.argmax(unknown))
            raise InvalidGraph(f"Unable to find node {trees[at]}-{numbers[at]} (tree-node), which {what} names")
        found: np.ndarray = self._order[place]
        return found


def _listed_nodes(operation: Operation) -> tuple[Nodes, np.ndarray, _Finder]:
    """Nodes, roots and how to find a node of the operators that list nodes of all kinds by tree and number."""
    attributes = operation.attributes
    trees, numbers = _integers(attributes, "nodes_treeids"), _integers(attributes, "nodes_nodeids")
    names: Sequence[str] = attributes.get("nodes_modes", ())
    feature, split = _integers(attributes, "nodes_featureids"), _numbers(attributes, "nodes_values")
    true, false = _integers(attributes, "nodes_truenodeids"), _integers(attributes, "nodes_falsenodeids")
    sizes = {len(column) for column in (trees, numbers, names, feature, split, true, false)}
    if len(sizes) != 1 or sizes == {0}:
        raise InvalidGraph(f"{operation}: expected attributes nodes_… of one length, got {sorted(sizes)}")
    codes = {"LEAF": LEAF, **{name: code for code, name in enumerate(MODES)}}
    unknown = sorted(set(names) - set(codes))
    if unknown:
        raise InvalidGraph(f"{operation}: expected nodes_modes {', '.join(codes)}, got {unknown[0]!r}")
    mode = np.fromiter(map(codes.__getitem__, names), np.int8, len(names))
    branch, find = mode != LEAF, _Finder(trees, numbers)
    children = []
    for column, what in ((true, "nodes_truenodeids"), (false, "nodes_falsenodeids")):
        child = np.zeros(len(mode), np.int64)
        child[branch] = find(trees[branch], column[branch], what)
        children.append(child)
    missing = _integers(attributes, "nodes_missing_value_tracks_true")
    missing = missing if len(missing) == len(mode) else np.zeros(len(mode), np.int64)
    roots = np.flatnonzero(np.append(True, np.diff(trees) != 0))
    return Nodes(mode, feature, split, children[0], children[1], missing), roots, find


def _listed_weights(operation: Operation, part: str, ids: str, find: _Finder) -> Weights:
    attributes = operation.attributes
    trees, numbers = _integers(attributes, f"{part}_treeids"), _integers(attributes, f"{part}_nodeids")
    target, weight = _integers(attributes, ids), _numbers(attributes, f"{part}_weights")
    if not len(trees) == len(numbers) == len(target) == len(weight):
        raise InvalidGraph(
            f"{operation}: expected {part}_treeids, {part}_nodeids, {ids} and {part}_weights of one length, "
            f"got {len(trees)}, {len(numbers)}, {len(target)} and {len(weight)}"
        )
    return Weights(find(trees, numbers, f"{part}_nodeids"), target, weight)


def _row_dtype(operation: Operation) -> np.dtype | None:
    """The type that `Trees.rows` will give, if the input's is known."""
    declared = operation.inputs[0].dtype if operation.inputs and operation.inputs[0] else None
    if declared is None:
        return None
    return declared if declared == np.float64 else FLOAT


class Trees:
    """A kernel of trees; comparisons and sums are in float64 for a float64 input, else in float32."""

    input_names: tuple[str, ...] = ("x",)
    required_inputs = 1
    ensemble_type: ClassVar[type[Ensemble]] = Ensemble

    def __init__(self, xp: Any, operation: Operation, nodes: Nodes, roots: np.ndarray, weights: Weights, targets: int) -> None:
        if targets < 1 or (len(weights.target) and not 0 <= weights.target.min() <= weights.target.max() < targets):
            raise InvalidGraph(f"{operation}: expected at least one target or class, and ids from 0 to {targets - 1}")
        self._xp, self._name, self.targets = xp, operation.operator, targets
        self._ensemble = self.ensemble_type(xp, nodes, roots, weights, targets, _row_dtype(operation))
        self._base = _numbers(operation.attributes, "base_values")
        self._bases: dict[np.dtype, Array] = {}

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `onnxgpu.provider.Kernel`."""
        return None

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def results(self, x: Array) -> Sequence[Value]:
        """The outputs for an input."""
        raise NotImplementedError

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        results = self.results(inputs[0])
        if outputs is None:
            return results
        for target, result in zip(outputs, results, strict=False):
            target[...] = result
        return outputs

    def base(self, dtype: np.dtype) -> Array:
        """The base values in `dtype`, in the array module's memory."""
        if dtype not in self._bases:
            self._bases[dtype] = self._xp.asarray(self._base.astype(dtype))
        return self._bases[dtype]

    def rows(self, x: Array) -> Array:
        """The input as rows of floating point features."""
        rows = rows_of(x, self._name)
        return rows if rows.dtype in (np.float32, np.float64) else rows.astype(FLOAT)


class _Regressor(Trees):
    """What TreeEnsembleRegressor and TreeEnsemble share."""

    aggregate: str
    transform: str

    def predicted(self, x: Array) -> Array:
        """[N,targets] in the type of the comparisons."""
        xp, rows = self._xp, self.rows(x)
        scores, _ = self._ensemble.totals(rows, self.aggregate)
        if self.aggregate == "AVERAGE":
            scores = scores / scores.dtype.type(self._ensemble.tree_count)
        if len(self._base) == scores.shape[1]:
            scores = scores + self.base(scores.dtype)
        return transformed(xp, scores, self.transform)


@operator("TreeEnsembleRegressor", domain=DOMAIN, since=1)
class TreeEnsembleRegressor(_Regressor):
    """Rows [N,F] or [F] to float32 [N,targets]: the weights of the leaves reached, aggregated over the trees.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html
    """

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        nodes, roots, find = _listed_nodes(operation)
        weights = _listed_weights(operation, "target", "target_ids", find)
        self.aggregate, self.transform = attributes.get("aggregate_function", "SUM"), attributes.get("post_transform", "NONE")
        if self.aggregate not in AGGREGATES:
            raise InvalidGraph(f"{operation}: expected aggregate_function {', '.join(AGGREGATES)}, got {self.aggregate!r}")
        super().__init__(xp, operation, nodes, roots, weights, attributes.get("n_targets", 1))

    def results(self, x: Array) -> Sequence[Value]:
        """See `Trees`."""
        return (self.predicted(x).astype(FLOAT, copy=False),)


@operator("TreeEnsemble", domain=DOMAIN, since=5)
class TreeEnsemble(_Regressor):
    """Rows [N,F] to [N,targets] of their own type: the weights of the leaves reached, aggregated over the trees.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html
    """

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        self.aggregate = AGGREGATES[attributes.get("aggregate_function", 1)]
        self.transform = TRANSFORMS[attributes.get("post_transform", 0)]
        branches = len(attributes["nodes_modes"])
        leaf_target = _integers(attributes, "leaf_targetids")
        mode = np.append(np.asarray(attributes["nodes_modes"]).reshape(-1).astype(np.int64), np.full(len(leaf_target), LEAF))
        children = []
        for side in ("true", "false"):
            child = _integers(attributes, f"nodes_{side}nodeids") + branches * (_integers(attributes, f"nodes_{side}leafs") != 0)
            children.append(_followed(child, len(leaf_target)))
        missing = _integers(attributes, "nodes_missing_value_tracks_true")
        missing = missing if len(missing) == branches else np.zeros(branches, np.int64)
        nodes = Nodes(
            mode,
            _followed(_integers(attributes, "nodes_featureids"), len(leaf_target)),
            _followed(np.asarray(attributes["nodes_splits"]).reshape(-1), len(leaf_target)),
            children[0],
            children[1],
            _followed(missing, len(leaf_target)),
        )
        if any(len(column) != len(mode) for column in (nodes.feature, nodes.split, nodes.true, nodes.false)):
            raise InvalidGraph(f"{operation}: expected attributes nodes_… of one length")
        if len(children[0]) and max(child.max() for child in children) >= len(mode):
            raise InvalidGraph(f"{operation}: nodes_truenodeids or nodes_falsenodeids name a node that is not there")
        nodes = without_members(nodes, _member_sets(attributes.get("membership_values")))
        weights = Weights(np.arange(branches, branches + len(leaf_target)), leaf_target, np.asarray(attributes["leaf_weights"]).reshape(-1))
        super().__init__(xp, operation, nodes, _integers(attributes, "tree_roots"), weights, attributes.get("n_targets", 1))

    def results(self, x: Array) -> Sequence[Value]:
        """See `Trees`."""
        return (self.predicted(x).astype(x.dtype, copy=False),)


def _followed(column: np.ndarray, leaves: int) -> np.ndarray:
    """A column of the branches, continued for the leaves."""
    return np.append(column, np.zeros(leaves, column.dtype))


def _member_sets(values: np.ndarray | None) -> list[np.ndarray]:
    """The sets in `membership_values`, each ended by NaN."""
    if values is None or not values.size:
        return []
    flat = values.reshape(-1)
    ends = np.flatnonzero(np.isnan(flat))
    sets = [part[~np.isnan(part)] for part in np.split(flat, ends + 1)]
    return sets[:-1] if not len(sets[-1]) else sets


@operator("TreeEnsembleClassifier", domain=DOMAIN, since=1)
class TreeEnsembleClassifier(Trees):
    """Labels [N] and float32 scores [N,K] of rows [N,F] or [F]: the sums of the weights of the leaves reached.

    Weights of a single class of two are scores of the second. Where the specification leaves the binary case open
    (base values, weights of both classes), it is as in onnxruntime.
    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html
    """

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        labels = class_labels(attributes.get("classlabels_strings", ()), attributes.get("classlabels_int64s", ()))
        self._labels = labels if labels.dtype == object else xp.asarray(labels)
        nodes, roots, find = _listed_nodes(operation)
        weights = _listed_weights(operation, "class", "class_ids", find)
        super().__init__(xp, operation, nodes, roots, weights, len(labels))
        self._transform = attributes.get("post_transform", "NONE")
        self._one_class = len(labels) == 2 and len(np.unique(weights.target)) == 1
        self._positive = not (weights.weight < 0).any()

    def results(self, x: Array) -> Sequence[Value]:
        """See `Trees`."""
        scores, has = self._ensemble.totals(self.rows(x), "SUM")
        index, scores = self._of_many(scores, has) if len(self._labels) > 2 else self._of_two(scores, has)
        return chosen_labels(self._xp, self._labels, index), scores.astype(FLOAT, copy=False)

    def _of_many(self, scores: Array, has: Array) -> tuple[Array, Array]:
        xp = self._xp
        if len(self._base) == scores.shape[1]:
            scores, has = scores + self.base(scores.dtype), xp.ones((1, scores.shape[1]), bool)
        index = xp.where(has, scores, -np.inf).argmax(axis=1)
        return index, transformed(xp, scores, self._transform)

    def _of_two(self, scores: Array, has: Array) -> tuple[Array, Array]:
        """At most two classes. Rows in which the second has weights have two scores, the others one, of the second class."""
        xp, base = self._xp, self._base.astype(scores.dtype)
        first, second = scores[:, :1], scores[:, -1:]
        two = xp.broadcast_to(has[:, 1:], first.shape) if scores.shape[1] == 2 else xp.zeros(first.shape, bool)
        if len(base) == 2:
            negative, alone = -(base[1] + first), (first + base[0], second + base[1])
            first, second = xp.where(two, negative, alone[0]), xp.where(two, -negative, alone[1])
        elif len(base) == 1:
            first = first + base[0]
        weight = xp.where(two, second, first)
        positive = weight > (0.5 if self._one_class and self._positive else 0)
        both = transformed(xp, xp.concatenate([first, second], axis=1), self._transform)
        if len(base) != 2:
            both = xp.where(two, both, two_scores(xp, first, self._transform, complement=self._one_class and self._positive))
        return positive[:, 0].astype(np.intp), both[:, -scores.shape[1] :]
