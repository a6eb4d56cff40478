"""Whole models with CUDA first on the emulated device: where their nodes run, what is copied, and whether the results are the CPU's.

    python benchmarks/emulated_models.py [--models FOLDER] [--json models.json]

Without a folder, the small variants of the nine benchmark models (extra `bench`). A model passes if CUDA refuses no node of it but
those on strings, if no step copies by itself, and if the results are near enough to those of the CPU. Nodes that the partitioner
leaves on the host, which are arithmetic on shapes and conditions, do not count. The exit status is 1 if a model does not pass.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.progress import track

import onnxgpu
from benchmarks.inputs import described_inputs, make_inputs
from benchmarks.model_folder import find_models
from benchmarks.on_cuda import CUDA, PROVIDERS, whereabouts
from benchmarks.outputs import max_error
from benchmarks.placement import Findings, watch  # it asks for the emulated device
from benchmarks.report import print_table, save_json
from onnxgpu.providers.cuda.emulator import installed

TOLERANCE = 2e-4
"""Largest max|a-b|/max|b|: what two orders of summation in float32 differ by at most."""
RUNS = 4
"""The first run of a shape is recorded, the second has a plan, in the third graphs are captured."""


def examine(path: Path, sequence: int = 16) -> dict[str, Any]:
    """Run one model on both and compare."""
    session = onnxgpu.InferenceSession(path, providers=[(CUDA, {"enable_cuda_graph": 1}), "CPUExecutionProvider"])
    reference = onnxgpu.InferenceSession(path, providers=["CPUExecutionProvider"])
    described = described_inputs(session)
    feeds = [make_inputs(described, seed=seed, sequence=sequence) for seed in range(RUNS)]
    device = installed()
    assert device is not None
    errors = []
    for feed in feeds:
        device.counters(clear=True)
        errors.append(max_error(session.run(None, feed), reference.run(None, feed)))
    counted = device.counters()
    findings = Findings()
    watch(session, feeds[0], device, findings)
    return {
        "nodes": dict(Counter(a.provider.name for a in session.placement.assignments.values())),
        "refused": whereabouts(session).refused,
        "transfers": len(session.plan.transfers),
        "counted": {key: value for key, value in counted.items() if value},
        "hidden_copies": findings.hidden_copies,
        "max_error": max(errors),
    }


def passes(result: dict[str, Any]) -> bool:
    """True if the model runs on CUDA, without copies of its own, and right."""
    return not result["refused"] and not result["hidden_copies"] and result["max_error"] <= TOLERANCE


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print the table, and what keeps a model from passing."""
    rows = [
        [
            name,
            "passes" if passes(r) else "FAILS",
            *(str(r["nodes"].get(provider, 0)) for provider in PROVIDERS),
            str(r["transfers"]),
            *(str(r["counted"].get(key, 0)) for key in ("launches", "library_calls", "graph_launches", "allocations", "synchronizations")),
            f"{r['max_error']:.1e}",
        ]
        for name, r in results.items()
    ]
    heads = ["model", "", "CUDA", "CPU", "transfers", "launches", "library", "graphs", "allocations", "waits", "max error"]
    print_table("fourth run, on the emulated device", heads, rows)
    for name, result in results.items():
        for reason, count in result["refused"].items():
            print(f"{name}: {count} on the host: {reason}")
        for operator, copies in result["hidden_copies"].items():
            print(f"{name}: {operator} copies by itself: {copies}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Run whole models with CUDA first on the emulated device.")
    parser.add_argument("--models", type=Path, help="folder with .onnx files; without it the nine small models are made")
    parser.add_argument("--only", default="", help="comma-separated names of models, without .onnx")
    parser.add_argument("--sequence", type=int, default=16, help="what a dimension counts as that is not known (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the result goes")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    paths = find_models(options.models, options.only, small=True)
    results = {path.stem: examine(path, options.sequence) for path in track(paths, "models")}
    show(results)
    if options.json:
        save_json(results, options.json)
    if not all(map(passes, results.values())):
        sys.exit(1)


if __name__ == "__main__":
    main()
