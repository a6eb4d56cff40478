"""Where onnx's node tests run with CUDA first, on the emulated device, and whether their results are right; which operators have CUDA.

    python benchmarks/placement.py --json placement.json
    ONNXGPU_CUDA= python benchmarks/placement.py --part 1/8         on the GPU of this machine, the first of eight parts

A case is wholly on CUDA if every node of it runs there, but for arithmetic on shapes and operators on strings, which belong
to the host. The counters of the emulated driver tell for each step on CUDA what it copied to and from the host by itself;
such steps are listed under `hidden_copies`. A GPU has no such counters.

An operator has CUDA if a node test that ran it there gave the right results, or an operator case of the tests (`tests/cases`) did: ONNX
has no node tests of onnxruntime's operators, and none of a few of its own that can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

os.environ.setdefault("ONNXGPU_CUDA", "emulated")

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner
from rich.progress import track

import onnxgpu
from benchmarks.on_cuda import CUDA, PROVIDERS, name_of, whereabouts
from onnxgpu.providers.cuda.emulator import EmulatedDevice, installed
from tests.cases import Case, all_cases
from tests.cases.oracles import expected_outputs, feeds_of, model_of
from tests.cases.tolerances import assert_same

DOMAINS = ("", "ai.onnx.ml", "com.microsoft")


@dataclass
class Findings:
    """What was found, case by case."""

    placement: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    on_host: Counter[str] = field(default_factory=Counter)
    operators: set[str] = field(default_factory=set)
    hidden_copies: dict[str, dict[str, int]] = field(default_factory=dict)
    operator_failures: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The numbers."""
        placed, right = Counter(self.placement.values()), Counter(self.results.values())
        domains = {domain: sorted(name for name in self.operators if _domain_of(name) == domain) for domain in DOMAINS}
        domains[""] = [name for name in domains[""] if onnx.defs.has(name)]  # onnxruntime has a few more in this domain
        return {
            **{name: placed[name] for name in ("wholly_on_cuda", "mixed", "cpu_only", "not_loaded")},
            "right": right["right"],
            "wrong": sum(right.values()) - right["right"],
            "operators_with_cuda": len(domains[""]),
            "operators_of_ml_with_cuda": len(domains["ai.onnx.ml"]),
            "operators_of_onnxruntime_with_cuda": len(domains["com.microsoft"]),
            "operators": domains,
            "wrong_cases": {name: text for name, text in self.results.items() if text != "right"},
            "not_loaded_cases": sorted(name for name, where in self.placement.items() if where == "not_loaded"),
            "host_reasons": dict(self.on_host.most_common()),
            "hidden_copies": self.hidden_copies,
            "operator_failures": self.operator_failures,
            "cases": self.placement,
        }


def main() -> None:
    """Run all cases and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write all findings to this file")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--part", default="1/1", help="K/N: every Nth case from the Kth on (default: %(default)s)")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    findings = found(part, parts, arguments.only)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own_cases = [case for case in all_cases() if arguments.only in case.operator]
        for own in track(own_cases[part - 1 :: parts], "operator cases"):
            examine_operator(own, findings)
    summary = findings.summary()
    for name, number in summary.items():
        if isinstance(number, int):
            print(f"{name:34} {number}")
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=1))


def found(part: int, parts: int, only: str = "", providers: Sequence[Any] = PROVIDERS) -> Findings:
    """Of every `parts`th node test from the `part`th on (from 1) whose name contains `only`."""
    findings = Findings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for case in load_model_tests(kind="node") if only in case.name]
        for case in track(cases[part - 1 :: parts], "node tests"):
            examine(case, findings, providers)
    return findings


def session_options() -> onnxgpu.SessionOptions:
    """Nodes as the model has them, each on the first provider that takes it."""
    options = onnxgpu.SessionOptions()
    options.add_session_config_entry("onnxgpu.placement", "mode=listed")
    options.graph_optimization_level = onnxgpu.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def examine(case: Any, findings: Findings, providers: Sequence[Any] = PROVIDERS) -> None:
    """Load, place and run one case."""
    model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
    try:
        session = onnxgpu.InferenceSession(model.SerializeToString(), session_options(), providers=providers)
    except Exception as error:
        findings.placement[case.name] = "not_loaded"
        findings.on_host[f"not loaded: {type(error).__name__}: {str(error)[:120]}"] += 1
        return
    findings.placement[case.name] = placement_of(session, findings)
    device = installed()
    try:
        check(session, case, model, device, findings)
        findings.results[case.name] = "right"
    except Exception as error:
        findings.results[case.name] = f"{type(error).__name__}: {str(error)[:300]}"
        if device is not None:
            device.forget_error()
    else:
        findings.operators |= {name_of(a.operation) for a in session.placement.assignments.values() if a.provider.name == CUDA}


def examine_operator(case: Case, findings: Findings) -> None:
    """Run an operator case, unless its operator is known to have CUDA; one whose node runs elsewhere, or gives no tensor, says nothing.

    The outputs are declared with their types, as models have them: not all of onnxruntime's operators tell what they give.
    """
    name = f"{case.domain}.{case.operator}" if case.domain else case.operator
    if name in findings.operators:
        return
    try:
        model, expected = model_of(case), expected_outputs(case)
        for output, value in zip(model.graph.output, expected, strict=True):
            if not isinstance(value, np.ndarray):
                return
            output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), None))
        session = onnxgpu.InferenceSession(model.SerializeToString(), session_options(), providers=PROVIDERS)
        if any(name_of(a.operation) == name and a.provider.name == CUDA for a in session.placement.assignments.values()):
            assert_same(list(session.run(None, feeds_of(case))), expected, case.rtol, case.atol)
            findings.operators.add(name)
    except Exception as error:
        findings.operator_failures[str(case)] = f"{type(error).__name__}: {str(error)[:300]}"
        device = installed()
        if device is not None:
            device.forget_error()


def placement_of(session: Any, findings: Findings) -> str:
    """`wholly_on_cuda`, `mixed` or `cpu_only`."""
    found = whereabouts(session)
    findings.on_host.update(found.refused)
    return "wholly_on_cuda" if found.wholly_on_cuda else "mixed" if found.on_cuda else "cpu_only"


def _domain_of(name: str) -> str:
    return name.rpartition(".")[0]


def check(session: Any, case: Any, model: onnx.ModelProto, device: EmulatedDevice | None, findings: Findings) -> None:
    """Run each data set twice, the second time with the recorded plan, and compare.

    Raises:
        AssertionError: a result is not the expected one.
    """
    initializers = {x.name for x in model.graph.initializer} | {x.values.name for x in model.graph.sparse_initializer}
    names = [x.name for x in model.graph.input if x.name not in initializers]
    for inputs, expected in case.data_sets or ():
        values = [numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x for x in inputs]
        feeds = {n: np.asarray(x) if isinstance(x, np.generic) else x for n, x in zip(names, values, strict=False)}
        wanted = [numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x for x in expected]
        Runner.assert_similar_outputs(wanted, session.run(None, feeds), rtol=case.rtol, atol=case.atol, model_dir=None)
        Runner.assert_similar_outputs(wanted, session.run(None, feeds), rtol=case.rtol, atol=case.atol, model_dir=None)
        if device is not None:
            watch(session, feeds, device, findings)


def watch(session: Any, feeds: dict[str, Any], device: EmulatedDevice, findings: Findings) -> None:
    """Note the copies that steps on CUDA make by themselves."""
    device.counters(clear=True)

    def after_step(step: Any, *_: Any) -> None:
        counted = device.counters(clear=True)
        copies = {key: counted[key] for key in ("copies_to_host", "copies_to_device") if counted[key]}
        if step.provider.name == CUDA and not step.is_transfer and copies:
            findings.hidden_copies[name_of(step.operation)] = copies

    session.run_observed(feeds, after_step)


if __name__ == "__main__":
    main()
