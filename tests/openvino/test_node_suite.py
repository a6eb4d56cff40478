"""onnx's own cases with OpenVINO first: whatever it claims is right, in the first run and in the recorded one."""

from __future__ import annotations

import pytest

from onnxgpu.testing import check, suite_cases

pytest.importorskip("openvino")

PROVIDERS = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
STRIDE = 10
"""Of every ten cases by name one is in the normal run."""


def test_a_tenth_of_the_cases() -> None:
    assert sum(check(case, PROVIDERS) > 0 for case in suite_cases()[::STRIDE]) > 50


@pytest.mark.slow
@pytest.mark.parametrize("first", range(STRIDE))
def test_all_cases(first: int) -> None:
    for case in suite_cases()[first::STRIDE]:
        try:
            check(case, PROVIDERS)
        except Exception as error:
            raise AssertionError(f"{case.name}: {error}") from error
