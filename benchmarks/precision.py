"""How far models in float16 and bfloat16 are from themselves in float32, and how much of them is small.

    python benchmarks/precision.py --models FOLDER --json OUT

Each model is reduced as the TensorRT provider reduces a segment, checked against ONNX's rules, and run by onnxgpu's CPU provider and, in
float16, by onnxruntime. The error is the largest difference of an output, relative to its largest element.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import onnx

import onnxgpu
from benchmarks.inputs import described_inputs, make_inputs
from benchmarks.model_folder import add_model_options, find_models
from onnxgpu.providers.tensorrt.precision import PrecisionSettings, reduced
from onnxgpu.providers.tensorrt.precision.whole_model import joined, rewritten

CPU = "CPUExecutionProvider"
TYPES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Row:
    """One model in one small type; times in seconds, errors None where nothing ran."""

    model: str
    type: str
    small_nodes: int
    float32_nodes: int
    casts: int
    seconds: float
    error: float
    error_in_onnxruntime: float | None


def row(path: Path, small: str, sequence: int) -> Row:
    """Reduce, check and run a model."""
    cut = rewritten(str(path))
    start = perf_counter()
    result, report = reduced(cut, PrecisionSettings(**{small: True}))
    seconds = perf_counter() - start
    proto = joined(result)
    onnx.checker.check_model(proto, full_check=True)
    before = onnxgpu.InferenceSession(str(path), providers=[CPU])
    feeds = make_inputs(described_inputs(before), sequence=sequence)
    wanted = before.run(None, feeds)
    got = onnxgpu.InferenceSession(proto.SerializeToString(), providers=[CPU]).run(None, feeds)
    other = _in_onnxruntime(proto, feeds) if small == "float16" else None
    counts = Counter(node.computes_in for node in report.nodes)
    return Row(
        path.stem, small, counts[small], counts["float32"], report.casts, seconds, _error(wanted, got), other and _error(wanted, other)
    )  # fmt: skip


def _in_onnxruntime(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any] | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return list(onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=[CPU]).run(None, feeds))


def _error(wanted: list[Any], got: list[Any]) -> float:
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(a))) for a, b in zip(wanted, got, strict=True))


def main() -> int:
    """Print a line for each model and type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    parser.add_argument("--sequence", type=int, default=16, help="tokens of text models (default 16)")
    parser.add_argument("--json", type=Path, help="write the rows there")
    options = parser.parse_args()
    rows: list[Row] = []
    print("model              type      small  float32  casts  rewrite s    error  onnxruntime")
    for path in find_models(options.models, options.only, small=options.small):
        for small in TYPES:
            found = row(path, small, options.sequence)
            rows.append(found)
            other = "-" if found.error_in_onnxruntime is None else f"{found.error_in_onnxruntime:.1e}"
            print(
                f"{found.model:<18} {small:<9} {found.small_nodes:>5} {found.float32_nodes:>8} {found.casts:>6} {found.seconds:>10.2f}"
                f" {found.error:>8.1e} {other:>12}"
            )
    if options.json:
        options.json.write_text(json.dumps([asdict(entry) for entry in rows], indent=1), "utf-8")
    return 0 if all(np.isfinite(entry.error) for entry in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
