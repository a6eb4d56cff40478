"""Every operator case that runs on CUDA, compared with the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import onnxgpu.providers.cuda.operators  # noqa: F401  registers the operators
from onnxgpu.provider import Claim, Refusal
from onnxgpu.providers.cuda.provider import CUDAProvider
from tests.cases import Case, all_cases
from tests.cases.oracles import expected_outputs
from tests.cases.tolerances import assert_same
from tests.emulated import LIBRARIES_MISSING
from tests.test_operator_cases import operation_of

OWN = {"enable_cublas": 0, "enable_cudnn": 0}
LIBRARIES = {"enable_cublas": 1, "enable_cudnn": 1}
"""Asked for, they come before what our own kernels do faster."""


@pytest.mark.parametrize("case", all_cases(), ids=str)
@pytest.mark.parametrize("options", [{}, LIBRARIES, OWN], ids=["chosen", "libraries", "own"])
def test_kernel(case: Case, options: dict[str, int], cp: Any) -> None:
    """Given memory is written, and the inputs stay as they were."""
    if options and LIBRARIES_MISSING is not None:
        pytest.skip(LIBRARIES_MISSING)
    provider, expected = CUDAProvider(options), expected_outputs(case)
    operation = operation_of(case)
    outputs_known = tuple(
        value and replace(value, dtype=getattr(array, "dtype", None)) for value, array in zip(operation.outputs, expected, strict=False)
    )
    known = replace(operation, outputs=outputs_known)
    claim = provider.claim(known)
    if options and isinstance(claim, Claim) and _note(CUDAProvider().claim(known)) == _note(claim):
        pytest.skip("the same kernel is chosen without options")
    if options == OWN and isinstance(claim, Claim) and not _note(CUDAProvider(LIBRARIES).claim(known)).startswith("by cu"):
        pytest.skip("no library takes it")
    if not isinstance(claim, Claim) or claim.body_host:
        pytest.skip("not on CUDA" if isinstance(claim, Claim) else claim.reason)
    kernel = claim.build()
    with provider.launching():
        on_host = claim.host_inputs | claim.shape_only_inputs
        inputs = [x if x is None or i in on_host else provider.upload(np.asarray(x)) for i, x in enumerate(case.inputs)]
        given = [None if i in claim.absorbed_inputs else x for i, x in enumerate(inputs)]
        specs, wanted = kernel.outputs(given), kernel.workspace(given)
        outputs = None if specs is None else [provider.allocate(spec) for spec in specs]
        scratch = cp.empty(wanted, np.uint8) if wanted else None
        results = list(kernel.launch(given, outputs, scratch))[: case.outputs]
        found = [x if x is None or isinstance(x, np.ndarray) else provider.download(x) for x in results]
        assert_same(found, expected, case.rtol, case.atol)
        for before, after in zip(case.inputs, inputs, strict=True):
            if before is not None:
                now = after if isinstance(after, np.ndarray) or np.isscalar(after) else provider.download(after)
                np.testing.assert_array_equal(now, before)


def _note(claim: Claim | Refusal) -> str:
    return claim.note if isinstance(claim, Claim) else ""
