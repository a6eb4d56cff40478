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
from benchmarks.report import conditions, conditions_sentence, markdown_table, print_table, replace_measured, save_json
from benchmarks.run_models import DOCUMENT, names_of

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
    """One node in ONNX's text form.

    Attributes:
        text: the operator with its attributes and operands.
        results: type and name of each output.
        constants: initializers.
        inputs: type and name of each graph input.
    """

    text: str
    results: str = "float[2,3] y"
    constants: str = ""
    inputs: str = "float[2,3] x, float[2,3] w"

    @property
    def name(self) -> str:
        """As the table shows it."""
        return self.text


_UNARY = (
    *("Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", 'Gelu<approximate="tanh">', "HardSigmoid", "HardSwish", "Identity"),
    *("LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Round", "Selu", "Sign", "Sin", "Softmax", "Softplus", "Softsign"),
    *("Sqrt", "Tanh", "ThresholdedRelu"),
)
_IMAGE, _FILTER = "float[1,2,5,5] x", "float[3,2,3,3] w"
NODES = (
    *(Node(f"{operator}(x, w)") for operator in ("Sub", "Mul", "Div", "Max", "Min", "Pow", "Mod<fmod=1>", "PRelu", "Sum", "Mean")),
    *(Node(f"{operator}(x)") for operator in _UNARY),
    *(Node(f"{operator}(x, w)", "bool[2,3] y") for operator in ("Equal", "Greater", "LessOrEqual")),
    Node("And(a, b)", "bool[2,3] y", inputs="bool[2,3] a, bool[2,3] b"),
    Node("Not(a)", "bool[2,3] y", inputs="bool[2,3] a"),
    Node("IsNaN(x)", "bool[2,3] y"),
    Node("Where(a, x, w)", inputs="bool[2,3] a, float[2,3] x, float[2,3] w"),
    Node("Clip(x, low, high)", constants="float low = {0.99}, float high = {1.01}"),
    Node("Cast<to=7>(x)", "int64[2,3] y"),
    Node("Cast<to=1>(i)", inputs="int64[2,3] i"),
    Node("Add(i, j)", "int64[2,3] y", inputs="int64[2,3] i, int64[2,3] j"),
    Node("Concat<axis=0>(x, w)", "float[4,3] y"),
    Node("Split<axis=0, num_outputs=2>(x)", "float[1,3] y, float[1,3] z"),
    Node("Slice(x, starts, ends, axes)", "float[2,2] y", "int64[1] starts = {1}, int64[1] ends = {3}, int64[1] axes = {1}"),
    Node("Pad(x, pads)", "float[2,5] y", "int64[4] pads = {0,1,0,1}"),
    Node("Tile(x, repeats)", "float[2,6] y", "int64[2] repeats = {1,2}"),
    Node("Expand(x, shape)", "float[4,2,3] y", "int64[3] shape = {4,2,3}"),
    Node("Reshape(x, shape)", "float[3,2] y", "int64[2] shape = {3,2}"),
    Node("Flatten(x)"),
    Node("Transpose<perm=[1,0]>(x)", "float[3,2] y"),
    Node("Squeeze(x, axes)", constants="int64[1] axes = {0}", inputs="float[1,2,3] x"),
    Node("Unsqueeze(x, axes)", "float[1,2,3] y", "int64[1] axes = {0}"),
    Node("Shape(x)", "int64[2] y"),
    Node("Gather<axis=1>(x, rows)", "float[2,2] y", "int64[2] rows = {2,0}"),
    Node("Gather<axis=0>(x, i)", "float[1,3] y", inputs="float[2,3] x, int64[1] i"),
    Node("Gather<axis=0>(x, j)", "float[4,3] y", inputs="float[2,3] x, int64[4] j"),
    Node("GatherElements<axis=1>(x, rows)", "float[2,1] y", "int64[2,1] rows = {2,0}"),
    Node("ScatterND(x, rows, updates)", constants="int64[1,1] rows = {1}, float[1,3] updates = {1,2,3}"),
    Node("MatMul(x, square)", constants="float[3,3] square = {1,2,3,4,5,6,7,8,9}"),
    Node("Gemm<transB=1>(x, w)", "float[2,2] y"),
    *(
        Node(f"{operator}(x, axes)", "float[2,1] y", "int64[1] axes = {1}")
        for operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
    ),
    *(Node(f"{operator}(x, axes)", "float[2,1] y", "int64[1] axes = {1}") for operator in ("ReduceProd", "ReduceL1", "ReduceL2")),
    Node("ArgMax<axis=1>(x)", "int64[2,1] y"),
    Node("TopK(x, k)", "float[2,2] y, int64[2,2] positions", "int64[1] k = {2}"),
    Node("CumSum(x, axis)", constants="int64 axis = {1}"),
    Node("LayerNormalization(x, scale)", constants="float[3] scale = {1,2,3}"),
    Node("BatchNormalization(x, s, b, m, v)", constants=", ".join(f"float[3] {name} = {{1,2,3}}" for name in "sbmv")),
    Node("InstanceNormalization(x, s, s)", "float[1,2,5,5] y", "float[2] s = {1,2}", _IMAGE),
    Node("Conv(x, w)", "float[1,3,3,3] y", inputs=f"{_IMAGE}, {_FILTER}"),
    Node("MaxPool<kernel_shape=[2,2]>(x)", "float[1,2,4,4] y", inputs=_IMAGE),
    Node("AveragePool<kernel_shape=[2,2]>(x)", "float[1,2,4,4] y", inputs=_IMAGE),
    Node("GlobalAveragePool(x)", "float[1,2,1,1] y", inputs=_IMAGE),
    Node('Resize<mode="nearest">(x, , scales)', "float[4,6] y", "float[2] scales = {2,2}"),
    Node('Einsum<equation="ij,kj->ik">(x, w)', "float[2,2] y"),
    Node("QuantizeLinear(x, step, zero)", "uint8[2,3] y", "float step = {0.01}, uint8 zero = {3}"),
    Node("DequantizeLinear(q, step, zero)", "float[2,3] y", "float step = {0.01}, uint8 zero = {3}", "uint8[2,3] q"),
    Node("GRU<hidden_size=2>(x, w, r)", "float[2,1,1,2] y", inputs="float[2,1,3] x, float[1,6,3] w, float[1,6,2] r"),
    Node("LSTM<hidden_size=2>(x, w, r)", "float[2,1,1,2] y", inputs="float[2,1,3] x, float[1,8,3] w, float[1,8,2] r"),
)


def model(case: Case | Node) -> onnx.ModelProto:
    """The model of a case."""
    if isinstance(case, Node):
        constants = f" <{case.constants}>" if case.constants else ""
        head = f'<ir_version: 9, opset_import: ["" : 20]> node ({case.inputs}) => ({case.results})'
        results = ", ".join(result.split()[-1] for result in case.results.split(", "))
        return parser.parse_model(f"{head}{constants} {{ {results} = {case.text} }}")
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
    made = model(case)
    source, feeds = made.SerializeToString(), _feeds(made)
    runs = [_run(module, source, chosen, feeds, threads) for module, chosen in zip(modules, providers, strict=True)]
    for ours, theirs in zip(*(run() for run in runs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6, err_msg=case.name)
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


def _feeds(made: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Numbers near 1 for floats, 0 and 1 for the others."""
    generator = np.random.default_rng(0)
    feeds = {}
    for value in made.graph.input:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = [size.dim_value for size in value.type.tensor_type.shape.dim]
        numbers = generator.uniform(0.98, 1.02, shape) if dtype.kind == "f" else generator.integers(0, 2, shape)
        feeds[value.name] = numbers.astype(dtype)
    return feeds


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
    options.add_argument("--only", default="", help="the models whose name has this in it (default: all)")
    options.add_argument("--rounds", type=int, default=15, help="pairs of turns (default: %(default)s)")
    options.add_argument("--threads", type=int, default=1, help="intra_op_num_threads of both; 0: as each decides (default: %(default)s)")
    options.add_argument("--json", type=Path, help="where the result goes")
    options.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    given = options.parse_args(arguments)
    modules = (given.module, given.against)
    providers = (names_of(given.providers), ["CPUExecutionProvider"])
    every: tuple[Case | Node, ...] = (*CASES, *NODES)
    every = tuple(case for case in every if given.only in case.name)
    cases = {case.name: measure(case, modules, providers, given.rounds, given.threads) for case in every}
    heading = ["nodes", f"{given.module} µs", f"{given.against} µs", "time ratio", "quartiles"]
    print_table(f"overhead, {given.rounds} rounds", heading, rows(cases))
    result = {**conditions(rounds=given.rounds), "providers": providers[0], "ours": given.module, "theirs": given.against, "cases": cases}
    if given.json:
        save_json(result, given.json)
    if given.write_docs:
        as_code = [[f"`{name}`", *numbers] for name, *numbers in rows(cases)]
        replace_measured(DOCUMENT, "overhead.py", "\n\n".join([conditions_sentence(result), markdown_table(heading, as_code)]))


if __name__ == "__main__":
    main()
