"""Time onnxgpu against onnxruntime on a large forest, as gradient boosting leaves behind: one row at a time, and many.

`python benchmarks/forest.py --json result.json` writes a TreeEnsembleRegressor of 10,000 trees with 255 leaves each (about
200 MB), grown leaf by leaf as LightGBM does, with splits at random, and compares run time, load time and memory with batches of 1
and 1000 rows. The result has the keys of run_models.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import onnx
from onnx import helper

from benchmarks.report import save_json
from benchmarks.run_models import add_effort_options, effort_of, names_of, run_models, show
from benchmarks.side import SideSettings, cores

THRESHOLDS = 255
"""Different splits of a feature, as many as LightGBM's bins allow."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Nodes of all trees, arrays [trees, 2 · leaves - 1]: whether one branches, on what, and its children."""

    branches: np.ndarray
    feature: np.ndarray
    split: np.ndarray
    true: np.ndarray
    false: np.ndarray


def grown(trees: int, leaves: int, features: int, generator: np.random.Generator) -> Forest:
    """Trees that grow all at once: in each step a random leaf of each becomes a branch."""
    count, rows = 2 * leaves - 1, np.arange(trees)
    branches, true, false = np.zeros((trees, count), bool), np.zeros((trees, count), np.int64), np.zeros((trees, count), np.int64)
    ends = np.zeros((trees, leaves), np.int64)
    for step in range(leaves - 1):
        place = generator.integers(0, step + 1, trees)
        node, new = ends[rows, place], 2 * step + 1
        branches[rows, node], true[rows, node], false[rows, node] = True, new, new + 1
        ends[rows, place], ends[:, step + 1] = new, new + 1
    thresholds = generator.standard_normal((features, THRESHOLDS)).astype(np.float32)
    feature = np.where(branches, generator.integers(0, features, (trees, count)), 0)
    split = np.where(branches, thresholds[feature, generator.integers(0, THRESHOLDS, (trees, count))], 0)
    return Forest(branches, feature, split.astype(np.float32), true, false)


def forest_node(forest: Forest, generator: np.random.Generator) -> onnx.NodeProto:
    """A TreeEnsembleRegressor in the form that onnxmltools writes."""
    trees, count = forest.branches.shape
    leaf_tree, leaf_node = np.nonzero(~forest.branches)
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_falsenodeids=forest.false.reshape(-1).tolist(),
        nodes_featureids=forest.feature.reshape(-1).tolist(),
        nodes_hitrates=[1.0] * (trees * count),
        nodes_missing_value_tracks_true=[0] * (trees * count),
        nodes_modes=np.where(forest.branches, "BRANCH_LEQ", "LEAF").reshape(-1).tolist(),
        nodes_nodeids=np.tile(np.arange(count), trees).tolist(),
        nodes_treeids=np.repeat(np.arange(trees), count).tolist(),
        nodes_truenodeids=forest.true.reshape(-1).tolist(),
        nodes_values=forest.split.reshape(-1).tolist(),
        target_ids=[0] * len(leaf_tree),
        target_nodeids=leaf_node.tolist(),
        target_treeids=leaf_tree.tolist(),
        target_weights=(generator.standard_normal(len(leaf_tree)) / trees).tolist(),
    )


def write_models(folder: Path, trees: int, leaves: int, features: int, batches: Sequence[int]) -> list[Path]:
    """The same forest as a model for each batch size."""
    generator = np.random.default_rng(0)
    node = forest_node(grown(trees, leaves, features, generator), generator)
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    paths = []
    for batch in batches:
        x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, features])
        y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [batch, 1])
        path = folder / f"forest_{batch}.onnx"
        onnx.save(helper.make_model(helper.make_graph([node], "forest", [x], [y]), opset_imports=imports, ir_version=10), path)
        paths.append(path)
    return paths


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Time a large forest against onnxruntime.")
    parser.add_argument("--trees", type=int, default=10_000, help="trees of the forest (default: %(default)s)")
    parser.add_argument("--leaves", type=int, default=255, help="leaves of a tree (default: %(default)s)")
    parser.add_argument("--features", type=int, default=50, help="features of a row (default: %(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 1000], help="rows of a run (default: 1 1000)")
    parser.add_argument("--providers", default="CPUExecutionProvider", help="comma-separated providers of onnxgpu (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of each side (default: all cores)")
    parser.add_argument("--module", default="onnxgpu", help="the module measured (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the result goes")
    add_effort_options(parser, rounds=7)
    parser.set_defaults(loads=1)
    options = parser.parse_args(arguments)
    ours = SideSettings(options.module, names_of(options.providers), options.threads)
    theirs = SideSettings("onnxruntime", ("CPUExecutionProvider",), options.threads)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_models(Path(folder), options.trees, options.leaves, options.features, options.batches)
        result = run_models(paths, ours, theirs, effort_of(options))
    show(result)
    if options.json:
        save_json(result, options.json)
    if result["failures"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
