"""The CPU provider's kernels keep the promise of `may_reuse`."""

from __future__ import annotations

import numpy as np
import pytest

from onnxgpu.provider import Claim
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases import all_cases
from tests.in_place import by_operator, check_in_place
from tests.test_operator_cases import operation_of

FAMILIES = by_operator(all_cases())


@pytest.mark.parametrize("operator", FAMILIES)
def test_output_in_the_memory_of_an_input(operator: str) -> None:
    for case in FAMILIES[operator]:
        claim = CPUProvider().claim(operation_of(case))
        assert isinstance(claim, Claim), claim.reason
        with np.errstate(all="ignore"):
            check_in_place(case, claim)
