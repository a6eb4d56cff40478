"""`python -m onnxgpu.providers.tensorrt.precision MODEL --precision fp16`: the numeric audit of a model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from onnxgpu.errors import OnnxGpuError
from onnxgpu.feed_files import SEED, feeds_from
from onnxgpu.providers.tensorrt.precision.audit import CPU, MOST_RUNS, audit
from onnxgpu.providers.tensorrt.precision.settings import PrecisionSettings, names_in
from onnxgpu.providers.tensorrt.precision.whole_model import rewritten


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the audit; the exit status is 0, 1 if the bound is not met or an error came, 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    try:
        return _audited(options)
    except (OnnxGpuError, OSError, ValueError) as error:
        print(f"audit: {getattr(error, 'message', error)}", file=sys.stderr)
        return 1


def _audited(options: argparse.Namespace) -> int:
    from onnxgpu.session import InferenceSession

    session = InferenceSession(options.model, providers=list(CPU))
    feeds, made_up = feeds_from(session.get_inputs(), options.input)
    if made_up:
        print(f"random values (seed {SEED}, unknown dimensions 1) for: {', '.join(made_up)}", file=sys.stderr)
    operators = frozenset(names_in(options.fp32_operators))
    settings = PrecisionSettings(options.precision == "fp16", options.precision == "bf16", float32_operators=operators)
    report = audit(rewritten(options.model), [feeds], settings, bound=options.bound, most_runs=options.runs)
    print(json.dumps(report.to_json(), indent=1) if options.json else report)
    if options.table is not None:
        report.save(options.table)
    return 0 if report.is_met else 1


def _parser() -> argparse.ArgumentParser:
    text = "Where a small type goes wrong on a model, and which nodes have to stay in float32 so that it does not."
    parser = argparse.ArgumentParser(prog="python -m onnxgpu.providers.tensorrt.precision", description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX file")
    parser.add_argument("--precision", choices=("fp16", "bf16"), default="fp16", help="the small type (default fp16)")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy", help="an input; inputs not given are random")
    parser.add_argument("--bound", type=float, metavar="E", help="largest error of an output, relative to its largest element")
    parser.add_argument("--fp32-operators", default="", metavar="A,B", help="operators that stay in float32")
    parser.add_argument("--runs", type=int, default=MOST_RUNS, metavar="N", help=f"versions to try at most (default {MOST_RUNS})")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--table", type=Path, metavar="OUT", help="write the table for the option trt_precision_table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
