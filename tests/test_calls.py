"""What a fixed plan calls in place of a kernel's `launch` gives the same result, bit for bit, and asks nothing but shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu.provider import Call, Claim, Kernel, Spec
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases import Case
from tests.test_in_place import FAMILIES
from tests.test_operator_cases import operation_of


def execute(calls: Sequence[Call], arrays: dict[int, Any]) -> Any:
    """Make the calls with these arrays in the place of specs; scratch memory is filled with 77. The last one's result."""
    memory, result = dict(arrays), None
    with np.errstate(all="ignore"):
        for function, arguments in calls:
            for argument in arguments:
                if isinstance(argument, Spec) and id(argument) not in memory:
                    memory[id(argument)] = np.full(argument.shape, 77, argument.dtype)
            result = function(*(memory.get(id(a), a) for a in arguments))
    return result


def asked(case: Case, claim: Claim, *, constants: bool) -> list[Any]:
    """The inputs as a plan asks with: a spec, or the value of what is the same in every run."""
    return [
        x if x is None or i in claim.host_inputs or (constants and i) else Spec(np.shape(x), np.asarray(x).dtype)
        for i, x in enumerate(case.inputs)
    ]


def compare(case: Case, claim: Claim, kernel: Kernel, *, constants: bool) -> bool:
    """Compare the calls with `launch`; False if the kernel names none."""
    shapes = asked(case, claim, constants=constants)
    with np.errstate(all="ignore"):
        specs = kernel.outputs(shapes)
        if specs is None and claim.view_of != 0:
            return False
        specs = None if specs is None else [replace(spec) for spec in specs]
        calls = kernel.calls(shapes, specs)  # type: ignore[attr-defined]
        if calls is None:
            return False
        inputs = copies(case)
        outputs = None if specs is None else [np.full(s.shape, 77, s.dtype) for s in specs]
        expected = kernel.launch(inputs, outputs, np.empty(kernel.workspace(inputs), np.uint8))
    given = {id(shape): x for shape, x in zip(shapes, inputs, strict=True) if isinstance(shape, Spec)}
    if specs is None:
        same(case, execute(calls, given), expected)
        return True
    for reused in (None, *(specs[0].may_reuse if claim.deterministic else ())):
        if reused is not None and not isinstance(shapes[reused], Spec):
            continue
        inputs = copies(case)
        given = {id(shape): x for shape, x in zip(shapes, inputs, strict=True) if isinstance(shape, Spec)}
        outputs = [np.full(s.shape, 77, s.dtype) for s in specs]
        if reused is not None:
            outputs[0] = inputs[reused]
        execute(calls, given | {id(spec): out for spec, out in zip(specs, outputs, strict=True)})
        same(case, outputs, expected)
        for i, (before, after) in enumerate(zip(case.inputs, inputs, strict=True)):
            assert i == reused or before is None or np.asarray(before).tolist() == after.tolist() or after.dtype.kind in "fc"
    return True


def copies(case: Case) -> list[Any]:
    return [None if x is None else np.ascontiguousarray(x).reshape(x.shape).copy() for x in case.inputs]


def same(case: Case, results: Sequence[Any], expected: Sequence[Any]) -> None:
    for result, right in zip(results, expected, strict=True):
        assert (result.shape, result.dtype) == (right.shape, right.dtype), case
        if result.tobytes() != right.tobytes():
            np.testing.assert_array_equal(result, right, err_msg=str(case))


@pytest.mark.parametrize("operator", FAMILIES)
def test_calls_are_what_launch_does(operator: str) -> None:
    for case in FAMILIES[operator]:
        if not all(x is None or (isinstance(x, np.ndarray) and x.dtype != object) for x in case.inputs):
            continue
        claim = CPUProvider().claim(operation_of(case))
        assert isinstance(claim, Claim), claim.reason
        if not claim.deterministic or claim.absorbed_inputs:
            continue
        kernel = claim.build()
        if hasattr(kernel, "calls"):
            for constants in (False, True):
                compare(case, claim, kernel, constants=constants)
