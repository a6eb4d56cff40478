"""ONNX's own cases of the provider's operators, run through it."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_provider import REGISTRY, TinyProvider

import onnxgpu
from onnxgpu.testing import SuiteCase, check, suite_cases

NAME = TinyProvider.name
OPERATORS = {entry.operator for entry in REGISTRY.entries()}
CASES = [case for case in suite_cases() if case.operators <= OPERATORS]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: SuiteCase) -> None:
    check(case, [NAME])


def test_every_operator_has_a_case_that_the_provider_runs() -> None:
    seen = {operator for case in CASES for operator in case.operators if check(case, [NAME])}
    assert seen == OPERATORS


def test_the_package_is_found_by_its_entry_point() -> None:
    assert NAME in onnxgpu.get_available_providers()
    digits = np.zeros((1, 1, 8, 8), np.float32)
    from importlib.resources import files

    model = str(files("onnxgpu.demo") / "digits.onnx")
    mixed = onnxgpu.InferenceSession(model, providers=[NAME, "CPUExecutionProvider"])
    alone = onnxgpu.InferenceSession(model, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(mixed.run(None, {"images": digits})[0], alone.run(None, {"images": digits})[0], rtol=1e-5)
    assert NAME in {assignment.provider.name for assignment in mixed.placement.nodes()}
