"""Models and onnx's node tests with TensorRT first, on its stand-in and the emulated device: what runs there, and whether it is right.

    python benchmarks/tensorrt.py --json tensorrt.json [--models FOLDER] [--part 1/8]

Without a folder, the small variants of the nine benchmark models (extra `bench`). For each version of TensorRT that has a stand-in, in a
process of its own, every model and every case is partitioned, built into a cache, loaded from there by a second session, and run by
both. A result is right if it is near enough to the CPU provider's (models), or what the case expects. What TensorRT takes
only as constants (axes, sizes, scales) the node tests give as inputs; those that it refuses are tried a second time with these inputs as
initializers. Operators that no node test has there run in the tests' own cases. The stand-in knows what TensorRT takes from its
published table; a GPU may refuse more. The exit status is 1 if a result is wrong, a cache is not used, or an order of calls is not
TensorRT's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import onnx
import onnx.numpy_helper
from rich.progress import track

import onnxgpu
from benchmarks.inputs import described_inputs, make_inputs
from benchmarks.model_folder import find_models
from benchmarks.outputs import max_error
from benchmarks.report import print_table, save_json
from onnxgpu.execute.signatures import deciding_inputs
from onnxgpu.testing import SuiteCase, suite_cases
from tests.cases import all_cases
from tests.cases.oracles import expected_outputs, model_of
from tests.cases.tolerances import assert_same

VERSIONS = ("10.13", "11.4")
TENSORRT, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
TOLERANCE = 2e-4
"""Largest max|a-b|/max|b|: what two orders of summation in float32 differ by at most."""
RUNS = 3
"""The first run of a shape is recorded, the second has a plan, the third reuses its memory."""


def session(model: Any, folder: str) -> onnxgpu.InferenceSession:
    """With TensorRT first, and engines for shapes that nobody told built when they come, so that all of it runs there."""
    options = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder, "trt_build_on_request": "1"}
    return onnxgpu.InferenceSession(model, providers=[(TENSORRT, options), CUDA, "CPUExecutionProvider"])


def providers_of(made: onnxgpu.InferenceSession) -> Counter[str]:
    """How many nodes of the model each provider has."""
    return Counter(assignment.provider.name for assignment in made.placement.nodes())


def counted(member: str) -> int:
    """How often a member of the stand-in was called since the last `clear`."""
    from onnxgpu.providers.tensorrt import stand_in

    return sum(call.member == member for call in stand_in.recorded())


def twice(model: Any, run: Any) -> tuple[onnxgpu.InferenceSession, dict[str, Any]]:
    """Build, run, load from the cache, run again.

    Args:
        model: a path or bytes.
        run: called with each session; not at all where no node is TensorRT's, since others tell of the other providers.
    """
    from onnxgpu.providers.tensorrt import stand_in

    with tempfile.TemporaryDirectory() as folder:
        stand_in.clear()
        made = session(model, folder)
        if not providers_of(made)[TENSORRT]:
            return made, {"builds": 0, "rebuilt": 0, "violations": [], "results": []}
        results = [run(made)]
        builds = counted("build_serialized_network")
        stand_in.clear()
        results.append(run(session(model, folder)))
        broken = [str(each) for each in stand_in.violations()]
        stand_in.forget_violations()
    return made, {"builds": builds, "rebuilt": counted("build_serialized_network"), "violations": broken, "results": results}


def examine_model(path: Path, sequence: int) -> dict[str, Any]:
    """One model against the CPU provider."""
    reference = onnxgpu.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = [make_inputs(described_inputs(reference), seed=seed, sequence=sequence) for seed in range(RUNS)]
    expected = [reference.run(None, feed) for feed in feeds]

    def run(made: onnxgpu.InferenceSession) -> float:
        return max(max_error(made.run(None, feed), wanted) for feed, wanted in zip(feeds, expected, strict=True))

    try:
        made, found = twice(path, run)
    except onnxgpu.OnnxGpuError as error:
        return {"problem": error.message[:300], "nodes": {}, "segments": 0, "builds": 0, "transfers": 0, "max_error": 0.0}
    segments = sum(step.operation.operator == "Segment" for step in made.plan.steps)
    errors = found.pop("results")
    placed = {"nodes": dict(providers_of(made)), "segments": segments, "transfers": len(made.plan.transfers)}
    return found | placed | {"max_error": max(errors, default=0.0)}


def examine_case(case: SuiteCase) -> dict[str, Any]:
    """One node test, as it is and, if it is not wholly TensorRT's, with its deciding inputs as initializers."""
    found = examine_node_test(case, case.model, frozenset())
    if kind_of(found["nodes"]) == "wholly" or not (constants := deciding(case)):
        return found
    return found | {"with_constants": examine_node_test(case, with_constants(case, constants), frozenset(constants))}


class OwnCase(SuiteCase):
    """A case of the tests, which know how near results have to be for each type."""

    def check(self, expected: Sequence[Any], actual: Sequence[Any]) -> None:
        """See `SuiteCase`."""
        assert_same(list(actual), list(expected), self.rtol, self.atol)


def operator_cases(wanted: Collection[str]) -> Iterator[SuiteCase]:
    """The tests' own cases of these operators of ONNX."""
    for case in all_cases():
        if case.domain or case.operator not in wanted:
            continue
        try:
            model, expected = model_of(case), expected_outputs(case)
        except AssertionError:
            continue  # no oracle runs it with the versions that are installed
        inputs = [value for value in case.inputs if value is not None]
        yield OwnCase(str(case), model, [(inputs, expected)], case.rtol, case.atol)


def deciding(case: SuiteCase) -> dict[str, np.ndarray]:
    """The inputs whose values decide shapes, with the values of the case's first data; none if it has other data too."""
    (feeds, _), *others = case.feeds()
    try:
        made = onnxgpu.InferenceSession(case.model.SerializeToString(), providers=["CPUExecutionProvider"])
    except onnxgpu.OnnxGpuError:
        return {}
    names = [made.plan.slots[made.plan.inputs[position]].name for position in deciding_inputs(made.plan)]
    return {} if others else {name: feeds[name] for name in names if isinstance(feeds.get(name), np.ndarray)}


def with_constants(case: SuiteCase, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The case's model with initializers in the place of some inputs."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    kept = [value for value in model.graph.input if value.name not in values]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in values.items())
    return model


def examine_node_test(case: SuiteCase, model: onnx.ModelProto, constants: Collection[str]) -> dict[str, Any]:
    """One form of a case.

    Args:
        case: tells inputs and what is expected.
        model: of the case.
        constants: inputs of the case that the model does not have.
    """

    def run(made: onnxgpu.InferenceSession) -> str:
        for feeds, expected in case.feeds():
            feeds = {name: value for name, value in feeds.items() if name not in constants}
            for _ in range(RUNS):
                try:
                    case.check(expected, made.run(None, feeds))
                except (AssertionError, onnxgpu.OnnxGpuError) as error:
                    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"
        return ""

    try:
        made, found = twice(model.SerializeToString(), run)
    except onnxgpu.OnnxGpuError as error:
        return {"problem": f"{type(error).__name__}: {error.message[:300]}", "nodes": {}, "operators": []}
    operators = {a.operation.operator for a in made.placement.nodes() if a.provider.name == TENSORRT and not a.operation.domain}
    reasons = {dict(a.refusals).get(TENSORRT, "") for a in made.placement.nodes()} - {""}
    problem = next(filter(None, found.pop("results")), "")
    return found | {"problem": problem, "nodes": dict(providers_of(made)), "operators": sorted(operators), "reasons": sorted(reasons)}


def kind_of(nodes: dict[str, int]) -> str:
    """Where a case ran."""
    on_tensorrt = nodes.get(TENSORRT, 0)
    return "elsewhere" if not on_tensorrt else "wholly" if on_tensorrt == sum(nodes.values()) else "mixed"


def examine(folder: Path | None, part: str, wanted: str, sequence: int) -> dict[str, Any]:
    """Everything, in this process."""
    from onnxgpu.providers.tensorrt.stand_in.operators import operators

    number, parts = map(int, part.split("/"))
    console_off = not sys.stderr.isatty()
    models, cases = (
        find_models(folder, small=True)[number - 1 :: parts],
        [case for case in suite_cases() if wanted in case.name][number - 1 :: parts],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found_models = {path.stem: examine_model(path, sequence) for path in track(models, "models", disable=console_off)}
        found_cases = {case.name: examine_case(case) for case in track(cases, "node tests", disable=console_off)}
        missing = operators() - operators_of(found_cases)
        own = list(operator_cases(missing))[number - 1 :: parts]
        found_own = {case.name: examine_case(case) for case in track(own, "operator cases", disable=console_off)}
    return {"models": found_models, "cases": found_cases, "operator_cases": found_own}


def operators_of(cases: Mapping[str, dict[str, Any]]) -> set[str]:
    """The operators that ran on TensorRT in cases with the right results."""
    forms = [form for case in cases.values() for form in (case, case.get("with_constants")) if form]
    return {operator for form in forms if not form["problem"] for operator in form["operators"]}


def faults(result: dict[str, Any]) -> list[str]:
    """What must not be."""
    cases = result["cases"] | result["operator_cases"]
    again = [(f"{name} with constants", case["with_constants"]) for name, case in cases.items() if "with_constants" in case]
    every = [*result["models"].items(), *cases.items(), *again]
    return (
        [f"{name}: {one['problem']}" for name, one in every if one.get("problem")]
        + [f"{name}: max_error {model['max_error']:.1e}" for name, model in result["models"].items() if not model["max_error"] <= TOLERANCE]
        + [f"{name}: built again with a cache" for name, one in every if one.get("rebuilt")]
        + [f"{name}: {text}" for name, one in every for text in one.get("violations", ())]
    )


def summary(result: dict[str, Any]) -> dict[str, int]:
    """Counts of the node tests."""
    cases = result["cases"].values()
    where = Counter(kind_of(case["nodes"]) for case in cases)
    right = Counter(kind_of(case["nodes"]) for case in cases if not case["problem"])
    again = [case["with_constants"] for case in cases if "with_constants" in case]
    return {
        "node tests": len(cases),
        **{f"{kind} on TensorRT": where[kind] for kind in ("wholly", "mixed")},
        **{f"{kind}, right": right[kind] for kind in ("wholly", "mixed")},
        "tried with constants": len(again),
        "wholly with constants, right": sum(kind_of(case["nodes"]) == "wholly" and not case["problem"] for case in again),
        "operators": len(operators_of(result["cases"] | result["operator_cases"])),
    }


def show(version: str, result: dict[str, Any]) -> None:
    """Print the tables of one version, and its faults."""
    heads = ["model", "TensorRT", "CUDA", "CPU", "segments", "builds", "transfers", "max error"]
    rows = [
        [
            name,
            *(str(model["nodes"].get(provider, 0)) for provider in (TENSORRT, CUDA, "CPUExecutionProvider")),
            *(str(model[key]) for key in ("segments", "builds", "transfers")),
            f"{model['max_error']:.1e}",
        ]
        for name, model in result["models"].items()
    ]
    print_table(f"models, TensorRT {version} (stand-in)", heads, rows)
    counts = [[name, str(count)] for name, count in summary(result).items()]
    print_table(f"onnx's node tests, TensorRT {version} (stand-in)", ["", "count"], counts)
    for fault in faults(result):
        print(f"{version}: {fault}")


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder with .onnx files; without it the nine small models are made")
    parser.add_argument("--json", type=Path, help="where the result goes")
    parser.add_argument("--part", default="1/1", help="which part of the models and cases, 2/8 for one")
    parser.add_argument("--cases", default="", help="node tests whose name holds this")
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS))
    parser.add_argument("--sequence", type=int, default=16)
    parser.add_argument("--worker", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        arguments.worker.write_text(json.dumps(examine(arguments.models, arguments.part, arguments.cases, arguments.sequence)))
        return 0
    command = [sys.executable, __file__, "--part", arguments.part, "--cases", arguments.cases, "--sequence", str(arguments.sequence)]
    command += ["--models", str(arguments.models)] if arguments.models else []
    results = {}
    for version in arguments.versions:
        environment = os.environ | {"ONNXGPU_CUDA": "emulated", "ONNXGPU_TENSORRT": version}
        with tempfile.TemporaryDirectory() as folder:
            found = Path(folder, "found.json")
            subprocess.run([*command, "--worker", str(found)], env=environment, check=True)
            results[version] = json.loads(found.read_text())
        show(version, results[version])
    if arguments.json:
        save_json({version: result | {"summary": summary(result)} for version, result in results.items()}, arguments.json)
    return 1 if any(map(faults, results.values())) else 0


if __name__ == "__main__":
    sys.exit(main())
