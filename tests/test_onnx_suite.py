"""onnx's backend cases through whole sessions: on the CPU, and split at random between the CPU and the pretend device."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import onnxgpu
from onnxgpu.session import InferenceSession
from onnxgpu.testing import SuiteCase, suite_cases

LISTED = "mode=listed"
RUNS = 3
"""The first run records, the second is fixed, the third reuses its memory."""

FAILING: dict[str, str] = {}
"""Known failures and why; a case that begins to pass must be taken out."""


def run(case: SuiteCase, providers: Sequence[Any]) -> None:
    options = onnxgpu.SessionOptions()
    options.add_session_config_entry("onnxgpu.placement", LISTED)
    session = InferenceSession(case.model.SerializeToString(), options, providers=providers)
    for feeds, expected in case.feeds():
        before = {name: value.tobytes() for name, value in feeds.items() if isinstance(value, np.ndarray)}
        for _ in range(RUNS):
            case.check(expected, session.run(None, feeds))
        for name, value in before.items():
            assert feeds[name].tobytes() == value, f"input {name} was changed"


def marked(case: SuiteCase) -> Any:
    marks = [pytest.mark.xfail(strict=True, reason=FAILING[case.name])] if case.name in FAILING else []
    if case.name.startswith("test_image_decoder") and find_spec("PIL") is None:
        marks.append(pytest.mark.skip(reason="ImageDecoder needs pillow"))
    return pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in suite_cases()])
def test_cpu(case: SuiteCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU provider alone: without the last resort behind it."""
    monkeypatch.setenv("ONNXGPU_PROVIDERS_DISABLED", "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(case, ["CPUExecutionProvider"])


@pytest.mark.parametrize("case", [marked(case) for case in suite_cases()])
@pytest.mark.parametrize("split", [(1.0, 0), (0.5, 1)], ids=["all", "half"])
def test_loopback(case: SuiteCase, split: tuple[float, int]) -> None:
    """Wherever the nodes run, the result is the same; NumPy refuses an array at the wrong place."""
    fraction, seed = split
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(case, [("LoopbackExecutionProvider", {"fraction": fraction, "seed": seed}), "CPUExecutionProvider"])
