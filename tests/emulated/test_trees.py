"""Tree ensembles with more leaves than are found at once, and with more scores than are combined by a warp each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxgpu.provider import Claim
from onnxgpu.providers.cuda.operators import trees
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case
from tests.cases.ml_trees import BOOSTED, HOLES, MIXED, MODES, X, classifier, listed, regressor
from tests.cases.oracles import expected_outputs
from tests.cases.tolerances import assert_same
from tests.test_operator_cases import operation_of

CASES = [
    regressor(X, MIXED, 2, aggregate_function="MIN"),
    regressor(HOLES, listed("target", [[0]], MODES, missing=True)),
    classifier(BOOSTED, 3, post_transform="SOFTMAX"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("few", [0, 1 << 20], ids=["threads", "warps"])
def test_in_parts(case: Case, few: int, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_LEAVES_AT_ONCE", 100)
    monkeypatch.setattr(trees, "_FEW", few)
    claim = REGISTRY.claim(cp, operation_of(case))
    assert isinstance(claim, Claim)
    kernel, inputs = claim.build(), [cp.asarray(case.inputs[0])]
    assert kernel.outputs(inputs) is not None
    assert_same([cp.asnumpy(result) for result in kernel.launch(inputs, None, None)], expected_outputs(case), case.rtol, case.atol)


def test_nothing_is_copied_in_a_launch(device: Any, cp: Any) -> None:
    claim = REGISTRY.claim(cp, operation_of(CASES[2]))
    assert isinstance(claim, Claim)
    kernel, inputs = claim.build(), [cp.asarray(np.asarray(CASES[2].inputs[0]))]
    kernel.launch(inputs, None, None)
    device.counters(clear=True)
    kernel.launch(inputs, None, None)
    counted = device.counters()
    assert (counted["copies_to_host"], counted["copies_to_device"]) == (0, 0)
