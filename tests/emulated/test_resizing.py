"""Resize where its kernel depends on sizes, checked on the emulated device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onnxgpu.providers.cuda.operators import resizing
from onnxgpu.providers.cuda.registry import REGISTRY
from tests.cases import Case
from tests.cases.resizing import CASES
from tests.emulated import PLAIN
from tests.emulated.test_operator_cases import check_kernel
from tests.test_operator_cases import operation_of

PLAINLY_RESIZED = [case for case in CASES if case.operator == "Resize" and not case.attributes.get("antialias")]


@pytest.mark.parametrize(("limit", "value"), [("_MANY", 0), ("_BUSY_THREADS", 1)], ids=["many elements", "busy device"])
@pytest.mark.parametrize("case", PLAINLY_RESIZED, ids=str)
def test_sizes(case: Case, limit: str, value: int, device: Any, cp: Any, exact_bounds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements are counted in 64 bits; threads take several places outside of the resampled axes."""
    monkeypatch.setattr(resizing, limit, value)
    device.configure(replace(PLAIN, checked=True))
    check_kernel(case, REGISTRY.claim(cp, operation_of(case)), device, cp)
