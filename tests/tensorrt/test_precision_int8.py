"""Calibration tables in each of their forms, the Q/DQ nodes that they become, and errors that say what to do."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from onnxgpu.errors import InvalidArgument, NoSuchFile
from onnxgpu.providers.tensorrt.precision import PrecisionReport, PrecisionSettings, prepared, settings_of
from onnxgpu.providers.tensorrt.precision.calibration import read_ranges
from onnxgpu.providers.tensorrt.precision.whole_model import cut_of, joined
from tests.tensorrt.precision_support import checked, error, normal, run, run_in_onnxruntime, types, with_weights

RANGES = {"x": 4.0, "a": 2.5, "é/b:0 c": 6.0}
TOLERANCE = 0.05
"""Of int8: half a step of 127, over a few products."""


def write_onnxruntimes(folder: Path, ranges: Mapping[str, float]) -> None:
    """All three forms, by onnxruntime's own function."""
    quantization = pytest.importorskip("onnxruntime.quantization.calibrate")
    utilities = pytest.importorskip("onnxruntime.quantization.quant_utils")
    data = {
        name: quantization.TensorData(lowest=np.array(-value / 2, np.float32), highest=np.array(value, np.float32))
        for name, value in ranges.items()
    }
    utilities.write_calibration_table(data, str(folder))


def native(ranges: Mapping[str, float]) -> str:
    lines = [f"{name}: {struct.pack('>f', value / 127).hex()}" for name, value in ranges.items()]
    return "\n".join(["TRT-101300-EntropyCalibration2", *lines, ""])


@pytest.mark.parametrize("name", ["calibration.flatbuffers", "calibration.json", "calibration.cache"])
def test_onnxruntimes_tables(name: str, tmp_path: Path) -> None:
    write_onnxruntimes(tmp_path, RANGES)
    assert read_ranges(tmp_path / name, native=False) == pytest.approx(RANGES)


def test_the_json_of_a_whole_calibration(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization.calibrate")
    ends = {"x": (np.array([-5.0], np.float32), np.array([3.0], np.float32)), "y": (np.float32(-1), np.float32(2))}
    data = quantization.TensorsData(quantization.CalibrationMethod.MinMax, ends)
    content = json.dumps({"CLS": "TensorsData", "data": data.data}, cls=quantization.CalibrationCacheEncoder)
    (tmp_path / "c.json").write_text(content)
    assert read_ranges(tmp_path / "c.json", native=False) == {"x": 5.0, "y": 2.0}


def test_the_json_of_pairs(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"x": [-1.5, 1.0], "y": [0, 2]}')
    assert read_ranges(tmp_path / "c.json", native=False) == {"x": 1.5, "y": 2.0}


def test_tensorrts_own_cache(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(native(RANGES), "utf-8")
    assert read_ranges(tmp_path / "t", native=True) == pytest.approx(RANGES)


WRONG: dict[str, tuple[bytes, bool, str]] = {
    "empty file": (b"", False, "empty"),
    "TensorRT's, not said": (native(RANGES).encode(), False, "trt_int8_use_native_calibration_table=1"),
    "onnxruntime's, said to be TensorRT's": (b"x 4.0\n", True, "first line"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", False, "no calibration table"),
    "no number": (b"x four\n", False, "no calibration table"),
    "one word": (b"x\n", False, "between name and number"),
    "a list": (b'{"x": []}', False, "neither a lowest"),
    "broken JSON": (b'{"x": ', False, "no calibration table"),
    "not a number": (b"x nan\n", False, "finite"),
    "bits that are no number": (b"TRT-1\nx: zz\n", True, "no calibration table"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_table_says_so(case: str, tmp_path: Path) -> None:
    content, is_native, words = WRONG[case]
    (tmp_path / "table").write_bytes(content)
    with pytest.raises(InvalidArgument, match=words) as raised:
        read_ranges(tmp_path / "table", native=is_native)
    assert str(tmp_path / "table") in str(raised.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFile, match=r"calibration\.flatbuffers"):
        read_ranges(tmp_path / "none", native=False)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_table_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, is_native: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    try:
        ranges = read_ranges(path, native=is_native)
    except InvalidArgument:
        return
    assert ranges and all(value >= 0 for value in ranges.values())


def convolutions() -> onnx.ModelProto:
    text = """g (float[1,3,8,8] x) => (float[1,5] y) {
        [first] a = Conv<pads: ints = [1,1,1,1]>(x, k, bias)
        r = Relu(a)
        [second] b = ConvTranspose(r, t)
        f = Flatten(b)
        [third] c = Gemm<transB: int = 1>(f, g1)
        [fourth] y = MatMul(c, w)
    }"""
    return with_weights(
        text, k=normal(6, 3, 3, 3, scale=0.3), bias=normal(6), t=normal(6, 4, 1, 1), g1=normal(16, 256, scale=0.1), w=normal(16, 5)
    )


def ranges_of(proto: onnx.ModelProto, x: np.ndarray) -> dict[str, float]:
    """The largest magnitude of each value in one run."""
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    names = [name for node in proto.graph.node for name in node.output]
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return {"x": float(np.abs(x).max()), **{name: float(np.abs(v).max()) for name, v in zip(names, run(probe, {"x": x}), strict=True)}}


def in_int8(proto: onnx.ModelProto, ranges: Mapping[str, float] | None, **others: Any) -> tuple[onnx.ModelProto, PrecisionReport]:
    cut, report = prepared(cut_of(proto), PrecisionSettings(int8=True, ranges=ranges, **others))
    result = joined(cut)
    checked(proto, result)
    return result, report


@pytest.mark.parametrize("runner", [run, run_in_onnxruntime])
def test_quantized_models_give_nearly_the_same(runner: Callable[[onnx.ModelProto, Any], list[Any]]) -> None:
    proto, x = convolutions(), normal(1, 3, 8, 8)
    result, report = in_int8(proto, ranges_of(proto, x))
    assert report.quantized == ("first", "fourth", "second", "third") and not report.not_quantized
    assert 1e-5 < error(runner(proto, {"x": x}), runner(result, {"x": x})) < TOLERANCE


def test_scales_and_channels() -> None:
    proto, x = convolutions(), normal(1, 3, 8, 8)
    ranges = ranges_of(proto, x)
    result, _ = in_int8(proto, ranges)
    constants = {i.name: numpy_helper.to_array(i) for i in result.graph.initializer}
    weights = {name: array for name, array in constants.items() if array.dtype == np.int8 and array.ndim}
    assert {name: array.shape for name, array in weights.items()} == {
        "k_0_int8": (6, 3, 3, 3), "t_1_int8": (6, 4, 1, 1), "g1_0_int8": (16, 256), "w_1_int8": (16, 5),
    }  # fmt: skip
    assert all(np.abs(array.astype(int)).max() == 127 for array in weights.values())
    channels = {node.input[0]: constants[node.input[1]].shape for node in result.graph.node if node.input[0] in weights}
    assert channels == {"k_0_int8": (6,), "t_1_int8": (4,), "g1_0_int8": (16,), "w_1_int8": (5,)}
    assert constants["x_scale"] == np.float32(ranges["x"] / 127) and constants["bias"].dtype == np.float32
    assert {numpy_helper.to_array(i).dtype for i in result.graph.initializer if i.name.endswith("_zero")} == {np.dtype(np.int8)}


def test_an_activation_is_quantized_once() -> None:
    text = "g (float[2,4] x) => (float[2,4] y, float[2,4] z) { y = MatMul(x, v)\n z = MatMul(x, w) }"
    proto = with_weights(text, v=normal(4, 4), w=normal(4, 4, seed=1))
    result, _ = in_int8(proto, {"x": 3.0})
    assert sum(node.op_type == "QuantizeLinear" for node in result.graph.node) == 1


def test_products_of_two_activations() -> None:
    proto = with_weights("g (float[2,4] x, float[4,2] z) => (float[2,2] y) { [p] y = MatMul(x, z) }")
    result, _ = in_int8(proto, {"x": 3.0, "z": 3.0})
    assert sum(node.op_type == "QuantizeLinear" for node in result.graph.node) == 2
    _, report = in_int8(proto, {"x": 3.0})
    assert report.not_quantized == {"p": "the calibration has no range for 'z', or the range 0"}
    assert "'p' is not in int8" in str(report)


def test_int8_and_float16_together() -> None:
    text = "g (float[2,4] x) => (float[2,4] y) { [int] a = MatMul(x, v)\n [half] y = MatMul(a, w) }"
    proto = with_weights(text, v=normal(4, 4), w=normal(4, 4, seed=1))
    result, report = in_int8(proto, {"x": 3.0}, float16=True)
    assert types(report)["int"] == "int8" and types(report)["half"] == "float16"
    x = normal(2, 4)
    assert error(run(proto, {"x": x}), run(result, {"x": x})) < TOLERANCE


def test_lists_of_what_stays() -> None:
    proto, x = convolutions(), normal(1, 3, 8, 8)
    _, report = in_int8(proto, ranges_of(proto, x), float32_operators=frozenset({"Gemm"}), float32_nodes={"first": "why"})
    assert report.quantized == ("fourth", "second") and set(report.not_quantized) == {"first", "third"}


def test_a_channel_of_zeros_and_weights_that_are_not_finite() -> None:
    w = normal(4, 4)
    w[:, 1] = 0
    proto = with_weights("g (float[2,4] x) => (float[2,4] y) { [p] y = MatMul(x, w) }", w=w)
    result, _ = in_int8(proto, {"x": 3.0})
    assert not run(result, {"x": normal(2, 4)})[0][:, 1].any()
    w[0, 0] = np.inf
    _, report = in_int8(with_weights("g (float[2,4] x) => (float[2,4] y) { [p] y = MatMul(x, w) }", w=w), {"x": 3.0})
    assert "not finite" in report.not_quantized["p"]


QDQ = """g (float[2,4] x) => (float[2,4] y) {
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    e = DequantizeLinear(i, s, z)
    [p] a = MatMul(d, e)
    r = Relu(a)
    y = MatMul(r, w)
}"""


def test_qdq_models_pass_through() -> None:
    constants: dict[str, np.ndarray] = {
        "s": np.array(0.02, np.float32),
        "z": np.array(0, np.int8),
        "i": normal(4, 4, scale=40).astype(np.int8),
        "w": normal(4, 4),
    }
    proto = with_weights(QDQ, **constants)
    result, _ = in_int8(proto, None)
    assert result.graph.node == proto.graph.node
    result, report = in_int8(proto, None, float16=True)
    assert [node.computes_in for node in report.nodes] == ["float32"] * 4 + ["float16"] * 2
    assert "dequantized" in next(node.reason for node in report.nodes if node.name == "p")
    x = normal(2, 4)
    assert error(run(proto, {"x": x}), run(result, {"x": x})) < 5e-3


def test_fp8_models_pass_through() -> None:
    text = """g (float[2,4] x) => (float[2,4] y) {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        e = Transpose(d)
        [p] a = Gemm<transA: int = 1>(e, w)
        r = Relu(a)
        y = MatMul(r, w)
    }"""
    proto = with_weights(text, 19, s=np.array(0.5, np.float32), w=normal(4, 4))
    proto.graph.initializer.append(onnx.helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    result, report = in_int8(proto, None, float16=True)
    assert [node.computes_in for node in report.nodes] == ["float32"] * 4 + ["float16"] * 2
    x = normal(2, 4)
    assert error(run(proto, {"x": x}), run(result, {"x": x})) < 5e-3


def test_without_a_table_and_without_qdq_nodes() -> None:
    with pytest.raises(InvalidArgument, match=r"trt_int8_calibration_table_name.*leave trt_int8_enable out"):
        in_int8(convolutions(), None)


def test_a_foreign_table() -> None:
    with pytest.raises(InvalidArgument, match="'conv1_out' for one, and none is of a value of segment 'g'"):
        in_int8(convolutions(), {"conv1_out": 1.0, "conv2_out": 1.0})


def test_an_opset_without_channels() -> None:
    proto = with_weights("g (float[2,4] x) => (float[2,4] y) { y = MatMul(x, w) }", 12, w=normal(4, 4))
    with pytest.raises(InvalidArgument, match="opset 13 or later, and segment 'g' has opset 12"):
        in_int8(proto, {"x": 1.0})


def test_a_segment_without_products_needs_no_table() -> None:
    proto = with_weights("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert in_int8(proto, None)[0].graph.node == proto.graph.node


def test_the_providers_options(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(native(RANGES), "utf-8")
    options = {
        "trt_int8_enable": True, "trt_engine_cache_path": str(tmp_path), "trt_int8_calibration_table_name": "t",
        "trt_int8_use_native_calibration_table": True, "trt_fp16_enable": True, "trt_layer_norm_fp32_fallback": False,
        "trt_fp32_operators": "Relu, Gemm", "trt_fp32_nodes": "a,b", "trt_reduced_operators": "Softmax",
    }  # fmt: skip
    made = settings_of(options)
    assert made.int8 and made.ranges == pytest.approx(RANGES) and made.types == ("float16",) and not made.norms_in_float32
    assert made.float32_operators == {"Relu", "Gemm"} and set(made.float32_nodes) == {"a", "b"} and made.reduced_operators == {"Softmax"}
    assert settings_of({}) == PrecisionSettings() and hash(made) == hash(settings_of(options))
    with pytest.raises(InvalidArgument, match="both name Exp"):
        settings_of({"trt_fp32_operators": "Exp", "trt_reduced_operators": "Exp,Pow"})
