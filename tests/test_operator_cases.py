"""Every operator case, on the CPU provider's kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxgpu.provider import Claim, Kernel, Operation, Spec, ValueInfo
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases import Case, all_cases
from tests.cases.oracles import expected_outputs
from tests.cases.tolerances import assert_same


def operation_of(case: Case, constants: bool = False) -> Operation:
    node = helper.make_node(case.operator, [""] * len(case.inputs), ["y"] * case.outputs, domain=case.domain, **case.attributes)
    attributes: dict[str, Any] = {a.name: _attribute(a) for a in node.attribute}
    inputs = tuple(
        None if x is None else ValueInfo(f"x{i}", x.dtype, x.shape, partial(np.asarray, x) if constants and i else None)
        for i, x in enumerate(case.inputs)
    )
    outputs = tuple(ValueInfo(f"y{i}") for i in range(case.outputs))
    return Operation(case.operator, inputs, outputs, case.domain, case.opset, "case", attributes)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return tuple(v.decode() for v in value)
    return tuple(value) if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value


def check_specs(case: Case, claim: Claim, kernel: Kernel) -> None:
    """The specs can be had from shapes and dtypes alone, but for the host inputs the claim names."""
    kept = claim.host_inputs
    shapes = [x if x is None or i in kept else Spec(x.shape, x.dtype) for i, x in enumerate(case.inputs)]
    with np.errstate(all="ignore"):
        assert kernel.outputs(shapes) == kernel.outputs(case.inputs)


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_kernel(case: Case) -> None:
    """The kernel alone: its own specs are true, given memory is written, inputs are left as they were."""
    claim = CPUProvider().claim(operation_of(case))
    assert isinstance(claim, Claim), claim.reason
    kernel = claim.build()
    check_specs(case, claim, kernel)
    inputs = [None if x is None else x.copy() for x in case.inputs]
    with np.errstate(all="ignore"):
        specs = kernel.outputs(inputs)
        outputs = (
            None if specs is None else [np.full(s.shape, 77, s.dtype) if s.dtype != object else np.empty(s.shape, object) for s in specs]
        )
        results = kernel.launch(inputs, outputs, np.empty(kernel.workspace(inputs), np.uint8) if kernel.workspace(inputs) else None)
    assert_same(list(results)[: case.outputs], expected_outputs(case), case.rtol, case.atol)
    for before, after in zip(case.inputs, inputs, strict=True):
        if before is not None and after is not None:
            assert after.tobytes() == before.tobytes() or after.tolist() == before.tolist(), "the kernel changed an input"


def _absorbing_cases() -> list[Case]:
    claims = [(case, CPUProvider().claim(operation_of(case, constants=True))) for case in all_cases()]
    return [case for case, claim in claims if isinstance(claim, Claim) and claim.absorbed_inputs]


@pytest.mark.parametrize("case", _absorbing_cases(), ids=str)
def test_kernel_that_keeps_its_constants(case: Case) -> None:
    """All inputs but the first are constant, and those that the kernel keeps are not given to it."""
    claim = CPUProvider().claim(operation_of(case, constants=True))
    assert isinstance(claim, Claim), claim.reason
    kernel = claim.build()
    given = [None if i in claim.absorbed_inputs else x for i, x in enumerate(case.inputs)]
    for _ in range(2):
        with np.errstate(all="ignore"):
            specs = kernel.outputs(given)
            outputs = None if specs is None else [np.full(s.shape, 77, s.dtype) for s in specs]
            wanted = kernel.workspace(given)
            results = kernel.launch(given, outputs, np.empty(wanted, np.uint8) if wanted else None)
        assert_same(list(results)[: case.outputs], expected_outputs(case), case.rtol, case.atol)
