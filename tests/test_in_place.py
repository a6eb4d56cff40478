"""Kernels keep the promise of `may_reuse`: the result is the same when the output is an input's own memory."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from onnxgpu.provider import Claim
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases import Case, all_cases
from tests.test_operator_cases import operation_of


def _by_operator() -> dict[str, list[Case]]:
    families: dict[str, list[Case]] = defaultdict(list)
    for case in all_cases():
        families[f"{case.domain}.{case.operator}".lstrip(".")].append(case)
    return families


FAMILIES = _by_operator()


def _copies(case: Case) -> list[Any]:
    return [None if x is None else np.ascontiguousarray(x).reshape(x.shape).copy() for x in case.inputs]


@pytest.mark.parametrize("operator", FAMILIES)
def test_output_in_the_memory_of_an_input(operator: str) -> None:
    for case in FAMILIES[operator]:
        claim = CPUProvider().claim(operation_of(case))
        assert isinstance(claim, Claim), claim.reason
        kernel = claim.build()
        inputs = _copies(case)
        with np.errstate(all="ignore"):
            specs = kernel.outputs(inputs)
            if specs is None or not any(spec.may_reuse for spec in specs) or not claim.deterministic:
                continue
            workspace = np.empty(kernel.workspace(inputs), np.uint8)
            expected = kernel.launch(inputs, [np.empty(spec.shape, spec.dtype) for spec in specs], workspace)
            for position, spec in enumerate(specs):
                for reused in spec.may_reuse:
                    inputs = _copies(case)
                    assert inputs[reused].shape == spec.shape, f"{case}: input {reused} has not the output's shape"
                    assert inputs[reused].dtype == spec.dtype, f"{case}: input {reused} has not the output's dtype"
                    outputs = [np.empty(s.shape, s.dtype) for s in specs]
                    outputs[position] = inputs[reused]
                    results = kernel.launch(inputs, outputs, workspace)
                    for result, right in zip(results, expected, strict=True):
                        assert result.tobytes() == right.tobytes(), f"{case}: wrong when written over input {reused}"
