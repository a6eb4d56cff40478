"""Models that onnxruntime's own tools quantised: QDQ and QOperator, static and dynamic, per tensor and per channel.

Results are those of onnxruntime without graph optimisations to one step of the output's scale, in a few elements: sums are whole numbers
and exact, the rest rounds float32 numbers at other places. Its optimisations fuse QDQ nodes into operators that round once more or once
less, which moves its own results by up to two steps. Weights have seven bits (`reduce_range`), since onnxruntime's sums of uint8 times
int8 saturate at 16 bits on x86 without VNNI.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import onnxgpu as ort
from onnxgpu.fuse import body_of

IMAGE, TOKENS = (2, 3, 20, 20), (2, 7, 16)


def _initializers(**arrays: tuple[int, ...]) -> list[onnx.TensorProto]:
    generator = np.random.default_rng(0)
    return [
        numpy_helper.from_array((generator.standard_normal(shape) / np.sqrt(max(1, math.prod(shape[1:])))).astype("f4"), name)
        for name, shape in arrays.items()
    ]


def _model(text: str, **weights: tuple[int, ...]) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]>\n{text}')
    model.graph.initializer.extend(_initializers(**weights))
    return model


def image_model() -> onnx.ModelProto:
    """Convolutions, plain, grouped and depthwise, with a shortcut, pooling and a classifier."""
    return _model(
        """g (float[2, 3, 20, 20] x) => (float[2, 10] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)  b = Relu(a)
            c = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
            d = Conv <pads = [1, 1, 1, 1], group = 16> (c, w1, b1)  e = Relu(d)
            f = Conv (e, w2, b2)  s = Add(f, c)  h = Relu(s)
            i = Conv <strides = [2, 2], group = 2> (h, w3)
            p = GlobalAveragePool(i)  q = Flatten(p)  y = Gemm <transB = 1> (q, w4, b4)
        }""",
        w0=(16, 3, 3, 3), b0=(16,), w1=(16, 1, 3, 3), b1=(16,), w2=(16, 16, 1, 1), b2=(16,), w3=(24, 8, 3, 3), w4=(10, 24), b4=(10,),
    )  # fmt: skip


def text_model() -> onnx.ModelProto:
    """A layer of a transformer: projections, attention and a feed-forward part."""
    return _model(
        """g (float[2, 7, 16] x) => (float[2, 7, 16] y) {
            q = MatMul(x, w0)  k = MatMul(x, w1)  v = MatMul(x, w2)
            t = Transpose <perm = [0, 2, 1]> (k)  s = MatMul(q, t)  p = Softmax(s)  o = MatMul(p, v)
            r = Add(o, x)  u = MatMul(r, w3)  h = Relu(u)  d = MatMul(h, w4)  y = Add(d, r)
        }""",
        w0=(16, 16), w1=(16, 16), w2=(16, 16), w3=(16, 64), w4=(64, 16),
    )  # fmt: skip


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """A few inputs to calibrate with."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        generator = np.random.default_rng(1)
        self._samples: Iterator[dict[str, Any]] = iter([{"x": generator.standard_normal(shape).astype("f4")} for _ in range(4)])

    def get_next(self) -> dict[str, Any] | None:
        """The next input, or None at the end."""
        return next(self._samples, None)


def outputs(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The output of onnxgpu, after three runs, and those of onnxruntime without and with graph optimisations."""
    feeds = {"x": np.random.default_rng(2).standard_normal(shape).astype("f4")}
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert {assignment.provider.name for assignment in session.placement.assignments.values()} == {"CPUExecutionProvider"}
    for _ in range(3):
        actual = session.run(None, feeds)[0]
    expected = []
    for level in (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.graph_optimization_level = 4, level
        expected.append(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feeds)[0])
    return actual, expected[0], expected[1]


def output_step(path: Path) -> float:
    """The scale with which the output is quantised."""
    model = onnx.load(path)
    scales = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (last,) = (n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.output[0] == model.graph.output[0].name)
    return float(scales[last.input[1]])


MODELS = {"image": (image_model, IMAGE), "text": (text_model, TOKENS)}
TYPES = [(QuantType.QUInt8, QuantType.QInt8), (QuantType.QInt8, QuantType.QInt8), (QuantType.QUInt8, QuantType.QUInt8)]


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize(("activation", "weight"), TYPES, ids=["u8s8", "s8s8", "u8u8"])
@pytest.mark.parametrize("layout", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
@pytest.mark.parametrize("name", MODELS)
def test_static(tmp_path: Path, name: str, layout: QuantFormat, activation: QuantType, weight: QuantType, per_channel: bool) -> None:
    build, shape = MODELS[name]
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(build(), source)
    quantize_static(
        source,
        target,
        Samples(shape),
        quant_format=layout,
        activation_type=activation,
        weight_type=weight,
        per_channel=per_channel,
        reduce_range=True,
    )
    actual, plain, optimised = outputs(target, shape)
    step = output_step(target)
    differences = np.abs(actual - plain)
    assert differences.max() <= 1.01 * step
    assert np.mean(differences > step / 2) < 0.02
    assert np.abs(actual - optimised).max() <= 2.01 * step


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("weight", [QuantType.QInt8, QuantType.QUInt8], ids=["s8", "u8"])
@pytest.mark.parametrize("name", MODELS)
def test_dynamic(tmp_path: Path, name: str, weight: QuantType, per_channel: bool) -> None:
    build, shape = MODELS[name]
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(build(), source)
    quantize_dynamic(source, target, weight_type=weight, per_channel=per_channel, reduce_range=True)
    assert {"ConvInteger", "MatMulInteger"} & {node.op_type for node in onnx.load(target).graph.node}
    actual, *expected = outputs(target, shape)
    for result in expected:
        assert np.abs(actual - result).max() <= np.abs(result).max() / 255


def test_qdq_nodes_become_quantised_operators(tmp_path: Path) -> None:
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(image_model(), source)
    quantize_static(source, target, Samples(IMAGE), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True)
    session = ort.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in session.placement.assignments)
    assert operators["QLinearConv"] == 4 and operators["QGemm"] == 1
    assert not operators["Conv"] and not operators["Gemm"]
    body = next(body_of(node) for node in session.placement.assignments if node.op_type == "QLinearConv")
    assert body is not None
    assert [node.op_type for node in body if node.op_type != "Constant"] == ["DequantizeLinear"] * 3 + ["Conv", "QuantizeLinear"]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    plain = ort.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    assert "QLinearConv" not in {node.op_type for node in plain.placement.assignments}
    x = {"x": np.random.default_rng(3).standard_normal(IMAGE).astype("f4")}
    difference = np.abs(session.run(None, x)[0] - plain.run(None, x)[0])
    assert difference.max() <= 1.01 * output_step(target)


QDQ = """<ir_version: 10, opset_import: ["" : 21]>
    g (uint8[2, 8] x) => (float[2, 4] y)
    <uint8[8, 4] w = {}, float s = {{0.1}}, uint8 z = {{3}}, float[4] b = {{0, 1, 2, 3}}> {{
        a = DequantizeLinear(x, s, z)  c = DequantizeLinear(w, s, z)  {}
    }}""".format


@pytest.mark.parametrize(
    ("nodes", "expected"),
    {
        "y = MatMul(a, c)": {"MatMulIntegerToFloat"},
        "y = Gemm(a, c, b)": {"DequantizeLinear", "DequantizedMatMul"},
        "y = Gemm(a, c)": {"QGemm"},
        "y = Gemm <alpha = 2.0> (a, c)": {"DequantizeLinear", "Gemm"},
        "p = MatMul(a, c) r = Relu(p) q = QuantizeLinear(r, s, z) y = DequantizeLinear(q, s, z)": {
            "MatMulIntegerToFloat",
            "Relu",
            "QuantizeLinear",
            "DequantizeLinear",
        },
        "p = MatMul(a, c) q = QuantizeLinear(p, s, z) y = DequantizeLinear(q, s, z)": {"QLinearMatMul", "DequantizeLinear"},
    }.items(),
)
def test_what_is_fused(nodes: str, expected: set[str]) -> None:
    """A float bias, a factor, and a Relu whose zero is not the least integer are no part of integer operators; weights may stay narrow."""
    numbers = np.random.default_rng(0).integers(0, 127, 32).tolist()
    model = onnx.parser.parse_model(QDQ("{" + ", ".join(map(str, numbers)) + "}", nodes))
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert {node.op_type for node in session.placement.assignments} == expected
    x = {"x": np.arange(16, dtype=np.uint8).reshape(2, 8) * 3}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, x)[0], reference.run(None, x)[0], rtol=1e-5, atol=1e-5)
