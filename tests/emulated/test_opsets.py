"""Where a node runs depends on what it means, not on the number of its opset: cases and models, stamped 13 to the newest."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import onnx.parser
import pytest

import onnxgpu as ort
from onnxgpu.dtypes import name_of
from onnxgpu.provider import Claim
from onnxgpu.providers.cuda.provider import CUDAProvider
from tests.cases import Case, all_cases
from tests.emulated.test_provider import CPU, CUDA
from tests.test_operator_cases import operation_of

OPSETS = range(13, onnx.defs.onnx_opset_version() + 1)

MODELS = {
    "vision": """g (float[1,3,16,16] x, float[4,3,3,3] w, float[4] s) => (float[1,4,1,1] y, int64[1,4,1,1] i) {
        c = Conv <pads = [1,1,1,1]> (x, w) n = InstanceNormalization (c, s, s) e = Elu (n) m = MaxPool <kernel_shape = [2,2]> (e)
        h = HardSigmoid (m) a = AveragePool <kernel_shape = [2,2]> (h) y = GlobalAveragePool (a) i = ArgMax <axis = 1> (a) }""",
    "text": """g (int64[2,5] ids, float[7,8] table, float[8,8] w) => (float[2,5,8] y) {
        e = Gather (table, ids) p = MatMul (e, w) q = Transpose <perm = [0,2,1]> (p) s = MatMul (e, q) n = Softmax (s)
        c = MatMul (n, p) r = Relu (c) t = Tanh (r) y = Add (t, e) }""",
    "recurrent": """g (float[3,2,4] x, float[1,12,4] w, float[1,12,3] r) => (float[3,1,2,3] y, float[1,2,3] h) {
        a = Abs (x) e = Exp (a) l = Log (e) y, h, c = LSTM <hidden_size = 3> (l, w, r) }""",
}


def different_cases() -> list[Case]:
    """Of the cases of ONNX's own operators, one of each operator, attributes, element types and ranks."""
    found: dict[object, Case] = {}
    for case in all_cases():
        if not case.domain:
            kinds = tuple(None if x is None else (x.dtype, x.ndim) for x in case.inputs)
            found.setdefault((case.operator, case.outputs, kinds, repr(sorted(case.attributes.items(), key=str))), case)
    return list(found.values())


@cache
def schema(operator: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(operator, opset)
    except onnx.defs.SchemaError:
        return None


def is_valid(case: Case, opset: int) -> bool:
    """True if the operator of `opset` takes these inputs and attributes."""
    found = schema(case.operator, opset)
    if found is None or found.deprecated or not set(case.attributes) <= set(found.attributes):
        return False
    if not found.min_input <= len(case.inputs) <= found.max_input or case.outputs > found.max_output:
        return False
    for index, array in enumerate(case.inputs):
        formal = found.inputs[min(index, len(found.inputs) - 1)]
        if array is not None and f"tensor({name_of(array.dtype)})" not in formal.types:
            return False
    return True


def dtype_of(case: Case) -> np.dtype:
    """An element type that the outputs might have: of which type they are makes no difference here, but that it is known does."""
    return next((array.dtype for array in case.inputs if array is not None), np.dtype(np.float32))


@pytest.mark.usefixtures("device")
def test_claims() -> None:
    provider = CUDAProvider()
    wrong, taken = [], 0
    for case in different_cases():
        claimed = {}
        for opset in (number for number in OPSETS if is_valid(case, number)):
            operation = operation_of(replace(case, opset=opset))
            known = tuple(value and replace(value, dtype=dtype_of(case)) for value in operation.outputs)
            answer = provider.claim(replace(operation, outputs=known))
            claimed[opset] = None if isinstance(answer, Claim) else answer.reason
        taken += None in claimed.values()
        if len({reason is None for reason in claimed.values()}) > 1:
            wrong.append(f"{case}: {claimed}")
    assert not wrong, "\n".join(wrong)
    assert taken > 1000


def placements(name: str) -> dict[int, list[str]]:
    """Opset → operator and provider of each node, for all opsets at which the model can be written."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 13]> {MODELS[name]}')
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    found = {}
    for opset in OPSETS:
        model.opset_import[0].version = opset
        session = ort.InferenceSession(model.SerializeToString(), options, providers=[CUDA, CPU])
        found[opset] = [f"{a.operation.operator} on {a.provider.name}" for a in session.placement.assignments.values()]
    return found


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    found = placements(name)
    assert list(found) == list(OPSETS)
    assert {tuple(nodes) for nodes in found.values()} == {tuple(found[13])}
    assert all(node.endswith(CUDA) for node in found[13])


def test_the_cases_reach_every_opset() -> None:
    """Of most operators there is a case that is valid at several opsets of which one has another schema."""
    several = {
        case.operator
        for case in different_cases()
        if len({found.since_version for opset in OPSETS if is_valid(case, opset) and (found := schema(case.operator, opset))}) > 1
    }
    assert len(several) > 100
