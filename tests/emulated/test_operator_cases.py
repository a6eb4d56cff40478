"""Every operator case with a CUDA kernel of our own, on the emulated device, in every mode."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import onnxgpu.providers.cuda.operators  # noqa: F401  registers the operators
from onnxgpu.provider import Claim
from onnxgpu.providers.cuda.narrow import bits_of, stored_dtype, typed
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case, all_cases
from tests.cases.oracles import expected_outputs
from tests.cases.tolerances import assert_same
from tests.emulated import PLAIN
from tests.test_operator_cases import operation_of

OWN = {(entry.domain, entry.operator) for entry in REGISTRY.entries()}
SIZED_BY_DATA = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}
"""Their outputs' size, and nothing else, comes to the host."""

MODES = [replace(PLAIN), replace(PLAIN, lazy=True, schedule=1), replace(PLAIN, checked=True), replace(PLAIN, checked=True, schedule=7)]
MODE_NAMES = ["plain", "lazy-1", "checked", "checked-7"]


def own_cases() -> list[Case]:
    """Cases that one of our kernels takes."""
    found = []
    for case in all_cases():
        if (case.domain, case.operator) in OWN:
            entry = REGISTRY.entry(case.operator, case.domain, case.opset)
            if entry is not None and entry.refusal(operation_of(case)) is None:
                found.append(case)
    return found


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
@pytest.mark.parametrize("case", own_cases(), ids=str)
def test_kernel(case: Case, mode: Any, device: Any, cp: Any, exact_bounds: None) -> None:
    """Given memory is written, specs are true, inputs stay as they were, and nothing is computed on the host."""
    device.configure(mode)
    claim = REGISTRY.claim(cp, operation_of(case))
    assert isinstance(claim, Claim), claim.reason
    kernel = claim.build()
    inputs = [x if x is None or i in claim.host_inputs else typed(cp.asarray(bits_of(x)), x.dtype) for i, x in enumerate(case.inputs)]
    given = [None if i in claim.absorbed_inputs else x for i, x in enumerate(inputs)]
    specs = kernel.outputs(given)
    is_sized_by_data = case.operator in SIZED_BY_DATA
    assert specs is not None or claim.view_of is not None or is_sized_by_data
    outputs = None if specs is None else [typed(cp.full(spec.shape, 77, stored_dtype(spec.dtype)), spec.dtype) for spec in specs]
    wanted = kernel.workspace(given)
    device.counters(clear=True)
    results = kernel.launch(given, outputs, cp.empty(wanted, np.uint8) if wanted else None)
    counted = device.counters()
    cp.cuda.Device().synchronize()
    assert counted["copies_to_host"] <= is_sized_by_data
    assert_same([downloaded(cp, result) for result in results][: case.outputs], expected_outputs(case), case.rtol, case.atol)
    for before, after in zip(case.inputs, inputs, strict=True):
        if before is not None:
            np.testing.assert_array_equal(downloaded(cp, after), before)


def downloaded(cp: Any, array: Any) -> np.ndarray:
    """The array on the host, with its element type."""
    result: np.ndarray = cp.asnumpy(bits_of(array))
    return result.view(array.dtype)
