"""Tree ensembles of ai.onnx.ml: random forests in both of the forms that ONNX has for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import numpy_helper

from tests.cases import Case
from tests.cases.ml_case import ModelCase

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
AGGREGATES = ("SUM", "AVERAGE", "MIN", "MAX")
FEATURES = 3
GENERATOR = np.random.default_rng(5)
X = (GENERATOR.integers(-4, 5, (40, FEATURES)) / 2).astype(np.float32)
HOLES = np.where(GENERATOR.random(X.shape) < 0.3, np.nan, X).astype(np.float32)


def tree(depth: int, modes: Sequence[str], generator: np.random.Generator) -> list[list[Any]]:
    """Nodes as [mode, feature, split, true, false] in order; a child is a number of a node."""
    if depth == 0:
        return [["LEAF", 0, 0.0, 0, 0]]
    nodes: list[list[Any]] = [[generator.choice(modes), int(generator.integers(FEATURES)), generator.integers(-4, 5) / 2, 0, 0]]
    for child in (3, 4):
        start = len(nodes)
        nodes[0][child] = start
        for node in tree(depth - 1 - int(generator.integers(min(depth, 2))), modes, generator):
            nodes.append(node if node[0] == "LEAF" else [*node[:3], node[3] + start, node[4] + start])
    return nodes


def listed(
    part: str, targets: Sequence[Sequence[int]], modes: Sequence[str], count: int = 6, missing: bool = False, low: float = -1.0
) -> dict[str, Any]:
    """Attributes of `count` trees; the leaves of tree t have weights for `targets[t % len(targets)]`."""
    generator = np.random.default_rng(count)
    columns: dict[str, list[Any]] = {f"nodes_{n}": [] for n in ("modes", "featureids", "values", "truenodeids", "falsenodeids")}
    trees: list[int] = []
    numbers: list[int] = []
    weights: list[tuple[Any, ...]] = []
    for index in range(count):
        nodes = tree(index % 5, modes, generator)
        for column, values in zip(columns.values(), zip(*nodes, strict=True), strict=True):
            column.extend(values)
        trees += [index] * len(nodes)
        numbers += range(len(nodes))
        leaves = [number for number, node in enumerate(nodes) if node[0] == "LEAF"]
        weights += [(index, leaf, k, generator.uniform(low, 1) / count) for leaf in leaves for k in targets[index % len(targets)]]
    names = ("treeids", "nodeids", "ids", "weights")
    attributes = {f"{part}_{name}": list(values) for name, values in zip(names, zip(*weights, strict=True), strict=True)}
    attributes |= {**columns, "nodes_treeids": trees, "nodes_nodeids": numbers}
    if missing:
        attributes["nodes_missing_value_tracks_true"] = generator.integers(0, 2, len(trees)).tolist()
    return attributes


def as_tensors(attributes: dict[str, Any]) -> dict[str, Any]:
    """Float attributes as float64 tensors."""
    names = [name for name in attributes if name.endswith(("_weights", "_values")) or name == "nodes_values"]
    tensors = {f"{name}_as_tensor": numpy_helper.from_array(np.array(attributes[name], np.float64), name) for name in names}
    return {name: value for name, value in attributes.items() if name not in names} | tensors


def regressor(x: np.ndarray, attributes: dict[str, Any], targets: int = 1, version: int = 3, **more: Any) -> Case:
    return ModelCase("TreeEnsembleRegressor", (x,), {**attributes, **more, "n_targets": targets}, version)


def classifier(attributes: dict[str, Any], classes: int, x: np.ndarray = X, version: int = 3, **more: Any) -> Case:
    labels = {} if "classlabels_strings" in more else {"classlabels_int64s": list(range(5, 5 + classes))}
    return ModelCase("TreeEnsembleClassifier", (x,), {**attributes, **labels, **more}, version, outputs=2)


def ensemble(x: np.ndarray, members: bool = False, targets: int = 2, **more: Any) -> Case:
    """The same kind of trees for TreeEnsemble, of depth 2; onnxruntime wants whole numbers in and against sets."""
    generator, dtype, trees = np.random.default_rng(9), x.dtype, 4
    modes = generator.integers(0, 7 if members else 6, 3 * trees).astype(np.uint8)
    sets = [[*generator.choice(np.arange(-2, 5), 1 + i % 4, replace=False), np.nan] for i in range(int((modes == 6).sum()))]
    left = [k for t in range(trees) for k in (3 * t + 1, 4 * t, 4 * t + 2)]
    right = [k for t in range(trees) for k in (3 * t + 2, 4 * t + 1, 4 * t + 3)]
    attributes = {
        "tree_roots": [3 * t for t in range(trees)],
        "nodes_modes": numpy_helper.from_array(modes, "modes"),
        "nodes_featureids": generator.integers(0, FEATURES, 3 * trees).tolist(),
        "nodes_splits": numpy_helper.from_array((generator.integers(-4, 5, 3 * trees) / 2).astype(dtype), "splits"),
        "nodes_truenodeids": left,
        "nodes_trueleafs": [0, 1, 1] * trees,
        "nodes_falsenodeids": right,
        "nodes_falseleafs": [0, 1, 1] * trees,
        "leaf_targetids": generator.integers(0, targets, 4 * trees).tolist(),
        "leaf_weights": numpy_helper.from_array(generator.uniform(0, 0.25, 4 * trees).astype(dtype), "weights"),
        "n_targets": targets,
    }
    if sets:
        attributes["membership_values"] = numpy_helper.from_array(np.concatenate(sets).astype(dtype), "members")
    return ModelCase("TreeEnsemble", (x,), {**attributes, **more}, 5)


def based(*values: float) -> list[dict[str, Any]]:
    """Attributes without base values, and with these."""
    return [{}, {"base_values": list(values)}]


def softmax_of_zeros() -> Case:
    """Where no weight but zero is, softmax gives equal shares and the logistic function would give a half each."""
    case = ensemble(X, targets=4, leaf_weights=numpy_helper.from_array(np.zeros(16, np.float32), "weights"), post_transform=1)
    return replace(case, expected=[np.full((len(X), 4), 0.25, np.float32)], note="onnxruntime takes 1 for LOGISTIC and 2 for SOFTMAX")


ONE = listed("target", [[0]], MODES[:1])
MIXED = listed("target", [[0, 1], [1]], MODES)
POSITIVE = listed("class", [[0]], MODES[:1], low=0.0)
BINARY = listed("class", [[0]], MODES[:1])
SECOND = listed("class", [[1]], MODES[:1])
BOTH = listed("class", [[0, 1]], MODES[:2])
MANY = listed("class", [[0, 1, 2]], MODES[:1], low=0.0)
BOOSTED = listed("class", [[0], [1], [2]], MODES[:1])

CASES = [
    *(regressor(X, listed("target", [[0]], [mode])) for mode in MODES),
    *(regressor(HOLES, listed("target", [[0]], [mode], missing=True)) for mode in MODES),
    regressor(HOLES, listed("target", [[0]], MODES, missing=True)),
    *(regressor(X, ONE, aggregate_function=a, **more) for a in AGGREGATES for more in based(0.75)),
    *(regressor(X, MIXED, 2, aggregate_function=a, **more) for a in AGGREGATES for more in based(0.75, -2.0)),
    *(regressor(X, MIXED, 2, post_transform=transform) for transform in TRANSFORMS[:4]),
    *(regressor(x, ONE, version=1) for x in (X[:1], X.astype(np.float64), X[:0])),
    regressor(X, listed("target", [[0]], MODES, count=200)),
    regressor(np.tile(X, (60, 1)), listed("target", [[0, 1]], MODES, count=70), 2),
    regressor(X.astype(np.float64), as_tensors(MIXED), 2),
    *(classifier(MANY, 3, post_transform=transform) for transform in TRANSFORMS[:4]),
    *(classifier(BOOSTED, 3, **more, post_transform="SOFTMAX") for more in based(0.5, 0.25, -0.5)),
    *(classifier(POSITIVE, 2, post_transform=transform) for transform in TRANSFORMS[:4]),
    *(classifier(BINARY, 2, post_transform=transform) for transform in TRANSFORMS[:4]),
    *(classifier(BINARY, 2, base_values=[0.25], post_transform=transform) for transform in TRANSFORMS[:4]),
    *(classifier(attributes, 2, classlabels_int64s=[0, 1]) for attributes in (SECOND, BOTH)),
    *(classifier(BOTH, 2, classlabels_int64s=[0, 1], **more, post_transform="SOFTMAX") for more in based(0.25)),
    classifier(MANY, 3, classlabels_strings=["low", "middle", "high"]),
    classifier(BINARY, 2, classlabels_strings=["no", "yes"], version=1),
    *(classifier(MANY, 3, x) for x in (X.astype(np.float64), X.astype(np.int64), X.astype(np.int32), X[:1])),
    classifier(as_tensors(MANY), 3, X.astype(np.float64)),
    *(ensemble(X, aggregate_function=a) for a in range(4)),
    softmax_of_zeros(),
    ensemble(X, post_transform=3),
    *(ensemble(x, members=True) for x in (np.floor(X), np.floor(HOLES), np.floor(X).astype(np.float64))),
    ensemble(np.floor(X), members=True, targets=1),
]
