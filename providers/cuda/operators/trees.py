"""Tree ensembles of ai.onnx.ml: a kernel finds the leaves, a thread a row and tree, and one combines their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidGraph
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops import ml_trees
from onnxgpu.providers.array_ops.ml_forest import LEAF, Nodes, accepted_outcomes, check_width, feature_count, laid_out
from onnxgpu.providers.array_ops.ml_scores import DOMAIN, FLOAT
from onnxgpu.providers.array_ops.ml_votes import NEUTRAL, Ensemble
from onnxgpu.providers.cuda.kernels import THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.registry import operator

_TYPES = ("float", "double")
_COMBINE = {"SUM": "Sum", "AVERAGE": "Sum", "MIN": "Minimum", "MAX": "Maximum"}
FIND = Template("forest.cu", "find_leaves<{T}>", "ppplll", T=_TYPES)
COMBINE = Template(
    "forest.cu", "combine_leaves<{T}, {combine}, {lanes}>", "pppppppllld", T=_TYPES,
    combine=("Sum", "Minimum", "Maximum"), lanes=("1", "32"),
)  # fmt: skip

_LEAVES_AT_ONCE = 1 << 22
"""As many are found before they are combined: 16 MB, which stay in the cache."""

_FEW = 1 << 13
"""Of so few scores each is combined by a warp."""

_FEATURE_BITS = 27
_RECORDS = {
    np.dtype(np.float32): np.dtype({"names": ["split", "rule", "child"], "formats": ["f4", "i4", "i4"], "itemsize": 16}),
    np.dtype(np.float64): np.dtype({"names": ["split", "rule", "child"], "formats": ["f8", "i4", "i4"], "itemsize": 16}),
}
"""`Node` of kernels/forest.cu."""


class DeviceForest:
    """Trees as records on the device.

    Args:
        xp: CuPy.
        nodes: without BRANCH_MEMBER.
        roots: positions of the trees' first nodes.
        dtype: in which features and splits are compared.
        labels: the number of each leaf, one a node.
    """

    def __init__(self, xp: Any, nodes: Nodes, roots: np.ndarray, dtype: np.dtype, labels: np.ndarray) -> None:
        order, child = laid_out(nodes, roots)
        self.feature_count, self._trees = feature_count(nodes), len(roots)
        if self.feature_count > 1 << _FEATURE_BITS:
            raise InvalidGraph(f"the trees ask for {self.feature_count} features; a node has room for {1 << _FEATURE_BITS}")
        leaf = child == LEAF
        records = np.zeros(len(order), _RECORDS[dtype])
        records["split"] = np.where(leaf, 0, nodes.split[order])
        records["rule"] = np.where(leaf, 0, nodes.feature[order]) << 4 | accepted_outcomes(nodes, order) @ (1 << np.arange(4))
        records["child"] = np.where(leaf, LEAF - labels[order], child)
        self._records = xp.asarray(records.view(np.uint8))
        self._xp, self._dtype = xp, dtype

    def leaves(self, x: Array) -> Array:
        """The number of the leaf that each row of `x` [N,F] reaches in each tree: int32 [T,N]."""
        rows, width = x.shape
        found = self._xp.empty((self._trees, rows), np.int32)
        FIND.instance(T=self._dtype).launch(blocks_for(found.size), THREADS, x, self._records, found, rows, width, self._trees)
        return found


class DeviceEnsemble(Ensemble):
    """Trees whose leaves have weights, on the device."""

    def make_forest(self, nodes: Nodes, roots: np.ndarray, dtype: np.dtype, labels: np.ndarray) -> DeviceForest:
        """See `Ensemble`."""
        self._order, self._starts = self._trees_of_targets()
        return DeviceForest(self.xp, nodes, roots, dtype, labels)

    def totals(self, x: Array, function: str) -> tuple[Array, Array]:
        """See `Ensemble`."""
        xp, forest, targets = self.xp, self.forest(x.dtype), self.has.shape[1]
        check_width(x, forest.feature_count)
        rows, x = x.shape[0], dense(xp, x)
        scores = xp.empty((rows, targets), x.dtype)
        found = None if self.same_everywhere is not None else xp.empty((rows, targets), bool)
        weights, has = self.table(function, x.dtype), None if found is None else self.table("HAS", x.dtype)
        at_once = max(1, _LEAVES_AT_ONCE // max(self.tree_count, 1))
        lanes = 32 if min(rows, at_once) * targets <= _FEW else 1
        kernel = COMBINE.instance(T=x.dtype, combine=_COMBINE[function], lanes=lanes)
        for start in range(0, rows, at_once):
            part = slice(start, start + at_once)
            count = min(at_once, rows - start)
            kernel.launch(
                blocks_for(count * targets * lanes), THREADS, forest.leaves(x[part]), weights, has, self._order, self._starts, scores[part],
                None if found is None else found[part], count, self.tree_count, targets, NEUTRAL.get(function, 0.0),
            )  # fmt: skip
        whether = self.same_everywhere if found is None else found
        return (scores if function in ("SUM", "AVERAGE") else xp.where(whether, scores, xp.zeros_like(scores))), whether

    def _trees_of_targets(self) -> tuple[Array | None, Array | None]:
        """The trees in the order of the targets that they have weights for, and where those of each begin; None if all have all."""
        if self.target_of_tree is None:
            return None, None
        order = np.argsort(self.target_of_tree, kind="stable").astype(np.int32)
        starts = np.searchsorted(self.target_of_tree[order], np.arange(self.has.shape[1] + 1)).astype(np.int32)
        return self.xp.asarray(order), self.xp.asarray(starts)


def _row_count(x: Value) -> int:
    return x.shape[0] if len(x.shape) == 2 else 1


@operator("TreeEnsembleRegressor", domain=DOMAIN)
class TreeEnsembleRegressor(ml_trees.TreeEnsembleRegressor):
    """Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html"""

    ensemble_type = DeviceEnsemble

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """A score a target."""
        return (Spec((_row_count(inputs[0]), self.targets), FLOAT),)


@operator("TreeEnsemble", domain=DOMAIN, since=5)
class TreeEnsemble(ml_trees.TreeEnsemble):
    """Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html"""

    ensemble_type = DeviceEnsemble

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """A score a target, in the input's type."""
        return (Spec((_row_count(inputs[0]), self.targets), inputs[0].dtype),)


def _refusal(operation: Operation) -> str | None:
    return "gives labels that are strings" if operation.attributes.get("classlabels_strings") else None


@operator("TreeEnsembleClassifier", domain=DOMAIN, when=_refusal)
class TreeEnsembleClassifier(ml_trees.TreeEnsembleClassifier):
    """Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html"""

    ensemble_type = DeviceEnsemble

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """A label, and a score a class."""
        rows = _row_count(inputs[0])
        return Spec((rows,), np.dtype(np.int64)), Spec((rows, self.targets), FLOAT)
