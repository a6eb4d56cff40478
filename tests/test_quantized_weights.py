"""Products with dequantised constant weights: fused, as narrow as they were stored, with the results of the nodes apart."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxgpu as ort
from onnxgpu.fuse import body_of


def model_of(
    dtype: Any, depth: int, columns: int, *, axis: int | None = None, block: int = 0, zero: bool = True, gemm: bool = False
) -> onnx.ModelProto:
    """x times dequantised weights; a Gemm has them transposed, and a bias."""
    generator = np.random.default_rng(0)
    shape = (columns, depth) if gemm else (depth, columns)
    low, high = (
        (-8, 8) if dtype == ml_dtypes.int4 else (0, 16) if dtype == ml_dtypes.uint4 else (0, 256) if dtype == np.uint8 else (-128, 128)
    )
    scales: tuple[int, ...] = () if axis is None else (shape[axis],)
    if block and axis is not None:
        scales = tuple(-(-size // block) if i == axis else size for i, size in enumerate(shape))
    arrays = {
        "w": generator.integers(low, high, shape).astype(dtype),
        "s": np.asarray(generator.uniform(0.01, 0.1, scales), "f4"),
        "b": generator.standard_normal(columns).astype("f4"),
    }
    if zero:
        arrays["z"] = np.asarray(generator.integers(max(low, -5), high, scales)).astype(dtype)
    kept: dict[str, Any] = {**({} if axis is None else {"axis": axis}), **({"block_size": block} if block else {})}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"][: 2 + zero], ["d"], **kept),
        helper.make_node("Gemm", ["x", "d", "b"], ["y"], transB=1) if gemm else helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["m", depth])],
        [helper.make_tensor_value_info("y", 1, ["m", columns])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


FORMS: list[dict[str, Any]] = [
    {},
    {"axis": 1},
    {"axis": 0, "block": 32},
    {"axis": 0, "block": 32, "zero": False},
    {"zero": False},
    {"gemm": True},
    {"gemm": True, "axis": 0},
    {"gemm": True, "axis": 1, "block": 64},
]


@pytest.mark.parametrize("sizes", [(64, 40), (640, 520), (650, 520)], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4, np.int8, np.uint8])
def test_results(dtype: Any, form: dict[str, Any], sizes: tuple[int, int]) -> None:
    model = model_of(dtype, *sizes, **form)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (node,) = session.placement.assignments
    body = body_of(node)
    assert node.op_type == "DequantizedMatMul" and body is not None
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    apart = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for rows in (1, 5):
        x = {"x": np.random.default_rng(rows).standard_normal((rows, sizes[0])).astype("f4")}
        expected = apart.run(None, x)[0]
        np.testing.assert_allclose(session.run(None, x)[0], expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))


def test_weights_that_others_read_stay() -> None:
    model = model_of(np.int8, 64, 40)
    model.graph.output.append(onnx.ValueInfoProto(name="d"))
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert {node.op_type for node in session.placement.assignments} == {"DequantizeLinear", "MatMul"}


@pytest.mark.parametrize("form", [{"axis": 0}, {"axis": 1, "block": 32}], ids=str)
def test_scales_along_the_depth_are_left_alone(form: dict[str, Any]) -> None:
    session = ort.InferenceSession(model_of(np.int8, 64, 64, **form), providers=["CPUExecutionProvider"])
    assert "DequantizeLinear" in {node.op_type for node in session.placement.assignments}
