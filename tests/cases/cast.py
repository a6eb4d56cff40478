"""Cast, CastLike and BitCast. Expected values of the types no oracle converts come from `ml_dtypes` itself."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto as T

from onnxgpu.dtypes import dtype_of
from tests.cases import Case

NUMERIC = [T.FLOAT, T.DOUBLE, T.FLOAT16, T.BFLOAT16, T.INT8, T.INT16, T.INT32, T.INT64, T.UINT8, T.UINT16, T.UINT32, T.UINT64, T.BOOL]
SMALL = [T.INT4, T.UINT4, T.INT2, T.UINT2, T.FLOAT4E2M1]
FLOAT8 = [T.FLOAT8E4M3FN, T.FLOAT8E4M3FNUZ, T.FLOAT8E5M2, T.FLOAT8E5M2FNUZ]
LIMITS = {T.FLOAT8E4M3FN: 448.0, T.FLOAT8E4M3FNUZ: 240.0, T.FLOAT8E5M2: 57344.0, T.FLOAT8E5M2FNUZ: 57344.0}
WIDE = np.array([0.0, -0.0, 0.3, -1.7, 17.0, 300.0, -470.0, 1e6, 1e-9], np.float32)


def _numeric() -> list[Case]:
    values = np.array([0, 1, 2, 3, 7, 100])
    cases = []
    for source in NUMERIC:
        x = values.astype(dtype_of(source)).reshape(2, 3)
        cases += [Case("Cast", [x], {"to": target}, oracle="reference") for target in NUMERIC]
    cases += [Case("Cast", [np.array([-1.9, -0.5, 0.5, 1.9], "f")], {"to": t}) for t in (T.INT8, T.INT32, T.INT64, T.BOOL)]
    cases += [Case("Cast", [np.array([200, -200, 70000])], {"to": t}) for t in (T.INT8, T.UINT8, T.INT16, T.UINT16)]
    cases += [Case("Cast", [np.array([1e10, -1e39, np.nan, np.inf])], {"to": t}) for t in (T.FLOAT16, T.FLOAT)]
    cases += [Case("Cast", [np.array([np.nan, 0.0, -0.0, 1e-30], "f")], {"to": T.BOOL})]
    cases += [Case("Cast", [np.array(1.5, "f")], {"to": T.INT32}), Case("Cast", [np.zeros((0, 2), "f")], {"to": T.INT64})]
    cases += [Case("Cast", [np.ones(3, "f")], {"to": T.FLOAT}), Case("Cast", [np.ones((2, 3), "f").T], {"to": T.DOUBLE})]
    return cases


def _small() -> list[Case]:
    cases = []
    for code in SMALL:
        dtype = dtype_of(code)
        x = np.array([0, 1, 0, 1]).astype(dtype)
        cases += [Case("Cast", [x], {"to": t}, opset=25, expected=[x.astype("f").astype(dtype_of(t))]) for t in (*NUMERIC, *FLOAT8, *SMALL)]
        for source in ("f2", "f4", "f8", "i1", "i4", "i8", "u1"):
            y = np.array([0, 1, 3, 5, 100 if source != "f2" else 9], source)
            cases.append(Case("Cast", [y], {"to": code}, opset=25, expected=[y.astype(dtype)]))
    wrapped = np.array([7, 8, -9, 15, 255, 256])
    kept = {T.INT4: [7, -8, 7, -1, -1, 0], T.UINT4: [7, 8, 7, 15, 15, 0], T.INT2: [-1, 0, -1, -1, -1, 0], T.UINT2: [3, 0, 3, 3, 3, 0]}
    cases += [
        Case("Cast", [wrapped], {"to": t}, opset=25, expected=[np.array(v).astype(dtype_of(t))], note="low bits stay")
        for t, v in kept.items()
    ]
    return cases


def _eight_bit() -> list[Case]:
    cases = []
    with np.errstate(over="ignore", invalid="ignore"):
        for code in FLOAT8:
            dtype = dtype_of(code)
            for source in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int32):
                x = WIDE.astype(source)
                held = np.clip(x.astype(np.float64), -LIMITS[code], LIMITS[code])
                cases.append(Case("Cast", [x], {"to": code}, opset=19, expected=[held.astype(dtype)]))
                cases.append(Case("CastLike", [x, np.zeros(1, dtype)], opset=19, expected=[held.astype(dtype)]))
            free = [WIDE.astype(dtype)]
            cases.append(Case("Cast", [WIDE], {"to": code, "saturate": 0}, opset=19, expected=free))
            x = np.array([0, 1, 2.5, -3, 100], np.float32).astype(dtype)
            cases += [
                Case("Cast", [x], {"to": t}, opset=19, expected=[x.astype("f").astype(dtype_of(t))])
                for t in (*NUMERIC[:4], T.INT32, *FLOAT8)
            ]
        infinite = np.array([np.inf, -np.inf], np.float32)
        cases += [
            Case("Cast", [infinite], {"to": t}, opset=19, expected=[np.array([v, -v]).astype(dtype_of(t))], note="held")
            for t, v in LIMITS.items()
        ]
    return cases


def _powers_of_two() -> list[Case]:
    x = np.array([1.0, 1.1, 1.5, 1.9, 2.0, 0.75, 3e38, 2.0**-127, 1e-40, np.inf], np.float32)
    expected = {
        ("up", 1): [127, 128, 128, 128, 128, 127, 254, 0, 0, 254],
        ("down", 1): [127, 127, 127, 127, 128, 126, 254, 0, 0, 254],
        ("nearest", 1): [127, 127, 128, 128, 128, 127, 254, 0, 0, 254],
        ("up", 0): [127, 128, 128, 128, 128, 127, 255, 0, 255, 255],
        ("nearest", 0): [127, 127, 128, 128, 128, 127, 255, 0, 255, 255],
    }
    cases = []
    for (mode, saturate), codes in expected.items():
        result = np.array(codes, np.uint8).view(ml_dtypes.float8_e8m0fnu)
        attributes = {"round_mode": mode, "saturate": saturate}
        note = "the specification's table; the reference gives NaN for infinity"
        cases.append(Case("Cast", [x], {"to": T.FLOAT8E8M0, **attributes}, opset=24, expected=[result], note=note))
        cases.append(Case("CastLike", [x, result[:1]], attributes, opset=24, expected=[result], note=note))
    scales = np.array([120, 127, 130], np.uint8).view(ml_dtypes.float8_e8m0fnu)
    for t in (T.FLOAT, T.FLOAT16, T.DOUBLE, T.BFLOAT16):
        cases.append(Case("Cast", [scales], {"to": t}, opset=24, expected=[np.array([2.0**-7, 1, 8]).astype(dtype_of(t))]))
    return cases


def _strings() -> list[Case]:
    numbers = np.array([0.1, 1e10, np.nan, np.inf, -np.inf, 1.0, 0.47892547, 16777216, 1e-7, 123456.789, -0.0])
    cases = [Case("Cast", [numbers.astype(t)], {"to": T.STRING}) for t in ("f4", "f8")]
    cases += [Case("Cast", [np.array([-5, 7], t)], {"to": T.STRING}) for t in ("i1", "i4", "i8")]
    cases += [
        Case("Cast", [np.array([[True], [False]])], {"to": T.STRING}),
        Case("Cast", [np.array([2**64 - 1], np.uint64)], {"to": T.STRING}),
    ]
    cases += [Case("Cast", [np.array([1.5, 0.1], np.float16)], {"to": T.STRING})]
    text: list[Any] = ["1.5", "100", "1e3", " 7 ", "+INF", "-inf", "NaN", "-0.25"]
    cases += [Case("Cast", [np.array(text, object)], {"to": t}) for t in (T.FLOAT, T.DOUBLE, T.FLOAT16)]
    cases += [Case("Cast", [np.array(["1", "100.5", " -7", "9007199254740993"], object)], {"to": T.INT64})]
    cases += [
        Case("Cast", [np.array([["18446744073709551615"]], object)], {"to": T.UINT64}),
        Case("Cast", [np.array(["0", "2"], object)], {"to": T.BOOL}),
    ]
    cases += [Case("CastLike", [np.array(["2"], object), np.zeros((), "i4")]), Case("CastLike", [np.array([3]), np.array("", object)])]
    cases += [Case("Cast", [np.array(["a", "b"], object)], {"to": T.STRING}, expected=[np.array(["a", "b"], object)])]
    return cases


def _bits() -> list[Case]:
    x = np.array([[1.5, -2.0, 0.0]], np.float32)
    four = np.array([-1, 7, -8]).astype(ml_dtypes.int4)
    return [
        Case("BitCast", [x], {"to": T.INT32}, opset=26, expected=[x.view(np.int32)]),
        Case("BitCast", [x.astype(np.float64)], {"to": T.UINT64}, opset=26, expected=[x.astype(np.float64).view(np.uint64)]),
        Case(
            "BitCast",
            [np.array(1.0, np.float16)],
            {"to": T.BFLOAT16},
            opset=26,
            expected=[np.array(1.0, np.float16).view(ml_dtypes.bfloat16)],
        ),
        Case("BitCast", [four], {"to": T.UINT4}, opset=26, expected=[np.array([15, 7, 8]).astype(ml_dtypes.uint4)]),
    ]


def _by_name() -> list[Case]:
    """Version 1 names the type."""
    x = np.array([1.5, -2.5, 0.0], np.float32)
    types = {"INT32": np.int32, "DOUBLE": np.float64, "BOOL": bool}
    return [Case("Cast", [x], {"to": name}, opset=1, expected=[x.astype(dtype)], note="no oracle") for name, dtype in types.items()]


CASES = [*_by_name(), *_numeric(), *_small(), *_eight_bit(), *_powers_of_two(), *_strings(), *_bits()]
