"""The CUDA provider's own kernels keep the promise of `may_reuse`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxgpu.provider import Array, Claim, Spec
from onnxgpu.providers.cuda.narrow import bits_of, stored_dtype, typed
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.emulated.test_operator_cases import downloaded, own_cases
from tests.in_place import by_operator, check_in_place
from tests.test_operator_cases import operation_of

FAMILIES = by_operator(own_cases())


@pytest.mark.parametrize("operator", FAMILIES)
def test_output_in_the_memory_of_an_input(operator: str, cp: Any) -> None:
    def upload(array: np.ndarray) -> Array:
        return typed(cp.array(bits_of(array)), array.dtype)

    def empty(spec: Spec) -> Array:
        return typed(cp.empty(spec.shape, stored_dtype(spec.dtype)), spec.dtype)

    for case in FAMILIES[operator]:
        claim = REGISTRY.claim(cp, operation_of(case))
        assert isinstance(claim, Claim), claim.reason
        check_in_place(case, claim, upload=upload, empty=empty, download=lambda array: downloaded(cp, array))
