"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto as T

from onnxgpu.dtypes import dtype_of
from tests.cases import Case
from tests.cases.samples import array, floats

RANGES: dict[Any, tuple[int, int]] = {
    T.UINT8: (0, 255), T.INT8: (-128, 127), T.UINT16: (0, 65535), T.INT16: (-32768, 32767),
    T.UINT4: (0, 15), T.INT4: (-8, 7), T.UINT2: (0, 3), T.INT2: (-2, 1),
}  # fmt: skip
FLOAT8 = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz]
X = floats((3, 4, 5)) * 4
HALVES = array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1000, -1000, 0])


def _quantized() -> list[Case]:
    cases = [Case("QuantizeLinear", [x, array(s)]) for x in (X, HALVES, X[:0], array(3.3)) for s in (0.1, 1.0, 7.0)]
    for code, (least, greatest) in RANGES.items():
        zero = np.array((least + greatest + 1) // 2).astype(dtype_of(code))
        expected = np.clip(np.rint(HALVES / np.float32(0.5)) + int(zero), least, greatest).astype(dtype_of(code))
        cases.append(Case("QuantizeLinear", [HALVES, array(0.5), zero], opset=25, expected=[expected]))
        cases.append(Case("DequantizeLinear", [expected, array(0.5), zero], opset=25, oracle="reference"))
        free = np.clip(np.rint(HALVES / np.float32(0.5)), least, greatest).astype(dtype_of(code))
        cases.append(Case("QuantizeLinear", [HALVES, array(0.5)], {"output_dtype": code}, opset=25, expected=[free]))
    for axis, size in ((0, 3), (1, 4), (2, 5), (-1, 5), (-2, 4)):
        scale, zero = np.abs(floats((size,), seed=1)) + 0.1, np.arange(size, dtype=np.uint8) * 20
        cases += [Case("QuantizeLinear", [X, scale, zero], {"axis": axis}), Case("QuantizeLinear", [X, scale], {"axis": axis})]
        cases.append(Case("QuantizeLinear", [X, scale, zero.astype("i1")], {"axis": axis}, opset=13))
    long = floats((2, 70_000))
    cases += [
        Case("QuantizeLinear", [long, array([0.1, 0.2]), np.array([3, 5], "u1")], {"axis": 0}),
        Case("QuantizeLinear", [long, array(0.03)]),
    ]
    cases.append(Case("QuantizeLinear", [np.array([-300, 5, 1000], "i4"), array(2.0), np.array(7, "u1")], opset=13))
    odd = np.resize(array([np.nan, np.inf, -np.inf, 1e30, -3e9, 0.5, 1.5, -0.5, 127.5, -128.5]), 70)
    for kind in ("u1", "i1", "u2", "i2"):
        cases += [Case("QuantizeLinear", [odd, array(1.0), np.array(3, kind)])]
        cases += [Case("QuantizeLinear", [odd, array(1.0), np.array(3, kind)], opset=1, domain="com.microsoft")]
    half = np.array([1.3, -2.7, 100], np.float16)
    cases += [Case("QuantizeLinear", [half, np.array(0.1, np.float16), np.array(3, "i1")], oracle="reference")]
    wide = [half.astype("f"), np.array(0.1, np.float16), np.array(3, "i1")]
    cases.append(Case("QuantizeLinear", wide, {"precision": T.FLOAT}, opset=23, oracle="reference"))
    cases.append(Case("QuantizeLinear", [X, array(0.1), np.array(3, "u2")], opset=1, domain="com.microsoft"))
    return cases


def _eight_bit_floats() -> list[Case]:
    cases = []
    for dtype in FLOAT8:
        zero = np.zeros((), dtype)
        for saturate in (0, 1):
            values = array([0.0, 1.0, -3.0, 7.7, 100000.0 if saturate else 200.0])
            cases.append(Case("QuantizeLinear", [values, array(2.0), zero], {"saturate": saturate}, opset=19, oracle="reference"))
        cases.append(Case("DequantizeLinear", [array([0.5, -2.0, 16.0]).astype(dtype), array(2.0), zero], opset=19, oracle="reference"))
    x = array([0.1, -0.6, 3.0, 2.2, 90.0, -4.0])
    cases.append(Case("QuantizeLinear", [x, array(2.0), np.zeros((), ml_dtypes.float4_e2m1fn)], opset=23, oracle="reference"))
    scale = np.array([127, 128], np.uint8).view(ml_dtypes.float8_e8m0fnu)
    blocks = {"axis": 0, "block_size": 3, "output_dtype": T.FLOAT4E2M1}
    expected = [(x / np.array([1, 1, 1, 2, 2, 2], "f")).astype(ml_dtypes.float4_e2m1fn)]
    cases.append(Case("QuantizeLinear", [x, scale], blocks, opset=24, expected=expected, note="microscaling"))
    back = [expected[0].astype("f") * np.array([1, 1, 1, 2, 2, 2], "f")]
    cases.append(Case("DequantizeLinear", [expected[0], scale], {**blocks, "output_dtype": T.FLOAT}, opset=24, expected=back))
    return cases


def _dequantized() -> list[Case]:
    x = np.random.default_rng(0).integers(0, 255, (3, 4, 5)).astype(np.uint8)
    cases = [Case("DequantizeLinear", [x, array(0.1), np.array(128, "u1")]), Case("DequantizeLinear", [x, array(0.1)])]
    for axis, size in ((0, 3), (1, 4), (2, 5), (-1, 5)):
        scale, zero = np.abs(floats((size,), seed=1)), np.arange(size, dtype=np.uint8) * 20
        cases.append(Case("DequantizeLinear", [x, scale, zero], {"axis": axis}))
    cases += [Case("DequantizeLinear", [x.astype("i4") * 1000, array(0.1)]), Case("DequantizeLinear", [x[0, 0, 0].copy(), array(0.5)])]
    cases += [Case("DequantizeLinear", [x, np.array(0.1, t)], oracle="reference") for t in (np.float16, ml_dtypes.bfloat16)]
    cases += [
        Case("DequantizeLinear", [x, array(0.1)], {"output_dtype": T.FLOAT16}, opset=23, oracle="reference"),
        Case("DequantizeLinear", [x[:0], array(1.0)]),
    ]
    cases.append(Case("DequantizeLinear", [x.astype("u2"), array(0.1), np.array(3, "u2")], opset=1, domain="com.microsoft"))
    return cases


def _blocks() -> list[Case]:
    cases = []
    x = floats((4, 6, 2)) * 3
    for axis, block, shape in ((0, 2, (2, 6, 2)), (1, 3, (4, 2, 2)), (1, 4, (4, 2, 2)), (2, 2, (4, 6, 1)), (-2, 6, (4, 1, 2))):
        scale = np.abs(floats(shape, seed=1)) + 0.1
        zero = np.random.default_rng(2).integers(0, 100, shape).astype(np.uint8)
        attributes = {"axis": axis, "block_size": block}
        repeated = np.repeat(scale, block, axis)[:, : x.shape[1]], np.repeat(zero, block, axis)[:, : x.shape[1]]
        expected = np.clip(np.rint(x / repeated[0]) + repeated[1], 0, 255).astype(np.uint8)
        cases.append(Case("QuantizeLinear", [x, scale, zero], attributes, expected=[expected]))
        restored = (expected.astype("f") - repeated[1]) * repeated[0]
        cases.append(Case("DequantizeLinear", [expected, scale, zero], attributes, expected=[restored.astype("f")]))
    return cases


def _dynamic() -> list[Case]:
    inputs = [X, array([0, 2, -3, -2.5, 1.34, 0.5]), array([1.0, 2.1, 3.4]), array([-1.0, -2.1]), np.zeros(4, "f"), array(3.0)]
    return [Case("DynamicQuantizeLinear", [x], outputs=3, opset=11) for x in inputs]


CASES = [*_quantized(), *_eight_bit_floats(), *_dequantized(), *_blocks(), *_dynamic()]
