"""Every operator that may compute in a small type, in it: ONNX's own cases, with each node forced there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.tensorrt.precision import PrecisionSettings, reduce
from onnxgpu.providers.tensorrt.precision.choices import Choice, Kind, choices
from onnxgpu.providers.tensorrt.precision.whole_model import cut_of, joined
from onnxgpu.testing import SuiteCase, suite_cases
from tests.tensorrt.precision_support import TOLERANCE, checked, error, run

LARGE_NUMBERS = {"test_softmax_large_number", "test_bernoulli", "test_bernoulli_seed"}
"""Cases about digits that float16 does not have, or about chance."""
CASES_EACH = 2
LEAST_OPERATORS = 70


def some_cases() -> Iterator[SuiteCase]:
    """A few of each operator; the cases of functions written out as other operators are left out."""
    single = [case for case in suite_cases() if len(case.model.graph.node) == 1 and case.name not in LARGE_NUMBERS]
    for _, group in groupby(sorted(single, key=_operator), key=_operator):
        yield from list(group)[:CASES_EACH]


def _operator(case: SuiteCase) -> str:
    return str(case.model.graph.node[0].op_type)


@pytest.mark.parametrize("small", ["float16", "bfloat16"])
def test_each_operator_in_the_small_type(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forced(*arguments: Any) -> list[Choice]:
        found = choices(*arguments)
        return [replace(choice, kind=Kind.SMALL) if choice.kind is Kind.EITHER else choice for choice in found]

    monkeypatch.setattr(reduce, "choices", forced)
    operators: set[str] = set()
    for case in some_cases():
        settings = PrecisionSettings(small == "float16", small == "bfloat16", longest_reduction=10**6)
        cut, report = reduce.reduced(cut_of(case.model), settings)
        if not any(node.computes_in == small for node in report.nodes):
            continue
        result = joined(cut)
        checked(case.model, result)
        operators.add(_operator(case))
        feeds, _ = next(iter(case.feeds()))
        wanted, got = (run(proto, feeds) for proto in (case.model, result))
        for before, after in zip(wanted, got, strict=True):
            if not isinstance(before, np.ndarray):
                continue
            assert before.dtype == after.dtype and before.shape == after.shape, case.name
            if before.dtype == np.float32 and np.isfinite(before).all() and before.size:
                assert error([before], [after]) < TOLERANCE[small], case.name
    assert len(operators) >= LEAST_OPERATORS
