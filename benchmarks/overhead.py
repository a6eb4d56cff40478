"""What a run costs beside its arithmetic: models of one node and chains of small elementwise nodes, beside onnxruntime.

`python benchmarks/overhead.py --json result.json` loads each model in both modules in one process, with one thread each (or
`--threads`), checks that they agree, and times `session.run(None, feeds)` in turns of a few milliseconds. The result holds for
every case the `ratio` of the times ours/theirs (median over the rounds) with its `spread` (quartiles), and the `microseconds` of
both sides.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import onnx
from onnx import parser

from benchmarks.ratios import paired_ratio
from benchmarks.report import conditions, print_table, save_json
from benchmarks.run_models import names_of

TURN_SECONDS = 0.004
TURNS = 3
"""Turns of each side in a round; the fastest counts, for what delays one is some other process."""
_BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min"})


@dataclass(frozen=True, slots=True)
class Case:
    """`length` nodes, one after the other: `operators` over and over; the second operand is a graph input."""

    operators: tuple[str, ...]
    length: int
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"{self.length} × {', '.join(self.operators)} of {self.shape}"


CASES = (
    *(Case((operator,), 1, (2, 3)) for operator in ("Add", "Relu", "Sigmoid")),
    *(Case(("Add", "Mul", "Sigmoid"), 100, shape) for shape in ((2, 3), (1, 16), (8,))),
    *(Case(operators, 100, (2, 3)) for operators in (("Add", "Add", "Mul"), ("Add", "Sigmoid", "Mul"), ("Relu", "Mul", "Tanh"))),
    Case(("Mul", "Sigmoid", "Sigmoid", "Add"), 100, (2, 3)),
    Case(("Sigmoid",), 100, (2, 3)),
)


@dataclass(frozen=True, slots=True)
class Node:
    """One node over the graph inputs `x` and `w`, float32 [2, 3], in ONNX's text form; `shape` is that of its output."""

    text: str
    shape: str = "2,3"
    constants: str = ""

    @property
    def name(self) -> str:
        """As the table shows it."""
        return self.text


NODES = (
    *(Node(f"{operator}(x, w)") for operator in ("Sub", "Mul", "Div", "Max", "Min", "Pow")),
    *(Node(f"{operator}(x)") for operator in ("Neg", "Abs", "Exp", "Log", "Sqrt", "Tanh", "Floor", "Erf", "Gelu", "Softmax", "Identity")),
    Node("LeakyRelu(x)"),
    Node("Clip(x, low, high)", constants="float low = {0.99}, float high = {1.01}"),
    Node("Concat<axis=0>(x, w)", "4,3"),
    Node("MatMul(x, square)", constants="float[3,3] square = {1,2,3,4,5,6,7,8,9}"),
    Node("Gemm<transB=1>(x, w)", "2,2"),
    Node("Reshape(x, shape)", "3,2", "int64[2] shape = {3,2}"),
    Node("Transpose<perm=[1,0]>(x)", "3,2"),
    Node("Unsqueeze(x, axes)", "1,2,3", "int64[1] axes = {0}"),
    Node("Gather<axis=1>(x, rows)", "2,2", "int64[2] rows = {2,0}"),
    Node("ReduceMean<keepdims=1>(x, axes)", "2,1", "int64[1] axes = {1}"),
    Node("LayerNormalization(x, scale)", constants="float[3] scale = {1,2,3}"),
)


def model(case: Case | Node) -> onnx.ModelProto:
    """The model of a case."""
    if isinstance(case, Node):
        constants = f" <{case.constants}>" if case.constants else ""
        head = f'<ir_version: 9, opset_import: ["" : 20]> node (float[2,3] x, float[2,3] w) => (float[{case.shape}] y)'
        return parser.parse_model(f"{head}{constants} {{ y = {case.text} }}")
    shape = ",".join(map(str, case.shape))
    names = ["x", *(f"v{position}" for position in range(case.length - 1)), "y"]
    nodes = []
    for position in range(case.length):
        operator = case.operators[position % len(case.operators)]
        operands = f"{names[position]}, w" if operator in _BINARY else names[position]
        nodes.append(f"{names[position + 1]} = {operator} ({operands})")
    head = f'<ir_version: 9, opset_import: ["" : 18]> chain (float[{shape}] x, float[{shape}] w) => (float[{shape}] y)'
    return parser.parse_model(f"{head} {{ {' '.join(nodes)} }}")


def measure(case: Case | Node, modules: Sequence[str], providers: Sequence[Sequence[str]], rounds: int, threads: int) -> dict[str, Any]:
    """Time one case in both modules.

    Raises:
        AssertionError: the two give different results.
    """
    source = model(case).SerializeToString()
    generator = np.random.default_rng(0)
    shape = case.shape if isinstance(case, Case) else (2, 3)
    feeds = {name: generator.uniform(0.98, 1.02, shape).astype(np.float32) for name in ("x", "w")}
    runs = [_run(module, source, chosen, feeds, threads) for module, chosen in zip(modules, providers, strict=True)]
    ours, theirs = (run()[0] for run in runs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, err_msg=case.name)
    counts = [_count(run) for run in runs]
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        best = [float("inf"), float("inf")]
        for turn in range(TURNS):
            for side in (0, 1) if (number + turn) % 2 == 0 else (1, 0):
                best[side] = min(best[side], _seconds(runs[side], counts[side]))
        for side in (0, 1):
            times[side].append(best[side])
    ratio = paired_ratio(*times)
    return {"ratio": ratio.median, "spread": list(ratio.spread), "microseconds": [statistics.median(side) * 1e6 for side in times]}


def _run(module: str, source: bytes, providers: Sequence[str], feeds: Mapping[str, np.ndarray], threads: int) -> Callable[[], Any]:
    """One run."""
    runtime = importlib.import_module(module)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return partial(runtime.InferenceSession(source, options, providers=list(providers)).run, None, feeds)


def _count(run: Callable[[], Any]) -> int:
    """How many runs make a turn."""
    for _ in range(20):
        run()
    return max(3, round(TURN_SECONDS / min(_seconds(run, 10) for _ in range(5))))


def _seconds(run: Callable[[], Any], count: int) -> float:
    """Seconds of one run, over `count` of them."""
    start = perf_counter()
    for _ in range(count):
        run()
    return (perf_counter() - start) / count


def rows(cases: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """One row a case for the table."""
    return [
        [name, f"{c['microseconds'][0]:.1f}", f"{c['microseconds'][1]:.1f}", f"{c['ratio']:.2f}", "{:.2f} – {:.2f}".format(*c["spread"])]
        for name, c in cases.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the script."""
    options = argparse.ArgumentParser(description="The cost of a run beside its arithmetic.")
    options.add_argument("--providers", default="CPUExecutionProvider", help="comma-separated providers of onnxgpu (default: %(default)s)")
    options.add_argument("--module", default="onnxgpu", help="the module measured (default: %(default)s)")
    options.add_argument("--against", default="onnxruntime", help="the module compared with (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=15, help="pairs of turns (default: %(default)s)")
    options.add_argument("--threads", type=int, default=1, help="intra_op_num_threads of both; 0: as each decides (default: %(default)s)")
    options.add_argument("--json", type=Path, help="where the result goes")
    given = options.parse_args(arguments)
    modules = (given.module, given.against)
    providers = (names_of(given.providers), ["CPUExecutionProvider"])
    every: tuple[Case | Node, ...] = (*CASES, *NODES)
    cases = {case.name: measure(case, modules, providers, given.rounds, given.threads) for case in every}
    heading = ["nodes", f"{given.module} µs", f"{given.against} µs", "time ratio", "quartiles"]
    print_table(f"overhead, {given.rounds} rounds", heading, rows(cases))
    if given.json:
        save_json({**conditions(rounds=given.rounds), "ours": given.module, "theirs": given.against, "cases": cases}, given.json)


if __name__ == "__main__":
    main()
