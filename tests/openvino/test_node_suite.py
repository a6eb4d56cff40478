"""onnx's own cases with OpenVINO first: whatever it claims is right, in the first run and in the recorded one."""

from __future__ import annotations

import pytest

from onnxgpu.session import InferenceSession
from tests.onnx_suite import SuiteCase, suite_cases

pytest.importorskip("openvino")

PROVIDERS = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
STRIDE = 10
"""Of every ten cases by name one is in the normal run."""


def check(case: SuiteCase) -> int:
    """Run a case twice; gives the number of its nodes that OpenVINO has."""
    session = InferenceSession(case.model.SerializeToString(), providers=PROVIDERS)
    for feeds, expected in case.feeds():
        case.check(expected, session.run(None, feeds))
        case.check(expected, session.run(None, feeds))
    return sum(len(assignment.members) for assignment in session.placement)


def test_a_tenth_of_the_cases() -> None:
    assert sum(check(case) > 0 for case in suite_cases()[::STRIDE]) > 50


@pytest.mark.slow
@pytest.mark.parametrize("first", range(STRIDE))
def test_all_cases(first: int) -> None:
    for case in suite_cases()[first::STRIDE]:
        try:
            check(case)
        except Exception as error:
            raise AssertionError(f"{case.name}: {error}") from error
