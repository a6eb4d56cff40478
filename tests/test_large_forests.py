"""Forests with more nodes and rows than are walked at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import onnxgpu
from benchmarks.forest import write_models
from onnxgpu.provider import Claim
from onnxgpu.providers.array_ops import ml_votes
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases import Case, all_cases
from tests.cases.oracles import expected_outputs
from tests.cases.tolerances import assert_same
from tests.test_operator_cases import operation_of

CPU = ["CPUExecutionProvider"]
FEATURES = 7


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 trees of 255 leaves, as a model for batches of 300 rows."""
    return write_models(tmp_path_factory.mktemp("forest"), trees=25, leaves=255, features=FEATURES, batches=[300])[0]


def test_a_large_forest_is_onnxruntimes(forest: Path) -> None:
    x = np.random.default_rng(0).standard_normal((300, FEATURES)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(forest, providers=CPU).run(None, {"x": x})
    (actual,) = onnxgpu.InferenceSession(forest, providers=CPU).run(None, {"x": x})
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in all_cases() if case.operator.startswith("TreeEnsemble")], ids=str)
def test_blocks_of_rows_and_trees(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases of tree ensembles again, a few rows and trees at a time."""
    monkeypatch.setattr(ml_votes, "_WALKED_AT_ONCE", 12)
    monkeypatch.setattr(ml_votes, "_ROWS_WALKED_AT_ONCE", 6)
    claim = CPUProvider().claim(operation_of(case))
    assert isinstance(claim, Claim)
    results = claim.build().launch(case.inputs, None, None)
    assert_same(list(results)[: case.outputs], expected_outputs(case), case.rtol, case.atol)
