"""Every operator case that OpenVINO takes, compared with the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxgpu.errors import OnnxGpuError
from onnxgpu.session import InferenceSession
from tests.cases import Case, all_cases
from tests.cases.oracles import expected_outputs, feeds_of, model_of
from tests.cases.tolerances import assert_same

pytest.importorskip("openvino")

PROVIDERS = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""Tolerances at least: OpenVINO's functions are approximations."""


def has_nan(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and bool(np.isnan(value).any())


@pytest.mark.slow
@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_case(case: Case) -> None:
    model, expected = model_of(case), expected_outputs(case)
    if not all(isinstance(value, np.ndarray) for value in expected):
        pytest.skip("no tensors")
    if any(map(has_nan, (*case.inputs, *expected))):
        pytest.skip("OpenVINO's comparisons take what is no number for a number (docs/openvino.md)")
    for output, value in zip(model.graph.output, expected, strict=True):
        output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), None))
    try:
        session = InferenceSession(model.SerializeToString(), providers=PROVIDERS)
    except OnnxGpuError:
        pytest.skip("as a model, it is not valid")
    if all(assignment.provider.name != PROVIDERS[0] for assignment in session.placement):
        pytest.skip("not on OpenVINO")
    relative, absolute = case.rtol and max(case.rtol, RELATIVE), None if case.atol is None else max(case.atol, ABSOLUTE)
    assert_same(list(session.run(None, feeds_of(case))), expected, relative, absolute)
