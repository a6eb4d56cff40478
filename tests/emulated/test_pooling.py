"""Pools whose kernel depends on sizes, and what the operator cases leave open, on the emulated device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.cuda.operators import pooling
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case
from tests.cases.pooling import CASES
from tests.emulated import PLAIN
from tests.emulated.test_movement import run
from tests.emulated.test_operator_cases import check_kernel
from tests.test_operator_cases import operation_of

POOLS = [case for case in CASES if case.operator in ("MaxPool", "AveragePool", "LpPool")]


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_elements_counted_in_64_bits(case: Case, device: Any, cp: Any, exact_bounds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "_MANY", 0)
    device.configure(replace(PLAIN, checked=True))
    check_kernel(case, REGISTRY.claim(cp, operation_of(case)), device, cp)


@pytest.mark.parametrize("side", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_not_a_number_is_a_maximum(kind: str, side: int, device: Any, cp: Any, exact_bounds: None) -> None:
    device.configure(replace(PLAIN, checked=True, schedule=7))
    x = np.random.default_rng(3).standard_normal((2, 3, 40, 37)).astype(kind)
    x[0, :, 5:7, 5:30:7] = np.nan
    x[1, 0] = -np.inf
    expected = np.lib.stride_tricks.sliding_window_view(x, (side, side), (2, 3))[:, :, ::2, ::3].max((-1, -2))
    np.testing.assert_array_equal(run(cp, "MaxPool", [x], kernel_shape=[side, side], strides=[2, 3]), expected)
