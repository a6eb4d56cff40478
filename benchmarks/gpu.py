"""Everything on a real GPU in one command: what has to be right, models beside onnxruntime-gpu, operators beside torch; one report.

    python benchmarks/gpu.py --out gpu_report

writes `report.json` and `report.md` into the folder. The parts are `tests` (`pytest -m gpu`), `suite` (onnx's node tests), `sanitizer`
(the operator cases under NVIDIA's compute-sanitizer), `models`, `operators` and `startup` (from the start of a process to the first
result, with nothing compiled before and with everything compiled). Times of models and operators are those of events on the stream
on which the work is, with inputs and outputs on the device, TF32 off and the L2 cache flushed before each run; sides have turns in each
round, and the ratio is the median over the rounds with its quartiles. Nothing is timed whose result is not right. Without a GPU it says
so and ends with status 2; with `ONNXGPU_CUDA=emulated` it checks the results on the emulated device, with small sizes, and times nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import onnx

import onnxgpu
from benchmarks.gpu_cases import OperatorCase, cases
from benchmarks.gpu_checks import run_sanitizer, run_suite, run_tests
from benchmarks.gpu_report import CHECKS, TABLES, document, merged, rows_of, shown, written
from benchmarks.gpu_sides import CUDA, Bound, has_onnxruntime, in_onnxruntime, in_torch
from benchmarks.gpu_timing import Clock, Work
from benchmarks.inputs import described_inputs, make_inputs
from benchmarks.model_folder import find_models
from benchmarks.outputs import max_error
from benchmarks.ratios import paired_ratio
from benchmarks.report import conditions, print_table
from benchmarks.startup import first_result
from onnxgpu.providers.cuda import device
from onnxgpu.providers.cuda.provider import CUDAProvider

NO_GPU = 2
TOLERANCE = {"float32": 2e-4, "float16": 2e-2}
"""Largest max|a-b|/max|b|: products of 4096 terms, summed in float32 in any order."""
RUN = dict(zip(CHECKS, (run_tests, run_suite, run_sanitizer), strict=True))
STARTED = ("mobilenet_v2", "bert_base")
"""Models of which `startup` is measured."""

Row = dict[str, Any]


def described(cp: Any) -> Row:
    """The device and the libraries."""
    runtime = cp.cuda.runtime
    properties = runtime.getDeviceProperties(cp.cuda.Device().id)
    names = {"torch": "torch", "onnxruntime": "onnxruntime", "cupy": "cupy"}
    return {
        "device": properties["name"].decode(),
        "capability": f"{properties['major']}.{properties['minor']}",
        "memory_bytes": properties["totalGlobalMem"],
        "l2_bytes": properties["l2CacheSize"],
        "multiprocessors": properties["multiProcessorCount"],
        "driver": runtime.driverGetVersion(),
        "runtime": runtime.runtimeGetVersion(),
        **{name: import_module(module).__version__ for name, module in names.items() if find_spec(module)},
    }


def feeds_of(path: Path, sequence: int) -> dict[str, np.ndarray]:
    """Inputs for the model."""
    return make_inputs(described_inputs(onnxgpu.InferenceSession(path, providers=["CPUExecutionProvider"])), sequence=sequence)


def expected_of(model: Any, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """What the CPU gives."""
    return onnxgpu.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feeds)


def compared(clock: Clock | None, sides: Mapping[str, Work], rounds: int, runs: int) -> Row:
    """Milliseconds of each side and the ratio of ours to each other one; nothing where nothing is timed."""
    if clock is None:
        return {}
    names = list(sides)
    timed = clock.in_turns(list(sides.values()), rounds, runs)
    times = {name: [median(turn) for turn in turns] for name, turns in zip(names, timed, strict=True)}
    row: Row = {f"{name}_ms": median(turns) for name, turns in times.items()}
    for other in names[1:]:
        row[f"ratio to {other}"] = asdict(paired_ratio(times[names[0]], times[other]))
    return row


def measured_model(path: Path, cp: Any, stream: Any, clock: Clock | None, options: argparse.Namespace) -> Row:
    """One model beside onnxruntime."""
    feeds = feeds_of(path, 16 if clock is None else 128)
    expected = expected_of(path, feeds)
    ours = Bound(onnxgpu, cp, path, feeds, stream, {"enable_cuda_graph": 1})
    error = max(max_error(ours.results(), expected) for _ in range(4))
    row: Row = {"max_error": error, "right": error <= tolerance_of(path)}
    if clock is None or not row["right"]:
        return row
    sides: dict[str, Work] = {"onnxgpu": ours, "onnxgpu launching": Bound(onnxgpu, cp, path, feeds, stream, {"enable_cuda_graph": 0})}
    sides |= in_onnxruntime(cp, str(path), feeds, stream, graphs=True)
    row |= compared(clock, sides, options.rounds, options.runs)
    return row | from_host(path, feeds, options)


def from_host(path: Path, feeds: Mapping[str, np.ndarray], options: argparse.Namespace) -> Row:
    """Milliseconds of `run` with NumPy's arrays, copies and all, and the ratio to onnxruntime's."""
    modules = {"onnxgpu": onnxgpu, **({"onnxruntime": import_module("onnxruntime")} if has_onnxruntime() else {})}
    exact: dict[str, dict[str, int]] = {"onnxgpu": {}, "onnxruntime": {"use_tf32": 0}}
    sessions = {name: m.InferenceSession(str(path), providers=[(CUDA, exact[name]), "CPUExecutionProvider"]) for name, m in modules.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for session in sessions.values():
        for _ in range(5):
            session.run(None, feeds)
    for turn in range(options.rounds):
        for name in sorted(sessions, reverse=bool(turn % 2)):
            begin = perf_counter()
            for _ in range(options.runs):
                sessions[name].run(None, feeds)
            times[name].append((perf_counter() - begin) / options.runs * 1e3)
    row: Row = {f"{name}_run_ms": median(turns) for name, turns in times.items()}
    if "onnxruntime" in times:
        row["run ratio to onnxruntime"] = asdict(paired_ratio(times["onnxgpu"], times["onnxruntime"]))
    return row


def measured_operator(case: OperatorCase, cp: Any, stream: Any, clock: Clock | None, options: argparse.Namespace) -> Row:
    """One operator beside torch."""
    feeds, model = case.feeds(), case.model()
    expected = expected_of(model, feeds)
    ours = Bound(onnxgpu, cp, model, feeds, stream, outputs=expected)
    error = max(max_error(ours.results(), expected) for _ in range(4))
    traffic = sum(array.nbytes for array in (*feeds.values(), *expected))
    row: Row = {"dtype": case.dtype, "max_error": error, "right": error <= TOLERANCE[case.dtype]}
    if clock is None or not row["right"]:
        return row
    sides: dict[str, Work] = {"onnxgpu": ours}
    if find_spec("torch"):
        sides["torch"] = in_torch(case, cp, feeds, stream)
    if case.has_own_kernels:
        own = Bound(onnxgpu, cp, model, feeds, stream, {"enable_cublas": 0, "enable_cudnn": 0}, expected)
        row["own error"] = max_error(own.results(), expected)
        row["right"] = row["own error"] <= TOLERANCE[case.dtype]
        sides["own kernels"] = own
    if case.in_onnxruntime:
        sides |= in_onnxruntime(cp, model, feeds, stream, outputs=expected)
    row |= compared(clock, sides, options.rounds, options.runs)
    row["GB/s"] = traffic / row["onnxgpu_ms"] / 1e6
    if case.flops:
        row["TFLOP/s"] = case.flops / row["onnxgpu_ms"] / 1e9
    return row


def tolerance_of(path: Path) -> float:
    """What the weights' type allows."""
    weights = onnx.load(path, load_external_data=False).graph.initializer
    return TOLERANCE["float16" if any(weight.data_type == onnx.TensorProto.FLOAT16 for weight in weights) else "float32"]


def measured_startup(path: Path) -> Row:
    """Seconds from the start of a process to its first result."""
    providers = (CUDA, "CPUExecutionProvider")
    row: Row = {"right": True}
    with tempfile.TemporaryDirectory() as folder:
        feeds = Path(folder, "feeds.npz")
        np.savez(feeds, allow_pickle=False, **feeds_of(path, 128))
        caches = {"CUPY_CACHE_DIR": str(Path(folder, "cupy")), "ONNXGPU_CACHE": str(Path(folder, "onnxgpu"))}
        before = {name: os.environ.get(name) for name in caches}
        os.environ.update(caches)
        try:
            row["onnxgpu, nothing compiled_s"] = first_result("onnxgpu", providers, path, feeds)[0]
            row["onnxgpu_s"] = median(first_result("onnxgpu", providers, path, feeds)[0] for _ in range(3))
            if has_onnxruntime():
                row["onnxruntime_s"] = median(first_result("onnxruntime", providers, path, feeds)[0] for _ in range(3))
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
    return row


def attempted(name: str, measure: Callable[..., Row], *arguments: Any) -> Row:
    """The row, or the error in it, so that the others go on; shown when it is there."""
    try:
        row = measure(*arguments)
    except Exception as error:
        row = {"right": False, "error": f"{type(error).__name__}: {str(error)[:300]}"}
    print(f"{name}: {', '.join(f'{key} {shown(value)}' for key, value in row.items())}", flush=True)
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the script."""
    parser = argparse.ArgumentParser(description="Test and time everything on a GPU, and write one report.")
    parser.add_argument("--out", type=Path, default=Path("gpu_report"), help="folder of the report (default: %(default)s)")
    parser.add_argument("--models", type=Path, help="folder with .onnx files; without it the nine models are made (extra `bench`)")
    parser.add_argument("--parts", default=",".join((*CHECKS, *TABLES)), help="which (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="runs in a turn (default: %(default)s)")
    parser.add_argument("--document", type=Path, nargs="+", metavar="REPORT", help="only write these report.json into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.document:
        document(merged(options.document))
        return 0
    reason = CUDAProvider.unavailable()
    if reason is not None:
        print(f"no GPU to run on: {reason}. Nothing was measured; ONNXGPU_CUDA=emulated checks the results without a GPU")
        return NO_GPU
    parts, is_emulated, cp = options.parts.split(","), device.is_emulated(), device.cupy()
    paths = find_models(options.models, small=is_emulated) if {"models", "startup"} & set(parts) else []
    stream = cp.cuda.Stream(non_blocking=True)
    clock = None if is_emulated else Clock(cp, stream)
    result: dict[str, Any] = {**conditions(), "device": described(cp), **{part: {} for part in (*CHECKS, *TABLES)}}
    if is_emulated:
        print("the emulated device: results are checked, nothing is timed")
        result["device"]["device"] = "emulated: nothing was timed"
    named = {f"{case.name} {case.dtype}": case for case in cases(small=is_emulated)}
    measured: dict[str, Callable[[], Row]] = {
        **RUN,
        "models": lambda: {path.stem: attempted(path.stem, measured_model, path, cp, stream, clock, options) for path in paths},
        "operators": lambda: {name: attempted(name, measured_operator, case, cp, stream, clock, options) for name, case in named.items()},
        "startup": lambda: {path.stem: attempted(path.stem, measured_startup, path) for path in paths if clock and path.stem in STARTED},
    }
    for part, measure in measured.items():
        if part in parts:
            result[part] = measure()
            written(result, options.out)  # after each part: a library that ends the process takes only its own part with it
            if part in CHECKS:
                print(f"{part}: {result[part]['summary']}", flush=True)
    for part in TABLES:
        if result[part]:
            print_table(part, *rows_of(result[part]))
    print(f"written: {options.out / 'report.md'}")
    rows = [row for part in TABLES for row in result[part].values()]
    return int(not all(row["right"] for row in rows) or not all(result[check].get("passed", True) for check in CHECKS))


if __name__ == "__main__":
    sys.exit(main())
