"""Expected outputs of a case: from onnxruntime, or from `onnx.reference` where onnxruntime cannot run it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.cases import Case


def model_of(case: Case) -> onnx.ModelProto:
    """The case as a model whose graph inputs are x0, x1, … and outputs y0, y1, …"""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(case.inputs)]
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.operator, names, outputs, name="case", domain=case.domain, **case.attributes)
    graph = helper.make_graph(
        [node],
        "case",
        [
            helper.make_tensor_value_info(
                n, helper.np_dtype_to_tensor_dtype(x.dtype) if x.dtype != object else onnx.TensorProto.STRING, x.shape
            )
            for n, x in zip(names, case.inputs, strict=True)
            if x is not None
        ],
        [onnx.ValueInfoProto(name=n) for n in outputs],
    )
    imports = [helper.make_opsetid(case.domain, case.opset)]
    if case.domain:
        imports.append(helper.make_opsetid("", 21))
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def feeds_of(case: Case) -> dict[str, Any]:
    """What to feed to `model_of(case)`."""
    return {f"x{i}": x for i, x in enumerate(case.inputs) if x is not None}


def expected_outputs(case: Case) -> list[Any]:
    """The outputs that the oracle gives.

    Raises:
        AssertionError: no oracle can run the case; it needs `expected`.
    """
    if case.expected is not None:
        return list(case.expected)
    problems = []
    for oracle in (_onnxruntime, _reference):
        if case.oracle in ("any", oracle.__name__[1:]):
            try:
                return oracle(case)
            except Exception as problem:
                problems.append(f"{oracle.__name__[1:]}: {problem}")
    raise AssertionError(f"no oracle runs {case}: {'; '.join(problems)}")


def _onnxruntime(case: Case) -> list[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    model = onnx.shape_inference.infer_shapes(model_of(case), data_prop=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds_of(case)))


def _reference(case: Case) -> list[Any]:
    from onnx.reference import ReferenceEvaluator

    with np.errstate(all="ignore"):
        return list(ReferenceEvaluator(model_of(case)).run(None, feeds_of(case)))
