"""The provider that tests of segments use, known to sessions as long as a test runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onnxgpu import discovery
from tests.segments.providers import DeviceEvaluatorProvider, EvaluatorProvider


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[EvaluatorProvider]]:
    """The class, as it is before a test sets it up."""
    plain: dict[str, object] = {"operators": {"Relu", "Neg", "Abs", "Sin", "Add"}, "excluded": (), "refusal": "", "offered": []}
    for name, value in (plain | {"late": False, "waiting": []}).items():
        monkeypatch.setattr(EvaluatorProvider, name, value)
    classes = {"evaluator": EvaluatorProvider, "device_evaluator": DeviceEvaluatorProvider}
    for folder, provider in classes.items():
        discovery.register(folder, provider)
    yield EvaluatorProvider
    for folder in classes:
        discovery.unregister(folder)
