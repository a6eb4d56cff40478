"""Operators of onnxruntime through whole sessions, where a case of one node does not tell enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import onnxgpu
from onnxgpu.errors import Fail, InvalidArgument, InvalidGraph
from onnxgpu.provider import Operation, Refusal, ValueInfo
from onnxgpu.providers.cpu.provider import CPUProvider

CPU = ["CPUExecutionProvider"]


def legacy_model(operator: str, opset: int, **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node(operator, ["x"], ["y"], name="case", **attributes)
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in "xy")
    graph = helper.make_graph([node], "legacy", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_legacy_operators_end_with_opset_9() -> None:
    x = np.arange(6, dtype="f").reshape(2, 3)
    session = onnxgpu.InferenceSession(legacy_model("Affine", 9, alpha=2.0, beta=1.0), providers=CPU)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], 2 * x + 1)
    assert session.get_outputs()[0].shape == ["n", 3]
    with pytest.raises(InvalidGraph, match="No Op registered for Affine with domain_version of 10"):
        onnxgpu.InferenceSession(legacy_model("Affine", 10), providers=CPU)


def test_sparse_products_are_onnxruntimes() -> None:
    """The same sparse matrix: a sparse initializer here, a sparse input in onnxruntime, which takes no other."""
    generator = np.random.default_rng(0)
    dense = generator.integers(0, 3, (4, 3)).astype("f") * (generator.random((4, 3)) < 0.5)
    b = generator.standard_normal((3, 5)).astype("f")
    flat = np.flatnonzero(dense)
    values = numpy_helper.from_array(dense.reshape(-1)[flat], "a")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(flat.astype("i8"), "a_indices"), [4, 3])
    node = helper.make_node("SparseToDenseMatMul", ["a", "b"], ["y"], domain="com.microsoft", alpha=0.5)
    b_info = helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [3, 5])
    y_info = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4, 5])
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    ours = helper.make_model(
        helper.make_graph([node], "sparse", [b_info], [y_info], sparse_initializer=[sparse]), opset_imports=imports, ir_version=10
    )
    a_info = helper.make_sparse_tensor_value_info("a", onnx.TensorProto.FLOAT, [4, 3])
    theirs = helper.make_model(helper.make_graph([node], "sparse", [a_info, b_info], [y_info]), opset_imports=imports, ir_version=10)
    (actual,) = onnxgpu.InferenceSession(ours.SerializeToString(), providers=CPU).run(None, {"b": b})
    device = onnxruntime.OrtDevice.make("cpu", 0)
    matrix = onnxruntime.SparseTensor.sparse_coo_from_numpy(np.array([4, 3]), dense[dense != 0], np.argwhere(dense).reshape(-1), device)
    feeds = {"a": onnxruntime.OrtValue.ort_value_from_sparse_tensor(matrix), "b": onnxruntime.OrtValue.ortvalue_from_numpy(b)}
    (expected,) = onnxruntime.InferenceSession(theirs.SerializeToString(), providers=CPU).run_with_ort_values(["y"], feeds)
    np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-6)


def claimed(operator: str, *inputs: np.ndarray | None, **attributes: Any) -> Any:
    infos = tuple(None if x is None else ValueInfo(f"x{i}", x.dtype, x.shape) for i, x in enumerate(inputs))
    return CPUProvider().claim(Operation(operator, infos, (ValueInfo("y"),), "com.microsoft", 1, "case", attributes))


def refusal(operator: str, *inputs: np.ndarray | None, **attributes: Any) -> str:
    answer = claimed(operator, *inputs, **attributes)
    assert isinstance(answer, Refusal)
    return answer.reason


def test_refusals_say_why() -> None:
    x, text = np.zeros((2, 3), "f"), np.array(["a"], object)
    tokens = {"mark": 0, "mincharnum": 1, "pad_value": ""}
    assert "knows the metrics sqeuclidean and euclidean, not 'cosine'" in refusal("CDist", x, x, metric="cosine")
    assert "needs separators or a tokenexp" in refusal("Tokenizer", text, **tokens)
    assert "cannot read the pattern '('" in refusal("Tokenizer", text, **tokens, tokenexp="(")
    assert "longest match of a pattern with choices and anchors" in refusal("Tokenizer", text, **tokens, tokenexp="\\b(a|b)")
    assert "needs a mincharnum of at least 1" in refusal("Tokenizer", text, **{**tokens, "mincharnum": 2}, tokenexp=".")
    assert "not 16" in refusal("GatherPacked", x.astype("u1"), x, packed_type=16, K=256)
    assert "multiple of 32" in refusal("GatherPacked", x.astype("u1"), x, packed_type=8, K=40)
    assert "modes bilinear and nearest, not 'area'" in refusal("CropAndResize", x, x, x, x, mode="area")


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("CDist", [np.zeros((2, 3), "f"), np.zeros((2, 4), "f")], {}, "matrices"),
        ("Inverse", [np.zeros((2, 2), "f")], {}, "can be inverted"),
        ("Inverse", [np.zeros((2, 3), "f")], {}, "square"),
        ("DynamicTimeWarping", [np.zeros((2, 2, 3), "f")], {}, "costs of shape"),
        ("BifurcationDetector", [np.arange(3), np.arange(2), np.array([1]), np.arange(9)], {}, "pred_tokens"),
        ("UnfoldTensor", [np.zeros((2, 3), "f")], {"size": 4}, "size in"),
        ("Range", [np.zeros(2, "f"), np.ones(1, "f")], {}, "scalar like"),
        ("GatherPacked", [np.zeros((2, 3), "u1"), np.arange(2)], {"packed_type": 8, "K": 32}, "rows of 34 bytes"),
        ("MaxpoolWithMask", [np.zeros((1, 1, 4), "f"), np.zeros((1, 1, 3), "i4")], {"kernel_shape": [2]}, "mask"),
        ("CropAndResize", [np.zeros((1, 1, 2, 2), "f"), np.zeros((1, 4), "f"), np.array([3]), np.array([1, 1])], {}, "idx=3"),
        ("ConvTransposeWithDynamicPads", [np.zeros((1, 1, 4, 4), "f"), np.zeros((1, 1, 2, 2), "f"), np.zeros(3, "i8")], {}, "pads"),
        ("WordConvEmbedding", [np.ones((1, 1), "i4"), np.zeros((4, 1, 2, 3), "f"), np.zeros(4, "f"), np.zeros((9, 3), "f")], {}, "window"),
        ("ExpandDims", [np.zeros(2, "f"), np.array(4, "i4")], {}, "axis"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_inputs(operator: str, inputs: list[np.ndarray], attributes: dict[str, Any], message: str) -> None:
    kernel = claimed(operator, *inputs, **attributes).build()

    def run() -> None:
        specs = kernel.outputs(inputs)
        kernel.launch(inputs, None if specs is None else [np.empty(s.shape, s.dtype) for s in specs], None)

    with pytest.raises((InvalidArgument, Fail), match=message):
        run()
